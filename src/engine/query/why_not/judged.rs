//! The gates between a rule and a subject as the engine holds them.

use std::collections::BTreeMap;

use super::super::super::Engine;
use super::super::super::acting::Near;
use super::super::super::alert::{Alert, Finding, Verdict};
use super::super::super::aside::HELD_FOR_LONG;
use super::super::super::labels::{Labels, Patterns};
use super::super::super::notification::Fact;
use super::super::super::rule::context::Memory;
use super::super::super::rule::regression::Method;
use super::super::super::rule::{Rule, RuleKind, SettingFrom};
use super::super::super::subject::SubjectKey;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::super::watch::Watch;
use super::super::gates::{self, Gate, GateKind, GateState, Words};
use super::WhyNot;

/// How far back a rule looks anew: longer than a month, so that what comes monthly is seen.
const LOOK_BACK: Span = Span::days(40);

/// So far behind what is known may be before it is said to be the reason.
const BEHIND: Span = Span::minutes(5);

/// Breaches and facts that are written out.
const MAX_SHOWN: usize = 3;
const MAX_FACTS: usize = 4;

/// Fills in the gates. `since`: when the subject really began to be watched, where this engine does not know.
pub(super) fn explain(
    engine: &Engine,
    rule: &Rule,
    subject: &SubjectKey,
    since: Option<Timestamp>,
    answer: &mut WhyNot,
) {
    let words = Words {
        now: answer.at,
        zone: answer.zone,
    };
    let gates = &mut answer.gates;
    gates.push(rule_gate(rule));
    gates.extend(existence_gate(engine, subject, words));
    let selection = selection_gate(engine, rule, subject);
    gates.push(selection);
    let watch = engine.watch_of(rule, subject);
    gates.extend(watched_gate(watch, since, words));
    gates.push(known_gate(engine, subject, words));
    gates.extend(held_gate(engine, rule, subject, words));
    gates.extend(run_gate(engine, rule, subject, words));
    let Some(watch) = watch else {
        return;
    };
    gates.extend(schedule_gate(rule, watch, words));
    let breaches = verdict_gates(engine, rule, watch, words, gates);
    let open: Vec<&Alert> = watch
        .alerts
        .iter()
        .filter_map(|print| engine.alerts.get(print))
        .filter(|alert| alert.is_open())
        .collect();
    if open.is_empty() {
        for finding in breaches.iter().take(1) {
            gates.extend(hold_gates(rule, finding.at, words));
            gates.push(Gate::new(
                GateKind::Firing,
                GateState::Waiting,
                "no alert is open about it yet: it is opened at the next look",
            ));
        }
    }
    for alert in open.iter().take(MAX_SHOWN) {
        // The first three gates of an alert are those of its rule, its subject and its verdict.
        gates.extend(
            gates::of_alert(engine, alert, answer.at)
                .into_iter()
                .skip(3),
        );
    }
    answer.alerts = open
        .iter()
        .map(|alert| Near {
            id: alert.id(),
            headline: alert.headline().to_owned(),
        })
        .collect();
}

fn rule_gate(rule: &Rule) -> Gate {
    let says = format!(
        "`{}` ({}, {}) is in force, {}",
        rule.name,
        rule.kind.name(),
        rule.severity.as_str(),
        gates::written(rule)
    );
    Gate::new(GateKind::Rule, GateState::Passed, says)
}

/// Whether a subject is still there.
fn existence_gate(engine: &Engine, subject: &SubjectKey, words: Words) -> Option<Gate> {
    let stopped = |says: String| Some(Gate::new(GateKind::Subject, GateState::Stopped, says));
    let project = engine.history().project(subject.project()?)?;
    if project.is_gone {
        return stopped(format!(
            "project {} is gone: it is not listed any more",
            project.display_name()
        ));
    }
    let (SubjectKey::Job(_, job) | SubjectKey::Model(_, job, _)) = subject else {
        return None;
    };
    let job = project.job(job)?;
    if job.is_gone {
        let since = job
            .held_since()
            .map_or(String::new(), |at| format!(" since {}", words.ago(at)));
        return stopped(format!("job {} is not listed any more{since}", job.name));
    }
    let says = format!(
        "job {} of {}, first seen {}",
        job.name,
        project.display_name(),
        words.ago(job.first_seen_at)
    );
    Some(Gate::new(GateKind::Subject, GateState::Passed, says))
}

