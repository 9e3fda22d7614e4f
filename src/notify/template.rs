//! A receiver's own texts: subject, title and body as minijinja templates.
//!
//! Role: [`Writer`](super::Writer) lets a receiver's templates replace parts of the built-in message. Guarantees:
//! a template sees only texts that are cleaned, masked and bounded, and what it gives is a text like any other,
//! which each kind of receiver escapes: it cannot ping, link, format or inject; its work and its output are
//! bounded; when it fails, the built-in text of that part is shown and the message says so, without any value
//! from the alert; what it gives for the same notification is the same. A template that gives nothing leaves the
//! built-in text. Notices and digests are built in always. Mistakes are looked for by [`lint()`] before anything is
//! sent. `docs/templates.md` describes the names.

mod context;
mod lint;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono_tz::Tz;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};

use super::TemplateTexts;
use super::limits::{mail, message as limits, template as bounds};
use super::message::{Message, line, long};
use crate::engine::notification::{Body, Notification};

pub use context::{ALERT_NAMES, NAMES};
pub use lint::{Fault, Remedy, lint};

/// A part of a message that a template may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The subject of a mail.
    Subject,
    /// The first line.
    Title,
    /// What stands below it.
    Body,
}

impl Part {
    const ALL: [Self; 3] = [Self::Subject, Self::Title, Self::Body];

    /// As configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Title => "title",
            Self::Body => "body",
        }
    }

    fn source(self, texts: &TemplateTexts) -> Option<&str> {
        let source = match self {
            Self::Subject => &texts.subject,
            Self::Title => &texts.title,
            Self::Body => &texts.body,
        };
        source.as_deref()
    }
}

/// Why a template gave nothing. Holds no value from the alert: the engine's own texts may, and are not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Failure {
    line: Option<usize>,
    what: &'static str,
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self {
            line: error.line(),
            what: words(error.kind()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "failed at line {line} ({})", self.what),
            None => write!(f, "failed ({})", self.what),
        }
    }
}

/// What went wrong, for people who did not write the template.
fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UndefinedError => "a value that is not there",
        ErrorKind::OutOfFuel => "too much work",
        ErrorKind::SyntaxError => "not a template",
        ErrorKind::UnknownFilter => "a filter that does not exist",
        ErrorKind::UnknownTest => "a test that does not exist",
        ErrorKind::UnknownFunction => "a function that does not exist",
        ErrorKind::UnknownMethod => "a method that does not exist",
        ErrorKind::TemplateNotFound | ErrorKind::BadInclude => {
            "another template that does not exist"
        }
        ErrorKind::InvalidOperation => "an operation that is not possible",
        ErrorKind::MissingArgument | ErrorKind::TooManyArguments => "wrong arguments",
        _ => "a mistake in the template",
    }
}

/// The compiled templates of one receiver.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// Parts that could not be compiled.
    broken: BTreeMap<Part, Failure>,
    /// Parts that could.
    parts: Vec<Part>,
    /// Failures that were logged.
    warned: Mutex<BTreeSet<(Part, Failure)>>,
}

impl Templates {
    /// `None` when everything is built in.
    pub(super) fn new(texts: &TemplateTexts) -> Option<Self> {
        let mut templates = Self {
            environment: environment(),
            broken: BTreeMap::new(),
            parts: Vec::new(),
            warned: Mutex::default(),
        };
        for part in Part::ALL {
            let Some(source) = part.source(texts) else {
                continue;
            };
            let source = source.to_owned();
            match templates
                .environment
                .add_template_owned(part.name(), source)
            {
                Ok(()) => templates.parts.push(part),
                Err(error) => _ = templates.broken.insert(part, Failure::of(&error)),
            }
        }
        (!templates.parts.is_empty() || !templates.broken.is_empty()).then_some(templates)
    }

