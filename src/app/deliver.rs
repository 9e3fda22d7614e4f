//! From the outbox to the receivers: ordering, leases, retries, and giving up aloud.
//!
//! Guarantees: within a conversation deliveries keep their order and one is under way at a time (a lease
//! held in memory: the store's lock makes this process the only deliverer); a row leaves the outbox only in
//! the transaction that records its end; what one receiver cannot be told does not hold up another, and the
//! fallback hears of it after [`FALLBACK_AFTER`], tried by itself or waiting behind what fails. A crash between sending and recording costs at most one repetition for each delivery under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinSet;

use super::digest_picture;
use super::illustrate::{Illustrator, Studio};
use crate::engine::HealthReport;
use crate::engine::notification::{ConversationId, Reason};
use crate::engine::observation::Name;
use crate::engine::subject::SubjectKey;
use crate::engine::time::{Span, Timestamp};
use crate::notify::{Delivery, Handle, Notifier, Outcome};
use crate::store::records::{self, DeliveryOutcome, DeliveryRecord, OutboxRow, Owed};
use crate::store::{Commit, Store, StoreError};

/// Deliveries under way at once for one receiver, over different conversations. Chat platforms limit a
/// channel to about one message a second, so more would only queue there.
const CONCURRENCY: usize = 32;

/// First wait after a failed try; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Span = Span::seconds(2);

/// Longest wait between tries.
const MAX_BACKOFF: Span = Span::minutes(10);

/// Longest wait that a receiver may ask for.
const MAX_WAIT: Span = Span::hours(1);

/// After so long the fallback hears what was missed; tries go on.
pub const FALLBACK_AFTER: Span = Span::minutes(5);

/// After so long a delivery is dead.
pub const DEAD_AFTER: Span = Span::hours(24);

/// Delivers the outbox.
pub struct Deliverer {
    store: Arc<dyn Store>,
    notifiers: BTreeMap<Name, Arc<dyn Notifier>>,
    queues: BTreeMap<Name, Queue>,
    handles: HashMap<ConversationId, Handle>,
    under_way: JoinSet<Tried>,
    /// Ends that the store could not take yet. Nothing new is sent before it has them: sending again what
    /// may have arrived would only repeat it.
    unrecorded: Option<(Commit, Vec<Change>)>,
    /// What was owed to the fallback when the store was opened.
    owed: Vec<Owed>,
    studio: Option<Arc<Studio>>,
}

/// What there is to deliver, as it was stored.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Notifications to be delivered.
    pub outbox: Vec<OutboxRow>,
    /// References to conversations' first messages.
    pub handles: BTreeMap<ConversationId, Handle>,
    /// What the fallback is still to hear of.
    pub owed: Vec<Owed>,
}

/// One receiver's rows.
#[derive(Default)]
struct Queue {
    /// By position. The first row of each conversation is the one that may go.
    rows: BTreeMap<u64, OutboxRow>,
    leased: BTreeSet<u64>,
    conversations: BTreeSet<ConversationId>,
}

/// What a round of deliveries brought, for the engine and for `status`.
#[derive(Debug, Default)]
pub struct Report {
    /// How receivers fared.
    pub health: Vec<HealthReport>,
    /// Deliveries given up, or late for so long that the fallback is to hear of them.
    pub owed: Vec<Owed>,
    /// Settled deliveries.
    pub settled: Vec<DeliveryRecord>,
    /// The store could not record an end; it is tried again before anything else is sent.
    pub store_error: Option<StoreError>,
}

impl Report {
    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        self.health.is_empty()
            && self.owed.is_empty()
            && self.settled.is_empty()
            && self.store_error.is_none()
    }
}

/// One finished try.
struct Tried {
    row: OutboxRow,
    outcome: Outcome,
}

impl Deliverer {
    /// Takes up the outbox as it was stored.
    pub fn new(
        store: Arc<dyn Store>,
        notifiers: BTreeMap<Name, Arc<dyn Notifier>>,
        outgoing: Outgoing,
    ) -> Self {
        let mut deliverer = Self {
            store,
            notifiers,
            queues: BTreeMap::new(),
            handles: outgoing.handles.into_iter().collect(),
            under_way: JoinSet::new(),
            unrecorded: None,
            owed: outgoing.owed,
            studio: None,
        };
        deliverer.enqueue(outgoing.outbox);
        for queue in deliverer.queues.values_mut() {
            queue.doubt();
        }
        deliverer
    }

