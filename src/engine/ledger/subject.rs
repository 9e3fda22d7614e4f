//! Promises of one rule at one subject, packed.

use std::collections::BTreeMap;

use super::{LedgerRow, Promise, RUN_ID, Tally};
use crate::engine::labels::Labels;
use crate::engine::observation::Name;
use crate::engine::time::Timestamp;

/// Promises of one rule at one subject, in time: 24 bytes each, and the run's id for limits. Those that were
/// kept lie apart from the few others, so that counting and looking for misses does not walk through them.
/// The instant of recording is kept to the second.
#[derive(Clone, Debug)]
pub struct SubjectRows {
    rule: Name,
    labels: Labels,
    met: Vec<Entry>,
    others: Vec<Entry>,
    runs: RunIds,
    /// Reasons of excuses; there are few different ones.
    reasons: Vec<Name>,
    /// What was recorded before, and when, of the rows that correct something.
    corrected: BTreeMap<(i64, Name), (Promise, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due_at: i64,
    /// Seconds between the two, either way.
    recorded_after: i32,
    /// Milliseconds or seconds late, or the number of the reason.
    amount: u32,
    /// Where the run's id is.
    run: u32,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Outcome {
    Met,
    LateMillis,
    /// Later than `LateMillis` can say.
    LateSeconds,
    Missed,
    Excused,
    Unknown,
}

impl SubjectRows {
    pub(super) fn new(rule: Name, labels: Labels) -> Self {
        Self {
            rule,
            labels,
            met: Vec::new(),
            others: Vec::new(),
            runs: RunIds::default(),
            reasons: Vec::new(),
            corrected: BTreeMap::new(),
        }
    }

    /// Identity labels of the subject.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.met.len() + self.others.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        let entries = self.met.capacity() + self.others.capacity();
        let correction = size_of::<((i64, Name), (Promise, Timestamp))>() + 64;
        entries * size_of::<Entry>()
            + self.runs.bytes.capacity()
            + self.corrected.len() * correction
            + size_of::<Self>()
            + 256
    }

    pub(super) fn record(&mut self, mut row: LedgerRow) -> Option<LedgerRow> {
        let run_id = row.labels.get(RUN_ID);
        if let Some((is_met, index)) = self.find(row.due_at, run_id) {
            let known = self.unpack(if is_met {
                self.met[index]
            } else {
                self.others[index]
            });
            if known.outcome == exact(&row.outcome) {
                return None;
            }
            let key = (row.due_at.as_millis(), Name::from(run_id));
            let before = (known.outcome, known.recorded_at);
            self.corrected.insert(key, before.clone());
            (row.corrected_from, row.was_recorded_at) = (Some(before.0), Some(before.1));
            let old = if is_met {
                &mut self.met
            } else {
                &mut self.others
            };
            old.remove(index);
        } else {
            (row.corrected_from, row.was_recorded_at) = (None, None);
        }
        let entry = self.pack(&row);
        let list = self.list_of(entry);
        let at = list.partition_point(|known| known.due_at <= entry.due_at);
        reserve(list);
        list.insert(at, entry);
        Some(row)
    }

    /// Adds a row at the end; [`Self::sort`] puts everything in its place.
    pub(super) fn restore(&mut self, row: &LedgerRow) {
        if let Some(before) = &row.corrected_from {
            let key = (row.due_at.as_millis(), Name::from(row.labels.get(RUN_ID)));
            let at = row.was_recorded_at.unwrap_or(row.recorded_at);
            self.corrected.insert(key, (before.clone(), at));
        }
        let entry = self.pack(row);
        // Kept with the others until it is known which row of a promise is its last.
        reserve(&mut self.others);
        self.others.push(entry);
    }

    /// Sorts restored rows; of each promise the last one stays.
    pub(super) fn sort(&mut self) {
        let mut all = std::mem::take(&mut self.others);
        all.sort_by(|a, b| {
            let run = |entry: &Entry| self.runs.bytes_of(entry.run);
            (a.due_at, run(a)).cmp(&(b.due_at, run(b)))
        });
        let is_same = |a: &Entry, b: &Entry| {
            a.due_at == b.due_at && self.runs.bytes_of(a.run) == self.runs.bytes_of(b.run)
        };
        let last = (0..all.len())
            .filter(|index| {
                all.get(index + 1)
                    .is_none_or(|next| !is_same(&all[*index], next))
            })
            .map(|index| all[index]);
        let (met, others): (Vec<_>, Vec<_>) = last.partition(|e| e.outcome == Outcome::Met);
        self.met = met;
        self.others = others;
        self.met.shrink_to_fit();
        self.others.shrink_to_fit();
    }

    fn list_of(&mut self, entry: Entry) -> &mut Vec<Entry> {
        if entry.outcome == Outcome::Met {
            &mut self.met
        } else {
            &mut self.others
        }
    }

    /// In which list a promise is, and where.
    fn find(&self, due_at: Timestamp, run_id: &str) -> Option<(bool, usize)> {
        let due_at = due_at.as_millis();
        let wanted = RunIds::encode(run_id);
        let within = |list: &[Entry]| {
            let from = list.partition_point(|entry| entry.due_at < due_at);
            let same = list[from..]
                .iter()
                .take_while(|entry| entry.due_at == due_at);
            let mut runs = same.map(|entry| self.runs.bytes_of(entry.run));
            runs.position(|run| run == wanted).map(|at| from + at)
        };
        let met = within(&self.met).map(|at| (true, at));
        met.or_else(|| within(&self.others).map(|at| (false, at)))
    }

    fn pack(&mut self, row: &LedgerRow) -> Entry {
        let (outcome, amount) = match &row.outcome {
            Promise::Met => (Outcome::Met, 0),
            Promise::LateBy(millis) => pack_late(*millis),
            Promise::Missed => (Outcome::Missed, 0),
            Promise::Excused(why) => (Outcome::Excused, self.reason(why)),
            Promise::Unknown => (Outcome::Unknown, 0),
        };
        let after = (row.recorded_at - row.due_at).num_seconds();
        let after = after.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        Entry {
            due_at: row.due_at.as_millis(),
            recorded_after: i32::try_from(after).unwrap_or(i32::MAX),
            amount,
            run: self.runs.add(row.labels.get(RUN_ID)),
            outcome,
        }
    }

    fn reason(&mut self, why: &str) -> u32 {
        let known = self.reasons.iter().position(|known| &**known == why);
        let index = known.unwrap_or_else(|| {
            self.reasons.push(why.into());
            self.reasons.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn outcome(&self, entry: Entry) -> Promise {
        match entry.outcome {
            Outcome::Met => Promise::Met,
            Outcome::LateMillis => Promise::LateBy(entry.amount.into()),
            Outcome::LateSeconds => Promise::LateBy(i64::from(entry.amount) * 1_000),
            Outcome::Missed => Promise::Missed,
            Outcome::Excused => {
                let why = self.reasons.get(entry.amount as usize);
                Promise::Excused(why.map_or_else(String::new, ToString::to_string))
            }
            Outcome::Unknown => Promise::Unknown,
        }
    }

    fn unpack(&self, entry: Entry) -> LedgerRow {
        let due_at = Timestamp::from_millis(entry.due_at);
        let run_id = self.runs.get(entry.run);
        let key = (entry.due_at, Name::from(&*run_id));
        let before = self.corrected.get(&key).cloned();
        let (corrected_from, was_recorded_at) = before.unzip();
        LedgerRow {
            rule: self.rule.clone(),
            labels: self.labels.clone().with(RUN_ID, run_id),
            due_at,
            outcome: self.outcome(entry),
            recorded_at: Timestamp::from_millis(
                entry.due_at + i64::from(entry.recorded_after) * 1_000,
            ),
            corrected_from,
            was_recorded_at,
        }
    }

    /// Rows that were due in `(after, until]`, in order.
    pub fn rows(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = LedgerRow> + use<'_> {
        let mut met = within(&self.met, after, until).iter().peekable();
        let mut others = within(&self.others, after, until).iter().peekable();
        std::iter::from_fn(move || {
            let entry = match (met.peek(), others.peek()) {
                (Some(a), Some(b)) if a.due_at <= b.due_at => met.next(),
                (Some(_), None) => met.next(),
                _ => others.next(),
            };
            entry.map(|entry| self.unpack(*entry))
        })
    }

    /// Late and missed promises that were due in `(after, until]`, newest first.
    pub fn broken(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = LedgerRow> + use<'_> {
        let newest_first = within(&self.others, after, until).iter().rev();
        newest_first
            .filter(|entry| is_broken(entry))
            .map(|entry| self.unpack(*entry))
    }

    /// How promises came out that were due in `(after, until]`.
    pub fn tally(&self, after: Timestamp, until: Timestamp) -> Tally {
        let mut tally = Tally {
            met: within(&self.met, after, until).len(),
            ..Tally::default()
        };
        for entry in within(&self.others, after, until) {
            *match entry.outcome {
                Outcome::Met => &mut tally.met,
                Outcome::LateMillis | Outcome::LateSeconds => &mut tally.late,
                Outcome::Missed => &mut tally.missed,
                Outcome::Excused => &mut tally.excused,
                Outcome::Unknown => &mut tally.unknown,
            } += 1;
        }
        tally
    }

    /// The first promise that was due after an instant.
    pub fn first_after(&self, after: Timestamp) -> Option<Timestamp> {
        let first = |list| within(list, after, Timestamp::MAX).first();
        let both = first(&self.met).into_iter().chain(first(&self.others));
        both.map(|entry| Timestamp::from_millis(entry.due_at)).min()
    }

    /// The last promise that was due at or before an instant.
    pub fn last_until(&self, until: Timestamp) -> Option<Timestamp> {
        let last = |list| within(list, Timestamp::MIN, until).last();
        let both = last(&self.met).into_iter().chain(last(&self.others));
        both.map(|entry| Timestamp::from_millis(entry.due_at)).max()
    }

    /// The last promise that was broken and due at or before an instant.
    pub fn last_broken_until(&self, until: Timestamp) -> Option<Timestamp> {
        let list = within(&self.others, Timestamp::MIN, until);
        let entry = list.iter().rev().find(|entry| is_broken(entry))?;
        Some(Timestamp::from_millis(entry.due_at))
    }

    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        let cutoff = cutoff.as_millis();
        let is_old = |entry: &Entry| entry.due_at < cutoff;
        if ![&self.met, &self.others]
            .iter()
            .any(|list| list.first().is_some_and(is_old))
        {
            return;
        }
        let runs = std::mem::take(&mut self.runs);
        for list in [&mut self.met, &mut self.others] {
            list.retain(|entry| !is_old(entry));
            for entry in list.iter_mut() {
                entry.run = self.runs.add(&runs.get(entry.run));
            }
            list.shrink_to_fit();
        }
        self.runs.bytes.shrink_to_fit();
        self.corrected = self.corrected.split_off(&(cutoff, Name::from("")));
    }
}

fn is_broken(entry: &Entry) -> bool {
    matches!(
        entry.outcome,
        Outcome::LateMillis | Outcome::LateSeconds | Outcome::Missed
    )
}

fn within(list: &[Entry], after: Timestamp, until: Timestamp) -> &[Entry] {
    let from = list.partition_point(|entry| entry.due_at <= after.as_millis());
    let to = list.partition_point(|entry| entry.due_at <= until.as_millis());
    &list[from..to.max(from)]
}

/// Grows by an eighth, not to double the size.
fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(4));
    }
}

