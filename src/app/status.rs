//! What `tardy status` shows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::deliver::Report;
use crate::engine::alert::AlertState;
use crate::engine::history::ProjectHistory;
use crate::engine::observation::Name;
use crate::engine::rule::regression::averages;
use crate::engine::rule::{Rule, Scope};
use crate::engine::subject::SubjectKey;
use crate::engine::time::Timestamp;
use crate::engine::{Engine, Step};
use crate::source::{Batch, Problem};
use crate::store::records::DeliveryOutcome;

/// The state of the whole program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Program version.
    pub version: String,
    /// Process id of the running bot; `None` when none runs and the store was opened directly.
    pub pid: Option<u32>,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
    /// Server time now.
    pub now: Timestamp,
    /// Milliseconds by which the server is ahead.
    pub skew_millis: i64,
    /// Configuration file.
    pub config: String,
    /// Why the newest configuration was refused; the one before is in force.
    pub config_refused: Option<String>,
    /// Sources.
    pub sources: Vec<SourceStatus>,
    /// Receivers.
    pub receivers: Vec<ReceiverStatus>,
    /// The store.
    pub store: StoreStatus,
    /// Rules in force, and pairs of rule and subject that are watched.
    pub rules: usize,
    /// Pairs of rule and subject that are watched.
    pub watches: usize,
    /// Firing alerts.
    pub firing: usize,
    /// Pending alerts.
    pub pending: usize,
    /// Runs held.
    pub runs: usize,
    /// Model executions held.
    pub executions: usize,
}

/// A source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Configured name.
    pub name: String,
    /// Milliseconds between polls.
    pub poll_interval_millis: i64,
    /// When it was last asked.
    pub polled_at: Option<Timestamp>,
    /// When it was last read completely.
    pub complete_at: Option<Timestamp>,
    /// How far each project is known, by project id.
    pub known_until: BTreeMap<String, Timestamp>,
    /// Projects of which single runs or model executions cannot be read, by project id.
    #[serde(default)]
    pub averages: BTreeMap<String, AveragesStatus>,
    /// Pages of the first backfill, while it goes on: read and expected.
    pub backfill: Option<(u32, u32)>,
    /// What went wrong in the last poll.
    pub problems: Vec<Problem>,
    /// Problems since the start, by kind.
    pub counts: BTreeMap<String, u64>,
}

/// What is known of a project by daily averages alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AveragesStatus {
    /// The newest day of its runs, which cannot be read one by one.
    pub runs_until: Option<NaiveDate>,
    /// The newest day of its models, whose executions cannot be read one by one.
    pub models_until: Option<NaiveDate>,
    /// Rules about regressions that cannot tell anything from averages, and why.
    pub unfit_rules: BTreeMap<String, String>,
}

impl AveragesStatus {
    /// What is known of a project; `None` when nothing by averages alone.
    fn of(project: &ProjectHistory, rules: &[Rule]) -> Option<Self> {
        let (runs_until, models_until) = project.averaged_until();
        let is_concerned = |rule: &&Rule| match rule.kind.scope() {
            Scope::Job => runs_until.is_some(),
            Scope::Model => models_until.is_some(),
            _ => false,
        };
        let unfit = rules.iter().filter(is_concerned).filter_map(|rule| {
            let is_project = rule.selectors.is_project(project);
            let why = averages::blind_spot(rule).filter(|_| is_project)?;
            Some((rule.name.to_string(), why.to_owned()))
        });
        (runs_until.is_some() || models_until.is_some()).then(|| Self {
            runs_until,
            models_until,
            unfit_rules: unfit.collect(),
        })
    }

    /// As people are told, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, of, until) in [
            ("runs", "runs", self.runs_until),
            ("model executions", "models", self.models_until),
        ] {
            if let Some(until) = until {
                lines.push(format!(
                    "{what}: not served; daily averages read up to {until}"
                ));
                lines.push(format!(
                    "regressions of {of}: by daily averages (percent only)"
                ));
            }
        }
        let unfit = self.unfit_rules.iter();
        lines.extend(unfit.map(|(rule, why)| format!("rule {rule:?}: unknown: {why}")));
        lines
    }
}

