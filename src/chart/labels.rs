//! Texts beside the lines: what each is, at its right end, and the legend below. They give way to each other.

use super::canvas::{Anchor, Canvas, N, Text};
use super::font::{self, Weight};
use super::frame::{Frame, Sheet};
use super::marks::{self, Placed};
use super::scale::duration;
use super::theme::Ink;
use super::words::{clean, meaning};
use super::{ChartPoint, DurationChart, Mark};

/// A text that belongs to a value on the right edge.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// The value; where it is above the scale, at its edge.
    pub seconds: f64,
    pub text: String,
    pub color: &'static str,
    pub weight: Weight,
}

/// What is told at the right: the newest run, the limit, and what is usual.
pub(super) fn at_right(chart: &DurationChart, ink: &Ink, sheet: &Sheet, top: f64) -> Vec<Label> {
    let mut labels = Vec::new();
    if let Some(newest) = chart.points.last() {
        let text = match newest.mark {
            Mark::Failed => "failed now".to_owned(),
            Mark::Usual | Mark::Slow | Mark::Bad => format!("{} now", duration(newest.seconds)),
        };
        labels.push(Label {
            seconds: newest.seconds,
            text,
            color: marks::colors(newest.mark, ink).1,
            weight: Weight::Bold,
        });
    }
    if let Some(limit) = &chart.limit {
        let text = clean(&limit.label);
        let is_above = limit.seconds > top;
        labels.push(Label {
            seconds: limit.seconds,
            text: if is_above {
                format!("↑ {text}")
            } else {
                text
            },
            color: ink.bad,
            weight: Weight::Bold,
        });
    }
    if let Some(band) = chart.band.last() {
        labels.push(Label {
            seconds: band.usual,
            text: format!("usual {}", duration(band.usual)),
            color: ink.usual_text,
            weight: Weight::Regular,
        });
    }
    for label in &mut labels {
        label.text = font::fit(&label.text, label.weight, sheet.small, sheet.label_room);
    }
    labels
}

/// Moves `wanted` heights apart so that each has `room`, within `low..=high`, keeping their order (of equal ones the
/// first is above) and staying near. There is room for all.
pub(super) fn spread(wanted: &[f64], room: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut placed = vec![0.0; wanted.len()];
    // Neighbours that touch move as one around their middle.
    let mut clusters: Vec<(f64, Vec<usize>)> = Vec::new();
    for index in order {
        let mut cluster = (wanted[index].clamp(low, high), vec![index]);
        while let Some(before) = clusters.pop() {
            let reach = (half(&before.1) + half(&cluster.1)) * room;
            if cluster.0 - before.0 >= reach - 1e-9 {
                clusters.push(before);
                break;
            }
            let (a, b) = (before.1.len(), cluster.1.len());
            let middle = (before.0 * count(a) + cluster.0 * count(b)) / count(a + b);
            let members = [before.1, cluster.1].concat();
            let margin = (half(&members) - 0.5) * room;
            cluster = (middle.min(high - margin).max(low + margin), members);
        }
        clusters.push(cluster);
    }
    for (middle, members) in clusters {
        let mut at = middle - (half(&members) - 0.5) * room;
        for index in members {
            placed[index] = at;
            at += room;
        }
    }
    placed
}

fn half(members: &[usize]) -> f64 {
    count(members.len()) / 2.0
}

#[allow(clippy::cast_precision_loss)]
fn count(count: usize) -> f64 {
    count as f64
}

impl Frame<'_> {
    /// The texts at the right, each joined to its value where it had to give way.
    pub(super) fn draw_labels(&self, canvas: &mut Canvas) {
        let wanted: Vec<f64> = self
            .labels
            .iter()
            .map(|label| self.y(label.seconds))
            .collect();
        let room = self.sheet.small * 1.32;
        let low = match self.chart.change {
            // Its words are above the plot.
            Some(_) => self.top + room / 2.0,
            None => self.top,
        };
        let places = spread(&wanted, room, low, self.bottom - room / 2.0);
        let x = self.right + self.sheet.label_gap;
        for ((label, wanted), y) in self.labels.iter().zip(wanted).zip(places) {
            if (wanted - y).abs() > 3.0 {
                canvas.element(format_args!(
                    "path d=\"M{} {}L{} {}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1\"",
                    N(self.right + self.sheet.mark_room),
                    N(wanted),
                    N(x - 2.5),
                    N(y),
                    label.color
                ));
            }
            canvas.text(&Text {
                x,
                baseline: y + self.sheet.small * 0.36,
                size: self.sheet.small,
                weight: label.weight,
                anchor: Anchor::Start,
                color: label.color,
                halo: None,
                content: label.text.clone(),
            });
        }
    }

    /// The values of those above the scale, highest first, as far as they do not touch.
    pub(super) fn draw_values_above(&self, canvas: &mut Canvas, marks: &[Placed]) {
        let newest = marks.last().map(|mark| mark.x);
        let mut above: Vec<&Placed> = marks
            .iter()
            .filter(|mark| mark.is_above && Some(mark.x) != newest)
            .collect();
        above.sort_by(|a, b| b.point.seconds.total_cmp(&a.point.seconds));
        let mut taken: Vec<(f64, f64)> = marks
            .iter()
            .filter(|mark| mark.is_above)
            .map(|mark| (mark.x - mark.size, mark.x + mark.size))
            .collect();
        for mark in above {
            let text = |anchor| Text {
                x: match anchor {
                    Anchor::End => mark.x - mark.size - 4.0,
                    Anchor::Start | Anchor::Middle => mark.x + mark.size + 4.0,
                },
                baseline: mark.y + self.sheet.small * 0.36,
                size: self.sheet.small,
                weight: Weight::Bold,
                anchor,
                color: marks::colors(mark.point.mark, self.ink).1,
                halo: Some(self.ink.ground),
                content: duration(mark.point.seconds),
            };
            let is_free = |text: &Text| {
                let (start, end) = text.extent();
                let touches = |(from, to): &(f64, f64)| start < to + 2.0 && *from < end + 2.0;
                start >= self.left && end <= self.right && !taken.iter().any(touches)
            };
            let free = [Anchor::Start, Anchor::End]
                .map(text)
                .into_iter()
                .find(is_free);
            if let Some(text) = free {
                taken.push(text.extent());
                canvas.text(&text);
            }
        }
    }
}

