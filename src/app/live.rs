//! The running bot: one task for each source, one evaluator, one deliverer, and what they share.
//!
//! Pollers read and send batches; the evaluator alone steps the engine and commits; the deliverer alone
//! sends; upkeep of the store goes on beside them. Channels between them are bounded, so that a slow disk
//! slows polling and never grows memory. A task ends when it is cancelled, or with the error for which the
//! process has to end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::deliver::{Deliverer, Report};
use super::pipeline::{Activation, Incoming, Pipeline};
use super::status::{Notes, ReceiverStatus, Status, StoreStatus, of_engine};
use super::{blocking, upkeep};
use crate::engine::observation::Name;
use crate::engine::policy::Policy;
use crate::engine::schedule::Cron;
use crate::engine::subject::SubjectKey;
use crate::engine::time::{Span, Timestamp};
use crate::engine::{Engine, HealthReport, Notice};
use crate::notify::Notifier;
use crate::source::{Batch, Problem, Source};
use crate::store::StoreError;
use crate::store::records::OutboxRow;

/// What the tasks and the surfaces share.
pub struct Shared {
    pipeline: RwLock<Pipeline>,
    notes: Mutex<Notes>,
    /// What time it is for decisions.
    pub clock: Arc<dyn Clock>,
    facts: Mutex<Facts>,
}

/// What does not change while the bot runs, but for a reload.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Configuration file.
    pub config: String,
    /// The store's folder.
    pub store: String,
    /// Names of sources, and how often they are read.
    pub sources: Vec<(Name, Span)>,
    /// Names and kinds of receivers.
    pub receivers: Vec<(Name, &'static str)>,
    /// When the bot started.
    pub started_at: Timestamp,
    /// How long history is kept.
    pub retention: Span,
    /// Instants at which the evaluator looks around at the latest.
    pub schedule: Cron,
}

/// What wakes the evaluator.
#[derive(Debug)]
pub enum Event {
    /// A poll of a source.
    Polled(Name, Box<Batch>),
    /// Deliveries came to an end.
    Delivered(Report),
    /// Something to say about Tardy itself.
    Say(Notice),
}

/// What a configuration puts in force for the evaluator.
#[derive(Clone)]
pub struct InForce {
    /// Rules and routing.
    pub policy: Arc<Policy>,
    /// Told when the store cannot be written, past the outbox.
    pub alarm: Vec<(Name, Arc<dyn Notifier>)>,
}

/// Batches that wait to be evaluated; more make the pollers wait.
const MAX_WAITING_EVENTS: usize = 8;

/// Events taken into one activation.
const MAX_EVENTS_AT_ONCE: usize = 64;

/// Between two activations for the sake of time.
const MIN_SLEEP: Duration = Duration::from_millis(10);

/// Between two tries to write when the store could not.
const STORE_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How long the alarm about the store may take when the process is about to end.
const ALARM_GRACE: Duration = Duration::from_secs(15);

/// The evaluator looks around at least this often, whatever its schedule says.
const MAX_SLEEP: Duration = Duration::from_secs(3_600);

impl Shared {
    /// Puts together what is shared.
    pub fn new(pipeline: Pipeline, clock: Arc<dyn Clock>, facts: Facts) -> Self {
        Self {
            pipeline: RwLock::new(pipeline),
            notes: Mutex::new(Notes::default()),
            clock,
            facts: Mutex::new(facts),
        }
    }

    /// Looks at the engine.
    pub fn read<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        look(pipeline.engine())
    }

    fn pipeline(&self) -> std::sync::RwLockWriteGuard<'_, Pipeline> {
        self.pipeline
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not change while the bot runs.
    pub fn facts(&self) -> Facts {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes up the facts of a new configuration.
    pub fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Notes why a new configuration was refused, or that one was taken.
    pub fn note_config(&self, refused: Option<String>) {
        self.notes().config_refused = refused;
    }

    /// The state of the whole program.
    pub fn status(&self) -> Status {
        let facts = self.facts();
        let notes = self.notes().clone();
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        let mut status = status_of(&facts, &notes, self.clock.as_ref());
        status.store.size_bytes = pipeline.store().size_bytes().ok();
        of_engine(&mut status, pipeline.engine());
        status
    }
}

