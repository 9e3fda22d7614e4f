//! A person keeps alerts quiet: what is held back, what is told for all that, and what ends it.

use tardy::engine::notification::{Body, Reason};
use tardy::engine::silence::Until;

use super::kinds::{run_failed, span, stale};
use super::timeline::{Outcome, Timeline, check, check_restarted};

const JOB_A: &[&str] = &["job = a"];

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
        .policy(|policy| policy.route.repeat_interval = span("1h"))
        .rule(run_failed())
}

/// What was told apart from notices.
fn alerts(played: &Outcome) -> Vec<String> {
    let mut lines = played.news_text();
    lines.retain(|line| !line.contains(" notice: "));
    lines
}

fn notices(played: &Outcome) -> Vec<(String, String)> {
    let bodies = played
        .told
        .iter()
        .filter(|told| told.reason == Reason::Notice);
    let texts = bodies.filter_map(|told| match &told.body {
        Body::Notice { headline, text } => Some((headline.clone(), text.clone())),
        Body::Alerts(_) | Body::Digest(_) => None,
    });
    texts.collect()
}

#[test]
fn what_fires_while_silenced_is_announced_at_the_end_as_if_it_fired_then() {
    let played = check_restarted(
        &start()
            .silence("06:02", "1h", Until::Time, JOB_A)
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .run("b", "b1", "06:01", "06:05 failed: boom"),
        "07:03",
        "06:05:15 team first: + critical Failed: finance b: boom
         NOTICE
         07:02:15 team first: + critical Failed: finance a: boom",
    );
    assert_eq!(played.acts[0].silence.as_ref().unwrap().id.len(), 6);
}

#[test]
fn what_fires_and_ends_while_silenced_is_never_announced() {
    for ends in ["06:30", "07:01:59", "07:02"] {
        let end = format!("{ends} success");
        let played = check_restarted(
            &start()
                .silence("06:02", "1h", Until::Time, JOB_A)
                .run("a", "a1", "06:01", "06:05 failed: boom")
                .run("a", "a2", "06:20", &end),
            "09:00",
            if ends == "06:30" { "" } else { "NOTICE" },
        );
        assert_eq!(played.transitions.len(), 2, "the state goes on");
    }
}

