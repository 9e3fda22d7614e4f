//! A person accepts the level of a regression: what is told then, and what is usual from then on.

use std::sync::Arc;

use tardy::engine::acting::{Act, ActKind, Acted, Outcome, Refusal};
use tardy::engine::alert::Alert;
use tardy::engine::history::History;
use tardy::engine::observation::{Averaged, DayAverage, Observation, Status};
use tardy::engine::query::{Why, WhyAnswer, why};
use tardy::engine::rule::RuleKind;
use tardy::engine::rule::regression::{Method, Regression};
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input, Saved, Step};

use super::kinds::{run_failed, slower, span};
use super::timeline::{Disturbance, Outcome as Played, Timeline, check, project_key};

const FROM: &str = "2026-03-02T00:30:00Z";

/// A job with so many usual runs, then so many that take twice as long, then one that takes twice that; and
/// one more at the accepted level. Each varies by a few percent.
fn story(every: Span, cron: &str, slow: i64, usual: Span) -> Timeline {
    let mut timeline = Timeline::new(FROM)
        .job("orders", cron)
        .poll_every(Span::minutes(30));
    let first = timeline.from + Span::minutes(30);
    let count = |n: i64| i32::try_from(n).unwrap();
    for n in -30..slow + 2 {
        let at = first + every * count(n);
        let level = match n {
            n if n < 0 => 1.0,
            n if n == slow => 4.0,
            _ => 2.0,
        };
        let noise = [1.0, 1.03, 0.97, 1.01, 0.98][usize::try_from((n + 30) * 3 % 5).unwrap()];
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let took = (usual.num_seconds() as f64 * level * noise) as i64;
        let end = (at + Span::seconds(took), Status::Success, String::new());
        timeline = timeline.run_at("orders", &format!("r{n}"), at, Some(at), Some(end));
    }
    timeline.rule(slower(None))
}

/// Plays with a restart after every few steps.
pub fn play(timeline: &Timeline, until: Timestamp) -> Played {
    timeline.play_with(until, &mut |step, _| Disturbance {
        is_restart: step % 7 == 3,
        ..Disturbance::default()
    })
}

/// State changes without their reasons, and headlines without reminders.
pub fn news(played: &Played) -> Vec<String> {
    let lines = played.told_text().into_iter();
    lines.filter(|line| !line.contains(" reminder: ")).collect()
}

/// Ten usual runs of ten minutes, then runs from 01:00 on with their minutes.
fn hours(minutes: &[i64]) -> Timeline {
    let mut timeline = Timeline::new("2026-03-10T00:30:00Z")
        .job("orders", "0 * * * *")
        .past("orders", span("1h"), 10, span("10m"));
    for (hour, took) in (1..).zip(minutes) {
        let (from, end) = (
            format!("{hour:02}:00"),
            format!("{hour:02}:{took:02} success"),
        );
        timeline = timeline.run("orders", &format!("r{hour}"), &from, &end);
    }
    timeline
}

/// An engine that has seen a timeline until an instant, and is given no more than facts.
struct Watched {
    engine: Engine,
    timeline: Timeline,
    seen_until: Timestamp,
}

impl Watched {
    fn new(timeline: Timeline) -> Self {
        let policy = Arc::new(timeline.policy.clone());
        let mut watched = Self {
            engine: Engine::new(policy, History::default(), Saved::default()),
            seen_until: Timestamp::MIN,
            timeline,
        };
        watched.see("00:30", Vec::new());
        watched
    }

    fn see(&mut self, until: &str, acts: Vec<Act>) -> Step {
        let until = self.timeline.at(until);
        let is_new = |at: Timestamp| self.seen_until < at && at <= until;
        let mut rows: Vec<_> = self
            .timeline
            .rows
            .iter()
            .filter(|(at, _)| is_new(*at))
            .collect();
        rows.sort_by_key(|(at, row)| (*at, matches!(row, Observation::Run(..))));
        let input = Input {
            observations: rows.into_iter().map(|(_, row)| row.clone()).collect(),
            coverage: [(project_key(), until)].into(),
            executions_known: [(project_key(), until)].into(),
            acts,
            ..Input::default()
        };
        self.seen_until = until;
        self.engine.step(input, until)
    }

    fn accept(&mut self, alert: &str, at: &str) -> Acted {
        let what = ActKind::Accept {
            alert: alert.to_owned(),
        };
        let act = Act::new("ada", self.timeline.at(at), None, what);
        self.see(at, vec![act]).acts.pop().unwrap()
    }

