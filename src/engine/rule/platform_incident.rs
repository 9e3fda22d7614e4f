//! # platform_incident
//!
//! ## What it tells
//! Many jobs of a source fail together: how many of those that ran, since when, in which projects, and
//! which error most of them have. It is one alert for the whole source. While it fires it keeps the
//! `run_failed`, `model_failed` and `run_duration` alerts of the jobs that failed in it quiet, at every
//! receiver that was told of the incident; they are counted in its message. An alert that is worse than the
//! incident is told all the same, and so is everything about other jobs.
//!
//! ## When to use
//! Once for each source, beside the rules about single jobs, so that a lost warehouse or an expired password
//! is one message and not forty. Send it to whoever hears of the single failures, with a severity that is no
//! softer than theirs.
//!
//! ## Keys
//! `window` (default 15 min): a job counts with the newest run that finished within it. `min_jobs` (default
//! 4): at least so many jobs failed. `min_share` (default 0.5): at least this share of the jobs that ran.
//! `project`, `job`, `job_type` and `triggered_by` select what is counted; manual runs without a job are not.
//! `clear` (default 0.9) says when it is over.
//!
//! A job that fails within `window` of the last failure of the incident joins it, also later; one that fails
//! after that is a matter of its own.
//!
//! ## No data
//! Each project is seen as of the instant up to which its runs are known. One that is more than `window`
//! behind the others is left out when an incident begins: it is neither good nor bad news. Partial runs and
//! successes count as runs that did not fail; a status nobody knows does not count. That nothing has run since
//! is no ending. In the first hour of watching none begins before every project was read. An incident that
//! began and was over between two looks is not told.
//!
//! ## Resolve
//! When fewer than `min_jobs` of its jobs still have a failure as their newest finished run, or their share
//! of the jobs that failed in it falls below `min_share` x `clear`. Jobs that still fail are named in the
//! ending, and their own alerts are announced then. A job that is not listed any more, or has been held for
//! 7 days without a run, or whose project has not been read for 7 days, is counted no more; the ending says
//! how many those are.

use std::collections::{BTreeMap, BTreeSet};

use super::super::alert::{Evidence, Incident, Member, Verdict};
use super::super::aside::HELD_FOR_LONG;
use super::super::history::{JobHistory, ProjectHistory};
use super::super::notification::Fact;
use super::super::observation::{Name, Run};
use super::super::subject::MANUAL_JOB;
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::context::{Judgement, MAX_SEARCHED, error_class, error_end, error_line, resolved};
use super::survey::Survey;

/// Many jobs failing together.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformIncident {
    /// Runs that finished within it are looked at.
    pub window: Span,
    /// Share of the jobs that ran, in (0, 1].
    pub min_share: f64,
    /// At least so many jobs.
    pub min_jobs: u32,
}

/// A job with the newest run that counts.
struct Seen<'a> {
    key: Name,
    project: &'a ProjectHistory,
    job: &'a JobHistory,
    newest: &'a Run,
    /// Its project's runs are known up to here.
    coverage: Timestamp,
    /// Its project is not far behind the others.
    is_current: bool,
}

/// What is known of a source.
struct Scene<'a> {
    jobs: Vec<Seen<'a>>,
    /// Some run finished after the instant up to which its project is known.
    is_ahead: bool,
}

/// How many jobs failed of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    failed: usize,
    ran: usize,
}

/// How long until runs are looked at again that are not known completely yet.
const LOOK_AGAIN: Span = Span::seconds(30);

/// Runs of one job looked at to find when an incident began.
const MAX_RUNS: usize = 200;

/// Names written out.
const MAX_NAMES: usize = 5;

impl Seen<'_> {
    fn settled_at(&self) -> Timestamp {
        self.newest.settled_at()
    }

    fn is_failed(&self) -> bool {
        self.newest.status.is_failure()
    }

    fn is_within(&self, window: Span) -> bool {
        self.is_current && self.settled_at() > self.coverage - window
    }

    fn title(&self) -> String {
        format!("{} {}", self.project.display_name(), self.job.name)
    }
}

