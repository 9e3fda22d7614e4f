//! What people do: accept a new level as normal, acknowledge an alert, keep alerts quiet for a while.
//!
//! An act is input of a step like any other, and its outcome part of the step: durable with the change it
//! made before anybody is answered. Observations of the same step are judged first, so that an act that races
//! with the end of its alert is refused. An act is done once: a second one of the same alert is refused, and
//! says by whom it was done before. It does not decide who may act; whoever hands it in has.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{self, Alert, EndReason, Ending};
use super::baseline::span;
use super::labels::{Fingerprint, Matcher};
use super::notification::Fact;
use super::observation::Name;
use super::rule::RuleKind;
use super::rule::regression::{Accepted, Method};
use super::silence::Until;
use super::time::{Timestamp, human_span, human_time};
use super::watch::Watch;
use super::{Engine, Step};

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// Who.
    pub by: Name,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub comment: Option<String>,
    /// What.
    pub what: ActKind,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// The level that a regression is about is normal from now on.
    Accept {
        /// Short id of the alert, or the beginning of it.
        alert: String,
    },
    /// A person takes it: reminders and escalation stop, it stays open.
    Acknowledge {
        /// Short id of the alert, or the beginning of it.
        alert: String,
        /// For so many milliseconds; `None`: 8 hours.
        for_millis: Option<i64>,
    },
    /// An acknowledgement is taken back.
    Unacknowledge {
        /// Short id of the alert, or the beginning of it.
        alert: String,
    },
    /// Alerts are kept quiet for a while.
    Silence {
        /// All must match; at least one.
        matchers: Vec<Matcher>,
        /// For so many milliseconds at most.
        for_millis: i64,
        /// What ends it before that.
        until: Until,
    },
    /// A silence ends now.
    Unsilence {
        /// Its id, or the beginning of it.
        silence: String,
    },
}

impl ActKind {
    /// The alert that it names.
    pub fn alert(&self) -> Option<&str> {
        match self {
            Self::Accept { alert }
            | Self::Acknowledge { alert, .. }
            | Self::Unacknowledge { alert } => Some(alert),
            Self::Silence { .. } | Self::Unsilence { .. } => None,
        }
    }
}

/// What came of an act; append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// What was wanted.
    pub act: Act,
    /// The alert it was about, when there is one.
    pub target: Option<Target>,
    /// Done, or refused.
    pub outcome: Outcome,
}

/// The alert that an act was about, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its identity.
    pub fingerprint: Fingerprint,
    /// Its short id.
    pub id: String,
    /// Its rule.
    pub rule: Name,
    /// What it said.
    pub headline: String,
}

/// Done, or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done; what people are told.
    Done(String),
    /// It was not.
    Refused(Refusal),
}

/// An alert by its id and headline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Short id.
    pub id: String,
    /// What it says.
    pub headline: String,
}

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n  {} {}", self.id, self.headline)
    }
}

