//! The two long lists of a project, runs and model executions: first reading and following.
//!
//! **Backfill.** The first reading goes through the pages from `updated_after` = the server's now minus
//! the configured length, at most [`PAGES_PER_POLL`](super::poll::PAGES_PER_POLL) in one poll, and
//! stores the next page in the cursor. After a crash it goes on one page before that (rows may have
//! moved up meanwhile), or anew when more than [`RESUME_WITHIN`] has passed. What the reading leaves open
//! is what changed since it began; so at its end the first incremental pass begins [`OVERLAP`] before
//! that instant, and only that pass claims coverage.
//!
//! **Incremental pass.** From [`OVERLAP`] before the greatest `updated_at` seen, all pages. Rows of the
//! overlap that are unchanged are recognized and not reported again. The cursor follows `updated_at`,
//! which is the server's clock, but never beyond the `Date` of the pass: a row from the future must not
//! hide those that come before it.
//!
//! **Coverage** is the `Date` of the first answer of the pass less [`VISIBILITY_MARGIN`], because a row
//! becomes visible a little after the instant it carries.
//!
//! How pages that shift while they are read are survived is told in [`super::pages`].

use std::collections::HashMap;

use super::client::{Answer, FetchError, Target};
use super::pages::{self, MAX_PAGES, PageRead, Stop, Taken, Tally, Verdict};
use super::poll::Round;
use super::project::{Tracked, bad_body};
use super::rows::{ExecutionRow, RunRow};
use super::wire::WireError;
use crate::engine::time::{Span, Timestamp};
use crate::source::{Backfill, ProblemKind};

/// How far before the cursor each pass begins, for rows that became visible late.
const OVERLAP: Span = Span::seconds(60);
/// How much later than its own instants a row may become visible.
const VISIBILITY_MARGIN: Span = Span::seconds(2);
/// A backfill interrupted for longer begins anew.
const RESUME_WITHIN: Span = Span::hours(1);
/// Rows asked for in one page; more is never granted.
const PAGE_ROWS: u32 = 500;
/// Rows remembered to recognize repetitions; beyond that they are reported again.
const MAX_REMEMBERED: usize = 100_000;

/// The two long lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Runs,
    Executions,
}

impl List {
    fn path(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Executions => "model-executions",
        }
    }
}

/// A long list between two polls.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Rows of the overlap: hash of the id, to last update and hash of the row.
    fresh: HashMap<u64, (Timestamp, u64)>,
    /// The backfill under way.
    tally: Option<Tally>,
    pub(super) pages_read: u32,
    pub(super) pages_expected: u32,
}

impl Feed {
    /// Whether the row is new or changed; remembers it if so.
    pub(super) fn is_news(&mut self, id: u64, updated_at: Timestamp, row: u64) -> bool {
        if self.fresh.len() >= MAX_REMEMBERED {
            self.fresh.clear();
        }
        match self.fresh.get(&id) {
            Some((held_at, held)) if *held_at > updated_at || *held == row => false,
            _ => {
                self.fresh.insert(id, (updated_at, row));
                true
            }
        }
    }

    /// The backfill is over; its pages count as read.
    fn finish_backfill(&mut self) {
        self.tally = None;
        self.pages_expected = self.pages_expected.max(1);
        self.pages_read = self.pages_expected;
    }

    fn forget_before(&mut self, at: Timestamp) {
        self.fresh.retain(|_, (updated_at, _)| *updated_at >= at);
    }
}

impl Tracked {
    /// Reads the runs. Once their backfill is over, says where in the batch the news begin.
    pub(super) async fn read_runs(
        &mut self,
        round: &mut Round<'_>,
    ) -> Result<Option<usize>, FetchError> {
        if self.cursor.runs_updated_at.is_none() && self.cursor.backfill.is_none() {
            self.begin_backfill(List::Runs, round);
        }
        let news_at = round.batch.observations.len();
        if !self.backfill(List::Runs, round).await? {
            return Ok(None);
        }
        let covered_at = self.follow(List::Runs, round).await?;
        round
            .batch
            .coverage
            .insert(self.key.clone(), covered_at - VISIBILITY_MARGIN);
        Ok(Some(news_at))
    }

    /// Reads the model executions, unless they are not served.
    pub(super) async fn read_executions(
        &mut self,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        if self.execution_list.is_off(round.now) {
            return Ok(());
        }
        let error = match self.read_served_executions(round).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let is_unreadable =
            matches!(error, FetchError::BadBody { .. }) && !self.execution_list.is_proven;
        if error.is_absent() || is_unreadable || error.kind() == ProblemKind::Forbidden {
            self.give_up_executions();
            self.execution_list.turn_off(
                round,
                Some(&self.key.project_id),
                "model executions",
                &error,
            );
            return Ok(());
        }
        Err(error)
    }

