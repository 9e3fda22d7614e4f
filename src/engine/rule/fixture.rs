//! One job with its runs, judged as it would be at an instant: for the tables of the kinds.

use chrono_tz::Tz;

use super::super::alert::{EndReason, Finding, Verdict};
use super::super::history::History;
use super::super::labels::Labels;
use super::super::ledger::{Ledger, Promise};
use super::super::observation::{Execution, Job, Name, ProjectKey, Run, Status};
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp};
use super::context::{Context, Judgement, Memory};
use super::{Annotations, Rule, RuleKind, Selectors, Severity};

/// A rule at the job `job` of the project `p1`.
pub(super) struct Case {
    pub rule: Rule,
    pub memory: Memory,
    pub ledger: Ledger,
    history: History,
    subject: SubjectKey,
}

/// `06:10` on 10 March 2026, or RFC 3339.
pub(super) fn at(text: &str) -> Timestamp {
    match text.len() {
        5 => Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap(),
        _ => Timestamp::parse(text).unwrap(),
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
            rule: Rule {
                name: "rule".into(),
                kind,
                selectors: Selectors::default(),
                severity: Severity::Critical,
                labels: Labels::default(),
                annotations: Annotations::default(),
                schedule: None,
                hold: Span::zero(),
                keep_firing_for: Span::zero(),
                times: None,
                clear: 0.9,
                calendar: None,
                receivers: None,
                zone: Tz::UTC,
                origin: "rules/a.toml:1".into(),
            },
            ledger: Ledger::default(),
            history: History::default(),
            subject: SubjectKey::Job(key(), "job".into()),
        }
    }

    /// The model of the job instead of the job.
    pub(super) fn model(mut self, model: &str) -> Self {
        self.subject = SubjectKey::Model(key(), "job".into(), model.into());
        self
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
            subject: &self.subject,
            project: project.unwrap(),
            schedule_zone: Tz::UTC,
            known_until: at(known_until),
            ledger: &self.ledger,
            memory: &self.memory,
            open: &[],
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
