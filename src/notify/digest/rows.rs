//! The rows of each section, in words.

use super::super::message::link;
use super::{Cell, Mark, Row, Section, cell, millis, section};
use crate::engine::digest::{
    BudgetLine, Digest, EarlierRow, FlappingRow, GapRow, ModelLine, NearRow, OpenRow, PausedRow,
    RuleHabit, RuleNote, SilenceRow, SlaLine, UnreachableRow,
};
use crate::engine::ledger::Tally;
use crate::engine::rule::Severity;
use crate::engine::rule::objective::percent;
use crate::engine::time::{Timestamp, human_span, human_time};

/// Those that have something to say, in the order in which people read.
pub(super) fn sections(digest: &Digest) -> Vec<Section> {
    let words = Words { digest };
    let parts = words.state().into_iter().chain(words.tending());
    parts.flatten().collect()
}

/// A row from its cells: the first leads, `text` is the rest in words.
fn row(mark: Mark, is_new: bool, text: &[String], cells: Vec<(Mark, String)>) -> Row {
    let lead = cells.first().map(|(_, text)| text.clone());
    // A name that is nothing but white space, or hidden, is still one.
    let lead = lead.filter(|lead| !lead.is_empty());
    let lead = lead.unwrap_or_else(|| "(no name)".to_owned());
    let said: Vec<&str> = text
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    Row {
        lead,
        text: said.join(", "),
        cells: cells
            .into_iter()
            .map(|(mark, text)| Cell { text, mark })
            .collect(),
        is_new,
        mark,
        href: None,
    }
}

fn optional(text: Option<&str>) -> String {
    text.map(cell).unwrap_or_default()
}

fn prefixed(prefix: &str, text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("{prefix}{text}"),
    }
}

struct Words<'a> {
    digest: &'a Digest,
}

