//! Reading a paged list that changes while it is read, without losing rows.
//!
//! Pages are cut from the list as it is at each request, in an order that is not documented. A row
//! that is added, or that moves because it was updated, shifts others across page borders: some are
//! read twice, some not at all, and for some orders the total does not even change. So a reading is
//! believed only on evidence, which [`Tally`] gathers:
//!
//! * **Counting.** The rows that fit `updated_after` only become more (an update never takes a row out).
//!   So the distinct ids read so far are a part of the list as it is at the last answer; when they are
//!   as many as the largest total any answer of the pass named, nothing is missing. This holds in every
//!   order.
//! * **Quiet.** Where counting is impossible (no total is given, or the first pages were read before a
//!   restart), a pass that read every page it was told of, in which no total changed and no id came
//!   twice, is believed.
//!
//! A pass without evidence is repeated, at most [`MAX_PASSES`] times, keeping what was read; a
//! repetition ends as soon as the counting is satisfied. One answer that holds the whole list needs no
//! evidence.
//!
//! Rows that reach the list after the first answer may be missing from a pass. They are newer than the
//! instant the pass stands for, and the next pass reads them.

use std::collections::{HashMap, VecDeque};

use tokio_util::task::AbortOnDropHandle;

use super::client::{Answer, Api, Budget, FetchError, Target};
use super::wire::Head;

/// Passes over one list before it is called unsettled.
pub(super) const MAX_PASSES: u8 = 4;
/// Requests of one list under way at once.
const PAGES_AHEAD: usize = 4;
/// Pages of one list: a bound against a server that never ends one.
pub(super) const MAX_PAGES: u32 = 20_000;
/// Ids counted; a longer list is believed at its end.
const MAX_COUNTED_IDS: usize = 1_000_000;

/// A page as far as paging is concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct PageRead {
    /// A hash of every row's id, of malformed rows' text.
    pub(super) ids: Vec<u64>,
    /// What the envelope said.
    pub(super) head: Head,
    /// Rows that could not be read.
    pub(super) bad_rows: usize,
}

/// Evidence that a list was read completely.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The last pass in which an id was read.
    ids: HashMap<u64, u8>,
    pass: u8,
    pages_in_pass: u32,
    total_in_pass: Option<u64>,
    total_before: Option<u64>,
    is_disturbed: bool,
    /// Earlier pages are not in `ids`: counting proves nothing.
    is_partial: bool,
    is_overflowing: bool,
    /// Pages of the list, as far as known.
    pub(super) pages_expected: Option<u32>,
}

/// What a pass that reached the end of the list amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is missing.
    Complete,
    /// Read it again.
    Again,
    /// Read too often without evidence.
    Unsettled,
}

impl Tally {
    /// For a reading that is taken up at a later page.
    pub(super) fn partial() -> Self {
        Self {
            is_partial: true,
            ..Self::default()
        }
    }

    /// Begins a pass at page 1 (or, the first time, where the reading is taken up).
    pub(super) fn begin_pass(&mut self) {
        self.is_partial &= self.pass == 0;
        self.pass = self.pass.saturating_add(1);
        self.total_before = self.total_in_pass.take();
        self.pages_in_pass = 0;
        self.is_disturbed = false;
        self.pages_expected = None;
    }

    /// Counts a page; says whether the list ends here.
    pub(super) fn add(&mut self, page: &PageRead) -> bool {
        let Head {
            total,
            limit,
            total_pages,
        } = page.head;
        let is_counted = total.is_some() || total_pages.is_some();
        if self.pages_in_pass == 0 {
            if total < self.total_before {
                // Rows were taken out: what earlier passes counted is no part of the list now.
                self.ids.clear();
            }
        } else {
            self.is_disturbed |= total != self.total_in_pass;
        }
        self.total_in_pass = self.total_in_pass.max(total);
        self.pages_in_pass += 1;
        self.learn_length(&page.head, page.ids.len());
        let was_disturbed = self.is_disturbed;
        let new_ids = self.count(&page.ids);
        if new_ids == 0 {
            // Without any count, the same rows again mean a list that has no pages.
            self.is_disturbed &= is_counted || was_disturbed;
            return true;
        }
        let is_short = !is_counted && limit.is_some_and(|limit| (page.ids.len() as u64) < limit);
        is_short || (self.pass > 1 && self.is_whole())
    }

