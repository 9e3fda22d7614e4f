//! Rust source, read just well enough to be judged: comments and texts blanked out, tests cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A source file of the crate.
pub(crate) struct File {
    /// From the root: `src/engine/mod.rs`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without tests, with comments and texts blanked out; lines are where they were.
    pub(crate) code: String,
}

/// A function and its length, signature and closing brace included.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Folders that are not ours.
const NOT_OURS: [&str; 4] = ["target", ".git", "data", "node_modules"];

/// Every file below `root` that is the project's, in order.
pub(crate) fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The source files of the crate that are no tests.
pub(crate) fn sources(root: &Path) -> Vec<File> {
    let src = root.join("src");
    all_files(&src)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
        .map(|path| {
            let name = Path::new("src").join(path.strip_prefix(&src).unwrap());
            File::new(
                &name.display().to_string(),
                &fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = before_tests(&blanked(text)).to_owned();
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// The module at the top of the crate that it belongs to; none for `lib.rs` and `main.rs`.
    pub(crate) fn module(&self) -> Option<String> {
        let mut parts = self.path.strip_prefix("src/")?.split('/');
        let first = parts.next()?;
        match first.strip_suffix(".rs") {
            Some("lib" | "main") => None,
            Some(file) => Some(file.to_owned()),
            None => Some(first.to_owned()),
        }
    }

    /// How many `super` lead out of the file to the root of the crate.
    fn depth(&self) -> usize {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| *part != "mod").count()
    }

    /// Modules at the top of the crate that it names, with the line, however it writes them.
    pub(crate) fn crate_names(&self) -> Vec<(usize, String)> {
        static PATHS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\b(crate|super(?:\s*::\s*super)*)\s*::\s*(\{|\w+)").unwrap()
        });
        let mut names = Vec::new();
        for found in PATHS.captures_iter(&self.code) {
            let supers = found[1].matches("super").count();
            if supers != 0 && supers != self.depth() {
                continue;
            }
            let end = found.get(2).unwrap();
            let line = self.line_of(end.start());
            if end.as_str() == "{" {
                let listed = first_names(&self.code[end.end()..]);
                names.extend(listed.into_iter().map(|name| (line, name)));
            } else {
                names.push((line, end.as_str().to_owned()));
            }
        }
        names
    }

    /// Roots of its `use` lines that are other crates.
    pub(crate) fn used_crates(&self) -> Vec<(usize, String)> {
        let uses = Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+(?:::)?(\w+)").unwrap();
        let children = Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)").unwrap();
        let own: Vec<&str> = children
            .captures_iter(&self.code)
            .map(|found| found.get(1).unwrap().as_str())
            .collect();
        uses.captures_iter(&self.code)
            .map(|found| found.get(1).unwrap())
            .filter(|root| !["crate", "self", "super"].contains(&root.as_str()))
            .filter(|root| !own.contains(&root.as_str()))
            .map(|root| (self.line_of(root.start()), root.as_str().to_owned()))
            .collect()
    }

    /// Every function with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        static HEADS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").unwrap());
        HEADS
            .captures_iter(&self.code)
            .filter_map(|found| {
                let start = found.get(0).unwrap().start();
                let end = end_of_body(&self.code, start)?;
                let (line, last) = (self.line_of(start), self.line_of(end));
                Some(Function {
                    name: found[1].to_owned(),
                    line,
                    lines: last - line + 1,
                })
            })
            .collect()
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// The first names within the braces of a `use` list.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut is_first, mut names) = (0, true, Vec::<String>::new());
    let mut name = String::new();
    for c in list.chars() {
        match c {
            c if is_first && depth == 0 && (c.is_alphanumeric() || c == '_') => name.push(c),
            _ if !name.is_empty() => {
                names.push(std::mem::take(&mut name));
                is_first = false;
            }
            _ => {}
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_first = true,
            _ => {}
        }
    }
    names
}

/// Where the body of the function that begins at `start` ends; none when it has no body.
fn end_of_body(code: &str, start: usize) -> Option<usize> {
    let (mut braces, mut others) = (0, 0);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            ';' if braces == 0 && others == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(start + at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Up to the first module or item that exists only in tests.
fn before_tests(code: &str) -> &str {
    static TESTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^#\[cfg\(test\)\]\s*\n\s*mod \w+ *\{").unwrap());
    TESTS
        .find(code)
        .map_or(code, |found| &code[..found.start()])
}

/// Comments, texts and characters become spaces; line ends stay.
fn blanked(text: &str) -> String {
    static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?s)//[^\n]*|/\*.*?\*/",
            r##"|b?r#".*?"#|b?r"[^"]*""##,
            r#"|b?"(?:[^"\\]|\\.)*""#,
            r"|b?'(?:[^'\\\n]|\\(?:u\{[^}]*\}|x..|.))'",
        ))
        .unwrap()
    });
    let blank = |found: &regex::Captures<'_>| -> String {
        found[0]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect()
    };
    TOKENS.replace_all(text, blank).into_owned()
}
