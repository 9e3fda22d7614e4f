//! Iterating over records from both ends.
//!
//! Records are fetched a few at a time; nothing is locked in between, so a slow reader never holds
//! up a commit.

use std::collections::VecDeque;

use super::SledStore;
use super::codec::{after_prefix, head_key};
use super::live::{FETCHED_AT_ONCE, just_after};
use crate::store::{Record, StoreError, Table};

/// Records between two bounds that have not been returned yet.
pub(super) struct Scan<'a> {
    store: &'a SledStore,
    table: Table,
    // Sled keys: from `lower` to below `upper` nothing has been fetched yet.
    lower: Vec<u8>,
    upper: Vec<u8>,
    // Fetched from the front and from the back, both in key order.
    ahead: VecDeque<Record>,
    behind: VecDeque<Record>,
    is_failed: bool,
}

impl<'a> Scan<'a> {
    /// Records whose key starts with `prefix`.
    pub(super) fn prefix(store: &'a SledStore, table: Table, prefix: &[u8]) -> Self {
        let lower = head_key(table, prefix);
        let upper = after_prefix(&lower);
        Self::new(store, table, lower, upper)
    }

    /// Records from `from` to below `to`.
    pub(super) fn range(
        store: &'a SledStore,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Self {
        let upper = match to {
            Some(to) => head_key(table, to),
            None => after_prefix(&head_key(table, &[])),
        };
        Self::new(store, table, head_key(table, from), upper)
    }

    fn new(store: &'a SledStore, table: Table, lower: Vec<u8>, upper: Vec<u8>) -> Self {
        Self {
            store,
            table,
            lower,
            upper,
            ahead: VecDeque::new(),
            behind: VecDeque::new(),
            is_failed: false,
        }
    }

    fn fetch(&self, is_backward: bool) -> Result<Vec<Record>, StoreError> {
        if self.lower >= self.upper {
            return Ok(Vec::new());
        }
        self.store
            .live()?
            .fetch(
                self.table,
                &self.lower,
                &self.upper,
                FETCHED_AT_ONCE,
                is_backward,
            )
            .map_err(|fault| self.store.folder.fault(fault))
    }

    fn fill_ahead(&mut self) -> Result<(), StoreError> {
        let records = self.fetch(false)?;
        match records.last() {
            Some((key, _)) => self.lower = just_after(self.table, key),
            None => self.lower.clone_from(&self.upper),
        }
        self.ahead = records.into();
        Ok(())
    }

    fn fill_behind(&mut self) -> Result<(), StoreError> {
        let records = self.fetch(true)?;
        match records.last() {
            Some((key, _)) => self.upper = head_key(self.table, key),
            None => self.upper.clone_from(&self.lower),
        }
        self.behind = records.into_iter().rev().collect();
        Ok(())
    }

    /// An error is returned once and ends the iteration: going on would skip records silently.
    fn fail(&mut self, error: StoreError) -> Result<Record, StoreError> {
        self.is_failed = true;
        Err(error)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_failed {
            return None;
        }
        if self.ahead.is_empty()
            && let Err(error) = self.fill_ahead()
        {
            return Some(self.fail(error));
        }
        self.ahead
            .pop_front()
            .or_else(|| self.behind.pop_front())
            .map(Ok)
    }
}

impl DoubleEndedIterator for Scan<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_failed {
            return None;
        }
        if self.behind.is_empty()
            && let Err(error) = self.fill_behind()
        {
            return Some(self.fail(error));
        }
        self.behind
            .pop_back()
            .or_else(|| self.ahead.pop_back())
            .map(Ok)
    }
}
