//! What the embedded store does when its files, its disk or another process let it down.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tardy::engine::time::{Span, Timestamp};
use tardy::store::sled::{
    FORMAT_KEY, FORMAT_VERSION, Opened, SNAPSHOTS_KEPT, SledOptions, SledStore, StoreNotice,
};
use tardy::store::{Commit, Store, StoreError, Table};

type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const CHILD: &str = "TARDY_TEST_STORE_CHILD";

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn at(days: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000) + Span::days(days)
}

fn open(path: &Path) -> Result<Opened, StoreError> {
    SledStore::open(path, SledOptions::at(at(0)))
}

fn open_quietly(path: &Path) -> SledStore {
    let opened = open(path).unwrap();
    assert_eq!(opened.notices, []);
    opened.store
}

fn put(store: &SledStore, table: Table, key: &[u8], value: &[u8]) {
    let mut commit = Commit::default();
    commit.put(table, key.to_vec(), value.to_vec());
    store.commit(&commit).unwrap();
}

fn content(store: &SledStore) -> Result<Content, StoreError> {
    let mut all = Content::new();
    for table in Table::ALL {
        for record in store.scan(table, &[]) {
            let (key, value) = record?;
            all.insert((table, key), value);
        }
    }
    Ok(all)
}

/// Churn like Tardy's: some keys rewritten over and over, some appended, a few large, a few deleted.
fn churn(store: &SledStore, dice: &mut Dice, commits: u64) {
    for _ in 0..commits {
        let mut commit = Commit::default();
        for _ in 0..=dice.roll(5) {
            let table = Table::ALL[1 + usize::try_from(dice.roll(10)).unwrap()];
            let key = dice.roll(120).to_be_bytes().to_vec();
            let len = match dice.roll(20) {
                0 => 4_000 + dice.roll(16_000),
                _ => dice.roll(300),
            };
            let fill = u8::try_from(dice.roll(256)).unwrap();
            match dice.roll(8) {
                0 => commit.delete(table, key),
                _ => commit.put(table, key, vec![fill; usize::try_from(len).unwrap()]),
            }
        }
        store.commit(&commit).unwrap();
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn files_of_live(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path.join("live"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

// ---------------------------------------------------------------------------------------------- damage

/// A store with a snapshot, and commits after it; the process that wrote it was "killed": everything is
/// copied while it is open.
struct Patient {
    _dir: tempfile::TempDir,
    path: PathBuf,
    at_snapshot: Content,
    in_the_end: Content,
}

impl Patient {
    fn new(seed: u64, is_reopened: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("patient");
        let original = dir.path().join("original");
        let mut dice = Dice(seed);
        let mut store = open_quietly(&original);
        churn(&store, &mut dice, 150);
        store.snapshot(at(0)).unwrap();
        let at_snapshot = content(&store).unwrap();
        if is_reopened {
            drop(store);
            store = open_quietly(&original);
        }
        churn(&store, &mut dice, 150);
        let in_the_end = content(&store).unwrap();
        copy_dir(&original, &path);
        Self {
            _dir: dir,
            path,
            at_snapshot,
            in_the_end,
        }
    }

    /// Damages a copy with `damage` and opens it. What it opens with must be the truth, or the snapshot and
    /// be said so. Returns whether it was restored.
    fn is_restored_after(&self, what: &str, damage: impl FnOnce(&Path)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy");
        copy_dir(&self.path, &path);
        damage(&path);
        let opened = open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = content(&opened.store).unwrap_or_else(|error| panic!("{what}: {error}"));
        let is_restored = opened.notices.iter().any(StoreNotice::is_loss);
        if !is_restored {
            assert!(
                found == self.in_the_end,
                "{what}: silently opened with something else"
            );
            return false;
        }
        assert!(found == self.at_snapshot, "{what}: not the snapshot");
        let StoreNotice::Restored {
            kept: Some(kept),
            snapshot_at,
            ..
        } = &opened.notices[0]
        else {
            panic!("{what}: {:?}", opened.notices);
        };
        assert!(kept.join("db").exists(), "{what}: set aside");
        assert_eq!(*snapshot_at, at(0));
        put(&opened.store, Table::Alert, b"goes", b"on");
        true
    }
}

fn cases(default: u64) -> u64 {
    std::env::var("TARDY_STORE_DAMAGES").map_or(default, |number| number.parse().unwrap())
}

#[test]
fn a_truncated_store_is_never_taken_for_the_truth() {
    let mut dice = Dice(1);
    let mut restored = 0;
    for is_reopened in [false, true] {
        let patient = Patient::new(11, is_reopened);
        let len = fs::metadata(patient.path.join("live/db")).unwrap().len();
        for _ in 0..cases(16) {
            let cut = dice.roll(len);
            restored += u64::from(patient.is_restored_after(
                &format!("db cut at {cut} of {len}"),
                |path| {
                    let db = File::options().write(true).open(path.join("live/db"));
                    db.unwrap().set_len(cut).unwrap();
                },
            ));
        }
    }
    assert!(restored > 0, "the cuts did no damage");
}

#[test]
fn flipped_bits_are_never_taken_for_the_truth() {
    let mut dice = Dice(2);
    let mut restored = 0;
    for is_reopened in [false, true] {
        let patient = Patient::new(12, is_reopened);
        for number in 0..cases(24) {
            let what = format!("flip {number}, reopened {is_reopened}");
            restored += u64::from(patient.is_restored_after(&what, |path| {
                flip_a_bit(path, &mut dice);
            }));
        }
    }
    assert!(restored > 0, "the flips did no damage");
}

/// In sled's big file mostly, and sometimes in one of the small ones.
fn flip_a_bit(path: &Path, dice: &mut Dice) {
    let files = files_of_live(path);
    let file = if dice.roll(4) > 0 {
        path.join("live/db")
    } else {
        files[usize::try_from(dice.roll(files.len() as u64)).unwrap()].clone()
    };
    let mut bytes = fs::read(&file).unwrap();
    if bytes.is_empty() {
        return;
    }
    let place = usize::try_from(dice.roll(bytes.len() as u64)).unwrap();
    bytes[place] ^= 1 << dice.roll(8);
    fs::write(&file, bytes).unwrap();
}

#[test]
fn zeroed_blocks_and_missing_files_are_never_taken_for_the_truth() {
    let patient = Patient::new(13, true);
    for file in files_of_live(&patient.path) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        patient.is_restored_after(&format!("{name} removed"), |path| {
            fs::remove_file(path.join("live").join(&name)).unwrap();
        });
        patient.is_restored_after(&format!("{name} empty"), |path| {
            fs::write(path.join("live").join(&name), "").unwrap();
        });
        patient.is_restored_after(&format!("{name} all zeros"), |path| {
            let file = path.join("live").join(&name);
            let zeros = vec![0; fs::read(&file).unwrap().len()];
            fs::write(file, zeros).unwrap();
        });
    }
}

#[test]
fn a_snapshot_that_sled_did_not_finish_is_deleted_and_nothing_else() {
    let patient = Patient::new(14, true);
    let is_restored = patient.is_restored_after("left behind", |path| {
        let half = path.join("live/snap.7FFFFFFFFFFFFFFF.generating");
        fs::write(half, b"half a snapshot").unwrap();
    });
    assert!(!is_restored);
    let path = &patient.path;
    let before = names(&path.join("live"));
    fs::write(path.join("live/snap.0000000000000001.generating"), b"x").unwrap();
    drop(open_quietly(path));
    let after = names(&path.join("live"));
    assert_eq!(after.len(), before.len());
    assert!(after.iter().any(|name| name.starts_with("snap.")));
    assert!(!after.iter().any(|name| name.ends_with(".generating")));
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_next_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open_quietly(&path);
    for day in 0..3 {
        put(&store, Table::Meta, b"day", &[u8::try_from(day).unwrap()]);
        store.snapshot(at(day)).unwrap();
    }
    let newest = store.snapshots().unwrap()[0].1.clone();
    drop(store);
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    fs::write(path.join("live/db"), b"not sled's").unwrap();

    let opened = open(&path).unwrap();
    let [unreadable, restored] = &opened.notices[..] else {
        panic!("{:?}", opened.notices);
    };
    assert!(matches!(unreadable, StoreNotice::SnapshotUnreadable { file, .. } if *file == newest));
    let text = restored.to_string();
    assert!(
        text.contains("damaged-1, and the snapshot of 2027-01-16T08:00:00Z was restored"),
        "{text}"
    );
    let day = opened.store.get(Table::Meta, b"day").unwrap();
    assert_eq!(day.unwrap(), [1]);
}

#[test]
fn without_a_snapshot_a_damaged_store_starts_empty_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    put(&open_quietly(&path), Table::Alert, b"a", b"1");
    fs::write(path.join("live/db"), b"").unwrap();
    let opened = open(&path).unwrap();
    assert!(
        matches!(
            &opened.notices[..],
            [StoreNotice::StartedEmpty { kept: Some(_), .. }]
        ),
        "{:?}",
        opened.notices
    );
    drop(opened);
    // Nor is a store whose files are gone taken for a new one.
    fs::remove_dir_all(path.join("live")).unwrap();
    let opened = open(&path).unwrap();
    assert!(opened.notices[0].is_loss(), "{:?}", opened.notices);
}

// -------------------------------------------------------------------------------------- other processes

/// This test program once more, running one of the `child_*` tests below.
fn child(test: &str, arguments: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("faults::{test}");
    command.args(["--ignored", "--exact", &name, "--nocapture"]);
    command.env(CHILD, arguments).stdout(Stdio::piped());
    command
}

fn line_with(child: &mut Child, wanted: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines
        .map(Result::unwrap)
        .find(|line| line.contains(wanted))
        .unwrap_or_else(|| panic!("the child never said {wanted:?}"))
}

fn child_argument() -> PathBuf {
    PathBuf::from(std::env::var(CHILD).unwrap())
}

#[test]
#[ignore = "a child process of other tests"]
fn child_holds_the_lock() {
    let _store = open_quietly(&child_argument());
    println!("holding");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_store_open_elsewhere_names_the_other_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut child = child("child_holds_the_lock", path.to_str().unwrap())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    line_with(&mut child, "holding");
    let error = open(&path).unwrap_err();
    let StoreError::Locked { pid, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(pid, child.id());
    assert!(!error.is_transient());
    drop(child.stdin.take());
    child.wait().unwrap();
    drop(open_quietly(&path));
}

// ------------------------------------------------------------------------------------------- full disks

/// Runs a child on a small disk of its own: a tmpfs in a mount namespace. `None` where that is not allowed.
fn on_a_small_disk(test: &str, megabytes: u32) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().to_str().unwrap().to_owned();
    let script = format!("mount -t tmpfs -o size={megabytes}m none {mount} && exec \"$0\" \"$@\"");
    let can_mount = format!("mount -t tmpfs -o size=1m none {mount}");
    let unshare = ["--map-root-user", "--mount", "sh", "-c"];
    let probe = Command::new("unshare")
        .args(unshare)
        .arg(can_mount)
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: no mount namespace here");
        return None;
    }
    let test = child(test, &mount);
    let mut command = Command::new("unshare");
    command.args(unshare).arg(script);
    command.arg(test.get_program()).args(test.get_args());
    command.env(CHILD, mount);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    Some(text)
}

#[test]
#[ignore = "a child process of other tests"]
fn child_fills_its_disk() {
    let disk = child_argument();
    let path = disk.join("store");
    let store = open_quietly(&path);
    let mut acknowledged = 0_u32;
    let commit_next = |acknowledged: &mut u32| {
        let mut commit = Commit::default();
        let key = acknowledged.to_be_bytes().to_vec();
        commit.put(Table::Transition, key, vec![7; 3_000]);
        store.commit(&commit).map(|()| *acknowledged += 1)
    };
    for _ in 0..50 {
        commit_next(&mut acknowledged).unwrap();
    }
    assert!(path.join("ballast").exists());
    fill(&disk.join("filler"));
    // The ballast is given up so that what is under way can be recorded.
    for _ in 0..20 {
        commit_next(&mut acknowledged).unwrap();
    }
    assert!(!path.join("ballast").exists());
    fill(&disk.join("filler2"));
    let error = commit_next(&mut acknowledged).unwrap_err();
    assert!(
        matches!(error, StoreError::Full { .. }) && error.is_transient(),
        "{error}"
    );
    assert_eq!(content(&store).unwrap().len(), 71, "reading goes on");
    let error = store.snapshot(at(1)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // A full disk is no damage.
    drop(store);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(names(&path), ["live", "tardy.lock"]);
    // And once there is space everything goes on.
    fs::remove_file(disk.join("filler")).unwrap();
    fs::remove_file(disk.join("filler2")).unwrap();
    let store = open_quietly(&path);
    put(&store, Table::Alert, b"a", b"1");
    assert_eq!(content(&store).unwrap().len(), 72);
    assert!(path.join("ballast").exists());
    println!("done");
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    if let Some(text) = on_a_small_disk("child_fills_its_disk", 32) {
        assert!(text.contains("done"), "{text}");
    }
}

#[test]
#[ignore = "a child process of other tests"]
fn child_may_not_grow_its_file() {
    let store = open_quietly(&child_argument());
    for n in 0..u32::MAX {
        let mut commit = Commit::default();
        for part in 0..4_u8 {
            let mut key = n.to_be_bytes().to_vec();
            key.push(part);
            commit.put(Table::Transition, key, vec![part; 2_000]);
        }
        match store.commit(&commit) {
            Ok(()) => println!("acknowledged {n}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                println!("full at {n}");
                return;
            }
        }
    }
}

/// Sled itself runs into the limit here, in the middle of a write: quotas do not show in free space.
#[test]
fn a_limit_that_strikes_within_sled_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open_quietly(&path));
    let test = child("child_may_not_grow_its_file", path.to_str().unwrap());
    // In blocks of 512 bytes: 3 MiB. Without the trap the signal would end the process.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\""])
        .arg(test.get_program())
        .args(test.get_args())
        .env(CHILD, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("full at"), "{text}\n{errors}");
    let acknowledged = text.matches("acknowledged").count();
    assert!(acknowledged > 50, "{text}");
    let opened = open(&path).unwrap();
    assert_eq!(opened.notices, []);
    let found = content(&opened.store).unwrap().len() - 1;
    assert_eq!(found % 4, 0, "half a commit");
    assert!(found / 4 >= acknowledged, "{found} of {acknowledged}");
}