    /// Has charts go with messages, for the receivers that show them.
    #[must_use]
    pub fn with_illustrator(mut self, illustrator: Arc<dyn Illustrator>) -> Self {
        self.studio = Some(Arc::new(Studio::new(illustrator)));
        self
    }

    /// Replaces the receivers; rows stay.
    pub fn set_notifiers(&mut self, notifiers: BTreeMap<Name, Arc<dyn Notifier>>) {
        self.notifiers = notifiers;
    }

    /// Adds committed rows.
    pub fn enqueue(&mut self, rows: Vec<OutboxRow>) {
        for row in rows {
            let queue = self
                .queues
                .entry(row.notification.receiver.clone())
                .or_default();
            queue.rows.insert(row.sequence, row);
        }
    }

    /// Rows waiting, by receiver.
    pub fn waiting(&self) -> BTreeMap<Name, usize> {
        self.queues
            .iter()
            .map(|(name, queue)| (name.clone(), queue.rows.len()))
            .collect()
    }

    /// When the next row that is not under way is to be tried, or the fallback is to hear of one.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        let tries = self
            .queues
            .values()
            .filter(|queue| queue.leased.len() < CONCURRENCY)
            .flat_map(Queue::first_free)
            .map(OutboxRow::due_at);
        let debts = self
            .queues
            .iter()
            .filter(|(name, _)| self.notifiers.contains_key(*name))
            .flat_map(|(_, queue)| queue.held_up())
            .map(|(row, _)| late_at(row));
        tries.chain(debts).min()
    }

    /// An end could not be recorded: nothing more is sent before it is. [`Self::start_due`] tries again.
    pub fn is_blocked(&self) -> bool {
        self.unrecorded.is_some()
    }

    /// Deliveries are under way.
    pub fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Delivers all that is due, until nothing due is left. `now` is asked again after each try.
    pub async fn deliver_due(&mut self, now: &(dyn Fn() -> Timestamp + Sync)) -> Report {
        let mut report = Report::default();
        loop {
            self.start_due(now(), &mut report);
            if report.store_error.is_some() || !self.is_busy() {
                return report;
            }
            self.finish_some(now, &mut report).await;
        }
    }

    /// Starts what is due and may go, and notes what the fallback is to hear of. Records first what could
    /// not be recorded before.
    pub fn start_due(&mut self, now: Timestamp, report: &mut Report) {
        report.owed.append(&mut self.owed);
        if let Some((commit, changes)) = self.unrecorded.take() {
            self.write(commit, changes, report);
        }
        if self.unrecorded.is_some() {
            return;
        }
        let mut homeless = Vec::new();
        for (name, queue) in &mut self.queues {
            let notifier = self.notifiers.get(name);
            for row in queue.take_due(now) {
                let Some(notifier) = notifier else {
                    homeless.push(row);
                    continue;
                };
                let handle = self.handles.get(&row.notification.conversation).cloned();
                let studio = self.studio.clone();
                self.under_way
                    .spawn(attempt(Arc::clone(notifier), studio, row, handle));
            }
        }
        let tried: Vec<Tried> = homeless.into_iter().map(refuse_homeless).collect();
        if !tried.is_empty() {
            self.record(tried, now, report);
        }
        if self.unrecorded.is_none() {
            self.note_late(now, report);
        }
    }

    /// What has been held up for too long becomes owed to the fallback, in one transaction: also what waits
    /// behind a row that fails, and what fails but is to be tried again only much later.
    fn note_late(&mut self, now: Timestamp, report: &mut Report) {
        let mut commit = Commit::default();
        let mut changes = Vec::new();
        for (name, queue) in &self.queues {
            // What is left of a receiver that is gone is refused, and told of by that.
            if !self.notifiers.contains_key(name) {
                continue;
            }
            let late = queue.held_up().filter(|(row, _)| late_at(row) <= now);
            for (row, why) in late {
                let mut row = row.clone();
                row.is_fallback_told = true;
                records::put_outbox(&mut commit, &row);
                let owed = owed(&row, not_reachable(why), &mut commit);
                let row = Box::new(row);
                changes.push(Change::Late { row, owed });
            }
        }
        if !changes.is_empty() {
            self.write(commit, changes, report);
        }
    }

    /// Waits until a delivery has come to an end and records it, with all others that have. Does nothing
    /// when none is under way. May be cancelled while it waits.
    pub async fn finish_some(&mut self, now: &(dyn Fn() -> Timestamp + Sync), report: &mut Report) {
        let Some(first) = self.under_way.join_next().await else {
            return;
        };
        let mut finished = vec![first];
        while let Some(more) = self.under_way.try_join_next() {
            finished.push(more);
        }
        let tried = finished.into_iter().map(joined).collect();
        self.record(tried, now(), report);
    }

    /// Records finished tries in one transaction, then in memory.
    fn record(&mut self, tried: Vec<Tried>, now: Timestamp, report: &mut Report) {
        let (mut commit, mut changes) = self.unrecorded.take().unwrap_or_default();
        for Tried { row, outcome } in tried {
            changes.push(Self::change(row, outcome, now, &mut commit));
        }
        self.write(commit, changes, report);
    }

    fn write(&mut self, commit: Commit, changes: Vec<Change>, report: &mut Report) {
        match super::blocking(|| self.store.commit(&commit)) {
            Ok(()) => {
                report.store_error = None;
                for change in changes {
                    self.apply(change, report);
                }
            }
            Err(error) => {
                report.store_error = Some(error);
                self.unrecorded = Some((commit, changes));
            }
        }
    }

    /// Decides what a try means, and writes it into the commit.
    fn change(mut row: OutboxRow, outcome: Outcome, now: Timestamp, commit: &mut Commit) -> Change {
        row.attempts += 1;
        let late = now.since(row.notification.decided_at);
        let (end, handle) = match outcome {
            Outcome::Delivered { handle } => (DeliveryOutcome::Delivered, handle),
            Outcome::Rejected { why } => (DeliveryOutcome::Rejected(why), None),
            Outcome::Retry { why, .. } if late >= DEAD_AFTER => {
                let why = format!("given up after {} h: {why}", DEAD_AFTER.num_hours());
                (DeliveryOutcome::Dead(why), None)
            }
            Outcome::Retry {
                after,
                why,
                is_uncertain,
            } => {
                row.next_attempt_at = now
                    + after
                        .unwrap_or_else(|| backoff(row.attempts, row.sequence))
                        .min(MAX_WAIT);
                row.is_uncertain |= is_uncertain;
                row.why = Some(why.clone());
                let owed = (late >= FALLBACK_AFTER && !row.is_fallback_told)
                    .then(|| owed(&row, not_reachable(&why), commit));
                row.is_fallback_told |= owed.is_some();
                records::put_outbox(commit, &row);
                return Change::Later {
                    row: Box::new(row),
                    why,
                    owed,
                    at: now,
                };
            }
        };
        let record = DeliveryRecord::of(&row, end.clone(), now);
        records::settle(commit, &row, handle.as_ref(), &record);
        let owed = match end {
            DeliveryOutcome::Delivered => None,
            DeliveryOutcome::Rejected(why) | DeliveryOutcome::Dead(why) => {
                Some(owed(&row, why, commit))
            }
        };
        Change::Settled {
            row: Box::new(row),
            record: Box::new(record),
            handle,
            owed,
        }
    }

    fn apply(&mut self, change: Change, report: &mut Report) {
        match change {
            Change::Late { row, owed } => {
                report.owed.push(owed);
                if let Some(queue) = self.queues.get_mut(&row.notification.receiver) {
                    queue.rows.insert(row.sequence, *row);
                }
            }
            Change::Later { row, why, owed, at } => {
                let receiver = row.notification.receiver.clone();
                report.owed.extend(owed);
                self.report_health(&receiver, at, Err(why), report);
                if let Some(queue) = self.queues.get_mut(&receiver) {
                    queue.release(&row);
                    queue.rows.insert(row.sequence, *row);
                }
            }
            Change::Settled {
                row,
                record,
                handle,
                owed,
            } => {
                let receiver = row.notification.receiver.clone();
                let conversation = row.notification.conversation;
                if row.notification.is_ending() {
                    self.handles.remove(&conversation);
                } else if let Some(handle) = handle {
                    self.handles.insert(conversation, handle);
                }
                report.owed.extend(owed);
                // What was refused does not make a receiver unreachable: it has answered, nothing is tried
                // again, and the fallback hears of that message. What is dead was reported at each try.
                if record.outcome == DeliveryOutcome::Delivered {
                    self.report_health(&receiver, record.settled_at, Ok(()), report);
                }
                report.settled.push(*record);
                if let Some(queue) = self.queues.get_mut(&receiver) {
                    queue.release(&row);
                    queue.rows.remove(&row.sequence);
                }
            }
        }
    }

    fn report_health(
        &self,
        receiver: &Name,
        at: Timestamp,
        result: Result<(), String>,
        report: &mut Report,
    ) {
        if self.notifiers.contains_key(receiver) {
            let subject = SubjectKey::Receiver(receiver.clone());
            report.health.push(HealthReport {
                subject,
                at,
                result,
            });
        }
    }
}