impl Words<'_> {
    /// How things stand.
    fn state(&self) -> [Option<Section>; 6] {
        [
            section(
                "Still open",
                &["ALERT", "OPEN", "OWNER", "STATE", "ID"],
                &self.digest.open,
                |row| self.open(row),
            ),
            section(
                "Not known",
                &["PROJECT", "KNOWN UP TO"],
                &self.digest.gaps,
                |row| self.gap(row),
            ),
            section(
                "Cannot be reached",
                &["WHAT", "SINCE", "WHY"],
                &self.digest.unreachable,
                |row| self.unreachable(row),
            ),
            section(
                "Earlier promises, decided since the last digest",
                &["JOB", "DUE", "CAME OUT", "RULE"],
                &self.digest.decided_since,
                |row| self.earlier(row),
            ),
            section(
                "Promises by job, most damage first",
                &["JOB", "KEPT", "BEFORE", "BEFORE THAT", "NOT KEPT"],
                &self.digest.sla,
                sla,
            ),
            section(
                "Objectives: what is left",
                &["OBJECTIVE", "KEPT", "BEFORE", "BEFORE THAT", "LEFT"],
                &self.digest.budgets,
                |row| self.budget(row),
            ),
        ]
    }

    /// What to look after.
    fn tending(&self) -> [Option<Section>; 7] {
        [
            section(
                "Nearly missed",
                &["JOB", "LEFT", "DUE", "RULE"],
                &self.digest.nearly_missed,
                |row| self.near(row),
            ),
            section(
                "Models that grow, most time added first",
                &["MODEL", "ADDED", "NOW", "USUAL", "JOB"],
                &self.digest.growing,
                growing,
            ),
            section(
                "Slowest models",
                &["MODEL", "NOW", "USUAL", "JOB"],
                &self.digest.slowest,
                slowest,
            ),
            section(
                "Flapping",
                &["ALERT", "CHANGES", "SINCE", "ID"],
                &self.digest.flapping,
                |row| self.flapping(row),
            ),
            section("Paused", &["JOB", "SINCE"], &self.digest.paused, |row| {
                self.paused(row)
            }),
            section(
                "Silences about to end",
                &["SILENCE", "ENDS", "BY", "WHY", "ID"],
                &self.digest.silences,
                |row| self.silence(row),
            ),
            section(
                "Rules to look at",
                &["RULE", "KIND", "WHAT"],
                &self.digest.rules,
                |row| self.rule(row),
            ),
        ]
    }

    fn time(&self, at: Timestamp) -> String {
        human_time(at, self.digest.to, self.digest.zone)
    }

    fn open(&self, alert: &OpenRow) -> Row {
        let mark = match alert.severity {
            Severity::Critical => Mark::Bad,
            Severity::Warning => Mark::Warn,
            Severity::Info => Mark::Plain,
        };
        let age = human_span(self.digest.made_at.since(alert.began_at));
        let owner = optional(alert.owner.as_deref());
        let known = alert.acknowledged_by.as_deref().map(|by| {
            let until = alert.acknowledged_until.map(|until| self.time(until));
            let until = prefixed(" until ", &until.unwrap_or_default());
            format!("acknowledged by {}{until}", cell(by))
        });
        let quiet = optional(alert.quiet.as_deref());
        let state: Vec<String> = known
            .into_iter()
            .chain((!quiet.is_empty()).then_some(quiet))
            .collect();
        let state = state.join("; ");
        let severity = alert.severity.as_str();
        let since = self.time(alert.began_at);
        let id = cell(&alert.id);
        let text = [
            severity.to_owned(),
            format!("open {age} since {since}"),
            prefixed("owner ", &owner),
            state.clone(),
            format!("why: tardy why {id}"),
        ];
        let state = if state.is_empty() {
            severity.to_owned()
        } else {
            format!("{severity}; {state}")
        };
        let cells = vec![
            (Mark::Plain, cell(&alert.headline)),
            (Mark::Plain, age),
            (Mark::Plain, owner),
            (mark, state),
            (Mark::Dim, id),
        ];
        Row {
            href: alert.run_url.as_deref().and_then(link),
            ..row(mark, alert.is_new, &text, cells)
        }
    }

    fn gap(&self, gap: &GapRow) -> Row {
        let until = match gap.known_until {
            Some(at) => {
                let behind = human_span(self.digest.to.since(at));
                format!("{} known up to {}, {behind} short", gap.what, self.time(at))
            }
            None => format!("nothing is known of its {}", gap.what),
        };
        let cells = vec![
            (Mark::Plain, cell(&gap.project)),
            (Mark::Warn, until.clone()),
        ];
        row(Mark::Warn, false, &[until], cells)
    }

    fn unreachable(&self, what: &UnreachableRow) -> Row {
        let since = self.time(what.since);
        let why = optional(what.why.as_deref());
        let text = [format!("failing since {since}"), why.clone()];
        let cells = vec![
            (Mark::Plain, cell(&what.what)),
            (Mark::Plain, since),
            (Mark::Warn, why),
        ];
        row(Mark::Warn, what.is_new, &text, cells)
    }

    fn earlier(&self, promise: &EarlierRow) -> Row {
        let late = promise.late_millis.map(millis);
        let mut how = promise.outcome.clone();
        how.push_str(&prefixed(" by ", &late.unwrap_or_default()));
        let was = promise.corrected_from.as_deref().unwrap_or_default();
        how.push_str(&prefixed(", was ", was));
        let mark = match promise.outcome.as_str() {
            "missed" => Mark::Bad,
            "late" => Mark::Warn,
            "met" => Mark::Good,
            _ => Mark::Plain,
        };
        let (due, rule) = (self.time(promise.due_at), cell(&promise.rule));
        let text = [format!("due {due}"), how.clone(), format!("rule {rule}")];
        let cells = vec![
            (Mark::Plain, cell(&promise.subject)),
            (Mark::Plain, due),
            (mark, how),
            (Mark::Dim, rule),
        ];
        row(mark, true, &text, cells)
    }

    fn budget(&self, line: &BudgetLine) -> Row {
        let budget = &line.budget;
        let left = budget.allowed.saturating_sub(budget.used);
        let about = if budget.expected == Some(budget.counted) {
            ""
        } else {
            "about "
        };
        let (mark, said) = if budget.expected.is_some() {
            let mark = match (budget.used, left) {
                (0, _) => Mark::Good,
                (_, 0) => Mark::Bad,
                _ if budget.used * 2 >= budget.allowed => Mark::Warn,
                _ => Mark::Plain,
            };
            let misses = if budget.allowed == 1 {
                "miss"
            } else {
                "misses"
            };
            let allowed = budget.allowed;
            (mark, format!("{left} of {about}{allowed} {misses} left"))
        } else {
            (Mark::Dim, "too few promises yet to tell".to_owned())
        };
        let over = budget.used.saturating_sub(budget.allowed);
        let over = match over {
            0 => String::new(),
            over if budget.expected.is_some() => format!(", {over} over"),
            _ => String::new(),
        };
        let window = millis(budget.window_millis);
        let said = format!("{said}{over}");
        let leaves = budget.next_leaves_at.map(|at| self.time(at));
        let text = [
            format!("{said} ({} in {window})", percent(budget.target)),
            prefixed("the oldest miss leaves ", &leaves.unwrap_or_default()),
            periods(&line.periods),
        ];
        let [now, before, earlier] = line.periods;
        let cells = vec![
            (Mark::Plain, cell(&line.objective)),
            (tone(&now), share(&now)),
            (Mark::Dim, share(&before)),
            (Mark::Dim, share(&earlier)),
            (
                mark,
                format!("{said} ({} in {window})", percent(budget.target)),
            ),
        ];
        row(mark, false, &text, cells)
    }

    fn near(&self, near: &NearRow) -> Row {
        let left = if near.left_millis < 0 {
            format!("{} into the grace", millis(-near.left_millis))
        } else {
            format!(
                "{} of {}",
                millis(near.left_millis),
                millis(near.allowed_millis)
            )
        };
        let times = match near.count {
            1 => String::new(),
            count => format!("{count} times, this was the nearest"),
        };
        let (due, rule) = (self.time(near.due_at), cell(&near.rule));
        let text = [
            if near.left_millis < 0 {
                left.clone()
            } else {
                format!("{left} left")
            },
            format!("due {due}"),
            times,
            format!("rule {rule}"),
        ];
        let count = match near.count {
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        let cells = vec![
            (Mark::Plain, cell(&near.subject)),
            (Mark::Warn, format!("{left}{count}")),
            (Mark::Plain, due),
            (Mark::Dim, rule),
        ];
        row(Mark::Warn, false, &text, cells)
    }

    fn flapping(&self, flapping: &FlappingRow) -> Row {
        let since = self.time(flapping.since);
        let (note, id) = (cell(&flapping.note), cell(&flapping.id));
        let text = [
            note.clone(),
            format!("since {since}"),
            format!("why: tardy why {id}"),
        ];
        let cells = vec![
            (Mark::Plain, cell(&flapping.headline)),
            (Mark::Warn, note),
            (Mark::Plain, since),
            (Mark::Dim, id),
        ];
        row(Mark::Warn, flapping.is_new, &text, cells)
    }

    fn paused(&self, paused: &PausedRow) -> Row {
        let since = match paused.since {
            Some(at) if paused.is_since_or_before => format!("{} or before", self.time(at)),
            Some(at) => self.time(at),
            None => "not known since when".to_owned(),
        };
        let text = [match paused.since {
            Some(_) => format!("since {since}"),
            None => since.clone(),
        }];
        let cells = vec![(Mark::Plain, cell(&paused.subject)), (Mark::Plain, since)];
        row(Mark::Plain, paused.is_new, &text, cells)
    }

    fn silence(&self, silence: &SilenceRow) -> Row {
        let ends = self.time(silence.ends_at);
        let (by, why, id) = (cell(&silence.by), cell(&silence.comment), cell(&silence.id));
        let text = [
            format!("ends {ends}"),
            prefixed("by ", &by),
            why.clone(),
            format!("id {id}"),
        ];
        let cells = vec![
            (Mark::Plain, cell(&silence.matchers)),
            (Mark::Plain, ends),
            (Mark::Plain, by),
            (Mark::Plain, why),
            (Mark::Dim, id),
        ];
        row(Mark::Plain, false, &text, cells)
    }

    fn rule(&self, rule: &RuleNote) -> Row {
        let since = self.time(rule.since);
        let (mark, what) = match rule.habit {
            RuleHabit::AlwaysFires if rule.alerts == 1 => {
                (Mark::Warn, format!("fires all the time, since {since}"))
            }
            RuleHabit::AlwaysFires => (
                Mark::Warn,
                format!("fires all the time: {} alerts, since {since}", rule.alerts),
            ),
            RuleHabit::MatchesNothing => (
                Mark::Warn,
                format!("matches nothing, in force since {since}"),
            ),
            RuleHabit::NeverFired => (Mark::Plain, format!("never fired, watched since {since}")),
        };
        let cells = vec![
            (Mark::Plain, cell(&rule.rule)),
            (Mark::Dim, cell(&rule.kind)),
            (mark, what.clone()),
        ];
        row(mark, false, &[what], cells)
    }
}

