//! # source_unreachable
//!
//! ## What it tells
//! Tardy cannot see (no complete poll of a source for `max`), or cannot tell (a receiver has been failing
//! for `max`; told on the others). It says so once, and says when it is over.
//!
//! ## When to use
//! It is always on. Name it to change its limit or severity.
//!
//! ## Keys
//! `max` (default 5 minutes).
//!
//! ## No data
//! This rule is about missing data: it judges on Tardy's own clock. Time in which Tardy did not run does
//! not count.
//!
//! ## Resolve
//! At the next complete poll, or delivery.

use super::super::alert::{Evidence, Verdict};
use super::super::health::Health;
use super::super::notification::Fact;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::Rule;
use super::context::{Judgement, Memory, resolved};

/// No complete poll for `max`, or a receiver failing for `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUnreachable {
    /// Longest blindness; default 5 min.
    pub max: Span,
}

impl SourceUnreachable {
    /// Judges a source or a receiver by its health.
    pub fn judge(
        &self,
        rule: &Rule,
        subject: &SubjectKey,
        health: &Health,
        memory: &Memory,
        now: Timestamp,
    ) -> Judgement {
        let mut judgement = Judgement::start(memory);
        let clock = |at: Timestamp| human_time(at, now, rule.zone);
        let (what, trouble) = match subject {
            SubjectKey::Source(name) => (
                format!("source {name} cannot be read"),
                "No complete poll since",
            ),
            SubjectKey::Receiver(name) => (
                format!("receiver {name} cannot be reached"),
                "No delivery since",
            ),
            _ => return judgement,
        };
        let Some(since) = health.failing_since else {
            let at = health.ok_at.unwrap_or(now);
            let headline = match subject {
                SubjectKey::Source(name) => {
                    format!("Seeing again: source {name} was read at {}", clock(at))
                }
                _ => format!(
                    "Delivering again: {}",
                    what.replace("cannot be reached", "works")
                ),
            };
            judgement.find(at, resolved(headline, Vec::new()));
            return judgement;
        };
        let over_at = since + self.max;
        if now < over_at {
            judgement.wake(over_at);
            return judgement;
        }
        let mut facts = vec![
            Fact::new(trouble, clock(since)),
            Fact::new("Limit", human_span(self.max)),
        ];
        if matches!(subject, SubjectKey::Source(_)) {
            facts.push(Fact::new(
                "Meanwhile",
                "nothing is called late, missed or stale",
            ));
        }
        let evidence = Evidence {
            headline: format!("Blind: {what} since {}", clock(since)),
            facts,
            error: health.why.clone(),
            ..Evidence::default()
        };
        judgement.find(over_at, Verdict::Breach(evidence));
        judgement
    }
}
