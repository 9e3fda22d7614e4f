//! The client against a small server of its own: paging that shifts, refusals, and everything a network
//! may do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::engine::observation::{DayAverage, Execution, Observation, Run, Status};
use crate::source::ProblemKind;

const TOKEN: &str = "dctl_s3cret-token";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn noon() -> Timestamp {
    at("2026-03-10T12:00:00Z")
}

fn key(project_id: &str) -> ProjectKey {
    ProjectKey {
        source: "prod".into(),
        project_id: project_id.into(),
    }
}

fn settings(base_url: &str) -> DagctlSettings {
    DagctlSettings {
        name: "prod".into(),
        base_url: base_url.parse().unwrap(),
        organization: "org-1234abcd".to_owned(),
        token: TOKEN.into(),
        projects: Patterns::default(),
        backfill: Span::days(1),
        job_map: BTreeMap::new(),
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
        },
        retry: Retry {
            base_delay: Duration::from_millis(1),
            max_retries: 2,
            budget: Duration::from_secs(10),
        },
    }
}

type Script = Box<dyn FnMut(&Request, &mut World) -> Option<ResponseTemplate> + Send>;

/// What the server holds.
struct World {
    now: Timestamp,
    projects: Vec<Value>,
    runs: BTreeMap<String, Vec<Value>>,
    executions: Option<Vec<Value>>,
    plans: Vec<Value>,
    protections: Vec<Value>,
    page_rows: usize,
    requests: Vec<String>,
    script: Option<Script>,
}

impl World {
    fn set(&mut self, project: &str, run: Value) {
        let runs = self.runs.entry(project.to_owned()).or_default();
        runs.retain(|held| held["id"] != run["id"]);
        runs.push(run);
    }

    /// Newest update first, the order in which an update shifts most.
    fn page(&self, rows: &[Value], list_key: &str, query: &BTreeMap<String, String>) -> Value {
        let after = query.get("updated_after").map(|text| at(text));
        let updated = |row: &Value| at(row["updated_at"].as_str().unwrap());
        let mut rows: Vec<&Value> = rows
            .iter()
            .filter(|row| after.is_none_or(|after| updated(row) > after))
            .collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(updated(row)), row["id"].to_string()));
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").unwrap_or(50).min(self.page_rows);
        let page = number("page").unwrap_or(1);
        let part: Vec<_> = rows.iter().skip((page - 1) * limit).take(limit).collect();
        json!({ list_key: part, "total": rows.len(), "page": page, "limit": limit,
            "total_pages": rows.len().div_ceil(limit) })
    }

    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let path = request
            .url
            .path()
            .strip_prefix("/api/v1/")
            .unwrap()
            .to_owned();
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let parts: Vec<&str> = path.split('/').collect();
        let nothing = Vec::new();
        let body = match parts[..] {
            ["projects"] => json!({ "projects": self.projects, "total": self.projects.len() }),
            ["projects", _, "jobs"] => {
                json!({ "jobs": [{ "name": "hourly", "schedule": "0 * * * *" }], "total": 1 })
            }
            ["projects", _, "plans"] => {
                let wanted = query.get("status");
                let is_wanted = |row: &&Value| wanted.is_none_or(|w| row["status"] == w.as_str());
                let rows: Vec<Value> = self.plans.iter().filter(is_wanted).cloned().collect();
                self.page(&rows, "plans", &query)
            }
            ["environment-protections"] => json!({ "protections": self.protections }),
            ["projects", id, "runs"] => {
                self.page(self.runs.get(id).unwrap_or(&nothing), "runs", &query)
            }
            ["projects", id, "runs", run] => {
                let runs = self.runs.get(id).unwrap_or(&nothing);
                match runs.iter().find(|held| held["id"] == run) {
                    Some(held) => held.clone(),
                    None => return ResponseTemplate::new(404),
                }
            }
            ["projects", _, "model-executions"] => match &self.executions {
                Some(rows) => self.page(rows, "model_executions", &query),
                None => {
                    return ResponseTemplate::new(404)
                        .set_body_json(json!({"error": "no such path"}));
                }
            },
            _ => return ResponseTemplate::new(404),
        };
        ResponseTemplate::new(200).set_body_json(body)
    }
}

struct Fake {
    server: MockServer,
    world: Arc<Mutex<World>>,
}

impl Fake {
    async fn start() -> Self {
        let world = Arc::new(Mutex::new(World {
            now: noon(),
            projects: vec![json!({"id": "p1", "name": "finance"})],
            runs: BTreeMap::new(),
            executions: Some(Vec::new()),
            plans: Vec::new(),
            protections: vec![json!({"environment_name": "prod", "enabled": true})],
            page_rows: 500,
            requests: Vec::new(),
            script: None,
        }));
        let server = MockServer::start().await;
        let shared = world.clone();
        Mock::given(any())
            .respond_with(move |request: &Request| {
                let world = &mut *shared.lock().unwrap();
                assert_eq!(request.method.as_str(), "GET");
                assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
                assert_eq!(request.headers["x-organization-id"], "org-1234abcd");
                let line = format!(
                    "{}?{}",
                    request.url.path(),
                    request.url.query().unwrap_or("")
                );
                world.requests.push(line.replace("/api/v1/", ""));
                let mut script = world.script.take();
                let scripted = script.as_mut().and_then(|script| script(request, world));
                world.script = script;
                let response = scripted.unwrap_or_else(|| world.answer(request));
                let date = world
                    .now
                    .to_utc()
                    .format("%a, %d %b %Y %H:%M:%S GMT")
                    .to_string();
                response.insert_header("date", date.as_str())
            })
            .mount(&server)
            .await;
        Self { server, world }
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut World) -> R) -> R {
        edit(&mut self.world.lock().unwrap())
    }

    /// Sets the server's clock.
    fn at(&self, now: Timestamp) -> Timestamp {
        self.edit(|world| world.now = now);
        now
    }

    fn script(
        &self,
        script: impl FnMut(&Request, &mut World) -> Option<ResponseTemplate> + Send + 'static,
    ) {
        self.edit(|world| world.script = Some(Box::new(script)));
    }

    fn client(&self) -> Dagctl {
        self.resume(BTreeMap::new())
    }

    fn resume(&self, cursors: BTreeMap<ProjectKey, Cursor>) -> Dagctl {
        Dagctl::resume(settings(&self.server.uri()), cursors).unwrap()
    }

    fn take_requests(&self) -> Vec<String> {
        self.edit(|world| std::mem::take(&mut world.requests))
    }
}

fn run_row(id: &str, status: &str, updated_at: Timestamp) -> Value {
    json!({ "id": id, "project_id": "p1", "cronjob_name": "hourly", "job_type": "run",
        "status": status, "start_time": "2026-03-10T09:00:00Z", "triggered_by": "scheduled",
        "created_at": "2026-03-10T09:00:00Z", "updated_at": updated_at.to_string() })
}

