//! Why an alert is open: its rule with every setting, its history, each number of the decision, who knows of
//! it, and what ends it. Pure; what is over is completed from the store by whoever asks.
//!
//! Deliveries, changes of state and acts are records of the store: they are empty until they are filled in.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::acting::{Acted, Refusal};
use super::super::alert::{Alert, AlertState, Ending, Transition};
use super::super::labels::{Fingerprint, Labels};
use super::super::ledger::LedgerRow;
use super::super::notification::Fact;
use super::super::rule::context::{Context, Memory};
use super::super::rule::regression::RegressionWhy;
use super::super::rule::{Rule, RuleKind, Setting, Severity};
use super::super::subject::SubjectKey;
use super::super::time::Timestamp;
use super::deliveries::DeliveryRow;
use super::gates::{self, Gate};

/// The answer to `/why <alert>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyAnswer {
    /// An alert that is open, or whose end is still being told.
    Alert(Box<Why>),
    /// One that is over: what the store still has of it.
    Past(Box<PastAlert>),
    /// There is none, or several.
    Unknown(Refusal),
}

/// Everything that is known of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Short id.
    pub id: String,
    /// Identity.
    pub fingerprint: Fingerprint,
    /// One line.
    pub headline: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertState,
    /// When this was asked.
    pub asked_at: Timestamp,
    /// The rule.
    pub rule: RuleWhy,
    /// What the rule judges here.
    pub subject: Labels,
    /// All labels, for routing and texts.
    pub labels: Labels,
    /// How it came to where it stands.
    pub history: HistoryWhy,
    /// Every change of state that is recorded, oldest first.
    pub transitions: Vec<Transition>,
    /// Who was told.
    pub told: Vec<ToldWhy>,
    /// Why it is kept quiet, where it is.
    pub kept_quiet: Vec<String>,
    /// How far what it is decided by is known.
    pub known: KnownWhy,
    /// The rule's days and hours, if it has any.
    pub calendar: Option<CalendarWhy>,
    /// What it says: names and values.
    pub facts: Vec<Fact>,
    /// The end of the error.
    pub error: Option<String>,
    /// The run it is about.
    pub run_id: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Of a regression: the runs and the numbers.
    pub regression: Option<Box<RegressionWhy>>,
    /// The newest promises of the rule about this subject, newest first.
    pub promises: Vec<LedgerRow>,
    /// What people did to it, oldest first.
    pub acts: Vec<Acted>,
    /// The gates on its way from the rule to people, in order.
    pub gates: Vec<Gate>,
    /// What became of each message about it, newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// Zone of times in words.
    pub zone: Tz,
}

/// A rule, as far as it explains an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleWhy {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Where it was written.
    pub origin: String,
    /// It is in the configuration still.
    pub is_in_force: bool,
    /// Its keys, and where each value comes from.
    pub settings: Vec<Setting>,
}

/// How an alert came to where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryWhy {
    /// When the condition became true.
    pub began_at: Timestamp,
    /// It was so already when watching began.
    pub is_already_so: bool,
    /// `for`, in milliseconds.
    pub hold_millis: i64,
    /// When it fires, or fired, after `for` and in the calendar's hours.
    pub fires_at: Option<Timestamp>,
    /// When it fired.
    pub fired_at: Option<Timestamp>,
    /// When the condition ceased, while `keep_firing_for` runs.
    pub cleared_at: Option<Timestamp>,
    /// `keep_firing_for`, in milliseconds.
    pub keep_firing_for_millis: i64,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended, or will have.
    pub ending: Option<Ending>,
    /// It changes too often to tell each time.
    pub flapping: Option<String>,
}

/// Somebody who was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToldWhy {
    /// Who.
    pub receiver: String,
    /// The routing node.
    pub route: String,
    /// What the conversation is about: the labels of its group.
    pub group: Labels,
    /// Notifications in the conversation so far.
    pub notifications: u32,
    /// The severity that was told.
    pub severity: Severity,
    /// The end was told.
    pub is_ended: bool,
    /// When they were last pinged in that conversation.
    pub pinged_at: Timestamp,
}

/// How far what decides is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownWhy {
    /// Runs of the project are known completely up to here; absence is judged no further.
    pub until: Option<Timestamp>,
    /// Since when the rule watches the subject.
    pub watching_since: Option<Timestamp>,
    /// Events up to here have been judged.
    pub judged_until: Option<Timestamp>,
}

/// A calendar that a rule has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalendarWhy {
    /// Its name.
    pub name: String,
    /// It is open now.
    pub is_open: bool,
    /// When that changes.
    pub next_edge: Timestamp,
}

/// What the store has of an alert that is over and was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastAlert {
    /// Short id.
    pub id: String,
    /// Its rule.
    pub rule: String,
    /// What it was about.
    pub subject: Labels,
    /// Every change of state, oldest first.
    pub transitions: Vec<Transition>,
    /// What people did to it, oldest first.
    pub acts: Vec<Acted>,
    /// What became of each message about it, newest first.
    #[serde(default)]
    pub deliveries: Vec<DeliveryRow>,
}

/// Promises shown.
const MAX_PROMISES: usize = 5;

