//! What was told of digests, and which rules have fired: small records of the meta table.

use super::records::{hashed_key, json, put_or_delete, read_under};
use super::{Commit, Store, StoreError, Table};
use crate::engine::{Saved, Step};

/// Writes down what a step told of digests.
pub(super) fn put(step: &Step, commit: &mut Commit) {
    for (name, mark) in &step.changed.digests {
        let record = mark.as_ref().map(|mark| (name, mark));
        let key = hashed_key("digest/", &[name]);
        put_or_delete(commit, Table::Meta, key, record.as_ref());
    }
    for (rule, at) in &step.changed.fired {
        let key = hashed_key("fired/", &[rule]);
        commit.put(Table::Meta, key, json(&(rule, at)));
    }
}

/// Puts it back.
pub(super) fn load(
    store: &dyn Store,
    saved: &mut Saved,
    problems: &mut Vec<StoreError>,
) -> Result<(), StoreError> {
    let digests = read_under(store, Table::Meta, "digest/", problems)?;
    saved.digests = digests.into_iter().collect();
    let fired = read_under(store, Table::Meta, "fired/", problems)?;
    saved.fired = fired.into_iter().collect();
    Ok(())
}
