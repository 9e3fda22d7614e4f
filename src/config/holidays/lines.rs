//! Content lines of iCalendar: unfolded, with their parameters.

use std::borrow::Cow;

use super::Mistake;

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// The line on which it begins, from 1.
    pub(super) number: usize,
    /// In capitals.
    pub(super) name: String,
    parameters: Vec<(String, String)>,
    /// As written, unfolded; escapes stay.
    pub(super) value: Cow<'t, str>,
}

impl Line<'_> {
    /// A parameter's value.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut known = self.parameters.iter();
        known
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The file's first line, for mistakes about all of it.
    pub(super) fn at_start() -> Self {
        Self::empty(1)
    }

    /// The file's last line.
    pub(super) fn at_end(text: &str) -> Self {
        Self::empty(text.lines().count().max(1))
    }

    fn empty(number: usize) -> Self {
        Self {
            number,
            name: String::new(),
            parameters: Vec::new(),
            value: Cow::Borrowed(""),
        }
    }
}

/// All lines; one that begins with a space or a tab goes on with the one before.
pub(super) fn lines(text: &str) -> Result<Vec<Line<'_>>, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut unfolded: Vec<(usize, Cow<'_, str>)> = Vec::new();
    for (index, raw) in text.split('\n').enumerate() {
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        match (raw.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (Some(rest), Some((_, last))) => last.to_mut().push_str(rest),
            _ if raw.trim().is_empty() => {}
            _ => unfolded.push((index + 1, Cow::Borrowed(raw))),
        }
    }
    unfolded
        .into_iter()
        .map(|(number, text)| parse(number, text))
        .collect()
}

/// `NAME;KEY=value;KEY="quoted":value`.
fn parse(number: usize, text: Cow<'_, str>) -> Result<Line<'_>, Mistake> {
    let mut is_quoted = false;
    let colon = text.char_indices().find_map(|(at, c)| {
        is_quoted ^= c == '"';
        (c == ':' && !is_quoted).then_some(at)
    });
    let Some(colon) = colon else {
        return Err(Mistake {
            line: number,
            message: "this line is not of the form NAME:value".into(),
            help: "correct it; a line that goes on with the one before begins with a space".into(),
        });
    };
    let mut parts = split_quoted(&text[..colon]).into_iter();
    let name = parts.next().unwrap_or_default().trim().to_ascii_uppercase();
    let parameters = parts
        .filter_map(|part| {
            let (key, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"').to_owned();
            Some((key.trim().to_ascii_uppercase(), value))
        })
        .collect();
    let value = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[colon + 1..]),
        Cow::Owned(text) => Cow::Owned(text[colon + 1..].to_owned()),
    };
    Ok(Line {
        number,
        name,
        parameters,
        value,
    })
}

/// Splits at semicolons outside quotes.
fn split_quoted(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c: char| {
        is_quoted ^= c == '"';
        c == ';' && !is_quoted
    })
    .collect()
}
