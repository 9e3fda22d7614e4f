//! A virtual timeline for the engine: projects, jobs and runs as a source would serve them, polls and
//! wake-ups on a virtual clock, and everything that was decided, written down as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use tardy::engine::acting::{Acted, Outcome as Done};
use tardy::engine::alert::Transition;
use tardy::engine::history::History;
use tardy::engine::labels::{Matcher, Patterns};
use tardy::engine::ledger::{Ledger, LedgerRow, Promise};
use tardy::engine::notification::{Body, Notification};
use tardy::engine::observation::{
    Execution, Job, Name, Observation, Plan, Project, ProjectKey, Run, Status, WaitingPlans,
};
use tardy::engine::policy::{Policy, SourcePolicy};
use tardy::engine::replay::{Want, Wish};
use tardy::engine::rule::{Rule, RuleKind};
use tardy::engine::silence::Until;
use tardy::engine::subject::SubjectKey;
use tardy::engine::time::{Span, Timestamp, parse_span};
use tardy::engine::{Changed, Engine, HealthReport, Input, Saved, Step};

/// The project all jobs belong to.
pub fn project_key() -> ProjectKey {
    ProjectKey {
        source: "prod".into(),
        project_id: "p1".into(),
    }
}

/// A rule with defaults: critical, fires at once, everything selected.
pub fn rule(name: &str, kind: RuleKind) -> Rule {
    Rule::new(name, kind, format!("rules/test.toml:{name}"))
}

/// A rule for some jobs only.
pub fn for_jobs(mut rule: Rule, job: &str) -> Rule {
    rule.selectors.job = Patterns::new([job]);
    rule
}

/// Facts of one project over time, and how they are looked at.
#[derive(Clone)]
pub struct Timeline {
    /// The first poll.
    pub from: Timestamp,
    /// Virtual time between polls.
    pub poll_every: Span,
    /// The policy at the start.
    pub policy: Policy,
    /// Policies put in force later.
    pub reloads: BTreeMap<Timestamp, Policy>,
    /// Stretches in which the source cannot be read; each failing poll is reported.
    pub outages: Vec<(Timestamp, Timestamp)>,
    /// Receivers that fail from, to.
    pub receiver_outages: Vec<(String, Timestamp, Timestamp)>,
    /// Rows by the instant from which the source serves them.
    pub rows: Vec<(Timestamp, Observation)>,
    /// How often each served row is repeated within a poll and in later polls.
    pub overlap: Span,
    /// What people do.
    pub wishes: Vec<(Timestamp, Wish)>,
    /// The engine also runs at each `wake_at`, and polls at each `poll_at`.
    pub is_woken: bool,
    /// The program is stopped in between, and started from what was stored: the first poll comes some seconds
    /// after the start.
    pub stopped: Option<(Timestamp, Timestamp)>,
}

/// Everything that was decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// With the instants of their steps.
    pub told: Vec<Notification>,
    /// State changes.
    pub transitions: Vec<Transition>,
    /// Ledger rows.
    pub ledger: Vec<LedgerRow>,
    /// What came of what people did.
    pub acts: Vec<Acted>,
    /// Judged watches of each step.
    pub judged: Vec<(Timestamp, usize)>,
    /// Alerts and groups that are still kept at the end.
    pub kept: (usize, usize),
}

/// What a store keeps of the steps, and how it puts an engine together again.
#[derive(Default)]
pub struct Stored {
    changed: Changed,
    alerts: BTreeMap<String, String>,
    groups: BTreeMap<String, String>,
    memories: BTreeMap<String, String>,
    silences: BTreeMap<String, String>,
    digests: BTreeMap<String, String>,
    ledger: Vec<LedgerRow>,
}

