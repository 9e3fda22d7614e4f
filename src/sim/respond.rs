//! From a request to an answer: headers checked, path routed, single resources written. Pure but
//! for remembered lists (`listing`); faults and sockets are not its business.

use std::fmt::Write as _;

use super::clock::SimClock;
use super::json::{Object, push_items};
use super::listing::Paging;
use super::organization::{Organization, Project, SharedOrganization};
use super::resources::{
    Place, job_at, plan_at, project_at, protection_at, push_job, push_member, push_project,
    push_protection, push_run,
};
use super::variant::{ErrorBody, Logs, Variant};
use super::view::Views;
use super::{aggregates, runs::RunView};
use crate::engine::time::Timestamp;

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
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(body: String) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            body,
        }
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str);

pub(super) const NOT_FOUND: Refusal = Refusal(404, "not found");

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
                Object::new(out, variant).text("message", text).end();
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
pub(super) struct Scene<'a> {
    pub(super) organization: &'a Organization,
    pub(super) variant: &'a Variant,
    pub(super) views: &'a Views,
    pub(super) now: Timestamp,
    pub(super) request: &'a Request<'a>,
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
                Ok(object(|out| {
                    push_project(out, self.variant, self.organization.id(), &view);
                }))
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
            ["runs"] if !self.variant.runs_allowed => {
                Err(Refusal(403, "runs may not be read with this token"))
            }
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
            ["runs", ..] if !self.variant.runs_allowed => Err(NOT_FOUND),
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
                push_job(out, self.variant, &project.plan.id, view);
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
        let key = self.variant.protections_key.ok_or(NOT_FOUND)?;
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
            [] => Ok(self.list(key, visible.len(), |out| {
                push_items(out, &visible, |out, known| push(out, known, Place::List));
            })),
            ["check"] => {
                let environment = self.request.param("environment").unwrap_or_default();
                let known = visible
                    .iter()
                    .find(|known| known.environment == environment);
                let (_, enabled) = protection_at(known.ok_or(NOT_FOUND)?, self.now);
                Ok(object(|out| {
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
                Ok(object(|out| push(out, known, Place::Detail)))
            }
            _ => Err(NOT_FOUND),
        }
    }

    fn model_stats(&self, project: &Project) -> Result<Answer, Refusal> {
        if !self.variant.stats_served {
            return Err(NOT_FOUND);
        }
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
        Ok(object(|out| {
            push_run(out, self.variant, &project.plan, &run, Place::Detail);
        }))
    }

    fn logs(&self, project: &'a Project, id: &str) -> Result<Answer, Refusal> {
        let run = self.find_run(project, id)?;
        let text = log_text(project, &run, self.now);
        Ok(match self.variant.logs {
            Logs::Json => object(|out| Object::new(out, self.variant).text("logs", &text).end()),
            Logs::Text | Logs::Missing => Answer {
                status: 200,
                content_type: TEXT,
                body: text,
            },
        })
    }

    fn pending_plans(&self, project: &Project) -> Answer {
        let records = project
            .plans
            .iter()
            .filter_map(|plan| plan_at(plan, self.now, self.variant));
        let count = records.filter(|view| view.status == "pending").count();
        object(|out| {
            Object::new(out, self.variant)
                .whole(self.variant.pending_key, count)
                .end();
        })
    }

    /// A list without pages: in its envelope, or bare.
    fn list(&self, key: &str, total: usize, write: impl FnOnce(&mut String)) -> Answer {
        object(|out| {
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

/// An answer whose body `write` writes.
fn object(write: impl FnOnce(&mut String)) -> Answer {
    let mut out = String::new();
    write(&mut out);
    Answer::json(out)
}

fn log_text(project: &Project, run: &RunView<'_>, now: Timestamp) -> String {
    let mut text = format!("{} pod scheduled\n", run.created);
    if let Some(at) = run.started {
        let _ = writeln!(text, "{at} run started");
    }
    let position = project.runs.position(run.id);
    for execution in position
        .into_iter()
        .flat_map(|position| project.runs.executions_of(position))
        .filter_map(|row| project.runs.execution(row, now))
    {
        let _ = writeln!(
            text,
            "{} {} {}",
            execution.updated, execution.model, execution.status
        );
    }
    if let Some(error) = run.error {
        let _ = writeln!(text, "{} ERROR {error}", run.updated);
    }
    text
}
