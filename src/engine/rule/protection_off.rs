//! # protection_off
//!
//! ## What it tells
//! An environment that was protected is not any more: its protection was switched off, or is not listed
//! any longer. And an environment whose protection is listed as off when Tardy first sees it.
//!
//! ## When to use
//! For `prod`, and wherever a change must not go in without a second pair of eyes. Switching a protection
//! off for a moment is easily forgotten.
//!
//! ## Keys
//! None of its own. `environment` selects the environments (all when left out). The rule judges each source
//! as a whole; an environment's protection holds for all projects.
//!
//! ## No data
//! Reading protections needs a token whose owner may `manage_secrets`. Without it dagctl refuses the list,
//! the rule stays silent, and `tardy status` says so once. While the list cannot be read nothing is told and
//! nothing ends. A list that held something and comes back empty is believed the second time only.
//!
//! ## Resolve
//! When the environment is protected again. The alert expires when the rule does not select the environment
//! any more: that is how to accept that a protection is gone for good.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::observation::{Name, Protection};
use super::super::time::Timestamp;
use super::context::{Judgement, expired, resolved};
use super::survey::Survey;

/// A protected environment lost its protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionOff;

impl ProtectionOff {
    /// Judges a source.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        let mut judgement = Judgement::start(survey.memory);
        let wanted = &survey.rule.selectors.environment;
        judgement.memory.names.retain(|name| wanted.is_match(name));
        let list = survey
            .source()
            .and_then(|source| survey.history.protections(source));
        for protection in list.into_iter().flatten() {
            if wanted.is_match(&protection.environment) {
                judge_listed(survey, protection, &mut judgement);
            }
        }
        if let Some(list) = list {
            let is_listed = |name: &Name| list.iter().any(|known| known.environment == *name);
            for name in survey
                .memory
                .names
                .iter()
                .filter(|name| wanted.is_match(name))
            {
                if !is_listed(name) {
                    let why = "is not listed as protected any more";
                    judgement.find_occurrence(
                        occurrence(name),
                        began_at(survey, name).unwrap_or(survey.now),
                        Verdict::Breach(evidence(survey, name, why)),
                    );
                }
            }
        }
        for alert in survey.open.iter().filter(|alert| alert.is_open()) {
            let name = alert.identity.get("environment");
            if !wanted.is_match(name) {
                let headline = format!("Closed: the environment {name} is not watched any more");
                judgement.find_occurrence(occurrence(name), survey.now, expired(headline));
            }
        }
        judgement
    }
}

fn judge_listed(survey: &Survey<'_>, protection: &Protection, judgement: &mut Judgement) {
    let name = &protection.environment;
    let is_known = !judgement.memory.names.insert(name.clone());
    let open_since = began_at(survey, name);
    if !protection.is_enabled {
        // Off at first sight is so already, since nobody knows when.
        let at = match open_since {
            Some(at) => at,
            None if is_known => survey.now,
            None => survey.memory.watching_since,
        };
        let evidence = evidence(survey, name, "is not protected");
        judgement.find_occurrence(occurrence(name), at, Verdict::Breach(evidence));
    } else if open_since.is_some() {
        let headline = format!(
            "Protected again: the environment {name} of {}",
            title(survey)
        );
        judgement.find_occurrence(occurrence(name), survey.now, resolved(headline, Vec::new()));
    }
}

fn occurrence(environment: &str) -> Labels {
    Labels::default().with("environment", environment)
}

/// When the open alert of an environment began.
fn began_at(survey: &Survey<'_>, environment: &str) -> Option<Timestamp> {
    let is_its =
        |alert: &&Alert| alert.is_open() && alert.identity.get("environment") == environment;
    survey.open.iter().find(is_its).map(|alert| alert.began_at)
}

fn title(survey: &Survey<'_>) -> String {
    survey
        .source()
        .map_or(String::new(), |name| format!("source {name}"))
}

fn evidence(survey: &Survey<'_>, environment: &str, why: &str) -> Evidence {
    Evidence {
        headline: format!(
            "Unprotected: the environment {environment} of {} {why}",
            title(survey)
        ),
        facts: vec![
            Fact::new("Environment", environment),
            Fact::new("Projects that deploy there", projects(survey, environment)),
        ],
        ..Evidence::default()
    }
}

/// Names of the projects that deploy to an environment, as far as they say so.
fn projects(survey: &Survey<'_>, environment: &str) -> String {
    let there = survey.projects().filter(|project| {
        let info = project.info.as_ref();
        info.is_some_and(|info| info.environment.as_deref() == Some(environment))
    });
    let names: Vec<&str> = there.map(|project| &**project.display_name()).collect();
    match names.len() {
        0 => "none known".into(),
        count if count > MAX_NAMED => {
            format!(
                "{} and {} more",
                names[..MAX_NAMED].join(", "),
                count - MAX_NAMED
            )
        }
        _ => names.join(", "),
    }
}

/// Projects named in a message; the rest is counted.
const MAX_NAMED: usize = 10;

#[cfg(test)]
mod tests {
    use super::super::super::labels::Patterns;
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn case() -> Case {
        Case::new(RuleKind::ProtectionOff(ProtectionOff)).source()
    }

    #[test]
    fn an_environment_loses_its_protection() {
        let on = || case().protections(&["prod on", "test on"]).after("06:00");
        for (name, case, expected) in [
            ("never read", case(), ""),
            ("protected", on(), ""),
            ("nothing is protected", case().protections(&[]), ""),
            (
                "switched off",
                on().protections(&["prod off", "test on"]),
                "07:00 breach Unprotected: the environment prod of source prod is not protected",
            ),
            (
                "not listed",
                on().protections(&["prod on"]),
                "07:00 breach Unprotected: the environment test of source prod \
                 is not listed as protected any more",
            ),
            (
                "off at first sight, which is since watching began",
                case().protections(&["prod off"]),
                "00:00 breach Unprotected: the environment prod of source prod is not protected",
            ),
        ] {
            assert_eq!(case.judge("07:00").join("; "), expected, "{name}");
        }
        let mut some = on().protections(&["prod off"]);
        some.rule.selectors.environment = Patterns::new(["prod"]);
        assert_eq!(some.judge("07:00").len(), 1, "test is not selected");
    }

    #[test]
    fn it_ends_when_it_is_protected_or_not_selected() {
        let off = || {
            case()
                .protections(&["prod on"])
                .after("06:00")
                .protections(&["prod off"])
                .opened("07:00")
        };
        let said = "07:00 breach Unprotected: the environment prod of source prod";
        assert_eq!(off().judge("08:00"), [format!("{said} is not protected")]);
        assert_eq!(
            off().protections(&[]).judge("08:00"),
            [format!("{said} is not listed as protected any more")]
        );
        assert_eq!(
            off().protections(&["prod on"]).judge("08:00"),
            ["08:00 ok Protected again: the environment prod of source prod"]
        );
        let mut other = off();
        other.rule.selectors.environment = Patterns::new(["test"]);
        assert_eq!(
            other.judge("08:00"),
            ["08:00 expired Closed: the environment prod is not watched any more"]
        );
    }
}