impl Stored {
    /// Takes in what a step changed, as text, the way a store keeps it.
    pub fn absorb(&mut self, changed: &Changed) {
        let all = &mut self.changed;
        all.observations.extend(changed.observations.clone());
        all.projects.extend(changed.projects.clone());
        all.jobs.extend(changed.jobs.clone());
        all.averages.extend(changed.averages.clone());
        all.coverage.extend(changed.coverage.clone());
        all.since.extend(changed.since.clone());
        for (key, alert) in &changed.alerts {
            put(&mut self.alerts, &key.to_string(), alert.as_ref());
        }
        for (key, group) in &changed.groups {
            put(&mut self.groups, &format!("{key:?}"), group.as_ref());
        }
        for (id, silence) in &changed.silences {
            put(&mut self.silences, id, silence.as_ref());
        }
        for (name, mark) in &changed.digests {
            let record = mark.as_ref().map(|mark| (name, mark));
            put(&mut self.digests, name, record.as_ref());
        }
        all.fired.extend(changed.fired.clone());
        for (key, memory) in &changed.memories {
            match memory {
                Some(memory) => {
                    let record = serde_json::to_string(&(key, memory)).unwrap();
                    self.memories.insert(key.to_string(), record);
                }
                None => drop(self.memories.remove(&key.to_string())),
            }
        }
    }

    /// An engine that goes on from here.
    pub fn engine(&self, policy: &Policy, reorder: impl FnOnce(&mut Vec<Observation>)) -> Engine {
        let mut history = History::default();
        for record in self.changed.projects.values() {
            history.restore_project(json(record));
        }
        for ((project, _), record) in &self.changed.jobs {
            history.restore_job(project, json(record));
        }
        for ((project, _), averages) in &self.changed.averages {
            history.observe_averages(project, json(averages));
        }
        let mut observations = self.changed.observations.clone();
        reorder(&mut observations);
        for observation in observations {
            match observation {
                Observation::Run(key, run) => drop(history.observe_run(&key, run)),
                Observation::Execution(key, row) => drop(history.observe_execution(&key, row)),
                Observation::Plan(key, plan) => drop(history.observe_plan(&key, plan)),
                Observation::Project(_)
                | Observation::ProjectGone(_)
                | Observation::Jobs(..)
                | Observation::Protections(..)
                | Observation::Averages(..) => {}
            }
        }
        let mut ledger = Ledger::default();
        for row in &self.ledger {
            ledger.record(json(row));
        }
        let saved = Saved {
            coverage: self.changed.coverage.clone(),
            since: self
                .changed
                .since
                .iter()
                .filter_map(|(what, since)| Some((what.clone(), (*since)?)))
                .collect(),
            alerts: read_all(&self.alerts),
            memories: read_all(&self.memories).into_iter().collect(),
            groups: read_all(&self.groups),
            silences: read_all(&self.silences),
            digests: read_all(&self.digests).into_iter().collect(),
            fired: self.changed.fired.clone(),
            ledger,
        };
        Engine::new(Arc::new(policy.clone()), history, saved)
    }

    /// Alerts and groups kept.
    pub fn counts(&self) -> (usize, usize) {
        (self.alerts.len(), self.groups.len())
    }
}

fn put<T: serde::Serialize>(map: &mut BTreeMap<String, String>, key: &str, value: Option<&T>) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), serde_json::to_string(value).unwrap());
        }
        None => {
            map.remove(key);
        }
    }
}