    /// Ids of open alerts.
    fn open(&self) -> Vec<String> {
        let open = self.engine.alerts().filter(|alert| alert.is_open());
        open.map(Alert::id).collect()
    }

    fn why(&self, id: &str, at: &str) -> Why {
        match why(&self.engine, id, self.timeline.at(at)) {
            WhyAnswer::Alert(why) => *why,
            other => panic!("{other:?}"),
        }
    }
}

fn refusal(acted: Acted) -> Refusal {
    match acted.outcome {
        Outcome::Refused(refusal) => refusal,
        Outcome::Done(headline) => panic!("{headline}"),
    }
}

#[test]
fn an_acceptance_is_done_once_and_loses_against_the_end() {
    let mut watched = Watched::new(hours(&[20, 22, 10, 20]).rule(slower(None)));
    watched.see("02:30", Vec::new());
    let id = watched.open().pop().unwrap();
    // The run that ends it is seen in the very step of the act.
    let late = refusal(watched.accept(&id, "03:10"));
    assert!(matches!(late, Refusal::Over { .. }), "{late}");
    assert!(
        late.to_string()
            .contains("ended at 03:10 UTC (Back to usual"),
        "{late}"
    );

    watched.see("04:30", Vec::new());
    let id = watched.open().pop().unwrap();
    let done = watched.accept(&id[..4], "04:40");
    assert!(matches!(done.outcome, Outcome::Done(_)), "{done:?}");
    assert_eq!(done.target.as_ref().unwrap().id, id);
    for at in ["04:41", "04:50"] {
        let again = refusal(watched.accept(&id, at));
        let is_polite = matches!(
            again,
            Refusal::Over { .. } | Refusal::AlreadyAccepted { .. }
        );
        assert!(is_polite && again.to_string().contains("by ada"), "{again}");
    }
    assert!(watched.open().is_empty());
}

#[test]
fn an_acceptance_is_told_at_once_and_a_slowdown_on_top_is_another_alert() {
    let timeline = hours(&[20])
        .run("orders", "on-top", "00:40", "01:23 success")
        .run("orders", "same", "02:00", "02:20 success")
        .rule(slower(None))
        .policy(|policy| policy.route.group_interval = span("10m"))
        .accept("01:21", "slower", "orders", "");
    for is_restart in [false, true] {
        let played = timeline.play_with(timeline.at("04:00"), &mut |_, _| Disturbance {
            is_restart,
            ..Disturbance::default()
        });
        check(
            &news(&played),
            "01:20:15 team first: + critical Slower: finance orders took 20 min, usual 10 (+100 %, since run at 01:00 UTC; last 10: 10)
             01:21 team all_resolved: - critical Accepted: finance orders now takes 20 min (was 10 min), by ada
             01:23:15 team first: + critical Slower: finance orders took 43 min, usual 20 (+115 %, since run at 00:40 UTC; last 10: 20)
             02:20 team all_resolved: - critical Back to usual: finance orders took 20 min, usual 20",
        );
        check(
            &played.states_text(),
            "01:20 firing: Slower: finance orders took 20 min, usual 10 (+100 %, since run at 01:00 UTC; last 10: 10)
             01:21 resolved: Accepted: finance orders now takes 20 min (was 10 min), by ada
             01:23 firing: Slower: finance orders took 43 min, usual 20 (+115 %, since run at 00:40 UTC; last 10: 20)
             02:20 resolved: Back to usual: finance orders took 20 min, usual 20",
        );
        let ids: Vec<&String> = played.transitions.iter().map(|change| &change.id).collect();
        assert!(
            ids[0] == ids[1] && ids[2] == ids[3] && ids[1] != ids[2],
            "{ids:?}"
        );
    }
}

#[test]
fn runs_that_are_back_leave_nothing_to_accept() {
    let mut rule = slower(None);
    rule.keep_firing_for = span("2h");
    let mut watched = Watched::new(hours(&[20, 10]).rule(rule));
    watched.see("01:30", Vec::new());
    watched.see("02:30", Vec::new());
    let id = watched.open().pop().unwrap();
    let back = refusal(watched.accept(&id, "02:31"));
    assert!(
        back.to_string().contains("back to usual since 02:10 UTC"),
        "{back}"
    );
    assert_eq!(watched.open(), [id]);
}

