//! What the bytes in a store mean: typed records, the same for every backend.
//!
//! Every value begins with one version byte. State (alerts, groups, memories, outbox rows) is JSON, so
//! that a field added later has a default; history is packed in segments. Keys are of
//! fixed length: instants and numbers are big-endian so that they sort, names are hashed and stand in the
//! record. It decides nothing; it only writes down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use super::deliveries::{DeliveryOutcome, DeliveryRecord};
use super::segment::{self, Segment};
use super::{Commit, Store, StoreError, Table};
use super::{acts, averages, digests, promises};
use crate::engine::acting::Acted;
use crate::engine::alert::{Alert, Transition};
use crate::engine::digest::DigestMark;
use crate::engine::group::{Group, GroupKey};
use crate::engine::history::{History, JobRecord, ProjectRecord};
use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::ledger::{Ledger, LedgerRow};
use crate::engine::notification::{ConversationId, Notification};
use crate::engine::observation::{Name, Observation, ProjectKey};
use crate::engine::rule::context::Memory;
use crate::engine::silence::Silence;
use crate::engine::time::Timestamp;
use crate::engine::{Saved, Step};
use crate::notify::Handle;
use crate::source::Cursor;

/// Version of JSON records.
const JSON_VERSION: u8 = 1;

/// A notification to be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// Position in the outbox; delivery within a conversation follows it.
    pub sequence: u64,
    /// What is to be told.
    pub notification: Notification,
    /// Tries so far.
    pub attempts: u32,
    /// Not before this instant.
    pub next_attempt_at: Timestamp,
    /// The last try may have arrived.
    #[serde(default)]
    pub is_uncertain: bool,
    /// The fallback has been told that it is late.
    #[serde(default)]
    pub is_fallback_told: bool,
    /// What went wrong last.
    #[serde(default)]
    pub why: Option<String>,
}

impl OutboxRow {
    /// Not before this instant. What was never tried is due at once, wherever a clock has been set since.
    pub fn due_at(&self) -> Timestamp {
        if self.attempts == 0 {
            Timestamp::from_millis(0)
        } else {
            self.next_attempt_at
        }
    }
}

/// What the fallback is still to hear of: a delivery that was given up or is late. Written with the end of
/// the try, and gone in the commit that has the fallback's notification, so that a crash in between loses
/// nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owed {
    /// The outbox row it is about.
    pub sequence: u64,
    /// What was not told.
    pub notification: Notification,
    /// Why, in words for people.
    pub why: String,
}

/// Everything a start needs.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Observations, by project.
    pub history: History,
    /// Engine state.
    pub saved: Saved,
    /// How far sources have been read.
    pub cursors: BTreeMap<ProjectKey, Cursor>,
    /// Notifications to be delivered, in order.
    pub outbox: Vec<OutboxRow>,
    /// What the fallback is still to hear of.
    pub owed: Vec<Owed>,
    /// References to conversations' first messages.
    pub handles: BTreeMap<ConversationId, Handle>,
    /// Records that could not be read and were left out, with their reasons.
    pub problems: Vec<StoreError>,
    /// The greatest number of a history segment.
    pub last_segment: u64,
}

/// Writes a JSON record.
pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![JSON_VERSION];
    // Serialising our own types to memory cannot fail: no maps with non-text keys, no I/O.
    serde_json::to_writer(&mut bytes, value).expect("own records are always valid JSON");
    bytes
}

/// Reads a JSON record.
pub(super) fn from_json<T: DeserializeOwned>(
    table: Table,
    key: &[u8],
    bytes: &[u8],
) -> Result<T, StoreError> {
    let refuse = |why: String| StoreError::Record {
        table,
        key: readable(key),
        why,
    };
    match bytes.split_first() {
        Some((&JSON_VERSION, rest)) => {
            serde_json::from_slice(rest).map_err(|error| refuse(error.to_string()))
        }
        Some((version, _)) => Err(refuse(format!("unknown record version {version}"))),
        None => Err(refuse("empty".into())),
    }
}

