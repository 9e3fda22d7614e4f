//! From a request to an answer: headers checked, path routed, list paged. Pure but for remembered
//! lists; faults and sockets are not its business.

use std::sync::Arc;

use super::clock::SimClock;
use super::json::{Object, push_items, push_text};
use super::organization::{Organization, Project, SharedOrganization};
use super::resources::{
    Place, job_at, plan_at, project_at, protection_at, push_execution, push_job, push_member,
    push_plan, push_project, push_protection, push_run,
};
use super::variant::{ErrorBody, LimitRule, Logs, Order, Variant};
use super::view::{Filter, Kind, View, Views};
use super::{aggregates, runs::RunView};
use crate::engine::time::Timestamp;

const MAX_LIMIT: usize = 500;
const RUNS_LIMIT: usize = 50;
const PLANS_LIMIT: usize = 25;
const MAX_DAYS: i64 = 365;
pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What is asked.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) query: Vec<(String, String)>,
    pub(super) authorization: Option<&'a str>,
    pub(super) organization: Option<&'a str>,
    pub(super) paging: Paging,
}

impl Request<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }
}

/// How paging misbehaves for this request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paging {
    /// Serve the page before.
    pub(super) repeat: bool,
    /// Rows by which later pages start too early (negative: too late).
    pub(super) shift: isize,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Answer {
    fn json(body: String) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            body,
        }
    }
}

/// Why a request is refused.
#[derive(Debug)]
struct Refusal(u16, &'static str);

const NOT_FOUND: Refusal = Refusal(404, "not found");

/// The error answer of a variant.
pub(super) fn refuse(variant: &Variant, status: u16, text: &str) -> Answer {
    // A 403 with `message` is documented; the rest is not.
    let shape = if status == 403 {
        ErrorBody::Message
    } else {
        variant.error_body
    };
    let mut body = String::new();
    match shape {
        ErrorBody::Error => Object::new(&mut body, variant).text("error", text).end(),
        ErrorBody::Message => Object::new(&mut body, variant).text("message", text).end(),
        ErrorBody::Nested => Object::new(&mut body, variant)
            .nested("error", |out| {
                Object::new(out, variant).text("message", text).end()
            })
            .end(),
        ErrorBody::Text => body.push_str(text),
    }
    let content_type = if shape == ErrorBody::Text { TEXT } else { JSON };
    Answer {
        status,
        content_type,
        body,
    }
}

/// Everything an answer depends on.
#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) organization: SharedOrganization,
    pub(super) clock: SimClock,
    pub(super) variant: Variant,
    pub(super) views: Views,
}

impl Simulation {
    /// Answers a GET request at the virtual instant.
    pub(super) fn answer(&self, request: &Request<'_>) -> Answer {
        let now = self.clock.now();
        self.organization.read(|organization| {
            let scene = Scene {
                organization,
                variant: &self.variant,
                views: &self.views,
                now,
                request,
            };
            scene
                .route()
                .unwrap_or_else(|Refusal(status, text)| refuse(&self.variant, status, text))
        })
    }
}

/// One request against one state of things.
struct Scene<'a> {
    organization: &'a Organization,
    variant: &'a Variant,
    views: &'a Views,
    now: Timestamp,
    request: &'a Request<'a>,
}

impl<'a> Scene<'a> {
    fn route(&self) -> Result<Answer, Refusal> {
        self.check_credentials()?;
        let path = self
            .request
            .path
            .strip_prefix("/api/v1/")
            .ok_or(NOT_FOUND)?;
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        match segments.as_slice() {
            ["projects"] => Ok(self.projects()),
            ["projects", id] => {
                let view = project_at(&self.project(id)?.plan, self.now).ok_or(NOT_FOUND)?;
                Ok(self
                    .object(|out| push_project(out, self.variant, self.organization.id(), &view)))
            }
            ["projects", id, rest @ ..] => self.project_route(self.project(id)?, rest),
            ["organizations", "members"] => Ok(self.members()),
            ["organizations", "invitations"] => Ok(self.list("invitations", 0, |_| {})),
            ["environment-protections", rest @ ..] => self.protections(rest),
            ["env", "info"] => Ok(Answer::json(
                r#"{"state_proxy":{"host":"state.example.net","port":5432}}"#.to_owned(),
            )),
            _ => Err(NOT_FOUND),
        }
    }

