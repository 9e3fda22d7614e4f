//! Keeps a store small: merges pieces of history, and forgets what is older than the retention. The same for
//! every backend, in commits of bounded size, beside whoever else writes.

use std::collections::BTreeMap;

use super::averages;
use super::promises;
use super::records::{Segments, from_json, segment_key, time_key};
use super::segment::{self, Segment};
use super::{Commit, Store, StoreError, Table};
use crate::engine::labels::Fingerprint;
use crate::engine::ledger::LedgerRow;
use crate::engine::observation::{Name, Observation};
use crate::engine::silence::Silence;
use crate::engine::time::Timestamp;

/// Segments of one project and day are merged when there are more than so many.
const MERGE_ABOVE: usize = 16;

/// Merges small segments and drops those of days before `cutoff`; a bounded piece of work for one commit
/// each. Returns the number of segments before and after.
pub fn compact_history(
    store: &dyn Store,
    cutoff: Timestamp,
    segments: &Segments,
) -> Result<(usize, usize), StoreError> {
    let mut by_day: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for record in store.scan(Table::History, b"segment/") {
        let (key, _) = record?;
        by_day
            .entry(key[..key.len().saturating_sub(8)].to_vec())
            .or_default()
            .push(key);
    }
    averages::forget_before(store, cutoff)?;
    let before = by_day.values().map(Vec::len).sum();
    let mut after = 0;
    for (day_key, keys) in by_day {
        let mut commit = Commit::default();
        if is_before(&day_key, cutoff) {
            for key in keys {
                commit.delete(Table::History, key);
            }
        } else if keys.len() > MERGE_ABOVE {
            after += merge(store, keys, segments, &mut commit)?;
        } else {
            after += keys.len();
        }
        store.commit(&commit)?;
    }
    Ok((before, after))
}

/// The day at the end of a key is over by `cutoff`.
pub(super) fn is_before(day_key: &[u8], cutoff: Timestamp) -> bool {
    let day = day_key.last_chunk::<4>();
    let day = day.map_or(0, |bytes| u32::from_be_bytes(*bytes));
    i64::from(day) < cutoff.as_millis() / segment::DAY_MILLIS
}

fn merge(
    store: &dyn Store,
    keys: Vec<Vec<u8>>,
    segments: &Segments,
    commit: &mut Commit,
) -> Result<usize, StoreError> {
    let mut newest: BTreeMap<(u8, Name), Observation> = BTreeMap::new();
    for key in keys {
        let bytes = store.get(Table::History, &key)?.unwrap_or_default();
        // A segment that cannot be read stays as it is, for `store verify` to show.
        let Ok(observations) = Segment::unpack(&bytes) else {
            continue;
        };
        for observation in observations {
            let (id, updated_at) = segment::identity(&observation);
            let is_newer = newest
                .get(&id)
                .is_none_or(|known| segment::identity(known).1 <= updated_at);
            if is_newer {
                newest.insert(id, observation);
            }
        }
        commit.delete(Table::History, key);
    }
    let observations: Vec<Observation> = newest.into_values().collect();
    let mut count = 0;
    for segment in segment::pack(&observations) {
        count += 1;
        commit.put(
            Table::History,
            segment_key(&segment, segments.next()),
            segment.to_bytes(),
        );
    }
    Ok(count)
}

/// Rows deleted in one commit.
const FORGET_BATCH: usize = 10_000;

/// Deletes promises, transitions, deliveries, acts and silences that were over before `cutoff`; returns how
/// many.
pub fn forget_rows(store: &dyn Store, cutoff: Timestamp) -> Result<usize, StoreError> {
    let mut forgotten = forget_promises(store, cutoff)? + forget_silences(store, cutoff)?;
    for table in [Table::Transition, Table::Delivery, Table::Act] {
        loop {
            let mut commit = Commit::default();
            for record in store
                .range(table, b"", Some(&time_key(cutoff)))
                .take(FORGET_BATCH)
            {
                commit.delete(table, record?.0);
            }
            if commit.is_empty() {
                break;
            }
            forgotten += commit.writes.len();
            store.commit(&commit)?;
        }
    }
    Ok(forgotten)
}