    async fn read_served_executions(&mut self, round: &mut Round<'_>) -> Result<(), FetchError> {
        if self.cursor.executions_updated_at.is_none() && self.page(List::Executions).is_none() {
            self.begin_backfill(List::Executions, round);
        }
        if self.backfill(List::Executions, round).await? {
            let covered_at = self.follow(List::Executions, round).await?;
            let known_until = covered_at - VISIBILITY_MARGIN;
            round
                .batch
                .executions_known
                .insert(self.key.clone(), known_until);
        }
        Ok(())
    }

    /// Forgets an unfinished backfill of executions; one that was finished goes on where it was.
    fn give_up_executions(&mut self) {
        if self.page(List::Executions).is_some() {
            self.set_page(List::Executions, None);
            self.cursor.executions_updated_at = None;
            self.executions = Feed::default();
        }
    }

    fn begin_backfill(&mut self, list: List, round: &Round<'_>) {
        if self.cursor.backfill.is_none() {
            let began_at = round.server_now();
            let since = began_at - round.settings.backfill;
            self.cursor.backfill = Some(Backfill {
                since,
                began_at,
                runs_page: None,
                executions_page: None,
            });
        }
        self.set_page(list, Some(1));
    }

    fn page(&self, list: List) -> Option<u32> {
        let backfill = self.cursor.backfill.as_ref()?;
        match list {
            List::Runs => backfill.runs_page,
            List::Executions => backfill.executions_page,
        }
    }

    fn set_page(&mut self, list: List, page: Option<u32>) {
        let Some(backfill) = &mut self.cursor.backfill else {
            return;
        };
        match list {
            List::Runs => backfill.runs_page = page,
            List::Executions => backfill.executions_page = page,
        }
        if backfill.runs_page.is_none() && backfill.executions_page.is_none() {
            self.cursor.backfill = None;
        }
    }

    fn feed(&mut self, list: List) -> &mut Feed {
        match list {
            List::Runs => &mut self.runs,
            List::Executions => &mut self.executions,
        }
    }

    fn updated_at(&mut self, list: List) -> &mut Option<Timestamp> {
        match list {
            List::Runs => &mut self.cursor.runs_updated_at,
            List::Executions => &mut self.cursor.executions_updated_at,
        }
    }

    fn target(&self, list: List, after: Timestamp) -> Target {
        let target = Target::new(&["projects", &self.key.project_id, list.path()])
            .with("limit", PAGE_ROWS)
            .with("updated_after", after);
        match list {
            List::Runs => target.with("include_stats", false),
            List::Executions => target,
        }
    }

    /// Reads the next pages of an unfinished backfill; says whether it is over.
    async fn backfill(&mut self, list: List, round: &mut Round<'_>) -> Result<bool, FetchError> {
        let (Some(backfill), Some(page)) = (self.cursor.backfill.clone(), self.page(list)) else {
            return Ok(true);
        };
        let (mut tally, page) = self.take_up(list, page, backfill.began_at, round);
        let range = (page, round.pages_left);
        let (stop, reading) = self
            .read_pages(
                list,
                backfill.since,
                range,
                backfill.began_at,
                &mut tally,
                round,
            )
            .await;
        let newest = reading.newest.map(|at| at.min(backfill.began_at));
        let held = self.updated_at(list);
        *held = (*held).max(newest).or(Some(backfill.since));
        round.pages_left = round.pages_left.saturating_sub(reading.pages);
        let next = match stop {
            Ok(Stop::At(next)) => next,
            Ok(Stop::End) if tally.verdict() == Verdict::Again => {
                tally.begin_pass();
                1
            }
            Ok(Stop::End) if list == List::Runs && tally.verdict() == Verdict::Unsettled => {
                self.set_page(list, Some(1));
                return Err(self.unsettled(list, backfill.since));
            }
            Ok(Stop::End) => {
                self.feed(list).finish_backfill();
                self.set_page(list, None);
                return Ok(true);
            }
            Err((failed, error)) => {
                self.keep_place(list, failed, tally);
                return Err(error);
            }
        };
        self.keep_place(list, next, tally);
        round.batch.has_more = true;
        Ok(false)
    }

    /// Where to go on, and the evidence so far: none after a restart.
    fn take_up(
        &mut self,
        list: List,
        page: u32,
        began_at: Timestamp,
        round: &Round<'_>,
    ) -> (Tally, u32) {
        if let Some(tally) = self.feed(list).tally.take() {
            return (tally, page);
        }
        let is_recent = round.server_now() - began_at <= RESUME_WITHIN;
        let page = if is_recent {
            page.saturating_sub(1).max(1)
        } else {
            1
        };
        let mut tally = if page == 1 {
            Tally::default()
        } else {
            Tally::partial()
        };
        tally.begin_pass();
        (tally, page)
    }

    fn keep_place(&mut self, list: List, page: u32, tally: Tally) {
        let feed = self.feed(list);
        feed.pages_read = page.saturating_sub(1);
        feed.pages_expected = tally.pages_expected.unwrap_or(1).max(page);
        feed.tally = Some(tally);
        self.set_page(list, Some(page));
    }

