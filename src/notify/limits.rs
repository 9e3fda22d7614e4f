//! The bounds of every message, each with its source.
//!
//! Marks: D: the vendor's documentation; S: read in the vendor's or a community library's source; O: ours.

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

/// Slack incoming webhooks.
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
