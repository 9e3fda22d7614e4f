//! One broken night, told in every channel: `docs/broken-night.md`, written from what really arrives.
//!
//! `UPDATE_DOCS=1 cargo test --test pipeline night` writes the page anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use tardy::app::clock::Clock as _;
use tardy::config::Environment;
use tardy::engine::acting::{ActKind, Outcome};
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{JobPlan, Organization, PlannedRun, ProjectKind, ProjectPlan};
use tardy::store::records::DeliveryOutcome;

use crate::chat::Seen;
use crate::chat::slack_api::Call;
use crate::mail::Mail;
use crate::night_seen;
use crate::rig::{PROJECT, Rig, TOKEN};

const NIGHTLY: &str = "nightly-refresh";

const RULES: &str = r#"[[rule]]
name = "run-failed"
kind = "run_failed"
project = "finance"
severity = "warning"

[[rule]]
name = "finance-by-7"
kind = "deadline"
project = "finance"
job = "nightly-refresh"
by = "07:00"
timezone = "America/New_York"
severity = "critical"
annotations = { description = "The finance dashboards open at 07:00." }
"#;

/// Part of the page; the receivers' addresses are not.
const ROUTE: &str = r#"[route]
receivers = ["team-slack", "slack-hook", "discord", "teams", "mail", "pager", "hook", "terminal"]
group_by = ["project", "job"]
group_wait = "0s"
escalate = [{ after = "30m", receivers = ["leads"] }]
"#;

const RECEIVERS: &str = r#"
timezone = "America/New_York"
rules = ["rules.toml"]

[[source]]
name = "acme"
kind = "dagctl"
base_url = "http://127.0.0.1:1"
organization = "org-acme"
token = { env = "DAGCTL_TOKEN" }

[store]
path = "data"

[[receiver]]
name = "team-slack"
kind = "slack"
token = { env = "BOT_TOKEN" }
channel = "C0DATAOPS"
api_url = "http://SLACK/slack/api"

[[receiver]]
name = "slack-hook"
kind = "slack_webhook"
url = { env = "SLACK_URL" }

[[receiver]]
name = "discord"
kind = "discord_webhook"
url = { env = "DISCORD_URL" }

[[receiver]]
name = "teams"
kind = "teams"
url = { env = "TEAMS_URL" }

[[receiver]]
name = "mail"
kind = "email"
to = ["data-team@example.com"]
smtp = "office"

[[receiver]]
name = "leads"
kind = "email"
to = ["leads@example.com"]
smtp = "office"

[[receiver]]
name = "pager"
kind = "pagerduty"
routing_key = { env = "PAGERDUTY_KEY" }
api_url = "http://HOOK"

[[receiver]]
name = "hook"
kind = "webhook"
url = { env = "HOOK_URL" }
secret = { env = "HOOK_KEY" }

[[receiver]]
name = "terminal"
kind = "console"

[[smtp]]
name = "office"
host = "127.0.0.1"
port = 2525
tls = "none"
username = "tardy"
password = { env = "SMTP_PASSWORD" }
from = "Tardy <tardy@example.com>"

"#;

/// The night of 12 March in New York.
fn local(hour: i64, minute: i64) -> Timestamp {
    Timestamp::parse("2026-03-12T04:00:00Z").unwrap() + Span::hours(hour) + Span::minutes(minute)
}

