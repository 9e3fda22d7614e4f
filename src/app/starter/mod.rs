//! A starter configuration: from what a source shows, a service file and rules that fit it.
//!
//! The rules are played over the history that was read, by the engine itself, and made milder until what
//! they would have said is bearable. What they would have said is part of the answer. It writes nothing
//! and reads no network; it is given what was observed.

mod rules;
mod survey;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::config::{self, Diagnostics, Environment};
use crate::engine::history::History;
use crate::engine::notification::Body;
use crate::engine::observation::{Name, Observation};
use crate::engine::policy::Policy;
use crate::engine::replay::{Played, Replay};
use crate::engine::time::{Span, Timestamp};
pub use rules::Draft;
use rules::quoted;
pub use survey::{JobFound, Survey};

/// What a starter configuration is made for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the source.
    pub source: Name,
    /// Address of the API; `None`: the default.
    pub base_url: Option<String>,
    /// `X-Organization-ID`.
    pub organization: String,
    /// Variable that holds the token.
    pub token_variable: String,
    /// Zone of deadlines and rendered times.
    pub zone: Tz,
    /// Zone of the scheduler.
    pub schedule_zone: Tz,
    /// How far back history was read.
    pub backfill: Span,
    /// The service file that is there already, with its text; it is kept.
    pub service: Option<(String, String)>,
    /// Rule files that are there already and are kept: name and text.
    pub kept_rules: Vec<(String, String)>,
}

/// A starter configuration.
#[derive(Clone, Debug)]
pub struct Starter {
    /// What was found.
    pub survey: Survey,
    /// Files to write, by name relative to the service file, with their texts; none that is there already.
    pub files: Vec<(String, String)>,
    /// Every rule that was thought of.
    pub drafts: Vec<Draft>,
    /// What the rules would have said.
    pub forecast: Forecast,
}

/// What rules would have said in the time that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Since when they were played; before that they learned.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Messages that ping somebody, for each receiver told.
    pub messages: usize,
    /// Messages that only say an end or a change.
    pub updates: usize,
    /// Alerts announced by each rule, with those of each job.
    pub by_rule: BTreeMap<String, BTreeMap<String, usize>>,
}

/// Why no starter configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// Nothing is there.
    #[error(
        "the source shows no jobs: there is nothing to write rules for; look at its `projects` and its organization"
    )]
    NoJobs,
    /// What is there already, together with what would be written, is refused.
    #[error("what would be written does not go with the files that are there:\n{}", .0.render(false))]
    Refused(Box<Diagnostics>),
}

/// History that only teaches baselines, before the rules are played.
const LEARNING: Span = Span::days(7);

/// Announcements of one rule in a week that are borne.
const BEARABLE_PER_WEEK: f64 = 3.0;

/// Time between polls while the rules are played: coarse, since only what is said counts, not when.
const POLL_EVERY: Span = Span::minutes(5);

/// Rounds of making rules milder.
const MAX_ROUNDS: usize = 6;

/// Makes a starter configuration from everything that was observed up to `now`.
pub fn make(
    request: &Request,
    facts: &[Observation],
    environment: &Environment,
    now: Timestamp,
) -> Result<Starter, StarterError> {
    let mut history = History::default();
    for fact in facts {
        observe(&mut history, fact.clone(), now);
    }
    let survey = Survey::of(&history, &request.source, request.schedule_zone, now);
    if survey.jobs.is_empty() {
        return Err(StarterError::NoJobs);
    }
    let mut drafts = rules::drafts(&survey, request.zone, request.schedule_zone);
    drop_known(&mut drafts, &request.kept_rules);
    rules::renew_objective(&mut drafts);
    drop_known(&mut drafts, &request.kept_rules);
    let replay = replay(facts);
    let from = now - request.backfill.max(LEARNING * 2) + LEARNING;
    let mut forecast = Forecast::default();
    for round in 0..=MAX_ROUNDS {
        let policy = policy(request, &drafts, environment)?;
        let played = replay.clone().play(&policy, from, now);
        forecast = Forecast::of(&played, from, now);
        let is_last = round == MAX_ROUNDS;
        if !soften(&mut drafts, &forecast, is_last) {
            break;
        }
        rules::renew_objective(&mut drafts);
        drop_known(&mut drafts, &request.kept_rules);
        if is_last {
            let policy = self::policy(request, &drafts, environment)?;
            forecast = Forecast::of(&replay.clone().play(&policy, from, now), from, now);
        }
    }
    let files = files(request, &drafts);
    Ok(Starter {
        survey,
        files,
        drafts,
        forecast,
    })
}

