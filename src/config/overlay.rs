//! `TARDY_` variables laid over the service file: `TARDY_STORE__PATH`, `TARDY_SOURCE__ACME__BASE_URL`.
//!
//! Names are nested by `__`; elements of `[[source]]` and the like are found by their name, in any case,
//! `-` and `_` alike. A value is read by the type of its key, so that a token of digits stays a text, and
//! a variable laid over a secret stands for `{ env = "…" }` and is never shown.

use std::collections::HashSet;

use toml::de::DeTable;

use super::context::{Context, Draft, listed, nearest};
use super::keys::{Key, SERVICE_FILE, Section, Type};
use super::place::{Place, SourceText};
use super::tree::{Entry, Node, Origin, Spot, Table, Tree, convert_table};

/// Variables that are no keys: the command line reads them.
const RESERVED: [&str; 2] = ["TARDY_CONFIG", "TARDY_LOG"];

/// One variable on its way to its key.
struct Variable<'a> {
    name: &'a str,
    value: &'a str,
    place: Place,
}

/// Lays every `TARDY_` variable over the tree.
pub(super) fn apply(context: &Context<'_>, table: &mut Table) {
    let referenced = referenced_variables(table);
    for (name, value) in context.environment.iter() {
        let Some(path) = name.strip_prefix("TARDY_") else {
            continue;
        };
        if RESERVED.contains(&name) || referenced.contains(name) {
            continue;
        }
        let shown = format!("environment variable {name}");
        let place = context.add_text(SourceText::new(shown.clone(), shown, String::new()));
        let variable = Variable { name, value, place };
        let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        if let Err(draft) = lay(&variable, table, &SERVICE_FILE, &path) {
            context.push(*draft);
        }
    }
}

/// Names in `{ env = "…" }`: these are secrets, not keys, whatever they begin with.
fn referenced_variables(table: &Table) -> HashSet<String> {
    fn walk(table: &Table, found: &mut HashSet<String>) {
        for entry in &table.entries {
            visit(&entry.key, &entry.node, found);
        }
    }
    fn visit(key: &str, node: &Node, found: &mut HashSet<String>) {
        match &node.value {
            Tree::Text(text) if key == "env" => {
                found.insert(text.clone());
            }
            Tree::Table(table) => walk(table, found),
            Tree::Array(items) => items.iter().for_each(|item| visit("", item, found)),
            _ => {}
        }
    }
    let mut found = HashSet::new();
    walk(table, &mut found);
    found
}

type Refused = Result<(), Box<Draft>>;

fn lay(
    variable: &Variable<'_>,
    table: &mut Table,
    section: &'static Section,
    path: &[String],
) -> Refused {
    let Some((first, rest)) = path.split_first() else {
        return refuse(variable, section, "it names a table, not a key");
    };
    let Some(key) = keys_of(section).find(|key| key.name == *first) else {
        return unknown(variable, section, first, !rest.is_empty());
    };
    match key.ty {
        Type::Table(inner) => lay(
            variable,
            child(table, key.name, variable.place),
            inner,
            rest,
        ),
        Type::Tables(inner) => lay_element(variable, table, key, inner, rest),
        Type::Secret | Type::SecretUrl if matches!(rest, [form] if form == "env" || form == "file") =>
        {
            let value = secret(&rest[0], variable.value, variable.place);
            set(table, key.name, value, variable.place);
            Ok(())
        }
        _ if !rest.is_empty() => refuse(
            variable,
            section,
            &format!("`{}` has no keys below it", key.name),
        ),
        ty => {
            set(table, key.name, typed(ty, variable), variable.place);
            Ok(())
        }
    }
}

fn lay_element(
    variable: &Variable<'_>,
    table: &mut Table,
    key: &Key,
    inner: &'static Section,
    path: &[String],
) -> Refused {
    let Some((name, rest)) = path.split_first() else {
        return refuse(
            variable,
            inner,
            &format!("{} is a list of tables", inner.title),
        );
    };
    let Some(Node {
        value: Tree::Array(items),
        ..
    }) = table.get_mut(key.name)
    else {
        return refuse(
            variable,
            inner,
            &format!("there is no {} in the file", inner.title),
        );
    };
    let mut names = Vec::new();
    for item in items {
        let Tree::Table(element) = &mut item.value else {
            continue;
        };
        let Some(Node {
            value: Tree::Text(found),
            ..
        }) = element.get("name")
        else {
            continue;
        };
        if fold(found) == fold(name) {
            return lay(variable, element, inner, rest);
        }
        names.push(found.clone());
    }
    let names = listed(names.iter().map(String::as_str));
    refuse(
        variable,
        inner,
        &format!(
            "no {} is named `{name}`; the names are: {names}",
            inner.noun
        ),
    )
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', ' ', '.'], "_")
}