/// An entry of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Range,
    Kind(Mark),
}

/// What the legend explains, row by row.
#[derive(Debug)]
pub(super) struct Legend {
    rows: Vec<Vec<(f64, Entry)>>,
}

impl Legend {
    /// What has to be explained, from left to right.
    pub(super) fn of(chart: &DurationChart, sheet: &Sheet) -> Self {
        let mut entries = Vec::new();
        if !chart.band.is_empty() {
            entries.push(Entry::Range);
        }
        for mark in [Mark::Slow, Mark::Bad, Mark::Failed] {
            if chart.points.iter().any(|point| point.mark == mark) {
                entries.push(Entry::Kind(mark));
            }
        }
        let mut rows: Vec<Vec<(f64, Entry)>> = Vec::new();
        let mut x = f64::MAX;
        for entry in entries {
            let text = font::width(entry.text(chart), Weight::Regular, sheet.small);
            let width = sheet.swatch(entry == Entry::Range) + 6.0 + text;
            if x + width > sheet.width - sheet.pad {
                rows.push(Vec::new());
                x = sheet.pad;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, entry));
            }
            x += width + 18.0;
        }
        Self { rows }
    }

    pub(super) fn height(&self, sheet: &Sheet) -> f64 {
        match self.rows.len() {
            0 => 0.0,
            rows => count(rows) * sheet.line() + 6.0,
        }
    }

    pub(super) fn draw(
        &self,
        canvas: &mut Canvas,
        chart: &DurationChart,
        sheet: &Sheet,
        ink: &Ink,
    ) {
        for (index, row) in self.rows.iter().rev().enumerate() {
            let baseline = sheet.height - 13.0 - count(index) * sheet.line();
            for (x, entry) in row {
                let middle = baseline - sheet.small * 0.36;
                let swatch = sheet.swatch(*entry == Entry::Range);
                entry.swatch(canvas, (*x, middle), swatch, ink);
                canvas.text(&Text {
                    x: x + swatch + 6.0,
                    baseline,
                    size: sheet.small,
                    weight: Weight::Regular,
                    anchor: Anchor::Start,
                    color: ink.muted,
                    halo: None,
                    content: entry.text(chart).to_owned(),
                });
            }
        }
    }
}

impl Entry {
    fn text(self, chart: &DurationChart) -> &'static str {
        match self {
            Self::Range => "usual range",
            Self::Kind(mark) => meaning(mark, chart),
        }
    }

    fn swatch(self, canvas: &mut Canvas, (x, y): (f64, f64), width: f64, ink: &Ink) {
        match self {
            Self::Range => {
                canvas.element(format_args!(
                    "rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"10\" rx=\"2\" fill=\"{}\"",
                    N(x),
                    N(y - 5.0),
                    N(width),
                    ink.band
                ));
                canvas.element(format_args!(
                    "path d=\"M{} {}H{}\" stroke=\"{}\" stroke-width=\"1.2\" stroke-dasharray=\"3 3\"",
                    N(x),
                    N(y),
                    N(x + width),
                    ink.usual
                ));
            }
            Self::Kind(mark) => {
                let point = ChartPoint {
                    at: crate::engine::time::Timestamp::MIN,
                    seconds: 0.0,
                    mark,
                };
                let placed = Placed {
                    point,
                    x: x + width / 2.0,
                    y,
                    size: width / 2.0 - 1.0,
                    is_above: false,
                };
                marks::draw(canvas, &placed, ink, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &[f64], expected: &[f64]) {
        let placed = spread(wanted, 10.0, 0.0, 100.0);
        let is_close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
        assert!(placed.iter().zip(expected).all(is_close), "{placed:?}");
    }

    #[test]
    fn labels_give_way_to_both_sides_and_stay_inside() {
        check(&[50.0], &[50.0]);
        check(&[50.0, 50.0], &[45.0, 55.0]);
        check(&[50.0, 48.0], &[54.0, 44.0]);
        check(&[50.0, 48.0, 80.0], &[54.0, 44.0, 80.0]);
        check(&[0.0, 0.0, 0.0], &[0.0, 10.0, 20.0]);
        check(&[120.0, 99.0, 98.0], &[100.0, 90.0, 80.0]);
        check(
            &[20.0, 20.0, 31.0],
            &[13.666_666_7, 23.666_666_7, 33.666_666_7],
        );
    }
}
