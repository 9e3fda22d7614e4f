//! What the embedded store does with damage, other formats, and its upkeep.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tardy::engine::time::Span;
use tardy::store::sled::{
    FORMAT_KEY, FORMAT_VERSION, SNAPSHOTS_KEPT, SledOptions, SledStore, StoreNotice,
};
use tardy::store::{Commit, Store, StoreError, Table};

use crate::common::{Content, Dice, at, churn, content, names, open, open_quietly, put};

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

fn files_of_live(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path.join("live"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// A store with a snapshot, and commits after it; the process that wrote it was "killed":
/// everything is copied while it is open.
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

    /// Damages a copy with `damage` and opens it. What it opens with must be the truth, or the
    /// snapshot and be said so. Returns whether it was restored.
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
        .verify(|table, _, value| match (table, value) {
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
