//! One poll: the project list, then each project in turn.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::{Answer, Api, Budget, FetchError, Target};
use super::expected::Expected;
use super::pages::{MAX_PAGES, PageRead};
use super::project::{Tracked, bad_body};
use super::rows::{ProjectRow, RowFault};
use super::wire::{self, Listed, Page, WireError};
use super::{Dagctl, DagctlSettings, Memory};
use crate::engine::labels::Patterns;
use crate::engine::observation::{Name, Observation, Project, ProjectKey};
use crate::engine::time::{Span, Timestamp, human_span};
use crate::source::{Batch, Problem, ProblemKind, Progress};

/// Projects, jobs and plans are read again after this long.
pub(super) const SURVEY_EVERY: Span = Span::seconds(30);
/// Pages of backfills read in one poll.
pub(super) const PAGES_PER_POLL: u32 = 20;
/// Skew beyond which it is a problem.
const MAX_SKEW: Span = Span::seconds(30);
/// Clocks of the server's answers that differ by no more than this agree.
const MAX_DISAGREEMENT: Span = Span::seconds(2);
/// Requests in a row without an answer after which the rest of a poll is not tried.
const MAX_SILENT: u8 = 3;
/// Longest rest the server may ask for.
const MAX_HOLD: Span = Span::minutes(15);

/// The state of the poll under way.
pub(super) struct Round<'a> {
    pub(super) api: &'a Api,
    pub(super) settings: &'a DagctlSettings,
    pub(super) memory: &'a mut Memory,
    pub(super) batch: Batch,
    pub(super) budget: Budget,
    /// Local time when the poll began, and the clock that measures from there.
    pub(super) now: Timestamp,
    begun: Instant,
    answered_at: Option<Timestamp>,
    /// Server time minus local time, of each answer.
    skews: Vec<Span>,
    last_skew: Option<Span>,
    /// Pages of backfills that may still be read.
    pub(super) pages_left: u32,
    silent: u8,
    /// Nothing more is to be asked in this poll.
    pub(super) is_over: bool,
    hold: Option<Duration>,
}

impl<'a> Round<'a> {
    fn new(
        api: &'a Api,
        settings: &'a DagctlSettings,
        memory: &'a mut Memory,
        now: Timestamp,
        last_skew: Option<Span>,
    ) -> Self {
        Self {
            api,
            settings,
            memory,
            batch: Batch {
                is_complete: true,
                ..Batch::default()
            },
            budget: Budget::new(settings.retry.budget),
            now,
            begun: Instant::now(),
            answered_at: None,
            skews: Vec::new(),
            last_skew,
            pages_left: PAGES_PER_POLL,
            silent: 0,
            is_over: false,
            hold: None,
        }
    }

    /// GETs a target and reads the clock of the answer.
    pub(super) async fn get(&mut self, target: &Target) -> Result<Answer, FetchError> {
        let answer = self.api.get(target, &self.budget).await?;
        self.stamp(&answer);
        Ok(answer)
    }

    /// The server's time of an answer; the local time when it has none.
    ///
    /// One answer whose clock is ahead of all the others (another machine behind the same name, a broken
    /// cache) must not claim coverage of the future: the least skew seen in this poll and the last one
    /// decides. A clock that was really set forward is followed one poll later.
    pub(super) fn stamp(&mut self, answer: &Answer) -> Timestamp {
        self.silent = 0;
        let local = self.local_time(answer.midpoint);
        let Some(date) = answer.date else {
            return local;
        };
        self.skews.push(date - local);
        let least = self.skews.iter().copied().chain(self.last_skew).min();
        let least = local + least.unwrap_or_default();
        let server_at = if date - least > MAX_DISAGREEMENT {
            least
        } else {
            date
        };
        self.answered_at = Some(server_at);
        server_at
    }

    /// The skew most answers of this poll and the last one agree on.
    fn agreed_skew(&self) -> Option<Span> {
        (!self.skews.is_empty())
            .then(|| median(self.skews.iter().copied().chain(self.last_skew)))?
    }

    /// The server's time at its last answer; the local time while there is none.
    pub(super) fn server_now(&self) -> Timestamp {
        self.answered_at
            .unwrap_or_else(|| self.local_time(Instant::now()))
    }

    fn local_time(&self, at: Instant) -> Timestamp {
        let elapsed = at.saturating_duration_since(self.begun);
        self.now + Span::from_std(elapsed).unwrap_or_default()
    }

