//! What every backend must do. To check one, add a test that calls [`conformance`] with how to make
//! it.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tardy::store::sled::{MAX_KEY_BYTES, MAX_RECORD_BYTES, SledStore};
use tardy::store::{Commit, Record, Store, StoreError, Table};

type Made = Box<dyn Store>;

/// Checks a backend. `make` returns a new, empty store.
pub(crate) fn conformance(make: &dyn Fn() -> Made) {
    what_is_written_is_read(&*make());
    later_writes_of_a_key_win(&*make());
    an_empty_commit_does_nothing(&*make());
    tables_are_separate(&*make());
    scans_return_exactly_what_starts_with_the_prefix(&*make());
    ranges_are_half_open_and_ordered(&*make());
    both_ends_of_a_range_meet(&*make());
    long_scans_return_everything_once(&*make());
    large_values_are_whole(&*make());
    a_record_that_is_too_large_is_refused_whole(&*make());
    commits_of_many_threads_are_all_there(&*make());
    nobody_sees_half_a_commit(&*make());
    any_history_ends_like_a_map(make);
}

#[test]
fn the_embedded_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&|| Box::new(SledStore::temporary_in(dir.path()).unwrap()));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "temporary stores are removed: {left:?}");
}

fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    let mut commit = Commit::default();
    commit.put(table, key.to_vec(), value.to_vec());
    store.commit(&commit).unwrap();
}

fn delete(store: &dyn Store, table: Table, key: &[u8]) {
    let mut commit = Commit::default();
    commit.delete(table, key.to_vec());
    store.commit(&commit).unwrap();
}

fn scanned(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<Record> {
    store.scan(table, prefix).map(Result::unwrap).collect()
}

fn ranged(store: &dyn Store, from: &[u8], to: Option<&[u8]>) -> Vec<Record> {
    store
        .range(Table::Ledger, from, to)
        .map(Result::unwrap)
        .collect()
}

fn keys(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|(key, _)| key.as_slice()).collect()
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let cycle = (0..251_u8).map(|n| n ^ seed).cycle();
    cycle.take(len).collect()
}

fn what_is_written_is_read(store: &dyn Store) {
    assert_eq!(store.get(Table::Alert, b"a").unwrap(), None);
    put(store, Table::Alert, b"a", b"1");
    put(store, Table::Alert, b"", b"the empty key");
    put(store, Table::Alert, b"empty", b"");
    assert_eq!(store.get(Table::Alert, b"a").unwrap().unwrap(), b"1");
    assert_eq!(
        store.get(Table::Alert, b"").unwrap().unwrap(),
        b"the empty key"
    );
    assert_eq!(store.get(Table::Alert, b"empty").unwrap().unwrap(), b"");
    delete(store, Table::Alert, b"a");
    delete(store, Table::Alert, b"never there");
    assert_eq!(store.get(Table::Alert, b"a").unwrap(), None);
    assert!(store.size_bytes().unwrap() > 0);
}

fn later_writes_of_a_key_win(store: &dyn Store) {
    let mut commit = Commit::default();
    commit.put(Table::Meta, b"x".to_vec(), b"first".to_vec());
    commit.delete(Table::Meta, b"x".to_vec());
    commit.put(Table::Meta, b"x".to_vec(), b"last".to_vec());
    commit.put(Table::Meta, b"y".to_vec(), b"gone".to_vec());
    commit.delete(Table::Meta, b"y".to_vec());
    store.commit(&commit).unwrap();
    assert_eq!(store.get(Table::Meta, b"x").unwrap().unwrap(), b"last");
    assert_eq!(store.get(Table::Meta, b"y").unwrap(), None);
}

fn an_empty_commit_does_nothing(store: &dyn Store) {
    store.commit(&Commit::default()).unwrap();
    for table in Table::ALL {
        let found = scanned(store, table, b"");
        let own = table == Table::Meta;
        assert!(found.is_empty() || own, "{table:?} is not empty");
    }
}

fn tables_are_separate(store: &dyn Store) {
    for table in Table::ALL {
        put(store, table, b"key", format!("{table:?}").as_bytes());
    }
    for table in Table::ALL {
        let value = store.get(table, b"key").unwrap().unwrap();
        assert_eq!(value, format!("{table:?}").as_bytes());
        let found = scanned(store, table, b"key");
        assert_eq!(found.len(), 1, "{table:?}");
    }
}

