//! What went wrong in a poll, in a bounded list that does not repeat itself.

use std::collections::HashSet;

use super::names::clean;
use crate::engine::observation::Name;
use crate::source::{Problem, ProblemKind};

/// Problems of one batch; the rest is counted.
pub(super) const MAX_PROBLEMS: usize = 50;
/// Longest message, in characters.
const MAX_MESSAGE_CHARS: usize = 500;
/// Things said once that are remembered; beyond that, they may be said again.
const MAX_REMEMBERED: usize = 10_000;

/// Collects the problems of a poll and remembers what was said before.
#[derive(Debug, Default)]
pub(super) struct Notes {
    problems: Vec<Problem>,
    /// Kind and project of the first problem beyond the bound, and how many there were.
    surplus: Option<(ProblemKind, usize)>,
    said: HashSet<(ProblemKind, Option<Name>, String)>,
}

impl Notes {
    /// Adds a problem.
    pub(super) fn add(&mut self, kind: ProblemKind, project_id: Option<&Name>, message: &str) {
        // A blinding problem is never the one that is only counted.
        if self.problems.len() >= MAX_PROBLEMS && !kind.is_blinding() {
            let (_, count) = self.surplus.get_or_insert((kind, 0));
            *count += 1;
            return;
        }
        self.problems.push(Problem {
            kind,
            project_id: project_id.cloned(),
            message: clean(message, MAX_MESSAGE_CHARS, false).into_owned(),
        });
    }

    /// Adds a problem unless one of its kind was said about the same `subject` of the project; says
    /// whether it did.
    pub(super) fn add_once(
        &mut self,
        kind: ProblemKind,
        project_id: Option<&Name>,
        subject: &str,
        message: impl FnOnce() -> String,
    ) -> bool {
        if self.said.len() >= MAX_REMEMBERED {
            self.said.clear();
        }
        let is_new = self
            .said
            .insert((kind, project_id.cloned(), subject.to_owned()));
        if is_new {
            self.add(kind, project_id, &message());
        }
        is_new
    }

    /// The subject may be spoken of again.
    pub(super) fn forget(&mut self, kind: ProblemKind, project_id: Option<&Name>, subject: &str) {
        self.said
            .remove(&(kind, project_id.cloned(), subject.to_owned()));
    }

    /// The problems since the last call.
    pub(super) fn take(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.problems);
        if let Some((kind, count)) = self.surplus.take() {
            let message = format!("and {count} more problems of this poll");
            problems.push(Problem {
                kind,
                project_id: None,
                message,
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_bounded_and_said_once() {
        let mut notes = Notes::default();
        for index in 0..80 {
            notes.add_once(ProblemKind::BadRow, None, &index.to_string(), || {
                "é".repeat(900)
            });
            notes.add_once(ProblemKind::BadRow, None, &index.to_string(), || {
                "again".to_owned()
            });
        }
        notes.add(ProblemKind::Timeout, None, "late");
        let problems = notes.take();
        assert_eq!(problems.len(), MAX_PROBLEMS + 2);
        assert_eq!(problems[0].message.chars().count(), MAX_MESSAGE_CHARS);
        assert_eq!(problems[MAX_PROBLEMS].kind, ProblemKind::Timeout);
        assert_eq!(
            problems[MAX_PROBLEMS + 1].message,
            "and 30 more problems of this poll"
        );
        notes.add_once(ProblemKind::BadRow, None, "3", || "again".to_owned());
        assert!(notes.take().is_empty());
        notes.forget(ProblemKind::BadRow, None, "3");
        notes.add_once(ProblemKind::BadRow, None, "3", || "again".to_owned());
        assert_eq!(notes.take().len(), 1);
    }
}
