//! One cause, one message: which alerts keep which others quiet without being configured to.
//!
//! Role: [`TABLE`] says which alert explains which; [`Folds`] decides, for each receiver, which alerts are not
//! announced because their explanation is.
//! Guarantees: an alert is folded into another at a receiver only when that one fires, is at least as bad as
//! the receiver knows it, and the receiver has been told of it or is told in the same breath. Whoever would not
//! hear of the explanation hears of the alert itself. What a receiver has been told already is never folded:
//! its upgrades, reminders and ending go on. A condition that is over, although its alert is kept firing,
//! explains nothing. Configured inhibitions are another thing ([`super::inhibition`]): they are somebody's
//! choice, and hold whatever the severities are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::alert::{Alert, AlertState};
use super::history::History;
use super::labels::Fingerprint;
use super::notification::{Suppressed, SuppressionReason};
use super::observation::{Name, ProjectKey};
use super::rule::Clock;
use super::time::Span;

/// What an alert and its explanation have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// The job is one of those that fail together.
    Member,
    /// The job.
    Job,
    /// The run, or one before it in the same row of failures.
    Failure,
    /// The run.
    Run,
    /// The run became slower together with the model, in the same run.
    Slower,
    /// The model became slower in a run that did, not later, and adds no more than the run took longer.
    SlowerRun,
}

/// Which alerts of the kind are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All.
    All,
    /// Early warnings of a deadline; never the breach.
    Early,
    /// A deadline whose cause is that nothing started.
    NotStarted,
}

/// `by` explains `quiet`.
struct Row {
    by: &'static str,
    quiet: &'static [&'static str],
    tie: Tie,
    part: Part,
}

/// One cause, one message. An alert that explains others comes before those that it explains, so that it is
/// known whether it is told when they are looked at.
const TABLE: [Row; 8] = [
    Row {
        by: "platform_incident",
        quiet: &["run_failed", "model_failed", "run_duration"],
        tie: Tie::Member,
        part: Part::All,
    },
    Row {
        by: "run_failed",
        quiet: &["model_failed"],
        tie: Tie::Failure,
        part: Part::All,
    },
    Row {
        by: "run_duration",
        quiet: &["run_regression"],
        tie: Tie::Job,
        part: Part::All,
    },
    Row {
        by: "run_duration",
        quiet: &["deadline"],
        tie: Tie::Run,
        part: Part::Early,
    },
    Row {
        by: "missed_schedule",
        quiet: &["staleness"],
        tie: Tie::Job,
        part: Part::All,
    },
    Row {
        by: "missed_schedule",
        quiet: &["deadline"],
        tie: Tie::Job,
        part: Part::NotStarted,
    },
    Row {
        by: "model_regression",
        quiet: &["run_regression"],
        tie: Tie::Slower,
        part: Part::All,
    },
    Row {
        by: "run_regression",
        quiet: &["model_regression"],
        tie: Tie::SlowerRun,
        part: Part::All,
    },
];

/// Kinds that are explained and explain, in this order: they are looked at before the others.
const IN_BETWEEN: [&str; 3] = ["run_failed", "run_duration", "run_regression"];

/// Models that became slower longer ago than this explain no run that becomes slower now.
const SLOWER_WITHIN: Span = Span::days(7);

/// Models explain a slower run when together they add this share of what it took longer.
const EXPLAINED_SHARE: f64 = 0.5;

/// A slower run explains a model that adds as much as it does, give or take what single runs vary.
const MODELS_SHARE: f64 = 0.8;

/// An alert of the second kind goes on with the conversation that one of the first kind about the same job
/// began: it is no new incident but a worse one.
const GOES_ON: [(&str, &str); 1] = [("run_failed", "deadline")];

/// `later` is what `earlier` has come to, at the same job.
pub(super) fn goes_on(earlier: &Alert, later: &Alert) -> bool {
    GOES_ON.contains(&(&*earlier.kind, &*later.kind)) && job_of(earlier) == job_of(later)
}

impl Row {
    fn explains(&self, cause: &Alert, alert: &Alert, history: &History) -> bool {
        let is_meant = match self.part {
            Part::All => true,
            Part::Early => alert.evidence.change_key.is_none(),
            Part::NotStarted => alert.evidence.change_key.as_deref() == Some("not_started"),
        };
        *self.by == *cause.kind
            && self.quiet.contains(&&*alert.kind)
            && is_meant
            && self.tie.binds(cause, alert, history)
    }
}

