//! Whatever people do, in whatever order, with or without restarts: what each receiver was told holds against
//! a model of it that is written down a second time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveTime;
use chrono_tz::Tz;
use proptest::prelude::*;
use tardy::engine::acting::{ActKind, Acted, Outcome as Done};
use tardy::engine::alert::AlertState;
use tardy::engine::calendar::Calendar;
use tardy::engine::labels::{Labels, Matcher};
use tardy::engine::notification::{AlertView, Body, Notification, Reason};
use tardy::engine::observation::Status;
use tardy::engine::policy::Policy;
use tardy::engine::route::{EscalationStep, Inhibition, Route};
use tardy::engine::silence::{Silence, Until};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{run_failed, span, stale};
use super::timeline::{Disturbance, Outcome, Timeline};

const JOBS: [&str; 4] = ["a", "b", "c", "d"];

/// Minutes since the deed before, what, which job or matchers, how long.
type Deed = (i64, u8, usize, u8);

/// What a silence may be about.
fn matchers(which: usize) -> &'static [&'static str] {
    match which {
        0 => &["job = a"],
        1 => &["severity = critical"],
        2 => &["job =~ b|c", "kind = run_failed"],
        _ => &["project = finance"],
    }
}

fn steps() -> Vec<EscalationStep> {
    let step = |after: &str, name: &str| EscalationStep {
        after: span(after),
        receivers: vec![name.into()],
    };
    vec![step("20m", "leads"), step("50m", "boss")]
}

/// From 07:00 to 08:00 every day.
fn window() -> Calendar {
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    Calendar {
        name: "night".into(),
        zone: Tz::UTC,
        days: [true; 7],
        hours: Some((time(7), time(8))),
        holidays: BTreeSet::new(),
    }
}

fn world(is_grouped: bool, is_muted: bool, is_inhibiting: bool) -> Timeline {
    let jobs: Vec<_> = JOBS.iter().map(|job| (*job, "", true)).collect();
    Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(span("2m"))
        .policy(|policy| {
            let root = &mut policy.route;
            root.repeat_interval = span("30m");
            if is_grouped {
                root.group_by = vec!["project".into()];
            }
            let page = Route {
                path: "root/page".into(),
                matchers: vec![Matcher::parse("severity = critical").unwrap()],
                receivers: vec!["pager".into(), "team".into()],
                mute: if is_muted { vec![window()] } else { Vec::new() },
                escalate: steps(),
                ..root.clone()
            };
            root.children = vec![page];
            if is_inhibiting {
                let matcher = |text: &str| vec![Matcher::parse(text).unwrap()];
                policy.inhibitions = vec![Inhibition {
                    source: matcher("job = a"),
                    target: matcher("job = b"),
                    equal: vec!["project".into()],
                }];
            }
        })
        .rule(run_failed())
        .rule(stale("80m", Some("40m")))
        .jobs_at("2025-11-01T00:00:00Z", &jobs)
}

/// What happens, and then hours in which all is well.
fn timeline(world: Timeline, deeds: &[Deed]) -> (Timeline, Timestamp) {
    let mut timeline = world;
    let mut at = timeline.from;
    let ran = |timeline: Timeline, job: &str, id: String, at: Timestamp, status: Status| {
        let from = at - Span::seconds(20);
        timeline.run_at(
            job,
            &id,
            from,
            Some(from),
            Some((at, status, "boom".into())),
        )
    };
    for job in JOBS {
        timeline = ran(
            timeline,
            job,
            format!("{job}-0"),
            at + span("1m"),
            Status::Success,
        );
    }
    for (index, (wait, what, which, long)) in deeds.iter().enumerate() {
        at = at + Span::minutes(*wait) + Span::seconds(1);
        let (text, job) = (at.to_string(), JOBS[*which]);
        let lasting = format!("{}m", 1 + i64::from(*long) * 5);
        let rule = if long % 2 == 0 { "failed" } else { "stale" };
        timeline = match what {
            0..=3 => ran(timeline, job, format!("r{index}"), at, Status::Failed),
            4 | 5 => ran(timeline, job, format!("r{index}"), at, Status::Success),
            6 => timeline.acknowledge(&text, "ada", (rule, job), &lasting),
            7 => timeline.acknowledge(&text, "bob", ("failed", job), &lasting),
            8 => timeline.unacknowledge(&text, "bob", (rule, job)),
            9 | 10 => timeline.silence(&text, &lasting, Until::Time, matchers(*which)),
            11 => timeline.silence(&text, &lasting, Until::Resolved, matchers(*which)),
            12 => timeline.silence(&text, &lasting, Until::Success, &["job = a"]),
            13 => timeline.unsilence(&text, matchers(*which)),
            14 => timeline.reload(&text, |policy| policy.route.children[0].escalate.clear()),
            _ => timeline.reload(&text, |policy| policy.route.children[0].escalate = steps()),
        };
    }
    for part in 0..8 {
        at = at + span("25m");
        for job in JOBS {
            let id = format!("last-{job}-{part}");
            timeline = ran(timeline, job, id, at, Status::Success);
        }
    }
    (timeline, at + span("10m"))
}

