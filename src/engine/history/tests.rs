//! Tables and properties of history.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::super::schedule::Tick;
use super::waiting::MAX_WAITING_RUNS;
use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_773_100_800_000) + Span::minutes(minute)
}

fn key() -> ProjectKey {
    ProjectKey {
        source: "prod".into(),
        project_id: "p1".into(),
    }
}

/// A row as of `updated` minutes: created at 0, started at 1.
fn row(id: &str, updated: i64, status: Status) -> Run {
    let is_done = !status.is_active();
    Run {
        id: id.into(),
        job: Some("job".into()),
        job_type: "run".into(),
        triggered_by: "scheduled".into(),
        created_at: at(0),
        started_at: (status != Status::Pending).then(|| at(1)),
        finished_at: is_done.then(|| at(updated)),
        updated_at: at(updated),
        error: None,
        status,
    }
}

fn execution(id: &str, run: &str, updated: i64, status: Status) -> Execution {
    Execution {
        id: id.into(),
        run_id: Some(run.into()),
        model: "m".into(),
        finished_at: (!status.is_active()).then(|| at(updated)),
        status,
        started_at: Some(at(1)),
        updated_at: at(updated),
        rows: None,
        error: Some("boom".into()),
    }
}

fn job(schedule: &str, is_enabled: bool, updated: i64) -> Job {
    Job {
        name: "job".into(),
        schedule: Some(schedule.into()),
        is_enabled,
        updated_at: Some(at(updated)),
    }
}

/// Everything a rule can see of the runs of the job.
fn picture(history: &History) -> String {
    let Some(project) = history.project(&key()) else {
        return String::new();
    };
    let Some(job) = project.job("job") else {
        return String::new();
    };
    let ids = |runs: Vec<&Run>| {
        let words = runs
            .iter()
            .map(|run| format!("{}:{}", run.id, run.status.as_str()));
        words.collect::<Vec<_>>().join(" ")
    };
    let models: Vec<_> = project
        .models()
        .flat_map(|(_, _, model)| model.executions())
        .map(|known| (known.started_at, known.run_time(), known.outcome()))
        .map(|known| format!("{known:?}"))
        .collect();
    format!(
        "finished [{}] active [{}] created [{}] models {models:?}",
        ids(project.finished(job).collect()),
        ids(project.active(job).collect()),
        ids(project.created_between(job, at(-9), at(99)).collect()),
    )
}

#[test]
fn the_newest_row_of_a_run_wins_and_repeats_are_no_news() {
    for (rows, changes, picture_of) in [
        (&[(5, "running"), (9, "success")][..], "yy", "a:success"),
        (&[(9, "success"), (5, "running")], "yn", "a:success"),
        (&[(9, "success"), (9, "success")], "yn", "a:success"),
        (&[(9, "success"), (9, "running")], "yn", "a:success"),
        (&[(9, "running"), (9, "success")], "yy", "a:success"),
        (&[(9, "failed"), (12, "success")], "yy", "a:success"),
        (
            &[(9, "failed"), (12, "running"), (15, "success")],
            "yyy",
            "a:success",
        ),
    ] {
        let mut history = History::default();
        let said: String = rows
            .iter()
            .map(|(updated, word)| {
                let run = row("a", *updated, Status::from_word(word));
                let changes = history.observe_run(&key(), run);
                if changes == [Change::None] { 'n' } else { 'y' }
            })
            .collect();
        assert_eq!(said, changes, "{rows:?}");
        let picture = picture(&history);
        assert!(
            picture.starts_with(&format!("finished [{picture_of}] active []")),
            "{picture}"
        );
    }
}

#[test]
fn executions_wait_for_their_run() {
    let mut history = History::default();
    let early = execution("e", "a", 5, Status::Failed);
    assert_eq!(
        history.observe_execution(&key(), early.clone()),
        Change::Noted
    );
    assert_eq!(
        history.observe_execution(&key(), early),
        Change::None,
        "a repeat"
    );
    let changes = history.observe_run(&key(), row("a", 9, Status::Failed));
    assert_eq!(changes.len(), 2, "the job and the model");
    let project = history.project(&key()).unwrap();
    let (failed, skipped) = project.failures_of(project.run("a").unwrap());
    assert_eq!((failed.len(), skipped), (1, 0));
    assert_eq!(&**failed[0].1.error_of(failed[0].2).unwrap(), "boom");
}

