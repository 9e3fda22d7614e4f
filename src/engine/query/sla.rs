//! Promises over a period: how many were kept, late, missed, excused or cannot be told, by rule and subject,
//! and what objectives have left. Reads the ledger alone.

use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::labels::{Glob, Labels};
use super::super::ledger::{LedgerRow, Promise, SubjectRows, Tally};
use super::super::observation::ProjectKey;
use super::super::rule::objective::{Objective, title};
use super::super::rule::{Rule, RuleKind};
use super::super::time::{Span, Timestamp, human_span};
use super::{Page, near_names};

/// A question about promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaQuestion {
    /// Job, project, model, rule or objective.
    pub pattern: Glob,
    /// Promises that were due within so many milliseconds before now.
    pub within_millis: i64,
    /// Tell the promises themselves, too.
    pub has_promises: bool,
    /// Most rows.
    pub limit: usize,
}

/// How promises came out over a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaAnswer {
    /// Promises due after this instant.
    pub after: Timestamp,
    /// And up to this one.
    pub until: Timestamp,
    /// By rule and subject, and by objective; most damage first.
    pub summary: Page<SlaRow>,
    /// The promises themselves, newest first, when they were asked for.
    pub promises: Option<Page<PromiseRow>>,
    /// Milliseconds that one of [`SlaRow::cells`] stands for; `None`: each is one promise.
    pub cell_millis: Option<i64>,
    /// Why there is nothing to tell.
    pub note: Option<String>,
    /// Nothing has the name that was asked for; what is near it.
    pub unknown_name: Option<String>,
}

/// One rule at one subject, or one objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaRow {
    /// The rule.
    pub rule: String,
    /// Its kind.
    pub kind: String,
    /// The subject for people: `finance nightly`; for objectives the rules it counts.
    pub subject: String,
    /// How they came out.
    #[serde(flatten)]
    pub tally: Tally,
    /// Share kept in time of those that count.
    pub met_share: Option<f64>,
    /// The same in the period before.
    pub met_share_before: Option<f64>,
    /// How late the latest was, in milliseconds.
    pub worst_late_millis: Option<i64>,
    /// For objectives: what is left.
    pub budget: Option<BudgetRow>,
    /// The period from left to right, a letter for each promise or stretch of time: `m` met, `l` late, `x`
    /// missed, `e` excused, `u` unknown, `.` none; the worst of a stretch counts.
    pub cells: String,
}

/// What an objective has left, over its own window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// Promised share.
    pub target: f64,
    /// Milliseconds of its window.
    pub window_millis: i64,
    /// Promises that count so far.
    pub counted: usize,
    /// Promises in a whole window; `None` while nothing can be estimated.
    pub expected: Option<usize>,
    /// Misses allowed.
    pub allowed: usize,
    /// Misses used.
    pub used: usize,
    /// When the oldest miss leaves the window.
    pub next_leaves_at: Option<Timestamp>,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromiseRow {
    /// The rule.
    pub rule: String,
    /// The subject for people.
    pub subject: String,
    /// Identity labels.
    pub labels: Labels,
    /// When it was due.
    pub due_at: Timestamp,
    /// met, late, missed, excused or unknown.
    pub outcome: String,
    /// How late, in milliseconds.
    pub late_millis: Option<i64>,
    /// Why it was excused.
    pub why: Option<String>,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// What was recorded before.
    pub corrected_from: Option<String>,
    /// When that was recorded.
    pub was_recorded_at: Option<Timestamp>,
}

/// Up to so many promises in a row each has a block of its own.
const MAX_CELLS: usize = 40;

/// Most stretches of time in a row.
const MAX_STRETCHES: usize = 120;

/// Most promises told one by one.
const MAX_PROMISES: usize = 100_000;

/// Rules of these kinds make promises.
fn makes_promises(rule: &Rule) -> bool {
    match &rule.kind {
        RuleKind::RunDuration(kind) => kind.max.is_some(),
        RuleKind::Deadline(_)
        | RuleKind::MissedSchedule(_)
        | RuleKind::QueueTime(_)
        | RuleKind::ModelDuration(_) => true,
        _ => false,
    }
}

/// What is told of: the promises of some subjects of one rule.
struct Line<'a> {
    rule: &'a Rule,
    subject: String,
    parts: Vec<&'a SubjectRows>,
}

/// Promises by rule and subject, and objectives.
pub fn sla(engine: &Engine, question: &SlaQuestion, now: Timestamp) -> SlaAnswer {
    let period = Span::milliseconds(question.within_millis);
    let after = now - period;
    let lines = lines(engine, question);
    let recent = |line: &&Line<'_>| line.tally(after, now).total() > 0;
    let lines: Vec<&Line<'_>> = lines.iter().filter(recent).collect();
    let most = lines
        .iter()
        .map(|line| line.tally(after, now).total())
        .max();
    let cell = (most.unwrap_or(0) > MAX_CELLS).then(|| cell_of(period));
    let mut rows: Vec<SlaRow> = lines
        .iter()
        .map(|line| line.row(after, now, cell))
        .collect();
    rows.sort_by(|a, b| {
        damage(b)
            .cmp(&damage(a))
            .then_with(|| name(a).cmp(&name(b)))
    });
    let is_empty = rows.is_empty();
    let unknown_name = is_empty.then(|| unknown_name(engine, question)).flatten();
    let note = (is_empty && unknown_name.is_none()).then(|| nothing(engine, question));
    SlaAnswer {
        after,
        until: now,
        summary: Page::cut(rows, question.limit),
        promises: question
            .has_promises
            .then(|| promises(engine, &lines, after, now)),
        cell_millis: cell.map(|cell| cell.num_milliseconds()),
        note,
        unknown_name,
    }
}

