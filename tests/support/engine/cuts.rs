//! More than one step judges: nobody is told, and nothing anybody does is done, on half the picture.

use chrono_tz::Tz;
use tardy::engine::Step;
use tardy::engine::digest::DigestPolicy;
use tardy::engine::observation::{Observation, Status};
use tardy::engine::schedule::{Cron, Dialect};
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input};

use super::kinds::{run_failed, span};
use super::timeline::{Outcome, Stored, Timeline, check};

/// More than are changed in one step.
const JOBS: usize = 2_100;

/// 2 100 jobs fail at 07:59, all served by the poll at 08:00; the last job has failed since 07:00 and
/// succeeds with them.
fn many() -> Timeline {
    let names: Vec<String> = (0..JOBS).map(|index| format!("j{index:04}")).collect();
    let jobs = names.iter().map(|name| (name.as_str(), "", true));
    let jobs: Vec<_> = jobs.chain([("last", "", true)]).collect();
    let mut timeline = Timeline::new("2026-03-10T06:50:00Z")
        .poll_every(span("10m"))
        .policy(|policy| policy.route.group_by = vec!["project".into()])
        .rule(run_failed())
        .jobs_at("2025-11-01T00:00:00Z", &jobs)
        .run("last", "last-1", "06:55", "06:59 failed: boom")
        .run("last", "last-2", "07:55", "07:59 success");
    let at = timeline.at("07:59");
    for name in &names {
        let end = Some((at, Status::Failed, "boom".to_owned()));
        timeline = timeline.run_at(name, &format!("{name}-1"), at, Some(at), end);
    }
    timeline
}

fn lines_of(played: &Outcome, reason: &str) -> Vec<String> {
    let mut lines = played.told_text();
    lines.retain(|line| line.contains(reason));
    lines
}

#[test]
fn a_digest_counts_all_that_is_judged_at_its_tick() {
    let digest = DigestPolicy {
        name: "morning".into(),
        schedule: Cron::parse("0 8 * * *", Dialect::Ours).unwrap(),
        zone: Tz::UTC,
        period: Span::hours(24),
        receivers: vec!["leads".into()],
        send_empty: true,
    };
    let played = many()
        .policy(|policy| policy.digests.push(digest))
        .play("08:05");
    let told = lines_of(&played, " digest: ");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&JOBS.to_string()), "{told:?}");
}

#[test]
fn an_act_in_a_step_that_is_cut_loses_to_the_end_of_its_alert() {
    let played = many()
        .acknowledge("08:00", "ada", ("failed", "last"), "1h")
        .play("08:05");
    let said = played.acts_text();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("ada refused: "), "{said:?}");
    assert!(said[0].contains("Recovered: finance last"), "{said:?}");
}

#[test]
fn an_act_is_answered_by_the_step_that_judges_the_rest_and_once() {
    let timeline = many();
    let mut engine = Stored::default().engine(&timeline.policy, |_| {});
    let look = |engine: &mut Engine, from: Timestamp, at: Timestamp, acts: &[_]| -> Step {
        let mut input = Input::default();
        let rows = timeline.rows.iter();
        let rows = rows.filter(|(known, _)| from < *known && *known <= at);
        input.observations = rows
            .map(|(_, row): &(_, Observation)| row.clone())
            .collect();
        input.coverage.insert(super::timeline::project_key(), at);
        input.acts = acts.to_vec();
        engine.step(input, at)
    };
    let (seven, eight) = (timeline.at("07:00"), timeline.at("08:00"));
    look(&mut engine, Timestamp::MIN, seven, &[]);
    let alert = engine.alerts().next().unwrap().id();
    let what = tardy::engine::acting::ActKind::Acknowledge {
        alert,
        for_millis: None,
    };
    let act = tardy::engine::acting::Act::new("ada", eight, None, what);
    let cut = look(&mut engine, seven, eight, &[act]);
    assert!(cut.acts.is_empty(), "{:?}", cut.acts);
    assert!(cut.notifications.is_empty());
    assert_eq!(cut.wake_at, Some(eight), "the rest at once");
    let rest = engine.step(Input::default(), eight);
    assert_eq!(rest.acts.len(), 1);
    assert_eq!(&*rest.acts[0].act.by, "ada");
    let after = engine.step(Input::default(), eight);
    check(
        &after
            .acts
            .iter()
            .map(|acted| acted.act.by.to_string())
            .collect::<Vec<_>>(),
        "",
    );
}
