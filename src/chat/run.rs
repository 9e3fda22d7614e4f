//! Command to answer.

use serde::{Deserialize, Serialize};

use super::parse::{
    ALERTS_USAGE, Command, DIGEST_USAGE, MODELS_USAGE, RUNS_USAGE, SLA_USAGE, WHY_NOT_USAGE,
    WHY_USAGE,
};
use crate::engine::Engine;
use crate::engine::digest::{DigestAnswer, digest_now};
use crate::engine::query::{
    self, AlertRow, ModelRow, Page, PreparedWhyNot, RuleRow, RunRow, SlaAnswer, WhyAnswer,
    WhyNotAnswer,
};
use crate::engine::time::Timestamp;

/// An answer, for any surface to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Runs, newest first.
    Runs(Page<RunRow>),
    /// Alerts, worst first.
    Alerts(Page<AlertRow>),
    /// Models, most seconds added first.
    Models(Page<ModelRow>),
    /// Promises, most damage first.
    Sla(SlaAnswer),
    /// An alert, explained.
    Why(WhyAnswer),
    /// Why a rule says nothing about a subject.
    WhyNot(WhyNotAnswer),
    /// A summary of now.
    Digest(DigestAnswer),
    /// Rules in force.
    Rules(Vec<RuleRow>),
    /// Words.
    Text(String),
}

/// An answer, as far as the engine is needed for it.
pub enum Prepared {
    /// It is whole.
    Answered(Answer),
    /// Why a rule says nothing, of which something may still have to be played.
    WhyNot(PreparedWhyNot),
}

impl Prepared {
    /// The answer; it may take a while, in which the engine is not needed.
    pub fn answer(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::WhyNot(prepared) => Answer::WhyNot(prepared.answer()),
        }
    }
}

/// Answers a command. Changes nothing.
pub fn answer(engine: &Engine, command: &Command, now: Timestamp) -> Answer {
    prepare(engine, command, now).answer()
}

/// Takes from the engine what the answer to a command needs.
pub fn prepare(engine: &Engine, command: &Command, now: Timestamp) -> Prepared {
    let answer = match command {
        Command::WhyNot(question) => {
            return Prepared::WhyNot(query::prepare_why_not(engine, question, now));
        }
        Command::Runs(question) => Answer::Runs(query::runs(engine, question, now)),
        Command::Alerts(question) => Answer::Alerts(query::alerts(engine, question)),
        Command::Models(question) => Answer::Models(query::models(engine, question, now)),
        Command::Sla(question) => Answer::Sla(query::sla(engine, question, now)),
        Command::Why(alert) => Answer::Why(query::why(engine, alert, now)),
        Command::Digest(question) => Answer::Digest(digest_now(engine, question, now)),
        Command::Rules => Answer::Rules(query::rules(engine)),
        Command::Help => Answer::Text(help()),
    };
    Prepared::Answered(answer)
}

fn help() -> String {
    let lines = [
        RUNS_USAGE,
        ALERTS_USAGE,
        MODELS_USAGE,
        SLA_USAGE,
        WHY_USAGE,
        WHY_NOT_USAGE,
        DIGEST_USAGE,
    ]
    .map(|usage| usage.trim_start_matches("use it as ").to_owned());
    format!("{}\n/rules\n/help", lines.join("\n"))
}