fn sla(line: &SlaLine) -> Row {
    let [now, before, earlier] = line.periods;
    let mark = tone(&now);
    let rules = cell(&line.broken_rules.join(", "));
    let damage = damage(&now, line.worst_late_millis);
    let text = [
        periods(&line.periods),
        damage.clone(),
        prefixed("rule ", &rules),
    ];
    let by = match rules.as_str() {
        "" => String::new(),
        rules => format!(" ({rules})"),
    };
    let cells = vec![
        (Mark::Plain, cell(&line.subject)),
        (mark, kept(&now)),
        (Mark::Dim, share(&before)),
        (Mark::Dim, share(&earlier)),
        (Mark::Plain, format!("{damage}{by}")),
    ];
    row(mark, line.is_new, &text, cells)
}

/// `27 of 30 kept (before: 100 %, before that: 96.6 %, 1 late)`.
fn periods([now, before, earlier]: &[Tally; 3]) -> String {
    let mut told = format!("{} kept", kept(now));
    let past: Vec<String> = [("before", before), ("before that", earlier)]
        .into_iter()
        .filter(|(_, tally)| tally.total() > 0)
        .map(|(when, tally)| format!("{when}: {}", share(tally)))
        .collect();
    if !past.is_empty() {
        told = format!("{told} ({})", past.join("; "));
    }
    told
}

