//! What the bot sends: the conversation's message, its edits, and replies in its thread.
//!
//! Guarantees: every message says who made it and for which delivery in its metadata, so that it can be found
//! again; what does not fit goes on in at most [`limits::PARTS`] replies, and the rest is counted.

use serde_json::{Value, json};

use super::super::limits::slack as limits;
use super::super::message::{Card, Message, Tone};
use super::super::text;
use super::blocks::{
    Head, Room, add_body, add_cards, error_section, mrkdwn_section, section, words,
};
use super::escape::{escape, escape_within};
use crate::engine::notification::{AlertView, Body, Notification, Reason};

/// Name of our metadata.
pub(super) const EVENT: &str = "tardy_delivery";

/// Which reply of a delivery: 0 says what happened, the others go on with what did not fit.
pub(super) type Part = u64;

/// How much of a message is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Size {
    /// All that fits within our budget.
    #[default]
    Full,
    /// Half of it.
    Small,
    /// Text without layout.
    Plain,
    /// The first lines alone, without metadata.
    Bare,
}

impl Size {
    /// What to try when this is refused.
    pub(super) fn smaller(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::Small),
            Self::Small => Some(Self::Plain),
            Self::Plain => Some(Self::Bare),
            Self::Bare => None,
        }
    }

    /// Metadata by which a message is found again; members of the workspace can read it.
    pub(super) fn metadata(self, delivery_id: &str, part: Option<Part>) -> Option<Value> {
        let mut payload = json!({ "delivery_id": delivery_id });
        if let Some(part) = part {
            payload["part"] = json!(part);
        }
        (self != Self::Bare).then(|| json!({ "event_type": EVENT, "event_payload": payload }))
    }

    fn budget(self) -> Option<usize> {
        match self {
            Self::Full => Some(limits::BUDGET),
            Self::Small => Some(limits::SMALL_BUDGET),
            Self::Plain | Self::Bare => None,
        }
    }
}

/// Which alerts go on in the thread when they do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continued {
    /// None: they are counted.
    None,
    /// Those that are new.
    New,
    /// All.
    All,
}

/// Text and blocks of one message.
#[derive(Debug)]
pub(super) struct Sheet {
    text: String,
    blocks: Vec<Value>,
}

impl Sheet {
    /// As a body of `chat.postMessage` or `chat.update`, to be completed by where it goes.
    pub(super) fn body(self, metadata: Option<Value>) -> Value {
        let mut body = json!({
            "text": self.text,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if !self.blocks.is_empty() {
            body["blocks"] = json!(self.blocks);
        }
        if let Some(metadata) = metadata {
            body["metadata"] = metadata;
        }
        body
    }
}

/// A notification, ready to be laid out for one channel.
pub(super) struct Letter<'a> {
    pub(super) notification: &'a Notification,
    pub(super) message: Message,
    /// Mentions of owners; empty for none.
    pub(super) mentions: String,
    /// There is somebody to answer buttons.
    pub(super) has_buttons: bool,
}

impl Letter<'_> {
    /// The conversation's message, and what goes on in its thread. `mentions` only when it is posted, never
    /// when it is edited.
    pub(super) fn whole(
        &self,
        size: Size,
        continued: Continued,
        mentions: &str,
    ) -> (Sheet, Vec<Sheet>) {
        let message = &self.message;
        let head = Head {
            first_line: &message.first_line,
            mentions,
        };
        let Some(budget) = size.budget() else {
            return (self.plain(size, &head), Vec::new());
        };
        let mut blocks = head.blocks(message, budget);
        blocks.extend(self.buttons());
        let room = Room::before(budget, &message.remainder(0).unwrap_or_default());
        let cards: Vec<&Card> = message.cards.iter().collect();
        let shown = match &message.body {
            Some(_) => add_body(&mut blocks, message, &room),
            None => add_cards(&mut blocks, message, &cards, limits::FULL_CARDS, &room),
        };
        let (parts, placed) = self.parts(shown, continued, budget);
        blocks.extend(closing(message, shown, placed).as_deref().map(words));
        let text = head.text(message);
        (Sheet { text, blocks }, parts)
    }

    fn plain(&self, size: Size, head: &Head<'_>) -> Sheet {
        let mut text = head.text(&self.message);
        if size == Size::Plain {
            let mentions = head.mentions;
            let room = limits::TEXT.saturating_sub(text::measure(mentions) + 1);
            text = escape_within(&self.message.plain(limits::FULL_CARDS), room);
            if !mentions.is_empty() {
                text = format!("{text}\n{mentions}");
            }
        }
        Sheet {
            text,
            blocks: Vec::new(),
        }
    }