impl PlatformIncident {
    /// Judges a source.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        let mut judgement = Judgement::start(survey.memory);
        let scene = self.scene(survey);
        let going_on = survey
            .open
            .iter()
            .find(|alert| alert.is_open() && alert.cleared_at.is_none())
            .and_then(|alert| alert.evidence.incident.clone());
        match going_on {
            Some(incident) => self.go_on(survey, &scene, *incident, &mut judgement),
            None => self.begin(survey, &scene, &mut judgement),
        }
        if scene.is_ahead {
            judgement.wake(survey.now + LOOK_AGAIN);
        }
        judgement
    }

    fn scene<'a>(&self, survey: &Survey<'a>) -> Scene<'a> {
        let newest = survey
            .projects()
            .filter_map(|project| project.coverage)
            .max();
        let mut scene = Scene {
            jobs: Vec::new(),
            is_ahead: false,
        };
        for project in survey.projects() {
            let (Some(coverage), Some(newest)) = (project.coverage, newest) else {
                continue;
            };
            let is_current = newest.since(coverage) <= self.window;
            if newest.since(coverage) > HELD_FOR_LONG {
                continue;
            }
            for job in project.jobs().filter(|job| is_wanted(survey, job)) {
                let mut runs = counted(survey, project, job).peekable();
                while runs.next_if(|run| run.settled_at() > coverage).is_some() {
                    scene.is_ahead = true;
                }
                let aside_at = project.long_held_at(job, HELD_FOR_LONG, coverage);
                let is_aside = |run: &Run| aside_at.is_some_and(|at| run.settled_at() < at);
                if let Some(run) = runs.next().filter(|run| !is_aside(run)) {
                    scene.jobs.push(Seen {
                        key: Incident::key(&project.key.project_id, &job.name),
                        project,
                        job,
                        newest: run,
                        coverage,
                        is_current,
                    });
                }
            }
        }
        scene
    }

    fn count(&self, scene: &Scene<'_>) -> Count {
        let mut count = Count::default();
        for seen in scene.jobs.iter().filter(|seen| seen.is_within(self.window)) {
            count.ran += 1;
            count.failed += usize::from(seen.is_failed());
        }
        count
    }

    fn is_breach(&self, count: Count) -> bool {
        count.failed >= self.min_jobs as usize && share(count.failed, count.ran) >= self.min_share
    }

    fn begin(&self, survey: &Survey<'_>, scene: &Scene<'_>, judgement: &mut Judgement) {
        if survey.is_half_read() {
            judgement.wake(survey.now + LOOK_AGAIN);
            return;
        }
        let count = self.count(scene);
        if !self.is_breach(count) {
            self.wake_when_runs_leave(survey, scene, count, judgement);
            return;
        }
        let mut incident = Incident::default();
        self.join(scene, count, &mut incident);
        let at = self.began_at(survey, scene);
        let evidence = self.evidence(survey, scene, incident);
        judgement.find(at, Verdict::Breach(evidence));
    }

    /// Enough jobs failed, but too many others ran well: when those have left the window it is another matter.
    fn wake_when_runs_leave(
        &self,
        survey: &Survey<'_>,
        scene: &Scene<'_>,
        count: Count,
        judgement: &mut Judgement,
    ) {
        if count.failed < self.min_jobs as usize {
            return;
        }
        for seen in scene.jobs.iter().filter(|seen| seen.is_within(self.window)) {
            // What its project is not known up to is looked at again a little later.
            let leaves_at =
                (seen.settled_at() + self.window).max(survey.now + Span::milliseconds(1));
            let is_late = seen.settled_at() + self.window <= survey.now;
            judgement.wake(if is_late {
                survey.now + LOOK_AGAIN
            } else {
                leaves_at
            });
        }
    }

    /// Jobs that failed in the window when enough did; otherwise those that failed soon after the last one.
    fn join(&self, scene: &Scene<'_>, count: Count, incident: &mut Incident) {
        let is_breach = self.is_breach(count);
        let mut failed: Vec<&Seen<'_>> =
            scene.jobs.iter().filter(|seen| seen.is_failed()).collect();
        failed.sort_by_key(|seen| (seen.settled_at(), seen.key.clone()));
        for seen in failed {
            let at = seen.settled_at();
            let is_together = is_breach && seen.is_within(self.window);
            let known = incident.members.get(&seen.key);
            let is_failing = known.is_some_and(|member| member.recovered_at.is_none());
            let is_after = known
                .and_then(|m| m.recovered_at)
                .is_none_or(|end| at > end);
            let last = incident.last_failed_at;
            let is_soon = at.since(last).abs() <= self.window;
            if !is_after || !(is_together || is_soon) {
                continue;
            }
            incident.last_failed_at = last.max(at);
            if !is_failing {
                let member = Member {
                    failed_at: at,
                    recovered_at: None,
                };
                incident.members.insert(seen.key.clone(), member);
            }
        }
        let ran = count.ran.max(incident.members.len());
        incident.ran = incident.ran.max(u32::try_from(ran).unwrap_or(u32::MAX));
    }

    fn go_on(
        &self,
        survey: &Survey<'_>,
        scene: &Scene<'_>,
        mut incident: Incident,
        judgement: &mut Judgement,
    ) {
        let by_key: BTreeMap<&Name, &Seen<'_>> =
            scene.jobs.iter().map(|seen| (&seen.key, seen)).collect();
        for (key, member) in &mut incident.members {
            if member.recovered_at.is_some() {
                continue;
            }
            member.recovered_at = match by_key.get(key) {
                None => Some(survey.now),
                Some(seen) if seen.is_failed() => None,
                Some(seen) => Some(seen.settled_at()),
            };
        }
        self.join(scene, self.count(scene), &mut incident);
        if let Some(at) = self.over_at(survey, &incident) {
            judgement.find(at, over(scene, survey, &incident));
            return;
        }
        for key in incident.failing() {
            let held = by_key.get(key).and_then(|seen| {
                let project = seen.project;
                project.long_held_after(seen.job, HELD_FOR_LONG, seen.coverage)
            });
            if let Some(at) = held {
                judgement.wake(at.max(survey.now + LOOK_AGAIN));
            }
        }
        let at = incident.last_failed_at;
        let evidence = self.evidence(survey, scene, incident);
        judgement.find(at, Verdict::Breach(evidence));
    }

    /// The recovery with which it was over.
    fn over_at(&self, survey: &Survey<'_>, incident: &Incident) -> Option<Timestamp> {
        let members = incident.members.len();
        let is_over = |failing: usize| {
            failing < self.min_jobs as usize
                || share(failing, members) < self.min_share * survey.rule.clear
        };
        if !is_over(incident.failing().count()) {
            return None;
        }
        let mut recovered: Vec<Timestamp> = incident
            .members
            .values()
            .filter_map(|member| member.recovered_at)
            .collect();
        recovered.sort_unstable();
        let mut failing = members;
        for at in recovered {
            failing -= 1;
            if is_over(failing) {
                return Some(at);
            }
        }
        Some(survey.now)
    }

    /// Since when enough jobs of the window have failed without a break, as far back as two windows.
    fn began_at(&self, survey: &Survey<'_>, scene: &Scene<'_>) -> Timestamp {
        let mut events: BTreeMap<Timestamp, Vec<(usize, &Run, bool)>> = BTreeMap::new();
        for (index, seen) in scene
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, seen)| seen.is_current)
        {
            let runs = counted(survey, seen.project, seen.job)
                .skip_while(|run| run.settled_at() > seen.coverage)
                .take_while(|run| run.settled_at() > seen.coverage - self.window * 3)
                .take(MAX_RUNS);
            for run in runs {
                let at = run.settled_at();
                events.entry(at).or_default().push((index, run, true));
                let leaves_at = at + self.window;
                if leaves_at <= seen.coverage {
                    events
                        .entry(leaves_at)
                        .or_default()
                        .push((index, run, false));
                }
            }
        }
        let mut within: BTreeMap<usize, &Run> = BTreeMap::new();
        let mut since = None;
        for (at, changes) in events {
            for (index, run, is_in) in changes {
                let newest = within
                    .get(&index)
                    .map(|known| (known.settled_at(), &known.id));
                if is_in && newest.is_none_or(|newest| newest <= (at, &run.id)) {
                    within.insert(index, run);
                } else if !is_in && newest == Some((run.settled_at(), &run.id)) {
                    within.remove(&index);
                }
            }
            let failed = within
                .values()
                .filter(|run| run.status.is_failure())
                .count();
            let ran = within.len();
            since = self
                .is_breach(Count { failed, ran })
                .then(|| since.unwrap_or(at));
        }
        let newest = || scene.jobs.iter().map(Seen::settled_at).max();
        since.or_else(newest).unwrap_or(survey.now)
    }

    fn evidence(&self, survey: &Survey<'_>, scene: &Scene<'_>, incident: Incident) -> Evidence {
        let clock = |at: Timestamp| human_time(at, survey.now, survey.rule.zone);
        let members = incident.members.len();
        let failing = incident.failing().count();
        let first = incident
            .members
            .values()
            .map(|member| member.failed_at)
            .min();
        let first = first.unwrap_or(incident.last_failed_at);
        let seen: Vec<&Seen<'_>> = scene
            .jobs
            .iter()
            .filter(|seen| incident.members.contains_key(&seen.key))
            .collect();
        let error = most_common_error(&seen);
        let cause = error
            .as_ref()
            .map_or(String::new(), |(line, _, _)| format!(": {line}"));
        let mut facts = vec![
            Fact::new(
                "Failed",
                format!("{members} of {} jobs that ran", incident.ran),
            ),
            Fact::new(
                "Threshold",
                format!(
                    "{} jobs and {:.0} % within {}",
                    self.min_jobs,
                    self.min_share * 100.0,
                    human_span(self.window)
                ),
            ),
        ];
        if failing < members {
            facts.push(Fact::new("Still failing", format!("{failing} jobs")));
        }
        if let Some((line, count, _)) = &error {
            let text = format!("{line} ({count} of {} jobs)", seen.len());
            facts.push(Fact::new("Most common error", text));
        }
        facts.push(Fact::new("Projects", projects(&seen)));
        facts.push(Fact::new(
            "Jobs",
            names(seen.iter().map(|seen| seen.title())),
        ));
        facts.push(Fact::new("First failure", clock(first)));
        facts.push(Fact::new("Last failure", clock(incident.last_failed_at)));
        // It is told again when it has become twice as large.
        let times = members / (self.min_jobs as usize).max(1);
        Evidence {
            headline: format!(
                "Platform incident: {members} of {} jobs of {} failed since {}{cause}",
                incident.ran,
                source(survey),
                clock(first)
            ),
            facts,
            error: error.map(|(_, _, text)| error_end(text)),
            change_key: Some(format!("{} times", 1 << times.max(1).ilog2())),
            weight: failing_weight(failing),
            incident: Some(Box::new(incident)),
            ..Evidence::default()
        }
    }
}

