//! staleness and model_staleness

use super::super::time::Span;

/// Age of the newest success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// Oldest allowed.
    pub max_age: Span,
    /// Early warning; below `max_age`.
    pub warn_age: Option<Span>,
}
