//! Where something was written: files, places in them, and lines shown to people with secrets masked.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A range of bytes in one of the texts being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the text.
    pub(super) file: u32,
    /// First byte.
    pub(super) start: u32,
    /// After the last byte.
    pub(super) end: u32,
}

impl Place {
    /// The part `range` of the place, counted from its start.
    pub(super) fn part(self, range: &Range<usize>) -> Self {
        let at = |offset: usize| (self.start + clamp(offset)).min(self.end);
        Self {
            start: at(range.start),
            end: at(range.end),
            ..self
        }
    }

    /// The bytes.
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Offsets fit: no text is longer than the bound on files.
pub(super) fn clamp(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// A text being read: a file, or an environment variable.
#[derive(Debug)]
pub(super) struct SourceText {
    /// How messages name it: `rules/finance.toml`.
    pub(super) name: String,
    /// How rule origins name it: relative to the folder of the configuration.
    pub(super) origin: String,
    /// The text; empty for variables, whose content is never shown.
    pub(super) text: String,
    /// Byte offsets at which lines begin.
    line_starts: Vec<u32>,
    /// Byte ranges that hold, or may hold, secrets.
    masks: Vec<Range<usize>>,
}

/// One line as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The line, secrets replaced by `…`.
    pub(super) text: String,
    /// The place within the line, in bytes.
    pub(super) range: Range<usize>,
}

impl SourceText {
    /// A text with its names.
    pub(super) fn new(name: String, origin: String, text: String) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(newlines.map(|(at, _)| clamp(at + 1)))
            .collect();
        let masks = suspected_secrets(&text);
        Self {
            name,
            origin,
            text,
            line_starts,
            masks,
        }
    }

    /// Hides a range from everything that is shown.
    pub(super) fn mask(&mut self, range: Range<usize>) {
        self.masks.push(range);
    }

    /// 1-based line, and column in characters, of a byte offset.
    pub(super) fn line_column(&self, offset: u32) -> (usize, usize) {
        let line = self.line_index(offset);
        let start = self.line_starts[line] as usize;
        let before = self.text.get(start..offset as usize).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    fn line_index(&self, offset: u32) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) - 1
    }

    /// The first line of a place. `None` for a text without content.
    pub(super) fn excerpt(&self, range: &Range<usize>) -> Option<Excerpt> {
        if self.text.is_empty() {
            return None;
        }
        let line = self.line_index(clamp(range.start));
        let start = self.line_starts[line] as usize;
        let end = self
            .line_starts
            .get(line + 1)
            .map_or(self.text.len(), |next| *next as usize);
        let shown = self.text.get(start..end)?.trim_end_matches(['\n', '\r']);
        let end = start + shown.len();
        let wanted = range.start.clamp(start, end)..range.end.clamp(start, end);
        Some(self.masked(start..end, &wanted))
    }

    /// The line with every mask replaced by one `…`, and the place moved accordingly.
    fn masked(&self, line: Range<usize>, wanted: &Range<usize>) -> Excerpt {
        let mut masks: Vec<Range<usize>> = self
            .masks
            .iter()
            .map(|mask| mask.start.max(line.start)..mask.end.min(line.end))
            .filter(|mask| mask.start < mask.end)
            .collect();
        masks.sort_by_key(|mask| (mask.start, mask.end));
        let (mut text, mut at) = (String::new(), line.start);
        let (mut from, mut to) = (None, None);
        let mut copy = |until: usize, text: &mut String, at: &mut usize| {
            for (offset, slot) in [(wanted.start, &mut from), (wanted.end, &mut to)] {
                if slot.is_none() && offset <= until {
                    *slot = Some(text.len() + offset.saturating_sub(*at));
                }
            }
            if *at < until {
                text.push_str(self.text.get(*at..until).unwrap_or_default());
                *at = until;
            }
        };
        for mask in masks {
            if mask.end <= at {
                continue;
            }
            let is_joined = mask.start <= at && text.ends_with('…');
            copy(mask.start.max(at), &mut text, &mut at);
            if !is_joined {
                text.push('…');
            }
            at = mask.end;
        }
        copy(line.end, &mut text, &mut at);
        let from = from.unwrap_or(0).min(text.len());
        let to = to.unwrap_or(text.len()).clamp(from, text.len());
        Excerpt {
            range: floor(&text, from)..floor(&text, to),
            text,
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Values of keys that look as if they held secrets, found without parsing, so that they stay hidden
/// even in a file that cannot be parsed. Tables (`{ env = … }`) are left readable.
fn suspected_secrets(text: &str) -> Vec<Range<usize>> {
    static KEY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?i)(?:[\w-]*(?:token|secret|passw|credential|api_?key)[\w-]*|\burl)["']?[ \t]*=[ \t]*"#)
            .expect("a constant expression that a test compiles")
    });
    static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"://([^/\s"'@]+)@"#).expect("a constant expression that a test compiles")
    });
    let credentials = CREDENTIALS
        .captures_iter(text)
        .filter_map(|found| found.get(1));
    KEY.find_iter(text)
        .flat_map(|key| hidden_values(text, key.end()))
        .chain(credentials.map(|found| found.range()))
        .collect()
}