/// What a try changes, or waiting for too long.
enum Change {
    Late {
        row: Box<OutboxRow>,
        owed: Owed,
    },
    Later {
        row: Box<OutboxRow>,
        why: String,
        owed: Option<Owed>,
        at: Timestamp,
    },
    Settled {
        row: Box<OutboxRow>,
        record: Box<DeliveryRecord>,
        handle: Option<Handle>,
        owed: Option<Owed>,
    },
}

impl Queue {
    /// What may have been under way when the last process ended may have arrived: the first row of a
    /// conversation. What was tried before may have been tried again; the others are due at once and taken in
    /// order, so that of them only the first could be under way.
    fn doubt(&mut self) {
        let mut seen = BTreeSet::new();
        let mut untried = 0;
        for row in self.rows.values_mut() {
            if !seen.insert(row.notification.conversation) {
                continue;
            }
            untried += usize::from(row.attempts == 0);
            row.is_uncertain |= row.attempts > 0 || untried <= CONCURRENCY;
        }
    }

    /// The first row of each conversation that has none under way.
    fn first_free(&self) -> impl Iterator<Item = &OutboxRow> {
        let mut seen = self.conversations.clone();
        self.rows
            .values()
            .filter(move |row| seen.insert(row.notification.conversation))
    }

    /// Leases rows that are due: the first of each conversation, up to the limit.
    fn take_due(&mut self, now: Timestamp) -> Vec<OutboxRow> {
        let mut taken = Vec::new();
        let mut seen = self.conversations.clone();
        for row in self.rows.values() {
            if self.leased.len() + taken.len() >= CONCURRENCY {
                break;
            }
            // A row behind another of its conversation waits, due or not.
            if seen.insert(row.notification.conversation) && row.due_at() <= now {
                taken.push(row.clone());
            }
        }
        for row in &taken {
            self.leased.insert(row.sequence);
            self.conversations.insert(row.notification.conversation);
        }
        taken
    }

