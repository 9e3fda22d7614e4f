//! What was told to whom, read back: settled deliveries, newest first, and what waits in the outbox.
//!
//! Keys begin with the instant at which a delivery came to its end, so that a look at the last day reads the
//! last day. It decides nothing; what a question wants is in [`DeliveryQuestion`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::records::{OutboxRow, from_json, time_key};
use super::{Store, StoreError, Table};
use crate::engine::labels::Labels;
use crate::engine::notification::{ConversationId, Reason};
use crate::engine::observation::Name;
use crate::engine::query::{
    DeliveriesAnswer, DeliveryQuestion, DeliveryRow, DeliveryState, ToldInstead,
};
use crate::engine::rule::Severity;
use crate::engine::time::{Span, Timestamp};

/// What was told to whom; append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Stable id of the delivery.
    pub delivery_id: String,
    /// Who.
    pub receiver: Name,
    /// Why it was told.
    pub reason: Reason,
    /// The alerts it was about, by short id.
    pub alerts: Vec<String>,
    /// The first headline.
    pub headline: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When it was delivered or given up.
    pub settled_at: Timestamp,
    /// Tries.
    pub attempts: u32,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// Its conversation; `None` in records of versions that did not keep it, as what follows.
    #[serde(default)]
    pub conversation: Option<ConversationId>,
    /// Place in the conversation, from 0.
    #[serde(default)]
    pub sequence: u32,
    /// The routing node.
    #[serde(default)]
    pub route: Option<Name>,
    /// The group's labels.
    #[serde(default)]
    pub group: Labels,
    /// How bad it was.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Alerts of the group that were kept quiet.
    #[serde(default)]
    pub suppressed: usize,
    /// The fallback was told that it was late, before it ended.
    #[serde(default)]
    pub was_late: bool,
}

impl DeliveryRecord {
    /// What is kept of an outbox row that has come to its end.
    pub fn of(row: &OutboxRow, outcome: DeliveryOutcome, settled_at: Timestamp) -> Self {
        let notification = &row.notification;
        Self {
            delivery_id: notification.delivery_id(),
            receiver: notification.receiver.clone(),
            reason: notification.reason,
            alerts: notification.alert_ids(),
            headline: notification.headline().to_owned(),
            decided_at: notification.decided_at,
            settled_at,
            attempts: row.attempts,
            outcome,
            conversation: Some(notification.conversation),
            sequence: notification.sequence,
            route: Some(notification.route.clone()),
            group: notification.group.clone(),
            severity: Some(notification.severity()),
            suppressed: notification.suppressed.len(),
            was_late: row.is_fallback_told,
        }
    }
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver refused it for good.
    Rejected(String),
    /// Tried for a day.
    Dead(String),
}

/// Settled deliveries looked through for one question.
const MAX_SEARCHED: usize = 200_000;

/// How what the fallback is told begins; the name of the receiver that could not be told follows.
const COULD_NOT_TELL: &str = "Could not tell ";

/// Answers a question; receivers' names are not checked.
pub fn ask(
    store: &dyn Store,
    question: &DeliveryQuestion,
    now: Timestamp,
) -> Result<DeliveriesAnswer, StoreError> {
    let since = now - Span::milliseconds(question.within_millis);
    let all = since_instant(store, since)?;
    let asked = all.iter().filter(|row| row.is_asked(question, now));
    let mut rows: Vec<DeliveryRow> = asked.cloned().collect();
    let more = rows.len().saturating_sub(question.limit);
    rows.truncate(question.limit);
    for row in &mut rows {
        row.instead = told_instead(row, &all);
    }
    Ok(DeliveriesAnswer {
        asked_at: now,
        rows,
        more,
        unknown_receiver: None,
    })
}

/// Deliveries about one alert that were decided at or after `since`, newest first.
pub fn of_alert(
    store: &dyn Store,
    id: &str,
    since: Timestamp,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let all = since_instant(store, since)?;
    let own = all
        .iter()
        .filter(|row| row.alerts.iter().any(|of| of == id));
    let mut rows: Vec<DeliveryRow> = own.cloned().collect();
    for row in &mut rows {
        row.instead = told_instead(row, &all);
    }
    Ok(rows)
}

