//! Runs the deliverer: hands it committed rows and new receivers, waits for what is due, and passes on what
//! came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::deliver::{Deliverer, Report};
use super::live::{Event, STORE_WAITS, Shared};
use crate::engine::observation::Name;
use crate::engine::time::Timestamp;
use crate::notify::Notifier;
use crate::store::StoreError;
use crate::store::records::OutboxRow;

/// The deliverer looks around at least this often.
const MAX_SLEEP: Duration = Duration::from_hours(1);

/// Ends of the deliverer's channels.
pub struct Dispatcher {
    /// What is shared.
    pub shared: Arc<Shared>,
    /// Committed rows, from the evaluator.
    pub rows: mpsc::Receiver<Vec<OutboxRow>>,
    /// The receivers in force.
    pub receivers: watch::Receiver<BTreeMap<Name, Arc<dyn Notifier>>>,
    /// To the evaluator.
    pub events: mpsc::Sender<Event>,
    /// Dispatcher under way at the end get so long to come to an end.
    pub grace: Duration,
}

impl Dispatcher {
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
