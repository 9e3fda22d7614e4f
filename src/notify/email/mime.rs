//! The mail itself: headers, plain text, HTML.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, MultiPartKind, SinglePart};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::limits::mail as limits;
use super::super::message::{BodySpan, Card, Detail, Message, Runbook, Tone};
use super::super::{Chart, Preview, PreviewForm, digest, text};
use crate::engine::notification::Notification;

/// A mail before its recipient is known: rendered once, addressed often.
pub(super) struct Letter<'a> {
    notification: &'a Notification,
    from: &'a Mailbox,
    subject: String,
    text: String,
    html: Option<String>,
    picture: Option<Picture<'a>>,
    list_id: ListId,
}

/// A chart within a mail.
struct Picture<'a> {
    /// Its `Content-ID`.
    id: String,
    name: String,
    alt: String,
    png: &'a [u8],
}

/// The receiver's own, else `[critical] finance nightly-refresh: run failed`: without times. The first mail's is
/// kept for the whole thread.
pub(super) fn subject(message: &Message) -> String {
    let built_in = || format!("[{}] {}", message.severity, message.topic);
    let subject = message.subject.clone().unwrap_or_else(built_in);
    text::line(&subject, limits::SUBJECT)
}

impl<'a> Letter<'a> {
    /// Renders both bodies.
    pub(super) fn new(
        message: &Message,
        notification: &'a Notification,
        subject: &str,
        from: &'a Mailbox,
        receiver: &str,
        chart: Option<&'a Chart>,
    ) -> Self {
        let domain = plain_domain(from);
        let picture = chart.map(|chart| Picture::new(chart, notification, domain));
        let subject = text::line(subject, limits::SUBJECT);
        let re = if message.is_opening { "" } else { "Re: " };
        let mut plain = message.plain(limits::ALERTS);
        if let Some(picture) = &picture {
            plain = format!("{plain}\n\nChart: {}", picture.alt);
        }
        Self {
            notification,
            from,
            subject: format!("{re}{subject}"),
            text: format!(
                "{plain}\n\n-- \nSent by Tardy to the receiver {}, {}.\n",
                text::line(receiver, 80),
                message.decided
            ),
            html: match &message.digest {
                Some(sheet) => {
                    let shown = picture.as_ref().map(|picture| picture.id.as_str());
                    digest::mail::html(sheet, receiver, &message.decided, shown.zip(chart))
                }
                None => html(message, receiver, picture.as_ref()),
            },
            picture,
            list_id: ListId::new(receiver, domain),
        }
    }

    /// The whole mail for one recipient; the same bytes at every attempt that has the same chart.
    pub(super) fn to(&self, to: &Mailbox) -> Result<Vec<u8>, String> {
        let recipient = hash(&to.email.to_string().to_lowercase());
        let own_id = self.message_id(self.notification.sequence, &recipient);
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .date(self.date())
            .message_id(Some(own_id.clone()))
            .subject(self.subject.clone())
            .header(AutoSubmitted)
            .header(NoAutoReply)
            .header(self.list_id.clone());
        if self.notification.sequence > 0 {
            let first_id = self.message_id(0, &recipient);
            builder = builder.in_reply_to(first_id.clone()).references(first_id);
        }
        let plain = SinglePart::plain(self.text.clone());
        let mail = match &self.html {
            Some(html) => {
                let both = parts(MultiPartKind::Alternative, &own_id).singlepart(plain);
                let html = SinglePart::html(html.clone());
                builder.multipart(match &self.picture {
                    Some(picture) => {
                        let related = parts(MultiPartKind::Related, &own_id).singlepart(html);
                        both.multipart(related.singlepart(picture.part()?))
                    }
                    None => both.singlepart(html),
                })
            }
            None => builder.singlepart(plain),
        };
        mail.map(|mail| mail.formatted())
            .map_err(|error| error.to_string())
    }

