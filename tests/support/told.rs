//! Notifications to tell: an ordinary incident, and one whose every text is hostile.

use tardy::engine::digest::{
    BudgetLine, Digest, DigestPeriod, DigestState, EarlierRow, FlappingRow, GapRow, ModelLine,
    NearRow, OpenRow, PausedRow, RuleHabit, RuleNote, SilenceRow, SlaLine, UnreachableRow,
};
use tardy::engine::labels::{Fingerprint, Labels};
use tardy::engine::ledger::Tally;
use tardy::engine::notification::{
    AcknowledgedView, AlertView, Body, ConversationId, Fact, Notification, Reason, SilencedView,
    Suppressed, SuppressionReason,
};
use tardy::engine::query::{BudgetRow, Page};
use tardy::engine::rule::Severity;
use tardy::engine::time::{Span, Timestamp};

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap()
}

fn labels() -> Labels {
    Labels::default()
        .with("project", "finance")
        .with("job", "nightly-refresh")
}

/// A critical alert with everything known.
pub(crate) fn alert(id: &str) -> AlertView {
    AlertView {
        id: id.to_owned(),
        rule: "nightly-on-time".into(),
        kind: "deadline".into(),
        origin: "rules/finance.toml:12".to_owned(),
        severity: Severity::Critical,
        labels: labels(),
        headline: "Late: finance nightly-refresh not finished, due 07:00 EST".to_owned(),
        facts: vec![
            Fact::new("Observed", "running 52 min"),
            Fact::new("Usual", "31 min, p95 36, last 20 runs"),
            Fact::new("Last good run", "9 Mar 06:31 EDT"),
        ],
        error: Some(
            "Database error in model orders\n  relation \"raw.orders\" does not exist".into(),
        ),
        run_url: Some("https://app.dagctl.io/projects/p1/runs/r1?tab=a&b=c".to_owned()),
        description: Some("The numbers are read at 07:30.".to_owned()),
        runbook: Some("https://wiki.example.com/nightly".to_owned()),
        owner: Some("finance-data".to_owned()),
        began_at: at("11:00"),
        fired_at: at("11:05"),
        ended_at: None,
        is_new: true,
        is_already_so: false,
        acknowledged: None,
        silenced: None,
    }
}

pub(crate) fn ended(id: &str) -> AlertView {
    AlertView {
        headline: "Recovered: finance nightly-refresh succeeded".to_owned(),
        ended_at: Some(at("11:42")),
        is_new: false,
        ..alert(id)
    }
}

/// Of one conversation; `sequence` sets it a quarter of an hour later each.
pub(crate) fn notification(sequence: u32, reason: Reason, alerts: Vec<AlertView>) -> Notification {
    Notification {
        receiver: "team".into(),
        conversation: ConversationId(Fingerprint::of("conversation", &labels())),
        sequence,
        reason,
        decided_at: at("11:05") + Span::minutes(15) * i32::try_from(sequence).unwrap(),
        group: labels(),
        route: "root".into(),
        body: Body::Alerts(alerts),
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

pub(crate) fn first() -> Notification {
    notification(0, Reason::First, vec![alert("k3x9pq")])
}

pub(crate) fn reminder(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Reminder, vec![alert])
}

pub(crate) fn changed(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        error: Some("another error".to_owned()),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Changed, vec![alert])
}

pub(crate) fn recovered(sequence: u32) -> Notification {
    notification(sequence, Reason::AllResolved, vec![ended("k3x9pq")])
}

/// Somebody has taken it on.
pub(crate) fn acknowledged(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        acknowledged: Some(AcknowledgedView {
            by: "mia".into(),
            until: at("19:20"),
            comment: Some("looking at it".to_owned()),
        }),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Acknowledged, vec![alert])
}

/// Somebody has silenced it.
pub(crate) fn silenced(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        silenced: Some(SilencedView {
            id: "s1".to_owned(),
            by: "mia".into(),
            until: at("13:00"),
            comment: "the warehouse moves".to_owned(),
        }),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Silenced, vec![alert])
}

/// Forty alerts, some of them over, some kept quiet.
pub(crate) fn many() -> Notification {
    let mut alerts: Vec<AlertView> = (0..40).map(|index| alert(&format!("a{index}"))).collect();
    for alert in &mut alerts[1..] {
        alert.severity = Severity::Warning;
    }
    alerts[2].is_already_so = true;
    for alert in &mut alerts[30..] {
        alert.ended_at = Some(at("11:04"));
    }
    let quiet = |id: &str, reason| Suppressed {
        id: id.to_owned(),
        headline: "Slow: x".to_owned(),
        reason,
    };
    Notification {
        suppressed: vec![
            quiet("q1", SuppressionReason::Silenced("s1".to_owned())),
            quiet("q2", SuppressionReason::Silenced("s1".to_owned())),
            quiet("q3", SuppressionReason::Muted("weekend".into())),
        ],
        ..notification(0, Reason::First, alerts)
    }
}

