//! From what is known to what is drawn: the answer to a question for a picture, as a chart.
//!
//! It decides how runs are marked, and words: a run over the limit is bad, one above what was usual before it is slow.
//! The figures are the answer's.

use crate::chart::{Band, ChangePoint, ChartPoint, DurationChart, LimitLine, Mark};
use crate::engine::baseline::span;
use crate::engine::query::{Picture, PictureRun, PictureSlower};
use crate::engine::time::human_span;

/// The chart of what was answered.
pub fn duration_chart(picture: &Picture) -> DurationChart {
    let points = picture.runs.iter().map(|run| ChartPoint {
        at: run.at,
        seconds: run.seconds,
        mark: mark(run, picture),
    });
    let band = picture.runs.iter().filter_map(|run| {
        run.usual.map(|usual| Band {
            at: run.at,
            low: usual.low,
            usual: usual.median,
            high: usual.high,
        })
    });
    DurationChart {
        title: picture.title.clone(),
        subtitle: subtitle(picture),
        points: points.collect(),
        band: band.collect(),
        change: picture.slower.as_ref().map(|slower| ChangePoint {
            at: slower.since,
            label: since(slower, picture),
        }),
        limit: picture.limit.as_ref().map(|limit| LimitLine {
            seconds: limit.seconds,
            label: format!("limit {}", human_span(span(limit.seconds))),
        }),
        zone: picture.zone,
    }
}

fn mark(run: &PictureRun, picture: &Picture) -> Mark {
    let limit = picture.limit.as_ref();
    if !run.is_success {
        Mark::Failed
    } else if limit.is_some_and(|limit| run.seconds > limit.seconds) {
        Mark::Bad
    } else if run.usual.is_some_and(|usual| run.seconds > usual.high) {
        Mark::Slow
    } else {
        Mark::Usual
    }
}

/// `run duration, last 42 runs · usual range of the 20 runs before`.
fn subtitle(picture: &Picture) -> String {
    let what = match picture.clock.as_str() {
        "queue" => "wait in the queue",
        "total" => "time from schedule to end",
        _ => "run duration",
    };
    let count = match picture.runs.len() {
        1 => "one run".to_owned(),
        count => format!("last {count} runs"),
    };
    let usual = picture.runs.iter().rev().find_map(|run| run.usual);
    let basis = match (usual, &picture.slower) {
        (Some(usual), Some(_)) => format!(" · usual range of the {} runs before that", usual.runs),
        (Some(usual), None) => format!(" · usual range of the {} runs before", usual.runs),
        (None, _) => String::new(),
    };
    format!("{what}, {count}{basis}")
}

/// `since 3 Nov 04:15: +68 %`.
fn since(slower: &PictureSlower, picture: &Picture) -> String {
    let at = slower.since.in_zone(picture.zone).format("%-d %b %H:%M");
    format!("since {at}: {:+.0} %", slower.more * 100.0)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::engine::query::{PictureLimit, PictureUsual};
    use crate::engine::time::Timestamp;

    fn run(day: i64, minutes: f64, is_success: bool) -> PictureRun {
        PictureRun {
            id: None,
            at: Timestamp::from_millis(1_790_000_000_000 + day * 86_400_000),
            seconds: minutes * 60.0,
            is_success,
            usual: (day > 0).then_some(PictureUsual {
                low: 1_500.0,
                median: 1_800.0,
                high: 2_100.0,
                runs: 20,
            }),
        }
    }

    fn picture() -> Picture {
        Picture {
            title: "finance nightly".to_owned(),
            clock: "run".to_owned(),
            runs: vec![
                run(0, 36.0, true),
                run(1, 30.0, true),
                run(2, 36.0, true),
                run(3, 46.0, true),
                run(4, 46.0, false),
            ],
            limit: Some(PictureLimit {
                rule: "sla".to_owned(),
                seconds: 2_700.0,
            }),
            slower: None,
            zone: Tz::Europe__Berlin,
        }
    }

    #[test]
    fn runs_are_marked_by_what_was_usual_and_what_is_allowed() {
        let chart = duration_chart(&picture());
        let marks: Vec<Mark> = chart.points.iter().map(|point| point.mark).collect();
        assert_eq!(
            marks,
            [
                Mark::Usual,
                Mark::Usual,
                Mark::Slow,
                Mark::Bad,
                Mark::Failed
            ]
        );
        assert_eq!(chart.band.len(), 4);
        assert_eq!(chart.limit.unwrap().label, "limit 45 min");
        assert_eq!(
            chart.subtitle,
            "run duration, last 5 runs · usual range of the 20 runs before"
        );
    }

    #[test]
    fn what_an_alert_says_is_in_words_and_in_the_zone() {
        let mut picture = picture();
        picture.slower = Some(PictureSlower {
            alert: "abcdef".to_owned(),
            since: picture.runs[2].at,
            more: 0.676,
        });
        let change = duration_chart(&picture).change.unwrap();
        assert_eq!(change.label, "since 23 Sep 16:13: +68 %");
    }
}
