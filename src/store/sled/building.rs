//! Writing a whole store: from a snapshot, from another store, or to a snapshot.

use std::io;
use std::path::Path;

use super::change::Writes;
use super::fault::{Fault, catching};
use super::folder::{Folder, create_private_dir, parent_of, remove_dir};
use super::live::{Live, Tuning};
use super::{FORMAT_VERSION, snapshot};
use crate::engine::time::Timestamp;
use crate::store::{Record, StoreError, Table};

/// Records written in one batch while a store is built.
const BUILD_BATCH_BYTES: usize = 128 * 1024;

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
    let live = super::opening::reopen(folder, tuning)?;
    let after = live.file_bytes().map_err(fault)?;
    Ok((live, before, after))
}

/// Builds a store in `building/` from a snapshot or backup. Returns when it was taken, and how many
/// records it has.
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
    create_private_dir(parent_of(file))?;
    let format = live.format().map_err(other)?;
    let mut writer = snapshot::Writer::create(file, at, format)?;
    for record in live.records() {
        let (table, record) = record.map_err(other)?;
        writer.add(table, &record)?;
    }
    writer.finish()
}

/// Builds a complete store in `building/`. Returns the number of records.
pub(super) fn build(
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
    let writes: Writes<'_> = batch
        .iter()
        .map(|(table, (key, value))| ((*table, key.as_slice()), Some(value.as_slice())))
        .collect();
    catching(|| live.apply(&writes))?;
    Ok(())
}
