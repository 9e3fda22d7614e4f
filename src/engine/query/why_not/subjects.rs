//! Which subject is meant: by its name, by project and name, or by a glob.

use super::super::super::Engine;
use super::super::super::alert::Alert;
use super::super::super::labels::Glob;
use super::super::super::rule::{Rule, Scope};
use super::super::super::subject::SubjectKey;
use super::super::near_names;
use super::WhyNotSubject;

/// What was found.
pub(super) enum Found {
    /// One.
    One(SubjectKey),
    /// More than one.
    Several(Vec<SubjectKey>),
    /// None; says what is near.
    Unknown(String),
}

/// The subjects of a rule's sort that fit what was asked.
pub(super) fn find(engine: &Engine, rule: &Rule, asked: &str) -> Found {
    let asked = asked.trim();
    let scope = rule.kind.scope();
    if scope == Scope::Objective {
        return Found::One(SubjectKey::Objective(rule.name.clone()));
    }
    let all = all(engine, scope);
    let pattern = Glob::new(asked);
    let fits = |key: &&SubjectKey| names(engine, key).iter().any(|name| pattern.is_match(name));
    let mut fitting: Vec<SubjectKey> = all.iter().filter(fits).cloned().collect();
    // Of several of that name, those that the rule selects are meant.
    if fitting.len() > 1 {
        let selected = |key: &SubjectKey| engine.is_selected(rule, key);
        if fitting.iter().any(selected) {
            fitting.retain(selected);
        }
    }
    match fitting.len() {
        0 => Found::Unknown(unknown(engine, rule, &all, asked)),
        1 => Found::One(fitting.remove(0)),
        _ => Found::Several(fitting),
    }
}

fn all(engine: &Engine, scope: Scope) -> Vec<SubjectKey> {
    let mut all = Vec::new();
    let has = |scopes: &[Scope]| scopes.contains(&scope);
    if has(&[Scope::Source, Scope::Health]) {
        let sources = engine.policy().sources.iter();
        all.extend(sources.map(|source| SubjectKey::Source(source.name.clone())));
        let known = engine.health().keys();
        all.extend(
            known
                .filter(|key| !all.contains(key))
                .cloned()
                .collect::<Vec<_>>(),
        );
        all.retain(|key| scope == Scope::Health || matches!(key, SubjectKey::Source(_)));
    }
    for project in engine.history().projects() {
        let key = &project.key;
        if has(&[Scope::Project, Scope::ProjectAndJob]) {
            all.push(SubjectKey::Project(key.clone()));
        }
        if has(&[Scope::Job, Scope::ProjectAndJob]) {
            let jobs = project.jobs();
            all.extend(jobs.map(|job| SubjectKey::Job(key.clone(), job.name.clone())));
        }
        if has(&[Scope::Model]) {
            let models = project.models();
            all.extend(
                models.map(|(job, model, _)| {
                    SubjectKey::Model(key.clone(), job.clone(), model.clone())
                }),
            );
        }
        if has(&[Scope::Job, Scope::Model]) {
            let averaged = project.averaged_subjects();
            let is_wanted =
                |key: &SubjectKey| matches!(key, SubjectKey::Job(..)) == (scope == Scope::Job);
            all.extend(averaged.filter(is_wanted));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// How a subject may be named, the fullest last.
fn names(engine: &Engine, key: &SubjectKey) -> Vec<String> {
    let project = key.project();
    let display = project
        .and_then(|key| engine.history().project(key))
        .map_or("", |project| project.display_name());
    let id = project.map_or("", |key| &key.project_id);
    match key {
        SubjectKey::Source(name) | SubjectKey::Receiver(name) | SubjectKey::Objective(name) => {
            vec![name.to_string()]
        }
        SubjectKey::Project(_) => vec![id.to_owned(), display.to_owned()],
        SubjectKey::Job(_, job) => vec![
            job.to_string(),
            format!("{id}/{job}"),
            format!("{display} {job}"),
            format!("{display}/{job}"),
        ],
        SubjectKey::Model(_, job, model) => vec![
            model.to_string(),
            format!("{job}/{model}"),
            format!("{id}/{job}/{model}"),
            format!("{display}/{job}/{model}"),
        ],
    }
}

/// The fullest name, which names it alone.
pub(super) fn name(engine: &Engine, key: &SubjectKey) -> String {
    names(engine, key).pop().unwrap_or_default()
}

pub(super) fn listed(engine: &Engine, rule: &Rule, key: &SubjectKey) -> WhyNotSubject {
    let watch = engine.watch_of(rule, key);
    let is_open = watch.is_some_and(|watch| {
        let mut alerts = watch.alerts.iter();
        alerts.any(|print| engine.alerts.get(print).is_some_and(Alert::is_open))
    });
    WhyNotSubject {
        name: name(engine, key),
        is_selected: engine.is_selected(rule, key),
        is_open,
    }
}

fn unknown(engine: &Engine, rule: &Rule, all: &[SubjectKey], asked: &str) -> String {
    let sort = match rule.kind.scope() {
        Scope::Job => "job",
        Scope::Model => "model",
        Scope::Project => "project",
        Scope::ProjectAndJob => "project or job",
        Scope::Source => "source",
        Scope::Health => "source or receiver",
        Scope::Objective => "objective",
    };
    let kind = rule.kind.name();
    if all.is_empty() {
        return format!("no {sort} is known yet, and {kind} judges nothing else");
    }
    let asked_parts = asked.matches('/').count();
    let names = all.iter().map(|key| {
        let mut names = names(engine, key);
        let full = names.pop().unwrap_or_default();
        let bare = names.into_iter().next();
        bare.filter(|_| asked_parts == 0).unwrap_or(full)
    });
    let near = near_names(
        names.collect(),
        asked,
        "`tardy runs all` and `tardy models` show what there is",
    );
    format!("there is no {sort} {near} ({kind} judges each {sort})")
}
