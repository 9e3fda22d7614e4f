//! `tardy sla`: promises kept, late, missed and excused, and what objectives have left.

use clap::Args;

use super::answers::{self, quote};
use super::output::{Tone, cut, fit, plain, width_of};
use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::chat::parse::{Command, parse};
use crate::chat::run::Answer;
use crate::engine::query::{BudgetRow, Page, PromiseRow, SlaAnswer, SlaRow};
use crate::engine::rule::objective::percent;
use crate::engine::time::{Span, Timestamp, human_span};

/// Options of `tardy sla`.
#[derive(Debug, Args)]
#[command(after_help = "\
Promises are made by rules of kind deadline, missed_schedule and run_duration with `max`. Each has exactly
one outcome; one that changed later shows what was recorded before with --rows.

Examples:
  tardy sla                          every promise of the last 30 days, most damage first
  tardy sla nightly 7d               one job, one week
  tardy sla nightly-objective        an objective and the promises it counts
  tardy sla --csv > month.csv        a line for each rule and subject
  tardy sla nightly --rows --csv     a line for each promise, with corrections")]
pub(super) struct SlaArgs {
    /// Job, project, rule or objective (* is any text), and a period like 24h or 30d, in any order
    #[arg(value_name = "JOB|OBJECTIVE|PERIOD")]
    words: Vec<String>,
    /// The promises themselves, newest first, with corrections
    #[arg(long)]
    rows: bool,
    /// Comma-separated values, for spreadsheets
    #[arg(long)]
    csv: bool,
    /// Most rows of the summary
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub(super) fn run(args: &SlaArgs, context: &Context) -> ExitCode {
    if args.csv && context.out.is_json {
        context
            .out
            .error("--csv and --json are two forms of the same answer; take one of them");
        return ExitCode::Problems;
    }
    let words: Vec<String> = args.words.iter().map(|word| quote(word)).collect();
    let mut question = match parse(&format!("/sla {}", words.join(" "))) {
        Ok(Command::Sla(question)) => question,
        Ok(_) => return ExitCode::Bug,
        Err(error) => {
            context.out.error(&error.to_string());
            return ExitCode::Problems;
        }
    };
    question.has_promises = args.rows;
    question.limit = if args.csv { usize::MAX } else { args.limit };
    let answer = match state::ask(&Question::Command(Command::Sla(question)), context) {
        Ok(Answer::Sla(answer)) => answer,
        Ok(_) => return ExitCode::Bug,
        Err(code) => return code,
    };
    if let Some(unknown) = &answer.unknown_name {
        context.out.error(&plain(unknown));
        return ExitCode::Problems;
    }
    match (&answer.promises, args.csv) {
        _ if context.out.is_json => context.out.json(&answer),
        (Some(promises), true) => promises_csv(promises, context),
        (None, true) => summary_csv(&answer.summary, context),
        (Some(promises), false) => show_promises(promises, &answer, context),
        (None, false) => show(&answer, context),
    }
    ExitCode::Fine
}

/// The answer for people: a table, and a row of blocks for each subject.
pub(super) fn show(answer: &SlaAnswer, context: &Context) {
    if let Some(text) = answer.unknown_name.as_ref().or(answer.note.as_ref()) {
        return context.out.line(&plain(text));
    }
    let period = human_span(answer.until - answer.after);
    let head = format!("promises due in the last {period}, most damage first");
    context.out.line(&context.out.paint(Tone::Dim, &head));
    let mut rows: Vec<Vec<(Tone, String)>> = answer.summary.rows.iter().map(cells_of).collect();
    let mut head = HEAD.to_vec();
    // A column that says nothing takes the room of those that do.
    for column in (0..HEAD.len()).rev() {
        let is_empty = |row: &Vec<(Tone, String)>| matches!(row[column].1.as_str(), "0" | "-");
        if !ALWAYS.contains(&HEAD[column]) && rows.iter().all(is_empty) {
            head.remove(column);
            for row in &mut rows {
                row.remove(column);
            }
        }
    }
    context.out.table(&head, &rows);
    answers::more(&answer.summary, context);
    context.out.line("");
    budgets(answer, context);
    chart(answer, context);
}

const HEAD: [&str; 12] = [
    "SUBJECT", "RULE", "DUE", "MET", "LATE", "MISSED", "EXCUSED", "UNKNOWN", "SHARE", "BEFORE",
    "WORST", "BUDGET",
];

/// Columns that are shown even when all of them are empty.
const ALWAYS: [&str; 6] = ["SUBJECT", "RULE", "DUE", "MET", "LATE", "MISSED"];

/// Of an objective over many rules their number: their names are rows of their own.
fn subject_of(row: &SlaRow) -> String {
    match row.subject.split(", ").count() {
        count if count > 1 && row.budget.is_some() => format!("{count} rules"),
        _ => plain(&row.subject),
    }
}

fn cells_of(row: &SlaRow) -> Vec<(Tone, String)> {
    let tally = row.tally;
    let count = |tone: Tone, count: usize| {
        let tone = if count > 0 { tone } else { Tone::Dim };
        (tone, count.to_string())
    };
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let late = |millis| format!("{} late", human_span(Span::milliseconds(millis)));
    let worst = match row.worst_late_millis {
        _ if tally.missed > 0 => "missed".to_owned(),
        Some(millis) => late(millis),
        None => "-".to_owned(),
    };
    vec![
        (Tone::Bold, subject_of(row)),
        (Tone::Plain, plain(&row.rule)),
        (Tone::Plain, tally.total().to_string()),
        count(Tone::Good, tally.met),
        count(Tone::Warn, tally.late),
        count(Tone::Bad, tally.missed),
        count(Tone::Plain, tally.excused),
        count(Tone::Plain, tally.unknown),
        (Tone::Bold, share(row.met_share)),
        (Tone::Dim, share(row.met_share_before)),
        (Tone::Plain, worst),
        row.budget
            .as_ref()
            .map_or((Tone::Dim, "-".to_owned()), budget),
    ]
}

fn budget(budget: &BudgetRow) -> (Tone, String) {
    let Some(expected) = budget.expected else {
        return (Tone::Dim, "too few yet".to_owned());
    };
    let left = budget.allowed.saturating_sub(budget.used);
    let tone = match (left, budget.used) {
        (_, 0) => Tone::Good,
        (0, _) => Tone::Bad,
        _ if budget.used * 2 >= budget.allowed => Tone::Warn,
        _ => Tone::Plain,
    };
    let about = about(expected, budget);
    (tone, format!("{left} of {about}{} left", budget.allowed))
}

fn about(expected: usize, budget: &BudgetRow) -> &'static str {
    if expected == budget.counted {
        ""
    } else {
        "about "
    }
}

