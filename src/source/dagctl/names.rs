//! Text from outside, made safe to keep: cut, cleaned, and shared when it repeats.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::engine::observation::Name;

/// Longest name kept, in characters.
pub(super) const MAX_NAME_CHARS: usize = 300;
/// Longest error text kept, in characters.
pub(super) const MAX_ERROR_CHARS: usize = 4_000;
/// Names held for sharing; beyond that the set is emptied and begins anew.
const MAX_SHARED_NAMES: usize = 8_192;

/// Gives equal texts one allocation.
#[derive(Debug, Default)]
pub(super) struct Interner {
    names: HashSet<Name>,
}

impl Interner {
    /// The shared form of a name: without control characters, at most [`MAX_NAME_CHARS`] long.
    pub(super) fn name(&mut self, text: &str) -> Name {
        let text = clean(text, MAX_NAME_CHARS, false);
        if let Some(name) = self.names.get(&*text) {
            return name.clone();
        }
        if self.names.len() >= MAX_SHARED_NAMES {
            self.names.clear();
        }
        let name: Name = text.into();
        self.names.insert(name.clone());
        name
    }
}

/// A name that hardly repeats (a commit, an error), not shared.
pub(super) fn name(text: &str) -> Name {
    clean(text, MAX_NAME_CHARS, false).into()
}

/// An error text: may have lines.
pub(super) fn error_text(text: &str) -> Option<Name> {
    let text = clean(text, MAX_ERROR_CHARS, true);
    (!text.trim().is_empty()).then(|| text.into())
}

/// At most `max` characters of `text`, without control characters (line feeds and tabs stay where
/// `has_lines`).
pub(super) fn clean(text: &str, max: usize, has_lines: bool) -> Cow<'_, str> {
    // 0xC2 leads the two bytes of the C1 controls (and of some harmless characters).
    let is_plain = |byte: u8| byte >= 0x20 && byte != 0x7f && byte != 0xc2;
    let is_kept = |c: char| !c.is_control() || (has_lines && matches!(c, '\n' | '\t'));
    if text.len() <= max && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| is_kept(*c)).take(max).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_characters_and_cleaned() {
        for (text, max, has_lines, expected) in [
            ("plain", 10, false, "plain"),
            ("plain", 3, false, "pla"),
            ("ünïcödé", 3, false, "ünï"),
            ("a\nb\tc\u{1b}[31md", 20, true, "a\nb\tc[31md"),
            ("a\nb\tc", 20, false, "abc"),
            ("nul\0del\u{7f}c1\u{85}", 20, true, "nuldelc1"),
            ("£5", 20, false, "£5"),
        ] {
            assert_eq!(clean(text, max, has_lines), expected, "{text:?}");
        }
        assert_eq!(error_text(" \n "), None);
        assert_eq!(
            error_text(&"é".repeat(5_000)).unwrap().chars().count(),
            MAX_ERROR_CHARS
        );
    }

    #[test]
    fn equal_names_share_one_allocation() {
        let mut names = Interner::default();
        let (a, b) = (names.name("hourly"), names.name("hourly"));
        assert!(Name::ptr_eq(&a, &b));
        for index in 0..3 * MAX_SHARED_NAMES {
            names.name(&index.to_string());
        }
        assert!(names.names.len() <= MAX_SHARED_NAMES);
    }
}
