//! The keys of a rule as people read them: what is written, and what holds where nothing is.

use super::super::cursor::Cursor;
use super::super::keys::{RULE, Type, Variant};
use crate::engine::rule::{Setting, SettingFrom};

/// Keys and values as they are written.
pub(super) type Written = Vec<(String, String)>;

/// Keys that say what a rule is, or what it tells; not what it decides by.
const NOT_SHOWN: [&str; 6] = [
    "name",
    "kind",
    "labels",
    "annotations",
    "enabled",
    "receivers",
];

/// Longest value shown, in characters.
const MAX_VALUE: usize = 200;

/// What is written in a table.
pub(super) fn written(cursor: &Cursor<'_>) -> Written {
    cursor.raw()
}

/// The keys of a rule: those of its kind first, then those that every rule has.
pub(super) fn settings(
    cursor: &Cursor<'_>,
    variant: &'static Variant,
    defaults: &Written,
) -> Vec<Setting> {
    let own = written(cursor);
    let value = |written: &Written, key: &str| {
        let found = written.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| cut(value))
    };
    let keys = variant.keys.iter().chain(RULE.keys);
    let shown = keys.filter(|key| {
        !NOT_SHOWN.contains(&key.name) && !matches!(key.ty, Type::Table(_) | Type::Tables(_))
    });
    shown
        .filter_map(|key| {
            let (value, from) = if let Some(value) = value(&own, key.name) {
                (value, SettingFrom::Rule)
            } else if let Some(value) = value(defaults, key.name) {
                (value, SettingFrom::Defaults)
            } else if key.default.is_empty() || matches!(key.ty, Type::Patterns) {
                return None;
            } else {
                (key.default.to_owned(), SettingFrom::BuiltIn)
            };
            Some(Setting {
                key: key.name.to_owned(),
                value,
                from,
            })
        })
        .collect()
}

fn cut(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_VALUE {
        return line;
    }
    let head: String = line.chars().take(MAX_VALUE - 1).collect();
    format!("{head}…")
}