fn json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn read_all<T: serde::de::DeserializeOwned>(map: &BTreeMap<String, String>) -> Vec<T> {
    map.values()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

impl Timeline {
    /// Starts at an instant with one deployed project, a poll every 30 s and two receivers.
    pub fn new(from: &str) -> Self {
        let from = Timestamp::parse(from).unwrap();
        let mut policy = Policy::empty(vec!["team".into()]);
        policy.sources = vec![SourcePolicy {
            name: "prod".into(),
            schedule_zone: Tz::UTC,
            run_url: None,
        }];
        Self {
            from,
            poll_every: Span::seconds(30),
            policy,
            reloads: BTreeMap::new(),
            outages: Vec::new(),
            receiver_outages: Vec::new(),
            rows: Vec::new(),
            overlap: Span::seconds(60),
            wishes: Vec::new(),
            is_woken: true,
            stopped: None,
        }
        .project(from - Span::days(400), |_| {})
    }

    /// An instant: `06:10`, `06:10:30` on the first day, `03-11 06:10` in its year, or RFC 3339.
    pub fn at(&self, text: &str) -> Timestamp {
        let day = self.from.to_string()[..10].to_owned();
        let (date, time) = match text.split_once(' ') {
            Some((date, time)) => (format!("{}-{date}", &day[..4]), time),
            None if text.contains('T') => return Timestamp::parse(text).unwrap(),
            None => (day, text),
        };
        let seconds = if time.len() == 5 { ":00" } else { "" };
        let full = format!("{date}T{time}{seconds}Z");
        Timestamp::parse(&full).unwrap_or_else(|| panic!("{full}"))
    }

    /// Adds a rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.policy.rules.push(rule);
        self
    }

    /// Changes the policy at the start.
    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Puts a changed policy in force at an instant.
    pub fn reload(mut self, at: &str, change: impl FnOnce(&mut Policy)) -> Self {
        let at = self.at(at);
        let before = self.reloads.range(..at).next_back();
        let mut policy = before.map_or(&self.policy, |(_, known)| known).clone();
        change(&mut policy);
        self.reloads.insert(at, policy);
        self
    }

    /// Somebody wants something done.
    pub fn wish(mut self, at: &str, by: &str, comment: &str, what: Want) -> Self {
        let wish = Wish {
            by: by.to_owned(),
            comment: (!comment.is_empty()).then(|| comment.to_owned()),
            what,
        };
        self.wishes.push((self.at(at), wish));
        self
    }

    /// Ada accepts the level of a rule's alert at a job or model.
    pub fn accept(self, at: &str, rule: &str, subject: &str, comment: &str) -> Self {
        let (rule, subject) = (rule.to_owned(), subject.to_owned());
        self.wish(at, "ada", comment, Want::Accept { rule, subject })
    }

    /// Somebody takes a rule's alert at a job on; for the usual time when `lasting` is empty.
    pub fn acknowledge(self, at: &str, by: &str, (rule, job): (&str, &str), lasting: &str) -> Self {
        let what = Want::Acknowledge {
            rule: rule.to_owned(),
            subject: job.to_owned(),
            lasting: (!lasting.is_empty()).then(|| parse_span(lasting).unwrap()),
        };
        self.wish(at, by, "", what)
    }

    /// And gives it back.
    pub fn unacknowledge(self, at: &str, by: &str, (rule, job): (&str, &str)) -> Self {
        let (rule, subject) = (rule.to_owned(), job.to_owned());
        self.wish(at, by, "", Want::Unacknowledge { rule, subject })
    }

    /// Ada keeps alerts quiet.
    pub fn silence(self, at: &str, lasting: &str, until: Until, matchers: &[&str]) -> Self {
        let what = Want::Silence {
            matchers: read_matchers(matchers),
            lasting: parse_span(lasting).unwrap(),
            until,
        };
        self.wish(at, "ada", "maintenance", what)
    }

    /// Ada ends the silence with these matchers.
    pub fn unsilence(self, at: &str, matchers: &[&str]) -> Self {
        let matchers = read_matchers(matchers);
        self.wish(at, "ada", "", Want::Unsilence { matchers })
    }

    /// The source cannot be read in between.
    pub fn outage(mut self, from: &str, to: &str) -> Self {
        self.outages.push((self.at(from), self.at(to)));
        self
    }

    /// Time between polls.
    pub fn poll_every(mut self, every: Span) -> Self {
        self.poll_every = every;
        self
    }

    /// The project as it is from an instant on.
    pub fn project(mut self, at: Timestamp, change: impl FnOnce(&mut Project)) -> Self {
        let mut project = Project {
            key: project_key(),
            name: "finance".into(),
            project_type: "sqlmesh".into(),
            is_suspended: false,
            is_deployed: true,
            environment: None,
            commits_behind: None,
            current_commit: None,
            latest_commit: None,
            latest_message: None,
            concurrency_policy: None,
        };
        change(&mut project);
        self.rows.push((at, Observation::Project(project)));
        self
    }

    fn is_project_gone(&self, now: Timestamp) -> bool {
        let said = self.rows.iter().filter(|(at, _)| *at <= now);
        let said = said.filter(|(_, row)| {
            matches!(row, Observation::Project(_) | Observation::ProjectGone(_))
        });
        let newest = said.max_by_key(|(at, _)| *at);
        newest.is_some_and(|(_, row)| matches!(row, Observation::ProjectGone(_)))
    }

    /// The project is taken to be deleted from an instant on.
    pub fn project_gone(mut self, at: Timestamp) -> Self {
        self.rows
            .push((at, Observation::ProjectGone(project_key())));
        self
    }

    /// All jobs as they are from an instant on: name, schedule, enabled.
    pub fn jobs_at(self, at: &str, jobs: &[(&str, &str, bool)]) -> Self {
        let at = self.at(at);
        self.jobs_since(at, jobs)
    }

    /// All jobs as they are from an instant on.
    pub fn jobs_since(mut self, at: Timestamp, jobs: &[(&str, &str, bool)]) -> Self {
        let jobs = jobs
            .iter()
            .map(|(name, schedule, is_enabled)| Job {
                name: (*name).into(),
                schedule: (!schedule.is_empty()).then(|| (*schedule).into()),
                is_enabled: *is_enabled,
                updated_at: Some(at),
            })
            .collect();
        self.rows.push((at, Observation::Jobs(project_key(), jobs)));
        self
    }

    /// One job that has been there for long.
    pub fn job(self, name: &str, schedule: &str) -> Self {
        let long_ago = self.from - Span::days(300);
        self.jobs_since(long_ago, &[(name, schedule, true)])
    }

    /// A row as the source serves it from `at` on.
    pub fn row(mut self, at: Timestamp, observation: Observation) -> Self {
        self.rows.push((at, observation));
        self
    }

    /// A run: created (and started) at `from`; `end` is `06:40 success`, `06:40 failed: boom`, or empty
    /// while it goes on.
    pub fn run(self, job: &str, id: &str, from: &str, end: &str) -> Self {
        let from = self.at(from);
        let end = (!end.is_empty()).then(|| self.end(end));
        self.run_at(job, id, from, Some(from), end)
    }

    /// A run that waits before it starts.
    pub fn queued(self, job: &str, id: &str, created: &str, started: &str, end: &str) -> Self {
        let (created, started, end) = (self.at(created), self.at(started), self.end(end));
        self.run_at(job, id, created, Some(started), Some(end))
    }

    /// Reads `06:40 failed: boom` or `03-11 06:40 success`.
    fn end(&self, text: &str) -> (Timestamp, Status, String) {
        let has_date = text.as_bytes()[2] == b'-';
        let cut = text
            .match_indices(' ')
            .nth(usize::from(has_date))
            .unwrap()
            .0;
        let (at, words) = text.split_at(cut);
        let (word, error) = words.split_once(": ").unwrap_or((words, ""));
        (
            self.at(at),
            Status::from_word(word.trim()),
            error.to_owned(),
        )
    }

    /// A run with its instants.
    pub fn run_at(
        self,
        job: &str,
        id: &str,
        created_at: Timestamp,
        started_at: Option<Timestamp>,
        end: Option<(Timestamp, Status, String)>,
    ) -> Self {
        let row = |status: Status, updated_at: Timestamp| Run {
            id: id.into(),
            job: (!job.is_empty()).then(|| job.into()),
            job_type: "run".into(),
            status,
            triggered_by: "scheduled".into(),
            created_at,
            started_at: started_at.filter(|at| *at <= updated_at),
            finished_at: None,
            updated_at,
            error: None,
        };
        let mut timeline = self;
        if started_at != Some(created_at) {
            timeline = timeline.put(row(Status::Pending, created_at));
        }
        if let Some(started_at) = started_at {
            timeline = timeline.put(row(Status::Running, started_at));
        }
        if let Some((finished_at, status, error)) = end {
            timeline = timeline.put(Run {
                finished_at: Some(finished_at),
                error: (!error.is_empty()).then(|| error.as_str().into()),
                ..row(status, finished_at)
            });
        }
        timeline
    }

    fn put(self, run: Run) -> Self {
        self.row(run.updated_at, Observation::Run(project_key(), run))
    }

    /// Daily or hourly successes before the timeline begins, for baselines.
    pub fn past(mut self, job: &str, every: Span, count: i32, took: Span) -> Self {
        for index in 1..=count {
            let at = self.from - every * index;
            let end = Some((at + took, Status::Success, String::new()));
            self = self.run_at(job, &format!("{job}-past-{index}"), at, Some(at), end);
        }
        self
    }

    /// A model's execution in a run; without an end it goes on.
    pub fn execution(self, run: &str, model: &str, from: &str, end: &str) -> Self {
        let started_at = self.at(from);
        let end = (!end.is_empty()).then(|| self.end(end));
        let finished_at = end.as_ref().map(|(at, _, _)| *at);
        let (_, status, error) = end.unwrap_or((started_at, Status::Running, String::new()));
        let updated_at = finished_at.unwrap_or(started_at);
        let execution = Execution {
            id: format!("{run}/{model}").into(),
            run_id: Some(run.into()),
            model: model.into(),
            status,
            started_at: Some(started_at),
            finished_at,
            updated_at,
            rows: None,
            error: (!error.is_empty()).then(|| error.as_str().into()),
        };
        self.row(updated_at, Observation::Execution(project_key(), execution))
    }

    /// A plan's row from an instant on; one that is `superseded` is rejected because of newer commits.
    pub fn plan(
        self,
        at: &str,
        (id, group): (&str, Option<&str>),
        words: (&str, &str, &str),
    ) -> Self {
        let (plan_type, status, message) = words;
        let updated_at = self.at(at);
        let known = self.rows.iter().find_map(|(_, row)| match row {
            Observation::Plan(_, plan) if &*plan.id == id => Some(plan.created_at),
            _ => None,
        });
        let is_superseded = status == "superseded";
        let plan = Plan {
            id: id.into(),
            group_id: group.map(Into::into),
            plan_type: Some(plan_type.into()),
            status: if is_superseded { "rejected" } else { status }.into(),
            to_commit: None,
            commit_message: (!message.is_empty()).then(|| message.into()),
            created_at: known.unwrap_or(updated_at),
            updated_at,
            is_superseded,
        };
        self.row(updated_at, Observation::Plan(project_key(), plan))
    }

    /// Rows served first in `(after, until]`, oldest first.
    fn served(&self, after: Timestamp, until: Timestamp) -> Vec<Observation> {
        let mut rows: Vec<&(Timestamp, Observation)> = self
            .rows
            .iter()
            .filter(|(at, _)| *at > after && *at <= until)
            .collect();
        rows.sort_by_key(|(at, row)| (*at, rank(row)));
        // Of projects, jobs and protections a source serves what is now, not what was.
        let newest = |wanted: u8| rows.iter().rposition(|(_, row)| rank(row) == wanted);
        let (project, jobs, protections) = (newest(0), newest(1), newest(2));
        let is_served = |index: usize, row: &Observation| match rank(row) {
            0 => project == Some(index),
            1 => jobs == Some(index),
            2 => protections == Some(index),
            _ => true,
        };
        rows.iter()
            .enumerate()
            .filter(|(index, (_, row))| is_served(*index, row))
            .map(|(_, (_, row))| row.clone())
            .collect()
    }

    /// Which plans wait at an instant; `None` for a timeline without plans.
    fn plans_waiting(&self, now: Timestamp) -> Option<WaitingPlans> {
        let mut newest: BTreeMap<&Name, &Plan> = BTreeMap::new();
        let mut has_plans = false;
        for (at, row) in &self.rows {
            let Observation::Plan(_, plan) = row else {
                continue;
            };
            has_plans = true;
            let held = newest.get(&plan.id);
            if *at <= now && held.is_none_or(|held| held.updated_at <= plan.updated_at) {
                newest.insert(&plan.id, plan);
            }
        }
        let waiting = newest.values().filter(|plan| plan.is_waiting());
        let ids = waiting.map(|plan| plan.id.clone()).collect();
        has_plans.then_some(WaitingPlans { at: now, ids })
    }

    /// The protections as they are at an instant, as a source reports them after its start.
    fn protections_now(&self, now: Timestamp) -> Option<Observation> {
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|(at, row)| *at <= now && rank(row) == 2)
            .collect();
        rows.sort_by_key(|(at, _)| *at);
        rows.last().map(|(_, row)| row.clone())
    }

    /// Plays the timeline without interruption.
    pub fn play(&self, until: &str) -> Outcome {
        self.play_with(self.at(until), &mut |_, _| Disturbance::default())
    }

    /// Plays the timeline; `disturb` is asked after every step.
    pub fn play_with(
        &self,
        until: Timestamp,
        disturb: &mut dyn FnMut(usize, Timestamp) -> Disturbance,
    ) -> Outcome {
        self.play_to_the_end(until, disturb).0
    }

    /// Plays the timeline without interruption; the engine as it is then.
    pub fn engine(&self, until: &str) -> Engine {
        let mut calm = |_, _| Disturbance::default();
        self.play_to_the_end(self.at(until), &mut calm).1
    }

    fn play_to_the_end(
        &self,
        until: Timestamp,
        disturb: &mut dyn FnMut(usize, Timestamp) -> Disturbance,
    ) -> (Outcome, Engine) {
        let mut outcome = Outcome::default();
        let mut stored = Stored::default();
        let mut policy = self.policy.clone();
        let mut engine = stored.engine(&policy, |_| {});
        let mut reloads = self.reloads.clone();
        let mut wishes = self.wishes.clone();
        wishes.sort_by_key(|(at, _)| *at);
        wishes.reverse();
        let (mut poll_at, mut read_until) = (self.from, Timestamp::MIN);
        let mut regular_at = self.from;
        let mut stopped = self.stopped;
        let mut wake_at: Option<Timestamp> = None;
        let mut is_source_failing = false;
        let mut is_restarted = false;
        let mut steps = 0;
        let mut at_same_instant = 0;
        let mut last = Timestamp::MIN;
        loop {
            let reload_at = reloads.keys().next().copied();
            let wish_at = wishes.last().map(|(at, _)| *at);
            let woken_at = wake_at.filter(|_| self.is_woken);
            let now = [Some(poll_at), woken_at, reload_at, wish_at]
                .into_iter()
                .flatten()
                .min()
                .unwrap()
                .max(last);
            let now = match stopped.take_if(|(from, to)| (*from..*to).contains(&now)) {
                Some((_, to)) => {
                    engine = stored.engine(&policy, |_| {});
                    is_restarted = true;
                    (regular_at, poll_at) = (to + Span::seconds(5), to + Span::seconds(5));
                    to
                }
                None => now,
            };
            if now > until {
                break;
            }
            at_same_instant = if now == last { at_same_instant + 1 } else { 0 };
            assert!(at_same_instant < 100, "the engine never sleeps at {now}");
            last = now;
            if let Some(next) = reload_at
                .filter(|at| *at <= now)
                .and_then(|at| reloads.remove(&at))
            {
                policy = next;
                engine.set_policy(Arc::new(policy.clone()));
            }
            let mut input = Input::default();
            if poll_at <= now {
                let is_blind = self.outages.iter().any(|(a, b)| *a <= now && now < *b);
                if is_blind {
                    input.health.push(source_report(now, Err("timeout".into())));
                } else {
                    let before = read_until.max(Timestamp::MIN + self.overlap) - self.overlap;
                    input.observations = self.served(before, now);
                    // Of a project that is gone nothing is read.
                    if !self.is_project_gone(now) {
                        input.coverage.insert(project_key(), now);
                    }
                    input.executions_known.insert(project_key(), now);
                    if std::mem::take(&mut is_restarted) {
                        input.observations.extend(self.protections_now(now));
                    }
                    input
                        .plans_waiting
                        .extend(self.plans_waiting(now).map(|seen| (project_key(), seen)));
                    input.health.push(source_report(now, Ok(())));
                    read_until = now;
                }
                is_source_failing = is_blind;
                for (name, from, to) in &self.receiver_outages {
                    let is_failing = *from <= now && now < *to;
                    input.health.push(HealthReport {
                        subject: SubjectKey::Receiver(name.as_str().into()),
                        at: now,
                        result: if is_failing {
                            Err("401".into())
                        } else {
                            Ok(())
                        },
                    });
                }
                // Polls that were asked for come on top of the regular ones.
                while poll_at <= now {
                    regular_at = regular_at + self.poll_every;
                    poll_at = regular_at;
                }
            }
            while let Some((_, wish)) = wishes.pop_if(|(at, _)| *at <= now) {
                input.acts.push(wish.act(&engine, now));
            }
            let disturbance = disturb(steps, now);
            (disturbance.rows)(&mut input.observations);
            let mut step = engine.step(input, now);
            stored.absorb(&step.changed);
            stored.ledger.extend(step.ledger.clone());
            outcome.take(&mut step, now);
            if disturbance.is_restart {
                engine = stored.engine(&policy, disturbance.replay);
                is_restarted = true;
                step = engine.step(Input::default(), now);
                stored.absorb(&step.changed);
                stored.ledger.extend(step.ledger.clone());
                outcome.take(&mut step, now);
            }
            wake_at = step.wake_at;
            if let Some(hint) = step.poll_at.filter(|_| self.is_woken && !is_source_failing) {
                poll_at = poll_at.min(hint.max(now + Span::milliseconds(1)));
            }
            steps += 1;
        }
        outcome.kept = stored.counts();
        (outcome, engine)
    }
}