fn status_of(facts: &Facts, notes: &Notes, clock: &dyn Clock) -> Status {
    let sources = facts.sources.iter().map(|(name, interval)| {
        let mut status = notes.sources.get(name).cloned().unwrap_or_default();
        status.name = name.to_string();
        status.poll_interval_millis = interval.num_milliseconds();
        status
    });
    let receivers = facts.receivers.iter().map(|(name, kind)| ReceiverStatus {
        name: name.to_string(),
        kind: (*kind).to_owned(),
        waiting: notes.waiting.get(name).copied().unwrap_or(0),
        delivered_at: notes.delivered_at.get(name).copied(),
        given_up: notes.given_up.get(name).copied().unwrap_or(0),
        failing_since: None,
        why: None,
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: Some(std::process::id()),
        started_at: Some(facts.started_at),
        now: clock.now(),
        skew_millis: clock.skew().num_milliseconds(),
        config: facts.config.clone(),
        config_refused: notes.config_refused.clone(),
        sources: sources.collect(),
        receivers: receivers.collect(),
        store: StoreStatus {
            path: facts.store.clone(),
            size_bytes: None,
            blocked: notes.blocked.clone(),
        },
        rules: 0,
        watches: 0,
        firing: 0,
        pending: 0,
        runs: 0,
        executions: 0,
    }
}

/// A channel to the evaluator.
pub fn channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(MAX_WAITING_EVENTS)
}

/// Reads one source until cancelled. `poll_at` says when a verdict waits for news: then it is read at
/// once, and not only when the interval is over.
pub async fn poll<S: Source>(
    mut source: S,
    interval: Duration,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    mut poll_at: watch::Receiver<Option<Timestamp>>,
    cancel: CancellationToken,
    progress: impl Fn(&Batch) + Send,
) {
    let name: Name = source.name().into();
    loop {
        let local = shared.clock.local();
        let batch = tokio::select! {
            () = cancel.cancelled() => return,
            batch = source.poll(local) => batch,
        };
        progress(&batch);
        log_problems(&name, &batch.problems);
        if let Some(skew) = batch.skew {
            shared.clock.correct(skew);
        }
        shared.notes().note_poll(&name, &batch, shared.clock.now());
        let has_more = batch.has_more;
        let polled = Event::Polled(name.clone(), Box::new(batch));
        let is_sent = tokio::select! {
            () = cancel.cancelled() => return,
            sent = events.send(polled) => sent.is_ok(),
        };
        if !is_sent {
            return;
        }
        if !has_more && !rest(interval, shared.clock.as_ref(), &mut poll_at, &cancel).await {
            return;
        }
    }
}

/// A run shows up a little after its instant; asking this much later sees it.
const SETTLE: Span = Span::milliseconds(2_500);

/// Between two polls made for a verdict's sake: this, or a tenth of the interval.
const MIN_POLL_GAP: Duration = Duration::from_secs(1);

/// Rests between two polls; false when cancelled.
async fn rest(
    interval: Duration,
    clock: &dyn Clock,
    poll_at: &mut watch::Receiver<Option<Timestamp>>,
    cancel: &CancellationToken,
) -> bool {
    let begun = Instant::now();
    let gap = MIN_POLL_GAP.max(interval / 10);
    loop {
        let hint = sooner(*poll_at.borrow_and_update(), clock.now());
        let until = hint.map_or(begun + interval, |left| {
            (Instant::now() + left)
                .max(begun + gap)
                .min(begun + interval)
        });
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = tokio::time::sleep_until(until) => return true,
            changed = poll_at.changed() => if changed.is_err() { return false },
        }
    }
}

/// How long until runs can be known up to `at`; `None` when nothing waits, or has waited in vain.
fn sooner(at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = at? + SETTLE - now;
    (left > -SETTLE).then(|| left.to_std().unwrap_or_default())
}

fn log_problems(name: &Name, problems: &[Problem]) {
    for problem in problems {
        let project = problem.project_id.as_deref().unwrap_or("-");
        tracing::warn!(
            source.name = %name,
            source.project = project,
            problem.kind = ?problem.kind,
            "{}",
            problem.message
        );
    }
}

/// Ends of the evaluator's channels.
pub struct Evaluator {
    /// What is shared.
    pub shared: Arc<Shared>,
    /// What wakes it.
    pub events: mpsc::Receiver<Event>,
    /// What the newest configuration puts in force.
    pub in_force: watch::Receiver<InForce>,
    /// To the deliverer.
    pub rows: mpsc::Sender<Vec<OutboxRow>>,
    /// To the pollers.
    pub poll_at: watch::Sender<Option<Timestamp>>,
}

