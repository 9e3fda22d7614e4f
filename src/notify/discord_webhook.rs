//! Discord through a webhook: one message about an incident, edited in place.
//!
//! The first notification posts with `?wait=true`, which returns the message's id. Every later one edits that
//! message; when people must notice it, a short new message that links to the first follows, since an edit
//! pings nobody. A message that is gone is forgotten and posted anew in the same attempt. Edits are
//! idempotent, so repeating a half-done attempt changes nothing but can repeat the short message.
//!
//! Mentions are off (`allowed_mentions`) in everything, edits too, but for configured owners when an alert
//! opens or escalates. Untrusted text is escaped Markdown.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use chrono_tz::Tz;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serenity::builder::{CreateEmbed, CreateEmbedFooter};
use url::Url;

use super::http::{Attempt, Client, Endpoint, Reply};
use super::limits::discord as limits;
use super::message::{Card, Detail, Message, Runbook, Tone};
use super::{BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, text};
use crate::engine::route::Owner;

/// Posts and edits through a webhook.
pub(super) struct DiscordWebhook {
    client: Client,
    zone: Tz,
    owners: Arc<[Owner]>,
    /// The server's id, which links need and messages do not tell; asked for once.
    guild: OnceLock<String>,
}

/// What is kept of the first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Posted {
    message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The conversation has made people look: they are told its end too.
    #[serde(default)]
    has_pinged: bool,
}

/// What Discord said to an edit.
enum Edited {
    Done,
    Gone,
}

