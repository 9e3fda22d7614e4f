//! What a silence would have kept quiet: looked up in the state changes that were recorded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::records::{from_json, time_key};
use super::{Store, StoreError, Table};
use crate::engine::alert::{AlertState, Transition};
use crate::engine::labels::Matcher;
use crate::engine::time::Timestamp;

/// Alerts that fired in the past and that some matchers fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastMatches {
    /// How many alerts.
    pub alerts: usize,
    /// How many of each rule, most first.
    pub rules: Vec<(String, usize)>,
    /// The newest ones: when, short id, headline; at most [`MAX_SHOWN`].
    pub newest: Vec<(Timestamp, String, String)>,
    /// Since when was looked.
    pub since: Timestamp,
    /// So much was recorded that what is older was not looked at.
    #[serde(default)]
    pub is_cut: bool,
}

/// Alerts written out.
pub const MAX_SHOWN: usize = 5;

/// State changes looked through for one preview, the newest first.
pub const MAX_SEARCHED: usize = 200_000;

/// Alerts that fired since then and that all of `matchers` fit, by the labels that they had when they fired.
/// What was recorded before labels were kept is judged by the labels of its identity alone.
pub fn past_matches(
    store: &dyn Store,
    matchers: &[Matcher],
    since: Timestamp,
) -> Result<PastMatches, StoreError> {
    search(store, matchers, since, MAX_SEARCHED)
}

fn search(
    store: &dyn Store,
    matchers: &[Matcher],
    mut since: Timestamp,
    limit: usize,
) -> Result<PastMatches, StoreError> {
    let mut seen = BTreeSet::new();
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut newest = Vec::new();
    let mut newest_first = store.range(Table::Transition, &time_key(since), None).rev();
    let mut looked_until = since;
    for record in newest_first.by_ref().take(limit) {
        let (key, bytes) = record?;
        let fired: Transition = from_json(Table::Transition, &key, &bytes)?;
        looked_until = fired.recorded_at;
        let labels = if fired.all_labels.iter().next().is_none() {
            fired.labels.with("rule", fired.rule.clone())
        } else {
            fired.all_labels
        };
        let is_fitting = matchers.iter().all(|matcher| matcher.is_match(&labels));
        if fired.to != AlertState::Firing || !is_fitting || !seen.insert(fired.id.clone()) {
            continue;
        }
        *rules.entry(fired.rule.to_string()).or_default() += 1;
        if newest.len() < MAX_SHOWN {
            newest.push((fired.at, fired.id, fired.reason));
        }
    }
    let is_cut = newest_first.next().is_some();
    if is_cut {
        since = looked_until;
    }
    let mut rules: Vec<(String, usize)> = rules.into_iter().collect();
    rules.sort_by(|(a, few), (b, many)| many.cmp(few).then_with(|| a.cmp(b)));
    Ok(PastMatches {
        alerts: seen.len(),
        rules,
        newest,
        since,
        is_cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Step;
    use crate::engine::labels::{Fingerprint, Labels};
    use crate::engine::time::Span;
    use crate::store::records;
    use crate::store::sled::{SledOptions, SledStore};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_773_100_800_000) + Span::minutes(minute)
    }

    fn fired(id: &str, minute: i64, to: AlertState, all_labels: Labels) -> Transition {
        Transition {
            fingerprint: Fingerprint::from_u128(u128::from(id.as_bytes()[0])),
            id: id.into(),
            rule: "late".into(),
            labels: Labels::default().with("job", "orders"),
            from: AlertState::Inactive,
            to,
            at: at(minute),
            recorded_at: at(minute),
            reason: format!("Late: {id}"),
            all_labels,
        }
    }

    #[test]
    fn each_alert_that_fired_is_counted_once_by_the_labels_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = SledStore::open(&path, SledOptions::at(at(0)))
            .unwrap()
            .store;
        let critical = || {
            Labels::default()
                .with("job", "orders")
                .with("severity", "critical")
        };
        let mut sequences = records::Sequences::default();
        for transition in [
            fired("old", 1, AlertState::Firing, critical()),
            fired("a", 10, AlertState::Firing, critical()),
            fired("a", 11, AlertState::Resolved, critical()),
            fired("a", 12, AlertState::Firing, critical()),
            fired("b", 13, AlertState::Pending, critical()),
            fired("c", 14, AlertState::Firing, Labels::default()),
            fired("d", 15, AlertState::Firing, critical()),
        ] {
            let now = transition.recorded_at;
            let step = Step {
                transitions: vec![transition],
                ..Step::default()
            };
            let cursors = std::collections::BTreeMap::default();
            let (commit, _) = records::commit_step(&step, &cursors, &[], &mut sequences, now);
            store.commit(&commit).unwrap();
        }
        let matches = |texts: &[&str]| {
            let matchers: Vec<Matcher> = texts
                .iter()
                .map(|text| Matcher::parse(text).unwrap())
                .collect();
            past_matches(&store, &matchers, at(5)).unwrap()
        };
        let all = matches(&["job = orders"]);
        assert_eq!(
            (all.alerts, &all.rules[..]),
            (3, &[("late".to_owned(), 3)][..])
        );
        assert_eq!(
            all.newest[0],
            (at(15), "d".to_owned(), "Late: d".to_owned())
        );
        assert_eq!(matches(&["severity = critical"]).alerts, 2);
        assert_eq!(matches(&["rule = late", "job = other"]).alerts, 0);
        assert!(!all.is_cut);
    }

    #[test]
    fn a_preview_looks_through_the_newest_and_says_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = SledStore::open(&path, SledOptions::at(at(0)))
            .unwrap()
            .store;
        let mut sequences = records::Sequences::default();
        for (id, minute) in [("a", 10), ("b", 11), ("c", 12), ("d", 13)] {
            let step = Step {
                transitions: vec![fired(id, minute, AlertState::Firing, Labels::default())],
                ..Step::default()
            };
            let cursors = std::collections::BTreeMap::default();
            let (commit, _) =
                records::commit_step(&step, &cursors, &[], &mut sequences, at(minute));
            store.commit(&commit).unwrap();
        }
        let matchers = [Matcher::parse("job = orders").unwrap()];
        let cut = search(&store, &matchers, at(5), 2).unwrap();
        assert_eq!((cut.alerts, cut.is_cut, cut.since), (2, true, at(12)));
        assert_eq!(cut.newest[0].1, "d");
        let whole = search(&store, &matchers, at(5), 4).unwrap();
        assert_eq!((whole.alerts, whole.is_cut, whole.since), (4, false, at(5)));
    }
}
