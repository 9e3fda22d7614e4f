//! Cards on the terminal.
//!
//! A card when a conversation opens, one line when it changes, one line when it ends. Written to the
//! context's writer; printing itself is the command line's. Guarantees: at most 100 columns; data brings no
//! terminal escape with it; colour always comes with its word.

use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};

use super::digest::Sheet;
use super::limits::console as limits;
use super::message::{Card, Message, Runbook, Tone};
use super::{BuildContext, Delivery, Notifier, Outcome, Preview, PreviewForm, Writer};

/// Writes cards.
pub(super) struct Console {
    out: Arc<Mutex<dyn Write + Send>>,
    writer: Writer,
    paint: Paint,
}

impl Console {
    pub(super) fn new(context: &BuildContext) -> Self {
        Self {
            out: context.console.clone(),
            writer: context.writer(),
            paint: Paint(context.is_colored),
        }
    }

    fn text(&self, paint: Paint, delivery: Delivery<'_>) -> String {
        let message = self.writer.message(delivery.notification);
        if message.is_opening && !message.is_ending || message.notice.is_some() {
            paint.cards(&message)
        } else {
            paint.change(&message)
        }
    }

    fn write(&self, delivery: Delivery<'_>) -> std::io::Result<()> {
        let text = self.text(self.paint, delivery);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Notifier for Console {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let outcome = match self.write(delivery) {
            Ok(()) => Outcome::Delivered { handle: None },
            Err(error) => Outcome::Retry {
                after: None,
                why: format!("cannot write to the terminal: {error}"),
                is_uncertain: false,
            },
        };
        Box::pin(std::future::ready(outcome))
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        vec![Preview {
            title: "on the terminal",
            form: PreviewForm::Text,
            text: self.text(Paint(false), delivery),
        }]
    }
}

/// Colours, when they are wanted.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn tone(self, tone: Tone, text: &str) -> String {
        let color = match tone {
            Tone::Critical => AnsiColor::Red,
            Tone::Warning => AnsiColor::Yellow,
            Tone::Info => AnsiColor::Blue,
            Tone::Resolved => AnsiColor::Green,
            Tone::Notice => AnsiColor::Magenta,
        };
        self.with(color.on_default().bold(), text)
    }

    fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// `07:05 EST  CRITICAL  first line`, then what differs.
    fn change(self, message: &Message) -> String {
        let time = &message.decided;
        let id = message.lead_id().unwrap_or_default();
        let taken = columns(time) + columns(message.tone.word()) + columns(id) + 6;
        let room = limits::COLUMNS.saturating_sub(taken);
        let line = shorten(&message.first_line, room);
        let word = self.tone(message.tone, message.tone.word());
        let line = format!("{}  {word}  {}  {line}\n", self.dim(time), self.dim(id));
        match &message.note {
            Some(note) => format!("{line}{}\n", self.dim(&shorten(note, limits::COLUMNS))),
            None => line,
        }
    }

    fn cards(self, message: &Message) -> String {
        let mut lines = vec![self.head(message)];
        if let Some(sheet) = &message.digest {
            lines.extend(self.digest(sheet));
            return format!("{}\n", lines.join("\n"));
        }
        for line in message.notice.iter().flat_map(|notice| notice.lines()) {
            lines
                .extend(wrap(line, limits::COLUMNS - 2).map(|line| self.edge(message.tone, &line)));
        }
        for line in message.body.iter().flat_map(|body| body.lines()) {
            lines
                .extend(wrap(line, limits::COLUMNS - 2).map(|line| self.edge(message.tone, &line)));
        }
        let (shown, written) = match message.body {
            Some(_) => (message.cards.len(), 0),
            None => [message.cards.len().min(limits::ALERTS); 2].into(),
        };
        for (index, card) in message.cards[..written].iter().enumerate() {
            lines.extend(self.title(message, card));
            match index {
                0 => lines.extend(self.rows(card)),
                _ => lines.extend(self.last_row(card)),
            }
        }
        lines.extend(message.remainder(shown).map(|more| {
            self.edge(
                message.tone,
                &self.dim(&shorten(&more, limits::COLUMNS - 2)),
            )
        }));
        format!("{}\n", lines.join("\n"))
    }

    /// The sections, under their titles.
    fn digest(self, sheet: &Sheet) -> Vec<String> {
        let tone = Tone::Notice;
        let wrapped = |text: &str| wrap(text, limits::COLUMNS - 2).collect::<Vec<String>>();
        let mut lines = Vec::new();
        for text in std::iter::once(&sheet.about).chain(&sheet.notes) {
            let dim = wrapped(text).into_iter();
            lines.extend(dim.map(|line| self.edge(tone, &self.dim(&line))));
        }
        for section in &sheet.sections {
            lines.push(self.edge(tone, ""));
            let title = self.with(Style::new().bold(), &section.heading());
            lines.push(self.edge(tone, &title));
            let rows = section.rows.iter().map(|row| format!("- {}", row.line()));
            let rest = section.remainder(section.rows.len());
            for row in rows.chain(rest.map(|rest| format!("- {rest}"))) {
                let row = wrapped(&row).into_iter();
                lines.extend(row.map(|line| self.edge(tone, &line)));
            }
        }
        lines
    }

    fn head(self, message: &Message) -> String {
        let taken = columns(message.tone.word()) + columns(&message.decided) + 6;
        let mut parts = wrap(&message.first_line, limits::COLUMNS - taken);
        let first = parts.next().unwrap_or_default();
        let word = self.tone(message.tone, &format!("■ {}", message.tone.word()));
        let mut head = format!("{word}  {first}  {}", self.dim(&message.decided));
        for part in parts {
            head = format!("{head}\n{}", self.edge(message.tone, &part));
        }
        head
    }

    fn title(self, message: &Message, card: &Card) -> Vec<String> {
        let title = message.title(card).unwrap_or_default();
        let lines = wrap(&title, limits::COLUMNS - 2).filter(|line| !line.is_empty());
        lines
            .map(|line| self.edge(card.tone, &self.tone(card.tone, &line)))
            .collect()
    }

    fn rows(self, card: &Card) -> Vec<String> {
        let mut lines = Vec::new();
        let mut row = |name: &str, value: &str| lines.extend(self.row(card.tone, name, value));
        for fact in card.facts.iter().chain([&card.duration]) {
            row(&fact.name, &fact.value);
        }
        let mut block = |name: &str, text: &Option<String>| {
            for (index, line) in text.iter().flat_map(|text| text.lines()).enumerate() {
                row(if index == 0 { name } else { "" }, line);
            }
        };
        block("Error", &card.error);
        block("About", &card.description);
        row("Rule", &card.rule_with_origin());
        if let Some(owner) = &card.owner {
            row("Owner", owner);
        }
        if let Some(url) = &card.run_url {
            row("Run", url);
        }
        match &card.runbook {
            Some(Runbook::Link(text) | Runbook::Text(text)) => row("Runbook", text),
            None => {}
        }
        lines.extend(self.last_row(card));
        lines
    }

    /// How to ask for more, with the alert's circumstances.
    fn last_row(self, card: &Card) -> Vec<String> {
        let why = [card.why_command().as_str()]
            .into_iter()
            .chain(card.notes.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("; ");
        self.row(card.tone, "Why", &why)
    }

    fn row(self, tone: Tone, name: &str, value: &str) -> Vec<String> {
        const NAME: usize = 14;
        let name = shorten(name, NAME);
        let mut lines = Vec::new();
        for (index, part) in wrap(value, limits::COLUMNS - NAME - 4).enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            let pad = " ".repeat(NAME.saturating_sub(columns(name)));
            let line = format!("{}{pad}  {part}", self.dim(name));
            lines.push(self.edge(tone, line.trim_end()));
        }
        lines
    }

    fn edge(self, tone: Tone, line: &str) -> String {
        format!("{} {line}", self.tone(tone, "│"))
    }
}