/// Deletes silences that were over before `cutoff`: nothing changes those any more.
fn forget_silences(store: &dyn Store, cutoff: Timestamp) -> Result<usize, StoreError> {
    let mut commit = Commit::default();
    for record in store.scan(Table::Silence, b"") {
        let (key, bytes) = record?;
        // One that cannot be read stays as it is, for `store verify` to show.
        let Ok(silence) = from_json::<Silence>(Table::Silence, &key, &bytes) else {
            continue;
        };
        if silence.ended.is_some() && silence.over_at() < cutoff {
            commit.delete(Table::Silence, key);
        }
    }
    let forgotten = commit.writes.len();
    if !commit.is_empty() {
        store.commit(&commit)?;
    }
    Ok(forgotten)
}

/// Deletes promises that were due before `cutoff`: whole days, and rows of their own.
fn forget_promises(store: &dyn Store, cutoff: Timestamp) -> Result<usize, StoreError> {
    let first_day = promises::day_of(cutoff);
    let before = time_key(cutoff);
    let mut old = Vec::new();
    for record in store.scan(Table::Ledger, b"") {
        let (key, _) = record?;
        let is_old = match promises::parts(&key) {
            Some((day, _)) => day < first_day,
            None => key.last_chunk::<8>().is_some_and(|due_at| *due_at < before),
        };
        if is_old {
            old.push(key);
        }
    }
    for keys in old.chunks(FORGET_BATCH) {
        let mut commit = Commit::default();
        for key in keys {
            commit.delete(Table::Ledger, key.clone());
        }
        store.commit(&commit)?;
    }
    Ok(old.len())
}

/// Merges small pieces of the ledger, a commit for each day. Returns the number of pieces before and after.
pub fn compact_ledger(store: &dyn Store) -> Result<(usize, usize), StoreError> {
    let mut by_day: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for record in store.scan(Table::Ledger, b"") {
        let (key, _) = record?;
        if let Some((day, number)) = promises::parts(&key) {
            by_day.entry(day).or_default().push(number);
        }
    }
    let before = by_day.values().map(Vec::len).sum();
    let mut after = 0;
    for (day, numbers) in by_day {
        after += if numbers.len() > MERGE_ABOVE {
            merge_promises(store, day, &numbers)?
        } else {
            numbers.len()
        };
    }
    Ok((before, after))
}

