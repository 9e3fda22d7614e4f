//! An alert that is described by its labels, on its way through the tree.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::super::Engine;
use super::super::super::alert::AlertState;
use super::super::super::labels::{Labels, MatchOp, Matcher, MatcherError};
use super::super::super::observation::Name;
use super::super::super::policy::Policy;
use super::super::super::route::Route;
use super::super::super::time::Timestamp;
use super::{EscalationWhy, WindowNow, escalation, windows};

/// What would happen with an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTrial {
    /// When this was asked.
    pub asked_at: Timestamp,
    /// The alert's labels.
    pub labels: Labels,
    /// Every node, from the root down, and what becomes of the alert there.
    pub nodes: Vec<NodeTrial>,
    /// Who hears of it.
    pub hearers: Vec<Hearer>,
    /// What is odd about the labels, in words.
    pub notes: Vec<String>,
    /// What keeps it quiet now; `None` when there is no store to ask.
    pub quiet: Option<QuietNow>,
}

/// A node, and what becomes of an alert there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeTrial {
    /// The node.
    pub path: Name,
    /// How deep it is below the root.
    pub depth: usize,
    /// What becomes of the alert.
    pub fate: NodeFate,
}

/// What becomes of an alert at a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeFate {
    /// This node handles it.
    Handles {
        /// What matched; empty at the root.
        matchers: Vec<String>,
    },
    /// It goes on to a node below.
    GoesDown {
        /// What matched.
        matchers: Vec<String>,
    },
    /// The first matcher that does not fit.
    DoesNotFit {
        /// The matcher.
        matcher: String,
        /// The value that the label has; empty: it has none.
        value: String,
    },
    /// It would fit, but an earlier sibling took it and does not continue.
    TakenBefore {
        /// That sibling.
        by: Name,
    },
    /// The alert does not come by here, because the rule has receivers of its own.
    RuleDecides {
        /// The rule.
        rule: Name,
    },
}

/// Somebody who hears of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hearer {
    /// Who.
    pub receiver: Name,
    /// The routing node.
    pub route: Name,
    /// As which group: values of the labels grouped by.
    pub group: Labels,
    /// When.
    pub when: WhenTold,
    /// Windows of the node.
    pub mute: Vec<WindowNow>,
    /// Who hears when nobody takes it.
    pub escalate: Vec<EscalationWhy>,
    /// A node before this one tells the receiver already: it hears of the alert there.
    pub is_told_before: bool,
}

/// When a receiver hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhenTold {
    /// Milliseconds after it fires.
    pub group_wait_millis: i64,
    /// Milliseconds between messages when the group is being told already.
    pub group_interval_millis: i64,
    /// Milliseconds between reminders.
    pub repeat_interval_millis: i64,
    /// It is muted now, until here, at the latest of its open windows; `None`: it is not muted.
    pub muted_until: Option<Timestamp>,
    /// It is muted by these.
    pub muted_by: Vec<Name>,
}

/// What keeps alerts with some labels quiet now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuietNow {
    /// Silences in force that match.
    pub silences: Vec<QuietBy>,
    /// Firing alerts that inhibit it.
    pub inhibitors: Vec<QuietBy>,
}

/// A silence or an alert that keeps quiet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuietBy {
    /// Its id.
    pub id: String,
    /// Who and why, or what it says.
    pub says: String,
    /// When it ends, where that is known.
    pub until: Option<Timestamp>,
}

/// Why a text describes no alert. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// Nothing was given.
    #[error("say which alert: tardy routes test 'severity=\"critical\", project=\"finance\"'")]
    Empty,
    /// Not a label and a value.
    #[error("argument {place}: {why}")]
    Form {
        /// Which, from 1.
        place: usize,
        /// Why.
        why: MatcherError,
    },
    /// A comparison that is no value.
    #[error(
        "argument {place}: `{text}` is a pattern, and an alert has one value for each label; write {label} = \"…\""
    )]
    NotAValue {
        /// Which, from 1.
        place: usize,
        /// As it was written.
        text: String,
        /// The label.
        label: String,
    },
    /// The same label twice.
    #[error("argument {place}: `{label}` is given twice; an alert has one value for each label")]
    Twice {
        /// Which, from 1.
        place: usize,
        /// The label.
        label: String,
    },
    /// A comma or a quote without its partner.
    #[error("argument {place}: a quotation mark is not closed")]
    Open {
        /// Which, from 1.
        place: usize,
    },
}

