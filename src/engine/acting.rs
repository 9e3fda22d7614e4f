//! What people do: accept a new level as normal, acknowledge an alert, keep alerts quiet for a while.
//!
//! An act is input of a step like any other, and its outcome part of the step: durable with the change it
//! made before anybody is answered. All that is due is judged first, in as many steps as it takes, so that an act
//! that races with the end of its alert is refused. An act is done once: a second one of the same alert is refused, and
//! says by whom it was done before. It does not decide who may act; whoever hands it in has.

mod accepting;
mod acknowledging;
mod refusal;
mod silencing;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::labels::{Fingerprint, Matcher};
use super::observation::Name;
use super::silence::{Silence, Until};
use super::time::{Span, Timestamp, human_span, human_time};
use super::{Engine, Step};

pub use refusal::{Near, Refusal};

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
    /// The silence that was made, or that it was about.
    #[serde(default)]
    pub silence: Option<Silence>,
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

impl Target {
    fn of(alert: &Alert) -> Self {
        Self {
            fingerprint: alert.fingerprint,
            id: alert.id(),
            rule: alert.rule.clone(),
            headline: alert.headline().to_owned(),
        }
    }
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

    /// Does what people want done, after everything that is due has been judged.
    pub(super) fn act_all(&mut self, now: Timestamp, step: &mut Step) {
        for act in std::mem::take(&mut self.pending_acts) {
            let mut acted = Acted {
                target: None,
                silence: None,
                outcome: Outcome::Done(String::new()),
                act,
            };
            acted.outcome = match self.try_act(&mut acted, now, step) {
                Ok(headline) => Outcome::Done(headline),
                Err(refusal) => Outcome::Refused(refusal),
            };
            step.acts.push(acted);
        }
    }

    /// Does what people want done while no bot runs, and nothing else. Rules are brought in, silences and
    /// acknowledgements end that are over, so that an act meets what a start would; but only what the acts
    /// change is part of the step: the next start does the rest for itself.
    pub(super) fn act_offline(&mut self, acts: Vec<Act>, now: Timestamp) -> Step {
        let mut unsaid = Step::default();
        self.adopt_policy(now, &mut unsaid);
        self.end_silences(&[], now, &mut unsaid);
        self.expire_acknowledgements(now, &mut unsaid);
        let mut step = Step::default();
        self.pending_acts.extend(acts);
        self.act_all(now, &mut step);
        step
    }

    /// Does one thing, and notes what it was about.
    fn try_act(
        &mut self,
        acted: &mut Acted,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<String, Refusal> {
        let act = acted.act.clone();
        match &act.what {
            ActKind::Accept { alert } => {
                let found = self.find_alert(alert).cloned();
                let alert = found.map_err(|refusal| self.known_before(refusal, now))?;
                acted.target = Some(Target::of(&alert));
                self.accept(&alert, &act, now, step)
            }
            ActKind::Acknowledge { alert, for_millis } => {
                let alert = self.find_alert(alert)?.clone();
                acted.target = Some(Target::of(&alert));
                self.acknowledge(&alert, &act, *for_millis, now, step)
            }
            ActKind::Unacknowledge { alert } => {
                let alert = self.find_alert(alert)?.clone();
                acted.target = Some(Target::of(&alert));
                self.unacknowledge(&alert, now, step)
            }
            ActKind::Silence { .. } => {
                let silence = self.silence(&act, now, step)?;
                let said = self.said_of_new(&silence, now);
                acted.silence = Some(silence);
                Ok(said)
            }
            ActKind::Unsilence { silence } => {
                let silence = self.find_silence(silence)?.clone();
                acted.silence = Some(silence.clone());
                let ended = self.unsilence(silence, &act.by, now, step)?;
                let said = format!("Silence {} is over: {}", ended.id, ended.matchers_text());
                acted.silence = Some(ended);
                Ok(said)
            }
        }
    }

    /// An alert that has ended is nobody's to act on.
    fn refuse_over(&self, alert: &Alert, now: Timestamp) -> Result<(), Refusal> {
        let Some(ended_at) = alert.ended_at else {
            return Ok(());
        };
        let ending = alert.ending.as_ref();
        Err(Refusal::Over {
            id: alert.id(),
            at: human_time(ended_at, now, self.zone_of(alert)),
            headline: ending.map_or_else(String::new, |ending| ending.headline.clone()),
        })
    }

    /// The zone of an alert's rule.
    pub(super) fn zone_of(&self, alert: &Alert) -> Tz {
        self.rule(&alert.rule)
            .map_or(self.policy.zone, |rule| rule.zone)
    }

    /// What a person did is told at once to those who know of the alert, whatever the interval of its groups.
    pub(super) fn hasten(&mut self, print: Fingerprint, now: Timestamp, step: &mut Step) {
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

/// A span of so many milliseconds within bounds.
fn bounded(what: &str, millis: i64, least: Span, most: Span) -> Result<Span, Refusal> {
    if (least.num_milliseconds()..=most.num_milliseconds()).contains(&millis) {
        return Ok(Span::milliseconds(millis));
    }
    // More than a century is not worth a precise answer, and may not fit.
    let longest = Span::days(36_500).num_milliseconds();
    let asked = Span::milliseconds(millis.clamp(-longest, longest));
    Err(Refusal::OutOfBounds {
        what: what.to_owned(),
        asked: human_span(asked),
        least: human_span(least),
        most: human_span(most),
    })
}