fn runs(batch: &Batch) -> Vec<&Run> {
    let observations = batch.observations.iter();
    let runs = observations.filter_map(|observation| match observation {
        Observation::Run(_, run) => Some(run),
        _ => None,
    });
    runs.collect()
}

fn run_ids(batch: &Batch) -> BTreeSet<String> {
    runs(batch).iter().map(|run| run.id.to_string()).collect()
}

fn executions(batch: &Batch) -> Vec<&Execution> {
    let observations = batch.observations.iter();
    let executions = observations.filter_map(|observation| match observation {
        Observation::Execution(_, execution) => Some(execution),
        _ => None,
    });
    executions.collect()
}

fn kinds(batch: &Batch) -> Vec<ProblemKind> {
    batch.problems.iter().map(|problem| problem.kind).collect()
}

/// Polls until there is nothing more waiting; merges what came.
async fn poll_all(client: &mut Dagctl, now: Timestamp) -> Batch {
    let mut all = client.poll(now).await;
    while all.has_more {
        let next = client.poll(now).await;
        all.observations.extend(next.observations);
        all.cursors.extend(next.cursors);
        all.coverage.extend(next.coverage);
        all.problems.extend(next.problems);
        (all.has_more, all.is_complete) = (next.has_more, next.is_complete);
    }
    all
}

#[tokio::test]
async fn the_first_poll_reads_everything_and_claims_coverage() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        for n in 0..7 {
            world.set(
                "p1",
                run_row(&format!("r{n}"), "success", noon() - Span::hours(n)),
            );
        }
        world.set("p1", run_row("old", "success", noon() - Span::hours(25)));
    });
    let mut client = fake.client();
    let batch = client.poll(noon()).await;
    assert_eq!(batch.problems, []);
    assert!(batch.is_complete && !batch.has_more);
    assert_eq!(
        run_ids(&batch).len(),
        7,
        "the eighth is older than the backfill"
    );
    assert_eq!(
        batch.coverage,
        BTreeMap::from([(key("p1"), noon() - Span::seconds(2))])
    );
    let cursor = &batch.cursors[&key("p1")];
    assert_eq!(
        (cursor.runs_updated_at, &cursor.backfill),
        (Some(noon()), &None)
    );
    assert!(matches!(&batch.observations[0], Observation::Project(p) if &*p.name == "finance"));
    assert!(matches!(&batch.observations[1], Observation::Jobs(_, jobs) if jobs.len() == 1));
    assert_eq!(runs(&batch)[0].job.as_deref(), Some("hourly"));
    assert_eq!(
        fake.take_requests(),
        [
            "projects?",
            "projects/p1/jobs?",
            "projects/p1/plans?status=pending&limit=100",
            "projects/p1/plans?limit=25&page=1",
            "projects/p1/runs?limit=500&updated_after=2026-03-09T12%3A00%3A00Z&include_stats=false&page=1",
            "projects/p1/runs?limit=500&updated_after=2026-03-10T11%3A59%3A00Z&include_stats=false&page=1",
            "projects/p1/model-executions?limit=500&updated_after=2026-03-09T12%3A00%3A00Z&page=1",
            "projects/p1/model-executions?limit=500&updated_after=2026-03-09T11%3A59%3A00Z&page=1",
            "environment-protections?",
        ]
    );
}

#[tokio::test]
async fn later_polls_report_changes_only_and_survey_rarely() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.set("p1", run_row("r1", "running", noon() - Span::seconds(30)));
        world.set("p1", run_row("r2", "success", noon() - Span::seconds(10)));
    });
    let mut client = fake.client();
    client.poll(noon()).await;
    fake.take_requests();

    let second = Span::seconds(1);
    fake.edit(|world| world.now = noon() + second);
    let batch = client.poll(noon() + second).await;
    assert!(
        batch.observations.is_empty() && batch.is_complete,
        "{batch:?}"
    );
    assert_eq!(batch.coverage[&key("p1")], noon() - second);
    assert_eq!(fake.take_requests().len(), 2, "runs and executions only");

    // The same second, another status: still news.
    fake.edit(|world| world.set("p1", run_row("r1", "failed", noon() - Span::seconds(30))));
    let batch = client.poll(noon() + second).await;
    assert_eq!(runs(&batch)[0].status, Status::Failed);
    assert_eq!(batch.observations.len(), 1);

    let batch = client.poll(noon() + Span::seconds(30)).await;
    assert!(batch.observations.is_empty());
    assert!(fake.take_requests().contains(&"projects?".to_owned()));
}

#[tokio::test]
async fn a_backfill_goes_in_pieces_and_is_taken_up_after_a_crash() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.page_rows = 3;
        for n in 0..130 {
            world.set(
                "p1",
                run_row(&format!("r{n}"), "success", noon() - Span::minutes(2 + n)),
            );
        }
    });
    let mut client = fake.client();
    let first = client.poll(noon()).await;
    assert!(first.has_more && !first.is_complete && first.coverage.is_empty());
    assert_eq!(runs(&first).len(), 60);
    let progress = first.progress.unwrap();
    assert_eq!((progress.pages_read, progress.pages_expected), (20, 44));
    let cursor = &first.cursors[&key("p1")];
    assert_eq!(cursor.backfill.as_ref().unwrap().runs_page, Some(21));
    drop(client);

    fake.take_requests();
    fake.edit(|world| world.set("p1", run_row("new", "running", noon() + Span::seconds(5))));
    let mut client = fake.resume(first.cursors.clone());
    let rest = poll_all(&mut client, noon() + Span::seconds(9)).await;
    let read = fake.take_requests();
    let page_20 = "projects/p1/runs?limit=500&updated_after=2026-03-09T12%3A00%3A00Z&include_stats=false&page=20";
    assert_eq!(
        read.iter().find(|line| line.contains("/runs")),
        Some(&page_20.to_owned())
    );
    let all: BTreeSet<_> = run_ids(&first).union(&run_ids(&rest)).cloned().collect();
    assert_eq!(all.len(), 131);
    assert!(
        rest.is_complete && rest.coverage.contains_key(&key("p1")),
        "{:?}",
        rest.problems
    );
    assert_eq!(rest.cursors[&key("p1")].backfill, None);

    // Hours later the pages are not what they were.
    fake.take_requests();
    let mut client = fake.resume(first.cursors);
    fake.edit(|world| world.now = noon() + Span::hours(2));
    client.poll(noon() + Span::hours(2)).await;
    assert!(
        fake.take_requests()
            .iter()
            .any(|line| line.contains("/runs") && line.ends_with("page=1"))
    );
}

