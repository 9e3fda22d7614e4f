//! Which firing alerts keep others quiet.
//!
//! Guarantees: an alert that is both source and target of an inhibition is kept quiet only by alerts that are
//! its source alone, so that no two alerts keep each other quiet by it.

use std::collections::HashMap;

use super::alert::{Alert, AlertState};
use super::labels::{Labels, Matcher};
use super::route::Inhibition;

/// Firing alerts that match an inhibition's source, by the values of its equal labels. Built once a
/// step, so that asking costs the number of inhibitions and not of alerts.
#[derive(Debug)]
pub(super) struct Inhibitors<'a> {
    inhibitions: &'a [Inhibition],
    sources: Vec<HashMap<Labels, Sources>>,
}

/// Short ids of firing alerts that match the source; one of each sort is enough.
#[derive(Debug, Default)]
struct Sources {
    /// Matches the source only: keeps every target quiet.
    only: Option<String>,
    /// Matches the target as well: keeps no alert of its own sort quiet, or two would keep each other, and
    /// each itself, quiet, and nobody would hear of either.
    both: Option<String>,
}

fn is_match(matchers: &[Matcher], alert: &Alert) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.is_match(&alert.labels))
}

impl Sources {
    fn note(&mut self, inhibition: &Inhibition, alert: &Alert) {
        let slot = if is_match(&inhibition.target, alert) {
            &mut self.both
        } else {
            &mut self.only
        };
        slot.get_or_insert_with(|| alert.id());
    }
}

impl<'a> Inhibitors<'a> {
    pub(super) fn new<'b>(
        inhibitions: &'a [Inhibition],
        alerts: &(impl Iterator<Item = &'b Alert> + Clone),
    ) -> Self {
        let sources = inhibitions
            .iter()
            .map(|inhibition| {
                let mut sources: HashMap<Labels, Sources> = HashMap::new();
                let firing = alerts
                    .clone()
                    .filter(|alert| alert.state == AlertState::Firing)
                    .filter(|alert| is_match(&inhibition.source, alert));
                for alert in firing {
                    let values = alert.labels.project(&inhibition.equal);
                    sources.entry(values).or_default().note(inhibition, alert);
                }
                sources
            })
            .collect();
        Self {
            inhibitions,
            sources,
        }
    }

    /// The short id of a firing alert that keeps `alert` quiet.
    pub(super) fn find(&self, alert: &Alert) -> Option<&str> {
        self.inhibitions
            .iter()
            .zip(&self.sources)
            .filter(|(inhibition, _)| is_match(&inhibition.target, alert))
            .find_map(|(inhibition, sources)| {
                let found = sources.get(&alert.labels.project(&inhibition.equal))?;
                let of_both = found
                    .both
                    .as_deref()
                    .filter(|_| !is_match(&inhibition.source, alert));
                found.only.as_deref().or(of_both)
            })
    }
}
