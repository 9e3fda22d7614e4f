//! # objective
//!
//! ## What it tells
//! How much of what a service level allows is used up: of the promises of other rules (deadlines, ticks,
//! limits on runs) a share of `target` is to be kept within a rolling `window`; the rest is the budget,
//! counted in events: `floor(promises x (1 - target))` may be late or missed. 30 deliveries at 95 % may be
//! late once. A promise is judged by its own rule: what came within that rule's `grace` was kept.
//!
//! It fires two steps below the rule's severity when half of the budget is used, one step below at three
//! quarters or when one more miss spends it, and with the rule's severity when it is spent. The same alert
//! goes on from step to step. A budget of 0 is spent by the first miss.
//!
//! ## When to use
//! When an agreement speaks of a share ("delivered by 7 on 95 % of days"), and to hear of a decline that no
//! single miss shows. The rules it is made of tell of each miss themselves; this one is for whoever owns the
//! agreement. `tardy check` warns of objectives that allow no miss at all.
//!
//! ## Keys
//! `of` (names of rules whose promises count; kinds that make promises are deadline, missed_schedule and
//! run_duration with `max`), `window` (`30d`), `target` (`0.95`), and the common `project` and `job`, which
//! restrict it to some of the promises of these rules.
//!
//! ## No data
//! Excused promises are not owed and do not count; those that cannot be told (nothing is known of the time)
//! do not count either, and their number is shown. While there are promises from less than a whole window,
//! the number in a window is estimated from the rate so far and said to be ("27 of about 30"); before any
//! job has made two promises nothing can be estimated, and the verdict is Unknown.
//!
//! ## Resolve
//! When less than half of the budget is used again: at the very instant at which a miss leaves the window,
//! or when a correction shows that a promise was kept.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::history::History;
use super::super::labels::Labels;
use super::super::ledger::{Ledger, LedgerRow, Promise, SubjectRows, Tally};
use super::super::notification::Fact;
use super::super::observation::{Name, ProjectKey};
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::context::{Judgement, resolved};
use super::survey::{HALF_READ_AGAIN, Survey};
use super::{Rule, Severity};

/// Promised share of ledger rows met, counted in events.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The rules whose promises count.
    pub of: Vec<Name>,
    /// Rolling window.
    pub window: Span,
    /// Promised share, in (0, 1].
    pub target: f64,
}

/// How much of an objective's budget is used at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// How the promises in the window came out.
    pub tally: Tally,
    /// Promises that count in a whole window: those that are there, or an estimate. `None` when there are too
    /// few for one.
    pub expected: Option<usize>,
    /// Late and missed promises that are allowed; 0 while nothing can be estimated.
    pub allowed: usize,
}

impl Budget {
    /// Late and missed promises.
    pub fn used(&self) -> usize {
        self.tally.broken()
    }

    /// Misses that are left.
    pub fn left(&self) -> usize {
        self.allowed.saturating_sub(self.used())
    }

    /// The number of promises in a window is an estimate.
    pub fn is_estimate(&self) -> bool {
        self.expected != Some(self.tally.counted())
    }

    /// Which severity, if any, this much use has; `None` also while nothing can be estimated.
    fn severity(&self, rule: &Rule) -> Option<Severity> {
        let used = self.used();
        if used == 0 || self.expected.is_none() {
            return None;
        }
        if used >= self.allowed {
            return Some(rule.severity);
        }
        let softer = rule.severity.softer();
        if self.left() == 1 || used * 4 >= self.allowed * 3 {
            return Some(softer);
        }
        (used * 2 >= self.allowed).then(|| softer.softer())
    }
}

/// Last misses shown.
const MAX_SHOWN: usize = 5;

