//! The picture of a digest: how promises came out over the last periods.
//!
//! It decides what the bars are and what they are called; the figures are the digest's, and how it looks is
//! `chart`'s. A message is held up by it for at most [`PATIENCE`] and never lost because of it.

use std::sync::Arc;
use std::time::Duration;

use crate::chart::Theme;
use crate::chart::digest::{KeptBar, KeptChart, describe, png};
use crate::engine::digest::{Digest, DigestPeriod};
use crate::engine::notification::{Body, Notification};
use crate::engine::time::Span;
use crate::notify::{Chart, Notifier};

/// Longest wait for a picture.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Periods of at least so long are named by the day on which they end.
const LONG: Span = Span::hours(23);

/// The bars, oldest period first; `None` when no promise was due in any of them.
pub fn kept_chart(digest: &Digest) -> Option<KeptChart> {
    let is_due = |period: &DigestPeriod| period.tally.counted() + period.tally.unknown > 0;
    let first = digest.periods.iter().rposition(is_due)?;
    let bars = digest.periods[..=first].iter().rev().map(|period| KeptBar {
        label: label(digest, period),
        met: period.tally.met,
        late: period.tally.late,
        missed: period.tally.missed,
        unknown: period.tally.unknown,
    });
    let length = digest.to - digest.from;
    let until = digest.to.in_zone(digest.zone).format("%H:%M");
    Some(KeptChart {
        title: if length >= LONG && length < LONG * 2 {
            format!("Promises by day, each up to {until}")
        } else {
            "Promises by period, each by its end".to_owned()
        },
        bars: bars.collect(),
    })
}

/// The day a period ends on, or the time of day.
fn label(digest: &Digest, period: &DigestPeriod) -> String {
    let is_long = digest.to - digest.from >= LONG;
    let format = if is_long { "%a %-d %b" } else { "%H:%M" };
    period.to.in_zone(digest.zone).format(format).to_string()
}

/// As mails show it. Takes tens of milliseconds: not for a thread that others wait for.
pub fn drawn(digest: &Digest) -> Option<Chart> {
    let chart = kept_chart(digest)?;
    let png = png(&chart, Theme::Light);
    let png =
        png.inspect_err(|error| tracing::error!("a digest goes out without its chart: {error}"));
    Some(Chart {
        name: "promises.png".to_owned(),
        alt: describe(&chart),
        png: Arc::from(png.ok()?),
    })
}

/// The picture of a notification, when it is a digest and the receiver shows pictures.
pub async fn of(notification: &Notification, notifier: &dyn Notifier) -> Option<Chart> {
    let Body::Digest(digest) = &notification.body else {
        return None;
    };
    if !notifier.wants_chart(notification) {
        return None;
    }
    let digest = digest.clone();
    let drawing = tokio::task::spawn_blocking(move || drawn(&digest));
    if let Ok(Ok(chart)) = tokio::time::timeout(PATIENCE, drawing).await {
        return chart;
    }
    tracing::warn!("a digest goes out without its chart: drawing took too long or failed");
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::digest::{Scope, digest};
    use crate::engine::history::History;
    use crate::engine::policy::Policy;
    use crate::engine::time::Timestamp;
    use crate::engine::{Engine, Saved};

    #[test]
    fn days_have_their_names_and_hours_their_times() {
        let policy = Arc::new(Policy::empty(vec!["team".into()]));
        let engine = Engine::new(policy, History::default(), Saved::default());
        let made = |period| {
            let to = Timestamp::parse("2026-03-10T07:00:00Z").unwrap();
            let scope = Scope {
                name: None,
                zone: chrono_tz::Europe::Berlin,
                to,
                period,
                previous: None,
                skipped: 0,
            };
            let mut digest = digest(&engine, &scope, to);
            assert_eq!(kept_chart(&digest), None, "nothing was due");
            digest.periods[1].tally.met = 3;
            digest
        };
        let chart = kept_chart(&made(Span::hours(24))).unwrap();
        assert_eq!(chart.title, "Promises by day, each up to 08:00");
        let labels: Vec<&str> = chart.bars.iter().map(|bar| bar.label.as_str()).collect();
        assert_eq!(labels, ["Mon 9 Mar", "Tue 10 Mar"]);
        let chart = kept_chart(&made(Span::hours(1))).unwrap();
        assert_eq!(chart.title, "Promises by period, each by its end");
        assert_eq!(chart.bars[1].label, "08:00");
        assert!(drawn(&made(Span::days(7))).unwrap().alt.contains("3 kept"));
    }
}
