//! Whatever people do and whatever fails, in whatever order: what the channels show in the end keeps the contract.
//!
//! Each case is a random row of events: runs that fail and succeed, acknowledgements, silences, a mute
//! window that comes and goes with a reload, restarts, crashes between sending and recording, messages
//! deleted by people, limits, errors and lost answers of every channel, a webhook that is revoked. A model beside
//! it knows which failures had to be told. Then everything heals, and the channels' own state is judged.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tardy::engine::acting::{ActKind, Outcome, Refusal};
use tardy::engine::labels::Matcher;
use tardy::engine::silence::Until;
use tardy::engine::time::Span;
use tardy::sim::PlannedRun;
use tardy::store::records::DeliveryOutcome;

use crate::chat::{Chat, Scripted};
use crate::rig::{FAILED, JOB, Mood, Rig, minute};
use crate::smtp::Fault;

/// What happens in one step of three minutes.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fail,
    FailAtLength,
    Succeed,
    Acknowledge,
    TakeBack,
    Silence(i64),
    Unsilence,
    Mute,
    Unmute,
    Restart,
    CrashAfterSending,
    CrashAfterRecording,
    Delete,
    Limit(usize),
    Refuse(usize),
    LoseAnswer(usize),
    Revoke,
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    use Event::{
        Acknowledge, CrashAfterRecording, CrashAfterSending, Delete, Fail, FailAtLength, Limit,
        LoseAnswer, Mute, Nothing, Refuse, Restart, Revoke, Silence, Succeed, TakeBack, Unmute,
        Unsilence,
    };
    let channel = 0..4_usize;
    prop_oneof![
        5 => Just(Fail),
        1 => Just(FailAtLength),
        4 => Just(Succeed),
        2 => Just(Acknowledge),
        1 => Just(TakeBack),
        2 => (2_i64..12).prop_map(Silence),
        1 => Just(Unsilence),
        1 => Just(Mute),
        1 => Just(Unmute),
        1 => Just(Restart),
        1 => Just(CrashAfterSending),
        1 => Just(CrashAfterRecording),
        1 => Just(Delete),
        1 => channel.clone().prop_map(Limit),
        1 => channel.clone().prop_map(Refuse),
        1 => channel.prop_map(LoseAnswer),
        1 => Just(Revoke),
        2 => Just(Nothing),
    ]
}

const MUTE: &str = "\n[[mute]]\nname = \"always\"\ntimezone = \"UTC\"\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\n";
const ROUTED: &str = "receivers = [\"slack\", \"discord\", \"mail\", \"hook\"]";

/// Minutes between two events: a run takes one, a poll comes twice a minute.
const STEP: i64 = 3;

/// What the model knows of the world.
#[derive(Default)]
struct Model {
    is_failing: bool,
    is_muted: bool,
    silenced_until: i64,
    /// Failures that nothing kept quiet: each has to be told.
    owed: usize,
    /// Failures in all: no more may be told.
    failures: usize,
    /// Attempts that may have been repeated.
    uncertain: usize,
    is_revoked: bool,
}

struct Case {
    rig: Rig,
    model: Model,
    runs: usize,
}

impl Case {
    async fn new() -> Self {
        let mut rig = Rig::new(FAILED).await;
        rig.service.push_str(MUTE);
        rig.start();
        rig.run_to(minute(1)).await;
        Self {
            rig,
            model: Model::default(),
            runs: 0,
        }
    }

    async fn run(&mut self, at: i64, error: Option<&str>) {
        self.runs += 1;
        let id = format!("r{}", self.runs);
        let (from, took) = (minute(at), Span::minutes(1));
        self.rig.add(match error {
            Some(error) => PlannedRun::failure(&id, JOB, from, took, error),
            None => PlannedRun::success(&id, JOB, from, took),
        });
        let is_quiet = self.model.is_muted || at <= self.model.silenced_until;
        if error.is_some() && !self.model.is_failing {
            self.model.failures += 1;
            self.model.owed += usize::from(!is_quiet);
        }
        self.model.is_failing = error.is_some();
        self.rig.run_to(minute(at + 2)).await;
    }

    fn open_alert(&self) -> Option<String> {
        let mut alerts = self.rig.engine().alerts();
        alerts
            .find(|alert| alert.is_open() && &*alert.kind == "run_failed")
            .map(tardy::engine::alert::Alert::id)
    }

    async fn act(&mut self, what: ActKind) -> Option<Outcome> {
        self.rig.act("ada", Some("on it"), what).await
    }

