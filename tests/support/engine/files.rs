//! Scenario files are rule tests, in the format of `tardy test`: each comes out as written, played by the
//! production replay and by the test timeline, which may also restart and repeat itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tardy::app::rule_test::{Case, read_file};
use tardy::config::Environment;
use tardy::engine::rule::KIND_NAMES;

use super::timeline::{Disturbance, Outcome, Timeline, check};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn cases(path: &Path) -> Vec<Case> {
    match read_file(path, &Environment::default()) {
        Ok(cases) => cases,
        Err(error) => panic!("{error}"),
    }
}

fn timeline(case: &Case) -> Timeline {
    let mut timeline = Timeline::new(&case.from.to_string());
    timeline.rows = case.replay.facts().to_vec();
    timeline.outages = case.replay.outages().to_vec();
    timeline.wishes = case.replay.wishes().to_vec();
    timeline.policy.rules.clone_from(&case.rules);
    timeline.policy.route.escalate.clone_from(&case.escalate);
    timeline.policy.sources[0].schedule_zone = case.schedule_zone;
    match case.poll_every {
        Some(every) => timeline.poll_every(every),
        None => timeline,
    }
}

/// The timeline of the first test of a scenario file, and until when it goes.
pub fn scenario(name: &str) -> (Timeline, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenarios")
        .join(name);
    let case = cases(&path).swap_remove(0);
    (timeline(&case), case.until.to_string())
}

/// Compares what a timeline told and decided with what the test expects.
fn assert_expected(path: &Path, case: &Case, outcome: &Outcome) {
    // The file's name is the first line of what is compared, so that a failure says where it is.
    let name = format!("{}: {}", path.display(), case.name);
    let named = |lines: Vec<String>| [vec![name.clone()], lines].concat();
    check(
        &named(outcome.told_text()),
        &named(case.told.clone()).join("\n"),
    );
    if let Some(ledger) = &case.ledger {
        check(
            &named(outcome.ledger_text()),
            &named(ledger.clone()).join("\n"),
        );
    }
}

#[test]
fn every_scenario_file_comes_out_as_written_and_every_kind_has_one() {
    let mut kinds = BTreeSet::new();
    for path in files("tests/scenarios") {
        for case in cases(&path) {
            kinds.extend(case.kinds());
            let result = case.run();
            assert!(result.is_passed(), "{}: {result:#?}", path.display());
            let timeline = timeline(&case);
            let outcome = timeline.play(&case.until.to_string());
            assert_expected(&path, &case, &outcome);
        }
    }
    let without: Vec<_> = KIND_NAMES
        .iter()
        .filter(|kind| !kinds.contains(**kind))
        .collect();
    assert!(
        without.is_empty(),
        "write a scenario in tests/scenarios for {without:?}"
    );
}

#[test]
fn the_tests_of_the_rule_packs_pass_and_every_pack_and_rule_has_one() {
    let mut tested = BTreeSet::new();
    for path in files("rules/tests") {
        for case in cases(&path) {
            let result = case.run();
            assert!(result.is_passed(), "{}: {result:#?}", path.display());
            tested.extend(case.rules.iter().map(|rule| rule.name.to_string()));
        }
    }
    for pack in files("rules").iter().filter(|path| path.is_file()) {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests");
        let own = own.join(pack.file_name().unwrap());
        assert!(own.is_file(), "write {}", own.display());
        let rules =
            tardy::config::load_rules_only(std::slice::from_ref(pack), &Environment::default());
        for rule in rules.unwrap().rules {
            let is_tested = tested.contains(&*rule.name) || rule.origin == "built in";
            assert!(
                is_tested,
                "no test of {} runs `{}`",
                pack.display(),
                rule.name
            );
        }
    }
}

/// What these kinds know lies in plans, projects, jobs and protections: a restart loses nothing of it.
#[test]
fn governance_is_told_alike_with_a_restart_at_every_step() {
    for kind in [
        "paused",
        "plan_waiting",
        "plan_failed",
        "project_drift",
        "protection_off",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join(format!("tests/scenarios/{kind}.toml"));
        for case in cases(&path) {
            let timeline = timeline(&case);
            // How long a source has failed is not kept: while it does, there is no restart.
            let is_read = |at| !timeline.outages.iter().any(|(a, b)| *a <= at && at < *b);
            let outcome = timeline.play_with(case.until, &mut |_, now| Disturbance {
                is_restart: is_read(now),
                ..Disturbance::default()
            });
            assert_expected(&path, &case, &outcome);
        }
    }
}

/// A restart in the middle forgets no warning, and does not take a lack of knowledge for good news.
#[test]
fn forecasts_are_told_alike_with_a_restart_at_any_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/deadline_at_risk.toml");
    for case in cases(&path) {
        for every in [1, 7, 20] {
            let outcome = timeline(&case).play_with(case.until, &mut |step, _| Disturbance {
                is_restart: step % every == 0,
                ..Disturbance::default()
            });
            assert_expected(&path, &case, &outcome);
        }
    }
}
