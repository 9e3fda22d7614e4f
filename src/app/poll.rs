//! Reads one source, again and again: at its interval, and sooner when a verdict waits for news.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::live::{Event, Shared};
use crate::engine::HealthReport;
use crate::engine::observation::Name;
use crate::engine::subject::SubjectKey;
use crate::engine::time::{Span, Timestamp};
use crate::source::{Batch, Problem, Source};

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
