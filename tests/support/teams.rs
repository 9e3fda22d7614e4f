//! A fake of a workflow that posts to a Teams channel. As the real one it accepts whatever has the right form
//! and posts afterwards: what Teams would refuse is a failed run, which the caller never hears of. Shares
//! nothing with the code under test.

use serde_json::{Value, json};

/// Bytes of a post; Microsoft says "approximately 28 KB".
const POST_BYTES: usize = 28 * 1024;

#[derive(Default)]
pub(crate) struct Workflow {
    posts: Vec<Value>,
    failed: Vec<String>,
}

impl Workflow {
    /// Cards in the channel, oldest first.
    pub(crate) fn posts(&self) -> Vec<Value> {
        self.posts.clone()
    }

    /// Why runs of the workflow failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.failed.clone()
    }

    /// Status and body of the answer.
    pub(crate) fn take(
        &mut self,
        query: &str,
        body: &str,
        secret: &str,
        is_revoked: bool,
    ) -> (u16, Option<Value>) {
        let refuse = |status, code: &str, message: &str| {
            let error = json!({ "error": { "code": code, "message": message } });
            (status, Some(error))
        };
        if is_revoked {
            let message = format!("The workflow '{secret}' could not be found.");
            return refuse(404, "WorkflowNotFound", &message);
        }
        if !query.split('&').any(|pair| pair == format!("sig={secret}")) {
            let message = "The authentication credentials are not valid.";
            return refuse(401, "DirectApiInvalidAuthorizationScheme", message);
        }
        let Ok(message) = serde_json::from_str::<Value>(body) else {
            return refuse(400, "InvalidRequestContent", "not JSON");
        };
        for attachment in message["attachments"].as_array().into_iter().flatten() {
            match check_message(&message) {
                Ok(()) => self.posts.push(attachment["content"].clone()),
                Err(why) => self.failed.push(why),
            }
        }
        (202, None)
    }
}

type Check = Result<(), String>;

fn ensure(holds: bool, what: &str) -> Check {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What Teams would post, with no markup from data in it.
pub(crate) fn check_message(message: &Value) -> Check {
    let json = message.to_string();
    let size = json.len().max(json.encode_utf16().count() * 2);
    ensure(
        size <= POST_BYTES,
        &format!("RequestEntityTooLarge: {size}"),
    )?;
    ensure(message["type"] == "message", "no message")?;
    let attachments = message["attachments"].as_array().ok_or("no attachments")?;
    ensure(attachments.len() == 1, "one card")?;
    let attachment = &attachments[0];
    ensure(
        attachment["contentType"] == "application/vnd.microsoft.card.adaptive",
        "contentType",
    )?;
    ensure(attachment["contentUrl"].is_null(), "contentUrl")?;
    let card = &attachment["content"];
    ensure(card["type"] == "AdaptiveCard", "no card")?;
    ensure(card["version"] == "1.2", "phones show 1.2 at most")?;
    ensure(
        is_escaped(text(&card["fallbackText"])),
        "fallbackText is Markdown",
    )?;
    let entities = card["msteams"]["entities"].as_array().ok_or("entities")?;
    let mentions: Vec<&str> = entities
        .iter()
        .map(|entity| text(&entity["text"]))
        .collect();
    for entity in entities {
        let user = text(&entity["mentioned"]["id"]);
        ensure(entity["type"] == "mention" && user.contains('@'), "mention")?;
        ensure(
            entity["text"] == format!("<at>{user}</at>"),
            "text of a mention",
        )?;
    }
    let body = card["body"].as_array().ok_or("no body")?;
    ensure(!body.is_empty(), "empty body")?;
    body.iter()
        .try_for_each(|element| check_element(element, &mentions))
}

fn check_element(element: &Value, mentions: &[&str]) -> Check {
    match text(&element["type"]) {
        "Container" => {
            let styles = [
                "default",
                "emphasis",
                "good",
                "attention",
                "warning",
                "accent",
            ];
            let style = element.get("style").map_or("default", text);
            ensure(styles.contains(&style), "style of a container")?;
            let items = element["items"].as_array().ok_or("no items")?;
            ensure(!items.is_empty(), "empty container")?;
            items
                .iter()
                .try_for_each(|item| check_element(item, mentions))
        }
        "RichTextBlock" => {
            let runs = element["inlines"].as_array().ok_or("no inlines")?;
            ensure(!runs.is_empty(), "empty paragraph")?;
            runs.iter().try_for_each(|run| {
                ensure(run["type"] == "TextRun", "inline that is no run")?;
                ensure(run.get("selectAction").is_none(), "a run that acts")?;
                ensure(!text(&run["text"]).is_empty(), "empty run")?;
                ensure(!text(&run["text"]).contains('\n'), "line feed in a run")
            })
        }
        // Markdown is read here: nothing but mentions that have an entity.
        "TextBlock" => text(&element["text"])
            .split(' ')
            .try_for_each(|word| ensure(mentions.contains(&word), "Markdown from data")),
        "ActionSet" => {
            let actions = element["actions"].as_array().ok_or("no actions")?;
            ensure((1..=6).contains(&actions.len()), "number of actions")?;
            actions.iter().try_for_each(|action| {
                ensure(action["type"] == "Action.OpenUrl", "an action that does")?;
                ensure(text(&action["url"]).starts_with("http"), "url of an action")?;
                ensure(
                    ["Run", "Runbook"].contains(&text(&action["title"])),
                    "title",
                )
            })
        }
        other => Err(format!("unknown element {other}")),
    }
}

/// No sign of Markdown without a backslash before it.
fn is_escaped(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '_' | '[' | ']' | '(' | ')' | '<' | '>' | '#' | '`' | '~' => return false,
            _ => {}
        }
    }
    true
}