#[test]
fn what_cannot_be_accepted_is_refused_in_words() {
    let timeline = hours(&[20, 22])
        .run("orders", "bad", "02:30", "02:40 failed: boom")
        .rule(slower(None))
        .rule(run_failed());
    let mut watched = Watched::new(timeline);
    watched.see("02:45", Vec::new());
    let open = watched.open();
    assert_eq!(open.len(), 2);
    let failed = watched
        .engine
        .alerts()
        .find(|alert| &*alert.kind == "run_failed");
    let failed = failed.unwrap().id();
    let kind = refusal(watched.accept(&failed, "02:46"));
    assert!(
        matches!(kind, Refusal::NoLevel { .. }) && kind.is_mistake(),
        "{kind}"
    );
    let none = refusal(watched.accept("zzzzzz", "02:47"));
    for id in &open {
        assert!(none.to_string().contains(id.as_str()), "{none}");
    }
    assert!(matches!(
        refusal(watched.accept("", "02:48")),
        Refusal::NoSuchAlert { .. }
    ));
    assert_eq!(watched.open(), open, "nothing was done");
}

/// Sixty nights of which each takes 15 s longer, from half an hour on.
#[test]
fn a_slope_has_no_level_to_accept() {
    let mut rule = slower(None);
    if let RuleKind::RunRegression(kind) = &mut rule.kind {
        *kind = Regression::new(Method::Trend);
        kind.limit = Some(span("47m"));
    }
    let mut timeline = Timeline::new("2026-03-09T03:00:00Z").job("orders", "0 4 * * *");
    let last = timeline.from + Span::hours(1);
    for day in 0..60_i32 {
        let noise = [
            1.0, 1.05, 0.96, 1.02, 0.95, 1.03, 0.98, 1.01, 0.99, 1.04, 0.97,
        ];
        let noise = noise[usize::try_from(day * 5 % 11).unwrap()];
        #[allow(clippy::cast_possible_truncation)]
        let took = ((1_800.0 + 15.0 * f64::from(day)) * noise) as i64;
        let from = last - Span::days(1) * (59 - day);
        let end = Some((from + Span::seconds(took), Status::Success, String::new()));
        timeline = timeline.run_at("orders", &format!("r{day}"), from, Some(from), end);
    }
    let mut watched = Watched::new(timeline.rule(rule));
    watched.see("05:00", Vec::new());
    let id = watched.open().pop().unwrap();
    let why = watched.why(&id, "05:00").regression.unwrap();
    assert!(
        why.resolves.contains("when runs do not grow any more"),
        "{}",
        why.resolves
    );
    assert!(
        !why.resolves.contains("a person accepts"),
        "{}",
        why.resolves
    );
    let refused = refusal(watched.accept(&id, "05:10"));
    assert!(
        matches!(refused, Refusal::Slope { .. }) && refused.is_mistake(),
        "{refused}"
    );
    assert!(refused.to_string().contains("raise `limit`"), "{refused}");
    assert_eq!(watched.open(), [id], "nothing was done");
}

#[test]
fn daily_averages_have_no_level_to_accept() {
    let mut rule = slower(None);
    if let RuleKind::RunRegression(kind) = &mut rule.kind {
        kind.method = Method::Percent;
    }
    let timeline = Timeline::new("2026-03-10T00:30:00Z").rule(rule);
    let now = timeline.at("04:00");
    let newest = now.to_utc().date_naive().pred_opt().unwrap();
    let days = newest.iter_days().rev().take(20);
    let averages = days.map(|day| DayAverage {
        of: Averaged::Runs,
        day,
        count: Some(24),
        millis: if day == newest { 1_200_000 } else { 600_000 },
    });
    let averages = Observation::Averages(project_key(), averages.collect());
    let rows = timeline.rows.iter().map(|(_, row)| row.clone());
    let mut watched = Watched {
        engine: Engine::new(
            Arc::new(timeline.policy.clone()),
            History::default(),
            Saved::default(),
        ),
        seen_until: now,
        timeline: timeline.clone(),
    };
    let input = Input {
        observations: rows.chain([averages]).collect(),
        ..Input::default()
    };
    watched.engine.step(input, now);
    let id = watched.open().pop().unwrap();
    let what = ActKind::Accept { alert: id.clone() };
    let input = Input {
        acts: vec![Act::new("ada", now, None, what)],
        ..Input::default()
    };
    let acted = watched.engine.step(input, now).acts.pop().unwrap();
    let refused = refusal(acted);
    assert!(matches!(refused, Refusal::Averages { .. }), "{refused}");
    assert_eq!(watched.open(), [id], "nothing was done");
}

