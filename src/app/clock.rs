//! The only reader of wall time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;

use crate::engine::time::{Span, Timestamp};

/// What time it is for decisions.
pub trait Clock: Send + Sync {
    /// Local time.
    fn local(&self) -> Timestamp;

    /// Server time: local time corrected by the skew last measured.
    fn now(&self) -> Timestamp;

    /// Takes in a measured difference, server minus local.
    fn correct(&self, skew: Span);

    /// The correction in force.
    fn skew(&self) -> Span;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock {
    skew_millis: AtomicI64,
}

/// Below this a difference is network delay and rounding of the `Date` header, not skew.
const MIN_SKEW: Span = Span::milliseconds(1_500);

impl Clock for SystemClock {
    // The one place where wall time is read.
    #[allow(clippy::disallowed_methods)]
    fn local(&self) -> Timestamp {
        Utc::now().into()
    }

    fn now(&self) -> Timestamp {
        self.local() + self.skew()
    }

    fn correct(&self, skew: Span) {
        let millis = if skew.abs() < MIN_SKEW {
            0
        } else {
            skew.num_milliseconds()
        };
        self.skew_millis.store(millis, Ordering::Relaxed);
    }

    fn skew(&self) -> Span {
        Span::milliseconds(self.skew_millis.load(Ordering::Relaxed))
    }
}

/// A clock that stands still until it is set; clones share the time. For demonstrations and tests.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Starts at an instant.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_millis())))
    }

    /// Moves to an instant.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn local(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn now(&self) -> Timestamp {
        self.local()
    }

    fn correct(&self, _skew: Span) {}

    fn skew(&self) -> Span {
        Span::zero()
    }
}