    /// Rows that cannot be delivered as things are and that the fallback has not heard of, each with what
    /// went wrong last: they failed, or wait while an earlier row of the receiver fails. A conversation
    /// under way is left out: its try may succeed, and tells by itself if not.
    fn held_up(&self) -> impl Iterator<Item = (&OutboxRow, &str)> {
        let mut failure = None;
        self.rows.values().filter_map(move |row| {
            let is_under_way = self.conversations.contains(&row.notification.conversation);
            failure = row.why.as_deref().or(failure);
            failure
                .filter(|_| !row.is_fallback_told && !is_under_way)
                .map(|why| (row, why))
        })
    }

    fn release(&mut self, row: &OutboxRow) {
        self.leased.remove(&row.sequence);
        self.conversations.remove(&row.notification.conversation);
    }
}

/// When the fallback is to hear of a row that is held up.
fn late_at(row: &OutboxRow) -> Timestamp {
    row.notification.decided_at + FALLBACK_AFTER
}

fn not_reachable(why: &str) -> String {
    let minutes = FALLBACK_AFTER.num_minutes();
    format!("not reachable for {minutes} min: {why}")
}

/// Writes down what the fallback is to hear of.
fn owed(row: &OutboxRow, why: String, commit: &mut Commit) -> Owed {
    let (sequence, notification) = (row.sequence, row.notification.clone());
    let owed = Owed {
        sequence,
        notification,
        why,
    };
    records::put_owed(commit, &owed);
    owed
}

/// Rows of a receiver that is not configured any more.
fn refuse_homeless(row: OutboxRow) -> Tried {
    let name = &row.notification.receiver;
    let why = format!("no receiver is named {name} any more; it was renamed or removed");
    Tried {
        outcome: Outcome::Rejected { why },
        row,
    }
}