#[tokio::test]
async fn rows_that_shift_between_pages_are_not_lost() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.page_rows = 3;
        for n in 0..12 {
            world.set(
                "p1",
                run_row(&format!("r{n}"), "success", noon() - Span::seconds(40 + n)),
            );
        }
    });
    let mut client = fake.client();
    client.poll(noon()).await;
    // While pages are read, rows of later pages move to the first.
    let mut has_moved = false;
    fake.script(move |request, world| {
        let is_later = request
            .url
            .query()
            .is_some_and(|query| query.ends_with("page=2"));
        if is_later && request.url.path().ends_with("/runs") && !has_moved {
            has_moved = true;
            for id in ["r8", "r9"] {
                world.set("p1", run_row(id, "failed", noon() + Span::seconds(1)));
            }
        }
        None
    });
    fake.edit(|world| world.now = noon() + Span::seconds(2));
    let batch = client.poll(noon() + Span::seconds(2)).await;
    assert!(batch.is_complete, "{:?}", batch.problems);
    assert_eq!(
        run_ids(&batch),
        BTreeSet::from(["r8".to_owned(), "r9".to_owned()])
    );
}

#[tokio::test]
async fn a_list_that_never_settles_covers_nothing() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.page_rows = 3;
        for n in 0..12 {
            world.set(
                "p1",
                run_row(&format!("r{n}"), "success", noon() - Span::seconds(n)),
            );
        }
    });
    let mut client = fake.client();
    client.poll(noon()).await;
    fake.script(|request, world| {
        // Page 2 is page 1 again.
        let line = request.url.query().unwrap_or_default();
        (request.url.path().ends_with("/runs") && line.ends_with("page=2")).then(|| {
            let rows: Vec<_> = world.runs["p1"].iter().take(3).collect();
            ResponseTemplate::new(200).set_body_json(
                json!({"runs": rows, "total": 12, "page": 2, "limit": 3, "total_pages": 4}),
            )
        })
    });
    let before = client.poll(noon()).await;
    assert_eq!(kinds(&before), [ProblemKind::BadBody]);
    assert!(before.coverage.is_empty() && !before.is_complete);
    assert!(
        before.problems[0].message.contains("kept changing"),
        "{:?}",
        before.problems
    );
}

/// Answers to `/runs`: name, answer, what it must be called, requests it may cost.
fn refusals() -> Vec<(&'static str, ResponseTemplate, ProblemKind, usize)> {
    use ProblemKind as Kind;
    let status = ResponseTemplate::new;
    let ok = |body: &str| status(200).set_body_string(body);
    let late = status(200).set_delay(Duration::from_secs(3));
    let elsewhere = status(302).insert_header("location", "http://127.0.0.1:1/");
    let echo = status(500).set_body_string(format!("token {TOKEN}"));
    vec![
        ("401", status(401), Kind::Unauthorized, 1),
        ("403", status(403), Kind::Forbidden, 1),
        ("404", status(404), Kind::NotFound, 1),
        ("400", status(400), Kind::ServerError, 1),
        ("302", elsewhere, Kind::ServerError, 1),
        ("429", status(429), Kind::RateLimited, 3),
        ("500", echo, Kind::ServerError, 3),
        (
            "503",
            status(503).insert_header("retry-after", "0"),
            Kind::ServerError,
            3,
        ),
        ("garbage", ok("<html>"), Kind::BadBody, 1),
        ("no list", ok("{\"ok\": true}"), Kind::BadBody, 1),
        (
            "huge",
            ok(&"x".repeat(MAX_BODY_BYTES + 1)),
            Kind::BadBody,
            1,
        ),
        ("late", late, Kind::Timeout, 3),
    ]
}

#[tokio::test]
async fn refusals_are_named_and_cover_nothing() {
    for (what, answer, kind, tries) in refusals() {
        refuse(what, answer, kind, tries).await;
    }
}

async fn refuse(what: &str, answer: ResponseTemplate, kind: ProblemKind, tries: usize) {
    let fake = Fake::start().await;
    fake.edit(|world| world.set("p1", run_row("r1", "success", noon())));
    let mut settings = settings(&fake.server.uri());
    settings.timeouts.total = Duration::from_millis(if what == "late" { 30 } else { 5_000 });
    let mut client = Dagctl::resume(settings, BTreeMap::new()).unwrap();
    let good = client.poll(noon()).await;
    assert!(good.is_complete, "{what}: {:?}", good.problems);
    fake.take_requests();
    fake.script(move |request, _| {
        request
            .url
            .path()
            .ends_with("/runs")
            .then(|| answer.clone())
    });
    let batch = client.poll(noon() + Span::seconds(5)).await;
    assert_eq!(kinds(&batch), [kind], "{what}");
    assert!(
        !batch.is_complete && batch.coverage.is_empty() && !batch.has_more,
        "{what}"
    );
    assert_eq!(
        batch.cursors[&key("p1")],
        good.cursors[&key("p1")],
        "{what}: the cursor stays"
    );
    assert_eq!(fake.take_requests().len(), tries, "{what}");
    let problem = &batch.problems[0];
    assert_eq!(problem.project_id.as_deref(), Some("p1"), "{what}");
    assert!(
        problem
            .message
            .starts_with("GET /projects/p1/runs page 1: "),
        "{}",
        problem.message
    );
    assert!(!format!("{batch:?}{client:?}").contains(TOKEN), "{what}");
    assert!(
        !problem.message.contains("127.0.0.1"),
        "{what}: {}",
        problem.message
    );
    // And it sees again.
    fake.edit(|world| world.script = None);
    assert!(
        client.poll(noon() + Span::seconds(6)).await.is_complete,
        "{what}"
    );
}

/// A server that says `answer` to every connection and closes it.
async fn raw_server(answer: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn broken_connections_are_told_apart() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"projects\":[";
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"pro\r\n";
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (what, url, kind) in [
        ("half a body", raw_server(half).await, ProblemKind::BadBody),
        (
            "half a chunked body",
            raw_server(chunked).await,
            ProblemKind::BadBody,
        ),
        (
            "not gzip",
            raw_server(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}")
                .await,
            ProblemKind::BadBody,
        ),
        (
            "no HTTP",
            raw_server(b"SSH-2.0-OpenSSH\r\n").await,
            ProblemKind::Connection,
        ),
        ("nothing", raw_server(b"").await, ProblemKind::Connection),
        ("refused", refused, ProblemKind::Connection),
    ] {
        let mut client = Dagctl::resume(settings(&url), BTreeMap::new()).unwrap();
        let batch = client.poll(noon()).await;
        assert_eq!(kinds(&batch), [kind], "{what}: {:?}", batch.problems);
        assert!(!batch.is_complete && !batch.has_more, "{what}");
        let message = &batch.problems[0].message;
        assert!(
            !message.contains(TOKEN) && !message.contains("127.0.0.1:"),
            "{what}: {message}"
        );
    }
}

#[tokio::test]
async fn rest_is_granted_when_asked_for() {
    let fake = Fake::start().await;
    let mut left = 1;
    fake.script(move |_, _| {
        left -= 1;
        (left >= 0).then(|| ResponseTemplate::new(429).insert_header("retry-after", "0.01"))
    });
    let mut client = fake.client();
    assert!(
        client.poll(noon()).await.is_complete,
        "a short wait happens within the poll"
    );

    fake.script(|_, _| Some(ResponseTemplate::new(429).insert_header("retry-after", "120")));
    fake.take_requests();
    let batch = client.poll(noon()).await;
    assert_eq!(kinds(&batch), [ProblemKind::RateLimited]);
    assert_eq!(fake.take_requests().len(), 1, "nothing else is asked");
    let batch = client.poll(noon() + Span::seconds(60)).await;
    assert_eq!(kinds(&batch), [ProblemKind::RateLimited]);
    assert!(!batch.is_complete && fake.take_requests().is_empty());
    fake.edit(|world| world.script = None);
    assert!(
        client
            .poll(fake.at(noon() + Span::seconds(121)))
            .await
            .is_complete
    );
}