    /// One incremental pass; returns the server's time at its first answer.
    async fn follow(&mut self, list: List, round: &mut Round<'_>) -> Result<Timestamp, FetchError> {
        let cursor = self.updated_at(list).unwrap_or_else(|| round.server_now());
        let after = cursor - OVERLAP;
        let mut tally = Tally::default();
        let (mut began_at, mut newest) = (None, None);
        loop {
            tally.begin_pass();
            let range = (1, MAX_PAGES);
            let (stop, reading) = self
                .read_pages(list, after, range, cursor, &mut tally, round)
                .await;
            began_at = began_at.or(reading.began_at);
            newest = newest.max(reading.newest);
            let is_at_end = stop.map_err(|(_, error)| error)? == Stop::End;
            match tally.verdict() {
                Verdict::Complete if is_at_end => break,
                Verdict::Again if is_at_end => {}
                // What the totals of that list count is not documented: no reason to read it for ever.
                _ if list == List::Executions => break,
                _ => return Err(self.unsettled(list, after)),
            }
        }
        let began_at = began_at.unwrap_or_else(|| round.server_now());
        let cursor = cursor.max(newest.map_or(cursor, |at| at.min(began_at)));
        *self.updated_at(list) = Some(cursor);
        self.feed(list).forget_before(cursor - OVERLAP - OVERLAP);
        if list == List::Executions {
            self.execution_list.prove();
        }
        Ok(began_at)
    }

    fn unsettled(&self, list: List, after: Timestamp) -> FetchError {
        FetchError::Unsettled {
            place: self.target(list, after).place(),
        }
    }

    /// Reads pages and reports their rows. Those that no later pass will read again are not remembered:
    /// a pass begins [`OVERLAP`] before the greatest `updated_at`, or before `latest` if that is earlier.
    async fn read_pages(
        &mut self,
        list: List,
        after: Timestamp,
        range: (u32, u32),
        latest: Timestamp,
        tally: &mut Tally,
        round: &mut Round<'_>,
    ) -> (Result<Stop, (u32, FetchError)>, Reading) {
        let target = self.target(list, after);
        let held = *self.updated_at(list);
        let mut reading = Reading::default();
        let (api, budget) = (round.api, round.budget.clone());
        let expected = tally.pages_expected;
        let stop = pages::read(
            api,
            &budget,
            &target,
            range,
            expected,
            |number, answer, may_doubt| {
                let server_at = round.stamp(&answer);
                let newest = held.max(reading.newest.map(|at| at.min(latest)));
                let times = (
                    server_at,
                    newest.map_or(Timestamp::MIN, |at| at - OVERLAP - OVERLAP),
                );
                let page = self
                    .take_page(list, &target, times, &answer, &mut reading, round)
                    .map_err(|error| bad_body(&target.clone().with("page", number), &error))?;
                reading.began_at.get_or_insert(server_at);
                if std::mem::take(&mut round.memory.is_doubtful) && may_doubt {
                    return Ok(Taken::Doubtful);
                }
                reading.pages += 1;
                let is_end = tally.add(&page);
                Ok(Taken::Page {
                    is_end,
                    pages_expected: tally.pages_expected,
                })
            },
        )
        .await;
        (stop, reading)
    }

    fn take_page(
        &mut self,
        list: List,
        target: &Target,
        times: (Timestamp, Timestamp),
        answer: &Answer,
        reading: &mut Reading,
        round: &mut Round<'_>,
    ) -> Result<PageRead, WireError> {
        let project_id = self.key.project_id.clone();
        let list_of = (target, Some(&project_id));
        let Round {
            memory,
            batch,
            settings,
            ..
        } = round;
        match list {
            List::Runs => memory.page::<RunRow<'_>>(list_of, &answer.body, |row, memory| {
                let run = self.observe_run(row, &settings.job_map, memory)?;
                reading.newest = reading.newest.max(Some(run.updated_at));
                let id = run.id.clone();
                self.take_run(run, times, memory, batch);
                Ok(id)
            }),
            List::Executions => {
                let page =
                    memory.page::<ExecutionRow<'_>>(list_of, &answer.body, |row, memory| {
                        let (id, updated_at) = self.take_execution(row, times.1, memory, batch)?;
                        reading.newest = reading.newest.max(Some(updated_at));
                        Ok(id)
                    })?;
                let is_foreign = page.bad_rows >= 2 && page.bad_rows == page.ids.len();
                if is_foreign && !self.execution_list.is_proven {
                    return Err(WireError::NoKnownRow);
                }
                Ok(page)
            }
        }
    }
}

/// What reading some pages brought, beyond their rows.
#[derive(Debug, Default)]
struct Reading {
    /// The server's time at the first answer.
    began_at: Option<Timestamp>,
    /// Greatest `updated_at`.
    newest: Option<Timestamp>,
    pages: u32,
}
