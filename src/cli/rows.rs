//! Rows and heads of longer answers on the terminal.

use super::output::{Output, Tone, cut, plain, width_of};
use crate::engine::time::Timestamp;

/// Columns of the names on the left.
const LEFT: usize = 12;

/// A name on the left and what belongs to it, wrapped to the terminal.
pub(super) fn row(out: &Output, name: &str, tone: Tone, text: &str) {
    let room = out
        .width
        .saturating_sub(LEFT.max(width_of(name)) + 2)
        .max(20);
    for (index, line) in wrapped(&plain(text), room).iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        let gap = " ".repeat(LEFT.saturating_sub(width_of(name)) + 2);
        let head = out.paint(Tone::Dim, name);
        out.line(format!("{head}{gap}{}", out.paint(tone, line)).trim_end());
    }
}

pub(super) fn head(out: &Output, text: &str) {
    out.line("");
    out.line(&out.paint(Tone::Bold, text));
}

/// Lines of at most `room` columns, broken between words; a longer word is cut.
pub(super) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word = cut(word, room);
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            *last = word;
        } else if width_of(last) + 1 + width_of(&word) <= room {
            last.push(' ');
            last.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// `2026-03-10 06:10:30`, UTC.
pub(super) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let text = text.get(..19).unwrap_or(&text);
    text.replace('T', " ")
}

/// `2026-03-10 06:10`, UTC, for tables.
pub(super) fn minute(at: Timestamp) -> String {
    time(at).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_between_words() {
        let text = "one two three a-very-long-word-indeed four";
        let lines = wrapped(text, 10);
        assert_eq!(lines, ["one two", "three", "a-very-lo…", "four"]);
        assert_eq!(wrapped("", 10), [""]);
    }

    #[test]
    fn instants_are_shown_to_the_second() {
        let at = Timestamp::parse("2026-03-10T06:10:30.250Z").unwrap();
        assert_eq!(time(at), "2026-03-10 06:10:30");
    }
}
