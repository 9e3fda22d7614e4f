//! TOML as a tree of values with places.

use toml::de::{DeArray, DeTable, DeValue};

use super::context::Context;
use super::place::Place;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Spot<T> {
    /// The value.
    pub(super) value: T,
    /// Where.
    pub(super) place: Place,
}

/// A TOML value with the places of everything in it.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// A value in the tree.
pub(super) type Node = Spot<Tree>;

/// A table of the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Its keys.
    pub(super) entries: Vec<Entry>,
}

/// One key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) key_place: Place,
    /// Its value.
    pub(super) node: Node,
}

impl Table {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The value of a key, to change.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.node)
    }
}

impl Tree {
    /// As mistakes name it.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date or time without quotes",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Where a parsed text comes from: a file (offsets count), or a variable (one place for all).
#[derive(Clone, Copy)]
pub(super) enum Origin {
    File(Place),
    Whole(Place),
}

impl Origin {
    fn place(self, span: std::ops::Range<usize>) -> Place {
        match self {
            Self::File(file) => file.part(&span),
            Self::Whole(place) => place,
        }
    }
}

/// The tree of a parsed table.
pub(super) fn convert_table(table: &DeTable<'_>, origin: Origin) -> Table {
    let entries = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: origin.place(key.span()),
            node: Spot {
                place: origin.place(value.span()),
                value: convert(value.get_ref(), origin),
            },
        })
        .collect();
    Table { entries }
}

fn convert_array(array: &DeArray<'_>, origin: Origin) -> Vec<Node> {
    array
        .iter()
        .map(|item| Spot {
            place: origin.place(item.span()),
            value: convert(item.get_ref(), origin),
        })
        .collect()
}

fn convert(value: &DeValue<'_>, origin: Origin) -> Tree {
    match value {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Tree::Integer(number),
            Err(_) => Tree::Float(number.as_str().parse().unwrap_or(f64::INFINITY)),
        },
        DeValue::Float(number) => Tree::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(is_true) => Tree::Boolean(*is_true),
        DeValue::Datetime(_) => Tree::Datetime,
        DeValue::Array(array) => Tree::Array(convert_array(array, origin)),
        DeValue::Table(table) => Tree::Table(convert_table(table, origin)),
    }
}

/// Hides every text in a value.
pub(super) fn mask_texts(context: &Context<'_>, node: &Node) {
    match &node.value {
        Tree::Text(_) => context.mask(content_place(context, node.place)),
        Tree::Array(items) => items.iter().for_each(|item| mask_texts(context, item)),
        Tree::Table(table) => {
            for entry in &table.entries {
                mask_texts(context, &entry.node);
            }
        }
        Tree::Integer(_) | Tree::Float(_) => context.mask(node.place),
        Tree::Boolean(_) | Tree::Datetime => {}
    }
}

/// A string's place without its quotes.
pub(super) fn content_place(context: &Context<'_>, place: Place) -> Place {
    let (quotes, len) = context.with_raw(place, |raw| {
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let found = quotes.iter().find(|quotes| raw.starts_with(**quotes));
        (found.map_or(0, |quotes| quotes.len()), raw.len())
    });
    if len < 2 * quotes {
        return place;
    }
    place.part(&(quotes..len - quotes))
}