/// What objectives allow, a line for each.
fn budgets(answer: &SlaAnswer, context: &Context) {
    for row in &answer.summary.rows {
        let Some(budget) = &row.budget else {
            continue;
        };
        let used = match budget.allowed {
            1 => format!("{} of 1 miss used", budget.used),
            allowed => format!("{} of {allowed} misses used", budget.used),
        };
        let of = match budget.expected {
            Some(expected) if expected != budget.counted => {
                format!("{} of about {expected} promises", budget.counted)
            }
            _ => format!("of {} promises", budget.counted),
        };
        let window = human_span(Span::milliseconds(budget.window_millis));
        let leaves = budget
            .next_leaves_at
            .map(|at| format!("; the oldest miss leaves at {}", to_second(at)));
        context.out.line(&format!(
            "{}: {used}, target {} in {window}, {of}{}",
            plain(&row.rule),
            percent(budget.target),
            leaves.unwrap_or_default()
        ));
    }
}

/// How one outcome is drawn: its letter, a block, a character where there are none, its colour, its name.
const BLOCKS: [(char, char, char, Tone, &str); 6] = [
    ('m', '█', '=', Tone::Good, "met"),
    ('l', '▓', 'L', Tone::Warn, "late"),
    ('x', '×', 'X', Tone::Bad, "missed"),
    ('e', '░', '-', Tone::Dim, "excused"),
    ('u', '?', '?', Tone::Plain, "unknown"),
    ('.', '·', '.', Tone::Dim, "none"),
];

