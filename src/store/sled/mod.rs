//! The embedded store: [sled](https://docs.rs/sled) 0.34.7, made durable.
//!
//! # Guarantees
//!
//! - A [`Commit`] is there as a whole or not at all, whatever crashes when; once [`Store::commit`]
//!   returned `Ok`, it survives a power cut. After an `Err` it may be there or not, as a whole.
//! - What is read is durable: a commit becomes visible when its sync has returned.
//! - Nothing damaged is ever taken for the truth: opening reads every entry once and compares them
//!   with a checksum kept with every commit. A damaged store is set aside and the newest good
//!   snapshot takes its place; [`Opened::notices`] says so.
//! - A full disk, a missing permission, another process and a newer format are told apart, and the
//!   store is left as it was.
//!
//! # Limits
//!
//! Keys up to [`MAX_KEY_BYTES`], records up to [`MAX_RECORD_BYTES`]. A scan sees each record whole,
//! but is no snapshot: what is committed while it runs may be in it or not. It needs a local disk,
//! not a network file system.
//!
//! # Files
//!
//! `live.rs` talks to sled, `codec.rs` is the storage format, `group.rs` shares syncs, `opening.rs`
//! decides what opening means, `folder.rs` owns the files, `snapshot.rs` is the export format.

mod building;
mod change;
mod codec;
mod fault;
mod folder;
mod group;
mod live;
mod notice;
mod opening;
mod scan;
mod snapshot;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use self::fault::{Fault, catching};
use self::folder::Folder;
use self::group::{Group, commit_bytes};
use self::live::{Live, Tuning};
use super::{Commit, Record, Store, StoreError, Table};
use crate::engine::time::{Span, Timestamp};

pub use self::codec::{MAX_KEY_BYTES, MAX_RECORD_BYTES};
pub use self::live::FORMAT_KEY;
pub use self::notice::StoreNotice;
pub use self::snapshot::SNAPSHOTS_KEPT;
pub use self::upkeep::{BadRecord, Compacted, Restored, Verified};

/// The format this program writes. The record [`FORMAT_KEY`] in [`Table::Meta`] holds it.
pub const FORMAT_VERSION: u32 = 1;

/// Sled's page cache, unless set otherwise.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct SledOptions {
    /// Sled's page cache.
    pub cache_bytes: u64,
    /// The instant of opening, for snapshots taken meanwhile.
    pub opened_at: Timestamp,
    /// Off only for stores that need not survive, and for the test that shows that syncing is
    /// needed.
    #[doc(hidden)]
    pub is_durable: bool,
}

impl SledOptions {
    /// The usual options at this instant.
    pub fn at(opened_at: Timestamp) -> Self {
        Self {
            cache_bytes: CACHE_BYTES,
            opened_at,
            is_durable: true,
        }
    }

    fn tuning(self) -> Tuning {
        Tuning {
            cache_bytes: self.cache_bytes,
            is_synced: self.is_durable,
        }
    }
}

/// An opened store, and what people should know about it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: SledStore,
    /// What happened while opening. Those with [`StoreNotice::is_loss`] go to every receiver.
    pub notices: Vec<StoreNotice>,
}

/// The embedded store. Closed when dropped.
pub struct SledStore {
    // Dropped in this order: sled before the lock, the lock before the files of a temporary store.
    state: RwLock<State>,
    folder: Folder,
    tuning: Tuning,
    group: Group,
    snapshotting: Mutex<()>,
    is_migrated: AtomicBool,
    temporary: Option<RemovedOnDrop>,
}

enum State {
    Open(Box<Live>),
    // Sled met an error: what it has in memory may be half a commit.
    Failed(StoreError),
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore")
            .field("path", &self.folder.path())
            .finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store in the folder `path`, creating it if there is none. See the module for what
    /// happens when it is damaged.
    pub fn open(path: &Path, options: SledOptions) -> Result<Opened, StoreError> {
        let folder = Folder::lock(path)?;
        let (live, notices) = opening::open(&folder, options)?;
        let is_migrated = notices
            .iter()
            .any(|notice| matches!(notice, StoreNotice::Migrated { .. }));
        let store = Self {
            state: RwLock::new(State::Open(Box::new(live))),
            folder,
            tuning: options.tuning(),
            group: Group::default(),
            snapshotting: Mutex::new(()),
            is_migrated: AtomicBool::new(is_migrated),
            temporary: None,
        };
        Ok(Opened { store, notices })
    }

