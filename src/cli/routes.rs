//! `tardy routes`: the routing tree, and an alert on its way through it.

use clap::{Args, Subcommand};

use super::output::{Output, Tone, plain};
use super::rows::{head, row};
use super::state;
use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::engine::observation::Name;
use crate::engine::query::{
    self, Hearer, NodeFate, NodeTrial, RouteNode, RouteTrial, RoutesAnswer, WindowNow,
};
use crate::engine::time::{Span, Timestamp, human_span, human_time};

/// Options of `tardy routes`.
#[derive(Debug, Args)]
#[command(after_help = "\
Draws the tree of the configuration: each node with its matchers, receivers, timers, mute windows and
escalation. What a node has from the one above it is dim. No bot is needed.

Examples:
  tardy routes
  tardy routes --json
  tardy routes test 'severity=\"critical\", project=\"finance\"'")]
pub(super) struct RoutesArgs {
    #[command(subcommand)]
    command: Option<RoutesCommand>,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// Show who hears of an alert with these labels, when, as which group, and why others do not
    #[command(after_help = "\
The tree is that of the configuration file; silences and inhibitions that would keep the alert quiet now come
from the running bot, or from the store. Labels that an alert has: severity, rule, kind, source, project,
project_id, job, model, and those that rules add.

Exits with 2 when the labels cannot be read.

Examples:
  tardy routes test 'severity=\"critical\", project=\"finance\"'
  tardy routes test severity=warning project=finance job=nightly
  tardy routes test rule=late-orders severity=critical --json")]
    Test {
        /// Labels of the alert, in one text with commas or in several
        #[arg(required = true, value_name = "LABEL=VALUE")]
        labels: Vec<String>,
    },
}

pub(super) fn run(args: &RoutesArgs, context: &Context) -> ExitCode {
    let done = match &args.command {
        None => draw(context),
        Some(RoutesCommand::Test { labels }) => test(labels, context),
    };
    done.unwrap_or_else(|code| code)
}

fn draw(context: &Context) -> Result<ExitCode, ExitCode> {
    let config = state::load_config(context)?;
    let receivers: Vec<Name> = config
        .receivers
        .iter()
        .map(|known| known.name.clone())
        .collect();
    let digests = config.policy.digests.iter();
    let elsewhere: Vec<Name> = digests
        .flat_map(|digest| digest.receivers.clone())
        .collect();
    let now = SystemClock::default().now();
    let answer = query::routes(&config.policy, &receivers, &elsewhere, now);
    let out = &context.out;
    if out.is_json {
        out.json(&answer);
    } else {
        show_tree(&answer, &config, out);
    }
    Ok(ExitCode::Fine)
}

fn show_tree(answer: &RoutesAnswer, config: &Config, out: &Output) {
    let words = Words {
        now: answer.asked_at,
        config,
        out,
    };
    words.node(&answer.root, "", "", true);
    for rule in &answer.rules {
        words.node(rule, "", "", true);
    }
    if answer.fallback.is_empty() {
        let text = "none; what cannot be told is told to the other receivers of the root";
        row(out, "fallback", Tone::Dim, text);
    } else {
        row(out, "fallback", Tone::Plain, &answer.fallback.join(", "));
    }
    for name in &answer.unreached {
        let text = format!(
            "receiver {name} is reached by nothing: no route, rule, escalation, digest or fallback names it"
        );
        row(out, "warning", Tone::Warn, &text);
    }
}

/// What is needed to draw.
struct Words<'a> {
    now: Timestamp,
    config: &'a Config,
    out: &'a Output,
}