/// What to hide of the value at `at`: a string's content, to its closing quote or, without one, to the
/// end of its line; of a table, what is neither the name of a variable nor a path.
fn hidden_values(text: &str, at: usize) -> Vec<Range<usize>> {
    static MEMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(\w*)[ \t]*=?[ \t]*(?:"([^"]*)|'([^']*))["']?"#)
            .expect("a constant expression that a test compiles")
    });
    let rest = text.get(at..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default();
    if !line.starts_with('{') {
        return hidden_value(text, at).into_iter().collect();
    }
    let is_variable = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
    };
    let table = &line[..line.find('}').unwrap_or(line.len())];
    MEMBER
        .captures_iter(table)
        .filter(|member| member.get(1).is_none_or(|key| key.as_str() != "file"))
        .filter_map(|member| member.get(2).or_else(|| member.get(3)))
        .filter(|content| !is_variable(content.as_str()))
        .map(|content| at + content.start()..at + content.end())
        .collect()
}

fn hidden_value(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let first = rest.chars().next()?;
    if first == '\n' || first == '\r' {
        return None;
    }
    for quotes in ["\"\"\"", "'''"] {
        if let Some(content) = rest.strip_prefix(quotes) {
            let len = content.find(quotes).unwrap_or(content.len());
            return Some(at + 3..at + 3 + len);
        }
    }
    let line_len = rest.find(['\n', '\r']).unwrap_or(rest.len());
    if first != '"' && first != '\'' {
        return Some(at..at + line_len);
    }
    let content = &rest[1..line_len.max(1)];
    let len = closing_quote(content, first).unwrap_or(content.len());
    Some(at + 1..at + 1 + len)
}

fn closing_quote(content: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    content.char_indices().find_map(|(at, c)| {
        let is_end = c == quote && !is_escaped;
        is_escaped = quote == '"' && c == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

/// `path` as messages show it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The folder in which a file lies; empty for a bare file name.
pub(super) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> SourceText {
        SourceText::new("a.toml".into(), "a.toml".into(), content.into())
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = text("a = 1\nbä = 2\r\n\nc");
        for (offset, expected) in [
            (0, (1, 1)),
            (4, (1, 5)),
            (6, (2, 1)),
            (9, (2, 3)),
            (16, (4, 1)),
        ] {
            assert_eq!(text.line_column(offset), expected, "{offset}");
        }
    }

    #[test]
    fn masks_move_the_caret() {
        let mut text = text("x = 1\nname = \"hide\", b = 2\n");
        text.mask(14..18);
        let at_b = text.excerpt(&(21..22)).unwrap();
        assert_eq!(at_b.text, "name = \"…\", b = 2");
        assert_eq!(&at_b.text[at_b.range], "b");
        let whole = text.excerpt(&(13..19)).unwrap();
        assert_eq!(&whole.text[whole.range], "\"…\"");
        let inside = text.excerpt(&(15..16)).unwrap();
        assert!(inside.text.is_char_boundary(inside.range.end));
    }

    #[test]
    fn secrets_are_hidden_without_parsing() {
        for (line, expected) in [
            ("token = \"xoxb-1\" # why", "token = \"…\" # why"),
            ("bot_token = 'xoxb-1'", "bot_token = '…'"),
            ("token = \"xoxb-1", "token = \"…"),
            ("token = xoxb-1", "token = …"),
            (
                "a = { password = \"p\\\"q\", b = 1 }",
                "a = { password = \"…\", b = 1 }",
            ),
            ("url = \"https://x/y\"", "url = \"…\""),
            (
                "base_url = \"https://me:pw@x/y\"",
                "base_url = \"https://…@x/y\"",
            ),
            ("run_url = \"https://x/y\"", "run_url = \"https://x/y\""),
            ("token = { env = \"A\" }", "token = { env = \"A\" }"),
            (
                "token = { file = \"/a/b\" } # \"c\"",
                "token = { file = \"/a/b\" } # \"c\"",
            ),
            ("token = { env = \"xoxb\" }", "token = { env = \"…\" }"),
            ("token = { env = 'xoxb }", "token = { env = '…}"),
            ("token = { \"xoxb\" }", "token = { \"…\" }"),
            ("token = [\"xoxb\"]", "token = …"),
        ] {
            assert_eq!(
                text(line).excerpt(&(0..0)).unwrap().text,
                expected,
                "{line}"
            );
        }
        let many = text("secret = \"\"\"\nabc\ndef\"\"\"\nx = 1");
        assert_eq!(many.excerpt(&(13..14)).unwrap().text, "…");
    }
}