impl Evaluator {
    /// Evaluates until cancelled: on news, at the instants that verdicts named, and on the schedule.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), StoreError> {
        let mut wake_at = Some(self.shared.clock.now());
        loop {
            let sleep = tokio::time::sleep(self.until(wake_at));
            let event = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                changed = self.in_force.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.in_force.mark_changed();
                    None
                }
                event = self.events.recv() => match event {
                    Some(event) => Some(event),
                    None => return Ok(()),
                },
                () = sleep => None,
            };
            let incoming = event.map(|event| self.collect(event)).unwrap_or_default();
            match self.activate(incoming, &cancel).await? {
                Some(next) => wake_at = next,
                None => return Ok(()),
            }
        }
    }

    /// A configuration takes effect before anything that was read under it is judged.
    fn adopt(&mut self) {
        if self.in_force.has_changed().unwrap_or(false) {
            let policy = Arc::clone(&self.in_force.borrow_and_update().policy);
            self.shared.pipeline().engine_mut().set_policy(policy);
        }
    }

    /// How long to sleep: until the wake instant or the next tick of the evaluation schedule.
    fn until(&self, wake_at: Option<Timestamp>) -> Duration {
        let now = self.shared.clock.now();
        let tick = self
            .shared
            .facts()
            .schedule
            .next(chrono_tz::UTC, now)
            .map(|tick| tick.at);
        let at = wake_at.into_iter().chain(tick).min();
        at.map_or(MAX_SLEEP, |at| (at - now).to_std().unwrap_or_default())
            .clamp(MIN_SLEEP, MAX_SLEEP)
    }

    /// Takes everything that has come in by now into one activation.
    fn collect(&mut self, first: Event) -> Incoming {
        let mut incoming = Incoming::default();
        self.take(first, &mut incoming);
        for _ in 1..MAX_EVENTS_AT_ONCE {
            match self.events.try_recv() {
                Ok(event) => self.take(event, &mut incoming),
                Err(_) => break,
            }
        }
        incoming
    }

    fn take(&self, event: Event, incoming: &mut Incoming) {
        match event {
            Event::Polled(name, batch) => {
                if let Some(report) = source_health(&name, &batch, self.shared.clock.now()) {
                    incoming.input.health.push(report);
                }
                incoming.add(*batch);
            }
            Event::Delivered(report) => {
                self.shared.notes().note_deliveries(&report);
                incoming.add_report(report);
            }
            Event::Say(notice) => incoming.input.notices.push(notice),
        }
    }

    /// One activation; waits for the store when it cannot be written. Returns the next wake instant, or
    /// `None` when cancelled.
    async fn activate(
        &mut self,
        incoming: Incoming,
        cancel: &CancellationToken,
    ) -> Result<Option<Option<Timestamp>>, StoreError> {
        self.adopt();
        let now = self.shared.clock.now();
        let activation = match blocking(|| self.shared.pipeline().activate(incoming, now)) {
            Ok(activation) => activation,
            Err(error) => match self.wait_for_store(error, cancel).await? {
                Some(activation) => activation,
                None => return Ok(None),
            },
        };
        self.log(&activation);
        self.shared.notes().note_step(&activation.step);
        self.poll_at.send_replace(activation.step.poll_at);
        if !activation.rows.is_empty() && self.rows.send(activation.rows).await.is_err() {
            return Ok(None);
        }
        Ok(Some(activation.step.wake_at))
    }

    /// The step is taken and cannot be written: nothing of it may be told before it is. Says so, once, and
    /// tries until it works, or until only a new start can help.
    async fn wait_for_store(
        &mut self,
        mut error: StoreError,
        cancel: &CancellationToken,
    ) -> Result<Option<Activation>, StoreError> {
        tracing::error!(%error, "the store cannot be written; nothing is decided or told until it can");
        let mut alarm = self.sound_alarm(&error);
        let mut wait = STORE_WAITS[0];
        loop {
            self.shared.notes().blocked = Some(error.to_string());
            if !error.is_transient() {
                let _ = tokio::time::timeout(ALARM_GRACE, async {
                    while alarm.join_next().await.is_some() {}
                })
                .await;
                return Err(error);
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(None),
                () = tokio::time::sleep(wait) => {}
            }
            match blocking(|| self.shared.pipeline().retry()) {
                Ok(written) => {
                    tracing::info!("the store can be written again");
                    self.shared.notes().blocked = None;
                    // Whoever has not heard the alarm by now need not.
                    alarm.abort_all();
                    return Ok(written);
                }
                Err(again) => error = again,
            }
            wait = (wait * 2).min(STORE_WAITS[1]);
        }
    }

    /// Says past the outbox that the store cannot be written, to all at the same time.
    fn sound_alarm(&self, error: &StoreError) -> JoinSet<()> {
        let mut under_way = JoinSet::new();
        for (name, notifier) in self.in_force.borrow().alarm.clone() {
            let notification = upkeep::alarm(&name, &error.to_string(), self.shared.clock.now());
            under_way.spawn(async move {
                let delivery =
                    crate::notify::Delivery { notification: &notification, handle: None, attempt: 1 };
                let outcome = notifier.deliver(delivery).await;
                tracing::info!(receiver.name = %name, ?outcome, "told that the store cannot be written");
            });
        }
        under_way
    }

    fn log(&self, activation: &Activation) {
        for transition in &activation.step.transitions {
            tracing::info!(
                alert.id = transition.id,
                alert.rule = %transition.rule,
                alert.from = ?transition.from,
                alert.to = ?transition.to,
                alert.at = %transition.at,
                "{}",
                transition.reason
            );
        }
    }
}

