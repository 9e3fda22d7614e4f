//! Silencing: alerts that fit are kept quiet for a while, with a reason and an end.

use super::super::alert::{Alert, AlertState};
use super::super::labels::{Fingerprint, Labels, MatchOp, Matcher};
use super::super::observation::Name;
use super::super::rule::KIND_NAMES;
use super::super::silence::{Silence, SilenceEnd, SilenceEnded, Until};
use super::super::time::{Span, Timestamp, human_time};
use super::super::{Engine, Step};
use super::{Act, ActKind, MAX_NEAR, Near, Refusal, bounded};

/// Shorter ones would be over before anybody has looked.
const SHORTEST: Span = Span::minutes(1);
/// What is to be quiet for longer is not worth a rule.
const LONGEST: Span = Span::days(90);
/// A second one of the same content and author that lasts no longer than this is a double click.
const PROLONGS_BY: Span = Span::minutes(1);
/// Matchers of one silence.
pub(super) const MAX_MATCHERS: usize = 20;
/// Characters of a matcher's value.
pub(super) const MAX_VALUE: usize = 1_024;
/// Silences in force: asking which of them keeps an alert quiet costs their number.
pub(super) const MAX_SILENCES: usize = 500;

/// Values that nobody gives to anything: whatever fits them fits everything.
const PROBES: [&str; 2] = ["\u{1f40c} nobody's", "~0~"];

/// The matcher says nothing about an alert: it fits one without the label, or whatever value it has.
fn is_trivial(matcher: &Matcher) -> bool {
    let fits = |value: &str| matcher.is_match(&Labels::default().with(matcher.label(), value));
    let is_all = |values: &[&str]| values.iter().all(|value| fits(value));
    match matcher.label() {
        "severity" => is_all(&["info", "warning", "critical"]),
        "kind" => is_all(&KIND_NAMES),
        _ => fits("") || is_all(&PROBES),
    }
}

