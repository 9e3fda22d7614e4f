//! Promises that were kept at the last moment: within the last tenth of the time there was, or of a deadline
//! within its grace.

use std::collections::BTreeMap;

use super::super::ledger::Promise;
use super::super::query::Page;
use super::super::rule::context::{Context, clock_bounds};
use super::super::rule::{Clock, RuleKind};
use super::super::time::{Span, Timestamp};
use super::{Look, MAX_ROWS, NearRow, short};

/// The last tenth.
const LAST_SHARE: i32 = 10;

/// How a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Kept {
    /// When it was due.
    pub due_at: Timestamp,
    /// Time that was left; below zero: within the grace.
    pub left: Span,
    /// The whole time there was.
    pub allowed: Span,
}

impl Kept {
    fn is_near(&self) -> bool {
        self.left < Span::zero() || self.left * LAST_SHARE <= self.allowed
    }

    /// The smaller, the nearer.
    fn rank(&self) -> (i64, Timestamp) {
        let allowed = self.allowed.num_milliseconds().max(1);
        (self.left.num_milliseconds() * 1_000 / allowed, self.due_at)
    }
}

impl Look<'_> {
    pub(super) fn nearly_missed(&self) -> Page<NearRow> {
        let mut found: BTreeMap<(String, String), (Kept, usize)> = BTreeMap::new();
        for watch in self.engine.watches.iter() {
            let Some(ctx) = self.engine.context(watch, &[], self.now) else {
                continue;
            };
            for kept in self.kept(&ctx).into_iter().filter(Kept::is_near) {
                let key = (short(&ctx.title()), short(&ctx.rule.name));
                let known = found.entry(key).or_insert((kept, 0));
                known.1 += 1;
                if kept.rank() < known.0.rank() {
                    known.0 = kept;
                }
            }
        }
        let mut rows: Vec<_> = found.into_iter().collect();
        rows.sort_by_key(|(_, (kept, _))| kept.rank());
        let rows = rows
            .into_iter()
            .map(|((subject, rule), (kept, count))| NearRow {
                subject,
                rule,
                due_at: kept.due_at,
                left_millis: kept.left.num_milliseconds(),
                allowed_millis: kept.allowed.num_milliseconds(),
                count,
            });
        Page::cut(rows.collect(), MAX_ROWS)
    }

    /// Promises of a rule at a subject that the ledger says were kept, with the time that was left.
    fn kept(&self, ctx: &Context<'_>) -> Vec<Kept> {
        let Some(job) = ctx.job() else {
            return Vec::new();
        };
        let (from, to) = (self.from(), self.to);
        let rows = ctx.ledger.subject(&ctx.rule.name, &ctx.subject.identity());
        let Some(rows) = rows.filter(|rows| rows.tally(from, to).met > 0) else {
            return Vec::new();
        };
        let met = rows
            .rows(from, to)
            .filter(|row| row.outcome == Promise::Met);
        let kept: Vec<Kept> = match &ctx.rule.kind {
            RuleKind::RunDuration(kind) => {
                return met
                    .filter_map(|row| of_run(ctx, &row, kind.clock))
                    .collect();
            }
            RuleKind::QueueTime(_) => {
                return met
                    .filter_map(|row| of_run(ctx, &row, Clock::Queue))
                    .collect();
            }
            RuleKind::Deadline(kind) => kind.kept(ctx, job, from, to),
            RuleKind::MissedSchedule(kind) => kind.kept(ctx, job, from, to),
            _ => return Vec::new(),
        };
        let due: Vec<Timestamp> = met.map(|row| row.due_at).collect();
        let is_met = |kept: &Kept| due.binary_search(&kept.due_at).is_ok();
        kept.into_iter().filter(is_met).collect()
    }
}

/// How much of its limit a run left.
fn of_run(ctx: &Context<'_>, row: &super::super::ledger::LedgerRow, clock: Clock) -> Option<Kept> {
    let run = ctx.project.run(row.labels.get("run_id"))?;
    let (began, ended) = clock_bounds(run, clock)?;
    Some(Kept {
        due_at: row.due_at,
        left: row.due_at - ended?,
        allowed: row.due_at - began,
    })
}