/// `27 of 30`.
fn kept(tally: &Tally) -> String {
    match tally.counted() {
        0 => "none".to_owned(),
        counted => format!("{} of {counted}", tally.met),
    }
}

/// `96.6 %, 1 late`.
fn share(tally: &Tally) -> String {
    let mut parts: Vec<String> = tally.share().map(percent).into_iter().collect();
    parts.extend(counts(tally));
    match parts.as_slice() {
        [] => "-".to_owned(),
        parts => parts.join(", "),
    }
}

fn counts(tally: &Tally) -> impl Iterator<Item = String> {
    [
        (tally.missed, "missed"),
        (tally.late, "late"),
        (tally.excused, "excused"),
        (tally.unknown, "unknown"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
}

/// `1 missed, 2 late, worst 42 min late`.
fn damage(tally: &Tally, worst_millis: Option<i64>) -> String {
    let worst = worst_millis.map(|late| format!("worst {} late", millis(late)));
    counts(tally).chain(worst).collect::<Vec<_>>().join(", ")
}

fn tone(tally: &Tally) -> Mark {
    match tally {
        Tally { missed: 1.., .. } => Mark::Bad,
        Tally { late: 1.., .. } => Mark::Warn,
        Tally { unknown: 1.., .. } => Mark::Plain,
        Tally { met: 1.., .. } => Mark::Good,
        _ => Mark::Dim,
    }
}

fn usual(line: &ModelLine) -> String {
    line.usual_millis.map_or_else(
        || format!("not known yet ({} before)", line.usual_count),
        |usual| format!("{} ({} before)", millis(usual), line.usual_count),
    )
}

fn job(line: &ModelLine) -> String {
    format!("{} {}", cell(&line.project), cell(&line.job))
}

fn growing(line: &ModelLine) -> Row {
    let added = line.added_millis.map(millis).unwrap_or_default();
    let now = match line.count {
        1 => millis(line.median_millis),
        count => format!("{} (median of {count})", millis(line.median_millis)),
    };
    let text = [
        format!("+{added} in all"),
        format!("now {now}"),
        format!("usual {}", usual(line)),
        job(line),
    ];
    let cells = vec![
        (Mark::Plain, cell(&line.model)),
        (Mark::Warn, format!("+{added}")),
        (Mark::Plain, now),
        (Mark::Dim, usual(line)),
        (Mark::Dim, job(line)),
    ];
    row(Mark::Warn, false, &text, cells)
}

fn slowest(line: &ModelLine) -> Row {
    let now = match line.count {
        1 => millis(line.median_millis),
        count => format!("{} (median of {count})", millis(line.median_millis)),
    };
    let text = [now.clone(), format!("usual {}", usual(line)), job(line)];
    let cells = vec![
        (Mark::Plain, cell(&line.model)),
        (Mark::Plain, now),
        (Mark::Dim, usual(line)),
        (Mark::Dim, job(line)),
    ];
    row(Mark::Plain, false, &text, cells)
}
