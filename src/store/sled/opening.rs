//! Opening a store: guarded, checked, and with a way on from every kind of damage.
//!
//! Damage is whatever makes sled fail or panic, and content that does not add up. The damaged store
//! is set aside, never deleted; the newest snapshot that can be read takes its place, or else an
//! empty store; and the caller gets a [`StoreNotice`] to pass on to people. A full disk, missing
//! permissions or a newer format are not damage: the store is left as it is.

use std::path::PathBuf;

use super::building::{build, export, import, rewrite};
use super::change::merged;
use super::fault::Fault;
use super::folder::Folder;
use super::live::{FORMAT_KEY, Live, Tuning};
use super::notice::StoreNotice;
use super::{FORMAT_VERSION, SledOptions, snapshot};
use crate::engine::time::Timestamp;
use crate::store::{Commit, Record, StoreError, Table};

/// Leads from one format to the next: the writes that turn a store of its version into the next
/// one.
type Migration = fn(&Live) -> Result<Commit, Fault>;

/// One for each format but the first, in order.
const MIGRATIONS: [Migration; FORMAT_VERSION as usize - 1] = [];

/// Stores whose file is smaller are never written anew: sled's file is at least a few segments of
/// 512 KiB.
const COMPACT_FROM_BYTES: u64 = 64 * 1024 * 1024;

/// Written anew when the file is this many times larger than it would then be. Under steady random
/// changes sled settles at 2.0 to 2.2, so a lower factor would write such a store anew at every
/// start.
const COMPACT_FACTOR: f64 = 2.5;

/// Sled's file for a byte of content, if that was never measured for this store: 1.7 (values of 200
/// bytes, in order) to 2.7 (few records).
const FILE_BYTES_PER_CONTENT_BYTE: f64 = 2.5;

/// Why a store was not opened.
enum Refusal {
    Damaged(String),
    Other(StoreError),
}

/// Opens what is in `folder`, or builds it.
pub(super) fn open(
    folder: &Folder,
    options: SledOptions,
) -> Result<(Live, Vec<StoreNotice>), StoreError> {
    folder.ensure_space(0, options.is_durable)?;
    let mut opening = Opening {
        folder,
        tuning: options.tuning(),
        opened_at: options.opened_at,
        notices: Vec::new(),
    };
    let live = opening.open_or_replace()?;
    let live = opening.migrate(live, &MIGRATIONS)?;
    let live = opening.rewrite_if_needed(live)?;
    Ok((live, opening.notices))
}

/// Opens what is live, without replacing it.
pub(super) fn reopen(folder: &Folder, tuning: Tuning) -> Result<Live, StoreError> {
    open_checked(folder, tuning).map_err(|refusal| match refusal {
        Refusal::Damaged(why) => folder.fault(Fault::Damaged(why)),
        Refusal::Other(error) => error,
    })
}

fn open_checked(folder: &Folder, tuning: Tuning) -> Result<Live, Refusal> {
    let refuse = |fault| match fault {
        Fault::Damaged(why) => Refusal::Damaged(why),
        other => Refusal::Other(folder.fault(other)),
    };
    let live = Live::open(&folder.live(), tuning).map_err(refuse)?;
    let format = live.format().map_err(refuse)?;
    if format > FORMAT_VERSION {
        return Err(Refusal::Other(StoreError::Newer {
            path: folder.path().to_path_buf(),
            found: format,
            supported: FORMAT_VERSION,
        }));
    }
    live.check().map_err(refuse)?;
    Ok(live)
}

struct Opening<'a> {
    folder: &'a Folder,
    tuning: Tuning,
    opened_at: Timestamp,
    notices: Vec<StoreNotice>,
}

