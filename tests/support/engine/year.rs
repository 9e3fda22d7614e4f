//! A simulated year: schedules of every dialect in many zones, all on time; and misses, late starts and
//! overruns put into it. Nothing may be said of the former, each of the latter must be found once, in time.
//!
//! The scheduler is played by `croner`, an implementation of its own; what must be found is worked out from
//! its runs, not from Tardy's ticks. CI plays a sample; the whole year is
//!
//! ```text
//! TARDY_YEAR=full cargo test --release --test scenarios year -- --nocapture
//! ```
//!
//! and `TARDY_YEAR=24` the whole year of the first 24 of its 240 projects, two in each zone.

// What is played is said by a variable.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, LocalResult, NaiveDate, TimeZone as _, Utc};
use chrono_tz::Tz;
use tardy::engine::alert::{AlertState, Transition};
use tardy::engine::calendar::resolve_late;
use tardy::engine::history::History;
use tardy::engine::labels::Patterns;
use tardy::engine::ledger::{LedgerRow, Promise};
use tardy::engine::observation::{Job, Observation, Project, ProjectKey, Run, Status};
use tardy::engine::policy::{Policy, SourcePolicy};
use tardy::engine::rule::deadline::By;
use tardy::engine::rule::{Clock, Rule};
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input, Saved};

use super::kinds::{clock, deadline_after, deadline_with, missed, stale, too_long};

const ZONES: [Tz; 12] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    Tz::Africa__Cairo,
    Tz::America__Sao_Paulo,
    Tz::Africa__Casablanca,
    Tz::Pacific__Chatham,
    Tz::Pacific__Apia,
    Tz::America__St_Johns,
    Tz::Asia__Tehran,
];

/// How much is played.
#[derive(Clone, Copy)]
struct Size {
    projects_of_zone: u64,
    jobs: usize,
    faults: usize,
    /// Time between polls.
    poll: Span,
    from: &'static str,
    length: Span,
}

const SAMPLE: Size = Size {
    projects_of_zone: 1,
    jobs: 5,
    faults: 8,
    poll: Span::minutes(20),
    from: "2026-03-06T00:07:00Z",
    length: Span::days(31),
};
const FULL: Size = Size {
    projects_of_zone: 20,
    jobs: 50,
    faults: 42,
    poll: Span::minutes(5),
    from: "2026-01-01T00:07:00Z",
    length: Span::days(365),
};

/// A run is too long after this.
const MAX_RUN: Span = Span::minutes(45);
/// A success is owed so long after each tick.
const AFTER: Span = Span::minutes(60);
/// Grace of the deadline at eight.
const BY_GRACE: Span = Span::hours(1);
/// Runs before the year begins.
const PAST: Span = Span::days(8);

/// Small, seeded, the same everywhere: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn span(&mut self, low_seconds: i64, high_seconds: i64) -> Span {
        let width = u64::try_from(high_seconds - low_seconds).unwrap();
        Span::seconds(low_seconds + i64::try_from(self.below(width)).unwrap())
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// A schedule, and whether every local day has a tick of it at a fixed time.
fn schedule(dice: &mut Dice) -> (String, bool) {
    let (minute, hour) = (dice.below(60), dice.below(24));
    let (day, weekday) = (1 + dice.below(28), dice.below(7));
    match dice.below(20) {
        0..=4 => (format!("{minute} {hour} * * *"), true),
        5 => (format!("{minute} {hour} * * 1-5"), false),
        6 => (format!("{minute} {hour} * * mon,wed,FRI"), false),
        7 => (format!("{minute} {hour} * * {weekday}"), false),
        8 => (format!("{minute} {hour} {day} * *"), false),
        9 => (format!("{minute} {hour} {day} * {weekday}"), false),
        10 => (format!("{minute} {hour} 1,15 * *"), false),
        11 => (format!("{minute} * * * *"), true),
        12 => (format!("{minute} */{} * * *", 2 + dice.below(5)), false),
        13 => (format!("{minute} 8-18 * * *"), false),
        14 => (format!("*/{} * * * *", dice.pick(&[20, 30])), true),
        15 => (format!("{} {minute} {hour} * * *", dice.below(60)), true),
        16 => (
            dice.pick(&["@daily", "@midnight", "@hourly"]).to_owned(),
            true,
        ),
        17 => (dice.pick(&["@weekly", "@monthly"]).to_owned(), false),
        18 => {
            let zone = dice.pick(&ZONES);
            (format!("CRON_TZ={zone} {minute} {hour} * * *"), true)
        }
        _ => (format!("{minute} {hour} 1-7 * sat-sun"), false),
    }
}

