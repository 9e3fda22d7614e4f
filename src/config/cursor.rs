//! A cursor over one table: typed getters for its keys.
//!
//! Reading goes on after a mistake: every getter notes what is wrong and gives `None`, so that all
//! mistakes of all files are known at once. [`Cursor::finish`] refuses the keys that nobody asked for.

use super::context::{Context, Draft, did_you_mean};
use super::keys::{Key, Section, Type, Variant};
use super::place::Place;
use super::tree::{Entry, Node, Spot, Table, Tree, content_place, mask_texts};
use super::values::Refusal;

/// Reads one table by its section's keys.
pub(super) struct Cursor<'c> {
    /// Shared state.
    pub(super) context: &'c Context<'c>,
    /// Where the table begins.
    pub(super) place: Place,
    table: Table,
    section: &'static Section,
    variant: Option<&'static Variant>,
    asked: Vec<&'static str>,
}

impl<'c> Cursor<'c> {
    /// Over a table of a section that has no kinds, or whose kind is not known yet.
    pub(super) fn new(
        context: &'c Context<'c>,
        section: &'static Section,
        table: Spot<Table>,
    ) -> Self {
        Self {
            context,
            place: table.place,
            table: table.value,
            section,
            variant: None,
            asked: Vec::with_capacity(32),
        }
    }