    async fn happen(&mut self, event: Event, at: i64) {
        self.rig.run_to(minute(at)).await;
        match event {
            Event::Fail => self.run(at, Some("audit failed")).await,
            Event::FailAtLength => self.run(at, Some(&"out of memory ".repeat(40_000))).await,
            Event::Succeed => self.run(at, None).await,
            Event::Acknowledge | Event::TakeBack => self.take(event).await,
            Event::Silence(minutes) => self.silence(minutes, at).await,
            Event::Unsilence => self.unsilence(at).await,
            Event::Mute | Event::Unmute => self.mute(matches!(event, Event::Mute)),
            Event::Restart => self.rig.restart(),
            Event::CrashAfterSending | Event::CrashAfterRecording => self.crash(event, at).await,
            Event::Delete => self.rig.discord.delete_messages(),
            Event::Limit(_) | Event::Refuse(_) | Event::LoseAnswer(_) => self.disturb(event),
            Event::Revoke => {
                self.rig.slack.revoke();
                self.model.is_revoked = true;
            }
            Event::Nothing => {}
        }
    }

    async fn take(&mut self, event: Event) {
        let Some(alert) = self.open_alert() else {
            return;
        };
        let what = if matches!(event, Event::Acknowledge) {
            ActKind::Acknowledge {
                alert,
                for_millis: None,
            }
        } else {
            ActKind::Unacknowledge { alert }
        };
        self.act(what).await;
    }

    async fn silence(&mut self, minutes: i64, at: i64) {
        let done = self
            .act(ActKind::Silence {
                matchers: vec![Matcher::parse(&format!("job = \"{JOB}\"")).unwrap()],
                for_millis: minutes * 60_000,
                until: Until::Time,
            })
            .await;
        // One that would end sooner than what there is already is refused.
        let is_kept = matches!(
            done,
            Some(Outcome::Done(_) | Outcome::Refused(Refusal::AlreadySilenced { .. }))
        );
        assert!(is_kept, "{done:?}");
        self.model.silenced_until = self.model.silenced_until.max(at + minutes);
    }

    async fn unsilence(&mut self, at: i64) {
        let now = minute(at);
        let active: Vec<String> = self
            .rig
            .engine()
            .silences()
            .filter(|silence| silence.is_active(now))
            .map(|silence| silence.id.clone())
            .collect();
        for silence in active {
            self.act(ActKind::Unsilence { silence }).await;
        }
        self.model.silenced_until = 0;
        self.owe_what_fires();
    }

    /// What was kept quiet and still fires is told when nothing keeps it quiet any more; it may have been
    /// counted already.
    fn owe_what_fires(&mut self) {
        if self.model.is_failing && !self.model.is_muted && self.model.owed == 0 {
            self.model.owed = 1;
        }
    }

    fn mute(&mut self, is_muted: bool) {
        let muted = format!("{ROUTED}\nmute = [\"always\"]");
        self.rig.service = self.rig.service.replace(&muted, ROUTED);
        if is_muted {
            self.rig.service = self.rig.service.replace(ROUTED, &muted);
        }
        self.rig.reload().unwrap();
        self.model.is_muted = is_muted;
    }

    /// The process dies between sending and recording, or right after, with a failure under way.
    async fn crash(&mut self, event: Event, at: i64) {
        self.rig.set_mood(match event {
            Event::CrashAfterSending => Mood::CrashAfterSending,
            _ => Mood::CrashAfterRecording,
        });
        self.run(at, Some("deadlock")).await;
        self.rig.crash();
        self.rig.set_mood(Mood::Well);
        self.rig.start();
        self.model.uncertain += 1;
    }

    /// The next message of a channel meets trouble.
    fn disturb(&mut self, event: Event) {
        let (Event::Limit(channel) | Event::Refuse(channel) | Event::LoseAnswer(channel)) = event
        else {
            return;
        };
        let chats = [&self.rig.slack, &self.rig.discord, &self.rig.hook];
        let Some(chat) = chats.get(channel) else {
            self.rig.smtp.fail_next(match event {
                Event::Limit(_) => Fault::HangUp,
                Event::Refuse(_) => Fault::Busy,
                _ => Fault::DropAfterData,
            });
            return;
        };
        match event {
            Event::Limit(_) => chat.answer_next(
                429,
                &[("retry-after", "1"), ("content-type", "application/json")],
                r#"{"message":"limited","retry_after":0.01,"global":false}"#,
            ),
            Event::Refuse(_) => chat.answer_next(503, &[], "try later"),
            _ => chat.script(Scripted::LostAnswer),
        }
        self.model.uncertain += usize::from(matches!(event, Event::LoseAnswer(_)));
    }

    /// Everything is well again for long enough that whatever was tried again has arrived, and what flapped is
    /// steady.
    async fn heal(&mut self, at: i64) {
        self.rig.run_to(minute(at)).await;
        self.mute(false);
        self.unsilence(at).await;
        self.rig.run_to(minute(at + 4)).await;
        self.run(at + 4, None).await;
        // What flapped is over when it has been steady for two hours.
        self.rig.poll_every = Span::minutes(5);
        self.rig.run_to(minute(at + 140)).await;
    }
}

