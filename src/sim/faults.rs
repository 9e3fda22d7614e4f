//! Faults on demand or at random, and a record of what was asked.
//!
//! A fault applies to one request whose `path?query` contains a given text (the empty text matches
//! all). Random faults come from a seed, one decision per request, in the order of requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::random::Random;
use crate::engine::time::Span;

/// Requests remembered in full; older ones are only counted.
const REMEMBERED: usize = 10_000;
/// Paths counted by name; further ones are counted together as `(other)`.
const COUNTED_PATHS: usize = 10_000;

/// What is wrong with a malformed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// `id` is missing.
    MissingId,
    /// `status` is `quantum`.
    UnknownStatus,
    /// Instants are numbers, `status` is a list, `duration_seconds` is a text.
    WrongTypes,
    /// The row is a text instead of an object.
    NotAnObject,
}

/// Something that goes wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and, if given, `Retry-After` seconds.
    Status(u16, Option<u64>),
    /// Answered correctly, but this much (real time) later.
    Delay(Span),
    /// The connection is closed without an answer.
    ResetConnection,
    /// The connection is closed in the middle of the body, after a full `Content-Length`.
    HalfBody,
    /// The body is not JSON.
    GarbageJson,
    /// The first row of the page is malformed; the others are good.
    GarbageRow(Garbage),
    /// The page before is served again, under the number that was asked.
    RepeatPage,
    /// Pages after the first start this many rows too early, as when rows were added at the top
    /// while a client was reading; too late if negative, as when rows went away.
    ShiftPages(isize),
    /// The rows of the page come in reverse order.
    ReorderRows,
    /// The `Date` header of this answer is off by this much.
    ClockSkew(Span),
    /// A correct JSON body with this many bytes of padding.
    HugeBody(usize),
    /// At most this many bytes are sent at a time, with this pause (real time) between them.
    SlowDrip(usize, Span),
    /// A page of HTML with status 200, as proxies send it.
    WrongContentType,
    /// Status 200 and no body.
    EmptyOk,
}

impl Fault {
    /// One of each, with moderate parameters: what random faults choose from by default.
    pub fn samples() -> Vec<Self> {
        vec![
            Self::Status(500, None),
            Self::Status(502, None),
            Self::Status(503, Some(1)),
            Self::Status(429, Some(1)),
            Self::Status(401, None),
            Self::Status(403, None),
            Self::Status(404, None),
            Self::Delay(Span::milliseconds(5)),
            Self::ResetConnection,
            Self::HalfBody,
            Self::GarbageJson,
            Self::GarbageRow(Garbage::MissingId),
            Self::GarbageRow(Garbage::UnknownStatus),
            Self::GarbageRow(Garbage::WrongTypes),
            Self::GarbageRow(Garbage::NotAnObject),
            Self::RepeatPage,
            Self::ShiftPages(1),
            Self::ShiftPages(7),
            Self::ReorderRows,
            Self::ClockSkew(Span::hours(1)),
            Self::ClockSkew(Span::hours(-1)),
            Self::HugeBody(1_000_000),
            Self::SlowDrip(4_096, Span::milliseconds(1)),
            Self::WrongContentType,
            Self::EmptyOk,
        ]
    }
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, still encoded; empty without one.
    pub query: String,
}

#[derive(Debug)]
struct Queued {
    matching: String,
    fault: Fault,
    times: usize,
}

#[derive(Debug)]
struct Chance {
    random: Random,
    rate: f64,
    faults: Vec<Fault>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Queued>,
    chance: Option<Chance>,
    skew: Span,
    applied: u64,
    counts: BTreeMap<String, u64>,
    other_methods: u64,
    seen: VecDeque<Seen>,
}

