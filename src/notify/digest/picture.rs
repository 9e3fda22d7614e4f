//! The picture of a digest: how promises came out over the last periods.

use std::sync::Arc;
use std::time::Duration;

use super::super::Chart;
use super::Sheet;
use crate::chart::Theme;
use crate::chart::digest::{KeptBar, KeptChart};
use crate::engine::digest::{Digest, DigestPeriod};
use crate::engine::time::Span;

/// Drawing may take so long; then the message goes without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The chart, oldest period first; `None` when no promise was due in any of them.
pub(super) fn chart(digest: &Digest) -> Option<KeptChart> {
    let is_due = |period: &&DigestPeriod| period.tally.counted() + period.tally.unknown > 0;
    let first = digest.periods.iter().rposition(|period| is_due(&period))?;
    let bars = digest.periods[..=first].iter().rev().map(|period| KeptBar {
        label: label(digest, period),
        met: period.tally.met,
        late: period.tally.late,
        missed: period.tally.missed,
        unknown: period.tally.unknown,
    });
    let is_daily = is_whole_days(digest) && (digest.to - digest.from) < Span::days(2);
    Some(KeptChart {
        title: if is_daily {
            "Promises by day".to_owned()
        } else {
            "Promises by period".to_owned()
        },
        bars: bars.collect(),
    })
}

fn is_whole_days(digest: &Digest) -> bool {
    (digest.to - digest.from) >= Span::hours(23)
}

/// The day a period ends on, or the time of day.
fn label(digest: &Digest, period: &DigestPeriod) -> String {
    let end = period.to.in_zone(digest.zone);
    let format = if is_whole_days(digest) {
        "%a %-d %b"
    } else {
        "%H:%M"
    };
    end.format(format).to_string()
}

impl Sheet {
    /// The chart drawn, unless it takes too long.
    pub(in crate::notify) async fn picture(&self) -> Option<Chart> {
        let chart = self.chart.clone()?;
        let alt = crate::chart::digest::describe(&chart);
        let drawing =
            tokio::task::spawn_blocking(move || crate::chart::digest::png(&chart, Theme::Light));
        match tokio::time::timeout(PATIENCE, drawing).await {
            Ok(Ok(Ok(png))) => Some(Chart {
                name: "promises.png".to_owned(),
                alt,
                png: Arc::from(png),
            }),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "a digest goes without its chart");
                None
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("a digest goes without its chart: drawing took too long");
                None
            }
        }
    }
}