fn clock(at: Timestamp) -> String {
    let minutes = at.since(local(0, 0)).num_minutes();
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Thirty calm nights: the job starts at 04:30 in New York and takes 40 minutes or so.
fn calm_nights() -> Organization {
    let mut organization = Organization::new("org-acme", TOKEN);
    organization.project(ProjectPlan::new(PROJECT, "finance", ProjectKind::Sqlmesh));
    let mut job = JobPlan::new(NIGHTLY, "30 4 * * *");
    job.zone = chrono_tz::America::New_York;
    organization.job(PROJECT, job);
    for night in 1..=30 {
        // Summer time began on 8 March.
        let winter = Span::hours(i64::from(night > 4));
        let at = local(4, 30) - Span::hours(24 * night) + winter;
        let took = Span::minutes(38 + night * 7 % 5);
        let run = PlannedRun::success(&format!("run_{:04}", 4100 - night), NIGHTLY, at, took);
        organization.add_run(PROJECT, run);
    }
    organization
}

/// Everything that arrived somewhere, each with the instant at which it did.
#[derive(Default)]
struct Night {
    bot: Vec<(Timestamp, Call)>,
    slack: Vec<(Timestamp, Seen)>,
    discord: Vec<(Timestamp, Seen)>,
    hook: Vec<(Timestamp, Seen)>,
    mails: Vec<(Timestamp, Mail)>,
    screen: Vec<(Timestamp, String)>,
    done: Vec<(Timestamp, String)>,
}

fn take<T>(kept: &mut Vec<(Timestamp, T)>, at: Timestamp, all: Vec<T>) {
    let known = kept.len();
    kept.extend(all.into_iter().skip(known).map(|one| (at, one)));
}

impl Night {
    /// Looks each half minute, as the bot does.
    async fn run_to(&mut self, rig: &mut Rig, until: Timestamp) {
        let mut at = rig.wall.now();
        while at < until {
            at = at + Span::seconds(30);
            rig.run_to(at).await;
            take(&mut self.bot, at, rig.slack.slack.calls());
            let mut webhook = rig.slack.said();
            webhook.retain(|seen| seen.path.starts_with("/services/"));
            take(&mut self.slack, at, webhook);
            take(&mut self.discord, at, rig.discord.said());
            take(&mut self.hook, at, rig.hook.said());
            take(&mut self.mails, at, rig.mails());
            let text = rig.screen.text();
            let known: usize = self.screen.iter().map(|(_, text)| text.len()).sum();
            if text.len() > known {
                self.screen.push((at, text[known..].to_owned()));
            }
        }
    }

    fn happens(&mut self, at: Timestamp, what: &str) {
        self.done.push((at, what.to_owned()));
    }

    /// Somebody takes on what a rule has told.
    async fn acknowledge(&mut self, rig: &mut Rig, rule: &str, comment: &str) {
        let alert = {
            let mut alerts = rig.engine().alerts();
            let alert = alerts.find(|alert| &*alert.rule == rule && alert.is_open());
            alert.unwrap().id()
        };
        let at = rig.wall.now();
        self.happens(
            at,
            &format!("oncall: `tardy ack {alert} --comment \"{comment}\"`"),
        );
        let what = ActKind::Acknowledge {
            alert,
            for_millis: None,
        };
        let done = rig.act("oncall", Some(comment), what).await;
        assert!(matches!(done, Some(Outcome::Done(_))), "{done:?}");
    }
}

/// What the page is about, and what is configured.
const BEFORE: &str = "\
# One broken night

<!-- Made by a test: `UPDATE_DOCS=1 cargo test --test pipeline night` writes it anew. -->

What people see in each channel when the nightly job of a project fails, is late, is acknowledged, is escalated and
recovers. It is a recording: a test plays the night on a virtual clock through everything that runs live, with servers
in the places of Slack, Discord, PagerDuty and the others that hold messages to the documented limits, and writes down
what they got. [routing.md](routing.md) tells the rules of it. Times are New York's.
";

const WIDTH: usize = 118;

/// Lines as they stand, in a block.
fn put_block(page: &mut String, lines: &[String]) {
    let text = lines.join("\n");
    let _ = writeln!(page, "```text\n{}\n```\n", text.trim_matches('\n'));
}

/// `line` on as many lines as it needs; where it goes on, below its beginning.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![indent.clone()];
    for word in line.split_whitespace() {
        let last = lines.last_mut().unwrap();
        if last.trim().is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            let _ = write!(last, " {word}");
        } else {
            lines.push(format!("{indent}  {word}"));
        }
    }
    lines
}

/// A time, how it was told, and lines below each other after it.
fn put_timed(block: &mut Vec<String>, at: Timestamp, how: &str, lines: &[String]) {
    let mut before = clock(at);
    if !how.is_empty() {
        let _ = write!(before, "  {how:<6}");
    }
    let indent = before.chars().count() + 2;
    for line in lines {
        for part in wrapped(line, WIDTH - indent) {
            block.push(format!("{before:<indent$}{part}").trim_end().to_owned());
            before.clear();
        }
    }
}

fn said<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The first line of a Slack message, whole.
fn slack_line(message: &Value) -> Vec<String> {
    said(message, "text")
        .lines()
        .take(1)
        .map(str::to_owned)
        .collect()
}