fn observe(history: &mut History, fact: Observation, now: Timestamp) {
    match fact {
        Observation::Project(project) => drop(history.observe_project(project, now)),
        Observation::ProjectGone(project) => drop(history.lose_project(&project)),
        Observation::Jobs(project, jobs) => drop(history.observe_jobs(&project, jobs, now)),
        Observation::Run(project, run) => drop(history.observe_run(&project, run)),
        Observation::Execution(project, row) => drop(history.observe_execution(&project, row)),
        Observation::Plan(project, plan) => drop(history.observe_plan(&project, plan)),
        Observation::Protections(source, list) => {
            drop(history.observe_protections(&source, list));
        }
        Observation::Averages(project, list) => drop(history.observe_averages(&project, list)),
    }
}

/// Of what was read several times the newest counts.
fn replay(facts: &[Observation]) -> Replay {
    let mut newest: BTreeMap<(u8, Name), &Observation> = BTreeMap::new();
    let mut others = Vec::new();
    for fact in facts {
        let key = match fact {
            Observation::Run(_, run) => (0, run.id.clone()),
            Observation::Execution(_, execution) => (1, execution.id.clone()),
            Observation::Plan(_, plan) => (2, plan.id.clone()),
            Observation::Project(_)
            | Observation::ProjectGone(_)
            | Observation::Jobs(..)
            | Observation::Protections(..)
            | Observation::Averages(..) => {
                others.push(fact.clone());
                continue;
            }
        };
        newest.insert(key, fact);
    }
    let mut replay = Replay::new().poll_every(POLL_EVERY);
    replay.add(others);
    for fact in newest.into_values().cloned() {
        match fact {
            // No rule of a starter looks at executions that go on.
            Observation::Execution(project, row) => {
                let at = row.finished_at.or(row.started_at).unwrap_or(row.updated_at);
                replay.fact(at, Observation::Execution(project, row));
            }
            other => replay.add([other]),
        }
    }
    replay
}

/// A rule whose name is taken is not written again.
fn drop_known(drafts: &mut Vec<Draft>, kept: &[(String, String)]) {
    let mut taken = std::collections::BTreeSet::new();
    for (_, text) in kept {
        let Ok(table) = text.parse::<toml::Table>() else {
            continue;
        };
        let rules = table.get("rule").and_then(toml::Value::as_array);
        for rule in rules.into_iter().flatten() {
            if let Some(name) = rule.get("name").and_then(toml::Value::as_str) {
                taken.insert(name.to_owned());
            }
        }
    }
    let kept_files: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    drafts.retain(|draft| {
        let file = format!("rules/{}.toml", draft.file);
        !taken.contains(&draft.name) && !kept_files.contains(&file.as_str())
    });
}

fn policy(
    request: &Request,
    drafts: &[Draft],
    environment: &Environment,
) -> Result<Arc<Policy>, StarterError> {
    let files = files(request, drafts);
    let mut texts: Vec<(&str, &str)> = Vec::new();
    let mut service = request
        .service
        .as_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, text) in &files {
        if name == SERVICE_FILE {
            service = Some((name, text));
        } else {
            texts.push((name, text));
        }
    }
    texts.extend(
        request
            .kept_rules
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    let service = service.unwrap_or((SERVICE_FILE, ""));
    match config::load_texts(service, &texts, environment) {
        Ok(loaded) => Ok(Arc::new(loaded.config.policy)),
        Err(diagnostics) => Err(StarterError::Refused(Box::new(diagnostics))),
    }
}

/// Makes rules milder that say too much; false when there was nothing to do.
fn soften(drafts: &mut [Draft], forecast: &Forecast, is_last: bool) -> bool {
    #[allow(clippy::cast_precision_loss)]
    let weeks = ((forecast.until - forecast.from).num_hours() as f64 / 168.0).max(1.0);
    let mut is_changed = false;
    for draft in drafts.iter_mut().filter(|draft| draft.left_out.is_none()) {
        let jobs = forecast
            .by_rule
            .get(&draft.name)
            .cloned()
            .unwrap_or_default();
        let alerts: usize = jobs.values().sum();
        #[allow(clippy::cast_precision_loss)]
        let per_week = alerts as f64 / weeks;
        if per_week <= BEARABLE_PER_WEEK {
            continue;
        }
        if let Some((job, count)) = noisy(draft, &jobs, alerts).filter(|_| !is_last) {
            draft.excluded.insert(job, count);
            is_changed = true;
        } else if draft.chosen + 1 < draft.variants.len() && !is_last {
            draft.chosen += 1;
            is_changed = true;
        } else if draft.chosen + 1 == draft.variants.len() && draft.variants.len() > 1 {
            draft.left_out = Some(format!(
                "it would have spoken {alerts} times in {} days even like this; look at what it says, \
                 then take away the comment signs",
                (forecast.until - forecast.from).num_days()
            ));
            is_changed = true;
        }
    }
    is_changed
}

