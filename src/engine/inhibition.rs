//! Which firing alerts keep others quiet.

use std::collections::HashMap;

use super::alert::{Alert, AlertState};
use super::labels::{Fingerprint, Labels};
use super::route::Inhibition;

/// Firing alerts that match an inhibition's source, by the values of its equal labels. Built once a
/// step, so that asking costs the number of inhibitions and not of alerts.
#[derive(Debug)]
pub(super) struct Inhibitors<'a> {
    inhibitions: &'a [Inhibition],
    sources: Vec<HashMap<Labels, Vec<(Fingerprint, String)>>>,
}

impl<'a> Inhibitors<'a> {
    pub(super) fn new<'b>(
        inhibitions: &'a [Inhibition],
        alerts: &(impl Iterator<Item = &'b Alert> + Clone),
    ) -> Self {
        let sources = inhibitions
            .iter()
            .map(|inhibition| {
                let mut sources: HashMap<Labels, Vec<(Fingerprint, String)>> = HashMap::new();
                let firing = alerts
                    .clone()
                    .filter(|alert| alert.state == AlertState::Firing);
                for alert in firing {
                    if inhibition
                        .source
                        .iter()
                        .all(|matcher| matcher.is_match(&alert.labels))
                    {
                        let group = sources
                            .entry(alert.labels.project(&inhibition.equal))
                            .or_default();
                        // Two are enough to find one that is not the target itself.
                        if group.len() < 2 {
                            group.push((alert.fingerprint, alert.id()));
                        }
                    }
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
            .find_map(|(inhibition, sources)| {
                if !inhibition
                    .target
                    .iter()
                    .all(|matcher| matcher.is_match(&alert.labels))
                {
                    return None;
                }
                let group = sources.get(&alert.labels.project(&inhibition.equal))?;
                group
                    .iter()
                    .find(|(fingerprint, _)| *fingerprint != alert.fingerprint)
                    .map(|(_, id)| id.as_str())
            })
    }
}
