//! What `tardy check` says of rules that watch for growth: whether there is anything to grow into.

use std::fmt::Write as _;

use crate::engine::Engine;
use crate::engine::history::ProjectHistory;
use crate::engine::rule::regression::{Method, Regression};
use crate::engine::rule::{Rule, RuleKind};
use crate::engine::subject::SubjectKey;

/// Subjects named; more are counted.
const NAMED: usize = 3;

/// Rules with method `trend` that find no limit at all in the policy, whatever exists.
pub(super) fn without_any_limit(rules: &[Rule]) -> Vec<String> {
    let lacking = rules.iter().filter(|rule| {
        trend(rule).is_some_and(|kind| !kind.may_have_ceiling(rules, is_about_models(rule)))
    });
    let words = |rule: &Rule| nothing(rule, "no enabled rule sets one");
    lacking.map(words).collect()
}

/// A rule with method `trend`, and subjects it judges for which nothing sets a limit.
pub(super) fn without_limit(rule: &Rule, engine: &Engine) -> Option<String> {
    let rules = &engine.policy().rules;
    let kind = trend(rule)?;
    if !kind.may_have_ceiling(rules, is_about_models(rule)) {
        return None;
    }
    let projects = engine.history().projects();
    let selected = projects.filter(|project| rule.selectors.is_project(project));
    let judged: Vec<(String, bool)> = selected
        .flat_map(|project| subjects(rule, project))
        .map(|(name, project, subject)| (name, kind.has_ceiling(rules, project, &subject)))
        .collect();
    let lacking: Vec<&str> = judged
        .iter()
        .filter(|(_, has)| !has)
        .map(|(name, _)| name.as_str())
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let mut names = lacking[..lacking.len().min(NAMED)].join(", ");
    if lacking.len() > NAMED {
        let _ = write!(names, " and {} more", lacking.len() - NAMED);
    }
    Some(nothing(rule, &format!("no rule sets one for {names}")))
}

fn nothing(rule: &Rule, why: &str) -> String {
    format!(
        "{}: rule `{}` has nothing to reach: {why}; add `limit = \"45m\"` to it, or a {} with a fixed `max`",
        rule.origin,
        rule.name,
        if is_about_models(rule) {
            "model_duration rule"
        } else {
            "deadline, or a run_duration rule"
        }
    )
}

fn trend(rule: &Rule) -> Option<&Regression> {
    match &rule.kind {
        RuleKind::RunRegression(kind) | RuleKind::ModelRegression(kind) => {
            Some(kind).filter(|kind| kind.method == Method::Trend)
        }
        _ => None,
    }
}

fn is_about_models(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::ModelRegression(_))
}

/// What a rule judges in a project, with names for people.
fn subjects<'a>(
    rule: &Rule,
    project: &'a ProjectHistory,
) -> Vec<(String, &'a ProjectHistory, SubjectKey)> {
    let (key, name, selectors) = (&project.key, project.display_name(), &rule.selectors);
    if is_about_models(rule) {
        let models = project.models();
        return models
            .filter(|(job, model, _)| {
                selectors.job.is_match(job) && selectors.model.is_match(model)
            })
            .map(|(job, model, _)| {
                let subject = SubjectKey::Model(key.clone(), job.clone(), model.clone());
                (format!("{name} {model}"), project, subject)
            })
            .collect();
    }
    let jobs = project
        .jobs()
        .filter(|job| selectors.job.is_match(&job.name));
    jobs.map(|job| {
        let subject = SubjectKey::Job(key.clone(), job.name.clone());
        (format!("{name} {}", job.name), project, subject)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    #[test]
    fn a_rule_that_nothing_limits_is_named() {
        const GROWING: &str =
            "[[rule]]\nname = \"growing\"\nkind = \"run_regression\"\nmethod = \"trend\"\n";
        for (more, is_named) in [
            ("", true),
            ("limit = \"45m\"", false),
            (
                "[[rule]]\nname = \"long\"\nkind = \"run_duration\"\nmax = \"45m\"",
                false,
            ),
            (
                "[[rule]]\nname = \"long\"\nkind = \"run_duration\"\nmax = \"1.5x p95\"",
                true,
            ),
            (
                "[[rule]]\nname = \"long\"\nkind = \"run_duration\"\nmax = \"45m\"\nclock = \"queue\"",
                true,
            ),
            (
                "[[rule]]\nname = \"long\"\nkind = \"model_duration\"\nmax = \"45m\"",
                true,
            ),
            (
                "[[rule]]\nname = \"by\"\nkind = \"deadline\"\nby = \"07:00\"\ntimezone = \"Europe/Berlin\"",
                false,
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rules.toml");
            std::fs::write(&path, format!("{GROWING}{more}\n")).unwrap();
            let rules = config::load_rules_only(&[path], &Environment::default());
            let notes = without_any_limit(&rules.unwrap().rules);
            assert_eq!(notes.len(), usize::from(is_named), "{more}: {notes:?}");
        }
    }
}
