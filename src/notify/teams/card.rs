//! The Adaptive Card of a message.
//!
//! Version 1.2, the newest that Teams shows on phones. Whatever was not written by Tardy stands in a
//! `TextRun`: a `TextBlock`, and a `FactSet` too, would read it as Markdown. A text of several lines becomes an
//! element for each line, because clients differ in what a line feed in a run means.

use serde_json::{Value, json};

use crate::notify::limits::teams as limits;
use crate::notify::message::{BodySpan, Card, Detail, Message, Runbook, Tone};
use crate::notify::text;

/// The whole message. `first` names the conversation in every message but the first; `mentioned` are
/// checked user names.
pub(super) fn message(message: &Message, first: Option<&str>, mentioned: &[&str]) -> Value {
    let first_line = match first {
        Some(first) if !message.is_opening => format!("Update on {first}: {}", message.first_line),
        _ => message.first_line.clone(),
    };
    let mut body = vec![heading(message, &first_line)];
    body.extend(mentions(mentioned));
    body.extend(
        message
            .notice
            .iter()
            .flat_map(|notice| notice_lines(notice)),
    );
    let entities: Vec<Value> = mentioned.iter().map(|user| mention(user)).collect();
    let envelope = |body: Vec<Value>| {
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "fallbackText": escape(&first_line),
                    "msteams": { "width": "Full", "entities": entities },
                    "body": body,
                },
            }],
        })
    };
    let shown = add_cards(&mut body, message, weight(&envelope(Vec::new())));
    if let Some(more) = message.remainder(shown) {
        body.push(paragraph(&[plain(&more)]));
    }
    envelope(body)
}

fn heading(message: &Message, first_line: &str) -> Value {
    let summary = format!("{} {}", message.tone.sign(), message.summary);
    json!({
        "type": "Container",
        "style": style(message.tone),
        "bleed": true,
        "items": [
            paragraph(&[json!({
                "type": "TextRun", "text": first_line, "weight": "Bolder", "size": "Medium",
            })]),
            paragraph(&[plain(&summary)]),
        ],
    })
}

/// The colour; the summary begins with the word.
fn style(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "attention",
        Tone::Warning => "warning",
        Tone::Info => "accent",
        Tone::Resolved => "good",
        Tone::Notice => "emphasis",
    }
}

/// The only Markdown of a card, and all of it ours.
fn mentions(users: &[&str]) -> Option<Value> {
    let texts: Vec<String> = users
        .iter()
        .map(|user| format!("<at>{user}</at>"))
        .collect();
    let text = texts.join(" ");
    (!text.is_empty()).then(|| json!({ "type": "TextBlock", "text": text, "wrap": true }))
}

fn mention(user: &str) -> Value {
    json!({
        "type": "mention",
        "text": format!("<at>{user}</at>"),
        "mentioned": { "id": user, "name": user },
    })
}

/// Adds as many cards as fit, in as much detail as fits; says how many.
fn add_cards(body: &mut Vec<Value>, message: &Message, envelope: usize) -> usize {
    // The line about the rest comes last and must fit too.
    let rest = paragraph(&[plain(&message.remainder(0).unwrap_or_default())]);
    let mut used = envelope + weight(&rest) + body.iter().map(weight).sum::<usize>();
    if message.body.is_some() {
        add_own_text(body, message, used);
        return message.cards.len();
    }
    for (index, card) in message.cards.iter().enumerate() {
        let details = match index {
            0..3 => &[Detail::Full, Detail::Brief, Detail::Minimal][..],
            _ => &[Detail::Brief, Detail::Minimal],
        };
        let fitting = details.iter().find_map(|detail| {
            let added = container(&card.at(*detail), message);
            let size = weight(&added);
            (used + size <= limits::BYTES).then_some((added, size))
        });
        let Some((added, size)) = fitting else {
            return index;
        };
        body.push(added);
        used += size;
    }
    message.cards.len()
}

/// Adds the receiver's own text in place of the cards, as far as it fits.
fn add_own_text(body: &mut Vec<Value>, message: &Message, mut used: usize) {
    for line in message.body_lines() {
        let parts = line.into_iter().map(|span| match span {
            BodySpan::Text(text) | BodySpan::Link(text, _) => text,
        });
        let text = parts.collect::<String>();
        if text.trim().is_empty() {
            continue;
        }
        let added = paragraph(&[plain(&text)]);
        used += weight(&added);
        if used > limits::BYTES {
            return;
        }
        body.push(added);
    }
}

/// Bytes as JSON with the comma behind it, as UTF-8 or UTF-16, whichever is more.
fn weight(value: &Value) -> usize {
    let json = value.to_string();
    json.len().max(2 * text::measure(&json)) + 2
}

