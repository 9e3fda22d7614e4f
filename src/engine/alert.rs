//! Alerts: one rule and one set of identity labels over time, and the fold of verdicts into states.

mod acknowledgement;
mod incident;

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::flapping::{Changes, FLAPPING, Flapping};
use super::labels::{Fingerprint, Labels};
use super::notification::{AcknowledgedView, AlertView, Fact};
use super::observation::Name;
use super::rule::{Rule, Severity};
use super::time::{Span, Timestamp};

pub use acknowledgement::Acknowledgement;
pub use incident::{Incident, Member};

/// What a rule says of a subject (or one occurrence at it) at an instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// All is well. The evidence becomes the ending of an open alert.
    Ok(Ending),
    /// The condition holds.
    Breach(Evidence),
    /// Not enough data, or not covered. Changes nothing. The text says what is missing.
    Unknown(String),
}

/// A verdict with the occurrence it is about and the instant from which it is true.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Labels that distinguish occurrences at the same subject: a run, a date. Often empty.
    pub occurrence: Labels,
    /// When it became true.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
}

/// Why an alert ended, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub reason: EndReason,
    /// One line that stands alone: `Recovered: finance nightly-refresh succeeded`.
    pub headline: String,
    /// The values now.
    pub facts: Vec<Fact>,
}

/// Why an alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The condition is over.
    Resolved,
    /// What it was about has passed or is gone.
    Expired,
    /// The rule was removed or disabled.
    RuleRemoved,
    /// A person has accepted the new level as normal.
    Accepted,
}

/// What a breach is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// One line that stands alone.
    pub headline: String,
    /// Names and values.
    pub facts: Vec<Fact>,
    /// The end of the error text.
    pub error: Option<String>,
    /// The run it is about.
    pub run_id: Option<Name>,
    /// Replaces the rule's severity (early warnings are softer).
    pub severity: Option<Severity>,
    /// When this changes while firing, people are told again: the class of an error.
    pub change_key: Option<String>,
    /// Orders alerts of the same severity in a message, largest first: seconds added.
    pub weight: f64,
    /// The baseline it was judged by; frozen in the alert.
    pub baseline: Option<Baseline>,
    /// More labels for routing and texts, not part of identity.
    pub labels: Labels,
    /// Since when it is so, where that is before it was told: the first slow run.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The jobs that fail together: of a platform incident alone.
    #[serde(default)]
    pub incident: Option<Box<Incident>>,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// No breach.
    Inactive,
    /// Breaching, not for long enough.
    Pending,
    /// Breaching, and told.
    Firing,
    /// Over; kept until every receiver that was told has been told the end.
    Resolved,
}

/// An open alert, or one whose ending is still being told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Identity: rule and identity labels.
    pub fingerprint: Fingerprint,
    /// The rule's name.
    pub rule: Name,
    /// The rule's kind.
    pub kind: Name,
    /// Where the rule was written.
    pub origin: String,
    /// Identity labels, with the occurrence.
    pub identity: Labels,
    /// All labels: identity, evidence, rule, names, severity.
    pub labels: Labels,
    /// How bad it is now.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertState,
    /// When the condition became true.
    pub began_at: Timestamp,
    /// When it fired.
    pub fired_at: Option<Timestamp>,
    /// When the condition ceased, while `keep_firing_for` runs.
    pub cleared_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The newest evidence.
    pub evidence: Evidence,
    /// The baseline when it opened: a regression cannot clear itself by becoming normal.
    pub frozen: Option<Baseline>,
    /// Why it ended, or will have ended once `keep_firing_for` is over.
    pub ending: Option<Ending>,
    /// True already when watching began.
    pub is_already_so: bool,
    /// The rule's own headline, which replaces the evidence's.
    pub summary: Option<String>,
    /// More of the rule's texts.
    pub description: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// When it fired and when it was over, in the last 24 hours; also what came before this alert.
    #[serde(default)]
    pub changes: Changes,
    /// It changes too often to tell each time, or did.
    #[serde(default)]
    pub flapping: Option<Flapping>,
    /// Who has taken it on.
    #[serde(default)]
    pub acknowledged: Option<Acknowledgement>,
}