/// It says that what it is about is over.
fn is_over(text: &str) -> bool {
    text.contains("Resolved")
}

/// A notice to the author of a silence, or of what was not told, which nothing ends; and that the revoked webhook
/// cannot be reached, which goes on.
fn is_notice(case: &Case, text: &str) -> bool {
    let is_gone = case.model.is_revoked && text.contains("receiver slack cannot be reached");
    is_gone || text.contains("Silence s") || text.contains("Could not tell")
}

/// What the signed webhook was told, as whoever keeps its deliveries by their ids reads it.
fn deliveries(chat: &Chat) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let told = Rig::told(chat).into_iter();
    told.filter(|told| seen.insert(told["delivery_id"].to_string()))
        .collect()
}

fn alerts_of(told: &Value) -> Vec<(String, bool)> {
    let alerts = told["alerts"].as_array().cloned().unwrap_or_default();
    let alerts = alerts.iter().filter(|alert| alert["kind"] == "run_failed");
    alerts
        .map(|alert| (alert["id"].to_string(), !alert["ended_at"].is_null()))
        .collect()
}

/// Announced and ended in turn, each once, and ended at last.
fn check_hook(case: &Case) -> usize {
    let mut is_open: BTreeMap<String, bool> = BTreeMap::new();
    let mut announced = 0;
    for told in deliveries(&case.rig.hook) {
        for (id, is_ended) in alerts_of(&told) {
            let was_open = is_open.insert(id.clone(), !is_ended).unwrap_or(false);
            assert!(
                was_open || !is_ended,
                "{id} ended twice, or unheard: {told}"
            );
            announced += usize::from(!was_open);
        }
    }
    assert!(
        is_open.values().all(|is_open| !is_open),
        "told and never ended: {is_open:?}"
    );
    announced
}

/// No message in the channel still says that something fires, but for those that an uncertain try, or a crash,
/// left behind: one each.
fn check_discord(case: &Case) {
    let messages = case.rig.discord.messages();
    let living = messages
        .iter()
        .filter(|message| !message["embeds"].as_array().is_none_or(Vec::is_empty));
    let open = living.filter(|message| {
        let text = message.to_string();
        !is_over(&text) && !is_notice(case, &text)
    });
    let open: Vec<&Value> = open.collect();
    assert!(open.len() <= case.model.uncertain, "{open:#?}");
}

/// The last mail of every thread is its ending.
fn check_mail(case: &Case) {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mails = case.rig.mails().into_iter();
    for mail in mails.filter(|mail| !is_notice(case, &mail.text)) {
        let thread = mail.references.clone().unwrap_or_else(|| mail.id.clone());
        last.insert(thread, mail.text);
    }
    for text in last.values() {
        assert!(is_over(text), "{text}");
    }
}

/// The last message about every incident is its ending; what was refused is at the fallback.
fn check_slack(case: &Case) {
    let refused = case.rig.ends("slack").into_iter();
    let refused = refused.filter(|end| matches!(end, DeliveryOutcome::Rejected(_)));
    if refused.count() > 0 {
        let ops = Rig::story(&case.rig.ops);
        let is_told = |(_, text): &(String, String)| text.starts_with("Could not tell slack");
        assert!(ops.iter().any(is_told), "{ops:?}");
        return;
    }
    let said = case.rig.slack.said().into_iter().map(|said| said.body);
    let said: Vec<String> = said.filter(|body| !is_notice(case, body)).collect();
    if let Some(last) = said.last() {
        assert!(is_over(last), "{last}");
    }
}

async fn play(events: Vec<Event>) {
    let mut case = Case::new().await;
    let mut at = STEP;
    for event in &events {
        case.happen(*event, at).await;
        at += STEP;
    }
    case.heal(at).await;
    let announced = check_hook(&case);
    assert!(
        announced <= case.model.failures,
        "{announced} told, {} failures",
        case.model.failures
    );
    assert!(
        announced > 0 || case.model.owed == 0,
        "{} failures were to be told",
        case.model.owed
    );
    check_discord(&case);
    check_mail(&case);
    check_slack(&case);
    assert!(
        case.rig
            .deliverer()
            .waiting()
            .values()
            .all(|rows| *rows == 0)
    );
    assert_eq!(case.open_alert(), None, "nothing is left open");
    case.rig.assert_no_secret();
}

#[test]
fn whatever_people_do_and_whatever_fails_the_channels_keep_the_contract() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let environment = tardy::config::Environment::of_process();
    let cases = environment.get("TARDY_INTERLEAVINGS");
    let config = Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(8),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(event(), 6..18), |events| {
            runtime.block_on(play(events));
            Ok(())
        })
        .unwrap();
}
