//! What is wrong with a configuration: every mistake with its place and its remedy.
//!
//! Nothing here holds the text of a secret: excerpts are masked before they are kept.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// Whether a mistake keeps the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiagnosticSeverity {
    /// It cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl DiagnosticSeverity {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: DiagnosticSeverity,
    /// Stable kebab-case name, `unknown-key`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file, or `environment variable TARDY_STORE__PATH`.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Bytes in the file.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
    /// Words under the caret.
    pub label: Option<String>,
    /// Another place that belongs to it, such as the first of two equal names.
    pub related: Option<Related>,
    pub(super) excerpt: Option<(String, Range<usize>)>,
}

/// Another place that belongs to a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The file.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Words under its caret.
    pub label: String,
    pub(super) excerpt: Option<(String, Range<usize>)>,
}

/// Mistakes in the order of their places: the configuration file first, then rule files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// No mistake at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// There is an error among them.
    pub fn has_errors(&self) -> bool {
        self.count(DiagnosticSeverity::Error) > 0
    }

    /// How many of a severity.
    pub fn count(&self, severity: DiagnosticSeverity) -> usize {
        self.0
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// Takes over the mistakes of another.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let part = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            many => Some(format!("{many} {word}s")),
        };
        let parts: Vec<String> = [DiagnosticSeverity::Error, DiagnosticSeverity::Warning]
            .iter()
            .filter_map(|severity| part(self.count(*severity), severity.as_str()))
            .collect();
        if parts.is_empty() {
            "no problems".to_owned()
        } else {
            parts.join(", ")
        }
    }

    /// For people: each mistake with its line, a caret under the exact place, and the remedy.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let blocks: Vec<String> = self
            .0
            .iter()
            .map(|diagnostic| renderer.render(&[diagnostic.group()]))
            .collect();
        blocks.join("\n\n")
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({
            "errors": self.count(DiagnosticSeverity::Error),
            "warnings": self.count(DiagnosticSeverity::Warning),
            "diagnostics": self.0.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        })
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    /// For machines.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "severity": self.severity.as_str(),
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "help": self.help,
        });
        if let Some(related) = &self.related {
            value["related"] = json!({
                "file": related.file,
                "line": related.line,
                "column": related.column,
                "message": related.label,
            });
        }
        value
    }

    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            DiagnosticSeverity::Error => Level::ERROR,
            DiagnosticSeverity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(clean(&self.message)).id(self.code));
        group = match &self.excerpt {
            Some(excerpt) => group.element(snippet(
                &self.file,
                self.line,
                excerpt,
                AnnotationKind::Primary,
                self.label.as_deref(),
            )),
            None => group.element(annotate_snippets::Origin::path(clean(&self.file))),
        };
        if let Some(related) = &self.related
            && let Some(excerpt) = &related.excerpt
        {
            group = group.element(snippet(
                &related.file,
                related.line,
                excerpt,
                AnnotationKind::Context,
                Some(&related.label),
            ));
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(clean(help))),
            None => group,
        }
    }
}

fn snippet<'a>(
    file: &'a str,
    line: usize,
    (text, range): &'a (String, Range<usize>),
    kind: AnnotationKind,
    label: Option<&'a str>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let annotation = kind.span(range.clone());
    let annotation = match label {
        Some(label) => annotation.label(clean(label)),
        None => annotation,
    };
    Snippet::source(text.as_str())
        .line_start(line)
        .path(clean(file))
        .annotation(annotation)
}

/// Text from a file, without control characters that could move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