impl DiscordWebhook {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::new(url, receiver, true)?;
        let path = endpoint.url().path().trim_end_matches('/');
        if path.ends_with("/slack") || path.ends_with("/github") {
            return Err(BuildError::Address {
                receiver: receiver.to_owned(),
                why: "leave off the /slack or /github at its end",
            });
        }
        Ok(Self {
            client: Client::new(endpoint, context)?,
            zone: context.zone,
            owners: context.owners.clone(),
            guild: OnceLock::new(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let message = Message::new(delivery.notification, self.zone);
        let mentions = Mentions::of(&message, &self.owners);
        let attempt = self.client.attempt();
        let known = delivery.handle.and_then(posted);
        let Some(mut first) = known else {
            return self.open(&attempt, &message, &mentions).await;
        };
        let edit = body(&message, &Mentions::default());
        if let Edited::Gone = self.edit(&attempt, &first, &edit, &message).await? {
            return self.open(&attempt, &message, &mentions).await;
        }
        if message.is_pinging || (message.is_ending && first.has_pinged) {
            let link = self.link(&attempt, &first).await;
            let reply = self
                .post(
                    &attempt,
                    &short(&message, link.as_deref(), &mentions),
                    &message,
                )
                .await?;
            self.accepted(&reply)?;
            first.has_pinged = true;
        }
        Ok(delivered(&first))
    }

    /// Posts the message that later ones edit.
    async fn open(
        &self,
        attempt: &Attempt<'_>,
        message: &Message,
        mentions: &Mentions,
    ) -> Result<Outcome, Outcome> {
        let reply = self
            .post(attempt, &body(message, mentions), message)
            .await?;
        self.accepted(&reply)?;
        let json = reply.json();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let Some(message_id) = text("id").filter(|id| is_id(id)) else {
            return match reply.is_whole && reply.status == StatusCode::OK {
                true => Err(Outcome::Rejected {
                    why: "the receiver did not answer with a message; is its url that of a \
                          Discord webhook?"
                        .to_owned(),
                }),
                // Posted, only not to be edited later.
                false => Ok(Outcome::Delivered { handle: None }),
            };
        };
        Ok(delivered(&Posted {
            message_id,
            channel_id: text("channel_id").filter(|id| is_id(id)),
            has_pinged: message.is_pinging,
        }))
    }

    async fn post(
        &self,
        attempt: &Attempt<'_>,
        body: &Body,
        message: &Message,
    ) -> Result<Reply, Outcome> {
        let url = self.url(None);
        let reply = attempt.send(self.request(Method::POST, &url, body)).await?;
        if !is_about_content(&reply) {
            return Ok(reply);
        }
        // Better plain than lost.
        let plain = self.request(Method::POST, &url, &body.plain(message));
        attempt.send(plain).await
    }

    async fn edit(
        &self,
        attempt: &Attempt<'_>,
        first: &Posted,
        body: &Body,
        message: &Message,
    ) -> Result<Edited, Outcome> {
        let url = self.url(Some(&first.message_id));
        let mut reply = attempt
            .send(self.request(Method::PATCH, &url, body))
            .await?;
        if is_about_content(&reply) {
            let plain = self.request(Method::PATCH, &url, &body.plain(message));
            reply = attempt.send(plain).await?;
        }
        if is_gone(&reply) {
            return Ok(Edited::Gone);
        }
        self.accepted(&reply).map(|()| Edited::Done)
    }

    fn request(&self, method: Method, url: &Url, body: &Body) -> reqwest::Request {
        let json = serde_json::to_vec(body).unwrap_or_default();
        self.client.json(method, url.clone(), json)
    }

    /// The webhook's address with its own query kept; of one message with `Some`.
    fn url(&self, message_id: Option<&str>) -> Url {
        let mut url = self.client.endpoint().url().clone();
        let query: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "wait")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if let Some(id) = message_id {
                segments.push("messages").push(id);
            }
        }
        let wait = message_id
            .is_none()
            .then(|| ("wait".to_owned(), "true".to_owned()));
        let query: Vec<_> = query.into_iter().chain(wait).collect();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Address of the first message for people; without the server's id there is none.
    async fn link(&self, attempt: &Attempt<'_>, first: &Posted) -> Option<String> {
        let channel_id = first.channel_id.as_ref()?;
        if self.guild.get().is_none() {
            let mut url = self.client.endpoint().url().clone();
            url.set_query(None);
            let request = reqwest::Request::new(Method::GET, url);
            let reply = attempt.send(request).await.ok()?;
            let guild = reply.json()["guild_id"].as_str()?.to_owned();
            if is_id(&guild) {
                let _ = self.guild.set(guild);
            }
        }
        let guild = self.guild.get()?;
        Some(format!(
            "https://discord.com/channels/{guild}/{channel_id}/{}",
            first.message_id
        ))
    }

    /// `Err` when Discord did not take it.
    fn accepted(&self, reply: &Reply) -> Result<(), Outcome> {
        if reply.status.is_success() {
            return Ok(());
        }
        let code = error_code(reply);
        if reply.status.is_client_error()
            && let Some(remedy) = remedy(reply.status, code)
        {
            let status = reply.status.as_u16();
            let why = format!("Discord refused the message ({status}, code {code}): {remedy}");
            return Err(Outcome::Rejected { why });
        }
        let json = reply.json();
        let said = json["message"].as_str().unwrap_or_default();
        Err(reply.outcome(&self.client.endpoint().scrub(said)))
    }
}

impl Notifier for DiscordWebhook {
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
}

fn posted(handle: &Handle) -> Option<Posted> {
    Posted::deserialize(&handle.0)
        .ok()
        .filter(|posted| is_id(&posted.message_id))
}

fn delivered(first: &Posted) -> Outcome {
    Outcome::Delivered {
        handle: serde_json::to_value(first).ok().map(Handle),
    }
}

fn is_id(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

/// Discord's own error code; 0 when it gave none.
fn error_code(reply: &Reply) -> u64 {
    reply.json()["code"].as_u64().unwrap_or_default()
}

/// The message cannot be edited any more: deleted (10008), in a channel that is gone (10003) or an archived
/// thread (50083), or another webhook's (50005). A 404 without a code is read so too: if the webhook itself is
/// gone, the new post will say so.
fn is_gone(reply: &Reply) -> bool {
    match error_code(reply) {
        10_003 | 10_008 | 50_005 | 50_083 => reply.status.is_client_error(),
        0 => reply.status == StatusCode::NOT_FOUND,
        _ => false,
    }
}

/// 50035: the body's form was refused; 50006: it was taken for empty.
fn is_about_content(reply: &Reply) -> bool {
    reply.status == StatusCode::BAD_REQUEST && matches!(error_code(reply), 50_035 | 50_006)
}

fn remedy(status: StatusCode, code: u64) -> Option<&'static str> {
    Some(match (status.as_u16(), code) {
        (_, 10_015 | 50_027) | (401, _) => {
            "the webhook was deleted or its token is wrong; create a new one and configure its url"
        }
        (_, 10_003) => "its channel or thread is gone; configure the url of another webhook",
        (_, 50_083) => "its thread is archived; open it again or leave thread_id off",
        (_, 220_001) => "its channel is a forum; add ?thread_id=… of a post to the url",
        (403, _) => "the webhook may not post there; check the channel's permissions",
        (404, _) => "there is no such webhook; check its url",
        _ => return None,
    })
}

/// Who is mentioned, and the permission for it.
#[derive(Default)]
struct Mentions {
    texts: Vec<String>,
    allowed: Allowed,
}

/// `allowed_mentions`: nothing is parsed out of text; only the ids named here may ping.
#[derive(Clone, Default, Serialize)]
struct Allowed {
    parse: [&'static str; 0],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
}

impl Mentions {
    fn of(message: &Message, owners: &[Owner]) -> Self {
        let wanted = owners
            .iter()
            .filter(|owner| message.mentioned.iter().any(|name| **name == *owner.name));
        let mut mentions = Self::default();
        for mention in wanted.filter_map(|owner| owner.discord.as_deref()) {
            mentions.add(mention);
        }
        mentions
    }

