//! Why something was told, and why something was not: each gate with what decided it; routes drawn and tried.

use std::sync::Arc;

use chrono_tz::Tz;
use tardy::engine::acting::{Act, ActKind};
use tardy::engine::calendar::Calendar;
use tardy::engine::labels::{Labels, Matcher};
use tardy::engine::notification::Reason;
use tardy::engine::policy::{DisabledRule, Policy};
use tardy::engine::query::{
    DeliveryRow, DeliveryState, Gate, GateKind, GateState, NodeFate, WhyAnswer, WhyNot,
    WhyNotAnswer, WhyNotQuestion, brief, of_deliveries, route_trial, routes, why, why_not,
};
use tardy::engine::route::{EscalationStep, Inhibition, Route};
use tardy::engine::rule::success_rate::SuccessRate;
use tardy::engine::rule::{Clock, Rule, RuleKind};
use tardy::engine::silence::{Silence, Until};
use tardy::engine::time::Span;
use tardy::engine::{Engine, Input, Saved};

use super::kinds::{clock, missed, model_failed, run_failed, span, stale, too_long};
use super::timeline::{Timeline, check, for_jobs, rule};

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
}

/// Nightly failed at 06:05; lab succeeded.
fn failed() -> Timeline {
    start()
        .rule(run_failed())
        .run("nightly", "n1", "06:01", "06:05 failed: no disk")
        .run("lab", "l1", "06:01", "06:03 success")
}

fn asked(
    timeline: &Timeline,
    engine: &Engine,
    now: &str,
    what: (&str, &str, &str),
) -> WhyNotAnswer {
    let (rule, subject, at) = what;
    let question = WhyNotQuestion {
        rule: rule.to_owned(),
        subject: subject.to_owned(),
        at: (!at.is_empty()).then(|| at.to_owned()),
    };
    why_not(engine, &question, timeline.at(now))
}

fn explained(timeline: &Timeline, now: &str, rule: &str, subject: &str) -> WhyNot {
    let engine = timeline.engine(now);
    match asked(timeline, &engine, now, (rule, subject, "")) {
        WhyNotAnswer::Explained(why) => *why,
        other => panic!("{other:?}"),
    }
}

