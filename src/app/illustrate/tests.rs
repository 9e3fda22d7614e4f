use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::*;
use crate::app::deliver::{Deliverer, Outgoing};
use crate::chart::{ChartPoint, Mark};
use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::notification::{Body, ConversationId};
use crate::engine::rule::Severity;
use crate::notify::{Delivery, Notifier, Outcome};
use crate::store::Store;
use crate::store::records::{DeliveryOutcome, OutboxRow};
use crate::store::sled::{SledOptions, SledStore};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + minute * 60_000)
}

fn alert(kind: &str) -> AlertView {
    AlertView {
        id: "abcdef".to_owned(),
        rule: "slow".into(),
        kind: kind.into(),
        origin: "rules/finance.toml:12".to_owned(),
        severity: Severity::Warning,
        labels: Labels::default().with("job", "nightly"),
        headline: "Slow: finance nightly".to_owned(),
        facts: Vec::new(),
        error: None,
        run_url: None,
        description: None,
        runbook: None,
        owner: None,
        began_at: at(0),
        fired_at: at(0),
        ended_at: None,
        is_new: true,
        is_already_so: false,
        acknowledged: None,
        silenced: None,
    }
}

fn told(reason: Reason, alert: AlertView) -> Notification {
    Notification {
        receiver: "team".into(),
        conversation: ConversationId(Fingerprint::of("c", &Labels::default())),
        sequence: 0,
        reason,
        decided_at: at(5),
        group: Labels::default(),
        route: "root".into(),
        body: Body::Alerts(vec![alert]),
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

fn news() -> Notification {
    told(Reason::First, alert("run_regression"))
}

fn some_chart() -> Chart {
    Chart {
        name: "nightly.png".to_owned(),
        alt: "nightly".to_owned(),
        png: b"\x89PNG".as_slice().into(),
    }
}

/// Draws at once, and counts.
#[derive(Default)]
struct Quick(AtomicUsize);

impl Illustrator for Quick {
    fn illustrate(&self, _: &AlertView) -> Option<Chart> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Some(some_chart())
    }
}

/// Says that it has begun, and goes on only when it is let.
struct Slow {
    begun: Mutex<Option<oneshot::Sender<()>>>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Slow {
    fn new() -> (Self, oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (begun, has_begun) = oneshot::channel();
        let (open, gate) = mpsc::channel();
        let slow = Self {
            begun: Mutex::new(Some(begun)),
            gate: Mutex::new(gate),
        };
        (slow, has_begun, open)
    }
}

impl Illustrator for Slow {
    fn illustrate(&self, _: &AlertView) -> Option<Chart> {
        if let Some(begun) = self.begun.lock().unwrap().take() {
            begun.send(()).unwrap();
        }
        // Ends when the test does, at the latest.
        let _ = self.gate.lock().unwrap().recv();
        Some(some_chart())
    }
}

struct Panicking;

impl Illustrator for Panicking {
    fn illustrate(&self, _: &AlertView) -> Option<Chart> {
        panic!("a bug in drawing")
    }
}

/// Keeps whether each message had a chart; fails the first so many times.
#[derive(Default)]
struct Told {
    charts: Mutex<Vec<bool>>,
    failures: AtomicUsize,
    wants_none: bool,
}

impl Notifier for Told {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        self.charts.lock().unwrap().push(delivery.chart.is_some());
        let fails = self.failures.load(Ordering::SeqCst);
        self.failures
            .store(fails.saturating_sub(1), Ordering::SeqCst);
        Box::pin(std::future::ready(if fails > 0 {
            Outcome::Retry {
                after: None,
                why: "not now".to_owned(),
                is_uncertain: false,
            }
        } else {
            Outcome::Delivered { handle: None }
        }))
    }

    fn wants_chart(&self, _: &Notification) -> bool {
        !self.wants_none
    }
}

/// Delivers one notification; returns how it ended and whether each try had a chart.
async fn delivered(
    illustrator: Option<Arc<dyn Illustrator>>,
    notification: Notification,
    receiver: Told,
) -> (Vec<DeliveryOutcome>, Vec<bool>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(&folder.path().join("data"), SledOptions::at(at(0)));
    let store: Arc<dyn Store> = Arc::new(store.unwrap().store);
    let receiver = Arc::new(receiver);
    let notifier: Arc<dyn Notifier> = receiver.clone();
    let notifiers = BTreeMap::from([("team".into(), notifier)]);
    let mut deliverer = Deliverer::new(store, notifiers, Outgoing::default());
    if let Some(illustrator) = illustrator {
        deliverer = deliverer.with_illustrator(illustrator);
    }
    deliverer.enqueue(vec![OutboxRow {
        sequence: 1,
        notification,
        attempts: 0,
        next_attempt_at: at(5),
        is_uncertain: false,
        is_fallback_told: false,
        why: None,
    }]);
    let mut ends = Vec::new();
    for minute in [5, 20, 40] {
        let report = deliverer.deliver_due(&|| at(minute)).await;
        ends.extend(report.settled.into_iter().map(|record| record.outcome));
    }
    let charts = receiver.charts.lock().unwrap().clone();
    (ends, charts)
}

#[tokio::test]
async fn a_chart_goes_with_news_about_durations() {
    let (ends, charts) = delivered(Some(Arc::new(Quick::default())), news(), Told::default()).await;
    assert_eq!(
        (ends, charts),
        (vec![DeliveryOutcome::Delivered], vec![true])
    );
    let uninterested = Told {
        wants_none: true,
        ..Told::default()
    };
    let quick = Arc::new(Quick::default());
    let (_, charts) = delivered(Some(quick.clone()), news(), uninterested).await;
    assert_eq!((charts, quick.0.load(Ordering::SeqCst)), (vec![false], 0));
    let (_, charts) = delivered(None, news(), Told::default()).await;
    assert_eq!(charts, [false], "without an illustrator all is as before");
}

#[test]
fn only_news_of_what_still_fires_and_is_about_durations_is_illustrated() {
    for kind in KINDS {
        assert!(
            illustrated(&told(Reason::First, alert(kind))).is_some(),
            "{kind}"
        );
    }
    for kind in ["run_failed", "rows", "missed_schedule"] {
        assert!(
            illustrated(&told(Reason::First, alert(kind))).is_none(),
            "{kind}"
        );
    }
    for (reason, is) in [
        (Reason::NewAlerts, true),
        (Reason::Escalated, true),
        (Reason::Upgraded, true),
        (Reason::Reminder, false),
        (Reason::Changed, false),
        (Reason::Acknowledged, false),
        (Reason::AllResolved, false),
    ] {
        let notification = told(reason, alert("deadline"));
        assert_eq!(illustrated(&notification).is_some(), is, "{reason:?}");
    }
    let mut ended = alert("deadline");
    ended.ended_at = Some(at(4));
    assert!(illustrated(&told(Reason::First, ended)).is_none());
}

#[tokio::test]
async fn a_chart_is_drawn_once_for_all_tries_and_receivers() {
    let quick = Arc::new(Quick::default());
    let failing = Told {
        failures: AtomicUsize::new(2),
        ..Told::default()
    };
    let (ends, charts) = delivered(Some(quick.clone()), news(), failing).await;
    assert_eq!(ends, [DeliveryOutcome::Delivered]);
    assert_eq!(charts, [true, true, true]);
    assert_eq!(quick.0.load(Ordering::SeqCst), 1);
    let studio = Studio::new(quick.clone());
    for receiver in ["chat", "mail"] {
        let notification = Notification {
            receiver: receiver.into(),
            ..news()
        };
        assert!(studio.chart(&notification).await.is_some());
    }
    assert_eq!(quick.0.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_chart_that_takes_too_long_delays_nothing() {
    let (slow, has_begun, gate) = Slow::new();
    let delivering = delivered(Some(Arc::new(slow)), news(), Told::default());
    let waiting = async {
        has_begun.await.unwrap();
        tokio::time::advance(PATIENCE + Duration::from_millis(1)).await;
    };
    let ((ends, charts), ()) = tokio::join!(delivering, waiting);
    assert_eq!(
        (ends, charts),
        (vec![DeliveryOutcome::Delivered], vec![false])
    );
    drop(gate);
}

#[tokio::test]
async fn a_chart_whose_drawing_panics_loses_nothing() {
    let (ends, charts) = delivered(Some(Arc::new(Panicking)), news(), Told::default()).await;
    assert_eq!(
        (ends, charts),
        (vec![DeliveryOutcome::Delivered], vec![false])
    );
}

#[tokio::test]
async fn a_flood_goes_out_without_charts() {
    let (slow, has_begun, gate) = Slow::new();
    let studio = Studio::new(Arc::new(slow));
    let asked = |number: usize| {
        let mut alert = alert("run_duration");
        alert.id = number.to_string();
        studio.drawing(&alert, at(5)).is_some()
    };
    let taken = (0..10_000).filter(|number| asked(*number)).count();
    assert_eq!(taken, DRAWN_AT_ONCE + WAITING);
    assert_eq!(studio.kept.lock().unwrap().len(), taken);
    has_begun.await.unwrap();
    drop(gate);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let studio = Studio::new(Arc::new(Quick::default()));
    for number in 0..3 * KEPT {
        let mut alert = alert("run_duration");
        alert.id = number.to_string();
        studio.chart(&told(Reason::First, alert)).await;
    }
    assert_eq!(studio.kept.lock().unwrap().len(), KEPT);
}

#[test]
fn a_file_name_holds_only_what_every_platform_takes() {
    for (title, name) in [
        ("finance nightly-refresh", "finance-nightly-refresh.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        ("a\"; filename=\"x.exe\r\nX: y", "a-filename-x-exe-x-y.png"),
        ("数据", "chart.png"),
        ("", "chart.png"),
        ("staging.orders_v2", "staging-orders_v2.png"),
    ] {
        assert_eq!(file_name(title), name);
    }
    assert!(file_name(&"x".repeat(900)).len() <= MAX_NAME + 4);
}

#[test]
fn a_chart_of_hardly_any_runs_is_not_drawn_and_others_are_described() {
    let chart = |runs: i64| DurationChart {
        title: "finance nightly".to_owned(),
        subtitle: String::new(),
        points: (0..runs)
            .map(|run| ChartPoint {
                at: at(run * 60),
                seconds: 1_800.0,
                mark: Mark::Usual,
            })
            .collect(),
        band: Vec::new(),
        change: None,
        limit: None,
        zone: chrono_tz::UTC,
    };
    assert_eq!(drawn(&chart(2)), None);
    let chart = drawn(&chart(3)).unwrap();
    assert!(chart.png.starts_with(b"\x89PNG"));
    assert_eq!(chart.name, "finance-nightly.png");
    let alt = &chart.alt;
    assert!(alt.starts_with("finance nightly: 3 runs from"), "{alt}");
    assert!(
        alt.contains("the newest took 30 min") && !alt.contains('\n'),
        "{alt}"
    );
}
