//! What people should know about how a store was opened.

use std::fmt;
use std::path::PathBuf;

use crate::engine::time::Timestamp;

/// What happened while opening that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreNotice {
    /// The store was damaged or gone, and a snapshot took its place: what happened since is
    /// forgotten.
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
