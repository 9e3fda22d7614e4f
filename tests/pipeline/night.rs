//! One broken night, told in every channel: `docs/broken-night.md`, written from what really arrives.
//!
//! `UPDATE_DOCS=1 cargo test --test pipeline night` writes the page anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
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
        let mut at = self.looked_at(rig);
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

    fn looked_at(&self, rig: &Rig) -> Timestamp {
        use tardy::app::clock::Clock as _;
        rig.wall.now()
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
        let at = self.looked_at(rig);
        self.happens(
            at,
            &format!("`tardy ack {alert} --comment \"{comment}\"`, by oncall"),
        );
        let what = ActKind::Acknowledge {
            alert,
            for_millis: None,
        };
        let done = rig.act("oncall", Some(comment), what).await;
        assert!(matches!(done, Some(Outcome::Done(_))), "{done:?}");
    }
}

fn first_lines(lines: &[String], most: usize) -> Vec<String> {
    let shown = lines.iter().filter(|line| !line.is_empty());
    shown.take(most).cloned().collect()
}

/// Lines as they stand, in a block.
fn put_block(page: &mut String, lines: &[String]) {
    let text = lines.join("\n");
    let _ = writeln!(page, "```text\n{}\n```\n", text.trim_matches('\n'));
}

/// A time, and lines below each other after it.
fn put_timed(block: &mut Vec<String>, at: Timestamp, how: &str, lines: &[String]) {
    let mut before = format!("{}  {how:<6}  ", clock(at));
    for line in lines {
        block.push(format!("{before}{line}").trim_end().to_owned());
        before = " ".repeat(before.chars().count());
    }
}

fn put_story(page: &mut String, night: &Night, rig: &Rig) {
    page.push_str("| New York | what happens | what Tardy tells, and to how many receivers |\n|---|---|---|\n");
    let mut rows: Vec<(Timestamp, String, String)> = Vec::new();
    for (at, what) in &night.done {
        rows.push((*at, what.clone(), String::new()));
    }
    for record in &rig.settled {
        assert_eq!(record.outcome, DeliveryOutcome::Delivered, "{record:?}");
        assert_eq!(record.attempts, 1, "{record:?}");
        let minute = clock(record.decided_at);
        let told = format!("`{}`", record.reason.as_str());
        match rows.iter_mut().find(|(at, _, before)| {
            clock(*at) == minute && (before.is_empty() || before.starts_with(&told))
        }) {
            Some((_, _, before)) if before.is_empty() => *before = format!("{told} 1"),
            Some((_, _, before)) => {
                let count: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
                *before = format!("{told} {}", count + 1);
            }
            None => rows.push((record.decided_at, String::new(), format!("{told} 1"))),
        }
    }
    rows.sort_by_key(|(at, _, _)| *at);
    for (at, what, told) in rows {
        let _ = writeln!(page, "| {} | {what} | {told} |", clock(at));
    }
    page.push('\n');
}

fn put_bot(page: &mut String, night: &Night, rig: &Rig) {
    page.push_str("## Slack, with a bot token\n\nOne message in the channel, edited in place. At the end it reads:\n\n");
    let messages = rig.slack.slack.messages();
    for message in &messages {
        put_block(page, &night_seen::slack(message));
    }
    page.push_str("What was posted (in the channel, or in the message's thread) and how the message was edited:\n\n");
    let mut block = Vec::new();
    for (at, call) in &night.bot {
        let is_reply = call.body["thread_ts"].is_string();
        let is_in_channel = call.body["reply_broadcast"] == true;
        let how = match &*call.method {
            "chat.update" => "edit",
            "chat.postMessage" if is_in_channel => "thread, and the channel",
            "chat.postMessage" if is_reply => "thread",
            "chat.postMessage" => "post",
            other => panic!("{other}"),
        };
        let lines = night_seen::slack(&call.body);
        let lines = if is_reply {
            lines
        } else {
            first_lines(&lines, 2)
        };
        put_timed(&mut block, *at, how, &lines);
    }
    put_block(page, &block);
}