/// Looks after the store until cancelled, beside the evaluator.
pub async fn keep_up(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut wait = upkeep::FIRST_AFTER;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait.to_std().unwrap_or(MAX_SLEEP)) => {}
        }
        wait = upkeep::EVERY;
        let now = shared.clock.now();
        let cutoff = now - shared.facts().retention;
        let (store, segments) = {
            let mut pipeline = shared.pipeline();
            pipeline.engine_mut().forget_before(cutoff);
            (Arc::clone(pipeline.store()), pipeline.segments())
        };
        if let Err(error) = blocking(|| upkeep::run(store.as_ref(), &segments, now, cutoff)) {
            tracing::error!(%error, "upkeep of the store failed; it is tried again in an hour");
        }
    }
}

/// How a source fared: a poll that is only one part of a backfill says nothing yet.
pub fn source_health(name: &Name, batch: &Batch, now: Timestamp) -> Option<HealthReport> {
    let blinding = batch
        .problems
        .iter()
        .find(|problem| problem.kind.is_blinding());
    let result = match (batch.is_complete, blinding) {
        (true, _) => Ok(()),
        (false, Some(problem)) => Err(problem.message.clone()),
        (false, None) if batch.has_more => return None,
        (false, None) => Err("the list of runs could not be read completely".to_owned()),
    };
    Some(HealthReport {
        subject: SubjectKey::Source(name.clone()),
        at: now,
        result,
    })
}

/// Ends of the deliverer's channels.
pub struct Deliveries {
    /// What is shared.
    pub shared: Arc<Shared>,
    /// Committed rows, from the evaluator.
    pub rows: mpsc::Receiver<Vec<OutboxRow>>,
    /// The receivers in force.
    pub receivers: watch::Receiver<BTreeMap<Name, Arc<dyn Notifier>>>,
    /// To the evaluator.
    pub events: mpsc::Sender<Event>,
    /// Deliveries under way at the end get so long to come to an end.
    pub grace: Duration,
}

