//! The store's folder: what lies in it, its lock, and the moves that are safe at any instant.
//!
//! ```text
//! <path>/            0700
//!   tardy.lock       held while open; the holder's process id
//!   live/            sled's folder, and `acknowledged`: the number of the last commit that was acknowledged
//!   building/        a store being written anew; incomplete, deleted when found
//!   next/            complete, about to become live
//!   previous/        what compaction replaced; deleted when found beside live/
//!   damaged-<n>/     set aside, never deleted by Tardy
//!   replaced-<n>/    what `tardy store restore` replaced, never deleted by Tardy
//!   suspect          a sync failed: what the disk holds is unknown, write the store anew when opening
//!   ballast          space kept for a full disk
//!   snapshots/       logical exports, newest three
//! ```
//!
//! Sled has a folder of its own below `<path>` because `<path>` itself may be a mount point, which
//! cannot be renamed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::fault::Fault;
use crate::store::StoreError;

/// Space that must be free before sled may write: a full disk in the middle of a write would keep
/// it from opening again.
pub(super) const FREE_FLOOR_BYTES: u64 = 4 * 1024 * 1024;

/// Space kept for the moment the disk fills up, so that deliveries that are under way can still be
/// recorded. Twice the floor: what is released must lift the store above it.
pub(super) const BALLAST_BYTES: u64 = 8 * 1024 * 1024;

/// The folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    // Held for its lock.
    _lock: File,
}

impl Folder {
    /// Creates the folder if needed, takes its lock, and finishes whatever move was under way.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        create_private_dir(path).map_err(|error| io_error(path, "create the folder", &error))?;
        let lock = take_lock(path)?;
        let folder = Self {
            path: path.to_path_buf(),
            _lock: lock,
        };
        folder
            .finish_moves()
            .map_err(|error| folder.io("finish an interrupted move", &error))?;
        Ok(folder)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sled's folder.
    pub(super) fn live(&self) -> PathBuf {
        self.path.join("live")
    }

    /// Where a store is written anew.
    pub(super) fn building(&self) -> PathBuf {
        self.path.join("building")
    }

    /// Where the snapshots are.
    pub(super) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Translates a system error; `doing` completes "cannot ...".
    pub(super) fn io(&self, doing: &str, error: &io::Error) -> StoreError {
        io_error(&self.path, doing, error)
    }

    /// Every crash leaves one of a few states; each has one way on.
    fn finish_moves(&self) -> io::Result<()> {
        let [live, next, previous] = ["live", "next", "previous"].map(|name| self.path.join(name));
        remove_dir(&self.building())?;
        if !live.exists() {
            if next.exists() {
                fs::rename(&next, &live)?;
            } else if previous.exists() {
                fs::rename(&previous, &live)?;
            }
            sync_dir(&self.path)?;
        }
        if live.exists() {
            remove_dir(&next)?;
            remove_dir(&previous)?;
        }
        Ok(())
    }

    /// Makes the complete store in `building/` the live one. What was live is deleted.
    pub(super) fn swap_in(&self) -> io::Result<()> {
        self.swap(|folder| {
            let live = folder.live();
            if live.exists() {
                fs::rename(&live, folder.path.join("previous"))?;
            }
            Ok(())
        })?;
        remove_dir(&self.path.join("previous"))
    }

    /// Makes the complete store in `building/` the live one. What was live is kept; where is
    /// returned.
    pub(super) fn swap_in_keeping(&self, name: &str) -> io::Result<Option<PathBuf>> {
        let mut kept = None;
        self.swap(|folder| {
            if folder.live().exists() {
                kept = Some(folder.set_aside(name)?);
            }
            Ok(())
        })?;
        Ok(kept)
    }

    fn swap(&self, move_away: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        let next = self.path.join("next");
        remove_dir(&next)?;
        fs::rename(self.building(), &next)?;
        sync_dir(&self.path)?;
        move_away(self)?;
        sync_dir(&self.path)?;
        fs::rename(&next, self.live())?;
        sync_dir(&self.path)
    }

