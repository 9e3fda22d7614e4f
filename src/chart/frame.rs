//! Where everything is: title above, scale at the left, time below, what the lines are at the right. The sheet of a
//! size says how large things are; the room between them is what the texts leave.

use std::fmt::Write as _;

use super::canvas::{Anchor, Canvas, N, Text};
use super::font::{self, Weight};
use super::labels::{self, Label, Legend};
use super::marks::{self, Placed};
use super::scale::Scale;
use super::theme::{Ink, Theme};
use super::times::{self, Tick};
use super::words::{clean, describe, tooltip};
use super::{Band, DurationChart, Mark, Size};
use crate::engine::time::{Span, Timestamp};

/// How large things are, in CSS pixels.
#[derive(Debug)]
pub(super) struct Sheet {
    pub width: f64,
    pub height: f64,
    /// Between everything and the edge.
    pub pad: f64,
    /// Letters of the title.
    pub large: f64,
    /// Letters of all other texts.
    pub small: f64,
    /// Most lines of title and subtitle.
    pub lines: usize,
    /// Most lines of the scale above zero.
    pub scale_lines: usize,
    /// Most room for texts at the right.
    pub label_room: f64,
    /// Between the plot and the texts at its right.
    pub label_gap: f64,
    /// Half the room of a mark at the right edge.
    pub mark_room: f64,
    /// Half the height of the newest run's mark.
    pub newest: f64,
    /// Between two ticks' texts.
    pub tick_gap: f64,
}

const WIDE: Sheet = Sheet {
    width: 800.0,
    height: 320.0,
    pad: 16.0,
    large: 16.0,
    small: 11.5,
    lines: 1,
    scale_lines: 5,
    label_room: 170.0,
    label_gap: 14.0,
    mark_room: 2.0,
    newest: 5.6,
    tick_gap: 16.0,
};

const PHONE: Sheet = Sheet {
    width: 360.0,
    height: 320.0,
    pad: 14.0,
    large: 16.0,
    small: 12.5,
    lines: 2,
    scale_lines: 4,
    label_room: 106.0,
    label_gap: 11.0,
    mark_room: 1.0,
    newest: 4.8,
    tick_gap: 12.0,
};

impl Sheet {
    fn of(size: Size) -> &'static Self {
        match size {
            Size::Wide => &WIDE,
            Size::Phone => &PHONE,
        }
    }

    /// From one line of small text to the next.
    pub(super) fn line(&self) -> f64 {
        self.small * 1.5
    }

    /// Width of a swatch of the legend.
    pub(super) fn swatch(&self, is_range: bool) -> f64 {
        if is_range { 22.0 } else { self.small }
    }
}

/// Between the plot's edge and the first and last run.
const INSET: f64 = 7.0;

/// Room above the scale for runs that are not to scale.
const HEADROOM: f64 = 26.0;

/// Runs nearer than this, in pixels, are joined by a thin line.
const DENSE: f64 = 2.0;

/// With more runs than this nobody points at one.
const MAX_TOOLTIPS: usize = 150;

/// A chart, laid out.
pub(super) struct Frame<'a> {
    pub chart: &'a DurationChart,
    pub ink: &'static Ink,
    pub sheet: &'static Sheet,
    pub scale: Scale,
    pub labels: Vec<Label>,
    legend: Legend,
    header: Vec<Text>,
    /// The plot, with the headroom.
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    headroom: f64,
    first: Timestamp,
    last: Timestamp,
}

/// Draws `chart`, whose values are in order.
pub(super) fn draw(chart: &DurationChart, theme: Theme, size: Size) -> String {
    let frame = Frame::of(chart, theme.ink(), Sheet::of(size));
    let room = (frame.sheet.width, frame.sheet.height);
    let name = match chart.title.as_str() {
        "" => "Run durations",
        title => title,
    };
    let mut canvas = Canvas::begin(room, frame.ink.ground, name, &describe(chart));
    for text in &frame.header {
        canvas.text(text);
    }
    if chart.points.is_empty() {
        frame.draw_nothing(&mut canvas);
        return canvas.end();
    }
    frame.draw_change(&mut canvas);
    frame.draw_band(&mut canvas);
    frame.draw_scale(&mut canvas);
    frame.draw_limit(&mut canvas);
    frame.draw_time(&mut canvas);
    let marks = frame.marks();
    frame.draw_line(&mut canvas, &marks);
    frame.draw_marks(&mut canvas, &marks);
    frame.draw_values_above(&mut canvas, &marks);
    frame.draw_labels(&mut canvas);
    frame
        .legend
        .draw(&mut canvas, chart, frame.sheet, frame.ink);
    canvas.end()
}