/// The instants at which an independent scheduler starts runs, in `(after, until]`.
fn scheduler(text: &str, zone: Tz, after: Timestamp, until: Timestamp) -> (Tz, Vec<Timestamp>) {
    let (zone, text) = match text.strip_prefix("CRON_TZ=") {
        Some(rest) => {
            let (name, rest) = rest.split_once(' ').unwrap();
            (name.parse().unwrap(), rest)
        }
        None => (zone, text),
    };
    let text = match text {
        "@midnight" | "@daily" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        other => other,
    };
    let parser = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Optional)
        .build();
    let cron = parser.parse(text).unwrap();
    let from: DateTime<Tz> = after.to_utc().with_timezone(&zone);
    let ticks = cron
        .iter_after(from)
        .map(|at| Timestamp::from(at.with_timezone(&Utc)))
        .take_while(|at| *at <= until)
        .collect();
    (zone, ticks)
}

/// The wall clock shows this instant once, and did not jump to it.
fn is_plain(zone: Tz, at: Timestamp) -> bool {
    use chrono::Offset as _;
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    let local = at.in_zone(zone).naive_local();
    matches!(zone.from_local_datetime(&local), LocalResult::Single(_))
        && offset(at - Span::seconds(1)) == offset(at)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Miss,
    LateStart,
    Overrun,
}

struct Planned {
    name: String,
    schedule: String,
    zone: Tz,
    is_daily: bool,
    ticks: Vec<Timestamp>,
    /// Start and end of each tick's run; `None`: it was missed.
    runs: Vec<Option<(Timestamp, Timestamp)>>,
    faults: BTreeMap<usize, Fault>,
    max_age: Span,
}

/// As documented: a quarter of the gap to the next tick, between 5 and 30 minutes.
fn grace(gap: Span) -> Span {
    (gap / 4).clamp(Span::minutes(5), Span::minutes(30))
}

const AGES: [(&str, i64); 6] = [
    ("h3", 3),
    ("h9", 9),
    ("d1", 30),
    ("d4", 100),
    ("w1", 200),
    ("m1", 24 * 40),
];

fn plan(dice: &mut Dice, zone: Tz, index: usize, from: Timestamp, until: Timestamp) -> Planned {
    let (schedule, is_daily) = schedule(dice);
    let (zone, ticks) = scheduler(&schedule, zone, from - PAST, until + Span::days(40));
    let widest = ticks.windows(2).map(|pair| pair[1] - pair[0]).max();
    let widest = widest.unwrap_or(Span::days(31)) + Span::hours(1);
    let (class, hours) = AGES
        .into_iter()
        .find(|(_, hours)| Span::hours(*hours) >= widest)
        .unwrap_or(AGES[5]);
    let runs = ticks
        .iter()
        .map(|tick| {
            let start = *tick + dice.span(-20, 180);
            Some((start, start + dice.span(20, 600)))
        })
        .collect();
    Planned {
        name: format!(
            "{class}-{}-{index}",
            if is_daily { "daily" } else { "other" }
        ),
        schedule,
        zone,
        is_daily,
        ticks,
        runs,
        faults: BTreeMap::new(),
        max_age: Span::hours(hours),
    }
}

impl Planned {
    /// Puts a fault at a tick, unless the clocks change there or another fault is near.
    fn spoil(&mut self, dice: &mut Dice, fault: Fault, from: Timestamp, until: Timestamp) -> bool {
        let last = self
            .ticks
            .partition_point(|at| *at < until - Span::hours(4));
        let first = self.ticks.partition_point(|at| *at < from + Span::days(3));
        if last <= first + 1 {
            return false;
        }
        let width = (last - first) as u64;
        let index = first + usize::try_from(dice.below(width)).unwrap();
        let near = index.saturating_sub(5)..=index + 5;
        let Some(next) = self.ticks.get(index + 1).copied() else {
            return false;
        };
        let tick = self.ticks[index];
        if self.faults.range(near).next().is_some()
            || !is_plain(self.zone, tick)
            || !is_plain(self.zone, next)
        {
            return false;
        }
        self.runs[index] = match fault {
            Fault::Miss => None,
            Fault::LateStart => {
                let start = tick + grace(next - tick) + dice.span(60, 400);
                if start + Span::minutes(6) >= next {
                    return false;
                }
                Some((start, start + dice.span(20, 600)))
            }
            Fault::Overrun => {
                let start = tick + dice.span(-20, 180);
                Some((start, start + MAX_RUN + dice.span(1, 3_600)))
            }
        };
        self.faults.insert(index, fault);
        true
    }

