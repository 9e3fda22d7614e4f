//! Many models slower in one run: one headline, the five that cost most, and a count of the others.
//!
//! Role: looks at the alerts of one message and says whether models of one run among them are to be told
//! together. When at least half of the run's models that have a baseline became slower alike, it is the whole
//! warehouse that is slower. Guarantees: pure; every alert stays in the message and keeps its own state and
//! ending; only what people read first changes. It does not decide whom to tell, nor when.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::alert::{Alert, AlertState, EndReason};
use super::baseline::{Baseline, seconds, span};
use super::history::{ExecutionRecord, History, ModelHistory, Outcome, ProjectHistory};
use super::labels::Fingerprint;
use super::observation::{Name, ProjectKey, Run};
use super::time::{Timestamp, human_span, human_time};

/// Models that are told together; fewer speak for themselves.
const MANY: usize = 3;

/// Models written out; the others are counted.
const SHOWN: usize = 5;

/// Ratios this share around their median are alike.
const ALIKE: f64 = 0.25;

/// Successes that make a model one that can be judged.
const MIN_RUNS: usize = 8;

/// Successes that its usual time is made from.
const USUAL_RUNS: usize = 20;

/// The kind that is told together.
const KIND: &str = "model_regression";

/// What is told together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Together {
    /// One line that stands alone.
    pub(super) headline: String,
    /// The alerts, those first that cost most.
    pub(super) members: Vec<Fingerprint>,
    /// Of them, how many are written out.
    pub(super) shown: usize,
    /// `and 7 more, +3 min together`.
    pub(super) more: Option<String>,
}

/// One message's alerts and what is known.
pub(super) struct Look<'a> {
    pub(super) history: &'a History,
    pub(super) zone: Tz,
    pub(super) now: Timestamp,
}

