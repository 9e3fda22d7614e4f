//! Slack through an incoming webhook.
//!
//! A webhook returns no reference to what it posted: nothing can be edited, threaded or deleted. So every
//! notification is a new message, and from the second on it names the first: `Update on k3x9pq: …`.
//! Layout is Block Kit within Slack's limits. Untrusted text stands in plain-text objects or code, everywhere
//! with `& < >` escaped, which also takes mentions and links apart.

use std::pin::Pin;

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{self, Attempt, Client, Endpoint, Reply};
use super::limits::slack as limits;
use super::message::{BodySpan, Card, Detail, Message, Runbook};
use super::{
    BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, Preview, PreviewForm, Writer,
    text,
};
use crate::engine::route::Owner;

/// Posts to an incoming webhook.
pub(super) struct SlackWebhook {
    client: Client,
    writer: Writer,
    owners: std::sync::Arc<[Owner]>,
}

/// What is kept of the first message: the id by which later ones name it.
#[derive(Serialize, Deserialize)]
struct Reference {
    first: String,
}

impl SlackWebhook {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(Endpoint::new(url, receiver, true)?, context)?,
            writer: context.writer(),
            owners: context.owners.clone(),
        })
    }

    /// The payload, and what is to be kept of the first message.
    fn payload(&self, delivery: Delivery<'_>) -> (Value, Option<String>) {
        let message = self.writer.message(delivery.notification);
        let known = delivery.handle.and_then(reference);
        let first = known
            .clone()
            .or_else(|| message.lead_id().map(str::to_owned));
        let mentions = mentions(&message, &self.owners);
        let payload = payload(&message, first.as_deref(), &mentions);
        (payload, first.filter(|_| known.is_none()))
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let (payload, first) = self.payload(delivery);
        let attempt = self.client.attempt();
        let mut reply = self.post(&attempt, &payload).await?;
        if reply.status == StatusCode::BAD_REQUEST && is_about_content(&reply) {
            // Better plain than lost.
            let plain = json!({ "text": payload["text"] });
            reply = self.post(&attempt, &plain).await?;
        }
        Ok(self.outcome(&reply, first))
    }

    async fn post(&self, attempt: &Attempt<'_>, payload: &Value) -> Result<Reply, Outcome> {
        let url = self.client.endpoint().url().clone();
        let body = payload.to_string().into_bytes();
        attempt.send(http::json(Method::POST, url, body)).await
    }

    fn outcome(&self, reply: &Reply, first: Option<String>) -> Outcome {
        let said = reply.text();
        let said = said.trim();
        if reply.status == StatusCode::OK && said == "ok" {
            let handle = first.and_then(|first| serde_json::to_value(Reference { first }).ok());
            return Outcome::Delivered {
                handle: handle.map(Handle),
            };
        }
        if reply.status.is_success() && !reply.is_whole {
            return Outcome::Retry {
                after: None,
                why: "the connection broke while Slack answered".to_owned(),
                is_uncertain: true,
            };
        }
        if reply.status.is_success() {
            return Outcome::Rejected {
                why: "the receiver did not answer `ok`; is its url that of a Slack webhook?".into(),
            };
        }
        match remedy(said) {
            Some(remedy) if reply.status.is_client_error() => Outcome::Rejected {
                why: format!("Slack refused the message ({said}): {remedy}"),
            },
            _ => reply.outcome(&self.client.endpoint().scrub(said)),
        }
    }
}

impl Notifier for SlackWebhook {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            self.attempt(delivery)
                .await
                .unwrap_or_else(|outcome| outcome)
        })
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        vec![Preview {
            title: "POST",
            form: PreviewForm::Json,
            text: self.payload(delivery).0.to_string(),
        }]
    }
}

fn reference(handle: &Handle) -> Option<String> {
    let reference = Reference::deserialize(&handle.0).ok()?;
    Some(reference.first)
}

fn is_about_content(reply: &Reply) -> bool {
    let said = reply.text();
    [
        "invalid_payload",
        "invalid_blocks",
        "too_long",
        "too_many",
        "invalid_attachments",
    ]
    .iter()
    .any(|word| said.contains(word))
}

/// What to do about a refusal.
fn remedy(said: &str) -> Option<&'static str> {
    Some(match said {
        "no_service" | "no_service_id" | "no_active_hooks" | "no_team" | "team_disabled"
        | "invalid_token" => "the webhook was revoked; create a new one and configure its url",
        "channel_not_found" => "its channel is gone; create a webhook for another channel",
        "channel_is_archived" => "its channel is archived; unarchive it or use another webhook",
        "action_prohibited" => "an administrator restricts posting; ask for permission",
        "posting_to_general_channel_denied" => {
            "posting to the general channel is restricted; use a webhook for another channel"
        }
        "user_not_found" => "the user it posts to is gone; create a new webhook",
        "invalid_payload" | "invalid_blocks" | "no_text" => {
            "Slack does not take its form; please report this as a bug of Tardy"
        }
        _ => return None,
    })
}