/// One try. A notifier that panics refuses its message for good: a poisonous one must not keep Tardy from
/// telling the others.
async fn attempt(
    notifier: Arc<dyn Notifier>,
    studio: Option<Arc<Studio>>,
    row: OutboxRow,
    handle: Option<Handle>,
) -> Tried {
    let mut trying = Box::pin(async {
        let notification = &row.notification;
        let studio = studio.filter(|_| notifier.wants_chart(notification));
        let chart = match studio {
            Some(studio) if notification.reason != Reason::Digest => {
                studio.chart(notification).await
            }
            Some(_) | None => digest_picture::of(notification, &*notifier).await,
        };
        let delivery = Delivery {
            notification,
            handle: handle.as_ref(),
            attempt: row.attempts + 1,
            is_uncertain: row.is_uncertain,
            chart: chart.as_ref(),
        };
        notifier.deliver(delivery).await
    });
    let outcome = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| trying.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let receiver = &row.notification.receiver;
            tracing::error!(receiver.name = %receiver, "a bug: the notifier panicked");
            let why = "a bug of Tardy's keeps this message from being sent; see its log";
            Poll::Ready(Outcome::Rejected {
                why: why.to_owned(),
            })
        })
    })
    .await;
    drop(trying);
    Tried { row, outcome }
}

/// Tries do not panic, and nobody aborts them.
fn joined(tried: Result<Tried, tokio::task::JoinError>) -> Tried {
    tried.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// 2 s, 4 s, 8 s … up to 10 min, spread by up to a quarter so that many rows do not come back together.
fn backoff(attempts: u32, sequence: u64) -> Span {
    let doubled = MIN_BACKOFF * (1 << attempts.saturating_sub(1).min(16));
    let base = doubled.min(MAX_BACKOFF);
    let spread = i32::try_from(sequence.wrapping_mul(2_654_435_761) % 256).unwrap_or(0);
    base + base * spread / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::labels::{Fingerprint, Labels};
    use crate::engine::notification::{Body, Notification};

    fn row(sequence: u64, conversation: u128, attempts: u32) -> OutboxRow {
        let notification = Notification {
            receiver: "team".into(),
            conversation: ConversationId(Fingerprint::from_u128(conversation)),
            sequence: 0,
            reason: Reason::Notice,
            decided_at: Timestamp::from_millis(0),
            group: Labels::default(),
            route: "root".into(),
            body: Body::Notice {
                headline: "Started".into(),
                text: String::new(),
            },
            omitted: 0,
            rollup: None,
            suppressed: Vec::new(),
        };
        OutboxRow {
            sequence,
            notification,
            attempts,
            next_attempt_at: Timestamp::from_millis(0),
            is_uncertain: false,
            is_fallback_told: false,
            why: None,
        }
    }

    #[test]
    fn after_a_stop_only_what_may_have_been_under_way_is_uncertain() {
        let mut queue = Queue::default();
        let mut put = |row: OutboxRow| queue.rows.insert(row.sequence, row);
        // The second of a conversation has waited for the first.
        put(row(1, 1, 0));
        put(row(2, 1, 0));
        // Many that failed and wait for their time hold nothing up.
        (10..60).for_each(|number| {
            put(row(number, u128::from(number), 3));
        });
        (100..200).for_each(|number| {
            put(row(number, u128::from(number), 0));
        });
        queue.doubt();
        let rows = queue.rows.values().filter(|row| row.is_uncertain);
        let uncertain: Vec<u64> = rows.map(|row| row.sequence).collect();
        let expected: Vec<u64> = [1].into_iter().chain(10..60).chain(100..131).collect();
        assert_eq!(uncertain, expected);
        // What a process would start is among it.
        let taken = queue.take_due(Timestamp::from_millis(1));
        assert_eq!(taken.len(), CONCURRENCY);
        assert!(taken.iter().all(|row| row.is_uncertain));
    }

    #[test]
    fn what_was_uncertain_before_a_stop_stays_so() {
        let mut queue = Queue::default();
        let (first, mut second) = (row(1, 1, 0), row(2, 1, 0));
        second.is_uncertain = true;
        queue.rows.extend([(1, first), (2, second)]);
        queue.doubt();
        assert!(queue.rows.values().all(|row| row.is_uncertain));
    }

    #[test]
    fn backoff_grows_and_is_bounded() {
        assert!(backoff(1, 0) >= Span::seconds(2));
        assert!(backoff(1, 7) < Span::seconds(3));
        assert!(backoff(5, 3) >= Span::seconds(32));
        assert!(backoff(60, 9) <= MAX_BACKOFF + MAX_BACKOFF / 4);
    }
}
