//! Which job a run belongs to.
//!
//! A run carries the name of its `CronJob`, a job carries its own name. They are believed to be equal;
//! the `CronJob`'s may carry a prefix; a configured map settles what neither covers.

use std::collections::{BTreeMap, HashMap};

use crate::engine::observation::{Job, Name};

/// `CronJob` names resolved and remembered; beyond that, the memory begins anew.
const MAX_RESOLVED: usize = 4_096;

/// The jobs of one project and what their `CronJob`s are called.
#[derive(Debug, Default)]
pub(super) struct JobNames {
    /// `None` until the list was read once.
    jobs: Option<Vec<Job>>,
    resolved: HashMap<String, Resolved>,
}

/// What a `CronJob` name came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The job's name, or the `CronJob`'s own where no job fits.
    pub(super) job: Name,
    /// A job list is known and no job of it fits.
    pub(super) is_unmatched: bool,
}

impl JobNames {
    /// The jobs as last read.
    pub(super) fn jobs(&self) -> Option<&[Job]> {
        self.jobs.as_deref()
    }

    /// Takes a new list; says whether it differs from the one before.
    pub(super) fn replace(&mut self, jobs: Vec<Job>) -> bool {
        let has_changed = self.jobs.as_ref() != Some(&jobs);
        if has_changed {
            self.jobs = Some(jobs);
            self.resolved.clear();
        }
        has_changed
    }

    /// Equal name first, then `overrides`, then the only job that is a suffix after a `-`.
    pub(super) fn resolve(
        &mut self,
        cronjob: &str,
        overrides: &BTreeMap<String, String>,
    ) -> Resolved {
        if let Some(resolved) = self.resolved.get(cronjob) {
            return resolved.clone();
        }
        let resolved = self.look_up(cronjob, overrides);
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.clear();
        }
        self.resolved.insert(cronjob.to_owned(), resolved.clone());
        resolved
    }

    fn look_up(&self, cronjob: &str, overrides: &BTreeMap<String, String>) -> Resolved {
        let matched = |job: Name| Resolved {
            job,
            is_unmatched: false,
        };
        let jobs = self.jobs.as_deref().unwrap_or_default();
        if let Some(job) = jobs.iter().find(|job| *job.name == *cronjob) {
            return matched(job.name.clone());
        }
        if let Some(target) = overrides.get(cronjob) {
            let known = jobs.iter().find(|job| *job.name == **target);
            return matched(
                known.map_or_else(|| super::names::name(target), |job| job.name.clone()),
            );
        }
        let is_suffix = |job: &&Job| {
            cronjob
                .strip_suffix(&*job.name)
                .is_some_and(|prefix| prefix.len() > 1 && prefix.ends_with('-'))
        };
        let mut fitting = jobs.iter().filter(is_suffix);
        match (fitting.next(), fitting.next()) {
            (Some(job), None) => matched(job.name.clone()),
            _ => Resolved {
                job: super::names::name(cronjob),
                is_unmatched: self.jobs.is_some(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> Job {
        Job {
            name: name.into(),
            schedule: None,
            is_enabled: true,
            updated_at: None,
        }
    }

    #[test]
    fn runs_find_their_jobs() {
        let mut names = JobNames::default();
        let overrides = BTreeMap::from([
            ("cj-77".to_owned(), "hourly".to_owned()),
            ("nightly".to_owned(), "hourly".to_owned()),
            ("cj-78".to_owned(), "gone".to_owned()),
        ]);
        assert!(
            !names.resolve("anything", &overrides).is_unmatched,
            "no list, no complaint"
        );
        assert!(names.replace(vec![
            job("hourly"),
            job("nightly"),
            job("eu-orders"),
            job("orders")
        ]));
        assert!(!names.replace(vec![
            job("hourly"),
            job("nightly"),
            job("eu-orders"),
            job("orders")
        ]));
        for (cronjob, expected, is_unmatched) in [
            ("hourly", "hourly", false),
            ("nightly", "nightly", false), // equal beats the map
            ("cj-77", "hourly", false),
            ("cj-78", "gone", false), // the map is believed
            ("proj-a1-hourly", "hourly", false),
            ("xhourly", "xhourly", true),
            ("-hourly", "-hourly", true),
            ("p-us-orders", "orders", false),
            ("p-eu-orders", "p-eu-orders", true), // two jobs fit
            ("weekly", "weekly", true),
        ] {
            let resolved = names.resolve(cronjob, &overrides);
            assert_eq!(
                (&*resolved.job, resolved.is_unmatched),
                (expected, is_unmatched),
                "{cronjob}"
            );
        }
    }
}