    /// Replaces the parts of the message that have a template.
    pub(super) fn apply(&self, message: &mut Message, notification: &Notification, zone: Tz) {
        if !is_about_alerts(message, notification) {
            return;
        }
        let values = context::of(message, notification, zone);
        let mut failures = self.broken.clone();
        for part in &self.parts {
            match self.rendered(*part, &values) {
                Ok(text) => put(message, *part, &text),
                Err(error) => _ = failures.insert(*part, Failure::of(&error)),
            }
        }
        let notes: Vec<String> = failures
            .iter()
            .map(|(part, failure)| self.note(*part, failure, notification))
            .collect();
        if !notes.is_empty() {
            message.note = Some(line(&notes.join("; "), limits::NOTE));
        }
    }

    fn rendered(&self, part: Part, values: &Value) -> Result<String, Error> {
        let template = self.environment.get_template(part.name())?;
        template.render(values.clone())
    }

    /// What the message says of a failure, which is logged too, once.
    fn note(&self, part: Part, failure: &Failure, notification: &Notification) -> String {
        let (part_name, receiver) = (part.name(), &notification.receiver);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < bounds::WARNINGS && warned.insert((part, failure.clone())) {
            tracing::warn!(
                receiver.name = %receiver,
                "its template `{part_name}` {failure}; the built-in text is used: `tardy check` and \
                 `tardy render {receiver} RULE` show more"
            );
        }
        format!(
            "the template `{part_name}` of receiver {receiver} {failure}, so the built-in text is shown"
        )
    }
}

/// Notices and digests have no alerts to write about.
fn is_about_alerts(message: &Message, notification: &Notification) -> bool {
    matches!(notification.body, Body::Alerts(_)) && !message.cards.is_empty()
}

/// Sets a part to what its template gave; nothing leaves it as it is.
fn put(message: &mut Message, part: Part, text: &str) {
    let text = match part {
        Part::Subject => line(text, mail::SUBJECT),
        Part::Title => line(text, limits::HEADLINE),
        Part::Body => long(text, limits::BODY),
    };
    if text.trim().is_empty() {
        return;
    }
    match part {
        Part::Subject => message.subject = Some(text),
        Part::Title => message.first_line = text,
        Part::Body => message.body = Some(text),
    }
}

/// Strict and bounded; gives text, which nothing escapes yet.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(bounds::FUEL));
    environment.set_recursion_limit(bounds::DEPTH);
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            return Ok(());
        }
        escape_formatter(out, state, value)
    });
    environment
}