#[test]
#[ignore = "a child process of other tests"]
fn child_finds_its_disk_read_only() {
    let disk = child_argument();
    let path = disk.join("store");
    put(&open_quietly(&path), Table::Alert, b"a", b"1");
    let remount = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk)
        .status();
    assert!(remount.unwrap().success());
    for path in [&path, &disk.join("new")] {
        let error = open(path).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    }
    println!("done");
}

#[test]
fn a_read_only_disk_is_said() {
    if let Some(text) = on_a_small_disk("child_finds_its_disk_read_only", 32) {
        assert!(text.contains("done"), "{text}");
    }
}

// ------------------------------------------------------------------------------------ formats and upkeep

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let newer = FORMAT_VERSION + 1;
    put(
        &open_quietly(&path),
        Table::Meta,
        FORMAT_KEY,
        &newer.to_be_bytes(),
    );
    for _ in 0..2 {
        let error = open(&path).unwrap_err();
        let StoreError::Newer {
            found, supported, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((found, supported), (newer, FORMAT_VERSION));
    }
    assert!(!names(&path).iter().any(|name| name.starts_with("damaged")));
}

#[test]
fn snapshots_are_daily_and_few() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open_quietly(&path);
    assert!(store.is_snapshot_due(at(0)).unwrap());
    for day in 0..5 {
        store.snapshot(at(day)).unwrap();
    }
    assert!(!store.is_snapshot_due(at(4) + Span::hours(23)).unwrap());
    assert!(store.is_snapshot_due(at(5)).unwrap());
    assert!(!store.is_snapshot_due(at(4) - Span::hours(3)).unwrap());
    let kept: Vec<_> = store
        .snapshots()
        .unwrap()
        .into_iter()
        .map(|s| s.0)
        .collect();
    assert_eq!(kept, [at(4), at(3), at(2)]);
    assert_eq!(kept.len(), SNAPSHOTS_KEPT);
    let mode = fs::metadata(&store.snapshots().unwrap()[0].1).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_backup_restores_everything_and_keeps_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let file = dir.path().join("backup");
    let store = open_quietly(&one);
    churn(&store, &mut Dice(5), 100);
    let expected = content(&store).unwrap();
    let records = store.backup(&file, at(1)).unwrap();
    assert_eq!(records, expected.len() as u64);
    put(&open_quietly(&two), Table::Alert, b"mine", b"1");

    let restored = SledStore::restore(&file, &two, SledOptions::at(at(2))).unwrap();
    assert_eq!((restored.taken_at, restored.records), (at(1), records));
    assert_eq!(restored.kept, Some(two.join("replaced-1")));
    assert!(content(&open_quietly(&two)).unwrap() == expected);

    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let error = SledStore::restore(&file, &two, SledOptions::at(at(2))).unwrap_err();
    assert!(error.to_string().contains("it is cut short"), "{error}");
    assert!(content(&open_quietly(&two)).unwrap() == expected);
    let error = SledStore::restore(&file, &one, SledOptions::at(at(2))).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