#[tokio::test]
async fn one_projects_trouble_is_its_own() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.projects.push(json!({"id": "p2", "name": "growth"}));
        world.set("p2", run_row("r2", "success", noon()));
    });
    fake.script(|request, _| {
        request
            .url
            .path()
            .contains("/p1/runs")
            .then(|| ResponseTemplate::new(500))
    });
    let mut client = fake.client();
    let batch = client.poll(noon()).await;
    assert_eq!(batch.coverage.keys().collect::<Vec<_>>(), [&key("p2")]);
    assert!(run_ids(&batch).contains("r2") && !batch.is_complete);

    // The list of projects fails: those known are read on.
    fake.script(|request, _| {
        request
            .url
            .path()
            .ends_with("/projects")
            .then(|| ResponseTemplate::new(500))
    });
    let batch = client.poll(fake.at(noon() + Span::seconds(40))).await;
    assert_eq!(kinds(&batch), [ProblemKind::ServerError]);
    assert_eq!(batch.coverage.len(), 2);
    assert!(!batch.is_complete);
}

#[tokio::test]
async fn executions_that_are_not_served_are_asked_for_rarely() {
    let fake = Fake::start().await;
    fake.edit(|world| world.executions = None);
    let mut client = fake.client();
    let batch = client.poll(noon()).await;
    assert_eq!(kinds(&batch), [ProblemKind::FeatureOff]);
    assert!(batch.is_complete && batch.coverage.contains_key(&key("p1")));
    assert_eq!(batch.cursors[&key("p1")].backfill, None);
    fake.take_requests();
    let batch = client.poll(fake.at(noon() + Span::minutes(59))).await;
    assert!(batch.problems.is_empty());
    assert!(
        !fake
            .take_requests()
            .iter()
            .any(|line| line.contains("model-executions"))
    );

    // An hour later they are: read from the beginning.
    fake.edit(|world| {
        world.executions = Some(vec![
            json!({"id": "m1", "run_id": "r1", "model": "marts.orders",
            "status": "success", "updated_at": (noon() - Span::hours(3)).to_string()}),
        ]);
    });
    let batch = client.poll(fake.at(noon() + Span::minutes(61))).await;
    assert_eq!(executions(&batch).len(), 1);
    assert!(batch.is_complete && batch.problems.is_empty());
}

#[tokio::test]
async fn unreadable_executions_are_off_but_trouble_is_trouble() {
    for (answer, kind, is_complete) in [
        (
            ResponseTemplate::new(200).set_body_json(json!({"rows": 3})),
            ProblemKind::FeatureOff,
            true,
        ),
        (ResponseTemplate::new(405), ProblemKind::FeatureOff, true),
        (ResponseTemplate::new(403), ProblemKind::FeatureOff, true),
        (ResponseTemplate::new(500), ProblemKind::ServerError, false),
    ] {
        let fake = Fake::start().await;
        fake.script(move |request, _| {
            request
                .url
                .path()
                .ends_with("/model-executions")
                .then(|| answer.clone())
        });
        let batch = fake.client().poll(noon()).await;
        assert_eq!(
            (kinds(&batch), batch.is_complete),
            (vec![kind], is_complete)
        );
        assert!(batch.coverage.contains_key(&key("p1")));
    }
}

#[tokio::test]
async fn a_row_from_the_future_does_not_move_the_cursor_there() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.set(
            "p1",
            run_row("future", "success", at("2031-01-01T00:00:00Z")),
        );
    });
    let mut client = fake.client();
    let batch = client.poll(noon()).await;
    assert_eq!(batch.cursors[&key("p1")].runs_updated_at, Some(noon()));
    fake.edit(|world| {
        world.now = noon() + Span::seconds(30);
        world.set(
            "p1",
            run_row("present", "success", noon() + Span::seconds(20)),
        );
    });
    let batch = client.poll(noon() + Span::seconds(30)).await;
    assert_eq!(run_ids(&batch), BTreeSet::from(["present".to_owned()]));
    assert!(batch.coverage[&key("p1")] <= noon() + Span::seconds(30));
}

#[tokio::test]
async fn clocks_that_differ_are_measured_and_told_once() {
    let fake = Fake::start().await;
    let mut client = fake.client();
    let local = noon() - Span::minutes(10);
    let batch = client.poll(local).await;
    let skew = batch.skew.unwrap();
    assert!(
        (skew - Span::minutes(10)).abs() < Span::seconds(5),
        "{skew}"
    );
    assert_eq!(kinds(&batch), [ProblemKind::Skew]);
    assert_eq!(
        batch.coverage[&key("p1")],
        noon() - Span::seconds(2),
        "the server's clock decides"
    );
    assert!(client.poll(local).await.problems.is_empty());
}

#[tokio::test]
async fn patterns_choose_projects_and_say_when_they_miss() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.projects = ["finance", "finance-test", "growth"]
            .iter()
            .enumerate()
            .map(|(n, name)| json!({"id": format!("p{n}"), "name": name}))
            .collect();
    });
    let mut settings = settings(&fake.server.uri());
    settings.projects = Patterns::new(["fin*", "!*-test", "growht"]);
    let mut client = Dagctl::resume(settings, BTreeMap::new()).unwrap();
    let batch = client.poll(noon()).await;
    assert_eq!(batch.coverage.keys().collect::<Vec<_>>(), [&key("p0")]);
    assert_eq!(kinds(&batch), [ProblemKind::NoSuchProject]);
    let message = &batch.problems[0].message;
    assert!(
        message.starts_with("no project matches \"growht\": the nearest are \"growth\""),
        "{message}"
    );
    assert!(batch.is_complete);
}

#[tokio::test]
async fn a_bare_list_of_projects_will_do() {
    let fake = Fake::start().await;
    fake.script(|request, _| {
        (request.url.path() == "/api/v1/projects").then(|| {
            ResponseTemplate::new(200).set_body_json(json!([{"id": "p1"}, {"name": "no id"}]))
        })
    });
    let batch = fake.client().poll(noon()).await;
    assert_eq!(kinds(&batch), [ProblemKind::BadRow]);
    assert!(batch.is_complete && batch.coverage.contains_key(&key("p1")));
}

