//! What can go wrong below the store, panics of sled's included.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::folder::is_full;

/// What went wrong, before it is known what that means for the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What is on disk cannot be right.
    Damaged(String),
    /// No space.
    Full,
    /// No permission, or a read-only file system.
    ReadOnly(String),
    /// Sled's file is still locked.
    Busy(String),
    /// Something else; says nothing about what is on disk.
    Io(String),
}

impl Fault {
    /// In words.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Damaged(why) | Self::ReadOnly(why) | Self::Busy(why) | Self::Io(why) => why,
            Self::Full => "the disk is full",
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let why = error.to_string();
        match error.kind() {
            kind if is_full(kind) => Self::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly(why)
            }
            // Sled makes errors of its own with this kind.
            io::ErrorKind::Other if why.contains("could not acquire lock") => Self::Busy(why),
            io::ErrorKind::Other
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound => Self::Damaged(why),
            _ => Self::Io(why),
        }
    }
}

impl From<::sled::Error> for Fault {
    fn from(error: ::sled::Error) -> Self {
        match error {
            ::sled::Error::Io(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs something of sled's; a panic of sled's is damage. What was being changed must not be used
/// again.
pub(super) fn catching<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// The same on a thread of its own, for opening: sled's stack and locals are gone with it.
pub(super) fn catching_on_thread<T: Send>(
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> Result<T, Fault> {
    thread::scope(|scope| {
        let opening = thread::Builder::new()
            .name("tardy-store-open".to_owned())
            .spawn_scoped(scope, work)?;
        opening
            .join()
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    })
}

fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    Fault::Damaged(format!("sled panicked: {text}"))
}
