//! The short lines of a test file: what happened, and what came of it.

use std::collections::BTreeMap;

use crate::engine::acting::Outcome;
use crate::engine::labels::Matcher;
use crate::engine::ledger::{LedgerRow, Promise};
use crate::engine::notification::Body;
use crate::engine::observation::{Execution, Run, Status};
use crate::engine::replay::{Played, Want, Wish};
use crate::engine::route::EscalationStep;
use crate::engine::silence::Until;
use crate::engine::time::{Span, Timestamp, parse_span};

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}`: {why}")]
pub struct LineError {
    line: String,
    why: String,
}

impl LineError {
    pub(super) fn new(line: &str, why: impl Into<String>) -> Self {
        Self {
            line: line.to_owned(),
            why: why.into(),
        }
    }
}

/// The day of a test: times without a date are on it.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// `2026-03-10`
    date: String,
}

impl Day {
    pub(super) fn of(from: Timestamp) -> Self {
        Self {
            date: from.to_string()[..10].to_owned(),
        }
    }

    /// `06:10`, `06:10:30`, `03-11 06:10` in its year, or RFC 3339; all UTC.
    pub(super) fn at(&self, text: &str) -> Result<Timestamp, LineError> {
        let refuse = || {
            let why =
                "write a time like 06:10, 06:10:30, 03-11 06:10 or 2026-03-10T06:10:00Z (UTC)";
            LineError::new(text, why)
        };
        let (date, time) = match text.split_once(' ') {
            Some((date, time)) => (format!("{}-{date}", &self.date[..4]), time),
            None if text.contains('T') => return Timestamp::parse(text).ok_or_else(refuse),
            None => (self.date.clone(), text),
        };
        let seconds = if time.len() == 5 { ":00" } else { "" };
        Timestamp::parse(&format!("{date}T{time}{seconds}Z")).ok_or_else(refuse)
    }

    /// `06:10`, with seconds and date only where they say something, without fractions.
    fn show(&self, at: Timestamp) -> String {
        let text = at.to_string();
        let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
        let clock = clock.get(..8).unwrap_or(clock);
        let short = clock.strip_suffix(":00").filter(|short| short.len() == 5);
        let clock = short.unwrap_or(clock);
        if date == self.date {
            clock.to_owned()
        } else {
            format!("{} {clock}", &date[5..])
        }
    }
}

/// A length of time.
pub(super) fn span(text: &str) -> Result<Span, LineError> {
    parse_span(text).map_err(|error| LineError::new(text, error.to_string()))
}

/// `06:20 -> 07:00`
pub(super) fn stretch(text: &str, day: &Day) -> Result<(Timestamp, Timestamp), LineError> {
    let Some((from, to)) = text.split_once("->") else {
        return Err(LineError::new(text, "write `06:20 -> 07:00`"));
    };
    Ok((day.at(from.trim())?, day.at(to.trim())?))
}

/// What stands before and after `: `.
fn commented(text: &str) -> (Vec<&str>, Option<String>) {
    let (head, comment) = match text.split_once(": ") {
        Some((head, comment)) => (head, Some(comment.trim().to_owned())),
        None => (text, None),
    };
    (head.split_whitespace().collect(), comment)
}

/// An instant in front of other words, with or without a date.
fn timed<'a>(words: &'a [&'a str], day: &Day) -> Result<(Timestamp, &'a [&'a str]), LineError> {
    let has_date = words
        .first()
        .is_some_and(|word| word.len() == 5 && word.as_bytes()[2] == b'-');
    let length = usize::from(has_date) + 1;
    if words.len() < length {
        return Err(LineError::new(&words.join(" "), "write a time first"));
    }
    let (at, rest) = words.split_at(length);
    Ok((day.at(&at.join(" "))?, rest))
}

/// A line of what somebody wants done: its comment is taken off, its time read.
fn wish(
    text: &str,
    day: &Day,
    usage: &str,
    read: impl FnOnce(&[&str]) -> Option<(String, Want)>,
) -> Result<(Timestamp, Wish), LineError> {
    let (words, comment) = commented(text);
    let refuse = || LineError::new(text, format!("write `{usage}`"));
    let (at, words) = timed(&words, day).map_err(|_| refuse())?;
    let (by, what) = read(words).ok_or_else(refuse)?;
    Ok((at, Wish { by, comment, what }))
}

/// `08:00 slower nightly ada: bigger tables`
pub(super) fn accept(text: &str, day: &Day) -> Result<(Timestamp, Wish), LineError> {
    wish(text, day, "TIME RULE JOB WHO: the comment", |words| {
        let [rule, subject, by] = words else {
            return None;
        };
        let (rule, subject) = ((*rule).to_owned(), (*subject).to_owned());
        Some(((*by).to_owned(), Want::Accept { rule, subject }))
    })
}

/// `08:00 failed nightly ada for 2h: on it`
pub(super) fn acknowledge(text: &str, day: &Day) -> Result<(Timestamp, Wish), LineError> {
    let usage = "TIME RULE JOB WHO for 2h: the comment";
    wish(text, day, usage, |words| {
        let (words, lasting) = match words {
            [words @ .., "for", lasting] => (words, Some(parse_span(lasting).ok()?)),
            words => (words, None),
        };
        let [rule, subject, by] = words else {
            return None;
        };
        let what = Want::Acknowledge {
            rule: (*rule).to_owned(),
            subject: (*subject).to_owned(),
            lasting,
        };
        Some(((*by).to_owned(), what))
    })
}

/// `09:00 failed nightly ada`
pub(super) fn unacknowledge(text: &str, day: &Day) -> Result<(Timestamp, Wish), LineError> {
    wish(text, day, "TIME RULE JOB WHO", |words| {
        let [rule, subject, by] = words else {
            return None;
        };
        let (rule, subject) = ((*rule).to_owned(), (*subject).to_owned());
        Some(((*by).to_owned(), Want::Unacknowledge { rule, subject }))
    })
}

fn matchers(words: &[&str]) -> Option<Vec<Matcher>> {
    words.iter().map(|word| Matcher::parse(word).ok()).collect()
}

/// `08:00 ada 2h until success job=nightly severity=critical: maintenance`
pub(super) fn silence(text: &str, day: &Day) -> Result<(Timestamp, Wish), LineError> {
    let usage =
        "TIME WHO 2h job=nightly: the reason`, or `TIME WHO 2h until success job=nightly: …";
    wish(text, day, usage, |words| {
        let (by, lasting, until, rest) = match words {
            [by, lasting, "until", "success", rest @ ..] => (by, lasting, Until::Success, rest),
            [by, lasting, "until", "resolved", rest @ ..] => (by, lasting, Until::Resolved, rest),
            [by, lasting, rest @ ..] => (by, lasting, Until::Time, rest),
            _ => return None,
        };
        let what = Want::Silence {
            matchers: matchers(rest)?,
            lasting: parse_span(lasting).ok()?,
            until,
        };
        Some(((*by).to_owned(), what))
    })
}

/// `09:00 ada job=nightly severity=critical`
pub(super) fn unsilence(text: &str, day: &Day) -> Result<(Timestamp, Wish), LineError> {
    wish(text, day, "TIME WHO job=nightly", |words| {
        let [by, rest @ ..] = words else {
            return None;
        };
        let matchers = matchers(rest)?;
        Some(((*by).to_owned(), Want::Unsilence { matchers }))
    })
}

/// `30m leads`
pub(super) fn escalation(text: &str) -> Result<EscalationStep, LineError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [after, receivers @ ..] = words.as_slice() else {
        return Err(LineError::new(text, "write `30m leads`"));
    };
    Ok(EscalationStep {
        after: span(after)?,
        receivers: receivers.iter().map(|name| (*name).into()).collect(),
    })
}

/// A line of two names, a start and perhaps an end.
struct Row<'a> {
    names: [&'a str; 2],
    from: Timestamp,
    end: Option<End>,
}

struct End {
    at: Timestamp,
    status: Status,
    error: Option<String>,
    rows: Option<i64>,
}

/// `nightly r1 04:00 -> 04:30 failed: boom`
fn row<'a>(text: &'a str, day: &Day) -> Result<Row<'a>, LineError> {
    let usage =
        "write `JOB RUN 04:00 -> 04:30 success`, `… failed: the error`, or leave out the end";
    let refuse = || LineError::new(text, usage);
    let (head, end) = match text.split_once("->") {
        // `-> ` without an end: seen while it goes on.
        Some((head, end)) => (head, Some(end.trim()).filter(|end| !end.is_empty())),
        None => (text, None),
    };
    let mut words = head.trim().splitn(3, ' ');
    let mut next = || words.next().map(str::trim).filter(|word| !word.is_empty());
    let (Some(first), Some(second), Some(from)) = (next(), next(), next()) else {
        return Err(refuse());
    };
    let end = end.map(|text| read_end(text, day)).transpose()?;
    Ok(Row {
        names: [first, second],
        from: day.at(from)?,
        end,
    })
}

/// `06:40 failed: boom`, `03-11 06:40 success`, `06:40 success rows 120`
fn read_end(text: &str, day: &Day) -> Result<End, LineError> {
    let usage = || LineError::new(text, "write `06:40 success` or `06:40 failed: the error`");
    let (text, rows) = match text.rsplit_once(" rows ") {
        Some((head, count)) => (head, Some(count.trim().parse().map_err(|_| usage())?)),
        None => (text, None),
    };
    let has_date = text.as_bytes().get(2) == Some(&b'-');
    let cut = text.match_indices(' ').nth(usize::from(has_date));
    let (at, words) = text.split_at(cut.ok_or_else(usage)?.0);
    let (word, error) = match words.split_once(": ") {
        Some((word, error)) => (word, Some(error.to_owned())),
        None => (words, None),
    };
    let status = Status::from_word(word.trim());
    if status.is_active() {
        return Err(LineError::new(
            text,
            "a run that goes on has no end: leave it out",
        ));
    }
    Ok(End {
        at: day.at(at)?,
        status,
        error,
        rows,
    })
}

/// `nightly r1 04:00 -> 04:30 failed: boom`; without an end it goes on.
pub(super) fn run(text: &str, day: &Day) -> Result<Run, LineError> {
    let row = row(text, day)?;
    let [job, id] = row.names;
    let (status, finished_at, error) = match row.end {
        Some(end) => (end.status, Some(end.at), end.error),
        None => (Status::Running, None, None),
    };
    Ok(Run {
        id: id.into(),
        job: (job != "-").then(|| job.into()),
        job_type: "run".into(),
        status,
        triggered_by: "scheduled".into(),
        created_at: row.from,
        started_at: Some(row.from),
        finished_at,
        updated_at: finished_at.unwrap_or(row.from),
        error: error.map(Into::into),
    })
}

/// `r1 stg.orders 04:01 -> 04:02 failed: boom`
pub(super) fn execution(text: &str, day: &Day) -> Result<Execution, LineError> {
    let row = row(text, day)?;
    let [run, model] = row.names;
    let (status, finished_at, error, rows) = match row.end {
        Some(end) => (end.status, Some(end.at), end.error, end.rows),
        None => (Status::Running, None, None, None),
    };
    Ok(Execution {
        id: format!("{run}/{model}/{}", row.from).into(),
        run_id: Some(run.into()),
        model: model.into(),
        status,
        started_at: Some(row.from),
        finished_at,
        updated_at: finished_at.unwrap_or(row.from),
        rows,
        error: error.map(Into::into),
    })
}

/// `nightly r3 04:00 04:12 -> 04:30 success`: created, started, finished.
pub(super) fn queued(text: &str, day: &Day) -> Result<Run, LineError> {
    let usage = || LineError::new(text, "write `JOB RUN 04:00 04:12 -> 04:30 success`");
    let (head, end) = match text.split_once("->") {
        Some((head, end)) => (head.trim(), format!(" -> {}", end.trim())),
        None => (text.trim(), String::new()),
    };
    let (head, second) = head.rsplit_once(' ').ok_or_else(usage)?;
    // The date, if there is one, stands before both times or before each.
    let (head, started) = match head.rsplit_once(' ') {
        Some((rest, date)) if date.as_bytes().get(2) == Some(&b'-') => {
            (rest, format!("{date} {second}"))
        }
        _ => (head, second.to_owned()),
    };
    let run = run(&format!("{head}{end}"), day)?;
    let started_at = day.at(&started)?;
    Ok(Run {
        started_at: Some(started_at),
        updated_at: run.updated_at.max(started_at),
        ..run
    })
}

/// `nightly every 1d x 9 took 30m models stg.orders`: successes before the test begins.
pub(super) fn past(text: &str, from: Timestamp) -> Result<(Vec<Run>, Vec<Execution>), LineError> {
    let usage = "write `JOB every 1d x 9 took 30m`, and perhaps `models a b`";
    let words: Vec<&str> = text.split_whitespace().collect();
    let (words, models) = match words.iter().position(|word| *word == "models") {
        Some(place) => (&words[..place], &words[place + 1..]),
        None => (&words[..], &[][..]),
    };
    let [job, "every", every, "x", count, "took", took] = words[..] else {
        return Err(LineError::new(text, usage));
    };
    let count: i32 = count
        .parse()
        .map_err(|_| LineError::new(text, format!("`{count}` is not a number")))?;
    let (every, took) = (span(every)?, span(took)?);
    let runs: Vec<Run> = (1..=count)
        .map(|index| {
            let created_at = from - every * index;
            Run {
                id: format!("{job}-past-{index}").into(),
                job: Some(job.into()),
                job_type: "run".into(),
                status: Status::Success,
                triggered_by: "scheduled".into(),
                created_at,
                started_at: Some(created_at),
                finished_at: Some(created_at + took),
                updated_at: created_at + took,
                error: None,
            }
        })
        .collect();
    let executed = |run: &Run| {
        let (run_id, at) = (run.id.clone(), run.created_at);
        let ended_at = at + Span::minutes(1).min(took);
        models.iter().map(move |model| Execution {
            id: format!("{run_id}/{model}").into(),
            run_id: Some(run_id.clone()),
            model: (*model).into(),
            status: Status::Success,
            started_at: Some(at),
            finished_at: Some(ended_at),
            updated_at: ended_at,
            rows: None,
            error: None,
        })
    };
    let executions = runs.iter().flat_map(executed).collect();
    Ok((runs, executions))
}

/// What was told, a line for each alert in a message: time, receiver, reason, mark, severity, headline. What
/// somebody was refused stands where it happened.
pub(super) fn told(played: &Played, day: &Day) -> Vec<String> {
    let mut lines = Vec::new();
    let refused = played.acts.iter().filter_map(|acted| match &acted.outcome {
        Outcome::Done(_) => None,
        Outcome::Refused(refusal) => {
            let (at, by) = (acted.act.at, &acted.act.by);
            Some((at, format!("{} {by} refused: {refusal}", day.show(at))))
        }
    });
    let mut refused: Vec<(Timestamp, String)> = refused.collect();
    refused.reverse();
    for told in &played.told {
        while let Some((_, line)) = refused.pop_if(|(at, _)| *at <= told.decided_at) {
            lines.push(line);
        }
        let when = day.show(told.decided_at);
        let head = format!("{when} {} {}", told.receiver, told.reason.as_str());
        if let Some(rollup) = &told.rollup {
            lines.push(format!("{head}: together, {}", rollup.headline));
        }
        match &told.body {
            Body::Notice { headline, .. } => lines.push(format!("{head}: {headline}")),
            Body::Digest(digest) => lines.push(format!("{head}: {}", digest.verdict)),
            Body::Alerts(alerts) => lines.extend(alerts.iter().map(|alert| {
                let mark = match (alert.ended_at.is_some(), alert.is_new) {
                    (true, true) => "+-",
                    (true, false) => "-",
                    (false, true) => "+",
                    (false, false) => "=",
                };
                let so = if alert.is_already_so {
                    " (already so)"
                } else {
                    ""
                };
                let severity = alert.severity.as_str();
                let taken = alert.acknowledged.as_ref();
                let taken = taken.map_or(String::new(), |known| format!(" [{}]", known.by));
                let quiet = alert.silenced.as_ref().map_or("", |_| " [silenced]");
                format!(
                    "{head}: {mark} {severity} {}{so}{taken}{quiet}",
                    alert.headline
                )
            })),
        }
        for quiet in &told.suppressed {
            lines.push(format!("{head}: kept quiet, {}", quiet.reason));
        }
    }
    lines.extend(refused.into_iter().rev().map(|(_, line)| line));
    lines
}

/// The last row of each promise: rule, subject, when it was due, what became of it.
pub(super) fn ledger(played: &Played, day: &Day) -> Vec<String> {
    let mut last: BTreeMap<(String, Timestamp, String), &LedgerRow> = BTreeMap::new();
    for row in &played.ledger {
        let key = (row.rule.to_string(), row.due_at, row.labels.to_string());
        last.insert(key, row);
    }
    let line = |row: &LedgerRow| {
        let (due, job) = (day.show(row.due_at), row.labels.get("job"));
        let outcome = match &row.outcome {
            Promise::Met => "met".to_owned(),
            Promise::LateBy(millis) => format!("late by {} s", millis / 1_000),
            Promise::Missed => "missed".to_owned(),
            Promise::Excused(why) => format!("excused: {why}"),
            Promise::Unknown => "unknown".to_owned(),
        };
        format!("{} {job} {due} {outcome}", row.rule)
    };
    last.into_values().map(line).collect()
}
