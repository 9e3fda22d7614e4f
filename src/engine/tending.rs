//! Silences as time passes: what ends them, and what their author is told.
//!
//! Guarantees: a silence ends at its end at the latest, whatever else ends it, and what it kept quiet is looked
//! at in that very step; its author is told at most once that it is about to end while something fires under
//! it, and once that nothing fits it any more. It keeps nothing quiet itself: that is the groups' part.

use std::collections::{BTreeSet, HashMap};

use super::alert::{Alert, AlertState};
use super::labels::{Fingerprint, Labels};
use super::notification::{Body, Reason};
use super::observation::{Name, Observation, ProjectKey, Run, Status};
use super::silence::{Silence, SilenceEnd, SilenceEnded, Until};
use super::subject::MANUAL_JOB;
use super::telling::{KeptFrom, notice};
use super::time::{Span, Timestamp, config_span, human_span, human_time};
use super::{Engine, Step};

/// Nothing open has matched a silence for so long: it may be forgotten.
const IDLE_AFTER: Span = Span::minutes(10);
/// One that ends within this ends soon enough by itself.
const IDLE_MATTERS: Span = Span::hours(1);
/// Of shorter silences nobody needs to be told that they end.
const WARNED_FROM: Span = Span::minutes(10);
/// Alerts named in a notice.
const MAX_NAMED: usize = 5;
/// Labels of a run that a silence until the next success is held against.
const RUN_LABELS: [&str; 7] = [
    "source",
    "project",
    "project_id",
    "job",
    "environment",
    "job_type",
    "triggered_by",
];

/// An open alert that each silence in force fits, as it was last looked for.
pub(super) type Witnesses = HashMap<String, Option<Fingerprint>>;

/// Runs that succeeded, among what was observed.
pub(super) fn successes(observations: &[Observation]) -> Vec<(ProjectKey, Run)> {
    let success = |observation: &Observation| match observation {
        Observation::Run(project, run) if run.status == Status::Success => {
            Some((project.clone(), run.clone()))
        }
        _ => None,
    };
    observations.iter().filter_map(success).collect()
}

impl Engine {
    /// Keeps a silence, new or changed.
    pub(super) fn put_silence(&mut self, silence: Silence, step: &mut Step) {
        let record = Some(silence.clone());
        step.changed.silences.insert(silence.id.clone(), record);
        self.silences.put(silence);
    }

    /// Ends a silence: what is kept quiet anywhere is looked at again.
    pub(super) fn end_silence(
        &mut self,
        mut silence: Silence,
        ended: SilenceEnd,
        step: &mut Step,
    ) -> Silence {
        silence.ended = Some(ended);
        silence.idle_since = None;
        self.witnesses.remove(&silence.id);
        self.put_silence(silence.clone(), step);
        self.looked_at.extend(self.holding_back.iter().cloned());
        silence
    }

    /// Ends the silences whose time is over, whose job has succeeded, or that match nothing any more.
    pub(super) fn end_silences(
        &mut self,
        successes: &[(ProjectKey, Run)],
        now: Timestamp,
        step: &mut Step,
    ) {
        if !self.silences.has_active() {
            return;
        }
        self.find_witnesses(step);
        let ending = self.silences.active().filter_map(|silence| {
            let ended = self.ending_of(silence, successes, now)?;
            Some((silence.clone(), ended))
        });
        let ending: Vec<(Silence, SilenceEnd)> = ending.collect();
        let mut over = Vec::new();
        for (silence, ended) in ending {
            over.push(self.end_silence(silence, ended, step));
        }
        for silence in over {
            self.tell_of_another(&silence, now, step);
        }
    }

    /// Lets those who were told that a silence, which is over, keeps an alert quiet hear of the one that does
    /// so now. What no silence keeps quiet any more is told when it is released.
    pub(super) fn tell_of_another(&mut self, over: &Silence, now: Timestamp, step: &mut Step) {
        let is_quiet_still = |alert: &&Alert| {
            alert.state == AlertState::Firing
                && over.is_match(&alert.labels)
                && self.silences.find(&alert.labels).is_some()
        };
        let prints = self.alerts.values().filter(is_quiet_still);
        let prints = prints.map(|alert| alert.fingerprint);
        let told: Vec<Fingerprint> = prints
            .filter(|print| self.is_told_of_silence(*print, &over.id))
            .collect();
        for print in told {
            self.hasten(print, now, step);
        }
    }

    /// Some receiver knows of an alert that this silence keeps it quiet.
    fn is_told_of_silence(&self, print: Fingerprint, id: &str) -> bool {
        let keys = self.memberships.get(&print).into_iter().flatten();
        let groups = keys.filter_map(|key| self.groups.get(key));
        let mut conversations = groups.flat_map(|group| group.conversations.values());
        conversations.any(|known| {
            let told = known.told.get(&print).filter(|told| !told.is_ended);
            told.is_some_and(|told| told.silence.as_deref() == Some(id))
        })
    }

