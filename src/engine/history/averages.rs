//! Averages of whole days: of a project's runs and of its models, where no single ones can be read.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::super::observation::{Averaged, DayAverage, Name, ProjectKey, day_end};
use super::super::subject::{ALL_JOBS, SubjectKey};
use super::super::time::Timestamp;
use super::{Change, History, ProjectHistory};

/// Days kept of a subject: more than any baseline asks for.
const MAX_DAYS: usize = 400;

/// What one subject took on average, by day.
pub type Days = BTreeMap<NaiveDate, Average>;

/// An average of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Average {
    /// How often it was run, where the source says.
    pub count: Option<u64>,
    /// Milliseconds; above 0.
    pub millis: u64,
}

/// The averages of a project.
#[derive(Debug, Default)]
pub struct Averages {
    by_what: BTreeMap<Averaged, Days>,
}

impl Averages {
    /// Averages of a subject, if that is what is known of it.
    pub fn of(&self, subject: &SubjectKey) -> Option<&Days> {
        if !subject.is_averaged() {
            return None;
        }
        match subject {
            SubjectKey::Job(..) => self.by_what.get(&Averaged::Runs),
            SubjectKey::Model(_, _, model) => self.by_what.get(&Averaged::Model(model.clone())),
            _ => None,
        }
    }

    /// Everything known of a day.
    pub fn on(&self, day: NaiveDate) -> Vec<DayAverage> {
        let known = self.by_what.iter().filter_map(|(of, days)| {
            let average = days.get(&day)?;
            Some(DayAverage {
                of: of.clone(),
                day,
                count: average.count,
                millis: average.millis,
            })
        });
        known.collect()
    }

    /// The newest day known of the runs.
    pub fn newest_of_runs(&self) -> Option<NaiveDate> {
        let days = self.by_what.get(&Averaged::Runs)?;
        days.last_key_value().map(|(day, _)| *day)
    }

    /// The newest day known of any model.
    pub fn newest_of_models(&self) -> Option<NaiveDate> {
        let models = self.by_what.iter().filter(|(of, _)| **of != Averaged::Runs);
        let newest = models.filter_map(|(_, days)| days.last_key_value());
        newest.map(|(day, _)| *day).max()
    }

    /// Nothing is known by averages.
    pub fn is_empty(&self) -> bool {
        self.by_what.is_empty()
    }

    fn subjects(&self, key: &ProjectKey) -> impl Iterator<Item = SubjectKey> {
        self.by_what.keys().map(|of| subject(key, of))
    }

    /// True when it is news: of each day the average told last counts.
    fn put(&mut self, of: Averaged, day: NaiveDate, average: Average) -> bool {
        let days = self.by_what.entry(of).or_default();
        let is_news = days.insert(day, average) != Some(average);
        while days.len() > MAX_DAYS {
            days.pop_first();
        }
        is_news
    }

    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        self.by_what.retain(|_, days| {
            days.retain(|day, _| day_end(*day) > cutoff);
            !days.is_empty()
        });
    }
}

fn subject(key: &ProjectKey, of: &Averaged) -> SubjectKey {
    let job = Name::from(ALL_JOBS);
    match of {
        Averaged::Runs => SubjectKey::Job(key.clone(), job),
        Averaged::Model(model) => SubjectKey::Model(key.clone(), job, model.clone()),
    }
}

impl History {
    /// Takes in averages; says what each of them changed.
    pub fn observe_averages(&mut self, key: &ProjectKey, averages: Vec<DayAverage>) -> Vec<Change> {
        let mut changes = Vec::new();
        for DayAverage {
            of,
            day,
            count,
            millis,
        } in averages
        {
            let of = match of {
                Averaged::Runs => Averaged::Runs,
                Averaged::Model(model) => Averaged::Model(self.share(model)),
            };
            let subject = subject(key, &of);
            let average = Average { count, millis };
            if millis > 0 && self.entry(key).averages.put(of, day, average) {
                changes.push(Change::Subject(subject));
            }
        }
        changes
    }
}

impl ProjectHistory {
    /// What is known by daily averages.
    pub fn averages(&self) -> &Averages {
        &self.averages
    }

    /// Subjects that are known by daily averages.
    pub fn averaged_subjects(&self) -> impl Iterator<Item = SubjectKey> {
        self.averages.subjects(&self.key)
    }

    /// The newest day of runs, and the newest of models, where those are known by daily averages and not by
    /// single rows that are newer.
    pub fn averaged_until(&self) -> (Option<NaiveDate>, Option<NaiveDate>) {
        let is_newer = |day: &NaiveDate, known: Option<Timestamp>| {
            known.is_none_or(|known| known < day_end(*day))
        };
        let (runs, models) = (
            self.averages.newest_of_runs(),
            self.averages.newest_of_models(),
        );
        (
            runs.filter(|day| is_newer(day, self.coverage)),
            models.filter(|day| is_newer(day, self.executions_known_until)),
        )
    }

    /// Something of the project is known to the engine: its runs, or averages of them.
    pub fn is_read(&self) -> bool {
        self.coverage.is_some() || !self.averages.is_empty()
    }
}