/// A change of state; append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Which alert.
    pub fingerprint: Fingerprint,
    /// Its short id.
    pub id: String,
    /// The rule.
    pub rule: Name,
    /// Identity labels.
    pub labels: Labels,
    /// From.
    pub from: AlertState,
    /// To.
    pub to: AlertState,
    /// When it became true.
    pub at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The headline then.
    pub reason: String,
    /// All labels then: what a silence would be held against.
    #[serde(default)]
    pub all_labels: Labels,
}

impl Alert {
    /// A rule begins to be broken at `at`: pending, and told to nobody. `labels` are all of its labels.
    pub(super) fn begin(
        rule: &Rule,
        identity: Labels,
        labels: Labels,
        evidence: &Evidence,
        at: Timestamp,
    ) -> Self {
        Self {
            fingerprint: Fingerprint::of(&rule.name, &identity),
            rule: rule.name.clone(),
            kind: rule.kind.name().into(),
            origin: rule.origin.clone(),
            identity,
            labels,
            severity: evidence.severity.unwrap_or(rule.severity),
            state: AlertState::Pending,
            began_at: at,
            fired_at: None,
            cleared_at: None,
            ended_at: None,
            evidence: evidence.clone(),
            frozen: None,
            ending: None,
            is_already_so: false,
            summary: None,
            description: None,
            runbook: None,
            owner: None,
            run_url: None,
            changes: Changes::default(),
            flapping: None,
            acknowledged: None,
        }
    }

    /// The short id that people see. Unique among open alerts for all practical purposes: 30 bits of
    /// the fingerprint and the instant it began.
    pub fn id(&self) -> String {
        let labels = Labels::default().with("began", self.began_at.to_string());
        Fingerprint::of(&self.fingerprint.to_string(), &labels).short(6)
    }

    /// One line that stands alone, while the alert is open.
    pub fn headline(&self) -> &str {
        self.summary.as_deref().unwrap_or(&self.evidence.headline)
    }

    /// Who has taken it on, and until when.
    pub(super) fn taken_on(&self) -> Option<(Name, Timestamp)> {
        let known = self.acknowledged.as_ref()?;
        Some((known.by.clone(), known.until))
    }

    /// Pending or firing.
    pub fn is_open(&self) -> bool {
        matches!(self.state, AlertState::Pending | AlertState::Firing)
    }

    /// As people are told of it.
    pub fn view(&self, is_new: bool) -> AlertView {
        let (headline, facts) = match &self.ending {
            Some(ending) if self.ended_at.is_some() => {
                // An ending may be the first that is heard of it: it says what was, too.
                let mut facts = ending.facts.clone();
                facts.push(Fact::new("Was", self.headline()));
                (ending.headline.clone(), facts)
            }
            Some(_) | None => self.open_view(),
        };
        AlertView {
            id: self.id(),
            rule: self.rule.clone(),
            kind: self.kind.clone(),
            origin: self.origin.clone(),
            severity: self.severity,
            labels: self.labels.clone(),
            headline,
            facts,
            error: if self.ended_at.is_some() {
                None
            } else {
                self.evidence.error.clone()
            },
            run_url: self.run_url.clone(),
            description: self.description.clone(),
            runbook: self.runbook.clone(),
            owner: self.owner.clone(),
            began_at: self.began_at,
            fired_at: self.fired_at.unwrap_or(self.began_at),
            ended_at: self.ended_at,
            is_new,
            is_already_so: self.is_already_so,
            acknowledged: self.acknowledged.as_ref().map(|known| AcknowledgedView {
                by: known.by.clone(),
                until: known.until,
                comment: known.comment.clone(),
            }),
            silenced: None,
        }
    }