/// Ten minutes, then 16, then 32, which are told before they are accepted.
#[test]
fn the_present_level_is_accepted_from_its_first_run_on() {
    for (rises, since, wanted) in [
        (&[(14_i64, 20.0)][..], 0, 20.0),
        (&[(16, 16.0), (12, 32.0)], 16, 32.0),
    ] {
        let mut rule = slower(None);
        if let RuleKind::RunRegression(kind) = &mut rule.kind {
            *kind = Regression::new(Method::Changepoint);
        }
        // A Thursday: a rise on Monday might be the end of a weekend.
        let mut timeline = Timeline::new("2026-03-05T00:30:00Z").job("orders", "0 * * * *");
        let first = timeline.from + Span::minutes(30);
        let slow = rises
            .iter()
            .flat_map(|(count, minutes)| (0..*count).map(|_| *minutes));
        let levels = std::iter::repeat_n(10.0, 40).chain(slow);
        for (n, minutes) in (-40_i32..).zip(levels) {
            let noise = 1.0 + f64::from((n + 40) * 7 % 11 - 5) / 60.0;
            #[allow(clippy::cast_possible_truncation)]
            let took = Span::seconds((minutes * 60.0 * noise) as i64);
            let from = first + Span::hours(1) * n;
            let end = Some((from + took, Status::Success, String::new()));
            timeline = timeline.run_at("orders", &format!("r{n}"), from, Some(from), end);
        }
        let mut watched = Watched::new(timeline.rule(rule));
        let count: i64 = rises.iter().map(|(count, _)| count).sum();
        let until = (first + Span::hours(1) * i32::try_from(count).unwrap()).to_string();
        for hour in 1..count {
            let at = first + Span::hours(1) * i32::try_from(hour).unwrap();
            watched.see(&at.to_string(), Vec::new());
        }
        watched.see(&until, Vec::new());
        let id = watched.open().pop().unwrap();
        let what = ActKind::Accept { alert: id };
        let act = Act::new("ada", watched.timeline.at(&until), None, what);
        let step = watched.see(&until, vec![act]);
        let told = match &step.acts[0].outcome {
            Outcome::Done(headline) => headline,
            Outcome::Refused(refusal) => panic!("{refusal}"),
        };
        assert!(told.contains(&format!("now takes {wanted} min")), "{told}");
        let memories = step.changed.memories.values().flatten();
        let mut accepted = memories.filter_map(|memory| memory.accepted.as_ref());
        let accepted = accepted.next_back().unwrap();
        assert!(
            (accepted.level_seconds / 60.0 - wanted).abs() < 0.5,
            "{accepted:?}"
        );
        let begun = first + Span::hours(1) * since;
        assert!(
            begun < accepted.since && accepted.since < begun + Span::hours(1),
            "{begun}: {accepted:?}"
        );
    }
}

#[test]
fn another_job_of_the_group_and_what_is_pending_are_left_alone() {
    let mut pending = slower(None);
    pending.name = "pending".into();
    pending.hold = span("3h");
    let mut timeline = hours(&[20, 21, 22, 20, 21])
        .jobs_at(
            "00:00",
            &[
                ("orders", "0 * * * *", true),
                ("refunds", "0 * * * *", true),
            ],
        )
        .past("refunds", span("1h"), 10, span("10m"))
        .policy(|policy| policy.route.group_by = vec!["project".into()])
        .rule(slower(None))
        .rule(pending)
        .accept("01:50", "slower", "orders", "bigger")
        .accept("01:50", "pending", "orders", "");
    for hour in 1..6 {
        let (from, end) = (format!("{hour:02}:00"), format!("{hour:02}:30 success"));
        timeline = timeline.run("refunds", &format!("q{hour}"), &from, &end);
    }
    let played = timeline.play("05:59");
    let about = |word: &str| {
        let lines = played.states_text().into_iter();
        lines.filter(|line| line.contains(word)).collect::<Vec<_>>()
    };
    check(
        &about("orders"),
        "01:20 firing: Slower: finance orders took 20 min, usual 10 (+100 %, since run at 01:00 UTC; last 10: 10)
         01:20 pending: Slower: finance orders took 20 min, usual 10 (+100 %, since run at 01:00 UTC; last 10: 10)
         01:50 resolved: Accepted: finance orders now takes 20 min (was 10 min), by ada: bigger
         01:50 inactive: Accepted: finance orders now takes 20 min (was 10 min), by ada",
    );
    let refunds = about("refunds");
    assert!(
        refunds.iter().all(|line| !line.contains("Accepted")),
        "{refunds:?}"
    );
    let told = played.told_text();
    let accepted: Vec<&String> = told
        .iter()
        .filter(|line| line.contains("Accepted"))
        .collect();
    assert_eq!(accepted.len(), 1, "{told:#?}");
    let goes_on = "01:50 team some_resolved: = critical Slower: finance refunds";
    assert!(
        told.iter().any(|line| line.starts_with(goes_on)),
        "{told:#?}"
    );
}

