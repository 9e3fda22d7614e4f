//! What objectives say about other rules: that these exist, and that some miss is allowed.

use std::collections::HashMap;

use crate::engine::labels::Patterns;
use crate::engine::observation::Name;
use crate::engine::rule::{Rule, RuleKind};
use crate::engine::time::{Span, config_span};

use super::super::context::{Context, Draft};
use super::super::known::Names;
use super::super::tree::Spot;

/// Objectives, and what is needed to judge them once every rule is read.
#[derive(Default)]
pub(super) struct References {
    objectives: Vec<Promise>,
    /// Days of a week on which a rule makes one promise; only of rules that judge one job.
    days_per_week: HashMap<Name, u32>,
}

struct Promise {
    of: Vec<Spot<String>>,
    window: Span,
    target: Spot<f64>,
}

impl References {
    /// Notes an objective.
    pub(super) fn add_objective(&mut self, of: &[Spot<String>], window: Span, target: &Spot<f64>) {
        self.objectives.push(Promise {
            of: of.to_vec(),
            window,
            target: target.clone(),
        });
    }

    /// Notes a rule whose promises can be counted in advance.
    pub(super) fn add_rule(&mut self, rule: &Rule) {
        let is_one =
            |patterns: &Patterns| matches!(patterns.texts().as_slice(), [one] if is_name(one));
        let selectors = &rule.selectors;
        let is_one_project = selectors.project.texts().is_empty() || is_one(&selectors.project);
        if matches!(rule.kind, RuleKind::Deadline(_)) && is_one_project && is_one(&selectors.job) {
            let days = rule.calendar.as_ref().map_or(7, |calendar| {
                calendar.days.iter().filter(|counts| **counts).count()
            });
            let days = u32::try_from(days).unwrap_or(7);
            self.days_per_week.insert(rule.name.clone(), days);
        }
    }

    /// Refuses unknown rules, and warns of objectives that allow no miss.
    pub(super) fn check(&self, context: &Context<'_>, names: &Names<()>) {
        for promise in &self.objectives {
            for name in &promise.of {
                names.find(context, name);
            }
            self.check_budget(context, promise);
        }
    }

    fn check_budget(&self, context: &Context<'_>, promise: &Promise) {
        let target = promise.target.value;
        let percent = (target * 1e6).round() / 1e4;
        let Some(events) = self.events(promise) else {
            if target >= 1.0 {
                warn(
                    context,
                    promise,
                    format!("a target of {percent} % allows no miss"),
                    "0.99",
                );
            }
            return;
        };
        // The share is a decimal fraction; its rounding error must not eat a whole event.
        let allowed = (f64::from(events) * (1.0 - target) + 1e-9).floor();
        if allowed < 1.0 && events > 0 {
            let window = config_span(promise.window);
            let message = format!("{events} runs at {percent} %: 0 misses allowed in {window}");
            let reachable = ((1.0 - 1.0 / f64::from(events)) * 1e3).floor() / 1e3;
            warn(context, promise, message, &reachable.to_string());
        }
    }

    /// How many promises the window holds, when every rule makes one on each of its days.
    fn events(&self, promise: &Promise) -> Option<u32> {
        let days = u32::try_from(promise.window.num_days()).ok()?;
        promise.of.iter().try_fold(0_u32, |sum, name| {
            let per_week = self.days_per_week.get(name.value.as_str())?;
            sum.checked_add(days.checked_mul(*per_week)? / 7)
        })
    }
}

fn warn(context: &Context<'_>, promise: &Promise, message: String, reachable: &str) {
    context.push(
        Draft::warning("objective-no-miss", promise.target.place, message)
            .label("the first miss exhausts it")
            .help(format!(
                "lower it, to {reachable} for example, or widen `window`"
            )),
    );
}

/// No wildcard and no negation.
fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?']) && !pattern.starts_with('!')
}
