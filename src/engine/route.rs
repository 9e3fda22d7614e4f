//! The routing tree: which receivers hear of an alert, grouped how, and when.
//!
//! As in Alertmanager: an alert enters at the root, goes down into the first child that matches (and
//! on to later siblings when that child says `continue`), and is handled by the deepest node reached.
//! Children inherit what they do not set; that is done by configuration, so every node is complete.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::labels::{Glob, Labels, Matcher};
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
    /// Who is told when nobody acknowledges, soonest first.
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

/// How closely a name of an owner fits: the label, without wildcards, literal characters.
pub(super) type Fit = (u8, bool, usize);

impl Owner {
    /// How closely what it owns fits an alert's labels.
    pub(super) fn fit(&self, labels: &Labels) -> Option<Fit> {
        let [model, job] = ["model", "job"].map(|label| labels.get(label));
        let projects = ["project_id", "project"].map(|label| labels.get(label));
        let of = |level: u8, globs: &[String], names: &[&str]| {
            let (is_exact, literals) = closest(globs, names)?;
            Some((level, is_exact, literals))
        };
        of(2, &self.models, &[model])
            .or_else(|| of(1, &self.jobs, &[job]))
            .or_else(|| of(0, &self.projects, &projects))
    }
}

/// How closely the closest of some globs fits one of the names of a thing. Negated globs take away; alone,
/// they leave everything else.
fn closest(globs: &[String], names: &[&str]) -> Option<(bool, usize)> {
    let names = || names.iter().filter(|name| !name.is_empty());
    let fits = |glob: &str| names().any(|name| Glob::new(glob).is_match(name));
    let mut negated = globs.iter().filter_map(|glob| glob.strip_prefix('!'));
    if globs.is_empty() || names().next().is_none() || negated.any(fits) {
        return None;
    }
    let mut positive = globs
        .iter()
        .filter(|glob| !glob.starts_with('!'))
        .peekable();
    if positive.peek().is_none() {
        return Some((false, 0));
    }
    let closeness = |glob: &String| {
        let literals = glob.chars().filter(|c| !matches!(c, '*' | '?')).count();
        (literals == glob.chars().count(), literals)
    };
    positive.filter(|glob| fits(glob)).map(closeness).max()
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
        let steps = self.escalate.iter().flat_map(|step| &step.receivers);
        let is_here = self
            .receivers
            .iter()
            .chain(steps)
            .any(|known| &**known == name);
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
    fn the_closest_owner_owns_it() {
        let owner = |name: &str, projects: &[&str], jobs: &[&str], models: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            Owner {
                name: name.into(),
                projects: texts(projects),
                jobs: texts(jobs),
                models: texts(models),
                ..Owner::default()
            }
        };
        let mut policy = super::super::policy::Policy::empty(Vec::new());
        policy.owners = vec![
            owner("finance", &["fin*", "!finance-test"], &[], &[]),
            owner("finance too", &["fin*"], &[], &[]),
            owner("exact", &["p7"], &[], &[]),
            owner("longer", &["finance-*"], &[], &[]),
            owner("nightly", &[], &["nightly"], &[]),
            owner("jobs", &[], &["night*"], &[]),
            owner("marts", &[], &[], &["marts.*"]),
            owner("revenue", &[], &[], &["marts.revenue_*", "marts.rev"]),
            owner("others", &[], &["!*"], &[]),
        ];
        for (project, id, job, model, expected) in [
            ("finance", "p1", "", "", Some("finance")),
            ("finance-eu", "p1", "hourly", "", Some("longer")),
            ("finance-test", "p1", "", "", Some("longer")),
            ("finance", "p7", "", "", Some("exact")),
            ("finance", "p7", "nightly", "", Some("nightly")),
            ("finance", "p1", "nightly-2", "", Some("jobs")),
            ("finance", "p1", "nightly", "marts.orders", Some("marts")),
            (
                "growth",
                "p2",
                "hourly",
                "marts.revenue_eu",
                Some("revenue"),
            ),
            ("growth", "p2", "hourly", "marts.rev", Some("revenue")),
            ("growth", "p2", "hourly", "stg.orders", None),
            ("", "", "", "", None),
        ] {
            let labels = Labels::default()
                .with("project", project)
                .with("project_id", id)
                .with("job", job)
                .with("model", model);
            let found = policy.owner_of(&labels).map(|owner| &*owner.name);
            assert_eq!(found, expected, "{labels}");
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