/// Fewest blocks that are shown of a row, however narrow the terminal is.
const LEAST_BLOCKS: usize = 10;

fn chart(answer: &SlaAnswer, context: &Context) {
    let out = &context.out;
    let rows = &answer.summary.rows;
    let widest = |name: &dyn Fn(&SlaRow) -> String| {
        let widths = rows.iter().map(|row| width_of(&name(row)));
        widths.max().unwrap_or(0)
    };
    let mut widths = [widest(&subject_of), widest(&|row| plain(&row.rule))];
    let longest = rows.iter().map(|row| row.cells.chars().count()).max();
    let blocks = longest.unwrap_or(0).min(out.width / 2).max(LEAST_BLOCKS);
    fit(&mut widths, out.width.saturating_sub(blocks + 4));
    let names = widths.iter().sum::<usize>() + 4;
    let room = out.width.saturating_sub(names).max(LEAST_BLOCKS);
    for row in rows {
        // The newest are on the right, and stay when there is no room for all.
        let skipped = row.cells.chars().count().saturating_sub(room);
        let cells: String = row.cells.chars().skip(skipped).collect();
        let (subject, rule) = (
            cut(&subject_of(row), widths[0]),
            cut(&plain(&row.rule), widths[1]),
        );
        out.line(&format!(
            "{subject:0$}  {rule:1$}  {2}",
            widths[0],
            widths[1],
            draw(&cells, context)
        ));
    }
    let is_there = |letter: char| rows.iter().any(|row| row.cells.contains(letter));
    let legend: Vec<String> = BLOCKS
        .iter()
        .filter(|(letter, ..)| is_there(*letter))
        .map(|(letter, .., word)| format!("{} {word}", draw(&letter.to_string(), context)))
        .collect();
    let each = answer
        .cell_millis
        .map_or("one promise".to_owned(), |millis| {
            format!("the worst of {}", human_span(Span::milliseconds(millis)))
        });
    let text = format!(
        "{}; each is {each}, the newest on the right",
        legend.join("  ")
    );
    out.line(&text);
}

/// Letters as blocks, a colour for each stretch of the same.
fn draw(cells: &str, context: &Context) -> String {
    let mut text = String::new();
    let mut letters = cells.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut count = 1;
        while letters.next_if_eq(&letter).is_some() {
            count += 1;
        }
        let found = BLOCKS.iter().find(|(known, ..)| *known == letter);
        let (_, block, plain, tone, _) = found.unwrap_or(&BLOCKS[5]);
        let glyph = if context.out.is_unicode { block } else { plain };
        let run: String = std::iter::repeat_n(*glyph, count).collect();
        text.push_str(&context.out.paint(*tone, &run));
    }
    text
}

/// An instant for people: nobody reads milliseconds.
fn to_second(at: Timestamp) -> String {
    Timestamp::from_millis(at.as_millis().div_euclid(1_000) * 1_000).to_string()
}