/// Seven weeks of a nightly job with long Sundays; then all nights take twice as long.
#[test]
fn each_tick_of_the_week_moves_to_the_accepted_level() {
    let mut timeline = Timeline::new("2026-03-09T03:00:00Z").job("nightly", "0 4 * * *");
    let first = timeline.from - Span::days(70) + Span::hours(1);
    for day in 0..91_i64 {
        let is_sunday = day % 7 == 6;
        let noise = [0, 20, -15, 35, -30][usize::try_from(day % 5).unwrap()];
        let level = match day {
            0..70 => 1,
            // The second Wednesday is twice as long again, and so is the second Sunday.
            79 | 83 => 4,
            _ => 2,
        };
        let minutes = if is_sunday { 60 } else { 10 } * level;
        let from = first + Span::days(day);
        let end = from + Span::minutes(minutes) + Span::seconds(noise);
        let end = Some((end, Status::Success, String::new()));
        timeline = timeline.run_at("nightly", &format!("n{day}"), from, Some(from), end);
    }
    let timeline = timeline
        .rule(slower(None))
        .poll_every(Span::minutes(5))
        .accept("03-10 12:00", "slower", "nightly", "")
        .accept("03-11 12:00", "slower", "nightly", "");
    let told = news(&play(&timeline, timeline.at("03-30 00:00")));
    let heads: Vec<String> = told
        .iter()
        .map(|line| line.split(" (").next().unwrap().to_owned())
        .collect();
    check(
        &heads,
        "04:20:15 team first: + critical Slower: finance nightly took 20 min, usual 10
         03-10 12:00 team all_resolved: - critical Accepted: finance nightly now takes 20 min
         03-18 04:40:15 team first: + critical Slower: finance nightly took 39 min, usual 20
         03-19 04:20 team all_resolved: - critical Back to usual: finance nightly took 20 min, usual 20
         03-22 08:05:15 team first: + critical Slower: finance nightly took 4 h, usual 2 h 1 min
         03-23 04:20 team all_resolved: - critical Back to usual: finance nightly took 19 min, usual 20",
    );
}

/// By hand, from the runs as they are printed.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[test]
fn the_numbers_of_an_explanation_are_those_of_the_runs_it_names() {
    for (method, times) in [
        (Method::RobustZ, None),
        (Method::RobustZ, Some((2, 3))),
        (Method::Percent, None),
    ] {
        let mut rule = slower(times);
        if let RuleKind::RunRegression(kind) = &mut rule.kind {
            kind.method = method;
        }
        let mut timeline = Timeline::new("2026-03-10T00:30:00Z").job("orders", "0 * * * *");
        for hour in 1..=24_i64 {
            let at = timeline.from - Span::hours(hour);
            let took = Span::seconds(600 + (hour * 37) % 113);
            let end = Some((at + took, Status::Success, String::new()));
            timeline = timeline.run_at("orders", &format!("past-{hour}"), at, Some(at), end);
        }
        let timeline = timeline
            .run("orders", "r1", "01:00", "01:19 success")
            .run("orders", "r2", "02:00", "02:10 success")
            .run("orders", "r3", "03:00", "03:21 success")
            .run("orders", "r4", "04:00", "04:18 success")
            .rule(rule);
        let mut watched = Watched::new(timeline);
        watched.see("03:30", Vec::new());
        watched.see("04:30", Vec::new());
        let id = watched.open().pop().unwrap();
        let why = watched.why(&id[..3], "04:30").regression.unwrap();
        assert!(why.is_exact, "{why:#?}");
        assert_eq!(why.run.id.as_deref(), Some("r4"));
        assert_eq!(why.baseline_runs.len(), 20);
        assert!((why.run.seconds - 18.0 * 60.0).abs() < 1e-9);
        let usual: Vec<f64> = why.baseline_runs.iter().map(|run| run.seconds).collect();
        let middle = median(&usual);
        let distances: Vec<f64> = usual.iter().map(|x| (x.ln() - middle.ln()).abs()).collect();
        let mad = median(&distances);
        let scale = (1.4826 * mad).max(0.05);
        let z = (why.run.seconds.ln() - middle.ln()) / scale;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(why.baseline.median, middle);
        close(why.log_mad, mad);
        close(why.baseline.log_scale, scale);
        close(why.run.z, z);
        close(why.run.ratio, why.run.seconds / middle);
        let numbers: Vec<(&str, f64)> = why
            .conditions
            .iter()
            .map(|condition| (condition.key.as_str(), condition.value))
            .collect();
        let expected = match method {
            Method::Percent => vec![("percent", why.run.seconds / middle)],
            _ => vec![
                ("z", z),
                ("min_ratio", why.run.seconds / middle),
                ("min_delta", why.run.seconds - middle),
            ],
        };
        for ((key, value), (name, by_hand)) in numbers.iter().zip(&expected) {
            assert_eq!(key, name);
            close(*value, *by_hand);
        }
        let threshold = match method {
            Method::Percent => middle * 1.5,
            _ => (middle * (4.0 * scale).exp())
                .max(middle * 1.2)
                .max(middle + 10.0),
        };
        close(why.threshold, threshold);
        close(
            why.clear_at,
            (threshold * 0.9).max(f64::midpoint(middle, threshold)),
        );
        for run in &why.judged {
            assert_eq!(run.is_slow, run.seconds > threshold, "{run:?}");
        }
        assert!(why.conditions.iter().all(|condition| condition.is_met));
    }
}

