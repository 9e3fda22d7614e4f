//! One open sled, and what Tardy asks of it: apply a batch, make it durable, read records.
//!
//! # Why one batch, then a flush, then `fdatasync`
//!
//! From the source of sled 0.34.7:
//!
//! - `Tree::apply_batch` is atomic across a crash: before the first write it reserves a manifest
//!   message in the log (`PageCache::pin_log`), and fills in the position of the last one at the
//!   end. Recovery stops before a manifest whose last position was not written (`LogIter::next`). A
//!   sled transaction ends in the same code and adds retries and conflict checks, which one writer
//!   does not need.
//! - `flush` returns when the log has been *handed to* the disk by `sync_file_range`, which neither
//!   empties the disk's cache nor writes the file's new length. [`Live::sync`] therefore
//!   adds `fdatasync`.
//! - A segment of the file is overwritten or cut off once its pages were rewritten elsewhere and
//!   that is "stable", by which sled means `sync_file_range`, according to the header of a segment
//!   begun later. Within a batch nothing becomes stable (the manifest's buffer is open until the
//!   end), so what such a header says was stable when the batch began. Nothing that the disk still
//!   needs is overwritten as long as **every batch is followed by `fdatasync` before the next
//!   begins**. That is why concurrent commits are merged into one batch, and not applied one by
//!   one.
//! - Reads never write to the log. Old pages are moved only while pages are replaced, inside a
//!   batch.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::change::{Change, Writes};
use super::codec::{
    Head, MAX_RECORD_BYTES, SUMMARY_KEY, Summary, after_prefix, decode_format, head_key, part_key,
};
use super::fault::{Fault, catching, catching_on_thread};
use super::folder::{make_private, private_options, sync_dir};
use crate::store::{Record, Table};

/// Where the format version is kept, in [`Table::Meta`].
pub const FORMAT_KEY: &[u8] = b"format";

/// Sled's own lock on its file is let go by background threads a moment after the store was
/// dropped.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Content below this says nothing about how much of sled's file a record takes.
const MEASURED_FROM_BYTES: f64 = 1_048_576.0;

/// An open sled.
pub(super) struct Live {
    path: PathBuf,
    tree: ::sled::Db,
    // For `fdatasync`: opened before anything is written, so that it hears of every failed write.
    file: File,
    // See [`Live::acknowledge`].
    acknowledged: File,
    summary: Summary,
    is_synced: bool,
}

/// How to open one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// Sled's page cache.
    pub(super) cache_bytes: u64,
    /// Off only for stores that need not survive, and for the test that proves that syncing is
    /// needed.
    pub(super) is_synced: bool,
}