/// Changes a list of rows.
pub type Change = Box<dyn FnOnce(&mut Vec<Observation>)>;

/// What goes wrong at a step.
pub struct Disturbance {
    /// The engine is rebuilt from the store afterwards.
    pub is_restart: bool,
    /// Changes the rows that a poll brings: repeats, reorders.
    pub rows: Change,
    /// Changes the order in which history is replayed.
    pub replay: Change,
}

impl Default for Disturbance {
    fn default() -> Self {
        Self {
            is_restart: false,
            rows: Box::new(|_| {}),
            replay: Box::new(|_| {}),
        }
    }
}

fn read_matchers(texts: &[&str]) -> Vec<Matcher> {
    let read = |text: &&str| Matcher::parse(text).unwrap();
    texts.iter().map(read).collect()
}

fn source_report(at: Timestamp, result: Result<(), String>) -> HealthReport {
    HealthReport {
        subject: SubjectKey::Source("prod".into()),
        at,
        result,
    }
}

fn rank(row: &Observation) -> u8 {
    match row {
        Observation::Project(_) | Observation::ProjectGone(_) => 0,
        Observation::Jobs(..) => 1,
        Observation::Protections(..) => 2,
        Observation::Run(..)
        | Observation::Execution(..)
        | Observation::Plan(..)
        | Observation::Averages(..) => 3,
    }
}

