//! The bounds of every message, each with its source.
//!
//! Marks: D: the vendor's documentation; S: read in the vendor's or a community library's source; O: ours.

/// Name of a chart's file. O.
pub const FILE_NAME: usize = 64;

/// Of the neutral message, before any platform: what a person reads at a glance. All O; together they keep
/// one alert inside one Discord embed most of the time.
pub mod message {
    /// A headline: two lines on a phone.
    pub const HEADLINE: usize = 240;
    /// Facts of an alert.
    pub const FACTS: usize = 15;
    /// Name of a fact.
    pub const FACT_NAME: usize = 40;
    /// Value of a fact.
    pub const FACT_VALUE: usize = 300;
    /// End of an error text, as the engine promises it.
    pub const ERROR: usize = 600;
    /// Description of a rule.
    pub const DESCRIPTION: usize = 600;
    /// Names: rule, owner, origin, id.
    pub const NAME: usize = 160;
    /// A link; longer ones are not shown as links.
    pub const LINK: usize = 700;
    /// Text of a notice.
    pub const NOTICE: usize = 2_500;
    /// Different reasons named in the line about suppressed alerts.
    pub const SUPPRESSION_REASONS: usize = 5;
    /// Alerts looked at; the rest is counted.
    pub const ALERTS: usize = 200;
    /// A receiver's own text in place of the cards: one Discord embed, two sections on Slack.
    pub const BODY: usize = 4_000;
    /// What is said of a template that failed.
    pub const NOTE: usize = 400;
}

/// A receiver's own templates. All O.
pub mod template {
    /// Work one rendering may do: instructions, and bytes by the 64. A list of 200 alerts with ten facts each
    /// takes a fifth of it; all of it takes some milliseconds and at most 13 MB.
    pub const FUEL: u64 = 200_000;
    /// Macros and includes within one another.
    pub const DEPTH: usize = 50;
    /// Bytes of one template.
    pub const SOURCE_BYTES: usize = 32 * 1024;
    /// Different failures that are logged for each receiver.
    pub const WARNINGS: usize = 30;
}

/// Slack: the bot and incoming webhooks.
pub mod slack {
    /// Blocks of a message. D.
    pub const BLOCKS: usize = 50;
    /// Text of a header block. D.
    pub const HEADER: usize = 150;
    /// Text of a section block. D.
    pub const SECTION: usize = 3_000;
    /// Fields of a section block. D.
    pub const FIELDS: usize = 10;
    /// Text of a field. D.
    pub const FIELD: usize = 2_000;
    /// Elements of a context block. D.
    pub const CONTEXT_ELEMENTS: usize = 10;
    /// Characters of all blocks as JSON: about 13 200 fail with `msg_blocks_too_long`, undocumented
    /// (slackapi/bolt-js issue 2509). O.
    pub const BUDGET: usize = 12_000;
    /// The fallback text: 4 000 advised by D; O.
    pub const TEXT: usize = 3_000;
    /// Cards that may have full detail: what is read before the thumb moves on. O.
    pub const FULL_CARDS: usize = 3;
    /// Characters of all blocks when Slack has found [`BUDGET`] too long: its limit moves with the content. O.
    pub const SMALL_BUDGET: usize = 6_000;
    /// Thread replies that go on with what did not fit: about 50 alerts, more than anybody reads. O.
    pub const PARTS: usize = 5;
    /// Alerts that a reply names in one line each. O.
    pub const NAMED: usize = 3;
    /// The end of an error in a reply. O.
    pub const LAST_WORDS: usize = 300;
    /// Messages that may follow each other without a pause; Slack tolerates short bursts beside one a second
    /// (D) without saying how long. O.
    pub const BURST: u32 = 3;
    /// Messages of one page when a message is looked up: the most recent come first. D: at most 999, 200 advised.
    pub const LOOK_UP_PAGE: usize = 200;
    /// Pages looked through; a message further back counts as not there. O.
    pub const LOOK_UP_PAGES: usize = 3;
    /// Bytes of an answer that are read: a message is repeated in it, with each character as up to six bytes. O.
    pub const ANSWER_BYTES: usize = 1 << 20;
    /// Bytes of a page that are read: 200 messages with metadata and blocks of ours. O.
    pub const LOOK_UP_BYTES: usize = 4 << 20;
    /// Bytes of a chart; ours are about 60 kB. O.
    pub const CHART_BYTES: usize = 1 << 20;
    /// Deliveries whose progress is remembered between attempts. O.
    pub const PROGRESS: usize = 256;
}