#[tokio::test]
async fn unknown_words_and_bad_rows_are_told_once() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        let mut odd = run_row("odd", "paused", noon());
        odd["cronjob_name"] = json!("weekly");
        let mut prefixed = run_row("prefixed", "success", noon());
        prefixed["cronjob_name"] = json!("p1-hourly");
        let mut manual = run_row("manual", "success", noon());
        manual["cronjob_name"] = json!(null);
        let mut bad = run_row("bad", "success", noon());
        bad["created_at"] = json!("yesterday");
        for row in [odd, prefixed, manual, bad] {
            world.set("p1", row);
        }
    });
    let mut client = fake.client();
    let batch = client.poll(noon()).await;
    let expected = [
        ProblemKind::BadRow,
        ProblemKind::UnknownStatus,
        ProblemKind::UnmatchedJob,
    ];
    assert_eq!(
        kinds(&batch).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(expected)
    );
    assert_eq!(batch.problems.len(), 3, "{:?}", batch.problems);
    let jobs: BTreeMap<_, _> = runs(&batch)
        .iter()
        .map(|run| (&*run.id, run.job.as_deref()))
        .collect();
    let expected = [
        ("odd", Some("weekly")),
        ("prefixed", Some("hourly")),
        ("manual", None),
    ];
    assert_eq!(jobs, BTreeMap::from(expected));
    assert!(batch.is_complete, "rows that cannot be read do not blind");
    assert!(client.poll(noon()).await.problems.is_empty());
}

#[tokio::test]
async fn active_runs_nobody_mentions_are_asked_for() {
    let fake = Fake::start().await;
    fake.edit(|world| world.set("p1", run_row("r1", "running", noon() - Span::minutes(5))));
    fake.edit(|world| world.set("p1", run_row("r0", "success", noon())));
    let mut client = fake.client();
    client.poll(noon()).await;
    // It finishes, and `updated_at` is not touched: the list never shows it again.
    fake.edit(|world| {
        let mut row = run_row("r1", "failed", noon() - Span::minutes(5));
        row["end_time"] = json!("2026-03-10T12:03:00Z");
        world.set("p1", row);
        world.now = noon() + Span::minutes(11);
        world.set("p1", run_row("r2", "running", noon() + Span::minutes(11)));
    });
    let batch = client.poll(fake.at(noon() + Span::minutes(11))).await;
    let found: BTreeMap<_, _> = runs(&batch)
        .iter()
        .map(|run| (&*run.id, &run.status))
        .collect();
    assert_eq!(
        found,
        BTreeMap::from([("r1", &Status::Failed), ("r2", &Status::Running)])
    );
    fake.take_requests();
    fake.edit(|world| {
        world.now = noon() + Span::minutes(30);
        world.runs.clear();
    });
    let batch = client.poll(fake.at(noon() + Span::minutes(30))).await;
    assert_eq!(batch.problems, [], "a run that was removed is no trouble");
    let found = runs(&batch);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&*found[0].id, &found[0].status),
        ("r2", &Status::Other("removed".into()))
    );
    assert_eq!(found[0].job.as_deref(), Some("hourly"));
    assert_eq!(found[0].finished_at, None);
    assert_eq!(found[0].updated_at, noon() + Span::minutes(30));
    assert!(
        fake.take_requests()
            .contains(&"projects/p1/runs/r2?".to_owned())
    );
    client.poll(fake.at(noon() + Span::minutes(50))).await;
    assert!(
        !fake
            .take_requests()
            .iter()
            .any(|line| line.contains("runs/r2"))
    );
}

#[tokio::test]
async fn a_removed_run_is_told_from_details_that_are_not_served() {
    for is_served in [true, false] {
        let fake = Fake::start().await;
        fake.edit(|world| {
            world.set("p1", run_row("r1", "running", noon()));
            world.set("p1", run_row("r2", "success", noon()));
        });
        let mut client = fake.client();
        client.poll(noon()).await;
        if !is_served {
            fake.script(|request, _| {
                let is_detail = request.url.path().contains("/runs/");
                is_detail.then(|| ResponseTemplate::new(404))
            });
        }
        let late = fake.at(noon() + Span::minutes(11));
        fake.edit(|world| {
            world.runs.clear();
            world.set("p1", run_row("r3", "success", late));
        });
        let batch = client.poll(late).await;
        let removed = runs(&batch);
        let removed: Vec<_> = removed.iter().filter(|run| &*run.id == "r1").collect();
        if is_served {
            assert_eq!(removed[0].status, Status::Other("removed".into()));
            assert_eq!(removed[0].updated_at, late);
            assert_eq!(batch.problems, []);
        } else {
            assert!(removed.is_empty(), "{removed:?}");
            assert_eq!(kinds(&batch), [ProblemKind::FeatureOff]);
        }
    }
}

#[tokio::test]
async fn a_project_that_disappears_blinds_before_it_is_gone() {
    let fake = Fake::start().await;
    let growth = json!({"id": "p2", "name": "growth"});
    fake.edit(|world| world.projects.push(growth.clone()));
    let mut client = fake.client();
    assert!(client.poll(noon()).await.is_complete);
    fake.edit(|world| world.projects.truncate(1));
    let survey = |n: i64| noon() + Span::seconds(30 * n);
    for n in 1..=3 {
        for now in [survey(n), survey(n) + Span::seconds(5)] {
            let batch = client.poll(fake.at(now)).await;
            assert!(!batch.is_complete, "survey {n}");
            assert_eq!(kinds(&batch), [ProblemKind::NotFound]);
            let problem = &batch.problems[0];
            assert_eq!(problem.project_id.as_deref(), Some("p2"));
            assert!(problem.message.contains("\"growth\""), "{problem:?}");
            assert!(batch.coverage.contains_key(&key("p1")));
            assert!(!batch.coverage.contains_key(&key("p2")));
        }
    }
    let batch = client.poll(fake.at(survey(4))).await;
    assert!(batch.is_complete);
    assert_eq!(kinds(&batch), [ProblemKind::NoSuchProject]);
    let batch = client.poll(fake.at(survey(5))).await;
    assert!(batch.is_complete && batch.problems.is_empty(), "said once");
    fake.edit(|world| world.projects.push(growth));
    let batch = client.poll(fake.at(survey(6))).await;
    assert!(batch.is_complete && batch.coverage.contains_key(&key("p2")));

    // One that only the stored cursors know is missed, too.
    fake.edit(|world| world.projects.truncate(1));
    let mut client = fake.resume(BTreeMap::from([
        (key("p1"), batch.cursors[&key("p1")].clone()),
        (key("p2"), batch.cursors[&key("p2")].clone()),
    ]));
    let batch = client.poll(survey(6)).await;
    assert_eq!(kinds(&batch), [ProblemKind::NotFound]);
}

