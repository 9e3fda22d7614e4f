//! What was told to whom, read back: settled deliveries, newest first, and what waits in the outbox.
//!
//! Keys begin with the instant at which a delivery came to its end, so that a look at the last day reads the
//! last day. It decides nothing; what a question wants is in [`DeliveryQuestion`].

use super::records::{DeliveryOutcome, DeliveryRecord, OutboxRow, from_json, time_key};
use super::{Store, StoreError, Table};
use crate::engine::notification::Reason;
use crate::engine::query::{
    DeliveriesAnswer, DeliveryQuestion, DeliveryRow, DeliveryState, ToldInstead,
};
use crate::engine::time::{Span, Timestamp};

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

/// Everything that was decided at or after an instant, newest first.
fn since_instant(store: &dyn Store, since: Timestamp) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut rows = Vec::new();
    for record in store.scan(Table::Outbox, b"") {
        let (key, bytes) = record?;
        rows.push(waiting(&from_json(Table::Outbox, &key, &bytes)?));
    }
    // Nothing is settled before it is decided.
    let settled = store.range(Table::Delivery, &time_key(since), None);
    for record in settled.rev().take(MAX_SEARCHED) {
        let (key, bytes) = record?;
        rows.push(settled_row(from_json(Table::Delivery, &key, &bytes)?));
    }
    rows.retain(|row| row.decided_at >= since);
    rows.sort_by(|a, b| (b.decided_at, &b.id).cmp(&(a.decided_at, &a.id)));
    Ok(rows)
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
        instead: Vec::new(),
    }
}

/// How much longer than its end or its being late the fallback may take to hear of a delivery.
const FALLBACK_WITHIN: Span = Span::minutes(10);

/// Whom the fallback's messages told of a delivery: the first of them after it was given up or late.
fn told_instead(row: &DeliveryRow, all: &[DeliveryRow]) -> Vec<ToldInstead> {
    let is_told = row.reason != Reason::Undeliverable && row.state != DeliveryState::Delivered;
    if !is_told {
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