fn put_story(page: &mut String, night: &Night, rig: &Rig) {
    let _ = write!(
        page,
        "\n```toml\n{ROUTE}\n{RULES}```\n\n## What happens\n\n"
    );
    page.push_str("| at | what happens | what is told |\n|---|---|---|\n");
    let told = rig.settled.iter().map(|record| record.decided_at);
    let happened = night.done.iter().map(|(at, _)| *at);
    let minutes: BTreeSet<String> = told.chain(happened).map(clock).collect();
    for minute in minutes {
        let happened = night.done.iter().filter(|(at, _)| clock(*at) == minute);
        let happened: Vec<&str> = happened.map(|(_, what)| &**what).collect();
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for record in rig
            .settled
            .iter()
            .filter(|record| clock(record.decided_at) == minute)
        {
            *told.entry(record.reason.as_str()).or_default() += 1;
        }
        let told = told
            .iter()
            .map(|(reason, count)| format!("`{reason}`, to {count} receivers"));
        let told: Vec<String> = told.collect();
        let _ = writeln!(
            page,
            "| {minute} | {} | {} |",
            happened.join("; "),
            told.join("; ")
        );
    }
    page.push_str(
        "\nThe first acknowledgement took on the failure, not what became of it: the missed deadline is news, it is\n\
         `critical`, and nobody has taken it on. Every delivery arrived at the first try.\n\n",
    );
}

fn put_bot(page: &mut String, night: &Night, rig: &Rig) {
    let messages = rig.slack.slack.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let mut edits = Vec::new();
    let mut thread = Vec::new();
    for (at, call) in &night.bot {
        assert_eq!(call.error, "", "{call:?}");
        if call.body["thread_ts"].is_string() {
            let is_in_channel = call.body["reply_broadcast"] == true;
            let how = if is_in_channel { "both" } else { "thread" };
            put_timed(&mut thread, *at, how, &night_seen::slack(&call.body));
        } else if call.method == "chat.update" {
            edits.push(clock(*at));
        }
    }
    page.push_str("## Slack, with a bot token\n\nThe channel has one message. ");
    let (last, others) = edits.split_last().unwrap();
    let edits = others.join(", ");
    let _ = write!(
        page,
        "It is edited in place, here at {edits} and {last}. At the end it reads:\n\n"
    );
    put_block(page, &night_seen::slack(&messages[0]));
    page.push_str(
        "What happened meanwhile stands in its thread. `both` is shown in the channel, too, because somebody has to\n\
         notice it:\n\n",
    );
    put_block(page, &thread);
}

fn put_slack(page: &mut String, night: &Night) {
    page.push_str(
        "## Slack, with an incoming webhook\n\nIt cannot edit: each message is a new one and names the first. Their first lines; the facts of each alert are\n\
         below, as above:\n\n",
    );
    let mut block = Vec::new();
    for (at, seen) in &night.slack {
        put_timed(&mut block, *at, "", &slack_line(&seen.json()));
    }
    put_block(page, &block);
}

fn put_discord(page: &mut String, night: &Night, rig: &Rig) {
    page.push_str(
        "## Discord\n\nThe first message is edited in place. An edit notifies nobody: what somebody has to notice, and its end, is a\n\
         short message of its own, with a link to the first.\n\n",
    );
    let mut block = Vec::new();
    for (at, seen) in &night.discord {
        let how = if seen.method == "PATCH" {
            "edit"
        } else {
            "post"
        };
        put_timed(
            &mut block,
            *at,
            how,
            &night_seen::discord(&seen.json())[..1],
        );
    }
    put_block(page, &block);
    page.push_str("The first message at the end:\n\n");
    put_block(page, &night_seen::discord(&rig.discord.messages()[0]));
}

fn put_teams(page: &mut String, night: &Night) {
    page.push_str(
        "## Microsoft Teams\n\nA card cannot be edited either. The first one whole, of the others the first line; \
         each has the facts below it:\n\n",
    );
    let mut block = Vec::new();
    for (at, seen) in night
        .hook
        .iter()
        .filter(|(_, seen)| seen.path.starts_with("/workflows/"))
    {
        let lines = night_seen::teams(&seen.json()["attachments"][0]["content"]);
        let most = if block.is_empty() { lines.len() } else { 1 };
        put_timed(&mut block, *at, "", &lines[..most]);
    }
    put_block(page, &block);
}

/// The mails to somebody; one of them whole.
fn put_mails(page: &mut String, night: &Night, to: &str, whole: usize) {
    let mails: Vec<_> = night
        .mails
        .iter()
        .filter(|(_, mail)| mail.to == to)
        .collect();
    let (_, first) = mails[0];
    let mut block = Vec::new();
    for (place, (at, mail)) in mails.iter().enumerate() {
        let mut lines = vec![format!("Subject: {}", mail.subject)];
        assert_eq!(
            mail.references.as_ref(),
            (place > 0).then_some(&first.id),
            "one thread"
        );
        let text = mail.text.lines().map(str::to_owned);
        let most = if place == whole { usize::MAX } else { 1 };
        lines.extend(text.take(most));
        put_timed(&mut block, *at, "", &lines);
    }
    put_block(page, &block);
}

