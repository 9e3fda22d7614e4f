//! What is said on Discord: content, embeds, mentions, within its limits and its Markdown.

use serde::Serialize;
use serenity::builder::{CreateEmbed, CreateEmbedFooter};

use super::super::digest::Sheet;
use super::super::digest::discord::digest_embeds;
use super::super::limits::discord as limits;
use super::super::message::{BodySpan, Card, Detail, Message, Runbook, Tone};
use super::super::text;
use super::answers::is_id;
use super::{Chart, Picture};
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

/// The picture of a page.
#[derive(Clone)]
pub(super) enum Shown {
    /// To be uploaded; about the alert with this id.
    New(Chart, String),
    /// Uploaded before.
    Kept(Picture),
}

impl Shown {
    fn name(&self) -> &str {
        match self {
            Self::New(chart, _) => chart.file_name(),
            Self::Kept(picture) => &picture.name,
        }
    }

    fn alert(&self) -> &str {
        match self {
            Self::New(_, alert) => alert,
            Self::Kept(picture) => &picture.alert,
        }
    }
}

/// One message, before it is a post or an edit.
#[derive(Clone, Default)]
pub(super) struct Page {
    content: String,
    embeds: Vec<Embed>,
    /// Those of a digest, which has no alerts.
    ready: Vec<CreateEmbed>,
    mentioned: Allowed,
    pub(super) picture: Option<Shown>,
    /// The same words without any form.
    words: String,
    /// Goes on where another message ends: nobody is to be called by it.
    is_continued: bool,
}

/// The body of a post or an edit.
#[derive(Serialize)]
struct Body<'a> {
    content: &'a str,
    embeds: Vec<CreateEmbed>,
    allowed_mentions: &'a Allowed,
    /// All files that the message is to have; without it an edit keeps what there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<[Attachment<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
}

#[derive(Serialize)]
struct Attachment<'a> {
    /// The number of the file in the request, or the id it was given.
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// Posted without a sound.
const SUPPRESS_NOTIFICATIONS: u32 = 1 << 12;

impl Page {
    /// The same with another picture, or none.
    pub(super) fn with(&self, picture: Option<Shown>) -> Self {
        Self {
            picture,
            ..self.clone()
        }
    }

    /// The same without embeds.
    pub(super) fn plain(&self) -> Self {
        let words = code_block(&text::cut(&self.words, 1_200));
        Self {
            content: text::cut(&format!("{}\n{words}", self.content), limits::CONTENT),
            embeds: Vec::new(),
            ready: Vec::new(),
            picture: None,
            ..self.clone()
        }
    }

