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

mod draftsman {
    use super::*;
    use crate::app::clock::ManualClock;
    use crate::app::live::Facts;
    use crate::app::pipeline::Pipeline;
    use crate::engine::history::History;
    use crate::engine::observation::{Observation, ProjectKey, Run, Status};
    use crate::engine::policy::Policy;
    use crate::engine::rule::run_duration::RunDuration;
    use crate::engine::rule::{Clock, Limit, Rule, RuleKind};
    use crate::engine::schedule::{Cron, Dialect};
    use crate::engine::time::Span;
    use crate::engine::{Engine, Input, Saved};
    use crate::store::records::Sequences;

    fn day(day: i64) -> Timestamp {
        Timestamp::parse("2026-10-01T04:00:00Z").unwrap() + Span::days(day)
    }

    fn run(number: i64, minutes: Option<i64>) -> Observation {
        let started_at = day(number);
        let finished_at = minutes.map(|minutes| started_at + Span::minutes(minutes));
        let key = ProjectKey {
            source: "prod".into(),
            project_id: "finance".into(),
        };
        let run = Run {
            id: format!("run-{number}").into(),
            job: Some("nightly".into()),
            job_type: "run".into(),
            status: minutes.map_or(Status::Running, |_| Status::Success),
            triggered_by: "scheduled".into(),
            created_at: started_at,
            started_at: Some(started_at),
            finished_at,
            updated_at: finished_at.unwrap_or(started_at),
            error: None,
        };
        Observation::Run(key, run)
    }

    /// Twelve days of half an hour, then a run that goes on for longer than it may; what is told of it.
    fn too_long() -> (Engine, Notification) {
        let mut policy = Policy::empty(vec!["team".into()]);
        let limit = RuleKind::RunDuration(RunDuration {
            clock: Clock::Run,
            max: Some(Limit::Fixed(Span::minutes(45))),
            min: None,
        });
        policy.rules = vec![Rule::new("sla", limit, "rules.toml:9")];
        let mut engine = Engine::new(Arc::new(policy), History::default(), Saved::default());
        let mut told = Vec::new();
        for (number, minutes) in (0..12).map(|number| (number, Some(30))).chain([(12, None)]) {
            let observations = vec![run(number, minutes)];
            for later in [Span::minutes(31), Span::minutes(50), Span::hours(2)] {
                let now = day(number) + later;
                let input = Input {
                    observations: observations.clone(),
                    coverage: observations
                        .iter()
                        .filter_map(|seen| match seen {
                            Observation::Run(key, _) => Some((key.clone(), now)),
                            _ => None,
                        })
                        .collect(),
                    ..Input::default()
                };
                told.extend(engine.step(input, now).notifications);
            }
        }
        (engine, told.swap_remove(0))
    }

    fn shared(engine: Engine) -> (tempfile::TempDir, Arc<Shared>) {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&folder.path().join("data"), SledOptions::at(at(0)));
        let store: Arc<dyn Store> = Arc::new(store.unwrap().store);
        let pipeline = Pipeline::new(engine, store, Sequences::default());
        let facts = Facts {
            config: String::new(),
            store: String::new(),
            sources: Vec::new(),
            receivers: Vec::new(),
            started_at: at(0),
            retention: Span::days(180),
            schedule: Cron::parse("* * * * *", Dialect::Ours).unwrap(),
        };
        let clock = Arc::new(ManualClock::new(day(13)));
        (folder, Arc::new(Shared::new(pipeline, clock, facts)))
    }

    #[test]
    fn the_chart_of_an_alert_shows_its_job_against_the_limit() {
        let (engine, notification) = too_long();
        let alert = illustrated(&notification).expect("a run that is too long is illustrated");
        let (_folder, shared) = shared(engine);
        let draftsman = Draftsman::new(&shared);
        let chart = draftsman.illustrate(alert).unwrap();
        assert_eq!(chart.name, "finance-nightly.png");
        let alt = &chart.alt;
        assert!(alt.starts_with("finance nightly: 12 runs from"), "{alt}");
        assert!(alt.contains("the newest took 30 min"), "{alt}");
        assert!(alt.contains("over the limit of 45 min"), "{alt}");
        let mut ended = alert.clone();
        ended.id = "zzzzzz".to_owned();
        assert!(
            draftsman.illustrate(&ended).is_none(),
            "none of what has ended"
        );
    }
}
