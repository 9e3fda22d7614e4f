//! Commands that are planned and not built: they say so and fail, whatever they are given.

use clap::Args;

use super::{Context, ExitCode};

/// Any arguments.
#[derive(Debug, Args)]
pub(super) struct PlannedArgs {
    /// This command is not built yet
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

pub(super) fn run(name: &str, context: &Context) -> ExitCode {
    context.out.error(&format!(
        "`tardy {name}` is not built yet; `tardy help` lists what is"
    ));
    ExitCode::Failed
}