fn scans_return_exactly_what_starts_with_the_prefix(store: &dyn Store) {
    let all: [&[u8]; 8] = [
        b"",
        b"a",
        b"a\0",
        b"aa",
        b"a\xff",
        b"a\xff\xff",
        b"b",
        b"\xff",
    ];
    for key in all {
        put(store, Table::Group, key, key);
    }
    for prefix in [
        b"".as_slice(),
        b"a",
        b"a\xff",
        b"\xff",
        b"\xff\xff",
        b"c",
        b"a\0",
    ] {
        let found = scanned(store, Table::Group, prefix);
        let mut expected: Vec<_> = all
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .collect();
        expected.sort_unstable();
        assert_eq!(keys(&found), expected, "prefix {prefix:?}");
    }
}

fn ranges_are_half_open_and_ordered(store: &dyn Store) {
    for key in [b"b", b"d", b"a", b"c"] {
        put(store, Table::Ledger, key, key);
    }
    let all: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d"];
    assert_eq!(keys(&ranged(store, b"", None)), all);
    assert_eq!(keys(&ranged(store, b"b", Some(b"d"))), all[1..3]);
    assert_eq!(keys(&ranged(store, b"b\0", None)), all[2..]);
    assert!(ranged(store, b"b", Some(b"b")).is_empty());
    assert!(ranged(store, b"d", Some(b"a")).is_empty());
    let backward: Vec<_> = store
        .range(Table::Ledger, b"b", None)
        .rev()
        .map(Result::unwrap)
        .collect();
    assert_eq!(keys(&backward), [b"d", b"c", b"b"]);
}

fn both_ends_of_a_range_meet(store: &dyn Store) {
    let mut commit = Commit::default();
    for n in 0..500_u16 {
        commit.put(Table::Ledger, n.to_be_bytes().to_vec(), vec![0]);
    }
    store.commit(&commit).unwrap();
    let mut range = store.range(Table::Ledger, &[], None);
    let mut seen = Vec::new();
    while let Some(front) = range.next() {
        seen.push(front.unwrap().0);
        for _ in 0..2 {
            seen.extend(range.next_back().map(|record| record.unwrap().0));
        }
    }
    assert!(range.next_back().is_none() && range.next().is_none());
    assert_eq!(seen[..3], [[0, 0], [1, 243], [1, 242]]);
    seen.sort_unstable();
    let expected: Vec<_> = (0..500_u16).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(seen, expected);
}

fn long_scans_return_everything_once(store: &dyn Store) {
    let expected: Vec<Record> = (0..3_000_u32)
        .map(|n| (n.to_be_bytes().to_vec(), pattern(n as usize % 90, 3)))
        .collect();
    for chunk in expected.chunks(700) {
        let mut commit = Commit::default();
        for (key, value) in chunk {
            commit.put(Table::Ledger, key.clone(), value.clone());
        }
        store.commit(&commit).unwrap();
    }
    assert_eq!(scanned(store, Table::Ledger, b""), expected);
    let mut backward: Vec<_> = store
        .range(Table::Ledger, &[], None)
        .rev()
        .map(Result::unwrap)
        .collect();
    backward.reverse();
    assert_eq!(backward, expected);
}

fn large_values_are_whole(store: &dyn Store) {
    let sizes = [
        4095,
        4096,
        4097,
        8192,
        8193,
        100_000,
        1_000_003,
        MAX_RECORD_BYTES,
    ];
    for (n, size) in (0_u8..).zip(sizes) {
        put(store, Table::History, &[n], &pattern(size, n));
    }
    for (n, size) in (0_u8..).zip(sizes) {
        let found = store.get(Table::History, &[n]).unwrap().unwrap();
        assert!(found == pattern(size, n), "{size} bytes");
    }
    // Overwritten with shorter, longer and inline values, and deleted.
    put(store, Table::History, &[6], &pattern(20_000, 9));
    put(store, Table::History, &[3], &pattern(70_000, 8));
    put(store, Table::History, &[5], b"small");
    delete(store, Table::History, &[7]);
    let found = scanned(store, Table::History, b"");
    let lengths: Vec<usize> = found.iter().map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, [4095, 4096, 4097, 70_000, 8193, 5, 20_000]);
    assert!(found[3].1 == pattern(70_000, 8) && found[6].1 == pattern(20_000, 9));
    // A deleted large value leaves nothing that a new one could be joined from.
    put(store, Table::History, &[7], &pattern(5_000, 1));
    let found = store.get(Table::History, &[7]).unwrap().unwrap();
    assert!(found == pattern(5_000, 1));
}