/// Discord messages and embeds.
pub mod discord {
    /// Content of a message. D.
    pub const CONTENT: usize = 2_000;
    /// Embeds of a message. D.
    pub const EMBEDS: usize = 10;
    /// Characters of all embeds of a message together. D.
    pub const EMBEDS_TOTAL: usize = 6_000;
    /// Title of an embed. D.
    pub const TITLE: usize = 256;
    /// Description of an embed. D.
    pub const DESCRIPTION: usize = 4_096;
    /// Fields of an embed. D.
    pub const FIELDS: usize = 25;
    /// Name of a field. D.
    pub const FIELD_NAME: usize = 256;
    /// Value of a field. D.
    pub const FIELD_VALUE: usize = 1_024;
    /// Footer of an embed. D.
    pub const FOOTER: usize = 2_048;
    /// Description of a file. D.
    pub const ALT: usize = 1_024;
    /// Messages in which one goes on; what does not fit even so is counted. O: forty alerts.
    pub const FOLLOW_UPS: usize = 3;
    /// Failed attempts whose progress is remembered. O.
    pub const PROGRESS: usize = 256;
    /// Id of the alert of a chart, in a handle. O.
    pub const PICTURE_ALERT: usize = 40;
}

/// PagerDuty events.
pub mod pagerduty {
    /// Summary of an event. D.
    pub const SUMMARY: usize = 1_024;
    /// Source, component, group, class. O.
    pub const FIELD: usize = 255;
    /// Alerts written out; the rest is counted. O: what a person who was woken reads.
    pub const ALERTS: usize = 20;
    /// Labels of an alert. O.
    pub const LABELS: usize = 20;
    /// Bytes of the alerts as JSON. D: 512 KB for the whole event; O: far below it.
    pub const DETAILS_BYTES: usize = 200_000;
    /// Links of an event. O.
    pub const LINKS: usize = 10;
}

/// Cards in Microsoft Teams.
pub mod teams {
    /// A message as JSON, in UTF-8 or UTF-16, whichever is more. D: about 28 KB, counted as UTF-16 for bots; a
    /// workflow accepts a larger one and fails later, unseen, so that it must not come near. O.
    pub const BYTES: usize = 24_000;
    /// Lines of an error, a description or a notice: each is an element. O.
    pub const LINES: usize = 20;
}

/// Mail.
pub mod mail {
    /// Alerts shown; with the bounds of a card this stays below the size at which Gmail clips (about
    /// 102 kB). O.
    pub const ALERTS: usize = 12;
    /// Subject, without `Re: `: what mail programs show of it. O.
    pub const SUBJECT: usize = 120;
    /// HTML that is sent; a longer one is left out, and the plain text goes alone. O, below Gmail's clip.
    pub const HTML_BYTES: usize = 100_000;
    /// Deliveries whose progress by recipient is remembered between attempts. O.
    pub const PROGRESS: usize = 256;
    /// Words beside a chart. O: four lines.
    pub const ALT: usize = 400;
    /// Label of a receiver in `List-Id`; labels of names have at most 63. O.
    pub const LIST: usize = 60;
    /// Recipients listed in a handle, which may take 2 KiB. O.
    pub const HANDLE_RECIPIENTS: usize = 30;
}

/// The signed JSON webhook.
pub mod webhook {
    /// Alerts in a body; the rest is counted. O: about 1 MiB of JSON at the neutral bounds.
    pub const ALERTS: usize = super::message::ALERTS;
    /// Labels of an alert. O.
    pub const LABELS: usize = 64;
    /// A label's name or value. O.
    pub const LABEL: usize = 1_024;
}

/// The terminal.
pub mod console {
    /// Columns of a card. O.
    pub const COLUMNS: usize = 100;
    /// Cards of one notification; the rest is counted. O: one screen.
    pub const ALERTS: usize = 8;
}

/// HTTP in general.
pub mod http {
    /// Bytes of an answer that are read. O: every answer we understand is smaller.
    pub const BODY_BYTES: usize = 64 * 1024;
    /// Answers 429 within one attempt. O: a limiter that says "now" for ever is not waited for.
    pub const LIMITED_TRIES: u32 = 5;
    /// Text of an answer that is repeated to people. O.
    pub const ECHO: usize = 160;
}

/// Digests. All O.
pub mod digest {
    /// Text of a cell.
    pub const CELL: usize = 260;
    /// The name of a digest.
    pub const NAME: usize = 80;
    /// The whole as plain text.
    pub const TEXT: usize = 16_000;
    /// A text in the JSON of the webhook.
    pub const JSON_TEXT: usize = 1_024;
    /// A text of a cell when the mail would be too large otherwise.
    pub const SHORT_CELL: usize = 70;
    /// Rows of a section when the mail would be too large otherwise.
    pub const FEW_ROWS: usize = 5;
}
