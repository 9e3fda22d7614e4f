//! How promises came out: over the periods, by job, and what is left of objectives. Reads the ledger alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::labels::Labels;
use super::super::ledger::{LedgerRow, Promise, SubjectRows, Tally};
use super::super::query::{BudgetRow, Page};
use super::super::rule::objective::{Objective, title};
use super::super::rule::{Rule, RuleKind};
use super::super::time::{Span, Timestamp};
use super::{
    BudgetLine, DigestPeriod, EarlierRow, Look, MAX_ROWS, MAX_SLA, PERIODS, SlaLine, short,
};

/// Promises due longer than this before the period are not looked through for late decisions.
const LATE_DECISIONS: Span = Span::days(8);

impl Look<'_> {
    /// The promises of every rule, at every subject.
    fn parts(&self) -> impl Iterator<Item = (&Rule, &SubjectRows)> {
        let (policy, ledger) = (self.engine.policy(), self.engine.ledger());
        policy
            .rules
            .iter()
            .flat_map(|rule| ledger.subjects(&rule.name).map(move |part| (rule, part)))
    }

    fn bounds_of(&self, period: usize) -> (Timestamp, Timestamp) {
        (self.bounds[period + 1], self.bounds[period])
    }

    fn three(&self, part: &SubjectRows) -> [Tally; 3] {
        [0, 1, 2].map(|period| {
            let (from, to) = self.bounds_of(period);
            part.tally(from, to)
        })
    }

    pub(super) fn periods(&self) -> Vec<DigestPeriod> {
        let period = |index: usize| {
            let (from, to) = self.bounds_of(index);
            let tallies = self.parts().map(|(_, part)| part.tally(from, to));
            let tally = tallies.fold(Tally::default(), std::ops::Add::add);
            DigestPeriod { from, to, tally }
        };
        (0..PERIODS).map(period).collect()
    }

    pub(super) fn sla(&self) -> Page<SlaLine> {
        let history = self.engine.history();
        let mut jobs: BTreeMap<Labels, Vec<(&Rule, &SubjectRows)>> = BTreeMap::new();
        for (rule, part) in self.parts() {
            jobs.entry(part.labels().clone())
                .or_default()
                .push((rule, part));
        }
        let lines = jobs.into_iter().filter_map(|(labels, parts)| {
            let line = self.line(short(&title(history, &labels)), &parts);
            (line.periods[0].total() > 0).then_some(line)
        });
        let mut lines: Vec<SlaLine> = lines.collect();
        lines.sort_by(|a, b| {
            damage(b)
                .cmp(&damage(a))
                .then_with(|| a.subject.cmp(&b.subject))
        });
        Page::cut(lines, MAX_SLA)
    }

    fn line(&self, subject: String, parts: &[(&Rule, &SubjectRows)]) -> SlaLine {
        let mut periods = [Tally::default(); 3];
        let mut broken_rules = BTreeSet::new();
        let (from, to) = self.bounds_of(0);
        let mut worst = None;
        for (rule, part) in parts {
            let three = self.three(part);
            for (sum, tally) in periods.iter_mut().zip(three) {
                *sum = *sum + tally;
            }
            if three[0].broken() > 0 {
                broken_rules.insert(short(&rule.name));
                let late = part.broken(from, to).filter_map(|row| late(&row.outcome));
                worst = worst.max(late.max());
            }
        }
        SlaLine {
            subject,
            broken_rules: broken_rules.into_iter().take(MAX_ROWS).collect(),
            is_new: periods[0].broken() > 0 && periods[1].broken() == 0,
            periods,
            worst_late_millis: worst,
        }
    }

    pub(super) fn budgets(&self) -> Page<BudgetLine> {
        let rules = self.engine.policy().rules.iter();
        let objectives = rules.filter_map(|rule| match &rule.kind {
            RuleKind::Objective(kind) => Some((rule, kind)),
            _ => None,
        });
        let mut lines: Vec<BudgetLine> = objectives
            .map(|(rule, kind)| self.budget(rule, kind))
            .collect();
        lines.sort_by_key(|line| {
            let left = line.budget.allowed.saturating_sub(line.budget.used);
            // The tightest first; those that cannot be told last.
            let is_unknown = line.budget.expected.is_none();
            (
                is_unknown,
                left,
                Reverse(line.budget.used),
                line.objective.clone(),
            )
        });
        Page::cut(lines, MAX_ROWS)
    }

    fn budget(&self, rule: &Rule, kind: &Objective) -> BudgetLine {
        let (ledger, history) = (self.engine.ledger(), self.engine.history());
        let parts = kind.parts(rule, ledger, history);
        let mut periods = [Tally::default(); 3];
        for part in &parts {
            for (sum, tally) in periods.iter_mut().zip(self.three(part)) {
                *sum = *sum + tally;
            }
        }
        let budget = kind.budget(&parts, self.to);
        BudgetLine {
            objective: short(&rule.name),
            of: short(&kind.of.join(", ")),
            periods,
            budget: BudgetRow {
                target: kind.target,
                window_millis: kind.window.num_milliseconds(),
                counted: budget.tally.counted(),
                expected: budget.expected,
                allowed: budget.allowed,
                used: budget.used(),
                next_leaves_at: kind.next_leaves_at(&parts, self.to),
            },
        }
    }

    /// Promises of before the period that were decided after the last digest was made: it could not tell of
    /// them, and no later one has them in its period.
    pub(super) fn decided_since(&self) -> Page<EarlierRow> {
        let Some(previous) = self.previous else {
            return Page::cut(Vec::new(), 0);
        };
        let from = self.from();
        let since = (from - LATE_DECISIONS).min(previous.to);
        let is_told = |row: &LedgerRow| {
            let was_broken = row.corrected_from.as_ref().is_some_and(Promise::is_broken);
            row.recorded_at > previous.made_at && (row.outcome.is_broken() || was_broken)
        };
        let history = self.engine.history();
        let mut rows: Vec<LedgerRow> = self
            .parts()
            .flat_map(|(_, part)| part.rows(since, from))
            .filter(is_told)
            .collect();
        rows.sort_by(|a, b| b.due_at.cmp(&a.due_at).then_with(|| a.rule.cmp(&b.rule)));
        let rows = rows.into_iter().map(|row| EarlierRow {
            subject: short(&title(history, &row.labels)),
            rule: short(&row.rule),
            due_at: row.due_at,
            outcome: word(&row.outcome).to_owned(),
            late_millis: late(&row.outcome),
            corrected_from: row.corrected_from.as_ref().map(|was| word(was).to_owned()),
        });
        Page::cut(rows.collect(), MAX_ROWS)
    }
}

/// Most broken promises first, then the worst; of those that kept all, the least certain.
fn damage(line: &SlaLine) -> (usize, usize, i64, usize, usize) {
    let [now, before, _] = line.periods;
    let worst = line.worst_late_millis.unwrap_or(0);
    (
        now.broken(),
        now.missed,
        worst,
        now.unknown,
        before.broken(),
    )
}

fn late(outcome: &Promise) -> Option<i64> {
    match outcome {
        Promise::LateBy(millis) => Some(*millis),
        _ => None,
    }
}

fn word(outcome: &Promise) -> &'static str {
    match outcome {
        Promise::Met => "met",
        Promise::LateBy(_) => "late",
        Promise::Missed => "missed",
        Promise::Excused(_) => "excused",
        Promise::Unknown => "unknown",
    }
}
