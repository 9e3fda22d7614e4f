//! `tardy sim`

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{Context, ExitCode, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::engine::time::{Span, Timestamp};
use crate::sim::{self, Faults, Organization, Shape, SimClock, Variant};

/// Options of `tardy sim`.
#[derive(Debug, Args)]
#[command(after_help = "\
The organization is the same for the same seed; its history ends now and it goes on living.
Inferred parts of the API have variants: `tardy sim --variant 99` lists them.

Examples:
  tardy sim                                  serve on a free port of this machine
  tardy sim --listen 127.0.0.1:8700 --speed 60
                                             a day in 24 minutes")]
pub(super) struct SimArgs {
    /// Address to listen on; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Same seed, same organization
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Virtual seconds a second, 0.1 to 100000
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Which of the inferred shapes of the API to serve
    #[arg(long, value_name = "N", default_value_t = 0)]
    variant: u32,
    /// Stop after so many seconds [default: when interrupted]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

/// How far ahead of its start the organization's life is planned.
const LIFE: Span = Span::days(30);

pub(super) fn run(args: &SimArgs, context: &Context) -> ExitCode {
    if let Err(why) = check(args) {
        context.out.error(&why);
        return ExitCode::Problems;
    }
    let runtime = match state::runtime(context) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(serve(args, context))
}

fn check(args: &SimArgs) -> Result<(), String> {
    if !args.listen.ip().is_loopback() {
        return Err(format!(
            "--listen {}: the simulator serves loopback only, like 127.0.0.1:8700",
            args.listen
        ));
    }
    if !(0.1..=100_000.0).contains(&args.speed) {
        return Err(format!("--speed {}: it is from 0.1 to 100000", args.speed));
    }
    if args.variant >= Variant::count() {
        let list: Vec<String> = (0..Variant::count())
            .map(|number| format!("  {number}  {}", Variant::number(number).describe()))
            .collect();
        return Err(format!(
            "--variant {}: the variants are\n{}",
            args.variant,
            list.join("\n")
        ));
    }
    Ok(())
}

async fn serve(args: &SimArgs, context: &Context) -> ExitCode {
    let wall = SystemClock::default();
    let start = wall.now();
    let shape = Shape {
        projects: 2,
        jobs_per_project: 4,
        models_per_job: 6,
        days: 60,
        end_at: start + LIFE,
    };
    let organization = Organization::seeded(args.seed, shape);
    let (id, token) = (
        organization.id().to_owned(),
        organization.token().to_owned(),
    );
    let clock = SimClock::new(start);
    let variant = Variant::number(args.variant);
    let running = match sim::serve(
        organization,
        clock.clone(),
        Faults::new(),
        variant,
        args.listen,
    )
    .await
    {
        Ok(running) => running,
        Err(error) => {
            context.out.error(&error.to_string());
            return ExitCode::Failed;
        }
    };
    if context.out.is_json {
        context.out.json(&serde_json::json!({
            "base_url": running.base_url(), "organization": id, "token": token,
        }));
    } else {
        context
            .out
            .line(&configuration(&running.base_url(), &id, &token));
    }
    let drive = drive(&clock, &wall, start, args.speed);
    let end = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => drop(tokio::signal::ctrl_c().await),
        }
    };
    tokio::select! {
        () = drive => {}
        () = end => {}
    }
    running.shutdown().await;
    ExitCode::Fine
}

/// Lets virtual time pass.
async fn drive(clock: &SimClock, wall: &SystemClock, start: Timestamp, speed: f64) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let passed = (wall.now().since(start).num_milliseconds() as f64 * speed) as i64;
        clock.set(start + Span::milliseconds(passed));
    }
}

fn configuration(base_url: &str, organization: &str, token: &str) -> String {
    format!(
        "serving a simulated dagctl API on {base_url}; stop it with Ctrl-C\n\n\
         export DAGCTL_TOKEN={token}\n\n\
         [[source]]\nname = \"sim\"\nkind = \"dagctl\"\nbase_url = \"{base_url}\"\n\
         organization = \"{organization}\"\ntoken = {{ env = \"DAGCTL_TOKEN\" }}\npoll_interval = \"5s\""
    )
}