    /// A store that is gone when it is dropped: the same code in a new folder inside `dir`, without
    /// syncing.
    pub fn temporary_in(dir: &Path) -> Result<Self, StoreError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("tardy-memory-{}-{number}", std::process::id()));
        let removed = RemovedOnDrop(path.clone());
        let mut options = SledOptions::at(Timestamp::default());
        options.is_durable = false;
        let mut store = Self::open(&path, options)?.store;
        store.temporary = Some(removed);
        Ok(store)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Sled for reading. Opens it again if it had failed for want of space and there is space now.
    fn live(&self) -> Result<LiveGuard<'_>, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let error = match &*state {
            State::Open(_) => return Ok(LiveGuard(state)),
            State::Failed(error) => error.clone(),
        };
        drop(state);
        if !matches!(error, StoreError::Full { .. }) {
            return Err(error);
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.heal(&mut state)?;
        drop(state);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(_) => Ok(LiveGuard(state)),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// A store that failed for want of space goes on once there is some.
    fn heal(&self, state: &mut State) -> Result<(), StoreError> {
        let State::Failed(error) = state else {
            return Ok(());
        };
        if !matches!(error, StoreError::Full { .. }) {
            return Err(error.clone());
        }
        self.folder.ensure_space(0, self.tuning.is_synced)?;
        match opening::reopen(&self.folder, self.tuning) {
            Ok(live) => {
                *state = State::Open(Box::new(live));
                Ok(())
            }
            Err(error) => {
                *state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Writes a group of commits as one batch. Readers wait until it is durable.
    fn write(&self, commits: &[&Commit]) -> Result<(), StoreError> {
        let bytes: usize = commits.iter().map(|commit| commit_bytes(commit)).sum();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.heal(&mut state)?;
        // Sled writes a record, and its page once more when it is consolidated.
        self.folder
            .ensure_space(2 * bytes as u64, self.tuning.is_synced)?;
        let State::Open(live) = &mut *state else {
            return Ok(());
        };
        let error = match catching(|| self.write_live(live, commits)) {
            Ok(()) => return Ok(()),
            Err(Fault::Damaged(why) | Fault::Busy(why) | Fault::Io(why)) => StoreError::Broken {
                path: self.folder.path().to_path_buf(),
                why,
            },
            Err(fault) => self.folder.fault(fault),
        };
        let failed = std::mem::replace(&mut *state, State::Failed(error.clone()));
        // Sled may panic once more.
        let _ = catching(|| {
            drop(failed);
            Ok(())
        });
        Err(error)
    }

    fn write_live(&self, live: &mut Live, commits: &[&Commit]) -> Result<(), Fault> {
        if !live.apply(&change::merged(commits))? {
            return Ok(());
        }
        live.flush()?;
        if let Err(error) = live.sync() {
            // Linux reports a failed write once and then takes the page for written. Only writing
            // everything anew is safe.
            self.folder.mark_suspect();
            return Err(Fault::Io(format!("a sync failed: {error}")));
        }
        live.acknowledge()?;
        Ok(())
    }
}

/// A read lock that is known to hold an open sled.
struct LiveGuard<'a>(RwLockReadGuard<'a, State>);

impl std::ops::Deref for LiveGuard<'_> {
    type Target = Live;

    fn deref(&self) -> &Live {
        match &*self.0 {
            State::Open(live) => live,
            State::Failed(_) => unreachable!("made only from an open store"),
        }
    }
}

impl Store for SledStore {
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.is_empty() {
            return Ok(());
        }
        check_sizes(commit)?;
        self.group.commit(commit, |commits| self.write(commits))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.live()?
            .get(table, key)
            .map_err(|fault| self.folder.fault(fault))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Record, StoreError>> + '_> {
        Box::new(scan::Scan::prefix(self, table, prefix))
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn DoubleEndedIterator<Item = Result<Record, StoreError>> + '_> {
        Box::new(scan::Scan::range(self, table, from, to))
    }

    fn upkeep(&self, now: Timestamp) -> Result<Option<String>, StoreError> {
        if !self.is_snapshot_due(now)? {
            return Ok(None);
        }
        let file = self.snapshot(now)?;
        Ok(Some(file.display().to_string()))
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.folder
            .size_bytes()
            .map_err(|error| self.folder.io("measure the folder", &error))
    }
}

/// Refuses what the format cannot hold, before anything is written.
fn check_sizes(commit: &Commit) -> Result<(), StoreError> {
    for (table, key, value) in &commit.writes {
        let why = if key.len() > MAX_KEY_BYTES {
            format!("its key has {} bytes, over {MAX_KEY_BYTES}", key.len())
        } else if value.as_ref().is_some_and(|v| v.len() > MAX_RECORD_BYTES) {
            format!("it is larger than {MAX_RECORD_BYTES} bytes")
        } else {
            continue;
        };
        return Err(StoreError::Record {
            table: *table,
            key: upkeep::readable(key),
            why,
        });
    }
    Ok(())
}

struct RemovedOnDrop(PathBuf);

impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        let _ = folder::remove_dir(&self.0);
    }
}

/// A snapshot is due when the newest is this old.
const SNAPSHOT_EVERY: Span = Span::days(1);
