//! A digest as Discord embeds: one for each section, within the limits of a message.

use serenity::builder::CreateEmbed;

use super::super::discord_webhook::body::escape;
use super::super::limits::discord as limits;
use super::super::text;
use super::{Mark, Section, Sheet};

/// The embeds, and the headings of sections that found no room.
pub(in crate::notify) fn digest_embeds(sheet: &Sheet) -> (Vec<CreateEmbed>, Vec<String>) {
    let mut embeds = Vec::new();
    let mut left_out = Vec::new();
    let mut left = limits::EMBEDS_TOTAL;
    for part in &sheet.sections {
        let title = text::cut(&part.heading(), limits::TITLE);
        let room = left
            .saturating_sub(text::measure(&title))
            .min(limits::DESCRIPTION);
        let shown = description(part, room).filter(|_| embeds.len() < limits::EMBEDS);
        let Some(shown) = shown else {
            left_out.push(part.heading());
            continue;
        };
        left -= text::measure(&title) + text::measure(&shown);
        let color = match part.mark() {
            Mark::Dim | Mark::Good => Mark::Plain,
            mark => mark,
        };
        embeds.push(
            CreateEmbed::new()
                .title(title)
                .description(shown)
                .colour(color.rgb()),
        );
    }
    (embeds, left_out)
}

/// As many rows as fit; `None` when not even one does.
fn description(part: &Section, room: usize) -> Option<String> {
    let mut lines: Vec<String> = part
        .rows
        .iter()
        .map(|row| {
            let new = if row.is_new { "NEW " } else { "" };
            let colon = if row.text.is_empty() { "" } else { ": " };
            format!(
                "• {new}**{}**{colon}{}",
                escape(&row.lead),
                escape(&row.text)
            )
        })
        .collect();
    while !lines.is_empty() {
        let rest = part.remainder(lines.len());
        let all: Vec<&str> = lines.iter().chain(&rest).map(String::as_str).collect();
        let text = all.join("\n");
        if text::measure(&text) <= room {
            return Some(text);
        }
        lines.pop();
    }
    None
}
