//! A receiver's own text, cut to a platform's form.
//!
//! The text is data like every other: it is escaped by the platform's own rules. Only links that the message
//! itself has checked (to the run, to the runbook) stay links where they are named.

use super::super::text::measure;
use super::{Message, Runbook};

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySpan<'a> {
    /// Text.
    Text(&'a str),
    /// A link that was checked, and the word for what it leads to.
    Link(&'a str, &'static str),
}

impl Message {
    /// The lines of the own text, each in its parts; none when there is no own text.
    pub fn body_lines(&self) -> Vec<Vec<BodySpan<'_>>> {
        let links = self.links();
        let body = self.body.as_deref().unwrap_or_default();
        body.lines().map(|line| spans(line, &links)).collect()
    }

    /// The own text as `written` writes each part of it, in pieces of at most `limit` units, broken between lines
    /// where that is possible. None when there is no own text: then the cards are shown.
    pub fn body_pieces(
        &self,
        limit: usize,
        written: impl Fn(BodySpan<'_>) -> String,
    ) -> Vec<String> {
        let mut pieces: Vec<String> = Vec::new();
        for line in self.body_lines() {
            let mut is_first = true;
            for part in fitting(&line, limit, &written) {
                let gap = if is_first { "\n" } else { "" };
                match pieces.last_mut() {
                    Some(last) if measure(last) + gap.len() + measure(&part) <= limit => {
                        last.push_str(gap);
                        last.push_str(&part);
                    }
                    _ => pieces.push(part),
                }
                is_first = false;
            }
        }
        pieces.retain(|piece| !piece.trim().is_empty());
        pieces
    }

    /// Links that were checked, longest first, so that none is taken for the beginning of another.
    fn links(&self) -> Vec<(&str, &'static str)> {
        let cards = self.cards.iter().chain(&self.counted);
        let links = cards.flat_map(|card| {
            let runbook = match &card.runbook {
                Some(Runbook::Link(url)) => Some((url.as_str(), "runbook")),
                Some(Runbook::Text(_)) | None => None,
            };
            let run = card.run_url.as_deref().map(|url| (url, "run"));
            run.into_iter().chain(runbook)
        });
        let mut links: Vec<(&str, &str)> = links.collect();
        links.sort_unstable_by_key(|(url, word)| (std::cmp::Reverse(url.len()), *url, *word));
        links.dedup();
        links
    }
}

/// A line as it is written: whole when it fits, else in its parts, long texts cut further.
fn fitting(
    line: &[BodySpan<'_>],
    limit: usize,
    written: &impl Fn(BodySpan<'_>) -> String,
) -> Vec<String> {
    let whole: String = line.iter().map(|span| written(*span)).collect();
    if measure(&whole) <= limit {
        return vec![whole];
    }
    // No platform's escapes make a character longer than this.
    let chars = (limit / 8).max(1);
    let mut parts = Vec::new();
    for span in line {
        match span {
            BodySpan::Text(text) if measure(&written(*span)) > limit => {
                let mut rest = *text;
                while !rest.is_empty() {
                    let end = rest
                        .char_indices()
                        .nth(chars)
                        .map_or(rest.len(), |(at, _)| at);
                    parts.push(written(BodySpan::Text(&rest[..end])));
                    rest = &rest[end..];
                }
            }
            BodySpan::Text(_) | BodySpan::Link(..) => parts.push(written(*span)),
        }
    }
    parts.retain(|part| measure(part) <= limit);
    parts
}

fn spans<'a>(line: &'a str, links: &[(&str, &'static str)]) -> Vec<BodySpan<'a>> {
    let mut spans = Vec::new();
    let mut rest = line;
    let next = |rest: &str| {
        let found = links
            .iter()
            .filter_map(|(url, word)| Some((rest.find(url)?, url.len(), *word)));
        found.min_by_key(|(at, len, _)| (*at, std::cmp::Reverse(*len)))
    };
    while let Some((at, len, word)) = next(rest) {
        if at > 0 {
            spans.push(BodySpan::Text(&rest[..at]));
        }
        spans.push(BodySpan::Link(&rest[at..at + len], word));
        rest = &rest[at + len..];
    }
    if !rest.is_empty() || spans.is_empty() {
        spans.push(BodySpan::Text(rest));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checked_links_are_links() {
        let links = [("https://x/runs/12", "run"), ("https://x/runs/1", "run")];
        assert_eq!(
            spans("see https://x/runs/12, not https://evil", &links),
            [
                BodySpan::Text("see "),
                BodySpan::Link("https://x/runs/12", "run"),
                BodySpan::Text(", not https://evil"),
            ]
        );
        assert_eq!(spans("", &links), [BodySpan::Text("")]);
    }

    #[test]
    fn long_lines_are_cut_and_links_stay_whole() {
        let url = "https://x/1";
        let line = [
            BodySpan::Text("aaaaaaaaaaaaaaaaaaaa"),
            BodySpan::Link(url, "run"),
        ];
        let written = |span: BodySpan<'_>| match span {
            BodySpan::Text(text) => text.replace('a', "&a;"),
            BodySpan::Link(url, _) => format!("<{url}>"),
        };
        let parts = fitting(&line, 20, &written);
        assert!(parts.iter().all(|part| measure(part) <= 20), "{parts:?}");
        assert_eq!(parts.concat().matches('a').count(), 20);
        assert!(parts.contains(&format!("<{url}>")));
    }
}
