//! `tardy render`: the exact message that a receiver would get, without sending it.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::output::{Output, Tone};
use super::{Context, ExitCode, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::engine::notification::{AlertView, Notification, Reason};
use crate::engine::rule::Rule;
use crate::notify::message::Message;
use crate::notify::{
    self, BuildContext, Delivery, Preview, PreviewForm, Receiver, Writer, sample, text,
};

/// Options of `tardy render`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes the newest open alert of the rule, from the running bot or from the store; when there is none, an alert
as the rule might raise it, with made-up facts, and says so. First the text, as people read it; then what
would be sent, indented; left out is what is known only then: where a first message stands, parts in its
thread, what a pager has open, keys. The HTML of a mail is written to a file. No
secret is shown. docs/templates.md describes how a receiver gets texts of its own.

Reasons: first, new_alerts, escalated, upgraded, changed, some_resolved, resolved, reminder, flapping,
rule_removed, undeliverable, acknowledged, silenced.

Exits with 1 when a template fails for this message, with 2 when there is no such receiver or rule.

Examples:
  tardy render team-slack run-failed
  tardy render leads nightly-on-time --reason resolved --out mails
  tardy render team-slack run-failed --json")]
pub(super) struct RenderArgs {
    /// The receiver's name in the configuration
    receiver: String,
    /// The rule's name
    rule: String,
    /// Why it is sent
    #[arg(long, default_value = "first", value_parser = reason)]
    reason: Reason,
    /// Folder for the HTML of a mail [default: a new one among the temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show a made-up alert, also when there is a real one
    #[arg(long)]
    sample: bool,
}

fn reason(text: &str) -> Result<Reason, String> {
    let wanted = if text == "resolved" {
        "all_resolved"
    } else {
        text
    };
    let reasons = sample::REASONS.iter();
    let found = reasons
        .clone()
        .find(|reason| reason.as_str() == wanted.replace('-', "_"));
    found.copied().ok_or_else(|| {
        let words: Vec<&str> = reasons.map(|reason| reason.as_str()).collect();
        not_found("reason", text, &words)
    })
}

/// `there is no rule `x`; did you mean `y`? The rules are …`
fn not_found(what: &str, asked: &str, names: &[&str]) -> String {
    const MOST: usize = 40;
    let near = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, asked), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(asked.len()) / 2);
    let hint = near.map_or(String::new(), |(_, name)| {
        format!("; did you mean `{name}`?")
    });
    let mut text = format!("there is no {what} `{asked}`{hint} The {what}s are ");
    if hint.is_empty() {
        text = format!("there is no {what} `{asked}`; the {what}s are ");
    }
    let _ = write!(text, "{}", names[..names.len().min(MOST)].join(", "));
    if names.len() > MOST {
        let _ = write!(text, " and {} more", names.len() - MOST);
    }
    text
}

pub(super) fn run(args: &RenderArgs, context: &Context) -> ExitCode {
    show(args, context).unwrap_or_else(|code| code)
}

/// What is shown.
struct Rendered<'a> {
    receiver: &'a Receiver,
    rule: &'a Rule,
    notification: Notification,
    message: Message,
    /// Why a made-up alert is shown, if it is.
    sample: Option<String>,
    parts: Vec<Preview>,
    /// Why there are no parts.
    why_none: Option<String>,
}

fn show(args: &RenderArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let config = state::load_config(context)?;
    let receiver = find(
        &config.receivers,
        "receiver",
        &args.receiver,
        context,
        |receiver| &receiver.name,
    )?;
    let rule = find(&config.policy.rules, "rule", &args.rule, context, |rule| {
        &rule.name
    })?;
    let now = SystemClock::default().now();
    let (alert, sample) = alert(args, &config, rule, context);
    let alert = alert.unwrap_or_else(|| sample::of_rule(rule, now));
    let notification = sample::told(&receiver.name, args.reason, alert, now);
    let message = Writer::new(config.timezone, &receiver.template).message(&notification);
    let (parts, why_none) = match parts(&config, receiver, &notification, context)? {
        Ok(parts) => (parts, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let rendered = Rendered {
        receiver,
        rule,
        notification,
        message,
        sample,
        parts,
        why_none,
    };
    if context.out.is_json {
        context.out.json(&as_json(&rendered));
    } else {
        print(&rendered, args, context)?;
    }
    Ok(match rendered.message.note {
        Some(_) => ExitCode::Failed,
        None => ExitCode::Fine,
    })
}

fn find<'a, T>(
    all: &'a [T],
    what: &str,
    asked: &str,
    context: &Context,
    name: impl Fn(&T) -> &str,
) -> Result<&'a T, ExitCode> {
    if let Some(found) = all.iter().find(|item| name(item) == asked) {
        return Ok(found);
    }
    let names: Vec<&str> = all.iter().map(&name).collect();
    context
        .out
        .error(&text::clean(&not_found(what, asked, &names)));
    Err(ExitCode::Problems)
}

/// The newest open alert, or why there is none to show.
fn alert(
    args: &RenderArgs,
    config: &Config,
    rule: &Rule,
    context: &Context,
) -> (Option<AlertView>, Option<String>) {
    if args.sample {
        return (None, Some("as asked for".to_owned()));
    }
    match state::newest_alert(config, &rule.name, context) {
        Ok(Some(alert)) => (Some(alert), None),
        Ok(None) => (None, Some("no alert of the rule is open".to_owned())),
        Err(why) => (None, Some(format!("no alert could be looked up: {why}"))),
    }
}

