//! What is shared while a configuration is read: the texts, the mistakes so far, the environment.

use std::cell::RefCell;
use std::collections::HashMap;

use chrono_tz::Tz;

use crate::engine::schedule::{Cron, CronError, Dialect};
use crate::engine::time::Timestamp;

use super::diagnostic::{Diagnostic, DiagnosticSeverity, Diagnostics, Related};
use super::environment::Environment;
use super::place::{Place, SourceText};

/// A mistake before its place is looked up.
#[derive(Debug)]
pub(super) struct Draft {
    severity: DiagnosticSeverity,
    code: &'static str,
    place: Place,
    message: String,
    label: Option<String>,
    help: Option<String>,
    related: Option<(Place, String)>,
}

impl Draft {
    /// The configuration cannot be used.
    pub(super) fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: DiagnosticSeverity::Error,
            code,
            place,
            message: message.into(),
            label: None,
            help: None,
            related: None,
        }
    }

    /// The configuration can be used, but probably not as meant.
    pub(super) fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: DiagnosticSeverity::Warning,
            ..Self::error(code, place, message)
        }
    }

    /// Words under the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The remedy.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that belongs to it.
    pub(super) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
    }
}

/// Shared while reading.
#[derive(Debug)]
pub(super) struct Context<'e> {
    /// The variables.
    pub(super) environment: &'e Environment,
    /// The folder that relative paths start from.
    pub(super) folder: std::path::PathBuf,
    texts: RefCell<Vec<SourceText>>,
    drafts: RefCell<Vec<Draft>>,
    crons: RefCell<HashMap<String, Result<Cron, CronError>>>,
    soft: RefCell<HashMap<(String, Tz), Option<Timestamp>>>,
}

impl<'e> Context<'e> {
    /// Nothing read yet.
    pub(super) fn new(environment: &'e Environment, folder: std::path::PathBuf) -> Self {
        Self {
            environment,
            folder,
            texts: RefCell::default(),
            drafts: RefCell::default(),
            crons: RefCell::default(),
            soft: RefCell::default(),
        }
    }

    /// Adds a text; the place is all of it.
    pub(super) fn add_text(&self, text: SourceText) -> Place {
        let mut texts = self.texts.borrow_mut();
        let place = Place {
            file: super::place::clamp(texts.len()),
            start: 0,
            end: super::place::clamp(text.text.len()),
        };
        texts.push(text);
        place
    }

    /// Notes a mistake.
    pub(super) fn push(&self, draft: Draft) {
        self.drafts.borrow_mut().push(draft);
    }

    /// Hides a place from everything that is shown.
    pub(super) fn mask(&self, place: Place) {
        self.texts.borrow_mut()[place.file as usize].mask(place.range());
    }

    /// The text at a place, as written.
    pub(super) fn with_raw<T>(&self, place: Place, read: impl FnOnce(&str) -> T) -> T {
        let texts = self.texts.borrow();
        read(
            texts[place.file as usize]
                .text
                .get(place.range())
                .unwrap_or_default(),
        )
    }

    /// `rules/finance.toml:12`.
    pub(super) fn origin(&self, place: Place) -> String {
        let text = &self.texts.borrow()[place.file as usize];
        if text.text.is_empty() {
            return text.origin.clone();
        }
        format!("{}:{}", text.origin, text.line_column(place.start).0)
    }

    /// A rule's or digest's schedule, parsed once for each text.
    pub(super) fn cron(&self, text: &str) -> Result<Cron, CronError> {
        let mut crons = self.crons.borrow_mut();
        if let Some(known) = crons.get(text) {
            return known.clone();
        }
        let parsed = Cron::parse(text, Dialect::Ours);
        crons.insert(text.to_owned(), parsed.clone());
        parsed
    }

    /// Whether a schedule is soft in a zone, found out once for each.
    pub(super) fn soft_once(
        &self,
        cron: &Cron,
        zone: Tz,
        find: impl FnOnce() -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        let key = (cron.as_str().to_owned(), zone);
        *self.soft.borrow_mut().entry(key).or_insert_with(find)
    }

    /// All mistakes, in the order of their places.
    pub(super) fn into_diagnostics(self) -> Diagnostics {
        let texts = self.texts.into_inner();
        let mut drafts = self.drafts.into_inner();
        drafts.sort_by_key(|draft| (draft.place.file, draft.place.start, draft.place.end));
        Diagnostics(
            drafts
                .into_iter()
                .map(|draft| finished(draft, &texts))
                .collect(),
        )
    }
}

fn finished(draft: Draft, texts: &[SourceText]) -> Diagnostic {
    let text = &texts[draft.place.file as usize];
    let (line, column) = text.line_column(draft.place.start);
    let excerpt = |text: &SourceText, place: Place| {
        text.excerpt(&place.range())
            .map(|excerpt| (excerpt.text, excerpt.range))
    };
    Diagnostic {
        severity: draft.severity,
        code: draft.code,
        message: clipped(draft.message, 600),
        file: text.name.clone(),
        line,
        column,
        span: draft.place.range(),
        help: draft.help.map(|help| clipped(help, 4_000)),
        label: draft.label,
        excerpt: excerpt(text, draft.place),
        related: draft.related.map(|(place, label)| {
            let text = &texts[place.file as usize];
            let (line, column) = text.line_column(place.start);
            Related {
                file: text.name.clone(),
                line,
                column,
                label,
                excerpt: excerpt(text, place),
            }
        }),
    }
}

/// Text from a file may be as long as the file.
fn clipped(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The candidate most like `word`, when one is like enough to be meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST_NAME: usize = 100;
    if word.len() > LONGEST_NAME {
        return None;
    }
    let fold = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = fold(word);
    let len = wanted.chars().count();
    // A word that only goes on is nearer than its length says: `warn` for `warning`.
    let distance = |candidate: &str| match candidate.strip_prefix(&wanted) {
        Some(_) if len >= 3 => 1,
        _ => strsim::damerau_levenshtein(&wanted, candidate),
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&fold(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (len.max(candidate.len()) / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// `a, b, c`, not without end.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let words: Vec<&str> = words.into_iter().collect();
    let shown = words[..words.len().min(SHOWN)].join(", ");
    match words.len() - words.len().min(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A remedy for an unknown word: the nearest one, and all of them.
pub(super) fn did_you_mean<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let all = listed(candidates.iter().copied());
    match nearest(word, candidates) {
        Some(near) => format!("did you mean `{near}`? {what}: {all}"),
        None => format!("{what}: {all}"),
    }
}
