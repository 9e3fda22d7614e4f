//! The reference pages, made from the tables of keys and from the documentation of each kind of rule.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tardy::config::keys::{self, Key, Section, Type, Variant};
use tardy::engine::rule::KIND_NAMES;

/// Headings of every kind's documentation.
pub(crate) const HEADINGS: [&str; 5] =
    ["What it tells", "When to use", "Keys", "No data", "Resolve"];

const GENERATED: &str =
    "<!-- Made from the code by `UPDATE_DOCS=1 cargo test --test tidy`; change it there. -->\n";

/// `docs/configuration.md`.
pub(crate) fn configuration(not_built: &BTreeSet<String>) -> String {
    let mut page = format!(
        "# Configuration: every key\n\n{GENERATED}\n\
         Tardy reads `tardy.toml` (or the file of `--config`, or `TARDY_CONFIG`). A commented file with every key is\n\
         [config/tardy.toml](../config/tardy.toml); rule files are described in [rules.md](rules.md). Any key can be\n\
         overridden by a variable: `TARDY_STORE__PATH`, `TARDY_SOURCE__ACME__BASE_URL`. Unknown keys are\n\
         refused, with the nearest valid one. `tardy schema config` prints the JSON Schema for editors.\n\n\
         Relative paths start at the folder of the file. Secrets are written `{{ env = \"NAME\" }}` or\n\
         `{{ file = \"path\" }}`, never as text.\n"
    );
    page.push_str("\nRead and checked, but not built in this version (`tardy run` refuses to start with them):\n\n");
    for part in not_built {
        let tick = if part.starts_with('[') { "`" } else { "" };
        let _ = writeln!(page, "- {tick}{part}{tick}");
    }
    page.push_str("- `[store] kind = \"postgres\"`\n");
    for section in keys::service_sections() {
        put_section(&mut page, section, "kind");
    }
    page
}

/// `docs/rules.md`.
pub(crate) fn rules(root: &Path) -> String {
    let mut page = format!(
        "# Rules: every kind and key\n\n{GENERATED}\n\
         Rule files are TOML; `rules` in the configuration names them. Ready-to-use ones are in [rules](../rules).\n\
         `tardy check FILE` checks one by itself, `tardy rules --explain KIND` prints what is below, `tardy schema\n\
         rules` prints the JSON Schema.\n\n"
    );
    put_kinds(&mut page);
    for section in keys::rule_sections() {
        let common = Section {
            variants: &[],
            ..*section
        };
        put_section(&mut page, &common, "");
    }
    page.push_str("\n# The kinds\n");
    let mut documented: Vec<(String, Vec<&Variant>)> = Vec::new();
    for variant in keys::RULE.variants {
        let text = documentation(root, variant.name);
        match documented.iter_mut().find(|(known, _)| *known == text) {
            Some((_, variants)) => variants.push(variant),
            None => documented.push((text, vec![variant])),
        }
    }
    for (text, variants) in documented {
        page.push('\n');
        page.push_str(&text.replace("\n## ", "\n### ").replacen("# ", "## ", 1));
        for variant in variants.iter().filter(|variant| !variant.keys.is_empty()) {
            let _ = write!(page, "\n### Keys of `{}`\n\n", variant.name);
            put_keys(&mut page, variant.keys);
        }
    }
    page
}

fn put_kinds(page: &mut String) {
    page.push_str("| kind | what it judges |\n|---|---|\n");
    for name in KIND_NAMES {
        let doc = keys::rule_kind(name).map_or("", |variant| variant.doc);
        let _ = writeln!(page, "| `{name}` | {} |", cell(doc));
    }
    page.push_str(
        "\nThe method `changepoint`, and on kind `rows` also `trend`, is read and checked, so that a file written today stays\n\
         valid; it is not judged in this version: `tardy check` warns of it and `tardy run` refuses to start with it.\n",
    );
}

fn put_section(page: &mut String, section: &Section, discriminator: &str) {
    let title = if section.path.is_empty() {
        "The top of the file"
    } else {
        section.title
    };
    let heading = if section.path.is_empty() {
        title.to_owned()
    } else {
        format!("`{title}`")
    };
    let _ = write!(page, "\n## {heading}\n\n{}\n\n", section.doc);
    put_keys(page, section.keys);
    for variant in section.variants {
        let _ = write!(
            page,
            "\n### `{discriminator} = \"{}\"`\n\n{}\n",
            variant.name, variant.doc
        );
        if !variant.keys.is_empty() {
            page.push('\n');
            put_keys(page, variant.keys);
        }
    }
}

fn put_keys(page: &mut String, keys: &[Key]) {
    page.push_str("| key | value | default | what it is for |\n|---|---|---|---|\n");
    for key in keys {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&value(key)),
            cell(&default(key)),
            cell(key.doc)
        );
    }
}

fn value(key: &Key) -> String {
    match key.ty {
        Type::Table(section) | Type::Tables(section) => format!("`{}`", section.title),
        _ if key.example.is_empty() => key.ty.expectation(),
        Type::Word(_) | Type::Words(_) | Type::Integer(..) | Type::Boolean => key.ty.expectation(),
        _ => format!("`{}`", key.example),
    }
}

fn default(key: &Key) -> String {
    match (key.is_required, key.default) {
        (true, _) => "required".to_owned(),
        (false, "") => String::new(),
        (false, default) => format!("`{default}`"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The module documentation of the file whose heading names the kind.
fn documentation(root: &Path, kind: &str) -> String {
    let folder = root.join("src/engine/rule");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // A kind in several files has its documentation in the one beside its folder.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let heading = text.lines().next().unwrap_or_default();
        let words: Vec<&str> = heading.trim_start_matches("//! # ").split(' ').collect();
        if heading.starts_with("//! # ") && words.contains(&kind) {
            let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
            let lines: Vec<&str> = lines
                .map(|line| line.strip_prefix(' ').unwrap_or(line))
                .chain([""])
                .collect();
            return lines.join("\n");
        }
    }
    panic!("no file in {} begins with `//! # {kind}`", folder.display());
}