/// A job that makes at least half of what a rule about all jobs says; the loudest, when only leaving the rule
/// out is left.
fn noisy(draft: &Draft, jobs: &BTreeMap<String, usize>, alerts: usize) -> Option<(String, usize)> {
    let (job, count) = jobs.iter().max_by_key(|(_, count)| **count)?;
    let is_noisy = draft.can_exclude() && !job.is_empty() && jobs.len() > 1;
    let is_last_resort = draft.variants.len() > 1 && draft.chosen + 1 == draft.variants.len();
    (is_noisy && (count * 2 >= alerts || is_last_resort)).then(|| (job.clone(), *count))
}

impl Forecast {
    fn of(played: &Played, from: Timestamp, until: Timestamp) -> Self {
        let mut forecast = Self {
            from,
            until,
            ..Self::default()
        };
        for told in &played.told {
            if told.reason.is_pinging() {
                forecast.messages += 1;
            } else {
                forecast.updates += 1;
            }
            let Body::Alerts(alerts) = &told.body else {
                continue;
            };
            for alert in alerts.iter().filter(|alert| alert.is_new) {
                let jobs = forecast.by_rule.entry(alert.rule.to_string()).or_default();
                *jobs.entry(alert.labels.get("job").to_owned()).or_default() += 1;
            }
        }
        forecast
    }
}

/// Name of the service file.
pub const SERVICE_FILE: &str = "tardy.toml";

/// What the rule files are about, in the order in which they are written.
const RULE_FILES: [(&str, &str); 6] = [
    ("outcome", "What came out of runs."),
    ("timeliness", "Whether data is there in time."),
    ("duration", "How long runs take."),
    ("models", "Models, which a green run can hide."),
    ("plans", "Deployments and what guards them."),
    ("objectives", "Promises over time, counted in events."),
];

fn files(request: &Request, drafts: &[Draft]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    if request.service.is_none() {
        files.push((SERVICE_FILE.to_owned(), service_file(request)));
    }
    for (file, about) in RULE_FILES {
        let own: Vec<String> = drafts
            .iter()
            .filter(|draft| draft.file == file)
            .map(Draft::text)
            .collect();
        if !own.is_empty() {
            let head = format!(
                "# {about} Written by `tardy init` from what {} showed; yours to change.\n\
                 # `tardy rules --explain KIND` says what a kind means, `tardy check` finds mistakes.\n",
                request.source
            );
            files.push((
                format!("rules/{file}.toml"),
                format!("{head}\n{}", own.join("\n")),
            ));
        }
    }
    files
}

fn service_file(request: &Request) -> String {
    let base_url = match &request.base_url {
        Some(url) => format!("base_url = {}\n", quoted(url)),
        None => "# base_url = \"https://api.dagctl.io\"\n".to_owned(),
    };
    let timezone = format!("timezone = {}", quoted(request.zone.name()));
    format!(
        r#"# Written by `tardy init`; yours to change. Every key is in the reference, docs/configuration.md.
# Secrets are never written here: {{ env = "NAME" }} reads a variable, {{ file = "path" }} a file.

rules = ["rules/*.toml"]
{timezone}{pad}# zone of rendered times and digests

[[source]]
name = {name}
kind = "dagctl"
{base_url}organization = {organization}
token = {{ env = {token} }}
schedule_timezone = {schedule_zone}{pad}# in which the scheduler reads the jobs' cron expressions
# run_url = "https://app.dagctl.io/projects/{{project_id}}/runs/{{run_id}}"  # link in messages

[store]
kind = "sled"
path = "data"

# Messages come to the terminal until a receiver below is filled in and named in [route].
[[receiver]]
name = "terminal"
kind = "console"

# [[receiver]]
# name = "team-slack"
# kind = "slack_webhook"
# url = {{ env = "SLACK_WEBHOOK_URL" }}

# [[receiver]]
# name = "team-discord"
# kind = "discord_webhook"
# url = {{ env = "DISCORD_WEBHOOK_URL" }}

[route]
receivers = ["terminal"]

[[route.child]]
name = "information"
match = ['severity = "info"']
repeat_interval = "7d"             # a reminder each week; of everything else two each day
"#,
        pad = "          ",
        name = quoted(&request.source),
        organization = quoted(&request.organization),
        token = quoted(&request.token_variable),
        schedule_zone = quoted(request.schedule_zone.name()),
    )
}
