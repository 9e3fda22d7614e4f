//! The routing tree: which receivers hear of an alert, grouped how, and when.
//!
//! As in Alertmanager: an alert enters at the root, goes down into the first child that matches (and
//! on to later siblings when that child says `continue`), and is handled by the deepest node reached.
//! Children inherit what they do not set; that is done by configuration, so every node is complete.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::labels::{Labels, Matcher};
use super::observation::Name;
use super::time::Span;

/// A node of the routing tree, complete after inheritance.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Path from the root, `root/pages`; identity of the node.
    pub path: Name,
    /// All must match. Empty at the root.
    pub matchers: Vec<Matcher>,
    /// Who is told.
    pub receivers: Vec<Name>,
    /// Labels whose values make a group.
    pub group_by: Vec<Name>,
    /// Wait after the first alert of a group.
    pub group_wait: Span,
    /// Least time between two notifications of a group; at least 10 s.
    pub group_interval: Span,
    /// Time between reminders while something fires.
    pub repeat_interval: Span,
    /// Windows in which nothing new is announced.
    pub mute: Vec<Calendar>,
    /// Who is told when nobody acknowledges.
    pub escalate: Vec<EscalationStep>,
    /// Go on to later siblings after matching.
    pub is_continue: bool,
    /// Nodes below.
    pub children: Vec<Route>,
}

/// One step of an escalation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationStep {
    /// After the first notification.
    pub after: Span,
    /// Who is told then.
    pub receivers: Vec<Name>,
}

/// Alerts that keep others quiet while they fire.
#[derive(Clone, Debug, PartialEq)]
pub struct Inhibition {
    /// The alert that keeps others quiet.
    pub source: Vec<Matcher>,
    /// The alerts kept quiet.
    pub target: Vec<Matcher>,
    /// Labels that must have equal values.
    pub equal: Vec<Name>,
}

/// Whom to mention.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Owner {
    /// Configured name.
    pub name: Name,
    /// Slack mention, `<!subteam^S0FINANCE>` or `<@U0ALICE>`.
    pub slack: Option<String>,
    /// Discord mention, `<@&1234>` or `<@1234>`.
    pub discord: Option<String>,
    /// Microsoft Teams user, `alice@example.com`.
    pub teams: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Project ids or names owned.
    pub projects: Vec<String>,
    /// Job names owned.
    pub jobs: Vec<String>,
    /// Model names owned.
    pub models: Vec<String>,
}

impl Route {
    /// A root that tells `receivers` of everything, with the default timers.
    pub fn root(receivers: Vec<Name>) -> Self {
        Self {
            path: "root".into(),
            matchers: Vec::new(),
            receivers,
            group_by: vec!["project".into(), "job".into()],
            group_wait: Span::seconds(15),
            group_interval: Span::minutes(2),
            repeat_interval: Span::hours(12),
            mute: Vec::new(),
            escalate: Vec::new(),
            is_continue: false,
            children: Vec::new(),
        }
    }

    /// The node, or one below it, tells a receiver.
    pub fn tells(&self, name: &str) -> bool {
        let is_here = self.receivers.iter().any(|known| &**known == name);
        is_here || self.children.iter().any(|child| child.tells(name))
    }

    /// The nodes that handle an alert with these labels, in order; at least one.
    pub fn find(&self, labels: &Labels) -> Vec<&Self> {
        let mut found = Vec::new();
        for child in &self.children {
            if child
                .matchers
                .iter()
                .all(|matcher| matcher.is_match(labels))
            {
                found.extend(child.find(labels));
                if !child.is_continue {
                    break;
                }
            }
        }
        if found.is_empty() {
            found.push(self);
        }
        found
    }
}

impl Inhibition {
    /// `source` keeps `target` quiet. An alert never inhibits itself.
    pub fn is_inhibiting(&self, source: &Labels, target: &Labels) -> bool {
        source != target
            && self.source.iter().all(|matcher| matcher.is_match(source))
            && self.target.iter().all(|matcher| matcher.is_match(target))
            && self
                .equal
                .iter()
                .all(|label| source.get(label) == target.get(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(path: &str, matcher: &str, is_continue: bool) -> Route {
        Route {
            path: path.into(),
            matchers: vec![Matcher::parse(matcher).unwrap()],
            is_continue,
            ..Route::root(vec![path.into()])
        }
    }

    #[test]
    fn the_deepest_match_handles() {
        let mut fin = child("fin", "project =~ \"fin.*\"", false);
        fin.children
            .push(child("fin/page", "severity = critical", false));
        let mut root = Route::root(vec!["team".into()]);
        root.children = vec![child("all", "severity = critical", true), fin];
        let paths = |labels: &Labels| -> Vec<String> {
            root.find(labels)
                .iter()
                .map(|route| route.path.to_string())
                .collect()
        };
        let labels = Labels::default()
            .with("project", "finance")
            .with("severity", "critical");
        assert_eq!(paths(&labels), ["all", "fin/page"]);
        assert_eq!(paths(&labels.clone().with("severity", "info")), ["fin"]);
        assert_eq!(
            paths(&Labels::default().with("project", "growth")),
            ["root"]
        );
    }
}
