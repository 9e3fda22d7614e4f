//! What people see of a message, as lines of text: what each platform makes of a payload, without its markup.

use serde_json::Value;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `<https://…|run>` as `run`, and no quotation marks of code.
fn plain(markup: &str) -> String {
    let mut shown = String::new();
    let mut rest = markup;
    while let Some((before, after)) = rest.split_once('<') {
        shown.push_str(before);
        let (link, after) = after.split_once('>').unwrap();
        shown.push_str(link.rsplit('|').next().unwrap());
        rest = after;
    }
    shown.push_str(rest);
    let shown = shown.replace("```\n", "").replace("\n```", "");
    let shown = shown.replace('`', "").replace("&gt;", ">");
    shown.replace("&lt;", "<").replace("&amp;", "&")
}

/// Discord's Markdown: `[run](https://…)` as `run`, and no backslashes.
fn unmarked(markdown: &str) -> String {
    let mut shown = markdown.replace(['\\', '`'], "");
    while let Some((before, after)) = shown.split_once("](https://") {
        let (start, words) = before.rsplit_once('[').unwrap();
        let (_, rest) = after.split_once(')').unwrap();
        shown = format!("{start}{words}{rest}");
    }
    shown
}

/// A message with its blocks; one without shows its text.
pub(crate) fn slack(message: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for block in items(&message["blocks"]) {
        let kind = text(&block["type"]);
        let elements = items(&block["elements"]).iter();
        let shown: Vec<String> = match kind {
            "divider" => vec![String::new()],
            "actions" => {
                let buttons = elements.map(|button| format!("[{}]", text(&button["text"]["text"])));
                vec![buttons.collect::<Vec<_>>().join(" ")]
            }
            "context" => {
                let parts = elements.map(|part| plain(text(&part["text"])));
                vec![parts.collect::<Vec<_>>().join(" · ")]
            }
            _ => {
                let fields = items(&block["fields"]).iter().map(|field| &field["text"]);
                let own = block.get("text").map(|own| &own["text"]);
                own.into_iter().chain(fields).map(text).map(plain).collect()
            }
        };
        lines.extend(
            shown
                .iter()
                .flat_map(|part| part.split('\n').map(str::to_owned)),
        );
    }
    if lines.is_empty() {
        lines.extend(text(&message["text"]).lines().map(plain));
    }
    lines
}

pub(crate) fn discord(message: &Value) -> Vec<String> {
    let mut lines: Vec<String> = text(&message["content"]).lines().map(unmarked).collect();
    for embed in items(&message["embeds"]) {
        lines.push(String::new());
        lines.push(unmarked(text(&embed["title"])));
        lines.extend(
            text(&embed["description"])
                .split('\n')
                .filter(|line| *line != "```")
                .map(unmarked),
        );
        let fields = items(&embed["fields"]).iter();
        lines.extend(fields.map(|field| {
            format!(
                "{}: {}",
                text(&field["name"]),
                unmarked(text(&field["value"]))
            )
        }));
        lines.push(unmarked(text(&embed["footer"]["text"])));
    }
    lines
}

/// A card: its paragraphs, and its buttons.
pub(crate) fn teams(card: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for element in items(&card["body"]) {
        put_teams(element, &mut lines);
    }
    lines
}

fn put_teams(element: &Value, lines: &mut Vec<String>) {
    match text(&element["type"]) {
        "Container" => {
            for item in items(&element["items"]) {
                put_teams(item, lines);
            }
        }
        "ActionSet" => {
            let buttons = items(&element["actions"]).iter();
            let buttons = buttons.map(|button| format!("[{}]", text(&button["title"])));
            lines.push(buttons.collect::<Vec<_>>().join(" "));
        }
        "TextBlock" => lines.push(
            text(&element["text"])
                .replace("<at>", "@")
                .replace("</at>", ""),
        ),
        _ => lines.push(
            items(&element["inlines"])
                .iter()
                .map(|run| text(&run["text"]))
                .collect(),
        ),
    }
}