fn source<'a>(survey: &Survey<'a>) -> &'a str {
    survey.source().map_or("", |name| name)
}

fn is_wanted(survey: &Survey<'_>, job: &JobHistory) -> bool {
    !job.is_gone && &*job.name != MANUAL_JOB && survey.rule.selectors.job.is_match(&job.name)
}

/// Finished runs of a job that the rule wants, newest first.
fn counted<'a>(
    survey: &Survey<'a>,
    project: &'a ProjectHistory,
    job: &'a JobHistory,
) -> impl Iterator<Item = &'a Run> + use<'a> {
    let selectors = &survey.rule.selectors;
    project.finished(job).take(MAX_SEARCHED).filter(move |run| {
        selectors.job_type.is_match(&run.job_type)
            && selectors.triggered_by.is_match(&run.triggered_by)
    })
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer jobs than 2^52")]
fn share(part: usize, all: usize) -> f64 {
    if all == 0 {
        return 0.0;
    }
    part as f64 / all as f64
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer jobs than 2^52")]
fn failing_weight(failing: usize) -> f64 {
    failing as f64
}

/// The line, the count and the whole text of the error that most jobs have, of its newest occurrence.
fn most_common_error<'a>(seen: &[&Seen<'a>]) -> Option<(String, usize, &'a str)> {
    let mut classes: BTreeMap<String, (usize, Timestamp, &str)> = BTreeMap::new();
    for job in seen.iter().filter(|seen| seen.is_failed()) {
        let Some(error) = job.newest.error.as_deref() else {
            continue;
        };
        let class = classes
            .entry(error_class(error))
            .or_insert((0, Timestamp::MIN, error));
        class.0 += 1;
        if job.settled_at() > class.1 {
            (class.1, class.2) = (job.settled_at(), error);
        }
    }
    let most = classes.values().map(|class| class.0).max()?;
    let (count, _, error) = *classes.values().find(|class| class.0 == most)?;
    Some((error_line(error), count, error))
}