    fn project_route(&self, project: &'a Project, rest: &[&str]) -> Result<Answer, Refusal> {
        match rest {
            ["runs"] => self.runs(project),
            ["runs", "daily-stats"] => {
                let days = self
                    .request
                    .param("days")
                    .and_then(|days| days.parse().ok())
                    .unwrap_or(30);
                let days = i64::clamp(days, 1, MAX_DAYS);
                Ok(Answer::json(aggregates::daily(
                    self.variant,
                    project,
                    self.now,
                    days,
                )))
            }
            ["runs", id] => self.run(project, id),
            ["runs", id, "logs"] => self.logs(project, id),
            ["model-executions"] => self.executions(project),
            ["model-executions", "stats"] => self.model_stats(project),
            ["jobs"] => Ok(self.jobs(project)),
            ["plans"] => self.plans(project),
            ["plans", "pending"] => Ok(self.pending_plans(project)),
            _ => Err(NOT_FOUND),
        }
    }

    fn check_credentials(&self) -> Result<(), Refusal> {
        let token = self
            .request
            .authorization
            .and_then(|header| header.strip_prefix("Bearer "));
        if token != Some(self.organization.token()) {
            return Err(Refusal(401, "invalid or expired token"));
        }
        match self.request.organization {
            None => Err(Refusal(401, "X-Organization-ID header is required")),
            Some(id) if id != self.organization.id() => Err(Refusal(
                self.variant.foreign_status,
                "organization not found",
            )),
            Some(_) => Ok(()),
        }
    }

