//! Which job, model or alert is meant by a name.

use super::super::super::Engine;
use super::super::super::alert::Alert;
use super::super::super::labels::Glob;
use super::super::super::observation::{Name, ProjectKey};
use super::super::super::subject::SubjectKey;
use super::super::near_names;
use super::title;

/// So many subjects are named when several are meant.
const MAX_NAMED: usize = 3;

/// The one subject that is meant, and the alert when it was named by that.
pub(super) fn find<'a>(
    engine: &'a Engine,
    text: &str,
) -> Result<(SubjectKey, Option<&'a Alert>), String> {
    let mut alerts = engine.alerts().filter(|alert| alert.is_open());
    if let Some(alert) = alerts.find(|alert| alert.id() == text) {
        let subject = subject_of(alert).ok_or_else(|| {
            format!("alert {text} is about no job or model, and those alone have durations")
        })?;
        return Ok((subject, Some(alert)));
    }
    let subjects = named(engine);
    let glob = Glob::new(text);
    let is_exact = |names: &[String]| names.iter().any(|name| name == text);
    let is_match = |names: &[String]| names.iter().any(|name| glob.is_match(name));
    let is_job = |subject: &SubjectKey| matches!(subject, SubjectKey::Job(..));
    // A name before a pattern, a job before a model of the same name.
    for is_wanted in [&is_exact as &dyn Fn(&[String]) -> bool, &is_match] {
        for wants_job in [true, false] {
            let mut found = subjects
                .iter()
                .filter(|(subject, names)| is_job(subject) == wants_job && is_wanted(names));
            if let Some((subject, _)) = found.next() {
                let more: Vec<&SubjectKey> = found.map(|(other, _)| other).collect();
                return match more.as_slice() {
                    [] => Ok((subject.clone(), None)),
                    more => Err(several(engine, text, subject, more)),
                };
            }
        }
    }
    // Long names are near only to those who wrote one.
    let kept = if text.contains(' ') { usize::MAX } else { 1 };
    let names = subjects
        .into_iter()
        .flat_map(|(_, names)| names.into_iter().take(kept))
        .collect();
    Err(format!(
        "no job, model or open alert is called {}",
        near_names(
            names,
            text,
            "`tardy runs` and `tardy models` list what there is"
        )
    ))
}

fn several(engine: &Engine, text: &str, first: &SubjectKey, more: &[&SubjectKey]) -> String {
    let name = |subject: &SubjectKey| {
        let project = subject
            .project()
            .and_then(|key| engine.history().project(key));
        let title = project.map(|project| title(project, subject));
        match subject {
            SubjectKey::Model(_, job, model) => format!("`{job} {model}`"),
            _ => format!("`{}`", title.unwrap_or_default()),
        }
    };
    let others = more.iter().copied();
    let names: Vec<String> = [first]
        .into_iter()
        .chain(others)
        .take(MAX_NAMED)
        .map(name)
        .collect();
    let rest = match (more.len() + 1).saturating_sub(MAX_NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let text: String = text.chars().take(60).collect();
    format!(
        "`{text}` is {}: {}{rest}; name one of them",
        more.len() + 1,
        names.join(", ")
    )
}

/// All subjects with durations, and the names each goes by.
fn named(engine: &Engine) -> Vec<(SubjectKey, Vec<String>)> {
    let mut subjects = Vec::new();
    for project in engine.history().projects() {
        let of = project.display_name();
        for job in project.jobs() {
            let subject = SubjectKey::Job(project.key.clone(), job.name.clone());
            subjects.push((
                subject,
                vec![job.name.to_string(), format!("{of} {}", job.name)],
            ));
        }
        for (job, model, _) in project.models() {
            let subject = SubjectKey::Model(project.key.clone(), job.clone(), model.clone());
            let names = vec![
                model.to_string(),
                format!("{of} {model}"),
                format!("{job} {model}"),
            ];
            subjects.push((subject, names));
        }
    }
    subjects
}

fn subject_of(alert: &Alert) -> Option<SubjectKey> {
    let label = |name| Some(alert.identity.get(name)).filter(|value| !value.is_empty());
    let project = ProjectKey {
        source: label("source")?.into(),
        project_id: label("project_id")?.into(),
    };
    let job: Name = label("job")?.into();
    Some(match label("model") {
        Some(model) => SubjectKey::Model(project, job, model.into()),
        None => SubjectKey::Job(project, job),
    })
}