fn container(card: &Card, message: &Message) -> Value {
    let mut items = Vec::new();
    if let Some(title) = message.title(card) {
        items.push(paragraph(&[bold(&format!("{} {title}", card.tone.sign()))]));
    }
    for fact in card.facts.iter().chain([&card.duration]) {
        let name = bold(&format!("{}: ", fact.name));
        items.push(paragraph(&[name, plain(&fact.value)]));
    }
    items.extend(card.description.iter().flat_map(|text| head_lines(text)));
    items.extend(card.error.iter().flat_map(|text| error_lines(text)));
    items.push(paragraph(&[subtle(&origins(card))]));
    let actions = actions(card);
    if !actions.is_empty() {
        items.push(json!({ "type": "ActionSet", "actions": actions }));
    }
    json!({ "type": "Container", "separator": true, "items": items })
}

/// Where it comes from, and where to read on.
fn origins(card: &Card) -> String {
    let mut parts = vec![format!("rule {}", card.rule_with_origin())];
    if card.hidden_facts > 0 {
        parts.push(format!("{} more facts", card.hidden_facts));
    }
    parts.extend(card.notes.iter().cloned());
    parts.extend(card.owner.as_ref().map(|owner| format!("owner {owner}")));
    if let Some(Runbook::Text(words)) = &card.runbook {
        parts.push(format!("runbook {words}"));
    }
    parts.push(format!("why: {}", card.why_command()));
    parts.join(" · ")
}

fn actions(card: &Card) -> Vec<Value> {
    let open =
        |url: &String, title| json!({ "type": "Action.OpenUrl", "title": title, "url": url });
    let runbook = match &card.runbook {
        Some(Runbook::Link(url)) => Some(open(url, "Runbook")),
        Some(Runbook::Text(_)) | None => None,
    };
    let run = card.run_url.as_ref().map(|url| open(url, "Run"));
    run.into_iter().chain(runbook).collect()
}

fn paragraph(runs: &[Value]) -> Value {
    json!({ "type": "RichTextBlock", "spacing": "Small", "inlines": runs })
}

fn plain(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text })
}

fn bold(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "weight": "Bolder" })
}

fn subtle(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "isSubtle": true, "size": "Small" })
}

/// The first lines of a text.
fn head_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut shown: Vec<Value> = lines
        .clone()
        .take(limits::LINES)
        .map(|line| paragraph(&[plain(line)]))
        .collect();
    if lines.count() > limits::LINES {
        shown.push(paragraph(&[plain("…")]));
    }
    shown
}

/// A notice or a digest, as far as it fits beside the head and what is counted.
fn notice_lines(text: &str) -> Vec<Value> {
    let mut left = limits::BYTES - limits::BYTES / 4;
    let mut shown = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line = paragraph(&[plain(line)]);
        let size = weight(&line);
        if size > left {
            shown.push(paragraph(&[plain("…")]));
            break;
        }
        left -= size;
        shown.push(line);
    }
    shown
}

/// The last lines of an error, where it says what went wrong, with their indentation.
fn error_lines(error: &str) -> Vec<Value> {
    let lines: Vec<&str> = error
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(limits::LINES)..];
    let line = |line: &&str| {
        let words = line.trim_start();
        let indent = "\u{a0}".repeat(line.len() - words.len());
        let text = format!("{indent}{words}");
        json!({
            "type": "RichTextBlock",
            "spacing": "None",
            "inlines": [{ "type": "TextRun", "text": text, "fontType": "Monospace" }],
        })
    };
    last.iter().map(line).collect()
}

/// Untrusted text where Markdown would be read: every sign of ASCII is escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_apart_and_bounded() {
        let many: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        let many = many.join("\n");
        let head = head_lines(&many);
        assert_eq!(head.len(), limits::LINES + 1);
        assert_eq!(head[0]["inlines"][0]["text"], "line 0");
        let error = error_lines(&format!("{many}\n\n  the end"));
        assert_eq!(error.len(), limits::LINES);
        let last = &error[limits::LINES - 1]["inlines"][0]["text"];
        assert_eq!(last, "\u{a0}\u{a0}the end");
        assert!(head_lines(" \n").is_empty() && error_lines("\n").is_empty());
    }

    #[test]
    fn what_would_be_markdown_is_escaped() {
        assert_eq!(
            escape("[a](http://x) <at>b</at>"),
            "\\[a\\]\\(http\\:\\/\\/x\\) \\<at\\>b\\<\\/at\\>"
        );
    }

    #[test]
    fn a_card_weighs_what_the_stricter_count_says() {
        assert_eq!(weight(&json!("abcd")), 2 * 6 + 2);
        assert_eq!(weight(&json!("数数数数")), 14 + 2);
    }
}