/// Deliveries about some alerts that were decided in a period.
#[derive(Debug, Default)]
pub struct Around {
    /// Newest first.
    pub rows: Vec<DeliveryRow>,
    /// So much is recorded of that time that what came last was not looked at.
    pub is_cut: bool,
}

/// So long after it was decided a delivery has come to its end: a day of tries, and the last wait.
const SETTLED_WITHIN: Span = Span::hours(25);

/// Deliveries about any of `ids` that were decided in `[from, to]`, however much was told since.
pub fn around(
    store: &dyn Store,
    ids: &BTreeSet<&str>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Around, StoreError> {
    around_within(store, ids, (from, to), MAX_SEARCHED)
}

fn around_within(
    store: &dyn Store,
    ids: &BTreeSet<&str>,
    (from, to): (Timestamp, Timestamp),
    limit: usize,
) -> Result<Around, StoreError> {
    if ids.is_empty() {
        return Ok(Around::default());
    }
    let is_own = |row: &DeliveryRow| {
        let mut alerts = row.alerts.iter();
        let is_then = from <= row.decided_at && row.decided_at <= to;
        is_then && alerts.any(|id| ids.contains(id.as_str()))
    };
    let mut all = outbox(store)?;
    let end = time_key(to + SETTLED_WITHIN);
    let mut settled = store.range(Table::Delivery, &time_key(from), Some(&end));
    for record in settled.by_ref().take(limit) {
        let (key, bytes) = record?;
        let row = settled_row(from_json(Table::Delivery, &key, &bytes)?);
        // Of the others only what the fallback heard is needed.
        if is_own(&row) || row.reason == Reason::Undeliverable {
            all.push(row);
        }
    }
    let is_cut = settled.next().is_some();
    sort(&mut all);
    let mut rows: Vec<DeliveryRow> = all.iter().filter(|row| is_own(row)).cloned().collect();
    for row in &mut rows {
        row.instead = told_instead(row, &all);
    }
    Ok(Around { rows, is_cut })
}

/// Everything that was decided at or after an instant, newest first.
fn since_instant(store: &dyn Store, since: Timestamp) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut rows = outbox(store)?;
    // Nothing is settled before it is decided.
    let settled = store.range(Table::Delivery, &time_key(since), None);
    for record in settled.rev().take(MAX_SEARCHED) {
        let (key, bytes) = record?;
        rows.push(settled_row(from_json(Table::Delivery, &key, &bytes)?));
    }
    rows.retain(|row| row.decided_at >= since);
    sort(&mut rows);
    Ok(rows)
}

/// What waits.
fn outbox(store: &dyn Store) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut rows = Vec::new();
    for record in store.scan(Table::Outbox, b"") {
        let (key, bytes) = record?;
        rows.push(waiting(&from_json(Table::Outbox, &key, &bytes)?));
    }
    Ok(rows)
}

/// Newest first.
fn sort(rows: &mut [DeliveryRow]) {
    rows.sort_by(|a, b| (b.decided_at, &b.id).cmp(&(a.decided_at, &a.id)));
}

fn waiting(row: &OutboxRow) -> DeliveryRow {
    let notification = &row.notification;
    DeliveryRow {
        id: notification.delivery_id(),
        receiver: notification.receiver.clone(),
        reason: notification.reason,
        state: DeliveryState::Waiting,
        alerts: notification.alert_ids(),
        headline: notification.headline().to_owned(),
        severity: Some(notification.severity()),
        route: notification.route.clone(),
        group: notification.group.clone(),
        conversation: notification.conversation.to_string(),
        sequence: notification.sequence,
        suppressed: notification.suppressed.len(),
        decided_at: notification.decided_at,
        settled_at: None,
        attempts: row.attempts,
        next_attempt_at: (row.attempts > 0).then_some(row.next_attempt_at),
        why: row.why.clone(),
        was_late: row.is_fallback_told,
        instead: Vec::new(),
    }
}