    /// Marks the ids as read in this pass; says how many were not yet.
    fn count(&mut self, ids: &[u64]) -> usize {
        let mut new_ids = 0;
        for id in ids {
            match self.ids.insert(*id, self.pass) {
                Some(pass) if pass == self.pass => self.is_disturbed = true,
                _ => new_ids += 1,
            }
        }
        if self.ids.len() > MAX_COUNTED_IDS {
            self.ids.clear();
            self.is_overflowing = true;
        }
        new_ids
    }

    /// The pages of the list: as said, or from the total; never fewer than either.
    fn learn_length(&mut self, head: &Head, rows: usize) {
        let by_rows =
            (self.pages_in_pass == 1 && head.total_pages.is_none()).then_some(rows as u64);
        let per_page = head.limit.or(by_rows).filter(|limit| *limit > 0);
        let by_total = head
            .total
            .zip(per_page)
            .map(|(total, limit)| total.div_ceil(limit));
        if let Some(pages) = head.total_pages.max(by_total) {
            let pages = u32::try_from(pages)
                .unwrap_or(MAX_PAGES)
                .clamp(1, MAX_PAGES);
            self.pages_expected = Some(self.pages_expected.map_or(pages, |held| held.max(pages)));
        }
    }

    /// As many rows as the list has were read.
    fn is_whole(&self) -> bool {
        !self.is_partial
            && self
                .total_in_pass
                .is_some_and(|total| self.ids.len() as u64 >= total)
    }

    /// What the pass amounts to, at its end.
    pub(super) fn verdict(&self) -> Verdict {
        let is_end_early = self
            .pages_expected
            .is_some_and(|pages| self.pages_in_pass < pages);
        let is_one_answer = self.pages_in_pass == 1 && !self.is_partial && !is_end_early;
        let is_believed = self.total_in_pass.is_none() || self.is_partial;
        let is_quiet = is_believed && !self.is_disturbed && (self.is_partial || !is_end_early);
        if is_one_answer || self.is_overflowing || self.is_whole() || is_quiet {
            Verdict::Complete
        } else if self.pass < MAX_PASSES {
            Verdict::Again
        } else {
            Verdict::Unsettled
        }
    }
}

/// Where a reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At the end of the list.
    End,
    /// After the allowed pages; the next one to read.
    At(u32),
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It counts.
    Page {
        /// The list ends here.
        is_end: bool,
        /// Pages of the list, as far as known by now.
        pages_expected: Option<u32>,
    },
    /// It had rows that could not be read and may have been damaged on the way: to be asked for once
    /// more.
    Doubtful,
}

/// Reads up to `at_most` pages of `list` from page `from` on, and hands each to `take` in order, with
/// its number and whether it may be called doubtful. `pages_expected` allows reading ahead before the
/// first answer. On an error, says at which page.
pub(super) async fn read<F>(
    api: &Api,
    budget: &Budget,
    list: &Target,
    (from, at_most): (u32, u32),
    mut pages_expected: Option<u32>,
    mut take: F,
) -> Result<Stop, (u32, FetchError)>
where
    F: FnMut(u32, Answer, bool) -> Result<Taken, FetchError> + Send,
{
    let end = from.saturating_add(at_most).min(MAX_PAGES);
    let mut ahead: VecDeque<AbortOnDropHandle<Result<Answer, FetchError>>> = VecDeque::new();
    let mut page = from;
    let mut next = from;
    let mut doubted = None;
    loop {
        while next < end
            && ahead.len() < PAGES_AHEAD
            && (ahead.is_empty() || pages_expected.is_some_and(|pages| next <= pages))
        {
            ahead.push_back(fetch(api, budget, list, next));
            next += 1;
        }
        let Some(fetched) = ahead.pop_front() else {
            return Ok(Stop::At(page));
        };
        let answer = match fetched.await {
            Ok(answer) => answer.map_err(|error| (page, error))?,
            // Only a panic in the request's task or a shutting-down runtime ends here.
            Err(error) => {
                let place = list.place();
                let detail = format!("the request was given up ({error})");
                return Err((page, FetchError::BadBody { place, detail }));
            }
        };
        let may_doubt = doubted != Some(page);
        match take(page, answer, may_doubt).map_err(|error| (page, error))? {
            Taken::Doubtful => {
                doubted = Some(page);
                ahead.push_front(fetch(api, budget, list, page));
            }
            Taken::Page {
                is_end,
                pages_expected: expected,
            } => {
                pages_expected = expected;
                page += 1;
                if is_end || expected.is_some_and(|pages| page > pages) {
                    return Ok(Stop::End);
                }
            }
        }
    }
}

