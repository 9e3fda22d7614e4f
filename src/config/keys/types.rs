//! What a key's value may be.

use super::Section;

/// The type of a value, with its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Any text that is not empty.
    Text,
    /// The name of a section's kind.
    Kind,
    /// A list of texts.
    Texts,
    /// A glob or a list of globs; `!` negates.
    Patterns,
    /// `"15m"`.
    Duration,
    /// `"45m"` or `"1.5x p95"`.
    Limit,
    /// `"2 of 3"`.
    Times,
    /// A whole number within bounds.
    Integer(u32, u32),
    /// Above 0, at most 1.
    Share,
    /// Above 0, below 1.
    OpenShare,
    /// Above 0.
    Positive,
    /// 1 or more.
    Ratio,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// An IANA time zone.
    Zone,
    /// Five fields, or six or seven with seconds first.
    Cron,
    /// `"07:00"`.
    Time,
    /// `"07:00"`, `"26:00"` or `"+2h after schedule"`.
    Due,
    /// `"business day 3"`, `"last business day"`, `"day 15"` or `"last day"`.
    MonthDays,
    /// `"08:00-18:00"`.
    Hours,
    /// A list of weekdays, ranges of them and dates; `!` leaves out.
    Weekdays,
    /// A list of dates, `"2026-12-25"`.
    Dates,
    /// An http(s) address.
    Url,
    /// `{ env = "NAME" }` or `{ file = "path" }`.
    Secret,
    /// A secret whose value is an address.
    SecretUrl,
    /// A mail address.
    Mail,
    /// A list of mail addresses.
    Mails,
    /// `"127.0.0.1:8090"`.
    Socket,
    /// A list of matchers, `severity = "critical"`.
    Matchers,
    /// A table of names and texts.
    Map,
    /// A table.
    Table(&'static Section),
    /// A table that may be written many times.
    Tables(&'static Section),
}

impl Type {
    /// What is expected, in words.
    pub fn expectation(self) -> String {
        let text = match self {
            Self::Text => "a string",
            Self::Kind => "the name of a kind",
            Self::Texts => "a list of strings like [\"a\", \"b\"]",
            Self::Patterns => "a glob like \"hourly-*\" or a list of them",
            Self::Duration => "a duration like \"15m\"",
            Self::Limit => "a duration like \"45m\" or a factor like \"1.5x p95\"",
            Self::Times => "a text like \"2 of 3\"",
            Self::Integer(..) => "an integer",
            Self::Share => "a number above 0 and at most 1",
            Self::OpenShare => "a number above 0 and below 1",
            Self::Positive => "a number above 0",
            Self::Ratio => "a number that is 1 or more",
            Self::Boolean => "true or false",
            Self::Word(words) => return format!("one of {}", quoted(words)),
            Self::Words(words) => return format!("a list of the words {}", quoted(words)),
            Self::Zone => "a time zone like \"Europe/Berlin\"",
            Self::Cron => "a cron expression like \"0 8 * * mon-fri\"",
            Self::Time => "a time of day like \"07:00\"",
            Self::Due => "a time of day like \"07:00\" or a delay like \"+2h after schedule\"",
            Self::MonthDays => {
                "a day of the month like \"business day 3\" or \"last business day\""
            }
            Self::Hours => "hours like \"08:00-18:00\"",
            Self::Weekdays => "a list of weekdays like [\"mon-fri\"] or [\"!sat\", \"!sun\"]",
            Self::Dates => "a list of dates like [\"2026-12-25\"]",
            Self::Url => "an address like \"https://example.com\"",
            Self::Secret | Self::SecretUrl => "a secret like { env = \"NAME\" }",
            Self::Mail => "a mail address like \"Tardy <tardy@example.com>\"",
            Self::Mails => "a list of mail addresses like [\"oncall@example.com\"]",
            Self::Socket => "an address to listen on like \"127.0.0.1:8090\"",
            Self::Matchers => "a list of matchers like ['severity = \"critical\"']",
            Self::Map => "a table of texts like { team = \"analytics\" }",
            Self::Table(_) => "a table",
            Self::Tables(_) => "a list of tables",
        };
        text.to_owned()
    }

    /// A single text stands for a list of one.
    pub(crate) fn takes_one(self) -> bool {
        matches!(
            self,
            Self::Patterns | Self::Words(_) | Self::Weekdays | Self::Mails | Self::Matchers
        )
    }

    /// Several values, written as a list.
    pub(crate) fn is_list(self) -> bool {
        self.takes_one() || matches!(self, Self::Texts | Self::Dates)
    }

    /// The words of an enumeration.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Word(words) | Self::Words(words) => words,
            _ => &[],
        }
    }

    /// A number type allows `number`.
    pub(crate) fn is_in_bounds(self, number: f64) -> bool {
        match self {
            Self::Share => number > 0.0 && number <= 1.0,
            Self::OpenShare => number > 0.0 && number < 1.0,
            Self::Positive => number > 0.0 && number.is_finite(),
            Self::Ratio => number >= 1.0 && number.is_finite(),
            _ => false,
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}