fn show_promises(promises: &Page<PromiseRow>, answer: &SlaAnswer, context: &Context) {
    if let Some(note) = &answer.note {
        return context.out.line(&plain(note));
    }
    let rows: Vec<Vec<(Tone, String)>> = promises
        .rows
        .iter()
        .map(|row| {
            let tone = match row.outcome.as_str() {
                "met" => Tone::Good,
                "late" => Tone::Warn,
                "missed" => Tone::Bad,
                _ => Tone::Plain,
            };
            let late = row
                .late_millis
                .map(|millis| format!(" by {}", human_span(Span::milliseconds(millis))));
            let why = row.why.as_ref().map(|why| format!(": {why}"));
            let outcome = format!("{}{}", row.outcome, late.or(why).unwrap_or_default());
            let corrected = match (&row.corrected_from, row.was_recorded_at) {
                (Some(before), Some(at)) => {
                    format!("was {before}, recorded {}", to_second(at))
                }
                (Some(before), None) => format!("was {before}"),
                (None, _) => String::new(),
            };
            vec![
                (Tone::Plain, to_second(row.due_at)),
                (tone, plain(&outcome)),
                (Tone::Bold, plain(&row.subject)),
                (Tone::Plain, plain(&row.rule)),
                (Tone::Dim, plain(row.labels.get("run_id"))),
                (Tone::Plain, corrected),
            ]
        })
        .collect();
    let head = ["DUE", "OUTCOME", "SUBJECT", "RULE", "RUN", "CORRECTED"];
    context.out.table(&head, &rows);
    answers::more(promises, context);
}

/// A field of a line of values: quoted where needed. A text that a spreadsheet would take for a formula gets
/// an apostrophe.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\n', '\r', '\'']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

fn line(fields: &[String]) -> String {
    let mut line = fields.join(",");
    line.push_str("\r\n");
    line
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn summary_csv(summary: &Page<SlaRow>, context: &Context) {
    let mut text = line(
        &[
            "subject",
            "rule",
            "kind",
            "due",
            "met",
            "late",
            "missed",
            "excused",
            "unknown",
            "met_share",
            "met_share_before",
            "worst_late_seconds",
            "target",
            "window_seconds",
            "allowed",
            "used",
        ]
        .map(str::to_owned),
    );
    for row in &summary.rows {
        let tally = row.tally;
        let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.6}"));
        let budget = row.budget.as_ref();
        text.push_str(&line(&[
            field(&row.subject),
            field(&row.rule),
            field(&row.kind),
            tally.total().to_string(),
            tally.met.to_string(),
            tally.late.to_string(),
            tally.missed.to_string(),
            tally.excused.to_string(),
            tally.unknown.to_string(),
            share(row.met_share),
            share(row.met_share_before),
            seconds(row.worst_late_millis),
            optional(budget.map(|budget| budget.target)),
            seconds(budget.map(|budget| budget.window_millis)),
            optional(budget.map(|budget| budget.allowed)),
            optional(budget.map(|budget| budget.used)),
        ]));
    }
    context.out.text(&text);
}

fn seconds(millis: Option<i64>) -> String {
    millis.map_or(String::new(), |millis| {
        match (millis / 1_000, millis % 1_000) {
            (whole, 0) => whole.to_string(),
            (whole, rest) => format!("{whole}.{rest:03}"),
        }
    })
}

fn promises_csv(promises: &Page<PromiseRow>, context: &Context) {
    let mut text = line(
        &[
            "due_at",
            "outcome",
            "late_seconds",
            "why",
            "subject",
            "rule",
            "source",
            "project_id",
            "job",
            "model",
            "run_id",
            "recorded_at",
            "corrected_from",
            "was_recorded_at",
        ]
        .map(str::to_owned),
    );
    for row in &promises.rows {
        let label = |name| field(row.labels.get(name));
        text.push_str(&line(&[
            row.due_at.to_string(),
            row.outcome.clone(),
            seconds(row.late_millis),
            field(row.why.as_deref().unwrap_or_default()),
            field(&row.subject),
            field(&row.rule),
            label("source"),
            label("project_id"),
            label("job"),
            label("model"),
            label("run_id"),
            row.recorded_at.to_string(),
            optional(row.corrected_from.clone()),
            optional(row.was_recorded_at),
        ]));
    }
    context.out.text(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("nightly", "nightly"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("@sum", "\"'@sum\""),
            ("", ""),
            (" x", "\" x\""),
        ] {
            assert_eq!(field(text), expected, "{text:?}");
        }
        assert_eq!(seconds(Some(61_500)), "61.500");
        assert_eq!(seconds(Some(60_000)), "60");
    }
}
