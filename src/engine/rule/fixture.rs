//! One job with its runs, judged as it would be at an instant: for the tables of the kinds.

use std::collections::BTreeSet;

use chrono::NaiveTime;
use chrono_tz::Tz;

use super::super::alert::{self, Alert, EndReason, Evidence, Finding, Verdict};
use super::super::calendar::Calendar;
use super::super::history::History;
use super::super::ledger::{Ledger, Promise};
use super::super::observation::{
    Averaged, DayAverage, Execution, Job, Name, Plan, Project, ProjectKey, Protection, Run, Status,
    WaitingPlans,
};
use super::super::subject::{ALL_JOBS, SubjectKey};
use super::super::time::{Span, Timestamp};
use super::context::{Context, Judgement, Memory};
use super::survey::Survey;
use super::{Rule, RuleKind};

/// A rule at the job `job` of the project `p1`.
pub(super) struct Case {
    pub rule: Rule,
    /// Other rules of the policy.
    pub others: Vec<Rule>,
    pub memory: Memory,
    pub ledger: Ledger,
    history: History,
    subject: SubjectKey,
    open: Vec<Alert>,
}

/// `06:10` on 10 March 2026, or RFC 3339.
pub(super) fn at(text: &str) -> Timestamp {
    match text.len() {
        5 => Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap(),
        _ => Timestamp::parse(text).unwrap(),
    }
}

/// Every day between two hours, UTC.
pub(super) fn calendar(open: &str, close: &str) -> Calendar {
    let time = |text| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
    Calendar {
        name: "business".into(),
        zone: Tz::UTC,
        days: [true; 7],
        hours: Some((time(open), time(close))),
        holidays: BTreeSet::new(),
    }
}

fn key() -> ProjectKey {
    ProjectKey {
        source: "prod".into(),
        project_id: "p1".into(),
    }
}

impl Case {
    /// Watched since midnight.
    pub(super) fn new(kind: RuleKind) -> Self {
        let judged_until = if kind.reads_history() {
            Timestamp::MIN
        } else {
            at("00:00")
        };
        Self {
            memory: Memory::new(at("00:00"), judged_until),
            rule: Rule::new("rule", kind, "rules/a.toml:1"),
            others: Vec::new(),
            ledger: Ledger::default(),
            history: History::default(),
            subject: SubjectKey::Job(key(), "job".into()),
            open: Vec::new(),
        }
    }

    /// The project instead of the job.
    pub(super) fn whole_project(mut self) -> Self {
        self.subject = SubjectKey::Project(key());
        self
    }

    /// The source instead of the job.
    pub(super) fn source(mut self) -> Self {
        self.subject = SubjectKey::Source("prod".into());
        self
    }

