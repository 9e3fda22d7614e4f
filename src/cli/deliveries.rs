//! `tardy deliveries`: what was told to whom, on the terminal.

use clap::Args;

use super::output::{Output, Tone, plain};
use super::rows::time;
use super::state;
use super::{Context, ExitCode};
use crate::engine::notification::Reason;
use crate::engine::query::{DeliveriesAnswer, DeliveryQuestion, DeliveryRow, DeliveryState};
use crate::engine::time::{Span, human_span, parse_span};

/// Options of `tardy deliveries`.
#[derive(Debug, Args)]
#[command(after_help = "\
Newest first; what still waits in the outbox is listed with its tries, what went wrong and when it is tried
next. What a receiver could not be told names who was told instead. Times are UTC.

Examples:
  tardy deliveries                                   the last 24 hours
  tardy deliveries --receiver oncall 7d
  tardy deliveries --alert k3x9qa 30d                whom an alert was told to
  tardy deliveries --outcome waiting                 what is stuck, and why
  tardy deliveries --reason escalated --json 30d")]
pub(super) struct DeliveriesArgs {
    /// How far back
    #[arg(value_name = "SPAN", default_value = "24h", value_parser = parse_within)]
    within: Span,
    /// To one receiver
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// About one alert, by its short id or the beginning of it
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
    /// For one reason: first, new_alerts, upgraded, reminder, all_resolved, …
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    reason: Option<Reason>,
    /// With one outcome: delivered, rejected, dead, waiting
    #[arg(long, value_name = "OUTCOME", value_parser = parse_outcome)]
    outcome: Option<DeliveryState>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

fn parse_within(text: &str) -> Result<Span, String> {
    parse_span(text).map_err(|error| error.to_string())
}

fn parse_reason(text: &str) -> Result<Reason, String> {
    let text = text.trim().to_lowercase().replace(['-', ' '], "_");
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| {
        let all = REASONS.map(Reason::as_str).join(", ");
        format!("the reasons are {all}")
    })
}

fn parse_outcome(text: &str) -> Result<DeliveryState, String> {
    let known = DeliveryState::WORDS.iter();
    let mut known = known.filter(|(word, _)| text.eq_ignore_ascii_case(word));
    known.next().map(|(_, state)| *state).ok_or_else(|| {
        let all = DeliveryState::WORDS.map(|(word, _)| word).join(", ");
        format!("the outcomes are {all}")
    })
}

/// Every reason, in the order of help.
const REASONS: [Reason; 15] = [
    Reason::First,
    Reason::NewAlerts,
    Reason::Escalated,
    Reason::Upgraded,
    Reason::Changed,
    Reason::SomeResolved,
    Reason::AllResolved,
    Reason::Reminder,
    Reason::Flapping,
    Reason::RuleRemoved,
    Reason::Undeliverable,
    Reason::Notice,
    Reason::Acknowledged,
    Reason::Silenced,
    Reason::Digest,
];

pub(super) fn run(args: &DeliveriesArgs, context: &Context) -> ExitCode {
    let question = DeliveryQuestion {
        receiver: args.receiver.clone(),
        alert: args.alert.clone(),
        reason: args.reason,
        outcome: args.outcome,
        within_millis: args.within.num_milliseconds(),
        limit: args.limit,
    };
    let answer = match state::deliveries(&question, context) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let out = &context.out;
    if out.is_json {
        out.json(&answer);
    } else {
        show(&answer, args, out);
    }
    if answer.unknown_receiver.is_some() {
        ExitCode::Problems
    } else {
        ExitCode::Fine
    }
}

fn show(answer: &DeliveriesAnswer, args: &DeliveriesArgs, out: &Output) {
    if let Some(unknown) = &answer.unknown_receiver {
        return out.error(&plain(unknown));
    }
    if answer.rows.is_empty() {
        let within = human_span(args.within);
        return out.line(&format!("nothing such was told in the last {within}"));
    }
    let rows: Vec<Vec<(Tone, String)>> = answer.rows.iter().map(cells).collect();
    out.table(
        &["DECIDED", "RECEIVER", "REASON", "OUTCOME", "ALERTS", "WHAT"],
        &rows,
    );
    if answer.more > 0 {
        let (limit, more) = (answer.rows.len() + answer.more, answer.more);
        let text =
            format!("and {more} more; show them with --limit {limit}, or narrow the question");
        out.line(&out.paint(Tone::Dim, &text));
    }
}

fn cells(row: &DeliveryRow) -> Vec<(Tone, String)> {
    let tone = match row.state {
        DeliveryState::Delivered => Tone::Good,
        DeliveryState::Waiting => Tone::Warn,
        DeliveryState::Rejected | DeliveryState::Dead => Tone::Bad,
    };
    vec![
        (Tone::Dim, time(row.decided_at)),
        (Tone::Bold, plain(&row.receiver)),
        (Tone::Plain, row.reason.as_str().to_owned()),
        (tone, outcome(row)),
        (Tone::Plain, alerts(row)),
        (Tone::Plain, what(row)),
    ]
}

/// `delivered in 2 s`, `waiting, 3 tries`.
fn outcome(row: &DeliveryRow) -> String {
    let tries = match row.attempts {
        0 => "not tried yet".to_owned(),
        1 => "1 try".to_owned(),
        count => format!("{count} tries"),
    };
    let word = row.state.as_str();
    match (row.state, row.settled_at) {
        (DeliveryState::Delivered, Some(at)) => {
            let took = human_span(at.since(row.decided_at));
            if row.attempts > 1 {
                format!("{word} in {took}, {tries}")
            } else {
                format!("{word} in {took}")
            }
        }
        _ => format!("{word}, {tries}"),
    }
}

/// Ids shown; more are counted.
const MAX_IDS: usize = 2;

fn alerts(row: &DeliveryRow) -> String {
    if row.alerts.is_empty() {
        return "-".to_owned();
    }
    let shown = row.alerts.iter().take(MAX_IDS);
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    let more = row.alerts.len().saturating_sub(MAX_IDS);
    if more > 0 {
        return format!("{} +{more}", shown.join(" "));
    }
    shown.join(" ")
}

/// What went wrong comes before what was said: it is why somebody looks.
fn what(row: &DeliveryRow) -> String {
    let mut parts = Vec::new();
    if let Some(why) = row
        .why
        .as_ref()
        .filter(|_| row.state != DeliveryState::Delivered)
    {
        parts.push(why.clone());
    }
    if let Some(at) = row.next_attempt_at {
        parts.push(format!("next try {}", time(at)));
    }
    let how = if row.state == DeliveryState::Delivered {
        "as well, because it was late"
    } else {
        "instead"
    };
    for told in &row.instead {
        let (receiver, state) = (&told.receiver, told.state.as_str());
        parts.push(format!("told {receiver} {how} ({state})"));
    }
    parts.push(row.headline.clone());
    plain(&parts.join("; "))
}
