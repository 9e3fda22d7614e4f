//! The simulator over HTTP: documented parts strict, inferred parts switchable, faults visible.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{
    BULK_PROJECT, Fault, Faults, Garbage, JobChange, JobPlan, Organization, Outcome, PlanRecord,
    PlannedRun, ProjectChange, ProjectKind, ProjectPlan, Protection, Running, Shape, SimClock,
    Story, Variant, serve, story,
};

const P: &str = "proj_a1";

fn at(seconds: i64) -> Timestamp {
    Timestamp::parse("2026-03-12T00:00:00Z").unwrap() + Span::seconds(seconds)
}

/// A simulator and a client with the right headers.
struct Stage {
    running: Running,
    client: Client,
}

impl Stage {
    async fn new(organization: Organization, now: Timestamp, variant: u32) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = SimClock::new(now);
        let listen = "127.0.0.1:0".parse().unwrap();
        let running = serve(
            organization,
            clock,
            Faults::new(),
            Variant::number(variant),
            listen,
        )
        .await
        .unwrap();
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { running, client }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.running.base_url());
        self.client.request(method, url)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let (token, id) = self
            .running
            .organization
            .read(|o| (o.token().to_owned(), o.id().to_owned()));
        self.ask(Method::GET, path)
            .bearer_auth(token)
            .header("X-Organization-ID", id)
    }

    async fn answer(&self, path: &str) -> Response {
        self.get(path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.answer(path).await.json().await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        self.answer(path).await.text().await.unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.answer(path).await.status().as_u16()
    }

    /// Ids of the rows under the given key.
    async fn ids(&self, path: &str, key: &str) -> Vec<String> {
        ids(&self.json(path).await[key])
    }

    fn inject(&self, fault: Fault) {
        self.running.faults.inject("", fault);
    }
}

fn ids(rows: &Value) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

fn runs_path(query: &str) -> String {
    format!("/projects/{P}/runs?{query}")
}

/// 120 finished hourly runs (every 100 s, 50 s long), one failed with two models, one manual, one
/// that never starts and one that never ends.
fn example() -> Organization {
    let mut organization = Organization::new("org-1", "dctl_t");
    organization
        .project(ProjectPlan::new(P, "warehouse", ProjectKind::Sqlmesh))
        .project(ProjectPlan::new("proj_b2", "marketing", ProjectKind::Dbt))
        .job(P, JobPlan::new("hourly", "0 * * * *"))
        .job(P, JobPlan::new("nightly", "15 4 * * *"));
    organization.add_runs(
        P,
        (0..120).map(|n| {
            PlannedRun::success(
                &format!("run_{n:03}"),
                "hourly",
                at(n * 100),
                Span::seconds(50),
            )
        }),
    );
    organization
        .add_run(
            P,
            PlannedRun::failure(
                "run_f",
                "nightly",
                at(12_000),
                Span::seconds(60),
                "audit \"x\" failed",
            )
            .with_model("marts.orders", Span::seconds(20), Outcome::Success, None)
            .with_model(
                "marts.refunds",
                Span::seconds(30),
                Outcome::Failed,
                Some("audit failed"),
            ),
        )
        .add_run(
            P,
            PlannedRun::success("run_m", "", at(12_100), Span::milliseconds(281_402)).by_hand(),
        )
        .add_run(
            P,
            PlannedRun {
                started_at: None,
                ..PlannedRun::endless("run_p", "hourly", at(12_200))
            },
        )
        .add_run(P, PlannedRun::endless("run_r", "hourly", at(12_300)))
        .plan(
            P,
            PlanRecord::new("plan_1", "group_1", "explain", "Add refunds")
                .then(at(100), "running")
                .then(at(200), "pending")
                .then(at(20_000), "approved"),
        )
        .protection(Protection {
            id: "prot_1".into(),
            environment: "prod".into(),
            enabled: true,
            created_at: at(0),
            changes: vec![],
        });
    organization
}

async fn stage(variant: u32) -> Stage {
    Stage::new(example(), at(13_000), variant).await
}