    fn ending_of(
        &self,
        silence: &Silence,
        successes: &[(ProjectKey, Run)],
        now: Timestamp,
    ) -> Option<SilenceEnd> {
        if now >= silence.ends_at {
            return Some(SilenceEnd {
                at: silence.ends_at,
                why: SilenceEnded::Expired,
            });
        }
        match silence.until {
            Until::Time => None,
            Until::Success => {
                let run = successes
                    .iter()
                    .find(|(project, run)| self.is_ended_by(silence, project, run));
                run.map(|(_, run)| SilenceEnd {
                    at: run.settled_at().min(now),
                    why: SilenceEnded::Succeeded(run.id.clone()),
                })
            }
            Until::Resolved => self.witness(silence).is_none().then_some(SilenceEnd {
                at: now,
                why: SilenceEnded::Resolved,
            }),
        }
    }

    /// A success of the job that the silence is about, finished since it was made.
    fn is_ended_by(&self, silence: &Silence, project: &ProjectKey, run: &Run) -> bool {
        if run.settled_at() <= silence.created_at {
            return false;
        }
        let known = self.history.project(project);
        let environment = known.and_then(|known| known.info.as_ref()?.environment.clone());
        let name = known.map(|known| known.display_name().clone());
        let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let labels = Labels::default()
            .with("source", project.source.clone())
            .with("project", name.unwrap_or_default())
            .with("project_id", project.project_id.clone())
            .with("job", job)
            .with("environment", environment.unwrap_or_default())
            .with("job_type", run.job_type.clone())
            .with("triggered_by", run.triggered_by.clone());
        let of_runs = |label: &str| RUN_LABELS.contains(&label);
        let mut matchers = silence.matchers.iter();
        matchers.all(|matcher| !of_runs(matcher.label()) || matcher.is_match(&labels))
    }

    /// An open alert that a silence fits, as it was last looked for.
    fn witness(&self, silence: &Silence) -> Option<Fingerprint> {
        self.witnesses.get(&silence.id).copied().flatten()
    }

    /// Looks for an open alert that each silence fits. All alerts are looked at only for a silence that was not
    /// looked at since the start, and when the last one found is none any more; where none was found, one that
    /// fits now is among those that have changed.
    fn find_witnesses(&mut self, step: &Step) {
        let Self {
            silences,
            witnesses,
            alerts,
            ..
        } = self;
        for silence in silences.active() {
            let fits = |alert: &&Alert| alert.is_open() && silence.is_match(&alert.labels);
            let found = match witnesses.get(&silence.id) {
                Some(Some(print)) if alerts.get(print).as_ref().is_some_and(fits) => continue,
                Some(None) => {
                    let changed = step.changed.alerts.keys();
                    match changed.filter_map(|print| alerts.get(print)).find(fits) {
                        None => continue,
                        found => found,
                    }
                }
                Some(Some(_)) | None => alerts.values().find(fits),
            };
            let found = found.map(|alert| alert.fingerprint);
            witnesses.insert(silence.id.clone(), found);
        }
    }

    /// Since when nothing fits a silence that has kept something quiet.
    fn idle_since(&self, silence: &Silence, now: Timestamp) -> Option<Timestamp> {
        let is_idle = silence.has_matched && self.witness(silence).is_none();
        is_idle.then(|| silence.idle_since.unwrap_or(now))
    }

    /// Something of a silence is to be noted, or told.
    fn is_to_tend(&self, silence: &Silence, kept_from: &KeptFrom, now: Timestamp) -> bool {
        kept_from.contains_key(&silence.id)
            || self.idle_since(silence, now) != silence.idle_since
            || silence.is_about_to_end(now)
            || silence.is_idle(now)
    }

    /// Notes whom silences have kept something from, and tells their authors what they should know.
    pub(super) fn tend_silences(&mut self, kept_from: &KeptFrom, now: Timestamp, step: &mut Step) {
        self.find_witnesses(step);
        let tended = self.silences.active();
        let tended = tended.filter(|silence| self.is_to_tend(silence, kept_from, now));
        let tended: Vec<Silence> = tended.cloned().collect();
        for before in tended {
            let mut silence = before.clone();
            if let Some(receivers) = kept_from.get(&silence.id) {
                silence.has_matched = true;
                silence.receivers.extend(receivers.iter().cloned());
            }
            silence.idle_since = self.idle_since(&silence, now);
            if silence.is_about_to_end(now) {
                let firing = self.firing_under(&silence);
                if !firing.is_empty() {
                    silence.is_end_announced = true;
                    self.tell_of_end(&silence, &firing, now, step);
                }
            }
            if silence.is_idle(now) {
                silence.is_idle_announced = true;
                self.tell_of_idling(&silence, now, step);
            }
            if silence != before {
                self.put_silence(silence, step);
            }
        }
    }