    /// The parts of the mail to one recipient, as people read them.
    pub(super) fn preview(&self, to: &Mailbox) -> Vec<Preview> {
        let recipient = hash(&to.email.to_string().to_lowercase());
        let mut headers = vec![
            format!("From: {}", self.from),
            format!("To: {to}"),
            format!("Subject: {}", self.subject),
            format!(
                "Message-ID: {}",
                self.message_id(self.notification.sequence, &recipient)
            ),
        ];
        if self.notification.sequence > 0 {
            headers.push(format!("In-Reply-To: {}", self.message_id(0, &recipient)));
        }
        let part = |title, form, text| Preview { title, form, text };
        let mut parts = vec![
            part("headers", PreviewForm::Headers, headers.join("\n")),
            part("plain text", PreviewForm::Text, self.text.clone()),
        ];
        let html = self.html.clone();
        parts.extend(html.map(|html| part("HTML", PreviewForm::Html, html)));
        parts
    }

    /// `<conversation-sequence.recipient@domain>`.
    fn message_id(&self, sequence: u32, recipient: &str) -> String {
        let domain = plain_domain(self.from);
        let conversation = self.notification.conversation;
        format!("<{conversation}-{sequence}.{recipient}@{domain}>")
    }

    fn date(&self) -> SystemTime {
        let millis = u64::try_from(self.notification.decided_at.as_millis()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// A part of several, with the same boundary at every attempt.
fn parts(kind: MultiPartKind, mail_id: &str) -> lettre::message::MultiPartBuilder {
    let of = match kind {
        MultiPartKind::Related => "related",
        _ => "",
    };
    let boundary = format!("tardy-{}", hash(&format!("{mail_id}{of}")));
    MultiPart::builder().kind(kind).boundary(boundary)
}

/// The sender's domain, where headers hold it as it is.
fn plain_domain(from: &Mailbox) -> &str {
    let domain = from.email.domain();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if domain.chars().all(is_plain) {
        domain
    } else {
        "tardy.invalid"
    }
}

impl<'a> Picture<'a> {
    fn new(chart: &'a Chart, notification: &Notification, domain: &str) -> Self {
        Self {
            id: format!("chart.{}@{domain}", notification.delivery_id()),
            name: chart.file_name().to_owned(),
            alt: text::line(&chart.alt, limits::ALT),
            png: &chart.png,
        }
    }

    fn part(&self) -> Result<SinglePart, String> {
        let kind = ContentType::parse("image/png").map_err(|error| error.to_string())?;
        let inline = Attachment::new_inline_with_name(self.id.clone(), self.name.clone());
        Ok(inline.body(self.png.to_vec(), kind))
    }
}

fn hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..8])
}

/// No vacation replies to a robot (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The same for Exchange.
#[derive(Clone)]
struct NoAutoReply;

impl Header for NoAutoReply {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Auto-Response-Suppress")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "All".to_owned())
    }
}

/// What filters of mail programs sort by (RFC 2919): `Tardy <team.tardy.example.com>`.
#[derive(Clone)]
struct ListId(String);

impl ListId {
    /// Of a receiver: what no such name may hold becomes a hyphen.
    fn new(receiver: &str, domain: &str) -> Self {
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
            _ => '-',
        };
        let label: String = receiver.chars().take(limits::LIST).map(plain).collect();
        let label = match label.trim_matches('-') {
            "" => "receiver",
            label => label,
        };
        Self(format!("Tardy <{label}.tardy.{domain}>"))
    }
}

impl Header for ListId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Id")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// The template, laid out once; data never passes through MJML.
static TEMPLATE: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let html = mjml_to_html(include_str!("../../../templates/mail.mjml"))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .add_template_owned("mail", html)
        .map_err(|error| error.to_string())?;
    Ok(environment)
});

#[derive(Serialize)]
struct Page<'a> {
    first_line: &'a str,
    summary: &'a str,
    color: String,
    notice: Option<&'a str>,
    chart: Option<PictureView<'a>>,
    body: Vec<Vec<SpanView<'a>>>,
    cards: Vec<CardView>,
    more: Option<String>,
    receiver: String,
    decided: &'a str,
}

/// A part of a line of the receiver's own text.
#[derive(Serialize)]
struct SpanView<'a> {
    text: &'a str,
    is_link: bool,
}

#[derive(Serialize)]
struct PictureView<'a> {
    id: &'a str,
    alt: &'a str,
}

#[derive(Serialize)]
struct CardView {
    title: Option<String>,
    color: String,
    description: Option<String>,
    rows: Vec<Row>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    value: String,
    href: Option<String>,
}