/// Merges the pieces of a day; returns how many there are then. They take numbers of those they replace, so
/// that what is recorded meanwhile stays newer.
fn merge_promises(store: &dyn Store, day: u32, numbers: &[u64]) -> Result<usize, StoreError> {
    let mut commit = Commit::default();
    let mut newest: BTreeMap<(Timestamp, Fingerprint), LedgerRow> = BTreeMap::new();
    let mut free = Vec::new();
    for number in numbers {
        let key = promises::key(day, *number);
        let bytes = store.get(Table::Ledger, &key)?.unwrap_or_default();
        // A piece that cannot be read stays as it is, for `store verify` to show.
        let Ok(rows) = promises::unpack(&bytes) else {
            continue;
        };
        for row in rows {
            let (print, due_at) = row.key();
            newest.insert((due_at, print), row);
        }
        commit.delete(Table::Ledger, key);
        free.push(*number);
    }
    let merged = promises::pack(newest.values());
    // Every piece has at least one row, so there are never more of them afterwards.
    let numbers = free.iter().skip(free.len().saturating_sub(merged.len()));
    for ((day, bytes), number) in merged.iter().zip(numbers) {
        commit.put(Table::Ledger, promises::key(*day, *number), bytes.clone());
    }
    if merged.len() < free.len() {
        store.commit(&commit)?;
    }
    Ok(merged.len().min(free.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Promise;
    use crate::engine::time::Span;
    use crate::store::records;
    use crate::store::sled::{SledOptions, SledStore};

    fn row(hour: i64, outcome: Promise) -> LedgerRow {
        let due_at = Timestamp::from_millis(1_773_100_800_000) + Span::hours(hour);
        LedgerRow {
            rule: "by-7".into(),
            labels: crate::engine::labels::Labels::default().with("job", "nightly"),
            due_at,
            outcome,
            recorded_at: due_at,
            corrected_from: None,
            was_recorded_at: None,
        }
    }

    fn outcomes(store: &dyn Store) -> Vec<(Timestamp, Promise)> {
        let loaded = records::load(store).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let rows = loaded
            .saved
            .ledger
            .rows("by-7", Timestamp::MIN, Timestamp::MAX);
        rows.map(|row| (row.due_at, row.outcome)).collect()
    }

    #[test]
    fn silences_are_forgotten_when_they_have_long_been_over() {
        use crate::engine::labels::Matcher;
        use crate::engine::silence::{SilenceEnd, SilenceEnded, Until};
        let folder = tempfile::tempdir().unwrap();
        let start = Timestamp::from_millis(1_773_100_800_000);
        let store = SledStore::open(&folder.path().join("data"), SledOptions::at(start))
            .unwrap()
            .store;
        let mut step = crate::engine::Step::default();
        for (id, ended) in [("s1", Some(0)), ("s2", Some(2)), ("s3", None)] {
            let ended = ended.map(|hour| SilenceEnd {
                at: start + Span::hours(hour),
                why: SilenceEnded::Expired,
            });
            let silence = Silence {
                id: id.into(),
                matchers: vec![Matcher::parse("job = a").unwrap()],
                by: "ada".into(),
                comment: "maintenance".into(),
                created_at: start,
                ends_at: start,
                until: Until::Time,
                ended,
                has_matched: false,
                is_end_announced: false,
                is_idle_announced: false,
                idle_since: None,
                receivers: std::collections::BTreeSet::new(),
            };
            step.changed.silences.insert(id.into(), Some(silence));
        }
        let mut sequences = records::Sequences::default();
        let (commit, _) = records::commit_step(&step, &BTreeMap::new(), &[], &mut sequences, start);
        store.commit(&commit).unwrap();
        assert_eq!(forget_rows(&store, start + Span::hours(1)).unwrap(), 1);
        let left = records::load(&store).unwrap().saved.silences;
        let ids: Vec<&str> = left.iter().map(|silence| &*silence.id).collect();
        assert_eq!(
            ids,
            ["s2", "s3"],
            "one that has not ended is kept whatever its time"
        );
    }

    #[test]
    fn merged_promises_are_the_newest_and_what_comes_meanwhile_is_newer_still() {
        let folder = tempfile::tempdir().unwrap();
        let options = SledOptions::at(Timestamp::from_millis(1_773_100_800_000));
        let store = SledStore::open(&folder.path().join("data"), options)
            .unwrap()
            .store;
        let mut commit = Commit::default();
        // A row of its own, as they were written once; corrected by a piece.
        let mut old = vec![1];
        serde_json::to_writer(&mut old, &row(2, Promise::Unknown)).unwrap();
        commit.put(Table::Ledger, vec![7; 24], old.clone());
        let mut only_old = vec![1];
        serde_json::to_writer(&mut only_old, &row(30, Promise::Missed)).unwrap();
        commit.put(Table::Ledger, vec![8; 24], only_old);
        for number in 0..40_u64 {
            let hour = i64::try_from(number % 20).unwrap();
            let outcome = if number < 20 {
                Promise::Missed
            } else {
                Promise::LateBy(hour)
            };
            for (day, bytes) in promises::pack(&[row(hour, outcome)]) {
                commit.put(Table::Ledger, promises::key(day, number + 1), bytes);
            }
        }
        store.commit(&commit).unwrap();
        let before = outcomes(&store);
        assert_eq!(before.len(), 21);
        assert_eq!(before[2].1, Promise::LateBy(2));
        assert_eq!(before[20].1, Promise::Missed);
        let (pieces, left) = compact_ledger(&store).unwrap();
        assert_eq!((pieces, left), (40, 1));
        assert_eq!(outcomes(&store), before);
        // Recorded while pieces were merged: its number is the next, which no merged piece took.
        let newest = row(5, Promise::Met);
        let mut commit = Commit::default();
        for (day, bytes) in promises::pack(&[newest]) {
            commit.put(Table::Ledger, promises::key(day, 41), bytes);
        }
        store.commit(&commit).unwrap();
        assert_eq!(outcomes(&store)[5].1, Promise::Met);
        assert_eq!(compact_ledger(&store).unwrap(), (2, 2), "few pieces stay");
    }
}