    /// Reads `kind` and settles which keys are valid. `None`, with a mistake, for an unknown kind.
    pub(super) fn settle_kind(&mut self, default: Option<&str>) -> Option<&'static Variant> {
        let kind = self.text("kind");
        let known = || self.section.variants.iter().map(|variant| variant.name);
        let word = match (&kind, default) {
            (Some(kind), _) => kind.value.as_str(),
            (None, Some(default)) if self.table.get("kind").is_none() => default,
            (None, _) => return None,
        };
        self.variant = self
            .section
            .variants
            .iter()
            .find(|variant| variant.name == word);
        if self.variant.is_none()
            && let Some(kind) = &kind
        {
            let what = format!("unknown {} kind `{word}`", self.section.noun);
            self.context.push(
                Draft::error("unknown-kind", kind.place, what)
                    .label("no such kind")
                    .help(did_you_mean(word, "the kinds are", known())),
            );
        }
        self.variant
    }

    /// `rule of kind "deadline"`.
    pub(super) fn title(&self) -> String {
        match self.variant {
            Some(variant) if self.section.variants.len() > 1 => {
                format!("a {} of kind \"{}\"", self.section.noun, variant.name)
            }
            _ => self.section.title.to_owned(),
        }
    }

    /// The keys that are valid here.
    fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        let own = self.variant.map_or(&[][..], |variant| variant.keys);
        self.section.keys.iter().chain(own)
    }

    /// What is known about a key that is valid here.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        self.keys()
            .find(|key| key.name == name)
            .unwrap_or_else(|| panic!("{} has no key `{name}` in keys.rs", self.section.title))
    }

    /// The key is written here.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.get(name).is_some()
    }

    /// The key is written here with something in it, whether it can be read or not.
    pub(super) fn has_items(&self, name: &str) -> bool {
        match self.table.get(name).map(|node| &node.value) {
            Some(Tree::Array(items)) => !items.is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    /// Every key that is written here, with its value as it is written.
    pub(super) fn raw(&self) -> Vec<(String, String)> {
        let raw = |entry: &Entry| {
            let place = entry.node.place;
            self.context.with_raw(place, str::to_owned)
        };
        let entries = self.table.entries.iter();
        entries
            .map(|entry| (entry.key.clone(), raw(entry)))
            .collect()
    }

    /// The place of a key that is written here, else of the table.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.table
            .entries
            .iter()
            .find(|entry| entry.key == name)
            .map_or(self.place, |entry| entry.key_place)
    }

    /// A key's value, whatever it is.
    pub(super) fn node(&mut self, name: &'static str) -> Option<&Node> {
        debug_assert_eq!(self.key(name).name, name);
        self.asked.push(name);
        self.table.get(name)
    }

    /// Notes that a value has the wrong type.
    pub(super) fn wrong_type(&self, key: &Key, place: Place, found: &str) {
        let message = format!("expected {}, found {found}", key.ty.expectation());
        self.context.push(
            Draft::error("wrong-type", place, message)
                .label(format!("`{}` is {}", key.name, key.ty.expectation()))
                .help(format!("write {}", key.example_line())),
        );
    }

    /// A non-empty text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Spot<String>> {
        let key = self.key(name);
        let (value, place) = match self.node(name)? {
            Spot {
                value: Tree::Text(text),
                place,
            } => (Ok(text.clone()), *place),
            Spot { value, place } => (Err(value.describe()), *place),
        };
        match value {
            Ok(text) if text.trim().is_empty() => {
                self.context.push(
                    Draft::error("empty", place, format!("`{name}` is empty"))
                        .help(format!("write {}, or remove the key", key.example_line())),
                );
                None
            }
            Ok(value) => Some(Spot { value, place }),
            Err(found) => {
                self.wrong_type(key, place, found);
                None
            }
        }
    }

    /// A text that means something.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Option<Spot<T>> {
        let text = self.text(name)?;
        interpret(self.context, &text, parse)
    }

    /// A list of texts; one text alone is a list of one where the key's type says so.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<Spot<String>>> {
        let key = self.key(name);
        let context = self.context;
        let node = self.node(name)?.clone();
        match node.value {
            Tree::Text(value) if key.ty.takes_one() => {
                let text = Spot {
                    value,
                    place: node.place,
                };
                Some(non_empty(context, key, text).into_iter().collect())
            }
            Tree::Array(items) => {
                let texts = items.into_iter().filter_map(|item| match item.value {
                    Tree::Text(value) => non_empty(
                        context,
                        key,
                        Spot {
                            value,
                            place: item.place,
                        },
                    ),
                    other => {
                        self.wrong_type(
                            key,
                            item.place,
                            &format!("{} in the list", other.describe()),
                        );
                        None
                    }
                });
                Some(texts.collect())
            }
            other => {
                self.wrong_type(key, node.place, other.describe());
                None
            }
        }
    }

    /// A list of texts that mean something; the ones that cannot be read are left out.
    pub(super) fn parsed_list<T>(
        &mut self,
        name: &'static str,
        mut parse: impl FnMut(&str) -> Result<T, Refusal>,
    ) -> Option<Vec<Spot<T>>> {
        let texts = self.texts(name)?;
        let context = self.context;
        let read = |text: &Spot<String>| interpret(context, text, &mut parse);
        Some(texts.iter().filter_map(read).collect())
    }

    /// A whole number within the key's bounds.
    pub(super) fn integer(&mut self, name: &'static str) -> Option<Spot<u32>> {
        let key = self.key(name);
        let node = self.node(name)?;
        let place = node.place;
        let Tree::Integer(number) = node.value else {
            let found = node.value.describe();
            self.wrong_type(key, place, found);
            return None;
        };
        let Type::Integer(least, most) = key.ty else {
            unreachable!("`{name}` is read as an integer, so keys.rs says it is one")
        };
        match u32::try_from(number) {
            Ok(value) if (least..=most).contains(&value) => Some(Spot { value, place }),
            _ => {
                let message = format!("`{name}` must be between {least} and {most}, not {number}");
                self.context.push(
                    Draft::error("out-of-range", place, message)
                        .help(format!("write {}", key.example_line())),
                );
                None
            }
        }
    }

    /// A number within the key's bounds.
    pub(super) fn number(&mut self, name: &'static str) -> Option<Spot<f64>> {
        let key = self.key(name);
        let node = self.node(name)?;
        let place = node.place;
        let number = match &node.value {
            Tree::Float(number) => *number,
            #[allow(clippy::cast_precision_loss)] // bounds are far below 2^52
            Tree::Integer(number) => *number as f64,
            other => {
                let found = other.describe();
                self.wrong_type(key, place, found);
                return None;
            }
        };
        if key.ty.is_in_bounds(number) {
            return Some(Spot {
                value: number,
                place,
            });
        }
        let message = format!("`{name}` must be {}, not {number}", key.ty.expectation());
        self.context.push(
            Draft::error("out-of-range", place, message)
                .help(format!("write {}", key.example_line())),
        );
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let key = self.key(name);
        match self.node(name)? {
            Spot {
                value: Tree::Boolean(is_true),
                ..
            } => Some(*is_true),
            Spot { value, place } => {
                let (found, place) = (value.describe(), *place);
                self.wrong_type(key, place, found);
                None
            }
        }
    }

    /// One of the words that the key's type lists.
    pub(super) fn word(&mut self, name: &'static str) -> Option<Spot<&'static str>> {
        let words = self.key(name).ty.words();
        self.parsed(name, |text| super::values::one_of(text, name, words))
    }

    /// A table of names and texts.
    pub(super) fn map(&mut self, name: &'static str) -> Option<Vec<(Spot<String>, Spot<String>)>> {
        let key = self.key(name);
        let node = self.node(name)?.clone();
        let Tree::Table(table) = node.value else {
            self.wrong_type(key, node.place, node.value.describe());
            return None;
        };
        let pairs = table
            .entries
            .into_iter()
            .filter_map(|entry| match entry.node.value {
                Tree::Text(value) => Some((
                    Spot {
                        value: entry.key,
                        place: entry.key_place,
                    },
                    Spot {
                        value,
                        place: entry.node.place,
                    },
                )),
                other => {
                    self.wrong_type(
                        key,
                        entry.node.place,
                        &format!("{} in it", other.describe()),
                    );
                    None
                }
            });
        Some(pairs.collect())
    }

    /// The table below a key.
    pub(super) fn table(&mut self, name: &'static str) -> Option<Spot<Table>> {
        let key = self.key(name);
        let key_place = self.place_of(name);
        let node = self.node(name)?.clone();
        match node.value {
            Tree::Table(value) => Some(Spot {
                value,
                place: table_place(node.place, key_place),
            }),
            other => {
                self.wrong_type(key, node.place, other.describe());
                None
            }
        }
    }

    /// The tables below a key that may be written many times. The list is moved out.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<Spot<Table>> {
        let key = self.key(name);
        self.asked.push(name);
        let Some(node) = self.table.get_mut(name) else {
            return Vec::new();
        };
        let place = node.place;
        let items = match std::mem::replace(&mut node.value, Tree::Array(Vec::new())) {
            Tree::Array(items) => items,
            other => {
                self.wrong_type(key, place, other.describe());
                return Vec::new();
            }
        };
        let tables = items.into_iter().filter_map(|item| match item.value {
            Tree::Table(value) => Some(Spot {
                value,
                place: item.place,
            }),
            other => {
                self.wrong_type(
                    key,
                    item.place,
                    &format!("{} in the list", other.describe()),
                );
                None
            }
        });
        tables.collect()
    }

    /// Refuses keys that nobody asked for, and says which required ones are missing.
    pub(super) fn finish(self) {
        let keys: Vec<&'static Key> = self.keys().collect();
        debug_assert!(
            keys.iter().all(|key| self.asked.contains(&key.name)),
            "{}: keys.rs lists a key that is never read",
            self.title()
        );
        for key in keys
            .iter()
            .filter(|key| key.is_required && !self.has(key.name))
        {
            let message = format!("{} needs the key `{}`", self.title(), key.name);
            self.context.push(
                Draft::error("missing-key", self.place, message)
                    .label(format!("`{}` is missing", key.name))
                    .help(format!("add {}", key.example_line())),
            );
        }
        for entry in &self.table.entries {
            if !keys.iter().any(|key| key.name == entry.key) {
                self.unknown_key(entry, &keys);
            }
        }
    }

    fn unknown_key(&self, entry: &Entry, keys: &[&'static Key]) {
        // The value may be a secret under a misspelled key, or hold one.
        let is_secret = |key: &&'static Key| matches!(key.ty, Type::Secret | Type::SecretUrl);
        let is_table = matches!(entry.node.value, Tree::Table(_) | Tree::Array(_));
        if is_table || keys.iter().any(is_secret) {
            mask_texts(self.context, &entry.node);
        }
        let message = format!("unknown key `{}` in {}", entry.key, self.title());
        let what = format!("the keys of {} are", self.title());
        let names = keys.iter().map(|key| key.name);
        self.context.push(
            Draft::error("unknown-key", entry.key_place, message)
                .label("not a key here")
                .help(did_you_mean(&entry.key, &what, names)),
        );
    }
}

/// Headers `[[rule]]` are the place of their table; an implied table has the place of its key.
fn table_place(place: Place, key_place: Place) -> Place {
    if place.start == place.end {
        key_place
    } else {
        place
    }
}
fn non_empty(context: &Context<'_>, key: &Key, text: Spot<String>) -> Option<Spot<String>> {
    if !text.value.trim().is_empty() {
        return Some(text);
    }
    context.push(
        Draft::error(
            "empty",
            text.place,
            format!("`{}` holds an empty text", key.name),
        )
        .help(format!("write {}", key.example_line())),
    );
    None
}

/// Reads the meaning of a text; a refusal points at the part of it that is wrong.
pub(super) fn interpret<T>(
    context: &Context<'_>,
    text: &Spot<String>,
    parse: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Option<Spot<T>> {
    match parse(&text.value) {
        Ok(value) => Some(Spot {
            value,
            place: text.place,
        }),
        Err(refusal) => {
            let place = refusal.part.as_ref().map_or(text.place, |part| {
                let inside = content_place(context, text.place);
                let is_plain = context.with_raw(inside, |written| written == text.value);
                if is_plain {
                    inside.part(part)
                } else {
                    text.place
                }
            });
            context.push(refusal.into_draft(place));
            None
        }
    }
}
