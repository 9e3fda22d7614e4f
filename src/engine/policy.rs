//! Everything configuration tells the engine. Swapped whole by a reload; runtime state stays.

use chrono_tz::Tz;

use super::observation::Name;
use super::route::{Inhibition, Owner, Route};
use super::rule::Rule;

/// Rules and how their alerts are routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Enabled rules, in configuration order; names are unique.
    pub rules: Vec<Rule>,
    /// The routing tree.
    pub route: Route,
    /// Told what a receiver could not be told.
    pub fallback: Vec<Name>,
    /// Alerts that keep others quiet.
    pub inhibitions: Vec<Inhibition>,
    /// Whom to mention.
    pub owners: Vec<Owner>,
    /// Sources, with the zone in which their scheduler reads cron expressions.
    pub sources: Vec<SourcePolicy>,
    /// Zone of rendered times.
    pub zone: Tz,
}

/// What the engine knows of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePolicy {
    /// Configured name.
    pub name: Name,
    /// Zone of the scheduler.
    pub schedule_zone: Tz,
    /// `{project_id}` and `{run_id}` are filled in; `None`: no links.
    pub run_url: Option<String>,
}

impl Policy {
    /// No rules, and a root route that tells `receivers`; for tests and tools.
    pub fn empty(receivers: Vec<Name>) -> Self {
        Self {
            rules: Vec::new(),
            route: Route::root(receivers),
            fallback: Vec::new(),
            inhibitions: Vec::new(),
            owners: Vec::new(),
            sources: Vec::new(),
            zone: Tz::UTC,
        }
    }
}