fn settled_row(record: DeliveryRecord) -> DeliveryRow {
    let (state, why) = match record.outcome {
        DeliveryOutcome::Delivered => (DeliveryState::Delivered, None),
        DeliveryOutcome::Rejected(why) => (DeliveryState::Rejected, Some(why)),
        DeliveryOutcome::Dead(why) => (DeliveryState::Dead, Some(why)),
    };
    let conversation = record.conversation;
    DeliveryRow {
        id: record.delivery_id,
        receiver: record.receiver,
        reason: record.reason,
        state,
        alerts: record.alerts,
        headline: record.headline,
        severity: record.severity,
        route: record.route.unwrap_or_else(|| "".into()),
        group: record.group,
        conversation: conversation.map_or(String::new(), |id| id.to_string()),
        sequence: record.sequence,
        suppressed: record.suppressed,
        decided_at: record.decided_at,
        settled_at: Some(record.settled_at),
        attempts: record.attempts,
        next_attempt_at: None,
        why,
        was_late: record.was_late,
        instead: Vec::new(),
    }
}

/// How much longer than its end or its being late the fallback may take to hear of a delivery.
const FALLBACK_WITHIN: Span = Span::minutes(10);

/// Whom the fallback's messages told of a delivery: the first of them after it was given up or late.
fn told_instead(row: &DeliveryRow, all: &[DeliveryRow]) -> Vec<ToldInstead> {
    let is_owed =
        row.was_late || matches!(row.state, DeliveryState::Rejected | DeliveryState::Dead);
    if row.reason == Reason::Undeliverable || !is_owed {
        return Vec::new();
    }
    let head = format!("{COULD_NOT_TELL}{}: ", row.receiver);
    let about = all.iter().filter(|other| {
        other.reason == Reason::Undeliverable
            && other.headline.starts_with(&head)
            && other.decided_at >= row.decided_at
            && row
                .settled_at
                .is_none_or(|at| other.decided_at <= at + FALLBACK_WITHIN)
    });
    // Messages of one decision went to all fallback receivers at once.
    let first = about.clone().map(|other| other.decided_at).min();
    let first = about.filter(|other| Some(other.decided_at) == first);
    first
        .map(|other| ToldInstead {
            receiver: other.receiver.clone(),
            state: other.state,
            at: other.decided_at,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Commit;
    use crate::store::records::json;
    use crate::store::sled::{SledOptions, SledStore};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_773_100_800_000) + Span::minutes(minute)
    }

    fn record(id: &str, receiver: &str, minute: i64) -> DeliveryRecord {
        DeliveryRecord {
            delivery_id: id.into(),
            receiver: receiver.into(),
            reason: Reason::First,
            alerts: vec![format!("{id}alert")],
            headline: format!("Failed: {id}"),
            decided_at: at(minute),
            settled_at: at(minute + 1),
            attempts: 1,
            outcome: DeliveryOutcome::Delivered,
            conversation: None,
            sequence: 0,
            route: Some("root".into()),
            group: Labels::default(),
            severity: Some(Severity::Critical),
            suppressed: 0,
            was_late: false,
        }
    }

    fn store(records: &[DeliveryRecord]) -> (tempfile::TempDir, SledStore) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = SledStore::open(&path, SledOptions::at(at(0)))
            .unwrap()
            .store;
        let mut commit = Commit::default();
        for (record, number) in records.iter().zip(0_u64..) {
            let mut key = time_key(record.settled_at).to_vec();
            key.extend(number.to_be_bytes());
            commit.put(Table::Delivery, key, json(record));
        }
        store.commit(&commit).unwrap();
        (folder, store)
    }

    fn question() -> DeliveryQuestion {
        DeliveryQuestion {
            within_millis: 3_600_000,
            limit: 10,
            ..DeliveryQuestion::default()
        }
    }

    fn ids(store: &SledStore, question: &DeliveryQuestion) -> Vec<String> {
        let answer = ask(store, question, at(60)).unwrap();
        answer.rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn the_newest_come_first_and_what_is_left_out_is_counted() {
        let records = [
            record("a", "team", 10),
            record("b", "oncall", 20),
            record("c", "team", 30),
        ];
        let (_folder, store) = store(&records);
        assert_eq!(ids(&store, &question()), ["c", "b", "a"]);
        let few = DeliveryQuestion {
            limit: 1,
            ..question()
        };
        assert_eq!(ask(&store, &few, at(60)).unwrap().more, 2);
        let team = DeliveryQuestion {
            receiver: Some("team".into()),
            ..question()
        };
        assert_eq!(ids(&store, &team), ["c", "a"]);
        let about = DeliveryQuestion {
            alert: Some("#BAL".into()),
            ..question()
        };
        assert_eq!(ids(&store, &about), ["b"]);
        let recent = DeliveryQuestion {
            within_millis: 35 * 60_000,
            ..question()
        };
        assert_eq!(ids(&store, &recent), ["c"]);
    }

    #[test]
    fn what_was_refused_names_who_was_told_instead() {
        let refused = DeliveryRecord {
            outcome: DeliveryOutcome::Rejected("410".into()),
            ..record("a", "oncall", 10)
        };
        let instead = |id: &str, of: &str, minute: i64| DeliveryRecord {
            reason: Reason::Undeliverable,
            alerts: Vec::new(),
            headline: format!("Could not tell {of}: 410"),
            ..record(id, "leads", minute)
        };
        let records = [
            instead("early", "oncall", 5),
            refused,
            instead("other", "team", 11),
            instead("own", "oncall", 12),
            instead("later", "oncall", 14),
        ];
        let (_folder, store) = store(&records);
        let answer = ask(&store, &question(), at(60)).unwrap();
        let row = answer.rows.iter().find(|row| row.id == "a").unwrap();
        assert_eq!(row.state, DeliveryState::Rejected);
        assert_eq!(row.instead.len(), 1);
        assert_eq!(row.instead[0].at, at(12));
    }

    #[test]
    fn what_came_late_names_who_was_told_as_well() {
        let late = DeliveryRecord {
            was_late: true,
            settled_at: at(25),
            attempts: 9,
            ..record("a", "oncall", 10)
        };
        let instead = DeliveryRecord {
            reason: Reason::Undeliverable,
            alerts: Vec::new(),
            headline: "Could not tell oncall: not reachable for 5 min: refused".into(),
            ..record("b", "leads", 15)
        };
        let (_folder, store) = store(&[instead, late, record("c", "oncall", 40)]);
        let answer = ask(&store, &question(), at(60)).unwrap();
        let told = |id: &str| {
            let row = answer.rows.iter().find(|row| row.id == id).unwrap();
            row.instead.len()
        };
        assert_eq!((told("a"), told("b"), told("c")), (1, 0, 0));
    }

    #[test]
    fn what_was_told_around_an_instant_is_found_however_much_was_told_since() {
        let mut records = vec![
            record("a", "team", 10),
            record("b", "oncall", 11),
            record("c", "team", 12),
        ];
        let later = SETTLED_WITHIN.num_minutes() + 20;
        let since = (0..20).map(|number| DeliveryRecord {
            alerts: vec!["aalert".into()],
            ..record(&format!("later{number}"), "team", later + number)
        });
        records.extend(since);
        let (_folder, store) = store(&records);
        let told = |ids: &[&str], limit: usize| {
            let ids = ids.iter().copied().collect();
            let known = around_within(&store, &ids, (at(0), at(15)), limit).unwrap();
            let rows = known.rows.into_iter().map(|row| row.id);
            (rows.collect::<Vec<_>>(), known.is_cut)
        };
        // One look for all alerts; what is newer takes nothing of the bound.
        let both = vec!["c".to_owned(), "a".to_owned()];
        assert_eq!(told(&["aalert", "calert"], 3), (both, false));
        assert_eq!(told(&["aalert"], 2), (vec!["a".to_owned()], true));
        assert_eq!(told(&[], 3), (Vec::new(), false));
    }

    #[test]
    fn records_of_versions_that_kept_less_are_read() {
        let text = r#"{"delivery_id":"x-0","receiver":"team","reason":"first","alerts":["abc"],
            "headline":"Failed","decided_at":"2026-03-10T00:10:00Z",
            "settled_at":"2026-03-10T00:10:02Z","attempts":1,"outcome":"delivered"}"#;
        let record: DeliveryRecord = serde_json::from_str(text).unwrap();
        let row = settled_row(record);
        assert_eq!(row.state, DeliveryState::Delivered);
        assert!(row.severity.is_none() && row.route.is_empty() && row.conversation.is_empty());
    }
}