impl Opening<'_> {
    fn open_or_replace(&mut self) -> Result<Live, StoreError> {
        if !self.folder.live().exists() {
            return self.replace("its files are gone".to_owned(), None);
        }
        match open_checked(self.folder, self.tuning) {
            Ok(live) => Ok(live),
            Err(Refusal::Other(error)) => Err(error),
            Err(Refusal::Damaged(why)) => {
                let kept = self
                    .folder
                    .set_aside("damaged")
                    .map_err(|error| self.folder.io("set the damaged store aside", &error))?;
                self.replace(why, Some(kept))
            }
        }
    }

    /// Builds a store from the newest readable snapshot, or an empty one.
    fn replace(&mut self, why: String, kept: Option<PathBuf>) -> Result<Live, StoreError> {
        let snapshots = snapshot::list(&self.folder.snapshots())
            .map_err(|error| self.folder.io("list the snapshots", &error))?;
        let is_new = snapshots.is_empty() && kept.is_none() && !self.folder.has_history();
        for (_, file) in snapshots {
            match import(self.folder, self.tuning, &file) {
                Ok((snapshot_at, _)) => {
                    self.notices.push(StoreNotice::Restored {
                        why,
                        kept,
                        snapshot_at,
                    });
                    return self.swap_in();
                }
                Err(Fault::Damaged(why)) => {
                    self.notices
                        .push(StoreNotice::SnapshotUnreadable { file, why });
                }
                Err(fault) => return Err(self.folder.fault(fault)),
            }
        }
        build(
            self.folder,
            self.tuning,
            std::iter::once(Ok(format_record())),
        )
        .map_err(|fault| self.folder.fault(fault))?;
        if !is_new {
            self.notices.push(StoreNotice::StartedEmpty { why, kept });
        }
        self.swap_in()
    }

    fn swap_in(&self) -> Result<Live, StoreError> {
        self.folder
            .swap_in()
            .map_err(|error| self.folder.io("put the new store in place", &error))?;
        reopen(self.folder, self.tuning)
    }

    /// Takes a snapshot, then goes from format to format, each step one commit.
    fn migrate(&mut self, mut live: Live, migrations: &[Migration]) -> Result<Live, StoreError> {
        let fault = |fault| self.folder.fault(fault);
        let from = live.format().map_err(fault)?;
        let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX) + 1;
        if from >= newest {
            return Ok(live);
        }
        let file = snapshot::path_of(&self.folder.snapshots(), self.opened_at);
        export(&live, &file, self.opened_at).map_err(|error| {
            self.folder
                .io("write the snapshot before migrating", &error)
        })?;
        for version in from..newest {
            let mut commit = migrations[version as usize - 1](&live).map_err(fault)?;
            let next = (version + 1).to_be_bytes().to_vec();
            commit.put(Table::Meta, FORMAT_KEY.to_vec(), next);
            let applied = live.apply(&merged(&[&commit])).and_then(|_| live.flush());
            applied.map_err(fault)?;
            live.sync()
                .map_err(|error| self.folder.io("sync the migrated store", &error))?;
        }
        self.notices
            .push(StoreNotice::Migrated { from, to: newest });
        Ok(live)
    }

    fn rewrite_if_needed(&mut self, live: Live) -> Result<Live, StoreError> {
        if self.folder.is_suspect() {
            return self.rewrite(live);
        }
        let file = live
            .file_bytes()
            .map_err(|fault| self.folder.fault(fault))?;
        let content = live.summary().bytes;
        if !is_oversize(file, content, live.built_ratio())
            || self.folder.ensure_space(4 * content, true).is_err()
        {
            return Ok(live);
        }
        self.rewrite(live)
    }

    fn rewrite(&mut self, live: Live) -> Result<Live, StoreError> {
        let (live, before_bytes, after_bytes) = rewrite(self.folder, self.tuning, live)?;
        self.notices.push(StoreNotice::Rewritten {
            before_bytes,
            after_bytes,
        });
        Ok(live)
    }
}

/// `built_ratio` is the file's size for a byte of content when it was last written anew.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn is_oversize(file_bytes: u64, content_bytes: u64, built_ratio: Option<f64>) -> bool {
    let ratio = built_ratio.unwrap_or(FILE_BYTES_PER_CONTENT_BYTE);
    let expected = content_bytes as f64 * ratio;
    file_bytes > COMPACT_FROM_BYTES && file_bytes as f64 > COMPACT_FACTOR * expected
}

fn format_record() -> (Table, Record) {
    let value = FORMAT_VERSION.to_be_bytes().to_vec();
    (Table::Meta, (FORMAT_KEY.to_vec(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn options() -> SledOptions {
        SledOptions::at(Timestamp::from_millis(1_800_000_000_000))
    }

    #[test]
    fn only_large_files_with_little_content_are_written_anew() {
        let cases = [
            (10 * MIB, 0, None, false),
            (65 * MIB, MIB, None, true),
            (200 * MIB, 40 * MIB, None, false),
            (300 * MIB, 40 * MIB, None, true),
            (200 * MIB, 40 * MIB, Some(1.7), true),
            (600 * MIB, 40 * MIB, Some(8.0), false),
        ];
        for (file, content, ratio, expected) in cases {
            assert_eq!(
                is_oversize(file, content, ratio),
                expected,
                "{file} {content} {ratio:?}"
            );
        }
    }

    #[test]
    fn migrations_run_in_order_after_a_snapshot() {
        let first: Migration = |_| {
            let mut commit = Commit::default();
            commit.put(Table::Alert, b"a".to_vec(), b"1".to_vec());
            Ok(commit)
        };
        let second: Migration = |live| {
            let mut commit = Commit::default();
            let old = live.get(Table::Alert, b"a")?.unwrap_or_default();
            commit.put(Table::Alert, b"b".to_vec(), [old, b"2".to_vec()].concat());
            Ok(commit)
        };
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::lock(&dir.path().join("store")).unwrap();
        let (live, _) = open(&folder, options()).unwrap();
        let mut opening = Opening {
            folder: &folder,
            tuning: options().tuning(),
            opened_at: options().opened_at,
            notices: Vec::new(),
        };
        let live = opening.migrate(live, &[first, second]).unwrap();
        assert_eq!(live.format(), Ok(3));
        assert_eq!(
            live.get(Table::Alert, b"b").unwrap().as_deref(),
            Some(&b"12"[..])
        );
        assert_eq!(opening.notices, [StoreNotice::Migrated { from: 1, to: 3 }]);
        let snapshots = snapshot::list(&folder.snapshots()).unwrap();
        let reader = snapshot::Reader::open(&snapshots[0].1).unwrap();
        assert_eq!((snapshots.len(), reader.format()), (1, 1));
    }

    #[test]
    fn a_crash_between_setting_aside_and_restoring_is_no_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let folder = Folder::lock(&path).unwrap();
        let (live, _) = open(&folder, options()).unwrap();
        let file = snapshot::path_of(&folder.snapshots(), options().opened_at);
        export(&live, &file, options().opened_at).unwrap();
        drop(live);
        folder.set_aside("damaged").unwrap();
        let (_, notices) = open(&folder, options()).unwrap();
        assert!(
            matches!(notices[..], [StoreNotice::Restored { .. }]),
            "{notices:?}"
        );
    }
}
