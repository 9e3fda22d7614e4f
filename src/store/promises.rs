//! Packed ledger: promises of one day, in one record.
//!
//! Rows are appended as they are decided, in pieces of at most [`MAX_ROWS`]; of the same promise the row in
//! the piece with the greatest number counts. Texts and labels are shared within a piece, so that a row
//! takes some 20 bytes, and a run's id for limits. Upkeep merges pieces.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::segment::DAY_MILLIS;
use crate::engine::labels::Labels;
use crate::engine::ledger::{LedgerRow, Promise};
use crate::engine::observation::Name;
use crate::engine::time::Timestamp;

/// Version byte of packed promises; version 1 is one row as JSON.
const PACKED_VERSION: u8 = 2;

/// Rows in one piece: keeps a record below 8 KiB.
pub(super) const MAX_ROWS: usize = 96;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Packed {
    day: u32,
    texts: Vec<String>,
    /// Rule and labels, as texts.
    subjects: Vec<(Text, Vec<(Text, Text)>)>,
    rows: Vec<PackedRow>,
}

/// Index into the texts.
type Text = u32;

#[derive(Debug, Serialize, Deserialize)]
struct PackedRow {
    subject: u32,
    run_id: Option<String>,
    /// Milliseconds since the day's start.
    due: i64,
    outcome: PackedPromise,
    /// Milliseconds since it was due.
    recorded: i64,
    before: Option<(PackedPromise, i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum PackedPromise {
    Met,
    LateBy(i64),
    Missed,
    Excused(Text),
    Unknown,
}

/// The day a promise belongs to: of its due instant.
pub(super) fn day_of(due_at: Timestamp) -> u32 {
    u32::try_from(due_at.as_millis().div_euclid(DAY_MILLIS)).unwrap_or(0)
}

/// Key of a piece: day and number. Promises of one day lie together, the newest last.
pub(super) fn key(day: u32, number: u64) -> Vec<u8> {
    let mut key = day.to_be_bytes().to_vec();
    key.extend(number.to_be_bytes());
    key
}

/// Day and number of a piece; `None` for a row of its own, whose key is longer.
pub(super) fn parts(key: &[u8]) -> Option<(u32, u64)> {
    let key: &[u8; 12] = key.try_into().ok()?;
    let (day, number) = key.split_first_chunk::<4>()?;
    let number = number.first_chunk::<8>()?;
    Some((u32::from_be_bytes(*day), u64::from_be_bytes(*number)))
}

/// Packs rows into pieces by day, in order.
pub(super) fn pack<'a>(rows: impl IntoIterator<Item = &'a LedgerRow>) -> Vec<(u32, Vec<u8>)> {
    let mut by_day: BTreeMap<u32, Vec<&LedgerRow>> = BTreeMap::new();
    for row in rows {
        by_day.entry(day_of(row.due_at)).or_default().push(row);
    }
    let mut pieces = Vec::new();
    for (day, rows) in by_day {
        for chunk in rows.chunks(MAX_ROWS) {
            pieces.push((day, Packer::new(day).pack(chunk)));
        }
    }
    pieces
}

struct Packer {
    packed: Packed,
    known: HashMap<String, Text>,
    subjects: HashMap<(Name, Labels), u32>,
}

impl Packer {
    fn new(day: u32) -> Self {
        let packed = Packed {
            day,
            ..Packed::default()
        };
        Self {
            packed,
            known: HashMap::new(),
            subjects: HashMap::new(),
        }
    }

    fn pack(mut self, rows: &[&LedgerRow]) -> Vec<u8> {
        for row in rows {
            let run_id = row.labels.get("run_id");
            let run_id = (!run_id.is_empty()).then(|| run_id.to_owned());
            let before = row.corrected_from.as_ref().map(|before| {
                let at = row.was_recorded_at.unwrap_or(row.recorded_at);
                (self.promise(before), (at - row.due_at).num_milliseconds())
            });
            let packed = PackedRow {
                subject: self.subject(row),
                run_id,
                due: row.due_at.as_millis() - i64::from(self.packed.day) * DAY_MILLIS,
                outcome: self.promise(&row.outcome),
                recorded: (row.recorded_at - row.due_at).num_milliseconds(),
                before,
            };
            self.packed.rows.push(packed);
        }
        let bytes = vec![PACKED_VERSION];
        // Serialising our own types to memory cannot fail.
        postcard::to_extend(&self.packed, bytes).expect("own promises are always encodable")
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let index = Text::try_from(self.packed.texts.len()).unwrap_or(Text::MAX);
        self.packed.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), index);
        index
    }

    fn subject(&mut self, row: &LedgerRow) -> u32 {
        let mut labels = row.labels.clone();
        labels.set("run_id", "");
        let key = (row.rule.clone(), labels);
        if let Some(known) = self.subjects.get(&key) {
            return *known;
        }
        let rule = self.text(&row.rule);
        let labels = key
            .1
            .iter()
            .map(|(name, value)| (self.text(name), self.text(value)));
        let labels = labels.collect();
        let index = u32::try_from(self.packed.subjects.len()).unwrap_or(u32::MAX);
        self.packed.subjects.push((rule, labels));
        self.subjects.insert(key, index);
        index
    }

    fn promise(&mut self, promise: &Promise) -> PackedPromise {
        match promise {
            Promise::Met => PackedPromise::Met,
            Promise::LateBy(millis) => PackedPromise::LateBy(*millis),
            Promise::Missed => PackedPromise::Missed,
            Promise::Excused(why) => PackedPromise::Excused(self.text(why)),
            Promise::Unknown => PackedPromise::Unknown,
        }
    }
}