/// A key for people: printable characters as they are, others as hex.
fn readable(key: &[u8]) -> String {
    key.iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

/// A key of fixed length from texts of any length: what it stands for is in the record.
pub(super) fn hashed_key(prefix: &str, parts: &[&str]) -> Vec<u8> {
    let labels = (0..10)
        .zip(parts)
        .fold(Labels::default(), |labels, (index, part)| {
            labels.with(&format!("part{index}"), *part)
        });
    let mut key = prefix.as_bytes().to_vec();
    key.extend(print_key(Fingerprint::of(prefix, &labels)));
    key
}

pub(super) fn project_key(prefix: &str, project: &ProjectKey) -> Vec<u8> {
    hashed_key(prefix, &[&project.source, &project.project_id])
}

/// Instants sort as unsigned numbers when the sign bit is flipped.
pub(super) fn time_key(at: Timestamp) -> [u8; 8] {
    (at.as_millis().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

pub(super) fn print_key(print: Fingerprint) -> Vec<u8> {
    print.as_u128().to_be_bytes().to_vec()
}

/// Key of an outbox row.
pub fn outbox_key(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}

fn group_key(key: &GroupKey) -> Vec<u8> {
    let labels = Labels::default()
        .with("route", key.route.clone())
        .with("labels", key.labels.to_string());
    print_key(Fingerprint::of("group", &labels))
}

/// Numbers handed out by the writer.
#[derive(Debug, Default)]
pub struct Sequences {
    /// The last outbox row.
    pub outbox: u64,
    /// Numbers of history segments, shared with upkeep.
    pub segments: Segments,
}

/// Hands out numbers of history segments; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Segments(Arc<AtomicU64>);

impl Segments {
    /// Goes on after `last`.
    pub fn after(last: u64) -> Self {
        Self(Arc::new(AtomicU64::new(last)))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Writes down a step, with the cursors it belongs to and the debts to the fallback that it pays: one commit.
/// Returns the outbox rows it contains.
pub fn commit_step(
    step: &Step,
    cursors: &BTreeMap<ProjectKey, Cursor>,
    paid: &[u64],
    sequences: &mut Sequences,
    now: Timestamp,
) -> (Commit, Vec<OutboxRow>) {
    let mut commit = Commit::default();
    for sequence in paid {
        commit.delete(Table::Meta, owed_key(*sequence));
    }
    put_observations(step, sequences, &mut commit);
    for (project, cursor) in cursors {
        commit.put(
            Table::Cursor,
            project_key("cursor/", project),
            json(&(project, cursor)),
        );
    }
    for (project, known_until) in &step.changed.coverage {
        commit.put(
            Table::Cursor,
            project_key("known/", project),
            json(&(project, known_until)),
        );
    }
    put_since(step, &mut commit);
    for (print, alert) in &step.changed.alerts {
        put_or_delete(&mut commit, Table::Alert, print_key(*print), alert.as_ref());
    }
    for (print, memory) in &step.changed.memories {
        put_or_delete(
            &mut commit,
            Table::Memory,
            print_key(*print),
            memory.as_ref(),
        );
    }
    for (key, group) in &step.changed.groups {
        put_or_delete(&mut commit, Table::Group, group_key(key), group.as_ref());
    }
    for (id, silence) in &step.changed.silences {
        put_or_delete(
            &mut commit,
            Table::Silence,
            id.as_bytes().to_vec(),
            silence.as_ref(),
        );
    }
    digests::put(step, &mut commit);
    for (transition, index) in step.transitions.iter().zip(0_u32..) {
        let mut key = time_key(transition.recorded_at).to_vec();
        key.extend(print_key(transition.fingerprint));
        key.extend(index.to_be_bytes());
        commit.put(Table::Transition, key, json(transition));
    }
    for (day, piece) in promises::pack(&step.ledger) {
        let key = promises::key(day, sequences.segments.next());
        commit.put(Table::Ledger, key, piece);
    }
    acts::put(&mut commit, &step.acts, now);
    let rows = put_notifications(step, sequences, now, &mut commit);
    (commit, rows)
}

fn put_since(step: &Step, commit: &mut Commit) {
    for (what, since) in &step.changed.since {
        let record = since.as_ref().map(|since| (what, since));
        let key = hashed_key("since/", &[what]);
        put_or_delete(commit, Table::Meta, key, record.as_ref());
    }
}

pub(super) fn put_or_delete<T: Serialize>(
    commit: &mut Commit,
    table: Table,
    key: Vec<u8>,
    value: Option<&T>,
) {
    match value {
        Some(value) => commit.put(table, key, json(value)),
        None => commit.delete(table, key),
    }
}

fn put_observations(step: &Step, sequences: &mut Sequences, commit: &mut Commit) {
    for (project, record) in &step.changed.projects {
        commit.put(
            Table::History,
            project_key("project/", project),
            json(record),
        );
    }
    for ((project, job), record) in &step.changed.jobs {
        let key = hashed_key("job/", &[&project.source, &project.project_id, job]);
        commit.put(Table::History, key, json(&(project, record)));
    }
    averages::put(step, commit);
    for segment in segment::pack(&step.changed.observations) {
        let key = segment_key(&segment, sequences.segments.next());
        commit.put(Table::History, key, segment.to_bytes());
    }
}

pub(super) fn segment_key(segment: &Segment, number: u64) -> Vec<u8> {
    let mut key = project_key("segment/", &segment.project);
    key.extend(segment.day.to_be_bytes());
    key.extend(number.to_be_bytes());
    key
}

fn put_notifications(
    step: &Step,
    sequences: &mut Sequences,
    now: Timestamp,
    commit: &mut Commit,
) -> Vec<OutboxRow> {
    let mut rows = Vec::with_capacity(step.notifications.len());
    for notification in &step.notifications {
        sequences.outbox += 1;
        let row = OutboxRow {
            sequence: sequences.outbox,
            notification: notification.clone(),
            attempts: 0,
            next_attempt_at: now,
            is_uncertain: false,
            is_fallback_told: false,
            why: None,
        };
        commit.put(Table::Outbox, outbox_key(row.sequence), json(&row));
        rows.push(row);
    }
    rows
}

/// Writes down an outbox row that is to be tried again.
pub fn put_outbox(commit: &mut Commit, row: &OutboxRow) {
    commit.put(Table::Outbox, outbox_key(row.sequence), json(row));
}

/// Writes down what the fallback is to hear of.
pub fn put_owed(commit: &mut Commit, owed: &Owed) {
    commit.put(Table::Meta, owed_key(owed.sequence), json(owed));
}

fn owed_key(sequence: u64) -> Vec<u8> {
    let mut key = b"owed/".to_vec();
    key.extend(sequence.to_be_bytes());
    key
}

/// Writes down that a delivery is settled: the row goes, the record stays, the handle is kept while the
/// conversation goes on.
pub fn settle(
    commit: &mut Commit,
    row: &OutboxRow,
    handle: Option<&Handle>,
    record: &DeliveryRecord,
) {
    commit.delete(Table::Outbox, outbox_key(row.sequence));
    let conversation = print_key(row.notification.conversation.0);
    match handle {
        _ if row.notification.is_ending() => commit.delete(Table::Handle, conversation),
        Some(handle) => commit.put(Table::Handle, conversation, json(handle)),
        None => {}
    }
    let mut key = time_key(record.settled_at).to_vec();
    key.extend(row.sequence.to_be_bytes());
    commit.put(Table::Delivery, key, json(record));
}

/// Reads everything a start needs. A record that cannot be read is left out and listed.
pub fn load(store: &dyn Store) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    load_meta(store, &mut loaded)?;
    load_cursors(store, &mut loaded)?;
    load_history(store, &mut loaded)?;
    load_ledger(store, &mut loaded)?;
    for alert in read::<Alert>(store, Table::Alert, &mut loaded.problems)? {
        loaded.saved.alerts.push(alert.1);
    }
    for (key, memory) in read::<Memory>(store, Table::Memory, &mut loaded.problems)? {
        if let Some(print) = print_of(&key) {
            loaded.saved.memories.insert(print, memory);
        }
    }
    for (_, group) in read::<Group>(store, Table::Group, &mut loaded.problems)? {
        loaded.saved.groups.push(group);
    }
    for (_, silence) in read::<Silence>(store, Table::Silence, &mut loaded.problems)? {
        loaded.saved.silences.push(silence);
    }
    for (_, row) in read::<OutboxRow>(store, Table::Outbox, &mut loaded.problems)? {
        loaded.outbox.push(row);
    }
    for (key, handle) in read::<Handle>(store, Table::Handle, &mut loaded.problems)? {
        if let Some(print) = print_of(&key) {
            loaded.handles.insert(ConversationId(print), handle);
        }
    }
    Ok(loaded)
}

/// How far sources have been read.
pub fn load_cursors_only(store: &dyn Store) -> Result<BTreeMap<ProjectKey, Cursor>, StoreError> {
    let mut loaded = Loaded::default();
    load_cursors(store, &mut loaded)?;
    Ok(loaded.cursors)
}

fn print_of(key: &[u8]) -> Option<Fingerprint> {
    Some(Fingerprint::from_u128(u128::from_be_bytes(
        key.try_into().ok()?,
    )))
}

/// All records of a table that can be read; the others are listed.
fn read<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    problems: &mut Vec<StoreError>,
) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
    let mut records = Vec::new();
    for record in store.scan(table, b"") {
        let (key, bytes) = record?;
        match from_json(table, &key, &bytes) {
            Ok(value) => records.push((key, value)),
            Err(problem) => problems.push(problem),
        }
    }
    Ok(records)
}

/// All records of a table under a prefix that can be read; the others are listed.
pub(super) fn read_under<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    prefix: &str,
    problems: &mut Vec<StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut values = Vec::new();
    for record in store.scan(table, prefix.as_bytes()) {
        let (key, bytes) = record?;
        match from_json(table, &key, &bytes) {
            Ok(value) => values.push(value),
            Err(problem) => problems.push(problem),
        }
    }
    Ok(values)
}

fn load_meta(store: &dyn Store, loaded: &mut Loaded) -> Result<(), StoreError> {
    let since = read_under(store, Table::Meta, "since/", &mut loaded.problems)?;
    loaded.saved.since = since.into_iter().collect();
    digests::load(store, &mut loaded.saved, &mut loaded.problems)?;
    loaded.owed = read_under(store, Table::Meta, "owed/", &mut loaded.problems)?;
    Ok(())
}

fn load_cursors(store: &dyn Store, loaded: &mut Loaded) -> Result<(), StoreError> {
    let cursors = read_under(store, Table::Cursor, "cursor/", &mut loaded.problems)?;
    loaded.cursors = cursors.into_iter().collect();
    let known = read_under(store, Table::Cursor, "known/", &mut loaded.problems)?;
    loaded.saved.coverage = known.into_iter().collect();
    Ok(())
}

fn load_history(store: &dyn Store, loaded: &mut Loaded) -> Result<(), StoreError> {
    let problems = &mut loaded.problems;
    for record in read_under::<ProjectRecord>(store, Table::History, "project/", problems)? {
        loaded.history.restore_project(record);
    }
    let jobs = read_under::<(ProjectKey, JobRecord)>(store, Table::History, "job/", problems)?;
    for (project, record) in jobs {
        loaded.history.restore_job(&project, record);
    }
    averages::load(store, &mut loaded.history, problems)?;
    for record in store.scan(Table::History, b"segment/") {
        let (key, bytes) = record?;
        loaded.last_segment = loaded.last_segment.max(segment_number(&key));
        match Segment::unpack(&bytes) {
            Ok(observations) => restore(&mut loaded.history, observations),
            Err(why) => {
                let key = readable(&key);
                loaded.problems.push(StoreError::Record {
                    table: Table::History,
                    key,
                    why,
                });
            }
        }
    }
    Ok(())
}

fn load_ledger(store: &dyn Store, loaded: &mut Loaded) -> Result<(), StoreError> {
    let mut pieces = Vec::new();
    let mut rows = Vec::new();
    for record in store.scan(Table::Ledger, b"") {
        let (key, bytes) = record?;
        match read_promises(&key, &bytes) {
            Ok(found) if promises::parts(&key).is_some() => pieces.push(found),
            Ok(found) => rows.extend(found),
            Err(problem) => loaded.problems.push(problem),
        }
        let number = promises::parts(&key).map_or(0, |(_, number)| number);
        loaded.last_segment = loaded.last_segment.max(number);
    }
    // Rows of their own are from before there were pieces; what a piece says of the same promise is newer.
    loaded.saved.ledger = Ledger::restore(rows.into_iter().chain(pieces.into_iter().flatten()));
    Ok(())
}

/// Reads a record of the ledger: a piece of a day, or one row, as they were written once.
pub(super) fn read_promises(key: &[u8], bytes: &[u8]) -> Result<Vec<LedgerRow>, StoreError> {
    if promises::parts(key).is_none() {
        return from_json(Table::Ledger, key, bytes).map(|row| vec![row]);
    }
    promises::unpack(bytes).map_err(|why| StoreError::Record {
        table: Table::Ledger,
        key: readable(key),
        why,
    })
}

fn segment_number(key: &[u8]) -> u64 {
    key.last_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn restore(history: &mut History, observations: Vec<Observation>) {
    for observation in observations {
        match observation {
            Observation::Run(project, run) => drop(history.observe_run(&project, run)),
            Observation::Execution(project, execution) => {
                drop(history.observe_execution(&project, execution));
            }
            Observation::Plan(project, plan) => drop(history.observe_plan(&project, plan)),
            Observation::Project(_)
            | Observation::ProjectGone(_)
            | Observation::Jobs(..)
            | Observation::Protections(..)
            | Observation::Averages(..) => {}
        }
    }
}

/// Checks that a record can be read as what its table holds; for `store verify`.
pub fn check(table: Table, key: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
    let as_json = || from_json::<serde_json::Value>(table, key, bytes).map(drop);
    match table {
        Table::Alert => from_json::<Alert>(table, key, bytes).map(drop),
        Table::Memory => from_json::<Memory>(table, key, bytes).map(drop),
        Table::Group => from_json::<Group>(table, key, bytes).map(drop),
        Table::Transition => from_json::<Transition>(table, key, bytes).map(drop),
        Table::Ledger => read_promises(key, bytes).map(drop),
        Table::Outbox => from_json::<OutboxRow>(table, key, bytes).map(drop),
        Table::Handle => from_json::<Handle>(table, key, bytes).map(drop),
        Table::Delivery => from_json::<DeliveryRecord>(table, key, bytes).map(drop),
        Table::Act => from_json::<Acted>(table, key, bytes).map(drop),
        Table::Silence => from_json::<Silence>(table, key, bytes).map(drop),
        Table::History if key.starts_with(b"segment/") => {
            Segment::unpack(bytes)
                .map(drop)
                .map_err(|why| StoreError::Record {
                    table,
                    key: readable(key),
                    why,
                })
        }
        Table::History if averages::is_key(key) => averages::check(key, bytes),
        Table::Meta if key.starts_with(b"digest/") => {
            from_json::<(Name, DigestMark)>(table, key, bytes).map(drop)
        }
        Table::Meta if key == b"format" => Ok(()),
        Table::Meta if key.starts_with(b"owed/") => from_json::<Owed>(table, key, bytes).map(drop),
        Table::Meta | Table::Cursor | Table::History => as_json(),
    }
}
