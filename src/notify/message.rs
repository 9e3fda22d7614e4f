//! The neutral rendering of a notification: what is said, before any platform's form.
//!
//! Role: [`Message::new`] turns a [`Notification`] into texts that are cleaned, masked, bounded and in the
//! order in which people read. Receivers only lay it out, escape it and fit it to their limits.
//! Guarantees: pure; the same notification gives the same message; the first line stands alone; every alert
//! has a word for how bad it is, never a colour alone. It does not escape anything.

mod pieces;
mod words;

use chrono_tz::Tz;
use url::Url;

pub use self::pieces::BodySpan;
pub(crate) use self::words::lead;
use self::words::{
    alerts, first_line, kind_words, mentioned, severity_word, subject_of, summary, suppressed,
    topic,
};
use super::digest::Sheet;
use super::limits::message as limits;
use super::mask::mask;
use super::text;
use crate::engine::notification::{AlertView, Body, Fact, Notification, Reason};
use crate::engine::rule::Severity;
use crate::engine::time::{Timestamp, human_span, human_time};

/// How it looks at a glance: a word, and the colour that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Fires, worth waking somebody.
    Critical,
    /// Fires, worth a look today.
    Warning,
    /// Fires, worth knowing.
    Info,
    /// Over.
    Resolved,
    /// About Tardy itself.
    Notice,
}

impl Tone {
    fn of(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::Warning => Self::Warning,
            Severity::Info => Self::Info,
        }
    }

    /// The word; colour never stands alone.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Warning => "Warning",
            Self::Info => "Info",
            Self::Resolved => "Resolved",
            Self::Notice => "Notice",
        }
    }

    /// `0xRRGGBB`.
    pub fn rgb(self) -> u32 {
        match self {
            Self::Critical => 0x00C6_2828,
            Self::Warning => 0x00B2_6A00,
            Self::Info => 0x0015_65C0,
            Self::Resolved => 0x002E_7D32,
            Self::Notice => 0x0054_6E7A,
        }
    }

    /// A coloured sign of its own shape for chats.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Critical => "🔴",
            Self::Warning => "🔶",
            Self::Info => "🔹",
            Self::Resolved => "✅",
            Self::Notice => "📣",
        }
    }
}

/// How much of an alert is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What it is and how to ask for more.
    Minimal,
    /// The first facts, the last words of the error.
    Brief,
    /// Everything.
    Full,
}

/// What to do: a link or words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runbook {
    /// A checked http or https address.
    Link(String),
    /// Words.
    Text(String),
}

/// One alert, ready to lay out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// How it looks.
    pub tone: Tone,
    /// One line that stands alone.
    pub headline: String,
    /// Names and values, in order.
    pub facts: Vec<Fact>,
    /// Facts left out.
    pub hidden_facts: usize,
    /// `Open`: `42 min, since 04:15 UTC`, or `Lasted`: `42 min, 04:15 to 04:57 UTC`.
    pub duration: Fact,
    /// The end of the error text; may have several lines.
    pub error: Option<String>,
    /// Longer text of the rule.
    pub description: Option<String>,
    /// The rule's name.
    pub rule: String,
    /// Where it was written, `rules/finance.toml:12`.
    pub origin: String,
    /// Checked link to the run.
    pub run_url: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// What to do.
    pub runbook: Option<Runbook>,
    /// Short id.
    pub id: String,
    /// Circumstances: new, already so when watching began.
    pub notes: Vec<String>,
}

impl Card {
    fn new(alert: &AlertView, is_opening: bool, now: Timestamp, zone: Tz) -> Self {
        let said = alert
            .facts
            .iter()
            .filter(|fact| !fact.value.trim().is_empty());
        let facts: Vec<Fact> = said.clone().take(limits::FACTS).filter_map(fact).collect();
        let mut notes = Vec::new();
        if alert.is_new && !is_opening && alert.ended_at.is_none() {
            notes.push("new".to_owned());
        }
        if alert.is_already_so {
            notes.push("already so when watching began".to_owned());
        }
        notes.extend(taken_on(alert, now, zone));
        Self {
            tone: tone(alert),
            headline: headline(alert),
            hidden_facts: said.count().saturating_sub(limits::FACTS),
            facts,
            duration: duration(alert, now, zone),
            error: alert.error.as_deref().map(error).and_then(some),
            description: alert.description.as_deref().map(description).and_then(some),
            rule: line(&alert.rule, limits::NAME),
            origin: line(&alert.origin, limits::NAME),
            run_url: alert.run_url.as_deref().and_then(link),
            owner: alert
                .owner
                .as_deref()
                .map(|owner| line(owner, limits::NAME))
                .and_then(some),
            runbook: alert.runbook.as_deref().and_then(runbook),
            id: line(&alert.id, limits::FACT_NAME),
            notes,
        }
    }

