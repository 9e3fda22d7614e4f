//! From the writes of a commit to a batch of sled's.

use std::collections::BTreeMap;

use super::codec::{Head, PART_BYTES, SUMMARY_KEY, Summary, head_key, part_key};
use super::fault::Fault;
use crate::store::{Commit, Table};

/// Writes of one batch by table and key, the last one of each key; `None` deletes.
pub(super) type Writes<'a> = BTreeMap<(Table, &'a [u8]), Option<&'a [u8]>>;

/// The writes of several commits in their order: later ones win.
pub(super) fn merged<'a>(commits: &[&'a Commit]) -> Writes<'a> {
    commits
        .iter()
        .flat_map(|commit| &commit.writes)
        .map(|(table, key, value)| ((*table, key.as_slice()), value.as_deref()))
        .collect()
}

/// A batch in the making, with what the content will add up to.
pub(super) struct Change<'a> {
    tree: &'a ::sled::Db,
    batch: ::sled::Batch,
    summary: Summary,
    is_empty: bool,
}

impl<'a> Change<'a> {
    /// Nothing yet.
    pub(super) fn new(tree: &'a ::sled::Db, summary: Summary) -> Self {
        Self {
            tree,
            batch: ::sled::Batch::default(),
            summary,
            is_empty: true,
        }
    }

    /// The batch, with the summary in it; `None` if it changes nothing.
    pub(super) fn finish(mut self) -> Option<(::sled::Batch, Summary)> {
        if self.is_empty {
            return None;
        }
        self.summary.commits += 1;
        self.batch.insert(&SUMMARY_KEY, self.summary.encode());
        Some((self.batch, self.summary))
    }

    /// Writes or deletes a record with its parts.
    pub(super) fn record(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let head = head_key(table, key);
        let old = self.tree.get(&head)?;
        let old_parts = old
            .as_deref()
            .and_then(Head::decode)
            .map_or(0, |head| head.parts());
        let new = value.map(Head::of);
        let new_parts = new.as_ref().map_or(0, Head::parts);
        self.entry(head, old, new.map(|head| head.encode()));
        for part in 0..old_parts.max(new_parts) {
            let stored_at = part_key(table, key, part);
            let old = self.tree.get(&stored_at)?;
            let start = usize::from(part) * PART_BYTES;
            let new = value
                .filter(|_| part < new_parts)
                .map(|value| value[start..value.len().min(start + PART_BYTES)].to_vec());
            self.entry(stored_at, old, new);
        }
        Ok(())
    }

    fn entry(&mut self, key: Vec<u8>, old: Option<::sled::IVec>, new: Option<Vec<u8>>) {
        if old.as_deref() == new.as_deref() {
            return;
        }
        self.is_empty = false;
        if let Some(old) = old {
            self.summary.remove(&key, &old);
        }
        match new {
            Some(new) => {
                self.summary.add(&key, &new);
                self.batch.insert(key, new);
            }
            None => self.batch.remove(key),
        }
    }
}
