//! Colours, light and dark. Every text has a contrast of 4.5 at least against what it stands on (WCAG 2, AA).

use serde::{Deserialize, Serialize};

/// On what a chart is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// On white.
    #[default]
    Light,
    /// On nearly black.
    Dark,
}

/// The colours of a theme.
#[derive(Debug)]
pub(super) struct Ink {
    /// Behind everything.
    pub ground: &'static str,
    /// The title.
    pub title: &'static str,
    /// Other texts.
    pub muted: &'static str,
    /// Lines of the scale.
    pub grid: &'static str,
    /// The line at zero.
    pub axis: &'static str,
    /// What is usual: the range.
    pub band: &'static str,
    /// What is usual: the middle.
    pub usual: &'static str,
    /// What is usual: its label.
    pub usual_text: &'static str,
    /// Durations.
    pub line: &'static str,
    /// Slow runs.
    pub slow: &'static str,
    /// Their label.
    pub slow_text: &'static str,
    /// Bad runs and the limit.
    pub bad: &'static str,
    /// Failed runs.
    pub failed: &'static str,
    /// Behind the time since something changed.
    pub since: &'static str,
}

const LIGHT: Ink = Ink {
    ground: "#ffffff",
    title: "#1a1d21",
    muted: "#57606a",
    grid: "#e6e9ed",
    axis: "#c4cad1",
    band: "#dfe9f8",
    usual: "#6f9bde",
    usual_text: "#3563ae",
    line: "#1f4e9e",
    slow: "#e08700",
    slow_text: "#955400",
    bad: "#c9292c",
    failed: "#6b7076",
    since: "#fff4e2",
};

const DARK: Ink = Ink {
    ground: "#14181d",
    title: "#f0f3f6",
    muted: "#a3adb8",
    grid: "#272d35",
    axis: "#454d57",
    band: "#1c2c47",
    usual: "#5b86cc",
    usual_text: "#8fb4f2",
    line: "#7fb0ff",
    slow: "#f2a33c",
    slow_text: "#f5b45c",
    bad: "#ff7b72",
    failed: "#a3adb8",
    since: "#2b2318",
};

impl Theme {
    pub(super) fn ink(self) -> &'static Ink {
        match self {
            Self::Light => &LIGHT,
            Self::Dark => &DARK,
        }
    }
}