    /// With less detail.
    #[must_use]
    pub fn at(&self, detail: Detail) -> Self {
        let (facts, value, error) = match detail {
            Detail::Full => return self.clone(),
            Detail::Brief => (4, 120, 200),
            Detail::Minimal => (0, 0, 0),
        };
        let short = |fact: &Fact| Fact::new(&fact.name, text::cut(&fact.value, value));
        let error_end = |text: &String| text::tail(text, error, str::to_owned);
        Self {
            facts: self.facts.iter().take(facts).map(short).collect(),
            hidden_facts: self.hidden_facts + self.facts.len().saturating_sub(facts),
            error: self.error.as_ref().filter(|_| error > 0).map(error_end),
            description: None,
            runbook: self.runbook.clone().filter(|_| detail == Detail::Brief),
            headline: text::cut(&self.headline, 160),
            ..self.clone()
        }
    }

    /// `run-failed, rules/finance.toml:12`.
    pub fn rule_with_origin(&self) -> String {
        if self.origin.is_empty() {
            self.rule.clone()
        } else {
            format!("{}, {}", self.rule, self.origin)
        }
    }

    /// `Warning: Failed: finance orders`. The headline of an end says by itself that it is one.
    pub fn worded_headline(&self) -> String {
        match self.tone {
            Tone::Resolved => self.headline.clone(),
            tone => format!("{}: {}", tone.word(), self.headline),
        }
    }

    /// How to ask for the whole evidence.
    pub fn why_command(&self) -> String {
        format!("tardy why {}", self.id)
    }
}

/// A notification, ready to lay out.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Id of the delivery.
    pub delivery_id: String,
    /// Why it is sent.
    pub reason: Reason,
    /// How it looks.
    pub tone: Tone,
    /// One line that stands alone; what a phone shows.
    pub first_line: String,
    /// What this is: `CRITICAL, reminder, 3 alerts (2 firing)`.
    pub summary: String,
    /// The alerts, as ordered by the engine.
    pub cards: Vec<Card>,
    /// Alerts that are told together with those among the cards, and only counted for people.
    pub counted: Vec<Card>,
    /// What is said of them: `and 7 more, +3 min together`.
    pub counted_words: Option<String>,
    /// Alerts that are neither.
    pub hidden_alerts: usize,
    /// Text of a notice.
    pub notice: Option<String>,
    /// A digest, ready to lay out; its plain text is the notice.
    pub digest: Option<Sheet>,
    /// The receiver's own text, which is shown in place of the cards: see [`Message::body_pieces`].
    pub body: Option<String>,
    /// The receiver's own subject, for mail.
    pub subject: Option<String>,
    /// What went wrong with the receiver's own texts; [`Message::remainder`] says it too.
    pub note: Option<String>,
    /// Alerts kept quiet: `4 kept quiet: 3 silenced by s1, 1 muted by weekend`.
    pub suppressed: Option<String>,
    /// What the conversation is about, without times: `finance nightly-refresh: run failed`.
    pub topic: String,
    /// Severity in words for a subject: `critical`, `notice`.
    pub severity: &'static str,
    /// Owners to mention, without repeats: only when alerts open or escalate.
    pub mentioned: Vec<String>,
    /// Opens the conversation.
    pub is_opening: bool,
    /// Ends the conversation.
    pub is_ending: bool,
    /// People must notice it.
    pub is_pinging: bool,
    /// When it was decided, as people read it.
    pub decided: String,
}

