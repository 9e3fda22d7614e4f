//! Judges one rule at one subject, and folds what it says into alerts.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono_tz::Tz;

use super::alert::{self, Alert, Evidence, Finding, Folded, Look, Verdict};
use super::annotate;
use super::aside;
use super::flapping::FLAPPING_WITHIN;
use super::labels::{Fingerprint, Labels};
use super::observation::{Name, ProjectKey};
use super::promising;
use super::rule::context::{Context, Judgement, Memory};
use super::rule::survey::Survey;
use super::rule::{Rule, RuleKind};
use super::subject::SubjectKey;
use super::time::Timestamp;
use super::watch::{Watch, WatchId};
use super::{Engine, Step};

impl Engine {
    /// Judges one rule at one subject and folds the verdicts into alerts.
    pub(super) fn judge(&mut self, id: WatchId, now: Timestamp, step: &mut Step) {
        let policy = Arc::clone(&self.policy);
        let rule = &policy.rules[self.watches.get(id).rule];
        if let Some(at) = self.not_before(rule, id, now) {
            // Subjects outside projects have no coverage to wait for.
            let is_inside = self.waits_for_runs(&self.watches.get(id).subject);
            let (by_clock, when_known) = if is_inside {
                (None, Some(at))
            } else {
                (Some(at), None)
            };
            self.watches.schedule(id, by_clock, when_known);
            return;
        }
        let watch = self.watches.get(id);
        let subject = watch.subject.clone();
        let (Some(mut judgement), Some(known_until)) = (
            self.judgement(rule, watch, now),
            self.known_until(&subject, now),
        ) else {
            return;
        };
        let look = Look { now, known_until };
        for finding in &judgement.findings {
            self.fold(id, rule, &subject, finding, now, step);
        }
        let alerts_due = self.let_time_pass(id, rule, look, step);
        promising::add_limits_in_flight(&mut judgement, rule, &subject, now);
        let decided = std::mem::take(&mut judgement.ledger).into_iter();
        step.ledger
            .extend(decided.filter_map(|row| self.ledger.record(row)));
        let mut memory = judgement.memory;
        self.remember_changes(id, look, &mut memory);
        let watch = self.watches.get_mut(id);
        if watch.memory != memory {
            watch.memory = memory.clone();
            step.changed
                .memories
                .insert(Watch::key(rule, &subject), Some(memory));
        }
        let (mut at, mut when_known) = (judgement.wake_at, judgement.wake_when_known);
        // What waits for runs to be known wakes with them; health is known at any time.
        let wake = if self.waits_for_runs(&subject) {
            &mut when_known
        } else {
            &mut at
        };
        *wake = wake.iter().copied().chain(alerts_due).min();
        self.watches.schedule(id, at, when_known);
    }

    /// Keeps when the alerts of a watch changed: they are forgotten once their ending is told.
    fn remember_changes(&self, id: WatchId, look: Look, memory: &mut Memory) {
        for print in &self.watches.get(id).alerts {
            if let Some(alert) = self.alerts.get(print) {
                memory.changes.insert(*print, alert.changes.clone());
            }
        }
        for changes in memory.changes.values_mut() {
            changes.forget_before(look.known_until - FLAPPING_WITHIN);
        }
        memory.changes.retain(|_, changes| !changes.is_empty());
    }

    /// Judges the objectives whose promises were decided in this step, or, if that was not all, in the next.
    pub(super) fn judge_objectives(&mut self, is_complete: bool, now: Timestamp, step: &mut Step) {
        let decided: BTreeSet<Name> = step.ledger.iter().map(|row| row.rule.clone()).collect();
        if decided.is_empty() {
            return;
        }
        let policy = Arc::clone(&self.policy);
        for rule in &policy.rules {
            if let RuleKind::Objective(objective) = &rule.kind
                && objective.of.iter().any(|name| decided.contains(name))
            {
                let subject = SubjectKey::Objective(rule.name.clone());
                for id in self.watches.of(&subject).to_vec() {
                    if is_complete {
                        self.judge(id, now, step);
                    } else {
                        self.watches.postpone(id, now);
                    }
                }
            }
        }
    }

