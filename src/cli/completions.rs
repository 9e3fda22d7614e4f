//! `tardy completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Context, ExitCode};

/// Options of `tardy completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy completions bash > /etc/bash_completion.d/tardy
  tardy completions zsh > \"${fpath[1]}/_tardy\"
  tardy completions fish > ~/.config/fish/completions/tardy.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, context: &Context) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tardy", &mut script);
    context.out.text(&String::from_utf8_lossy(&script));
    ExitCode::Fine
}