/// Columns a character takes on a terminal.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{2600}'..='\u{27bf}'
        | '\u{1f000}'..='\u{1ffff}'
        | '\u{20000}'..='\u{3ffff}' => 2,
        _ => 1,
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn shorten(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += width(*c);
        used <= room
    });
    let kept: String = kept.collect();
    format!("{}…", kept.trim_end())
}

/// Lines of at most `room` columns, broken at spaces where there are any.
fn wrap(text: &str, room: usize) -> std::vec::IntoIter<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        let is_fresh = lines.last().is_none_or(String::is_empty);
        let used = lines.last().map_or(0, |line| columns(line));
        if !is_fresh && used + 1 + columns(word) > room {
            lines.push(String::new());
        } else if !is_fresh {
            push(&mut lines, " ");
        }
        while columns(word) > room {
            let end = fitting(word, room);
            push(&mut lines, &word[..end]);
            lines.push(String::new());
            word = &word[end..];
        }
        push(&mut lines, word);
    }
    lines.into_iter()
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

/// Bytes of `word` that fit into `room` columns; at least one character.
fn fitting(word: &str, room: usize) -> usize {
    let mut used = 0;
    let mut ends = word.char_indices().skip_while(|(index, c)| {
        used += width(*c);
        *index == 0 || used <= room
    });
    ends.next().map_or(word.len(), |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_by_columns() {
        let wrapped = |text: &str, room| wrap(text, room).collect::<Vec<_>>();
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("数据管道", 4), ["数据", "管道"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(shorten("数据管道", 5), "数据…");
    }

    proptest::proptest! {
        #[test]
        fn wrapping_keeps_every_word_within_the_room(text in "[a-z数🚀 ]{0,60}", room in 2_usize..20) {
            let lines: Vec<String> = wrap(&text, room).collect();
            proptest::prop_assert!(lines.iter().all(|line| columns(line) <= room));
            let joined: String = lines.concat().replace(' ', "");
            proptest::prop_assert_eq!(joined, text.replace(' ', ""));
        }
    }
}