    /// As it is sent.
    pub(super) fn json(&self, is_post: bool) -> Vec<u8> {
        let shows = |embed: &Embed| {
            let picture = self.picture.as_ref();
            picture.is_some_and(|picture| embed.id == picture.alert())
        };
        let shown_at = self.embeds.iter().position(shows).unwrap_or(0);
        let url = self.picture.as_ref().map(Shown::name);
        let url = url.map(|name| format!("attachment://{name}"));
        let alerts = self.embeds.iter().cloned().map(Embed::into_builder);
        let builders = alerts.chain(self.ready.iter().cloned());
        let embeds = builders.enumerate().map(|(index, builder)| match &url {
            Some(url) if index == shown_at => builder.image(url),
            Some(_) | None => builder,
        });
        let body = Body {
            content: &self.content,
            embeds: embeds.collect(),
            allowed_mentions: &self.mentioned,
            attachments: self.picture.as_ref().map(|picture| [attachment(picture)]),
            flags: (is_post && self.is_continued).then_some(SUPPRESS_NOTIFICATIONS),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

fn attachment(picture: &Shown) -> Attachment<'_> {
    match picture {
        Shown::New(chart, _) => Attachment {
            id: "0",
            filename: Some(chart.file_name()),
            description: Some(text::cut(&text::line(&chart.alt, limits::ALT), limits::ALT)),
        },
        Shown::Kept(picture) => Attachment {
            id: &picture.id,
            filename: None,
            description: None,
        },
    }
}

/// The message and those in which it goes on: at least one.
pub(super) fn pages(message: &Message, mentions: &Mentions, picture: Option<Shown>) -> Vec<Page> {
    if let Some(sheet) = &message.digest {
        return vec![digest_page(message, sheet, picture)];
    }
    let mut filling = Filling::default();
    if let Some(notice) = &message.notice {
        filling.push(notice_embed(message.tone, notice));
    }
    let shown = match own_embed(message, limits::EMBEDS_TOTAL) {
        Some(embed) => {
            filling.push(embed);
            message.cards.len()
        }
        None => filling.add_cards(message),
    };
    let pages = filling.end();
    let all = pages.len();
    let mut lines = vec![escape(&message.first_line)];
    lines.push(format!(
        "{} {}",
        message.tone.sign(),
        escape(&message.summary)
    ));
    lines.extend(message.remainder(shown).map(|more| escape(&more)));
    lines.extend((!mentions.texts.is_empty()).then(|| mentions.texts.join(" ")));
    let first = text::cut(&lines.join("\n"), limits::CONTENT);
    let page = |(index, embeds): (usize, Vec<Embed>)| match index {
        0 => Page {
            content: first.clone(),
            embeds,
            ready: Vec::new(),
            mentioned: mentions.allowed.clone(),
            picture: picture.clone(),
            words: message.plain(3),
            is_continued: false,
        },
        _ => Page {
            content: format!(
                "{} of {all}: {}",
                index + 1,
                text::cut(&escape(&message.first_line), 300)
            ),
            words: titles(&embeds),
            embeds,
            is_continued: true,
            ..Page::default()
        },
    };
    pages.into_iter().enumerate().map(page).collect()
}

fn titles(embeds: &[Embed]) -> String {
    let titles: Vec<&str> = embeds.iter().map(|embed| embed.title.as_str()).collect();
    titles.join("\n")
}

fn digest_page(message: &Message, sheet: &Sheet, picture: Option<Shown>) -> Page {
    let (ready, left_out) = digest_embeds(sheet);
    let about = format!("{} {}", message.tone.sign(), escape(&sheet.about));
    let mut lines = vec![escape(&message.first_line), about];
    lines.extend(sheet.notes.iter().map(|note| escape(note)));
    if !left_out.is_empty() {
        let left_out = escape(&left_out.join(", "));
        lines.push(format!("No room for: {left_out}. See all: `tardy digest`"));
    }
    Page {
        content: text::cut(&lines.join("\n"), limits::CONTENT),
        words: message.plain(0),
        ready,
        picture,
        ..Page::default()
    }
}

/// The message that pings where an edit cannot.
pub(super) fn short(message: &Message, link: Option<&str>, mentions: &Mentions) -> Page {
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
    Page {
        content: text::cut(&lines.join("\n"), limits::CONTENT),
        mentioned: mentions.allowed.clone(),
        ..Page::default()
    }
}

/// Embeds, laid out on pages.
#[derive(Default)]
struct Filling {
    full: Vec<Vec<Embed>>,
    page: Vec<Embed>,
    used: usize,
}

impl Filling {
    fn push(&mut self, embed: Embed) {
        self.used += embed.size();
        self.page.push(embed);
    }

    fn fits(&self, embed: &Embed) -> bool {
        self.page.len() < limits::EMBEDS && self.used + embed.size() <= limits::EMBEDS_TOTAL
    }

    fn is_last(&self) -> bool {
        self.full.len() == limits::FOLLOW_UPS
    }

    fn turn(&mut self) {
        self.full.push(std::mem::take(&mut self.page));
        self.used = 0;
    }

    /// Adds as many cards as fit, the first two in all detail; says how many. With less detail only where a page
    /// is too small for one, or there is no other page.
    fn add_cards(&mut self, message: &Message) -> usize {
        for (index, card) in message.cards.iter().enumerate() {
            let details = match index {
                0..2 => &[Detail::Full, Detail::Brief, Detail::Minimal][..],
                _ => &[Detail::Brief, Detail::Minimal],
            };
            let mut embeds = details
                .iter()
                .map(|detail| Embed::of(&card.at(*detail), message));
            let Some(best) = embeds.next() else {
                continue;
            };
            if !self.fits(&best) && !self.page.is_empty() && !self.is_last() {
                self.turn();
            }
            let fitting = [best].into_iter().chain(embeds);
            match fitting.into_iter().find(|embed| self.fits(embed)) {
                Some(embed) => self.push(embed),
                None => return index,
            }
        }
        message.cards.len()
    }

    fn end(mut self) -> Vec<Vec<Embed>> {
        if self.full.is_empty() || !self.page.is_empty() {
            self.turn();
        }
        self.full
    }
}

fn notice_embed(tone: Tone, notice: &str) -> Embed {
    Embed {
        id: String::new(),
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
        id: message.lead_id().unwrap_or_default().to_owned(),
        tone: message.tone,
        title: message.tone.word().to_owned(),
        description,
        fields: Vec::new(),
        footer: String::new(),
    })
}

/// An embed before it is handed to the builder, which neither counts nor cuts.
#[derive(Clone)]
struct Embed {
    /// The alert's.
    id: String,
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
            id: card.id.clone(),
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
    let link = |label: &str, url: &str| format!("[{label}]({})", link_target(url));
    // A link that is cut is none.
    let fits = |link: &String| text::measure(link) <= limits::FIELD_VALUE;
    let run = card.run_url.as_deref().map(|url| link("open the run", url));
    if let Some(run) = run.filter(fits) {
        add("Run", run);
    }
    match &card.runbook {
        Some(Runbook::Link(url)) => {
            if let Some(book) = Some(link("what to do", url)).filter(fits) {
                add("Runbook", book);
            }
        }
        Some(Runbook::Text(words)) => add("Runbook", escape(words)),
        None => {}
    }
    fields.truncate(limits::FIELDS);
    fields
}

/// Untrusted text in Markdown: every sign that formats, links, mentions or starts a block is escaped.
/// Discord resolves `@everyone` and links bare addresses in spite of a backslash; zero-width spaces take them
/// apart.
pub(in crate::notify) fn escape(text: &str) -> String {
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
