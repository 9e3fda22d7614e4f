//! From the rule to an alert that fires.

use super::super::super::Engine;
use super::super::super::alert::{Alert, AlertState};
use super::super::super::rule::Rule;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::routes::closes_at;
use super::told::of_routes;
use super::{Gate, GateKind, GateState, Words, selectors};

/// From the verdict of an alert to its reminders.
pub(in super::super) fn of_alert(engine: &Engine, alert: &Alert, now: Timestamp) -> Vec<Gate> {
    let words = Words {
        now,
        zone: engine.policy().zone,
    };
    let rule = engine.rule(&alert.rule);
    let mut gates = vec![rule_gate(alert, rule), subject_gate(alert, rule)];
    gates.push(verdict_gate(alert, words));
    gates.extend(rule.map(|rule| hold_gate(alert, rule, words)));
    gates.extend(rule.and_then(|rule| calendar_gate(rule, alert.began_at, alert.fired_at, words)));
    gates.push(firing_gate(alert, words));
    gates.extend(of_routes(engine, alert, words));
    gates
}

fn rule_gate(alert: &Alert, rule: Option<&Rule>) -> Gate {
    match rule {
        Some(rule) => Gate::new(
            GateKind::Rule,
            GateState::Passed,
            format!(
                "`{}` ({}) is in force, {}",
                rule.name,
                alert.kind,
                written(rule)
            ),
        ),
        None => Gate::new(
            GateKind::Rule,
            GateState::Stopped,
            format!("`{}` is not in the configuration any more", alert.rule),
        ),
    }
}

/// `written in rules/finance.toml:12`.
pub(in super::super) fn written(rule: &Rule) -> String {
    if rule.origin == "built in" {
        return rule.origin.clone();
    }
    format!("written in {}", rule.origin)
}

fn subject_gate(alert: &Alert, rule: Option<&Rule>) -> Gate {
    let asked = rule.map_or(String::new(), |rule| selectors(&rule.selectors));
    let says = if asked.is_empty() {
        format!("{}: the rule selects everything", alert.identity)
    } else {
        format!("{}: selected by {asked}", alert.identity)
    };
    Gate::new(GateKind::Subject, GateState::Passed, says)
}

fn verdict_gate(alert: &Alert, words: Words) -> Gate {
    let already = if alert.is_already_so {
        ", and so already when watching began"
    } else {
        ""
    };
    let says = format!(
        "{}; so since {}{already}",
        alert.headline(),
        words.ago(alert.began_at)
    );
    let gate = Gate::new(GateKind::Verdict, GateState::Passed, says).at(alert.began_at);
    match &alert.evidence.run_id {
        Some(run) => gate.by(run.to_string()),
        None => gate,
    }
}

fn hold_gate(alert: &Alert, rule: &Rule, words: Words) -> Gate {
    let over_at = alert.began_at + rule.hold;
    if rule.hold == Span::zero() {
        return Gate::new(
            GateKind::Hold,
            GateState::Passed,
            "no `for`: it fires at once",
        );
    }
    let hold = human_span(rule.hold);
    let (state, says) = match alert.state {
        AlertState::Pending if words.now < over_at => (
            GateState::Waiting,
            format!("`for` = {hold} is over at {}", words.ahead(over_at)),
        ),
        _ => (
            GateState::Passed,
            format!("`for` = {hold} was over at {}", words.clock(over_at)),
        ),
    };
    Gate::new(GateKind::Hold, state, says).at(over_at)
}

/// The rule's days and hours for a breach that began at `began_at`.
pub(in super::super) fn calendar_gate(
    rule: &Rule,
    began_at: Timestamp,
    fired_at: Option<Timestamp>,
    words: Words,
) -> Option<Gate> {
    let calendar = rule.calendar.as_ref()?;
    let name = &calendar.name;
    if rule.kind.counts_by_calendar() {
        let says = format!("`{name}` counts in the verdict: it holds nothing back here");
        return Some(Gate::new(GateKind::Calendar, GateState::Noted, says));
    }
    let opens_at = rule.fires_at(began_at);
    let (state, says, at) = match fired_at {
        Some(at) => (
            GateState::Passed,
            format!("`{name}` was open at {}", words.clock(at)),
            at,
        ),
        None if opens_at > words.now && !calendar.is_open(words.now) => (
            GateState::Waiting,
            format!("`{name}` is closed until {}", words.ahead(opens_at)),
            opens_at,
        ),
        None => {
            let closes_at = closes_at(calendar, words.now);
            let says = format!("`{name}` is open until {}", words.ahead(closes_at));
            (GateState::Passed, says, closes_at)
        }
    };
    Some(Gate::new(GateKind::Calendar, state, says).at(at))
}

fn firing_gate(alert: &Alert, words: Words) -> Gate {
    let (state, says, at) = match (alert.state, alert.fired_at, alert.ended_at) {
        (AlertState::Resolved, _, Some(at)) => (
            GateState::Noted,
            format!(
                "over since {}: {}",
                words.ago(at),
                alert.view(false).headline
            ),
            Some(at),
        ),
        (_, Some(at), _) => {
            let says = format!("firing since {}", words.ago(at));
            (GateState::Passed, says, Some(at))
        }
        (_, None, _) => {
            let says = "pending: nobody is told before it fires".to_owned();
            (GateState::Waiting, says, None)
        }
    };
    let gate = Gate::new(GateKind::Firing, state, says).by(alert.id());
    Gate { at, ..gate }
}