/// Which selector takes the subject, or keeps it out.
fn selection_gate(engine: &Engine, rule: &Rule, subject: &SubjectKey) -> Gate {
    let refused = |says: String| Gate::new(GateKind::Subject, GateState::Stopped, says);
    let selectors = &rule.selectors;
    for (key, patterns, names) in selected_by(engine, rule, subject) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if !patterns.is_match_any(&names) {
            let (by, name) = (excluding(patterns, &names), names.join(" or "));
            return refused(format!("not selected: {key} {name} {by}"));
        }
    }
    if !engine.is_selected(rule, subject) {
        let kind = rule.kind.name();
        return refused(format!(
            "not selected: {kind} does not judge such a subject"
        ));
    }
    if let Some(says) = unwanted_runs(engine, rule, subject) {
        return refused(says);
    }
    let asked = gates::selectors(selectors);
    let says = if asked.is_empty() {
        "selected: the rule selects everything".to_owned()
    } else {
        format!("selected by {asked}")
    };
    Gate::new(GateKind::Subject, GateState::Passed, says)
}

type Selected<'a> = (&'static str, &'a Patterns, Vec<String>);

/// Each selector that is about a subject, and the subject's names that it is held against.
fn selected_by<'a>(engine: &Engine, rule: &'a Rule, subject: &SubjectKey) -> Vec<Selected<'a>> {
    let selectors = &rule.selectors;
    let mut all: Vec<Selected<'a>> = Vec::new();
    let project = subject
        .project()
        .and_then(|key| engine.history().project(key));
    if let Some(project) = project {
        let names = vec![
            project.display_name().to_string(),
            project.key.project_id.to_string(),
        ];
        all.push(("project", &selectors.project, names));
        let info = project.info.as_ref();
        if let Some(environment) = info.and_then(|info| info.environment.as_deref()) {
            let names = vec![environment.to_owned()];
            all.push(("environment", &selectors.environment, names));
        }
    }
    match subject {
        SubjectKey::Job(_, job) => all.push(("job", &selectors.job, vec![job.to_string()])),
        SubjectKey::Model(_, job, model) => {
            all.push(("job", &selectors.job, vec![job.to_string()]));
            all.push(("model", &selectors.model, vec![model.to_string()]));
        }
        _ => {}
    }
    all
}

fn excluding(patterns: &Patterns, names: &[&str]) -> String {
    let texts = patterns.texts();
    let negated = texts.iter().find(|text| {
        let glob = text.strip_prefix('!');
        glob.is_some_and(|glob| Patterns::new([glob]).is_match_any(names))
    });
    if let Some(negated) = negated {
        return format!("is excluded by {negated:?}");
    }
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("does not fit {}", texts.join(", "))
}

/// The job's newest runs are all of a sort that the rule does not want.
fn unwanted_runs(engine: &Engine, rule: &Rule, subject: &SubjectKey) -> Option<String> {
    let project = engine.history().project(subject.project()?)?;
    let (SubjectKey::Job(_, job) | SubjectKey::Model(_, job, _)) = subject else {
        return None;
    };
    let selectors = &rule.selectors;
    let mut newest = project.newest(project.job(job)?).take(100).peekable();
    let first = *newest.peek()?;
    let is_wanted = |run: &&super::super::super::observation::Run| {
        selectors.job_type.is_match(&run.job_type)
            && selectors.triggered_by.is_match(&run.triggered_by)
    };
    if newest.any(|run| is_wanted(&run)) {
        return None;
    }
    Some(format!(
        "its newest runs are none that the rule judges: they are of type {:?}, started by {:?}; it asks for {}",
        &*first.job_type,
        &*first.triggered_by,
        gates::selectors(selectors)
    ))
}

fn watched_gate(watch: Option<&Watch>, since: Option<Timestamp>, words: Words) -> Option<Gate> {
    let known = watch.map(|watch| watch.memory.watching_since);
    let since = since.or(known)?;
    if since > words.now {
        let says = format!(
            "watched since {} alone, later than that: nothing from before is told",
            words.clock(since)
        );
        return Some(Gate::new(GateKind::Watched, GateState::Stopped, says).at(since));
    }
    let says = format!(
        "watched since {}; what was over by then is not told",
        words.ago(since)
    );
    Some(Gate::new(GateKind::Watched, GateState::Passed, says).at(since))
}

fn known_gate(engine: &Engine, subject: &SubjectKey, words: Words) -> Gate {
    let Some(until) = engine.known_until(subject, words.now) else {
        let says = "its project has not been read completely yet: nothing is judged before";
        return Gate::new(GateKind::Known, GateState::Unknown, says);
    };
    let behind = words.now.since(until);
    if behind <= BEHIND {
        let says = format!("what happened is known until {}", words.ago(until));
        return Gate::new(GateKind::Known, GateState::Passed, says).at(until);
    }
    let source = subject.project().map(|key| key.source.clone());
    let health = source.and_then(|name| engine.health().get(&SubjectKey::Source(name)));
    let why = health.and_then(|health| health.why.clone());
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    let says = format!(
        "known only until {}{why}; what came after is not judged",
        words.ago(until)
    );
    Gate::new(GateKind::Known, GateState::Unknown, says).at(until)
}

