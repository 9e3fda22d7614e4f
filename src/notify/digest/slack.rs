//! A digest as Slack blocks, for the webhook and the bot: at most 50 blocks and 12 000 characters. Texts from
//! outside stand in plain-text objects, escaped.

use serde_json::{Value, json};

use super::super::limits::slack as limits;
use super::super::slack::escape::escape_within;
use super::super::text;
use super::{Mark, Section, Sheet};

/// Room that is kept for the line about what is left out.
const REST: usize = 300;

/// The blocks of a digest; the message's `text` is the verdict.
pub fn digest_blocks(sheet: &Sheet) -> Vec<Value> {
    let header = plain_text(&sheet.verdict, limits::HEADER);
    let mut blocks = vec![json!({ "type": "header", "text": header })];
    if text::measure(&escape_within(&sheet.verdict, usize::MAX)) > limits::HEADER {
        blocks.push(section(&sheet.verdict));
    }
    let about = format!("{} {}", sign(sheet.mark), sheet.about);
    blocks.push(context(&about, limits::FIELD));
    if !sheet.notes.is_empty() {
        blocks.push(context(&sheet.notes.join(" "), limits::FIELD));
    }
    let mut left_out = Vec::new();
    for part in &sheet.sections {
        let used = size(&blocks) + REST;
        let room = limits::BUDGET.saturating_sub(used);
        match section_block(part, room) {
            Some(block) if blocks.len() + 2 < limits::BLOCKS => {
                blocks.push(title(part));
                blocks.push(block);
            }
            _ => left_out.push(part.heading()),
        }
    }
    if !left_out.is_empty() {
        let rest = format!(
            "No room for: {}. See all: tardy digest",
            left_out.join(", ")
        );
        blocks.push(context(&rest, REST - 100));
    }
    blocks
}

fn plain_text(text: &str, limit: usize) -> Value {
    json!({ "type": "plain_text", "text": escape_within(text, limit), "emoji": false })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain_text(text, limits::SECTION) })
}

fn context(text: &str, limit: usize) -> Value {
    json!({ "type": "context", "elements": [plain_text(text, limit)] })
}

fn size(blocks: &[Value]) -> usize {
    let sizes = blocks
        .iter()
        .map(|block| text::measure(&block.to_string()) + 1);
    sizes.sum()
}

/// A sign of its own shape beside the words.
fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "✅",
        Mark::Warn => "🔶",
        Mark::Bad => "🔴",
        Mark::Plain | Mark::Dim => "🔹",
    }
}

/// Our own words: they may be bold.
fn title(part: &Section) -> Value {
    json!({
        "type": "section",
        "text": { "type": "mrkdwn", "text": format!("*{}*", part.heading()), "verbatim": true },
    })
}

/// As many rows as fit; `None` when not even one does.
fn section_block(part: &Section, room: usize) -> Option<Value> {
    let mut shown = part.rows.len();
    while shown > 0 {
        let mut lines: Vec<String> = part.rows[..shown]
            .iter()
            .map(|row| format!("• {}", row.line()))
            .collect();
        lines.extend(part.remainder(shown));
        let text = lines.join("\n");
        let is_whole = text::measure(&escape_within(&text, usize::MAX)) <= limits::SECTION;
        let block = section(&text);
        if is_whole && size(&[title(part), block.clone()]) <= room {
            return Some(block);
        }
        shown -= 1;
    }
    None
}
