//! A digest as Discord embeds: one for each section, the last for all that remain, within the limits of a
//! message.

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
    let own = match sheet.sections.len() {
        many if many > limits::EMBEDS => limits::EMBEDS - 1,
        few => few,
    };
    let (first, others) = sheet.sections.split_at(own);
    for part in first {
        let title = text::cut(&part.heading(), limits::TITLE);
        let room = left.saturating_sub(text::measure(&title));
        let Some(shown) = description(part, room.min(limits::DESCRIPTION)) else {
            left_out.push(part.heading());
            continue;
        };
        left -= text::measure(&title) + text::measure(&shown);
        let embed = CreateEmbed::new().title(title).description(shown);
        embeds.push(embed.colour(color(part.mark())));
    }
    let mut shown: Vec<String> = Vec::new();
    let mut room = left.min(limits::DESCRIPTION);
    for part in others {
        let heading = format!("**{}**\n", escape(&part.heading()));
        // Two line feeds stand between sections.
        let taken = text::measure(&heading) + 2;
        match description(part, room.saturating_sub(taken)) {
            Some(rows) => {
                room -= taken + text::measure(&rows);
                shown.push(format!("{heading}{rows}"));
            }
            None => left_out.push(part.heading()),
        }
    }
    if !shown.is_empty() {
        let embed = CreateEmbed::new().description(shown.join("\n\n"));
        embeds.push(embed.colour(color(Mark::Plain)));
    }
    (embeds, left_out)
}

/// Good is as it should be: only concern has a colour.
fn color(mark: Mark) -> u32 {
    match mark {
        Mark::Dim | Mark::Good => Mark::Plain.rgb(),
        mark => mark.rgb(),
    }
}

/// As many rows as fit; `None` when not even one does.
fn description(part: &Section, room: usize) -> Option<String> {
    let row = |row: &super::Row| {
        let new = if row.is_new { "NEW " } else { "" };
        let colon = if row.text.is_empty() { "" } else { ": " };
        let (lead, text) = (escape(&row.lead), escape(&row.text));
        format!("• {new}**{lead}**{colon}{text}")
    };
    let mut lines: Vec<String> = part.rows.iter().map(row).collect();
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