/// What would be sent, or why that cannot be said.
fn parts(
    config: &Config,
    receiver: &Receiver,
    notification: &Notification,
    context: &Context,
) -> Result<Result<Vec<Preview>, String>, ExitCode> {
    let mut build = BuildContext::new(config.timezone, Output::error_console(), false);
    build.owners = config.policy.owners.clone().into();
    let runtime = state::runtime(context)?;
    let delivery = Delivery {
        notification,
        handle: None,
        attempt: 1,
        is_uncertain: false,
        chart: None,
    };
    let _inside = runtime.enter();
    Ok(match notify::build(receiver, &build) {
        Ok(notifier) => Ok(notifier.preview(delivery)),
        Err(error) => Err(error.to_string()),
    })
}

fn as_json(rendered: &Rendered<'_>) -> Value {
    let message = &rendered.message;
    let part = |part: &Preview| {
        let content = match part.form {
            PreviewForm::Json => serde_json::from_str(&part.text).unwrap_or(Value::Null),
            PreviewForm::Html | PreviewForm::Headers | PreviewForm::Text => json!(part.text),
        };
        json!({ "title": part.title, "form": part.form.as_str(), "content": content })
    };
    json!({
        "receiver": &*rendered.receiver.name,
        "kind": rendered.receiver.kind.name(),
        "rule": &*rendered.rule.name,
        "reason": rendered.notification.reason.as_str(),
        "alert": message.lead_id(),
        "sample": rendered.sample,
        "first_line": message.first_line,
        "text": message.plain(usize::MAX),
        "template_error": message.note,
        "sent": rendered.parts.iter().map(part).collect::<Vec<_>>(),
        "not_shown": rendered.why_none,
    })
}

fn print(rendered: &Rendered<'_>, args: &RenderArgs, context: &Context) -> Result<(), ExitCode> {
    let out = &context.out;
    let id = rendered.message.lead_id().unwrap_or_default();
    let what = match &rendered.sample {
        Some(why) => format!("a made-up alert ({why})"),
        None => format!("alert {id}"),
    };
    let head = format!(
        "{} ({}), rule {}, reason {}: {what}",
        rendered.receiver.name,
        rendered.receiver.kind.name(),
        rendered.rule.name,
        rendered.notification.reason.as_str().replace('_', " "),
    );
    out.line(&out.paint(Tone::Dim, &text::clean(&head)));
    out.line("");
    out.line(&text::clean(&rendered.message.plain(usize::MAX)));
    for part in &rendered.parts {
        out.line("");
        out.line(&out.paint(Tone::Bold, &format!("{}:", part.title)));
        match part.form {
            PreviewForm::Json => out.line(&visible(&indented(&part.text))),
            PreviewForm::Headers | PreviewForm::Text => out.line(&text::clean(&part.text)),
            PreviewForm::Html => {
                let path = write_html(&part.text, rendered, args, context);
                let path = path.map_err(|why| {
                    out.error(&why);
                    ExitCode::Failed
                })?;
                out.line(&path.display().to_string());
            }
        }
    }
    if let Some(why) = &rendered.why_none {
        out.note(&format!("what would be sent cannot be shown: {why}"));
    }
    if let Some(note) = &rendered.message.note {
        out.error(note);
    }
    Ok(())
}

/// Writes the HTML; says where.
fn write_html(
    html: &str,
    rendered: &Rendered<'_>,
    args: &RenderArgs,
    context: &Context,
) -> Result<PathBuf, String> {
    let folder = match &args.out {
        Some(folder) => {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            folder.clone()
        }
        None => new_folder(Path::new(
            context.environment.get("TMPDIR").unwrap_or("/tmp"),
        ))?,
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = format!("{}-{}", rendered.receiver.name, rendered.rule.name);
    let name: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let path = folder.join(format!("{name}.html"));
    let written = std::fs::write(&path, html);
    written.map_err(|error| {
        format!(
            "cannot write {}: {error}; name another folder with --out",
            path.display()
        )
    })?;
    Ok(path)
}

/// A folder that nobody else has made, or can look into.
fn new_folder(below: &Path) -> Result<PathBuf, String> {
    let mut last = String::new();
    for number in 0..100 {
        let path = below.join(format!("tardy-render-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!(
        "cannot make a folder in {}: {last}; name one with --out",
        below.display()
    ))
}

/// JSON as it is, in the order in which it is sent, on lines.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if is_text {
            text.push(c);
            is_text = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        let is_empty = matches!((c, chars.peek()), ('{', Some('}')) | ('[', Some(']')));
        match c {
            '{' | '[' if !is_empty => {
                depth += 1;
                text.push(c);
                new_line(&mut text, depth);
            }
            '}' | ']' if !text.ends_with(['{', '[']) => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c => {
                is_text = c == '"';
                text.push(c);
            }
        }
    }
    text
}

/// JSON whose characters can all be seen: what shows nothing, or would move the cursor, as its escape, which says
/// the same.
fn visible(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        let is_seen = c.is_ascii_graphic() || matches!(c, ' ' | '\n');
        if is_seen || !text::clean(c.encode_utf8(&mut [0; 4])).trim().is_empty() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown_as_its_escape() {
        let json = "{\"a\":\"@\u{200b}everyone \u{202e}x\u{9b}é🚀\u{e0041}\"}";
        let shown = visible(json);
        assert_eq!(
            shown,
            "{\"a\":\"@\\u200beveryone \\u202ex\\u009bé🚀\\udb40\\udc41\"}"
        );
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(json));
    }

    #[test]
    fn json_is_shown_in_its_order() {
        let json = r#"{"b":[1,{"a":"x\"{,:[\\"}],"a":{},"c":[],"d":null}"#;
        let shown = indented(json);
        assert!(
            shown.starts_with("{\n  \"b\": [\n    1,\n    {\n"),
            "{shown}"
        );
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(json));
        let packed: String = shown.replace(": ", ":").lines().map(str::trim).collect();
        assert_eq!(packed, json);
    }
}