    /// Fires and ends the alerts of a watch whose `for` or `keep_firing_for` is over; returns when the next
    /// one is.
    pub(super) fn let_time_pass(
        &mut self,
        id: WatchId,
        rule: &Rule,
        look: Look,
        step: &mut Step,
    ) -> Option<Timestamp> {
        let mut due_at = None;
        for print in self.watches.get(id).alerts.clone() {
            let Some(alert) = self.alerts.get_mut(&print) else {
                continue;
            };
            let advanced = alert::advance(alert, rule, look);
            let next_at = alert::next_change(alert, rule);
            due_at = due_at.into_iter().chain(next_at).min();
            if advanced.is_changed {
                step.transitions.extend(advanced.transitions);
                self.note_change(print, rule, look.now, step);
            }
        }
        due_at
    }

    /// What a rule sees of a job, a model or a project; `None` of other subjects.
    pub(super) fn context<'a>(
        &'a self,
        watch: &'a Watch,
        open: &'a [Alert],
        now: Timestamp,
    ) -> Option<Context<'a>> {
        let project = self.history.project(watch.subject.project()?)?;
        Some(Context {
            now,
            rule: &self.policy.rules[watch.rule],
            rules: &self.policy.rules,
            subject: &watch.subject,
            project,
            schedule_zone: self.schedule_zone(&project.key.source),
            known_until: self.known_until(&watch.subject, now)?,
            ledger: &self.ledger,
            memory: &watch.memory,
            open,
        })
    }

    /// The instant up to which what happens to a subject is known completely; never after `now`.
    pub(super) fn known_until(&self, subject: &SubjectKey, now: Timestamp) -> Option<Timestamp> {
        match subject.project() {
            // Nothing more will be known of a project that is gone.
            Some(_) if self.is_deleted(subject) => Some(now),
            // What a day came to is told when it is over, and nothing waits for more.
            Some(_) if subject.is_averaged() => Some(now),
            Some(project) => Some(self.history.project(project)?.coverage?.min(now)),
            None => Some(now),
        }
    }

    /// Time passes for the subject as runs become known; for others, by the clock.
    fn waits_for_runs(&self, subject: &SubjectKey) -> bool {
        subject.project().is_some() && !subject.is_averaged() && !self.is_deleted(subject)
    }

    /// The subject's project is taken to be deleted.
    fn is_deleted(&self, subject: &SubjectKey) -> bool {
        let project = subject.project().and_then(|key| self.history.project(key));
        project.is_some_and(|project| project.is_gone)
    }

    /// For rules with a schedule of their own: the next tick, unless one is due. A tick is due when what
    /// happened up to it is known, so that a verdict about absence is not a whole period late.
    pub(super) fn not_before(
        &mut self,
        rule: &Rule,
        id: WatchId,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let schedule = rule.schedule.as_ref()?;
        if self.is_deleted(&self.watches.get(id).subject) {
            return None;
        }
        let known_until = self.known_until(&self.watches.get(id).subject, now)?;
        let watch = self.watches.get_mut(id);
        let is_unseen = watch.memory.judged_until < watch.memory.watching_since;
        let tick_at = watch.tick_at.unwrap_or(Timestamp::MAX);
        if known_until < tick_at && !is_unseen {
            return Some(tick_at);
        }
        watch.tick_at = schedule.next(rule.zone, known_until).map(|tick| tick.at);
        None
    }

    pub(super) fn judgement(
        &self,
        rule: &Rule,
        watch: &Watch,
        now: Timestamp,
    ) -> Option<Judgement> {
        self.judgement_with(rule, watch, &watch.memory, now)
    }

    /// What a rule says when it remembers something else than it does.
    pub(super) fn judgement_with(
        &self,
        rule: &Rule,
        watch: &Watch,
        memory: &Memory,
        now: Timestamp,
    ) -> Option<Judgement> {
        if let RuleKind::SourceUnreachable(kind) = &rule.kind {
            let health = self.health.get(&watch.subject)?;
            return Some(kind.judge(rule, &watch.subject, health, memory, now));
        }
        let open: Vec<Alert> = watch
            .alerts
            .iter()
            .filter_map(|print| self.alerts.get(print))
            .cloned()
            .collect();
        let survey = Survey {
            now,
            rule,
            subject: &watch.subject,
            history: &self.history,
            ledger: &self.ledger,
            memory,
            open: &open,
        };
        if let Some(judgement) = rule.kind.survey(&survey) {
            return Some(judgement);
        }
        let ctx = Context {
            memory,
            ..self.context(watch, &open, now)?
        };
        let project = ctx.project;
        if project.is_gone {
            return Some(promising::end_all(&ctx));
        }
        let is_absence = rule.kind.is_about_absence();
        if is_absence && ctx.job().is_some_and(|job| project.is_unlisted(job)) {
            return Some(promising::end_all(&ctx));
        }
        if ctx.job().is_some_and(|job| job.is_gone) {
            return Some(promising::gone(&ctx, &self.ledger));
        }
        let is_judged = ctx.is_concerned() || open.iter().any(Alert::is_open);
        if !is_judged {
            return Some(Judgement::start(memory));
        }
        let mut judgement = rule.kind.judge(&ctx);
        aside::put_aside(&ctx, &mut judgement);
        Some(judgement)
    }

    /// The pair of a rule and a subject, if it is watched.
    pub(super) fn watch_of(&self, rule: &Rule, subject: &SubjectKey) -> Option<&Watch> {
        let own = self.watches.of(subject).iter();
        let mut own = own.map(|id| self.watches.get(*id));
        own.find(|watch| self.policy.rules[watch.rule].name == rule.name)
    }

    pub(super) fn schedule_zone(&self, source: &Name) -> Tz {
        let source = self
            .policy
            .sources
            .iter()
            .find(|known| known.name == *source);
        source.map_or(Tz::UTC, |source| source.schedule_zone)
    }

    /// Folds one finding.
    pub(super) fn fold(
        &mut self,
        id: WatchId,
        rule: &Rule,
        subject: &SubjectKey,
        finding: &Finding,
        now: Timestamp,
        step: &mut Step,
    ) {
        let mut identity = subject.identity();
        for (name, value) in finding.occurrence.iter() {
            identity.set(name, value);
        }
        let print = Fingerprint::of(&rule.name, &identity);
        let mut slot = self.alerts.remove(&print);
        let known = self.watches.get(id).memory.changes.get(&print);
        let changes = slot.as_ref().map(|alert| &alert.changes).or(known);
        let changes = changes.cloned().unwrap_or_default();
        if matches!(finding.verdict, Verdict::Breach(_)) {
            // Over before anybody was told: what comes now is an incident of its own.
            slot = slot.filter(|alert| alert.is_open() || self.is_told(print));
        }
        let is_already_so = finding.at <= self.watches.get(id).memory.watching_since;
        let new = |evidence: &Evidence| Alert {
            is_already_so,
            changes,
            ..self.new_alert(rule, subject, identity, evidence, finding.at)
        };
        let Folded {
            transitions,
            is_changed,
        } = alert::fold(&mut slot, finding, rule, new, now);
        step.transitions.extend(transitions);
        match slot {
            Some(alert) => {
                self.alerts.insert(print, alert);
                self.watches.own(id, print);
            }
            None => self.watches.disown(print),
        }
        if is_changed {
            self.note_change(print, rule, now, step);
        }
    }

    /// An alert has changed: its texts, its groups and its record follow.
    pub(super) fn note_change(
        &mut self,
        print: Fingerprint,
        rule: &Rule,
        now: Timestamp,
        step: &mut Step,
    ) {
        if let Some(mut alert) = self.alerts.remove(&print) {
            self.annotate(rule, &mut alert);
            self.alerts.insert(print, alert);
        }
        let alert = self.alerts.get(&print).cloned();
        step.changed.alerts.insert(print, alert);
        self.touch_groups(print, now, step);
    }

    /// Some receiver was told of an alert.
    pub(super) fn is_told(&self, print: Fingerprint) -> bool {
        let keys = self.memberships.get(&print).into_iter().flatten();
        keys.filter_map(|key| self.groups.get(key))
            .flat_map(|group| group.conversations.values())
            .any(|conversation| conversation.told.contains_key(&print))
    }

    pub(super) fn new_alert(
        &self,
        rule: &Rule,
        subject: &SubjectKey,
        identity: Labels,
        evidence: &Evidence,
        at: Timestamp,
    ) -> Alert {
        let mut labels = rule.labels.clone();
        for (name, value) in identity.iter().chain(evidence.labels.iter()) {
            labels.set(name, value);
        }
        if let Some(project) = subject.project().and_then(|key| self.history.project(key)) {
            labels.set("project", project.display_name().clone());
        }
        let severity = evidence.severity.unwrap_or(rule.severity);
        labels.set("rule", rule.name.clone());
        labels.set("kind", rule.kind.name());
        labels.set("severity", severity.as_str());
        let mut alert = Alert::begin(rule, identity, labels, evidence, at);
        self.give_owner(rule, &mut alert);
        alert
    }

    /// Notes who owns an alert, for routes and mentions.
    fn give_owner(&self, rule: &Rule, alert: &mut Alert) {
        alert.owner = self.owner(rule, alert);
        let owner = alert.owner.clone().unwrap_or_default();
        alert.labels.set("owner", owner);
    }

    /// Fills in the rule's texts and the link to the run.
    pub(super) fn annotate(&self, rule: &Rule, alert: &mut Alert) {
        alert.origin.clone_from(&rule.origin);
        alert.run_url = self.run_url(alert);
        self.give_owner(rule, alert);
        let fill = |text: &Option<String>| text.as_ref().map(|text| annotate::fill(text, alert));
        let (summary, description) = (
            fill(&rule.annotations.summary),
            fill(&rule.annotations.description),
        );
        let runbook = fill(&rule.annotations.runbook);
        alert.summary = summary;
        alert.description = description;
        alert.runbook = runbook;
    }

    /// Who owns an alert: as its rule says, or the owner of what it is about.
    pub(super) fn owner(&self, rule: &Rule, alert: &Alert) -> Option<String> {
        let said = rule.annotations.owner.as_ref();
        let said = said.map(|text| annotate::fill(text, alert));
        let label = Some(rule.labels.get("owner")).filter(|name| !name.is_empty());
        let owned = || self.policy.owner_of(&alert.labels);
        said.or_else(|| label.map(str::to_owned))
            .or_else(|| owned().map(|owner| owner.name.to_string()))
    }

    pub(super) fn run_url(&self, alert: &Alert) -> Option<String> {
        let (source, project_id) = (
            alert.identity.get("source"),
            alert.identity.get("project_id"),
        );
        let key = ProjectKey {
            source: source.into(),
            project_id: project_id.into(),
        };
        self.link(&key, alert.evidence.run_id.as_ref()?)
    }

    /// Link to a run, when the source has a template for it.
    pub fn link(&self, project: &ProjectKey, run_id: &str) -> Option<String> {
        let source = self
            .policy
            .sources
            .iter()
            .find(|known| known.name == project.source)?;
        let template = source.run_url.as_ref()?;
        let project_id = &project.project_id;
        Some(
            template
                .replace("{project_id}", &url_part(project_id))
                .replace("{run_id}", &url_part(run_id)),
        )
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
fn url_part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
