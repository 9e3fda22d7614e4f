//! `[receiver.template]`: a receiver's own texts, tried before anything is sent.

use std::ops::Range;

use super::context::{Draft, did_you_mean};
use super::cursor::Cursor;
use super::keys;
use super::load::add_file;
use super::place::Place;
use super::tree::{Spot, content_place};
use crate::notify::template::{Fault, Part, Remedy, lint};
use crate::notify::{ReceiverKind, TemplateTexts};

/// Reads the texts of a receiver. Templates with mistakes are noted with their places.
pub(super) fn read(receiver: &mut Cursor<'_>, kind: &ReceiverKind) -> TemplateTexts {
    let Some(table) = receiver.table("template") else {
        return TemplateTexts::default();
    };
    let context = receiver.context;
    let mut cursor = Cursor::new(context, &keys::RECEIVER_TEMPLATE, table);
    let subject = cursor.text("subject");
    if subject.is_some() && !matches!(kind, ReceiverKind::Email(_)) {
        let message = format!("a receiver of kind \"{}\" has no subject", kind.name());
        context.push(
            Draft::error("bad-template", cursor.place_of("subject"), message)
                .label("only mails have one")
                .help("write `title` for the first line, or remove `subject`"),
        );
    }
    let title = cursor.text("title");
    let body = read_body(&mut cursor);
    let texts = TemplateTexts {
        subject: checked(&cursor, Part::Subject, subject),
        title: checked(&cursor, Part::Title, title),
        body: checked(&cursor, Part::Body, body),
    };
    cursor.finish();
    texts
}

/// `body`, or what is in `body_file`.
fn read_body(cursor: &mut Cursor<'_>) -> Option<Spot<String>> {
    let context = cursor.context;
    let body = cursor.text("body");
    let file = cursor.text("body_file");
    if body.is_some()
        && let Some(file) = &file
    {
        context.push(
            Draft::error(
                "bad-template",
                file.place,
                "`body` and `body_file` are both written",
            )
            .label("only one of them can be the body")
            .related(cursor.place_of("body"), "the other one")
            .help("keep one of them"),
        );
        return body;
    }
    let Some(file) = file else { return body };
    let place = add_file(context, &context.folder.join(&file.value), Some(file.place))?;
    let value = context.with_raw(place, str::to_owned);
    if value.trim().is_empty() {
        context.push(
            Draft::error("empty", file.place, format!("{} is empty", file.value))
                .help("write the body into it, or remove `body_file`"),
        );
        return None;
    }
    Some(Spot { value, place })
}

/// The template, with its mistakes noted.
fn checked(cursor: &Cursor<'_>, part: Part, text: Option<Spot<String>>) -> Option<String> {
    let text = text?;
    for fault in lint(part, &text.value) {
        cursor.context.push(draft(cursor, part, &text, &fault));
    }
    Some(text.value)
}

fn draft(cursor: &Cursor<'_>, part: Part, text: &Spot<String>, fault: &Fault) -> Draft {
    let found = place(cursor, text, fault);
    let line = match (found, fault.line) {
        (None, Some(line)) if text.value.contains('\n') => format!(", line {line} of it"),
        _ => String::new(),
    };
    let message = format!("template `{}`{line}: {}", part.name(), fault.message);
    let help = match &fault.remedy {
        Remedy::Words(words) => (*words).to_owned(),
        Remedy::Names {
            written,
            what,
            names,
        } => did_you_mean(written, what, names.iter().copied()),
    };
    Draft::error("bad-template", found.unwrap_or(text.place), message).help(help)
}

/// The place in the file, where the template stands there as it is: without escapes, or in a file of its own.
fn place(cursor: &Cursor<'_>, text: &Spot<String>, fault: &Fault) -> Option<Place> {
    let context = cursor.context;
    let range = fault
        .range
        .clone()
        .or_else(|| whole_line(&text.value, fault.line?))?;
    [text.place, content_place(context, text.place)]
        .into_iter()
        .find_map(|place| {
            // A line end right behind the opening quotes belongs to them.
            let skipped = context.with_raw(place, |raw| {
                ["", "\n", "\r\n"]
                    .iter()
                    .find(|start| raw.strip_prefix(**start) == Some(text.value.as_str()))
                    .map(|start| start.len())
            })?;
            Some(place.part(&(range.start + skipped..range.end + skipped)))
        })
}

/// A line of the template, without the spaces around it.
fn whole_line(text: &str, line: usize) -> Option<Range<usize>> {
    let found = text.split('\n').nth(line.checked_sub(1)?)?;
    let start = text
        .split('\n')
        .take(line - 1)
        .map(|before| before.len() + 1)
        .sum::<usize>();
    let start = start + (found.len() - found.trim_start().len());
    Some(start..start + found.trim().len())
}