/// Most broken promises first, then the worst.
fn damage(row: &SlaRow) -> (usize, usize, i64, bool) {
    let worst = row.worst_late_millis.unwrap_or(0);
    (
        row.tally.broken(),
        row.tally.missed,
        worst,
        row.budget.is_some(),
    )
}

fn name(row: &SlaRow) -> (&str, &str) {
    (&row.rule, &row.subject)
}

/// A day; for short periods a part of them, for long ones more.
fn cell_of(period: Span) -> Span {
    if period <= Span::days(2) {
        (period / 40).max(Span::minutes(1))
    } else {
        let days = period.num_days().max(1);
        Span::days((days + 59) / 60)
    }
}

fn lines<'a>(engine: &'a Engine, question: &SlaQuestion) -> Vec<Line<'a>> {
    let (ledger, history) = (engine.ledger(), engine.history());
    let rules = &engine.policy().rules;
    let is_named = |name: &str| question.pattern.is_match(name);
    let is_asked = |rule: &Rule, part: &SubjectRows| {
        is_named(&rule.name) || is_subject(engine, part.labels(), question)
    };
    let objective = |rule: &'a Rule| match &rule.kind {
        RuleKind::Objective(kind) => Some((rule, kind, kind.parts(rule, ledger, history))),
        _ => None,
    };
    let objectives: Vec<(&Rule, &Objective, Vec<&SubjectRows>)> =
        rules.iter().filter_map(objective).collect();
    let in_asked_objective = |part: &SubjectRows| {
        let asked = objectives.iter().filter(|(rule, ..)| is_named(&rule.name));
        asked
            .flat_map(|(.., parts)| parts)
            .any(|known| std::ptr::eq(*known, part))
    };
    let mut lines = Vec::new();
    for rule in rules {
        for part in ledger.subjects(&rule.name) {
            if is_asked(rule, part) || in_asked_objective(part) {
                lines.push(Line {
                    rule,
                    subject: title(history, part.labels()),
                    parts: vec![part],
                });
            }
        }
    }
    let asked: Vec<&SubjectRows> = lines.iter().flat_map(|line| &line.parts).copied().collect();
    for (rule, kind, parts) in objectives {
        let has_asked = parts
            .iter()
            .any(|part| asked.iter().any(|known| std::ptr::eq(*known, *part)));
        if is_named(&rule.name) || has_asked {
            let subject = kind.of.join(", ");
            lines.push(Line {
                rule,
                subject,
                parts,
            });
        }
    }
    lines
}

/// The pattern names the subject: its job, model or project.
fn is_subject(engine: &Engine, labels: &Labels, question: &SlaQuestion) -> bool {
    let key = ProjectKey {
        source: labels.get("source").into(),
        project_id: labels.get("project_id").into(),
    };
    let project = engine.history().project(&key);
    let project = project.map(|project| project.display_name().to_string());
    let mut names = vec![
        labels.get("job").to_owned(),
        labels.get("model").to_owned(),
        labels.get("project_id").to_owned(),
        title(engine.history(), labels),
    ];
    names.extend(project);
    names
        .iter()
        .any(|name| !name.is_empty() && question.pattern.is_match(name))
}

impl Line<'_> {
    fn tally(&self, after: Timestamp, until: Timestamp) -> Tally {
        let tallies = self.parts.iter().map(|part| part.tally(after, until));
        tallies.fold(Tally::default(), |sum, tally| sum + tally)
    }

    fn row(&self, after: Timestamp, now: Timestamp, cell: Option<Span>) -> SlaRow {
        let tally = self.tally(after, now);
        let before = self.tally(after - (now - after), after);
        let broken = self.parts.iter().flat_map(|part| part.broken(after, now));
        let worst = broken.filter_map(|row| late_millis(&row.outcome)).max();
        let budget = match &self.rule.kind {
            RuleKind::Objective(kind) => Some(self.budget(kind, now)),
            _ => None,
        };
        SlaRow {
            rule: self.rule.name.to_string(),
            kind: self.rule.kind.name().to_owned(),
            subject: self.subject.clone(),
            tally,
            met_share: tally.share(),
            met_share_before: before.share(),
            worst_late_millis: worst,
            budget,
            cells: self.cells(after, now, cell),
        }
    }

    fn budget(&self, kind: &Objective, now: Timestamp) -> BudgetRow {
        let budget = kind.budget(&self.parts, now);
        BudgetRow {
            target: kind.target,
            window_millis: kind.window.num_milliseconds(),
            counted: budget.tally.counted(),
            expected: budget.expected,
            allowed: budget.allowed,
            used: budget.used(),
            next_leaves_at: kind.next_leaves_at(&self.parts, now),
        }
    }

    fn cells(&self, after: Timestamp, now: Timestamp, cell: Option<Span>) -> String {
        let Some(cell) = cell else {
            let parts = self.parts.iter();
            let mut rows: Vec<(Timestamp, char)> = parts
                .flat_map(|part| part.rows(after, now))
                .map(|row| (row.due_at, letter(&row.outcome)))
                .collect();
            rows.sort_by_key(|(due_at, _)| *due_at);
            return rows.into_iter().map(|(_, letter)| letter).collect();
        };
        let mut cells = String::new();
        // Stretches end now, so that the newest is a whole one.
        let mut until = now;
        while until > after && cells.len() < MAX_STRETCHES {
            cells.push(worst_letter(&self.tally((until - cell).max(after), until)));
            until = until - cell;
        }
        cells.chars().rev().collect()
    }
}