fn views(told: &Notification) -> &[AlertView] {
    match &told.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => &[],
    }
}

/// When which silences were in force, from what people did alone.
struct Quiet(Vec<(Silence, Timestamp)>);

impl Quiet {
    fn new(outcome: &Outcome) -> Self {
        let done = |acted: &&Acted| matches!(acted.outcome, Done::Done(_));
        let mut quiet = Self(Vec::new());
        for acted in outcome.acts.iter().filter(done) {
            let Some(silence) = acted.silence.clone() else {
                continue;
            };
            match &acted.act.what {
                ActKind::Silence { .. } => quiet.0.push((silence.clone(), silence.ends_at)),
                _ => {
                    for (known, until) in &mut quiet.0 {
                        if known.id == silence.id {
                            *until = acted.act.at;
                        }
                    }
                }
            }
        }
        quiet
    }

    /// Nothing but its time, or somebody, ends the silence.
    fn is_surely(&self, labels: &Labels, at: Timestamp) -> bool {
        self.0.iter().any(|(silence, until)| {
            silence.until == Until::Time
                && silence.created_at <= at
                && at < *until
                && silence.is_match(labels)
        })
    }

    fn is_perhaps(&self, labels: &Labels, from: Timestamp, to: Timestamp) -> bool {
        self.0.iter().any(|(silence, until)| {
            silence.created_at <= to && from < *until && silence.is_match(labels)
        })
    }
}

/// Until when alerts are taken on, from what people did alone.
fn is_surely_acknowledged(outcome: &Outcome, view: &AlertView, at: Timestamp) -> bool {
    let mut done = outcome.acts.iter().filter(|acted| {
        let is_about = acted
            .target
            .as_ref()
            .is_some_and(|target| target.id == view.id);
        is_about && acted.act.at <= at && matches!(acted.outcome, Done::Done(_))
    });
    let Some(acted) = done.next_back() else {
        return false;
    };
    // Worse, or back, since then: nobody's any more.
    let is_steady = view.kind.as_ref() == "run_failed"
        && !outcome.transitions.iter().any(|change| {
            change.id == view.id && acted.act.at < change.recorded_at && change.recorded_at <= at
        });
    match acted.act.what {
        ActKind::Acknowledge { for_millis, .. } => {
            is_steady && at < acted.act.at + Span::milliseconds(for_millis.unwrap_or(0))
        }
        _ => false,
    }
}

fn fail(what: &str, told: &Notification, outcome: &Outcome) -> TestCaseError {
    let text = outcome.told_text().join("\n");
    let acts = outcome.acts_text().join("\n");
    TestCaseError::fail(format!(
        "{what}: {} {} {:?}\n{text}\n{acts}",
        told.decided_at, told.receiver, told.reason
    ))
}

/// Each announcement has its ending at the same receiver, and no ending stands alone.
fn check_endings(outcome: &Outcome) -> Result<(), TestCaseError> {
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for told in &outcome.told {
        for view in views(told) {
            let key = (told.receiver.to_string(), view.id.clone());
            let count = counts.entry(key).or_default();
            count.0 += usize::from(view.is_new);
            count.1 += usize::from(view.ended_at.is_some());
            if view.is_new && count.0 > 1 || view.ended_at.is_some() && count.1 > 1 {
                return Err(fail("told twice", told, outcome));
            }
            if count.0 == 0 {
                return Err(fail("never announced", told, outcome));
            }
        }
    }
    for (key, count) in counts {
        let text = outcome.told_text().join("\n");
        prop_assert_eq!(
            count,
            (1, 1),
            "{:?} in\n{}\n{}",
            key,
            text,
            outcome.acts_text().join("\n")
        );
    }
    Ok(())
}

