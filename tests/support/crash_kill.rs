//! `kill -9` at random instants, and at the one sled is known to mind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use tardy::store::sled::SledStore;
use tardy::store::{Commit, Store, Table};

use crate::load::{
    Acknowledged, Dice, THREADS, child, child_path, commit_and_say, count, next_of, note, options,
    verdict,
};

#[test]
#[ignore = "a child process of other tests"]
fn child_commits_until_killed() {
    let Some(path) = child_path() else { return };
    let store = SledStore::open(&path, options()).unwrap().store;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || commit_and_say(store, thread, next_of(store, thread), u32::MAX));
        }
    });
}

#[test]
fn kills_at_random_instants_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acknowledged = Acknowledged::new();
    let seed = u64::from(std::process::id());
    let mut dice = Dice(seed);
    for round in 0..count("TARDY_CRASH_KILLS", 25) {
        let mut child = child("kill::child_commits_until_killed", &path)
            .spawn()
            .unwrap();
        // Rarely while it opens, mostly in the middle of work.
        let lines = match dice.roll(8) {
            0 => 0,
            1 => 2_000,
            _ => dice.roll(300),
        };
        let pause = Duration::from_micros(dice.roll(3_000));
        kill_after(&mut child, lines, pause, &mut acknowledged);
        if let Err(why) = verdict(&path, &acknowledged) {
            panic!("round {round}, seed {seed}: {why}");
        }
        // A commit whose acknowledgement was cut off counts from now on.
        let store = SledStore::open(&path, options()).unwrap().store;
        for thread in 0..THREADS {
            if let Some(last) = next_of(&store, thread).checked_sub(1) {
                acknowledged.insert(thread, last);
            }
        }
    }
    let total: u32 = acknowledged.values().sum();
    assert!(total > 200, "only {total} commits: the load was no load");
}

fn kill_after(child: &mut Child, lines: u64, pause: Duration, acknowledged: &mut Acknowledged) {
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < lines {
        let line = output.next().expect("the child ended by itself").unwrap();
        seen += u64::from(note(acknowledged, &line));
    }
    // Not to wait for anything: to strike at any point of a commit.
    thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in output {
        note(acknowledged, &line.unwrap());
    }
}

#[test]
#[ignore = "a child process of other tests"]
fn child_opens() {
    let Some(path) = child_path() else { return };
    drop(SledStore::open(&path, options()).unwrap());
}

/// Sled writes its snapshot when it is opened after changes. A large store makes it a large one.
#[test]
fn kills_while_sled_writes_its_snapshot_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fill(&path, 60_000);
    let aims = count("TARDY_CRASH_AIMED", 5);
    let (mut hits, mut attempts) = (0, 0);
    while hits < aims {
        attempts += 1;
        assert!(attempts <= 20 * aims, "{hits} hits in {attempts} attempts");
        let store = SledStore::open(&path, options()).unwrap().store;
        let mut commit = Commit::default();
        commit.put(Table::Meta, b"attempt".to_vec(), vec![1; attempts as usize]);
        store.commit(&commit).unwrap();
        drop(store);
        hits += u32::from(killed_while_generating(&path));
        let opened = SledStore::open(&path, options()).unwrap();
        assert_eq!(opened.notices, [], "attempt {attempts}");
        let attempt = opened.store.get(Table::Meta, b"attempt").unwrap().unwrap();
        assert_eq!(attempt.len(), attempts as usize);
        assert_eq!(opened.store.scan(Table::History, &[]).count(), 60_000);
    }
}

fn fill(path: &Path, records: u32) {
    let mut options = options();
    options.is_durable = false;
    let store = SledStore::open(path, options).unwrap().store;
    for first in (0..records).step_by(5_000) {
        let mut commit = Commit::default();
        for n in first..first + 5_000 {
            commit.put(Table::History, n.to_be_bytes().to_vec(), vec![7; 20]);
        }
        store.commit(&commit).unwrap();
    }
}

fn killed_while_generating(path: &Path) -> bool {
    let mut child = child("kill::child_opens", path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let live = path.join("live");
    while !is_generating(&live) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    is_generating(&live)
}

fn is_generating(live: &Path) -> bool {
    let names = fs::read_dir(live).unwrap();
    names
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with(".generating"))
}