fn refused(timeline: &Timeline, now: &str, rule: &str, subject: &str, at: &str) -> String {
    let engine = timeline.engine(now);
    match asked(timeline, &engine, now, (rule, subject, at)) {
        WhyNotAnswer::Unknown(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Gates as text: `+ verdict: …`.
fn text(gates: &[Gate]) -> Vec<String> {
    let line = |gate: &Gate| {
        let sign = match gate.state {
            GateState::Passed => "+",
            GateState::Stopped => "x",
            GateState::Waiting => ".",
            GateState::Unknown => "?",
            GateState::Noted => "-",
        };
        let receiver = gate.receiver.as_deref();
        let receiver = receiver.map_or(String::new(), |name| format!("{name}: "));
        format!("{sign} {}: {receiver}{}", gate.gate.as_str(), gate.says)
    };
    gates.iter().map(line).collect()
}

/// The gates of the only open alert.
fn gates_of_alert(timeline: &Timeline, engine: &Engine, now: &str) -> Vec<Gate> {
    let id = engine.alerts().next().unwrap().id();
    match why(engine, &id, timeline.at(now)) {
        WhyAnswer::Alert(why) => why.gates,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn has(gates: &[Gate], kind: GateKind, state: GateState, part: &str) {
    let found = gates
        .iter()
        .any(|gate| gate.gate == kind && gate.state == state && gate.says.contains(part));
    assert!(found, "{kind:?} {state:?} {part}\n{:#?}", text(gates));
}

#[test]
fn an_alert_is_followed_from_its_rule_to_the_people_it_was_told_to() {
    let timeline = failed();
    let engine = timeline.engine("06:10");
    check(
        &text(&gates_of_alert(&timeline, &engine, "06:10")),
        "+ rule: `failed` (run_failed) is in force, written in rules/test.toml:failed
         + subject: job=\"nightly\", project_id=\"p1\", source=\"prod\": the rule selects everything
         + verdict: Failed: finance nightly: no disk; so since 06:05 UTC, 5 min ago
         + for: no `for`: it fires at once
         + firing: firing since 06:05 UTC, 5 min ago
         + silence: no silence is in force
         + route: no node below the root fits; tells team
         + group: job=\"nightly\", project=\"finance\", alone
         + wait: `group_interval` = 2 min, over
         + told: team: told critical; 1 message, last ping 06:05 UTC, 4 min 45 s ago
         - reminder: `repeat_interval` = 12 h: due 18:05 UTC, in 11 h 55 min",
    );
}

fn child(path: &str, matcher: &str, receiver: &str) -> Route {
    Route {
        path: path.into(),
        matchers: vec![Matcher::parse(matcher).unwrap()],
        ..Route::root(vec![receiver.into()])
    }
}

fn window(name: &str, from: &str, to: &str) -> Calendar {
    Calendar {
        name: name.into(),
        zone: Tz::UTC,
        days: [true; 7],
        hours: Some((clock(from), clock(to))),
        holidays: [].into(),
    }
}

fn silence(timeline: &Timeline, matcher: &str, from: &str, to: &str) -> Silence {
    Silence {
        id: "sk3x9q".into(),
        matchers: vec![Matcher::parse(matcher).unwrap()],
        by: "ada".into(),
        comment: "maintenance".into(),
        created_at: timeline.at(from),
        ends_at: timeline.at(to),
        until: Until::Time,
        ended: None,
        has_matched: false,
        is_end_announced: false,
        is_idle_announced: false,
        idle_since: None,
        receivers: std::collections::BTreeSet::default(),
    }
}

#[test]
fn what_holds_a_message_back_is_named_with_its_end() {
    let timeline = failed().policy(|policy| {
        let mut page = child("root/page", "severity = critical", "oncall");
        page.mute = vec![window("night", "00:00", "07:00")];
        page.escalate = vec![EscalationStep {
            after: span("30m"),
            receivers: vec!["leads".into()],
        }];
        policy.route.children = vec![page];
    });
    let engine = timeline.engine("06:10");
    let gates = gates_of_alert(&timeline, &engine, "06:10");
    has(
        &gates,
        GateKind::Route,
        GateState::Passed,
        "matched by severity = \"critical\"; tells oncall",
    );
    has(
        &gates,
        GateKind::Mute,
        GateState::Stopped,
        "muted by `night` until 07:00 UTC, in 50 min",
    );
    has(&gates, GateKind::Told, GateState::Waiting, "not told yet");
    has(
        &gates,
        GateKind::Escalation,
        GateState::Noted,
        "leads 30 min after the first message",
    );
    let waiting = failed().policy(|policy| policy.route.group_wait = span("10m"));
    let engine = waiting.engine("06:10");
    let gates = gates_of_alert(&waiting, &engine, "06:10");
    has(
        &gates,
        GateKind::Wait,
        GateState::Waiting,
        "`group_wait` = 10 min: until 06:15 UTC, in 5 min",
    );
}

#[test]
fn a_step_of_an_escalation_is_dated_from_when_its_clock_counts() {
    let timeline = failed().policy(|policy| {
        policy.route.escalate = vec![EscalationStep {
            after: span("30m"),
            receivers: vec!["leads".into()],
        }];
    });
    let engine = timeline.engine("06:10");
    let mut gates = gates_of_alert(&timeline, &engine, "06:10");
    let row = DeliveryRow {
        id: "c-0".into(),
        receiver: "team".into(),
        reason: Reason::First,
        state: DeliveryState::Dead,
        alerts: Vec::new(),
        headline: "Failed".into(),
        severity: None,
        route: "root".into(),
        group: Labels::default(),
        conversation: String::new(),
        sequence: 0,
        suppressed: 0,
        decided_at: timeline.at("06:05:15"),
        settled_at: Some(timeline.at("06:06")),
        attempts: 3,
        next_attempt_at: None,
        why: Some("401".into()),
        was_late: false,
        instead: Vec::new(),
    };
    let rows = [row];
    has(
        &gates,
        GateKind::Escalation,
        GateState::Noted,
        "leads 30 min after 06:05 UTC, unless it is taken: due 06:35 UTC, in 25 min",
    );
    gates.extend(of_deliveries(&rows, timeline.at("06:10"), Tz::UTC));
    has(
        &gates,
        GateKind::Delivery,
        GateState::Stopped,
        "message 1 (first) of 06:05 UTC: given up at 06:06 UTC after 3 tries: 401",
    );
    let short: Vec<GateKind> = brief(&gates).iter().map(|gate| gate.gate).collect();
    assert_eq!(
        short,
        [GateKind::Firing, GateKind::Told, GateKind::Delivery]
    );
}

fn escalating() -> Timeline {
    failed().policy(|policy| {
        let step = |after: &str, name: &str| EscalationStep {
            after: span(after),
            receivers: vec![name.into()],
        };
        policy.route.escalate = vec![step("30m", "leads"), step("2h", "boss")];
    })
}

#[test]
fn a_step_that_ran_is_said_to_have_run_and_its_receiver_to_hear_all() {
    let timeline = escalating();
    let engine = timeline.engine("07:00");
    let gates = gates_of_alert(&timeline, &engine, "07:00");
    let (passed, noted) = (GateState::Passed, GateState::Noted);
    let of_steps = GateKind::Escalation;
    let told = "leads after 30 min: told, because nobody had taken it";
    has(&gates, of_steps, passed, told);
    let due = "boss 2 h after 06:05 UTC, unless it is taken: due 08:05 UTC";
    has(&gates, of_steps, noted, due);
    has(
        &gates,
        GateKind::Told,
        passed,
        "hears all since the escalation",
    );
    let all = text(&gates).join("\n");
    assert!(!all.contains("hears of the end"), "{all}");
}

#[test]
fn the_clock_of_an_escalation_is_said_to_be_held_and_to_count_anew() {
    let timeline = escalating().acknowledge("06:20", "ada", ("failed", "nightly"), "1h");
    let gates_at = |now: &str| gates_of_alert(&timeline, &timeline.engine(now), now);
    let (of_steps, noted) = (GateKind::Escalation, GateState::Noted);
    let held = "leads after 30 min: waits, because all that fires is taken or kept quiet";
    has(&gates_at("06:30"), of_steps, noted, held);
    // It counts from the end of the acknowledgement, not from the first message.
    let anew = "leads 30 min after 07:20 UTC, unless it is taken: due 07:50 UTC";
    has(&gates_at("07:30"), of_steps, noted, anew);
}

#[test]
fn what_another_alert_explains_names_that_alert() {
    let inhibit = |policy: &mut Policy| {
        policy.inhibitions.push(Inhibition {
            source: vec![Matcher::parse("kind = run_failed").unwrap()],
            target: vec![Matcher::parse("kind = staleness").unwrap()],
            equal: vec!["job".into()],
        });
    };
    let timeline = failed()
        .rule(for_jobs(stale("5m", None), "nightly"))
        .job("nightly", "")
        .policy(inhibit);
    let engine = timeline.engine("06:30");
    let stale = engine
        .alerts()
        .find(|alert| &*alert.kind == "staleness")
        .unwrap();
    let WhyAnswer::Alert(why) = why(&engine, &stale.id(), timeline.at("06:30")) else {
        panic!();
    };
    has(
        &why.gates,
        GateKind::Inhibition,
        GateState::Stopped,
        "which is told: Failed: finance nightly",
    );
}

#[test]
fn a_rule_or_a_subject_that_is_not_there_names_what_is_near() {
    let timeline = failed().policy(|policy| {
        policy.disabled.push(DisabledRule {
            name: "asleep".into(),
            origin: "rules/test.toml:9".into(),
            why: "it says enabled = false",
        });
    });
    for (rule, subject, at, said) in [
        (
            "faild",
            "nightly",
            "",
            "there is no rule `faild`; did you mean `failed`?",
        ),
        (
            "asleep",
            "nightly",
            "",
            "rule `asleep` is not judged: it says enabled = false (rules/test.toml:9)",
        ),
        (
            "failed",
            "nightl",
            "",
            "there is no job `nightl`; did you mean `nightly`?",
        ),
        (
            "failed",
            "finanse/nightly",
            "",
            "did you mean `finance/nightly`?",
        ),
        (
            "failed",
            "nightly",
            "soon",
            "`soon` is no time; write \"3h ago\"",
        ),
        ("failed", "nightly", "06:20 2026", "is no time"),
        ("failed", "nightly", "2027-01-01", "has not come yet"),
    ] {
        let found = refused(&timeline, "06:10", rule, subject, at);
        assert!(found.contains(said), "{rule} {subject} {at}: {found}");
    }
}

#[test]
fn several_subjects_are_listed() {
    let timeline = failed();
    let engine = timeline.engine("06:10");
    let WhyNotAnswer::Several { subjects, more, .. } =
        asked(&timeline, &engine, "06:10", ("failed", "finance/*", ""))
    else {
        panic!();
    };
    let found: Vec<_> = subjects
        .iter()
        .map(|known| (known.name.as_str(), known.is_selected, known.is_open))
        .collect();
    assert_eq!(
        found,
        [
            ("finance/lab", true, false),
            ("finance/nightly", true, true)
        ]
    );
    assert_eq!(more, 0);
}

#[test]
fn a_subject_that_is_not_selected_names_the_selector() {
    for (pattern, said) in [
        ("fin*", "not selected: job lab does not fit \"fin*\""),
        ("!l*", "not selected: job lab is excluded by \"!l*\""),
    ] {
        let timeline = start().rule(for_jobs(run_failed(), pattern)).run(
            "lab",
            "l1",
            "06:01",
            "06:03 failed: boom",
        );
        let why = explained(&timeline, "06:10", "failed", "lab");
        has(&why.gates, GateKind::Subject, GateState::Stopped, said);
        assert!(why.headline.contains(said), "{}", why.headline);
    }
    let mut manual = run_failed();
    manual.selectors.triggered_by = tardy::engine::labels::Patterns::new(["manual"]);
    let timeline = start()
        .rule(manual)
        .run("lab", "l1", "06:01", "06:03 failed: boom");
    let why = explained(&timeline, "06:10", "failed", "lab");
    has(
        &why.gates,
        GateKind::Subject,
        GateState::Stopped,
        "started by \"scheduled\"",
    );
}

#[test]
fn all_is_well_says_what_was_seen() {
    let why = explained(&failed(), "06:10", "failed", "lab");
    assert_eq!(why.name, "finance/lab");
    check(
        &text(&why.gates),
        "+ rule: `failed` (run_failed, critical) is in force, written in rules/test.toml:failed
         + subject: job lab of finance, first seen 06:01 UTC, 9 min ago
         + subject: selected: the rule selects everything
         + watched: watched since 06:00 UTC, 10 min ago; what was over by then is not told
         + known: what happened is known until 06:10 UTC, just now
         - run: the newest is l1: success, created 06:01 UTC, 9 min ago, ran 2 min
         x verdict: all is well as of 06:03 UTC: finance lab succeeded; ran 2 min; finished 06:03 UTC",
    );
    assert!(
        why.headline.starts_with("stops at verdict: all is well"),
        "{}",
        why.headline
    );
}

#[test]
fn too_few_runs_are_said_with_how_many_are_needed() {
    let kind = RuleKind::SuccessRate(SuccessRate {
        window: Some(Span::days(7)),
        runs: None,
        target: 0.9,
        min_runs: 10,
        is_confident: false,
    });
    let timeline = failed().rule(rule("rate", kind));
    let why = explained(&timeline, "06:10", "rate", "nightly");
    has(
        &why.gates,
        GateKind::Verdict,
        GateState::Unknown,
        "1 runs, needs 10",
    );
    assert!(
        why.headline.contains("1 runs, needs 10"),
        "{}",
        why.headline
    );
}

#[test]
fn what_is_not_known_is_said_and_why() {
    let timeline = failed().outage("06:02", "07:00");
    let why = explained(&timeline, "06:50", "failed", "nightly");
    has(
        &why.gates,
        GateKind::Known,
        GateState::Unknown,
        "known only until 06:01 UTC, 48 min ago",
    );
    has(&why.gates, GateKind::Known, GateState::Unknown, "timeout");
}

#[test]
fn for_and_the_calendar_say_until_when() {
    let with = |change: fn(&mut Rule)| {
        let mut rule = run_failed();
        change(&mut rule);
        start()
            .rule(rule)
            .run("nightly", "n1", "06:01", "06:05 failed: no disk")
    };
    let held = with(|rule| rule.hold = span("30m"));
    let why = explained(&held, "06:10", "failed", "nightly");
    has(
        &why.gates,
        GateKind::Hold,
        GateState::Waiting,
        "`for` = 30 min is over at 06:35 UTC, in 25 min",
    );
    assert!(
        why.headline.starts_with("stops at for: "),
        "{}",
        why.headline
    );
    let closed = with(|rule| rule.calendar = Some(window("business", "08:00", "18:00")));
    let why = explained(&closed, "06:10", "failed", "nightly");
    has(
        &why.gates,
        GateKind::Calendar,
        GateState::Waiting,
        "`business` is closed until 08:00 UTC, in 1 h 50 min",
    );
    assert!(
        why.headline.starts_with("stops at calendar: "),
        "{}",
        why.headline
    );
}

#[test]
fn a_job_that_is_held_owes_nothing() {
    let timeline = start()
        .rule(missed(None))
        .job("nightly", "0 6 * * *")
        .jobs_at("05:00", &[("nightly", "0 6 * * *", false)]);
    let why = explained(&timeline, "07:00", "missed", "nightly");
    has(
        &why.gates,
        GateKind::Held,
        GateState::Stopped,
        "the job is disabled",
    );
    has(
        &why.gates,
        GateKind::Held,
        GateState::Stopped,
        "nothing is due while it is held",
    );
}

#[test]
fn what_fires_already_points_to_its_alert_and_goes_on_to_the_people() {
    let why = explained(&failed(), "06:10", "failed", "nightly");
    assert_eq!(why.alerts.len(), 1);
    has(
        &why.gates,
        GateKind::Verdict,
        GateState::Passed,
        "broken since 06:05 UTC: Failed: finance nightly: no disk",
    );
    has(
        &why.gates,
        GateKind::Firing,
        GateState::Passed,
        "firing since 06:05 UTC",
    );
    has(
        &why.gates,
        GateKind::Told,
        GateState::Passed,
        "told critical",
    );
    let id = &why.alerts[0].id;
    assert_eq!(
        why.headline,
        format!("nothing stops it: alert {id} is open")
    );
}

#[test]
fn a_silence_and_an_acknowledgement_are_named() {
    let timeline = failed();
    let mut engine = timeline.engine("06:10");
    let kept = silence(&timeline, "job = nightly", "06:00", "09:00");
    let act = |what| Act::new("ada", timeline.at("06:10"), Some("maintenance"), what);
    let what = ActKind::Silence {
        matchers: kept.matchers.clone(),
        for_millis: 3 * 3_600_000,
        until: Until::Time,
    };
    let input = Input {
        acts: vec![act(what)],
        ..Input::default()
    };
    engine.step(input, timeline.at("06:10"));
    if engine.silences().next().is_none() {
        // Acts of people come with the silences themselves; what is stored is read all the same.
        let saved = Saved {
            silences: vec![kept],
            alerts: engine.alerts().cloned().collect(),
            groups: engine.groups().cloned().collect(),
            ..Saved::default()
        };
        let policy = Arc::clone(engine.policy());
        let history = tardy::engine::history::History::default();
        engine = Engine::new(policy, history, saved);
    }
    let gates = gates_of_alert(&timeline, &engine, "06:20");
    has(
        &gates,
        GateKind::Silence,
        GateState::Stopped,
        "silenced by ada until 09:",
    );
    has(&gates, GateKind::Silence, GateState::Stopped, "maintenance");
}

#[test]
fn an_instant_that_has_passed_is_played_up_to_it() {
    // It failed at 06:05, succeeded at 06:35, and is fine since.
    let timeline = failed().run("nightly", "n2", "06:30", "06:35 success").run(
        "nightly",
        "n3",
        "08:00",
        "08:10 success",
    );
    let engine = timeline.engine("10:00");
    let at = |at: &str| match asked(&timeline, &engine, "10:00", ("failed", "nightly", at)) {
        WhyNotAnswer::Explained(why) => *why,
        other => panic!("{other:?}"),
    };
    let before = at("06:03");
    has(
        &before.gates,
        GateKind::Run,
        GateState::Noted,
        "n1: running",
    );
    has(
        &before.gates,
        GateKind::Verdict,
        GateState::Stopped,
        "nothing that is known breaks it",
    );
    let broken = at("06:20");
    assert!(broken.is_past && broken.at == timeline.at("06:20"));
    has(
        &broken.gates,
        GateKind::Verdict,
        GateState::Passed,
        "broken since 06:05 UTC: Failed: finance nightly: no disk",
    );
    has(
        &broken.gates,
        GateKind::Firing,
        GateState::Passed,
        "firing since 06:05 UTC, 15 min ago",
    );
    has(
        &broken.gates,
        GateKind::Told,
        GateState::Passed,
        "told critical",
    );
    assert_eq!(broken.alerts.len(), 1);
    let over = at("3h ago");
    has(
        &over.gates,
        GateKind::Verdict,
        GateState::Stopped,
        "all is well as of 06:35 UTC",
    );
    assert!(
        over.limits
            .iter()
            .any(|text| text.contains("rules, calendars and routes of today")),
        "{:?}",
        over.limits
    );
    let early = at("05:00");
    has(
        &early.gates,
        GateKind::Watched,
        GateState::Stopped,
        "watched since 06:00 UTC alone",
    );
}

#[test]
fn the_past_gives_the_alert_that_was_there_then() {
    let timeline = failed().run("nightly", "n2", "06:30", "06:35 success");
    let then = timeline.engine("06:20").alerts().next().unwrap().id();
    let engine = timeline.engine("10:00");
    let WhyNotAnswer::Explained(why) =
        asked(&timeline, &engine, "10:00", ("failed", "nightly", "06:20"))
    else {
        panic!();
    };
    assert_eq!(why.alerts[0].id, then, "the same identity");
}

#[test]
fn every_kind_of_subject_can_be_asked_about() {
    let timeline = failed()
        .rule(model_failed())
        .rule(too_long(Clock::Run, "45m"))
        .rule(stale("26h", None))
        .run("orders", "o1", "06:01", "06:04 success")
        .execution("o1", "stg.a", "06:02", "06:03 success");
    for (rule, subject, name) in [
        ("model-failed", "stg.a", "finance/orders/stg.a"),
        (
            "model-failed",
            "finance/orders/stg.a",
            "finance/orders/stg.a",
        ),
        ("too-long", "p1/orders", "finance/orders"),
        ("stale", "finance/orders", "finance/orders"),
    ] {
        for at in ["", "06:09"] {
            let engine = timeline.engine("06:10");
            let WhyNotAnswer::Explained(why) =
                asked(&timeline, &engine, "06:10", (rule, subject, at))
            else {
                panic!("{rule} {subject} {at}");
            };
            assert_eq!(why.name, name);
            let stop = why.stop().map(|gate| gate.gate);
            assert_eq!(
                stop,
                Some(GateKind::Verdict),
                "{rule} {:#?}",
                text(&why.gates)
            );
        }
    }
}

/// A tree of three: pages for what is critical (and on), weekends, and the root.
fn tree() -> Policy {
    let mut policy = Policy::empty(vec!["team".into()]);
    let mut pages = child("root/pages", "severity = critical", "oncall");
    pages.is_continue = true;
    pages.group_wait = span("5s");
    let mut quiet = child("root/quiet", "project =~ \"fin.*\"", "discord");
    quiet.mute = vec![window("night", "00:00", "07:00")];
    let late = child("root/late", "project = finance", "late");
    policy.route.children = vec![pages, quiet, late];
    policy.fallback = vec!["leads".into()];
    policy
}

#[test]
fn an_alert_is_tried_on_the_tree() {
    let (policy, timeline) = (tree(), start());
    let labels = Labels::default()
        .with("severity", "critical")
        .with("project", "finance")
        .with("job", "nightly");
    let trial = route_trial(&policy, &labels, timeline.at("06:00"));
    let fates: Vec<(&str, &NodeFate)> = trial
        .nodes
        .iter()
        .map(|node| (&*node.path, &node.fate))
        .collect();
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(
        fates,
        [
            ("root", &NodeFate::GoesDown { matchers: vec![] }),
            (
                "root/pages",
                &NodeFate::Handles {
                    matchers: one("severity = \"critical\"")
                }
            ),
            (
                "root/quiet",
                &NodeFate::Handles {
                    matchers: one("project =~ \"fin.*\"")
                }
            ),
            (
                "root/late",
                &NodeFate::TakenBefore {
                    by: "root/quiet".into()
                }
            ),
        ]
    );
    let heard: Vec<_> = trial
        .hearers
        .iter()
        .map(|hearer| (&*hearer.receiver, hearer.when.muted_until))
        .collect();
    assert_eq!(
        heard,
        [("oncall", None), ("discord", Some(timeline.at("07:00")))]
    );
    assert_eq!(
        trial.hearers[0].group.to_string(),
        "job=\"nightly\", project=\"finance\""
    );
    let growth = Labels::default().with("project", "growth");
    let trial = route_trial(&policy, &growth, timeline.at("06:00"));
    let pages = &trial.nodes[1].fate;
    let missing = NodeFate::DoesNotFit {
        matcher: "severity = \"critical\"".into(),
        value: String::new(),
    };
    assert_eq!(pages, &missing);
    assert_eq!(&*trial.hearers[0].receiver, "team", "the root handles it");
}

#[test]
fn what_is_tried_is_what_happens() {
    let labels = |severity: &str, project: &str| {
        Labels::default()
            .with("severity", severity)
            .with("project", project)
    };
    let (policy, timeline) = (tree(), start());
    for severity in ["critical", "warning"] {
        for project in ["finance", "fin2", "growth"] {
            let labels = labels(severity, project);
            let trial = route_trial(&policy, &labels, timeline.at("12:00"));
            let handling: Vec<&str> = trial
                .nodes
                .iter()
                .filter(|node| matches!(node.fate, NodeFate::Handles { .. }))
                .map(|node| &*node.path)
                .collect();
            let routed: Vec<&str> = policy
                .route
                .find(&labels)
                .iter()
                .map(|r| &*r.path)
                .collect();
            assert_eq!(handling, routed, "{labels}");
        }
    }
}

#[test]
fn a_rule_with_receivers_of_its_own_goes_past_the_tree() {
    let mut policy = tree();
    let mut own = run_failed();
    own.receivers = Some(vec!["owner".into()]);
    policy.rules.push(own);
    let labels = Labels::default()
        .with("rule", "failed")
        .with("severity", "critical");
    let trial = route_trial(&policy, &labels, start().at("12:00"));
    assert_eq!(&*trial.hearers[0].route, "rule:failed");
    assert_eq!(trial.hearers.len(), 1);
    let drawn = routes(
        &policy,
        &[
            "team", "oncall", "discord", "late", "leads", "owner", "nobody", "post",
        ]
        .map(Into::into),
        &["post".into()],
        start().at("06:00"),
    );
    assert_eq!(drawn.unreached, ["nobody".into()]);
    assert_eq!(drawn.rules.len(), 1);
    let pages = &drawn.root.children[0];
    assert!(!pages.inherited.contains(&"group_wait".to_owned()));
    assert!(pages.inherited.contains(&"group_by".to_owned()));
    assert!(drawn.root.children[1].mute[0].is_open);
}