pub(crate) fn notice() -> Notification {
    Notification {
        body: Body::Notice {
            headline: "rules/finance.toml was not reloaded: line 12".to_owned(),
            text: "unknown key `maxx`\nthe old rules stay in force".to_owned(),
        },
        ..notification(0, Reason::Notice, Vec::new())
    }
}

/// Texts that try to ping, link, inject, reorder, hide, or be too long.
pub(crate) const HOSTILE: &[&str] = &[
    "@everyone <@123456789012345678> <@&1> <#2>",
    "<!channel> <!here> <@U123> <http://evil|run>",
    "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "a\r\nBcc: evil@example.com\r\n\r\n<html>",
    "\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{200e}y",
    "ze\u{200b}ro\u{feff}wi\u{2060}dth \0nul \u{7}bell",
    "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{9b}2J",
    "```\n*bold* _it_ ~no~ `code` ||spoiler|| [a](http://evil) # head",
    "👩\u{200d}💻🚀 astral 𝕏 数据 مرحبا",
    "&amp; &lt;b&gt; {{ 7*7 }} {% raw %} ${x} %0d%0aBcc:x",
    "?q=\"><script>alert(1)</script>' onmouseover=alert(1) x=\"",
    "<!-- --> ]]> <![endif]--> --> </style></title></mj-text> {% endfor %} {# x #}",
    "",
    "   ",
];

/// Every text of the alert is `text`.
pub(crate) fn hostile(text: &str) -> Notification {
    let alert = AlertView {
        id: text.chars().take(12).collect(),
        rule: text.into(),
        kind: text.into(),
        origin: text.to_owned(),
        labels: Labels::default().with("project", text).with("job", text),
        headline: text.to_owned(),
        facts: vec![Fact::new(text, text), Fact::new("Observed", text)],
        error: Some(text.to_owned()),
        run_url: Some(format!("https://x/{text}")),
        description: Some(text.to_owned()),
        runbook: Some(text.to_owned()),
        owner: Some(text.to_owned()),
        acknowledged: Some(AcknowledgedView {
            by: text.into(),
            until: at("19:00"),
            comment: Some(text.to_owned()),
        }),
        silenced: Some(SilencedView {
            id: text.to_owned(),
            by: text.into(),
            until: at("19:00"),
            comment: text.to_owned(),
        }),
        ..alert("x")
    };
    Notification {
        receiver: text.into(),
        route: text.into(),
        group: alert.labels.clone(),
        suppressed: vec![Suppressed {
            id: text.to_owned(),
            headline: text.to_owned(),
            reason: SuppressionReason::Silenced(text.to_owned()),
        }],
        ..notification(0, Reason::First, vec![alert])
    }
}

/// A megabyte in every text, of characters that count double or grow when escaped.
pub(crate) fn long(unit: &str) -> Notification {
    let text = unit.repeat((1 << 20) / unit.len());
    let mut long = hostile(&text);
    if let Body::Alerts(alerts) = &mut long.body {
        alerts[0].facts = vec![Fact::new(&unit.repeat(300), unit.repeat(3000)); 40];
        *alerts = vec![alerts[0].clone(); 3];
    }
    long
}

fn tally(met: usize, late: usize, missed: usize, excused: usize, unknown: usize) -> Tally {
    Tally {
        met,
        late,
        missed,
        excused,
        unknown,
    }
}

fn page<T>(rows: Vec<T>, more: usize) -> Page<T> {
    Page { rows, more }
}

