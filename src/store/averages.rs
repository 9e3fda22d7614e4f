//! Daily averages in a store: one JSON record for each project and day, with all that is known of the day. A day
//! that changes replaces its record.

use chrono::NaiveDate;

use super::records::{from_json, json, project_key, read_under};
use super::segment::DAY_MILLIS;
use super::tidying::is_before;
use super::{Commit, Store, StoreError, Table};
use crate::engine::Step;
use crate::engine::history::History;
use crate::engine::observation::{DayAverage, ProjectKey, day_end};
use crate::engine::time::Timestamp;

const PREFIX: &str = "averages/";

type Record = (ProjectKey, Vec<DayAverage>);

/// The day is at the end, so that old ones are found without being read.
fn key(project: &ProjectKey, day: NaiveDate) -> Vec<u8> {
    let mut key = project_key(PREFIX, project);
    let day = day_end(day).as_millis() / DAY_MILLIS - 1;
    key.extend(u32::try_from(day).unwrap_or(0).to_be_bytes());
    key
}

/// The key is one of a day's averages.
pub(super) fn is_key(key: &[u8]) -> bool {
    key.starts_with(PREFIX.as_bytes())
}

/// Writes down the days that a step changed.
pub(super) fn put(step: &Step, commit: &mut Commit) {
    for ((project, day), averages) in &step.changed.averages {
        let value = json(&(project, averages));
        commit.put(Table::History, key(project, *day), value);
    }
}

/// Puts all days back.
pub(super) fn load(
    store: &dyn Store,
    history: &mut History,
    problems: &mut Vec<StoreError>,
) -> Result<(), StoreError> {
    for (project, averages) in read_under::<Record>(store, Table::History, PREFIX, problems)? {
        history.observe_averages(&project, averages);
    }
    Ok(())
}

/// Checks that a record can be read.
pub(super) fn check(key: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
    from_json::<Record>(Table::History, key, bytes).map(drop)
}

/// Deletes days before `cutoff`.
pub(super) fn forget_before(store: &dyn Store, cutoff: Timestamp) -> Result<(), StoreError> {
    let mut commit = Commit::default();
    for record in store.scan(Table::History, PREFIX.as_bytes()) {
        let (key, _) = record?;
        if is_before(&key, cutoff) {
            commit.delete(Table::History, key);
        }
    }
    store.commit(&commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::observation::Averaged;
    use crate::store::records;
    use crate::store::sled::{SledOptions, SledStore};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn average(day: &str, count: u64) -> DayAverage {
        DayAverage {
            of: Averaged::Model("orders".into()),
            day: day.parse().unwrap(),
            count: Some(count),
            millis: 12_345,
        }
    }

    #[test]
    fn a_day_is_stored_whole_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-03-12T00:00:00Z");
        let opened = SledStore::open(&folder.path().join("data"), SledOptions::at(now)).unwrap();
        let store = opened.store;
        let project = ProjectKey {
            source: "prod".into(),
            project_id: "p1".into(),
        };
        for averages in [
            vec![average("2026-03-09", 3)],
            vec![average("2026-03-10", 4)],
            vec![average("2026-03-10", 5)],
        ] {
            let mut step = Step::default();
            let day = averages[0].day;
            let changed = &mut step.changed.averages;
            changed.insert((project.clone(), day), averages);
            let mut commit = Commit::default();
            put(&step, &mut commit);
            store.commit(&commit).unwrap();
        }
        let known = |day: &str| {
            let loaded = records::load(&store).unwrap();
            assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
            let project = loaded.history.project(&project);
            project.map(|project| project.averages().on(day.parse().unwrap()))
        };
        assert_eq!(known("2026-03-09"), Some(vec![average("2026-03-09", 3)]));
        assert_eq!(known("2026-03-10"), Some(vec![average("2026-03-10", 5)]));
        let records = store.scan(Table::History, PREFIX.as_bytes());
        for record in records {
            let (key, bytes) = record.unwrap();
            records::check(Table::History, &key, &bytes).unwrap();
            assert!(check(&key, &bytes[..bytes.len() - 1]).is_err());
        }
        forget_before(&store, at("2026-03-10T00:00:00Z")).unwrap();
        assert_eq!(known("2026-03-09"), Some(vec![]));
        assert_eq!(known("2026-03-10"), Some(vec![average("2026-03-10", 5)]));
    }
}
