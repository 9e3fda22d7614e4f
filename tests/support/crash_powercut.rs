//! Power cuts, simulated.
//!
//! A preloaded library (`powercut.c`) records every write, cut, rename, removal and sync of the
//! store's files in order. From the record up to any instant the test builds what the disk may hold
//! then, and opens that.
//!
//! What the disk may hold:
//!
//! - of a file, everything that was written before a sync (`fsync`, `fdatasync`) began that has
//!   returned;
//! - of later writes any selection, torn at blocks of 4 KiB; of later cuts of its length any;
//! - of creations, renames and removals those before an `fsync` that has returned, and of later
//!   ones any first few: journaling file systems keep their order.
//!
//! What a sync of the real disk costs is not simulated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tardy::store::sled::{SledStore, StoreNotice};
use tardy::store::{Store as _, Table};

use crate::load::{
    Acknowledged, Dice, THREADS, child, child_path, commit, commit_and_say, compare, count,
    next_of, note, options, verdict,
};

const BLOCK: u64 = 4096;
const UNSYNCED: &str = "TARDY_TEST_CRASH_UNSYNCED";

/// A life: work, a clean close, work, compaction, work, a snapshot, damage, restoration, work.
#[test]
#[ignore = "a child process of other tests"]
fn child_lives() {
    let Some(path) = child_path() else { return };
    let mut options = options();
    options.is_durable = std::env::var(UNSYNCED).is_err();
    for to in [150, 300, 450, 600] {
        let opened = SledStore::open(&path, options).unwrap();
        assert_eq!(opened.notices.iter().any(StoreNotice::is_loss), to == 600);
        let store = opened.store;
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let store = &store;
                scope.spawn(move || commit_and_say(store, thread, next_of(store, thread), to));
            }
        });
        if to == 300 {
            drop(store);
            SledStore::compact(&path, options).unwrap();
        } else if to == 450 {
            store.snapshot(options.opened_at).unwrap();
            drop(store);
            println!("ack damage");
            let db = fs::File::options().write(true).open(path.join("live/db"));
            db.unwrap().set_len(5_000).unwrap();
        }
    }
}

#[test]
fn power_cuts_lose_nothing() {
    let seed = u64::from(std::process::id());
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let record = recorded_life(dir.path(), true);
    for round in 0..count("TARDY_CRASH_CUTS", 20) {
        let cut = any_cut(&record, &mut dice);
        let image = dir.path().join(format!("image-{round}"));
        let acknowledged = record.disk_at(cut, &mut dice, &image);
        if let Err(why) = record.verdict_on(&image, cut, &acknowledged) {
            let total = record.events.len();
            panic!("round {round}, seed {seed}, event {cut} of {total}: {why}");
        }
        fs::remove_dir_all(&image).unwrap();
    }
}

/// The simulation would show a missing sync.
#[test]
fn without_fdatasync_power_cuts_lose_commits() {
    let mut dice = Dice(1);
    let dir = tempfile::tempdir().unwrap();
    let record = recorded_life(dir.path(), false);
    let mut lost = 0;
    for round in 0..12 {
        let cut = any_cut(&record, &mut dice);
        let image = dir.path().join(format!("image-{round}"));
        let acknowledged = record.disk_at(cut, &mut dice, &image);
        lost += u32::from(verdict(&image, &acknowledged).is_err());
    }
    assert!(lost >= 2, "only {lost} of 12 cuts lost commits");
}

#[test]
#[ignore = "a child process of other tests"]
fn child_meets_a_failing_disk() {
    let Some(path) = child_path() else { return };
    let store = SledStore::open(&path, options()).unwrap().store;
    let error = (0..)
        .map(|n| (n, store.commit(&commit(0, n))))
        .inspect(|(n, done)| match done {
            Ok(()) => println!("ack 0 {n}"),
            Err(error) => println!("{error}"),
        })
        .find_map(|(_, done)| done.err())
        .unwrap();
    // Nothing counts any more, not even reading what may not be on the disk.
    let again = store.commit(&commit(0, 0)).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert!(store.get(Table::Cursor, &[0]).is_err());
}

