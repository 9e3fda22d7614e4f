//! Mistakes in a template, found before anything is sent: by reading it, and by trying it on every sort of
//! message.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use chrono_tz::Tz;
use minijinja::{Environment, Error, ErrorKind};
use regex::Regex;

use super::super::limits::template as bounds;
use super::super::message::Message;
use super::super::sample;
use super::{ALERT_NAMES, NAMES, Part, context, environment};
use crate::engine::annotate::FACT_NAMES;
use crate::engine::notification::Notification;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the template.
    pub range: Option<Range<usize>>,
    /// Line of the template, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: Remedy,
}

/// What to do about a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// In words.
    Words(&'static str),
    /// A name was meant: which there are.
    Names {
        /// What was written.
        written: String,
        /// What the others are, `the names of an alert are`.
        what: &'static str,
        /// All of them.
        names: Vec<&'static str>,
    },
}

const TOP: &str = "the names at the top are";
const OF_ALERT: &str = "the names of an alert are";
const OF_FACT: &str = "the facts are";

/// Looks for mistakes in the template of a part.
pub fn lint(part: Part, source: &str) -> Vec<Fault> {
    if source.len() > bounds::SOURCE_BYTES {
        let message = format!(
            "the template is longer than {} KiB",
            bounds::SOURCE_BYTES / 1024
        );
        return vec![Fault {
            range: None,
            line: None,
            message,
            remedy: Remedy::Words("shorten it: a message shows 4,000 characters at most"),
        }];
    }
    let mut environment = environment();
    environment.set_debug(true);
    if let Err(error) = environment.add_template_owned(part.name(), source.to_owned()) {
        return vec![of_error(&error, source, "is not a template", None)];
    }
    let mut faults = unknown_names(&environment, part, source);
    faults.extend(unknown_in_loops(source));
    if faults.is_empty() {
        faults.extend(tried(&environment, part, source));
    }
    faults
}

/// Names that no message has, wherever in the template they stand.
fn unknown_names(environment: &Environment<'_>, part: Part, source: &str) -> Vec<Fault> {
    let Ok(template) = environment.get_template(part.name()) else {
        return Vec::new();
    };
    let is_global = |name: &str| environment.globals().any(|(global, _)| global == name);
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.sort();
    let unknown = |path: String| {
        let mut names = path.split('.');
        let top = names.next().unwrap_or_default().to_owned();
        let next = names.next().map(str::to_owned);
        if !NAMES.contains(&top.as_str()) {
            return (!is_global(&top)).then(|| (top.clone(), top, TOP, NAMES.to_vec()));
        }
        let next = next.filter(|_| top == "alert")?;
        let is_known = ALERT_NAMES.contains(&next.as_str());
        (!is_known).then(|| {
            (
                format!("alert.{next}"),
                next,
                OF_ALERT,
                ALERT_NAMES.to_vec(),
            )
        })
    };
    let faults = paths.into_iter().filter_map(unknown);
    let mut faults: Vec<Fault> = faults
        .map(|(path, written, what, names)| {
            let range = place_of(&path, source);
            Fault {
                line: range.as_ref().map(|range| line_of(source, range.start)),
                range,
                message: format!("nothing is called `{path}`"),
                remedy: Remedy::Names {
                    written,
                    what,
                    names,
                },
            }
        })
        .collect();
    faults.dedup();
    faults
}

static LOOP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\bfor\s+(\w+)\s+in\s+([\w.]+(?:\s*\|\s*\w+)?)")
        .expect("a constant that a test runs")
});
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\w+)\s*\.\s*(\w+)").expect("a constant that a test runs"));

/// Names that no alert has, of the variables of loops over `alerts`: those in a branch that no trial takes are
/// found here only.
fn unknown_in_loops(source: &str) -> Vec<Fault> {
    let mut over: BTreeMap<&str, bool> = BTreeMap::new();
    for found in LOOP.captures_iter(source) {
        let (_, [variable, list]) = found.extract();
        // What a filter gives may be anything, as groups are: the trials find what is wrong with that.
        *over.entry(variable).or_insert(true) &= list == "alerts";
    }
    let is_set = |variable: &str| {
        let set = format!("set {variable} ");
        source.contains(&set) || source.contains(&set.replace(' ', "  "))
    };
    over.retain(|variable, is_alert| *is_alert && !is_set(variable));
    let unknown = NAME.captures_iter(source).filter_map(|found| {
        let whole = found.get(0)?;
        let (_, [variable, written]) = found.extract();
        let is_wrong = over.contains_key(variable) && !ALERT_NAMES.contains(&written);
        let is_name = is_code(source, whole.start()) && !source[..whole.start()].ends_with('.');
        (is_wrong && is_name).then(|| Fault {
            range: Some(whole.range()),
            line: Some(line_of(source, whole.start())),
            message: format!("nothing is called `{variable}.{written}`"),
            remedy: Remedy::Names {
                written: written.to_owned(),
                what: OF_ALERT,
                names: ALERT_NAMES.to_vec(),
            },
        })
    });
    unknown.collect()
}

