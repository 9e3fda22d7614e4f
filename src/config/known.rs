//! Names that other parts of the configuration refer to.

use std::collections::HashMap;

use chrono_tz::Tz;

use crate::engine::calendar::Calendar;
use crate::engine::observation::Name;

use super::context::{Context, Draft, did_you_mean};
use super::cursor::Cursor;
use super::place::Place;
use super::tree::Spot;
use super::values;

/// Names of one sort of thing, each with the place where it was given and what it stands for.
#[derive(Debug)]
pub(super) struct Names<T> {
    /// What they name, `receiver`.
    noun: &'static str,
    items: HashMap<String, (Place, Option<T>)>,
    order: Vec<String>,
}

impl<T> Names<T> {
    /// None yet.
    pub(super) fn new(noun: &'static str) -> Self {
        Self {
            noun,
            items: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Adds a name; a second time is a mistake that names both places.
    pub(super) fn add(&mut self, context: &Context<'_>, name: &Spot<String>, item: Option<T>) {
        if let Some((first, _)) = self.items.get(&name.value) {
            let message = format!("two {}s are named `{}`", self.noun, name.value);
            context.push(
                Draft::error("duplicate-name", name.place, message)
                    .label("named again here")
                    .related(*first, "first named here")
                    .help(format!(
                        "rename one of them; {} names are unique",
                        self.noun
                    )),
            );
            return;
        }
        self.items.insert(name.value.clone(), (name.place, item));
        self.order.push(name.value.clone());
    }

    /// What a name stands for; an unknown one is a mistake with the nearest name.
    pub(super) fn find(&self, context: &Context<'_>, name: &Spot<String>) -> Option<&T> {
        let found = self.items.get(&name.value);
        if found.is_none() {
            context.push(self.unknown(name));
        }
        found.and_then(|(_, item)| item.as_ref())
    }

    fn unknown(&self, name: &Spot<String>) -> Draft {
        let help = if self.order.is_empty() {
            format!(
                "no {} is configured; add one with name = \"{}\"",
                self.noun, name.value
            )
        } else {
            let names = self.order.iter().map(String::as_str);
            did_you_mean(&name.value, &format!("the {}s are", self.noun), names)
        };
        let message = format!("unknown {} `{}`", self.noun, name.value);
        Draft::error("unknown-reference", name.place, message)
            .label(format!("no {} has this name", self.noun))
            .help(help)
    }

    /// There is such a name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    /// The names, in the order in which they were given.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// What the only name stands for.
    pub(super) fn only(&self) -> Option<&T> {
        match self.order.as_slice() {
            [name] => self.items[name].1.as_ref(),
            _ => None,
        }
    }
}

/// What rules and routes may refer to.
#[derive(Debug)]
pub(super) struct Known {
    /// `[[receiver]]` names.
    pub(super) receivers: Names<()>,
    /// `[[calendar]]`.
    pub(super) calendars: Names<Calendar>,
    /// `[[mute]]`.
    pub(super) mutes: Names<Calendar>,
    /// The service file was read, so a name that is not here does not exist.
    pub(super) is_complete: bool,
    /// The default zone.
    pub(super) zone: Tz,
}

impl Known {
    /// Nothing known: references cannot be checked.
    pub(super) fn nothing() -> Self {
        Self {
            receivers: Names::new("receiver"),
            calendars: Names::new("calendar"),
            mutes: Names::new("mute window"),
            is_complete: false,
            zone: Tz::UTC,
        }
    }

    /// The receivers that a key names.
    pub(super) fn receivers_of(
        &self,
        cursor: &mut Cursor<'_>,
        key: &'static str,
    ) -> Option<Vec<Name>> {
        let names = cursor.texts(key)?;
        if names.is_empty() {
            cursor.context.push(
                Draft::error(
                    "empty",
                    cursor.place_of(key),
                    format!("`{key}` is an empty list"),
                )
                .label("nobody would be told")
                .help(format!("name at least one receiver, or remove `{key}`")),
            );
            return None;
        }
        if self.is_complete {
            for name in &names {
                self.receivers.find(cursor.context, name);
            }
        }
        let mut found: Vec<Name> = Vec::new();
        for name in names {
            if !found.iter().any(|known| **known == *name.value) {
                found.push(name.value.into());
            }
        }
        Some(found)
    }

    /// The calendar that a key names.
    pub(super) fn calendar_of(&self, cursor: &mut Cursor<'_>) -> Option<Calendar> {
        let name = cursor.text("calendar")?;
        if !self.is_complete {
            return None;
        }
        self.calendars.find(cursor.context, &name).cloned()
    }
}

impl Cursor<'_> {
    /// A unique name.
    pub(super) fn unique_name(&mut self) -> Option<Spot<String>> {
        self.parsed("name", values::name)
    }
}

/// A name after its mistakes were noted.
pub(super) fn name_or_default(name: Option<&Spot<String>>) -> Name {
    name.map_or_else(|| "".into(), |name| name.value.as_str().into())
}