/// Nobody is woken by what is acknowledged or silenced.
fn check_quiet(outcome: &Outcome) -> Result<(), TestCaseError> {
    let quiet = Quiet::new(outcome);
    for told in &outcome.told {
        let at = told.decided_at;
        for view in views(told) {
            if view.is_new && quiet.is_surely(&view.labels, at) {
                return Err(fail("announced while silenced", told, outcome));
            }
        }
        if matches!(told.reason, Reason::Reminder | Reason::Escalated) {
            let is_loud = |view: &&AlertView| {
                view.ended_at.is_none()
                    && view.acknowledged.is_none()
                    && view.silenced.is_none()
                    && !quiet.is_surely(&view.labels, at)
                    && !is_surely_acknowledged(outcome, view, at)
            };
            if !views(told).iter().any(|view| is_loud(&view)) {
                return Err(fail("nobody needed to be woken", told, outcome));
            }
        }
    }
    Ok(())
}

/// One incident at a route, from its first message to the last ending.
#[derive(Default)]
struct Incident {
    begun_at: Option<Timestamp>,
    /// Receivers, and whether something they know of fires.
    open: BTreeMap<String, bool>,
}

/// A conversation hears of each step at most once, and of none too early.
fn check_steps(outcome: &Outcome) -> Result<(), TestCaseError> {
    let mut steps_told: BTreeMap<String, usize> = BTreeMap::new();
    let mut incidents: BTreeMap<String, Incident> = BTreeMap::new();
    let alerts = outcome.told.iter().filter(|told| !views(told).is_empty());
    for told in alerts {
        let incident = incidents
            .entry(format!("{} {}", told.route, told.group))
            .or_default();
        if !incident.open.values().any(|is_open| *is_open) {
            incident.begun_at = Some(told.decided_at);
        }
        let receiver = told.receiver.to_string();
        incident.open.insert(receiver, !told.is_ending());
        if told.reason != Reason::Escalated {
            continue;
        }
        let count = steps_told.entry(told.conversation.to_string()).or_default();
        *count += 1;
        if *count > 2 {
            return Err(fail("more steps than there are", told, outcome));
        }
        if incident
            .begun_at
            .is_none_or(|at| told.decided_at < at + span("20m"))
        {
            return Err(fail("too early", told, outcome));
        }
    }
    Ok(())
}

/// The policy in force.
fn policy_at(timeline: &Timeline, at: Timestamp) -> &Policy {
    let reloads = timeline.reloads.range(..=at).next_back();
    reloads.map_or(&timeline.policy, |(_, policy)| policy)
}

/// A node, or a step of its escalation, names a receiver.
fn is_named(route: &Route, receiver: &str) -> bool {
    let steps = route.escalate.iter().flat_map(|step| &step.receivers);
    let mut named = route.receivers.iter().chain(steps);
    named.any(|name| &**name == receiver)
        || route.children.iter().any(|child| is_named(child, receiver))
}

/// Those who know of it hear at once who has taken it on; those whose step was taken away need not.
fn check_acknowledged_told(outcome: &Outcome, timeline: &Timeline) -> Result<(), TestCaseError> {
    for acted in &outcome.acts {
        let (ActKind::Acknowledge { .. }, Some(target), Done::Done(_)) =
            (&acted.act.what, &acted.target, &acted.outcome)
        else {
            continue;
        };
        let mut knows: BTreeMap<&str, bool> = BTreeMap::new();
        for told in outcome
            .told
            .iter()
            .filter(|told| told.decided_at < acted.act.at)
        {
            let policy = policy_at(timeline, acted.act.at);
            let is_routed = is_named(&policy.route, &told.receiver);
            let is_it = |view: &&AlertView| view.id == target.id && is_routed;
            for view in views(told).iter().filter(is_it) {
                knows.insert(&told.receiver, view.ended_at.is_none());
            }
        }
        for (receiver, _) in knows.into_iter().filter(|(_, is_open)| *is_open) {
            let mut at_once = outcome
                .told
                .iter()
                .filter(|told| told.decided_at == acted.act.at && &*told.receiver == receiver);
            let is_told = at_once.any(|told| {
                views(told).iter().any(|view| {
                    let by = view.acknowledged.as_ref().map(|known| &known.by);
                    view.id == target.id && by == Some(&acted.act.by)
                })
            });
            let text = outcome.told_text().join("\n");
            prop_assert!(
                is_told,
                "{} hears nothing of {:?}\n{}",
                receiver,
                acted,
                text
            );
        }
    }
    Ok(())
}