/// Between `{{` and `}}` or `{%` and `%}`, and not within quotes there.
fn is_code(source: &str, at: usize) -> bool {
    let before = &source[..at];
    let opened = before.rfind("{{").max(before.rfind("{%"));
    let closed = before.rfind("}}").max(before.rfind("%}"));
    let Some(start) = opened.filter(|_| opened > closed) else {
        return false;
    };
    let mut quote = None;
    for c in before[start..].chars() {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    quote.is_none()
}

/// Tries the template on every sort of message; the first failure is told.
fn tried(environment: &Environment<'_>, part: Part, source: &str) -> Option<Fault> {
    sample::every().iter().find_map(|(words, notification)| {
        let error = failure(environment, part, notification)?;
        Some(of_error(&error, source, "fails", Some(words)))
    })
}

fn failure(
    environment: &Environment<'_>,
    part: Part,
    notification: &Notification,
) -> Option<Error> {
    let message = Message::new(notification, Tz::UTC);
    let values = context::of(&message, notification, Tz::UTC);
    let template = environment.get_template(part.name());
    template.and_then(|template| template.render(values)).err()
}

/// An error of the engine in our words; its own detail is about the template and our samples, so it may be shown.
fn of_error(error: &Error, source: &str, what: &str, sample: Option<&str>) -> Fault {
    let detail = error.detail().unwrap_or_default().to_owned();
    let kind = error.kind();
    let message = match (sample, detail.as_str()) {
        (None, "") => format!("this {what}"),
        (None, detail) => format!("this {what}: {detail}"),
        (Some(sample), "") => format!("this {what} for {sample}: {}", super::words(kind)),
        (Some(sample), detail) => format!("this {what} for {sample}: {detail}"),
    };
    let range = error
        .range()
        .filter(|range| range.end <= source.len() && range.start < range.end);
    Fault {
        range,
        line: error.line(),
        message,
        remedy: remedy(kind, &detail),
    }
}

fn remedy(kind: ErrorKind, detail: &str) -> Remedy {
    let words = match kind {
        ErrorKind::UndefinedError => return missing(detail),
        ErrorKind::SyntaxError => {
            "values stand in {{ … }}, and every {% if … %} and {% for … %} has its {% endif %} or {% endfor %}"
        }
        ErrorKind::OutOfFuel => "it does too much work: loop over `alerts` and their `facts` only",
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            "filters, tests and functions are those of minijinja, as `upper`, `join`, `default`; docs/templates.md \
             names the useful ones"
        }
        ErrorKind::TemplateNotFound | ErrorKind::BadInclude => {
            "there are no other templates than the receiver's own: `title`, `body` and `subject`"
        }
        _ => {
            "docs/templates.md describes what there is; `tardy render RECEIVER RULE` shows what comes of it"
        }
    };
    Remedy::Words(words)
}

/// `alert.fact.usul` is undefined.
fn missing(detail: &str) -> Remedy {
    let path = detail.split('`').nth(1).unwrap_or_default();
    let Some((of, written)) = path.rsplit_once('.') else {
        return Remedy::Words("ask first whether it is there: {% if … is defined %}");
    };
    let names = |what, names: &[&'static str]| Remedy::Names {
        written: written.to_owned(),
        what,
        names: names.to_vec(),
    };
    if of.rsplit('.').next() == Some("fact") {
        return names(OF_FACT, FACT_NAMES);
    }
    if of.ends_with("acknowledged") || of.ends_with("silenced") {
        return Remedy::Words(
            "ask first whether anybody did: {% if alert.acknowledged %}by {{ alert.acknowledged.by }}{% endif %}",
        );
    }
    names(OF_ALERT, &ALERT_NAMES)
}

/// Where a name stands between `{{` and `}}` or `{%` and `%}`.
fn place_of(path: &str, source: &str) -> Option<Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let found = source.match_indices(path).find(|(at, _)| {
        let (before, after) = (&source[..*at], &source[at + path.len()..]);
        let is_whole = !before.ends_with(|c| is_part(c) || c == '.') && !after.starts_with(is_part);
        is_whole && is_code(source, *at)
    });
    found.map(|(at, _)| at..at + path.len())
}