/// Explains an alert by its short id, or the beginning of it.
pub fn why(engine: &Engine, asked: &str, now: Timestamp) -> WhyAnswer {
    let alert = match engine.find_alert(asked) {
        Ok(alert) => alert,
        Err(refusal) => return WhyAnswer::Unknown(refusal),
    };
    let rule = engine.rule(&alert.rule);
    let view = alert.view(false);
    WhyAnswer::Alert(Box::new(Why {
        id: view.id,
        fingerprint: alert.fingerprint,
        headline: view.headline,
        severity: alert.severity,
        state: alert.state,
        asked_at: now,
        rule: rule_why(alert, rule),
        subject: alert.identity.clone(),
        labels: alert.labels.clone(),
        history: history(alert, rule),
        transitions: Vec::new(),
        told: told(engine, alert.fingerprint),
        kept_quiet: kept_quiet(engine, alert.fingerprint),
        known: known(engine, alert, now),
        calendar: rule.and_then(|rule| calendar(rule, now)),
        facts: view.facts,
        error: view.error,
        run_id: alert.evidence.run_id.as_ref().map(ToString::to_string),
        run_url: view.run_url,
        regression: regression(engine, alert, now).map(Box::new),
        promises: promises(engine, alert),
        acts: Vec::new(),
        gates: gates::of_alert(engine, alert, now),
        deliveries: Vec::new(),
        zone: engine.policy().zone,
    }))
}

fn rule_why(alert: &Alert, rule: Option<&Rule>) -> RuleWhy {
    RuleWhy {
        name: alert.rule.to_string(),
        kind: alert.kind.to_string(),
        origin: alert.origin.clone(),
        is_in_force: rule.is_some(),
        settings: rule.map(|rule| rule.settings.clone()).unwrap_or_default(),
    }
}

fn history(alert: &Alert, rule: Option<&Rule>) -> HistoryWhy {
    HistoryWhy {
        began_at: alert.began_at,
        is_already_so: alert.is_already_so,
        hold_millis: rule.map_or(0, |rule| rule.hold.num_milliseconds()),
        fires_at: rule.map(|rule| rule.fires_at(alert.began_at)),
        fired_at: alert.fired_at,
        cleared_at: alert.cleared_at,
        keep_firing_for_millis: rule.map_or(0, |rule| rule.keep_firing_for.num_milliseconds()),
        ended_at: alert.ended_at,
        ending: alert.ending.clone(),
        flapping: alert.flapping.as_ref().map(|known| known.note.clone()),
    }
}

fn told(engine: &Engine, print: Fingerprint) -> Vec<ToldWhy> {
    let conversations = engine.groups().flat_map(|group| {
        let conversations = group.conversations.iter();
        conversations.map(move |(receiver, known)| (group, receiver, known))
    });
    let told = conversations.filter_map(|(group, receiver, conversation)| {
        let told = conversation.told.get(&print)?;
        Some(ToldWhy {
            receiver: receiver.to_string(),
            route: group.key.route.to_string(),
            group: group.key.labels.clone(),
            notifications: conversation.next_sequence,
            severity: told.severity,
            is_ended: told.is_ended,
            pinged_at: conversation.pinged_at,
        })
    });
    told.collect()
}

fn kept_quiet(engine: &Engine, print: Fingerprint) -> Vec<String> {
    let mut reasons: Vec<String> = engine
        .groups()
        .filter_map(|group| group.reasons.get(&print))
        .map(ToString::to_string)
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

fn known(engine: &Engine, alert: &Alert, now: Timestamp) -> KnownWhy {
    let watched = engine.watched(alert.fingerprint);
    KnownWhy {
        until: watched.and_then(|(subject, _)| engine.known_until(subject, now)),
        watching_since: watched.map(|(_, memory)| memory.watching_since),
        judged_until: watched
            .map(|(_, memory)| memory.judged_until)
            .filter(|until| *until > Timestamp::MIN),
    }
}

fn calendar(rule: &Rule, now: Timestamp) -> Option<CalendarWhy> {
    let calendar = rule.calendar.as_ref()?;
    Some(CalendarWhy {
        name: calendar.name.to_string(),
        is_open: calendar.is_open(now),
        next_edge: calendar.next_edge(now),
    })
}

fn regression(engine: &Engine, alert: &Alert, now: Timestamp) -> Option<RegressionWhy> {
    let rule = engine.rule(&alert.rule)?;
    let (RuleKind::RunRegression(kind) | RuleKind::ModelRegression(kind)) = &rule.kind else {
        return None;
    };
    let ctx = engine.context_of(alert.fingerprint, now)?;
    kind.why(&ctx, alert)
}

fn promises(engine: &Engine, alert: &Alert) -> Vec<LedgerRow> {
    let rows = engine
        .ledger()
        .rows(&alert.rule, Timestamp::MIN, Timestamp::MAX);
    // A promise has labels of its own beside those of the subject: the run that kept it.
    let subject = |labels: &Labels| {
        ["source", "project_id", "job", "model"].map(|name| labels.get(name).to_owned())
    };
    let own = subject(&alert.identity);
    let mut rows: Vec<LedgerRow> = rows.filter(|row| subject(&row.labels) == own).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.due_at));
    rows.truncate(MAX_PROMISES);
    rows
}

impl Engine {
    /// What the rule of an alert sees of its subject.
    fn context_of(&self, print: Fingerprint, now: Timestamp) -> Option<Context<'_>> {
        let watch = self.watches.get(self.watches.owner(print)?);
        self.context(watch, &[], now)
    }

    /// The subject that an alert is about, and what its rule remembers of it.
    fn watched(&self, print: Fingerprint) -> Option<(&SubjectKey, &Memory)> {
        let watch = self.watches.get(self.watches.owner(print)?);
        Some((&watch.subject, &watch.memory))
    }
}
