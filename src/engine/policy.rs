//! Everything configuration tells the engine. Swapped whole by a reload; runtime state stays.

use chrono_tz::Tz;

use super::digest::DigestPolicy;
use super::labels::Labels;
use super::observation::Name;
use super::route::{Inhibition, Owner, Route};
use super::rule::Rule;
use super::subject::SubjectKey;

/// Rules and how their alerts are routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Enabled rules, in configuration order; names are unique.
    pub rules: Vec<Rule>,
    /// Rules that are written and not judged.
    pub disabled: Vec<DisabledRule>,
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
    /// Periodic summaries; names are unique.
    pub digests: Vec<DigestPolicy>,
    /// Zone of rendered times.
    pub zone: Tz,
}

/// A rule that is written and not judged, for those who ask why it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisabledRule {
    /// Its name.
    pub name: Name,
    /// Where it was written, `rules/finance.toml:12`.
    pub origin: String,
    /// Why it is not judged, in words.
    pub why: &'static str,
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
    /// A source is configured. A policy without any, as in tests and tools, takes all.
    pub fn has_source(&self, name: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|source| &*source.name == name)
    }

    /// Some route, the fallback, a rule or a digest tells a receiver.
    pub fn has_receiver(&self, name: &str) -> bool {
        let is_named = |names: &[Name]| names.iter().any(|known| &**known == name);
        let of_rules = self
            .rules
            .iter()
            .filter_map(|rule| rule.receivers.as_deref());
        let mut of_digests = self
            .digests
            .iter()
            .map(|digest| digest.receivers.as_slice());
        self.route.tells(name)
            || is_named(&self.fallback)
            || of_rules.into_iter().any(is_named)
            || of_digests.any(is_named)
    }

    /// Whose an alert with these labels is: the owner of its model before that of its job before that of its
    /// project; an exact name before a glob, a longer glob before a shorter one; the first that is written
    /// when several fit as well.
    pub fn owner_of(&self, labels: &Labels) -> Option<&Owner> {
        let fits = self.owners.iter().rev().filter_map(|owner| {
            let fit = owner.fit(labels)?;
            Some((fit, owner))
        });
        // Of equal ones the last of an iterator counts.
        fits.max_by_key(|(fit, _)| *fit).map(|(_, owner)| owner)
    }

    /// The source or receiver that a subject is, or lies in, is part of the policy.
    pub fn is_served(&self, subject: &SubjectKey) -> bool {
        match subject {
            SubjectKey::Source(name) => self.has_source(name),
            SubjectKey::Receiver(name) => self.has_receiver(name),
            SubjectKey::Objective(name) => self.rules.iter().any(|rule| rule.name == *name),
            SubjectKey::Project(project)
            | SubjectKey::Job(project, _)
            | SubjectKey::Model(project, _, _) => self.has_source(&project.source),
        }
    }

    /// The node of a rule with receivers of its own: as the root, without what is below it.
    pub fn rule_route(&self, rule: &str, receivers: Vec<Name>) -> Route {
        Route {
            path: format!("rule:{rule}").into(),
            receivers,
            children: Vec::new(),
            ..self.route.clone()
        }
    }

    /// No rules, and a root route that tells `receivers`; for tests and tools.
    pub fn empty(receivers: Vec<Name>) -> Self {
        Self {
            rules: Vec::new(),
            disabled: Vec::new(),
            route: Route::root(receivers),
            fallback: Vec::new(),
            inhibitions: Vec::new(),
            owners: Vec::new(),
            sources: Vec::new(),
            digests: Vec::new(),
            zone: Tz::UTC,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_configured_any_more_is_not_served() {
        let mut policy = Policy::empty(vec!["team".into()]);
        policy
            .route
            .children
            .push(Route::root(vec!["pager".into()]));
        policy.fallback = vec!["leads".into()];
        let receiver = |name: &str| SubjectKey::Receiver(name.into());
        for name in ["team", "pager", "leads"] {
            assert!(policy.is_served(&receiver(name)), "{name}");
        }
        assert!(!policy.is_served(&receiver("gone")));
        assert!(
            policy.is_served(&SubjectKey::Source("any".into())),
            "no source is named"
        );
        policy.sources.push(SourcePolicy {
            name: "acme".into(),
            schedule_zone: Tz::UTC,
            run_url: None,
        });
        assert!(policy.is_served(&SubjectKey::Source("acme".into())));
        assert!(!policy.is_served(&SubjectKey::Source("renamed".into())));
    }
}
