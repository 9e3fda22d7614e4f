//! Snapshot files: every record of a store, checksummed, readable without sled.
//!
//! ```text
//! "tardy snapshot\n"  version u16  header block  data blocks  end block
//! block     length u32, CRC-32 of the content u32, content
//! header    taken at i64 (ms), format u32
//! data      record after record: table u8, key length u16, key, value length u32, value
//! end       length 0, CRC-32 of all block checksums; number of records u64
//! ```
//!
//! All numbers are big-endian. A file is written under a temporary name, synced and renamed, so one
//! with its proper name is complete; a damaged one is noticed at the block that is damaged.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::codec::{MAX_KEY_BYTES, MAX_RECORD_BYTES};
use super::folder::{parent_of, private_options, sync_dir};
use crate::engine::time::Timestamp;
use crate::store::{Record, Table};

const MAGIC: &[u8] = b"tardy snapshot\n\0\x01";

/// A block is closed once it is this long, so that reading takes little memory.
const BLOCK_BYTES: usize = 64 * 1024;

/// The longest block there can be: one that was almost full before the largest record.
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + MAX_RECORD_BYTES + MAX_KEY_BYTES + 16;

/// Snapshots kept in the store's folder.
pub const SNAPSHOTS_KEPT: usize = 3;

const PARTIAL: &str = "partial";

/// Writes one file.
pub(super) struct Writer {
    out: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    block: Vec<u8>,
    checksums: crc32fast::Hasher,
    records: u64,
}

impl Writer {
    /// Starts a file that will be called `path`.
    pub(super) fn create(path: &Path, at: Timestamp, format: u32) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".");
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let file = private_options()
            .create(true)
            .truncate(true)
            .open(&partial)?;
        let mut writer = Self {
            out: BufWriter::new(file),
            partial,
            path: path.to_path_buf(),
            block: Vec::with_capacity(BLOCK_BYTES),
            checksums: crc32fast::Hasher::new(),
            records: 0,
        };
        writer.out.write_all(MAGIC)?;
        writer.block.extend(at.as_millis().to_be_bytes());
        writer.block.extend(format.to_be_bytes());
        writer.close_block()?;
        Ok(writer)
    }

    /// Adds a record.
    pub(super) fn add(&mut self, table: Table, (key, value): &Record) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        self.block.push(table as u8);
        let length = u16::try_from(key.len()).map_err(too_long)?;
        self.block.extend(length.to_be_bytes());
        self.block.extend(key);
        let length = u32::try_from(value.len()).map_err(too_long)?;
        self.block.extend(length.to_be_bytes());
        self.block.extend(value);
        self.records += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    /// Ends the file, makes it durable and gives it its name. Returns the number of records.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.out.write_all(&0_u32.to_be_bytes())?;
        let checksum = self.checksums.clone().finalize();
        self.out.write_all(&checksum.to_be_bytes())?;
        self.out.write_all(&self.records.to_be_bytes())?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        sync_dir(parent_of(&self.path))?;
        Ok(self.records)
    }

    fn close_block(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len()).map_err(io::Error::other)?;
        let checksum = crc32fast::hash(&self.block).to_be_bytes();
        self.checksums.update(&checksum);
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&checksum)?;
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

/// An unfinished file is of no use to anybody.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
    }
}

/// Reads one file, block by block.
pub(super) struct Reader {
    input: BufReader<File>,
    at: Timestamp,
    format: u32,
    checksums: crc32fast::Hasher,
    records: u64,
}

impl Reader {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut reader = Self {
            input: BufReader::new(File::open(path)?),
            at: Timestamp::default(),
            format: 0,
            checksums: crc32fast::Hasher::new(),
            records: 0,
        };
        let mut magic = [0; MAGIC.len()];
        reader.input.read_exact(&mut magic).map_err(cut_short)?;
        if magic != MAGIC {
            return Err(broken("it is not a snapshot of this version of Tardy"));
        }
        let header = reader.block()?.ok_or_else(|| broken("it has no header"))?;
        let mut header = header.as_slice();
        reader.at = Timestamp::from_millis(i64::from_be_bytes(take(&mut header)?));
        reader.format = u32::from_be_bytes(take(&mut header)?);
        Ok(reader)
    }

    /// When it was taken.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// The format of its records.
    pub(super) fn format(&self) -> u32 {
        self.format
    }

    /// The next records; `None` after the last, once the end was found to be right.
    pub(super) fn next_records(&mut self) -> io::Result<Option<Vec<(Table, Record)>>> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        let mut rest = block.as_slice();
        let mut records = Vec::new();
        while !rest.is_empty() {
            records.push(read_record(&mut rest)?);
        }
        self.records += records.len() as u64;
        Ok(Some(records))
    }

    fn block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = u32::from_be_bytes(self.number()?) as usize;
        let checksum: [u8; 4] = self.number()?;
        if length == 0 {
            let records = u64::from_be_bytes(self.number()?);
            let expected = self.checksums.clone().finalize();
            if checksum != expected.to_be_bytes() || records != self.records {
                return Err(broken("its end does not match its content"));
            }
            return Ok(None);
        }
        if length > MAX_BLOCK_BYTES {
            return Err(broken("a block is too long"));
        }
        let mut block = vec![0; length];
        self.input.read_exact(&mut block).map_err(cut_short)?;
        if crc32fast::hash(&block).to_be_bytes() != checksum {
            return Err(broken("a block does not match its checksum"));
        }
        self.checksums.update(&checksum);
        Ok(Some(block))
    }

    fn number<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(cut_short)?;
        Ok(bytes)
    }
}