impl<'a> Frame<'a> {
    fn of(chart: &'a DurationChart, ink: &'static Ink, sheet: &'static Sheet) -> Self {
        let scale = Scale::of(chart, sheet.scale_lines);
        let labels = labels::at_right(chart, ink, sheet, scale.top);
        let (header, under_header) = header(chart, ink, sheet);
        let legend = Legend::of(chart, sheet);
        let width = |text: &str, weight| font::width(text, weight, sheet.small);
        let numbers = scale.lines().into_iter().map(|(_, label)| label);
        let numbers = numbers.map(|label| width(&label, Weight::Regular));
        let texts = labels.iter().map(|label| width(&label.text, label.weight));
        let is_above = chart
            .points
            .iter()
            .any(|point| scale.is_above(point.seconds));
        let under_plot = sheet.line() + 4.0 + legend.height(sheet);
        Self {
            left: sheet.pad + numbers.fold(0.0, f64::max) + 8.0,
            right: sheet.width - sheet.pad - texts.fold(20.0, f64::max) - sheet.label_gap,
            top: under_header
                + 14.0
                + if chart.change.is_some() {
                    sheet.line()
                } else {
                    0.0
                },
            bottom: sheet.height - 12.0 - under_plot,
            headroom: if is_above { HEADROOM } else { 0.0 },
            first: chart
                .points
                .first()
                .map_or(Timestamp::MIN, |point| point.at),
            last: chart.points.last().map_or(Timestamp::MIN, |point| point.at),
            chart,
            ink,
            sheet,
            scale,
            labels,
            legend,
            header,
        }
    }