impl Outcome {
    fn take(&mut self, step: &mut Step, now: Timestamp) {
        self.told.append(&mut step.notifications);
        self.transitions.append(&mut step.transitions);
        self.ledger.append(&mut step.ledger);
        self.acts.append(&mut step.acts);
        self.judged.push((now, step.judged));
    }

    /// What was told, a line for each alert in a message: time, receiver, reason, headline; `-` marks an
    /// ending, `=` what was told before and goes on.
    pub fn told_text(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for told in &self.told {
            let when = time(told.decided_at, &self.day());
            let head = format!("{when} {} {}", told.receiver, told.reason.as_str());
            if let Some(rollup) = &told.rollup {
                lines.push(format!("{head}: together, {}", rollup.headline));
            }
            match &told.body {
                Body::Notice { headline, .. } => lines.push(format!("{head}: {headline}")),
                Body::Digest(digest) => lines.push(format!("{head}: {}", digest.verdict)),
                Body::Alerts(alerts) => lines.extend(alerts.iter().map(|alert| {
                    let mark = match (alert.ended_at.is_some(), alert.is_new) {
                        (true, true) => "+-",
                        (true, false) => "-",
                        (false, true) => "+",
                        (false, false) => "=",
                    };
                    let severity = alert.severity.as_str();
                    let so = if alert.is_already_so {
                        " (already so)"
                    } else {
                        ""
                    };
                    let taken = alert.acknowledged.as_ref();
                    let taken = taken.map_or(String::new(), |known| format!(" [{}]", known.by));
                    let quiet = alert.silenced.as_ref();
                    let quiet = quiet.map_or("", |_| " [silenced]");
                    format!(
                        "{head}: {mark} {severity} {}{so}{taken}{quiet}",
                        alert.headline
                    )
                })),
            }
            for quiet in &told.suppressed {
                lines.push(format!("{head}: kept quiet, {}", quiet.reason));
            }
        }
        lines
    }

