//! Opening a store: guarded, checked, and with a way on from every kind of damage.
//!
//! Damage is whatever makes sled fail or panic, and content that does not add up. The damaged store is set aside, never deleted;
//! the newest snapshot that can be read takes its place, or else an empty store; and the caller gets
//! a [`StoreNotice`] to pass on to people. A full disk, missing permissions or a newer format are not damage: the store
//! is left as it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::codec::Summary;
use super::folder::{Folder, create_private_dir, remove_dir};
use super::live::{FORMAT_KEY, Fault, Live, Tuning, Writes};
use super::{FORMAT_VERSION, SledOptions, snapshot};
use crate::engine::time::Timestamp;
use crate::store::{Commit, Record, StoreError, Table};

/// Leads from one format to the next: the writes that turn a store of its version into the next one.
type Migration = fn(&Live) -> Result<Commit, Fault>;

/// One for each format but the first, in order.
const MIGRATIONS: [Migration; FORMAT_VERSION as usize - 1] = [];

/// Stores whose file is smaller are never written anew: sled's file is at least a few segments of 512 KiB.
const COMPACT_FROM_BYTES: u64 = 64 * 1024 * 1024;

/// Written anew when the file is this many times larger than it would then be.
const COMPACT_FACTOR: u64 = 2;

/// How much of the file a record takes, if the store was never measured: sled's file for a byte of content.
const FILE_BYTES_PER_CONTENT_BYTE: f64 = 2.5;

/// Records written in one batch while a store is built.
const BUILD_BATCH_BYTES: usize = 1024 * 1024;

/// What happened while opening that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreNotice {
    /// The store was damaged or gone, and a snapshot took its place: what happened since is forgotten.
    Restored {
        /// What was wrong.
        why: String,
        /// Where the damaged store is now.
        kept: Option<PathBuf>,
        /// When the snapshot was taken.
        snapshot_at: Timestamp,
    },
    /// The store was damaged or gone, and there was no snapshot: everything is forgotten.
    StartedEmpty {
        /// What was wrong.
        why: String,
        /// Where the damaged store is now.
        kept: Option<PathBuf>,
    },
    /// A snapshot could not be used.
    SnapshotUnreadable {
        /// Which.
        file: PathBuf,
        /// What was wrong.
        why: String,
    },
    /// The store was written anew because its file had grown, or because a write had failed.
    Rewritten {
        /// Bytes of its file before.
        before_bytes: u64,
        /// Bytes of its file after.
        after_bytes: u64,
    },
    /// The store was brought to this program's format.
    Migrated {
        /// Its format before.
        from: u32,
        /// Its format now.
        to: u32,
    },
}