impl Deliveries {
    /// Delivers until cancelled; then lets deliveries under way come to an end.
    pub async fn run(
        mut self,
        mut deliverer: Deliverer,
        cancel: CancellationToken,
    ) -> Result<(), StoreError> {
        let clock = Arc::clone(&self.shared.clock);
        let now = move || clock.now();
        // Reports wait here while the evaluator is busy: waiting for it could hold up the rows it sends.
        let mut unsent = Report::default();
        let mut is_blocked = false;
        loop {
            self.adopt(&mut deliverer);
            deliverer.start_due(now(), &mut unsent);
            self.note_store(unsent.store_error.take(), &mut is_blocked, &deliverer)?;
            self.shared.notes().waiting = deliverer.waiting();
            unsent = offer(unsent, &self.events);
            let wait = until_next(&deliverer, &unsent, now());
            tokio::select! {
                () = cancel.cancelled() => break,
                received = self.rows.recv() => match received {
                    Some(received) => deliverer.enqueue(received),
                    None => break,
                },
                changed = self.receivers.changed() => match changed {
                    Ok(()) => self.receivers.mark_changed(),
                    Err(_) => break,
                },
                () = deliverer.finish_some(&now, &mut unsent), if deliverer.is_busy() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        let drain = async {
            while deliverer.is_busy() {
                deliverer.finish_some(&now, &mut unsent).await;
            }
        };
        if tokio::time::timeout(self.grace, drain).await.is_err() {
            tracing::warn!(
                "some deliveries were under way at the end; they are repeated at the next start"
            );
        }
        Ok(())
    }

    /// New receivers are there before rows for them are.
    fn adopt(&mut self, deliverer: &mut Deliverer) {
        if self.receivers.has_changed().unwrap_or(false) {
            deliverer.set_notifiers(self.receivers.borrow_and_update().clone());
        }
    }

    /// Says once that ends of deliveries cannot be recorded, and once that they can again.
    fn note_store(
        &self,
        error: Option<StoreError>,
        is_blocked: &mut bool,
        deliverer: &Deliverer,
    ) -> Result<(), StoreError> {
        let was_blocked = std::mem::replace(is_blocked, deliverer.is_blocked());
        if let Some(error) = error {
            if !was_blocked {
                tracing::error!(%error, "the end of a delivery cannot be recorded; nothing more is sent before it is");
            }
            self.shared.notes().blocked = Some(error.to_string());
            return if error.is_transient() {
                Ok(())
            } else {
                Err(error)
            };
        }
        if was_blocked && !*is_blocked {
            tracing::info!("ends of deliveries can be recorded again");
            self.shared.notes().blocked = None;
        }
        Ok(())
    }
}

/// Hands a report to the evaluator if it has room; gives it back if not.
fn offer(report: Report, events: &mpsc::Sender<Event>) -> Report {
    if report.is_empty() {
        return report;
    }
    match events.try_send(Event::Delivered(report)) {
        Err(mpsc::error::TrySendError::Full(Event::Delivered(report))) => report,
        Ok(()) | Err(_) => Report::default(),
    }
}

/// Shortest wait for the next row that is due.
const MIN_DELIVERY_WAIT: Duration = Duration::from_millis(50);

/// When something waits for the evaluator, it is offered again so soon.
const OFFER_AGAIN: Duration = Duration::from_millis(200);

fn until_next(deliverer: &Deliverer, unsent: &Report, now: Timestamp) -> Duration {
    if deliverer.is_blocked() {
        return STORE_WAITS[0];
    }
    let next = deliverer.next_attempt_at().map_or(MAX_SLEEP, |at| {
        (at - now)
            .to_std()
            .unwrap_or_default()
            .clamp(MIN_DELIVERY_WAIT, MAX_SLEEP)
    });
    if unsent.is_empty() {
        next
    } else {
        next.min(OFFER_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::clock::ManualClock;

    const INTERVAL: Duration = Duration::from_secs(30);

    /// Rests once with this hint; how long it took.
    async fn rested(hint: Option<Span>) -> Duration {
        let clock = ManualClock::new(Timestamp::from_millis(1_773_273_600_000));
        let (_sender, mut poll_at) = watch::channel(hint.map(|hint| clock.now() + hint));
        let begun = Instant::now();
        assert!(rest(INTERVAL, &clock, &mut poll_at, &CancellationToken::new()).await);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_that_waits_is_asked_for_soon_and_never_in_a_loop() {
        let gap = INTERVAL / 10;
        for (hint, expected) in [
            (None, INTERVAL),
            (Some(Span::seconds(8)), Duration::from_millis(10_500)),
            (Some(Span::zero()), gap),
            (Some(Span::seconds(-4)), gap),
            (Some(Span::seconds(-6)), INTERVAL),
            (Some(Span::hours(2)), INTERVAL),
        ] {
            let took = rested(hint).await;
            assert!(
                took >= expected && took < expected + Duration::from_millis(50),
                "{hint:?}: {took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hints_that_keep_coming_do_not_prolong_a_rest() {
        let clock = ManualClock::new(Timestamp::from_millis(1_773_273_600_000));
        let (sender, mut poll_at) = watch::channel(None);
        let cancel = CancellationToken::new();
        let begun = Instant::now();
        let hints = async {
            loop {
                sender.send_replace(Some(clock.now() - Span::seconds(1)));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            is_on = rest(INTERVAL, &clock, &mut poll_at, &cancel) => assert!(is_on),
            () = hints => {}
        }
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
        cancel.cancel();
        assert!(
            !rest(INTERVAL, &clock, &mut poll_at, &cancel).await,
            "cancelled"
        );
    }
}
