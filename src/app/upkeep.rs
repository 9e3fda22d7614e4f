//! What is done to the store now and then: forgetting, merging, snapshots.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::blocking;
use super::live::Shared;
use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::notification::{Body, ConversationId, Notification, Reason};
use crate::engine::observation::Name;
use crate::engine::time::{Span, Timestamp};
use crate::store::records::Segments;
use crate::store::{Store, StoreError, tidying};

/// After a start, so that it does not compete with the first backfill.
pub const FIRST_AFTER: Span = Span::minutes(5);

/// Between two looks. What is due daily is done daily.
pub const EVERY: Span = Span::hours(1);

/// Merges small pieces of history, forgets what is older than `cutoff`, and takes a snapshot when one is
/// due. Works beside the evaluator: it only holds up commits while the snapshot is written, about a second
/// for 300 000 records.
pub fn run(
    store: &dyn Store,
    segments: &Segments,
    now: Timestamp,
    cutoff: Timestamp,
) -> Result<(), StoreError> {
    let (before, after) = tidying::compact_history(store, cutoff, segments)?;
    let forgotten = tidying::forget_rows(store, cutoff)?;
    let (pieces_before, pieces_after) = tidying::compact_ledger(store)?;
    let snapshot = store.upkeep(now)?;
    tracing::info!(
        store.segments_before = before,
        store.segments_after = after,
        store.rows_forgotten = forgotten,
        store.ledger_before = pieces_before,
        store.ledger_after = pieces_after,
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
        rollup: None,
        suppressed: Vec::new(),
    }
}

/// Looks after the store until cancelled, beside the evaluator.
pub async fn keep_up(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut wait = FIRST_AFTER;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait.to_std().unwrap_or_default()) => {}
        }
        wait = EVERY;
        let now = shared.clock.now();
        let cutoff = now - shared.facts().retention;
        let (store, segments) = {
            let mut pipeline = shared.pipeline();
            pipeline.engine_mut().forget_before(cutoff);
            (Arc::clone(pipeline.store()), pipeline.segments())
        };
        if let Err(error) = blocking(|| run(store.as_ref(), &segments, now, cutoff)) {
            tracing::error!(%error, "upkeep of the store failed; it is tried again in an hour");
        }
    }
}