fn held_gate(engine: &Engine, rule: &Rule, subject: &SubjectKey, words: Words) -> Option<Gate> {
    let project = engine.history().project(subject.project()?)?;
    let (SubjectKey::Job(_, job) | SubjectKey::Model(_, job, _)) = subject else {
        return None;
    };
    let job = project.job(job)?;
    if job.is_gone || !project.is_held(job, words.now) {
        return None;
    }
    let of_project = project.last_hold().filter(|hold| hold.to.is_none());
    let own = job.last_hold().filter(|hold| hold.to.is_none());
    let (what, hold) = match (own, of_project) {
        (Some(hold), _) => ("the job is disabled", hold),
        (None, Some(hold)) => ("its project is suspended or not deployed", hold),
        (None, None) => return None,
    };
    let since = match hold.since() {
        Some((at, false)) => format!(" since {}", words.ago(at)),
        Some((at, true)) => format!(" since {} or before", words.ago(at)),
        None => String::new(),
    };
    let is_long = project
        .long_held_at(job, HELD_FOR_LONG, words.now)
        .is_some_and(|at| project.last_held(job).is_none_or(|ended| at > ended));
    let (state, then) = if rule.kind.is_about_absence() {
        (GateState::Stopped, "nothing is due while it is held")
    } else if matches!(rule.kind, RuleKind::Paused(_)) {
        (GateState::Noted, "which is what the rule is about")
    } else if is_long {
        (
            GateState::Stopped,
            "it is put aside; its next run is judged",
        )
    } else {
        (GateState::Noted, "its runs are judged all the same")
    };
    let says = format!("{what}{since}: {then}");
    Some(Gate::new(GateKind::Held, state, says))
}

/// The newest run, which most rules are about.
fn run_gate(engine: &Engine, rule: &Rule, subject: &SubjectKey, words: Words) -> Option<Gate> {
    let SubjectKey::Job(project, job) = subject else {
        return None;
    };
    let project = engine.history().project(project)?;
    let selectors = &rule.selectors;
    let mut newest = project.newest(project.job(job)?);
    let run = newest.find(|run| {
        selectors.job_type.is_match(&run.job_type)
            && selectors.triggered_by.is_match(&run.triggered_by)
    });
    let Some(run) = run else {
        let says = "no run of it is known";
        return Some(Gate::new(GateKind::Run, GateState::Noted, says));
    };
    let took = match (run.run_time(), run.started_at) {
        (Some(took), _) => format!(", ran {}", human_span(took)),
        (None, Some(at)) => format!(", running for {}", human_span(words.now.since(at))),
        (None, None) => String::new(),
    };
    let usual = super::super::usual(project, run).map_or(String::new(), |usual| {
        let median = super::super::span(usual.median);
        format!(", usual {} (last {} runs)", human_span(median), usual.count)
    });
    let says = format!(
        "the newest is {}: {}, created {}{took}{usual}",
        run.id,
        run.status.as_str(),
        words.ago(run.created_at)
    );
    let gate = Gate::new(GateKind::Run, GateState::Noted, says);
    Some(gate.at(run.created_at).by(run.id.to_string()))
}

fn schedule_gate(rule: &Rule, watch: &Watch, words: Words) -> Option<Gate> {
    rule.schedule.as_ref()?;
    let at = watch.tick_at?;
    let judged = watch.memory.judged_until;
    let judged = if judged > Timestamp::MIN {
        format!(", and was judged until {}", words.clock(judged))
    } else {
        String::new()
    };
    let says = format!(
        "the rule has a schedule of its own: it looks next at {}{judged}",
        words.ahead(at)
    );
    Some(Gate::new(GateKind::Schedule, GateState::Noted, says).at(at))
}

