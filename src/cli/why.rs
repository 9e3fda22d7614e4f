//! `tardy why`: an alert explained on the terminal.

use chrono_tz::Tz;
use clap::Args;

use super::accept::plain_line;
use super::answers::severity_tone;
use super::gates;
use super::output::{Output, Tone, plain};
use super::rows::{head, minute, row, time};
use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::chat::parse::Command;
use crate::chat::run::Answer;
use crate::engine::acting::{ActKind, Acted, Outcome};
use crate::engine::alert::{AlertState, Transition};
use crate::engine::ledger::Promise;
use crate::engine::notification::Fact;
use crate::engine::query::{PastAlert, Why, WhyAnswer, of_deliveries};
use crate::engine::rule::regression::RegressionWhy;
use crate::engine::rule::{Setting, SettingFrom};
use crate::engine::time::{Span, human_span};

/// Options of `tardy why`.
#[derive(Debug, Args)]
#[command(after_help = "\
Shows the rule with every setting and where it comes from, how the alert came to where it stands, every gate
on its way to people (silence, route, group, mute, inhibition, waits) with what became of each message, each
number that decided it, what was done about it, and what ends it. Times without a zone are UTC. Why there is
no alert is told by `tardy why-not RULE SUBJECT`.

Exits with 2 when there is no such alert; the nearest open ones are listed then.

Examples:
  tardy why k3x9qa
  tardy why k3x                      the beginning of the id is enough while it is the only one
  tardy why k3x9qa --json            every run and every number, for machines")]
pub(super) struct WhyArgs {
    /// Short id of the alert, as every message shows it
    #[arg(value_name = "ALERT")]
    alert: String,
}

pub(super) fn run(args: &WhyArgs, context: &Context) -> ExitCode {
    let question = Question::Command(Command::Why(args.alert.clone()));
    match state::ask(&question, context) {
        Ok(Answer::Why(answer)) => {
            if context.out.is_json {
                context.out.json(&answer);
            } else {
                show(&answer, context);
            }
            code(&answer)
        }
        Ok(_) => ExitCode::Bug,
        Err(code) => code,
    }
}

/// An alert that is not there is a mistake of the one who asked.
pub(super) fn code(answer: &WhyAnswer) -> ExitCode {
    match answer {
        WhyAnswer::Unknown(_) => ExitCode::Problems,
        WhyAnswer::Alert(_) | WhyAnswer::Past(_) => ExitCode::Fine,
    }
}

/// The answer for people.
pub(super) fn show(answer: &WhyAnswer, context: &Context) {
    let out = &context.out;
    match answer {
        WhyAnswer::Alert(why) => show_alert(why, out),
        WhyAnswer::Past(past) => show_past(past, out),
        WhyAnswer::Unknown(refusal) => {
            let text = refusal.to_string();
            let lines: Vec<String> = text.lines().map(plain_line).collect();
            out.error(&lines.join("\n"));
        }
    }
}

/// Columns below which tables leave out what can be worked out from the rest.
const NARROW: usize = 80;

fn show_alert(why: &Why, out: &Output) {
    let state = match why.state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "over",
    };
    out.line(&format!(
        "{} {}  {}",
        out.paint(Tone::Bold, &why.id),
        out.paint(severity_tone(why.severity), why.severity.as_str()),
        out.paint(Tone::Plain, state)
    ));
    row(out, "what", Tone::Bold, &why.headline);
    row(out, "about", Tone::Plain, &why.subject.to_string());
    if let Some(url) = &why.run_url {
        row(out, "run", Tone::Plain, url);
    } else if let Some(id) = &why.run_id {
        row(out, "run", Tone::Plain, id);
    }
    show_rule(why, out);
    show_history(why, out);
    show_gates(why, out);
    match &why.regression {
        Some(regression) => show_regression(regression, out),
        None => show_facts(&why.facts, why.error.as_deref(), out),
    }
    show_known(why, out);
    show_promises(why, out);
    show_acts(&why.acts, out);
    head(out, "What ends it");
    match &why.regression {
        Some(regression) if why.state != AlertState::Resolved => {
            let remedy = format!("{}: tardy accept {}", regression.resolves, why.id);
            row(out, "ends", Tone::Plain, &remedy);
        }
        _ if why.state == AlertState::Resolved => row(out, "ends", Tone::Plain, "it is over"),
        _ => {
            if let Some(text) = super::rules::resolve(&why.rule.kind) {
                row(out, "ends", Tone::Plain, &text);
            }
        }
    }
}

