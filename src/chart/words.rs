//! What a chart shows, in words: for screen readers, and for those who point at a run.

use std::fmt::Write as _;

use super::scale::duration;
use super::times::moment;
use super::{ChartPoint, DurationChart, Mark};
use crate::engine::time::human_time;

/// Most characters of a text from outside that are looked at; a line shows far fewer.
const MAX_CHARS: usize = 300;

/// A text on one line: without control characters, without marks that turn the direction of what follows, and
/// without what XML has no room for.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for c in text.chars().take(MAX_CHARS) {
        let c = match c {
            c if c.is_control() || c.is_whitespace() => ' ',
            c if is_unseen(c) => continue,
            c => c,
        };
        if c != ' ' || !cleaned.ends_with(' ') {
            cleaned.push(c);
        }
    }
    cleaned.trim().to_owned()
}

/// Joins, turns or marks what is beside it, and has no form of its own; or is no character.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}'..='\u{ffff}'
    )
}

/// One sentence that says what is seen.
pub(super) fn describe(chart: &DurationChart) -> String {
    let (Some(first), Some(newest)) = (chart.points.first(), chart.points.last()) else {
        return "No finished runs to show.".to_owned();
    };
    let zone = chart.zone;
    let mut text = match chart.points.len() {
        1 => format!("One run, at {}", human_time(first.at, first.at, zone)),
        count => format!(
            "{count} runs from {} to {}",
            moment(first.at, zone),
            moment(newest.at, zone)
        ),
    };
    let how = match newest.mark {
        Mark::Failed => "failed after",
        Mark::Usual | Mark::Slow | Mark::Bad => "took",
    };
    _ = write!(text, "; the newest {how} {}", duration(newest.seconds));
    if let Some(band) = chart.band.last() {
        _ = write!(
            text,
            ", usual are {} to {}",
            duration(band.low),
            duration(band.high)
        );
    }
    if let Some(limit) = &chart.limit {
        let over = chart.points.iter().filter(|p| p.seconds > limit.seconds);
        _ = write!(
            text,
            "; {} of them over the limit of {}",
            over.count(),
            duration(limit.seconds)
        );
    }
    let failed = chart.points.iter().filter(|p| p.mark == Mark::Failed);
    match failed.count() {
        0 => {}
        count => _ = write!(text, "; {count} failed"),
    }
    if let Some(change) = &chart.change {
        _ = write!(text, "; {}", clean(&change.label));
    }
    text.push('.');
    text
}

/// What a run did, for those who point at it.
pub(super) fn tooltip(point: &ChartPoint, chart: &DurationChart) -> String {
    let took = duration(point.seconds);
    let what = match point.mark {
        Mark::Usual => took,
        Mark::Slow | Mark::Bad => format!("{took}, {}", meaning(point.mark, chart)),
        Mark::Failed => format!("failed after {took}"),
    };
    format!("{}: {what}", moment(point.at, chart.zone))
}

/// What a mark stands for.
pub(super) fn meaning(mark: Mark, chart: &DurationChart) -> &'static str {
    match mark {
        Mark::Usual => "as usual",
        Mark::Slow => "slower than usual",
        Mark::Bad if chart.limit.is_some() => "over the limit",
        Mark::Bad => "much too slow",
        Mark::Failed => "failed",
    }
}