    /// Where an instant is; outside of the runs at the edge.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let (start, room) = (self.left + INSET, self.right - self.left - 2.0 * INSET);
        let span = millis(self.last.since(self.first));
        if span == 0.0 {
            return start + room / 2.0;
        }
        start + (millis(at - self.first) / span).clamp(0.0, 1.0) * room
    }

    /// Where a duration is; above the scale in the headroom.
    pub(super) fn y(&self, seconds: f64) -> f64 {
        if self.scale.is_above(seconds) {
            return self.top + self.headroom * 0.55;
        }
        let top = self.top + self.headroom;
        self.bottom - seconds / self.scale.top * (self.bottom - top)
    }

    fn text(&self, x: f64, baseline: f64, anchor: Anchor, content: String) -> Text {
        Text {
            x,
            baseline,
            size: self.sheet.small,
            weight: Weight::Regular,
            anchor,
            color: self.ink.muted,
            halo: None,
            content,
        }
    }

    fn draw_nothing(&self, canvas: &mut Canvas) {
        let (x, y) = (self.sheet.width / 2.0, f64::midpoint(self.top, self.bottom));
        let text = "no finished runs yet".to_owned();
        canvas.text(&self.text(x, y, Anchor::Middle, text));
    }

    /// The time since runs are different, and its words above it.
    fn draw_change(&self, canvas: &mut Canvas) {
        let Some(change) = &self.chart.change else {
            return;
        };
        let x = self.x(change.at);
        canvas.element(format_args!(
            "rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"",
            N(x),
            N(self.top),
            N(self.right - x),
            N(self.bottom - self.top),
            self.ink.since
        ));
        canvas.element(format_args!(
            "path d=\"M{} {}V{}\" stroke=\"{}\" stroke-width=\"1.2\" stroke-dasharray=\"2 3\"",
            N(x),
            N(self.top - 2.0),
            N(self.bottom),
            self.ink.slow_text
        ));
        let end = self.sheet.width - self.sheet.pad;
        let size = self.sheet.small;
        let content = font::fit(&clean(&change.label), Weight::Bold, size, end - self.left);
        let width = font::width(&content, Weight::Bold, size);
        // It begins at the line, unless it would not fit; then it ends where the labels do.
        canvas.text(&Text {
            x: (x - 1.0).min(end - width).max(self.left),
            baseline: self.top - 8.0,
            size,
            weight: Weight::Bold,
            anchor: Anchor::Start,
            color: self.ink.slow_text,
            halo: None,
            content,
        });
    }

    fn draw_band(&self, canvas: &mut Canvas) {
        let Some((first, last)) = self.chart.band.first().zip(self.chart.band.last()) else {
            return;
        };
        // What was usual at the ends goes on to the edges.
        let edges = [(self.left, first), (self.right, last)];
        let within = self.chart.band.iter().map(|band| (self.x(band.at), band));
        let points: Vec<(f64, &Band)> = [edges[0]]
            .into_iter()
            .chain(within)
            .chain([edges[1]])
            .collect();
        let y = |seconds: f64| self.y(seconds).max(self.top + self.headroom);
        let high = points.iter().map(|(x, band)| (*x, y(band.high)));
        let low = points.iter().rev().map(|(x, band)| (*x, y(band.low)));
        let area = path(high.chain(low));
        let middle = path(points.iter().map(|(x, band)| (*x, y(band.usual))));
        canvas.element(format_args!(
            "path d=\"{area}Z\" fill=\"{}\"",
            self.ink.band
        ));
        canvas.element(format_args!(
            "path d=\"{middle}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.2\" stroke-dasharray=\"3 3\"",
            self.ink.usual
        ));
    }

    fn draw_scale(&self, canvas: &mut Canvas) {
        for (value, label) in self.scale.lines() {
            let y = self.y(value);
            let color = if value == 0.0 {
                self.ink.axis
            } else {
                self.ink.grid
            };
            canvas.element(format_args!(
                "path d=\"M{} {}H{}\" stroke=\"{color}\" stroke-width=\"1\"",
                N(self.left),
                N(y),
                N(self.right)
            ));
            let baseline = y + self.sheet.small * 0.36;
            canvas.text(&self.text(self.left - 8.0, baseline, Anchor::End, label));
        }
    }

    fn draw_limit(&self, canvas: &mut Canvas) {
        let limit = self.chart.limit.as_ref();
        if let Some(limit) = limit.filter(|limit| !self.scale.is_above(limit.seconds)) {
            canvas.element(format_args!(
                "path d=\"M{} {}H{}\" stroke=\"{}\" stroke-width=\"1.6\" stroke-dasharray=\"7 4\"",
                N(self.left),
                N(self.y(limit.seconds)),
                N(self.right),
                self.ink.bad
            ));
        }
    }

    fn draw_time(&self, canvas: &mut Canvas) {
        let baseline = self.bottom + self.sheet.line() + 2.0;
        let zone = self.zone_name();
        let edge = self.sheet.width - 4.0;
        let zone = self.text(
            self.sheet.width - self.sheet.pad,
            baseline,
            Anchor::End,
            zone,
        );
        let before_zone = zone.extent().0 - 6.0;
        let placed = |tick: &Tick, edge: f64| {
            let mut text = self.text(
                self.x(tick.at),
                baseline,
                Anchor::Middle,
                tick.label.clone(),
            );
            let (start, end) = text.extent();
            text.x += (4.0 - start).max(0.0) - (end - edge).max(0.0);
            text
        };
        let is_fitting = |ticks: &[Tick]| {
            let extents = ticks.iter().map(|tick| placed(tick, before_zone).extent());
            let extents: Vec<(f64, f64)> = extents.collect();
            let is_apart = |pair: &[(f64, f64)]| pair[0].1 + self.sheet.tick_gap <= pair[1].0;
            extents.windows(2).all(is_apart)
        };
        let ticks = times::ticks(self.first, self.last, self.chart.zone, is_fitting);
        for tick in &ticks {
            let text = placed(tick, before_zone.min(edge));
            let x = self.x(tick.at);
            canvas.element(format_args!(
                "path d=\"M{} {}v4\" stroke=\"{}\" stroke-width=\"1\"",
                N(x),
                N(self.bottom),
                self.ink.axis
            ));
            canvas.text(&text);
        }
        canvas.text(&zone);
    }

    /// `EST`; of zones that have no name the offset, `UTC+03`.
    fn zone_name(&self) -> String {
        let name = self.last.in_zone(self.chart.zone).format("%Z").to_string();
        if name.starts_with(['+', '-']) {
            format!("UTC{name}")
        } else {
            name
        }
    }

    fn marks(&self) -> Vec<Placed> {
        let points = &self.chart.points;
        let room = self.right - self.left;
        let apart = room / as_f64(points.len().max(2));
        let last = points.len() - 1;
        let size = |index: usize, mark: Mark| {
            let usual = match apart {
                10.0.. => 3.2,
                6.5.. => 2.5,
                _ => 0.0,
            };
            let marked = (apart * 0.45).clamp(3.6, 4.8);
            match mark {
                _ if index == last => self.sheet.newest,
                Mark::Usual => usual,
                Mark::Slow | Mark::Bad | Mark::Failed => marked,
            }
        };
        let placed = points.iter().enumerate().map(|(index, point)| Placed {
            point: *point,
            x: self.x(point.at),
            y: self.y(point.seconds),
            size: size(index, point.mark),
            is_above: self.scale.is_above(point.seconds),
        });
        placed.collect()
    }

    /// The line through all that did not fail; dashed where it leaves the scale.
    fn draw_line(&self, canvas: &mut Canvas, marks: &[Placed]) {
        let through: Vec<&Placed> = marks
            .iter()
            .filter(|mark| mark.point.mark != Mark::Failed)
            .collect();
        let is_dense = self.right - self.left < DENSE * as_f64(marks.len());
        let width = if is_dense { 1.2 } else { 2.0 };
        canvas.open(format_args!(
            "fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"",
            self.ink.line
        ));
        let (mut solid, mut dashed) = (String::new(), String::new());
        let mut is_drawing = false;
        for pair in through.windows(2) {
            let is_to_scale = !pair[0].is_above && !pair[1].is_above;
            let line = if is_to_scale { &mut solid } else { &mut dashed };
            if !(is_to_scale && is_drawing) {
                let _ = write!(line, "M{} {}", N(pair[0].x), N(pair[0].y));
            }
            let _ = write!(line, "L{} {}", N(pair[1].x), N(pair[1].y));
            is_drawing = is_to_scale;
        }
        if !solid.is_empty() {
            canvas.element(format_args!("path d=\"{solid}\""));
        }
        if !dashed.is_empty() {
            canvas.element(format_args!(
                "path d=\"{dashed}\" stroke-width=\"1.4\" stroke-dasharray=\"2 4\""
            ));
        }
        canvas.close();
    }

    /// The usual ones below, the worst on top; of those that lie on each other one.
    fn draw_marks(&self, canvas: &mut Canvas, marks: &[Placed]) {
        let has_tooltips = marks.len() <= MAX_TOOLTIPS;
        for kind in [Mark::Usual, Mark::Failed, Mark::Slow, Mark::Bad] {
            let mut before: Option<&Placed> = None;
            let of_kind = marks.iter().filter(|mark| mark.point.mark == kind);
            for mark in of_kind.filter(|mark| mark.size > 0.0) {
                let is_hidden = before.is_some_and(|before| {
                    let near = mark.size * 0.8;
                    (mark.x - before.x).abs() < near && (mark.y - before.y).abs() < near
                });
                if is_hidden && mark.size < self.sheet.newest {
                    continue;
                }
                let words = has_tooltips.then(|| tooltip(&mark.point, self.chart));
                marks::draw(canvas, mark, self.ink, words.as_deref());
                if mark.is_above {
                    marks::arrow(canvas, mark, self.ink);
                }
                before = Some(mark);
            }
        }
    }
}