impl Objective {
    /// Judges an objective.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        let mut judgement = Judgement::start(survey.memory);
        let (now, rule) = (survey.now, survey.rule);
        if survey.is_half_read() {
            judgement.wake(now + HALF_READ_AGAIN);
            return judgement;
        }
        let parts = self.parts(rule, survey.ledger, survey.history);
        let budget = self.budget(&parts, now);
        let since = now - self.window;
        let first = |after| {
            parts
                .iter()
                .filter_map(|part| part.first_after(after))
                .min()
        };
        if budget.used() > 0 {
            // The share changes whenever a promise leaves the window, and when one is due that was kept early.
            let leaves_at = first(since).map(|due_at| due_at + self.window);
            for at in leaves_at.into_iter().chain(first(now)) {
                judgement.wake(at);
            }
        }
        let is_open = survey.open.iter().any(Alert::is_open);
        match budget.severity(rule) {
            Some(severity) => {
                let evidence = self.evidence(survey, &parts, &budget, severity);
                let missed = parts.iter().filter_map(|part| part.last_broken_until(now));
                // What was over when it resolved last does not bring it back by itself.
                let at = missed.max().unwrap_or(now).max(survey.memory.judged_until);
                judgement.find(at.min(now), Verdict::Breach(evidence));
            }
            None if budget.used() > 0 && budget.expected.is_none() => {
                let why = "too few promises to tell how many there are in the window";
                judgement.find(now, Verdict::Unknown(why.to_owned()));
            }
            None if is_open => {
                let at = self.changed_at(&parts, now);
                judgement.memory.judged_until = at;
                let headline = self.headline(survey, &parts, &budget, "is back to");
                let facts = self.facts(survey, &parts, &budget);
                judgement.find(at, resolved(headline, facts));
            }
            None => {}
        }
        judgement
    }

    /// The promises that count: of each rule, at each subject that the objective's selectors want.
    pub fn parts<'a>(
        &self,
        rule: &Rule,
        ledger: &'a Ledger,
        history: &History,
    ) -> Vec<&'a SubjectRows> {
        let subjects = self.of.iter().flat_map(|name| ledger.subjects(name));
        subjects
            .filter(|subject| is_wanted(rule, history, subject.labels()))
            .collect()
    }

    /// How much is used at an instant.
    pub fn budget(&self, parts: &[&SubjectRows], now: Timestamp) -> Budget {
        let since = now - self.window;
        let tallies = parts.iter().map(|part| part.tally(since, now));
        let tally = tallies.fold(Tally::default(), |sum, tally| sum + tally);
        let is_whole = parts.iter().any(|part| part.last_until(since).is_some());
        let expected = if is_whole || tally.counted() == 0 {
            Some(tally.counted())
        } else {
            self.estimate(parts, now)
        };
        Budget {
            tally,
            expected,
            allowed: expected.map_or(0, |events| allowed(events, self.target)),
        }
    }

    /// How many promises a whole window holds, from the rate of each subject so far.
    #[allow(clippy::cast_precision_loss)] // milliseconds and counts far below 2^52
    fn estimate(&self, parts: &[&SubjectRows], now: Timestamp) -> Option<usize> {
        let since = now - self.window;
        let mut expected = 0.0;
        let mut has_rate = false;
        for part in parts {
            let count = part.tally(since, now).counted() as f64;
            let (first, last) = (part.first_after(since), part.last_until(now));
            let gaps = (part.tally(since, now).total() as f64) - 1.0;
            let between = first.zip(last).map_or(Span::zero(), |(a, b)| b.since(a));
            if gaps < 1.0 || between <= Span::zero() {
                expected += count;
                continue;
            }
            has_rate = true;
            let age = between.num_milliseconds() as f64 * (gaps + 1.0) / gaps;
            expected += count * (self.window.num_milliseconds() as f64 / age).max(1.0);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        has_rate.then(|| expected.round() as usize)
    }

    /// The last instant at which the share changed: a promise fell due, or left the window.
    fn changed_at(&self, parts: &[&SubjectRows], now: Timestamp) -> Timestamp {
        let last = |until| parts.iter().filter_map(|part| part.last_until(until)).max();
        let left_at = last(now - self.window).map(|due_at| due_at + self.window);
        left_at.into_iter().chain(last(now)).max().unwrap_or(now)
    }

    fn evidence(
        &self,
        survey: &Survey<'_>,
        parts: &[&SubjectRows],
        budget: &Budget,
        severity: Severity,
    ) -> Evidence {
        Evidence {
            headline: self.headline(survey, parts, budget, "has used"),
            facts: self.facts(survey, parts, budget),
            severity: Some(severity),
            ..Evidence::default()
        }
    }

    fn headline(
        &self,
        survey: &Survey<'_>,
        parts: &[&SubjectRows],
        budget: &Budget,
        verb: &str,
    ) -> String {
        let name = &survey.rule.name;
        let window = human_span(self.window);
        let what = self.what(parts);
        let (met, counted) = (budget.tally.met, budget.tally.counted());
        let target = percent(self.target);
        let (used, allowed) = (budget.used(), budget.allowed);
        let use_text = match allowed {
            0 if used > 0 => format!("has {} in {window} and allows none", misses(used)),
            1.. if used > allowed => {
                format!("has {} in {window} and allows {allowed}", misses(used))
            }
            _ => format!("{verb} {used} of {} in {window}", misses(allowed)),
        };
        format!("Budget: {name} {use_text} ({what}: {met} of {counted} met, target {target})")
    }

    /// Whose promises they are: the rule, or the number of rules.
    fn what(&self, parts: &[&SubjectRows]) -> String {
        let jobs = match parts {
            [_, _, ..] => format!(" at {} subjects", parts.len()),
            _ => String::new(),
        };
        match self.of.as_slice() {
            [one] => format!("{one}{jobs}"),
            many => format!("{} rules{jobs}", many.len()),
        }
    }

    fn facts(&self, survey: &Survey<'_>, parts: &[&SubjectRows], budget: &Budget) -> Vec<Fact> {
        let now = survey.now;
        let since = now - self.window;
        let clock = |at| human_time(at, now, survey.rule.zone);
        let left = match (budget.left(), budget.allowed) {
            (_, 0) => "no miss is allowed".to_owned(),
            (0, _) => "nothing left".to_owned(),
            (left, _) => format!("{left} left"),
        };
        let used = format!("{} of {}, {left}", budget.used(), misses(budget.allowed));
        let counted = budget.tally.counted();
        let promises = match budget.expected {
            Some(expected) if budget.is_estimate() => {
                let window = human_span(self.window);
                format!(
                    "{counted} of about {expected} in {window} (estimated from the rate so far)"
                )
            }
            Some(_) | None => counted.to_string(),
        };
        let mut facts = vec![Fact::new("Used", used), Fact::new("Promises", promises)];
        if let Some(share) = budget.tally.share() {
            let text = format!("{}, target {}", percent(share), percent(self.target));
            facts.push(Fact::new("Met", text));
        }
        for (name, count, why) in [
            (
                "Unknown",
                budget.tally.unknown,
                "cannot be told, not counted",
            ),
            ("Excused", budget.tally.excused, "not owed, not counted"),
        ] {
            if count > 0 {
                facts.push(Fact::new(name, format!("{count} {why}")));
            }
        }
        let mut misses: Vec<LedgerRow> = parts
            .iter()
            .flat_map(|part| part.broken(since, now).take(MAX_SHOWN))
            .collect();
        misses.sort_by_key(|row| std::cmp::Reverse(row.due_at));
        let shown = misses.iter().take(MAX_SHOWN).map(|row| {
            let subject = title(survey.history, &row.labels);
            format!("{} {subject} {}", clock(row.due_at), how(&row.outcome))
        });
        let shown: Vec<String> = shown.collect();
        if !shown.is_empty() {
            facts.push(Fact::new("Last misses", shown.join("; ")));
        }
        if let Some(leaves_at) = self.next_leaves_at(parts, now) {
            facts.push(Fact::new("Next miss leaves", clock(leaves_at)));
        }
        facts
    }

    /// When the oldest miss in the window leaves it.
    pub fn next_leaves_at(&self, parts: &[&SubjectRows], now: Timestamp) -> Option<Timestamp> {
        let oldest = parts
            .iter()
            .filter_map(|part| part.broken(now - self.window, now).last());
        let due_at = oldest.map(|row| row.due_at).min()?;
        Some(due_at + self.window)
    }
}

