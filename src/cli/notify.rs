//! `tardy notify`

use clap::Subcommand;

use super::output::Output;
use super::{Context, ExitCode, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::notification::{Body, ConversationId, Notification, Reason};
use crate::engine::observation::Name;
use crate::engine::time::Timestamp;
use crate::notify::{self, BuildContext, Delivery, Outcome};

/// Tries receivers.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  tardy notify test team-slack       sends one message that says it is a test")]
pub(super) enum NotifyCommand {
    /// Send a test message to a receiver and say what came of it
    Test {
        /// The receiver's name in the configuration
        receiver: String,
    },
}

pub(super) fn run(command: &NotifyCommand, context: &Context) -> ExitCode {
    let NotifyCommand::Test { receiver } = command;
    test(receiver, context).unwrap_or_else(|code| code)
}

fn test(name: &str, context: &Context) -> Result<ExitCode, ExitCode> {
    let config = state::load_config(context)?;
    let Some(receiver) = config
        .receivers
        .iter()
        .find(|receiver| &*receiver.name == name)
    else {
        let names: Vec<&str> = config
            .receivers
            .iter()
            .map(|receiver| &*receiver.name)
            .collect();
        context.out.error(&format!(
            "there is no receiver `{name}`; there are {}",
            names.join(", ")
        ));
        return Err(ExitCode::Problems);
    };
    let console = if context.out.is_json {
        Output::error_console()
    } else {
        Output::console()
    };
    let build = BuildContext::new(config.timezone, console, context.out.is_colored);
    let runtime = state::runtime(context)?;
    let outcome = runtime.block_on(async {
        let notifier = notify::build(receiver, &build).map_err(|error| error.to_string())?;
        let notification = message(&receiver.name, SystemClock::default().now());
        let delivery = Delivery {
            notification: &notification,
            handle: None,
            attempt: 1,
            is_uncertain: false,
            chart: None,
        };
        Ok::<_, String>(notifier.deliver(delivery).await)
    });
    let (is_delivered, why) = match outcome {
        Ok(Outcome::Delivered { .. }) => (true, None),
        Ok(Outcome::Retry { why, .. } | Outcome::Rejected { why }) | Err(why) => (false, Some(why)),
    };
    if context.out.is_json {
        context
            .out
            .json(&serde_json::json!({ "receiver": name, "delivered": is_delivered, "why": why }));
    } else if let Some(why) = &why {
        context.out.error(&format!("{name}: {why}"));
    } else {
        context.out.line(&format!("{name}: delivered"));
    }
    Ok(if is_delivered {
        ExitCode::Fine
    } else {
        ExitCode::Failed
    })
}

fn message(receiver: &Name, now: Timestamp) -> Notification {
    let labels = Labels::default()
        .with("receiver", receiver.clone())
        .with("at", now.to_string());
    Notification {
        receiver: receiver.clone(),
        conversation: ConversationId(Fingerprint::of("test", &labels)),
        sequence: 0,
        reason: Reason::Notice,
        decided_at: now,
        group: Labels::default(),
        route: "test".into(),
        body: Body::Notice {
            headline: "This is a test of Tardy: nothing is wrong".to_owned(),
            text: format!("Receiver {receiver} works. Sent by `tardy notify test {receiver}`."),
        },
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}