    fn gap(&self, index: usize) -> Span {
        self.ticks[index + 1] - self.ticks[index]
    }

    fn finishes_by(&self, index: usize, at: Timestamp) -> bool {
        self.runs[index].is_some_and(|(_, end)| end <= at)
    }

    /// What must be found: rule, the instant at which it becomes true, and how it is known in the ledger.
    fn expected(
        &self,
        from: Timestamp,
        until: Timestamp,
        zone: Tz,
    ) -> BTreeSet<(&'static str, Timestamp)> {
        let mut found = BTreeSet::new();
        for index in 0..self.ticks.len() - 1 {
            let tick = self.ticks[index];
            let is_watched = tick > from && tick < until - Span::hours(3);
            if !is_watched {
                continue;
            }
            if matches!(
                self.faults.get(&index),
                Some(Fault::Miss | Fault::LateStart)
            ) {
                found.insert(("missed", tick + grace(self.gap(index))));
            }
            if !self.finishes_by(index, tick + AFTER) && is_plain(self.zone, tick) {
                found.insert(("after", tick + AFTER));
            }
            if let Some((start, end)) = self.runs[index]
                && end - start > MAX_RUN
            {
                found.insert(("too-long", start + MAX_RUN));
            }
        }
        self.expect_by(from, until, zone, &mut found);
        self.expect_stale(from, until, &mut found);
        found
    }

