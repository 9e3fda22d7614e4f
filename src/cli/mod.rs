//! The command line: one file for each subcommand. The only module that prints.

mod accept;
mod ack;
mod answers;
mod chart;
mod check;
mod completions;
mod deliveries;
mod demo;
mod detect;
mod digest;
mod exit_code;
mod gates;
mod init;
mod notify;
mod output;
mod promised;
mod reach;
mod render;
mod routes;
mod rows;
mod rules;
mod run;
mod schema;
mod silence;
mod sim;
mod sla;
mod state;
mod store;
mod test;
mod why;
mod why_not;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use exit_code::ExitCode;
use output::Output;

use crate::config::Environment;

/// Alerting and service levels for data pipelines on dagctl.
///
/// Tardy says when a run failed, is late, is too slow, or is about to be: in Slack, Discord and mail,
/// once, and always with an ending.
#[derive(Debug, Parser)]
#[command(name = "tardy", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tardy demo                        see it work: a simulated day in under a minute
  tardy init                        a starter configuration from what the API shows
  tardy check                       check the configuration and all rules
  tardy run                         start the bot
  tardy runs failed 24h             what failed since yesterday
  tardy alerts                      what is wrong now
  tardy sla nightly 7d              how a week's promises were kept
  tardy why-not late nightly        why nobody was told

Exit codes: 0 fine, 1 failed, 2 problems found in what was given, 70 a bug of ours.";

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file [default: tardy.toml, then config/tardy.toml]
    #[arg(long, global = true, value_name = "FILE", env = "TARDY_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours (NO_COLOR is respected)
    #[arg(long, global = true, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    color: ColorWhen,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the bot
    Run(run::RunArgs),
    /// Watch a simulated day: failures, a regression, a missed schedule, a late delivery
    Demo(demo::DemoArgs),
    /// Write a starter configuration from what the API shows
    Init(init::InitArgs),
    /// Check the configuration and rules: all mistakes at once, with their places and remedies
    Check(check::CheckArgs),
    /// Run rule tests: what happened, and what people are to be told
    Test(test::TestArgs),
    /// Print the JSON Schema of a file format, for editors
    Schema(schema::SchemaArgs),
    /// Serve a simulated dagctl API on this machine
    Sim(sim::SimArgs),
    /// Show poll age, coverage, skew, receivers, queue and store
    Status(answers::StatusArgs),
    /// List runs, newest first
    Runs(answers::WordsArgs),
    /// List models, most seconds added first
    Models(answers::WordsArgs),
    /// List open alerts, worst first
    Alerts(answers::WordsArgs),
    /// Show promises kept, late, missed and excused
    Sla(sla::SlaArgs),
    /// Draw how long runs took, against what is usual and allowed, as SVG or PNG
    Chart(chart::ChartArgs),
    /// Ask as in chat: tardy ask "/runs failed 24h"
    Ask(answers::AskArgs),
    /// Find what has become slower or quicker in any series of durations
    Detect(detect::DetectArgs),
    /// List the rules in force, or explain a kind
    Rules(rules::RulesArgs),
    /// Try a receiver
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Show the exact message that a receiver would get of a rule, without sending it
    Render(render::RenderArgs),
    /// Look after the store
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Take an alert on: reminders and escalation stop, it stays open
    Ack(ack::AckArgs),
    /// Keep alerts quiet for a while
    #[command(subcommand, after_help = silence::EXAMPLES)]
    Silence(silence::SilenceCommand),
    /// Accept a regression's new level as normal, which ends its alert
    Accept(accept::AcceptArgs),
    /// Explain an alert: its rule, its history, each number that decided it
    Why(why::WhyArgs),
    /// Explain why a rule said nothing about a subject, now or at an instant that has passed
    WhyNot(why_not::WhyNotArgs),
    /// Draw the routing tree, or try it with an alert: tardy routes test severity=critical
    Routes(routes::RoutesArgs),
    /// List what was told to whom, when, why, and what became of it
    Deliveries(deliveries::DeliveriesArgs),
    /// Print or send a digest now: promises, open alerts, what to look after
    Digest(digest::DigestArgs),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Demo(_) => "demo",
            Self::Check(_) => "check",
            Self::Test(_) => "test",
            Self::Schema(_) => "schema",
            Self::Sim(_) => "sim",
            Self::Status(_) => "status",
            Self::Runs(_) => "runs",
            Self::Models(_) => "models",
            Self::Alerts(_) => "alerts",
            Self::Ask(_) => "ask",
            Self::Rules(_) => "rules",
            Self::Notify(_) => "notify",
            Self::Render(_) => "render",
            Self::Store(_) => "store",
            Self::Completions(_) => "completions",
            Self::Ack(_) => "ack",
            Self::Silence(_) => "silence",
            Self::Accept(_) => "accept",
            Self::Sla(_) => "sla",
            Self::Chart(_) => "chart",
            Self::Why(_) => "why",
            Self::WhyNot(_) => "why-not",
            Self::Routes(_) => "routes",
            Self::Deliveries(_) => "deliveries",
            Self::Digest(_) => "digest",
            Self::Detect(_) => "detect",
            Self::Init(_) => "init",
        }
    }
}

/// What every command is given.
pub struct Context {
    global: Global,
    environment: Environment,
    out: Output,
}

/// Reads the command line and does what it says. The exit code is the answer.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; everything else is one in the arguments.
            let is_mistake = error.use_stderr();
            let _ = error.print();
            return if is_mistake {
                ExitCode::Problems
            } else {
                ExitCode::Fine
            };
        }
    };
    let environment = Environment::of_process();
    let out = Output::new(&cli.global, &environment);
    let name = cli.command.name();
    let context = Context {
        global: cli.global,
        environment,
        out,
    };
    dispatch(cli.command, name, &context)
}

fn dispatch(command: Command, name: &'static str, context: &Context) -> ExitCode {
    match command {
        Command::Run(args) => run::run(&args, context),
        Command::Demo(args) => demo::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Test(args) => test::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Init(args) => init::run(&args, context),
        Command::Sim(args) => sim::run(&args, context),
        Command::Status(args) => answers::status(&args, context),
        Command::Runs(args) | Command::Models(args) | Command::Alerts(args) => {
            answers::words(name, &args, context)
        }
        Command::Ask(args) => answers::ask(&args, context),
        Command::Detect(args) => detect::run(&args, context),
        Command::Rules(args) => rules::run(&args, context),
        Command::Notify(command) => notify::run(&command, context),
        Command::Render(args) => render::run(&args, context),
        Command::Sla(args) => sla::run(&args, context),
        Command::Accept(args) => accept::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::WhyNot(args) => why_not::run(&args, context),
        Command::Routes(args) => routes::run(&args, context),
        Command::Deliveries(args) => deliveries::run(&args, context),
        Command::Chart(args) => chart::run(&args, context),
        Command::Store(command) => store::run(&command, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Digest(args) => digest::run(&args, context),
        Command::Ack(args) => ack::run(&args, context),
        Command::Silence(command) => silence::run(&command, context),
    }
}