/// After a failed sync nobody knows what the disk has: everything is written anew.
#[test]
fn a_failed_sync_stops_the_store_until_it_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = preloaded(dir.path(), "powercut::child_meets_a_failing_disk");
    let output = child.env("POWERCUT_FAIL", "40").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("a sync failed: Input/output error"), "{said}");
    assert!(said.contains("restart Tardy"), "{said}");
    let mut acknowledged = Acknowledged::new();
    for line in said.lines() {
        note(&mut acknowledged, line);
    }
    assert_eq!(acknowledged[&0], 38);
    let opened = SledStore::open(&dir.path().join("store"), options()).unwrap();
    assert!(
        matches!(opened.notices[..], [StoreNotice::Rewritten { .. }]),
        "{:?}",
        opened.notices
    );
    compare(&opened, &acknowledged).unwrap();
}

/// Half of the cuts strike right after an acknowledgement, where the most can be lost.
fn any_cut(record: &Record, dice: &mut Dice) -> usize {
    let any = usize::try_from(dice.roll(record.events.len() as u64)).unwrap();
    if dice.roll(2) == 0 {
        return any;
    }
    let after = |n: &usize| matches!(record.events[*n], Event::Acknowledged(_));
    (any..record.events.len()).find(after).unwrap_or(any) + 1
}