    /// Eight o'clock of each day: the run of the last tick before it, or a later one, is done.
    fn expect_by(
        &self,
        from: Timestamp,
        until: Timestamp,
        zone: Tz,
        found: &mut BTreeSet<(&'static str, Timestamp)>,
    ) {
        if !self.is_daily {
            return;
        }
        let first: NaiveDate = from.in_zone(zone).date_naive();
        for date in first.iter_days().take(400) {
            let by_at = resolve_late(zone, date.and_hms_opt(8, 0, 0).unwrap());
            let due_at = by_at + BY_GRACE;
            // Faults begin three days after the year.
            if by_at <= from + Span::days(2) {
                continue;
            }
            if due_at > until - Span::hours(2) {
                break;
            }
            let owed = self.ticks.partition_point(|at| *at < by_at) - 1;
            let later = (owed..self.ticks.len()).take_while(|index| self.ticks[*index] < due_at);
            if !later
                .into_iter()
                .any(|index| self.finishes_by(index, due_at))
            {
                found.insert(("by-eight", due_at));
            }
        }
    }

    fn expect_stale(
        &self,
        from: Timestamp,
        until: Timestamp,
        found: &mut BTreeSet<(&'static str, Timestamp)>,
    ) {
        let mut ends: Vec<Timestamp> = self.runs.iter().flatten().map(|(_, end)| *end).collect();
        ends.sort_unstable();
        // A job that has not succeeded yet is as old as its first sight.
        if ends.first().is_some_and(|end| *end > from) {
            ends.insert(0, from);
        }
        for pair in ends.windows(2) {
            let stale_at = pair[0] + self.max_age;
            if stale_at < pair[1] && stale_at > from && stale_at < until - Span::hours(2) {
                found.insert(("stale", stale_at));
            }
        }
    }
}

#[derive(Default, Debug)]
struct Tally {
    jobs: usize,
    ticks: usize,
    runs: usize,
    promises: usize,
    injected: BTreeMap<Fault, usize>,
    expected: usize,
    found: usize,
    duplicates: usize,
    false_alarms: usize,
    worst_delay: Span,
    complaints: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.ticks += other.ticks;
        self.runs += other.runs;
        self.promises += other.promises;
        self.expected += other.expected;
        self.found += other.found;
        self.duplicates += other.duplicates;
        self.false_alarms += other.false_alarms;
        self.worst_delay = self.worst_delay.max(other.worst_delay);
        self.complaints.extend(other.complaints);
        for (fault, count) in other.injected {
            *self.injected.entry(fault).or_default() += count;
        }
    }
}

fn rules(zone: Tz) -> Vec<Rule> {
    let mut missed = missed(None);
    missed.severity = tardy::engine::rule::Severity::Warning;
    let mut after = deadline_after("1h", |kind| kind.by = By::AfterTick(AFTER));
    after.name = "after".into();
    let mut by_eight = deadline_with("08:00", zone, |kind| {
        kind.by = By::Time(clock("08:00"));
        kind.grace = BY_GRACE;
    });
    by_eight.name = "by-eight".into();
    by_eight.selectors.job = Patterns::new(["*-daily-*"]);
    let mut rules = vec![missed, after, by_eight, too_long(Clock::Run, "45m")];
    for (class, hours) in AGES {
        let mut rule = stale(&format!("{hours}h"), None);
        rule.name = format!("stale-{class}").into();
        rule.selectors.job = Patterns::new([format!("{class}-*").as_str()]);
        rules.push(rule);
    }
    rules
}

fn key() -> ProjectKey {
    ProjectKey {
        source: "prod".into(),
        project_id: "p1".into(),
    }
}

/// Every row that the source serves, by the instant from which it does.
fn rows(jobs: &[Planned], until: Timestamp) -> Vec<(Timestamp, usize, usize, bool)> {
    let mut rows = Vec::new();
    for (job, planned) in jobs.iter().enumerate() {
        for (index, run) in planned.runs.iter().enumerate() {
            let Some((start, end)) = run else { continue };
            if *start <= until {
                rows.push((*start, job, index, false));
                rows.push((*end, job, index, true));
            }
        }
    }
    rows.sort_unstable();
    rows
}

fn observation(
    jobs: &[Planned],
    (at, job, index, is_over): (Timestamp, usize, usize, bool),
) -> Observation {
    let planned = &jobs[job];
    let (start, end) = planned.runs[index].unwrap();
    Observation::Run(
        key(),
        Run {
            id: format!("{job}/{index}").into(),
            job: Some(planned.name.as_str().into()),
            job_type: "run".into(),
            status: if is_over {
                Status::Success
            } else {
                Status::Running
            },
            triggered_by: "scheduled".into(),
            created_at: start,
            started_at: Some(start),
            finished_at: is_over.then_some(end),
            updated_at: at,
            error: None,
        },
    )
}

/// What came of a project's year.
#[derive(Default)]
struct Played {
    transitions: Vec<Transition>,
    ledger: Vec<LedgerRow>,
}

fn play(jobs: &[Planned], zone: Tz, (from, until): (Timestamp, Timestamp), poll: Span) -> Played {
    let mut policy = Policy::empty(vec!["team".into()]);
    policy.sources = vec![SourcePolicy {
        name: "prod".into(),
        schedule_zone: zone,
        run_url: None,
    }];
    policy.rules = rules(zone);
    let mut engine = Engine::new(Arc::new(policy), History::default(), Saved::default());
    let project = Project {
        key: key(),
        name: "finance".into(),
        project_type: "sqlmesh".into(),
        is_suspended: false,
        is_deployed: true,
        environment: None,
        commits_behind: None,
        current_commit: None,
        latest_commit: None,
        latest_message: None,
        concurrency_policy: None,
    };
    let listed = jobs.iter().map(|planned| Job {
        name: planned.name.as_str().into(),
        schedule: Some(planned.schedule.as_str().into()),
        is_enabled: true,
        updated_at: None,
    });
    let first = vec![
        Observation::Project(project),
        Observation::Jobs(key(), listed.collect()),
    ];
    let rows = rows(jobs, until);
    let (mut served, mut poll_at, mut regular_at) = (0, from, from);
    let mut wake_at: Option<Timestamp> = None;
    let mut played = Played::default();
    let mut first = Some(first);
    let mut last = from - Span::milliseconds(1);
    loop {
        let now = wake_at.map_or(poll_at, |at| at.min(poll_at)).max(last);
        if now > until {
            return played;
        }
        last = now;
        let mut input = Input::default();
        if poll_at <= now {
            input.observations = first.take().unwrap_or_default();
            while served < rows.len() && rows[served].0 <= now {
                input.observations.push(observation(jobs, rows[served]));
                served += 1;
            }
            input.coverage.insert(key(), now);
            while regular_at <= now {
                regular_at = regular_at + poll;
            }
            poll_at = regular_at;
        }
        let step = engine.step(input, now);
        played.transitions.extend(step.transitions);
        played.ledger.extend(step.ledger);
        wake_at = step.wake_at;
        if let Some(hint) = step.poll_at {
            poll_at = poll_at.min(hint.max(now + Span::milliseconds(1)));
        }
    }
}

fn project(size: Size, zone: Tz, number: u64) -> Tally {
    let mut dice = Dice(number.wrapping_mul(7_919) ^ 0x7a3d);
    let from = Timestamp::parse(size.from).unwrap();
    let until = from + size.length;
    let mut jobs: Vec<Planned> = (0..size.jobs)
        .map(|index| plan(&mut dice, zone, index, from, until))
        .collect();
    let mut tally = Tally {
        jobs: jobs.len(),
        ..Tally::default()
    };
    let (mut injected, mut tries) = (0, 0);
    while injected < size.faults && tries < 10_000 {
        tries += 1;
        let fault = dice.pick(&[Fault::Miss, Fault::LateStart, Fault::Overrun]);
        let job = usize::try_from(dice.below(jobs.len() as u64)).unwrap();
        if jobs[job].spoil(&mut dice, fault, from, until) {
            *tally.injected.entry(fault).or_default() += 1;
            injected += 1;
        }
    }
    let played = play(&jobs, zone, (from, until), size.poll);
    for planned in &jobs {
        tally.ticks += planned
            .ticks
            .iter()
            .filter(|at| **at > from && **at <= until)
            .count();
        tally.runs += planned.runs.iter().flatten().count();
        compare(planned, &played, (from, until, zone), &mut tally);
    }
    tally.promises = played.ledger.len();
    tally
}

/// Holds what fired against what must.
fn compare(
    planned: &Planned,
    played: &Played,
    (from, until, zone): (Timestamp, Timestamp, Tz),
    tally: &mut Tally,
) {
    let expected = planned.expected(from, until, zone);
    tally.expected += expected.len();
    let mut fired: BTreeMap<(&str, Timestamp), usize> = BTreeMap::new();
    let of_job = |change: &&Transition| {
        change.to == AlertState::Firing && change.labels.get("job") == planned.name
    };
    for change in played.transitions.iter().filter(of_job) {
        let rule: &str = &change.rule;
        let rule = if rule.starts_with("stale-") {
            "stale"
        } else {
            rule
        };
        let is_decided = change.at < until - Span::hours(5);
        let count = fired.entry((rule, change.at)).or_default();
        *count += 1;
        if *count > 1 {
            tally.duplicates += 1;
        }
        let known = expected
            .iter()
            .any(|(name, at)| *name == rule && *at == change.at);
        if known {
            tally.worst_delay = tally.worst_delay.max(change.recorded_at - change.at);
        } else if is_decided {
            tally.false_alarms += 1;
            tally.complaints.push(format!(
                "false: {rule} {} `{}` {} at {}: {}",
                planned.name, planned.schedule, planned.zone, change.at, change.reason
            ));
        }
    }
    for (rule, at) in &expected {
        if fired.contains_key(&(*rule, *at)) {
            tally.found += 1;
        } else {
            tally.complaints.push(format!(
                "not found: {rule} {} `{}` {} at {at}",
                planned.name, planned.schedule, planned.zone
            ));
        }
    }
    // The ledger holds each broken promise once.
    let mut rows: BTreeMap<(&str, Timestamp), usize> = BTreeMap::new();
    for row in played
        .ledger
        .iter()
        .filter(|row| row.labels.get("job") == planned.name)
    {
        if row.outcome == Promise::Missed {
            *rows.entry((&row.rule, row.due_at)).or_default() += 1;
        }
    }
    tally.duplicates += rows.values().filter(|count| **count > 1).count();
}

#[test]
fn a_year_on_time_is_silent_and_each_fault_in_it_is_found_once_in_time() {
    let asked = std::env::var("TARDY_YEAR").ok();
    let size = if asked.is_some() { FULL } else { SAMPLE };
    let work = (0..size.projects_of_zone).flat_map(|number| {
        let zones = ZONES.into_iter().zip(0_u64..);
        zones.map(move |(zone, index)| (zone, index * 1_000 + number))
    });
    let some = asked.and_then(|text| text.parse().ok());
    let work: Vec<(Tz, u64)> = work.take(some.unwrap_or(usize::MAX)).collect();
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((zone, number)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = project(size, *zone, *number);
                    total.lock().unwrap().add(tally);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    report(&total);
    let shown = total
        .complaints
        .iter()
        .take(40)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        total.complaints.is_empty(),
        "{} complaints\n{shown}",
        total.complaints.len()
    );
    assert_eq!((total.false_alarms, total.duplicates), (0, 0));
    assert_eq!(total.found, total.expected);
    assert!(
        total.worst_delay <= size.poll,
        "found {} after it was true",
        total.worst_delay
    );
    let injected: usize = total.injected.values().sum();
    assert!(
        injected >= size.faults * work.len() * 9 / 10,
        "only {injected} faults"
    );
}

fn report(total: &Tally) {
    let injected: usize = total.injected.values().sum();
    println!(
        "{} jobs in {} zones, {} ticks, {} runs, {} promises; {injected} faults ({:?}) that are {} alerts: {} found, {} twice; {} false alarms; worst delay {} ms after the instant",
        total.jobs,
        ZONES.len(),
        total.ticks,
        total.runs,
        total.promises,
        total.injected,
        total.expected,
        total.found,
        total.duplicates,
        total.false_alarms,
        total.worst_delay.num_milliseconds(),
    );
}