impl Message {
    /// Renders `notification` for readers in `zone`.
    pub fn new(notification: &Notification, zone: Tz) -> Self {
        let alerts = alerts(notification);
        let is_opening = notification.sequence == 0;
        let card = |alert| Card::new(alert, is_opening, notification.decided_at, zone);
        let rollup = notification.rollup.as_ref();
        let counted = rollup.map_or(0, |rollup| rollup.left_out).min(alerts.len());
        let (alerts, counted) = alerts.split_at(alerts.len() - counted);
        let shown = alerts.len().min(limits::ALERTS);
        let digest = match &notification.body {
            Body::Digest(digest) => Some(Sheet::new(digest)),
            Body::Alerts(_) | Body::Notice { .. } => None,
        };
        Self {
            delivery_id: notification.delivery_id(),
            reason: notification.reason,
            tone: whole_tone(notification),
            first_line: first_line(notification),
            summary: summary(notification),
            cards: alerts[..shown].iter().map(card).collect(),
            counted: counted.iter().map(card).collect(),
            counted_words: rollup
                .and_then(|rollup| rollup.more.as_deref())
                .map(|more| line(more, limits::NAME)),
            hidden_alerts: alerts.len() - shown + notification.omitted,
            notice: notice_text(&notification.body, digest.as_ref()),
            digest,
            body: None,
            subject: None,
            note: None,
            suppressed: suppressed(&notification.suppressed),
            topic: topic(notification),
            severity: severity_word(notification),
            mentioned: mentioned(notification),
            is_opening,
            is_ending: notification.is_ending(),
            is_pinging: notification.reason.is_pinging(),
            decided: human_time(notification.decided_at, notification.decided_at, zone),
        }
    }

    /// Which of the cards the first line is about.
    pub(super) fn lead_index(&self, notification: &Notification) -> usize {
        let lead = lead(notification);
        let alerts = alerts(notification);
        let index = lead.and_then(|lead| alerts.iter().position(|alert| std::ptr::eq(alert, lead)));
        index.filter(|index| *index < self.cards.len()).unwrap_or(0)
    }

    /// Id of the alert that leads, which names the conversation for people.
    pub fn lead_id(&self) -> Option<&str> {
        self.cards.first().map(|card| card.id.as_str())
    }

