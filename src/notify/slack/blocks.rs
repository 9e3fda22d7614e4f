//! Block Kit: how both kinds of Slack receivers lay out a message.
//!
//! Role: a [`Message`] becomes blocks within Slack's limits: a head, as many cards as fit in as much detail as
//! fits, and a line about the rest. Guarantees: no block, and no list of blocks, exceeds a limit; untrusted text
//! stands in plain-text objects or code. It does not decide where the rest goes: the webhook counts it, the bot
//! goes on in the thread.

use serde_json::{Value, json};

use super::super::digest::slack::digest_blocks;
use super::super::limits::slack as limits;
use super::super::message::{BodySpan, Card, Detail, Message, Runbook};
use super::super::text;
use super::escape::{code, code_block, escape, escape_within, link};

fn plain_text(text: &str, limit: usize) -> Value {
    json!({ "type": "plain_text", "text": escape_within(text, limit), "emoji": false })
}

pub(in crate::notify) fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain_text(text, limits::SECTION) })
}

pub(in crate::notify) fn context(texts: &[Value]) -> Value {
    json!({ "type": "context", "elements": texts })
}

pub(in crate::notify) fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

pub(in crate::notify) fn mrkdwn_section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

/// How both texts of a message begin, the fallback and the blocks.
pub(in crate::notify) struct Head<'a> {
    /// The first line, as this message says it.
    pub(in crate::notify) first_line: &'a str,
    /// Mentions of owners; empty for none.
    pub(in crate::notify) mentions: &'a str,
}

impl Head<'_> {
    /// What phones and screen readers are given.
    pub(in crate::notify) fn text(&self, message: &Message) -> String {
        let mut said = format!("{}\n{}", escape(self.first_line), escape(&message.summary));
        if !self.mentions.is_empty() {
            said = format!("{said}\n{}", self.mentions);
        }
        text::cut(&said, limits::TEXT)
    }

    /// The blocks above the cards, of a message of at most `size`.
    pub(in crate::notify) fn blocks(&self, message: &Message, size: usize) -> Vec<Value> {
        if let Some(sheet) = &message.digest {
            return digest_blocks(sheet);
        }
        let mut blocks = vec![json!({
            "type": "header",
            "text": plain_text(self.first_line, limits::HEADER),
        })];
        if text::measure(&escape(self.first_line)) > limits::HEADER {
            blocks.push(section(self.first_line));
        }
        let summary = format!("{} {}", message.tone.sign(), message.summary);
        blocks.push(words(&summary));
        if !self.mentions.is_empty() {
            blocks.push(mrkdwn_section(self.mentions));
        }
        if let Some(notice) = &message.notice {
            blocks.extend(sections(notice, size / 2));
        }
        blocks
    }
}

/// A long text as sections, parted at line ends. What exceeds `left` is cut.
fn sections(long: &str, mut left: usize) -> Vec<Value> {
    let mut sections = Vec::new();
    let mut part = String::new();
    for line in long.lines() {
        let line = escape_within(line, limits::SECTION.min(left));
        let size = text::measure(&line) + 1;
        if text::measure(&part) + size > limits::SECTION {
            sections.push(std::mem::take(&mut part));
        }
        if size > left {
            part.push('…');
            break;
        }
        left -= size;
        part.push_str(if part.is_empty() { "" } else { "\n" });
        part.push_str(&line);
    }
    sections.push(part);
    sections.retain(|part| !part.trim().is_empty());
    let section = |part: &String| {
        let text = json!({ "type": "plain_text", "text": part, "emoji": false });
        json!({ "type": "section", "text": text })
    };
    sections.iter().map(section).collect()
}

/// Small words that stand for themselves.
pub(in crate::notify) fn words(said: &str) -> Value {
    context(&[plain_text(said, limits::FIELD)])
}

/// What cards may take up.
pub(in crate::notify) struct Room {
    /// Characters of all blocks as JSON.
    pub(in crate::notify) size: usize,
    /// Blocks.
    pub(in crate::notify) blocks: usize,
}

impl Room {
    /// A message of at most `size`, with a last block of `said`.
    pub(in crate::notify) fn before(size: usize, said: &str) -> Self {
        // The words may still grow by a number.
        let last = json_size(&[words(said)]) + 48;
        Self {
            size: size.saturating_sub(last),
            blocks: limits::BLOCKS - 1,
        }
    }
}