#[test]
fn the_ending_of_what_was_told_is_told_whatever_is_silenced() {
    check_restarted(
        &start()
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .silence("06:10", "2h", Until::Time, JOB_A)
            .run("a", "a2", "07:20", "07:30 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:10 team silenced: = critical Failed: finance a: boom [silenced]
         07:30 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn those_who_know_see_it_once_and_again_when_it_is_over() {
    check_restarted(
        &start()
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .silence("06:10", "30m", Until::Time, JOB_A),
        "07:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:10 team silenced: = critical Failed: finance a: boom [silenced]
         NOTICE
         06:40:15 team silenced: = critical Failed: finance a: boom
         07:05:15 team reminder: = critical Failed: finance a: boom",
    );
}

#[test]
fn an_overdue_reminder_comes_when_the_silence_is_over() {
    check_restarted(
        &start()
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .silence("06:10", "2h", Until::Time, JOB_A)
            .unsilence("07:45", JOB_A),
        "08:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:10 team silenced: = critical Failed: finance a: boom [silenced]
         07:45:15 team reminder: = critical Failed: finance a: boom",
    );
}

#[test]
fn what_gets_worse_under_a_silence_is_told_at_once_when_it_does_not_fit_any_more() {
    let stale = |matchers: &[&str]| {
        Timeline::new("2026-03-10T06:00:00Z")
            .job("a", "")
            .rule(stale("90m", Some("10m")))
            .run("a", "a0", "06:00", "06:00 success")
            .silence("06:20", "3h", Until::Time, matchers)
    };
    check_restarted(
        &stale(&["job = a", "severity = warning"]),
        "08:00",
        "06:10:15 team first: + warning Stale: finance a has not succeeded for 10 min
         06:20 team silenced: = warning Stale: finance a has not succeeded for 10 min [silenced]
         07:30 team upgraded: = critical Stale: finance a has not succeeded for 1 h 30 min
         NOTICE",
    );
    check_restarted(
        &stale(JOB_A),
        "08:00",
        "06:10:15 team first: + warning Stale: finance a has not succeeded for 10 min
         06:20 team silenced: = warning Stale: finance a has not succeeded for 10 min [silenced]",
    );
}

#[test]
fn until_the_next_success_ends_with_it_and_no_sooner() {
    let played = check_restarted(
        &start()
            .rule(stale("10m", None))
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .silence("06:06", "4h", Until::Success, JOB_A)
            .run("b", "b1", "06:10", "06:11 success")
            .run("a", "a2", "06:20", "06:25 failed: boom")
            .run("a", "a3", "06:30", "06:35 success")
            .run("a", "a4", "06:40", "06:42 failed: boom"),
        "06:44",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team silenced: = critical Failed: finance a: boom [silenced]
         06:21:15 team first: + critical Stale: finance b has not succeeded for 10 min
         06:35 team all_resolved: - critical Recovered: finance a succeeded
         06:42:15 team first: + critical Failed: finance a: boom",
    );
    drop(played);
}

#[test]
fn until_resolved_ends_when_nothing_that_fits_is_open() {
    check_restarted(
        &start()
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .silence("06:06", "4h", Until::Resolved, JOB_A)
            .run("a", "a3", "06:30", "06:35 success")
            .run("a", "a4", "06:40", "06:42 failed: boom"),
        "06:44",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team silenced: = critical Failed: finance a: boom [silenced]
         06:35 team all_resolved: - critical Recovered: finance a succeeded
         06:42:15 team first: + critical Failed: finance a: boom",
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_a_remedy() {
    let played = start()
        .silence("06:01", "1h", Until::Time, &[])
        .silence("06:01", "1h", Until::Time, &["job != b"])
        .silence(
            "06:01",
            "1h",
            Until::Time,
            &["job =~ .*", "severity =~ info|warning|critical"],
        )
        .silence("06:01", "10s", Until::Time, JOB_A)
        .silence("06:01", "91d", Until::Time, JOB_A)
        .silence("06:01", "1h", Until::Success, &["job =~ a.*"])
        .silence("06:01", "1h", Until::Resolved, JOB_A)
        .silence("06:01", "1h", Until::Time, JOB_A)
        .silence("06:01:02", "1h", Until::Time, JOB_A)
        .unsilence("06:02", &["job = b"])
        .unsilence("06:03", JOB_A)
        .play("06:10");
    let said = played.acts_text();
    let id = &played.acts[7].silence.as_ref().unwrap().id;
    let lines: Vec<String> = said
        .iter()
        .flat_map(|line| line.lines())
        .map(|line| line.trim().to_owned())
        .collect();
    check(
        &lines,
        &format!(
            "06:01 ada refused: a silence needs a matcher, like job = \"orders\": without one it would fit every alert
             06:01 ada refused: job != \"b\" fits every alert, or nearly: name what is to be quiet with at least one matcher that does not fit everything, like project = \"finance\"
             06:01 ada refused: job =~ \".*\", severity =~ \"info|warning|critical\" fits every alert, or nearly: name what is to be quiet with at least one matcher that does not fit everything, like project = \"finance\"
             06:01 ada refused: a silence for 10 s is not possible: write a time from 1 min to 90 d, like 2h
             06:01 ada refused: a silence for 91 d is not possible: write a time from 1 min to 90 d, like 2h
             06:01 ada refused: a silence until the next success must name the job: add a matcher like job = \"orders\"
             06:01 ada refused: no open alert fits job = \"a\", so a silence until they are resolved would end at once; leave out `until`, or look at what is open with `tardy alerts`
             06:01 ada: Silenced until 07:01 UTC: job = \"a\" ({id}); no open alert fits it now
             06:01:02 ada refused: that is silenced already: {id} by ada, until 07:01 UTC
             06:02 ada refused: there is no silence `job = \"b\"`; the nearest in force:\n  {id} job = \"a\" by ada
             06:03 ada: Silence {id} is over: job = \"a\""
        ),
    );
}

#[test]
fn its_author_is_told_before_it_ends_when_something_fires_under_it_and_when_it_matches_nothing() {
    let ends = start().silence("06:02", "100m", Until::Time, JOB_A).run(
        "a",
        "a1",
        "06:01",
        "06:05 failed: boom",
    );
    let played = ends.play("07:41");
    let [(headline, text)] = &notices(&played)[..] else {
        panic!("{:#?}", played.told_text());
    };
    let id = &played.acts[0].silence.as_ref().unwrap().id;
    assert_eq!(
        *headline,
        format!("Silence {id} by ada ends in 10 min, and 1 alert fires under it")
    );
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "- Failed: finance a: boom".to_owned(),
            "It keeps quiet: job = \"a\"".to_owned(),
            "By ada at 06:02 UTC until 07:42 UTC: maintenance".to_owned(),
            format!("To end it now: tardy silence expire {id}"),
            "To prolong it: tardy silence add 'job = \"a\"' --for 1h40m --comment \"…\"".to_owned(),
        ]
    );
    let idle = start()
        .silence("06:02", "10h", Until::Time, JOB_A)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:10", "06:15 success");
    let played = check_restarted(&idle, "15:00", "NOTICE");
    let told = played
        .told
        .iter()
        .find(|told| told.reason == Reason::Notice);
    assert_eq!(told.unwrap().decided_at, idle.at("06:25"));
    assert!(notices(&played)[0].0.contains("matches nothing any more"));
    assert_eq!(alerts(&played), Vec::<String>::new());
}

#[test]
fn whoever_knows_of_a_silence_that_is_over_hears_of_the_other_that_keeps_it_quiet() {
    let both = start()
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .silence("06:10", "30m", Until::Time, JOB_A)
        .silence("06:10:10", "1h", Until::Time, &["project = finance"]);
    let told = "06:05:15 team first: + critical Failed: finance a: boom
         06:10 team silenced: = critical Failed: finance a: boom [silenced]
         06:10:10 team silenced: = critical Failed: finance a: boom [silenced]";
    // The longer one is what it is shown with: only its end is news.
    check_restarted(&both, "06:50", told);
    let lifted = both.unsilence("06:20", &["project = finance"]);
    let told = format!(
        "{told}
         06:20 team silenced: = critical Failed: finance a: boom [silenced]"
    );
    check_restarted(&lifted, "06:29", &told);
    // What ends with the last of them is told as ever.
    let told = format!(
        "{told}
         NOTICE
         06:40:15 team silenced: = critical Failed: finance a: boom"
    );
    check_restarted(&lifted, "06:50", &told);
}

/// A job fails under a silence, is well again at 06:15, and its alert is kept firing for an hour.
fn kept(silence: &str) -> Timeline {
    let mut failed = run_failed();
    failed.keep_firing_for = span("1h");
    Timeline::new("2026-03-10T06:00:00Z")
        .rule(failed)
        .silence("06:02", silence, Until::Time, JOB_A)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:10", "06:15 success")
}

#[test]
fn what_is_over_when_its_silence_ends_and_only_kept_firing_wakes_nobody() {
    let played = check_restarted(&kept("30m"), "09:00", "NOTICE");
    assert_eq!(played.transitions.len(), 2, "the state goes on");
    // Lifted by somebody, and over already.
    check_restarted(&kept("5h").unsilence("06:20", JOB_A), "09:00", "");
}

#[test]
fn what_is_kept_firing_and_is_broken_again_after_its_silence_is_announced_then() {
    check_restarted(
        &kept("30m").run("a", "a3", "06:40", "06:45 failed: boom"),
        "06:50",
        "NOTICE
         06:45:15 team first: + critical Failed: finance a: boom",
    );
    // Broken again under the silence: announced at its end.
    check_restarted(
        &kept("30m").run("a", "a3", "06:20", "06:25 failed: boom"),
        "06:50",
        "NOTICE
         06:32:15 team first: + critical Failed: finance a: boom",
    );
}

#[test]
fn what_leaves_a_silence_because_it_got_worse_does_not_wait_for_what_ends_silences() {
    check_restarted(
        &Timeline::new("2026-03-10T06:00:00Z")
            .job("a", "")
            .rule(stale("90m", Some("10m")))
            .run("a", "a0", "06:00", "06:00 success")
            .silence(
                "06:05",
                "3h",
                Until::Time,
                &["job = a", "severity = warning"],
            ),
        "08:00",
        "07:30 team first: + critical Stale: finance a has not succeeded for 1 h 30 min
         NOTICE",
    );
}