    /// What was told, without what is kept quiet: the ids of silences are nobody's to write down.
    pub fn news_text(&self) -> Vec<String> {
        let mut lines = self.told_text();
        lines.retain(|line| !line.contains(": kept quiet, "));
        lines
    }

    /// What came of what people did: time, who, and the answer.
    pub fn acts_text(&self) -> Vec<String> {
        let line = |acted: &Acted| {
            let head = format!("{} {}", time(acted.act.at, &self.day()), acted.act.by);
            match &acted.outcome {
                Done::Done(said) => format!("{head}: {said}"),
                Done::Refused(refusal) => format!("{head} refused: {refusal}"),
            }
        };
        self.acts.iter().map(line).collect()
    }

    /// Final ledger rows, by rule and instant: the last row of each promise.
    pub fn ledger_text(&self) -> Vec<String> {
        self.final_ledger()
            .values()
            .map(|row| {
                let due = time(row.due_at, &self.day());
                let job = row.labels.get("job");
                format!("{} {job} {due} {}", row.rule, promise(&row.outcome))
            })
            .collect()
    }

    /// The last row of each promise.
    pub fn final_ledger(&self) -> BTreeMap<(String, Timestamp, String), &LedgerRow> {
        let key = |row: &LedgerRow| (row.rule.to_string(), row.due_at, row.labels.to_string());
        self.ledger.iter().map(|row| (key(row), row)).collect()
    }