fn show_rule(why: &Why, out: &Output) {
    head(out, "Rule");
    let rule = &why.rule;
    row(
        out,
        "rule",
        Tone::Plain,
        &format!("{} ({})", rule.name, rule.kind),
    );
    row(out, "written in", Tone::Plain, &rule.origin);
    if !rule.is_in_force {
        row(
            out,
            "",
            Tone::Warn,
            "it is not in the configuration any more",
        );
    }
    let of = |from: SettingFrom| {
        let own = rule.settings.iter().filter(|setting| setting.from == from);
        let texts = own.map(|Setting { key, value, .. }| format!("{key} = {value}"));
        texts.collect::<Vec<_>>().join(", ")
    };
    for (name, from) in [
        ("set", SettingFrom::Rule),
        ("[defaults]", SettingFrom::Defaults),
        ("default", SettingFrom::BuiltIn),
    ] {
        let text = of(from);
        if !text.is_empty() {
            let tone = if from == SettingFrom::BuiltIn {
                Tone::Dim
            } else {
                Tone::Plain
            };
            row(out, name, tone, &text);
        }
    }
}

fn show_history(why: &Why, out: &Output) {
    head(out, "History");
    let history = &why.history;
    let already = if history.is_already_so {
        ", already so when watching began"
    } else {
        ""
    };
    row(
        out,
        "true since",
        Tone::Plain,
        &format!("{}{already}", time(history.began_at)),
    );
    let hold = match history.hold_millis {
        0 => "without `for`".to_owned(),
        millis => format!("`for` = {}", human_span(Span::milliseconds(millis))),
    };
    match (history.fired_at, history.fires_at) {
        (Some(at), _) => row(out, "fired", Tone::Plain, &format!("{}, {hold}", time(at))),
        (None, Some(at)) => row(out, "fires", Tone::Plain, &format!("{}, {hold}", time(at))),
        (None, None) => {}
    }
    if let (Some(at), None) = (history.cleared_at, history.ended_at) {
        let keep = human_span(Span::milliseconds(history.keep_firing_for_millis));
        let text = format!("{}; it ends after `keep_firing_for` = {keep}", time(at));
        row(out, "not true", Tone::Plain, &text);
    }
    if let Some(at) = history.ended_at {
        row(out, "ended", Tone::Plain, &time(at));
    }
    if let Some(note) = &history.flapping {
        row(out, "flapping", Tone::Warn, note);
    }
    show_transitions(&why.transitions, out);
}

fn show_transitions(transitions: &[Transition], out: &Output) {
    for change in transitions {
        let word = match change.to {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Resolved => "over",
        };
        let late = change.recorded_at.since(change.at);
        let recorded = if late < Span::seconds(1) {
            "recorded at once".to_owned()
        } else {
            format!("recorded {} later", human_span(late))
        };
        let text = format!("{} ({recorded}) {}", time(change.at), change.reason);
        row(out, word, Tone::Plain, &text);
    }
}

fn show_gates(why: &Why, out: &Output) {
    head(out, "From the rule to people");
    gates::show(&why.gates, out);
}

fn show_facts(facts: &[Fact], error: Option<&str>, out: &Output) {
    head(out, "What decided it");
    for fact in facts {
        row(out, &plain(&fact.name), Tone::Plain, &fact.value);
    }
    if let Some(error) = error {
        row(out, "error", Tone::Bad, error);
    }
}

