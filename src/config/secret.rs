//! Secrets: read from a variable or a file, never from the configuration itself, and never repeated.

use secrecy::{ExposeSecret as _, SecretString};

use super::addresses;
use super::context::{Draft, nearest};
use super::cursor::Cursor;
use super::place::Place;
use super::tree::{Spot, Table, Tree, content_place, mask_texts};
use super::values::Refusal;

/// A secret's file is not longer than this; keys and addresses are far shorter.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Cursor<'_> {
    /// A secret, `{ env = "NAME" }` or `{ file = "path" }`.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<Spot<SecretString>> {
        let node = self.node(name)?.clone();
        match node.value {
            Tree::Table(table) => self.secret_from(name, &table, node.place),
            Tree::Text(_) => {
                self.context.mask(content_place(self.context, node.place));
                self.refuse_bare(name, node.place);
                None
            }
            Tree::Array(_)
            | Tree::Integer(_)
            | Tree::Float(_)
            | Tree::Boolean(_)
            | Tree::Datetime => {
                mask_texts(self.context, &node);
                self.context.mask(node.place);
                self.refuse_bare(name, node.place);
                None
            }
        }
    }

    /// A secret whose value is an http(s) address.
    pub(super) fn secret_url(&mut self, name: &'static str) -> Option<Spot<SecretString>> {
        self.secret_checked(name, |text| addresses::web_address(text).map(|_| ()))
    }

    /// A secret whose value passes `check`.
    pub(super) fn secret_checked(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&str) -> Result<(), Refusal>,
    ) -> Option<Spot<SecretString>> {
        let secret = self.secret(name)?;
        match check(secret.value.expose_secret()) {
            Ok(()) => Some(secret),
            Err(refusal) => {
                let draft = refusal.into_draft(secret.place);
                self.context
                    .push(draft.label(format!("the value of `{name}` comes from here")));
                None
            }
        }
    }

    fn refuse_bare(&self, name: &str, place: Place) {
        let example = self.key(name).example;
        let message = format!("`{name}` is a secret written in the file");
        self.context.push(
            Draft::error("bare-secret", place, message)
                .label("not shown")
                .help(format!(
                    "put it into a variable or a file, and write {name} = {example} or \
                     {name} = {{ file = \"/run/secrets/{name}\" }}; replace it if others have seen it"
                )),
        );
    }

    fn secret_from(&self, name: &str, table: &Table, place: Place) -> Option<Spot<SecretString>> {
        let context = self.context;
        let forms =
            format!("write {name} = {{ env = \"NAME\" }} or {name} = {{ file = \"path\" }}");
        for entry in &table.entries {
            if !matches!(entry.key.as_str(), "env" | "file") {
                mask_texts(context, &entry.node);
                let near = nearest(&entry.key, ["env", "file"]).unwrap_or("env");
                context.push(
                    Draft::error(
                        "unknown-key",
                        entry.key_place,
                        format!("unknown key `{}` in a secret", entry.key),
                    )
                    .label(format!("did you mean `{near}`?"))
                    .help(forms.clone()),
                );
                return None;
            }
        }
        let [entry] = table.entries.as_slice() else {
            let message = format!("`{name}` needs one of `env` and `file`");
            context.push(Draft::error("bad-secret", place, message).help(forms));
            return None;
        };
        let Tree::Text(text) = &entry.node.value else {
            mask_texts(context, &entry.node);
            let found = entry.node.value.describe();
            let message = format!("expected a name in quotes, found {found}");
            context.push(Draft::error("wrong-type", entry.node.place, message).help(forms));
            return None;
        };
        let value = match entry.key.as_str() {
            "env" => self.secret_of_variable(name, text, entry.node.place),
            _ => self.secret_of_file(name, text, entry.node.place),
        }?;
        Some(Spot {
            value,
            place: entry.node.place,
        })
    }

    fn secret_of_variable(&self, name: &str, variable: &str, place: Place) -> Option<SecretString> {
        let is_set = self.context.environment.get(variable).is_some();
        let draft = if !is_set && !is_variable_name(variable) {
            // It may well be the secret itself.
            self.context.mask(content_place(self.context, place));
            Draft::error(
                "bad-secret",
                place,
                format!("`env` of `{name}` is not the name of a variable"),
            )
            .label("not shown: it may be the secret itself")
            .help(format!(
                "write the name of an environment variable, like {name} = {{ env = \"{}\" }}",
                name.to_uppercase()
            ))
        } else {
            match self.context.environment.get(variable).map(trim_newline) {
                Some(value) if !value.trim().is_empty() => return Some(value.into()),
                found => {
                    let state = if found.is_some() { "empty" } else { "not set" };
                    Draft::error(
                        "missing-secret",
                        place,
                        format!("the environment variable {variable} is {state}"),
                    )
                    .label(format!("`{name}` comes from here"))
                    .help(format!(
                        "set {variable} before starting, or use {{ file = \"path\" }}"
                    ))
                }
            }
        };
        self.context.push(draft);
        None
    }

    fn secret_of_file(&self, name: &str, file: &str, place: Place) -> Option<SecretString> {
        let path = self.context.folder.join(file);
        let why = match read_bounded(&path) {
            Ok(text) if !trim_newline(&text).trim().is_empty() => {
                return Some(trim_newline(&text).into());
            }
            Ok(_) => "it is empty".to_owned(),
            Err(why) => why,
        };
        self.context.push(
            Draft::error(
                "missing-secret",
                place,
                format!("the secret file cannot be used: {why}"),
            )
            .label(format!("`{name}` comes from here"))
            .help(format!(
                "write the secret into {} and let the user that runs Tardy read it",
                path.display()
            )),
        );
        None
    }
}

fn trim_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn read_bounded(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| super::load::io_words(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| super::load::io_words(&error))?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err("it is longer than 64 KiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// Upper-case names only: that is how variables are written, and how tokens are not.
fn is_variable_name(text: &str) -> bool {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let is_short = text.len() <= 64;
    is_plain && is_short && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
}
