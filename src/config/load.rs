//! From files to a checked configuration.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::engine::rule::Rule;

use super::context::{Context, Draft};
use super::diagnostic::Diagnostics;
use super::environment::Environment;
use super::known::Known;
use super::place::{Place, SourceText, folder, shown};
use super::tree::{Origin, Spot, Table, Tree, convert_table};
use super::{Config, NotBuilt, overlay, rules, service};

/// Longest file that is read; the reference rule file is 5 KiB.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most rule files.
const MAX_RULE_FILES: usize = 1_000;

/// A configuration that can be used, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// Rules read without a service file.
#[derive(Clone, Debug)]
pub struct LoadedRules {
    /// Enabled rules, without their calendars, which only the service file knows.
    pub rules: Vec<Rule>,
    /// Parts that this version does not have.
    pub not_built: Vec<NotBuilt>,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `tardy.toml`.
    Service,
    /// Only `[defaults]` and `[[rule]]` at the top.
    Rules,
}

/// The configuration file when none is named: `tardy.toml`, then `config/tardy.toml`.
pub fn find(folder: &Path) -> Option<PathBuf> {
    ["tardy.toml", "config/tardy.toml"]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Reads and checks a service file and all its rule files. Every mistake in any of them is reported.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    let context = Context::new(environment, folder(path));
    let Some(place) = add_file(&context, path, None) else {
        return Err(context.into_diagnostics());
    };
    resolve(context, path, place, |context, globs| {
        rule_files(context, globs)
    })
}

/// As [`load`], from texts in memory: the service file's name and text, and those of the rule files,
/// whatever `rules` says. Secret files are looked up relative to the working folder.
pub fn load_texts(
    service: (&str, &str),
    rules: &[(&str, &str)],
    environment: &Environment,
) -> Result<Loaded, Diagnostics> {
    let context = Context::new(environment, PathBuf::new());
    let add = |context: &Context<'_>, (name, text): (&str, &str)| {
        context.add_text(SourceText::new(
            name.to_owned(),
            name.to_owned(),
            text.to_owned(),
        ))
    };
    let place = add(&context, service);
    let files = |context: &Context<'_>, _: &[Spot<String>]| {
        rules.iter().map(|file| add(context, *file)).collect()
    };
    resolve(context, Path::new(service.0), place, files)
}

/// Reads and checks rule files alone. Names of receivers and calendars cannot be checked.
pub fn load_rules_only(
    files: &[PathBuf],
    environment: &Environment,
) -> Result<LoadedRules, Diagnostics> {
    let context = Context::new(environment, PathBuf::new());
    let places: Vec<Place> = files
        .iter()
        .filter_map(|path| add_file(&context, path, None))
        .collect();
    rules_alone(context, &places)
}

/// As [`load_rules_only`], from texts in memory, each with the name that stands for its file in diagnostics
/// and origins.
pub fn load_rule_texts(
    texts: &[(&str, &str)],
    environment: &Environment,
) -> Result<LoadedRules, Diagnostics> {
    let context = Context::new(environment, PathBuf::new());
    let add = |(name, text): &(&str, &str)| {
        context.add_text(SourceText::new(
            (*name).into(),
            (*name).into(),
            (*text).into(),
        ))
    };
    let places: Vec<Place> = texts.iter().map(add).collect();
    rules_alone(context, &places)
}

fn rules_alone(context: Context<'_>, places: &[Place]) -> Result<LoadedRules, Diagnostics> {
    let found = rules::read(&context, places, &Known::nothing());
    let missing = found.not_built.into_iter();
    let not_built = missing
        .map(|(part, place)| service::warn_not_built(&context, part, place))
        .collect();
    let warnings = context.into_diagnostics();
    if warnings.has_errors() {
        return Err(warnings);
    }
    Ok(LoadedRules {
        rules: found.enabled,
        not_built,
        warnings,
    })
}

/// Whether a file is a service file or a rule file, by its top-level keys. A file that cannot be parsed
/// counts as a rule file when it has a `[[rule]]` or `[defaults]` line, and no `[[source]]`.
pub fn kind_of_file(path: &Path) -> Result<FileKind, Diagnostics> {
    let environment = Environment::default();
    let context = Context::new(&environment, folder(path));
    let Some(place) = add_file(&context, path, None) else {
        return Err(context.into_diagnostics());
    };
    Ok(context.with_raw(place, kind_of_text))
}

/// As [`kind_of_file`], of a text.
pub fn kind_of_text(text: &str) -> FileKind {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut keys = table.get_ref().keys().map(|key| key.get_ref().as_ref());
    let is_rules =
        !table.get_ref().is_empty() && keys.all(|key| matches!(key, "rule" | "defaults"));
    if is_rules {
        FileKind::Rules
    } else {
        FileKind::Service
    }
}