/// Adds the receiver's own text in place of the cards: as plain text, or, where it names a link, as mrkdwn in
/// which nothing but that link is interpreted. Counts all cards as shown.
pub(in crate::notify) fn add_body(
    blocks: &mut Vec<Value>,
    message: &Message,
    room: &Room,
) -> usize {
    let lines = message.body_lines();
    let mut spans = lines.iter().flatten();
    let has_link = spans.any(|span| matches!(span, BodySpan::Link(..)));
    let piece = |span: BodySpan<'_>| match span {
        BodySpan::Text(text) if has_link => unformatted(text),
        BodySpan::Text(text) => escape(text),
        BodySpan::Link(url, word) => link(url, word),
    };
    let mut used = json_size(blocks) + CUT_BYTES;
    for piece in message.body_pieces(limits::SECTION, piece) {
        let block = if has_link {
            mrkdwn_section(&piece)
        } else {
            let text = json!({ "type": "plain_text", "text": piece, "emoji": false });
            json!({ "type": "section", "text": text })
        };
        used += json_size(std::slice::from_ref(&block));
        if used > room.size || blocks.len() + 1 >= room.blocks {
            blocks.push(words("the text was cut here"));
            break;
        }
        blocks.push(block);
    }
    message.cards.len()
}

/// What the block about a cut takes, as JSON.
const CUT_BYTES: usize = 120;

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

/// Adds as many cards as fit, in as much detail as fits; says how many. The first `full` may have full detail.
pub(in crate::notify) fn add_cards(
    blocks: &mut Vec<Value>,
    message: &Message,
    cards: &[&Card],
    full: usize,
    room: &Room,
) -> usize {
    let mut used = json_size(blocks);
    for (index, card) in cards.iter().enumerate() {
        let details = if index < full {
            &[Detail::Full, Detail::Brief, Detail::Minimal][..]
        } else {
            &[Detail::Brief, Detail::Minimal]
        };
        let fitting = details.iter().find_map(|detail| {
            let added = card_blocks(&card.at(*detail), message);
            let size = json_size(&added);
            let fits = used + size <= room.size && blocks.len() + added.len() <= room.blocks;
            fits.then_some((added, size))
        });
        let Some((added, size)) = fitting else {
            return index;
        };
        blocks.extend(added);
        used += size;
    }
    cards.len()
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
pub(in crate::notify) fn error_section(error: &str) -> Value {
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
        // People's own words are among them.
        parts.push(unformatted(&card.notes.join(", ")));
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

    fn texts(sections: &[Value]) -> Vec<&str> {
        sections
            .iter()
            .map(|section| section["text"]["text"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn a_long_text_is_parted_at_line_ends_at_the_limit() {
        let line = "x".repeat(999);
        // Three lines and two line ends are 2 999 units: they fit, and one more unit does not.
        for (last, expected) in [
            (999, vec![2_999]),
            (1_000, vec![3_000]),
            (1_001, vec![1_999, 1_001]),
        ] {
            let text = format!("{line}\n{line}\n{}", "y".repeat(last));
            let sizes: Vec<usize> = texts(&sections(&text, 6_000))
                .iter()
                .map(|text| text.len())
                .collect();
            assert_eq!(sizes, expected, "{last}");
        }
        assert_eq!(texts(&sections("a\n\nb", 100)), ["a\n\nb"]);
        assert!(sections("\n \n", 100).is_empty());
    }

    #[test]
    fn what_exceeds_the_room_of_a_long_text_is_cut() {
        for unit in ["x", "<", "\n", "word ", "🚀", "x\n"] {
            for left in [0, 1, 2, 10, 3_000, 3_001, 6_000] {
                let parts = sections(&unit.repeat(5_000), left);
                let parts = texts(&parts);
                let size: usize = parts.iter().map(|part| text::measure(part)).sum();
                assert!(size <= left + 1, "{unit:?}: {size} of {left}");
                assert!(
                    parts
                        .iter()
                        .all(|part| text::measure(part) <= limits::SECTION)
                );
            }
        }
    }

    #[test]
    fn a_first_line_longer_than_a_header_is_said_whole_below() {
        let message = |line: &str| {
            use crate::engine::labels::{Fingerprint, Labels};
            use crate::engine::notification::{Body, ConversationId, Notification, Reason};
            let notification = Notification {
                receiver: "team".into(),
                conversation: ConversationId(Fingerprint::of("x", &Labels::default())),
                sequence: 0,
                reason: Reason::Notice,
                decided_at: crate::engine::time::Timestamp::from_millis(0),
                group: Labels::default(),
                route: "root".into(),
                body: Body::Notice {
                    headline: line.to_owned(),
                    text: String::new(),
                },
                omitted: 0,
                rollup: None,
                suppressed: Vec::new(),
            };
            Message::new(&notification, chrono_tz::UTC)
        };
        for (count, blocks) in [(149, 2), (150, 2), (151, 3)] {
            let line = "x".repeat(count);
            let head = Head {
                first_line: &line,
                mentions: "",
            };
            assert_eq!(
                head.blocks(&message(&line), limits::BUDGET).len(),
                blocks,
                "{count}"
            );
        }
    }
}