    /// Headline and facts while it is open.
    fn open_view(&self) -> (String, Vec<Fact>) {
        let (headline, facts) = (self.headline(), &self.evidence.facts);
        let Some(known) = &self.flapping else {
            return (headline.to_owned(), facts.clone());
        };
        let word = if known.is_over {
            "Firing steadily: "
        } else {
            FLAPPING
        };
        let note = Fact::new("Changes", known.note.clone());
        let facts = std::iter::once(note).chain(facts.iter().cloned());
        (format!("{word}{headline}"), facts.collect())
    }

    /// Takes the newest evidence of a continuing breach.
    pub fn renew(&mut self, rule: &Rule, evidence: Evidence) {
        self.severity = evidence.severity.unwrap_or(rule.severity);
        for (name, value) in evidence.labels.iter() {
            self.labels.set(name, value);
        }
        self.labels.set("severity", self.severity.as_str());
        // Whoever took it on has not seen it as bad as this.
        self.acknowledged = self
            .acknowledged
            .take()
            .filter(|known| self.severity <= known.severity);
        self.cleared_at = None;
        self.ending = None;
        self.evidence = evidence;
    }
}

/// When somebody looks, and up to when it is known what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When what is found is recorded.
    pub now: Timestamp,
    /// Runs are known completely up to here: nothing holds, or is over, for longer than is known.
    pub known_until: Timestamp,
}

/// What a fold did.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// State changes, in order.
    pub transitions: Vec<Transition>,
    /// Something about the alert changed.
    pub is_changed: bool,
}

/// Folds one finding into the alert it is about (`None`: there is none yet). Pure. Findings come in the
/// order in which they became true: before each, time passes up to it.
pub fn fold(
    slot: &mut Option<Alert>,
    finding: &Finding,
    rule: &Rule,
    new: impl FnOnce(&Evidence) -> Alert,
    now: Timestamp,
) -> Folded {
    let look = Look {
        now,
        known_until: finding.at,
    };
    let mut transitions = Vec::new();
    let mut is_advanced = false;
    let mut let_time_pass = |slot: &mut Option<Alert>, transitions: &mut Vec<Transition>| {
        if let Some(alert) = slot {
            let advanced = advance(alert, rule, look);
            transitions.extend(advanced.transitions);
            is_advanced |= advanced.is_changed;
        }
    };
    let is_changed = match &finding.verdict {
        Verdict::Unknown(_) => {
            return Folded {
                transitions,
                is_changed: false,
            };
        }
        Verdict::Breach(evidence) => {
            let_time_pass(slot, &mut transitions);
            fold_breach(slot, evidence, rule, new, look, &mut transitions)
        }
        Verdict::Ok(ending) => {
            let_time_pass(slot, &mut transitions);
            fold_ok(slot, ending, rule, look, &mut transitions)
        }
    };
    // What has no `for`, or no `keep_firing_for`, is so at once.
    let_time_pass(slot, &mut transitions);
    Folded {
        is_changed: is_changed || is_advanced || !transitions.is_empty(),
        transitions,
    }
}

/// Lets time pass for an alert: one that has been pending for long enough fires, one that has been over
/// for long enough ends, one that flaps is steady again.
pub fn advance(alert: &mut Alert, rule: &Rule, look: Look) -> Folded {
    let mut folded = Folded {
        transitions: Vec::new(),
        is_changed: false,
    };
    while let Some(at) = next_change(alert, rule) {
        let waits = match (alert.state, alert.cleared_at) {
            (AlertState::Firing, Some(_)) => alert.keep_firing_for(rule) > Span::zero(),
            (AlertState::Firing, None) => true,
            _ => at > alert.began_at,
        };
        if waits && look.known_until < at {
            break;
        }
        folded.is_changed = true;
        match (alert.state, alert.cleared_at) {
            (AlertState::Pending, _) => folded.transitions.push(fire(alert, rule, look.now)),
            (AlertState::Firing, None) => alert.settle(rule, look.now),
            // One change too many: it is not over before it has been steady.
            _ if alert.would_flap(at) => alert.count_change(rule, at, look.now),
            _ => {
                if alert.is_flapping() {
                    alert.steady_ending(rule, look.now);
                } else {
                    alert.count_change(rule, at, look.now);
                }
                folded.transitions.push(end(alert, at, look.now));
            }
        }
    }
    folded
}

