//! Snapshots, backup and restore, verification and compaction.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::folder::Folder;
use super::{SNAPSHOT_EVERY, SledOptions, SledStore, building, opening, snapshot};
use crate::engine::time::Timestamp;
use crate::store::{StoreError, Table};

/// Bad records listed by [`SledStore::verify`]; more are only counted.
const BAD_RECORDS_LISTED: usize = 100;

/// What [`SledStore::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Records of each table that has some.
    pub counts: Vec<(Table, u64)>,
    /// Records the check refused; at most 100.
    pub bad: Vec<BadRecord>,
    /// How many were refused altogether.
    pub bad_count: u64,
}

/// A record that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The table.
    pub table: Table,
    /// The key, readable.
    pub key: String,
    /// What the check said.
    pub why: String,
}

/// What [`SledStore::restore`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// How many records it has.
    pub records: u64,
    /// Where the store that was there before is now.
    pub kept: Option<PathBuf>,
}

/// What [`SledStore::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of sled's file before.
    pub before_bytes: u64,
    /// Bytes of sled's file after.
    pub after_bytes: u64,
}

impl SledStore {
    /// The newest snapshot is a day old, or there is none, or the store was just migrated. A clock
    /// that was set back does not make snapshots more frequent.
    pub fn is_snapshot_due(&self, now: Timestamp) -> Result<bool, StoreError> {
        if self.is_migrated.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let newest = self.snapshots()?.into_iter().next();
        Ok(newest.is_none_or(|(at, _)| (now - at).abs() >= SNAPSHOT_EVERY))
    }

    /// Writes a snapshot and deletes old ones. Commits wait meanwhile, about a second for 300 000
    /// records.
    pub fn snapshot(&self, at: Timestamp) -> Result<PathBuf, StoreError> {
        let _one_at_a_time = self
            .snapshotting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let file = snapshot::path_of(&self.folder.snapshots(), at);
        self.backup(&file, at)?;
        self.is_migrated.store(false, Ordering::Relaxed);
        snapshot::prune(&self.folder.snapshots())
            .map_err(|error| self.folder.io("delete old snapshots", &error))?;
        Ok(file)
    }

    /// The snapshots with their instants, newest first.
    pub fn snapshots(&self) -> Result<Vec<(Timestamp, PathBuf)>, StoreError> {
        snapshot::list(&self.folder.snapshots())
            .map_err(|error| self.folder.io("list the snapshots", &error))
    }

    /// Writes all records to `file`, in the format of snapshots. An existing file is replaced once
    /// the new one is complete. Returns the number of records.
    pub fn backup(&self, file: &Path, at: Timestamp) -> Result<u64, StoreError> {
        let live = self.live()?;
        self.folder
            .ensure_space(live.summary().bytes, self.tuning.is_synced)?;
        building::export(&live, file, at)
            .map_err(|error| self.folder.io(&format!("write {}", file.display()), &error))
    }

    /// Makes the content of `file` the store in the folder `path`. A store that is there already is
    /// kept beside it, see [`Restored::kept`]. It must not be open.
    pub fn restore(file: &Path, path: &Path, options: SledOptions) -> Result<Restored, StoreError> {
        let folder = Folder::lock(path)?;
        folder.ensure_space(0, options.is_durable)?;
        let (taken_at, records) =
            building::import(&folder, options.tuning(), file).map_err(|fault| {
                let why = format!("cannot restore {}: {}", file.display(), fault.why());
                StoreError::Io {
                    path: path.to_path_buf(),
                    why,
                }
            })?;
        let kept = folder
            .swap_in_keeping("replaced")
            .map_err(|error| folder.io("put the restored store in place", &error))?;
        Ok(Restored {
            taken_at,
            records,
            kept,
        })
    }

    /// Reads every record, compares all of them with the store's checksum, and has `check` judge
    /// each. `check` must not use the store: commits wait until it is done.
    pub fn verify(
        &self,
        mut check: impl FnMut(Table, &[u8], &[u8]) -> Result<(), String>,
    ) -> Result<Verified, StoreError> {
        let live = self.live()?;
        live.check().map_err(|fault| self.folder.fault(fault))?;
        let mut verified = Verified {
            counts: Vec::new(),
            bad: Vec::new(),
            bad_count: 0,
        };
        for record in live.records() {
            let (table, (key, value)) = record.map_err(|fault| self.folder.fault(fault))?;
            verified.count(table);
            if let Err(why) = check(table, &key, &value) {
                verified.refuse(table, &key, why);
            }
        }
        Ok(verified)
    }

    /// Writes the store in the folder `path` anew, which gives back the space that changes have
    /// left behind. It must not be open.
    pub fn compact(path: &Path, options: SledOptions) -> Result<Compacted, StoreError> {
        let folder = Folder::lock(path)?;
        let live = opening::reopen(&folder, options.tuning())?;
        folder.ensure_space(live.summary().bytes, true)?;
        let (_, before_bytes, after_bytes) = building::rewrite(&folder, options.tuning(), live)?;
        Ok(Compacted {
            before_bytes,
            after_bytes,
        })
    }
}

impl Verified {
    /// Records come table by table.
    fn count(&mut self, table: Table) {
        match self.counts.last_mut() {
            Some((last, count)) if *last == table => *count += 1,
            _ => self.counts.push((table, 1)),
        }
    }

    fn refuse(&mut self, table: Table, key: &[u8], why: String) {
        self.bad_count += 1;
        if self.bad.len() < BAD_RECORDS_LISTED {
            let key = readable(key);
            self.bad.push(BadRecord { table, key, why });
        }
    }
}

/// A key for people: as text where it is text.
pub(super) fn readable(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}