#[tokio::test]
async fn a_project_that_stays_away_is_taken_to_be_deleted_until_it_is_back() {
    let fake = Fake::start().await;
    let growth = json!({"id": "p2", "name": "growth"});
    fake.edit(|world| world.projects.push(growth.clone()));
    let mut client = fake.client();
    client.poll(noon()).await;
    fake.edit(|world| world.projects.truncate(1));
    let survey = |n: i64| noon() + Span::seconds(30 * n);
    let is_gone = |batch: &Batch| {
        let gone = Observation::ProjectGone(key("p2"));
        batch.observations.contains(&gone)
    };
    for n in 1..120 {
        let batch = client.poll(fake.at(survey(n))).await;
        assert!(!is_gone(&batch), "survey {n}");
    }
    for n in [120, 121] {
        let batch = client.poll(fake.at(survey(n))).await;
        assert!(batch.is_complete && is_gone(&batch), "survey {n}");
    }
    fake.edit(|world| world.projects.push(growth));
    let batch = client.poll(fake.at(survey(122))).await;
    assert!(!is_gone(&batch));
    let is_back = |row: &Observation| matches!(row, Observation::Project(p) if p.key == key("p2"));
    assert!(batch.observations.iter().any(is_back), "reported anew");
}

/// A reload narrows `projects`, and widens them again.
#[tokio::test]
async fn a_project_that_is_not_to_be_watched_any_more_is_gone_at_once() {
    let fake = Fake::start().await;
    fake.edit(|world| world.projects.push(json!({"id": "p2", "name": "growth"})));
    let cursors = fake.client().poll(noon()).await.cursors;
    assert!(cursors.contains_key(&key("p2")));
    let narrow = DagctlSettings {
        projects: Patterns::new(["finance"]),
        ..settings(&fake.server.uri())
    };
    let mut client = Dagctl::resume(narrow, cursors.clone()).unwrap();
    let batch = client.poll(fake.at(noon() + Span::minutes(1))).await;
    let gone = Observation::ProjectGone(key("p2"));
    assert!(batch.is_complete && batch.observations.contains(&gone));
    assert!(!batch.coverage.contains_key(&key("p2")));
    let batch = fake
        .resume(cursors)
        .poll(fake.at(noon() + Span::minutes(2)))
        .await;
    assert!(!batch.observations.contains(&gone));
    let is_back = |row: &Observation| matches!(row, Observation::Project(p) if p.key == key("p2"));
    assert!(batch.observations.iter().any(is_back));
}

#[tokio::test]
async fn a_project_list_that_empties_is_believed_the_second_time() {
    let fake = Fake::start().await;
    let mut client = fake.client();
    client.poll(noon()).await;
    let projects = fake.edit(|world| std::mem::take(&mut world.projects));
    let survey = |n: i64| noon() + Span::seconds(30 * n);
    let batch = client.poll(fake.at(survey(1))).await;
    assert!(!batch.is_complete);
    assert_eq!(kinds(&batch), [ProblemKind::BadBody]);
    assert!(batch.problems[0].message.contains("came back empty"));
    assert!(batch.coverage.contains_key(&key("p1")), "read on");
    for n in 2..=4 {
        let batch = client.poll(fake.at(survey(n))).await;
        assert_eq!(kinds(&batch), [ProblemKind::NotFound], "survey {n}");
        assert!(!batch.is_complete);
    }
    assert!(client.poll(fake.at(survey(5))).await.is_complete);
    assert!(client.poll(fake.at(survey(6))).await.problems.is_empty());
    fake.edit(|world| world.projects = projects);
    let batch = client.poll(fake.at(survey(7))).await;
    assert!(batch.is_complete && batch.problems.is_empty());
    assert!(batch.coverage.contains_key(&key("p1")));
}

#[tokio::test]
async fn a_job_list_that_empties_is_believed_the_second_time() {
    let fake = Fake::start().await;
    let mut client = fake.client();
    client.poll(noon()).await;
    fake.script(|request, _| {
        let is_jobs = request.url.path().ends_with("/jobs");
        is_jobs.then(|| ResponseTemplate::new(200).set_body_json(json!({"jobs": []})))
    });
    let batch = client.poll(fake.at(noon() + Span::seconds(30))).await;
    assert!(!batch.is_complete && batch.observations.is_empty());
    assert_eq!(kinds(&batch), [ProblemKind::BadBody]);
    let batch = client.poll(fake.at(noon() + Span::seconds(60))).await;
    assert!(batch.is_complete && batch.problems.is_empty());
    assert!(matches!(&batch.observations[..], [Observation::Jobs(_, jobs)] if jobs.is_empty()));
}

fn protections(batch: &Batch) -> Vec<String> {
    let lists = batch.observations.iter().filter_map(|observation| {
        let Observation::Protections(source, list) = observation else {
            return None;
        };
        assert_eq!(&**source, "prod");
        let words = list.iter().map(|protection| {
            let word = if protection.is_enabled { "on" } else { "off" };
            format!("{} {word}", protection.environment)
        });
        Some(words.collect::<Vec<_>>().join(", "))
    });
    lists.collect()
}

fn protection(environment: &str, is_enabled: bool) -> Value {
    json!({ "environment_name": environment, "enabled": is_enabled })
}

#[tokio::test]
async fn protections_are_reported_when_they_change_and_after_a_start() {
    let fake = Fake::start().await;
    let mut client = fake.client();
    let mut now = noon();
    let mut poll = async |world: Vec<Value>| {
        fake.edit(|held| held.protections = world);
        now = fake.at(now + Span::seconds(30));
        let batch = client.poll(now).await;
        assert!(batch.is_complete && batch.problems.is_empty(), "{batch:?}");
        protections(&batch)
    };
    let both = || vec![protection("test", false), protection("prod", true)];
    assert_eq!(poll(both()).await, ["prod on, test off"]);
    assert!(poll(both()).await.is_empty(), "said once");
    assert_eq!(poll(vec![protection("prod", false)]).await, ["prod off"]);
    assert!(poll(vec![]).await.is_empty(), "a hiccup, perhaps");
    assert_eq!(poll(vec![]).await, [""], "it is so");
    assert_eq!(poll(both()).await, ["prod on, test off"]);
    // A row that cannot be read, and one of an environment that is listed twice.
    let odd = vec![
        json!({"enabled": true}),
        protection("prod", false),
        protection("prod", true),
    ];
    fake.edit(|held| held.protections = odd);
    now = fake.at(now + Span::seconds(30));
    let batch = client.poll(now).await;
    assert_eq!(kinds(&batch), [ProblemKind::BadRow]);
    assert!(protections(&batch).is_empty(), "test is kept: {batch:?}");

    let batch = fake.client().poll(fake.at(now + Span::seconds(30))).await;
    assert_eq!(protections(&batch), ["prod on"], "after a start");
    fake.edit(|held| held.protections.clear());
    let batch = fake.client().poll(fake.at(now + Span::seconds(60))).await;
    assert!(protections(&batch).is_empty(), "what it held is not known");
}