/// A name for a context: nothing from outside gets there uncleaned.
fn name(text: &str) -> String {
    line(text, limits::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::notification::{AlertView, Reason};
    use crate::notify::{sample, text};

    fn texts(title: &str, body: &str) -> TemplateTexts {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        TemplateTexts {
            subject: None,
            title: some(title),
            body: some(body),
        }
    }

    fn told(reason: Reason) -> Notification {
        sample::told("team", reason, sample::alert(true), sample::at())
    }

    fn message(title: &str, body: &str, notification: &Notification) -> Message {
        let mut message = Message::new(notification, Tz::UTC);
        if let Some(templates) = Templates::new(&texts(title, body)) {
            templates.apply(&mut message, notification, Tz::UTC);
        }
        message
    }

    #[test]
    fn title_and_body_replace_the_built_in_ones() {
        let told = told(Reason::First);
        let message = message(
            "{{ tone }}: {{ alert.labels.job }}",
            "{% for alert in alerts %}{{ alert.id }}: {{ alert.fact.usual }}\n{% endfor %}",
            &told,
        );
        assert_eq!(message.first_line, "CRITICAL: nightly-refresh");
        let body = message.body.as_deref().unwrap();
        assert!(body.starts_with("k3x9pq: 31 min"), "{body}");
        assert_eq!(message.note, None);
        let plain = message.plain(9);
        assert!(
            plain.contains(body) && !plain.contains("tardy why"),
            "{plain}"
        );
    }

    #[test]
    fn what_gives_nothing_leaves_the_built_in_text() {
        let told = told(Reason::First);
        let built_in = Message::new(&told, Tz::UTC);
        assert_eq!(message(" {# #}\n", "{{ '' }}", &told), built_in);
        assert_eq!(message("", "", &told), built_in);
    }

    #[test]
    fn a_template_that_fails_leaves_the_built_in_text_and_says_so_without_values() {
        let mut told = told(Reason::First);
        if let Body::Alerts(alerts) = &mut told.body {
            alerts[0].owner = Some("hunter2".to_owned());
        }
        let built_in = Message::new(&told, Tz::UTC);
        for (title, what) in [
            (
                "a\nb\n{{ alert.hunter }}",
                "failed at line 3 (a value that is not there)",
            ),
            (
                "{{ alert.owner|nope }}",
                "failed at line 1 (a filter that does not exist)",
            ),
            (
                "{{ alert.owner - 1 }}",
                "failed at line 1 (an operation that is not possible)",
            ),
            (
                "{{ alert.owner.hunter2 }}",
                "failed at line 1 (a value that is not there)",
            ),
            ("{% if %}", "failed at line 1 (not a template)"),
            (
                "{% include alert.owner %}",
                "failed at line 1 (another template that does not exist)",
            ),
        ] {
            let message = message(title, "{{ headline }}", &told);
            assert_eq!(message.first_line, built_in.first_line, "{title}");
            let note = message.note.clone().unwrap();
            let expected = format!(
                "the template `title` of receiver team {what}, so the built-in text is shown"
            );
            assert_eq!(note, expected, "{title}");
            assert!(
                message.body.is_some(),
                "the other part is as it was asked for"
            );
            assert!(message.remainder(9).unwrap().contains(&note));
        }
    }

    #[test]
    fn work_without_end_is_stopped() {
        let told = told(Reason::First);
        for body in [
            "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}",
            "{{ 'x' * 1000000000 }}",
            "{% set n = namespace(x='x') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% include 'body' %}",
        ] {
            let message = message("", body, &told);
            assert!(message.note.is_some(), "{body}");
            assert_eq!(message.body, None, "{body}");
        }
    }

    #[test]
    fn what_is_given_is_bounded_cleaned_and_masked() {
        let told = told(Reason::First);
        let message = message(
            "a\r\nBcc: x \u{202e}y {{ 'z' * 900 }}",
            "password=hunter2 {{ 'z' * 9000 }}\n\n\x1b[31mred",
            &told,
        );
        assert!(message.first_line.starts_with("a Bcc: x y zzz"));
        assert!(text::measure(&message.first_line) <= limits::HEADLINE);
        let body = message.body.unwrap();
        assert!(
            text::measure(&body) <= limits::BODY && !body.contains("hunter2"),
            "{body}"
        );
    }

    #[test]
    fn notices_are_built_in() {
        let mut told = told(Reason::Notice);
        told.body = Body::Notice {
            headline: "refused".to_owned(),
            text: "line 12".to_owned(),
        };
        let built_in = Message::new(&told, Tz::UTC);
        assert_eq!(message("x", "y {{ alert.id }}", &told), built_in);
    }

    #[test]
    fn what_is_not_in_the_body_is_counted_still() {
        let mut told = told(Reason::First);
        told.omitted = 7;
        let message = message("", "short", &told);
        assert!(
            message.plain(9).ends_with("short\n\nand 7 more"),
            "{}",
            message.plain(9)
        );
    }

    #[test]
    fn two_hundred_alerts_with_all_their_facts_are_within_the_bounds() {
        let alert = || AlertView {
            facts: (0..15)
                .map(|n| crate::engine::notification::Fact::new(&format!("F{n}"), "x".repeat(300)))
                .collect(),
            ..sample::alert(true)
        };
        let mut told = told(Reason::First);
        told.body = Body::Alerts((0..200).map(|_| alert()).collect());
        let message = message(
            "",
            "{% for alert in alerts %}{{ alert.headline }}\n{% for fact in alert.facts %}{{ fact.name }}: {{ fact.value }}\n{% endfor %}{% endfor %}",
            &told,
        );
        assert_eq!(message.note, None);
    }
}