    /// Only `<@123>` and `<@&123>`.
    fn add(&mut self, mention: &str) {
        let Some(inner) = mention
            .strip_prefix("<@")
            .and_then(|rest| rest.strip_suffix('>'))
        else {
            return;
        };
        let role = inner.strip_prefix('&');
        let id = role.unwrap_or(inner);
        if !is_id(id) {
            return;
        }
        match role {
            Some(_) => self.allowed.roles.push(id.to_owned()),
            None => self.allowed.users.push(id.to_owned()),
        }
        self.texts.push(mention.to_owned());
    }
}

/// A message's body, for posts and edits alike.
#[derive(Serialize)]
struct Body {
    content: String,
    embeds: Vec<CreateEmbed>,
    allowed_mentions: Allowed,
}

impl Body {
    /// The same without embeds.
    fn plain(&self, message: &Message) -> Self {
        let rest = message.plain(3);
        let content = format!("{}\n{}", self.content, code_block(&text::cut(&rest, 1_200)));
        Self {
            content: text::cut(&content, limits::CONTENT),
            embeds: Vec::new(),
            allowed_mentions: self.allowed_mentions.clone(),
        }
    }
}

fn body(message: &Message, mentions: &Mentions) -> Body {
    let mut embeds = Vec::new();
    let mut left = limits::EMBEDS_TOTAL;
    if let Some(notice) = &message.notice {
        let embed = notice_embed(message.tone, notice);
        left -= embed.size();
        embeds.push(embed);
    }
    let shown = add_cards(&mut embeds, left, message);
    let mut lines = vec![escape(&message.first_line)];
    lines.push(format!(
        "{} {}",
        message.tone.sign(),
        escape(&message.summary)
    ));
    lines.extend(message.remainder(shown).map(|more| escape(&more)));
    lines.extend((!mentions.texts.is_empty()).then(|| mentions.texts.join(" ")));
    Body {
        content: text::cut(&lines.join("\n"), limits::CONTENT),
        embeds: embeds.into_iter().map(Embed::into_builder).collect(),
        allowed_mentions: mentions.allowed.clone(),
    }
}

/// The message that pings where an edit cannot.
fn short(message: &Message, link: Option<&str>, mentions: &Mentions) -> Body {
    let mut lines = vec![escape(&message.first_line)];
    let about = message
        .lead_id()
        .map(|id| format!("{id}: "))
        .unwrap_or_default();
    lines.push(match link {
        Some(link) => format!("{about}[see the message above]({link})"),
        None => format!("{about}see the message above"),
    });
    lines.extend((!mentions.texts.is_empty()).then(|| mentions.texts.join(" ")));
    Body {
        content: text::cut(&lines.join("\n"), limits::CONTENT),
        embeds: Vec::new(),
        allowed_mentions: mentions.allowed.clone(),
    }
}

/// Adds as many cards as fit, in as much detail as fits; says how many.
fn add_cards(embeds: &mut Vec<Embed>, mut left: usize, message: &Message) -> usize {
    for (index, card) in message.cards.iter().enumerate() {
        let details = match index {
            0..2 => &[Detail::Full, Detail::Brief, Detail::Minimal][..],
            _ => &[Detail::Brief, Detail::Minimal],
        };
        let fitting = details
            .iter()
            .map(|detail| Embed::of(&card.at(*detail), message))
            .find(|embed| embed.size() <= left && embeds.len() < limits::EMBEDS);
        let Some(embed) = fitting else {
            return index;
        };
        left -= embed.size();
        embeds.push(embed);
    }
    message.cards.len()
}

fn notice_embed(tone: Tone, notice: &str) -> Embed {
    Embed {
        tone,
        title: tone.word().to_owned(),
        description: text::cut(&escape(notice), limits::DESCRIPTION),
        fields: Vec::new(),
        footer: String::new(),
    }
}

/// An embed before it is handed to the builder, which neither counts nor cuts.
struct Embed {
    tone: Tone,
    title: String,
    description: String,
    fields: Vec<(String, String, bool)>,
    footer: String,
}

impl Embed {
    fn of(card: &Card, message: &Message) -> Self {
        let title = message
            .title(card)
            .map_or_else(|| card.tone.word().to_owned(), |title| escape(&title));
        let texts = card.description.as_deref().map(escape);
        let error = card.error.as_deref().map(code_block);
        let description: Vec<String> = texts.into_iter().chain(error).collect();
        let mut footer = vec![format!("why: {}", card.why_command())];
        footer.extend(card.notes.iter().map(|note| (*note).to_owned()));
        if card.hidden_facts > 0 {
            footer.push(format!("{} more facts", card.hidden_facts));
        }
        Self {
            tone: card.tone,
            title: text::cut(&title, limits::TITLE),
            description: text::cut(&description.join("\n"), limits::DESCRIPTION),
            fields: fields(card),
            footer: text::cut(&quiet(&footer.join(" · ")), limits::FOOTER),
        }
    }