#[tokio::test]
async fn protections_that_cannot_be_read_blind_nobody() {
    for (status, is_said_to_need_permission) in [(403, true), (404, false), (500, false)] {
        let fake = Fake::start().await;
        fake.script(move |request, _| {
            let is_asked = request.url.path().ends_with("/environment-protections");
            is_asked.then(|| ResponseTemplate::new(status).set_body_json(json!({"message": "no"})))
        });
        let mut client = fake.client();
        let batch = client.poll(noon()).await;
        assert!(batch.is_complete, "{status}");
        assert_eq!(kinds(&batch), [ProblemKind::FeatureOff], "{status}");
        let message = &batch.problems[0].message;
        assert_eq!(
            message.contains("manage_secrets"),
            is_said_to_need_permission,
            "{message}"
        );
        assert!(protections(&batch).is_empty());
        fake.take_requests();
        let batch = client.poll(fake.at(noon() + Span::seconds(30))).await;
        assert!(batch.is_complete && batch.problems.is_empty(), "{status}");
        let asked = fake.take_requests();
        assert!(
            !asked.contains(&"environment-protections?".to_owned()),
            "{status}"
        );
        let batch = client.poll(fake.at(noon() + Span::hours(1))).await;
        assert!(batch.is_complete && batch.problems.is_empty(), "said once");
        let asked = fake.take_requests();
        assert!(
            asked.contains(&"environment-protections?".to_owned()),
            "{status}"
        );
    }
}

#[tokio::test]
async fn trouble_that_may_pass_rests_protections_for_minutes() {
    let fake = Fake::start().await;
    let mut client = fake.client();
    assert_eq!(protections(&client.poll(noon()).await), ["prod on"]);
    fake.script(|request, _| {
        let is_asked = request.url.path().ends_with("/environment-protections");
        is_asked.then(|| ResponseTemplate::new(200).set_body_string("oops"))
    });
    let batch = client.poll(fake.at(noon() + Span::seconds(30))).await;
    assert!(batch.is_complete && protections(&batch).is_empty());
    assert_eq!(kinds(&batch), [ProblemKind::FeatureOff]);
    fake.script(|_, _| None);
    fake.edit(|held| held.protections = vec![protection("prod", false)]);
    let batch = client.poll(fake.at(noon() + Span::minutes(6))).await;
    assert_eq!(protections(&batch), ["prod off"]);
}

fn plan(number: usize, status: &str) -> Value {
    let at = (noon() - Span::hours(200) + Span::hours(i64::try_from(number).unwrap())).to_string();
    json!({ "id": format!("plan_{number:03}"), "plan_id": format!("group_{number:03}"),
        "plan_type": "explain", "status": status, "created_at": at, "updated_at": at })
}

/// Plans reported, and those said to wait.
fn plans(batch: &Batch) -> (usize, Option<Vec<String>>) {
    let is_plan = |observation: &&Observation| matches!(observation, Observation::Plan(..));
    let reported = batch.observations.iter().filter(is_plan).count();
    let waiting = batch.plans_waiting.get(&key("p1"));
    let ids = waiting.map(|seen| seen.ids.iter().map(ToString::to_string).collect());
    (reported, ids)
}

