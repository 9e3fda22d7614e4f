//! How records lie in sled: keys, the splitting of large values, and the running checksum.
//!
//! Everything is in sled's default tree. The first byte of a sled key says what it is:
//!
//! | first byte | key | value |
//! |---|---|---|
//! | `0` | nothing more | the [`Summary`] |
//! | table + 1 | the record's key | `0` and the value, or `1` and the length of a split value |
//! | 128 + table + 1 | the record's key and a part number (`u16`, big-endian) | up to [`PART_BYTES`] of the value |
//!
//! The numbers follow from sled 0.34.7: a leaf holds 16 entries before it splits and at most 20
//! while leaves merge; an index node 256, at most 320. A node over 131 052 bytes (a quarter of a
//! segment) becomes a file of its own which sled never syncs. [`PART_BYTES`] and [`MAX_KEY_BYTES`]
//! keep every node below that: 20 x (4096 + 384 + a few) and 320 x (384 + a few).

use crate::store::Table;

/// Values above this are split over several keys.
pub(super) const PART_BYTES: usize = 4096;

/// Longest key of a record. Longer names are hashed by the layer above.
pub const MAX_KEY_BYTES: usize = 378;

/// Largest record. Nothing Tardy keeps comes near; it bounds the memory of one commit.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Where the [`Summary`] lies.
pub(super) const SUMMARY_KEY: [u8; 1] = [0];

const PARTS: u8 = 0x80;
const INLINE: u8 = 0;
const SPLIT: u8 = 1;

/// The sled key of a record.
pub(super) fn head_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(table as u8 + 1);
    out.extend_from_slice(key);
    out
}

/// The sled key of one part of a split value. The number has a fixed width at the end, so that no
/// two records share a part key.
pub(super) fn part_key(table: Table, key: &[u8], part: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 3);
    out.push(PARTS | (table as u8 + 1));
    out.extend_from_slice(key);
    out.extend_from_slice(&part.to_be_bytes());
    out
}

/// The first sled key above all that start with `prefix`. `prefix` starts with a table's byte,
/// which is never 255, so there always is one.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    while out.last() == Some(&u8::MAX) {
        out.pop();
    }
    if let Some(last) = out.last_mut() {
        *last += 1;
    }
    out
}

/// What lies at a record's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// The value itself.
    Inline(&'a [u8]),
    /// The length of a value that lies in parts.
    Split(usize),
}

impl<'a> Head<'a> {
    /// The head for a value.
    pub(super) fn of(value: &'a [u8]) -> Self {
        if value.len() > PART_BYTES {
            Self::Split(value.len())
        } else {
            Self::Inline(value)
        }
    }

    /// How many parts belong to it.
    pub(super) fn parts(&self) -> u16 {
        match self {
            Self::Inline(_) => 0,
            Self::Split(len) => u16::try_from(len.div_ceil(PART_BYTES)).unwrap_or(u16::MAX),
        }
    }

    /// As stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Inline(value) => {
                let mut out = Vec::with_capacity(value.len() + 1);
                out.push(INLINE);
                out.extend_from_slice(value);
                out
            }
            Self::Split(len) => {
                let mut out = vec![SPLIT];
                out.extend_from_slice(&u32::try_from(*len).unwrap_or(u32::MAX).to_be_bytes());
                out
            }
        }
    }

    /// From what is stored. `None` if it is neither.
    pub(super) fn decode(stored: &'a [u8]) -> Option<Self> {
        match stored.split_first()? {
            (&INLINE, value) => Some(Self::Inline(value)),
            (&SPLIT, len) => {
                let len = u32::from_be_bytes(len.try_into().ok()?) as usize;
                (PART_BYTES + 1..=MAX_RECORD_BYTES)
                    .contains(&len)
                    .then_some(Self::Split(len))
            }
            _ => None,
        }
    }
}

/// What all entries together must come to. It is written with every commit and compared with the
/// entries when the store is opened, so that an entry that is missing, stale or too many is never
/// taken for the truth: sled itself silently drops the rest of a segment after a damaged message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Commits since the store was created; never goes back.
    pub(super) commits: u64,
    /// Entries, without the summary itself.
    pub(super) entries: u64,
    /// Bytes of their keys and values.
    pub(super) bytes: u64,
    /// Sum of their [`digest`]s; independent of order, and adjusted entry by entry.
    pub(super) sum: u64,
}

impl Summary {
    /// Counts an entry in.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add((key.len() + value.len()) as u64);
        self.sum = self.sum.wrapping_add(digest(key, value));
    }

    /// Counts an entry out.
    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.bytes = self.bytes.wrapping_sub((key.len() + value.len()) as u64);
        self.sum = self.sum.wrapping_sub(digest(key, value));
    }

    /// As stored: four big-endian numbers.
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.commits, self.entries, self.bytes, self.sum]
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    /// From what is stored. `None` if it has another length.
    pub(super) fn decode(stored: &[u8]) -> Option<Self> {
        let stored: &[u8; 32] = stored.try_into().ok()?;
        let (numbers, _) = stored.as_chunks::<8>();
        let number = |index: usize| u64::from_be_bytes(numbers[index]);
        Some(Self {
            commits: number(0),
            entries: number(1),
            bytes: number(2),
            sum: number(3),
        })
    }
}

/// FNV-1a over the key's length, the key and the value, mixed once more (the finish of
/// `MurmurHash3`), so that sums of digests do not cancel out. Part of the storage format.
fn digest(key: &[u8], value: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ key.len() as u64;
    for byte in key.iter().chain(value) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The `format` record's value.
pub(super) fn decode_format(stored: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(stored.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_a_round_trip_and_say_how_many_parts_they_have() {
        let small = vec![7; PART_BYTES];
        let large = vec![7; PART_BYTES + 1];
        for (value, parts) in [(&[][..], 0), (&small, 0), (&large, 2)] {
            let head = Head::of(value);
            assert_eq!(head.parts(), parts);
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        for bad in [&[][..], &[2, 0], &[SPLIT, 0, 0], &[SPLIT, 0, 0, 0, 1]] {
            assert_eq!(Head::decode(bad), None);
        }
    }

    #[test]
    fn the_key_above_a_prefix_is_above_everything_below_it() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 255, 255]), [2]);
        assert_eq!(after_prefix(&[1]), [2]);
    }

    #[test]
    fn a_summary_does_not_depend_on_order_and_notices_stale_values() {
        let (mut forth, mut back) = (Summary::default(), Summary::default());
        let entries: Vec<_> = (0_u8..50).map(|n| ([1, n], [n; 3])).collect();
        for (key, value) in &entries {
            forth.add(key, value);
        }
        for (key, value) in entries.iter().rev() {
            back.add(key, value);
        }
        assert_eq!(forth, back);
        back.remove(&[1, 7], &[7; 3]);
        back.add(&[1, 7], &[8; 3]);
        assert_ne!(forth.sum, back.sum);
        assert_eq!(Summary::decode(&forth.encode()), Some(forth));
    }
}