fn resolve(
    context: Context<'_>,
    path: &Path,
    place: Place,
    files: impl FnOnce(&Context<'_>, &[Spot<String>]) -> Vec<Place>,
) -> Result<Loaded, Diagnostics> {
    let config = resolve_parts(&context, path, place, files);
    let warnings = context.into_diagnostics();
    match config {
        Some(config) if !warnings.has_errors() => Ok(Loaded { config, warnings }),
        _ => Err(warnings),
    }
}

fn resolve_parts(
    context: &Context<'_>,
    path: &Path,
    place: Place,
    files: impl FnOnce(&Context<'_>, &[Spot<String>]) -> Vec<Place>,
) -> Option<Config> {
    let Some(mut table) = parse(context, place) else {
        // Its rule files may still be looked at: mistakes there need not wait for the next try.
        let places = files(context, &recovered_globs(context, place));
        rules::read(context, &places, &Known::nothing());
        return None;
    };
    overlay::apply(context, &mut table);
    let service = service::read(
        context,
        Spot {
            value: table,
            place: start_of(place),
        },
    );
    let places = files(context, &service.globs);
    let found = rules::read(context, &places, &service.known);
    Some(service.into_config(context, path, found))
}

/// The first character of a text: where a mistake about the whole of it is shown.
pub(super) fn start_of(place: Place) -> Place {
    place.part(&(0..0))
}

/// Parses a text; the first syntax error is noted.
pub(super) fn parse(context: &Context<'_>, place: Place) -> Option<Table> {
    let result = context.with_raw(place, |text| match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.get_ref(), Origin::File(place))),
        Err(error) => {
            let span = error.span().unwrap_or(text.len()..text.len());
            Err((error.message().to_owned(), span))
        }
    });
    match result {
        Ok(table) => Some(table),
        Err((message, span)) => {
            // The parser quotes what it found; none of it may be a secret.
            let message = message.lines().next().unwrap_or_default().to_owned();
            let help = syntax_help(&message);
            context.push(
                Draft::error(
                    "syntax",
                    place.part(&span),
                    format!("this is not TOML: {message}"),
                )
                .help(help),
            );
            None
        }
    }
}

fn syntax_help(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "a key or table is written twice: remove one, or write [[...]] for several of them"
    } else if message.contains("quot") || message.contains("string") {
        "put texts between quotes and close them on the same line: key = \"value\""
    } else {
        "write key = value lines, texts in quotes, below headers like [store] or [[rule]]"
    }
}

/// Reads a file into the context. A mistake is noted at `asked_at`, or at the file itself.
pub(super) fn add_file(
    context: &Context<'_>,
    path: &Path,
    asked_at: Option<Place>,
) -> Option<Place> {
    let name = shown(path);
    let origin = path
        .strip_prefix(&context.folder)
        .map_or_else(|_| name.clone(), shown);
    let refuse = |why: String, help: String| {
        let empty = SourceText::new(name.clone(), origin.clone(), String::new());
        let place = asked_at.unwrap_or_else(|| context.add_text(empty));
        let message = format!("cannot read {name}: {why}");
        context.push(Draft::error("unreadable-file", place, message).help(help));
        None
    };
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound if asked_at.is_some() => {
                    format!("create {name}, or correct its path")
                }
                std::io::ErrorKind::NotFound => format!(
                    "create {name} (`tardy init` writes a first one), or name another file with --config"
                ),
                _ => format!("make {name} a file that the user running Tardy can read"),
            };
            return refuse(io_words(&error), help);
        }
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return refuse(
            "it is longer than 1 MiB".into(),
            "split the file into several".into(),
        );
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(context.add_text(SourceText::new(name, origin, text))),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let place = context.add_text(SourceText::new(name, origin, text));
            context.push(
                Draft::error(
                    "not-utf8",
                    place.part(&(at..at + 1)),
                    "this byte is not UTF-8 text",
                )
                .help("save the file as UTF-8"),
            );
            None
        }
    }
}

pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An input error in words, without the code.
pub(super) fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// Every file that the globs name, once, in the order of the globs and then of names.
fn rule_files(context: &Context<'_>, globs: &[Spot<String>]) -> Vec<Place> {
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    for glob in globs {
        for path in expand(context, glob) {
            if !seen.insert(path.clone()) {
                continue;
            }
            if seen.len() > MAX_RULE_FILES {
                let message = format!("more than {MAX_RULE_FILES} rule files");
                context.push(
                    Draft::error("too-many-files", glob.place, message)
                        .help("put several rules into one file, or name fewer files"),
                );
                return places;
            }
            places.extend(add_file(context, &path, Some(glob.place)));
        }
    }
    places
}

fn expand(context: &Context<'_>, glob: &Spot<String>) -> Vec<PathBuf> {
    let path = context.folder.join(&glob.value);
    if !glob.value.contains(['*', '?', '[']) {
        return vec![path];
    }
    let base = glob::Pattern::escape(&shown(&context.folder));
    let pattern = Path::new(&base).join(&glob.value);
    let found = match glob::glob(&shown(&pattern)) {
        Ok(found) => found,
        Err(error) => {
            context.push(
                Draft::error(
                    "bad-glob",
                    glob.place,
                    format!("this glob cannot be read: {}", error.msg),
                )
                .help("use * for any part of a name and ** for any folders, like \"rules/*.toml\""),
            );
            return Vec::new();
        }
    };
    let files: Vec<PathBuf> = found
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect();
    if files.is_empty() {
        context.push(
            Draft::warning(
                "no-rule-files",
                glob.place,
                format!("no file matches `{}`", glob.value),
            )
            .label("nothing found")
            .help("globs are relative to this file; write rule files there, or change the glob"),
        );
    }
    files
}

/// What `rules` says in a file that cannot be parsed as a whole.
fn recovered_globs(context: &Context<'_>, place: Place) -> Vec<Spot<String>> {
    let table = context.with_raw(place, |text| {
        let (table, _) = DeTable::parse_recoverable(text);
        convert_table(table.get_ref(), Origin::File(place))
    });
    let Some(Spot {
        value: Tree::Array(items),
        ..
    }) = table.get("rules")
    else {
        return service::default_globs(place);
    };
    let texts = items.iter().filter_map(|item| match &item.value {
        Tree::Text(text) => Some(Spot {
            value: text.clone(),
            place: item.place,
        }),
        _ => None,
    });
    texts.collect()
}
