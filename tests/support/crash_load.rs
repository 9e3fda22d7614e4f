//! What the crashing process commits, and what must be there afterwards.
//!
//! Each thread numbers its commits. What commit `n` writes and deletes follows from `n`, so that
//! the content after any number of commits is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tardy::engine::time::Timestamp;
use tardy::store::sled::{Opened, SledOptions, SledStore};
use tardy::store::{Commit, Store, Table};

/// Threads that commit.
pub(crate) const THREADS: u8 = 3;

const CHILD: &str = "TARDY_TEST_CRASH_CHILD";

/// Commits after which what one wrote is deleted.
const KEPT: u32 = 60;

/// The last acknowledged commit of each thread.
pub(crate) type Acknowledged = BTreeMap<u8, u32>;

type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Numbers that look random (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

pub(crate) fn count(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

pub(crate) fn options() -> SledOptions {
    SledOptions::at(Timestamp::from_millis(1_800_000_000_000))
}

/// This test program once more, running the ignored test `name`.
pub(crate) fn child(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", name, "--nocapture"]);
    command
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// `None` when such a test is run by itself.
pub(crate) fn child_path() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// The `n`th commit of a thread.
pub(crate) fn commit(thread: u8, n: u32) -> Commit {
    let mut commit = Commit::default();
    let n_bytes = n.to_be_bytes();
    let key = |rest: &[u8]| [&[thread], rest].concat();
    commit.put(Table::Cursor, key(&[]), n_bytes.to_vec());
    for (part, value) in (0_u8..).zip(values(thread, n)) {
        let key = key(&[&n_bytes[..], &[part]].concat());
        commit.put(Table::Transition, key, value);
    }
    if let Some(old) = n.checked_sub(KEPT) {
        for (part, _) in (0_u8..).zip(values(thread, old)) {
            let key = key(&[&old.to_be_bytes()[..], &[part]].concat());
            commit.delete(Table::Transition, key);
        }
    }
    let slot = n_bytes[3] % 20;
    commit.put(Table::Alert, key(&[slot]), n_bytes.repeat(10));
    if n.is_multiple_of(9) {
        let large = 5_000 + n as usize * 37 % 30_000;
        commit.put(Table::Outbox, key(&[slot % 3]), n_bytes.repeat(large / 4));
    }
    commit
}

fn values(thread: u8, n: u32) -> Vec<Vec<u8>> {
    let count = (n * 7 + u32::from(thread)) % 5 + 1;
    (0..count)
        .map(|part| vec![n.to_be_bytes()[3]; ((n * 31 + part * 17) % 400) as usize])
        .collect()
}

/// Commits from `from` on, saying each that was acknowledged. One line, one write: nothing is lost
/// in a buffer.
pub(crate) fn commit_and_say(store: &SledStore, thread: u8, from: u32, to: u32) {
    for n in from..to {
        store.commit(&commit(thread, n)).unwrap();
        println!("ack {thread} {n}");
    }
}

/// Where a thread goes on.
pub(crate) fn next_of(store: &SledStore, thread: u8) -> u32 {
    let cursor = store.get(Table::Cursor, &[thread]).unwrap();
    cursor.map_or(0, |n| u32::from_be_bytes(n.try_into().unwrap()) + 1)
}

/// Reads a line of [`commit_and_say`].
pub(crate) fn note(acknowledged: &mut Acknowledged, line: &str) -> bool {
    let mut words = line.split(' ');
    let (Some("ack"), Some(thread), Some(n)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Ok(thread), Ok(n)) = (thread.parse(), n.trim().parse()) else {
        return false;
    };
    acknowledged.insert(thread, n);
    true
}

/// Opens the store, which must find no damage, and compares its content with what was acknowledged.
pub(crate) fn verdict(path: &Path, acknowledged: &Acknowledged) -> Result<(), String> {
    let opened = SledStore::open(path, options()).map_err(|error| error.to_string())?;
    if let Some(notice) = opened.notices.iter().find(|notice| notice.is_loss()) {
        return Err(notice.to_string());
    }
    compare(&opened, acknowledged)
}

/// Compares all of the store's content with what was acknowledged.
pub(crate) fn compare(opened: &Opened, acknowledged: &Acknowledged) -> Result<(), String> {
    let mut found = Content::new();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Meta) {
        for record in opened.store.scan(table, &[]) {
            let (key, value) = record.map_err(|error| error.to_string())?;
            found.insert((table, key), value);
        }
    }
    for thread in 0..THREADS {
        let acknowledged = acknowledged.get(&thread).map_or(0, |n| n + 1);
        let done = next_of(&opened.store, thread);
        // One more may have been made durable, and its acknowledgement not have been said.
        if done != acknowledged && done != acknowledged + 1 {
            return Err(format!(
                "thread {thread}: {done} commits there, {acknowledged} acknowledged"
            ));
        }
        let of_thread = |((_, key), _): &(&(Table, Vec<u8>), &Vec<u8>)| key[0] == thread;
        if !found.iter().filter(of_thread).eq(&expected(thread, done)) {
            return Err(format!("thread {thread}: not what {done} commits leave"));
        }
    }
    Ok(())
}

/// What `commits` commits of a thread leave.
fn expected(thread: u8, commits: u32) -> Content {
    let mut content = Content::new();
    // Older ones have been deleted or overwritten.
    for n in commits.saturating_sub(4 * KEPT)..commits {
        for (table, key, value) in commit(thread, n).writes {
            match value {
                Some(value) => content.insert((table, key), value),
                None => content.remove(&(table, key)),
            };
        }
    }
    content
}