impl Words<'_> {
    /// A node and what is below it; `first` and `rest` stand before its first line and the others.
    fn node(&self, node: &RouteNode, first: &str, rest: &str, is_top: bool) {
        let out = self.out;
        let name = node.path.rsplit('/').next().unwrap_or(&node.path);
        let name = if is_top { &*node.path } else { name };
        let matchers = if node.matchers.is_empty() {
            "everything".to_owned()
        } else {
            node.matchers.join(", ")
        };
        let then = if node.is_continue { " (continue)" } else { "" };
        out.line(&format!(
            "{}{}  {}{}",
            out.paint(Tone::Dim, first),
            out.paint(Tone::Bold, &plain(name)),
            plain(&matchers),
            out.paint(Tone::Warn, then)
        ));
        let bar = if node.children.is_empty() {
            "  "
        } else {
            self.pick("│ ", "| ")
        };
        for (keys, text) in self.lines(node) {
            let mut of_above = keys.iter();
            let is_inherited = of_above.all(|key| node.inherited.iter().any(|known| known == key));
            let (tone, whence) = match (is_inherited, is_top) {
                (true, true) => (Tone::Dim, " (default)"),
                (true, false) => (Tone::Dim, " (as above)"),
                (false, _) => (Tone::Plain, ""),
            };
            let name = if keys.len() > 1 { "timers" } else { keys[0] };
            let line = format!("{name:<9} {}{whence}", plain(&text));
            out.line(&format!(
                "{}{}",
                out.paint(Tone::Dim, &format!("{rest}{bar}")),
                out.paint(tone, &line)
            ));
        }
        for (index, child) in node.children.iter().enumerate() {
            let is_last = index + 1 == node.children.len();
            let (branch, below) = if is_last {
                (self.pick("└─ ", "`- "), "   ")
            } else {
                (self.pick("├─ ", "|- "), self.pick("│  ", "|  "))
            };
            let (first, rest) = (format!("{rest}{branch}"), format!("{rest}{below}"));
            self.node(child, &first, &rest, false);
        }
    }

    fn pick<'t>(&self, fancy: &'t str, ascii: &'t str) -> &'t str {
        if self.out.is_unicode { fancy } else { ascii }
    }

    /// Keys as configuration writes them, and what they say.
    fn lines(&self, node: &RouteNode) -> Vec<(&'static [&'static str], String)> {
        let span = |millis: i64| human_span(Span::milliseconds(millis));
        let tells = if node.receivers.is_empty() {
            "nobody".to_owned()
        } else {
            node.receivers.join(", ")
        };
        let by = if node.group_by.is_empty() {
            "all together".to_owned()
        } else {
            node.group_by.join(", ")
        };
        let timers = format!(
            "first after {}, then every {} at most, reminders every {}",
            span(node.group_wait_millis),
            span(node.group_interval_millis),
            span(node.repeat_interval_millis)
        );
        let mut lines: Vec<(&'static [&'static str], String)> = vec![
            (&["receivers"], tells),
            (&["group_by"], by),
            (&["group_wait", "group_interval", "repeat_interval"], timers),
        ];
        let mute = node.mute.iter();
        lines.extend(mute.map(|mute| (&["mute"][..], self.window(mute))));
        lines.extend(node.escalate.iter().map(|step| {
            let (after, receivers) = (span(step.after_millis), step.receivers.join(", "));
            let text = format!("to {receivers} {after} after the first message");
            (&["escalate"][..], text)
        }));
        lines
    }

    fn window(&self, window: &WindowNow) -> String {
        let at = window
            .changes_at
            .map_or("never".to_owned(), |at| self.clock(at));
        if window.is_open {
            format!("{} (open now: mutes until {at})", window.name)
        } else {
            format!("{} (closed now: mutes from {at})", window.name)
        }
    }

    fn clock(&self, at: Timestamp) -> String {
        human_time(at, self.now, self.config.timezone)
    }
}

fn test(texts: &[String], context: &Context) -> Result<ExitCode, ExitCode> {
    let labels = query::parse_labels(texts).map_err(|error| {
        context.out.error(&plain(&error.to_string()));
        ExitCode::Problems
    })?;
    let config = state::load_config(context)?;
    let now = SystemClock::default().now();
    let mut trial = query::route_trial(&config.policy, &labels, now);
    trial.quiet = state::quiet(&labels, context)?;
    if context.out.is_json {
        context.out.json(&trial);
    } else {
        show_trial(&trial, &config, &context.out);
    }
    Ok(ExitCode::Fine)
}

fn show_trial(trial: &RouteTrial, config: &Config, out: &Output) {
    let words = Words {
        now: trial.asked_at,
        config,
        out,
    };
    row(out, "alert", Tone::Bold, &trial.labels.to_string());
    for note in &trial.notes {
        row(out, "warning", Tone::Warn, note);
    }
    head(out, "Nodes");
    for node in &trial.nodes {
        show_fate(node, out);
    }
    head(out, "Who hears of it");
    for hearer in &trial.hearers {
        words.hearer(hearer);
    }
    if trial.hearers.is_empty() {
        row(
            out,
            "nobody",
            Tone::Bad,
            "the nodes that handle it have no receivers",
        );
    }
    head(out, "What keeps it quiet now");
    words.quiet(trial);
}

