//! What people did, and what became of one alert: records that are only ever added to.
//!
//! Keys begin with the instant, so that they are forgotten with the retention. Reading them for one alert
//! looks at the keys of its time alone. It decides nothing.

use super::records::{from_json, json, print_key, time_key};
use super::{Commit, Store, StoreError, Table};
use crate::engine::acting::Acted;
use crate::engine::alert::Transition;
use crate::engine::labels::Fingerprint;
use crate::engine::time::{Span, Timestamp};

/// Writes down what people did in a step that was taken at `now`.
pub(super) fn put(commit: &mut Commit, acts: &[Acted], now: Timestamp) {
    for (acted, index) in acts.iter().zip(0_u32..) {
        let print = acted.target.as_ref().map(|target| target.fingerprint);
        let mut key = time_key(now).to_vec();
        key.extend(print_key(print.unwrap_or(Fingerprint::from_u128(0))));
        key.extend(index.to_be_bytes());
        commit.put(Table::Act, key, json(acted));
    }
}

/// Acts about one alert, by its fingerprint and short id, oldest first.
pub fn acts_of(
    store: &dyn Store,
    print: Fingerprint,
    id: &str,
    since: Timestamp,
) -> Result<Vec<Acted>, StoreError> {
    let mut found = Vec::new();
    for record in store.range(Table::Act, &time_key(since), None) {
        let (key, bytes) = record?;
        let is_other = key.get(8..24) != Some(&print_key(print)[..]);
        // One that named an alert that was over has no target, and names it.
        if is_other && key.get(8..24) != Some(&[0; 16][..]) {
            continue;
        }
        let acted: Acted = from_json(Table::Act, &key, &bytes)?;
        let named = acted.target.as_ref().map(|target| target.id.as_str());
        if named.or_else(|| acted.act.what.alert()) == Some(id) {
            found.push(acted);
        }
    }
    Ok(found)
}

/// State changes of one alert, oldest first.
pub fn transitions_of(
    store: &dyn Store,
    print: Fingerprint,
    id: &str,
    since: Timestamp,
) -> Result<Vec<Transition>, StoreError> {
    let mut found = Vec::new();
    for record in store.range(Table::Transition, &time_key(since), None) {
        let (key, bytes) = record?;
        if key.get(8..24) != Some(&print_key(print)[..]) {
            continue;
        }
        let transition: Transition = from_json(Table::Transition, &key, &bytes)?;
        if transition.id == id {
            found.push(transition);
        }
    }
    Ok(found)
}

/// State changes of all alerts that were recorded in `[from, to]`, oldest first; at most as many as are looked
/// through.
pub fn transitions_between(
    store: &dyn Store,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Transition>, StoreError> {
    let mut found = Vec::new();
    let end = time_key(to + Span::milliseconds(1));
    let records = store.range(Table::Transition, &time_key(from), Some(&end));
    for record in records.take(MAX_SEARCHED) {
        let (key, bytes) = record?;
        found.push(from_json(Table::Transition, &key, &bytes)?);
    }
    Ok(found)
}

/// State changes looked through for an id that is not among the alerts any more.
const MAX_SEARCHED: usize = 200_000;

/// State changes of the newest alert whose id begins so, oldest first: of one that is over and was told.
pub fn past_transitions(store: &dyn Store, asked: &str) -> Result<Vec<Transition>, StoreError> {
    let mut found: Vec<Transition> = Vec::new();
    let newest_first = store.range(Table::Transition, b"", None).rev();
    for record in newest_first.take(MAX_SEARCHED) {
        let (key, bytes) = record?;
        if found
            .first()
            .is_some_and(|first| key.get(8..24) != Some(&print_key(first.fingerprint)[..]))
        {
            continue;
        }
        let transition: Transition = from_json(Table::Transition, &key, &bytes)?;
        let is_same = found.first().map_or_else(
            || transition.id.starts_with(asked),
            |first| first.id == transition.id,
        );
        if is_same {
            found.push(transition);
        }
    }
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::acting::{Act, ActKind, Outcome, Target};
    use crate::engine::alert::AlertState;
    use crate::engine::labels::Labels;
    use crate::store::records;
    use crate::store::sled::{SledOptions, SledStore};
    use crate::store::tidying;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_773_100_800_000) + Span::minutes(minute)
    }

    fn acted(id: &str, minute: i64) -> Acted {
        let what = ActKind::Accept { alert: id.into() };
        Acted {
            silence: None,
            act: Act::new("ada", at(minute), Some("bigger tables"), what),
            target: Some(Target {
                fingerprint: Fingerprint::from_u128(u128::from(id.as_bytes()[0])),
                id: id.into(),
                rule: "slower".into(),
                headline: "Slower".into(),
            }),
            outcome: Outcome::Done("Accepted".into()),
        }
    }

    fn transition(id: &str, minute: i64) -> Transition {
        Transition {
            fingerprint: Fingerprint::from_u128(u128::from(id.as_bytes()[0])),
            id: id.into(),
            rule: "slower".into(),
            labels: Labels::default(),
            from: AlertState::Inactive,
            to: AlertState::Firing,
            at: at(minute),
            recorded_at: at(minute),
            reason: format!("{id} at {minute}"),
            all_labels: Labels::default(),
        }
    }

    #[test]
    fn what_was_done_is_kept_by_alert_and_forgotten_with_the_retention() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let opened = SledStore::open(&path, SledOptions::at(at(0))).unwrap();
        let store = opened.store;
        let mut sequences = records::Sequences::default();
        for (minute, id) in [(1, "aaa"), (2, "bbb"), (3, "aaa"), (4, "azz")] {
            let step = crate::engine::Step {
                acts: vec![acted(id, minute)],
                transitions: vec![transition(id, minute)],
                ..Default::default()
            };
            let cursors = std::collections::BTreeMap::default();
            let (commit, _) =
                records::commit_step(&step, &cursors, &[], &mut sequences, at(minute));
            store.commit(&commit).unwrap();
        }
        let print = Fingerprint::from_u128(u128::from(b'a'));
        let acts = acts_of(&store, print, "aaa", at(0)).unwrap();
        assert_eq!(acts, [acted("aaa", 1), acted("aaa", 3)]);
        let changes = transitions_of(&store, print, "aaa", at(2)).unwrap();
        assert_eq!(changes, [transition("aaa", 3)]);
        let past = past_transitions(&store, "aa").unwrap();
        assert_eq!(past, [transition("aaa", 1), transition("aaa", 3)]);
        assert_eq!(past_transitions(&store, "q").unwrap(), []);
        for record in store.scan(Table::Act, b"") {
            let (key, bytes) = record.unwrap();
            records::check(Table::Act, &key, &bytes).unwrap();
        }
        tidying::forget_rows(&store, at(2)).unwrap();
        assert_eq!(
            acts_of(&store, print, "aaa", at(0)).unwrap(),
            [acted("aaa", 3)]
        );
    }
}
