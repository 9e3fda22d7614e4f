//! Plans of a project, indexed by what rules ask: which wait for a person, and which came last.

use std::collections::{BTreeMap, BTreeSet};

use super::super::observation::{Name, Plan, ProjectKey, WaitingPlans};
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp};
use super::{Change, History};

/// A plan whose row is younger than this may have come between two answers of one look.
const RACE: Span = Span::minutes(1);

/// A place in the order of creation; of one instant, what is explained comes before it is executed.
type Place = (Timestamp, bool, Name);

/// The plans of a project.
#[derive(Debug, Default)]
pub struct Plans {
    by_id: BTreeMap<Name, Plan>,
    /// Wait for a person.
    waiting: BTreeSet<Name>,
    by_created: BTreeSet<Place>,
    groups: BTreeMap<Name, BTreeSet<Place>>,
    known_until: Option<Timestamp>,
}

fn place(plan: &Plan) -> Place {
    let is_execute = plan.plan_type.as_deref() == Some("execute");
    (plan.created_at, is_execute, plan.id.clone())
}

impl Plans {
    /// All plans, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.by_id.values()
    }

    /// Plans that wait for a person.
    pub fn waiting(&self) -> impl Iterator<Item = &Plan> {
        self.waiting.iter().filter_map(|id| self.by_id.get(id))
    }

    /// Some plan waits for a person.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The server instant up to which it is known which plans wait; `None` until they were read since the
    /// start.
    pub fn known_until(&self) -> Option<Timestamp> {
        self.known_until
    }

    /// Records, newest created first.
    pub fn newest(&self) -> impl Iterator<Item = &Plan> {
        self.by_created
            .iter()
            .rev()
            .filter_map(|(_, _, id)| self.by_id.get(id))
    }

    /// Records of one deployment, newest created first.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = &Plan> {
        let places = self.groups.get(group).into_iter().flatten().rev();
        places.filter_map(|(_, _, id)| self.by_id.get(id))
    }

    /// True when the plan is news.
    pub(super) fn put(&mut self, plan: Plan) -> bool {
        if let Some(known) = self.by_id.get(&plan.id) {
            if *known == plan || known.updated_at > plan.updated_at {
                return false;
            }
            self.remove(&plan.id.clone());
        }
        if plan.is_waiting() {
            self.waiting.insert(plan.id.clone());
        }
        let place = place(&plan);
        self.by_created.insert(place.clone());
        self.groups
            .entry(plan.group().clone())
            .or_default()
            .insert(place);
        self.by_id.insert(plan.id.clone(), plan);
        true
    }

    fn remove(&mut self, id: &Name) {
        let Some(plan) = self.by_id.remove(id) else {
            return;
        };
        let place = place(&plan);
        self.waiting.remove(id);
        self.by_created.remove(&place);
        if let Some(group) = self.groups.get_mut(plan.group()) {
            group.remove(&place);
            if group.is_empty() {
                self.groups.remove(plan.group());
            }
        }
    }

    /// Takes in which plans wait, all of them. One that is held as waiting and is not among them does not
    /// wait any more, whatever became of it. True when rules may decide differently now.
    pub(super) fn cover(&mut self, seen: &WaitingPlans) -> bool {
        let is_first = self.known_until.is_none();
        let had_waiting = self.has_waiting();
        if self.known_until.is_none_or(|known| known <= seen.at) {
            self.known_until = Some(seen.at);
            self.waiting = self
                .by_id
                .values()
                .filter(|plan| plan.is_waiting())
                .filter(|plan| seen.ids.contains(&plan.id) || plan.updated_at > seen.at - RACE)
                .map(|plan| plan.id.clone())
                .collect();
        }
        is_first || had_waiting || self.has_waiting()
    }

    /// Forgets what was decided before `cutoff`; the newest record stays.
    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        let newest = self.by_created.last().map(|(_, _, id)| id.clone());
        let old: Vec<Name> = self
            .by_id
            .values()
            .filter(|plan| plan.updated_at < cutoff && !self.waiting.contains(&plan.id))
            .map(|plan| plan.id.clone())
            .filter(|id| Some(id) != newest.as_ref())
            .collect();
        for id in old {
            self.remove(&id);
        }
    }
}

impl History {
    /// Takes in a plan.
    pub fn observe_plan(&mut self, key: &ProjectKey, plan: Plan) -> Change {
        if self.entry(key).plans.put(plan) {
            Change::Subject(SubjectKey::Project(key.clone()))
        } else {
            Change::None
        }
    }

    /// Takes in which plans of a project wait for a person. True when rules may decide differently now.
    pub fn cover_plans(&mut self, key: &ProjectKey, seen: &WaitingPlans) -> bool {
        self.entry(key).plans.cover(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn plan(id: &str, kind: &str, status: &str, updated: i64) -> Plan {
        Plan {
            id: id.into(),
            group_id: Some(id[..2].into()),
            plan_type: Some(kind.into()),
            status: status.into(),
            to_commit: None,
            commit_message: None,
            created_at: at(10),
            updated_at: at(updated),
            is_superseded: false,
        }
    }

    fn ids<'a>(plans: impl Iterator<Item = &'a Plan>) -> Vec<&'a str> {
        plans.map(|plan| &*plan.id).collect()
    }

    #[test]
    fn the_newest_row_wins_whatever_the_order() {
        let rows = [
            plan("g1a", "explain", "running", 10),
            plan("g1a", "explain", "pending", 12),
            plan("g1a", "explain", "approved", 15),
            plan("g1b", "execute", "running", 16),
        ];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut plans = Plans::default();
            for index in order {
                plans.put(rows[index].clone());
            }
            assert_eq!(ids(plans.newest()), ["g1b", "g1a"], "{order:?}");
            assert_eq!(ids(plans.of_group("g1")), ["g1b", "g1a"]);
            assert!(!plans.has_waiting(), "{order:?}");
            assert!(!plans.put(rows[1].clone()), "old");
        }
    }

    #[test]
    fn what_is_not_listed_as_waiting_waits_no_more() {
        let mut plans = Plans::default();
        for id in ["g1a", "g2a"] {
            plans.put(plan(id, "explain", "pending", 12));
        }
        plans.put(plan("g3a", "execute", "pending", 12));
        assert_eq!(ids(plans.waiting()), ["g1a", "g2a"]);
        let seen = |minute, ids: &[&str]| WaitingPlans {
            at: at(minute),
            ids: ids.iter().map(|id| Name::from(*id)).collect(),
        };
        plans.cover(&seen(12, &["g2a"]));
        assert_eq!(ids(plans.waiting()), ["g1a", "g2a"], "too young to tell");
        assert!(plans.cover(&seen(20, &["g2a"])));
        assert_eq!(ids(plans.waiting()), ["g2a"]);
        plans.cover(&seen(15, &[]));
        assert_eq!(ids(plans.waiting()), ["g2a"], "an older look says nothing");
        plans.forget_before(at(100));
        assert_eq!(ids(plans.iter()), ["g2a", "g3a"], "waiting, and newest");
    }
}