/// Reads `severity="critical", project="finance"`, in one text or in several.
pub fn parse_labels(texts: &[String]) -> Result<Labels, LabelsError> {
    let mut labels = Labels::default();
    let mut place = 0;
    for text in texts {
        let parts = split(text).ok_or(LabelsError::Open { place: place + 1 })?;
        for part in parts {
            place += 1;
            let matcher = Matcher::parse(&part).map_err(|why| LabelsError::Form { place, why })?;
            let label = matcher.label().to_owned();
            if matcher.op() != MatchOp::Equal {
                return Err(LabelsError::NotAValue {
                    place,
                    text: part,
                    label,
                });
            }
            if !labels.get(&label).is_empty() {
                return Err(LabelsError::Twice { place, label });
            }
            labels.set(&label, matcher.value());
        }
    }
    if place == 0 {
        return Err(LabelsError::Empty);
    }
    Ok(labels)
}

/// Reads the matchers of a silence, in one text with commas or in several.
pub fn parse_matchers(texts: &[String]) -> Result<Vec<Matcher>, LabelsError> {
    let mut matchers = Vec::new();
    for text in texts {
        let place = matchers.len() + 1;
        let parts = split(text).ok_or(LabelsError::Open { place })?;
        for (part, place) in parts.iter().zip(place..) {
            let matcher = Matcher::parse(part).map_err(|why| LabelsError::Form { place, why })?;
            matchers.push(matcher);
        }
    }
    if matchers.is_empty() {
        return Err(LabelsError::Empty);
    }
    Ok(matchers)
}