/// Configured mentions of the owners to mention; only what is one in form.
fn mentions(message: &Message, owners: &[Owner]) -> String {
    let wanted = owners
        .iter()
        .filter(|owner| message.mentioned.iter().any(|name| **name == *owner.name));
    let mentions: Vec<&str> = wanted
        .filter_map(|owner| owner.slack.as_deref())
        .filter(|mention| is_mention(mention))
        .collect();
    mentions.join(" ")
}

fn is_mention(text: &str) -> bool {
    let id = text
        .strip_prefix("<@")
        .or_else(|| text.strip_prefix("<!subteam^"));
    id.and_then(|id| id.strip_suffix('>'))
        .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Untrusted text inside mrkdwn.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Escaped, and cut so that the escaped text fits.
fn escape_within(text: &str, limit: usize) -> String {
    let escaped = escape(text);
    if text::measure(&escaped) <= limit {
        return escaped;
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += match c {
            '&' => 5,
            '<' | '>' => 4,
            c => c.len_utf16(),
        };
        used <= limit
    });
    let kept: String = kept.collect();
    format!("{}…", escape(kept.trim_end()))
}

/// A code span: nothing inside is interpreted, so only what would end it is replaced.
fn code(text: &str) -> String {
    format!(
        "`{}`",
        escape(&text.replace('`', "\u{2cb}").replace('\n', " "))
    )
}

/// A code block; the zero-width spaces keep data from closing it.
fn code_block(text: &str) -> String {
    format!(
        "```\n{}\n```",
        escape(&text.replace("```", "`\u{200b}`\u{200b}`"))
    )
}

/// A link with a label of ours. The address is a checked URL; what would end the link is encoded.
fn link(url: &str, label: &str) -> String {
    let url = url
        .replace('|', "%7C")
        .replace('<', "%3C")
        .replace('>', "%3E");
    format!("<{}|{label}>", url.replace('&', "&amp;"))
}

fn plain_text(text: &str, limit: usize) -> Value {
    json!({ "type": "plain_text", "text": escape_within(text, limit), "emoji": false })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain_text(text, limits::SECTION) })
}

fn mrkdwn_section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