    /// What is not shown when only `shown` cards are: `and 37 more`, what is kept quiet, and a template that
    /// failed.
    pub fn remainder(&self, shown: usize) -> Option<String> {
        let hidden = self.cards.len().saturating_sub(shown) + self.hidden_alerts;
        let others = (hidden > 0).then(|| format!("and {hidden} more"));
        let more = match (self.counted_words.clone(), others) {
            (Some(counted), Some(others)) => Some(format!("{counted}; {others}")),
            (counted, others) => counted.or(others),
        };
        let parts = [more, self.suppressed.clone(), self.note.clone()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What stands above a card; `None` when it is the only one and the first line has said it.
    pub fn title(&self, card: &Card) -> Option<String> {
        let is_said = self.cards.len() == 1 && self.first_line.contains(&card.headline);
        (!is_said).then(|| card.worded_headline())
    }

    /// Plain text: for mail, and wherever nothing else is understood.
    pub fn plain(&self, alerts: usize) -> String {
        let mut lines = vec![self.first_line.clone(), self.summary.clone()];
        lines.extend(self.notice.iter().map(|notice| format!("\n{notice}")));
        if let Some(body) = &self.body {
            lines.push(format!("\n{body}"));
        }
        let shown = match self.body {
            Some(_) => self.cards.len(),
            None => self.cards.len().min(alerts),
        };
        let written = if self.body.is_some() { 0 } else { shown };
        for (index, card) in self.cards[..written].iter().enumerate() {
            let detail = if index < 3 {
                Detail::Full
            } else {
                Detail::Brief
            };
            lines.push(String::new());
            lines.extend(self.title(card));
            lines.push(plain_rows(&card.at(detail)));
        }
        lines.extend(self.remainder(shown).map(|more| format!("\n{more}")));
        lines.join("\n")
    }
}

fn plain_rows(card: &Card) -> String {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: &str| lines.push(format!("  {name}: {value}"));
    for fact in &card.facts {
        row(&fact.name, &fact.value);
    }
    row(&card.duration.name, &card.duration.value);
    if card.hidden_facts > 0 {
        row("More", &format!("{} facts not shown", card.hidden_facts));
    }
    row("Rule", &card.rule_with_origin());
    for note in &card.notes {
        row("Note", note);
    }
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
    row("Why", &card.why_command());
    for text in card.description.iter().chain(&card.error) {
        lines.push(String::new());
        lines.extend(text.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// One line from outside: cleaned, masked, bounded.
pub(in crate::notify) fn line(text: &str, limit: usize) -> String {
    text::line(&mask(&text::line(text, limit * 4)), limit)
}

/// Lines from outside: cleaned, masked, bounded.
pub(super) fn long(text: &str, limit: usize) -> String {
    text::block(&mask(&text::block(text, limit * 4)), limit)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn headline(alert: &AlertView) -> String {
    let headline = line(&alert.headline, limits::HEADLINE);
    if headline.is_empty() {
        format!("{}: {}", kind_words(alert), subject_of(&alert.labels))
    } else {
        headline
    }
}

fn error(error: &str) -> String {
    text::tail(error, limits::ERROR, mask)
}

fn description(description: &str) -> String {
    long(description, limits::DESCRIPTION)
}

/// A fact without a value says nothing.
fn fact(fact: &Fact) -> Option<Fact> {
    let value = line(&fact.value, limits::FACT_VALUE);
    (!value.is_empty()).then(|| Fact::new(&line(&fact.name, limits::FACT_NAME), value))
}

/// Only http and https addresses with a host and without a password are links.
pub(crate) fn link(address: &str) -> Option<String> {
    if address.len() > limits::LINK {
        return None;
    }
    let url = Url::parse(address.trim()).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_open = url.username().is_empty() && url.password().is_none();
    let fits = text::clean(address) == address && url.as_str().len() <= limits::LINK;
    (is_web && is_open && fits).then(|| url.to_string())
}

fn runbook(runbook: &str) -> Option<Runbook> {
    if let Some(address) = link(runbook) {
        return Some(Runbook::Link(address));
    }
    let words = line(runbook, limits::FACT_VALUE);
    (!words.is_empty()).then_some(Runbook::Text(words))
}

fn tone(alert: &AlertView) -> Tone {
    if alert.ended_at.is_some() {
        Tone::Resolved
    } else {
        Tone::of(alert.severity)
    }
}

fn whole_tone(notification: &Notification) -> Tone {
    match &notification.body {
        Body::Notice { .. } | Body::Digest(_) => Tone::Notice,
        Body::Alerts(_) if notification.is_ending() => Tone::Resolved,
        Body::Alerts(_) => Tone::of(notification.severity()),
    }
}

/// Who has taken it on, or keeps it quiet.
fn taken_on(alert: &AlertView, now: Timestamp, zone: Tz) -> Vec<String> {
    let why = |text: &str| match line(text, limits::FACT_VALUE) {
        text if text.is_empty() => String::new(),
        text => format!(": {text}"),
    };
    let known = alert.acknowledged.as_ref().map(|known| {
        let (by, until) = (
            line(&known.by, limits::NAME),
            human_time(known.until, now, zone),
        );
        let why = why(known.comment.as_deref().unwrap_or_default());
        format!("acknowledged by {by} until {until}{why}")
    });
    let silenced = alert.silenced.as_ref().map(|known| {
        let (by, until) = (
            line(&known.by, limits::NAME),
            human_time(known.until, now, zone),
        );
        format!("silenced by {by} until {until}{}", why(&known.comment))
    });
    let is_open = alert.ended_at.is_none();
    known
        .into_iter()
        .chain(silenced)
        .filter(|_| is_open)
        .collect()
}

fn duration(alert: &AlertView, now: Timestamp, zone: Tz) -> Fact {
    let began = human_time(alert.began_at, now, zone);
    if let Some(ended_at) = alert.ended_at {
        let lasted = human_span(ended_at.since(alert.began_at));
        let ended = human_time(ended_at, now, zone);
        return Fact::new("Lasted", format!("{lasted}, {began} to {ended}"));
    }
    let open = human_span(now.since(alert.began_at));
    Fact::new("Open", format!("{open}, since {began}"))
}

fn notice_text(body: &Body, digest: Option<&Sheet>) -> Option<String> {
    match body {
        Body::Digest(_) => digest.map(Sheet::plain).and_then(some),
        Body::Notice { text, .. } => Some(long(text, limits::NOTICE)).and_then(some),
        Body::Alerts(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::labels::{Fingerprint, Labels};
    use crate::engine::notification::{ConversationId, Rollup, Suppressed, SuppressionReason};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap()
    }

    fn alert(id: &str, severity: Severity) -> AlertView {
        AlertView {
            id: id.to_owned(),
            rule: "nightly".into(),
            kind: "run_failed".into(),
            origin: "rules/finance.toml:12".to_owned(),
            severity,
            labels: Labels::default()
                .with("project", "finance")
                .with("job", "nightly"),
            headline: format!("Failed: {id}"),
            facts: vec![Fact::new("Observed", "1 of 40 models failed")],
            error: None,
            run_url: None,
            description: None,
            runbook: None,
            owner: Some("finance-data".to_owned()),
            began_at: at("04:00"),
            fired_at: at("04:05"),
            ended_at: None,
            is_new: false,
            is_already_so: false,
            acknowledged: None,
            silenced: None,
        }
    }

    fn told(reason: Reason, alerts: Vec<AlertView>) -> Notification {
        Notification {
            receiver: "team".into(),
            conversation: ConversationId(Fingerprint::of("x", &Labels::default())),
            sequence: u32::from(reason != Reason::First),
            reason,
            decided_at: at("05:00"),
            group: Labels::default(),
            route: "root".into(),
            body: Body::Alerts(alerts),
            omitted: 0,
            rollup: None,
            suppressed: Vec::new(),
        }
    }

    fn first_line_of(reason: Reason, alerts: Vec<AlertView>) -> String {
        Message::new(&told(reason, alerts), Tz::UTC).first_line
    }

    #[test]
    fn what_is_told_together_has_one_first_line_and_counts_what_it_leaves_out() {
        use Severity::Warning;
        let alerts = ["a", "b", "c", "d"].map(|id| alert(id, Warning)).to_vec();
        let mut notification = told(Reason::First, alerts);
        notification.rollup = Some(Rollup {
            headline: "Slower: the whole warehouse of finance nightly".to_owned(),
            ids: ["a", "c", "d"].map(str::to_owned).to_vec(),
            left_out: 1,
            more: Some("and 1 more, +3 min together".to_owned()),
        });
        let message = Message::new(&notification, Tz::UTC);
        assert_eq!(
            message.first_line,
            "Slower: the whole warehouse of finance nightly and 1 more"
        );
        assert_eq!((message.cards.len(), message.counted.len()), (3, 1));
        assert_eq!(message.hidden_alerts, 0);
        let more = |shown| message.remainder(shown).unwrap();
        assert_eq!(more(3), "and 1 more, +3 min together");
        assert_eq!(more(2), "and 1 more, +3 min together; and 1 more");
        let text = message.plain(9);
        assert!(
            text.contains("Failed: c") && !text.contains("Failed: d"),
            "{text}"
        );
    }

    #[test]
    fn the_first_line_says_what_happened() {
        use Severity::{Critical, Warning};
        let two = || vec![alert("a", Critical), alert("b", Warning)];
        for (reason, expected) in [
            (Reason::First, "Failed: a and 1 more"),
            (Reason::NewAlerts, "Failed: a and 1 more"),
            (Reason::Reminder, "Still so after 1 h: Failed: a and 1 more"),
            (
                Reason::Escalated,
                "Not acknowledged, 1 h: Failed: a and 1 more",
            ),
            (Reason::Upgraded, "Now critical: Failed: a and 1 more"),
            (Reason::Changed, "Changed: Failed: a and 1 more"),
            (
                Reason::SomeResolved,
                "Some recovered; still: Failed: a and 1 more",
            ),
            (Reason::Flapping, "Flapping: Failed: a and 1 more"),
            (
                Reason::Undeliverable,
                "Not told elsewhere: Failed: a and 1 more",
            ),
        ] {
            assert_eq!(first_line_of(reason, two()), expected);
        }
    }

    #[test]
    fn the_worst_leads_and_a_new_one_leads_when_it_joins() {
        use Severity::{Critical, Warning};
        let mut joined = alert("new", Warning);
        joined.is_new = true;
        let alerts = vec![alert("w", Warning), alert("c", Critical), joined];
        assert_eq!(
            first_line_of(Reason::First, alerts.clone()),
            "Failed: c and 2 more"
        );
        assert_eq!(
            first_line_of(Reason::NewAlerts, alerts),
            "Failed: new and 2 more"
        );
    }

    #[test]
    fn an_ending_says_how_long_it_lasted() {
        let mut ended = alert("a", Severity::Critical);
        ended.ended_at = Some(at("04:42"));
        ended.headline = "Recovered: finance nightly succeeded".to_owned();
        let (one, alone) = (vec![ended.clone()], ended.clone());
        for (reason, expected) in [
            (
                Reason::AllResolved,
                "Recovered: finance nightly succeeded (lasted 42 min)",
            ),
            (
                Reason::First,
                "Recovered: finance nightly succeeded (lasted 42 min)",
            ),
            (
                Reason::Undeliverable,
                "Not told elsewhere. Recovered: finance nightly succeeded (lasted 42 min)",
            ),
        ] {
            assert_eq!(first_line_of(reason, one.clone()), expected);
        }
        let firing = vec![alert("b", Severity::Warning), ended.clone(), ended];
        let message = Message::new(&told(Reason::SomeResolved, firing), Tz::UTC);
        assert_eq!(message.first_line, "Some recovered; still: Failed: b");
        assert_eq!(
            message.summary,
            "Warning, some resolved, 3 alerts, 1 still firing"
        );
        assert_eq!(message.cards[1].tone.word(), "Resolved");
        assert_eq!(
            message.title(&message.cards[1]).as_deref(),
            Some("Recovered: finance nightly succeeded"),
            "the word is not said twice"
        );
        let over = Message::new(&told(Reason::AllResolved, vec![alone.clone()]), Tz::UTC);
        assert_eq!(
            over.title(&over.cards[0]),
            None,
            "the first line has said it"
        );
        let over = Message::new(
            &told(Reason::AllResolved, vec![alone.clone(), alone]),
            Tz::UTC,
        );
        assert_eq!(over.summary, "Resolved, 2 alerts");
        assert_eq!(
            message.cards[1].duration.value,
            "42 min, 04:00 UTC to 04:42 UTC"
        );
    }

    #[test]
    fn secrets_and_strange_links_are_not_shown() {
        let mut bad = alert("a", Severity::Critical);
        bad.headline = "cannot reach postgres://u:hunter2@db/x".to_owned();
        bad.facts = vec![
            Fact::new("Observed", "password=hunter2"),
            Fact::new("Empty", ""),
        ];
        bad.error = Some(format!(
            "{}\nAuthorization: Bearer hunter2hunter2",
            "x".repeat(900)
        ));
        bad.description = Some("token=hunter2".to_owned());
        bad.run_url = Some("javascript:alert(1)".to_owned());
        bad.runbook = Some("https://u:hunter2@wiki/x".to_owned());
        let message = Message::new(&told(Reason::First, vec![bad]), Tz::UTC);
        let shown = format!("{message:?} {}", message.plain(9));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("javascript"), "{shown}");
        assert_eq!(message.cards[0].facts.len(), 1);
        assert!(message.cards[0].error.as_ref().unwrap().starts_with('…'));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut alert = alert("a", Severity::Critical);
        alert.facts = (0..20).map(|n| Fact::new("F", n.to_string())).collect();
        let mut notification = told(Reason::First, vec![alert; 300]);
        notification.suppressed = (0..9)
            .map(|n| Suppressed {
                id: n.to_string(),
                headline: String::new(),
                reason: SuppressionReason::Silenced(format!("s{}", n.min(7))),
            })
            .collect();
        let message = Message::new(&notification, Tz::UTC);
        assert_eq!(message.cards[0].hidden_facts, 5);
        assert_eq!(message.cards[0].at(Detail::Brief).hidden_facts, 16);
        assert_eq!(
            message.remainder(10).unwrap(),
            "and 290 more; 9 kept quiet: 2 silenced by s7, 1 silenced by s0, 1 silenced by s1, \
             1 silenced by s2, 1 silenced by s3, 3 for other reasons"
        );
    }

    #[test]
    fn owners_are_mentioned_when_it_opens_or_escalates() {
        let mut opened = alert("a", Severity::Critical);
        opened.is_new = true;
        let mentioned = |reason, alert: &AlertView| {
            let message = Message::new(&told(reason, vec![alert.clone()]), Tz::UTC);
            !message.mentioned.is_empty()
        };
        assert!(mentioned(Reason::First, &opened));
        assert!(mentioned(
            Reason::Escalated,
            &alert("a", Severity::Critical)
        ));
        assert!(!mentioned(
            Reason::Reminder,
            &alert("a", Severity::Critical)
        ));
        assert!(!mentioned(Reason::Changed, &opened), "never on edits");
    }

    #[test]
    fn the_topic_has_no_times_and_prefers_the_group() {
        let mut notification = told(Reason::First, vec![alert("a", Severity::Critical)]);
        assert_eq!(
            Message::new(&notification, Tz::UTC).topic,
            "finance nightly: run failed"
        );
        notification.group = Labels::default().with("project", "sales");
        assert_eq!(
            Message::new(&notification, Tz::UTC).topic,
            "sales: run failed"
        );
    }
}