/// A receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReceiverStatus {
    /// Configured name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Deliveries waiting.
    pub waiting: usize,
    /// The last success.
    pub delivered_at: Option<Timestamp>,
    /// Deliveries given up since the start.
    pub given_up: u64,
    /// Failing without a success since.
    pub failing_since: Option<Timestamp>,
    /// What went wrong last.
    pub why: Option<String>,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Where it is.
    pub path: String,
    /// Bytes on disk.
    pub size_bytes: Option<u64>,
    /// Why it cannot be written; nothing is decided or told meanwhile.
    pub blocked: Option<String>,
}

/// What the tasks note down for `status`.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// By source name.
    pub sources: BTreeMap<Name, SourceStatus>,
    /// Deliveries waiting, by receiver.
    pub waiting: BTreeMap<Name, usize>,
    /// The last success, by receiver.
    pub delivered_at: BTreeMap<Name, Timestamp>,
    /// Deliveries given up since the start, by receiver.
    pub given_up: BTreeMap<Name, u64>,
    /// Why the store cannot be written.
    pub blocked: Option<String>,
    /// Why the newest configuration was refused.
    pub config_refused: Option<String>,
    /// Alerts fired since the start.
    pub fired: u64,
}

impl Notes {
    /// Notes a poll.
    pub fn note_poll(&mut self, name: &Name, batch: &Batch, at: Timestamp) {
        let status = self.sources.entry(name.clone()).or_default();
        status.name = name.to_string();
        status.polled_at = Some(at);
        if batch.is_complete {
            status.complete_at = Some(at);
        }
        status.backfill = batch
            .progress
            .filter(|_| batch.has_more)
            .map(|progress| (progress.pages_read, progress.pages_expected));
        for problem in &batch.problems {
            let kind = serde_json::to_value(problem.kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or("problem").to_owned();
            *status.counts.entry(kind).or_default() += 1;
        }
        status.problems.clone_from(&batch.problems);
    }

    /// Notes ends of deliveries.
    pub fn note_deliveries(&mut self, report: &Report) {
        for record in &report.settled {
            let receiver = record.receiver.clone();
            if record.outcome == DeliveryOutcome::Delivered {
                self.delivered_at.insert(receiver, record.settled_at);
            } else {
                *self.given_up.entry(receiver).or_default() += 1;
            }
        }
    }

    /// Notes a step.
    pub fn note_step(&mut self, step: &Step) {
        let fired = step
            .transitions
            .iter()
            .filter(|t| t.to == AlertState::Firing)
            .count();
        self.fired += fired as u64;
    }
}

/// Fills in what the engine knows.
pub fn of_engine(status: &mut Status, engine: &Engine) {
    let count = |state| engine.alerts().filter(|alert| alert.state == state).count();
    status.rules = engine.policy().rules.len();
    status.watches = engine.watch_count();
    status.firing = count(AlertState::Firing);
    status.pending = count(AlertState::Pending);
    (status.runs, status.executions) = engine.history().counts();
    for source in &mut status.sources {
        source.known_until = engine
            .history()
            .projects()
            .filter(|project| *project.key.source == *source.name)
            .filter_map(|project| Some((project.key.project_id.to_string(), project.coverage?)))
            .collect();
        source.averages = engine
            .history()
            .projects()
            .filter(|project| *project.key.source == *source.name && !project.is_gone)
            .filter_map(|project| {
                let averages = AveragesStatus::of(project, &engine.policy().rules)?;
                Some((project.key.project_id.to_string(), averages))
            })
            .collect();
    }
    for receiver in &mut status.receivers {
        let subject = SubjectKey::Receiver(receiver.name.as_str().into());
        if let Some(health) = engine.health().get(&subject) {
            receiver.failing_since = health.failing_since;
            receiver.why.clone_from(&health.why);
            receiver.delivered_at = receiver.delivered_at.max(health.ok_at);
        }
    }
}