/// A digest in which every list has something to say, and every text is `name(what)`.
pub(crate) fn digest_of(name: &dyn Fn(&str) -> String) -> Digest {
    let to = at("07:00");
    let days_before = |days: i64| to - Span::days(days);
    let line = |job: &str, periods, rules: &[&str], worst, is_new| SlaLine {
        subject: name(job),
        broken_rules: rules.iter().map(|rule| name(rule)).collect(),
        periods,
        worst_late_millis: worst,
        is_new,
    };
    let kept = tally(24, 0, 0, 0, 0);
    let open = |id: &str, headline: &str, severity, hours, is_new| OpenRow {
        id: name(id),
        headline: name(headline),
        severity,
        began_at: to - Span::hours(hours),
        owner: None,
        acknowledged_by: None,
        acknowledged_until: None,
        quiet: None,
        run_url: Some(format!(
            "https://app.dagctl.io/projects/p1/runs/{}",
            name(id)
        )),
        is_new,
    };
    let model = |what: &str, seconds: i64, usual: Option<i64>, count: usize| ModelLine {
        project: name("finance"),
        job: name("nightly-refresh"),
        model: name(what),
        count,
        median_millis: seconds * 1_000,
        usual_millis: usual.map(|usual| usual * 1_000),
        usual_count: 20,
        added_millis: usual.map(|usual| (seconds - usual) * 1_000 * i64::try_from(count).unwrap()),
    };
    let tallies = [
        tally(36, 2, 3, 1, 1),
        tally(41, 0, 0, 1, 0),
        tally(40, 1, 0, 1, 0),
        tally(41, 0, 0, 0, 0),
        tally(12, 0, 0, 0, 0),
        tally(14, 0, 0, 0, 0),
        tally(38, 2, 1, 0, 0),
    ];
    let periods = tallies
        .into_iter()
        .zip(0..)
        .map(|(tally, days)| DigestPeriod {
            from: days_before(days + 1),
            to: days_before(days),
            tally,
        });
    Digest {
        name: Some(name("morning").as_str().into()),
        verdict: "3 of 41 promises missed, 2 late, 1 cannot be told; 3 alerts open; \
                  not all is known of sales"
            .to_owned(),
        state: DigestState::Bad,
        zone: chrono_tz::Europe::Berlin,
        from: days_before(1),
        to,
        made_at: at("07:10"),
        previous_to: Some(days_before(3)),
        skipped: 2,
        periods: periods.collect(),
        open: page(
            vec![
                OpenRow {
                    owner: Some(name("finance-data")),
                    acknowledged_by: Some(name("ada")),
                    acknowledged_until: Some(at("12:00")),
                    ..open(
                        "k3x9pq",
                        "Late: finance nightly-refresh not finished, due 05:00 CET (running 2 h 10 min, usual 31 min)",
                        Severity::Critical,
                        2,
                        true,
                    )
                },
                OpenRow {
                    quiet: Some(name("silenced by grace (sk3x9q)")),
                    ..open(
                        "m2x4ab",
                        "Failed: sales export: relation \"raw.orders\" does not exist",
                        Severity::Warning,
                        31,
                        false,
                    )
                },
                open(
                    "p7x1cd",
                    "Slower: finance marts.revenue_daily took 15 min, usual 5 min",
                    Severity::Info,
                    5,
                    true,
                ),
            ],
            0,
        ),
        decided_since: page(
            vec![EarlierRow {
                subject: name("sales export"),
                rule: name("export-on-time"),
                due_at: days_before(1) - Span::minutes(5),
                outcome: "late".to_owned(),
                late_millis: Some(42 * 60_000),
                corrected_from: Some("missed".to_owned()),
            }],
            0,
        ),
        sla: page(
            vec![
                line(
                    "finance nightly-refresh",
                    [tally(21, 0, 3, 0, 0), kept, tally(23, 1, 0, 0, 0)],
                    &["nightly-on-time", "nightly-schedule"],
                    None,
                    true,
                ),
                line(
                    "sales export",
                    [
                        tally(10, 2, 0, 1, 1),
                        tally(12, 0, 0, 0, 0),
                        Tally::default(),
                    ],
                    &["export-on-time"],
                    Some(95 * 60_000),
                    false,
                ),
                line("finance hourly", [kept, kept, kept], &[], None, false),
            ],
            4,
        ),
        budgets: page(
            vec![BudgetLine {
                objective: name("nightly-objective"),
                of: name("nightly-on-time, nightly-schedule"),
                periods: [tally(21, 0, 3, 0, 0), kept, tally(23, 1, 0, 0, 0)],
                budget: BudgetRow {
                    target: 0.95,
                    window_millis: 30 * 86_400_000,
                    counted: 30,
                    expected: Some(40),
                    allowed: 2,
                    used: 1,
                    next_leaves_at: Some(at("12:00") + Span::days(12)),
                },
            }],
            0,
        ),
        nearly_missed: page(
            vec![
                NearRow {
                    subject: name("finance orders"),
                    rule: name("orders-by-six"),
                    due_at: at("05:00"),
                    left_millis: -4 * 60_000,
                    allowed_millis: 3 * 3_600_000,
                    count: 1,
                },
                NearRow {
                    subject: name("sales hourly"),
                    rule: name("hourly-limit"),
                    due_at: at("03:45"),
                    left_millis: 90_000,
                    allowed_millis: 45 * 60_000,
                    count: 3,
                },
            ],
            0,
        ),
        growing: page(vec![model("marts.revenue_daily", 900, Some(300), 3)], 2),
        slowest: page(
            vec![
                model("marts.revenue_daily", 900, Some(300), 3),
                model("staging.clickstream_events", 640, None, 1),
            ],
            0,
        ),
        flapping: page(
            vec![FlappingRow {
                id: name("q9x2ef"),
                headline: name("Flapping: finance hourly failed"),
                note: name("9 changes"),
                since: at("02:10"),
                is_new: true,
            }],
            0,
        ),
        paused: page(
            vec![PausedRow {
                subject: name("sales weekly"),
                since: Some(days_before(2)),
                is_since_or_before: false,
                is_new: false,
            }],
            0,
        ),
        silences: page(
            vec![SilenceRow {
                id: name("sk3x9q"),
                matchers: name("project = \"sales\""),
                by: name("grace"),
                ends_at: at("16:00"),
                comment: name("vendor is migrating, ticket 4711"),
            }],
            0,
        ),
        gaps: page(
            vec![GapRow {
                project: name("sales"),
                what: "runs".to_owned(),
                known_until: Some(at("05:12")),
            }],
            0,
        ),
        unreachable: page(
            vec![UnreachableRow {
                what: name("source acme"),
                since: at("05:12"),
                why: Some(name("timeout after 30 s")),
                is_new: true,
            }],
            0,
        ),
        rules: page(
            vec![
                RuleNote {
                    rule: name("sales-stale"),
                    kind: "staleness".to_owned(),
                    habit: RuleHabit::AlwaysFires,
                    since: days_before(9),
                    alerts: 2,
                },
                RuleNote {
                    rule: name("old-export"),
                    kind: "run_failed".to_owned(),
                    habit: RuleHabit::MatchesNothing,
                    since: days_before(40),
                    alerts: 0,
                },
            ],
            0,
        ),
    }
}