fn fetch(
    api: &Api,
    budget: &Budget,
    list: &Target,
    page: u32,
) -> AbortOnDropHandle<Result<Answer, FetchError>> {
    let (api, budget, target) = (api.clone(), budget.clone(), list.clone().with("page", page));
    AbortOnDropHandle::new(tokio::spawn(async move { api.get(&target, &budget).await }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// A list that changes, as the server holds it.
    #[derive(Clone, Debug)]
    struct Row {
        id: u64,
        created: u64,
        updated: u64,
    }

    #[derive(Clone, Copy, Debug)]
    enum Order {
        NewestCreated,
        OldestCreated,
        NewestUpdated,
        OldestUpdated,
        ById,
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Nothing,
        Add,
        Update(usize),
    }

    #[derive(Clone, Debug)]
    struct Server {
        rows: Vec<Row>,
        order: Order,
        clock: u64,
    }

    impl Server {
        fn new(len: u64, order: Order) -> Self {
            let rows = (0..len).map(|n| Row {
                id: n * 7919 % 1_009,
                created: n,
                updated: n,
            });
            Self {
                rows: rows.collect(),
                order,
                clock: len,
            }
        }

        fn change(&mut self, change: Change) {
            self.clock += 1;
            match change {
                Change::Nothing => {}
                Change::Add => {
                    let id = self.clock * 7919 % 1_009;
                    self.rows.push(Row {
                        id,
                        created: self.clock,
                        updated: self.clock,
                    });
                }
                Change::Update(index) => {
                    let index = index % self.rows.len();
                    self.rows[index].updated = self.clock;
                }
            }
        }

        fn page(&self, page: u32, limit: usize, head: impl Fn(u64, u64) -> Head) -> PageRead {
            let mut rows = self.rows.clone();
            rows.sort_by_key(|row| match self.order {
                Order::NewestCreated => (u64::MAX - row.created, row.id),
                Order::OldestCreated => (row.created, row.id),
                Order::NewestUpdated => (u64::MAX - row.updated, row.id),
                Order::OldestUpdated => (row.updated, row.id),
                Order::ById => (0, row.id),
            });
            let total = rows.len() as u64;
            let start = (page as usize - 1) * limit;
            let ids = rows
                .iter()
                .skip(start)
                .take(limit)
                .map(|row| row.id)
                .collect();
            PageRead {
                ids,
                head: head(total, limit as u64),
                bad_rows: 0,
            }
        }
    }

    fn full_head(total: u64, limit: u64) -> Head {
        Head {
            total: Some(total),
            limit: Some(limit),
            total_pages: Some(total.div_ceil(limit)),
        }
    }

    /// Reads until a verdict; a change comes before every page but the first.
    fn read_all(
        server: &mut Server,
        limit: usize,
        head: impl Fn(u64, u64) -> Head,
        changes: &mut impl Iterator<Item = Change>,
    ) -> (Verdict, HashSet<u64>, u32) {
        let mut tally = Tally::default();
        let mut seen = HashSet::new();
        let mut requests = 0;
        loop {
            tally.begin_pass();
            for page in 1.. {
                if requests > 0 {
                    server.change(changes.next().unwrap_or(Change::Nothing));
                }
                requests += 1;
                let read = server.page(page, limit, &head);
                seen.extend(&read.ids);
                if tally.add(&read) || tally.pages_expected.is_some_and(|pages| page >= pages) {
                    break;
                }
                assert!(page < 1_000, "a list must end");
            }
            match tally.verdict() {
                Verdict::Again => {}
                verdict => return (verdict, seen, requests),
            }
        }
    }

    fn orders() -> impl Strategy<Value = Order> {
        prop::sample::select(vec![
            Order::NewestCreated,
            Order::OldestCreated,
            Order::NewestUpdated,
            Order::OldestUpdated,
            Order::ById,
        ])
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            3 => Just(Change::Nothing),
            2 => Just(Change::Add),
            2 => any::<usize>().prop_map(Change::Update),
        ];
        prop::collection::vec(change, 0..60)
    }

    proptest! {
        #[test]
        fn a_complete_reading_misses_no_row_that_was_there(
            len in 1_u64..40, limit in 1_usize..9, order in orders(), changes in changes(),
        ) {
            let mut server = Server::new(len, order);
            let there: Vec<u64> = server.rows.iter().map(|row| row.id).collect();
            let (verdict, seen, _) =
                read_all(&mut server, limit, full_head, &mut changes.into_iter());
            if verdict == Verdict::Complete {
                for id in there {
                    prop_assert!(seen.contains(&id), "{id} of {seen:?}");
                }
            }
        }

        #[test]
        fn a_quiet_list_is_read_once(len in 0_u64..40, limit in 1_usize..9, order in orders()) {
            for head in [full_head, no_pages, only_pages, no_head, only_limit] {
                let mut server = Server::new(len, order);
                let (verdict, seen, requests) =
                    read_all(&mut server, limit, head, &mut std::iter::empty());
                prop_assert_eq!(verdict, Verdict::Complete);
                prop_assert_eq!(seen.len() as u64, len);
                prop_assert!(u64::from(requests) <= len.div_ceil(limit as u64) + 1);
            }
        }
    }

    fn no_pages(total: u64, _: u64) -> Head {
        Head {
            total: Some(total),
            ..Head::default()
        }
    }

    fn only_pages(total: u64, limit: u64) -> Head {
        Head {
            total_pages: Some(total.div_ceil(limit)),
            ..Head::default()
        }
    }

    fn only_limit(_: u64, limit: u64) -> Head {
        Head {
            limit: Some(limit),
            ..Head::default()
        }
    }

    fn no_head(_: u64, _: u64) -> Head {
        Head::default()
    }

    /// Without the evidence these would lose a row: the total never changes.
    #[test]
    fn a_row_that_moves_to_the_front_is_caught() {
        for (order, moved) in [(Order::NewestUpdated, 0), (Order::OldestUpdated, 0)] {
            let mut server = Server::new(30, order);
            let there: Vec<u64> = server.rows.iter().map(|row| row.id).collect();
            let changes = [Change::Update(moved)];
            let (verdict, seen, requests) =
                read_all(&mut server, 5, full_head, &mut changes.into_iter());
            assert_eq!(verdict, Verdict::Complete);
            assert!(there.iter().all(|id| seen.contains(id)), "{order:?}");
            assert!(requests > 6, "{order:?}: read again");
        }
    }

    #[test]
    fn pages_that_do_not_add_up_are_not_believed() {
        let page = |ids: std::ops::Range<u64>, total| PageRead {
            ids: ids.collect(),
            head: full_head(total, 5),
            bad_rows: 0,
        };
        // Each case: the pages of every pass.
        for (name, pages) in [
            (
                "an empty page in the middle",
                vec![page(0..5, 15), page(0..0, 15)],
            ),
            ("the same page again", vec![page(0..5, 15), page(0..5, 15)]),
            ("nothing at all, of fifteen", vec![page(0..0, 15)]),
        ] {
            let mut tally = Tally::default();
            for pass in 1..=MAX_PASSES {
                tally.begin_pass();
                let is_end = pages.iter().fold(false, |_, page| tally.add(page));
                assert!(is_end, "{name}");
                let expected = if pass < MAX_PASSES {
                    Verdict::Again
                } else {
                    Verdict::Unsettled
                };
                assert_eq!(tally.verdict(), expected, "{name}, pass {pass}");
            }
        }
    }

    #[test]
    fn a_reading_taken_up_in_the_middle_needs_quiet_or_a_whole_pass() {
        let mut server = Server::new(20, Order::OldestUpdated);
        let mut tally = Tally::partial();
        tally.begin_pass();
        tally.add(&server.page(3, 5, full_head));
        tally.add(&server.page(4, 5, full_head));
        assert_eq!(tally.verdict(), Verdict::Complete);

        let mut tally = Tally::partial();
        tally.begin_pass();
        tally.add(&server.page(3, 5, full_head));
        server.change(Change::Add);
        tally.add(&server.page(4, 5, full_head));
        tally.add(&server.page(5, 5, full_head));
        assert_eq!(tally.verdict(), Verdict::Again);
        tally.begin_pass();
        for page in 1..=5 {
            tally.add(&server.page(page, 5, full_head));
        }
        assert_eq!(tally.verdict(), Verdict::Complete);
    }

    #[test]
    fn rows_taken_out_do_not_hide_missing_ones() {
        let mut server = Server::new(10, Order::OldestCreated);
        let mut tally = Tally::default();
        tally.begin_pass();
        tally.add(&server.page(1, 5, full_head));
        server.rows.remove(0);
        tally.add(&server.page(2, 5, full_head)); // row 5 slipped to page 1
        assert_eq!(tally.verdict(), Verdict::Again);
        tally.begin_pass();
        assert!(
            !tally.add(&server.page(1, 5, full_head)),
            "earlier counts are void"
        );
        tally.add(&server.page(2, 5, full_head));
        assert_eq!(tally.verdict(), Verdict::Complete);
    }
}