/// The faults of a simulator and its request counters. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next request whose `path?query` contains `matching` meets `fault`.
    pub fn inject(&self, matching: &str, fault: Fault) -> &Self {
        self.inject_times(matching, fault, 1)
    }

    /// The next `times` requests whose `path?query` contains `matching` meet `fault`.
    pub fn inject_times(&self, matching: &str, fault: Fault, times: usize) -> &Self {
        let matching = matching.to_owned();
        if times > 0 {
            self.state().queue.push(Queued {
                matching,
                fault,
                times,
            });
        }
        self
    }

    /// Every request whose `path?query` contains `matching` meets `fault`, until [`Faults::calm`].
    pub fn inject_always(&self, matching: &str, fault: Fault) -> &Self {
        self.inject_times(matching, fault, usize::MAX)
    }

    /// From now on each request meets one of `faults` with probability `rate`.
    pub fn random(&self, seed: u64, rate: f64, faults: Vec<Fault>) -> &Self {
        self.state().chance = Some(Chance {
            random: Random::new(seed),
            rate,
            faults,
        });
        self
    }

    /// From now on the `Date` header is off by `skew` on every answer.
    pub fn set_skew(&self, skew: Span) -> &Self {
        self.state().skew = skew;
        self
    }

    /// Ends all faults, queued and random, and the skew. Counters stay.
    pub fn calm(&self) {
        let mut state = self.state();
        state.queue.clear();
        state.chance = None;
        state.skew = Span::zero();
    }

    /// Queued faults that have not been met yet (`usize::MAX` if some never end).
    pub fn waiting(&self) -> usize {
        self.state()
            .queue
            .iter()
            .fold(0, |sum, queued| sum.saturating_add(queued.times))
    }

    /// Faults met so far.
    pub fn applied(&self) -> u64 {
        self.state().applied
    }

    /// Requests so far, by `METHOD /path`.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.state().counts.clone()
    }

    /// Requests so far whose `METHOD /path` contains `matching`.
    pub fn count(&self, matching: &str) -> u64 {
        let state = self.state();
        state
            .counts
            .iter()
            .filter(|(path, _)| path.contains(matching))
            .map(|(_, count)| count)
            .sum()
    }

    /// Requests so far with another method than GET.
    pub fn other_methods(&self) -> u64 {
        self.state().other_methods
    }

    /// The latest requests (at most 10 000), oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.iter().cloned().collect()
    }

    /// Notes a request and says which faults it meets.
    pub(super) fn meet(&self, method: &str, path: &str, query: &str) -> (Vec<Fault>, Span) {
        let mut state = self.state();
        state.note(method, path, query);
        let address = format!("{path}?{query}");
        let mut met: Vec<Fault> = state.take(&address).into_iter().collect();
        met.extend(state.roll());
        state.applied += u64::try_from(met.len()).unwrap_or(0);
        (met, state.skew)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, method: &str, path: &str, query: &str) {
        let mut key = format!("{method} {path}");
        if self.counts.len() >= COUNTED_PATHS && !self.counts.contains_key(&key) {
            "(other)".clone_into(&mut key);
        }
        *self.counts.entry(key).or_default() += 1;
        self.other_methods += u64::from(method != "GET");
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        });
    }

    fn take(&mut self, address: &str) -> Option<Fault> {
        let position = self
            .queue
            .iter()
            .position(|queued| address.contains(&queued.matching))?;
        let queued = self.queue.get_mut(position)?;
        let fault = queued.fault.clone();
        if queued.times < usize::MAX {
            queued.times -= 1;
        }
        if queued.times == 0 {
            self.queue.remove(position);
        }
        Some(fault)
    }

    fn roll(&mut self) -> Option<Fault> {
        let chance = self.chance.as_mut()?;
        if !chance.random.chance(chance.rate) {
            return None;
        }
        chance.random.pick(&chance.faults).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_faults_wait_for_their_request() {
        let faults = Faults::new();
        faults
            .inject("page=2", Fault::EmptyOk)
            .inject_times("/runs", Fault::HalfBody, 2);
        let meet = |path, query| faults.meet("GET", path, query).0;
        assert_eq!(meet("/jobs", ""), []);
        assert_eq!(meet("/runs", "page=1"), [Fault::HalfBody]);
        assert_eq!(meet("/runs", "page=2"), [Fault::EmptyOk]);
        assert_eq!(meet("/runs", "page=2"), [Fault::HalfBody]);
        assert_eq!(meet("/runs", "page=2"), []);
        assert_eq!((faults.waiting(), faults.applied()), (0, 3));
        assert_eq!((faults.count("GET /runs"), faults.count("/jobs")), (4, 1));
    }

    #[test]
    fn endless_faults_end_with_the_calm() {
        let faults = Faults::new();
        faults.inject_always("/runs", Fault::EmptyOk);
        for _ in 0..3 {
            assert_eq!(faults.meet("GET", "/runs", "").0, [Fault::EmptyOk]);
        }
        faults.calm();
        assert_eq!(faults.meet("GET", "/runs", "").0, []);
        assert_eq!(faults.applied(), 3);
    }

    #[test]
    fn random_faults_repeat_with_their_seed() {
        let roll = |seed| {
            let faults = Faults::new();
            faults.random(seed, 0.3, Fault::samples());
            (0..200)
                .map(|_| faults.meet("GET", "/", "").0)
                .collect::<Vec<_>>()
        };
        assert_eq!(roll(1), roll(1));
        assert_ne!(roll(1), roll(2));
        let hit = roll(1).iter().filter(|met| !met.is_empty()).count();
        assert!((40..80).contains(&hit), "{hit}");
    }
}