fn show_fate(node: &NodeTrial, out: &Output) {
    let and = |matchers: &[String]| match matchers {
        [] => String::new(),
        matchers => format!(": {}", matchers.join(", ")),
    };
    let (sign, tone, text) = match &node.fate {
        NodeFate::Handles { matchers } => ("+", Tone::Good, format!("handles it{}", and(matchers))),
        NodeFate::GoesDown { matchers } => (
            "+",
            Tone::Plain,
            format!("fits, and a node below handles it{}", and(matchers)),
        ),
        NodeFate::DoesNotFit { matcher, value } if value.is_empty() => (
            "x",
            Tone::Dim,
            format!("does not fit: {matcher}, and the alert has no such label"),
        ),
        NodeFate::DoesNotFit { matcher, value } => (
            "x",
            Tone::Dim,
            format!("does not fit: {matcher}, and the alert's is {value:?}"),
        ),
        NodeFate::TakenBefore { by } => (
            "x",
            Tone::Dim,
            format!("not asked: {by} before it fits, and does not continue"),
        ),
        NodeFate::RuleDecides { rule } => (
            "x",
            Tone::Dim,
            format!("not asked: rule `{rule}` has receivers of its own"),
        ),
    };
    let sign = match (out.is_unicode, sign) {
        (true, "+") => "✓",
        (true, _) => "✗",
        (false, sign) => sign,
    };
    let name = node.path.rsplit('/').next().unwrap_or(&node.path);
    out.line(&format!(
        "  {}{} {}  {}",
        "  ".repeat(node.depth),
        out.paint(tone, sign),
        out.paint(Tone::Bold, &plain(name)),
        out.paint(
            if tone == Tone::Dim {
                Tone::Dim
            } else {
                Tone::Plain
            },
            &plain(&text)
        )
    ));
}

impl Words<'_> {
    fn hearer(&self, hearer: &Hearer) {
        let span = |millis: i64| human_span(Span::milliseconds(millis));
        let when = &hearer.when;
        let group = match hearer.group.to_string() {
            empty if empty.is_empty() => "everything of the node together".to_owned(),
            labels => labels,
        };
        let mut parts = Vec::new();
        let tone = if let Some(until) = when.muted_until {
            let until = if until == Timestamp::MAX {
                "for good".to_owned()
            } else {
                format!("until {}", self.clock(until))
            };
            parts.push(format!("muted by {} {until}", when.muted_by.join(", ")));
            Tone::Warn
        } else if hearer.is_told_before {
            parts.push("told once: another node tells it too".to_owned());
            Tone::Dim
        } else {
            parts.push(format!("{} after it fires", span(when.group_wait_millis)));
            Tone::Plain
        };
        parts.push(format!("by {}, as group {group}", hearer.route));
        parts.push(format!(
            "news every {} at most, reminders every {}",
            span(when.group_interval_millis),
            span(when.repeat_interval_millis)
        ));
        row(self.out, &hearer.receiver, tone, &parts.join("; "));
        for step in &hearer.escalate {
            let text = format!(
                "if nobody takes it: {} {} after the first message",
                step.receivers.join(", "),
                span(step.after_millis)
            );
            row(self.out, "", Tone::Plain, &text);
        }
    }

    fn quiet(&self, trial: &RouteTrial) {
        let out = self.out;
        let Some(quiet) = &trial.quiet else {
            let text = "no bot runs and there is no store: silences and inhibitions are not known";
            return row(out, "unknown", Tone::Dim, text);
        };
        for silence in &quiet.silences {
            let until = silence
                .until
                .map_or(String::new(), |at| format!(" until {}", self.clock(at)));
            let text = format!("{}{until}, {}", silence.id, silence.says);
            row(out, "silence", Tone::Warn, &text);
        }
        for alert in &quiet.inhibitors {
            let text = format!("alert {} fires: {}", alert.id, alert.says);
            row(out, "inhibited", Tone::Warn, &text);
        }
        if quiet.silences.is_empty() && quiet.inhibitors.is_empty() {
            row(out, "nothing", Tone::Plain, "no silence and no inhibition");
        }
    }
}