fn seconds(value: f64) -> String {
    human_span(crate::engine::baseline::span(value))
}

fn show_regression(why: &RegressionWhy, out: &Output) {
    head(out, "What decided it");
    let run = &why.run;
    let id = run.id.as_deref().unwrap_or("unknown");
    let text = format!(
        "{} took {} on the clock `{}`, ended {}",
        id,
        seconds(run.seconds),
        why.clock,
        time(run.finished_at)
    );
    row(out, "run", Tone::Plain, &text);
    let baseline = &why.baseline;
    let text = format!(
        "median {}, range {} to {}, {}",
        seconds(baseline.median),
        seconds(baseline.min),
        seconds(baseline.max),
        baseline.basis()
    );
    row(out, "usual", Tone::Plain, &text);
    let floor = if baseline.log_scale > why.log_scale_floor {
        String::new()
    } else {
        " (the floor)".to_owned()
    };
    let text = format!(
        "MAD of logarithms {:.4}, scale {:.4}{floor}, floor {}",
        why.log_mad, baseline.log_scale, why.log_scale_floor
    );
    row(out, "spread", Tone::Plain, &text);
    if let Some(ratio) = why.moved_by {
        let text = format!("by {ratio:.3}, to the level that was accepted");
        row(out, "moved", Tone::Plain, &text);
    }
    for condition in &why.conditions {
        let number = |value: f64| {
            if condition.is_seconds {
                seconds(value)
            } else {
                format!("{value:.2}")
            }
        };
        let (word, tone) = if condition.is_met {
            ("holds", Tone::Bad)
        } else {
            ("does not hold", Tone::Good)
        };
        let text = format!(
            "{} against {}: {word}",
            number(condition.value),
            number(condition.limit)
        );
        row(out, &condition.key, tone, &text);
    }
    let text = format!(
        "slow above {}, back at or below {}",
        seconds(why.threshold),
        seconds(why.clear_at)
    );
    row(out, "threshold", Tone::Plain, &text);
    let times = why.times;
    let text = format!(
        "{} of the last {} runs are slow, {} have to be",
        times.slow, times.of, times.needed
    );
    row(out, "times", Tone::Plain, &text);
    show_runs(why, out);
}

fn show_runs(why: &RegressionWhy, out: &Output) {
    out.line("");
    // A narrow terminal has room for what decides: how long, against what is usual, and the word for it.
    let is_narrow = out.width < NARROW;
    let judged = why.judged.iter().map(|run| {
        let (word, tone) = match (run.is_slow, run.is_back) {
            (true, _) => ("slow", Tone::Bad),
            (false, true) => ("back", Tone::Good),
            (false, false) => ("between", Tone::Warn),
        };
        let mut cells = vec![
            (Tone::Plain, minute(run.finished_at)),
            (Tone::Bold, seconds(run.seconds)),
            (Tone::Plain, format!("{:.2}", run.ratio)),
            (tone, word.to_owned()),
        ];
        if !is_narrow {
            cells.push((Tone::Dim, seconds(run.usual)));
            cells.push((Tone::Plain, format!("{:.1}", run.z)));
        }
        cells.push((Tone::Dim, plain(run.id.as_deref().unwrap_or("-"))));
        cells
    });
    let heads: &[&str] = if is_narrow {
        &["JUDGED", "TOOK", "RATIO", "", "RUN"]
    } else {
        &["JUDGED", "TOOK", "RATIO", "", "USUAL", "Z", "RUN"]
    };
    out.table(heads, &judged.collect::<Vec<_>>());
    out.line("");
    let usual = why.baseline_runs.iter().map(|run| {
        vec![
            (Tone::Plain, minute(run.finished_at)),
            (Tone::Bold, seconds(run.seconds)),
            (Tone::Dim, plain(run.id.as_deref().unwrap_or("-"))),
        ]
    });
    out.table(&["USUAL RUNS", "TOOK", "RUN"], &usual.collect::<Vec<_>>());
    if !why.is_exact {
        let text = "these runs give other figures than those above, which were kept when it \
                    began: runs were read late, or are forgotten";
        row(out, "note", Tone::Warn, text);
    }
    if let Some(accepted) = &why.accepted {
        let comment = accepted.comment.as_deref().unwrap_or("no comment");
        let text = format!(
            "{} since {}, by {} at {} ({comment})",
            seconds(accepted.level_seconds),
            time(accepted.since),
            accepted.by,
            time(accepted.at)
        );
        row(out, "accepted", Tone::Plain, &text);
    }
}

