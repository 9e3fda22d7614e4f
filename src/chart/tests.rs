//! Twelve charts as they are kept, and what holds for every chart.

#![allow(clippy::cast_precision_loss)]

use std::path::Path;

use super::*;
use crate::engine::time::Span;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

const MINUTE: f64 = 60.0;

/// A number in [-1, 1) for each index, always the same.
fn noise(index: usize) -> f64 {
    let mut x = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Runs from `start`, each `step` after the one before, of `minutes`.
fn chart(start: &str, step: Span, minutes: &[f64]) -> DurationChart {
    let mut points = Vec::new();
    let mut now = at(start);
    for minutes in minutes {
        points.push(ChartPoint {
            at: now,
            seconds: minutes * MINUTE,
            mark: Mark::Usual,
        });
        now = now + step;
    }
    DurationChart {
        title: "finance nightly-refresh".into(),
        subtitle: match minutes.len() {
            1 => "run duration, one run".into(),
            count => format!("run duration, last {count} runs"),
        },
        points,
        band: Vec::new(),
        change: None,
        limit: None,
        zone: Tz::UTC,
    }
}

/// A range around a slowly moving middle, in minutes; frozen from point `frozen` on.
fn with_band(mut chart: DurationChart, middle: f64, frozen: usize) -> DurationChart {
    chart.band = chart
        .points
        .iter()
        .enumerate()
        .map(|(index, point)| {
            let index = index.min(frozen);
            let usual = middle * (1.0 + 0.05 * (index as f64 / 6.0).sin()) * MINUTE;
            let width = 1.16 + 0.04 * (index as f64 / 5.0).cos();
            Band {
                at: point.at,
                low: usual / width,
                usual,
                high: usual * width,
            }
        })
        .collect();
    let basis = " · usual range of the 20 runs before";
    chart.subtitle.push_str(basis);
    chart
}

fn around(middle: f64, count: usize) -> Vec<f64> {
    (0..count)
        .map(|index| middle * (1.0 + 0.05 * (index as f64 / 6.0).sin() + 0.07 * noise(index)))
        .collect()
}

fn limited(mut chart: DurationChart, minutes: f64) -> DurationChart {
    chart.limit = Some(LimitLine {
        seconds: minutes * MINUTE,
        label: format!("SLA {minutes:.0} min"),
    });
    for point in &mut chart.points {
        if point.seconds > minutes * MINUTE {
            point.mark = Mark::Bad;
        }
    }
    chart
}

fn steady() -> DurationChart {
    with_band(
        chart("2026-10-01T04:00:00Z", Span::days(1), &around(31.0, 42)),
        31.0,
        99,
    )
}

fn regression() -> DurationChart {
    let mut minutes = around(31.0, 42);
    for (index, minutes) in minutes.iter_mut().enumerate().skip(33) {
        *minutes *= 1.68 + 0.05 * noise(index + 7);
    }
    let mut chart = with_band(
        chart("2026-10-01T04:15:00Z", Span::days(1), &minutes),
        31.0,
        33,
    );
    for point in chart.points.iter_mut().skip(33) {
        point.mark = Mark::Slow;
    }
    chart.change = Some(ChangePoint {
        at: chart.points[33].at,
        label: "since 3 Nov 04:15: +68 %".into(),
    });
    chart
}

fn over_the_limit() -> DurationChart {
    let mut minutes = around(31.0, 42);
    minutes[17] = 52.0;
    for (index, value) in [
        (36, 38.5),
        (37, 43.2),
        (38, 48.1),
        (39, 51.3),
        (40, 54.0),
        (41, 58.4),
    ] {
        minutes[index] = value;
    }
    let mut chart = limited(
        with_band(
            chart("2026-10-01T04:00:00Z", Span::days(1), &minutes),
            31.0,
            36,
        ),
        45.0,
    );
    chart.points[36].mark = Mark::Slow;
    chart.points[37].mark = Mark::Slow;
    chart.points[29].mark = Mark::Failed;
    chart.points[29].seconds = 9.0 * MINUTE;
    chart
}

fn single() -> DurationChart {
    chart("2026-03-12T04:15:00Z", Span::days(1), &[17.2])
}

fn two() -> DurationChart {
    limited(
        chart("2026-03-12T04:15:00Z", Span::days(1), &[17.2, 21.4]),
        20.0,
    )
}

fn many() -> DurationChart {
    let mut minutes = around(7.0, 500);
    for index in (0..500).filter(|index| index % 67 == 40) {
        minutes[index] *= 1.6;
    }
    let mut chart = with_band(
        chart("2026-10-01T00:05:00Z", Span::hours(1), &minutes),
        7.0,
        999,
    );
    for (index, point) in chart.points.iter_mut().enumerate() {
        match index % 67 {
            40 => point.mark = Mark::Slow,
            13 if index > 200 => (point.mark, point.seconds) = (Mark::Failed, 100.0),
            _ => {}
        }
    }
    chart.zone = Tz::Europe__Berlin;
    chart
}

fn daylight_saving() -> DurationChart {
    let mut chart = chart("2026-03-04T07:00:00Z", Span::days(1), &around(52.0, 10));
    chart.zone = Tz::America__New_York;
    // 02:00 on the wall clock, an hour earlier from the 8th on.
    for point in chart.points.iter_mut().skip(5) {
        point.at = point.at - Span::hours(1);
    }
    with_band(chart, 52.0, 99)
}

fn spike() -> DurationChart {
    let mut minutes = around(12.0, 42);
    minutes[20] = 240.0;
    minutes[22] = 71.0;
    let mut chart = limited(
        with_band(
            chart("2026-10-01T04:00:00Z", Span::days(1), &minutes),
            12.0,
            99,
        ),
        16.0,
    );
    chart.subtitle = "run duration, last 42 runs".into();
    chart
}

fn failures() -> DurationChart {
    let mut chart = with_band(
        chart("2026-11-20T06:00:00Z", Span::hours(3), &around(4.0, 34)),
        4.0,
        99,
    );
    for (index, share) in [
        (8, 0.1),
        (9, 0.4),
        (25, 0.2),
        (31, 0.7),
        (32, 0.15),
        (33, 0.15),
    ] {
        chart.points[index].mark = Mark::Failed;
        chart.points[index].seconds *= share;
    }
    chart
}

fn hostile() -> DurationChart {
    let mut chart = over_the_limit();
    chart.title = "nightly-etl <orders & invoices> \"quoted\" it's\r\nBcc: a@b\u{0}\u{8}\u{1b}[31m \u{202e}desrever\u{2066} ]]> &amp; <script>alert(1)</script> and a name that goes on and on".into();
    chart.subtitle = format!(
        "{}</text><image href=\"http://127.0.0.1/\"/>",
        "x".repeat(300)
    );
    chart.limit = Some(LimitLine {
        seconds: 45.0 * MINUTE,
        label: "<SLA & more than anybody would ever write here>".into(),
    });
    chart.change = Some(ChangePoint {
        at: chart.points[36].at,
        label: "since & <b>".repeat(40),
    });
    chart
}

/// Name, chart, theme, size.
fn cases() -> Vec<(&'static str, DurationChart, Theme, Size)> {
    use Size::{Phone, Wide};
    use Theme::{Dark, Light};
    vec![
        ("steady", steady(), Light, Wide),
        ("regression", regression(), Light, Wide),
        ("over_the_limit", over_the_limit(), Light, Wide),
        ("single", single(), Light, Wide),
        ("two", two(), Light, Wide),
        ("many", many(), Light, Wide),
        ("daylight_saving", daylight_saving(), Light, Wide),
        ("spike", spike(), Light, Wide),
        ("failures", failures(), Light, Wide),
        ("hostile", hostile(), Light, Wide),
        ("dark", regression(), Dark, Wide),
        ("phone", over_the_limit(), Light, Phone),
    ]
}

#[test]
#[ignore = "writes the pictures of all cases to target/charts, to be looked at"]
fn gallery() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/charts");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, chart, theme, size) in cases() {
        std::fs::write(
            folder.join(format!("{name}.png")),
            png(&chart, theme, size).unwrap(),
        )
        .unwrap();
        std::fs::write(folder.join(format!("{name}.svg")), svg(&chart, theme, size)).unwrap();
        for (theme, word) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
            let picture = png(&chart, theme, Size::Phone).unwrap();
            std::fs::write(folder.join(format!("{name}-phone-{word}.png")), picture).unwrap();
        }
    }
}