fn a_record_that_is_too_large_is_refused_whole(store: &dyn Store) {
    let mut commit = Commit::default();
    commit.put(Table::Alert, b"fine".to_vec(), b"x".to_vec());
    commit.put(
        Table::Alert,
        b"large".to_vec(),
        vec![0; MAX_RECORD_BYTES + 1],
    );
    let error = store.commit(&commit).unwrap_err();
    assert!(matches!(error, StoreError::Record { .. }), "{error}");
    let mut long_key = Commit::default();
    long_key.put(Table::Alert, vec![1; MAX_KEY_BYTES + 1], Vec::new());
    assert!(store.commit(&long_key).is_err());
    assert_eq!(store.get(Table::Alert, b"fine").unwrap(), None);
    put(store, Table::Alert, &[1; MAX_KEY_BYTES], b"fits");
}

fn commits_of_many_threads_are_all_there(store: &dyn Store) {
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..100_u8 {
                    let mut commit = Commit::default();
                    commit.put(Table::Outbox, vec![thread, n], vec![n]);
                    // The same key from all threads, increasing for each thread.
                    commit.put(Table::Cursor, vec![thread], vec![n]);
                    commit.put(Table::Cursor, b"last".to_vec(), vec![thread, n]);
                    store.commit(&commit).unwrap();
                    assert_eq!(store.get(Table::Cursor, &[thread]).unwrap().unwrap(), [n]);
                }
            });
        }
    });
    assert_eq!(scanned(store, Table::Outbox, b"").len(), 800);
    for thread in 0..8 {
        assert_eq!(store.get(Table::Cursor, &[thread]).unwrap().unwrap(), [99]);
    }
    let last = store.get(Table::Cursor, b"last").unwrap().unwrap();
    assert_eq!(last[1], 99);
}

fn nobody_sees_half_a_commit(store: &dyn Store) {
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..150_u8 {
                put(
                    store,
                    Table::History,
                    b"large",
                    &vec![n; 6_000 + usize::from(n) * 40],
                );
            }
        });
        while !writer.is_finished() {
            let found = scanned(store, Table::History, b"large");
            for (_, value) in found {
                let whole = vec![value[0]; 6_000 + usize::from(value[0]) * 40];
                assert!(value == whole, "a mixture of two values");
            }
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Range(Vec<u8>, Option<Vec<u8>>),
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, 7, 0x80, 0xFF]), 0..4)
}

fn any_value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        2 => Just(None),
        5 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Some),
        1 => (4_000..13_000_usize, any::<u8>()).prop_map(|(len, seed)| Some(pattern(len, seed))),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec((any_key(), any_value()), 0..8).prop_map(Step::Commit),
        1 => (any_key(), prop::option::of(any_key())).prop_map(|(from, to)| Step::Range(from, to)),
    ]
}

fn any_history_ends_like_a_map(make: &dyn Fn() -> Made) {
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let histories = prop::collection::vec(any_step(), 1..40);
    runner
        .run(&histories, |steps| {
            let store = make();
            let mut model = BTreeMap::new();
            for step in steps {
                follow(&*store, &mut model, step);
            }
            let found = scanned(&*store, Table::Ledger, b"");
            prop_assert!(found == model.into_iter().collect::<Vec<_>>());
            Ok(())
        })
        .unwrap();
}

fn follow(store: &dyn Store, model: &mut BTreeMap<Vec<u8>, Vec<u8>>, step: Step) {
    match step {
        Step::Commit(writes) => {
            let mut commit = Commit::default();
            for (key, value) in writes {
                commit
                    .writes
                    .push((Table::Ledger, key.clone(), value.clone()));
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            store.commit(&commit).unwrap();
        }
        Step::Range(from, to) => {
            let expected: Vec<Record> = model
                .iter()
                .filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert!(ranged(store, &from, to.as_deref()) == expected);
            let backward: Vec<_> = store
                .range(Table::Ledger, &from, to.as_deref())
                .rev()
                .map(Result::unwrap)
                .collect();
            assert!(backward.iter().eq(expected.iter().rev()));
        }
    }
}
