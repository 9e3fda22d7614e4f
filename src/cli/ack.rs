//! `tardy ack`: a person takes an alert on.

use clap::Args;

use super::accept;
use super::state;
use super::{Context, ExitCode};
use crate::engine::acting::ActKind;
use crate::engine::time::{Span, parse_span};

/// Options of `tardy ack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reminders and escalation stop, and everybody who was told sees who has it. The alert stays open, and its end
is told as ever. An acknowledgement is over when its time is, when the alert gets worse, or when it ends.

Exits with 2 when there is no such alert, with 1 when it is over, or acknowledged already.

Examples:
  tardy ack k3x9qa
  tardy ack k3x9qa --for 2h --comment \"looking at the warehouse\"
  tardy ack k3x9qa --undo            give it back: reminders and escalation go on")]
pub(super) struct AckArgs {
    /// Short id of the alert, as every message shows it
    #[arg(value_name = "ALERT")]
    alert: String,
    /// For how long [default: 8h]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    span: Option<Span>,
    /// What you are doing about it, for the others
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Take the acknowledgement back
    #[arg(long, conflicts_with = "span")]
    undo: bool,
}

pub(super) fn run(args: &AckArgs, context: &Context) -> ExitCode {
    let alert = args.alert.clone();
    let what = if args.undo {
        ActKind::Unacknowledge { alert }
    } else {
        ActKind::Acknowledge {
            alert,
            for_millis: args.span.map(|span| span.num_milliseconds()),
        }
    };
    match state::act(args.comment.as_deref(), what, context) {
        Ok(done) => accept::show(&done, "see it", context),
        Err(code) => code,
    }
}
