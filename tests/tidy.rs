//! The rules of the house that no compiler checks: who may know whom, how long things may be, and that
//! documents tell the truth. Each failure says what to do.
//!
//! `UPDATE_DOCS=1 cargo test --test tidy` writes the generated reference pages anew.

#[path = "support/tidy_code.rs"]
mod code;
#[path = "support/tidy_reference.rs"]
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use code::{File, Function};
use regex::Regex;
use tardy::config::{self, Environment};
use tardy::engine::rule::KIND_NAMES;

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with all of `mistakes` at once.
#[track_caller]
fn none(mistakes: &[String], remedy: &str) {
    assert!(
        mistakes.is_empty(),
        "{}\n\nWhat to do: {remedy}\n",
        mistakes.join("\n")
    );
}

/// A module at the top of the crate and the modules it may name.
struct Direction {
    from: &'static str,
    to: &'static [&'static str],
}

const DIRECTIONS: [Direction; 10] = [
    Direction {
        from: "engine",
        to: &[],
    },
    Direction {
        from: "source",
        to: &["engine"],
    },
    Direction {
        from: "store",
        to: &["engine"],
    },
    Direction {
        from: "notify",
        to: &["engine"],
    },
    Direction {
        from: "config",
        to: &["engine"],
    },
    Direction {
        from: "sim",
        to: &["engine"],
    },
    Direction {
        from: "chat",
        to: &["engine"],
    },
    Direction {
        from: "chart",
        to: &["engine"],
    },
    Direction {
        from: "app",
        to: &["engine", "config", "source", "store", "notify", "chart"],
    },
    Direction {
        from: "cli",
        to: &[
            "app", "chart", "chat", "config", "engine", "notify", "sim", "source", "store",
        ],
    },
];

/// What is allowed against the directions: files (or a folder), the module they name, and why.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    (
        "src/store/records.rs",
        "source",
        "records a source's cursor as it is",
    ),
    (
        "src/store/records.rs",
        "notify",
        "records a notifier's handle of a message as it is",
    ),
    (
        "src/config/",
        "notify",
        "a checked receiver is the value its notifier is built from",
    ),
    (
        "src/app/demo.rs",
        "sim",
        "the demonstration is a simulated organization, watched",
    ),
    (
        "src/app/control.rs",
        "chat",
        "answers over the socket speak the grammar of chat",
    ),
];

#[test]
fn modules_know_only_those_below_them() {
    let mut mistakes = Vec::new();
    let mut used = BTreeSet::new();
    for file in code::sources(root()) {
        let Some(module) = file.module() else {
            continue;
        };
        let Some(direction) = DIRECTIONS.iter().find(|direction| direction.from == module) else {
            mistakes.push(format!(
                "{}: module `{module}` has no line in DIRECTIONS",
                file.path
            ));
            continue;
        };
        for (line, named) in file.crate_names() {
            if named == module || direction.to.contains(&named.as_str()) {
                continue;
            }
            let exception = EXCEPTIONS
                .iter()
                .position(|(path, to, _)| file.path.starts_with(path) && *to == named);
            match exception {
                Some(index) => _ = used.insert(index),
                None => mistakes.push(format!("{}:{line}: names crate::{named}", file.path)),
            }
        }
    }
    for (index, (path, to, _)) in EXCEPTIONS.iter().enumerate() {
        if !used.contains(&index) {
            mistakes.push(format!(
                "{path} does not name crate::{to} any more: drop its exception"
            ));
        }
    }
    none(
        &mistakes,
        "pass the value in from `app`, or move the type both need down into `engine`; the directions are in ARCHITECTURE.md",
    );
}

