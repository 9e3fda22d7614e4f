//! The shapes of runs: a kind is told by its shape as well as by its colour.

use super::canvas::{Canvas, N};
use super::theme::Ink;
use super::{ChartPoint, Mark};

/// A mark and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub point: ChartPoint,
    pub x: f64,
    pub y: f64,
    /// Half its height.
    pub size: f64,
    /// It is above the scale.
    pub is_above: bool,
}

/// Colour of a mark, and of a text about it.
pub(super) fn colors(mark: Mark, ink: &Ink) -> (&'static str, &'static str) {
    match mark {
        Mark::Usual => (ink.line, ink.line),
        Mark::Slow => (ink.slow, ink.slow_text),
        Mark::Bad => (ink.bad, ink.bad),
        Mark::Failed => (ink.failed, ink.muted),
    }
}

/// Draws a mark with the ground around it, so that it stands out from the line.
pub(super) fn draw(canvas: &mut Canvas, mark: &Placed, ink: &Ink, tooltip: Option<&str>) {
    let (color, _) = colors(mark.point.mark, ink);
    let (x, y, s) = (mark.x, mark.y, mark.size);
    let outline = format!("stroke=\"{}\" stroke-width=\"1.5\"", ink.ground);
    if mark.point.mark == Mark::Usual {
        let circle = format_args!(
            "cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{color}\" {outline}",
            N(x),
            N(y),
            N(s)
        );
        return put(canvas, "circle", circle, tooltip);
    }
    let path = match mark.point.mark {
        Mark::Slow => {
            let (half, up, down) = (s * 1.05, s * 1.15, s * 0.75);
            format!(
                "M{} {}L{} {}H{}Z",
                N(x),
                N(y - up),
                N(x + half),
                N(y + down),
                N(x - half)
            )
        }
        Mark::Usual | Mark::Bad => {
            let s = s * 1.15;
            format!(
                "M{} {}L{} {}L{} {}L{} {}Z",
                N(x),
                N(y - s),
                N(x + s),
                N(y),
                N(x),
                N(y + s),
                N(x - s),
                N(y)
            )
        }
        Mark::Failed => {
            let s = s * 0.8;
            let (left, right) = (N(x - s), N(x + s));
            let (top, bottom) = (N(y - s), N(y + s));
            format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}")
        }
    };
    if mark.point.mark != Mark::Failed {
        let shape =
            format_args!("d=\"{path}\" fill=\"{color}\" stroke-linejoin=\"round\" {outline}");
        return put(canvas, "path", shape, tooltip);
    }
    let halo = format_args!(
        "path d=\"{path}\" stroke=\"{}\" stroke-width=\"5\" stroke-linecap=\"round\"",
        ink.ground
    );
    canvas.element(halo);
    let cross = format_args!(
        "d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.2\" stroke-linecap=\"round\""
    );
    put(canvas, "path", cross, tooltip);
}

/// The arrow above a mark that is not to scale.
pub(super) fn arrow(canvas: &mut Canvas, mark: &Placed, ink: &Ink) {
    let (color, _) = colors(mark.point.mark, ink);
    let (x, y) = (mark.x, mark.y - mark.size - 4.0);
    let half = (mark.size * 0.8).min(3.5);
    let chevron = format_args!(
        "path d=\"M{} {}L{} {}L{} {}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\" \
         stroke-linecap=\"round\" stroke-linejoin=\"round\"",
        N(x - half),
        N(y),
        N(x),
        N(y - half),
        N(x + half),
        N(y)
    );
    canvas.element(chevron);
}

fn put(
    canvas: &mut Canvas,
    name: &str,
    attributes: std::fmt::Arguments<'_>,
    tooltip: Option<&str>,
) {
    match tooltip {
        Some(tooltip) => canvas.pointed(name, attributes, tooltip),
        None => canvas.element(format_args!("{name} {attributes}")),
    }
}
