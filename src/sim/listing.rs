//! Paged lists: query parameters, pages, the envelope, and faults of paging.

use std::fmt::Write as _;
use std::sync::Arc;

use super::json::{Object, push_items, push_text};
use super::organization::Project;
use super::resources::{Place, plan_at, push_execution, push_plan, push_run};
use super::respond::{Answer, NOT_FOUND, Refusal, Scene};
use super::variant::{LimitRule, Order};
use super::view::{Filter, Kind, View};
use crate::engine::time::Timestamp;

const MAX_LIMIT: usize = 500;
const RUNS_LIMIT: usize = 50;
const PLANS_LIMIT: usize = 25;

/// How paging misbehaves for this request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paging {
    /// Serve the page before.
    pub(super) repeat: bool,
    /// Rows by which later pages start too early (negative: too late).
    pub(super) shift: isize,
}

impl Scene<'_> {
    pub(super) fn runs(&self, project: &Project) -> Result<Answer, Refusal> {
        let page = self.page(RUNS_LIMIT)?;
        let view = self.view(project, self.filter(Kind::Runs, project)?);
        let body = self.paged("runs", &page, view.rows.len(), |out, range| {
            let rows = view.rows.get(range).unwrap_or_default();
            let runs = rows
                .iter()
                .filter_map(|row| project.runs.view(*row, self.now));
            push_items(out, runs, |out, run| {
                push_run(out, self.variant, &project.plan, &run, Place::List);
            });
        });
        if self.request.param("include_stats") == Some("false") {
            return Ok(Answer::json(body.finish()));
        }
        let counted = if self.variant.stats_follow_filters {
            view
        } else {
            self.view(
                project,
                Filter::all(Kind::Runs, &project.plan.id, self.variant.order),
            )
        };
        Ok(Answer::json(body.finish_with(|out| {
            self.push_stats(out, project, &counted);
        })))
    }

    fn push_stats(&self, out: &mut String, project: &Project, view: &View) {
        let stats = &view.stats;
        out.push_str(",\"stats\":");
        Object::new(out, self.variant)
            .text("project_id", &project.plan.id)
            .whole("total_runs", stats.total)
            .whole("successful_runs", stats.successful)
            .whole("failed_runs", stats.failed)
            .whole("error_runs", stats.error)
            .optional_seconds("avg_success_duration", stats.average())
            .end();
    }

    pub(super) fn executions(&self, project: &Project) -> Result<Answer, Refusal> {
        let key = self.variant.executions_key.ok_or(NOT_FOUND)?;
        let page = self.page(RUNS_LIMIT)?;
        let view = self.view(project, self.filter(Kind::Executions, project)?);
        let body = self.paged(key, &page, view.rows.len(), |out, range| {
            let rows = view.rows.get(range).unwrap_or_default();
            let executions = rows
                .iter()
                .filter_map(|row| project.runs.execution(*row, self.now));
            push_items(out, executions, |out, execution| {
                push_execution(out, self.variant, &project.plan, &execution);
            });
        });
        Ok(Answer::json(body.finish()))
    }

    pub(super) fn plans(&self, project: &Project) -> Result<Answer, Refusal> {
        let page = self.page(PLANS_LIMIT)?;
        let status = self.request.param("status");
        let records = project
            .plans
            .iter()
            .filter_map(|plan| plan_at(plan, self.now, self.variant));
        let mut views: Vec<_> = records
            .filter(|view| status.is_none_or(|status| view.status == status))
            .collect();
        match self.variant.order {
            Order::NewestFirst => {
                views.sort_by(|a, b| (b.created, &b.plan.id).cmp(&(a.created, &a.plan.id)));
            }
            Order::OldestFirst => {
                views.sort_by(|a, b| (a.created, &a.plan.id).cmp(&(b.created, &b.plan.id)));
            }
            Order::ById => views.sort_by(|a, b| a.plan.id.cmp(&b.plan.id)),
        }
        let body = self.paged("plans", &page, views.len(), |out, range| {
            push_items(out, views.get(range).unwrap_or_default(), |out, view| {
                push_plan(out, self.variant, &project.plan.id, view);
            });
        });
        Ok(Answer::json(body.finish()))
    }

    fn view(&self, project: &Project, filter: Filter) -> Arc<View> {
        self.views.get(self.organization, project, filter, self.now)
    }

    fn filter(&self, kind: Kind, project: &Project) -> Result<Filter, Refusal> {
        let owned = |name| self.request.param(name).map(ToOwned::to_owned);
        let job = self.request.param("cronjob_name").map(|name| {
            // A name without the variant's prefix is nobody's: the match is exact.
            name.strip_prefix(self.variant.cronjob_prefix)
                .unwrap_or("\0")
                .to_owned()
        });
        Ok(Filter {
            kind,
            project: project.plan.id.clone(),
            updated_after: self.updated_after()?,
            job,
            status: owned("status"),
            job_type: owned("job_type"),
            order: self.variant.order,
        })
    }

    fn updated_after(&self) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.request.param("updated_after") else {
            return Ok(None);
        };
        match Timestamp::parse(text) {
            None if self.variant.refuses_bad_instants => {
                Err(Refusal(400, "updated_after must be RFC3339"))
            }
            parsed => Ok(parsed),
        }
    }

    fn page(&self, default_limit: usize) -> Result<Page, Refusal> {
        let number = |name| {
            self.request
                .param(name)
                .and_then(|text| text.parse::<usize>().ok())
        };
        let asked = number("limit")
            .filter(|limit| *limit > 0)
            .unwrap_or(default_limit);
        let limit = asked.min(MAX_LIMIT);
        let shown_limit = match self.variant.limit_rule {
            LimitRule::Refused if asked > MAX_LIMIT => {
                return Err(Refusal(400, "limit must be between 1 and 500"));
            }
            LimitRule::Echoed => asked,
            LimitRule::Clamped | LimitRule::Refused => limit,
        };
        Ok(Page {
            number: number("page").filter(|page| *page > 0).unwrap_or(1),
            limit,
            shown_limit,
        })
    }

    fn paged(
        &self,
        key: &str,
        page: &Page,
        total: usize,
        write: impl FnOnce(&mut String, std::ops::Range<usize>),
    ) -> OpenBody {
        let range = page.range(total, self.request.paging);
        let mut out = String::with_capacity(256 + 512 * range.len());
        let pages = total.div_ceil(page.limit);
        out.push('{');
        push_text(&mut out, key);
        out.push_str(":[");
        write(&mut out, range);
        out.push_str("],\"total\":");
        let total_pages = if pages == 0 {
            self.variant.empty_total_pages
        } else {
            pages
        };
        // Writing to a text cannot fail.
        let _ = write!(
            out,
            "{total},\"page\":{},\"limit\":{},\"total_pages\":{total_pages}",
            page.number, page.shown_limit
        );
        OpenBody(out)
    }
}