    /// Notes a failure that keeps the poll from being complete, and ends the poll where asking on would
    /// be useless or impolite.
    pub(super) fn fail(&mut self, project_id: Option<&Name>, error: &FetchError) {
        self.batch.is_complete = false;
        self.memory
            .notes
            .add(error.kind(), project_id, &error.to_string());
        match error.kind() {
            ProblemKind::Unauthorized => self.is_over = true,
            ProblemKind::RateLimited => {
                self.is_over = true;
                self.hold = error.retry_after();
            }
            ProblemKind::Timeout | ProblemKind::Connection => {
                self.silent += 1;
                self.is_over = self.silent >= MAX_SILENT;
            }
            _ => self.silent = 0,
        }
    }

    /// Reads a list that is not known to have pages: without parameters first, and further pages only
    /// if the answer says that there are any. A page with new faults is asked for once more, so `take` may
    /// see it twice. Returns the number of rows that could not be read.
    pub(super) async fn short_list(
        &mut self,
        target: &Target,
        take: impl FnMut(&str, &mut Memory) -> Result<PageRead, WireError> + Send,
    ) -> Result<usize, FetchError> {
        let read = self.list_within(target, MAX_PAGES, take).await?;
        Ok(read.bad_rows)
    }

    /// As [`Self::short_list`], for lists that may be long: reads so many pages at most.
    pub(super) async fn list_within(
        &mut self,
        target: &Target,
        max_pages: u32,
        mut take: impl FnMut(&str, &mut Memory) -> Result<PageRead, WireError> + Send,
    ) -> Result<ListRead, FetchError> {
        let mut bad_rows = 0;
        for page in 1..=max_pages {
            let target = if page == 1 {
                target.clone()
            } else {
                target.clone().with("page", page)
            };
            let read = match self.page_of(&target, &mut take).await? {
                _ if std::mem::take(&mut self.memory.is_doubtful) => {
                    let read = self.page_of(&target, &mut take).await?;
                    self.memory.is_doubtful = false;
                    read
                }
                read => read,
            };
            bad_rows += read.bad_rows;
            if read.ids.is_empty() || u64::from(page) >= read.head.total_pages.unwrap_or(1) {
                let is_whole = true;
                return Ok(ListRead { bad_rows, is_whole });
            }
        }
        let is_whole = false;
        Ok(ListRead { bad_rows, is_whole })
    }

    async fn page_of(
        &mut self,
        target: &Target,
        take: &mut (impl FnMut(&str, &mut Memory) -> Result<PageRead, WireError> + Send),
    ) -> Result<PageRead, FetchError> {
        let answer = self.get(target).await?;
        take(&answer.body, self.memory).map_err(|error| bad_body(target, &error))
    }
}

/// How a list was read.
pub(super) struct ListRead {
    /// Rows that could not be read.
    pub(super) bad_rows: usize,
    /// There were no more pages.
    pub(super) is_whole: bool,
}

impl Memory {
    /// Decodes one page and hands its rows to `observe`, which returns the row's id. What cannot be
    /// read is noted once and counted.
    pub(super) fn page<'a, T>(
        &mut self,
        list: (&Target, Option<&Name>),
        body: &'a str,
        mut observe: impl FnMut(&T, &mut Memory) -> Result<Name, RowFault>,
    ) -> Result<PageRead, WireError>
    where
        T: Listed + Deserialize<'a> + std::fmt::Debug,
    {
        let Page { rows, head } = wire::page::<T>(body)?;
        let mut read = PageRead {
            ids: Vec::with_capacity(rows.len()),
            head,
            bad_rows: 0,
        };
        for row in rows {
            let (text, why) = match row {
                Ok(row) => match observe(&row, self) {
                    Ok(id) => {
                        read.ids.push(self.hasher.hash_one(&*id));
                        continue;
                    }
                    Err(fault) => (format!("{row:?}"), fault.to_string()),
                },
                Err(malformed) => (malformed.text.to_owned(), malformed.why),
            };
            read.bad_rows += 1;
            read.ids.push(self.hasher.hash_one(&text));
            self.note_bad_row(list, &text, &why);
        }
        Ok(read)
    }

    fn note_bad_row(
        &mut self,
        (target, project_id): (&Target, Option<&Name>),
        text: &str,
        why: &str,
    ) {
        let subject = self.hasher.hash_one(text).to_string();
        let place = target.place();
        self.is_doubtful |= self
            .notes
            .add_once(ProblemKind::BadRow, project_id, &subject, || {
                format!("{place}: a row was skipped, the others were used: {why}")
            });
    }
}