/// Misses allowed among so many promises.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // counts far below 2^52, never negative
pub fn allowed(events: usize, target: f64) -> usize {
    // The share is a decimal fraction; its rounding error must not eat a whole event.
    (events as f64 * (1.0 - target) + 1e-9).floor().max(0.0) as usize
}

/// `95 %`, `99.9 %`: a share for people, rounded down so that a promise that is broken never reads as kept.
pub fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0 + 1e-6).floor() / 10.0;
    format!("{tenths} %")
}

fn misses(count: usize) -> String {
    match count {
        1 => "1 miss".to_owned(),
        many => format!("{many} misses"),
    }
}

fn how(outcome: &Promise) -> String {
    match outcome {
        Promise::LateBy(millis) => format!("late by {}", human_span(Span::milliseconds(*millis))),
        _ => "missed".to_owned(),
    }
}

/// The project a promise is about.
fn project_of(labels: &Labels) -> ProjectKey {
    ProjectKey {
        source: labels.get("source").into(),
        project_id: labels.get("project_id").into(),
    }
}

/// `finance nightly`: the subject of a promise for people.
pub fn title(history: &History, labels: &Labels) -> String {
    let project = history.project(&project_of(labels));
    let project = project.map_or_else(
        || labels.get("project_id").to_owned(),
        |project| project.display_name().to_string(),
    );
    let what = match labels.get("model") {
        "" => labels.get("job"),
        model => model,
    };
    format!("{project} {what}").trim().to_owned()
}