    /// The project `finance`, deployed and running, as it is seen at an instant.
    pub(super) fn project(mut self, seen: &str, change: impl FnOnce(&mut Project)) -> Self {
        let mut project = Project {
            key: key(),
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
        self.history.observe_project(project, at(seen));
        self
    }

    /// A plan's row: instant, group, id, type, status, message. A superseded one is rejected.
    pub(super) fn plan(mut self, text: &str) -> Self {
        let words: Vec<&str> = text.splitn(6, ' ').collect();
        let is_superseded = words[4] == "superseded";
        let status = if is_superseded { "rejected" } else { words[4] };
        let known = self.history.project(&key());
        let plan = known.and_then(|project| project.plans().iter().find(|p| &*p.id == words[2]));
        let plan = Plan {
            id: words[2].into(),
            group_id: Some(words[1].into()),
            plan_type: Some(words[3].into()),
            status: status.into(),
            to_commit: None,
            commit_message: Some(words[5].into()),
            created_at: plan.map_or(at(words[0]), |plan| plan.created_at),
            updated_at: at(words[0]),
            is_superseded,
        };
        self.history.observe_plan(&key(), plan);
        self
    }

    /// Exactly these plans wait at an instant.
    pub(super) fn plans_known(mut self, seen: &str, ids: &[&str]) -> Self {
        let seen = WaitingPlans {
            at: at(seen),
            ids: ids.iter().map(|id| Name::from(*id)).collect(),
        };
        self.history.cover_plans(&key(), &seen);
        self
    }

    /// The list of protections of the source: `prod on`.
    pub(super) fn protections(mut self, list: &[&str]) -> Self {
        let list = list.iter().map(|text| {
            let (environment, word) = text.split_once(' ').unwrap();
            Protection {
                environment: environment.into(),
                is_enabled: word == "on",
            }
        });
        self.history
            .observe_protections(&"prod".into(), list.collect());
        self
    }

    /// What is found at an instant is an open alert from then on, and remembered.
    pub(super) fn opened(mut self, now: &str) -> Self {
        let judgement = self.judgement(now);
        for finding in &judgement.findings {
            let mut slot = None;
            let new = |evidence: &Evidence| self.alert(finding, evidence);
            alert::fold(&mut slot, finding, &self.rule, new, at(now));
            self.open.extend(slot);
        }
        self.memory = judgement.memory;
        self
    }

    /// The alerts that are open in another case are open in this one.
    pub(super) fn with_open_of(mut self, other: &Self) -> Self {
        self.open.clone_from(&other.open);
        self
    }

    fn alert(&self, finding: &Finding, evidence: &Evidence) -> Alert {
        let mut identity = self.subject.identity();
        for (name, value) in finding.occurrence.iter() {
            identity.set(name, value);
        }
        Alert::begin(&self.rule, identity.clone(), identity, evidence, finding.at)
    }

    /// The model of the job instead of the job.
    pub(super) fn model(mut self, model: &str) -> Self {
        self.subject = SubjectKey::Model(key(), "job".into(), model.into());
        self
    }

    /// All jobs of the project instead of the job, known by daily averages: a model of theirs, or their runs.
    pub(super) fn averaged(mut self, model: Option<&str>) -> Self {
        let job = Name::from(ALL_JOBS);
        self.subject = match model {
            Some(model) => SubjectKey::Model(key(), job, model.into()),
            None => SubjectKey::Job(key(), job),
        };
        self
    }

    /// What the subject took on average on a day, counted from the last of February.
    pub(super) fn average(mut self, day: i64, count: Option<u64>, seconds: u64) -> Self {
        let of = match &self.subject {
            SubjectKey::Model(_, _, model) => Averaged::Model(model.clone()),
            _ => Averaged::Runs,
        };
        self.observe_average(of, day, count, seconds);
        self
    }

    /// What another model took on average on a day.
    pub(super) fn average_of(
        mut self,
        model: &str,
        day: i64,
        count: Option<u64>,
        seconds: u64,
    ) -> Self {
        self.observe_average(Averaged::Model(model.into()), day, count, seconds);
        self
    }

    fn observe_average(&mut self, of: Averaged, day: i64, count: Option<u64>, seconds: u64) {
        let day = (at("00:00") + Span::days(day - 10)).to_utc().date_naive();
        let millis = seconds * 1_000;
        let average = DayAverage {
            of,
            day,
            count,
            millis,
        };
        self.history.observe_averages(&key(), vec![average]);
    }

    /// The job as it is listed at an instant.
    pub(super) fn job(mut self, seen: &str, schedule: &str, is_enabled: bool) -> Self {
        let job = Job {
            name: "job".into(),
            schedule: Some(schedule.into()),
            is_enabled,
            updated_at: Some(at(seen)),
        };
        self.history.observe_jobs(&key(), vec![job], at(seen));
        self
    }

    /// A run: `06:00 -> 06:10 failed: boom`, `06:00 running`, `06:00 pending`.
    pub(super) fn run(self, id: &str, text: &str) -> Self {
        self.run_by(id, "scheduled", text)
    }

    /// A run that somebody else started.
    pub(super) fn run_by(mut self, id: &str, triggered_by: &str, text: &str) -> Self {
        let (from, rest) = text.split_once(' ').unwrap();
        let (end, words) = match rest.strip_prefix("-> ") {
            Some(rest) => rest
                .split_once(' ')
                .map(|(end, words)| (Some(at(end)), words))
                .unwrap(),
            None => (None, rest),
        };
        let (word, error) = words.split_once(": ").unwrap_or((words, ""));
        let status = Status::from_word(word);
        let created_at = at(from);
        let run = Run {
            id: id.into(),
            job: Some("job".into()),
            job_type: "run".into(),
            triggered_by: triggered_by.into(),
            created_at,
            started_at: (status != Status::Pending).then_some(created_at),
            finished_at: end,
            updated_at: end.unwrap_or(created_at),
            error: (!error.is_empty()).then(|| Name::from(error)),
            status,
        };
        self.history.observe_run(&key(), run);
        self
    }

    /// A run that waited and goes on: `06:00 06:15 running`.
    pub(super) fn queued(mut self, id: &str, text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let run = Run {
            id: id.into(),
            job: Some("job".into()),
            job_type: "run".into(),
            triggered_by: "scheduled".into(),
            created_at: at(words[0]),
            started_at: Some(at(words[1])),
            finished_at: None,
            updated_at: at(words[1]),
            error: None,
            status: Status::from_word(words[2]),
        };
        self.history.observe_run(&key(), run);
        self
    }

    /// Model executions are known up to an instant.
    pub(super) fn executions_known(mut self, until: &str) -> Self {
        self.history.cover_executions(&key(), at(until));
        self
    }

    /// An execution: `06:00 -> 06:10 failed: boom`, `06:00 -> 06:10 success rows 120`, `06:00 running`.
    pub(super) fn execution(mut self, run: &str, model: &str, text: &str) -> Self {
        let (from, rest) = text.split_once(' ').unwrap();
        let (end, words) = match rest.strip_prefix("-> ") {
            Some(rest) => rest.split_once(' ').unwrap(),
            None => (from, rest),
        };
        let (words, rows) = words.split_once(" rows ").unwrap_or((words, ""));
        let (word, error) = words.split_once(": ").unwrap_or((words, ""));
        let status = Status::from_word(word);
        let execution = Execution {
            id: format!("{run}/{model}/{from}").into(),
            run_id: Some(run.into()),
            model: model.into(),
            started_at: Some(at(from)),
            finished_at: (!status.is_active()).then(|| at(end)),
            status,
            updated_at: at(end),
            rows: rows.parse().ok(),
            error: (!error.is_empty()).then(|| Name::from(error)),
        };
        self.history.observe_execution(&key(), execution);
        self
    }

    /// Judges with runs known up to an instant.
    pub(super) fn judgement(&self, known_until: &str) -> Judgement {
        let survey = Survey {
            now: at(known_until),
            rule: &self.rule,
            subject: &self.subject,
            history: &self.history,
            ledger: &self.ledger,
            memory: &self.memory,
            open: &self.open,
        };
        if let Some(judgement) = self.rule.kind.survey(&survey) {
            return judgement;
        }
        self.with_context(known_until, |ctx| self.rule.kind.judge(ctx))
    }

    /// What a rule sees with runs known up to an instant.
    pub(super) fn with_context<T>(
        &self,
        known_until: &str,
        look: impl FnOnce(&Context<'_>) -> T,
    ) -> T {
        let mut history = History::default();
        let project = self.history.project(&key());
        let empty = project
            .is_none()
            .then(|| history.cover(&key(), at("00:00")));
        let project = match empty {
            Some(_) => history.project(&key()),
            None => project,
        };
        look(&Context {
            now: at(known_until),
            rule: &self.rule,
            rules: &self.others,
            subject: &self.subject,
            project: project.unwrap(),
            schedule_zone: Tz::UTC,
            known_until: at(known_until),
            ledger: &self.ledger,
            memory: &self.memory,
            open: &self.open,
        })
    }

    /// What is said of the subject now: the last finding of each occurrence, then the promises.
    pub(super) fn judge(&self, known_until: &str) -> Vec<String> {
        let judgement = self.judgement(known_until);
        let findings = judgement.findings.iter().map(finding_text);
        let rows = judgement.ledger.iter().map(|row| {
            let outcome = match &row.outcome {
                Promise::LateBy(millis) => format!("late by {} s", millis / 1_000),
                other => format!("{other:?}").to_lowercase(),
            };
            format!("promise {} {outcome}", clock(row.due_at))
        });
        findings.chain(rows).collect()
    }

    /// Goes on from what is remembered after a look at an instant.
    pub(super) fn after(mut self, known_until: &str) -> Self {
        let judgement = self.judgement(known_until);
        for row in judgement.ledger {
            self.ledger.record(row);
        }
        self.memory = judgement.memory;
        self
    }
}

fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    let short = text.strip_prefix("2026-03-10T").unwrap_or(&text[5..]);
    let short = short.trim_end_matches('Z');
    short.strip_suffix(":00").unwrap_or(short).to_owned()
}

fn finding_text(finding: &Finding) -> String {
    let word = match &finding.verdict {
        Verdict::Ok(ending) if ending.reason == EndReason::Expired => {
            format!("expired {}", ending.headline)
        }
        Verdict::Ok(ending) => format!("ok {}", ending.headline),
        Verdict::Breach(evidence) => format!("breach {}", evidence.headline),
        Verdict::Unknown(why) => format!("unknown {why}"),
    };
    format!("{} {word}", clock(finding.at))
}