/// A child whose work on `dir/store` is recorded in `dir/log`.
fn preloaded(dir: &Path, name: &str) -> Command {
    let library = dir.join("powercut.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/powercut.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .args(["-ldl", "-lpthread"])
        .status()
        .unwrap();
    assert!(compiled.success());
    let store = dir.join("store");
    let mut child = child(name, &store);
    child.env("LD_PRELOAD", &library);
    child.env("POWERCUT_LOG", dir.join("log"));
    child.env("POWERCUT_DIR", &store);
    child
}

fn recorded_life(dir: &Path, is_synced: bool) -> Record {
    let mut child = preloaded(dir, "powercut::child_lives");
    if !is_synced {
        child.env(UNSYNCED, "1");
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = fs::read(dir.join("log")).unwrap();
    let record = Record::parse(&log, &dir.join("store"));
    let acknowledged = record.events.iter();
    let acknowledged = acknowledged.filter(|event| matches!(event, Event::Acknowledged(_)));
    assert_eq!(acknowledged.count(), usize::from(THREADS) * 600);
    record
}

/// What the library wrote down. Paths are relative to the store's folder; the folder itself is "".
enum Event {
    Opened {
        handle: u32,
        path: String,
        is_emptied: bool,
        is_folder: bool,
    },
    Written {
        handle: u32,
        at: u64,
        bytes: Vec<u8>,
    },
    Resized {
        handle: u32,
        len: u64,
    },
    SyncBegan {
        handle: u32,
        number: u64,
    },
    SyncReturned {
        number: u64,
        is_fsync: bool,
    },
    Renamed(String, String),
    Removed(String),
    FolderMade(String),
    Acknowledged(String),
    Damaged,
}

struct Record {
    events: Vec<Event>,
}

impl Record {
    fn parse(mut log: &[u8], store: &Path) -> Self {
        let prefix = store.to_str().unwrap();
        let mut events = Vec::new();
        while let Some((head, rest)) = log.split_first_chunk::<25>() {
            let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
            let small = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let (bytes, rest) = rest.split_at(small(21) as usize);
            log = rest;
            let text = || String::from_utf8(bytes.to_vec()).unwrap();
            let relative = |path: &str| {
                let path = path.strip_prefix(prefix).unwrap_or(path);
                path.trim_matches('/').to_owned()
            };
            let (handle, a, b) = (small(1), number(5), number(13));
            events.push(match head[0] {
                b'O' => Event::Opened {
                    handle,
                    path: relative(&text()),
                    is_emptied: a & 2 != 0,
                    is_folder: a & 4 != 0,
                },
                b'W' => Event::Written {
                    handle,
                    at: a,
                    bytes: bytes.to_vec(),
                },
                b'T' => Event::Resized { handle, len: a },
                b'B' => Event::SyncBegan { handle, number: a },
                b'E' => Event::SyncReturned {
                    number: a,
                    is_fsync: b == 1,
                },
                b'R' => {
                    let text = text();
                    let (from, to) = text.split_once('\0').unwrap();
                    Event::Renamed(relative(from), relative(to))
                }
                b'U' => Event::Removed(relative(&text())),
                b'M' => Event::FolderMade(relative(&text())),
                b'A' if bytes == b"ack damage\n" => Event::Damaged,
                b'A' => Event::Acknowledged(text()),
                other => panic!("unknown record {other}"),
            });
        }
        assert!(log.is_empty(), "the log is cut short");
        Self { events }
    }

    /// From the damage on a store may be restored from the snapshot: all was in it then.
    fn verdict_on(
        &self,
        image: &Path,
        cut: usize,
        acknowledged: &Acknowledged,
    ) -> Result<(), String> {
        let damage = |event: &Event| matches!(event, Event::Damaged);
        if !self.events[..cut].iter().any(damage) {
            return verdict(image, acknowledged);
        }
        let opened = SledStore::open(image, options()).map_err(|error| error.to_string())?;
        compare(&opened, acknowledged)
    }

    /// Builds in `image` what the disk may hold after the first `cut` events. Returns what was
    /// acknowledged by then.
    fn disk_at(&self, cut: usize, dice: &mut Dice, image: &Path) -> Acknowledged {
        let mut disk = Disk::default();
        let mut acknowledged = Acknowledged::new();
        for event in &self.events[..cut] {
            if let Event::Acknowledged(line) = event {
                assert!(note(&mut acknowledged, line), "{line}");
            }
            disk.follow(event);
        }
        disk.power_off(dice, image);
        acknowledged
    }
}

/// A change of one file's content.
#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Default)]
struct StoredFile {
    // What the disk has for sure, and what came after.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of names.
#[derive(Clone)]
enum Naming {
    File(String, usize),
    Folder(String),
    Rename(String, String),
    Remove(String),
}

/// Names of files (with their number) and folders (without).
type Names = BTreeMap<String, Option<usize>>;

#[derive(Default)]
struct Disk {
    files: Vec<StoredFile>,
    // As the process sees them.
    names: Names,
    durable_names: Names,
    pending_names: Vec<Naming>,
    handles: BTreeMap<u32, Option<usize>>,
    syncs: BTreeMap<u64, Sync>,
}

/// A sync under way: how much of what was pending it covers.
struct Sync {
    file: Option<usize>,
    changes: usize,
    namings: usize,
}

impl Disk {
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Opened {
                handle,
                path,
                is_emptied,
                is_folder,
            } => self.open(*handle, path, *is_emptied, *is_folder),
            Event::Written { handle, at, bytes } => {
                self.change(*handle, Change::Write(*at, bytes.clone()));
            }
            Event::Resized { handle, len } => self.change(*handle, Change::Resize(*len)),
            Event::SyncBegan { handle, number } => {
                let file = self.handles[handle];
                let sync = Sync {
                    file,
                    changes: file.map_or(0, |file| self.files[file].pending.len()),
                    namings: self.pending_names.len(),
                };
                self.syncs.insert(*number, sync);
            }
            Event::SyncReturned { number, is_fsync } => self.sync(*number, *is_fsync),
            Event::Renamed(from, to) => self.name(Naming::Rename(from.clone(), to.clone())),
            Event::Removed(path) => self.name(Naming::Remove(path.clone())),
            Event::FolderMade(path) => self.name(Naming::Folder(path.clone())),
            Event::Acknowledged(_) | Event::Damaged => {}
        }
    }

    fn open(&mut self, handle: u32, path: &str, is_emptied: bool, is_folder: bool) {
        if is_folder {
            self.handles.insert(handle, None);
            return;
        }
        let file = if let Some(file) = self.names.get(path) {
            file.expect("a file")
        } else {
            self.files.push(StoredFile::default());
            let file = self.files.len() - 1;
            self.name(Naming::File(path.to_owned(), file));
            file
        };
        self.handles.insert(handle, Some(file));
        if is_emptied {
            self.change(handle, Change::Resize(0));
        }
    }

    fn change(&mut self, handle: u32, change: Change) {
        let file = self.handles[&handle].expect("a file");
        self.files[file].pending.push(change);
    }

    fn name(&mut self, naming: Naming) {
        apply_naming(&mut self.names, &naming);
        self.pending_names.push(naming);
    }

    fn sync(&mut self, number: u64, is_fsync: bool) {
        let sync = self.syncs.remove(&number).expect("a sync that began");
        if let Some(file) = sync.file {
            let file = &mut self.files[file];
            for change in file.pending.drain(..sync.changes) {
                apply(&mut file.durable, &change);
            }
            // Another sync of the same file may be under way.
            for other in self.syncs.values_mut().filter(|s| s.file == sync.file) {
                other.changes = other.changes.saturating_sub(sync.changes);
            }
        }
        if is_fsync {
            for naming in self.pending_names.drain(..sync.namings) {
                apply_naming(&mut self.durable_names, &naming);
            }
            for other in self.syncs.values_mut() {
                other.namings = other.namings.saturating_sub(sync.namings);
            }
        }
    }

    /// Decides what of the pending changes the disk has, and writes the result to `image`.
    fn power_off(mut self, dice: &mut Dice, image: &Path) {
        let mood = dice.roll(4);
        let names = match mood {
            0 => 0,
            1 => self.pending_names.len(),
            _ => usize::try_from(dice.roll(self.pending_names.len() as u64 + 1)).unwrap(),
        };
        for naming in &self.pending_names[..names] {
            apply_naming(&mut self.durable_names, naming);
        }
        fs::create_dir_all(image).unwrap();
        for (path, file) in &self.durable_names {
            let path: PathBuf = image.join(path);
            match file {
                None => fs::create_dir_all(path).unwrap(),
                Some(file) => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, self.files[*file].after_power_off(mood, dice)).unwrap();
                }
            }
        }
    }
}