#[test]
fn runs_that_never_come_do_not_keep_others_waiting() {
    let mut history = History::default();
    for index in 0..3_000 {
        let id = format!("e{index}");
        history.observe_execution(&key(), execution(&id, &id, 5, Status::Success));
    }
    assert_eq!(
        history.project(&key()).unwrap().waiting.by_run.len(),
        MAX_WAITING_RUNS
    );
    assert_eq!(
        history.project(&key()).unwrap().waiting.order.len(),
        MAX_WAITING_RUNS
    );
    assert_eq!(
        history
            .observe_run(&key(), row("e2999", 9, Status::Success))
            .len(),
        2
    );
    assert_eq!(
        history
            .observe_run(&key(), row("e0", 9, Status::Success))
            .len(),
        1,
        "given up"
    );
}

#[test]
fn forgetting_keeps_what_is_newer_and_what_goes_on() {
    let mut history = History::default();
    for (id, status) in [("old", Status::Success), ("zombie", Status::Running)] {
        history.observe_run(&key(), row(id, 9, status));
    }
    history.observe_execution(&key(), execution("e", "old", 5, Status::Failed));
    let mut newer = row("new", 90, Status::Failed);
    newer.created_at = at(60);
    history.observe_run(&key(), newer);
    let mut late = execution("late", "new", 95, Status::Failed);
    late.started_at = Some(at(61));
    history.observe_execution(&key(), late);
    history.forget_before(at(30));
    let project = history.project(&key()).unwrap();
    assert!(project.run("old").is_none());
    assert_eq!(
        picture(&history).split(" models").next().unwrap(),
        "finished [new:failed] active [zombie:running] created [zombie:running new:failed]"
    );
    let (failed, _) = project.failures_of(project.run("new").unwrap());
    assert_eq!(failed.len(), 1, "executions still know their run");
    let model = project.model(&"job".into(), &"m".into()).unwrap();
    assert_eq!(
        model.errors.len(),
        1,
        "texts of forgotten errors are forgotten"
    );
}

#[test]
fn an_edit_holds_from_the_sources_instant_when_that_can_be() {
    for (updated, since) in [
        (20, 20),   // between the looks at 10 and 30
        (-500, 30), // long before: the source did not date the edit
        (40, 30),   // in the future
    ] {
        let mut history = History::default();
        history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(10));
        history.observe_jobs(&key(), vec![job("30 * * * *", false, updated)], at(30));
        let project = history.project(&key()).unwrap();
        let job = project.job("job").unwrap();
        assert_eq!(
            job.record().versions.last().unwrap().0,
            at(since),
            "{updated}"
        );
        assert_eq!(
            job.record().holds,
            [Hold {
                from: at(since),
                to: None,
                held_at: None
            }],
            "{updated}"
        );
        assert!(project.is_held(job, at(since)) && !project.is_held(job, at(since - 1)));
    }
}

#[test]
fn ticks_follow_the_schedule_of_their_time() {
    let mut history = History::default();
    history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(10));
    history.observe_jobs(&key(), vec![job("30 * * * *", true, 150)], at(150));
    let project = history.project(&key()).unwrap();
    let job = project.job("job").unwrap();
    let minutes = |ticks: Vec<Tick>| -> Vec<i64> {
        ticks
            .iter()
            .map(|tick| (tick.at - at(0)).num_minutes())
            .collect()
    };
    assert_eq!(
        minutes(job.ticks(Tz::UTC, at(30), at(280)).collect()),
        [60, 120, 150, 210, 270]
    );
    let next = |minute| minutes(job.next_tick(Tz::UTC, at(minute)).into_iter().collect());
    assert_eq!(
        (next(60), next(121), next(150)),
        (vec![120], vec![150], vec![210])
    );
    let last = |minute| minutes(job.previous_tick(Tz::UTC, at(minute)).into_iter().collect());
    assert_eq!(
        (last(149), last(150), last(209)),
        (vec![120], vec![150], vec![150])
    );
}