impl Dagctl {
    pub(super) async fn read(&mut self, now: Timestamp) -> Batch {
        if std::mem::replace(&mut self.is_polling, true) {
            self.rewind();
        }
        let batch = match self.held_until.filter(|until| now < *until) {
            Some(until) => resting(until - now),
            None => self.read_all(now).await,
        };
        for (key, cursor) in &batch.cursors {
            if let Some(tracked) = self.tracked.get_mut(&key.project_id) {
                tracked.settle(cursor);
            }
        }
        self.is_polling = false;
        batch
    }

    /// A poll was given up half way: what it read never got out, so nothing of it counts.
    fn rewind(&mut self) {
        self.listed_at = None;
        self.protections.rewind();
        for tracked in self.tracked.values_mut() {
            tracked.rewind();
        }
    }

    async fn read_all(&mut self, now: Timestamp) -> Batch {
        let Self {
            settings,
            api,
            listed,
            listed_at,
            tracked,
            expected,
            protections,
            memory,
            is_skewed,
            last_skew,
            ..
        } = self;
        let mut round = Round::new(api, settings, memory, now, *last_skew);
        let is_survey = is_due(*listed_at, now);
        if is_survey {
            *listed_at = read_projects(&mut round, listed, tracked, expected)
                .await
                .then_some(now);
        }
        expected.report(&mut round);
        for project in listed.iter().flatten() {
            if round.is_over {
                round.batch.is_complete = false;
                break;
            }
            tracked
                .entry(project.key.project_id.clone())
                .or_insert_with(|| {
                    Tracked::new(project.key.clone(), crate::source::Cursor::default())
                })
                .read(project, &mut round)
                .await;
        }
        for project in listed.iter().flatten() {
            if let Some(tracked) = tracked.get_mut(&project.key.project_id)
                && !round.is_over
            {
                tracked.read_averages(&mut round).await;
            }
        }
        if is_survey && listed_at.is_some() && !round.is_over {
            protections.read(&mut round).await;
        }
        round.batch.skew = round.agreed_skew();
        *last_skew = median(round.skews.iter().copied()).or(*last_skew);
        note_skew(&mut round, is_skewed);
        round.batch.progress = progress(tracked.values());
        let hold = round
            .hold
            .take()
            .map(|wait| Span::from_std(wait).unwrap_or(MAX_HOLD).min(MAX_HOLD));
        let Round {
            mut batch,
            memory,
            is_over,
            ..
        } = round;
        batch.problems = memory.notes.take();
        batch.has_more &= !is_over;
        self.held_until = hold.map(|wait| now + wait);
        batch
    }
}

/// The poll of a source that asked for rest.
fn resting(rest: Span) -> Batch {
    let message = format!(
        "dagctl asked for rest (429 with Retry-After): nothing is asked for another {}",
        human_span(rest)
    );
    let problem = Problem {
        kind: ProblemKind::RateLimited,
        project_id: None,
        message,
    };
    Batch {
        problems: vec![problem],
        ..Batch::default()
    }
}

/// Never read, read long ago, or the clock was set back.
pub(super) fn is_due(read_at: Option<Timestamp>, now: Timestamp) -> bool {
    read_at.is_none_or(|at| now < at || now - at >= SURVEY_EVERY)
}

/// Reads the list of projects and keeps those that are watched; says whether it could be read.
async fn read_projects(
    round: &mut Round<'_>,
    listed: &mut Option<Vec<Project>>,
    tracked: &mut BTreeMap<Name, Tracked>,
    expected: &mut Expected,
) -> bool {
    let (projects, has_unread) = match list_projects(round).await {
        Ok(read) => read,
        Err(error) => {
            round.fail(None, &error);
            return false;
        }
    };
    if listed.is_none() && !tracked.is_empty() {
        expected.emptiness.expect_rows();
    }
    if expected
        .emptiness
        .doubts(projects.is_empty() && !has_unread)
    {
        return true;
    }
    note_unmatched_patterns(round, &projects);
    let patterns = &round.settings.projects;
    let is_watched = |p: &Project| patterns.is_match_any(&[&p.key.project_id, &p.name]);
    if !has_unread {
        let held = listed.iter().flatten();
        let held = held.map(|p| (p.key.project_id.clone(), p.name.clone()));
        let read = tracked.values().map(Tracked::id_and_name);
        expected.survey(held.chain(read), &projects, round);
        for project_id in expected.deleted() {
            let key = ProjectKey {
                source: round.settings.name.clone(),
                project_id: project_id.clone(),
            };
            round.batch.observations.push(Observation::ProjectGone(key));
            // When it comes back it is reported anew.
            if let Some(tracked) = tracked.get_mut(project_id) {
                tracked.forget_report();
            }
        }
    }
    // Read before a reload narrowed `projects`: what is open about them ends, and nothing more is read.
    let is_left_out = |p: &&Project| !is_watched(p) && tracked.contains_key(&p.key.project_id);
    let left_out = projects.iter().filter(is_left_out);
    let left_out = left_out.map(|project| Observation::ProjectGone(project.key.clone()));
    round.batch.observations.extend(left_out);
    let mut watched: Vec<Project> = projects.into_iter().filter(is_watched).collect();
    if has_unread {
        // The unreadable row may be a project that is known: it is not gone.
        for held in listed.iter().flatten() {
            if watched.iter().all(|project| project.key != held.key) {
                watched.push(held.clone());
            }
        }
    }
    *listed = Some(watched);
    true
}

