//! What a rule sees that judges more than one project: a source as a whole, or the promises of other
//! rules.

use super::super::alert::Alert;
use super::super::history::{History, ProjectHistory};
use super::super::ledger::Ledger;
use super::super::observation::Name;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp};
use super::Rule;
use super::context::Memory;

/// How long the first read of all projects is waited for.
const FIRST_READ: Span = Span::hours(1);

/// While it lasts, a look is made so often.
pub(super) const HALF_READ_AGAIN: Span = Span::minutes(1);

/// What a rule sees: everything is a value, `now` included.
#[derive(Clone, Copy, Debug)]
pub struct Survey<'a> {
    /// The instant of the decision, server time.
    pub now: Timestamp,
    /// The rule.
    pub rule: &'a Rule,
    /// A source, or an objective.
    pub subject: &'a SubjectKey,
    /// Everything observed. Each project says itself up to when it is known.
    pub history: &'a History,
    /// What became of promises.
    pub ledger: &'a Ledger,
    /// What this rule remembers of this subject.
    pub memory: &'a Memory,
    /// Alerts of this rule at this subject that are open, or whose ending is not told yet.
    pub open: &'a [Alert],
}

impl<'a> Survey<'a> {
    /// The source, for subjects that are one.
    pub fn source(&self) -> Option<&'a Name> {
        match self.subject {
            SubjectKey::Source(name) => Some(name),
            _ => None,
        }
    }

    /// Watching has just begun and some project that the rule selects was not read yet: half of it is no
    /// picture of the whole.
    pub fn is_half_read(&self) -> bool {
        let is_new = self.now < self.memory.watching_since + FIRST_READ;
        is_new
            && self.history.projects().any(|project| {
                let is_own = self.source().is_none_or(|name| *name == project.key.source);
                is_own && project.coverage.is_none() && self.rule.selectors.is_project(project)
            })
    }

    /// Projects of the source that the rule selects and that have been read completely once.
    pub fn projects(&self) -> impl Iterator<Item = &'a ProjectHistory> + use<'a> {
        let (rule, source) = (self.rule, self.source());
        self.history
            .projects()
            .filter(move |project| source == Some(&project.key.source))
            .filter(|project| project.coverage.is_some())
            .filter(|project| rule.selectors.is_project(project))
    }
}