/// Boxes of all texts, as the renderer lays them out.
fn boxes(svg: &str) -> Vec<(String, usvg::Rect)> {
    fn collect(group: &usvg::Group, found: &mut Vec<(String, usvg::Rect)>) {
        for node in group.children() {
            match node {
                usvg::Node::Group(group) => collect(group, found),
                usvg::Node::Text(text) => {
                    let content: String = text.chunks().iter().map(usvg::TextChunk::text).collect();
                    found.push((content, text.abs_bounding_box()));
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(tree(svg).unwrap().root(), &mut found);
    found
}

/// What holds for every chart.
#[track_caller]
fn check(name: &str, chart: &DurationChart, theme: Theme, size: Size) -> String {
    let svg = svg(chart, theme, size);
    let document = usvg::roxmltree::Document::parse(&svg)
        .unwrap_or_else(|error| panic!("{name}: {error}\n{svg}"));
    let root = document.root_element();
    for word in ["title", "desc"] {
        let child = root
            .children()
            .find(|child| child.has_tag_name(word))
            .unwrap();
        assert!(!child.text().unwrap().is_empty(), "{name}: no {word}");
    }
    for node in document.descendants() {
        for attribute in node.attributes() {
            assert!(!attribute.name().ends_with("href"), "{name}: {svg}");
            assert!(
                !attribute.value().contains("NaN") && !attribute.value().contains("inf"),
                "{name}: {svg}"
            );
        }
        let is_ours = [
            "svg", "g", "title", "desc", "rect", "path", "circle", "text", "",
        ];
        assert!(is_ours.contains(&node.tag_name().name()), "{name}: {svg}");
    }
    let wanted = document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .count();
    let boxes = boxes(&svg);
    assert_eq!(boxes.len(), wanted, "{name}: every text is drawn");
    let (width, height) = match size {
        Size::Wide => (800.0, 320.0),
        Size::Phone => (360.0, 320.0),
    };
    for (index, (text, room)) in boxes.iter().enumerate() {
        let is_inside = room.left() >= 0.0
            && room.top() >= 0.0
            && room.right() <= width
            && room.bottom() <= height;
        assert!(is_inside, "{name}: `{text}` leaves the picture: {room:?}");
        for (other, taken) in &boxes[..index] {
            let is_apart = room.right() <= taken.left()
                || taken.right() <= room.left()
                || room.bottom() <= taken.top()
                || taken.bottom() <= room.top();
            assert!(
                is_apart,
                "{name}: `{text}` {room:?} lies on `{other}` {taken:?}"
            );
        }
    }
    svg
}

#[test]
fn twelve_charts_are_kept() {
    for (name, chart, theme, size) in cases() {
        let svg = check(name, &chart, theme, size);
        insta::assert_snapshot!(name, svg);
    }
}

#[test]
fn every_case_is_fine_on_every_sheet() {
    for (name, chart, ..) in cases() {
        for theme in [Theme::Light, Theme::Dark] {
            for size in [Size::Wide, Size::Phone] {
                check(name, &chart, theme, size);
            }
        }
    }
}

#[test]
fn any_number_of_runs_of_any_length_is_drawn() {
    let lengths = [
        0.01, 0.4, 1.0, 7.5, 59.0, 61.0, 3_599.0, 3_601.0, 90_000.0, 864_000.0,
    ];
    for count in [0, 1, 2, 3, 42, 100, 500] {
        for seconds in lengths {
            let step = if count > 100 {
                Span::hours(1)
            } else {
                Span::days(1)
            };
            let mut chart = with_band(
                chart(
                    "2026-10-01T04:00:00Z",
                    step,
                    &around(seconds / MINUTE, count),
                ),
                seconds / MINUTE,
                30,
            );
            chart.title = "a long name of a job that has one ".repeat(4);
            chart.change = chart.points.get(count / 2).map(|point| ChangePoint {
                at: point.at,
                label: "since 12 Mar 04:15: +68 %".into(),
            });
            chart.limit = Some(LimitLine {
                seconds: seconds * 1.3,
                label: "limit".into(),
            });
            for (index, point) in chart.points.iter_mut().enumerate() {
                point.mark = [Mark::Usual, Mark::Slow, Mark::Bad, Mark::Failed][index % 4];
            }
            for size in [Size::Wide, Size::Phone] {
                check(
                    &format!("{count} of {seconds} s"),
                    &chart,
                    Theme::Light,
                    size,
                );
            }
        }
    }
}

#[test]
fn labels_at_the_right_never_lie_on_each_other() {
    for newest in [0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0, 30.0] {
        for limit in [0.001, 0.5, 0.95, 1.0, 1.05, 3.0, 50.0] {
            for size in [Size::Wide, Size::Phone] {
                let mut chart = with_band(
                    chart("2026-10-01T04:00:00Z", Span::days(1), &around(30.0, 12)),
                    30.0,
                    99,
                );
                chart.points[11].seconds = newest * 30.0 * MINUTE;
                let svg = check("labels", &limited(chart, limit * 30.0), Theme::Light, size);
                for word in [" now</text>", "SLA ", "usual "] {
                    assert!(svg.contains(word), "{word}: {svg}");
                }
            }
        }
    }
}

#[test]
fn runs_far_above_all_others_are_cut_and_say_their_value() {
    let svg = check("spike", &spike(), Theme::Light, Size::Wide);
    for text in [">20 min</text>", ">4 h</text>", ">1 h 11 min</text>"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    let mut newest = spike();
    newest.points.last_mut().unwrap().seconds = 864_000.0;
    let svg = check("spike", &newest, Theme::Light, Size::Phone);
    assert!(svg.contains(">10 d now</text>"), "{svg}");
    // Four of the usual length are room enough to be shown to scale.
    let mut slow = steady();
    slow.points[20].seconds = 100.0 * MINUTE;
    let svg = check("slow", &slow, Theme::Light, Size::Wide);
    assert!(svg.contains(">2 h</text>"), "{svg}");
}

#[test]
fn a_limit_far_above_is_named_and_presses_nothing_down() {
    let svg = check(
        "limit",
        &limited(steady(), 3_000.0),
        Theme::Light,
        Size::Wide,
    );
    assert!(svg.contains(">↑ SLA 3000 min</text>"), "{svg}");
    assert!(svg.contains(">40 min</text>"), "{svg}");
}

#[test]
fn the_same_duration_every_time_is_drawn() {
    for seconds in [0.0, 0.01, 1800.0] {
        let chart = chart(
            "2026-10-01T04:00:00Z",
            Span::zero(),
            &[seconds / MINUTE; 20],
        );
        check("at one instant", &chart, Theme::Light, Size::Phone);
        let chart = self::chart(
            "2026-10-01T04:00:00Z",
            Span::days(1),
            &[seconds / MINUTE; 20],
        );
        check("the same", &chart, Theme::Light, Size::Wide);
    }
}

#[test]
fn what_is_no_duration_is_left_out() {
    let mut chart = over_the_limit();
    for (index, seconds) in [f64::NAN, f64::INFINITY, -1.0, 1e300]
        .into_iter()
        .enumerate()
    {
        chart.points[index].seconds = seconds;
        chart.band[index].high = seconds;
    }
    chart.points.reverse();
    chart.limit = Some(LimitLine {
        seconds: f64::NAN,
        label: "SLA".into(),
    });
    let svg = check("numbers", &chart, Theme::Light, Size::Wide);
    assert!(
        svg.contains("38 runs from 5 Oct 04:00 to 11 Nov 04:00; the newest took 58 min"),
        "{svg}"
    );
}

#[test]
fn screen_readers_are_told_what_is_seen() {
    for (chart, words) in [
        (
            over_the_limit(),
            "42 runs from 1 Oct 04:00 to 11 Nov 04:00; the newest took 58 min, usual are 25 min to 36 min; 5 of them over the limit of 45 min; 1 failed.",
        ),
        (single(), "One run, at 04:15 UTC; the newest took 17 min."),
        (failures(), "the newest failed after 32 s"),
        (regression(), "since 3 Nov 04:15: +68 %."),
        (
            super::tests::chart("2026-10-01T04:00:00Z", Span::days(1), &[]),
            "No finished runs to show.",
        ),
    ] {
        let svg = svg(&chart, Theme::Light, Size::Wide);
        let document = usvg::roxmltree::Document::parse(&svg).unwrap();
        let description = document
            .descendants()
            .find(|node| node.has_tag_name("desc"))
            .unwrap();
        let description = description.text().unwrap();
        assert!(description.contains(words), "{description}");
    }
}

#[test]
fn the_same_chart_is_the_same_bytes() {
    for size in [Size::Wide, Size::Phone] {
        let chart = over_the_limit();
        let mut shuffled = chart.clone();
        shuffled.points.reverse();
        shuffled.band.reverse();
        assert_eq!(
            svg(&chart, Theme::Dark, size),
            svg(&shuffled, Theme::Dark, size)
        );
        assert_eq!(
            png(&chart, Theme::Dark, size).unwrap(),
            png(&shuffled, Theme::Dark, size).unwrap()
        );
    }
}

#[test]
fn a_png_has_twice_or_three_times_the_pixels() {
    for (size, width, height) in [(Size::Wide, 1_600, 640), (Size::Phone, 1_080, 960)] {
        let png = png(&single(), Theme::Light, size).unwrap();
        let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (width, height));
        let ink = pixels
            .pixels()
            .iter()
            .filter(|pixel| pixel.red() < 100)
            .count();
        assert!(ink > 1_000, "letters are drawn: {ink}");
    }
}

/// Relative luminance, WCAG 2.
fn luminance(color: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_text_has_a_contrast_of_four_and_a_half_and_every_mark_of_nearly_three() {
    assert!(
        (contrast("#ffffff", "#777777") - 4.48).abs() < 0.01,
        "as WCAG gives it"
    );
    for theme in [Theme::Light, Theme::Dark] {
        let ink = theme.ink();
        for (name, chart, ..) in cases() {
            let svg = svg(&chart, theme, Size::Wide);
            let document = usvg::roxmltree::Document::parse(&svg).unwrap();
            for text in document
                .descendants()
                .filter(|node| node.has_tag_name("text"))
            {
                let color = text.attribute("fill").unwrap();
                // The value of a run that is not to scale may stand on the time since a change.
                for ground in [ink.ground, ink.since] {
                    let found = contrast(color, ground);
                    assert!(found >= 4.5, "{name}: {color} on {ground}: {found:.2}");
                }
            }
        }
        for mark in [ink.line, ink.slow, ink.bad, ink.failed] {
            for ground in [ink.ground, ink.since, ink.band] {
                let found = contrast(mark, ground);
                assert!(found >= 2.2, "{mark} on {ground}: {found:.2}");
            }
        }
    }
}

#[test]
fn marks_differ_in_shape() {
    let mut shapes = Vec::new();
    for mark in [Mark::Usual, Mark::Slow, Mark::Bad, Mark::Failed] {
        let mut chart = single();
        chart.points[0].mark = mark;
        let svg = svg(&chart, Theme::Light, Size::Wide);
        let document = usvg::roxmltree::Document::parse(&svg).unwrap();
        let drawn = document.descendants().find(|node| {
            node.is_element()
                && node
                    .parent_element()
                    .is_some_and(|parent| parent.has_tag_name("svg"))
                && node.children().any(|child| child.has_tag_name("title"))
        });
        let drawn = drawn.unwrap();
        let letters = |c: &char| c.is_alphabetic();
        let shape: String = drawn
            .attribute("d")
            .unwrap_or("circle")
            .chars()
            .filter(letters)
            .collect();
        assert!(!shapes.contains(&shape), "{shape}");
        shapes.push(shape);
    }
}

#[test]
fn charts_travel_as_json() {
    let chart = two();
    let text = serde_json::to_string(&chart).unwrap();
    assert_eq!(serde_json::from_str::<DurationChart>(&text).unwrap(), chart);
}

/// `UPDATE_DOCS=1 cargo test --lib chart` draws it anew.
#[test]
fn the_picture_of_the_documentation_is_there_and_small() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/run-duration.png");
    let environment = crate::config::Environment::of_process();
    if environment.get("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(
            &path,
            png(&over_the_limit(), Theme::Light, Size::Wide).unwrap(),
        )
        .unwrap();
    }
    let size = std::fs::metadata(&path).unwrap().len();
    assert!((5_000..100_000).contains(&size), "{size}");
}