    /// Headlines of what fires and is kept quiet by this silence and by none that lasts longer.
    fn firing_under(&self, silence: &Silence) -> Vec<String> {
        if self.witness(silence).is_none() {
            return Vec::new();
        }
        let firing = self.alerts.values().filter(|alert| {
            alert.state == AlertState::Firing
                && silence.is_match(&alert.labels)
                && self.silences.find(&alert.labels).map(|longest| &longest.id) == Some(&silence.id)
        });
        firing.map(|alert| alert.headline().to_owned()).collect()
    }

    fn tell_of_end(&self, silence: &Silence, firing: &[String], now: Timestamp, step: &mut Step) {
        let left = human_span(silence.ends_at.since(now));
        let count = match firing.len() {
            1 => "1 alert fires".to_owned(),
            more => format!("{more} alerts fire"),
        };
        let Silence { id, by, .. } = silence;
        let headline = format!("Silence {id} by {by} ends in {left}, and {count} under it");
        let named = firing
            .iter()
            .take(MAX_NAMED)
            .map(|text| format!("- {text}"));
        let mut lines: Vec<String> = named.collect();
        if firing.len() > MAX_NAMED {
            lines.push(format!("and {} more", firing.len() - MAX_NAMED));
        }
        lines.extend(self.lines_of(silence, now));
        self.tell_author(silence, "end", &headline, &lines, now, step);
    }

    fn tell_of_idling(&self, silence: &Silence, now: Timestamp, step: &mut Step) {
        let Silence { id, by, .. } = silence;
        let until = human_time(silence.ends_at, now, self.policy.zone);
        let headline =
            format!("Silence {id} by {by} matches nothing any more, and goes on until {until}");
        let lines: Vec<String> = self.lines_of(silence, now).collect();
        self.tell_author(silence, "idle", &headline, &lines, now, step);
    }

    /// What it is, and the commands that end or prolong it.
    fn lines_of(&self, silence: &Silence, now: Timestamp) -> impl Iterator<Item = String> {
        let Silence {
            id, by, comment, ..
        } = silence;
        let matchers: Vec<String> = silence
            .matchers
            .iter()
            .map(|matcher| format!("'{matcher}'"))
            .collect();
        let length = config_span(silence.ends_at.since(silence.created_at));
        let zone = self.policy.zone;
        [
            format!("It keeps quiet: {}", silence.matchers_text()),
            format!(
                "By {by} at {} until {}: {comment}",
                human_time(silence.created_at, now, zone),
                human_time(silence.ends_at, now, zone)
            ),
            format!("To end it now: tardy silence expire {id}"),
            format!(
                "To prolong it: tardy silence add {} --for {length} --comment \"…\"",
                matchers.join(" ")
            ),
        ]
        .into_iter()
    }

    /// Tells those from whom it has kept something, or who hear what everybody hears.
    fn tell_author(
        &self,
        silence: &Silence,
        what: &str,
        headline: &str,
        lines: &[String],
        now: Timestamp,
        step: &mut Step,
    ) {
        let known = silence.receivers.iter();
        let mut receivers: BTreeSet<Name> = known
            .filter(|name| self.policy.has_receiver(name))
            .cloned()
            .collect();
        if receivers.is_empty() {
            let policy = &self.policy;
            let all = if policy.fallback.is_empty() {
                &policy.route.receivers
            } else {
                &policy.fallback
            };
            receivers.extend(all.iter().cloned());
        }
        for receiver in receivers {
            let body = Body::Notice {
                headline: headline.to_owned(),
                text: lines.join("\n"),
            };
            let key = format!("silence/{}/{what}", silence.id);
            let told = notice(&receiver, &key, Reason::Notice, body, now);
            step.notifications.push(told);
        }
    }

    /// When a silence ends, or its author is to be told something.
    pub(super) fn next_silence_at(&self, now: Timestamp) -> Option<Timestamp> {
        let due = |silence: &Silence| {
            let warns_at = (!silence.is_end_announced).then(|| silence.warns_at());
            let idle_at = silence.idle_since.filter(|_| !silence.is_idle_announced);
            let idle_at = idle_at.map(|since| since + IDLE_AFTER);
            let later = warns_at.into_iter().chain(idle_at).filter(|at| *at > now);
            later.chain([silence.ends_at]).min()
        };
        self.silences.active().filter_map(due).min()
    }
}

impl Silence {
    /// Its author is to know that it ends, if something fires under it. Who silences for minutes knows.
    fn is_about_to_end(&self, now: Timestamp) -> bool {
        let is_short = self.ends_at.since(self.created_at) < WARNED_FROM;
        !self.is_end_announced && !is_short && now >= self.warns_at()
    }

    /// Nothing has fitted it for a while, and it goes on for long.
    fn is_idle(&self, now: Timestamp) -> bool {
        !self.is_idle_announced
            && self.until != Until::Resolved
            && self
                .idle_since
                .is_some_and(|since| since + IDLE_AFTER <= now)
            && self.ends_at.since(now) > IDLE_MATTERS
    }
}