/// A body whose closing brace is still missing.
struct OpenBody(String);

impl OpenBody {
    fn finish(self) -> String {
        self.finish_with(|_| {})
    }

    fn finish_with(mut self, write: impl FnOnce(&mut String)) -> String {
        write(&mut self.0);
        self.0.push('}');
        self.0
    }
}

#[derive(Debug)]
struct Page {
    number: usize,
    limit: usize,
    shown_limit: usize,
}

impl Page {
    fn range(&self, total: usize, paging: Paging) -> std::ops::Range<usize> {
        let before = if paging.repeat { 2 } else { 1 };
        let mut start = self
            .number
            .saturating_sub(before)
            .saturating_mul(self.limit);
        if self.number > 1 {
            start = start.saturating_add_signed(paging.shift.saturating_neg());
        }
        start.min(total)..start.saturating_add(self.limit).min(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once_unless_told_otherwise() {
        let page = |number| Page {
            number,
            limit: 10,
            shown_limit: 10,
        };
        let plain = Paging::default();
        assert_eq!(page(1).range(25, plain), 0..10);
        assert_eq!(page(3).range(25, plain), 20..25);
        assert_eq!(page(4).range(25, plain), 25..25);
        assert_eq!(
            page(2).range(
                25,
                Paging {
                    repeat: true,
                    shift: 0
                }
            ),
            0..10
        );
        assert_eq!(
            page(1).range(
                25,
                Paging {
                    repeat: false,
                    shift: 3
                }
            ),
            0..10
        );
        assert_eq!(
            page(2).range(
                25,
                Paging {
                    repeat: false,
                    shift: 3
                }
            ),
            7..17
        );
        assert_eq!(
            page(2).range(
                25,
                Paging {
                    repeat: false,
                    shift: -3
                }
            ),
            13..23
        );
        assert_eq!(page(usize::MAX).range(25, plain), 25..25);
    }
}
