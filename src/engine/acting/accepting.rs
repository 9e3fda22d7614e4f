//! Accepting: the level that a regression is about is normal from now on.

use std::sync::Arc;

use super::super::alert::{self, Alert, EndReason, Ending};
use super::super::baseline::span;
use super::super::labels::Fingerprint;
use super::super::notification::Fact;
use super::super::rule::RuleKind;
use super::super::rule::regression::{Accepted, Method};
use super::super::time::{Timestamp, human_span, human_time};
use super::super::watch::Watch;
use super::super::{Engine, Step};
use super::{Act, Refusal};

impl Alert {
    /// It ended because a person accepted the new level.
    pub fn is_accepted(&self) -> bool {
        let ending = self.ending.as_ref().filter(|_| self.ended_at.is_some());
        ending.is_some_and(|ending| ending.reason == EndReason::Accepted)
    }
}

impl Engine {
    /// An alert that was accepted, and whose ending everybody has heard, is not forgotten.
    pub(super) fn known_before(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        let Refusal::NoSuchAlert { asked, .. } = &refusal else {
            return refusal;
        };
        let accepted = self.watches.iter().find_map(|watch| {
            let known = watch.memory.accepted.as_ref();
            let known = known.filter(|known| known.alert == *asked)?;
            Some((known, self.policy.rules[watch.rule].zone))
        });
        match accepted {
            Some((known, zone)) => Refusal::AlreadyAccepted {
                id: known.alert.clone(),
                at: human_time(known.at, now, zone),
                by: known.by.clone(),
            },
            None => refusal,
        }
    }

    pub(super) fn accept(
        &mut self,
        alert: &Alert,
        act: &Act,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<String, Refusal> {
        let id = alert.id();
        let zone = self.zone_of(alert);
        self.refuse_over(alert, now)?;
        if !matches!(&*alert.kind, "run_regression" | "model_regression") {
            let kind = alert.kind.clone();
            return Err(Refusal::NoLevel { id, kind });
        }
        if let Some(refusal) = self.without_level(alert) {
            return Err(refusal);
        }
        if let Some(since) = alert.cleared_at {
            let since = human_time(since, now, zone);
            return Err(Refusal::Back { id, since });
        }
        let Some((accepted, ending)) = self.accepted(alert, act, now) else {
            return Err(Refusal::NoRuns { id });
        };
        let headline = ending.headline.clone();
        self.settle_at(alert.fingerprint, accepted, ending, now, step);
        Ok(headline)
    }

    /// A regression of which no level can be accepted: the next verdict would open its alert again.
    fn without_level(&self, alert: &Alert) -> Option<Refusal> {
        let id = alert.id();
        let watch = self.watches.get(self.watches.owner(alert.fingerprint)?);
        if watch.subject.is_averaged() {
            return Some(Refusal::Averages { id });
        }
        match &self.policy.rules[watch.rule].kind {
            RuleKind::RunRegression(kind) | RuleKind::ModelRegression(kind)
                if kind.method == Method::Trend =>
            {
                Some(Refusal::Slope { id })
            }
            _ => None,
        }
    }

    /// The accepted level, and what people are told of it.
    fn accepted(&self, alert: &Alert, act: &Act, now: Timestamp) -> Option<(Accepted, Ending)> {
        let watch = self.watches.get(self.watches.owner(alert.fingerprint)?);
        let rule = &self.policy.rules[watch.rule];
        let (RuleKind::RunRegression(kind) | RuleKind::ModelRegression(kind)) = &rule.kind else {
            return None;
        };
        let ctx = self.context(watch, &[], now)?;
        let accepted = kind.level(&ctx, alert, act)?;
        let (level, before) = (
            human_span(span(accepted.level_seconds)),
            human_span(span(accepted.before.median)),
        );
        let why = act
            .comment
            .as_ref()
            .map_or_else(String::new, |text| format!(": {text}"));
        let headline = format!(
            "Accepted: {} now takes {level} (was {before}), by {}{why}",
            ctx.title(),
            act.by
        );
        let since = ctx.clock(accepted.since);
        let facts = vec![
            Fact::new(
                "Level",
                format!("{level}, median of slow runs since {since}"),
            ),
            Fact::new(
                "Usual before",
                format!("{before}, {}", accepted.before.basis()),
            ),
            Fact::new("Accepted by", act.by.to_string()),
        ];
        let reason = EndReason::Accepted;
        let ending = Ending {
            reason,
            headline,
            facts,
        };
        Some((accepted, ending))
    }

    /// Ends an alert with an accepted level, which is usual for its subject from now on.
    fn settle_at(
        &mut self,
        print: Fingerprint,
        accepted: Accepted,
        ending: Ending,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(id) = self.watches.owner(print) else {
            return;
        };
        let policy = Arc::clone(&self.policy);
        let watch = self.watches.get_mut(id);
        let rule = &policy.rules[watch.rule];
        watch.memory.accept(accepted);
        let (key, memory) = (Watch::key(rule, &watch.subject), watch.memory.clone());
        step.changed.memories.insert(key, Some(memory));
        let mut slot = self.alerts.remove(&print);
        let closed = alert::close(&mut slot, ending, now);
        step.transitions.extend(closed.transitions);
        match slot {
            Some(alert) => drop(self.alerts.insert(print, alert)),
            None => self.watches.disown(print),
        }
        self.note_change(print, rule, now, step);
        self.hasten(print, now, step);
    }
}