fn read_record(rest: &mut &[u8]) -> io::Result<(Table, Record)> {
    let [number] = take(rest)?;
    let table = Table::ALL
        .into_iter()
        .find(|table| *table as u8 == number)
        .ok_or_else(|| broken("a record belongs to an unknown table"))?;
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let key = take_slice(rest, length)?;
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let value = take_slice(rest, length)?;
    Ok((table, (key, value)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (taken, left) = rest
        .split_first_chunk()
        .ok_or_else(|| broken("a block ends too early"))?;
    *rest = left;
    Ok(*taken)
}

fn take_slice(rest: &mut &[u8], length: usize) -> io::Result<Vec<u8>> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or_else(|| broken("a block ends too early"))?;
    *rest = left;
    Ok(taken.to_vec())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn cut_short(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return broken("it is cut short");
    }
    error
}

/// Where the snapshot of an instant is kept.
pub(super) fn path_of(dir: &Path, at: Timestamp) -> PathBuf {
    dir.join(format!("snapshot-{:015}", at.as_millis().max(0)))
}

/// The snapshots in a folder with their instants, newest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let millis = name
            .to_str()
            .and_then(|name| name.strip_prefix("snapshot-"))
            .and_then(|millis| millis.parse().ok());
        if let Some(millis) = millis {
            found.push((Timestamp::from_millis(millis), entry.path()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Deletes all but the newest [`SNAPSHOTS_KEPT`] snapshots, and unfinished ones.
pub(super) fn prune(dir: &Path) -> io::Result<()> {
    for (_, path) in list(dir)?.into_iter().skip(SNAPSHOTS_KEPT) {
        fs::remove_file(path)?;
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == PARTIAL)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path, records: &[(Table, Record)]) -> PathBuf {
        let path = path_of(dir, Timestamp::from_millis(5));
        let mut writer = Writer::create(&path, Timestamp::from_millis(5), 1).unwrap();
        for (table, record) in records {
            writer.add(*table, record).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), records.len() as u64);
        path
    }

    fn read(path: &Path) -> io::Result<Vec<(Table, Record)>> {
        let mut reader = Reader::open(path)?;
        let mut all = Vec::new();
        while let Some(records) = reader.next_records()? {
            all.extend(records);
        }
        Ok(all)
    }

    fn some_records() -> Vec<(Table, Record)> {
        (0..500_u32)
            .map(|n| {
                let value = vec![n.to_be_bytes()[3]; n as usize];
                (Table::History, (n.to_be_bytes().to_vec(), value))
            })
            .collect()
    }

    #[test]
    fn records_survive_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        for records in [Vec::new(), some_records()] {
            let path = written(dir.path(), &records);
            assert_eq!(read(&path).unwrap(), records);
            assert_eq!(Reader::open(&path).unwrap().at().as_millis(), 5);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &some_records()[..20]);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_unfinished_file_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), Timestamp::from_millis(7));
        drop(Writer::create(&path, Timestamp::from_millis(7), 1).unwrap());
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn the_newest_are_listed_first_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        for millis in [3, 11, 2, 1_700_000_000_000, 40] {
            fs::write(path_of(dir.path(), Timestamp::from_millis(millis)), "").unwrap();
        }
        fs::write(dir.path().join("snapshot-000000000000099.partial"), "").unwrap();
        prune(dir.path()).unwrap();
        let kept: Vec<i64> = list(dir.path())
            .unwrap()
            .iter()
            .map(|(at, _)| at.as_millis())
            .collect();
        assert_eq!(kept, [1_700_000_000_000, 40, 11]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