#[test]
fn verify_counts_records_and_lists_bad_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_quietly(&dir.path().join("store"));
    for n in 0..150_u8 {
        put(&store, Table::Ledger, &[n], &[n]);
    }
    put(&store, Table::Alert, b"job/x", b"bad");
    let verified = store
        .verify(&mut |table, _, value| match (table, value) {
            (Table::Alert, b"bad") => Err("not an alert".to_owned()),
            (Table::Ledger, [n]) if *n >= 20 => Err("over 20".to_owned()),
            _ => Ok(()),
        })
        .unwrap();
    assert_eq!(
        verified.counts,
        [(Table::Meta, 1), (Table::Alert, 1), (Table::Ledger, 150)]
    );
    assert_eq!((verified.bad_count, verified.bad.len()), (131, 100));
    assert_eq!(verified.bad[0].key, "job/x");
    assert_eq!(verified.bad[0].why, "not an alert");
}

#[test]
fn compaction_gives_space_back_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open_quietly(&path);
    churn(&store, &mut Dice(6), 1_500);
    let expected = content(&store).unwrap();
    drop(store);
    let compacted = SledStore::compact(&path, SledOptions::at(at(0))).unwrap();
    assert!(
        compacted.after_bytes < compacted.before_bytes,
        "{compacted:?}"
    );
    assert_eq!(names(&path), ["ballast", "live", "tardy.lock"]);
    assert!(content(&open_quietly(&path)).unwrap() == expected);
}