impl Live {
    /// Creates or opens sled in `path`, guarded, without judging the content.
    pub(super) fn open(path: &Path, tuning: Tuning) -> Result<Self, Fault> {
        remove_half_written(path)?;
        let (tree, summary) = catching_on_thread(|| {
            let tree = open_sled(path, tuning.cache_bytes)?;
            let summary = match tree.get(SUMMARY_KEY)? {
                Some(stored) => Summary::decode(&stored)
                    .ok_or_else(|| Fault::Damaged("its summary is unreadable".to_owned()))?,
                None => Summary::default(),
            };
            Ok((tree, summary))
        })?;
        let file = private_options().read(true).open(path.join("db"))?;
        let acknowledged = private_options()
            .read(true)
            .create(true)
            .truncate(false)
            .open(path.join("acknowledged"))?;
        make_private(path)?;
        // Sled renames its snapshot without syncing the folder.
        sync_dir(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            tree,
            file,
            acknowledged,
            summary,
            is_synced: tuning.is_synced,
        })
    }

    /// The format of the content.
    pub(super) fn format(&self) -> Result<u32, Fault> {
        self.get(Table::Meta, FORMAT_KEY)?
            .as_deref()
            .and_then(decode_format)
            .ok_or_else(|| Fault::Damaged("its format record is missing".to_owned()))
    }

    /// Compares every entry with the summary, and the summary with the last acknowledged commit.
    /// Reads everything once, which also shows pages that cannot be read.
    pub(super) fn check(&self) -> Result<(), Fault> {
        catching(|| {
            let acknowledged = self.last_acknowledged();
            if self.summary.commits < acknowledged {
                let missing = acknowledged - self.summary.commits;
                return Err(Fault::Damaged(format!(
                    "the last {missing} commits are missing"
                )));
            }
            let mut found = Summary {
                commits: self.summary.commits,
                ..Summary::default()
            };
            for entry in self.tree.range(vec![SUMMARY_KEY[0] + 1]..) {
                let (key, value) = entry?;
                found.add(&key, &value);
            }
            if found == self.summary {
                return Ok(());
            }
            Err(Fault::Damaged(format!(
                "its entries do not add up ({} found, {} expected)",
                found.entries, self.summary.entries
            )))
        })
    }

    /// What the content adds up to.
    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    /// Bytes of sled's file.
    pub(super) fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(self.file.metadata()?.len())
    }

    /// Applies all of `writes` as one batch; `false` if they change nothing. After an error this
    /// must not be used again.
    pub(super) fn apply(&mut self, writes: &Writes<'_>) -> Result<bool, Fault> {
        let mut change = Change::new(&self.tree, self.summary);
        for (&(table, key), value) in writes {
            change.record(table, key, *value)?;
        }
        let Some((batch, summary)) = change.finish() else {
            return Ok(false);
        };
        self.tree.apply_batch(batch)?;
        self.summary = summary;
        Ok(true)
    }

    /// Hands everything applied to the disk.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        self.tree.flush()?;
        Ok(())
    }

    /// Waits until the disk has it. After an error nobody knows what the disk has: Linux forgets
    /// failed writes once it has reported them.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_synced {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Notes the number of the last durable commit beside sled's files. It is not synced: it may
    /// lag behind, never run ahead, and tells a shortened log from a complete one.
    pub(super) fn acknowledge(&mut self) -> io::Result<()> {
        let number = self.summary.commits.to_be_bytes();
        let mut noted = [0; 12];
        noted[..8].copy_from_slice(&number);
        noted[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        self.acknowledged.seek(SeekFrom::Start(0))?;
        self.acknowledged.write_all(&noted)
    }

    /// An unreadable note claims nothing.
    fn last_acknowledged(&self) -> u64 {
        let Ok(noted) = fs::read(self.path.join("acknowledged")) else {
            return 0;
        };
        let Some((number, checksum)) = noted.split_first_chunk::<8>() else {
            return 0;
        };
        if checksum == crc32fast::hash(number).to_be_bytes() {
            u64::from_be_bytes(*number)
        } else {
            0
        }
    }

    /// File bytes for a byte of content when the store was built.
    pub(super) fn built_ratio(&self) -> Option<f64> {
        let noted = fs::read_to_string(self.path.join("built")).ok()?;
        let (file, content) = noted.trim().split_once(' ')?;
        let (file, content): (f64, f64) = (file.parse().ok()?, content.parse().ok()?);
        (content >= MEASURED_FROM_BYTES && file >= content).then_some(file / content)
    }

    /// Makes a newly built store durable down to its file names.
    pub(super) fn finish_building(mut self) -> Result<(), Fault> {
        self.flush()?;
        self.acknowledge()?;
        let noted = format!("{} {}\n", self.file_bytes()?, self.summary.bytes);
        fs::write(self.path.join("built"), noted)?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        make_private(&self.path)?;
        sync_dir(&self.path)?;
        Ok(())
    }

    /// One record.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        catching(|| {
            let Some(stored) = self.tree.get(head_key(table, key))? else {
                return Ok(None);
            };
            self.join(table, key, &stored).map(Some)
        })
    }

    /// At most `limit` records from `lower` to below `upper` (sled keys), or until they come to
    /// [`MAX_RECORD_BYTES`]; from the end if `is_backward`.
    pub(super) fn fetch(
        &self,
        table: Table,
        lower: &[u8],
        upper: &[u8],
        limit: usize,
        is_backward: bool,
    ) -> Result<Vec<Record>, Fault> {
        if lower >= upper {
            return Ok(Vec::new());
        }
        let bounds = (
            Bound::Included(lower.to_vec()),
            Bound::Excluded(upper.to_vec()),
        );
        catching(|| {
            let mut entries = self.tree.range(bounds);
            let mut records = Vec::new();
            let mut bytes = 0;
            while records.len() < limit && bytes < MAX_RECORD_BYTES {
                let entry = if is_backward {
                    entries.next_back()
                } else {
                    entries.next()
                };
                let Some(entry) = entry else { break };
                let (head, stored) = entry?;
                let key = head[1..].to_vec();
                let value = self.join(table, &key, &stored)?;
                bytes += value.len();
                records.push((key, value));
            }
            Ok(records)
        })
    }

    /// All records of all tables, in order. Nothing may be written meanwhile.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<(Table, Record), Fault>> + '_ {
        Table::ALL.into_iter().flat_map(move |table| {
            let first = head_key(table, &[]);
            let mut entries = self.tree.range(first.clone()..after_prefix(&first));
            std::iter::from_fn(move || {
                catching(|| {
                    let Some(entry) = entries.next() else {
                        return Ok(None);
                    };
                    let (head, stored) = entry?;
                    let key = head[1..].to_vec();
                    let value = self.join(table, &key, &stored)?;
                    Ok(Some((table, (key, value))))
                })
                .transpose()
            })
        })
    }

    /// The value of a record from its head and its parts.
    fn join(&self, table: Table, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, Fault> {
        let damaged = || Fault::Damaged(format!("a record of {table:?} is incomplete"));
        let head = Head::decode(stored).ok_or_else(damaged)?;
        let parts = head.parts();
        match head {
            Head::Inline(value) => Ok(value.to_vec()),
            Head::Split(len) => {
                let mut value = Vec::with_capacity(len);
                for part in 0..parts {
                    let stored = self.tree.get(part_key(table, key, part))?;
                    value.extend_from_slice(&stored.ok_or_else(damaged)?);
                }
                if value.len() == len {
                    Ok(value)
                } else {
                    Err(damaged())
                }
            }
        }
    }
}

/// Records read in one step while nothing can be written.
pub(super) const FETCHED_AT_ONCE: usize = 64;

/// The sled key right above a record's.
pub(super) fn just_after(table: Table, key: &[u8]) -> Vec<u8> {
    let mut next = head_key(table, key);
    next.push(0);
    next
}

/// Without the flusher thread: every commit flushes, and an idle store does nothing. Segments are
/// reclaimed all the same, one page for each page replaced. Compression would need zstd for records
/// that are packed already. `LowSpace` is named for clarity: 0.34.7 never reads the mode.
fn open_sled(path: &Path, cache_bytes: u64) -> Result<::sled::Db, Fault> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .use_compression(false)
        .print_profile_on_drop(false)
        .mode(::sled::Mode::LowSpace);
    let mut attempts = 1;
    loop {
        match config.open().map_err(Fault::from) {
            Err(Fault::Busy(_)) if attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Deletes what sled leaves when it is killed while it writes its snapshot; it would take it for
/// the newest one. Nothing else: without its finished `snap.<number>` a store can open silently
/// empty.
fn remove_half_written(path: &Path) -> Result<(), Fault> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
