//! Endpoints that may not be served: rested for a while, and said once.

use super::client::FetchError;
use super::poll::Round;
use crate::engine::observation::Name;
use crate::engine::time::{Span, Timestamp};
use crate::source::ProblemKind;

/// An endpoint that is not served is asked again after this long.
pub(super) const FEATURE_REST: Span = Span::hours(1);

/// An endpoint that may not be served.
#[derive(Debug, Default)]
pub(super) struct Feature {
    pub(super) is_proven: bool,
    off_until: Option<Timestamp>,
}

impl Feature {
    pub(super) fn is_off(&self, now: Timestamp) -> bool {
        self.off_until.is_some_and(|until| now < until)
    }

    /// Does not ask before an instant.
    pub(super) fn rest_until(&mut self, until: Timestamp) {
        self.off_until = Some(until);
    }

    pub(super) fn prove(&mut self) {
        *self = Self {
            is_proven: true,
            off_until: None,
        };
    }

    /// Rests the endpoint, and says so once.
    pub(super) fn turn_off(
        &mut self,
        round: &mut Round<'_>,
        project_id: Option<&Name>,
        what: &str,
        error: &FetchError,
    ) {
        self.off_until = Some(round.now + FEATURE_REST);
        round
            .memory
            .notes
            .add_once(ProblemKind::FeatureOff, project_id, what, || {
                format!("{what} are not read (asked again every hour): {error}")
            });
    }
}