/// The projects, and whether there are more that could not be read.
async fn list_projects(round: &mut Round<'_>) -> Result<(Vec<Project>, bool), FetchError> {
    let target = Target::new(&["projects"]);
    let source = round.settings.name.clone();
    let mut projects: Vec<Project> = Vec::new();
    let bad_rows = round
        .short_list(&target, |body, memory| {
            memory.page::<ProjectRow<'_>>((&target, None), body, |row, memory| {
                let project = row.observe(&source, &mut memory.names)?;
                let id = project.key.project_id.clone();
                if projects.iter().all(|held| held.key != project.key) {
                    projects.push(project);
                }
                Ok(id)
            })
        })
        .await?;
    Ok((projects, bad_rows > 0))
}

/// Says of each pattern that matches nothing which names are nearest.
fn note_unmatched_patterns(round: &mut Round<'_>, projects: &[Project]) {
    let texts = round.settings.projects.texts();
    for text in texts.iter().filter(|text| !text.starts_with('!')) {
        let pattern = Patterns::new([text.as_str()]);
        let notes = &mut round.memory.notes;
        if projects
            .iter()
            .any(|p| pattern.is_match_any(&[&p.key.project_id, &p.name]))
        {
            notes.forget(ProblemKind::NoSuchProject, None, text);
            continue;
        }
        notes.add_once(ProblemKind::NoSuchProject, None, text, || {
            let near = nearest(text, projects);
            let near = if near.is_empty() {
                "the organization has none".to_owned()
            } else {
                format!("the nearest are {near}")
            };
            format!("no project matches {text:?}: {near}; check `projects`")
        });
    }
}

/// The three names nearest to `text`, quoted.
fn nearest(text: &str, projects: &[Project]) -> String {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&text.to_lowercase(), &name.to_lowercase());
    let mut ranked: Vec<_> = projects
        .iter()
        .map(|p| (distance(&p.name).min(distance(&p.key.project_id)), &p.name))
        .collect();
    ranked.sort();
    let names: Vec<_> = ranked
        .iter()
        .take(3)
        .map(|(_, name)| format!("{name:?}"))
        .collect();
    names.join(", ")
}

/// Says once that the clocks differ, and again after they agreed.
fn note_skew(round: &mut Round<'_>, is_skewed: &mut bool) {
    let Some(skew) = round.batch.skew else { return };
    let was_skewed = std::mem::replace(is_skewed, skew.abs() > MAX_SKEW);
    if *is_skewed && !was_skewed {
        let direction = if skew > Span::zero() {
            "ahead of"
        } else {
            "behind"
        };
        let message = format!(
            "dagctl's clock is {} {direction} this machine's; decisions follow dagctl's clock, check the time service here",
            human_span(skew.abs())
        );
        round.memory.notes.add(ProblemKind::Skew, None, &message);
    }
}

/// The middle one; of two, the lesser.
fn median(skews: impl Iterator<Item = Span>) -> Option<Span> {
    let mut skews: Vec<Span> = skews.collect();
    skews.sort();
    skews.get(skews.len().saturating_sub(1) / 2).copied()
}

/// Pages of all backfills together, while any is under way.
fn progress<'t>(tracked: impl Iterator<Item = &'t Tracked>) -> Option<Progress> {
    let mut is_any = false;
    let sum = tracked.fold(
        Progress {
            pages_read: 0,
            pages_expected: 0,
        },
        |sum, tracked| {
            let part = tracked.progress();
            is_any |= tracked.is_backfilling();
            Progress {
                pages_read: sum.pages_read + part.pages_read,
                pages_expected: sum.pages_expected + part.pages_expected,
            }
        },
    );
    is_any.then_some(sum)
}