fn keys_of(section: &'static Section) -> impl Iterator<Item = &'static Key> {
    let own = section.variants.iter().flat_map(|variant| variant.keys);
    section.keys.iter().chain(own)
}

/// A variable that is nothing like a key, such as a secret that no key refers to any more, is only
/// warned about; one with a nested name was meant as a key.
fn unknown(
    variable: &Variable<'_>,
    section: &'static Section,
    word: &str,
    is_nested: bool,
) -> Refused {
    let names: Vec<&str> = keys_of(section).map(|key| key.name).collect();
    let prefix = match section.path {
        "" => "TARDY_".to_owned(),
        path => format!("TARDY_{}__", path.to_uppercase().replace('.', "__")),
    };
    let near = nearest(word, names.iter().copied());
    if near.is_none() && !is_nested && section.path.is_empty() {
        let message = format!(
            "{} is set, and nothing in the configuration refers to it",
            variable.name
        );
        let help = format!(
            "refer to it with {{ env = \"{}\" }}, or unset it if it is not meant for Tardy",
            variable.name
        );
        return Err(Box::new(
            Draft::warning("unused-variable", variable.place, message).help(help),
        ));
    }
    let hint = match near {
        Some(near) => format!("did you mean `{prefix}{}`? ", near.to_uppercase()),
        None => String::new(),
    };
    let help = format!(
        "{hint}the keys are: {}; unset the variable if it is not meant for Tardy",
        listed(names)
    );
    let message = format!(
        "unknown key `{word}` in {} ({})",
        variable.name, section.title
    );
    Err(Box::new(
        Draft::error("unknown-variable", variable.place, message).help(help),
    ))
}

fn refuse(variable: &Variable<'_>, section: &Section, why: &str) -> Refused {
    let message = format!(
        "{} cannot be laid over {}: {why}",
        variable.name, section.title
    );
    let help = "write TARDY_ and the path of a key, joined by two underscores, like \
                TARDY_STORE__PATH or TARDY_SOURCE__ACME__BASE_URL";
    Err(Box::new(
        Draft::error("unknown-variable", variable.place, message).help(help),
    ))
}

/// The table below a key, made when it is missing.
fn child<'t>(table: &'t mut Table, key: &str, place: Place) -> &'t mut Table {
    if !matches!(
        table.get(key),
        Some(Node {
            value: Tree::Table(_),
            ..
        })
    ) {
        set(table, key, Tree::Table(Table::default()), place);
    }
    match table.get_mut(key).map(|node| &mut node.value) {
        Some(Tree::Table(table)) => table,
        _ => unreachable!("a table was put there just now"),
    }
}

fn set(table: &mut Table, key: &str, value: Tree, place: Place) {
    let node = Spot { value, place };
    match table.get_mut(key) {
        Some(known) => *known = node,
        None => table.entries.push(Entry {
            key: key.to_owned(),
            key_place: place,
            node,
        }),
    }
}

fn secret(form: &str, value: &str, place: Place) -> Tree {
    let mut table = Table::default();
    set(&mut table, form, Tree::Text(value.to_owned()), place);
    Tree::Table(table)
}

/// The variable's text as its key wants it; what does not fit stays a text and is refused later.
fn typed(ty: Type, variable: &Variable<'_>) -> Tree {
    let text = variable.value.trim();
    match ty {
        Type::Secret | Type::SecretUrl => secret("env", variable.name, variable.place),
        Type::Integer(..) => text
            .parse()
            .map_or_else(|_| Tree::Text(text.into()), Tree::Integer),
        Type::Share | Type::OpenShare | Type::Positive | Type::Ratio => text
            .parse()
            .map_or_else(|_| Tree::Text(text.into()), Tree::Float),
        Type::Boolean => text
            .parse()
            .map_or_else(|_| Tree::Text(text.into()), Tree::Boolean),
        Type::Map => literal(variable).unwrap_or_else(|| Tree::Text(text.into())),
        ty if ty.is_list() && text.starts_with('[') => {
            literal(variable).unwrap_or_else(|| Tree::Text(text.into()))
        }
        Type::Matchers => Tree::Text(text.into()),
        ty if ty.is_list() => Tree::Array(
            text.split(',')
                .map(str::trim)
                .map(|item| Spot {
                    value: Tree::Text(item.into()),
                    place: variable.place,
                })
                .collect(),
        ),
        _ => Tree::Text(text.into()),
    }
}

/// The variable's text read as a TOML value.
fn literal(variable: &Variable<'_>) -> Option<Tree> {
    let line = format!("value = {}", variable.value.trim());
    let table = DeTable::parse(&line).ok()?;
    let table = convert_table(table.get_ref(), Origin::Whole(variable.place));
    table
        .entries
        .into_iter()
        .next()
        .map(|entry| entry.node.value)
}