    /// State changes: when true, to, and why.
    pub fn states_text(&self) -> Vec<String> {
        self.transitions
            .iter()
            .map(|change| {
                let to = format!("{:?}", change.to).to_lowercase();
                format!("{} {to}: {}", time(change.at, &self.day()), change.reason)
            })
            .collect()
    }

    fn day(&self) -> String {
        self.judged
            .first()
            .map_or(String::new(), |(at, _)| at.to_string()[..10].to_owned())
    }
}

/// A ledger outcome in a word or two.
pub fn promise(outcome: &Promise) -> String {
    match outcome {
        Promise::Met => "met".into(),
        Promise::LateBy(millis) => format!("late by {} s", millis / 1_000),
        Promise::Missed => "missed".into(),
        Promise::Excused(why) => format!("excused: {why}"),
        Promise::Unknown => "unknown".into(),
    }
}

/// `06:10`, with seconds and date only where they say something.
fn time(at: Timestamp, day: &str) -> String {
    let text = at.to_string();
    let (date, clock) = text.split_once('T').unwrap();
    let clock = &clock[..8];
    let clock = clock
        .strip_suffix(":00")
        .filter(|c| c.len() == 5)
        .unwrap_or(clock);
    if date == day {
        clock.to_owned()
    } else {
        format!("{} {clock}", &date[5..])
    }
}

