//! The platforms' limits, written a second time and checked on what was really sent. Shares nothing with the
//! code under test.

use serde_json::Value;

type Check = Result<(), String>;

fn ensure(holds: bool, what: &str) -> Check {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// The larger of both ways to count.
fn length(text: &str) -> usize {
    text.chars().count().max(text.encode_utf16().count())
}

fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A Slack message with or without blocks.
pub(crate) fn check_slack(payload: &Value) -> Check {
    let text = str_of(&payload["text"]);
    ensure(!text.is_empty(), "text missing")?;
    ensure(length(text) <= 4_000, "text too long")?;
    check_mrkdwn(text)?;
    let Some(blocks) = payload["blocks"].as_array() else {
        return Ok(());
    };
    ensure(!blocks.is_empty() && blocks.len() <= 50, "number of blocks")?;
    let size = length(&payload["blocks"].to_string());
    ensure(size <= 13_000, "msg_blocks_too_long")?;
    blocks.iter().try_for_each(check_block)
}

fn check_block(block: &Value) -> Check {
    match str_of(&block["type"]) {
        "divider" => Ok(()),
        "header" => {
            ensure(
                block["text"]["type"] == "plain_text",
                "header is not plain_text",
            )?;
            check_text(&block["text"], 150)
        }
        "section" => {
            let fields = block["fields"].as_array();
            ensure(
                block.get("text").is_some() || fields.is_some(),
                "empty section",
            )?;
            if block.get("text").is_some() {
                check_text(&block["text"], 3_000)?;
            }
            let fields = fields.cloned().unwrap_or_default();
            ensure(fields.len() <= 10, "too many fields")?;
            fields.iter().try_for_each(|field| check_text(field, 2_000))
        }
        "context" => {
            let elements = block["elements"].as_array().cloned().unwrap_or_default();
            ensure((1..=10).contains(&elements.len()), "context elements")?;
            elements
                .iter()
                .try_for_each(|element| check_text(element, 2_000))
        }
        "actions" => check_actions(block),
        other => Err(format!("unknown block {other}")),
    }
}

fn check_actions(block: &Value) -> Check {
    ensure(length(str_of(&block["block_id"])) <= 255, "block_id")?;
    let elements = block["elements"].as_array().cloned().unwrap_or_default();
    ensure((1..=25).contains(&elements.len()), "actions elements")?;
    let mut ids = std::collections::BTreeSet::new();
    for button in &elements {
        ensure(button["type"] == "button", "unknown element")?;
        let id = str_of(&button["action_id"]);
        ensure((1..=255).contains(&length(id)), "action_id")?;
        ensure(ids.insert(id.to_owned()), "action_id twice")?;
        check_text(&button["text"], 75)?;
        ensure(length(str_of(&button["value"])) <= 2_000, "button value")?;
    }
    Ok(())
}

/// Metadata of a Slack message: flat, short, and without what looks like a secret.
pub(crate) fn check_slack_metadata(metadata: &Value) -> Check {
    if metadata.is_null() {
        return Ok(());
    }
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = str_of(&metadata["event_type"]);
    ensure(!name.is_empty() && is_name(name), "event_type")?;
    let payload = metadata["event_payload"].as_object();
    let payload = payload.ok_or("event_payload")?;
    let is_flat = |value: &Value| value.is_string() || value.is_number();
    ensure(payload.values().all(is_flat), "event_payload is not flat")?;
    ensure(metadata.to_string().len() <= 1_024, "metadata_too_large")
}

fn check_text(object: &Value, limit: usize) -> Check {
    let text = str_of(&object["text"]);
    ensure(!text.trim().is_empty(), "empty text")?;
    ensure(length(text) <= limit, "text object too long")?;
    match str_of(&object["type"]) {
        "plain_text" => {
            ensure(!text.contains(['<', '>']), "markup from data")?;
            ensure(object["emoji"] == false, "data could become emoji")
        }
        "mrkdwn" => check_mrkdwn(text),
        other => Err(format!("unknown text {other}")),
    }
}

/// Every `<` begins a link of ours or a configured mention.
fn check_mrkdwn(text: &str) -> Check {
    for part in text.split('<').skip(1) {
        let (inside, _) = part.split_once('>').ok_or("unclosed <")?;
        let is_link = inside.starts_with("http")
            && (inside.ends_with("|run") || inside.ends_with("|runbook"))
            && inside.matches('|').count() == 1;
        ensure(
            is_link || inside == "!subteam^S0FINANCE",
            &format!("markup from data: <{inside}>"),
        )?;
    }
    Ok(())
}

/// A Discord message body, posted or edited.
pub(crate) fn check_discord(body: &Value) -> Check {
    let content = str_of(&body["content"]);
    ensure(length(content) <= 2_000, "content too long")?;
    let embeds = body["embeds"].as_array().cloned().unwrap_or_default();
    ensure(
        !content.trim().is_empty() || !embeds.is_empty(),
        "empty message",
    )?;
    ensure(embeds.len() <= 10, "too many embeds")?;
    ensure(
        body["allowed_mentions"]["parse"] == serde_json::json!([]),
        "mentions are parsed",
    )?;
    let attachments = body["attachments"].as_array();
    for attachment in attachments.into_iter().flatten() {
        let description = str_of(&attachment["description"]);
        ensure(
            length(description) <= 1_024,
            "description of a file too long",
        )?;
        let id = str_of(&attachment["id"]);
        ensure(id.parse::<u64>().is_ok(), "a file without id")?;
    }
    let sizes: Result<Vec<usize>, String> = embeds.iter().map(check_embed).collect();
    ensure(
        sizes?.iter().sum::<usize>() <= 6_000,
        "embeds too long together",
    )
}

fn check_embed(embed: &Value) -> Result<usize, String> {
    let mut total = 0;
    let mut part = |text: &Value, limit: usize, what: &str| {
        let length = length(str_of(text).trim());
        total += length;
        ensure(length <= limit, what)
    };
    part(&embed["title"], 256, "title")?;
    part(&embed["description"], 4_096, "description")?;
    part(&embed["footer"]["text"], 2_048, "footer")?;
    part(&embed["author"]["name"], 256, "author")?;
    let fields = embed["fields"].as_array().cloned().unwrap_or_default();
    ensure(fields.len() <= 25, "too many fields")?;
    for field in &fields {
        ensure(
            !str_of(&field["name"]).trim().is_empty(),
            "field without name",
        )?;
        ensure(
            !str_of(&field["value"]).trim().is_empty(),
            "field without value",
        )?;
        part(&field["name"], 256, "field name")?;
        part(&field["value"], 1_024, "field value")?;
    }
    Ok(total)
}
