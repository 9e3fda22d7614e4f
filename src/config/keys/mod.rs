//! Every key of the configuration, once: its name, type, default, an example and one line of
//! documentation. Lists of valid keys, the JSON Schema, `tardy rules --explain` and the reference pages
//! are made from these tables, and the decoder refuses to run (in debug builds) when it reads a key that
//! is not here or leaves one unread.

mod extras;
mod kinds;
mod receivers;
mod routing;
mod rules;
mod service;
mod types;

pub use extras::{CHAT, CHAT_DISCORD, CHAT_PERMISSIONS, CHAT_SLACK, DIGEST, HEARTBEAT, OWNER, WEB};
pub use receivers::{RECEIVER, RECEIVER_TEMPLATE, SMTP};
pub use routing::{ESCALATE, INHIBIT, ROUTE, ROUTE_CHILD};
pub use rules::{ANNOTATIONS, DEFAULTS, RULE, RULES_FILE};
pub use service::{CALENDAR, EVALUATION, MUTE, SERVICE_FILE, SOURCE, STORE};
pub use types::Type;

/// A table of the configuration and its keys.
#[derive(Debug)]
pub struct Section {
    /// As messages name it: `[[source]]`.
    pub title: &'static str,
    /// One of it: `source`.
    pub noun: &'static str,
    /// Dotted path from the top of its file; empty for the top itself.
    pub path: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Keys of every one of them.
    pub keys: &'static [Key],
    /// Kinds, each with keys of its own.
    pub variants: &'static [Variant],
}

/// A kind of a section.
#[derive(Debug)]
pub struct Variant {
    /// The value of `kind`.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Keys that only this kind has.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What may be written.
    pub ty: Type,
    /// It must be written.
    pub is_required: bool,
    /// What holds when it is not written, as TOML or in words; empty: nothing.
    pub default: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
}

impl Key {
    /// `by = "07:00"`.
    pub fn example_line(&self) -> String {
        match self.ty {
            Type::Table(section) | Type::Tables(section) => section.title.to_owned(),
            _ => format!("{} = {}", self.name, self.example),
        }
    }
}

/// A key with a default that is valid TOML.
const fn key(name: &'static str, ty: Type, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        ty,
        is_required: false,
        default,
        example: default,
        doc,
    }
}

/// A key that may be left out and then means nothing, or what its documentation says.
const fn optional(name: &'static str, ty: Type, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        ty,
        is_required: false,
        default: "",
        example,
        doc,
    }
}

/// A key that must be written.
const fn required(name: &'static str, ty: Type, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        ty,
        is_required: true,
        default: "",
        example,
        doc,
    }
}

const fn section(name: &'static str, section: &'static Section) -> Key {
    let ty = Type::Table(section);
    Key {
        name,
        ty,
        is_required: false,
        default: "",
        example: "",
        doc: section.doc,
    }
}

const fn sections(name: &'static str, section: &'static Section) -> Key {
    let ty = Type::Tables(section);
    Key {
        name,
        ty,
        is_required: false,
        default: "",
        example: "",
        doc: section.doc,
    }
}

/// Every section of the service file, in the order of the reference, starting with its top level.
pub fn service_sections() -> [&'static Section; 21] {
    [
        &SERVICE_FILE,
        &EVALUATION,
        &SOURCE,
        &STORE,
        &RECEIVER,
        &RECEIVER_TEMPLATE,
        &SMTP,
        &ROUTE,
        &ROUTE_CHILD,
        &ESCALATE,
        &INHIBIT,
        &MUTE,
        &CALENDAR,
        &OWNER,
        &DIGEST,
        &CHAT,
        &CHAT_SLACK,
        &CHAT_DISCORD,
        &CHAT_PERMISSIONS,
        &WEB,
        &HEARTBEAT,
    ]
}

/// Every section of a rule file, starting with its top level.
pub fn rule_sections() -> [&'static Section; 4] {
    [&RULES_FILE, &DEFAULTS, &RULE, &ANNOTATIONS]
}

/// The kind of rule of that name: its documentation and its own keys. The keys that every rule has are
/// [`RULE`]`.keys`.
pub fn rule_kind(name: &str) -> Option<&'static Variant> {
    RULE.variants.iter().find(|variant| variant.name == name)
}