fn put_pages(page: &mut String, night: &Night) {
    page.push_str(
        "## PagerDuty\n\nThree incidents, each of which pages. One that is open or acknowledged would not page again, so what somebody has\n\
         to notice opens a new one in the place of the old. Keys begin with the id of the conversation.\n\n",
    );
    let mut block = Vec::new();
    for (at, seen) in night
        .hook
        .iter()
        .filter(|(_, seen)| seen.path.starts_with("/v2/"))
    {
        let event = seen.json();
        let action = said(&event, "event_action");
        let mut lines = vec![format!("{action} {}", said(&event, "dedup_key"))];
        if action == "trigger" {
            let payload = &event["payload"];
            lines.push(format!(
                "  {}: {}",
                said(payload, "severity"),
                said(payload, "summary")
            ));
        }
        put_timed(&mut block, *at, "", &lines);
    }
    put_block(page, &block);
}

fn put_hook(page: &mut String, night: &Night) {
    page.push_str(
        "## Webhook\n\n`event`, `reason` and `headline` of each body; [webhook.md](webhook.md) has the rest.\n\n",
    );
    let mut block = Vec::new();
    for (at, seen) in night
        .hook
        .iter()
        .filter(|(_, seen)| seen.path.starts_with("/hook/"))
    {
        let told = seen.json();
        let (event, reason) = (said(&told, "event"), said(&told, "reason"));
        let line = format!("{event}, {reason}: {}", said(&told, "headline"));
        put_timed(&mut block, *at, "", &[line]);
    }
    put_block(page, &block);
}

fn put_screen(page: &mut String, night: &Night) {
    page.push_str("## Console\n\n");
    let lines = night.screen.iter().flat_map(|(_, text)| text.lines());
    put_block(page, &lines.map(str::to_owned).collect::<Vec<_>>());
    page.truncate(page.trim_end().len());
    page.push('\n');
}

async fn play(rig: &mut Rig) -> Night {
    let mut night = Night::default();
    rig.start();
    night.run_to(rig, local(5, 0)).await;
    assert_eq!(night.screen, [], "calm nights are not told");
    night.happens(local(5, 10), "the nightly run fails");
    let error = "audit not_null failed on marts.orders";
    rig.add(PlannedRun::failure(
        "run_4100",
        NIGHTLY,
        local(4, 30),
        Span::minutes(40),
        error,
    ));
    night.run_to(rig, local(5, 25)).await;
    night
        .acknowledge(rig, "run-failed", "asking the shop for the ids")
        .await;
    night.happens(local(7, 0), "the deadline passes");
    night.happens(local(7, 30), "nobody has acknowledged that for 30 minutes");
    night.run_to(rig, local(7, 38)).await;
    night
        .acknowledge(rig, "finance-by-7", "restarted without the broken rows")
        .await;
    night.happens(local(7, 40), "a new run starts");
    night.happens(local(8, 12), "it succeeds");
    rig.add(PlannedRun::success(
        "run_4101",
        NIGHTLY,
        local(7, 40),
        Span::minutes(32),
    ));
    night.run_to(rig, local(9, 0)).await;
    night
}

fn write(night: &Night, rig: &Rig) -> String {
    let mut page = BEFORE.to_owned();
    put_story(&mut page, night, rig);
    put_bot(&mut page, night, rig);
    put_slack(&mut page, night);
    put_discord(&mut page, night, rig);
    put_teams(&mut page, night);
    page.push_str("## Mail\n\nTo the team, in one thread; the first one whole:\n\n");
    put_mails(&mut page, night, "data-team@example.com", 0);
    page.push_str("To the leads, from the escalation on; the first one whole:\n\n");
    put_mails(&mut page, night, "leads@example.com", 0);
    put_pages(&mut page, night);
    put_hook(&mut page, night);
    put_screen(&mut page, night);
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_night_is_told_as_the_page_says() {
    let mut rig = Rig::of(calm_nights(), RULES).await;
    let service = format!("{RECEIVERS}{ROUTE}");
    rig.service = service
        .replace("SLACK/", &format!("{}/", rig.slack.addr))
        .replace("http://HOOK", &format!("http://{}", rig.hook.addr));
    let night = play(&mut rig).await;
    rig.assert_no_secret();
    for record in &rig.settled {
        assert_eq!(
            (&record.outcome, record.attempts),
            (&DeliveryOutcome::Delivered, 1)
        );
    }
    let page = write(&night, &rig);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/broken-night.md");
    if Environment::of_process().get("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/broken-night.md is not what is told: run `UPDATE_DOCS=1 cargo test --test pipeline night`, look at \
         the difference and commit it"
    );
}