/// `finance 4, growth 3`
fn projects(seen: &[&Seen<'_>]) -> String {
    let mut counts: BTreeMap<&Name, usize> = BTreeMap::new();
    for job in seen {
        *counts.entry(job.project.display_name()).or_default() += 1;
    }
    let mut counts: Vec<(&Name, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names(counts.iter().map(|(name, count)| format!("{name} {count}")))
}

/// The first names, and how many more there are.
fn names(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let shown = all[..all.len().min(MAX_NAMES)].join(", ");
    match all.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn over(scene: &Scene<'_>, survey: &Survey<'_>, incident: &Incident) -> Verdict {
    let members = incident.members.len();
    let failing: Vec<&Name> = incident.failing().collect();
    let seen: BTreeSet<&Name> = scene.jobs.iter().map(|seen| &seen.key).collect();
    let is_left = |key: &&Name| !seen.contains(key) && !failing.contains(key);
    let left = incident.members.keys().filter(is_left).count();
    let recovered = members - failing.len() - left;
    let and_left = match left {
        0 => String::new(),
        1 => ", 1 is gone or held".to_owned(),
        _ => format!(", {left} are gone or held"),
    };
    let headline = format!(
        "Over: {recovered} of {members} jobs of {} that failed together have recovered{and_left}",
        source(survey)
    );
    let mut facts = vec![Fact::new(
        "Recovered",
        format!("{recovered} of {members} jobs"),
    )];
    if !failing.is_empty() {
        let still = scene
            .jobs
            .iter()
            .filter(|seen| failing.contains(&&seen.key));
        facts.push(Fact::new("Still failing", names(still.map(Seen::title))));
    }
    resolved(headline, facts)
}

#[cfg(test)]
mod tests {

    use super::super::super::alert::{Alert, AlertState};
    use super::super::super::history::History;
    use super::super::super::labels::{Labels, Patterns};
    use super::super::super::ledger::Ledger;
    use super::super::super::observation::{ProjectKey, Status};
    use super::super::super::subject::SubjectKey;
    use super::super::context::Memory;
    use super::super::fixture::at;
    use super::super::{Rule, RuleKind};
    use super::*;

    /// A source with projects, each known up to an instant of its own.
    struct Source {
        history: History,
        rule: Rule,
        open: Vec<Alert>,
    }

    fn project(id: &str) -> ProjectKey {
        ProjectKey {
            source: "prod".into(),
            project_id: id.into(),
        }
    }

    impl Source {
        fn new() -> Self {
            let kind = PlatformIncident {
                window: Span::minutes(15),
                min_share: 0.5,
                min_jobs: 3,
            };
            Self {
                history: History::default(),
                rule: Rule::new("rule", RuleKind::PlatformIncident(kind), ""),
                open: Vec::new(),
            }
        }

        /// `p1/orders 06:10 failed: boom`, several separated by `;`.
        fn runs(mut self, text: &str) -> Self {
            for (number, text) in text.split(';').enumerate() {
                let mut words = text.trim().splitn(3, ' ');
                let (id, job) = words.next().unwrap().split_once('/').unwrap();
                let finished_at = at(words.next().unwrap());
                let outcome = words.next().unwrap();
                let (word, error) = outcome.split_once(": ").unwrap_or((outcome, ""));
                let run = Run {
                    id: format!("{job}-{finished_at}-{number}").into(),
                    job: Some(job.into()),
                    job_type: "run".into(),
                    status: Status::from_word(word),
                    triggered_by: "scheduled".into(),
                    created_at: finished_at - Span::minutes(1),
                    started_at: Some(finished_at - Span::minutes(1)),
                    finished_at: Some(finished_at),
                    updated_at: finished_at,
                    error: (!error.is_empty()).then(|| error.into()),
                };
                self.history.observe_run(&project(id), run);
            }
            self
        }

        fn known(mut self, id: &str, until: &str) -> Self {
            self.history.cover(&project(id), at(until));
            self
        }

        fn judgement(&self, now: &str) -> Judgement {
            let memory = Memory::new(at("00:00"), at("00:00"));
            let survey = Survey {
                now: at(now),
                rule: &self.rule,
                subject: &SubjectKey::Source("prod".into()),
                history: &self.history,
                ledger: &Ledger::default(),
                memory: &memory,
                open: &self.open,
            };
            self.rule.kind.survey(&survey).unwrap()
        }

        /// `06:12 breach p1/a p1/b`, `06:40 ok`, or nothing.
        fn judge(&self, now: &str) -> String {
            let judgement = self.judgement(now);
            let findings = judgement.findings.iter().map(|finding| {
                let clock = &finding.at.to_string()[11..16];
                match &finding.verdict {
                    Verdict::Breach(evidence) => {
                        let incident = evidence.incident.as_ref().unwrap();
                        let failing: Vec<&str> = incident.failing().map(|name| &**name).collect();
                        format!("{clock} breach {}", failing.join(" "))
                    }
                    Verdict::Ok(_) => format!("{clock} ok"),
                    Verdict::Unknown(why) => format!("{clock} unknown {why}"),
                }
            });
            findings.collect::<Vec<_>>().join("; ")
        }

        /// The alert that a look at an instant opens, or goes on with.
        fn after(mut self, now: &str) -> Self {
            let judgement = self.judgement(now);
            let finding = judgement.findings.first().expect("a finding");
            let Verdict::Breach(evidence) = &finding.verdict else {
                panic!("{finding:?}");
            };
            let alert = Alert {
                state: AlertState::Firing,
                fired_at: Some(finding.at),
                ..Alert::begin(
                    &self.rule,
                    Labels::default(),
                    Labels::default(),
                    evidence,
                    finding.at,
                )
            };
            self.open = vec![alert];
            self
        }
    }

    #[test]
    fn enough_jobs_must_fail_and_a_share_of_those_that_ran() {
        for (name, runs, said) in [
            ("one", "p1/a 06:10 failed", ""),
            ("two of two", "p1/a 06:10 failed; p1/b 06:11 failed", ""),
            (
                "three of three, of two projects",
                "p1/a 06:10 failed; p1/b 06:11 error; p2/a 06:12 failed",
                "06:12 breach p1/a p1/b p2/a",
            ),
            (
                "three of seven",
                "p1/a 06:10 failed; p1/b 06:11 failed; p2/a 06:12 failed; p1/c 06:10 success;
                 p1/d 06:10 success; p1/e 06:10 success; p1/f 06:10 partial",
                "",
            ),
            (
                "three of six, the last of which ran well before",
                "p1/a 06:10 failed; p1/b 06:11 failed; p2/a 06:14 failed; p1/c 06:10 success;
                 p1/d 06:10 success; p1/e 06:13 success",
                "06:14 breach p1/a p1/b p2/a",
            ),
            (
                "one job that fails often is one job",
                "p1/a 06:10 failed; p1/a 06:11 failed; p1/a 06:12 failed; p1/b 06:12 failed",
                "",
            ),
            (
                "one has succeeded since",
                "p1/a 06:10 failed; p1/b 06:11 failed; p2/a 06:12 failed; p1/a 06:13 success",
                "",
            ),
            (
                "not within the window",
                "p1/a 06:04 failed; p1/b 06:11 failed; p2/a 06:12 failed",
                "",
            ),
            (
                "unknown words are not counted",
                "p1/a 06:10 failed; p1/b 06:11 failed; p1/c 06:12 exploded",
                "",
            ),
            (
                "manual runs without a job are not counted",
                "p1/a 06:10 failed; p1/b 06:11 failed; p1/(manual) 06:12 failed",
                "",
            ),
        ] {
            let source = Source::new()
                .runs(runs)
                .known("p1", "06:20")
                .known("p2", "06:20");
            assert_eq!(source.judge("06:20"), said, "{name}");
            assert_eq!(source.judge("09:00"), said, "{name}: as of what is known");
        }
    }

    #[test]
    fn it_begins_at_the_run_that_made_it_true_and_when_others_leave_the_window() {
        let text = "p1/a 06:10 failed; p1/b 06:11 failed; p1/c 06:12 failed; p1/d 06:01 success;
                    p1/e 06:02 success; p1/f 06:03 success; p1/g 06:04 success";
        let source = Source::new().runs(text);
        let early = source.known("p1", "06:14");
        assert_eq!(early.judge("06:14"), "", "three of seven");
        assert_eq!(early.judgement("06:14").wake_at, Some(at("06:16")));
        let late = early.known("p1", "06:18");
        assert_eq!(
            late.judge("06:18"),
            "06:16 breach p1/a p1/b p1/c",
            "three of six"
        );
    }

    #[test]
    fn a_project_that_lags_behind_is_neither_good_nor_bad_news() {
        let text = "p1/a 06:10 failed; p1/b 06:11 failed; p2/a 06:12 failed";
        let near = Source::new()
            .runs(text)
            .known("p1", "06:25")
            .known("p2", "06:13");
        assert_eq!(near.judge("06:24"), "");
        let near = Source::new()
            .runs(text)
            .known("p1", "06:20")
            .known("p2", "06:13");
        assert_eq!(near.judge("06:20"), "06:12 breach p1/a p1/b p2/a");
        let far = Source::new()
            .runs(text)
            .known("p1", "06:20")
            .known("p2", "06:04");
        assert_eq!(far.judge("06:20"), "", "its newest run is not known yet");
        assert_eq!(
            far.judgement("06:20").wake_at,
            Some(at("06:20") + LOOK_AGAIN)
        );
        // Three failures from before a project was lost sight of are no incident of today.
        let text = "p2/a 03:10 failed; p2/b 03:11 failed; p2/c 03:12 failed";
        let lost = Source::new()
            .runs(text)
            .known("p1", "06:20")
            .known("p2", "03:13");
        assert_eq!(lost.judge("06:20"), "");
    }

    #[test]
    fn in_the_first_hour_no_incident_begins_before_every_project_was_read() {
        let runs = "p1/a 00:05 failed; p1/b 00:05 failed; p1/c 00:05 failed; \
                    p2/d 00:05 success; p2/e 00:05 success; p2/f 00:05 success; p2/g 00:05 success";
        let half = Source::new().runs(runs).known("p1", "00:10");
        let judgement = half.judgement("00:10");
        assert!(judgement.findings.is_empty(), "{:?}", judgement.findings);
        assert_eq!(judgement.wake_at, Some(at("00:10") + LOOK_AGAIN));
        assert_eq!(half.known("p2", "00:10").judge("00:10"), "");
        let unreadable = Source::new()
            .runs(&runs.replace("00:05", "01:05"))
            .known("p1", "01:10");
        assert_eq!(unreadable.judge("01:10"), "01:05 breach p1/a p1/b p1/c");
    }

    #[test]
    fn members_join_while_it_goes_on_and_others_are_matters_of_their_own() {
        let begin = "p1/a 06:10 failed; p1/b 06:11 failed; p1/c 06:12 failed";
        for (name, more, now, said) in [
            (
                "soon",
                "p1/d 06:26 failed",
                "06:30",
                "06:26 breach p1/a p1/b p1/c p1/d",
            ),
            (
                "one after the other",
                "p1/d 06:26 failed; p1/e 06:40 failed",
                "06:45",
                "06:40 breach p1/a p1/b p1/c p1/d p1/e",
            ),
            (
                "hours later",
                "p1/d 09:00 failed",
                "09:10",
                "06:12 breach p1/a p1/b p1/c",
            ),
            (
                "hours later, the same ones again, and one more",
                "p1/a 09:00 failed; p1/b 09:01 failed; p1/c 09:01 failed; p1/d 09:01 failed",
                "09:10",
                "09:01 breach p1/a p1/b p1/c p1/d",
            ),
            (
                "nothing newer",
                "p1/z 06:00 success",
                "23:00",
                "06:12 breach p1/a p1/b p1/c",
            ),
            ("one recovers", "p1/a 06:40 success", "06:45", "06:40 ok"),
            (
                "one joins, one recovers and fails again by itself",
                "p1/d 06:20 failed; p1/a 06:40 success",
                "06:45",
                "06:20 breach p1/b p1/c p1/d",
            ),
            (
                "many at once",
                "p1/d 06:20 failed; p1/e 06:21 failed; p1/f 06:22 failed; p1/g 06:23 failed",
                "06:30",
                "06:23 breach p1/a p1/b p1/c p1/d p1/e p1/f p1/g",
            ),
        ] {
            let source = Source::new()
                .runs(begin)
                .known("p1", "06:13")
                .after("06:13");
            let source = source.runs(more).known("p1", now);
            assert_eq!(source.judge(now), said, "{name}");
        }
    }

    #[test]
    fn a_member_that_recovered_and_fails_hours_later_is_no_member_any_more() {
        let source = Source::new()
            .runs("p1/a 06:10 failed; p1/b 06:11 failed; p1/c 06:12 failed; p1/d 06:12 failed")
            .known("p1", "06:13")
            .after("06:13")
            .runs("p1/a 06:40 success")
            .known("p1", "06:45");
        assert_eq!(source.judge("06:45"), "06:12 breach p1/b p1/c p1/d");
        let source = source
            .after("06:45")
            .runs("p1/a 09:40 failed")
            .known("p1", "09:45");
        assert_eq!(source.judge("09:45"), "06:12 breach p1/b p1/c p1/d");
        let source = source.runs("p1/b 09:50 success").known("p1", "09:55");
        assert_eq!(source.judge("09:55"), "09:50 ok");
    }

    #[test]
    fn it_says_how_many_where_since_when_and_why() {
        let source = Source::new()
            .runs(
                "p1/a 06:10 failed: connection 17 refused; p1/b 06:11 failed: connection 3 refused;
                 p2/c 06:12 failed: no column x; p1/d 06:12 success",
            )
            .known("p1", "06:13")
            .known("p2", "06:13");
        let judgement = source.judgement("06:13");
        let Verdict::Breach(evidence) = &judgement.findings[0].verdict else {
            panic!("{judgement:?}");
        };
        assert_eq!(
            evidence.headline,
            "Platform incident: 3 of 4 jobs of prod failed since 06:10 UTC: connection 3 refused"
        );
        let facts: Vec<String> = evidence
            .facts
            .iter()
            .map(|fact| format!("{}: {}", fact.name, fact.value))
            .collect();
        assert_eq!(
            facts,
            [
                "Failed: 3 of 4 jobs that ran",
                "Threshold: 3 jobs and 50 % within 15 min",
                "Most common error: connection 3 refused (2 of 3 jobs)",
                "Projects: p1 2, p2 1",
                "Jobs: p1 a, p1 b, p2 c",
                "First failure: 06:10 UTC",
                "Last failure: 06:12 UTC",
            ]
        );
    }

    #[test]
    fn selectors_say_which_jobs_count() {
        let text = "p1/a 06:10 failed; p1/b 06:11 failed; p1/dev 06:12 failed";
        let mut source = Source::new().runs(text).known("p1", "06:13");
        source.rule.selectors.job = Patterns::new(["*", "!dev"]);
        assert_eq!(source.judge("06:13"), "");
        source.rule.selectors.job = Patterns::default();
        source.rule.selectors.job_type = Patterns::new(["plan"]);
        assert_eq!(source.judge("06:13"), "");
    }
}
