//! What growing runs run into: the limits that other rules of the policy set for the same subject.

use super::super::super::baseline::{seconds, span};
use super::super::super::history::ProjectHistory;
use super::super::super::observation::Run;
use super::super::super::subject::SubjectKey;
use super::super::super::time::human_span;
use super::super::context::Context;
use super::super::deadline::Deadline;
use super::super::{Clock, Limit, Rule, RuleKind};
use super::Regression;
use super::samples::Sample;
use super::slope::median;

/// A duration that must not be reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ceiling {
    /// The duration.
    pub(super) seconds: f64,
    /// What is so at it: `over its limit of 45 min`.
    pub(super) beyond: String,
    /// Who set it: `45 min (rule orders-too-long)`.
    pub(super) origin: String,
}

/// Promises whose runs tell how much time a deadline leaves.
const PROMISES: usize = 3;

impl Regression {
    /// Some rule of the policy, or this one, sets a limit for a subject.
    pub fn has_ceiling(&self, rules: &[Rule], project: &ProjectHistory, at: &SubjectKey) -> bool {
        self.limit.is_some() || self.limiting(rules, project, at).next().is_some()
    }

    /// Some rule of the policy, or this one, sets a limit that could be meant.
    pub fn may_have_ceiling(&self, rules: &[Rule], is_model: bool) -> bool {
        let sets = |rule: &Rule| match &rule.kind {
            RuleKind::ModelDuration(_) => is_model && fixed_max(&rule.kind).is_some(),
            RuleKind::RunDuration(kind) => {
                !is_model && kind.clock == self.clock && fixed_max(&rule.kind).is_some()
            }
            RuleKind::Deadline(_) => !is_model && self.clock != Clock::Queue,
            _ => false,
        };
        self.limit.is_some() || rules.iter().any(sets)
    }

    /// Some rule of the policy, or this one, sets a limit for runs like `run`, known yet or not.
    pub(super) fn has_ceiling_for(&self, ctx: &Context<'_>, run: Option<&Run>) -> bool {
        let mut limiting = self.limiting(ctx.rules, ctx.project, ctx.subject);
        self.limit.is_some() || limiting.any(|rule| run.is_none_or(|run| is_wanted(rule, run)))
    }

    /// The lowest limit for runs like `last`, as it was known when that ended.
    pub(super) fn ceiling(&self, ctx: &Context<'_>, last: &Sample<'_>) -> Option<Ceiling> {
        if let Some(limit) = self.limit {
            return Some(fixed(seconds(limit), "`limit` of this rule"));
        }
        let is_run = |rule: &&Rule| last.run.is_none_or(|run| is_wanted(rule, run));
        self.limiting(ctx.rules, ctx.project, ctx.subject)
            .filter(is_run)
            .filter_map(|rule| self.ceiling_of(ctx, rule, last))
            .min_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }

    /// Rules that set a limit for a subject, on the same clock.
    fn limiting<'a>(
        &self,
        rules: &'a [Rule],
        project: &'a ProjectHistory,
        subject: &'a SubjectKey,
    ) -> impl Iterator<Item = &'a Rule> {
        let clock = self.clock;
        rules
            .iter()
            .filter(move |rule| sets_limit(rule, clock, subject))
            .filter(move |rule| selects(rule, project, subject))
    }

    fn ceiling_of(&self, ctx: &Context<'_>, rule: &Rule, last: &Sample<'_>) -> Option<Ceiling> {
        let origin = format!("rule {}", rule.name);
        match &rule.kind {
            RuleKind::Deadline(deadline) => self.time_left(ctx, rule, deadline, last),
            kind => Some(fixed(seconds(fixed_max(kind)?), &origin)),
        }
    }

    /// The time that a deadline usually leaves a run from the start of the clock.
    fn time_left(
        &self,
        ctx: &Context<'_>,
        rule: &Rule,
        deadline: &Deadline,
        last: &Sample<'_>,
    ) -> Option<Ceiling> {
        let theirs = Context { rule, ..*ctx };
        let spans = deadline.times_left(&theirs, ctx.job()?, self.clock, last.finished_at);
        let mut left: Vec<f64> = spans.iter().map(|left| seconds(*left)).collect();
        let usual = median(&mut left);
        if left.len() < PROMISES || usual <= 0.0 {
            return None;
        }
        let by = deadline.by_words(last.finished_at);
        let usual_words = human_span(span(usual));
        Some(Ceiling {
            seconds: usual,
            beyond: format!("not done {by}"),
            origin: format!(
                "{usual_words}, as done {by} (rule {}); usual of {} promises",
                rule.name,
                left.len()
            ),
        })
    }
}

fn fixed(limit: f64, origin: &str) -> Ceiling {
    let words = human_span(span(limit));
    Ceiling {
        seconds: limit,
        beyond: format!("over its limit of {words}"),
        origin: format!("{words} ({origin})"),
    }
}

fn fixed_max(kind: &RuleKind) -> Option<super::Span> {
    let max = match kind {
        RuleKind::RunDuration(rule) => rule.max,
        RuleKind::ModelDuration(rule) => rule.max,
        _ => None,
    };
    match max? {
        Limit::Fixed(limit) => Some(limit),
        Limit::Factor { .. } => None,
    }
}

/// The kind of rule sets a limit for this kind of subject, on this clock.
fn sets_limit(rule: &Rule, clock: Clock, subject: &SubjectKey) -> bool {
    match (&rule.kind, subject) {
        (RuleKind::RunDuration(kind), SubjectKey::Job(..)) => {
            kind.clock == clock && fixed_max(&rule.kind).is_some()
        }
        (RuleKind::ModelDuration(_), SubjectKey::Model(..)) => fixed_max(&rule.kind).is_some(),
        // Time in the queue is not what a deadline is about.
        (RuleKind::Deadline(_), SubjectKey::Job(..)) => clock != Clock::Queue,
        _ => false,
    }
}

fn selects(rule: &Rule, project: &ProjectHistory, subject: &SubjectKey) -> bool {
    let selectors = &rule.selectors;
    let is_subject = match subject {
        SubjectKey::Job(_, job) => selectors.job.is_match(job),
        SubjectKey::Model(_, job, model) => {
            selectors.job.is_match(job) && selectors.model.is_match(model)
        }
        _ => false,
    };
    is_subject && selectors.is_project(project)
}

fn is_wanted(rule: &Rule, run: &Run) -> bool {
    let selectors = &rule.selectors;
    selectors.job_type.is_match(&run.job_type) && selectors.triggered_by.is_match(&run.triggered_by)
}