    /// Characters as Discord counts them over all embeds.
    fn size(&self) -> usize {
        let fields = self
            .fields
            .iter()
            .flat_map(|(name, value, _)| [name, value]);
        fields
            .chain([&self.title, &self.description, &self.footer])
            .map(|text| text::measure(text))
            .sum()
    }

    fn into_builder(self) -> CreateEmbed {
        let mut embed = CreateEmbed::new().colour(self.tone.rgb()).title(self.title);
        if !self.description.is_empty() {
            embed = embed.description(self.description);
        }
        if !self.footer.is_empty() {
            embed = embed.footer(CreateEmbedFooter::new(self.footer));
        }
        embed.fields(self.fields)
    }
}

fn fields(card: &Card) -> Vec<(String, String, bool)> {
    let mut fields = Vec::new();
    let mut add = |name: &str, value: String| {
        let name = text::cut(&escape(name), limits::FIELD_NAME);
        let is_short = text::measure(&value) <= 40;
        fields.push((name, text::cut(&value, limits::FIELD_VALUE), is_short));
    };
    for fact in card.facts.iter().chain([&card.duration]) {
        add(&fact.name, escape(&fact.value));
    }
    add("Rule", code(&card.rule_with_origin()));
    if let Some(owner) = &card.owner {
        add("Owner", escape(owner));
    }
    if let Some(url) = &card.run_url {
        add("Run", format!("[open the run]({})", link_target(url)));
    }
    match &card.runbook {
        Some(Runbook::Link(url)) => add("Runbook", format!("[what to do]({})", link_target(url))),
        Some(Runbook::Text(words)) => add("Runbook", escape(words)),
        None => {}
    }
    fields.truncate(limits::FIELDS);
    fields
}

/// Untrusted text in Markdown: every sign that formats, links, mentions or starts a block is escaped.
/// Discord resolves `@everyone` in spite of a backslash; a zero-width space takes it apart.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut is_at_start = true;
    for c in text.chars() {
        match c {
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '[' | ']' | '(' | ')' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '#' | '-' | '+' if is_at_start => {
                escaped.push('\\');
                escaped.push(c);
            }
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
        is_at_start = c == '\n' || (is_at_start && (c == ' ' || c == '-'));
    }
    escaped
}

/// Where Markdown is not read, only the words that could ping are taken apart.
fn quiet(text: &str) -> String {
    text.replace("@everyone", "@\u{200b}everyone")
        .replace("@here", "@\u{200b}here")
}

/// A code span.
fn code(text: &str) -> String {
    let text = quiet(text).replace('`', "\u{2cb}").replace('\n', " ");
    format!("`{text}`")
}

/// A code block; the zero-width spaces keep data from closing it.
fn code_block(text: &str) -> String {
    format!(
        "```\n{}\n```",
        quiet(text).replace("```", "`\u{200b}`\u{200b}`")
    )
}

/// A checked URL as the target of a link of ours.
fn link_target(url: &str) -> String {
    url.replace('(', "%28")
        .replace(')', "%29")
        .replace('>', "%3E")
        .replace('<', "%3C")
        .replace('@', "%40")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_format_mention_or_leave_its_block() {
        for (text, shown) in [
            ("@everyone", "@\u{200b}everyone"),
            ("<@123> <#4> <t:5>", "\\<@\u{200b}123\\> \\<#4\\> \\<t:5\\>"),
            (
                "**b** _i_ ~s~ ||x||",
                "\\*\\*b\\*\\* \\_i\\_ \\~s\\~ \\|\\|x\\|\\|",
            ),
            ("[a](http://x)", "\\[a\\]\\(http://x\\)"),
            (
                "# head\n- item\n-# small\n> quote",
                "\\# head\n\\- item\n\\-\\# small\n\\> quote",
            ),
            ("a-b #1", "a-b #1"),
            ("`x` \\", "\\`x\\` \\\\"),
        ] {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(code("a`b"), "`a\u{2cb}b`");
        assert!(!code_block("x```y").trim_matches('`').contains("```"));
        assert_eq!(link_target("https://x/a(b)>"), "https://x/a%28b%29%3E");
    }

    #[test]
    fn only_real_mentions_are_allowed() {
        let mut mentions = Mentions::default();
        for text in ["<@12>", "<@&34>", "@everyone", "<@>", "<@x>", "<#5>"] {
            mentions.add(text);
        }
        assert_eq!(mentions.texts, ["<@12>", "<@&34>"]);
        let json = serde_json::to_value(&mentions.allowed).unwrap();
        assert_eq!(json["parse"], serde_json::json!([]));
        assert_eq!(json["users"], serde_json::json!(["12"]));
        assert_eq!(json["roles"], serde_json::json!(["34"]));
    }
}