#[tokio::test]
async fn an_old_plan_that_waits_is_known_until_it_does_not() {
    let fake = Fake::start().await;
    fake.edit(|world| {
        world.plans = (1..60).map(|number| plan(number, "approved")).collect();
        world.plans[2] = plan(3, "pending");
    });
    let mut client = fake.client();
    let waiting = |ids: &[&str]| Some(ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    let batch = client.poll(noon()).await;
    assert_eq!(plans(&batch), (26, waiting(&["plan_003"])));
    let known_until = batch.plans_waiting[&key("p1")].at;
    assert!(known_until <= noon() && noon().since(known_until) < Span::minutes(1));

    // A second later nobody asks; a failed read says nothing of what waits.
    let batch = client.poll(fake.at(noon() + Span::seconds(1))).await;
    assert_eq!(plans(&batch), (0, None));
    fake.script(|request, _| {
        let is_newest = request
            .url
            .query()
            .is_some_and(|query| query.contains("limit=25"));
        is_newest.then(|| ResponseTemplate::new(500))
    });
    let batch = client.poll(fake.at(noon() + Span::seconds(30))).await;
    assert_eq!(plans(&batch), (0, None));
    assert!(!batch.is_complete);

    // Approved, and not among the newest: it does not wait any more.
    fake.script(|_, _| None);
    fake.edit(|world| world.plans[2] = plan(3, "approved"));
    let batch = client.poll(fake.at(noon() + Span::seconds(60))).await;
    assert_eq!(plans(&batch), (0, waiting(&[])));
    fake.edit(|world| world.plans[50] = plan(51, "pending"));
    let batch = client.poll(fake.at(noon() + Span::seconds(90))).await;
    assert_eq!(plans(&batch), (1, waiting(&["plan_051"])));
}

#[tokio::test]
async fn unreadable_and_too_many_plans_that_wait_end_nothing() {
    let fake = Fake::start().await;
    fake.edit(|world| world.plans = vec![plan(1, "pending")]);
    let mut client = fake.client();
    client.poll(noon()).await;
    fake.edit(|world| {
        world.plans = vec![json!({"status": "pending", "updated_at": noon().to_string()})];
    });
    let batch = client.poll(fake.at(noon() + Span::seconds(30))).await;
    assert_eq!(plans(&batch), (0, Some(vec!["plan_001".to_owned()])));
    assert_eq!(kinds(&batch), [ProblemKind::BadRow]);

    fake.edit(|world| world.plans = (1..160).map(|number| plan(number, "pending")).collect());
    let batch = client.poll(fake.at(noon() + Span::seconds(60))).await;
    assert_eq!(plans(&batch).1.map(|ids| ids.len()), Some(159), "two pages");
    fake.edit(|world| world.page_rows = 20);
    let batch = client.poll(fake.at(noon() + Span::seconds(90))).await;
    assert_eq!(plans(&batch).1, None, "more pages than are read");
}

#[tokio::test]
async fn a_poll_given_up_half_way_loses_nothing() {
    let fake = Fake::start().await;
    fake.edit(|world| world.set("p1", run_row("r1", "success", noon())));
    let mut client = fake.client();
    fake.script(|request, _| {
        let is_last = request.url.path().ends_with("/model-executions");
        is_last.then(|| ResponseTemplate::new(500).set_delay(Duration::from_mins(1)))
    });
    let given_up = tokio::time::timeout(Duration::from_millis(300), client.poll(noon())).await;
    assert!(given_up.is_err());
    fake.edit(|world| world.script = None);
    let batch = client.poll(noon()).await;
    assert!(batch.is_complete);
    assert_eq!(run_ids(&batch), BTreeSet::from(["r1".to_owned()]));
    assert!(matches!(&batch.observations[0], Observation::Project(_)));
}

#[test]
fn settings_that_would_leak_or_never_work_are_refused() {
    let with = |edit: fn(&mut DagctlSettings)| {
        let mut settings = settings("https://api.dagctl.io");
        edit(&mut settings);
        settings.check()
    };
    let url = |text: &str| settings(text).check();
    assert_eq!(url("https://api.dagctl.io"), Ok(()));
    for ok in [
        "http://127.0.0.1:80",
        "http://localhost:1",
        "http://[::1]:1",
        "https://proxy.example/dagctl/",
    ] {
        assert_eq!(url(ok), Ok(()), "{ok}");
    }
    for bad in [
        "http://api.dagctl.io",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "http://localhost.example",
    ] {
        assert_eq!(url(bad), Err(SettingsError::Insecure), "{bad}");
    }
    for bad in [
        "https://user:pw@api.dagctl.io",
        "https://api.dagctl.io?x=1",
        "https://api.dagctl.io/#x",
    ] {
        assert_eq!(url(bad), Err(SettingsError::NotPlain), "{bad}");
    }
    assert_eq!(with(|s| s.token = "".into()), Err(SettingsError::Token));
    assert_eq!(
        with(|s| s.token = "a b\n".into()),
        Err(SettingsError::Token)
    );
    assert_eq!(
        with(|s| s.organization = String::new()),
        Err(SettingsError::Organization)
    );
    assert_eq!(
        with(|s| s.backfill = Span::zero()),
        Err(SettingsError::Backfill)
    );
    assert!(!format!("{:?}", settings("https://api.dagctl.io")).contains(TOKEN));
}

/// The executions are not served; their statistics are `body`, for each day.
fn aggregated(fake: &Fake, body: impl Fn(&str) -> ResponseTemplate + Send + 'static) {
    fake.edit(|world| world.executions = None);
    fake.script(move |request, _| {
        let is_asked = request.url.path().ends_with("/model-executions/stats");
        let mut query = request.url.query_pairs();
        let day = query.find(|(name, _)| name == "start_date");
        is_asked.then(|| body(&day.unwrap().1))
    });
}

fn of_five_days(fake: &Fake, cursors: BTreeMap<ProjectKey, Cursor>) -> Dagctl {
    let settings = DagctlSettings {
        backfill: Span::days(5),
        ..settings(&fake.server.uri())
    };
    Dagctl::resume(settings, cursors).unwrap()
}

/// Days that were asked for.
fn days_asked(fake: &Fake) -> Vec<String> {
    let requests = fake.take_requests();
    let asked = requests
        .iter()
        .filter_map(|line| line.split_once("stats?start_date="));
    asked.map(|(_, rest)| rest.to_owned()).collect()
}

fn averages(batch: &Batch) -> Vec<String> {
    let observations = batch.observations.iter();
    let lists = observations.filter_map(|observation| match observation {
        Observation::Averages(_, list) => Some(list),
        _ => None,
    });
    let text = |average: &DayAverage| {
        let DayAverage {
            of,
            day,
            count,
            millis,
        } = average;
        format!("{of:?} {day} {count:?} {millis}")
    };
    lists.flatten().map(text).collect()
}

#[tokio::test]
async fn days_of_models_are_read_when_they_are_over_and_once_more() {
    let fake = Fake::start().await;
    aggregated(&fake, |day| {
        let body = json!({ "stats": [
            { "model_name": "orders", "execution_count": 24, "avg_duration_seconds": 12.5 },
            { "model_name": "failed only", "execution_count": 3, "avg_duration_seconds": null },
            { "model_name": day, "avg_duration": "7" },
        ] });
        ResponseTemplate::new(200).set_body_json(body)
    });
    let mut client = of_five_days(&fake, BTreeMap::new());
    let batch = client.poll(noon()).await;
    assert_eq!(
        kinds(&batch),
        [ProblemKind::FeatureOff],
        "of the executions"
    );
    assert!(batch.is_complete);
    let told = averages(&batch);
    assert_eq!(told.len(), 10, "{told:?}");
    assert_eq!(told[0], "Model(\"2026-03-05\") 2026-03-05 None 7000");
    assert_eq!(told[9], "Model(\"orders\") 2026-03-09 Some(24) 12500");
    let days = days_asked(&fake);
    assert_eq!(days.len(), 5);
    assert_eq!(days[4], "2026-03-09&end_date=2026-03-09");

    let early = fake.at(at("2026-03-11T02:59:00Z"));
    client.poll(early).await;
    assert!(days_asked(&fake).is_empty(), "rows may still come");
    // After a restart as well.
    let mut client = of_five_days(&fake, batch.cursors);
    let now = fake.at(at("2026-03-11T03:01:00Z"));
    assert_eq!(averages(&client.poll(now).await).len(), 4);
    let days = days_asked(&fake);
    assert_eq!(
        days,
        [
            "2026-03-09&end_date=2026-03-09",
            "2026-03-10&end_date=2026-03-10"
        ]
    );
    client.poll(now).await;
    assert!(days_asked(&fake).is_empty(), "once");
}

#[tokio::test]
async fn trouble_with_averages_costs_nothing_else() {
    for (response, wanted) in [
        (ResponseTemplate::new(404), 1),
        (ResponseTemplate::new(403), 1),
        (ResponseTemplate::new(500), 1),
        (ResponseTemplate::new(200).set_body_string("<html>"), 2),
        (
            ResponseTemplate::new(200).set_body_json(json!({"stats": [{"model": "orders"}]})),
            2,
        ),
    ] {
        let fake = Fake::start().await;
        let body = response.clone();
        aggregated(&fake, move |_| body.clone());
        let mut client = of_five_days(&fake, BTreeMap::new());
        let batch = client.poll(noon()).await;
        assert!(batch.is_complete, "{response:?}: {:?}", batch.problems);
        assert_eq!(batch.coverage.len(), 1, "{response:?}");
        assert!(averages(&batch).is_empty(), "{response:?}");
        let all_off = kinds(&batch)
            .iter()
            .all(|kind| *kind == ProblemKind::FeatureOff);
        assert!(all_off, "{response:?}: {:?}", batch.problems);
        assert_eq!(batch.problems.len(), wanted, "{:?}", batch.problems);
        let asked = days_asked(&fake).len();
        assert!((1..=5).contains(&asked), "{response:?}: {asked}");
        let again = client.poll(fake.at(noon() + Span::minutes(1))).await;
        assert!(again.problems.is_empty() && days_asked(&fake).is_empty());
    }
}

#[tokio::test]
async fn where_runs_are_refused_their_days_are_read() {
    let fake = Fake::start().await;
    fake.script(|request, _| {
        let path = request.url.path();
        if path.ends_with("/runs/daily-stats") {
            let rows = ["2026-03-08", "2026-03-09T00:00:00Z", "2026-03-10"];
            let rows = rows.map(|day| {
                json!({ "run_date": day, "total_runs": 24, "successful_runs": 23,
                    "avg_success_duration": 90.25 })
            });
            return Some(ResponseTemplate::new(200).set_body_json(json!(rows)));
        }
        path.ends_with("/runs").then(|| ResponseTemplate::new(403))
    });
    let mut client = of_five_days(&fake, BTreeMap::new());
    let batch = client.poll(noon()).await;
    assert_eq!(kinds(&batch), [ProblemKind::Forbidden]);
    assert!(batch.coverage.is_empty() && !batch.is_complete);
    assert_eq!(
        averages(&batch),
        [
            "Runs 2026-03-08 Some(23) 90250",
            "Runs 2026-03-09 Some(23) 90250"
        ],
        "today is not over"
    );
    let requests = fake.take_requests();
    assert!(requests.contains(&"projects/p1/runs/daily-stats?days=6".to_owned()));
}