#[test]
fn the_engine_is_pure() {
    let allowed = [
        "std",
        "chrono",
        "chrono_tz",
        "cron",
        "hex",
        "regex",
        "serde",
        "sha2",
        "thiserror",
    ];
    let outside = Regex::new(concat!(
        r"\b(tokio|reqwest|sled|toml|figment|tracing|async fn|\.await|println|",
        r"std::(env|fs|io|net|process|thread)\b|Instant\b|SystemTime\b|Utc::now|Local::now)"
    ))
    .unwrap();
    let mut mistakes = Vec::new();
    for file in code::sources(root())
        .into_iter()
        .filter(|file| file.module().as_deref() == Some("engine"))
    {
        for (line, name) in file.used_crates() {
            if !allowed.contains(&name.as_str()) {
                mistakes.push(format!("{}:{line}: uses {name}", file.path));
            }
        }
        for (number, line) in (1..).zip(file.code.lines()) {
            if let Some(found) = outside.find(line) {
                mistakes.push(format!("{}:{number}: `{}`", file.path, found.as_str()));
            }
        }
    }
    none(
        &mistakes,
        "the engine takes values and gives values: read files, clocks and networks in an adapter and pass the result in",
    );
}

#[test]
fn wall_clock_sockets_and_printing_stay_where_they_belong() {
    let places = [
        (
            r"\b(Utc|Local|SystemTime)::now\b",
            &["src/app/clock.rs"][..],
        ),
        (r"\benv::(var|vars|var_os|vars_os)\b", &["src/config/"]),
        (r"\bprovider[s]?::Env\b", &["src/config/"]),
        (r"\b(println|eprintln|print|eprint)!", &["src/cli/"]),
        (
            r"\b(TcpListener|TcpStream|UdpSocket|UnixListener|UnixStream)\b",
            &[
                "src/source/",
                "src/notify/",
                "src/sim/",
                "src/app/control.rs",
            ],
        ),
        (
            r"\breqwest::|\buse reqwest\b",
            &["src/source/", "src/notify/"],
        ),
        (r"(^|[^\w])::sled::|\buse sled\b", &["src/store/sled/"]),
    ];
    let mut mistakes = Vec::new();
    for (pattern, homes) in places {
        let pattern = Regex::new(pattern).unwrap();
        for file in code::sources(root()) {
            if homes.iter().any(|home| file.path.starts_with(home)) {
                continue;
            }
            for (number, line) in (1..).zip(file.code.lines()) {
                if let Some(found) = pattern.find(line) {
                    let homes = homes.join(", ");
                    mistakes.push(format!(
                        "{}:{number}: `{}` belongs in {homes}",
                        file.path,
                        found.as_str()
                    ));
                }
            }
        }
    }
    none(
        &mistakes,
        "take the value as an argument from where it may be read",
    );
}

#[test]
fn functions_fit_on_a_screen() {
    let mut mistakes = Vec::new();
    let mut lengths = Vec::new();
    for file in code::sources(root()) {
        for Function { name, line, lines } in file.functions() {
            lengths.push(lines);
            if lines > MAX_FUNCTION_LINES {
                mistakes.push(format!("{}:{line}: fn {name} has {lines} lines", file.path));
            }
        }
    }
    lengths.sort_unstable();
    assert!(
        lengths.len() > 500,
        "only {} functions found: the reading is broken",
        lengths.len()
    );
    let median = lengths[lengths.len() / 2];
    if median > 12 {
        mistakes.push(format!(
            "the median function has {median} lines, not at most 12"
        ));
    }
    none(
        &mistakes,
        "a function has at most 70 lines: keep the `if`s and the state in it, move what is computed into functions of their own",
    );
}