/// What the rule finds, looking at the last weeks anew; returns what is broken now, newest first.
fn verdict_gates(
    engine: &Engine,
    rule: &Rule,
    watch: &Watch,
    words: Words,
    gates: &mut Vec<Gate>,
) -> Vec<Finding> {
    let memory = anew(rule, &watch.memory, words.now);
    let judgement = engine.judgement_with(rule, watch, &memory, words.now);
    let findings = judgement.map_or(Vec::new(), |judgement| judgement.findings);
    let mut last: BTreeMap<&Labels, &Finding> = BTreeMap::new();
    for finding in &findings {
        last.insert(&finding.occurrence, finding);
    }
    let mut last: Vec<&Finding> = last.into_values().collect();
    last.sort_by_key(|finding| std::cmp::Reverse(finding.at));
    let is_breach = |finding: &&&Finding| matches!(finding.verdict, Verdict::Breach(_));
    let breaches: Vec<Finding> = last
        .iter()
        .filter(is_breach)
        .map(|finding| (*finding).clone())
        .collect();
    let shown: Vec<&Finding> = if breaches.is_empty() {
        last.into_iter().take(1).collect()
    } else {
        breaches.iter().take(MAX_SHOWN).collect()
    };
    let limits = limits(rule);
    if shown.is_empty() {
        let says = format!("nothing that is known breaks it{limits}");
        gates.push(Gate::new(GateKind::Verdict, GateState::Stopped, says));
    }
    gates.extend(
        shown
            .iter()
            .map(|finding| verdict_gate(finding, &limits, words)),
    );
    breaches
}

fn verdict_gate(finding: &Finding, limits: &str, words: Words) -> Gate {
    let at = words.clock(finding.at);
    let (state, says) = match &finding.verdict {
        Verdict::Breach(evidence) => {
            let facts = facts(&evidence.facts);
            let says = format!("broken since {at}: {}{facts}{limits}", evidence.headline);
            (GateState::Passed, says)
        }
        Verdict::Unknown(why) => (
            GateState::Unknown,
            format!("not enough is known: {why}{limits}"),
        ),
        Verdict::Ok(ending) => {
            let (_, said) = ending
                .headline
                .split_once(": ")
                .unwrap_or(("", &ending.headline));
            let facts = facts(&ending.facts);
            let says = format!("all is well as of {at}: {said}{facts}{limits}");
            (GateState::Stopped, says)
        }
    };
    Gate::new(GateKind::Verdict, state, says).at(finding.at)
}

fn facts(facts: &[Fact]) -> String {
    let facts = facts.iter().take(MAX_FACTS);
    facts.fold(String::new(), |text, fact| {
        let name = fact.name.to_lowercase();
        format!("{text}; {name} {}", fact.value)
    })
}

/// Keys that every rule has, and that are gates of their own.
const SHARED: [&str; 18] = [
    "name",
    "kind",
    "severity",
    "labels",
    "annotations",
    "project",
    "job",
    "model",
    "environment",
    "job_type",
    "triggered_by",
    "for",
    "keep_firing_for",
    "calendar",
    "receivers",
    "schedule",
    "enabled",
    "timezone",
];

/// What the rule asks for: `; it asks for max = "45m"`.
fn limits(rule: &Rule) -> String {
    let own = rule.settings.iter().filter(|setting| {
        setting.from != SettingFrom::BuiltIn && !SHARED.contains(&setting.key.as_str())
    });
    let texts: Vec<String> = own
        .map(|setting| format!("{} = {}", setting.key, setting.value))
        .collect();
    if texts.is_empty() {
        return String::new();
    }
    format!("; it asks for {}", texts.join(", "))
}

/// A memory with which a rule judges the last weeks again.
fn anew(rule: &Rule, memory: &Memory, now: Timestamp) -> Memory {
    let is_level = match &rule.kind {
        RuleKind::RunRegression(kind) | RuleKind::ModelRegression(kind) => {
            kind.method == Method::Changepoint
        }
        _ => false,
    };
    let mut memory = memory.clone();
    // Levels are learnt run by run, and remembered: they cannot be judged again from the middle.
    if !is_level {
        memory.judged_until = now - LOOK_BACK;
        memory.ahead.clear();
        memory.open_promise = None;
    }
    memory
}

/// `for` and the calendar, of a breach that no alert is open about.
fn hold_gates(rule: &Rule, began_at: Timestamp, words: Words) -> Vec<Gate> {
    let mut found = Vec::new();
    if rule.hold > Span::zero() {
        let (over_at, hold) = (began_at + rule.hold, human_span(rule.hold));
        let (state, says) = if over_at > words.now {
            let says = format!("`for` = {hold} is over at {}", words.ahead(over_at));
            (GateState::Waiting, says)
        } else {
            let says = format!("`for` = {hold} was over at {}", words.clock(over_at));
            (GateState::Passed, says)
        };
        found.push(Gate::new(GateKind::Hold, state, says).at(over_at));
    }
    found.extend(gates::calendar_gate(rule, began_at, None, words));
    found
}