impl Tie {
    fn binds(self, cause: &Alert, alert: &Alert, history: &History) -> bool {
        let same = |label: &str| cause.identity.get(label) == alert.identity.get(label);
        match self {
            Self::Member => {
                let (project_id, job) =
                    (alert.identity.get("project_id"), alert.identity.get("job"));
                let incident = cause.evidence.incident.as_ref();
                same("source") && incident.is_some_and(|known| known.is_failing(project_id, job))
            }
            Self::Job => job_of(cause) == job_of(alert),
            Self::Run => {
                let run = cause.evidence.run_id.as_deref();
                job_of(cause) == job_of(alert) && run == alert.evidence.run_id.as_deref()
            }
            Self::Slower => {
                is_same_run(cause, alert)
                    && is_about_its_work(alert)
                    && alert.began_at - cause.began_at <= SLOWER_WITHIN
            }
            Self::SlowerRun => {
                is_same_run(cause, alert)
                    && is_about_its_work(cause)
                    && alert.began_at <= cause.began_at
                    && MODELS_SHARE * alert.evidence.weight <= cause.evidence.weight
            }
            Self::Failure => {
                job_of(cause) == job_of(alert) && is_in_row(cause, alert, history) == Some(true)
            }
        }
    }
}

/// Both are about the same run of a job, and held against what was usual: growth is another thing.
fn is_same_run(a: &Alert, b: &Alert) -> bool {
    let is_slower = |alert: &Alert| alert.evidence.baseline.is_some();
    let run = |alert: &Alert| alert.evidence.run_id.clone();
    job_of(a) == job_of(b) && run(a).is_some() && run(a) == run(b) && is_slower(a) && is_slower(b)
}

/// A slower run's alert is about a time that its models are part of, not about how long it waited.
fn is_about_its_work(run_alert: &Alert) -> bool {
    run_alert.evidence.labels.get("clock") != Clock::Queue.as_str()
}

/// Those of the alerts that explain `alert` to somebody who hears of them and of no others, in their order.
/// Slower models do so together, each counted once, however many rules tell of it.
fn explanation<'a>(alert: &Alert, heard: &[&'a Alert]) -> Option<&'a Alert> {
    let is_model = |cause: &&Alert| *cause.kind == *"model_regression";
    let mut added: BTreeMap<&str, f64> = BTreeMap::new();
    for cause in heard.iter().copied().filter(is_model) {
        let most = added.entry(cause.identity.get("model")).or_default();
        *most = most.max(cause.evidence.weight);
    }
    let is_enough = added.values().sum::<f64>() >= EXPLAINED_SHARE * alert.evidence.weight;
    let mut heard = heard.iter().copied();
    heard.find(|cause| is_enough || !is_model(cause))
}

/// The run that `alert` is about is the one that `cause` tells of, or an earlier failure that it told of since
/// it fires.
fn is_in_row(cause: &Alert, alert: &Alert, history: &History) -> Option<bool> {
    let (newest, run_id) = (
        cause.evidence.run_id.as_ref()?,
        alert.evidence.run_id.as_ref()?,
    );
    if newest == run_id {
        return Some(true);
    }
    let project = history.project(&project_of(alert))?;
    let (newest, run) = (project.run(newest)?, project.run(run_id)?);
    let settled_at = run.settled_at();
    Some(
        run.status.is_failure()
            && settled_at >= cause.began_at
            && settled_at <= newest.settled_at(),
    )
}

/// A run of the alert's job is active.
fn has_active_run(alert: &Alert, history: &History) -> bool {
    let project = history.project(&project_of(alert));
    let job = project.and_then(|project| Some((project, project.job(alert.identity.get("job"))?)));
    job.is_some_and(|(project, job)| project.active(job).next().is_some())
}

fn project_of(alert: &Alert) -> ProjectKey {
    ProjectKey {
        source: alert.identity.get("source").into(),
        project_id: alert.identity.get("project_id").into(),
    }
}

fn job_of(alert: &Alert) -> [&str; 3] {
    ["source", "project_id", "job"].map(|label| alert.identity.get(label))
}

/// An alert that is not announced at a receiver because another one is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fold {
    by: Fingerprint,
    suppressed: Suppressed,
}

/// What a receiver hears of alerts.
pub(super) trait Hearing {
    /// Receivers that an alert reaches.
    fn receivers(&self, alert: &Alert) -> BTreeSet<Name>;
    /// A receiver was told of an alert, and not of its end.
    fn is_told(&self, receiver: &Name, print: Fingerprint) -> bool;
    /// A receiver knows of an alert at least as bad as `alert`, or is about to hear of it if nothing explains
    /// it.
    fn hears(&self, receiver: &Name, cause: &Alert, alert: &Alert) -> bool;
    /// Why an alert was kept quiet because of another one until now, if it tells of the same run still.
    fn was_explained(&self, alert: &Alert) -> Option<SuppressionReason>;
}

/// Which alerts are not announced at which receiver, and because of which other.
#[derive(Debug, Default)]
pub(super) struct Folds(BTreeMap<Name, BTreeMap<Fingerprint, Fold>>);

/// Firing alerts that may explain others: those of a job, and those of a whole source.
struct Causes<'a>(HashMap<[&'a str; 3], Vec<&'a Alert>>);

impl<'a> Causes<'a> {
    fn new(alerts: impl Iterator<Item = &'a Alert>) -> Self {
        let mut causes: HashMap<[&str; 3], Vec<&Alert>> = HashMap::new();
        for alert in alerts {
            let is_cause = TABLE.iter().any(|row| *row.by == *alert.kind);
            if is_cause && alert.state == AlertState::Firing && alert.cleared_at.is_none() {
                causes.entry(job_of(alert)).or_default().push(alert);
            }
        }
        Self(causes)
    }

