//! What is done to the store now and then: forgetting, merging, snapshots.

use super::pipeline::Pipeline;
use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::notification::{Body, ConversationId, Notification, Reason};
use crate::engine::observation::Name;
use crate::engine::time::{Span, Timestamp};
use crate::store::{StoreError, records};

/// After a start, so that it does not compete with the first backfill.
pub const FIRST_AFTER: Span = Span::minutes(5);

/// Between two looks. What is due daily is done daily.
pub const EVERY: Span = Span::hours(1);

/// Forgets what is older than `cutoff`, merges small pieces of history, and takes a snapshot when one is
/// due.
pub fn run(pipeline: &mut Pipeline, now: Timestamp, cutoff: Timestamp) -> Result<(), StoreError> {
    let store = std::sync::Arc::clone(pipeline.store());
    pipeline.engine_mut().forget_before(cutoff);
    let (before, after) =
        records::compact_history(store.as_ref(), cutoff, pipeline.sequences_mut())?;
    let forgotten = records::forget_rows(store.as_ref(), cutoff)?;
    let snapshot = store.upkeep(now)?;
    tracing::info!(
        store.segments_before = before,
        store.segments_after = after,
        store.rows_forgotten = forgotten,
        store.snapshot = snapshot.as_deref().unwrap_or("not due"),
        "upkeep of the store"
    );
    Ok(())
}

/// Says, past the outbox, that the store cannot be written.
pub fn alarm(receiver: &Name, why: &str, now: Timestamp) -> Notification {
    let labels = Labels::default()
        .with("receiver", receiver.clone())
        .with("at", now.to_string());
    Notification {
        receiver: receiver.clone(),
        conversation: ConversationId(Fingerprint::of("store-alarm", &labels)),
        sequence: 0,
        reason: Reason::Notice,
        decided_at: now,
        group: Labels::default(),
        route: "notice".into(),
        body: Body::Notice {
            headline: "Tardy cannot write its store: alerts are held back until it can".to_owned(),
            text: why.to_owned(),
        },
        omitted: 0,
        suppressed: Vec::new(),
    }
}
