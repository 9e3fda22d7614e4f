//! Which environments are protected: one list for the whole organization.
//!
//! Read once in a survey, and reported when it differs from what was reported before. Reading it needs the
//! permission `manage_secrets`, which a token may lack; nothing else depends on it, so no trouble with it
//! makes a poll incomplete: it is said once, and asked again later. An empty list is believed the second
//! time only.

use std::collections::BTreeMap;

use super::client::{FetchError, Target};
use super::expected::Emptiness;
use super::feature::Feature;
use super::poll::Round;
use super::rows::ProtectionRow;
use crate::engine::observation::{Name, Observation, Protection};
use crate::engine::time::Span;
use crate::source::ProblemKind;

/// The list between two polls.
#[derive(Debug)]
pub(super) struct Protections {
    feature: Feature,
    emptiness: Emptiness,
    reported: Option<Vec<Protection>>,
}

impl Default for Protections {
    fn default() -> Self {
        let mut emptiness = Emptiness::default();
        // What it held before this start is not known.
        emptiness.expect_rows();
        Self {
            feature: Feature::default(),
            emptiness,
            reported: None,
        }
    }
}

/// After trouble that may pass the list is asked for again this much later.
const SHORT_REST: Span = Span::minutes(5);
/// What is said of trouble with the list, for people.
const WHAT: &str = "environment protections";

impl Protections {
    /// The poll did not get out: reports the list again.
    pub(super) fn rewind(&mut self) {
        self.reported = None;
    }

    /// Reads the list, if it is served.
    pub(super) async fn read(&mut self, round: &mut Round<'_>) {
        if self.feature.is_off(round.now) {
            return;
        }
        match self.read_list(round).await {
            Ok(()) => {
                self.feature.prove();
                let notes = &mut round.memory.notes;
                notes.forget(ProblemKind::FeatureOff, None, WHAT);
            }
            Err(error) => self.fail(&error, round),
        }
    }

    fn fail(&mut self, error: &FetchError, round: &mut Round<'_>) {
        match error.kind() {
            ProblemKind::Unauthorized | ProblemKind::RateLimited => round.fail(None, error),
            ProblemKind::Forbidden => {
                let what = format!(
                    "{WHAT} (rules of kind protection_off are silent; the token needs the permission manage_secrets)"
                );
                self.feature.turn_off(round, None, &what, error);
            }
            kind if error.is_passing()
                || (self.feature.is_proven && kind == ProblemKind::BadBody) =>
            {
                self.feature.rest_until(round.now + SHORT_REST);
                let notes = &mut round.memory.notes;
                notes.add_once(ProblemKind::FeatureOff, None, WHAT, || {
                    format!("{WHAT} cannot be read (asked again every 5 minutes): {error}")
                });
            }
            _ => self.feature.turn_off(round, None, WHAT, error),
        }
    }

    async fn read_list(&mut self, round: &mut Round<'_>) -> Result<(), FetchError> {
        let target = Target::new(&["environment-protections"]);
        let mut seen: BTreeMap<Name, bool> = BTreeMap::new();
        let bad_rows = round
            .short_list(&target, |body, memory| {
                memory.page::<ProtectionRow<'_>>((&target, None), body, |row, memory| {
                    let protection = row.observe(&mut memory.names)?;
                    let name = protection.environment;
                    *seen.entry(name.clone()).or_default() |= protection.is_enabled;
                    Ok(name)
                })
            })
            .await?;
        if bad_rows > 0 {
            // The unreadable row may be an environment that is known.
            for held in self.reported.iter().flatten() {
                seen.entry(held.environment.clone())
                    .or_insert(held.is_enabled);
            }
        } else if self.emptiness.doubts(seen.is_empty()) {
            return Ok(());
        }
        let list = seen
            .into_iter()
            .map(|(environment, is_enabled)| Protection {
                environment,
                is_enabled,
            });
        let list: Vec<Protection> = list.collect();
        if self.reported.as_ref() != Some(&list) {
            let source = round.settings.name.clone();
            let observation = Observation::Protections(source, list.clone());
            round.batch.observations.push(observation);
            self.reported = Some(list);
        }
        Ok(())
    }
}