    fn of(&self, alert: &Alert, history: &History) -> Vec<&'a Alert> {
        let of_source = [alert.identity.get("source"), "", ""];
        let keys = [of_source, job_of(alert)];
        let found = keys.map(|key| self.0.get(&key).cloned().unwrap_or_default());
        let explains = |cause: &&Alert| {
            let mut rows = TABLE.iter();
            rows.any(|row| row.explains(cause, alert, history))
        };
        found.into_iter().flatten().filter(explains).collect()
    }
}

impl Folds {
    /// Looks at every alert that could be announced.
    pub(super) fn new(
        alerts: &BTreeMap<Fingerprint, Alert>,
        history: &History,
        hearing: &impl Hearing,
    ) -> Self {
        let mut folds = Self::default();
        let causes = Causes::new(alerts.values());
        if causes.0.is_empty() {
            return folds;
        }
        let is_announced =
            |alert: &&Alert| matches!(alert.state, AlertState::Firing | AlertState::Resolved);
        let place = |alert: &&Alert| {
            let mut kinds = IN_BETWEEN.iter();
            kinds.position(|kind| **kind == *alert.kind)
        };
        let mut all: Vec<&Alert> = alerts.values().filter(is_announced).collect();
        all.sort_by_key(|alert| place(alert).unwrap_or(IN_BETWEEN.len()));
        for alert in all {
            folds.fold(alert, &causes.of(alert, history), hearing);
            folds.keep(alert, history, hearing);
        }
        folds
    }

    /// A slower run whose models explained it: they may be back while the next run still goes on. Whether that
    /// one is slower, too, is not known before its end. Then the alert tells of that one, and what explained
    /// the run before does not keep it quiet, although others go on.
    fn keep(&mut self, alert: &Alert, history: &History, hearing: &impl Hearing) {
        if *alert.kind != *"run_regression" || !has_active_run(alert, history) {
            return;
        }
        let Some(reason) = hearing.was_explained(alert) else {
            return;
        };
        for receiver in hearing.receivers(alert) {
            let is_settled = self.is_folded(&receiver, alert.fingerprint)
                || hearing.is_told(&receiver, alert.fingerprint);
            if !is_settled {
                let fold = Fold {
                    by: alert.fingerprint,
                    suppressed: Suppressed {
                        id: alert.id(),
                        headline: alert.headline().to_owned(),
                        reason: reason.clone(),
                    },
                };
                let known = self.0.entry(receiver).or_default();
                known.insert(alert.fingerprint, fold);
            }
        }
    }

    /// Folds an alert at receivers to whom those of its causes that they hear explain it.
    fn fold(&mut self, alert: &Alert, causes: &[&Alert], hearing: &impl Hearing) {
        if causes.is_empty() {
            return;
        }
        for receiver in hearing.receivers(alert) {
            if hearing.is_told(&receiver, alert.fingerprint) {
                continue;
            }
            let is_heard = |cause: &&Alert| {
                !self.is_folded(&receiver, cause.fingerprint)
                    && hearing.hears(&receiver, cause, alert)
            };
            let heard: Vec<&Alert> = causes.iter().copied().filter(is_heard).collect();
            let Some(cause) = explanation(alert, &heard) else {
                continue;
            };
            let fold = Fold {
                by: cause.fingerprint,
                suppressed: Suppressed {
                    id: alert.id(),
                    headline: alert.headline().to_owned(),
                    reason: SuppressionReason::Inhibited(cause.id()),
                },
            };
            let known = self.0.entry(receiver).or_default();
            known.insert(alert.fingerprint, fold);
        }
    }

    /// An alert is not announced at a receiver.
    pub(super) fn is_folded(&self, receiver: &Name, print: Fingerprint) -> bool {
        self.find(receiver, print).is_some()
    }

    fn find(&self, receiver: &Name, print: Fingerprint) -> Option<&Fold> {
        self.0.get(receiver)?.get(&print)
    }

    /// Another alert explains it at a receiver now; it is not only kept quiet because one did.
    pub(super) fn is_explained(&self, print: Fingerprint) -> bool {
        let mut folds = self.0.values().filter_map(|known| known.get(&print));
        folds.any(|fold| fold.by != print)
    }

    /// Why an alert is not announced somewhere.
    pub(super) fn reason(&self, print: Fingerprint) -> Option<SuppressionReason> {
        let mut folds = self.0.values().filter_map(|known| known.get(&print));
        folds.next().map(|fold| fold.suppressed.reason.clone())
    }

    /// What a receiver is not told: alerts for which `is_shown` says so of the alert or of its explanation.
    pub(super) fn of(
        &self,
        receiver: &Name,
        is_shown: impl Fn(Fingerprint) -> bool,
    ) -> Vec<Suppressed> {
        let known = self.0.get(receiver).into_iter().flatten();
        known
            .filter(|(print, fold)| is_shown(**print) || is_shown(fold.by))
            .map(|(_, fold)| fold.suppressed.clone())
            .collect()
    }
}