fn pack_late(millis: i64) -> (Outcome, u32) {
    if let Ok(millis) = u32::try_from(millis) {
        return (Outcome::LateMillis, millis);
    }
    let seconds = u32::try_from(millis.max(0) / 1_000).unwrap_or(u32::MAX);
    (Outcome::LateSeconds, seconds)
}

/// An outcome as it comes back from its packed form.
fn exact(outcome: &Promise) -> Promise {
    match outcome {
        Promise::LateBy(millis) => match pack_late(*millis) {
            (Outcome::LateSeconds, seconds) => Promise::LateBy(i64::from(seconds) * 1_000),
            (_, millis) => Promise::LateBy(millis.into()),
        },
        other => other.clone(),
    }
}

/// Ids of runs, one after the other: a UUID as its 16 bytes, others as they are.
#[derive(Clone, Debug, Default)]
struct RunIds {
    bytes: Vec<u8>,
}

/// There is no run.
const NO_RUN: u32 = u32::MAX;

/// Stands for the length of a UUID.
const UUID: u8 = u8::MAX;

impl RunIds {
    /// The first byte is the length. An id of more than 254 bytes is cut: it is told apart by the rest.
    fn encode(id: &str) -> Vec<u8> {
        if id.is_empty() {
            return Vec::new();
        }
        if let Some(number) = uuid(id) {
            return std::iter::once(UUID).chain(number.to_be_bytes()).collect();
        }
        let text = &id.as_bytes()[..id.floor_char_boundary(254)];
        let length = u8::try_from(text.len()).unwrap_or(0);
        std::iter::once(length)
            .chain(text.iter().copied())
            .collect()
    }