impl StoreNotice {
    /// Something was forgotten: everybody must be told.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Restored { .. } | Self::StartedEmpty { .. } => true,
            Self::SnapshotUnreadable { .. } | Self::Rewritten { .. } | Self::Migrated { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for StoreNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aside = |kept: &Option<PathBuf>| match kept {
            Some(kept) => format!("; it was set aside as {}", kept.display()),
            None => String::new(),
        };
        match self {
            Self::Restored {
                why,
                kept,
                snapshot_at,
            } => {
                let aside = aside(kept);
                write!(
                    f,
                    "the store was damaged ({why}){aside}, and the snapshot of {snapshot_at} was restored; what happened since then is forgotten"
                )
            }
            Self::StartedEmpty { why, kept } => {
                let aside = aside(kept);
                write!(
                    f,
                    "the store was damaged ({why}){aside}; there was no snapshot, so it starts empty"
                )
            }
            Self::SnapshotUnreadable { file, why } => {
                write!(f, "the snapshot {} cannot be used: {why}", file.display())
            }
            Self::Rewritten {
                before_bytes,
                after_bytes,
            } => {
                write!(
                    f,
                    "the store was written anew, {before_bytes} bytes before, {after_bytes} after"
                )
            }
            Self::Migrated { from, to } => {
                write!(f, "the store was brought from format {from} to {to}")
            }
        }
    }
}

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
        let is_oversize = is_oversize(&live).map_err(|fault| self.folder.fault(fault))?;
        let content = live.summary().bytes;
        if !is_oversize || self.folder.ensure_space(4 * content, true).is_err() {
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

/// Writes all records to a new store and makes that the live one.
pub(super) fn rewrite(
    folder: &Folder,
    tuning: Tuning,
    live: Live,
) -> Result<(Live, u64, u64), StoreError> {
    let fault = |fault| folder.fault(fault);
    let before = live.file_bytes().map_err(fault)?;
    build(folder, tuning, live.records()).map_err(fault)?;
    drop(live);
    folder
        .swap_in()
        .and_then(|()| folder.clear_suspect())
        .map_err(|error| folder.io("put the rewritten store in place", &error))?;
    let live = reopen(folder, tuning)?;
    let after = live.file_bytes().map_err(fault)?;
    Ok((live, before, after))
}

fn is_oversize(live: &Live) -> Result<bool, Fault> {
    let file = live.file_bytes()?;
    let ratio = live.built_ratio().unwrap_or(FILE_BYTES_PER_CONTENT_BYTE);
    let Summary { bytes, .. } = live.summary();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let expected = (bytes as f64 * ratio) as u64;
    Ok(file > COMPACT_FROM_BYTES && file > COMPACT_FACTOR * expected)
}

/// Builds a store in `building/` from a snapshot or backup. Returns when it was taken, and how many records it has.
pub(super) fn import(
    folder: &Folder,
    tuning: Tuning,
    file: &Path,
) -> Result<(Timestamp, u64), Fault> {
    let mut reader = snapshot::Reader::open(file)?;
    if reader.format() > FORMAT_VERSION {
        return Err(Fault::Damaged(format!(
            "it has format {}, this Tardy knows up to {FORMAT_VERSION}",
            reader.format()
        )));
    }
    let at = reader.at();
    let mut is_over = false;
    let blocks = std::iter::from_fn(|| {
        if is_over {
            return None;
        }
        let block = reader.next_records().transpose();
        is_over = !matches!(block, Some(Ok(_)));
        block
    });
    let records = blocks.flat_map(|block| -> Vec<Result<(Table, Record), Fault>> {
        match block {
            Ok(records) => records.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error.into())],
        }
    });
    let count = build(folder, tuning, records)?;
    Ok((at, count))
}

/// Writes all records of `live` to a file. Returns how many.
pub(super) fn export(live: &Live, file: &Path, at: Timestamp) -> io::Result<u64> {
    let other = |fault: Fault| io::Error::other(format!("{fault:?}"));
    if let Some(dir) = file.parent() {
        create_private_dir(dir)?;
    }
    let format = live.format().map_err(other)?;
    let mut writer = snapshot::Writer::create(file, at, format)?;
    for record in live.records() {
        let (table, record) = record.map_err(other)?;
        writer.add(table, &record)?;
    }
    writer.finish()
}

/// Builds a complete store in `building/`. Returns the number of records.
fn build(
    folder: &Folder,
    tuning: Tuning,
    records: impl Iterator<Item = Result<(Table, Record), Fault>>,
) -> Result<u64, Fault> {
    let building = folder.building();
    remove_dir(&building)?;
    create_private_dir(&building)?;
    let mut live = Live::open(&building, tuning)?;
    let mut batch = Vec::new();
    let (mut bytes, mut count) = (0, 0);
    for record in records {
        let record = record?;
        bytes += record.1.0.len() + record.1.1.len();
        count += 1;
        batch.push(record);
        if bytes >= BUILD_BATCH_BYTES {
            apply_all(&mut live, &batch)?;
            batch.clear();
            bytes = 0;
        }
    }
    apply_all(&mut live, &batch)?;
    live.finish_building()?;
    Ok(count)
}

fn apply_all(live: &mut Live, batch: &[(Table, Record)]) -> Result<(), Fault> {
    let writes = batch
        .iter()
        .map(|(table, (key, value))| ((*table, key.as_slice()), Some(value.as_slice())))
        .collect();
    super::live::catching(|| live.apply(&writes))?;
    Ok(())
}

/// The writes of several commits in their order: later ones win.
pub(super) fn merged<'a>(commits: &[&'a Commit]) -> Writes<'a> {
    commits
        .iter()
        .flat_map(|commit| &commit.writes)
        .map(|(table, key, value)| ((*table, key.as_slice()), value.as_deref()))
        .collect()
}

fn format_record() -> (Table, Record) {
    let value = FORMAT_VERSION.to_be_bytes().to_vec();
    (Table::Meta, (FORMAT_KEY.to_vec(), value))
}