/// Reads back promises. The error says what is wrong.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<LedgerRow>, String> {
    let packed: Packed = match bytes.split_first() {
        Some((&PACKED_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| error.to_string())?
        }
        Some((version, _)) => return Err(format!("unknown version {version} of promises")),
        None => return Err("empty".into()),
    };
    let texts: Vec<Name> = packed
        .texts
        .iter()
        .map(|text| text.as_str().into())
        .collect();
    let text = |index: Text| {
        let found = texts.get(index as usize).cloned();
        found.ok_or_else(|| format!("no text {index}"))
    };
    let promise = |packed: PackedPromise| {
        Ok::<_, String>(match packed {
            PackedPromise::Met => Promise::Met,
            PackedPromise::LateBy(millis) => Promise::LateBy(millis),
            PackedPromise::Missed => Promise::Missed,
            PackedPromise::Excused(why) => Promise::Excused(text(why)?.to_string()),
            PackedPromise::Unknown => Promise::Unknown,
        })
    };
    let mut subjects = Vec::with_capacity(packed.subjects.len());
    for (rule, pairs) in packed.subjects {
        let mut labels = Labels::default();
        for (name, value) in pairs {
            labels.set(&text(name)?, text(value)?);
        }
        subjects.push((text(rule)?, labels));
    }
    let start = i64::from(packed.day) * DAY_MILLIS;
    let mut rows = Vec::with_capacity(packed.rows.len());
    for row in packed.rows {
        let subject = subjects.get(row.subject as usize);
        let (rule, mut labels) = subject.cloned().ok_or("no such subject")?;
        if let Some(run_id) = row.run_id {
            labels.set("run_id", run_id);
        }
        let due_at = Timestamp::from_millis(start.saturating_add(row.due));
        let at = |after: i64| Timestamp::from_millis(due_at.as_millis().saturating_add(after));
        let (corrected_from, was_recorded_at) = match row.before {
            Some((before, recorded)) => (Some(promise(before)?), Some(at(recorded))),
            None => (None, None),
        };
        rows.push(LedgerRow {
            rule,
            labels,
            due_at,
            outcome: promise(row.outcome)?,
            recorded_at: at(row.recorded),
            corrected_from,
            was_recorded_at,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(due: i64, outcome: Promise, run_id: &str) -> LedgerRow {
        let due_at = Timestamp::from_millis(1_773_100_800_000 + due * 60_000);
        LedgerRow {
            rule: "by-7".into(),
            labels: Labels::default()
                .with("source", "prod")
                .with("job", format!("job-{}", due % 3))
                .with("run_id", run_id),
            due_at,
            outcome,
            recorded_at: due_at + crate::engine::time::Span::milliseconds(1_234),
            corrected_from: None,
            was_recorded_at: None,
        }
    }

    #[test]
    fn promises_come_back_as_they_were_in_pieces_by_day() {
        let mut rows = vec![
            row(5, Promise::Met, ""),
            row(6, Promise::LateBy(42_000), "run_1"),
            row(7, Promise::Missed, ""),
            row(7, Promise::Excused("job disabled".to_owned()), "run_1"),
            LedgerRow {
                corrected_from: Some(Promise::Unknown),
                was_recorded_at: Some(Timestamp::from_millis(1_773_100_900_000)),
                ..row(9, Promise::Unknown, "")
            },
        ];
        rows.extend((0..200).map(|index| row(1_440 + index, Promise::Met, "")));
        let pieces = pack(&rows);
        assert_eq!(pieces.len(), 1 + 3);
        assert!(pieces.is_sorted_by_key(|(day, _)| *day));
        let back: Vec<LedgerRow> = pieces
            .iter()
            .flat_map(|(_, bytes)| unpack(bytes).unwrap())
            .collect();
        assert_eq!(back, rows);
        let largest = pieces.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        assert!(largest < 3_000, "{largest}");
        assert_eq!(parts(&key(7, 9)), Some((7, 9)));
        assert_eq!(parts(&[0; 24]), None);
    }

    #[test]
    fn damaged_pieces_are_refused() {
        let bytes = pack(&[row(5, Promise::Met, "run_1")]).remove(0).1;
        assert!(unpack(&[]).is_err());
        assert!(unpack(&[9, 9]).unwrap_err().contains("version 9"));
        for length in 1..bytes.len() {
            assert!(unpack(&bytes[..length]).is_err(), "{length}");
        }
    }
}