fn line_of(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(source: &str) -> Fault {
        let mut faults = lint(Part::Body, source);
        assert!(!faults.is_empty(), "{source}");
        faults.remove(0)
    }

    #[test]
    fn good_templates_are_good() {
        for source in [
            "plain",
            "{{ headline }}",
            "{{ summary|upper }} {{ group.project }} {{ alert.labels.team }}",
            "{% for alert in alerts %}{{ loop.index }} {{ alert.id }} {{ alert.fact.usual }}{% endfor %}",
            "{% if alert.acknowledged %}{{ alert.acknowledged.by }}{% endif %}",
            "{{ alerts[0].headline }} {{ alerts|length }} {{ alerts|map(attribute='rule')|unique|join(', ') }}",
            "{% for a in alerts %}{{ a.id ~ ' a.b ' }}{% endfor %} a.b {% for x in alert.facts %}{{ x.name }}{% endfor %}",
            "{% for g in alerts|groupby('rule') %}{{ g.grouper }}: {% for a in g.list %}{{ a.id }}{% endfor %}{% endfor %}",
            "{% set worst = alerts|first %}{{ worst.error or 'no error' }}",
            "{% for name, value in alert.labels|items %}{{ name }}={{ value }} {% endfor %}",
            "{{ nothing|default('x') if nothing is defined else 'y' }}{% set nothing = 1 %}",
        ] {
            let faults = lint(Part::Body, source);
            let is_odd = source.contains("nothing");
            assert_eq!(faults.is_empty(), !is_odd, "{source}: {faults:?}");
        }
    }

    #[test]
    fn unknown_names_are_found_wherever_they_stand() {
        for (source, path, at) in [
            ("hedline {{ hedline }}", "hedline", 11),
            (
                "{% if false %}\n{{ alert.ownr }}{% endif %}",
                "alert.ownr",
                18,
            ),
        ] {
            let fault = first(source);
            assert_eq!(fault.message, format!("nothing is called `{path}`"));
            assert_eq!(fault.range, Some(at..at + path.len()), "{source}");
        }
        assert_eq!(
            first("a\n{% if false %}\n{{ alert.ownr }}{% endif %}").line,
            Some(3)
        );
    }

    #[test]
    fn unknown_names_in_a_branch_that_no_trial_takes_are_found() {
        let fault = first(
            "{% for alert in alerts %}\n{% if alert.labels.team == 'x' %}{{ alert.ownr }}{% endif %}{% endfor %}",
        );
        assert_eq!(fault.message, "nothing is called `alert.ownr`");
        assert_eq!(fault.line, Some(2));
    }

    #[test]
    fn what_fails_for_some_messages_only_is_found() {
        for (source, part) in [
            (
                "{{ alert.acknowledged.by }}",
                "`alert.acknowledged.by` is undefined",
            ),
            (
                "{% set a = alerts[0] %}{{ a.headlin }}",
                "`a.headlin` is undefined",
            ),
            ("{{ alert.fact.usul }}", "`alert.fact.usul` is undefined"),
            ("{{ alerts[1].headline }}", "is undefined"),
            ("{{ {'critical': 1, 'warning': 2}[severity] }}", "undefined"),
            ("{% if is_ending %}{{ alerts|nope }}{% endif %}", "nope"),
            (
                "{% if reason == 'escalated' %}{{ 1 / 0 }}{% endif %}",
                "escalated",
            ),
            (
                "{% if alerts|length > 50 %}{{ 'x' * 100000000 }}{% endif %}",
                "too much work",
            ),
        ] {
            let fault = first(source);
            assert!(fault.message.contains(part), "{source}: {}", fault.message);
            assert!(
                fault.message.starts_with("this fails for "),
                "{}",
                fault.message
            );
        }
    }

    #[test]
    fn syntax_errors_have_their_place() {
        let fault = first("a\n{% for x in alerts %}{{ x.id }}");
        assert!(
            fault.message.starts_with("this is not a template: "),
            "{}",
            fault.message
        );
        assert_eq!(fault.line, Some(2));
        let fault = first("{{ headline | }}");
        assert_eq!(fault.line, Some(1));
    }

    #[test]
    fn a_fact_that_was_meant_is_offered() {
        let Remedy::Names { written, names, .. } = first("{{ alert.fact.usul }}").remedy else {
            panic!("names are offered");
        };
        assert_eq!(written, "usul");
        assert!(names.contains(&"usual"));
    }
}