/// The HTML body, with less detail when it is too large; `None` when it fails or is too large even so, and
/// the plain text goes alone.
fn html(message: &Message, receiver: &str, picture: Option<&Picture<'_>>) -> Option<String> {
    for full_cards in [3, 0] {
        match filled(message, receiver, picture, full_cards) {
            Ok(html) if html.len() <= limits::HTML_BYTES => return Some(html),
            Ok(_) => {}
            Err(error) => {
                tracing::error!("mail sent as plain text: its template failed: {error}");
                return None;
            }
        }
    }
    tracing::warn!("mail sent as plain text: its HTML is too large");
    None
}

fn filled(
    message: &Message,
    receiver: &str,
    picture: Option<&Picture<'_>>,
    full_cards: usize,
) -> Result<String, String> {
    let (shown, written) = match message.body {
        Some(_) => (message.cards.len(), 0),
        None => [message.cards.len().min(limits::ALERTS); 2].into(),
    };
    let page = Page {
        first_line: &message.first_line,
        summary: &message.summary,
        color: color(message.tone),
        notice: message.notice.as_deref(),
        chart: picture.map(|picture| PictureView {
            id: &picture.id,
            alt: &picture.alt,
        }),
        body: own_lines(message),
        cards: cards(&message.cards[..written], message, full_cards),
        more: message.remainder(shown),
        receiver: text::line(receiver, 80),
        decided: &message.decided,
    };
    let environment = TEMPLATE.as_ref().map_err(Clone::clone)?;
    let template = environment.get_template("mail");
    let html = template.and_then(|template| template.render(Serde(page)));
    html.map_err(|error| error.to_string())
}

/// The lines of the receiver's own text; none when there is none.
fn own_lines(message: &Message) -> Vec<Vec<SpanView<'_>>> {
    let view = |span| match span {
        BodySpan::Text(text) => SpanView {
            text,
            is_link: false,
        },
        BodySpan::Link(text, _) => SpanView {
            text,
            is_link: true,
        },
    };
    let lines = message.body_lines().into_iter();
    lines
        .map(|line| line.into_iter().map(view).collect())
        .collect()
}

pub(in crate::notify) fn mjml_to_html(mjml: &str) -> Result<String, String> {
    let parsed = mrml::parse(mjml).map_err(|error| error.to_string())?;
    let options = mrml::prelude::render::RenderOptions {
        fonts: std::collections::HashMap::new(),
        ..Default::default()
    };
    parsed
        .element
        .render(&options)
        .map_err(|error| error.to_string())
}

fn color(tone: Tone) -> String {
    format!("#{:06x}", tone.rgb())
}

fn cards(cards: &[Card], message: &Message, full_cards: usize) -> Vec<CardView> {
    let view = |(index, card): (usize, &Card)| {
        let detail = if index < full_cards {
            Detail::Full
        } else {
            Detail::Brief
        };
        let title = message.title(card);
        let card = card.at(detail);
        CardView {
            title,
            color: color(card.tone),
            rows: rows(&card),
            description: card.description,
            error: card.error,
        }
    };
    cards.iter().enumerate().map(view).collect()
}

fn rows(card: &Card) -> Vec<Row> {
    let row = |name: &str, value: &str, href: Option<&String>| Row {
        name: name.to_owned(),
        value: value.to_owned(),
        href: href.cloned(),
    };
    let facts = card.facts.iter().chain([&card.duration]);
    let mut rows: Vec<Row> = facts
        .map(|fact| row(&fact.name, &fact.value, None))
        .collect();
    if card.hidden_facts > 0 {
        rows.push(row(
            "More",
            &format!("{} facts not shown", card.hidden_facts),
            None,
        ));
    }
    rows.push(row("Rule", &card.rule_with_origin(), None));
    rows.extend(card.notes.iter().map(|note| row("Note", note, None)));
    rows.extend(card.owner.as_deref().map(|owner| row("Owner", owner, None)));
    rows.extend(
        card.run_url
            .as_ref()
            .map(|url| row("Run", "open the run", Some(url))),
    );
    match &card.runbook {
        Some(Runbook::Link(url)) => rows.push(row("Runbook", "what to do", Some(url))),
        Some(Runbook::Text(words)) => rows.push(row("Runbook", words, None)),
        None => {}
    }
    rows.push(row("Why", &card.why_command(), None));
    rows
}
