//! `tardy schema`

use clap::{Args, ValueEnum};

use super::{Context, ExitCode};
use crate::config;

/// Options of `tardy schema`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy schema rules > rules.schema.json     then, in a rule file:  #:schema ./rules.schema.json
  tardy schema config > tardy.schema.json")]
pub(super) struct SchemaArgs {
    /// Which file format
    which: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// tardy.toml
    Config,
    /// Rule files
    Rules,
}

pub(super) fn run(args: &SchemaArgs, context: &Context) -> ExitCode {
    let schema = match args.which {
        Which::Config => config::schema_config(),
        Which::Rules => config::schema_rules(),
    };
    context.out.json(&schema);
    ExitCode::Fine
}