fn put_slack(page: &mut String, night: &Night) {
    page.push_str("## Slack, with an incoming webhook\n\n");
    let mut block = Vec::new();
    for (at, seen) in &night.slack {
        let lines = night_seen::slack(&seen.json());
        put_timed(&mut block, *at, "post", &lines);
    }
    put_block(page, &block);
}

fn put_discord(page: &mut String, night: &Night, rig: &Rig) {
    page.push_str("## Discord\n\n");
    for message in rig.discord.messages() {
        put_block(page, &night_seen::discord(&message));
    }
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
            &first_lines(&night_seen::discord(&seen.json()), 2),
        );
    }
    put_block(page, &block);
}

fn put_teams(page: &mut String, night: &Night) {
    page.push_str("## Microsoft Teams\n\n");
    let mut block = Vec::new();
    for (at, seen) in &night.hook {
        if seen.path.starts_with("/workflows/") {
            let card = &seen.json()["attachments"][0]["content"];
            put_timed(&mut block, *at, "card", &night_seen::teams(card));
        }
    }
    put_block(page, &block);
}

fn put_mails(page: &mut String, night: &Night, to: &str) {
    let _ = writeln!(page, "## Mail to {to}\n");
    let mut block = Vec::new();
    let mails = || night.mails.iter().filter(|(_, mail)| mail.to == to);
    for (at, mail) in mails() {
        let answered = mail.references.as_ref().map(|id| {
            let place = mails().position(|(_, other)| other.id == *id).unwrap();
            format!("(in the thread of mail {})", place + 1)
        });
        let how = "mail";
        let mut lines = vec![format!("Subject: {}", mail.subject)];
        lines.extend(answered);
        lines.extend(mail.text.lines().map(str::to_owned));
        put_timed(&mut block, *at, how, &lines);
    }
    put_block(page, &block);
}

fn put_pages(page: &mut String, night: &Night) {
    page.push_str("## PagerDuty\n\n");
    let mut block = Vec::new();
    for (at, seen) in &night.hook {
        if seen.path.starts_with("/v2/") {
            let event = seen.json();
            let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut lines = vec![format!(
                "{} {}",
                said(&event["event_action"]),
                said(&event["dedup_key"])
            )];
            let payload = &event["payload"];
            if payload.is_object() {
                lines.push(format!(
                    "{}: {}",
                    said(&payload["severity"]),
                    said(&payload["summary"])
                ));
            }
            put_timed(&mut block, *at, "event", &lines);
        }
    }
    put_block(page, &block);
}

fn put_hook(page: &mut String, night: &Night) {
    page.push_str("## Webhook\n\n");
    let mut block = Vec::new();
    for (at, seen) in &night.hook {
        if seen.path.starts_with("/hook/") {
            let told = seen.json();
            let said = |name: &str| told[name].as_str().unwrap_or_default();
            let line = format!(
                "{:<9} {:<13} {}",
                said("event"),
                said("reason"),
                said("headline")
            );
            block.push(format!("{}  {line}", clock(*at)));
        }
    }
    put_block(page, &block);
}

fn put_screen(page: &mut String, night: &Night) {
    page.push_str("## Console\n\n");
    let lines = night.screen.iter().flat_map(|(_, text)| text.lines());
    put_block(page, &lines.map(str::to_owned).collect::<Vec<_>>());
}

async fn play(rig: &mut Rig) -> Night {
    let mut night = Night::default();
    rig.start();
    night.run_to(rig, local(5, 0)).await;
    assert_eq!(night.screen, [], "calm nights are not told");
    night.happens(local(5, 10), "run_4100 fails: an audit of marts.orders");
    let error = "audit not_null_order_id failed on marts.orders: 214 rows";
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
    night.run_to(rig, local(7, 38)).await;
    night
        .acknowledge(rig, "finance-by-7", "restarted without the broken rows")
        .await;
    night.happens(local(7, 40), "run_4101 starts");
    night.happens(local(8, 12), "run_4101 succeeds");
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
    let mut page = String::from("# One broken night\n\n");
    put_story(&mut page, night, rig);
    put_bot(&mut page, night, rig);
    put_slack(&mut page, night);
    put_discord(&mut page, night, rig);
    put_teams(&mut page, night);
    put_mails(&mut page, night, "data-team@example.com");
    put_mails(&mut page, night, "leads@example.com");
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
