//! What goes to the terminal, and how.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{ColorWhen, Global};
use crate::config::Environment;

/// Where and how to print. Printing goes through it, so that nothing prints that was not told how.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Print JSON.
    pub is_json: bool,
    /// Standard output understands colours.
    pub is_colored: bool,
    /// Standard error understands colours.
    pub is_error_colored: bool,
    /// Standard error is a terminal: progress may be drawn there.
    pub is_error_terminal: bool,
    /// Standard output is a terminal that can show more than ASCII.
    pub is_unicode: bool,
    /// Columns of the terminal; 100 when it is none.
    pub width: usize,
    /// The width is that of a terminal: what is wider than it is cut.
    is_fitted: bool,
}

/// The style of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
}

impl Tone {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Bold => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red).bold(),
            Self::Warn => color(AnsiColor::Yellow),
        }
    }
}

#[allow(clippy::unused_self)]
impl Output {
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let is_dumb = environment.get("TERM") == Some("dumb");
        let is_refused = environment
            .get("NO_COLOR")
            .is_some_and(|value| !value.is_empty());
        let decide = |is_terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => is_terminal && !is_dumb && !is_refused,
        };
        let (out, error) = (std::io::stdout(), std::io::stderr());
        let columns = environment
            .get("COLUMNS")
            .and_then(|text| text.parse().ok());
        let terminal = rustix::termios::tcgetwinsize(&out)
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0);
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| environment.get(name))
            .find(|value| !value.is_empty());
        let is_utf8 = locale.is_some_and(|value| {
            let value = value.to_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
        Self {
            is_unicode: out.is_terminal() && is_utf8 && !is_dumb,
            is_json: global.json,
            is_colored: decide(out.is_terminal()),
            is_error_colored: decide(error.is_terminal()),
            is_error_terminal: error.is_terminal(),
            width: columns.or(terminal).unwrap_or(100).clamp(40, 400),
            is_fitted: columns.or(terminal).is_some(),
        }
    }

    /// A styled word for standard output.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.is_colored || tone == Tone::Plain {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }

    /// A line on standard output. A closed pipe is no mistake.
    pub(super) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Text on standard output, as it is.
    pub(super) fn text(&self, text: &str) {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// A value as JSON on standard output.
    pub(super) fn json<T: Serialize>(&self, value: &T) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.line(&text);
    }

    /// A line on standard error.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// An error on standard error: what, where, remedy.
    pub(super) fn error(&self, text: &str) {
        let style = if self.is_error_colored {
            Tone::Bad.style()
        } else {
            Style::new()
        };
        self.note(&format!("{style}error{style:#}: {text}"));
    }

    /// Standard output, for the console receiver.
    pub(super) fn console() -> Arc<Mutex<dyn std::io::Write + Send>> {
        Arc::new(Mutex::new(std::io::stdout()))
    }

    /// Standard error, for the console receiver when standard output is JSON.
    pub(super) fn error_console() -> Arc<Mutex<dyn std::io::Write + Send>> {
        Arc::new(Mutex::new(std::io::stderr()))
    }

    /// A table with a dim head. The last column takes the room that is left and is cut to it; when that is
    /// too little, the widest others are cut too.
    pub(super) fn table(&self, head: &[&str], rows: &[Vec<(Tone, String)>]) {
        let mut widths: Vec<usize> = head.iter().map(|cell| width_of(cell)).collect();
        for row in rows {
            for (width, (_, cell)) in widths.iter_mut().zip(row) {
                *width = (*width).max(width_of(cell));
            }
        }
        let last = head.len().saturating_sub(1);
        let tail = widths.last().map_or(0, |width| *width.min(&LEAST_LAST));
        let gaps = last * 2;
        if self.is_fitted {
            fit(&mut widths[..last], self.width.saturating_sub(tail + gaps));
        }
        let used: usize = widths.iter().take(last).map(|width| width + 2).sum();
        let room = self.width.saturating_sub(used).max(20);
        let line = |cells: &[(Tone, String)]| {
            let mut text = String::new();
            for (index, ((tone, cell), width)) in cells.iter().zip(&widths).enumerate() {
                if index == last {
                    text.push_str(&self.paint(*tone, &cut(cell, room)));
                } else {
                    let cell = cut(cell, *width);
                    let gap = " ".repeat(width - width_of(&cell) + 2);
                    text.push_str(&self.paint(*tone, &cell));
                    text.push_str(&gap);
                }
            }
            self.line(text.trim_end());
        };
        let head: Vec<_> = head
            .iter()
            .map(|cell| (Tone::Dim, (*cell).to_owned()))
            .collect();
        line(&head);
        for row in rows {
            line(row);
        }
    }
}

/// Columns that the last column of a table keeps.
const LEAST_LAST: usize = 20;

/// Columns below which nothing is cut to make room for others: ids, numbers and states stay whole.
const LEAST_CUT: usize = 18;

/// Makes the widest columns narrower until all of them fit.
pub(super) fn fit(widths: &mut [usize], room: usize) {
    while widths.iter().sum::<usize>() > room {
        let widest = widths.iter_mut().filter(|width| **width > LEAST_CUT).max();
        let Some(widest) = widest else { return };
        *widest -= 1;
    }
}

pub(super) fn width_of(text: &str) -> usize {
    text.chars().count()
}

pub(super) fn cut(text: &str, room: usize) -> String {
    if width_of(text) <= room {
        return text.to_owned();
    }
    let head: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{head}…")
}

/// Text from outside for the terminal: control characters and bidirectional marks are data, not commands.
pub(super) fn plain(text: &str) -> String {
    crate::notify::text::line(text, 500)
}