/// Why an act was not done, or an alert not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No alert has that id.
    #[error("there is no alert `{asked}`; {}", near(.nearest))]
    NoSuchAlert {
        /// What was asked for.
        asked: String,
        /// The nearest that are open.
        nearest: Vec<Near>,
    },
    /// Several alerts have ids that begin so.
    #[error("`{asked}` is the beginning of several ids; write more of one of them:{}", list(.matching))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Those.
        matching: Vec<Near>,
    },
    /// It has ended meanwhile.
    #[error("alert {id} is over: it ended at {at} ({headline})")]
    Over {
        /// Its id.
        id: String,
        /// When, for people.
        at: String,
        /// How.
        headline: String,
    },
    /// It was done before.
    #[error("alert {id} was accepted already at {at} by {by}")]
    AlreadyAccepted {
        /// Its id.
        id: String,
        /// When, for people.
        at: String,
        /// Who did.
        by: Name,
    },
    /// It is waiting for `keep_firing_for`.
    #[error(
        "nothing to accept: the runs of alert {id} are back to usual since {since}, and it ends by itself"
    )]
    Back {
        /// Its id.
        id: String,
        /// Since when, for people.
        since: String,
    },
    /// Its kind compares nothing with what is usual.
    #[error(
        "alert {id} is of kind {kind}, which has no level to accept; run_regression and model_regression have"
    )]
    NoLevel {
        /// Its id.
        id: String,
        /// Its kind.
        kind: Name,
    },
    /// It is about where runs go, not about a level.
    #[error(
        "alert {id} is of method trend: a slope has no level to accept; raise `limit`, or the limit of the \
         rule that it names, or silence it"
    )]
    Slope {
        /// Its id.
        id: String,
    },
    /// It is about daily averages, which are always held against the days before them.
    #[error(
        "alert {id} is about daily averages, of which no level can be accepted; raise `percent`, or silence it"
    )]
    Averages {
        /// Its id.
        id: String,
    },
    /// The runs it is about are not known any more.
    #[error(
        "the slow runs that alert {id} is about are not known any more, so there is no level to accept"
    )]
    NoRuns {
        /// Its id.
        id: String,
    },
}

impl Refusal {
    /// What was asked for is not there, or cannot be meant: a mistake of the one who asked.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::NoSuchAlert { .. }
            | Self::Ambiguous { .. }
            | Self::NoLevel { .. }
            | Self::Slope { .. }
            | Self::Averages { .. } => true,
            Self::Over { .. }
            | Self::AlreadyAccepted { .. }
            | Self::Back { .. }
            | Self::NoRuns { .. } => false,
        }
    }
}

fn near(nearest: &[Near]) -> String {
    if nearest.is_empty() {
        return "no alert is open".to_owned();
    }
    format!("the nearest that are open:{}", list(nearest))
}

fn list(alerts: &[Near]) -> String {
    alerts.iter().map(ToString::to_string).collect()
}

/// Alerts named when none was found, or several.
const MAX_NEAR: usize = 5;

/// Longest id, name or comment taken in, in characters.
const MAX_ID: usize = 40;
const MAX_NAME: usize = 80;
const MAX_COMMENT: usize = 500;

impl Act {
    /// An act with texts in the length in which they are kept, in one line each.
    #[must_use]
    pub fn new(by: &str, at: Timestamp, comment: Option<&str>, what: ActKind) -> Self {
        let comment = comment.map(|text| one_line(text, MAX_COMMENT));
        let by = one_line(by, MAX_NAME);
        let what = match what {
            ActKind::Accept { alert } => ActKind::Accept {
                alert: one_line(&alert, MAX_ID),
            },
            ActKind::Acknowledge { alert, for_millis } => ActKind::Acknowledge {
                alert: one_line(&alert, MAX_ID),
                for_millis,
            },
            ActKind::Unacknowledge { alert } => ActKind::Unacknowledge {
                alert: one_line(&alert, MAX_ID),
            },
            ActKind::Unsilence { silence } => ActKind::Unsilence {
                silence: one_line(&silence, MAX_ID),
            },
            silence @ ActKind::Silence { .. } => silence,
        };
        Self {
            by: if by.is_empty() {
                "somebody".into()
            } else {
                by.into()
            },
            at,
            comment: comment.filter(|text| !text.is_empty()),
            what,
        }
    }
}

fn one_line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let head: String = line.chars().take(max - 1).collect();
    format!("{head}…")
}

impl Alert {
    /// It ended because a person accepted the new level.
    pub fn is_accepted(&self) -> bool {
        let ending = self.ending.as_ref().filter(|_| self.ended_at.is_some());
        ending.is_some_and(|ending| ending.reason == EndReason::Accepted)
    }
}

