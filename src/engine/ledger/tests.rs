use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + minute * 60_000)
}

fn job(name: &str) -> Labels {
    Labels::default()
        .with("source", "prod")
        .with("project_id", "p1")
        .with("job", name)
}

fn row(labels: Labels, due: i64, outcome: Promise) -> LedgerRow {
    LedgerRow {
        rule: "by-7".into(),
        labels,
        due_at: at(due),
        outcome,
        recorded_at: at(due + 1),
        corrected_from: None,
        was_recorded_at: None,
    }
}

#[test]
fn a_correction_replaces_the_row_and_remembers_what_was_there() {
    let mut ledger = Ledger::default();
    let missed = ledger.record(row(job("a"), 10, Promise::Missed)).unwrap();
    assert_eq!(missed.corrected_from, None);
    assert_eq!(ledger.record(missed.clone()), None, "said already");
    let mut late = row(job("a"), 10, Promise::LateBy(42_000));
    late.recorded_at = at(30);
    let late = ledger.record(late).unwrap();
    assert_eq!(late.corrected_from, Some(Promise::Missed));
    assert_eq!(late.was_recorded_at, Some(missed.recorded_at));
    let again = LedgerRow {
        recorded_at: at(99),
        ..late.clone()
    };
    assert_eq!(ledger.record(again), None);
    let rows: Vec<_> = ledger.rows("by-7", at(0), at(99)).collect();
    assert_eq!(rows, [late]);
    assert_eq!(ledger.len(), 1);
}

#[test]
fn promises_of_runs_share_a_subject_and_are_told_apart() {
    let mut ledger = Ledger::default();
    let uuid = "0198c2f4-5f00-7abc-8def-0123456789ab";
    for id in ["r1", uuid, "0198C2F4-5F00-7ABC-8DEF-0123456789AB", "Ü"] {
        let labels = job("a").with("run_id", id);
        assert!(
            ledger
                .record(row(labels.clone(), 10, Promise::Met))
                .is_some()
        );
        assert!(ledger.record(row(labels, 10, Promise::Met)).is_none());
    }
    assert_eq!(ledger.subjects("by-7").count(), 1);
    let ids: Vec<String> = ledger
        .rows("by-7", at(0), at(99))
        .map(|row| row.labels.get("run_id").to_owned())
        .collect();
    assert_eq!(
        ids,
        ["r1", uuid, "0198C2F4-5F00-7ABC-8DEF-0123456789AB", "Ü"]
    );
}

/// Outcomes by a number, so that each is there.
fn outcome(number: usize) -> Promise {
    match number % 11 {
        3 => Promise::Missed,
        5 => Promise::LateBy(i64::try_from(number).unwrap() * 61_001),
        7 => Promise::Excused("job disabled".to_owned()),
        9 => Promise::Unknown,
        _ => Promise::Met,
    }
}

fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = 7_u64;
    for index in (1..count).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(index, (random >> 33) as usize % (index + 1));
    }
    order
}

#[test]
fn whatever_the_order_it_says_what_a_plain_list_says() {
    let mut ledger = Ledger::default();
    let mut plain: BTreeMap<(Labels, Timestamp), Promise> = BTreeMap::new();
    let mut stored = Vec::new();
    for (step, number) in shuffled(600).into_iter().chain(shuffled(300)).enumerate() {
        let name = ["a", "b", "c"][number % 3];
        let labels = if name == "c" {
            job(name).with("run_id", format!("r{number}"))
        } else {
            job(name)
        };
        let minute = i64::try_from(number / 4).unwrap();
        let mut row = row(labels, minute, outcome(number + step / 600 * 2));
        row.recorded_at = at(1_000 + i64::try_from(step).unwrap());
        let key = (row.labels.clone(), row.due_at);
        let before = plain.insert(key, row.outcome.clone());
        let kept = ledger.record(row.clone());
        assert_eq!(
            kept.is_none(),
            before.as_ref() == Some(&row.outcome),
            "{row:?}"
        );
        if let Some(kept) = kept {
            assert_eq!(kept.corrected_from, before);
            stored.push(kept);
        }
    }
    let restored = Ledger::restore(stored);
    for (after, until) in [(-1, 1_000), (20, 21), (40, 120), (60, 10)] {
        for ledger in [&ledger, &restored] {
            let expected: BTreeMap<_, _> = plain
                .iter()
                .filter(|((_, due), _)| *due > at(after) && *due <= at(until))
                .map(|(key, outcome)| (key.clone(), outcome.clone()))
                .collect();
            let found: Vec<LedgerRow> = ledger.rows("by-7", at(after), at(until)).collect();
            assert!(found.is_sorted_by_key(|row| row.due_at));
            assert_eq!(found.len(), expected.len());
            let found: BTreeMap<_, _> = found
                .into_iter()
                .map(|row| ((row.labels, row.due_at), row.outcome))
                .collect();
            assert_eq!(found, expected);
            let tally = ledger
                .subjects("by-7")
                .map(|subject| subject.tally(at(after), at(until)))
                .fold(Tally::default(), |sum, tally| sum + tally);
            let mut counted = Tally::default();
            for outcome in expected.values() {
                counted.add(outcome);
            }
            assert_eq!(tally, counted);
            let broken: usize = ledger
                .subjects("by-7")
                .map(|s| s.broken(at(after), at(until)).count())
                .sum();
            assert_eq!(broken, counted.broken());
        }
    }
    let all = |ledger: &Ledger| {
        ledger
            .rows("by-7", at(-1), at(1_000))
            .map(|row| format!("{row:?}"))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(all(&ledger), all(&restored), "corrections included");
}

#[test]
fn what_is_older_than_the_cutoff_is_forgotten() {
    let mut ledger = Ledger::default();
    for minute in 0..100 {
        let labels = job("a").with("run_id", format!("r{minute}"));
        ledger.record(row(labels.clone(), minute, Promise::Missed));
        ledger.record(row(
            labels,
            minute,
            outcome(usize::try_from(minute).unwrap()),
        ));
    }
    ledger.record(row(job("gone"), 3, Promise::Met));
    let before: Vec<_> = ledger.rows("by-7", at(59), at(200)).collect();
    ledger.forget_before(at(60));
    assert_eq!(ledger.len(), 40);
    assert_eq!(
        ledger.rows("by-7", at(-1), at(200)).collect::<Vec<_>>(),
        before
    );
    assert_eq!(ledger.subjects("by-7").count(), 1);
    ledger.forget_before(at(1_000));
    assert!(ledger.is_empty());
}

/// `cargo test --release ledger_in_memory -- --nocapture` prints the bytes of a row.
#[test]
fn a_row_of_the_ledger_in_memory_takes_at_most_64_bytes() {
    for (what, runs) in [("ticks", false), ("limits of runs", true)] {
        let mut ledger = Ledger::default();
        let count = 100_000_u64;
        for number in 0..count {
            let mut labels = job(&format!("job-{}", number % 50));
            if runs {
                let (high, low) = (number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff, number);
                labels.set(
                    "run_id",
                    format!("{high:08x}-0000-4000-8000-{low:012x}").as_str(),
                );
            }
            let minute = i64::try_from(number).unwrap();
            ledger.record(row(
                labels,
                minute,
                outcome(usize::try_from(number).unwrap() % 200),
            ));
        }
        let bytes = ledger.size_bytes() / ledger.len();
        println!("{what}: {bytes} bytes a row in {count} rows");
        assert!(bytes <= 64, "{what}: {bytes}");
    }
}