#[test]
fn an_explanation_says_what_was_accepted_and_moved() {
    let mut watched = Watched::new(hours(&[20, 22, 40]).rule(slower(None)));
    watched.see("02:30", Vec::new());
    let id = watched.open().pop().unwrap();
    watched.accept(&id, "02:40");
    watched.see("03:45", Vec::new());
    let id = watched.open().pop().unwrap();
    let why = watched.why(&id, "03:45").regression.unwrap();
    assert!(why.is_exact, "{why:#?}");
    assert!((why.moved_by.unwrap() - 2.1).abs() < 1e-9);
    assert!((why.baseline.median - 21.0 * 60.0).abs() < 1e-9);
    assert_eq!(why.accepted.as_ref().unwrap().by, "ada".into());
    assert_eq!(why.baseline_runs.len(), 10, "the runs before the slow ones");
    assert!(
        why.baseline_runs
            .iter()
            .all(|run| (run.seconds - 600.0).abs() < 1e-9)
    );
}

fn accept_at(timeline: Timeline, at: Timestamp) -> Timeline {
    timeline.accept(&at.to_string(), "slower", "orders", "bigger tables")
}

#[test]
fn a_permanent_slowdown_stays_open_until_it_is_accepted_and_the_next_on_top_is_found() {
    for (name, every, cron, slow, usual) in [
        ("hourly", span("1h"), "0 * * * *", 30 * 24, span("10m")),
        ("daily", span("1d"), "0 1 * * *", 60, span("31m")),
        ("hourly, at once", span("1h"), "0 * * * *", 3, span("10m")),
        ("daily, at once", span("1d"), "0 1 * * *", 1, span("31m")),
    ] {
        let timeline = story(every, cron, slow, usual);
        let next_at = timeline.from + Span::minutes(30) + every * i32::try_from(slow).unwrap();
        let before = play(&timeline, next_at - Span::minutes(1));
        assert_eq!(news(&before).len(), 1, "{name}: {:?}", news(&before));
        let timeline = accept_at(timeline, next_at - Span::minutes(2));
        let played = play(&timeline, next_at + every * 2);
        let told = news(&played);
        assert_eq!(told.len(), 4, "{name}: {told:#?}");
        assert!(
            told[1].contains("- critical Accepted: finance orders now takes"),
            "{told:#?}"
        );
        assert!(told[1].ends_with("by ada: bigger tables"), "{told:#?}");
        assert!(
            told[2].contains("+ critical Slower: finance orders took"),
            "{told:#?}"
        );
        assert!(told[3].contains("- critical Back to usual"), "{told:#?}");
        assert!(matches!(
            played.acts[..],
            [Acted {
                outcome: Outcome::Done(_),
                ..
            }]
        ));
        let undisturbed =
            timeline.play_with(next_at + every * 2, &mut |_, _| Disturbance::default());
        assert_eq!(news(&undisturbed), told, "{name}");
    }
}