fn show_known(why: &Why, out: &Output) {
    head(out, "What is known");
    if let Some(until) = why.known.until {
        let age = human_span(why.asked_at.since(until));
        let text = format!("{}, {age} before this was asked", time(until));
        row(out, "known until", Tone::Plain, &text);
    }
    if let Some(at) = why.known.judged_until {
        row(out, "judged until", Tone::Plain, &time(at));
    }
    if let Some(at) = why.known.watching_since {
        row(out, "watched since", Tone::Plain, &time(at));
    }
    if let Some(calendar) = &why.calendar {
        let (is, then) = if calendar.is_open {
            ("open", "closes")
        } else {
            ("closed", "opens")
        };
        let edge = time(calendar.next_edge);
        let text = format!("{} is {is} now, and {then} at {edge}", calendar.name);
        row(out, "calendar", Tone::Plain, &text);
    }
}

fn show_promises(why: &Why, out: &Output) {
    for (index, promise) in why.promises.iter().enumerate() {
        let outcome = match &promise.outcome {
            Promise::Met => "met".to_owned(),
            Promise::LateBy(millis) => {
                format!("late by {}", human_span(Span::milliseconds(*millis)))
            }
            Promise::Missed => "missed".to_owned(),
            Promise::Excused(why) => format!("excused: {why}"),
            Promise::Unknown => "unknown".to_owned(),
        };
        let name = if index == 0 { "promises" } else { "" };
        row(
            out,
            name,
            Tone::Plain,
            &format!("due {}: {outcome}", time(promise.due_at)),
        );
    }
}

fn show_acts(acts: &[Acted], out: &Output) {
    if acts.is_empty() {
        return;
    }
    head(out, "What people did");
    for acted in acts {
        let comment = acted.act.comment.as_ref();
        let comment = comment.map_or_else(String::new, |text| format!(" ({text})"));
        let outcome = match &acted.outcome {
            Outcome::Done(_) => "done".to_owned(),
            Outcome::Refused(refusal) => format!("refused: {refusal}"),
        };
        let text = format!(
            "{} by {}{comment}, {outcome}",
            time(acted.act.at),
            acted.act.by
        );
        row(out, word(&acted.act.what), Tone::Plain, &text);
    }
}

fn word(what: &ActKind) -> &'static str {
    match what {
        ActKind::Accept { .. } => "accept",
        ActKind::Acknowledge { .. } => "ack",
        ActKind::Unacknowledge { .. } => "give back",
        ActKind::Silence { .. } => "silence",
        ActKind::Unsilence { .. } => "unsilence",
    }
}

fn show_past(past: &PastAlert, out: &Output) {
    let over = match past.transitions.last().map(|last| last.to) {
        Some(AlertState::Pending | AlertState::Firing) => "as it is stored",
        _ => "over; this is what the store still has of it",
    };
    out.line(&format!("{} {over}", out.paint(Tone::Bold, &past.id)));
    row(out, "rule", Tone::Plain, &past.rule);
    row(out, "about", Tone::Plain, &past.subject.to_string());
    head(out, "History");
    show_transitions(&past.transitions, out);
    head(out, "Who was told");
    if past.deliveries.is_empty() {
        let text = "no message about it is recorded";
        row(out, "nobody", Tone::Plain, text);
    }
    let now = SystemClock::default().now();
    gates::show(&of_deliveries(&past.deliveries, now, Tz::UTC), out);
    show_acts(&past.acts, out);
}