/// When the state can change without new data: runs must be known up to then.
pub fn next_change(alert: &Alert, rule: &Rule) -> Option<Timestamp> {
    match (alert.state, alert.cleared_at) {
        (AlertState::Pending, _) => Some(rule.fires_at(alert.began_at)),
        (AlertState::Firing, Some(cleared_at)) => Some(cleared_at + alert.keep_firing_for(rule)),
        (AlertState::Firing, None) => alert.steady_at(),
        _ => None,
    }
}

/// True when something about the alert changed.
fn fold_breach(
    slot: &mut Option<Alert>,
    evidence: &Evidence,
    rule: &Rule,
    new: impl FnOnce(&Evidence) -> Alert,
    look: Look,
    transitions: &mut Vec<Transition>,
) -> bool {
    let at = look.known_until;
    match slot {
        // Over, and its ending not told yet everywhere: the same incident goes on.
        Some(alert) if alert.state == AlertState::Resolved => {
            if alert.is_accepted() {
                // On top of what was accepted: another incident, though in the same conversation.
                alert.frozen = evidence.baseline;
                alert.began_at = at;
                alert.fired_at = Some(at);
            }
            alert.ended_at = None;
            alert.flapping = None;
            alert.renew(rule, evidence.clone());
            alert.state = AlertState::Firing;
            alert.count_change(rule, at, look.now);
            transitions.push(transition(alert, AlertState::Resolved, at, look.now));
            true
        }
        Some(alert) => {
            let was_over = alert.cleared_at.is_some();
            let is_changed = alert.evidence != *evidence || was_over;
            alert.renew(rule, evidence.clone());
            if was_over && alert.is_flapping() {
                alert.count_change(rule, at, look.now);
            }
            is_changed
        }
        None => {
            let mut alert = new(evidence);
            alert.began_at = at;
            alert.frozen = evidence.baseline;
            alert.state = AlertState::Pending;
            if rule.fires_at(at) > at {
                transitions.push(transition(&alert, AlertState::Inactive, at, look.now));
            }
            *slot = Some(alert);
            true
        }
    }
}

/// True when something about the alert changed.
fn fold_ok(
    slot: &mut Option<Alert>,
    ending: &Ending,
    rule: &Rule,
    look: Look,
    transitions: &mut Vec<Transition>,
) -> bool {
    let Some(alert) = slot else { return false };
    let at = look.known_until;
    match (alert.state, ending.reason) {
        (AlertState::Inactive | AlertState::Resolved, _) => false,
        (AlertState::Pending, _) => {
            transitions.push(Transition {
                to: AlertState::Inactive,
                reason: ending.headline.clone(),
                ..transition(alert, AlertState::Pending, at, look.now)
            });
            *slot = None;
            true
        }
        (AlertState::Firing, EndReason::Resolved) => {
            let was_breaching = alert.cleared_at.is_none();
            let is_changed = was_breaching || alert.ending.as_ref() != Some(ending);
            alert.cleared_at.get_or_insert(at);
            alert.ending = Some(ending.clone());
            if was_breaching && alert.is_flapping() {
                alert.count_change(rule, at, look.now);
            }
            is_changed
        }
        (AlertState::Firing, EndReason::Expired | EndReason::RuleRemoved | EndReason::Accepted) => {
            alert.ending = Some(ending.clone());
            transitions.push(end(alert, at, look.now));
            true
        }
    }
}

fn fire(alert: &mut Alert, rule: &Rule, now: Timestamp) -> Transition {
    let fires_at = rule.fires_at(alert.began_at);
    let from = if fires_at > alert.began_at {
        AlertState::Pending
    } else {
        AlertState::Inactive
    };
    alert.state = AlertState::Firing;
    alert.fired_at = Some(fires_at);
    alert.count_change(rule, fires_at, now);
    transition(alert, from, fires_at, now)
}