fn context(texts: &[Value]) -> Value {
    json!({ "type": "context", "elements": texts })
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// The whole payload. `first` names the conversation in every message but the first.
fn payload(message: &Message, first: Option<&str>, mentions: &str) -> Value {
    let first_line = match first {
        Some(first) if !message.is_opening => format!("Update on {first}: {}", message.first_line),
        _ => message.first_line.clone(),
    };
    let mut text = format!("{}\n{}", escape(&first_line), escape(&message.summary));
    if !mentions.is_empty() {
        text = format!("{text}\n{mentions}");
    }
    json!({
        "text": text::cut(&text, limits::TEXT),
        "blocks": blocks(message, &first_line, mentions),
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn blocks(message: &Message, first_line: &str, mentions: &str) -> Vec<Value> {
    let mut blocks = vec![json!({
        "type": "header",
        "text": plain_text(first_line, limits::HEADER),
    })];
    if text::measure(&escape(first_line)) > limits::HEADER {
        blocks.push(section(first_line));
    }
    let summary = format!("{} {}", message.tone.sign(), message.summary);
    blocks.push(context(&[plain_text(&summary, limits::FIELD)]));
    if !mentions.is_empty() {
        blocks.push(mrkdwn_section(mentions));
    }
    blocks.extend(message.notice.as_deref().map(section));
    let shown = match &message.body {
        Some(_) => add_body(&mut blocks, message),
        None => add_cards(&mut blocks, message),
    };
    if let Some(more) = message.remainder(shown) {
        blocks.push(context(&[plain_text(&more, limits::FIELD)]));
    }
    blocks
}

/// Adds the receiver's own text in place of the cards: as plain text, or, where it names a link, as mrkdwn in
/// which nothing but that link is interpreted.
fn add_body(blocks: &mut Vec<Value>, message: &Message) -> usize {
    let has_link = message
        .body_lines()
        .iter()
        .flatten()
        .any(|span| matches!(span, BodySpan::Link(..)));
    let piece = |span: BodySpan<'_>| match span {
        BodySpan::Text(text) if has_link => unformatted(text),
        BodySpan::Text(text) => escape(text),
        BodySpan::Link(url, word) => link(url, word),
    };
    let block = |piece: &str| {
        if has_link {
            return mrkdwn_section(piece);
        }
        json!({
            "type": "section",
            "text": { "type": "plain_text", "text": piece, "emoji": false },
        })
    };
    // What is counted and kept quiet comes last and must fit too.
    let mut used = json_size(blocks) + limits::BUDGET / 8;
    for piece in message.body_pieces(limits::SECTION, piece) {
        let block = block(&piece);
        used += json_size(std::slice::from_ref(&block));
        if used > limits::BUDGET || blocks.len() + 2 > limits::BLOCKS {
            blocks.push(context(&[plain_text(
                "the text was cut here",
                limits::FIELD,
            )]));
            break;
        }
        blocks.push(block);
    }
    message.cards.len()
}

/// Untrusted text inside mrkdwn that is to stand there as it is: a zero-width space behind every sign that
/// formats takes it apart.
fn unformatted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 8);
    for c in escape(text).chars() {
        plain.push(c);
        if matches!(c, '*' | '_' | '~' | '`') {
            plain.push('\u{200b}');
        }
    }
    plain
}

/// Adds as many cards as fit, in as much detail as fits; says how many.
fn add_cards(blocks: &mut Vec<Value>, message: &Message) -> usize {
    // The line about the rest comes last and must fit too.
    let rest = json_size(&[context(&[plain_text(
        &message.remainder(0).unwrap_or_default(),
        limits::FIELD,
    )])])
        + 16;
    let mut used = json_size(blocks) + rest;
    for (index, card) in message.cards.iter().enumerate() {
        let details = match index {
            0..3 => &[Detail::Full, Detail::Brief, Detail::Minimal][..],
            _ => &[Detail::Brief, Detail::Minimal],
        };
        let fitting = details.iter().find_map(|detail| {
            let added = card_blocks(&card.at(*detail), message);
            let size = json_size(&added);
            let fits = used + size <= limits::BUDGET && blocks.len() + added.len() < limits::BLOCKS;
            fits.then_some((added, size))
        });
        let Some((added, size)) = fitting else {
            return index;
        };
        blocks.extend(added);
        used += size;
    }
    message.cards.len()
}

fn json_size(blocks: &[Value]) -> usize {
    blocks
        .iter()
        .map(|block| text::measure(&block.to_string()) + 1)
        .sum()
}

fn card_blocks(card: &Card, message: &Message) -> Vec<Value> {
    let mut blocks = vec![json!({ "type": "divider" })];
    if let Some(title) = message.title(card) {
        blocks.push(section(&format!("{} {title}", card.tone.sign())));
    }
    let facts = card.facts.iter().chain([&card.duration]);
    let fields: Vec<Value> = facts
        .map(|fact| plain_text(&format!("{}: {}", fact.name, fact.value), limits::FIELD))
        .collect();
    for fields in fields.chunks(limits::FIELDS) {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    blocks.extend(card.description.as_deref().map(section));
    blocks.extend(card.error.as_deref().map(error_section));
    blocks.push(context(&origins(card)));
    blocks
}

/// The end of an error, shortened until it fits with its escapes.
fn error_section(error: &str) -> Value {
    let mut block = code_block(error);
    let mut kept = text::measure(error);
    while text::measure(&block) > limits::SECTION {
        kept = kept * 3 / 4;
        block = code_block(&text::tail(error, kept, str::to_owned));
    }
    mrkdwn_section(&block)
}

/// Where it comes from, and where to read on: at most seven elements of a context.
fn origins(card: &Card) -> Vec<Value> {
    let mut parts = vec![format!("rule {}", code(&card.rule_with_origin()))];
    if card.hidden_facts > 0 {
        parts.push(format!("{} more facts", card.hidden_facts));
    }
    if !card.notes.is_empty() {
        parts.push(card.notes.join(", "));
    }
    parts.extend(
        card.owner
            .as_deref()
            .map(|owner| format!("owner {}", code(owner))),
    );
    parts.extend(card.run_url.as_deref().map(|url| link(url, "run")));
    match &card.runbook {
        Some(Runbook::Link(url)) => parts.push(link(url, "runbook")),
        Some(Runbook::Text(words)) => parts.push(format!("runbook {}", code(words))),
        None => {}
    }
    parts.push(format!("why: {}", code(&card.why_command())));
    // A cut link or code span would be broken; only absurd addresses are that long.
    parts.retain(|part| text::measure(part) <= limits::FIELD);
    parts.truncate(limits::CONTEXT_ELEMENTS);
    parts.iter().map(|part| mrkdwn(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_mention_link_or_leave_its_span() {
        assert_eq!(escape_within("a<b&c", 20), "a&lt;b&amp;c");
        assert_eq!(escape_within("a<b&c", 10), "a&lt;b…");
        assert_eq!(
            escape("<!channel> & <@U1>"),
            "&lt;!channel&gt; &amp; &lt;@U1&gt;"
        );
        assert_eq!(code("a`b\nc"), "`a\u{2cb}b c`");
        assert!(
            !code_block("x\n```\n<!here>")[4..]
                .trim_end_matches("\n```")
                .contains("```")
        );
        assert_eq!(
            link("https://x/?a=1&b=|>", "run"),
            "<https://x/?a=1&amp;b=%7C%3E|run>"
        );
    }

    #[test]
    fn only_real_mentions_are_mentions() {
        for (text, is) in [
            ("<@U0ALICE>", true),
            ("<!subteam^S0FINANCE>", true),
            ("<!channel>", false),
            ("<@>", false),
            ("<@U1> <!here>", false),
            ("@everyone", false),
        ] {
            assert_eq!(is_mention(text), is, "{text}");
        }
    }
}
