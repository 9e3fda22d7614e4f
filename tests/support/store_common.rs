//! What the tests of the embedded store share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tardy::engine::time::{Span, Timestamp};
use tardy::store::sled::{Opened, SledOptions, SledStore};
use tardy::store::{Commit, Store, StoreError, Table};

pub(crate) type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

pub(crate) fn at(days: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000) + Span::days(days)
}

pub(crate) fn open(path: &Path) -> Result<Opened, StoreError> {
    SledStore::open(path, SledOptions::at(at(0)))
}

pub(crate) fn open_quietly(path: &Path) -> SledStore {
    let opened = open(path).unwrap();
    assert_eq!(opened.notices, []);
    opened.store
}

pub(crate) fn put(store: &SledStore, table: Table, key: &[u8], value: &[u8]) {
    let mut commit = Commit::default();
    commit.put(table, key.to_vec(), value.to_vec());
    store.commit(&commit).unwrap();
}

pub(crate) fn content(store: &SledStore) -> Result<Content, StoreError> {
    let mut all = Content::new();
    for table in Table::ALL {
        for record in store.scan(table, &[]) {
            let (key, value) = record?;
            all.insert((table, key), value);
        }
    }
    Ok(all)
}

/// Churn like Tardy's: some keys rewritten over and over, some appended, a few large, a few
/// deleted.
pub(crate) fn churn(store: &SledStore, dice: &mut Dice, commits: u64) {
    for _ in 0..commits {
        let mut commit = Commit::default();
        for _ in 0..=dice.roll(5) {
            let table = Table::ALL[1 + usize::try_from(dice.roll(10)).unwrap()];
            let key = dice.roll(120).to_be_bytes().to_vec();
            let len = match dice.roll(20) {
                0 => 4_000 + dice.roll(16_000),
                _ => dice.roll(300),
            };
            let fill = u8::try_from(dice.roll(256)).unwrap();
            match dice.roll(8) {
                0 => commit.delete(table, key),
                _ => commit.put(table, key, vec![fill; usize::try_from(len).unwrap()]),
            }
        }
        store.commit(&commit).unwrap();
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