/// Between the instant at which something is so and the message: polls, waits and intervals.
const SLACK: Span = Span::minutes(6);

/// `Steady again: finance c ok since 06:01 UTC, …`: when it was well for good.
fn steady_since(reason: &str) -> Option<Timestamp> {
    let (_, since) = reason
        .strip_prefix("Steady again: ")?
        .split_once(" ok since ")?;
    Timestamp::parse(&format!("2026-03-10T{}:00Z", &since[..5]))
}

/// What fires, and is not kept quiet by anything, is known to all who should.
fn check_told(
    outcome: &Outcome,
    until: Timestamp,
    kept_quiet: [bool; 2],
) -> Result<(), TestCaseError> {
    let [is_muted, is_inhibiting] = kept_quiet;
    let quiet = Quiet::new(outcome);
    let mut known: BTreeMap<(String, String), (Timestamp, Timestamp)> = BTreeMap::new();
    for told in &outcome.told {
        for view in views(told) {
            let key = (told.receiver.to_string(), view.id.clone());
            let entry = known.entry(key).or_insert((told.decided_at, until));
            if view.ended_at.is_some() {
                entry.1 = told.decided_at;
            }
        }
    }
    let mut firing: BTreeMap<String, (Timestamp, Labels)> = BTreeMap::new();
    let mut spans = Vec::new();
    for change in &outcome.transitions {
        if change.to == AlertState::Firing {
            let begun = (change.recorded_at, change.all_labels.clone());
            firing.insert(change.id.clone(), begun);
        } else if let Some((from, labels)) = firing.remove(&change.id) {
            // What flapped is only kept firing since it was well for good: nobody is woken for that.
            let to = steady_since(&change.reason).unwrap_or(change.recorded_at);
            spans.push((change.id.clone(), from, to, labels));
        }
    }
    for (id, from, to, labels) in spans {
        // Severities of the others change: which silences fit is not known from here.
        if labels.get("kind") != "run_failed" || (is_inhibiting && labels.get("job") == "b") {
            continue;
        }
        let mut at = from + SLACK;
        while at < to {
            let seven = Timestamp::parse("2026-03-10T07:00:00Z").unwrap();
            let in_window = is_muted && at >= seven && at < seven + Span::hours(1) + SLACK;
            let is_quiet = in_window || quiet.is_perhaps(&labels, at - SLACK, at);
            for receiver in ["pager", "team"] {
                let own = known.get(&(receiver.to_owned(), id.clone()));
                let is_told = own.is_some_and(|(from, to)| *from <= at && at <= *to);
                prop_assert!(
                    is_quiet || is_told,
                    "{} of {} at {} is not told to {}:\n{}\n{}",
                    id,
                    labels,
                    at,
                    receiver,
                    outcome.told_text().join("\n"),
                    outcome.acts_text().join("\n")
                );
            }
            at = at + Span::minutes(7);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(32)
    })]

    #[test]
    fn whatever_people_do_each_receiver_hears_what_it_should_and_nothing_twice(
        deeds in prop::collection::vec((0_i64..14, 0_u8..16, 0_usize..4, 0_u8..14), 1..40),
        kinds in any::<[bool; 3]>(),
        kills in prop::collection::btree_set(0_usize..500, 0..40),
    ) {
        let [is_grouped, is_muted, is_inhibiting] = kinds;
        let (timeline, until) = timeline(world(is_grouped, is_muted, is_inhibiting), &deeds);
        let outcome = timeline.play_with(until, &mut |_, _| Disturbance::default());
        check_endings(&outcome)?;
        check_quiet(&outcome)?;
        check_steps(&outcome)?;
        check_acknowledged_told(&outcome, &timeline)?;
        check_told(&outcome, until, [is_muted, is_inhibiting])?;
        let restarted = timeline.play_with(until, &mut |step, _| Disturbance {
            is_restart: kills.contains(&step),
            ..Disturbance::default()
        });
        prop_assert_eq!(outcome.acts_text(), restarted.acts_text());
        prop_assert_eq!(
            outcome.told_text(),
            restarted.told_text(),
            "with restarts:\n{}",
            restarted.told_text().join("\n")
        );
    }
}