#[tokio::test]
async fn both_headers_or_401_and_strangers_see_nothing() {
    let stage = stage(0).await;
    let path = "/projects";
    let bare = stage.ask(Method::GET, path);
    let no_organization = stage.ask(Method::GET, path).bearer_auth("dctl_t");
    let no_token = stage
        .ask(Method::GET, path)
        .header("X-Organization-ID", "org-1");
    let wrong_token = stage
        .ask(Method::GET, path)
        .bearer_auth("other")
        .header("X-Organization-ID", "org-1");
    for request in [bare, no_organization, no_token, wrong_token] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
    for (variant, expected) in [(0, 404), (3, 403)] {
        let stage = self::stage(variant).await;
        let request = stage
            .ask(Method::GET, path)
            .bearer_auth("dctl_t")
            .header("X-Organization-ID", "org-2");
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected);
    }
    assert_eq!(stage.status("/projects").await, 200);
    assert_eq!(stage.status("/projects/none/runs").await, 404);
    assert_eq!(stage.status("/nothing").await, 404);
}

#[tokio::test]
async fn lists_come_in_the_documented_envelope() {
    let stage = stage(0).await;
    let body = stage.json(&runs_path("")).await;
    assert_eq!(body["runs"].as_array().unwrap().len(), 50);
    assert_eq!(
        (
            &body["total"],
            &body["page"],
            &body["limit"],
            &body["total_pages"]
        ),
        (&124.into(), &1.into(), &50.into(), &3.into())
    );
    assert_eq!(body["stats"]["total_runs"], 124);
    assert_eq!(body["stats"]["successful_runs"], 121);
    assert_eq!(body["stats"]["failed_runs"], 1);
    let quiet = stage
        .json(&runs_path("include_stats=false&limit=9999&page=1"))
        .await;
    assert_eq!((quiet.get("stats"), &quiet["limit"]), (None, &500.into()));
    assert_eq!(quiet["runs"].as_array().unwrap().len(), 124);
    let plans = stage.json(&format!("/projects/{P}/plans")).await;
    assert_eq!((&plans["limit"], &plans["total"]), (&25.into(), &1.into()));
    let jobs = stage.json(&format!("/projects/{P}/jobs")).await;
    assert_eq!(
        (&jobs["total"], &jobs["jobs"][0]["schedule"]),
        (&2.into(), &"0 * * * *".into())
    );
    let projects = stage.json("/projects").await;
    assert_eq!(projects["total"], 2);
    assert!(projects["projects"][1].get("sqlmesh_environment").is_none());
    assert_eq!(
        stage.json(&format!("/projects/{P}")).await,
        projects["projects"][0]
    );
}

#[tokio::test]
async fn pages_hold_every_run_once() {
    let stage = stage(0).await;
    let mut seen = Vec::new();
    for page in 1..=3 {
        seen.extend(stage.ids(&runs_path(&format!("page={page}")), "runs").await);
    }
    assert!(stage.ids(&runs_path("page=4"), "runs").await.is_empty());
    assert_eq!(seen[..2], ["run_r", "run_p"]);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), count), (124, 124));
}

