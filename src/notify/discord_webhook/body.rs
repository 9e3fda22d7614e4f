//! What is said on Discord: content, embeds, mentions, within its limits and its Markdown.

use serde::Serialize;
use serenity::builder::{CreateEmbed, CreateEmbedFooter};

use super::super::limits::discord as limits;
use super::super::message::{BodySpan, Card, Detail, Message, Runbook, Tone};
use super::super::text;
use super::is_id;
use crate::engine::route::Owner;

/// Who is mentioned, and the permission for it.
#[derive(Default)]
pub(super) struct Mentions {
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
    pub(super) fn of(message: &Message, owners: &[Owner]) -> Self {
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
pub(super) struct Body {
    content: String,
    embeds: Vec<CreateEmbed>,
    allowed_mentions: Allowed,
}

impl Body {
    /// The same without embeds.
    pub(super) fn plain(&self, message: &Message) -> Self {
        let rest = message.plain(3);
        let content = format!("{}\n{}", self.content, code_block(&text::cut(&rest, 1_200)));
        Self {
            content: text::cut(&content, limits::CONTENT),
            embeds: Vec::new(),
            allowed_mentions: self.allowed_mentions.clone(),
        }
    }
}

pub(super) fn body(message: &Message, mentions: &Mentions) -> Body {
    let mut embeds = Vec::new();
    let mut left = limits::EMBEDS_TOTAL;
    if let Some(notice) = &message.notice {
        let embed = notice_embed(message.tone, notice);
        left -= embed.size();
        embeds.push(embed);
    }
    let shown = match own_embed(message, left) {
        Some(embed) => {
            embeds.push(embed);
            message.cards.len()
        }
        None => add_cards(&mut embeds, left, message),
    };
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
pub(super) fn short(message: &Message, link: Option<&str>, mentions: &Mentions) -> Body {
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

/// The receiver's own text in place of the cards.
fn own_embed(message: &Message, left: usize) -> Option<Embed> {
    let limit = limits::DESCRIPTION.min(left.saturating_sub(limits::TITLE));
    let piece = |span: BodySpan<'_>| match span {
        BodySpan::Text(text) => escape(text),
        BodySpan::Link(url, _) => format!("<{}>", link_target(url)),
    };
    let mut pieces = message.body_pieces(limit - 2, piece).into_iter();
    let mut description = pieces.next()?;
    if pieces.next().is_some() {
        description.push_str("\n…");
    }
    Some(Embed {
        tone: message.tone,
        title: message.tone.word().to_owned(),
        description,
        fields: Vec::new(),
        footer: String::new(),
    })
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
        footer.extend(card.notes.iter().cloned());
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
/// Discord resolves `@everyone` and links bare addresses in spite of a backslash; zero-width spaces take them
/// apart.
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
            '/' if escaped.ends_with(":/") => escaped.push_str("\u{200b}/"),
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
            ("[a](http://x)", "\\[a\\]\\(http:/\u{200b}/x\\)"),
            (
                "# head\n- item\n-# small\n> quote",
                "\\# head\n\\- item\n\\-\\# small\n\\> quote",
            ),
            ("a-b #1", "a-b #1"),
            (
                "see https://evil.example/x",
                "see https:/\u{200b}/evil.example/x",
            ),
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
