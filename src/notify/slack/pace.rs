//! How fast messages may follow each other in one channel.
//!
//! Role: Slack takes about one message a second in a channel, and short bursts. A message takes its turn here
//! before it is sent, so that Slack need not refuse it. Guarantees: turns are taken in order; a turn that comes
//! too late is not taken at all. It knows nothing of what Slack itself says: `Retry-After` is the client's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pace of one channel: `spacing` between messages, after a burst of `burst`.
#[derive(Debug)]
pub(super) struct Pace {
    spacing: Duration,
    burst: u32,
    /// When the channel would be idle again if every message took `spacing`.
    idle_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(spacing: Duration, burst: u32) -> Self {
        Self {
            spacing,
            burst,
            idle_at: Mutex::new(None),
        }
    }

    /// Waits for the next turn. `Err`: it would come after `latest`, in this time, and is not taken.
    pub(super) async fn turn(&self, latest: Instant) -> Result<(), Duration> {
        let at = self.take(Instant::now(), latest)?;
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    fn take(&self, now: Instant, latest: Instant) -> Result<Instant, Duration> {
        let mut idle_at = self.idle_at.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle_at.unwrap_or(now).max(now);
        let ahead = self.spacing * self.burst.saturating_sub(1);
        let at = idle.checked_sub(ahead).map_or(now, |at| at.max(now));
        if at > latest {
            return Err(at.saturating_duration_since(now));
        }
        *idle_at = Some(idle + self.spacing);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_messages_are_a_second_apart() {
        let pace = Pace::new(SECOND, 3);
        let began = Instant::now();
        let mut at = Vec::new();
        for _ in 0..6 {
            pace.turn(began + 60 * SECOND).await.unwrap();
            at.push(began.elapsed().as_secs());
        }
        assert_eq!(at, [0, 0, 0, 1, 2, 3]);
        tokio::time::advance(2 * SECOND).await;
        let rested = Instant::now();
        pace.turn(rested + SECOND).await.unwrap();
        pace.turn(rested + SECOND).await.unwrap();
        assert_eq!(rested.elapsed(), Duration::ZERO, "two seconds allow two");
        pace.turn(rested + SECOND).await.unwrap();
        assert_eq!(rested.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_not_taken() {
        let pace = Pace::new(SECOND, 1);
        let began = Instant::now();
        pace.turn(began).await.unwrap();
        for _ in 0..3 {
            assert_eq!(pace.turn(began + SECOND / 2).await, Err(SECOND));
        }
        pace.turn(began + SECOND).await.unwrap();
        assert_eq!(began.elapsed(), SECOND, "those that gave up hold nobody up");
    }
}