/// Ends an alert that has its ending. It cannot end before it fired.
fn end(alert: &mut Alert, at: Timestamp, now: Timestamp) -> Transition {
    let from = alert.state;
    let at = at.max(alert.fired_at.unwrap_or(alert.began_at));
    alert.state = AlertState::Resolved;
    alert.ended_at = Some(at);
    alert.acknowledged = None;
    transition(alert, from, at, now)
}

/// Closes an alert whatever is known of its condition: its rule is gone, or a person says so. A pending one
/// just disappears.
pub fn close(slot: &mut Option<Alert>, ending: Ending, now: Timestamp) -> Folded {
    let mut folded = Folded {
        transitions: Vec::new(),
        is_changed: true,
    };
    match slot {
        Some(alert) if alert.state == AlertState::Firing => {
            alert.ending = Some(ending);
            folded.transitions.push(end(alert, now, now));
        }
        Some(alert) if alert.state == AlertState::Pending => {
            let mut gone = transition(alert, AlertState::Pending, now, now);
            gone.to = AlertState::Inactive;
            gone.reason = ending.headline;
            folded.transitions.push(gone);
            *slot = None;
        }
        Some(_) | None => {}
    }
    folded
}

fn transition(alert: &Alert, from: AlertState, at: Timestamp, now: Timestamp) -> Transition {
    let reason = match &alert.ending {
        Some(ending) if alert.state == AlertState::Resolved => ending.headline.clone(),
        Some(_) | None => alert.evidence.headline.clone(),
    };
    Transition {
        fingerprint: alert.fingerprint,
        id: alert.id(),
        rule: alert.rule.clone(),
        labels: alert.identity.clone(),
        from,
        to: alert.state,
        at,
        recorded_at: now,
        reason,
        all_labels: alert.labels.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::RuleKind;
    use super::super::rule::context::{expired, resolved};
    use super::super::rule::run_failed::RunFailed;
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn rule(hold: i64, keep: i64) -> Rule {
        let kind = RuleKind::RunFailed(RunFailed {
            statuses: Vec::new(),
            consecutive: 1,
        });
        Rule {
            severity: Severity::Warning,
            hold: Span::minutes(hold),
            keep_firing_for: Span::minutes(keep),
            ..Rule::new("r", kind, "")
        }
    }

    fn new(evidence: &Evidence) -> Alert {
        Alert::begin(
            &rule(0, 0),
            Labels::default(),
            Labels::default(),
            evidence,
            at(0),
        )
    }

    #[test]
    fn on_top_of_an_accepted_level_it_begins_anew_and_is_held_against_that_level() {
        let breach = |usual: f64, minute: i64| Finding {
            occurrence: Labels::default(),
            at: at(minute),
            verdict: Verdict::Breach(Evidence {
                baseline: Baseline::of([usual]),
                ..Evidence::default()
            }),
        };
        let (rule, mut slot) = (rule(0, 0), None);
        fold(&mut slot, &breach(10.0, 1), &rule, new, at(1));
        let ending = Ending {
            reason: EndReason::Accepted,
            headline: String::new(),
            facts: Vec::new(),
        };
        close(&mut slot, ending, at(2));
        let first = slot.clone().unwrap();
        assert_eq!(
            (first.state, first.is_accepted()),
            (AlertState::Resolved, true)
        );
        fold(&mut slot, &breach(20.0, 3), &rule, new, at(3));
        let second = slot.unwrap();
        assert_eq!((second.state, second.began_at), (AlertState::Firing, at(3)));
        assert_ne!(second.id(), first.id());
        assert_eq!(second.frozen, Baseline::of([20.0]));
    }

    /// Plays words: `b5` breach since minute 5, `o7` over since 7, `x7` expired at 7, `?5` unknown, `t9`
    /// runs are known up to 9. Returns the states with their instants.
    fn play(hold: i64, keep: i64, words: &str) -> String {
        let rule = rule(hold, keep);
        let mut slot = None;
        let mut states = Vec::new();
        for word in words.split(' ') {
            let minute: i64 = word[1..].parse().unwrap();
            let verdict = match &word[..1] {
                "b" => Verdict::Breach(Evidence::default()),
                "o" => resolved(String::new(), Vec::new()),
                "x" => expired(String::new()),
                "?" => Verdict::Unknown(String::new()),
                _ => {
                    let look = Look {
                        now: at(99),
                        known_until: at(minute),
                    };
                    let change = slot.as_mut().map(|alert| advance(alert, &rule, look));
                    states.extend(
                        change
                            .iter()
                            .flat_map(|change| &change.transitions)
                            .map(|change| (change.to, change.at)),
                    );
                    continue;
                }
            };
            let finding = Finding {
                occurrence: Labels::default(),
                at: at(minute),
                verdict,
            };
            let folded = fold(&mut slot, &finding, &rule, new, at(99));
            states.extend(
                folded
                    .transitions
                    .iter()
                    .map(|change| (change.to, change.at)),
            );
        }
        let text = |(state, at): &(AlertState, Timestamp)| {
            format!(
                "{}{}",
                &format!("{state:?}").to_lowercase()[..1],
                at.as_millis() / 60_000
            )
        };
        states.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn states_follow_the_verdicts() {
        // p pending, f firing, r resolved, i inactive, each with its minute.
        for (hold, keep, words, states) in [
            (0, 0, "b5", "f5"),
            (0, 0, "b5 b6 b7", "f5"),
            (0, 0, "b5 o9", "f5 r9"),
            (0, 0, "o9", ""),
            (0, 0, "b5 o9 o10", "f5 r9"),
            (0, 0, "b5 o9 b11", "f5 r9 f11"),
            (0, 0, "b5 ?6 ?7", "f5"),
            (0, 0, "b5 x3", "f5 r5"),
            (10, 0, "b5", "p5"),
            (10, 0, "b5 b9 t14", "p5"),
            (10, 0, "b5 b9 t15", "p5 f15"),
            (10, 0, "b5 b20", "p5 f15"),
            (10, 0, "b5 o14 t30", "p5 i14"),
            (10, 0, "b5 o15", "p5 f15 r15"),
            (10, 0, "b5 o14 b16 t26", "p5 i14 p16 f26"),
            (10, 0, "b5 ?30", "p5"),
            (0, 10, "b5 o9 t18", "f5"),
            (0, 10, "b5 o9 t19", "f5 r19"),
            (0, 10, "b5 o9 o12 t19", "f5 r19"),
            (0, 10, "b5 o9 b12 t40", "f5"),
            (0, 10, "b5 o9 b12 o20 t30", "f5 r30"),
            (0, 10, "b5 o9 b30", "f5 r19 f30"),
            (0, 10, "b5 x9", "f5 r9"),
            (0, 10, "b5 o9 x12", "f5 r12"),
        ] {
            assert_eq!(
                play(hold, keep, words),
                states,
                "for {hold}, keep {keep}: {words}"
            );
        }
    }

    #[test]
    fn the_ending_is_shown_only_once_it_has_ended() {
        let rule = rule(0, 10);
        let mut slot = None;
        let finding = |slot: &mut Option<Alert>, minute, verdict| {
            let finding = Finding {
                occurrence: Labels::default(),
                at: at(minute),
                verdict,
            };
            fold(slot, &finding, &rule, new, at(99))
        };
        let evidence = Evidence {
            headline: "bad".into(),
            ..Evidence::default()
        };
        finding(&mut slot, 5, Verdict::Breach(evidence));
        finding(&mut slot, 9, resolved("good".into(), Vec::new()));
        assert_eq!(slot.as_ref().unwrap().view(false).headline, "bad");
        let look = Look {
            now: at(99),
            known_until: at(19),
        };
        let ended = advance(slot.as_mut().unwrap(), &rule, look)
            .transitions
            .remove(0);
        assert_eq!(ended.reason, "good");
        let view = slot.as_ref().unwrap().view(false);
        assert_eq!(view.headline, "good");
        assert_eq!(view.facts, [Fact::new("Was", "bad")]);
    }
}