impl StoredFile {
    fn after_power_off(&self, mood: u64, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.durable.clone();
        let mut keeps = || match mood {
            0 => false,
            1 => true,
            _ => dice.roll(2) == 0,
        };
        for change in &self.pending {
            match change {
                Change::Resize(_) if keeps() => apply(&mut content, change),
                Change::Resize(_) => {}
                Change::Write(at, bytes) => {
                    for block in blocks(*at, bytes) {
                        if keeps() {
                            apply(&mut content, &block);
                        }
                    }
                }
            }
        }
        content
    }
}

/// A write in pieces that end where the disk's blocks do.
fn blocks(at: u64, bytes: &[u8]) -> Vec<Change> {
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        let len = usize::try_from(BLOCK - at % BLOCK).unwrap().min(rest.len());
        let (piece, left) = rest.split_at(len);
        pieces.push(Change::Write(at, piece.to_vec()));
        at += len as u64;
        rest = left;
    }
    pieces
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Resize(len) => content.resize(usize::try_from(*len).unwrap(), 0),
        Change::Write(at, bytes) => {
            let at = usize::try_from(*at).unwrap();
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(bytes);
        }
    }
}

fn apply_naming(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::File(path, file) => {
            names.insert(path.clone(), Some(*file));
        }
        Naming::Folder(path) => {
            names.insert(path.clone(), None);
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
        Naming::Rename(from, to) => {
            let inside = format!("{from}/");
            let moved: Vec<String> = names
                .keys()
                .filter(|path| *path == from || path.starts_with(&inside))
                .cloned()
                .collect();
            for path in moved {
                let entry = names.remove(&path).expect("just listed");
                names.insert(format!("{to}{}", &path[from.len()..]), entry);
            }
        }
    }
}
