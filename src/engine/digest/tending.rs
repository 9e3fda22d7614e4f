//! What to look after: pauses, silences, gaps, what cannot be reached, and rules that say too little or too
//! much.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::super::alert::AlertState;
use super::super::history::{Hold, ProjectHistory};
use super::super::observation::Name;
use super::super::query::Page;
use super::super::rule::{Rule, RuleKind};
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp};
use super::super::watching::rule_key;
use super::super::{Engine, Step};
use super::{
    GapRow, Look, MAX_ROWS, PausedRow, RuleHabit, RuleNote, SilenceRow, UnreachableRow, short,
};

/// A rule that is watched for less is not said never to fire.
const NEVER_AFTER: Span = Span::days(30);

/// One failed poll is nothing to tell.
const FAILING_FOR: Span = Span::minutes(5);

/// Since when it is remembered which rules fired.
const FIRED_SINCE: &str = "fired";

impl Engine {
    /// Remembers which rules have fired.
    pub(in crate::engine) fn note_fired(&mut self, now: Timestamp, step: &mut Step) {
        self.begin(FIRED_SINCE.to_owned(), now, step);
        let fired = step
            .transitions
            .iter()
            .filter(|change| change.to == AlertState::Firing);
        let fired: BTreeMap<Name, Timestamp> = fired
            .map(|change| (change.rule.clone(), change.recorded_at))
            .collect();
        for (rule, at) in fired {
            // Once is enough to know: one record for each rule.
            if let Entry::Vacant(vacant) = self.fired.entry(rule) {
                step.changed.fired.insert(vacant.key().clone(), at);
                vacant.insert(at);
            }
        }
    }
}

impl Look<'_> {
    pub(super) fn paused(&self) -> Page<PausedRow> {
        let mut rows = Vec::new();
        for project in self.engine.digested_projects() {
            let name = project.display_name();
            if let Some(hold) = project.last_hold().filter(|hold| hold.to.is_none()) {
                rows.push(self.paused_row(name, hold));
                continue;
            }
            let jobs = project.jobs().filter(|job| job.is_listed());
            let held = jobs.filter_map(|job| {
                let hold = job.last_hold().filter(|hold| hold.to.is_none())?;
                Some(self.paused_row(&format!("{name} {}", job.name), hold))
            });
            rows.extend(held);
        }
        rows.sort_by(|a, b| {
            b.is_new
                .cmp(&a.is_new)
                .then(b.since.cmp(&a.since))
                .then_with(|| a.subject.cmp(&b.subject))
        });
        Page::cut(rows, MAX_ROWS)
    }

    fn paused_row(&self, subject: &str, hold: Hold) -> PausedRow {
        let (since, is_since_or_before) = hold.since().unzip();
        PausedRow {
            subject: short(subject),
            since,
            is_since_or_before: is_since_or_before.unwrap_or(true),
            is_new: hold.from > self.new_since,
        }
    }

    pub(super) fn silences(&self, period: Span) -> Page<SilenceRow> {
        let active = self
            .engine
            .silences()
            .filter(|silence| silence.is_active(self.now));
        let mut rows: Vec<SilenceRow> = active
            .filter(|silence| silence.ends_at <= self.now + period)
            .map(|silence| {
                let matchers: Vec<String> =
                    silence.matchers.iter().map(ToString::to_string).collect();
                SilenceRow {
                    id: short(&silence.id),
                    matchers: short(&matchers.join(", ")),
                    by: short(&silence.by),
                    ends_at: silence.ends_at,
                    comment: short(&silence.comment),
                }
            })
            .collect();
        rows.sort_by(|a, b| (a.ends_at, &a.id).cmp(&(b.ends_at, &b.id)));
        Page::cut(rows, MAX_ROWS)
    }

    pub(super) fn gaps(&self) -> Page<GapRow> {
        let projects = self.engine.digested_projects();
        let mut rows: Vec<GapRow> = projects.filter_map(|project| self.gap(project)).collect();
        rows.sort_by(|a, b| (a.known_until, &a.project).cmp(&(b.known_until, &b.project)));
        Page::cut(rows, MAX_ROWS)
    }

    /// Executions are told a little later than runs, and only by some sources: their lag is no gap unless it
    /// is one of runs.
    fn gap(&self, project: &ProjectHistory) -> Option<GapRow> {
        let known_until = project.coverage.map(|known| known.min(self.now));
        known_until
            .is_none_or(|known| known < self.to)
            .then(|| GapRow {
                project: short(project.display_name()),
                what: "runs".to_owned(),
                known_until,
            })
    }

    pub(super) fn unreachable(&self) -> Page<UnreachableRow> {
        let health = self.engine.health().iter();
        let mut rows: Vec<UnreachableRow> = health
            .filter_map(|(subject, health)| {
                let failing_since = health.failing_since;
                let since = failing_since.filter(|since| self.now.since(*since) >= FAILING_FOR)?;
                let what = match subject {
                    SubjectKey::Source(name) => format!("source {name}"),
                    SubjectKey::Receiver(name) => format!("receiver {name}"),
                    _ => return None,
                };
                Some(UnreachableRow {
                    what: short(&what),
                    since,
                    why: health.why.as_deref().map(short),
                    is_new: since > self.new_since,
                })
            })
            .collect();
        rows.sort_by(|a, b| (a.since, &a.what).cmp(&(b.since, &b.what)));
        Page::cut(rows, MAX_ROWS)
    }

    pub(super) fn rules(&self) -> Page<RuleNote> {
        let subjects = self.engine.subjects_by_rule();
        let rules = self.engine.policy().rules.iter().zip(subjects);
        let mut notes: Vec<RuleNote> = rules
            .filter_map(|(rule, subjects)| self.note(rule, subjects))
            .collect();
        notes.sort_by(|a, b| (a.habit, a.since, &a.rule).cmp(&(b.habit, b.since, &b.rule)));
        Page::cut(notes, MAX_ROWS)
    }

    fn note(&self, rule: &Rule, subjects: usize) -> Option<RuleNote> {
        let of_rule = self.engine.alerts().filter(|alert| alert.rule == rule.name);
        let firing: Vec<Timestamp> = of_rule
            .filter(|alert| alert.state == AlertState::Firing)
            .filter_map(|alert| alert.fired_at)
            .filter(|fired_at| *fired_at <= self.from())
            .collect();
        let note = |habit, since, alerts| RuleNote {
            rule: short(&rule.name),
            kind: rule.kind.name().to_owned(),
            habit,
            since,
            alerts,
        };
        if let Some(since) = firing.iter().min() {
            return Some(note(RuleHabit::AlwaysFires, *since, firing.len()));
        }
        let watched_since = *self.engine.since.get(&rule_key(rule))?;
        let is_of_sources = matches!(rule.kind, RuleKind::SourceUnreachable(_));
        if subjects == 0 && !is_of_sources {
            return Some(note(RuleHabit::MatchesNothing, watched_since, 0));
        }
        let remembered_since = *self.engine.since.get(FIRED_SINCE)?;
        let since = watched_since.max(remembered_since);
        let has_fired = self.engine.fired.contains_key(&rule.name);
        let is_open = self.engine.alerts().any(|alert| alert.rule == rule.name);
        let is_long = self.to.since(since) >= NEVER_AFTER;
        (is_long && !has_fired && !is_open).then(|| note(RuleHabit::NeverFired, since, 0))
    }
}
