//! source_unreachable

use super::super::time::Span;

/// No complete poll for `max`, or a receiver failing for `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUnreachable {
    /// Longest blindness; default 5 min.
    pub max: Span,
}
