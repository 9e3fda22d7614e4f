//! Where state is kept.
//!
//! A [`Store`] is a few ordered tables of small byte records, with one way to write: a [`Commit`] that
//! is atomic and, when it returns, durable. What the records mean is decided by the typed layer above it, the same
//! for every backend. A store knows nothing of rules or alerts.

pub mod acts;
mod averages;
pub mod deliveries;
mod digests;
pub mod preview;
mod promises;
pub mod records;
mod segment;
pub mod sled;
pub mod tidying;

use std::path::PathBuf;

use crate::engine::time::Timestamp;

/// The tables. Numbers are part of the storage format: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Format version, when watching began.
    Meta = 0,
    /// How far each project has been read.
    Cursor = 1,
    /// Packed observations by project and day.
    History = 2,
    /// Alerts by fingerprint.
    Alert = 3,
    /// What each rule remembers of each subject.
    Memory = 4,
    /// Groups of alerts with their timers and conversations.
    Group = 5,
    /// State changes of alerts, append-only.
    Transition = 6,
    /// One row for each promise.
    Ledger = 7,
    /// Notifications to be delivered.
    Outbox = 8,
    /// References to conversations' first messages.
    Handle = 9,
    /// What was told to whom, append-only.
    Delivery = 10,
    /// What people did, append-only.
    Act = 11,
    /// Silences by id.
    Silence = 12,
}

impl Table {
    /// All tables, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Meta,
        Self::Cursor,
        Self::History,
        Self::Alert,
        Self::Memory,
        Self::Group,
        Self::Transition,
        Self::Ledger,
        Self::Outbox,
        Self::Handle,
        Self::Delivery,
        Self::Act,
        Self::Silence,
    ];
}

/// Writes that happen together or not at all. Later entries win over earlier ones of the same key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Table, key, and the new value or `None` to delete.
    pub writes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Commit {
    /// Writes a record.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((table, key, Some(value)));
    }

    /// Deletes a record; deleting a missing one is fine.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.writes.push((table, key, None));
    }

    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A record read back: key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Where state is kept. Calls block on the disk or the network: from async code call them through
/// `spawn_blocking`.
pub trait Store: Send + Sync {
    /// Writes all of `commit` or nothing; durable when it returns `Ok`. Concurrent callers share one sync.
    /// An empty commit does nothing.
    fn commit(&self, commit: &Commit) -> Result<(), StoreError>;

    /// One record.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All records whose key starts with `prefix`, in key order.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Record, StoreError>> + '_>;

    /// Records whose key is at least `from` and below `to` (`None`: to the end), in key order.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn DoubleEndedIterator<Item = Result<Record, StoreError>> + '_>;

    /// What is due now and then: a snapshot, giving space back. Returns what was done, if anything.
    fn upkeep(&self, _now: Timestamp) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Bytes on disk, and whatever else `status` shows.
    fn size_bytes(&self) -> Result<u64, StoreError>;
}

/// What can go wrong with a store. Each text says what, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {} is open in another process (pid {pid}); stop that one, or use another [store] path", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other process; 0 when unknown.
        pid: u32,
    },
    /// The disk is full.
    #[error("the disk of {} is full; free some space, then Tardy goes on by itself", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be written.
    #[error("the store {} cannot be written: {why}; check its owner and that it is not mounted read-only", path.display())]
    ReadOnly {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It cannot be read as a store and no good snapshot could replace it.
    #[error("the store {} is damaged: {why}; restore a backup with `tardy store restore FILE`", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Written by a newer Tardy.
    #[error("the store {} has format {found}, this Tardy knows up to {supported}; use the newer Tardy, or another [store] path", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The store's format.
        found: u32,
        /// The newest this program knows.
        supported: u32,
    },
    /// A record cannot be decoded.
    #[error(
        "record {key} of table {table:?} cannot be read: {why}; `tardy store verify` lists all such records"
    )]
    Record {
        /// The table.
        table: Table,
        /// The key, readable.
        key: String,
        /// What was wrong.
        why: String,
    },
    /// It failed while it was written, and what it has in memory may be half a commit.
    #[error("the store {} failed: {why}; restart Tardy, which then checks and repairs it", path.display())]
    Broken {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// Anything else the system said.
    #[error("the store {} failed: {why}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl StoreError {
    /// Trying again later may work without anybody touching the store.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Io { .. } => true,
            Self::Locked { .. }
            | Self::ReadOnly { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Broken { .. }
            | Self::Record { .. } => false,
        }
    }
}