pub(crate) fn digest_told(digest: Digest) -> Notification {
    Notification {
        body: Body::Digest(Box::new(digest)),
        receiver: "leads".into(),
        route: "digest".into(),
        group: Labels::default(),
        decided_at: at("07:10"),
        ..notification(0, Reason::Digest, Vec::new())
    }
}

pub(crate) fn digest() -> Notification {
    digest_told(digest_of(&str::to_owned))
}

/// All is well and known.
pub(crate) fn quiet_digest() -> Notification {
    let mut digest = digest_of(&str::to_owned);
    "all 41 promises kept".clone_into(&mut digest.verdict);
    digest.state = DigestState::Good;
    digest.periods[0].tally = tally(41, 0, 0, 0, 0);
    digest.made_at = digest.to + Span::seconds(15);
    digest.skipped = 0;
    digest.open.rows.clear();
    digest.decided_since.rows.clear();
    digest.sla.rows.drain(..2);
    digest.budgets.rows.clear();
    digest.nearly_missed.rows.clear();
    digest.growing.rows.clear();
    digest.flapping.rows.clear();
    digest.paused.rows.clear();
    digest.silences.rows.clear();
    digest.gaps.rows.clear();
    digest.unreachable.rows.clear();
    digest.rules.rows.clear();
    digest_told(digest)
}

/// As large as an engine makes them, of texts that grow when escaped.
pub(crate) fn full_digest(text: &str) -> Notification {
    fn fill<T: Clone>(page: &mut Page<T>, count: usize) {
        let rows = page.rows.iter().cycle().take(count).cloned();
        *page = Page {
            rows: rows.collect(),
            more: 500,
        };
    }
    let text: String = text.chars().cycle().take(240).collect();
    let mut digest = digest_of(&|_| text.clone());
    digest.verdict.clone_from(&text);
    fill(&mut digest.open, 20);
    fill(&mut digest.sla, 15);
    fill(&mut digest.decided_since, 10);
    fill(&mut digest.budgets, 10);
    fill(&mut digest.nearly_missed, 10);
    fill(&mut digest.growing, 5);
    fill(&mut digest.slowest, 5);
    fill(&mut digest.flapping, 10);
    fill(&mut digest.paused, 10);
    fill(&mut digest.silences, 10);
    fill(&mut digest.gaps, 10);
    fill(&mut digest.unreachable, 10);
    fill(&mut digest.rules, 10);
    digest_told(digest)
}