/// Title and subtitle, and where they end.
fn header(chart: &DurationChart, ink: &Ink, sheet: &Sheet) -> (Vec<Text>, f64) {
    let room = sheet.width - 2.0 * sheet.pad;
    let mut texts = Vec::new();
    let mut bottom = sheet.pad - 4.0;
    let parts = [
        (&chart.title, Weight::Bold, sheet.large, ink.title),
        (&chart.subtitle, Weight::Regular, sheet.small, ink.muted),
    ];
    for (text, weight, size, color) in parts {
        if text.is_empty() {
            continue;
        }
        for content in broken(text, weight, size, room, sheet.lines) {
            texts.push(Text {
                x: sheet.pad,
                baseline: bottom + size,
                size,
                weight,
                anchor: Anchor::Start,
                color,
                halo: None,
                content,
            });
            bottom += size * 1.32;
        }
        bottom += 3.0;
    }
    (texts, bottom)
}

/// In lines; between the parts of a list where that is enough.
fn broken(text: &str, weight: Weight, size: f64, room: f64, lines: usize) -> Vec<String> {
    let is_fitting = |part: &&str| font::width(part, weight, size) <= room;
    let parts: Vec<&str> = text.split(" · ").collect();
    if !is_fitting(&text) && parts.len() <= lines && parts.iter().all(is_fitting) {
        return parts.into_iter().map(str::to_owned).collect();
    }
    font::wrap(text, weight, size, room, lines)
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{command}{} {}", N(x), N(y));
    }
    path
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)]
fn millis(span: Span) -> f64 {
    span.num_milliseconds() as f64
}