fn letter(outcome: &Promise) -> char {
    let mut tally = Tally::default();
    tally.add(outcome);
    worst_letter(&tally)
}

fn worst_letter(tally: &Tally) -> char {
    match *tally {
        Tally { missed: 1.., .. } => 'x',
        Tally { late: 1.., .. } => 'l',
        Tally { unknown: 1.., .. } => 'u',
        Tally { met: 1.., .. } => 'm',
        Tally { excused: 1.., .. } => 'e',
        _ => '.',
    }
}

fn late_millis(outcome: &Promise) -> Option<i64> {
    match outcome {
        Promise::LateBy(millis) => Some(*millis),
        _ => None,
    }
}

fn word(outcome: &Promise) -> String {
    match outcome {
        Promise::Met => "met",
        Promise::LateBy(_) => "late",
        Promise::Missed => "missed",
        Promise::Excused(_) => "excused",
        Promise::Unknown => "unknown",
    }
    .to_owned()
}

/// The promises of rules, newest first; objectives make none of their own.
fn promises(
    engine: &Engine,
    lines: &[&Line<'_>],
    after: Timestamp,
    now: Timestamp,
) -> Page<PromiseRow> {
    let of_rules = lines
        .iter()
        .filter(|line| !matches!(line.rule.kind, RuleKind::Objective(_)));
    let parts = of_rules.flat_map(|line| &line.parts);
    let mut rows: Vec<LedgerRow> = parts.flat_map(|part| part.rows(after, now)).collect();
    rows.sort_by(|a, b| b.due_at.cmp(&a.due_at).then_with(|| a.rule.cmp(&b.rule)));
    let more = rows.len().saturating_sub(MAX_PROMISES);
    rows.truncate(MAX_PROMISES);
    let rows = rows.into_iter().map(|row| PromiseRow {
        rule: row.rule.to_string(),
        subject: title(engine.history(), &row.labels),
        due_at: row.due_at,
        outcome: word(&row.outcome),
        late_millis: late_millis(&row.outcome),
        why: match &row.outcome {
            Promise::Excused(why) => Some(why.clone()),
            _ => None,
        },
        recorded_at: row.recorded_at,
        corrected_from: row.corrected_from.as_ref().map(word),
        was_recorded_at: row.was_recorded_at,
        labels: row.labels,
    });
    Page {
        rows: rows.collect(),
        more,
    }
}

/// Every name that can be asked for.
fn names(engine: &Engine) -> Vec<String> {
    let rules = engine.policy().rules.iter();
    let mut names: Vec<String> = rules
        .filter(|rule| makes_promises(rule) || matches!(rule.kind, RuleKind::Objective(_)))
        .map(|rule| rule.name.to_string())
        .collect();
    for project in engine.history().projects() {
        names.push(project.display_name().to_string());
        names.push(project.key.project_id.to_string());
        names.extend(project.jobs().map(|job| job.name.to_string()));
    }
    names
}

fn unknown_name(engine: &Engine, question: &SlaQuestion) -> Option<String> {
    let names = names(engine);
    if question.pattern.as_str() == "*" {
        return None;
    }
    if names.iter().any(|name| question.pattern.is_match(name)) {
        return None;
    }
    Some(format!(
        "no job, project, rule or objective is called {}",
        near_names(
            names,
            question.pattern.as_str(),
            "`tardy sla` lists what there is"
        )
    ))
}

/// Why there is nothing to tell.
fn nothing(engine: &Engine, question: &SlaQuestion) -> String {
    let period = human_span(Span::milliseconds(question.within_millis));
    let makers = engine
        .policy()
        .rules
        .iter()
        .filter(|rule| makes_promises(rule));
    if makers.count() == 0 {
        return "no promises yet: rules of kind deadline, missed_schedule and run_duration with `max` make \
                them, and none is in force"
            .to_owned();
    }
    if engine.ledger().is_empty() {
        return "no promises yet: none has fallen due since the rules that make them are watched"
            .to_owned();
    }
    match question.pattern.as_str() {
        "*" => format!("no promise was due in the last {period}"),
        name => format!("no promise about {name} was due in the last {period}"),
    }
}