#[test]
fn files_have_one_subject() {
    let mistakes: Vec<String> = code::sources(root())
        .into_iter()
        .map(|file| (file.code.lines().count(), file.path))
        .filter(|(lines, _)| *lines > MAX_FILE_LINES)
        .map(|(lines, path)| format!("{path} has {lines} lines before its tests"))
        .collect();
    none(
        &mistakes,
        "a file has at most 600 lines before its tests: make a folder of it, one file for each subject",
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let mistakes: Vec<String> = code::sources(root())
        .into_iter()
        .filter(|file| !file.text.starts_with("//! ") && !file.text.starts_with("#![doc = "))
        .map(|file| format!("{} does not begin with a `//!` line", file.path))
        .collect();
    none(
        &mistakes,
        "say in the first lines what its role is, what it guarantees, and what it does not do",
    );
}

#[test]
fn every_kind_is_documented() {
    let mut mistakes = Vec::new();
    for kind in KIND_NAMES {
        let output = Command::new(env!("CARGO_BIN_EXE_tardy"))
            .args(["rules", "--explain", kind])
            .output()
            .unwrap();
        let explained = String::from_utf8_lossy(&output.stdout);
        for heading in reference::HEADINGS {
            if !explained
                .lines()
                .any(|line| line == format!("## {heading}"))
            {
                mistakes.push(format!(
                    "`tardy rules --explain {kind}` has no `## {heading}`"
                ));
            }
        }
    }
    none(
        &mistakes,
        "write the heading into the module documentation of the kind's file in src/engine/rule/, and name that file in src/cli/rules.rs",
    );
}

#[test]
fn every_kind_has_an_example_that_is_good() {
    let files: Vec<PathBuf> = fs::read_dir(root().join("rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    let environment = Environment::from_pairs::<&str, &str>([]);
    let loaded = config::load_rules_only(&files, &environment)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut mistakes: Vec<String> = loaded
        .warnings
        .iter()
        .map(|warning| warning.message.clone())
        .collect();
    for rule in &loaded.rules {
        if let Some(part) = rule.not_built() {
            mistakes.push(format!("{}: {part} is not built", rule.origin));
        }
    }
    for kind in KIND_NAMES {
        if !loaded.rules.iter().any(|rule| rule.kind.name() == kind) {
            mistakes.push(format!("no file in rules/ has a rule of kind \"{kind}\""));
        }
    }
    none(
        &mistakes,
        "add a commented rule of that kind to the file of its topic in rules/",
    );
}

/// Parts of the service file that are read and checked but refused by `tardy run`.
fn parts_not_built() -> BTreeSet<String> {
    let reference = root().join("tests/fixtures/spec/tardy.toml");
    let text = fs::read_to_string(&reference).unwrap();
    let variable = Regex::new(r#"env = "(\w+)""#).unwrap();
    let pairs = variable.captures_iter(&text).map(|found| {
        let value = if found[1].ends_with("URL") {
            "https://example.com/x"
        } else {
            "not-a-real-secret"
        };
        (found[1].to_owned(), value.to_owned())
    });
    let loaded = config::load(&reference, &Environment::from_pairs(pairs))
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let parts = loaded.config.not_built.into_iter();
    parts
        .filter(|part| part.place.starts_with("tardy.toml") || part.place.contains("/tardy.toml"))
        .map(|part| part.part)
        .collect()
}

#[test]
fn the_reference_pages_are_up_to_date() {
    let is_update = Environment::of_process().get("UPDATE_DOCS").is_some();
    let mut mistakes = Vec::new();
    for (path, text) in [
        (
            "docs/configuration.md",
            reference::configuration(&parts_not_built()),
        ),
        ("docs/rules.md", reference::rules(root())),
    ] {
        if is_update {
            fs::write(root().join(path), text).unwrap();
        } else if fs::read_to_string(root().join(path)).ok().as_deref() != Some(text.as_str()) {
            mistakes.push(format!("{path} is not what the code says"));
        }
    }
    none(
        &mistakes,
        "run `UPDATE_DOCS=1 cargo test --test tidy` and commit what it wrote",
    );
}

#[test]
fn documents_name_only_what_exists() {
    let path = Regex::new(
        r"`((?:\.ci|benches|config|docs|rules|src|templates|tests)(?:/[\w.*<>-]+)*/?|[A-Za-z-]+\.(?:toml|md|lock|yaml))(?::\d+)?`",
    )
    .unwrap();
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").unwrap();
    // Files of the reader's own, and of a user's configuration.
    let elsewhere = ["tardy.toml"];
    let mut mistakes = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        if document == "ARCHITECTURE.md" || document == "CONTRIBUTING.md" {
            for found in path.captures_iter(&text) {
                let named = found[1].trim_end_matches('/');
                let is_pattern = named.contains(['*', '<']);
                if !is_pattern && !elsewhere.contains(&named) && !root().join(named).exists() {
                    mistakes.push(format!("{document} names `{named}`"));
                }
            }
        }
        for found in link.captures_iter(&text) {
            if !folder.join(&found[1]).exists() {
                mistakes.push(format!("{document} links to {}", &found[1]));
            }
        }
    }
    none(
        &mistakes,
        "these do not exist: correct the path, or drop it (documents name few paths)",
    );
}

/// A row of the contract: `| 3 | what | shown by |`.
fn contract_row(architecture: &str, number: usize) -> String {
    let begin = format!("| {number} | ");
    let row = architecture.lines().find(|line| line.starts_with(&begin));
    row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row `{begin}` of the contract"))
        .to_owned()
}

#[test]
fn the_contract_names_the_tests_that_show_it() {
    let named = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`").unwrap();
    let architecture = read("ARCHITECTURE.md");
    let tests: String = code::all_files(root())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut mistakes = Vec::new();
    for number in 1..=11 {
        let row = contract_row(&architecture, number);
        let (has_tests, is_named) = (
            tests.contains(&format!("fn contract_{number}_")),
            row.contains(&format!("`contract_{number}_*`")),
        );
        if has_tests && !is_named {
            mistakes.push(format!(
                "line {number}: tests contract_{number}_… exist; name them `contract_{number}_*`"
            ));
        }
        if is_named && !has_tests {
            mistakes.push(format!(
                "line {number}: there is no test contract_{number}_…"
            ));
        }
        let others: Vec<&str> = named
            .captures_iter(&row)
            .map(|found| found.get(1).unwrap().as_str())
            .collect();
        for name in &others {
            if !tests.contains(&format!("fn {name}(")) {
                mistakes.push(format!("line {number}: there is no test `{name}`"));
            }
        }
        if !is_named && others.is_empty() && !row.contains("open until") {
            mistakes.push(format!(
                "line {number}: neither a test nor `open until` something"
            ));
        }
    }
    none(
        &mistakes,
        "bring the table of the contract in ARCHITECTURE.md up to date",
    );
}

#[test]
fn nothing_speaks_of_where_it_was_written() {
    // In halves, so that this file does not speak of them.
    let words = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/Us", "ers/"],
        ["sub", "agent"],
    ]
    .map(|halves| halves.concat());
    let mut mistakes = Vec::new();
    for path in code::all_files(root()) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                mistakes.push(format!("{}:{number}: `{word}`", path.display()));
            }
        }
    }
    none(
        &mistakes,
        "name files relative to the repository, and speak of Tardy alone",
    );
}

/// Every document, relative to the root.
fn documents() -> Vec<String> {
    code::all_files(root())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect()
}

#[test]
fn code_is_read_as_meant() {
    let file = File::new(
        "src/notify/x.rs",
        "//! Doc: crate::no\nuse crate::{engine::a, store};\nfn a() {\n    let s = \"}crate::no\";\n    let c = '}';\n}\nfn b<'a>(x: &'a str) -> u8 { super::super::app::y(x) }\n/* crate::no { */\nconst R: &str = r#\"fn no() {\"#;\n#[cfg(test)]\nmod tests { use crate::no; }\n",
    );
    let names: Vec<String> = file
        .crate_names()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["engine", "store", "app"]);
    let functions: Vec<(String, usize)> = file
        .functions()
        .into_iter()
        .map(|function| (function.name, function.lines))
        .collect();
    assert_eq!(functions, [("a".to_owned(), 4), ("b".to_owned(), 1)]);
}