    /// Replies with the alerts after the first `shown`, and how many alerts they show.
    fn parts(&self, shown: usize, continued: Continued, budget: usize) -> (Vec<Sheet>, usize) {
        let message = &self.message;
        let alerts = self.alerts();
        let is_wanted = |index: usize| match continued {
            Continued::None => false,
            Continued::New => alerts.get(index).is_some_and(is_new),
            Continued::All => true,
        };
        let rest = message.cards.iter().enumerate().skip(shown);
        let rest: Vec<&Card> = rest
            .filter(|(index, _)| is_wanted(*index))
            .map(|(_, card)| card)
            .collect();
        let (mut parts, mut placed) = (Vec::new(), 0);
        while placed < rest.len() && parts.len() < limits::PARTS {
            let title = format!("Part {}: {}", parts.len() + 2, message.first_line);
            let mut blocks = vec![words(&title)];
            let room = Room::before(budget, "and 200 more");
            let added = add_cards(&mut blocks, message, &rest[placed..], 0, &room);
            if added == 0 {
                break;
            }
            placed += added;
            let left = rest.len() - placed;
            if left > 0 && parts.len() + 1 == limits::PARTS {
                blocks.push(words(&format!("and {left} more")));
            }
            let text = escape(&title);
            parts.push(Sheet { text, blocks });
        }
        (parts, placed)
    }

    /// One line in the thread that says what happened, and what it happened to.
    pub(super) fn line(&self) -> Sheet {
        let message = &self.message;
        let mut blocks = vec![section(&format!(
            "{} {}",
            message.tone.sign(),
            message.first_line
        ))];
        let more = self.more();
        if !more.is_empty() {
            blocks.push(words(&more.join("\n")));
        }
        let error = message.cards.first().and_then(|card| card.error.as_deref());
        if let Some(error) = error.filter(|_| message.reason == Reason::Changed) {
            let end = text::tail(error, limits::LAST_WORDS, str::to_owned);
            blocks.push(error_section(&end));
        }
        let mut text = escape(&message.first_line);
        for line in &more {
            text = format!("{text}\n{}", escape(line));
        }
        if !self.mentions.is_empty() {
            blocks.push(mrkdwn_section(&self.mentions));
            text = format!("{text}\n{}", self.mentions);
        }
        let text = text::cut(&text, limits::TEXT);
        Sheet { text, blocks }
    }

    /// What the first line does not say of a change.
    fn more(&self) -> Vec<String> {
        let message = &self.message;
        let cards = || self.alerts().iter().zip(&message.cards);
        match message.reason {
            Reason::SomeResolved => {
                let ended = cards().filter(|(_, card)| card.tone == Tone::Resolved);
                named(ended.map(|(_, card)| card))
            }
            Reason::NewAlerts => {
                let joined: Vec<&Card> = cards()
                    .filter(|(alert, _)| is_new(alert))
                    .map(|(_, card)| card)
                    .collect();
                match joined.len() {
                    // The first line is about it.
                    0 | 1 => Vec::new(),
                    _ => named(joined.into_iter()),
                }
            }
            Reason::Acknowledged | Reason::Silenced => message
                .cards
                .first()
                .map_or_else(Vec::new, |card| card.notes.clone()),
            _ => Vec::new(),
        }
    }

    fn alerts(&self) -> &[AlertView] {
        match &self.notification.body {
            Body::Alerts(alerts) => alerts,
            Body::Notice { .. } | Body::Digest(_) => &[],
        }
    }

    /// Buttons for the alert that leads, while it fires.
    fn buttons(&self) -> Option<Value> {
        let lead = self.message.cards.first();
        let lead = lead.filter(|card| card.tone != Tone::Resolved && !card.id.is_empty())?;
        let button = |(action, label): (&str, &str)| {
            json!({
                "type": "button",
                "action_id": action,
                "text": { "type": "plain_text", "text": label, "emoji": false },
                "value": lead.id,
            })
        };
        let elements = BUTTONS.map(button);
        self.has_buttons
            .then(|| json!({ "type": "actions", "block_id": "tardy", "elements": elements }))
    }
}

/// Buttons by their action, with what stands on them.
const BUTTONS: [(&str, &str); 4] = [
    ("tardy_ack", "Acknowledge"),
    ("tardy_silence_1h", "Silence 1 h"),
    ("tardy_silence_until_success", "Silence until next success"),
    ("tardy_why", "Why"),
];

fn is_new(alert: &AlertView) -> bool {
    alert.is_new && alert.ended_at.is_none()
}

/// The first headlines, and how many others.
fn named<'a>(cards: impl Iterator<Item = &'a Card>) -> Vec<String> {
    let mut lines: Vec<String> = cards.map(|card| card.headline.clone()).collect();
    let more = lines.len().saturating_sub(limits::NAMED);
    lines.truncate(limits::NAMED);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// What the message does not show: where it is, or how much it is.
fn closing(message: &Message, shown: usize, placed: usize) -> Option<String> {
    let rest = message.remainder(shown + placed);
    let below = (placed > 0).then(|| format!("{placed} more in the thread"));
    match (below, rest) {
        (Some(below), Some(rest)) => Some(format!("{below}; {rest}")),
        (below, rest) => below.or(rest),
    }
}
