//! Alerts through engine, store and delivery to a receiver on loopback.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use secrecy::SecretString;
use tardy::app::deliver::{Deliverer, Outgoing};
use tardy::app::pipeline::{Incoming, Pipeline};
use tardy::engine::history::History;
use tardy::engine::observation::{Name, Observation, Run, Status};
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Saved};
use tardy::notify::{
    self, BuildContext, Email, Notifier, Receiver, ReceiverKind, Smtp as Relay, SmtpTls,
    TemplateTexts,
};
use tardy::store::Store;
use tardy::store::records::Sequences;
use tardy::store::sled::{SledOptions, SledStore};

use crate::smtp::Smtp;
use crate::{jobs, median, policy, project, quantile, resident_mb, run, runtime, setting, start};

fn webhook(url: &str) -> ReceiverKind {
    ReceiverKind::Webhook {
        url: SecretString::from(url.to_owned()),
        secret: None,
    }
}

/// A webhook sink that counts.
async fn sink() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let app = Router::new().route(
        "/hook",
        post(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready("ok")
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/hook"), count)
}

struct Bench {
    pipeline: Pipeline,
    deliverer: Deliverer,
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str, kind: ReceiverKind, jobs: &[Name]) -> Self {
        let folder =
            PathBuf::from("target/bench-data").join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let opened = SledStore::open(&folder.join("data"), SledOptions::at(start()))
            .expect("the store opens");
        let store: Arc<dyn Store> = Arc::new(opened.store);
        let receiver = Receiver {
            name: "sink".into(),
            kind,
            template: TemplateTexts::default(),
        };
        let console = Arc::new(std::sync::Mutex::new(std::io::sink()));
        let context = BuildContext::new(chrono_tz::UTC, console, false);
        let notifier: Arc<dyn Notifier> = notify::build(&receiver, &context)
            .expect("it can be built")
            .into();
        let rules = "[[rule]]\nname = \"run-failed\"\nkind = \"run_failed\"\n";
        let engine = Engine::new(
            Arc::new(policy(rules)),
            History::default(),
            Saved::default(),
        );
        let mut pipeline = Pipeline::new(engine, Arc::clone(&store), Sequences::default());
        let mut incoming = Incoming::default();
        incoming.input.observations = setting(jobs);
        for (index, job) in jobs.iter().enumerate() {
            let run = run(index, job, start() - Span::hours(1), Status::Success);
            incoming
                .input
                .observations
                .push(Observation::Run(project(), run));
        }
        incoming.input.coverage = BTreeMap::from([(project(), start())]);
        pipeline
            .activate(incoming, start())
            .expect("history is committed");
        let notifiers = BTreeMap::from([(Name::from("sink"), notifier)]);
        let deliverer = Deliverer::new(store, notifiers, Outgoing::default());
        Self {
            pipeline,
            deliverer,
            folder,
        }
    }

    /// Failures of `jobs` at `now`, through engine, store and delivery.
    /// Returns the time until everything was decided and durable.
    async fn fail(
        &mut self,
        numbers: std::ops::Range<usize>,
        jobs: &[Name],
        now: Timestamp,
    ) -> Duration {
        let started = Instant::now();
        let mut incoming = Incoming::default();
        for number in numbers {
            let job = &jobs[number % jobs.len()];
            let status = if number % (2 * jobs.len()) < jobs.len() {
                Status::Failed
            } else {
                Status::Success
            };
            let run = Run {
                finished_at: Some(now),
                updated_at: now,
                ..run(1_000_000 + number, job, now - Span::minutes(9), status)
            };
            incoming
                .input
                .observations
                .push(Observation::Run(project(), run));
        }
        loop {
            let activation = self
                .pipeline
                .activate(std::mem::take(&mut incoming), now)
                .expect("the step is committed");
            self.deliverer.enqueue(activation.rows);
            // Thousands at once are decided in several steps.
            if activation.step.wake_at.is_none_or(|at| at > now) {
                break;
            }
        }
        let decided = started.elapsed();
        let report = self.deliverer.deliver_due(&move || now).await;
        assert!(report.store_error.is_none());
        decided
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn alerts() {
    println!(
        "\n## 10 000 alerts, each its own group, to a webhook; state durable before sending\n"
    );
    runtime().block_on(async {
        let names = jobs(10_000);
        let mut times = Vec::new();
        let mut decided = Vec::new();
        let mut memory = 0.0;
        for round in 0..3 {
            let (url, count) = sink().await;
            let mut bench = Bench::new(&format!("alerts{round}"), webhook(&url), &names);
            let started = Instant::now();
            decided.push(bench.fail(0..10_000, &names, start() + Span::minutes(1)).await);
            times.push(started.elapsed());
            if round == 0 {
                memory = resident_mb();
            }
            assert_eq!(count.load(Ordering::Relaxed), 10_000, "every alert is told once");
        }
        println!(
            "median {:.2?}, of which {:.2?} to decide and commit; whole process with sink {memory:.0} MB resident",
            median(times),
            median(decided)
        );
    });
    println!("Bar: 2.0 s, 120 MB. Alertmanager 0.33: 2.25 s, 355 MB, nothing durable.");
}

pub(crate) fn latency() {
    println!("\n## Run seen in a poll to webhook called, one at a time, 50 a second\n");
    runtime().block_on(async {
        let names = jobs(50);
        let (url, count) = sink().await;
        let mut bench = Bench::new("latency", webhook(&url), &names);
        let mut times = Vec::new();
        for number in 0..500 {
            // Each job fails once and is then left alone: every failure is a new incident.
            let job = number % names.len();
            let now = start()
                + Span::minutes(1 + 5 * i64::try_from(number / names.len()).unwrap_or(0))
                + Span::milliseconds(20 * i64::try_from(job).unwrap_or(0));
            let round = number / names.len();
            let started = Instant::now();
            bench
                .fail(
                    round * names.len() + job..round * names.len() + job + 1,
                    &names,
                    now,
                )
                .await;
            times.push(started.elapsed());
            tokio::time::sleep(Duration::from_millis(20).saturating_sub(started.elapsed())).await;
        }
        let told = count.load(Ordering::Relaxed);
        println!(
            "p50 {:.2?}, p99 {:.2?} over {} events ({told} messages)",
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.99),
            times.len()
        );
    });
    println!(
        "Bar: p50 8 ms, p99 25 ms, fsynced. Alertmanager POST to webhook: 0.9 ms, 4.1 ms, not durable."
    );
}

/// One recipient of a relay on loopback.
fn mail(server: &Smtp) -> ReceiverKind {
    ReceiverKind::Email(Email {
        to: vec!["lead@example.com".to_owned()],
        smtp: Relay {
            name: "office".into(),
            host: "127.0.0.1".to_owned(),
            port: server.addr.port(),
            tls: SmtpTls::None,
            credentials: None,
            from: "Tardy <tardy@example.com>".to_owned(),
        },
    })
}

pub(crate) fn mails() {
    println!("\n## 1 000 mails, one for each alert; state durable before sending\n");
    runtime().block_on(async {
        let names = jobs(1_000);
        let mut times = Vec::new();
        for round in 0..3 {
            let server = Smtp::start().await;
            let mut bench = Bench::new(&format!("mails{round}"), mail(&server), &names);
            let started = Instant::now();
            bench
                .fail(0..1_000, &names, start() + Span::minutes(1))
                .await;
            times.push(started.elapsed());
            assert_eq!(server.mails().len(), 1_000, "every alert is told once");
        }
        println!("median {:.2?}", median(times));
    });
    println!("Bar: 0.7 s, one envelope for each recipient. Alertmanager: 1.46 s.");
}