impl Engine {
    /// The alert whose short id is, or begins with, `asked`.
    pub fn find_alert(&self, asked: &str) -> Result<&Alert, Refusal> {
        let asked = asked.trim().trim_start_matches('#').to_lowercase();
        let mut matching: Vec<(String, &Alert)> = self
            .alerts
            .values()
            .map(|alert| (alert.id(), alert))
            .filter(|(id, _)| !asked.is_empty() && id.starts_with(&asked))
            .collect();
        if let Some(exact) = matching.iter().position(|(id, _)| *id == asked) {
            return Ok(matching.swap_remove(exact).1);
        }
        match matching.as_slice() {
            [] => Err(Refusal::NoSuchAlert {
                nearest: self.nearest(&asked),
                asked,
            }),
            [(_, alert)] => Ok(alert),
            several => {
                let matching = several.iter().map(|(id, alert)| Near {
                    id: id.clone(),
                    headline: alert.headline().to_owned(),
                });
                let matching = matching.take(MAX_NEAR).collect();
                Err(Refusal::Ambiguous { asked, matching })
            }
        }
    }

    /// Open alerts whose ids are nearest to what was written.
    fn nearest(&self, asked: &str) -> Vec<Near> {
        let open = self.alerts.values().filter(|alert| alert.is_open());
        let mut near: Vec<(usize, Near)> = open
            .map(|alert| {
                let id = alert.id();
                let distance = strsim::damerau_levenshtein(&id, asked);
                let headline = alert.headline().to_owned();
                (distance, Near { id, headline })
            })
            .collect();
        near.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
        near.truncate(MAX_NEAR);
        near.into_iter().map(|(_, near)| near).collect()
    }

    /// Does what people want done, after everything of the step has been judged.
    pub(super) fn act(&mut self, acts: Vec<Act>, now: Timestamp, step: &mut Step) {
        for act in acts {
            let asked = act.what.alert().unwrap_or_default().to_owned();
            let (target, outcome) = match self.find_alert(&asked).cloned() {
                Ok(alert) => {
                    let target = Target {
                        fingerprint: alert.fingerprint,
                        id: alert.id(),
                        rule: alert.rule.clone(),
                        headline: alert.headline().to_owned(),
                    };
                    (Some(target), self.accept(&alert, &act, now, step))
                }
                Err(refusal) => (None, Err(self.known_before(refusal, now))),
            };
            let outcome = match outcome {
                Ok(headline) => Outcome::Done(headline),
                Err(refusal) => Outcome::Refused(refusal),
            };
            step.acts.push(Acted {
                act,
                target,
                outcome,
            });
        }
    }

    /// An alert that was accepted, and whose ending everybody has heard, is not forgotten.
    fn known_before(&self, refusal: Refusal, now: Timestamp) -> Refusal {
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

    fn accept(
        &mut self,
        alert: &Alert,
        act: &Act,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<String, Refusal> {
        let id = alert.id();
        let zone = self
            .rule(&alert.rule)
            .map_or(chrono_tz::Tz::UTC, |rule| rule.zone);
        if let Some(ended_at) = alert.ended_at {
            let ending = alert.ending.as_ref();
            return Err(Refusal::Over {
                id,
                at: human_time(ended_at, now, zone),
                headline: ending.map_or_else(String::new, |ending| ending.headline.clone()),
            });
        }
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

    /// What a person did is told at once to those who know of the alert, whatever the interval of its groups.
    fn hasten(&mut self, print: Fingerprint, now: Timestamp, step: &mut Step) {
        for key in self.memberships.get(&print).cloned().unwrap_or_default() {
            let group = self.groups.get_mut(&key);
            let Some(group) = group.filter(|group| group.told_at.is_some()) else {
                continue;
            };
            if let Some(due_at) = group.due_at.replace(now) {
                self.due_groups.remove(&(due_at, key.clone()));
            }
            self.due_groups.insert((now, key.clone()));
            step.changed.groups.insert(key, Some(group.clone()));
        }
    }
}
