//! Pictures of durations: runs against what is usual and what is allowed, as SVG and PNG.
//!
//! A chart is plain values in, text or bytes out; the same values give the same bytes. Guarantees, whatever the
//! values are: no text lies on another or leaves the picture, the SVG is well-formed XML that names no outside
//! resource, every kind of mark has a shape of its own beside its colour, and every text has a contrast of 4.5.
//! It asks for nothing, stores nothing, and does not decide which runs are slow: marks come with the points.

mod canvas;
pub mod digest;
mod font;
mod frame;
mod labels;
mod marks;
mod scale;
#[cfg(test)]
mod tests;
mod theme;
mod times;
mod words;

use chrono_tz::Tz;
use resvg::{tiny_skia, usvg};
use serde::{Deserialize, Serialize};

use crate::engine::time::Timestamp;
pub use theme::Theme;

/// How long runs took, and against what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DurationChart {
    /// What it is about; one line, cut where it is too long.
    pub title: String,
    /// How it came about; one line.
    pub subtitle: String,
    /// The runs, in any order.
    pub points: Vec<ChartPoint>,
    /// What was usual, at some instants; may be empty.
    pub band: Vec<Band>,
    /// Since when runs are different.
    pub change: Option<ChangePoint>,
    /// How long a run may take.
    pub limit: Option<LimitLine>,
    /// Whose days and hours the axis shows.
    pub zone: Tz,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChartPoint {
    /// When it ran.
    pub at: Timestamp,
    /// How long.
    pub seconds: f64,
    /// What to make of it.
    pub mark: Mark,
}

/// What to make of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// A dot.
    Usual,
    /// Slower than usual: an orange triangle.
    Slow,
    /// Over the limit, or far too slow: a red diamond.
    Bad,
    /// Did not succeed: a grey cross, beside the line.
    Failed,
}

/// What was usual at an instant, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// When.
    pub at: Timestamp,
    /// Lower end.
    pub low: f64,
    /// The middle.
    pub usual: f64,
    /// Upper end.
    pub high: f64,
}

/// Since when runs are different.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// When.
    pub at: Timestamp,
    /// In words: `since 12 Mar 04:15: +68 %`.
    pub label: String,
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitLine {
    /// Seconds.
    pub seconds: f64,
    /// In words: `SLA 45 min`.
    pub label: String,
}

/// Where a chart is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// On a desk: 800 x 320 CSS pixels, 1600 x 640 as PNG.
    #[default]
    Wide,
    /// On a phone: 360 x 320 CSS pixels, 1080 x 960 as PNG.
    Phone,
}

/// Why there is no PNG. Trying again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The SVG was not understood by what draws it.
    #[error(
        "the chart cannot be drawn: {0}; this is a bug of ours, the SVG of the same chart may be fine"
    )]
    Svg(#[from] usvg::Error),
    /// The picture could not be packed.
    #[error("the chart cannot be written as PNG: {0}; take the SVG")]
    Png(String),
}

/// The chart as SVG, for pages and browsers.
pub fn svg(chart: &DurationChart, theme: Theme, size: Size) -> String {
    frame::draw(&presentable(chart), theme, size)
}

/// What is seen, in one sentence: for screen readers, and as the text beside the picture.
pub fn describe(chart: &DurationChart) -> String {
    words::describe(&presentable(chart))
}

/// The chart as PNG, for chats and mails, at twice (on a phone three times) the CSS pixels. Takes tens of
/// milliseconds: not for a thread that others wait for.
pub fn png(chart: &DurationChart, theme: Theme, size: Size) -> Result<Vec<u8>, ChartError> {
    let tree = tree(&svg(chart, theme, size))?;
    let scale = match size {
        Size::Wide => 2.0,
        Size::Phone => 3.0,
    };
    let room = tree.size().to_int_size().scale_by(scale);
    let mut pixels = room
        .and_then(|room| tiny_skia::Pixmap::new(room.width(), room.height()))
        .ok_or_else(|| ChartError::Png("the picture has no size".to_owned()))?;
    let transform = tiny_skia::Transform::from_scale(scale, scale);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| ChartError::Png(error.to_string()))
}

/// Read as a renderer reads it, with the embedded fonts alone.
fn tree(svg: &str) -> Result<usvg::Tree, usvg::Error> {
    let options = usvg::Options {
        font_family: font::FAMILY.to_owned(),
        fontdb: font::database(),
        ..usvg::Options::default()
    };
    usvg::Tree::from_str(svg, &options)
}

/// Longest duration that is drawn, in seconds: a thousand years.
const MAX_SECONDS: f64 = 3.2e10;

/// In order of time, without what is no duration, and texts on one line.
fn presentable(chart: &DurationChart) -> DurationChart {
    let is_duration = |seconds: f64| (0.0..=MAX_SECONDS).contains(&seconds);
    let mut chart = chart.clone();
    chart.points.retain(|point| is_duration(point.seconds));
    chart.points.sort_by_key(|point| point.at);
    let is_band = |band: &Band| {
        [band.low, band.usual, band.high]
            .into_iter()
            .all(is_duration)
    };
    chart.band.retain(is_band);
    chart.band.sort_by_key(|band| band.at);
    chart.limit = chart.limit.filter(|limit| is_duration(limit.seconds));
    chart.title = words::clean(&chart.title);
    chart.subtitle = words::clean(&chart.subtitle);
    chart
}