    fn add(&mut self, id: &str) -> u32 {
        let Some(at) = u32::try_from(self.bytes.len())
            .ok()
            .filter(|at| *at != NO_RUN)
        else {
            return NO_RUN;
        };
        let encoded = Self::encode(id);
        if encoded.is_empty() {
            return NO_RUN;
        }
        if self.bytes.capacity() < self.bytes.len() + encoded.len() {
            self.bytes
                .reserve_exact((self.bytes.len() / 8).max(64).max(encoded.len()));
        }
        self.bytes.extend(encoded);
        at
    }

    /// As [`Self::encode`] made it.
    fn bytes_of(&self, at: u32) -> &[u8] {
        let Some((length, _)) = self.bytes.get(at as usize..).and_then(<[u8]>::split_first) else {
            return &[];
        };
        let length = if *length == UUID {
            16
        } else {
            usize::from(*length)
        };
        let at = at as usize;
        self.bytes.get(at..=at + length).unwrap_or_default()
    }

    fn get(&self, at: u32) -> String {
        match self.bytes_of(at).split_first() {
            None => String::new(),
            Some((&UUID, bytes)) => {
                let number = bytes.try_into().map_or(0, u128::from_be_bytes);
                let hex = format!("{number:032x}");
                let parts = [
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..],
                ];
                parts.join("-")
            }
            Some((_, text)) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// The number of a UUID written in the usual way.
fn uuid(id: &str) -> Option<u128> {
    let is_usual = id.len() == 36
        && id.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    let digits = is_usual.then(|| id.replace('-', ""))?;
    u128::from_str_radix(&digits, 16).ok()
}