#[tokio::test]
async fn absent_values_are_left_out() {
    let stage = stage(0).await;
    let body = stage.json(&runs_path("limit=4")).await;
    let row = |id: &str| {
        body["runs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["id"] == id)
            .unwrap()
    };
    let has = |id: &str, key: &str| row(id).get(key).is_some();
    assert!(!body.to_string().contains("null"));
    assert_eq!(row("run_p")["status"], "pending");
    assert!(!has("run_p", "start_time") && !has("run_p", "pod_name"));
    assert_eq!(row("run_r")["status"], "running");
    assert!(
        has("run_r", "start_time")
            && !has("run_r", "end_time")
            && !has("run_r", "duration_seconds")
    );
    assert!(!has("run_m", "cronjob_name") && !has("run_m", "error_message"));
    assert_eq!(row("run_m")["duration_seconds"], 281.402);
    assert_eq!(row("run_f")["error_message"], "audit \"x\" failed");
    assert_eq!(row("run_f")["job_name"], "sqlmesh-run-20260312-032000");
}

#[tokio::test]
async fn filters_are_exact_and_updated_after_is_strict() {
    let stage = stage(0).await;
    for (query, expected) in [
        ("status=failed", vec!["run_f"]),
        ("status=pending", vec!["run_p"]),
        ("cronjob_name=nightly", vec!["run_f"]),
        ("cronjob_name=night", vec![]),
        ("job_type=janitor", vec![]),
        ("cronjob_name=hourly&status=running", vec!["run_r"]),
        // run_119 ended at 11950 s; run_f at 12060 s.
        (
            "updated_after=2026-03-12T03:21:00Z",
            vec!["run_r", "run_p", "run_m"],
        ),
        (
            "updated_after=2026-03-12T03:20:59Z",
            vec!["run_r", "run_p", "run_m", "run_f"],
        ),
        (
            "updated_after=2026-03-12T04:20:59%2B01:00",
            vec!["run_r", "run_p", "run_m", "run_f"],
        ),
    ] {
        assert_eq!(
            stage.ids(&runs_path(query), "runs").await,
            expected,
            "{query}"
        );
    }
    assert_eq!(
        stage.status(&runs_path("updated_after=yesterday")).await,
        400
    );
    let executions = format!("/projects/{P}/model-executions?updated_after=2026-03-12T03:20:20Z");
    let body = stage.json(&executions).await;
    assert_eq!(body["total"], 1);
    assert_eq!(body["model_executions"][0]["model_name"], "marts.refunds");
    assert_eq!(body["model_executions"][0]["job_run_id"], "run_f");
}

#[tokio::test]
async fn state_is_a_function_of_the_clock() {
    let stage = Stage::new(example(), at(11_999), 0).await;
    let newest = async || stage.json(&runs_path("limit=1")).await["runs"][0].clone();
    assert_eq!(newest().await["id"], "run_119");
    stage.running.clock.advance(Span::seconds(1));
    assert_eq!(
        (&newest().await["id"], &newest().await["status"]),
        (&"run_f".into(), &"running".into())
    );
    stage.running.clock.set(at(12_060));
    assert_eq!(newest().await["status"], "failed");
    assert_eq!(newest().await["updated_at"], "2026-03-12T03:21:00Z");
    stage.running.clock.set(at(12_059));
    assert_eq!(newest().await["status"], "running");
    let date = stage.answer("/projects").await.headers()["date"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(date, "Thu, 12 Mar 2026 03:20:59 GMT");
}

#[tokio::test]
async fn everything_can_be_edited_while_it_is_served() {
    let stage = stage(0).await;
    let later = at(14_000);
    stage.running.organization.edit(|organization| {
        organization
            .add_run(
                P,
                PlannedRun::success("run_new", "hourly", at(12_900), Span::seconds(9)),
            )
            .change_job(P, "hourly", later, JobChange::Enabled(false))
            .change_job(P, "nightly", later, JobChange::Removed)
            .change_project(P, later, ProjectChange::Suspended(true))
            .change_project(P, later, ProjectChange::CommitsBehind(3, "abc".into()))
            .change_protection("prot_1", later, false)
            .change_plan(P, "plan_1", later, "cancelled");
    });
    assert_eq!(stage.ids(&runs_path("limit=1"), "runs").await, ["run_new"]);
    let snapshot = async || {
        let job = stage.json(&format!("/projects/{P}/jobs")).await;
        let project = stage.json(&format!("/projects/{P}")).await;
        let protection = stage.json("/environment-protections").await;
        let plan = stage.json(&format!("/projects/{P}/plans")).await;
        let pending = stage.json(&format!("/projects/{P}/plans/pending")).await;
        format!(
            "{} {} {} {} {} {} {}",
            job["total"],
            job["jobs"][0]["enabled"],
            project["suspended"],
            project["commits_behind"],
            protection["protections"][0]["enabled"],
            plan["plans"][0]["status"],
            pending["count"]
        )
    };
    assert_eq!(snapshot().await, "2 true false 0 true \"pending\" 1");
    stage.running.clock.set(later);
    assert_eq!(snapshot().await, "1 false true 3 false \"cancelled\" 0");
    stage.running.organization.edit(|organization| {
        organization.change_project(P, at(14_001), ProjectChange::Removed);
    });
    stage.running.clock.set(at(14_001));
    assert_eq!(stage.status(&runs_path("")).await, 404);
}

#[tokio::test]
async fn overtaken_plans_say_so() {
    let stage = stage(0).await;
    let path = format!("/projects/{P}/plans?status=rejected");
    assert_eq!(stage.json(&path).await["total"], 0);
    stage.running.organization.edit(|organization| {
        let record = PlanRecord::new("plan_2", "group_2", "explain", "Old")
            .then(at(300), "pending")
            .then(at(400), "rejected");
        organization.plan(
            P,
            PlanRecord {
                auto_discarded: true,
                ..record
            },
        );
    });
    assert_eq!(
        stage.json(&path).await["plans"][0]["plan_output"]["auto_discarded"],
        true
    );
}

#[tokio::test]
async fn details_logs_and_aggregates_are_served() {
    let stage = stage(0).await;
    let detail = stage.json(&format!("/projects/{P}/runs/run_f")).await;
    assert_eq!(detail["error_message"], "audit \"x\" failed");
    let logs = stage.text(&format!("/projects/{P}/runs/run_f/logs")).await;
    assert!(
        logs.contains("marts.refunds failed") && logs.contains("ERROR audit"),
        "{logs}"
    );
    assert_eq!(stage.status(&format!("/projects/{P}/runs/none")).await, 404);
    let daily = stage
        .json(&format!("/projects/{P}/runs/daily-stats?days=7"))
        .await;
    assert_eq!(
        (&daily["stats"][0]["date"], &daily["stats"][0]["total_runs"]),
        (&"2026-03-12".into(), &124.into())
    );
    let models = stage
        .json(&format!(
            "/projects/{P}/model-executions/stats?start_date=2026-03-12"
        ))
        .await;
    assert_eq!(models["stats"][1]["model_name"], "marts.refunds");
    assert_eq!(models["stats"][1]["avg_duration_seconds"], 30.0);
    let none = stage
        .json(&format!(
            "/projects/{P}/model-executions/stats?end_date=2026-03-11"
        ))
        .await;
    assert_eq!(none["stats"], Value::Array(vec![]));
    let check = stage
        .json("/environment-protections/check?project_id=x&environment=prod")
        .await;
    assert_eq!(check["allowed"], false);
    assert_eq!(stage.json("/organizations/members").await["total"], 0);
}

#[tokio::test]
async fn only_get_is_allowed_and_requests_are_counted() {
    let stage = stage(0).await;
    stage.json(&runs_path("page=1")).await;
    stage.json(&runs_path("page=2")).await;
    let post = stage.ask(Method::POST, "/projects").send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    let faults = &stage.running.faults;
    assert_eq!(
        (
            faults.count("GET "),
            faults.count("/runs"),
            faults.other_methods()
        ),
        (2, 2, 1)
    );
    assert_eq!(
        faults.requests()[&format!("GET /api/v1/projects/{P}/runs")],
        2
    );
    assert_eq!(faults.seen()[1].query, "page=2");
}

/// Waits for an answer and its body; `None` if either fails.
async fn whole(response: Result<Response, reqwest::Error>) -> Option<String> {
    response.ok()?.text().await.ok()
}

#[tokio::test]
async fn faults_of_the_connection_are_seen() {
    let stage = stage(0).await;
    let path = runs_path("limit=20");
    for fault in [Fault::ResetConnection, Fault::HalfBody] {
        stage.inject(fault.clone());
        let response = stage.get(&path).send().await;
        if fault == Fault::HalfBody {
            let length = response.as_ref().unwrap().content_length().unwrap();
            assert!(length > 1_000, "{length}");
        }
        assert_eq!(whole(response).await, None, "{fault:?}");
        assert!(
            whole(stage.get(&path).send().await).await.is_some(),
            "after {fault:?}"
        );
    }
    let plain = stage.text(&path).await;
    stage.inject(Fault::SlowDrip(200, Span::milliseconds(2)));
    assert_eq!(stage.text(&path).await, plain);
    stage.inject(Fault::Delay(Span::seconds(600)));
    let hasty = stage
        .get(&path)
        .timeout(Duration::from_millis(100))
        .send()
        .await;
    assert!(hasty.unwrap_err().is_timeout());
    stage.inject(Fault::SlowDrip(1, Span::seconds(600)));
    let hasty = stage
        .get(&path)
        .timeout(Duration::from_millis(100))
        .send()
        .await;
    assert!(whole(hasty).await.is_none());
    assert_eq!(stage.running.faults.applied(), 5);
}

#[tokio::test]
async fn faults_of_the_answer_are_seen() {
    let stage = stage(0).await;
    let path = runs_path("limit=20");
    stage.inject(Fault::Status(429, Some(7)));
    let limited = stage.answer(&path).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    stage.inject(Fault::GarbageJson);
    assert!(serde_json::from_str::<Value>(&stage.text(&path).await).is_err());
    stage.inject(Fault::EmptyOk);
    assert_eq!(stage.text(&path).await, "");
    stage.inject(Fault::WrongContentType);
    let html = stage.answer(&path).await;
    assert!(
        html.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    stage.inject(Fault::HugeBody(2_000_000));
    let huge = stage.text(&path).await;
    assert!(huge.len() > 2_000_000 && serde_json::from_str::<Value>(&huge).is_ok());
    stage.inject(Fault::ClockSkew(Span::hours(1)));
    assert_eq!(
        stage.answer(&path).await.headers()["date"],
        "Thu, 12 Mar 2026 04:36:40 GMT"
    );
    stage.running.faults.set_skew(Span::hours(-1));
    assert_eq!(
        stage.answer(&path).await.headers()["date"],
        "Thu, 12 Mar 2026 02:36:40 GMT"
    );
    stage.running.faults.calm();
    assert_eq!(
        stage.answer(&path).await.headers()["date"],
        "Thu, 12 Mar 2026 03:36:40 GMT"
    );
}

#[tokio::test]
async fn faults_of_rows_and_pages_are_seen() {
    let stage = stage(0).await;
    let path = runs_path("limit=20");
    let good = stage.json(&path).await;
    for (garbage, check) in [
        (
            Garbage::MissingId,
            (|row| row.get("id").is_none()) as fn(&Value) -> bool,
        ),
        (Garbage::UnknownStatus, |row| row["status"] == "quantum"),
        (Garbage::WrongTypes, |row| {
            row["created_at"].is_number() && row["status"].is_array()
        }),
        (Garbage::NotAnObject, Value::is_string),
    ] {
        stage.inject(Fault::GarbageRow(garbage));
        let body = stage.json(&path).await;
        assert!(check(&body["runs"][0]), "{garbage:?}: {}", body["runs"][0]);
        assert_eq!(body["runs"][1], good["runs"][1]);
        assert_eq!(body["total"], good["total"]);
    }
    stage.inject(Fault::ReorderRows);
    let mut reversed = ids(&stage.json(&path).await["runs"]);
    reversed.reverse();
    assert_eq!(reversed, ids(&good["runs"]));
    let second = runs_path("limit=20&page=2");
    let next = stage.ids(&second, "runs").await;
    stage.inject(Fault::RepeatPage);
    let repeated = stage.json(&second).await;
    assert_eq!(
        (ids(&repeated["runs"]), &repeated["page"]),
        (ids(&good["runs"]), &2.into())
    );
    for (shift, first) in [(3, ids(&good["runs"])[17].clone()), (-3, next[3].clone())] {
        stage.inject(Fault::ShiftPages(shift));
        assert_eq!(stage.ids(&second, "runs").await[0], first);
    }
}

#[tokio::test]
async fn random_faults_come_at_their_rate_and_never_stop_the_simulator() {
    let stage = stage(0).await;
    stage.running.faults.random(5, 0.5, Fault::samples());
    let good = stage.running.organization.read(|o| o.planned_runs(P).len());
    let mut perfect = 0;
    for page in 0..300 {
        let path = runs_path(&format!("limit=500&page={}", page % 2 + 1));
        let Some(body) = whole(stage.get(&path).send().await).await else {
            continue;
        };
        let rows = serde_json::from_str::<Value>(&body).map(|body| body["runs"].clone());
        perfect += usize::from(
            rows.is_ok_and(|rows| rows.as_array().is_some_and(|rows| rows.len() == good)),
        );
    }
    let applied = stage.running.faults.applied();
    assert!((110..190).contains(&applied), "{applied}");
    assert!((75..150).contains(&perfect), "{perfect}");
    stage.running.faults.calm();
    assert_eq!(stage.ids(&runs_path("limit=500"), "runs").await.len(), good);
}

#[tokio::test]
async fn variants_that_serve_aggregates_only() {
    for number in [8, 9] {
        let stage = stage(number).await;
        let variant = Variant::number(number);
        let runs = if variant.runs_allowed { 200 } else { 403 };
        assert_eq!(stage.status(&runs_path("limit=5")).await, runs, "{number}");
        let executions = format!("/projects/{P}/model-executions");
        assert_eq!(stage.status(&executions).await, 404, "{number}");
        let daily = format!("/projects/{P}/runs/daily-stats?days=7");
        assert_eq!(stage.status(&daily).await, 200, "{number}");
        let of = async |end: &str| {
            let path = format!("{executions}/stats?start_date=2026-03-12&end_date={end}");
            let body = stage.json(&path).await;
            let rows = body.get("stats").unwrap_or(&body);
            rows.as_array().unwrap().len()
        };
        let same_day = of("2026-03-12").await;
        assert_eq!(same_day > 0, variant.end_date_included, "{number}");
        assert!(of("2026-03-13").await > 0, "{number}");
    }
}

#[tokio::test]
async fn every_variant_is_served_as_described() {
    for variant in Variant::with_runs() {
        let number = variant.number;
        let stage = stage(number).await;
        let runs = stage.json(&runs_path("limit=500")).await;
        let rows = runs["runs"].as_array().unwrap();
        assert_eq!((rows.len(), &runs["total"]), (124, &124.into()), "{number}");
        let find = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
        let nulls = variant.nulls == tardy::sim::variant::Nulls::Explicit;
        assert_eq!(
            find("run_m")
                .get("cronjob_name")
                .is_some_and(Value::is_null),
            nulls,
            "{number}"
        );
        assert_eq!(
            find("run_f")["cronjob_name"],
            format!("{}nightly", variant.cronjob_prefix)
        );
        let started = find("run_p")
            .get("start_time")
            .is_some_and(Value::is_string);
        assert_eq!(started, variant.pending_has_start, "{number}");
        assert_eq!(
            find("run_f")["error_message"].is_string(),
            variant.list_has_error,
            "{number}"
        );
        let created = find("run_f")["created_at"].as_str().unwrap();
        assert_eq!(Timestamp::parse(created), Some(at(12_000)), "{number}");
        let name = format!("{}nightly", variant.cronjob_prefix);
        assert_eq!(
            stage
                .ids(&runs_path(&format!("cronjob_name={name}")), "runs")
                .await,
            ["run_f"]
        );
        check_executions(&stage, &variant).await;
        check_other_shapes(&stage, &variant).await;
    }
}

async fn check_executions(stage: &Stage, variant: &Variant) {
    let path = format!("/projects/{P}/model-executions");
    let Some(key) = variant.executions_key else {
        assert_eq!(stage.status(&path).await, 404);
        return;
    };
    let body = stage.json(&path).await;
    assert_eq!(body["total"], 2);
    let row = &body[key].as_array().unwrap()[0];
    assert_eq!(row[variant.execution_run_field], "run_f");
    assert!(
        row[variant.execution_model_field]
            .as_str()
            .unwrap()
            .starts_with("marts.")
    );
}

async fn check_other_shapes(stage: &Stage, variant: &Variant) {
    use tardy::sim::variant::{ErrorBody, LimitRule, Logs};
    let projects = stage.json("/projects").await;
    assert_eq!(projects.is_array(), variant.bare_lists);
    let error = stage.text("/projects/none").await;
    let parsed = serde_json::from_str::<Value>(&error).unwrap_or_default();
    let is_right = match variant.error_body {
        ErrorBody::Error => parsed["error"].is_string(),
        ErrorBody::Message => parsed["message"].is_string(),
        ErrorBody::Nested => parsed["error"]["message"].is_string(),
        ErrorBody::Text => error == "project not found",
    };
    assert!(is_right, "{error}");
    let limited = stage.answer(&runs_path("limit=501")).await;
    match variant.limit_rule {
        LimitRule::Refused => assert_eq!(limited.status().as_u16(), 400),
        rule => {
            let shown = if rule == LimitRule::Echoed { 501 } else { 500 };
            assert_eq!(limited.json::<Value>().await.unwrap()["limit"], shown);
        }
    }
    stage.running.clock.set(at(20_000));
    let plan = stage.json(&format!("/projects/{P}/plans")).await["plans"][0]["status"].clone();
    assert_eq!(plan == "approved", variant.plan_shows_approved, "{plan}");
    let logs = stage
        .answer(&format!("/projects/{P}/runs/run_f/logs"))
        .await;
    assert_eq!(logs.status().as_u16() == 404, variant.logs == Logs::Missing);
    let expected = match variant.protections_key {
        _ if !variant.protections_allowed => 403,
        Some(_) => 200,
        None => 404,
    };
    assert_eq!(stage.status("/environment-protections").await, expected);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes() {
    let shape = Shape {
        projects: 2,
        jobs_per_project: 3,
        models_per_job: 4,
        days: 10,
        end_at: at(0),
    };
    let bytes = async |seed| {
        let stage = Stage::new(Organization::seeded(seed, shape), at(-40_000), 0).await;
        let mut all = stage.text("/projects").await;
        for path in [
            "runs?limit=500",
            "model-executions?limit=500",
            "jobs",
            "plans",
            "runs/daily-stats",
        ] {
            all.push_str(&stage.text(&format!("/projects/proj_finance/{path}")).await);
        }
        all
    };
    assert_eq!(bytes(1).await, bytes(1).await);
    assert_ne!(bytes(1).await, bytes(2).await);
}

#[tokio::test]
async fn the_story_is_told_by_the_api() {
    let story = Story::new(1);
    let watch_from = story.watch_from;
    let stage = Stage::new(story.organization, watch_from, 0).await;
    let path = |status: &str, job: &str| {
        format!(
            "/projects/{}/runs?status={status}&cronjob_name={job}&limit=1",
            story::FINANCE
        )
    };
    let open = stage.json(&path("failed", story::HOURLY_ORDERS)).await;
    let before = open["total"].as_u64().unwrap();
    stage.running.clock.set(watch_from + Span::hours(3));
    let failed = stage.json(&path("failed", story::HOURLY_ORDERS)).await;
    assert_eq!(failed["total"], before + 2);
    assert!(
        failed["runs"][0]["error_message"]
            .as_str()
            .unwrap()
            .contains(story::BROKEN_MODEL)
    );
    stage
        .running
        .clock
        .set(watch_from + Span::hours(6) + Span::minutes(10));
    let late = stage.json(&path("running", story::NIGHTLY_REFRESH)).await;
    assert_eq!(late["total"], 1);
    stage.running.clock.set(story.ends_at);
    let ended = stage.json(&path("success", story::NIGHTLY_REFRESH)).await;
    assert_eq!(ended["runs"][0]["end_time"], "2026-03-12T11:42:00Z");
}

#[tokio::test]
async fn a_large_history_is_paged_completely() {
    let stage = Stage::new(Organization::bulk(1, 10_000, 2, 20, at(0)), at(0), 0).await;
    let mut seen = std::collections::BTreeSet::new();
    for page in 1..=20 {
        let path =
            format!("/projects/{BULK_PROJECT}/runs?limit=500&include_stats=false&page={page}");
        seen.extend(stage.ids(&path, "runs").await);
    }
    assert_eq!(seen.len(), 10_000);
    stage.inject(Fault::HalfBody);
    let path = format!("/projects/{BULK_PROJECT}/runs?limit=500");
    let response = stage.answer(&path).await;
    assert!(response.content_length().unwrap() > 150_000);
    assert!(response.text().await.is_err());
    let executions = stage
        .json(&format!("/projects/{BULK_PROJECT}/model-executions"))
        .await;
    assert_eq!(executions["total"], 20_000);
}

#[tokio::test]
async fn shutdown_ends_even_slow_requests_and_frees_the_port() {
    let stage = stage(0).await;
    stage.inject(Fault::Delay(Span::seconds(600)));
    let slow = tokio::spawn(stage.get("/projects").send());
    while stage.running.faults.applied() == 0 {
        tokio::task::yield_now().await;
    }
    let addr = stage.running.addr;
    stage.running.shutdown().await;
    assert!(slow.await.unwrap().is_ok());
    let again = serve(
        example(),
        SimClock::new(at(0)),
        Faults::new(),
        Variant::number(0),
        addr,
    )
    .await;
    let again = again.unwrap();
    let clash = serve(
        example(),
        SimClock::new(at(0)),
        Faults::new(),
        Variant::number(0),
        again.addr,
    )
    .await;
    assert!(clash.unwrap_err().to_string().contains("--listen"));
}
