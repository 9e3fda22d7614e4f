//! JSON Schema of both kinds of files, for editors.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Section, Type, Variant};

/// Of the service file.
pub fn schema_config() -> Value {
    schema(&keys::SERVICE_FILE, "Tardy configuration")
}

/// Of rule files.
pub fn schema_rules() -> Value {
    schema(&keys::RULES_FILE, "Tardy rules")
}

type Definitions = BTreeMap<String, Value>;

fn schema(top: &'static Section, title: &str) -> Value {
    let mut definitions = Definitions::new();
    let mut root = object(top.keys.iter(), None, &mut definitions);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!(title);
    root["description"] = json!(top.doc);
    root["$defs"] = json!(definitions);
    root
}

fn definition_name(section: &Section) -> String {
    section.path.replace('.', "_")
}

/// Adds a section's definition, once, and refers to it.
fn reference(section: &'static Section, definitions: &mut Definitions) -> Value {
    let name = definition_name(section);
    let reference = json!({ "$ref": format!("#/$defs/{name}") });
    if definitions.contains_key(&name) {
        return reference;
    }
    definitions.insert(name.clone(), Value::Null); // ends the recursion of routes
    let definition = match section.variants {
        [] => object(section.keys.iter(), None, definitions),
        variants => one_of(section, variants, definitions),
    };
    definitions.insert(name, definition);
    reference
}

fn one_of(
    section: &'static Section,
    variants: &'static [Variant],
    definitions: &mut Definitions,
) -> Value {
    let choices: Vec<Value> = variants
        .iter()
        .map(|variant| {
            let keys = section.keys.iter().chain(variant.keys);
            let mut choice = object(keys, Some(variant), definitions);
            choice["title"] = json!(variant.name);
            choice["description"] = json!(variant.doc);
            choice
        })
        .collect();
    json!({ "type": "object", "description": section.doc, "oneOf": choices })
}

fn object<'k>(
    keys: impl Iterator<Item = &'k Key>,
    variant: Option<&Variant>,
    definitions: &mut Definitions,
) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let mut property = of_type(key.ty, definitions);
        if let (Type::Kind, Some(variant)) = (key.ty, variant) {
            property = json!({ "const": variant.name });
        }
        property["description"] = json!(key.doc);
        if let Some(default) = default(key) {
            property["default"] = default;
        }
        if key.is_required {
            required.push(key.name);
        }
        properties.insert(key.name.to_owned(), property);
    }
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The default as JSON.
fn default(key: &Key) -> Option<Value> {
    if key.default.is_empty() {
        return None;
    }
    let table: toml::Table = format!("value = {}", key.default).parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn of_type(ty: Type, definitions: &mut Definitions) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let list = |item: Value| json!({ "type": "array", "items": item });
    let one_or_list = |item: Value| json!({ "anyOf": [item, { "type": "array", "items": item }] });
    match ty {
        Type::Text
        | Type::Kind
        | Type::Zone
        | Type::Cron
        | Type::Limit
        | Type::Mail
        | Type::Socket => text(),
        Type::Texts => list(text()),
        Type::Patterns | Type::Mails | Type::Matchers => one_or_list(text()),
        Type::Duration => pattern("^\\s*([0-9]+(ms|s|sec|m|min|h|d|w)\\s*)+$"),
        Type::Times => pattern("^\\s*[0-9]+\\s*of\\s*[0-9]+\\s*$"),
        Type::Time => pattern("^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$"),
        Type::Due => pattern(
            "^([0-9]{2}:[0-9]{2}(:[0-9]{2})?|\\+\\s*([0-9]+(ms|s|sec|m|min|h|d|w)\\s*)+after schedule)$",
        ),
        Type::MonthDays => pattern(
            "^(business day ([1-9]|1[0-5])|day ([1-9]|1[0-9]|2[0-8])|last business day|last day)$",
        ),
        Type::Hours => pattern("^[0-9]{2}:[0-9]{2}\\s*-\\s*[0-9]{2}:[0-9]{2}$"),
        Type::Weekdays => one_or_list(pattern(
            "^!?([A-Za-z]+(-[A-Za-z]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2})$",
        )),
        Type::Dates => list(pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
        Type::Url => json!({ "type": "string", "pattern": "^https?://", "format": "uri" }),
        Type::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Type::Share => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        Type::OpenShare => {
            json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 })
        }
        Type::Positive => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Type::Ratio => json!({ "type": "number", "minimum": 1 }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Word(words) => json!({ "enum": words }),
        Type::Words(words) => one_or_list(json!({ "enum": words })),
        Type::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Type::Secret | Type::SecretUrl => secret(definitions),
        Type::Table(section) => reference(section, definitions),
        Type::Tables(section) => list(reference(section, definitions)),
    }
}

fn pattern(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn secret(definitions: &mut Definitions) -> Value {
    definitions.entry("secret".to_owned()).or_insert_with(|| {
        let choice = |key: &str, doc: &str| {
            json!({
                "type": "object",
                "properties": { key: { "type": "string", "minLength": 1, "description": doc } },
                "required": [key],
                "additionalProperties": false,
            })
        };
        json!({
            "description": "A secret, never written in the file itself.",
            "oneOf": [
                choice("env", "Name of the environment variable that holds it."),
                choice("file", "Path of the file that holds it."),
            ],
        })
    });
    json!({ "$ref": "#/$defs/secret" })
}