/// Parts between commas that stand outside quotes; `None`: a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let inner = text
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'));
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in inner.unwrap_or(text).chars() {
        match c {
            ',' if !is_quoted => parts.push(String::new()),
            c => {
                is_quoted ^= c == '"';
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    let parts = parts.iter().map(|part| part.trim().to_owned());
    (!is_quoted).then(|| parts.filter(|part| !part.is_empty()).collect())
}

/// What a policy does with an alert that has these labels.
pub fn route_trial(policy: &Policy, labels: &Labels, now: Timestamp) -> RouteTrial {
    let own = policy
        .rules
        .iter()
        .find(|rule| &*rule.name == labels.get("rule"))
        .and_then(|rule| Some((rule.name.clone(), rule.receivers.clone()?)));
    let (nodes, handling) = if let Some((rule, receivers)) = own {
        past_the_tree(policy, rule, receivers)
    } else {
        let handling = policy.route.find(labels);
        let mut nodes = Vec::new();
        walk(&policy.route, 0, labels, &handling, &mut nodes);
        (nodes, handling.into_iter().cloned().collect())
    };
    RouteTrial {
        asked_at: now,
        labels: labels.clone(),
        nodes,
        hearers: hearers(&handling, labels, now),
        notes: notes(policy, labels),
        quiet: None,
    }
}

/// A rule with receivers of its own.
fn past_the_tree(
    policy: &Policy,
    rule: Name,
    receivers: Vec<Name>,
) -> (Vec<NodeTrial>, Vec<Route>) {
    let route = policy.rule_route(&rule, receivers);
    let at_the_top = |path: &Name, fate: NodeFate| NodeTrial {
        path: path.clone(),
        depth: 0,
        fate,
    };
    let matchers = Vec::new();
    let nodes = vec![
        at_the_top(&policy.route.path, NodeFate::RuleDecides { rule }),
        at_the_top(&route.path, NodeFate::Handles { matchers }),
    ];
    (nodes, vec![route])
}

/// A node that the alert has come to, and those below it.
fn walk(
    route: &Route,
    depth: usize,
    labels: &Labels,
    handling: &[&Route],
    nodes: &mut Vec<NodeTrial>,
) {
    let matchers = route.matchers.iter().map(ToString::to_string).collect();
    let is_handling = handling.iter().any(|found| found.path == route.path);
    let fate = if is_handling {
        NodeFate::Handles { matchers }
    } else {
        NodeFate::GoesDown { matchers }
    };
    nodes.push(NodeTrial {
        path: route.path.clone(),
        depth,
        fate,
    });
    let mut taken_by: Option<&Name> = None;
    for child in &route.children {
        let misfit = child.matchers.iter().find(|known| !known.is_match(labels));
        let fate = match (misfit, taken_by) {
            (Some(matcher), _) => NodeFate::DoesNotFit {
                matcher: matcher.to_string(),
                value: labels.get(matcher.label()).to_owned(),
            },
            (None, Some(by)) => NodeFate::TakenBefore { by: by.clone() },
            (None, None) => {
                walk(child, depth + 1, labels, handling, nodes);
                if !child.is_continue {
                    taken_by = Some(&child.path);
                }
                continue;
            }
        };
        nodes.push(NodeTrial {
            path: child.path.clone(),
            depth: depth + 1,
            fate,
        });
    }
}

fn hearers(handling: &[Route], labels: &Labels, now: Timestamp) -> Vec<Hearer> {
    let mut told: BTreeSet<&Name> = BTreeSet::new();
    let mut hearers = Vec::new();
    for route in handling {
        let mute = windows(route, now);
        let open = || mute.iter().filter(|window| window.is_open);
        let is_muted = open().next().is_some();
        let ends = open().map(|window| window.changes_at.unwrap_or(Timestamp::MAX));
        for receiver in &route.receivers {
            hearers.push(Hearer {
                receiver: receiver.clone(),
                route: route.path.clone(),
                group: labels.project(&route.group_by),
                when: WhenTold {
                    group_wait_millis: route.group_wait.num_milliseconds(),
                    group_interval_millis: route.group_interval.num_milliseconds(),
                    repeat_interval_millis: route.repeat_interval.num_milliseconds(),
                    muted_until: ends.clone().max(),
                    muted_by: open().map(|window| window.name.clone()).collect(),
                },
                mute: mute.clone(),
                escalate: escalation(route),
                is_told_before: told.contains(receiver),
            });
        }
        // What is muted here does not speak before another node does.
        if !is_muted {
            told.extend(&route.receivers);
        }
    }
    hearers
}

/// Labels that every alert may have, whatever its rule.
const LABELS: [&str; 14] = [
    "severity",
    "rule",
    "kind",
    "source",
    "project",
    "project_id",
    "job",
    "model",
    "run_id",
    "job_type",
    "triggered_by",
    "receiver",
    "objective",
    "clock",
];

/// What is odd about labels: a name that no alert and no matcher has.
fn notes(policy: &Policy, labels: &Labels) -> Vec<String> {
    let mut known: BTreeSet<&str> = LABELS.into_iter().collect();
    for rule in &policy.rules {
        known.extend(rule.labels.iter().map(|(name, _)| name));
    }
    collect_labels(&policy.route, &mut known);
    let unknown = labels.iter().filter(|(name, _)| !known.contains(name));
    unknown
        .map(|(name, _)| {
            let names = known.iter().map(|name| (*name).to_owned()).collect();
            let near = super::super::near_names(names, name, "it is looked at by no matcher");
            format!("no alert has a label {near}")
        })
        .collect()
}

fn collect_labels<'a>(route: &'a Route, known: &mut BTreeSet<&'a str>) {
    known.extend(route.matchers.iter().map(Matcher::label));
    known.extend(route.group_by.iter().map(|name| &**name));
    for child in &route.children {
        collect_labels(child, known);
    }
}

/// What keeps an alert with these labels quiet now.
pub fn quiet_now(engine: &Engine, labels: &Labels, now: Timestamp) -> QuietNow {
    let silences = engine
        .silences()
        .filter(|silence| silence.is_active(now) && silence.is_match(labels));
    let firing = engine
        .alerts()
        .filter(|alert| alert.state == AlertState::Firing);
    let inhibitors = firing.filter(|alert| {
        let mut inhibitions = engine.policy().inhibitions.iter();
        inhibitions.any(|known| known.is_inhibiting(&alert.labels, labels))
    });
    QuietNow {
        silences: silences
            .map(|silence| QuietBy {
                id: silence.id.clone(),
                says: format!("{}: {}", silence.by, silence.comment),
                until: Some(silence.ends_at),
            })
            .collect(),
        inhibitors: inhibitors
            .map(|alert| QuietBy {
                id: alert.id(),
                says: alert.headline().to_owned(),
                until: None,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_alert_is_described_in_one_text_or_in_several() {
        let expected = Labels::default()
            .with("severity", "critical")
            .with("job", "a, b");
        for given in [
            &["severity=\"critical\", job=\"a, b\""][..],
            &["severity=critical", "job = \"a, b\""],
            &["{severity=\"critical\",job=\"a, b\",}"],
        ] {
            assert_eq!(
                parse_labels(&texts(given)),
                Ok(expected.clone()),
                "{given:?}"
            );
        }
    }

    #[test]
    fn mistakes_name_the_place_and_the_remedy() {
        for (given, said) in [
            (&[""][..], "say which alert"),
            (
                &["severity=critical, job"],
                "argument 2: `job` is not a matcher; write label",
            ),
            (
                &["severity=critical", "job=~\"fin.*\""],
                "argument 2: `job=~\"fin.*\"` is a pattern, and an alert has one value for each label; write job = ",
            ),
            (&["job=a, job=b"], "argument 2: `job` is given twice"),
            (&["job=\"a"], "argument 1: a quotation mark is not closed"),
        ] {
            let error = parse_labels(&texts(given)).unwrap_err().to_string();
            assert!(error.contains(said), "{given:?}: {error}");
        }
    }
}
