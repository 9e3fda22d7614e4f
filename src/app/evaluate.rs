//! The evaluator: alone steps the engine and commits, on news, at the instants that verdicts named, and on
//! the schedule. Nothing is told before it is committed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::live::{Event, STORE_WAITS, Shared};
use super::pipeline::{Activation, Incoming};
use super::poll::source_health;
use super::{blocking, upkeep};
use crate::engine::acting::Acted;
use crate::engine::observation::Name;
use crate::engine::policy::Policy;
use crate::engine::time::Timestamp;
use crate::notify::Notifier;
use crate::store::StoreError;
use crate::store::records::OutboxRow;

/// What a configuration puts in force for the evaluator.
#[derive(Clone)]
pub struct InForce {
    /// Rules and routing.
    pub policy: Arc<Policy>,
    /// Told when the store cannot be written, past the outbox.
    pub alarm: Vec<(Name, Arc<dyn Notifier>)>,
}

/// Events taken into one activation.
const MAX_EVENTS_AT_ONCE: usize = 64;

/// Between two activations for the sake of time.
const MIN_SLEEP: Duration = Duration::from_millis(10);

/// The evaluator looks around at least this often, whatever its schedule says.
const MAX_SLEEP: Duration = Duration::from_hours(1);

/// How long the alarm about the store may take when the process is about to end.
const ALARM_GRACE: Duration = Duration::from_secs(15);

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
    /// Those who wait for what comes of their acts, in the order of the acts.
    pub waiting: Vec<oneshot::Sender<Acted>>,
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

    fn take(&mut self, event: Event, incoming: &mut Incoming) {
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
            Event::Act(act, waiting) => {
                incoming.input.acts.push(act);
                self.waiting.push(waiting);
            }
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
        log(&activation);
        // A step that leaves some to be judged answers nobody: they wait for the one that completes it.
        let acts = &activation.step.acts;
        let answered = acts.len().min(self.waiting.len());
        for (waiting, acted) in self.waiting.drain(..answered).zip(acts) {
            // Whoever asked may have gone: it is done all the same.
            let _ = waiting.send(acted.clone());
        }
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
                    crate::notify::Delivery { notification: &notification, handle: None, attempt: 1, is_uncertain: false, chart: None };
                let outcome = notifier.deliver(delivery).await;
                tracing::info!(receiver.name = %name, ?outcome, "told that the store cannot be written");
            });
        }
        under_way
    }
}

fn log(activation: &Activation) {
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
    for acted in &activation.step.acts {
        tracing::info!(
            act.by = %acted.act.by,
            act.what = ?acted.act.what,
            act.outcome = ?acted.outcome,
            "somebody acted"
        );
    }
}