impl Look<'_> {
    /// What of the alerts is told together: models that became slower in one run, or else that are back.
    pub(super) fn together(&self, alerts: &[&Alert]) -> Option<Together> {
        let of_kind = || alerts.iter().copied().filter(|alert| *alert.kind == *KIND);
        let firing = of_kind()
            .filter(|alert| alert.state == AlertState::Firing && alert.evidence.baseline.is_some());
        let slower = largest(firing, |alert| alert.evidence.run_id.clone());
        if slower.len() >= MANY {
            return Some(self.slower(slower));
        }
        if of_kind().any(|alert| alert.state == AlertState::Firing) {
            return None;
        }
        let is_back = |alert: &&Alert| {
            let ending = alert.ending.as_ref();
            ending.is_some_and(|ending| ending.reason == EndReason::Resolved)
        };
        let back = largest(of_kind().filter(is_back), |_| None);
        (back.len() >= MANY).then(|| self.back(back))
    }

    fn slower(&self, mut members: Vec<&Alert>) -> Together {
        members.sort_by(|a, b| b.evidence.weight.total_cmp(&a.evidence.weight));
        let first = members[0];
        let added: f64 = members.iter().map(|alert| alert.evidence.weight).sum();
        let since_at = most_common_since(&members).unwrap_or(first.began_at);
        let job = self.job_title(first);
        let since = self.since(since_at);
        let headline = match self.warehouse(&members, since_at) {
            Some(whole) => format!(
                "Slower: the whole warehouse of {job}: {} of {} models took +{:.0} % (+{} together) {since}",
                whole.alike,
                whole.judged,
                whole.more * 100.0,
                human_span(span(whole.added))
            ),
            None => format!(
                "Slower: {} models of {job} took +{} together {since}, most of it {} (+{})",
                members.len(),
                human_span(span(added)),
                first.identity.get("model"),
                human_span(span(first.evidence.weight))
            ),
        };
        let hidden = members.get(SHOWN..).unwrap_or_default();
        let rest: f64 = hidden.iter().map(|alert| alert.evidence.weight).sum();
        let more = (!hidden.is_empty()).then(|| {
            let rest = human_span(span(rest));
            format!("and {} more, +{rest} together", hidden.len())
        });
        together(headline, &members, more)
    }

    fn back(&self, mut members: Vec<&Alert>) -> Together {
        members.sort_by(|a, b| b.evidence.weight.total_cmp(&a.evidence.weight));
        let job = self.job_title(members[0]);
        let headline = format!("Back to usual: {} models of {job}", members.len());
        let hidden = members.len().saturating_sub(SHOWN);
        let more = (hidden > 0).then(|| format!("and {hidden} more"));
        together(headline, &members, more)
    }

    /// The run's models that can be judged, when at least half of them became slower alike.
    fn warehouse(&self, members: &[&Alert], since_at: Timestamp) -> Option<Warehouse> {
        let first = members.first()?;
        let project = self.history.project(&project_of(first))?;
        let run = project.run(first.evidence.run_id.as_ref()?)?;
        let mut ratios: Vec<f64> = members
            .iter()
            .filter_map(|alert| {
                let usual = alert.evidence.baseline?.median;
                Some(1.0 + alert.evidence.weight / usual)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let middle = *ratios.get(ratios.len() / 2)?;
        // Alike, and nearer to the slow ones than to none.
        let low = (middle * (1.0 - ALIKE)).max(f64::midpoint(1.0, middle));
        let alike = low..=middle * (1.0 + ALIKE);
        let job = Name::from(first.identity.get("job"));
        let judged: Vec<(Option<f64>, f64)> = project
            .models_of(&job)
            .filter_map(|(_, model)| judged(project, model, run, since_at))
            .collect();
        let slow: Vec<(f64, f64)> = judged
            .iter()
            .filter_map(|(took, usual)| Some((took.as_ref()? / usual, took.as_ref()? - usual)))
            .filter(|(ratio, _)| alike.contains(ratio))
            .collect();
        let is_whole = slow.len() >= MANY && slow.len() * 2 >= judged.len();
        is_whole.then(|| Warehouse {
            alike: slow.len(),
            judged: judged.len(),
            more: middle - 1.0,
            added: slow.iter().map(|(_, added)| added).sum(),
        })
    }

    /// `finance nightly`.
    fn job_title(&self, alert: &Alert) -> String {
        let project = self.history.project(&project_of(alert));
        let name = project.map_or_else(
            || alert.labels.get("project").to_owned(),
            |project| project.display_name().to_string(),
        );
        format!("{name} {}", alert.identity.get("job"))
    }

    /// `since run at 04:15 UTC`, `since run on 12 Mar 04:15 UTC`.
    fn since(&self, at: Timestamp) -> String {
        let date = |at: Timestamp| at.in_zone(self.zone).date_naive();
        let word = if date(at) == date(self.now) {
            "at"
        } else {
            "on"
        };
        format!("since run {word} {}", human_time(at, self.now, self.zone))
    }
}

/// A run's models, and those of them that became slower alike.
struct Warehouse {
    alike: usize,
    judged: usize,
    /// Share above the usual.
    more: f64,
    /// Seconds, of those alike.
    added: f64,
}

fn together(headline: String, members: &[&Alert], more: Option<String>) -> Together {
    Together {
        headline,
        members: members.iter().map(|alert| alert.fingerprint).collect(),
        shown: SHOWN,
        more,
    }
}

fn project_of(alert: &Alert) -> ProjectKey {
    ProjectKey {
        source: alert.identity.get("source").into(),
        project_id: alert.identity.get("project_id").into(),
    }
}

/// Since when most of the alerts are slow; the newer one when as many say one as the other. What has been slow
/// for long dates nothing of what the others have in common.
fn most_common_since(alerts: &[&Alert]) -> Option<Timestamp> {
    let mut counts: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for alert in alerts {
        let since_at = alert.evidence.since.unwrap_or(alert.began_at);
        *counts.entry(since_at).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(at, count)| (*count, *at));
    most.map(|(at, _)| at)
}

/// The most alerts of one job (and one run), one for each model.
fn largest<'a>(
    alerts: impl Iterator<Item = &'a Alert>,
    run: impl Fn(&Alert) -> Option<Name>,
) -> Vec<&'a Alert> {
    let mut by_run: BTreeMap<_, BTreeMap<&str, &Alert>> = BTreeMap::new();
    for alert in alerts {
        let job = ["source", "project_id", "job"].map(|label| alert.identity.get(label));
        let models = by_run.entry((job, run(alert))).or_default();
        models.entry(alert.identity.get("model")).or_insert(alert);
    }
    let most = by_run.into_values().max_by_key(BTreeMap::len);
    most.into_iter().flat_map(BTreeMap::into_values).collect()
}

/// How long a model took in a run, if it executed, and what was usual before; `None` when it has no baseline,
/// or does not belong to the run.
fn judged(
    project: &ProjectHistory,
    model: &ModelHistory,
    run: &Run,
    since_at: Timestamp,
) -> Option<(Option<f64>, f64)> {
    let is_success = |execution: &&ExecutionRecord| execution.outcome() == Outcome::Success;
    let time = |execution: &ExecutionRecord| execution.run_time().map(seconds);
    let took = project
        .executions_in(model, run)
        .filter(is_success)
        .filter_map(time)
        .last();
    let before = model.up_to(since_at).iter().rev();
    let usual: Vec<f64> = before
        .filter(is_success)
        .filter_map(time)
        .take(USUAL_RUNS)
        .collect();
    // While the run goes on, models that executed in the one before are still to come.
    let is_to_come = || {
        let newest = model.executions().last();
        let newest = newest.and_then(|execution| project.run_of(execution));
        let job = run.job.as_ref().and_then(|job| project.job(job));
        let before = job.and_then(|job| project.finished(job).next());
        run.status.is_active() && newest.zip(before).is_some_and(|(a, b)| a.id == b.id)
    };
    let belongs = took.is_some() || is_to_come();
    let usual = (usual.len() >= MIN_RUNS && belongs).then(|| Baseline::of(usual))??;
    Some((took, usual.median))
}