fn texts(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn check_matchers(matchers: &[Matcher]) -> Result<(), Refusal> {
    if matchers.is_empty() {
        return Err(Refusal::NoMatchers);
    }
    let is_long = |matcher: &Matcher| matcher.value().chars().count() > MAX_VALUE;
    if matchers.len() > MAX_MATCHERS || matchers.iter().any(is_long) {
        return Err(Refusal::TooManyMatchers);
    }
    if matchers.iter().all(is_trivial) {
        return Err(Refusal::FitsEverything {
            matchers: texts(matchers),
        });
    }
    Ok(())
}

impl Silence {
    /// Why it ended, for people.
    pub fn why_over(&self) -> String {
        match self.ended.as_ref().map(|ended| &ended.why) {
            None | Some(SilenceEnded::Expired) => "its time was over".to_owned(),
            Some(SilenceEnded::Succeeded(run)) => format!("run {run} succeeded"),
            Some(SilenceEnded::Resolved) => "all that it matched is over".to_owned(),
            Some(SilenceEnded::Lifted(by)) => format!("ended by {by}"),
        }
    }
}

impl Engine {
    /// Makes a silence, and lets those who know of what it fits hear of it.
    pub(super) fn silence(
        &mut self,
        act: &Act,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<Silence, Refusal> {
        let silence = self.new_silence(act, now)?;
        self.put_silence(silence.clone(), step);
        self.tell_of(&silence, now, step);
        Ok(silence)
    }

    fn new_silence(&self, act: &Act, now: Timestamp) -> Result<Silence, Refusal> {
        let ActKind::Silence {
            matchers,
            for_millis,
            until,
        } = &act.what
        else {
            return Err(Refusal::NoMatchers);
        };
        check_matchers(matchers)?;
        let ends_at = now + bounded("a silence", *for_millis, SHORTEST, LONGEST)?;
        let comment = act.comment.clone().ok_or(Refusal::NoComment)?;
        let names_job =
            |matcher: &Matcher| matcher.label() == "job" && matcher.op() == MatchOp::Equal;
        if *until == Until::Success && !matchers.iter().any(names_job) {
            return Err(Refusal::NoJob);
        }
        let mut silence = Silence {
            id: String::new(),
            matchers: matchers.clone(),
            by: act.by.clone(),
            comment,
            created_at: now,
            ends_at,
            until: *until,
            ended: None,
            has_matched: false,
            is_end_announced: false,
            is_idle_announced: false,
            idle_since: None,
            receivers: std::collections::BTreeSet::new(),
        };
        if let Some(same) = self.same_silence(&silence) {
            return Err(Refusal::AlreadySilenced {
                id: same.id.clone(),
                until: human_time(same.ends_at, now, self.policy.zone),
                by: same.by.clone(),
            });
        }
        if self.silences.active().count() >= MAX_SILENCES {
            return Err(Refusal::TooManySilences);
        }
        let is_open = |alert: &Alert| alert.is_open() && silence.is_match(&alert.labels);
        if *until == Until::Resolved && !self.alerts.values().any(is_open) {
            return Err(Refusal::NothingOpen {
                matchers: texts(matchers),
            });
        }
        silence.id = self.silence_id(&silence);
        Ok(silence)
    }

    /// One in force by the same person that keeps the same quiet for as long.
    fn same_silence(&self, new: &Silence) -> Option<&Silence> {
        self.silences.active().find(|known| {
            known.by == new.by
                && known.until == new.until
                && known.matchers == new.matchers
                && new.ends_at < known.ends_at + PROLONGS_BY
        })
    }

    /// From what it says and when it was made; the same whenever it is computed.
    fn silence_id(&self, silence: &Silence) -> String {
        let labels = Labels::default()
            .with("by", silence.by.clone())
            .with("comment", silence.comment.as_str())
            .with("matchers", silence.matchers_text())
            .with("until", format!("{:?}", silence.until))
            .with("created", silence.created_at.to_string())
            .with("ends", silence.ends_at.to_string());
        let id = |number: u32| {
            let labels = labels.clone().with("number", number.to_string());
            format!("s{}", Fingerprint::of("silence", &labels).short(5))
        };
        let mut free = (0..).map(id).filter(|id| self.silences.get(id).is_none());
        free.next().unwrap_or_default()
    }

    /// Lets the groups of what a silence fits be looked at: those that were told hear of it, the others note
    /// that they keep it quiet.
    fn tell_of(&mut self, silence: &Silence, now: Timestamp, step: &mut Step) {
        let is_concerned =
            |alert: &&Alert| alert.state == AlertState::Firing && silence.is_match(&alert.labels);
        let prints = self.alerts.values().filter(is_concerned);
        let prints: Vec<Fingerprint> = prints.map(|alert| alert.fingerprint).collect();
        for print in prints {
            let keys = self.memberships.get(&print).into_iter().flatten();
            self.looked_at.extend(keys.cloned());
            self.hasten(print, now, step);
        }
    }

    /// What its author is told.
    pub(super) fn said_of_new(&self, silence: &Silence, now: Timestamp) -> String {
        let open = self.alerts.values().filter(|alert| alert.is_open());
        let count = open.filter(|alert| silence.is_match(&alert.labels)).count();
        let quiet = match count {
            0 => "no open alert fits it now".to_owned(),
            1 => "1 open alert is quiet now".to_owned(),
            more => format!("{more} open alerts are quiet now"),
        };
        let or = match silence.until {
            Until::Time => "",
            Until::Success => ", or until the next success",
            Until::Resolved => ", or until what it fits is over",
        };
        format!(
            "Silenced until {}{or}: {} ({}); {quiet}",
            human_time(silence.ends_at, now, self.policy.zone),
            silence.matchers_text(),
            silence.id
        )
    }

    /// The silence whose id is, or begins with, `asked`; one that is in force before those that are over.
    pub fn find_silence(&self, asked: &str) -> Result<&Silence, Refusal> {
        let asked = asked.trim().trim_start_matches('#').to_lowercase();
        if let Some(silence) = self.silences.get(&asked) {
            return Ok(silence);
        }
        let fits = |silence: &&Silence| !asked.is_empty() && silence.id.starts_with(&asked);
        let active: Vec<&Silence> = self.silences.active().filter(fits).collect();
        let over = self.silences.iter().filter(fits);
        let matching = if active.is_empty() {
            over.collect()
        } else {
            active
        };
        match matching.as_slice() {
            [] => Err(Refusal::NoSuchSilence {
                nearest: self.nearest_silences(&asked),
                asked,
            }),
            [silence] => Ok(silence),
            several => {
                let matching = several.iter().take(MAX_NEAR).map(|silence| near(silence));
                let matching = matching.collect();
                Err(Refusal::Ambiguous { asked, matching })
            }
        }
    }

    fn nearest_silences(&self, asked: &str) -> Vec<Near> {
        let active = self.silences.active();
        let distance = |id: &str| strsim::damerau_levenshtein(id, asked);
        let mut found: Vec<(usize, Near)> = active
            .map(|silence| (distance(&silence.id), near(silence)))
            .collect();
        found.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
        found.truncate(MAX_NEAR);
        found.into_iter().map(|(_, near)| near).collect()
    }

    /// Ends a silence because somebody says so.
    pub(super) fn unsilence(
        &mut self,
        silence: Silence,
        by: &Name,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<Silence, Refusal> {
        if let Some(ended) = &silence.ended {
            return Err(Refusal::SilenceOver {
                at: human_time(ended.at, now, self.policy.zone),
                why: silence.why_over(),
                id: silence.id,
            });
        }
        let ended = SilenceEnd {
            at: now,
            why: SilenceEnded::Lifted(by.clone()),
        };
        let over = self.end_silence(silence, ended, step);
        self.tell_of_another(&over, now, step);
        Ok(over)
    }
}

fn near(silence: &Silence) -> Near {
    Near {
        id: silence.id.clone(),
        headline: format!("{} by {}", silence.matchers_text(), silence.by),
    }
}
