//! How promises came out over some periods: a bar for each, with what was kept below and what was not above.
//!
//! The same style, fonts and guarantees as the charts of durations: what was late is hatched, what was missed
//! is full, what is not known is an outline; each has its number in words above the bar.

use resvg::tiny_skia;

use super::canvas::{Anchor, Canvas, Escaped, N, Text};
use super::font::{self, Weight};
use super::theme::{Ink, Theme};
use super::words::clean;
use super::{ChartError, tree};

/// The promises of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBar {
    /// `Tue 10 Mar`.
    pub label: String,
    /// Kept.
    pub met: usize,
    /// Kept late.
    pub late: usize,
    /// Not kept.
    pub missed: usize,
    /// Cannot be told.
    pub unknown: usize,
}

/// Periods, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptChart {
    /// One line.
    pub title: String,
    /// The bars.
    pub bars: Vec<KeptBar>,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 190.0;
const MARGIN: f64 = 16.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 34.0;
const SMALL: f64 = 11.0;

/// Most bars drawn; the newest stay.
const MAX_BARS: usize = 14;

impl KeptBar {
    fn total(&self) -> usize {
        self.met + self.late + self.missed + self.unknown
    }

    fn words(&self) -> String {
        if self.total() == 0 {
            return "none due".to_owned();
        }
        let parts = [
            (self.met, "kept"),
            (self.late, "late"),
            (self.missed, "missed"),
            (self.unknown, "unknown"),
        ];
        let parts = parts
            .iter()
            .filter(|(count, word)| *count > 0 || *word == "kept")
            .map(|(count, word)| format!("{count} {word}"));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What is seen, in words: the text beside the picture.
pub fn describe(chart: &KeptChart) -> String {
    let bars = chart
        .bars
        .iter()
        .map(|bar| format!("{}: {}", clean(&bar.label), bar.words()));
    let bars: Vec<String> = bars.collect();
    format!("{}. {}", clean(&chart.title), bars.join("; "))
}

/// The chart as SVG.
pub fn svg(chart: &KeptChart, theme: Theme) -> String {
    let ink = theme.ink();
    let title = clean(&chart.title);
    let mut canvas = Canvas::begin((WIDTH, HEIGHT), ink.ground, &title, &describe(chart));
    canvas.text(&Text {
        x: MARGIN,
        baseline: 26.0,
        size: 15.0,
        weight: Weight::Bold,
        anchor: Anchor::Start,
        color: ink.title,
        halo: None,
        content: font::fit(&title, Weight::Bold, 15.0, WIDTH - 2.0 * MARGIN),
    });
    legend(&mut canvas, ink);
    let skipped = chart.bars.len().saturating_sub(MAX_BARS);
    let bars = &chart.bars[skipped..];
    let most = bars.iter().map(KeptBar::total).max().unwrap_or(0).max(1);
    let base = HEIGHT - BOTTOM;
    let slot = (WIDTH - 2.0 * MARGIN) / count(bars.len().max(1));
    for (index, bar) in bars.iter().enumerate() {
        let left = MARGIN + slot * count(index);
        draw(&mut canvas, ink, bar, (left, slot), (base, most));
    }
    canvas.element(format_args!(
        "line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{1}\" stroke=\"{}\" stroke-width=\"1\"",
        N(MARGIN),
        N(base),
        N(WIDTH - MARGIN),
        ink.axis
    ));
    canvas.end()
}

/// The chart as PNG, at twice the CSS pixels. Takes tens of milliseconds: not for a thread that others wait
/// for.
pub fn png(chart: &KeptChart, theme: Theme) -> Result<Vec<u8>, ChartError> {
    let tree = tree(&svg(chart, theme))?;
    let room = tree.size().to_int_size().scale_by(2.0);
    let mut pixels = room
        .and_then(|room| tiny_skia::Pixmap::new(room.width(), room.height()))
        .ok_or_else(|| ChartError::Png("the picture has no size".to_owned()))?;
    let transform = tiny_skia::Transform::from_scale(2.0, 2.0);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| ChartError::Png(error.to_string()))
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn count(count: usize) -> f64 {
    count as f64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Met,
    Late,
    Missed,
    Unknown,
}

fn block(canvas: &mut Canvas, ink: &Ink, kind: Kind, place: (f64, f64, f64, f64)) {
    let (x, y, width, height) = place;
    let (x, y, w, h) = (N(x), N(y), N(width), N(height));
    let fill = match kind {
        Kind::Met => ink.usual,
        Kind::Late => ink.slow,
        Kind::Missed => ink.bad,
        Kind::Unknown => {
            canvas.element(format_args!(
                "rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"none\" stroke=\"{}\" \
                 stroke-dasharray=\"3 2\"",
                ink.failed
            ));
            return;
        }
    };
    canvas.element(format_args!(
        "rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"{fill}\""
    ));
    if kind == Kind::Late {
        hatch(canvas, ink, place);
    }
}

/// Lines across, so that it is told from the others without its colour.
fn hatch(canvas: &mut Canvas, ink: &Ink, (x, y, width, height): (f64, f64, f64, f64)) {
    let mut at = y + 3.0;
    while at < y + height {
        canvas.element(format_args!(
            "line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{1}\" stroke=\"{}\" stroke-width=\"1\"",
            N(x),
            N(at),
            N(x + width),
            ink.ground
        ));
        at += 4.0;
    }
}

/// One bar, its number and its label.
fn draw(
    canvas: &mut Canvas,
    ink: &Ink,
    bar: &KeptBar,
    (left, slot): (f64, f64),
    (base, most): (f64, usize),
) {
    let width = (slot * 0.62).min(56.0);
    let x = left + (slot - width) / 2.0;
    let scale = (base - TOP) / count(most);
    let said = format!("{}: {}", clean(&bar.label), bar.words());
    let said = Escaped(&said);
    canvas.open(format_args!("role=\"img\" aria-label=\"{said}\""));
    let mut top = base;
    for (kind, number) in [
        (Kind::Met, bar.met),
        (Kind::Late, bar.late),
        (Kind::Missed, bar.missed),
        (Kind::Unknown, bar.unknown),
    ] {
        if number == 0 {
            continue;
        }
        // What is few among many is still seen.
        let height = (scale * count(number)).max(2.0);
        top -= height;
        block(canvas, ink, kind, (x, top, width, height));
    }
    canvas.close();
    let number = match (bar.total(), bar.late + bar.missed) {
        (0, _) => "none".to_owned(),
        (all, 0) if bar.unknown == 0 => all.to_string(),
        (all, _) => format!("{} of {all}", bar.met),
    };
    let color = match (bar.missed, bar.late) {
        (0, 0) => ink.muted,
        (0, _) => ink.slow_text,
        _ => ink.bad,
    };
    for (content, baseline, color) in [
        (number, top - 5.0, color),
        (clean(&bar.label), base + 17.0, ink.muted),
    ] {
        canvas.text(&Text {
            x: left + slot / 2.0,
            baseline,
            size: SMALL,
            weight: Weight::Regular,
            anchor: Anchor::Middle,
            color,
            halo: None,
            content: font::fit(&content, Weight::Regular, SMALL, slot - 2.0),
        });
    }
}

fn legend(canvas: &mut Canvas, ink: &Ink) {
    let mut x = MARGIN;
    for (kind, word) in [
        (Kind::Met, "kept"),
        (Kind::Late, "late"),
        (Kind::Missed, "missed"),
        (Kind::Unknown, "unknown"),
    ] {
        block(canvas, ink, kind, (x, 36.0, 10.0, 10.0));
        let text = Text {
            x: x + 15.0,
            baseline: 45.0,
            size: SMALL,
            weight: Weight::Regular,
            anchor: Anchor::Start,
            color: ink.muted,
            halo: None,
            content: word.to_owned(),
        };
        x = text.extent().1 + 16.0;
        canvas.text(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, counts: [usize; 4]) -> KeptBar {
        let [met, late, missed, unknown] = counts;
        KeptBar {
            label: label.to_owned(),
            met,
            late,
            missed,
            unknown,
        }
    }

    fn chart() -> KeptChart {
        KeptChart {
            title: "Promises by day".to_owned(),
            bars: vec![
                bar("Sun 8 Mar", [0, 0, 0, 0]),
                bar("Mon 9 Mar", [41, 0, 0, 0]),
                bar("Tue 10 Mar", [36, 2, 3, 1]),
            ],
        }
    }

    #[test]
    fn it_is_said_in_words_too() {
        assert_eq!(
            describe(&chart()),
            "Promises by day. Sun 8 Mar: none due; Mon 9 Mar: 41 kept; \
             Tue 10 Mar: 36 kept, 2 late, 3 missed, 1 unknown"
        );
    }

    #[test]
    fn it_is_drawn_light_and_dark_whatever_the_texts_are() {
        let mut hostile = chart();
        hostile.title = "</svg><script>\u{202e}".to_owned();
        hostile.bars = vec![bar("<b>&\"'\u{0}", [1, 2, 3, 4]); 40];
        for chart in [chart(), hostile] {
            for theme in [Theme::Light, Theme::Dark] {
                let svg = svg(&chart, theme);
                assert!(!svg.contains("<script"), "{svg}");
                assert!(png(&chart, theme).unwrap().starts_with(b"\x89PNG"));
            }
        }
    }
}