    fn project(&self, id: &str) -> Result<&'a Project, Refusal> {
        let project = self
            .organization
            .find(id)
            .ok_or(Refusal(404, "project not found"))?;
        project_at(&project.plan, self.now).ok_or(Refusal(404, "project not found"))?;
        Ok(project)
    }

    fn projects(&self) -> Answer {
        let plans = self.organization.projects.iter();
        let views: Vec<_> = plans
            .filter_map(|project| project_at(&project.plan, self.now))
            .collect();
        self.list("projects", views.len(), |out| {
            push_items(out, &views, |out, view| {
                push_project(out, self.variant, self.organization.id(), view);
            });
        })
    }

    fn jobs(&self, project: &Project) -> Answer {
        let views: Vec<_> = project
            .jobs
            .iter()
            .filter_map(|job| job_at(job, self.now))
            .collect();
        self.list("jobs", views.len(), |out| {
            push_items(out, &views, |out, view| {
                push_job(out, self.variant, &project.plan.id, view)
            });
        })
    }

    fn members(&self) -> Answer {
        let members = &self.organization.members;
        self.list("members", members.len(), |out| {
            push_items(out, members, |out, member| {
                push_member(out, self.variant, self.organization.id(), member);
            });
        })
    }

    fn protections(&self, rest: &[&str]) -> Result<Answer, Refusal> {
        if !self.variant.protections_allowed {
            return Err(Refusal(403, "permission manage_secrets is required"));
        }
        let visible: Vec<_> = self
            .organization
            .protections
            .iter()
            .filter(|known| known.created_at <= self.now)
            .collect();
        let push = |out: &mut String, known, place| {
            push_protection(
                out,
                self.variant,
                self.organization.id(),
                known,
                self.now,
                place,
            );
        };
        match rest {
            [] => Ok(self.list("protections", visible.len(), |out| {
                push_items(out, &visible, |out, known| push(out, known, Place::List));
            })),
            ["check"] => {
                let environment = self.request.param("environment").unwrap_or_default();
                let known = visible
                    .iter()
                    .find(|known| known.environment == environment);
                let (_, enabled) = protection_at(known.ok_or(NOT_FOUND)?, self.now);
                Ok(self.object(|out| {
                    let mut object = Object::new(out, self.variant);
                    object
                        .flag("allowed", !enabled)
                        .text("environment", environment)
                        .end();
                }))
            }
            [id] => {
                let known = visible
                    .iter()
                    .find(|known| known.id == *id)
                    .ok_or(NOT_FOUND)?;
                Ok(self.object(|out| push(out, known, Place::Detail)))
            }
            _ => Err(NOT_FOUND),
        }
    }

    fn runs(&self, project: &Project) -> Result<Answer, Refusal> {
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
            self.push_stats(out, project, &counted)
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

    fn executions(&self, project: &Project) -> Result<Answer, Refusal> {
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

    fn model_stats(&self, project: &Project) -> Result<Answer, Refusal> {
        self.variant.executions_key.ok_or(NOT_FOUND)?;
        let (start, end) = (
            self.request.param("start_date"),
            self.request.param("end_date"),
        );
        Ok(Answer::json(aggregates::models(
            self.variant,
            project,
            self.now,
            start,
            end,
        )))
    }

    fn find_run(&self, project: &'a Project, id: &str) -> Result<RunView<'a>, Refusal> {
        if self.variant.logs == Logs::Missing {
            return Err(NOT_FOUND);
        }
        let position = project
            .runs
            .position(id)
            .ok_or(Refusal(404, "run not found"))?;
        project
            .runs
            .view(position, self.now)
            .ok_or(Refusal(404, "run not found"))
    }

    fn run(&self, project: &'a Project, id: &str) -> Result<Answer, Refusal> {
        let run = self.find_run(project, id)?;
        Ok(self.object(|out| push_run(out, self.variant, &project.plan, &run, Place::Detail)))
    }

    fn logs(&self, project: &'a Project, id: &str) -> Result<Answer, Refusal> {
        let run = self.find_run(project, id)?;
        let text = log_text(project, &run, self.now);
        Ok(match self.variant.logs {
            Logs::Json => {
                self.object(|out| Object::new(out, self.variant).text("logs", &text).end())
            }
            Logs::Text | Logs::Missing => Answer {
                status: 200,
                content_type: TEXT,
                body: text,
            },
        })
    }

    fn plans(&self, project: &Project) -> Result<Answer, Refusal> {
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
                views.sort_by(|a, b| (b.created, &b.plan.id).cmp(&(a.created, &a.plan.id)))
            }
            Order::OldestFirst => {
                views.sort_by(|a, b| (a.created, &a.plan.id).cmp(&(b.created, &b.plan.id)))
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

    fn pending_plans(&self, project: &Project) -> Answer {
        let records = project
            .plans
            .iter()
            .filter_map(|plan| plan_at(plan, self.now, self.variant));
        let count = records.filter(|view| view.status == "pending").count();
        self.object(|out| {
            Object::new(out, self.variant)
                .whole(self.variant.pending_key, count)
                .end()
        })
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
        out.push_str(&format!(
            "{total},\"page\":{},\"limit\":{},\"total_pages\":{total_pages}",
            page.number, page.shown_limit
        ));
        OpenBody(out)
    }

    fn object(&self, write: impl FnOnce(&mut String)) -> Answer {
        let mut out = String::new();
        write(&mut out);
        Answer::json(out)
    }

    /// A list without pages: in its envelope, or bare.
    fn list(&self, key: &str, total: usize, write: impl FnOnce(&mut String)) -> Answer {
        self.object(|out| {
            if self.variant.bare_lists {
                out.push('[');
                write(out);
                out.push(']');
            } else {
                Object::new(out, self.variant)
                    .list(key, write)
                    .whole("total", total)
                    .end();
            }
        })
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

fn log_text(project: &Project, run: &RunView<'_>, now: Timestamp) -> String {
    let mut text = format!("{} pod scheduled\n", run.created);
    if let Some(at) = run.started {
        text.push_str(&format!("{at} run started\n"));
    }
    let position = project.runs.position(run.id);
    for execution in position
        .into_iter()
        .flat_map(|position| project.runs.executions_of(position))
        .filter_map(|row| project.runs.execution(row, now))
    {
        text.push_str(&format!(
            "{} {} {}\n",
            execution.updated, execution.model, execution.status
        ));
    }
    if let Some(error) = run.error {
        text.push_str(&format!("{} ERROR {error}\n", run.updated));
    }
    text
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