    /// Renames `live/` to `<name>-<n>` with the first free number.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        let kept = (1..=u32::MAX)
            .map(|n| self.path.join(format!("{name}-{n}")))
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other("no free name"))?;
        fs::rename(self.live(), &kept)?;
        sync_dir(&self.path)?;
        Ok(kept)
    }

    /// Something was here before: an empty store would hide a loss.
    pub(super) fn has_history(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return false;
        };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("damaged-") || name.starts_with("replaced-")
        })
    }

    /// Remembers that a sync failed. Best effort: the disk is failing.
    pub(super) fn mark_suspect(&self) {
        let marked = File::create(self.suspect()).and_then(|file| file.sync_all());
        let _ = marked.and_then(|()| sync_dir(&self.path));
    }

    /// A sync failed and the store has not been written anew since.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect().exists()
    }

    /// The store was written anew.
    pub(super) fn clear_suspect(&self) -> io::Result<()> {
        match fs::remove_file(self.suspect()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn suspect(&self) -> PathBuf {
        self.path.join("suspect")
    }

    /// Refuses when less than the floor and `bytes` is free even without the ballast. Recreates the
    /// ballast when there is space for it again.
    pub(super) fn ensure_space(&self, bytes: u64, keeps_ballast: bool) -> Result<(), StoreError> {
        let needed = FREE_FLOOR_BYTES + bytes;
        let free = self.free_bytes()?;
        if free >= needed {
            if keeps_ballast && free >= needed + 2 * BALLAST_BYTES {
                self.take_in_ballast();
            }
            return Ok(());
        }
        let is_released = fs::remove_file(self.ballast()).is_ok();
        if is_released && self.free_bytes()? >= needed {
            return Ok(());
        }
        Err(self.fault(Fault::Full))
    }

    /// What a fault means to the caller.
    pub(super) fn fault(&self, fault: Fault) -> StoreError {
        let path = self.path.clone();
        match fault {
            Fault::Damaged(why) => StoreError::Damaged { path, why },
            Fault::Full => StoreError::Full { path },
            Fault::ReadOnly(why) => StoreError::ReadOnly { path, why },
            Fault::Busy(why) | Fault::Io(why) => StoreError::Io { path, why },
        }
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|error| self.io("ask for free space", &error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Without it the store works all the same, so a failure only leaves no ballast.
    fn take_in_ballast(&self) {
        let path = self.ballast();
        if fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES) {
            return;
        }
        if write_ballast(&path).is_err() {
            let _ = fs::remove_file(&path);
        }
    }

    /// Bytes of everything in the folder.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        dir_bytes(&self.path)
    }
}

fn take_lock(path: &Path) -> Result<File, StoreError> {
    let file_path = path.join("tardy.lock");
    let mut file = private_options()
        .read(true)
        .create(true)
        .truncate(false)
        .open(&file_path)
        .map_err(|error| io_error(path, "open tardy.lock", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(StoreError::Locked {
                path: path.to_path_buf(),
                pid: pid.trim().parse().unwrap_or(0),
            });
        }
        Err(TryLockError::Error(error)) => return Err(io_error(path, "lock tardy.lock", &error)),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(|error| io_error(path, "write tardy.lock", &error))?;
    Ok(file)
}

/// Real bytes, not a hole: a hole would keep no space.
fn write_ballast(path: &Path) -> io::Result<()> {
    let mut file = private_options().create(true).truncate(true).open(path)?;
    let block = vec![0xAA; 1024 * 1024];
    for _ in 0..BALLAST_BYTES / block.len() as u64 {
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// What a system error means for the store.
pub(super) fn io_error(path: &Path, doing: &str, error: &io::Error) -> StoreError {
    let path = path.to_path_buf();
    let why = format!("cannot {doing}: {error}");
    match error.kind() {
        kind if is_full(kind) => StoreError::Full { path },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path, why }
        }
        _ => StoreError::Io { path, why },
    }
}

/// No space, no quota left, or the file may not grow.
pub(super) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Options for a file only its owner may read.
pub(super) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Creates a folder only its owner may enter, durably, with the folders it is in. An existing one
/// is left as it is.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    create_private_dir(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => sync_dir(parent),
    }
}

/// The folder that something is in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes files that others created (sled) private.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() {
            0o700
        } else {
            0o600
        };
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Makes creations, renames and removals in a folder durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a folder and all in it; fine if there is none.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files may vanish meanwhile: sled truncates and replaces its own.
fn dir_bytes(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let found = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        total += if found.is_dir() {
            dir_bytes(&entry.path())?
        } else {
            found.len()
        };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        for name in names {
            fs::create_dir_all(path.join(name)).unwrap();
            fs::write(path.join(name).join("was"), name).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_crash_at_any_instant_of_a_swap_leaves_one_complete_store() {
        let cases: [(&[&str], Option<&str>); 9] = [
            (&[], None),
            (&["building"], None),
            (&["live"], Some("live")),
            (&["live", "building"], Some("live")),
            (&["live", "next"], Some("live")),
            (&["previous", "next"], Some("next")),
            (&["live", "previous"], Some("live")),
            (&["damaged-1", "next"], Some("next")),
            (&["previous", "building"], Some("previous")),
        ];
        for (names, expected) in cases {
            let (_dir, path) = folder_with(names);
            let folder = Folder::lock(&path).unwrap();
            let was = fs::read_to_string(folder.live().join("was")).ok();
            assert_eq!(was.as_deref(), expected, "{names:?}");
            for gone in ["building", "next", "previous"] {
                assert!(!path.join(gone).exists(), "{gone} after {names:?}");
            }
        }
    }

    #[test]
    fn swapping_in_deletes_or_keeps_what_was_live() {
        let (_dir, path) = folder_with(&["live", "building", "replaced-1"]);
        let folder = Folder::lock(&path).unwrap();
        fs::create_dir(folder.building()).unwrap();
        let kept = folder.swap_in_keeping("replaced").unwrap().unwrap();
        assert_eq!(kept, path.join("replaced-2"));
        assert_eq!(fs::read_to_string(kept.join("was")).unwrap(), "live");
        assert!(!folder.live().join("was").exists());

        fs::create_dir(folder.building()).unwrap();
        folder.swap_in().unwrap();
        assert!(folder.live().exists() && !path.join("previous").exists());
    }

    #[test]
    fn files_and_folders_are_private() {
        let (_dir, path) = folder_with(&[]);
        let _folder = Folder::lock(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("tardy.lock")), 0o600);
    }
}