#[test]
fn time_held_by_project_and_job_counts_once() {
    let mut history = History::default();
    history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(0));
    history.observe_jobs(&key(), vec![job("0 * * * *", false, 10)], at(10));
    history.observe_jobs(&key(), vec![job("0 * * * *", true, 30)], at(30));
    let project = |is_suspended| Project {
        key: key(),
        name: "p".into(),
        project_type: "sqlmesh".into(),
        is_suspended,
        is_deployed: true,
        environment: None,
        commits_behind: None,
        current_commit: None,
        latest_commit: None,
        latest_message: None,
        concurrency_policy: None,
    };
    history.observe_project(project(false), at(0));
    history.observe_project(project(true), at(20));
    history.observe_project(project(false), at(50));
    let project = history.project(&key()).unwrap();
    let job = project.job("job").unwrap();
    let held = |from, to| project.held_time(job, at(from), at(to)).num_minutes();
    assert_eq!(held(0, 100), 40);
    assert_eq!(held(15, 25), 10);
    assert_eq!(held(40, 100), 10);
    assert_eq!(held(60, 100), 0);
}

proptest! {
    /// Whatever the order and however often: the same picture.
    #[test]
    fn the_order_of_rows_does_not_matter(
        rows in prop::collection::vec((0..6_usize, 1..9_i64, 0..5_usize), 1..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let words = ["pending", "running", "success", "failed", "partial"];
        let take_in = |history: &mut History, (id, updated, word): (usize, i64, usize)| {
            let status = Status::from_word(words[word]);
            if id < 3 {
                history.observe_run(&key(), row(&format!("r{id}"), updated, status));
            } else {
                let (id, run) = (format!("e{id}"), format!("r{}", id - 3));
                history.observe_execution(&key(), execution(&id, &run, updated, status));
            }
        };
        let (mut plain, mut mixed) = (History::default(), History::default());
        for fact in &rows {
            take_in(&mut plain, *fact);
        }
        for index in &order {
            take_in(&mut mixed, rows[index.index(rows.len())]);
        }
        for fact in rows.iter().rev() {
            take_in(&mut mixed, *fact);
        }
        prop_assert_eq!(picture(&plain), picture(&mixed));
    }
}

#[test]
fn a_word_nobody_knows_does_not_take_back_an_outcome_of_the_same_instant() {
    let quantum = || row("a", 5, Status::Other("quantum".into()));
    let success = || row("a", 5, Status::Success);
    for rows in [[success(), quantum()], [quantum(), success()]] {
        let mut history = History::default();
        for run in rows {
            history.observe_run(&key(), run);
        }
        assert!(
            picture(&history).contains("a:success"),
            "{}",
            picture(&history)
        );
    }
}

#[test]
fn a_job_that_is_not_listed_is_known_as_such_once_there_is_a_list() {
    let mut history = History::default();
    history.observe_run(&key(), row("a", 5, Status::Success));
    let is_unlisted = |history: &History| {
        let project = history.project(&key()).unwrap();
        project.is_unlisted(project.job("job").unwrap())
    };
    assert!(!is_unlisted(&history), "nobody has said yet what there is");
    let other = Job {
        name: "other".into(),
        ..job("0 * * * *", true, 6)
    };
    history.observe_jobs(&key(), vec![other], at(6));
    assert!(is_unlisted(&history));
    history.observe_jobs(&key(), vec![job("0 * * * *", true, 7)], at(7));
    assert!(!is_unlisted(&history));
}

#[test]
fn runs_without_a_job_owe_nothing_even_where_jobs_are_not_listed() {
    let mut history = History::default();
    let mut manual = row("a", 5, Status::Success);
    manual.job = None;
    history.observe_run(&key(), manual);
    let project = history.project(&key()).unwrap();
    assert!(project.is_unlisted(project.job(MANUAL_JOB).unwrap()));
}