/// Plays a timeline as it is, and with a restart at every step: the same is told, and it is what is expected. `NOTICE`
/// stands for any.
#[track_caller]
pub fn check_restarted(timeline: &Timeline, until: &str, expected: &str) -> Outcome {
    let until = timeline.at(until);
    let plain = timeline.play_with(until, &mut |_, _| Disturbance::default());
    let restarted = timeline.play_with(until, &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert_eq!(
        plain.acts_text(),
        restarted.acts_text(),
        "acts with restarts"
    );
    let (told, again) = (plain.told_text(), restarted.told_text());
    assert!(
        told == again,
        "\nplain\n  {}\nrestarted\n  {}\n",
        told.join("\n  "),
        again.join("\n  ")
    );
    let is_notice = |line: &String| line.contains(" notice: ");
    let news = plain.news_text().into_iter();
    let news = news.map(|line| {
        if is_notice(&line) {
            "NOTICE".to_owned()
        } else {
            line
        }
    });
    check(&news.collect::<Vec<_>>(), expected);
    plain
}

/// Compares lines with what is expected, one fact a line; indentation does not matter.
#[track_caller]
pub fn check(actual: &[String], expected: &str) {
    let wanted: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let found: Vec<&str> = actual.iter().map(String::as_str).collect();
    assert!(
        found == wanted,
        "\nexpected\n  {}\nfound\n  {}\n",
        wanted.join("\n  "),
        found.join("\n  ")
    );
}
