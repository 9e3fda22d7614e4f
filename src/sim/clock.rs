//! The simulator's virtual time.
//!
//! It stands still until somebody moves it; the application may drive it at any speed. It never
//! reads the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::engine::time::{Span, Timestamp};

/// A virtual clock. Clones share the same time.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<AtomicI64>);

impl SimClock {
    /// A clock that stands at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_millis())))
    }

    /// The virtual instant.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// Moves the clock to `at`, forwards or backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_millis(), Ordering::SeqCst);
    }

    /// Moves the clock on by `span` and returns the new instant.
    pub fn advance(&self, span: Span) -> Timestamp {
        let step = span.num_milliseconds();
        Timestamp::from_millis(
            self.0
                .fetch_add(step, Ordering::SeqCst)
                .saturating_add(step),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time() {
        let clock = SimClock::new(Timestamp::from_millis(1_000));
        let other = clock.clone();
        assert_eq!(
            other.advance(Span::seconds(2)),
            Timestamp::from_millis(3_000)
        );
        assert_eq!(clock.now(), Timestamp::from_millis(3_000));
        clock.set(Timestamp::from_millis(5));
        assert_eq!(other.now(), Timestamp::from_millis(5));
    }
}
