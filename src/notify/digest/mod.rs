//! Digests, laid out once for every form: sections of rows with cells.
//!
//! Role: a [`Digest`] becomes a [`Sheet`] of texts that are cleaned, masked and bounded, in the order in which
//! people read; the forms for Slack, Discord, mail and plain text lay it out and
//! escape it. Guarantees: pure; what is bad or new has a word for it, never a colour alone. It does not decide
//! what is worth saying: that is the engine's.

pub(super) mod discord;
pub(super) mod mail;
mod rows;
pub mod slack;

use super::limits::digest as limits;
use super::mask::mask;
use super::message::line;
use super::text;
use crate::engine::digest::{Digest, DigestState};
use crate::engine::query::Page;
use crate::engine::time::{Span, human_span, human_time};

/// How a text looks; the text says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As any.
    Plain,
    /// Less important.
    Dim,
    /// Good.
    Good,
    /// Of concern.
    Warn,
    /// Bad.
    Bad,
}

impl Mark {
    /// `0xRRGGBB`, readable on white and in an embed's edge.
    pub fn rgb(self) -> u32 {
        match self {
            Self::Plain | Self::Dim => 0x0054_6E7A,
            Self::Good => 0x002E_7D32,
            Self::Warn => 0x00B2_6A00,
            Self::Bad => 0x00C6_2828,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Dim => 0,
            Self::Plain => 1,
            Self::Good => 2,
            Self::Warn => 3,
            Self::Bad => 4,
        }
    }
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it looks.
    pub mark: Mark,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is about; stands alone with `text` behind it.
    pub lead: String,
    /// The rest, as a sentence.
    pub text: String,
    /// The same as cells, one for each column.
    pub cells: Vec<Cell>,
    /// Not part of the last digest.
    pub is_new: bool,
    /// How it looks.
    pub mark: Mark,
    /// A checked link.
    pub href: Option<String>,
}

impl Row {
    /// `new: finance nightly: 27 of 30 kept`, on one line.
    pub fn line(&self) -> String {
        let new = if self.is_new { "NEW " } else { "" };
        let colon = if self.text.is_empty() { "" } else { ": " };
        format!("{new}{}{colon}{}", self.lead, self.text)
    }
}

/// One section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// `Still open`.
    pub title: &'static str,
    /// All rows there are, those left out too.
    pub count: usize,
    /// Heads of the columns.
    pub head: &'static [&'static str],
    /// The rows.
    pub rows: Vec<Row>,
    /// Rows left out.
    pub more: usize,
}

impl Section {
    /// The mark of its worst row.
    pub fn mark(&self) -> Mark {
        let marks = self.rows.iter().map(|row| row.mark);
        marks.max_by_key(|mark| mark.rank()).unwrap_or(Mark::Plain)
    }

    /// `Still open (2)`.
    pub fn heading(&self) -> String {
        format!("{} ({})", self.title, self.count)
    }

    /// What is said of rows that are not shown when only `shown` are.
    pub fn remainder(&self, shown: usize) -> Option<String> {
        let hidden = self.rows.len().saturating_sub(shown) + self.more;
        (hidden > 0).then(|| format!("and {hidden} more"))
    }
}

/// A digest, ready to lay out.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// One line that stands alone.
    pub verdict: String,
    /// How the verdict looks.
    pub mark: Mark,
    /// `Digest morning: 9 Mar 08:00 CET to 10 Mar 08:00 CET`.
    pub about: String,
    /// Circumstances: sent late, others were skipped.
    pub notes: Vec<String>,
    /// Those that have something to say.
    pub sections: Vec<Section>,
}

impl Sheet {
    /// Lays out a digest, in its own zone.
    pub fn new(digest: &Digest) -> Self {
        Self {
            verdict: match cell(&digest.verdict) {
                verdict if verdict.is_empty() => "Digest".to_owned(),
                verdict => verdict,
            },
            mark: match digest.state {
                DigestState::Good => Mark::Good,
                DigestState::Unsure => Mark::Plain,
                DigestState::Bad => Mark::Warn,
            },
            about: about(digest),
            notes: notes(digest),
            sections: rows::sections(digest),
        }
    }

    /// As plain text, without the verdict, which stands above it.
    pub fn plain(&self) -> String {
        let mut lines: Vec<String> = self.notes.clone();
        for section in &self.sections {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(section.heading());
            lines.extend(section.rows.iter().map(|row| format!("- {}", row.line())));
            let rest = section.remainder(section.rows.len());
            lines.extend(rest.map(|rest| format!("- {rest}")));
        }
        text::cut(&lines.join("\n"), limits::TEXT)
    }
}

/// `Digest morning: 9 Mar 08:00 CET to 10 Mar 08:00 CET`.
pub(super) fn about(digest: &Digest) -> String {
    let name = digest.name.as_deref().map(|name| line(name, limits::NAME));
    let name = name.map_or_else(|| "Digest".to_owned(), |name| format!("Digest {name}"));
    let show = |at, reference| human_time(at, reference, digest.zone);
    // Both with their dates, unless it is a part of one day.
    let (from, to) = (show(digest.from, digest.to), show(digest.to, digest.from));
    format!("{name}: {from} to {to}")
}

fn notes(digest: &Digest) -> Vec<String> {
    let mut notes = Vec::new();
    let late = digest.made_at.since(digest.to);
    if digest.name.is_some() && late >= LATE {
        let show = |at| human_time(at, digest.made_at, digest.zone);
        let (due, made) = (show(digest.to), show(digest.made_at));
        notes.push(format!("Sent late: due {due}, made {made}."));
    }
    match digest.skipped {
        0 => {}
        1 => notes.push(format!("1 digest before it was not sent: {WHY_SKIPPED}.")),
        count => notes.push(format!(
            "{count} digests before it were not sent: {WHY_SKIPPED}."
        )),
    }
    notes
}

/// Why a digest that was due is not made any more.
const WHY_SKIPPED: &str = "Tardy did not run, or waited for what was not known";

/// A digest made so long after its tick says so.
const LATE: Span = Span::minutes(6);

/// Untrusted text of a cell.
fn cell(text: &str) -> String {
    line(text, limits::CELL)
}

fn millis(millis: i64) -> String {
    human_span(Span::milliseconds(millis))
}

/// The section of a page, unless there is nothing in it.
fn section<T>(
    title: &'static str,
    head: &'static [&'static str],
    page: &Page<T>,
    row: impl Fn(&T) -> Row,
) -> Option<Section> {
    (!page.rows.is_empty()).then(|| Section {
        title,
        count: page.rows.len() + page.more,
        head,
        rows: page.rows.iter().map(row).collect(),
        more: page.more,
    })
}

/// The whole structure as JSON, with every text cleaned and masked like the others of a message.
pub(super) fn json(digest: &Digest) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(digest)?;
    clean(&mut value);
    Ok(value)
}

fn clean(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = mask(&text::line(text, limits::JSON_TEXT)),
        serde_json::Value::Array(values) => values.iter_mut().for_each(clean),
        serde_json::Value::Object(values) => values.values_mut().for_each(clean),
        _ => {}
    }
}