#[test]
fn a_store_whose_sync_failed_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    put(&open_quietly(&path), Table::Alert, b"a", b"1");
    File::create(path.join("suspect")).unwrap();
    let opened = open(&path).unwrap();
    assert!(
        matches!(opened.notices[..], [StoreNotice::Rewritten { .. }]),
        "{:?}",
        opened.notices
    );
    assert_eq!(opened.store.get(Table::Alert, b"a").unwrap().unwrap(), b"1");
    drop(opened);
    drop(open_quietly(&path));
}

/// Sled never syncs the files it makes of pages over a quarter of a segment.
#[test]
fn no_page_becomes_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut options = SledOptions::at(at(0));
    options.is_durable = false;
    let store = SledStore::open(&path, options).unwrap().store;
    let mut dice = Dice(7);
    let mut keys = Vec::new();
    for _ in 0..120 {
        let mut commit = Commit::default();
        for _ in 0..40 {
            // Keys that share nothing but their length: index pages cannot shorten them.
            let key: Vec<u8> = (0..tardy::store::sled::MAX_KEY_BYTES)
                .map(|_| u8::try_from(dice.roll(256)).unwrap())
                .collect();
            keys.push(key.clone());
            commit.put(Table::History, key, vec![1; 4_096]);
        }
        for _ in 0..15 {
            let old = usize::try_from(dice.roll(keys.len() as u64)).unwrap();
            commit.delete(Table::History, keys.swap_remove(old));
        }
        store.commit(&commit).unwrap();
        assert_eq!(names(&path.join("live/blobs")), [""; 0]);
    }
}