/// The objective's selectors want the promises of a subject.
fn is_wanted(rule: &Rule, history: &History, labels: &Labels) -> bool {
    let selectors = &rule.selectors;
    let is_project = match history.project(&project_of(labels)) {
        Some(project) => selectors.is_project(project),
        None => selectors.project.is_match(labels.get("project_id")),
    };
    let (job, model) = (labels.get("job"), labels.get("model"));
    is_project
        && selectors.job.is_match(job)
        && (model.is_empty() || selectors.model.is_match(model))
}

#[cfg(test)]
mod tests {
    use super::Severity::{Critical, Info, Warning};
    use super::*;

    #[test]
    fn budgets_are_whole_events() {
        for (events, target, expected) in [
            (30, 0.95, 1),
            (30, 0.9, 3),
            (100, 0.99, 1),
            (30, 0.99, 0),
            (1_000, 0.999, 1),
            (0, 0.5, 0),
            (10, 1.0, 0),
        ] {
            assert_eq!(allowed(events, target), expected, "{events} at {target}");
        }
        assert_eq!(percent(0.95), "95 %");
        assert_eq!(percent(0.999_6), "99.9 %");
        assert_eq!(percent(29.0 / 30.0), "96.6 %");
    }

    #[test]
    fn severity_follows_what_is_used() {
        let rule = super::super::fixture::Case::new(super::super::RuleKind::ModelFailed(
            super::super::model_failed::ModelFailed,
        ))
        .rule;
        let budget = |used, allowed| Budget {
            tally: Tally {
                met: 90,
                missed: used,
                ..Tally::default()
            },
            expected: Some(100),
            allowed,
        };
        for (used, allowed, expected) in [
            (0, 0, None),
            (1, 0, Some(Critical)),
            (0, 1, None),
            (1, 1, Some(Critical)),
            (1, 2, Some(Warning)),
            (1, 3, None),
            (2, 3, Some(Warning)),
            (1, 4, None),
            (2, 4, Some(Info)),
            (3, 4, Some(Warning)),
            (9, 20, None),
            (10, 20, Some(Info)),
            (15, 20, Some(Warning)),
            (19, 20, Some(Warning)),
            (20, 20, Some(Critical)),
            (25, 20, Some(Critical)),
        ] {
            assert_eq!(
                budget(used, allowed).severity(&rule),
                expected,
                "{used} of {allowed}"
            );
        }
    }
}
