//! What a list held before and is expected to hold again.
//!
//! A list that shrinks may be the truth (a project was deleted) or trouble (the token lost access, the
//! server answers with an empty list). Until it has lasted, it is trouble: what is missing blinds. After
//! an hour a missing project is reported as deleted. It does not read anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::observation::{Name, Project};
use crate::source::ProblemKind;

use super::poll::Round;

/// Surveys in a row for which a missing project is expected to come back.
const EXPECTED_SURVEYS: u8 = 3;
/// After so many surveys in a row (about an hour) a missing project is taken to be deleted, and its alerts end.
/// Later than it is no longer expected: ending and beginning anew wakes people twice.
const DELETED_SURVEYS: u8 = 120;
/// Missing projects named one by one in a poll; the rest is counted.
const MAX_NAMED: usize = 10;

/// A list that held something and is empty is believed the second time only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Emptiness {
    had_rows: bool,
    pub(super) is_doubted: bool,
}

impl Emptiness {
    /// Notes that the list was read; says whether it is to be doubted this time.
    pub(super) fn doubts(&mut self, is_empty: bool) -> bool {
        self.is_doubted = is_empty && self.had_rows && !self.is_doubted;
        self.had_rows = !is_empty || self.is_doubted;
        self.is_doubted
    }

    /// The list is known to have held something.
    pub(super) fn expect_rows(&mut self) {
        self.had_rows = true;
    }
}

/// A project that was known and is not listed.
#[derive(Debug)]
struct Missing {
    name: Name,
    surveys: u8,
}

/// The projects that are missing, and whether the whole list is.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) emptiness: Emptiness,
    missing: BTreeMap<Name, Missing>,
}

impl Expected {
    /// Compares what was known (ids with names) to the ids listed in this survey.
    pub(super) fn survey(
        &mut self,
        known: impl IntoIterator<Item = (Name, Name)>,
        projects: &[Project],
        round: &mut Round<'_>,
    ) {
        let listed: BTreeSet<&Name> = projects.iter().map(|p| &p.key.project_id).collect();
        self.missing.retain(|id, _| {
            let is_back = listed.contains(id);
            if is_back {
                let notes = &mut round.memory.notes;
                notes.forget(ProblemKind::NoSuchProject, Some(id), "gone");
            }
            !is_back
        });
        for (id, name) in known {
            if !listed.contains(&id) {
                let missing = Missing { name, surveys: 0 };
                self.missing.entry(id).or_insert(missing);
            }
        }
        for missing in self.missing.values_mut() {
            missing.surveys = missing.surveys.saturating_add(1);
        }
    }

    /// Projects that are taken to be deleted.
    pub(super) fn deleted(&self) -> impl Iterator<Item = &Name> {
        let deleted = |(_, missing): &(&Name, &Missing)| missing.surveys >= DELETED_SURVEYS;
        self.missing.iter().filter(deleted).map(|(id, _)| id)
    }

    /// Says what is missing. While it is expected to come back, no poll is complete without it.
    pub(super) fn report(&self, round: &mut Round<'_>) {
        if self.emptiness.is_doubted {
            round.batch.is_complete = false;
            round.memory.notes.add(
                ProblemKind::BadBody,
                None,
                "/projects: the project list came back empty; if it stays so, check that the token still has access to the organization",
            );
        }
        let is_expected = |missing: &Missing| missing.surveys <= EXPECTED_SURVEYS;
        let (expected, gone): (Vec<_>, Vec<_>) =
            self.missing.iter().partition(|(_, m)| is_expected(m));
        round.batch.is_complete &= expected.is_empty();
        for (id, Missing { name, .. }) in expected.iter().take(MAX_NAMED) {
            let message = format!(
                "the project {name:?} ({id}) is no longer in the project list; check that the token still has access to it, or wait if it was deleted"
            );
            let notes = &mut round.memory.notes;
            notes.add(ProblemKind::NotFound, Some(id), &message);
        }
        if let Some(more) = expected.len().checked_sub(MAX_NAMED).filter(|n| *n > 0) {
            let message = format!(
                "{more} more projects are no longer in the project list; check that the token still has access to them"
            );
            let notes = &mut round.memory.notes;
            notes.add(ProblemKind::NotFound, None, &message);
        }
        for (id, Missing { name, .. }) in gone {
            let notes = &mut round.memory.notes;
            notes.add_once(ProblemKind::NoSuchProject, Some(id), "gone", || {
                format!(
                    "the project {name:?} ({id}) is gone and no longer watched; if it was not deleted, give the token access to it again"
                )
            });
        }
    }
}
