//! Plays facts through the engine as if they were happening: the same function that runs live, with a
//! stepped `now`.
//!
//! Facts are given as a source knows them today (a finished run, with its start); each becomes visible at
//! the instants at which a source would have shown it: created, started, finished. Looks are either made
//! whenever something happens and whenever a verdict can change (exact), or at polls. What was over before
//! the beginning is history: baselines learn from it and nothing is told of it. It sends nothing and
//! stores nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::acting::{Act, ActKind, Acted};
use super::alert::{Alert, Transition};
use super::history::History;
use super::labels::Matcher;
use super::ledger::LedgerRow;
use super::notification::Notification;
use super::observation::{
    Execution, Name, Observation, Plan, ProjectKey, Run, Status, WaitingPlans,
};
use super::policy::Policy;
use super::silence::Until;
use super::subject::SubjectKey;
use super::time::{Span, Timestamp};
use super::{Engine, HealthReport, Input, Saved, Step};

/// Facts over time, and how they are looked at.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Facts by the instant from which a source shows them.
    facts: Vec<(Timestamp, Observation)>,
    /// Stretches `[from, to)` in which no source can be read.
    outages: Vec<(Timestamp, Timestamp)>,
    /// Time between polls; `None`: whenever something happens.
    poll_every: Option<Span>,
    /// What people do, and when.
    wishes: Vec<(Timestamp, Wish)>,
}

/// What somebody wants done; ids are not known before it is time.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Who.
    pub by: String,
    /// Why.
    pub comment: Option<String>,
    /// What.
    pub what: Want,
}

/// What can be wanted of what is there then.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The level of a rule's open alert at a job or model is normal from now on.
    Accept {
        /// The alert's rule.
        rule: String,
        /// Its job or model.
        subject: String,
    },
    /// Somebody takes a rule's open alert at a job or model on.
    Acknowledge {
        /// The alert's rule.
        rule: String,
        /// Its job or model.
        subject: String,
        /// For how long; `None`: the usual time.
        lasting: Option<Span>,
    },
    /// And gives it back.
    Unacknowledge {
        /// The alert's rule.
        rule: String,
        /// Its job or model.
        subject: String,
    },
    /// Alerts are kept quiet.
    Silence {
        /// All must match.
        matchers: Vec<Matcher>,
        /// For how long at most.
        lasting: Span,
        /// What ends it before that.
        until: Until,
    },
    /// The silence in force with these matchers ends.
    Unsilence {
        /// As they were written.
        matchers: Vec<Matcher>,
    },
}

impl Wish {
    /// The act, about what is meant.
    pub fn act(&self, engine: &Engine, now: Timestamp) -> Act {
        let alert = |rule: &str, subject: &str| {
            let is_meant = |alert: &&Alert| {
                let names = [alert.identity.get("job"), alert.identity.get("model")];
                alert.is_open() && *alert.rule == *rule && names.contains(&subject)
            };
            let found = engine.alerts().find(is_meant).map(Alert::id);
            found.unwrap_or_else(|| format!("{rule} {subject}"))
        };
        let what = match &self.what {
            Want::Accept { rule, subject } => ActKind::Accept {
                alert: alert(rule, subject),
            },
            Want::Acknowledge {
                rule,
                subject,
                lasting,
            } => ActKind::Acknowledge {
                alert: alert(rule, subject),
                for_millis: lasting.map(|span| span.num_milliseconds()),
            },
            Want::Unacknowledge { rule, subject } => ActKind::Unacknowledge {
                alert: alert(rule, subject),
            },
            Want::Silence {
                matchers,
                lasting,
                until,
            } => ActKind::Silence {
                matchers: matchers.clone(),
                for_millis: lasting.num_milliseconds(),
                until: *until,
            },
            Want::Unsilence { matchers } => {
                let mut known = engine.silences();
                let meant = known.find(|known| known.is_active(now) && known.matchers == *matchers);
                let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
                ActKind::Unsilence {
                    silence: meant.map_or_else(|| texts.join(", "), |known| known.id.clone()),
                }
            }
        };
        Act::new(&self.by, now, self.comment.as_deref(), what)
    }
}

/// Everything that was decided, in order.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Whom to tell what.
    pub told: Vec<Notification>,
    /// State changes of alerts.
    pub transitions: Vec<Transition>,
    /// Promises decided, and decided anew.
    pub ledger: Vec<LedgerRow>,
    /// What came of what people did.
    pub acts: Vec<Acted>,
    /// Looks made.
    pub steps: usize,
    /// Alerts that are still open.
    pub open: usize,
}

impl Replay {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Polls at an interval instead of looking whenever something happens.
    #[must_use]
    pub fn poll_every(mut self, every: Span) -> Self {
        self.poll_every = Some(every);
        self
    }

    /// No source can be read in `[from, to)`.
    pub fn outage(&mut self, from: Timestamp, to: Timestamp) {
        self.outages.push((from, to));
    }

    /// Somebody wants something done at `at`.
    pub fn wish(&mut self, at: Timestamp, wish: Wish) {
        self.wishes.push((at, wish));
    }

    /// Facts by the instant from which a source shows them.
    pub fn facts(&self) -> &[(Timestamp, Observation)] {
        &self.facts
    }

    /// Stretches in which no source can be read.
    pub fn outages(&self) -> &[(Timestamp, Timestamp)] {
        &self.outages
    }

    /// What people do, and when.
    pub fn wishes(&self) -> &[(Timestamp, Wish)] {
        &self.wishes
    }

    /// A fact that is shown from `at` on.
    pub fn fact(&mut self, at: Timestamp, fact: Observation) {
        self.facts.push((at, fact));
    }

    /// A run, as it was shown while it went on.
    pub fn run(&mut self, project: &ProjectKey, run: Run) {
        let mut show = |at: Timestamp, run: Run| {
            self.facts
                .push((at, Observation::Run(project.clone(), run)));
        };
        let pending = Run {
            status: Status::Pending,
            started_at: None,
            finished_at: None,
            updated_at: run.created_at,
            error: None,
            ..run.clone()
        };
        if let Some(started_at) = run.started_at {
            if started_at > run.created_at {
                show(run.created_at, pending.clone());
            }
            let running = Run {
                status: Status::Running,
                started_at: Some(started_at),
                updated_at: started_at,
                ..pending
            };
            if run.finished_at.is_some_and(|at| at > started_at) {
                show(started_at, running);
            }
        } else if run.status != Status::Pending {
            show(run.created_at, pending);
        }
        let shown_at = match run.status {
            Status::Pending => run.created_at,
            Status::Running => run.started_at.unwrap_or(run.created_at),
            _ => run.settled_at(),
        };
        // Seen at the instant, whatever the row's last change was.
        let last = Run {
            updated_at: run.updated_at.max(shown_at),
            ..run
        };
        show(shown_at, last);
    }

    /// A model execution, as it was shown while it went on.
    pub fn execution(&mut self, project: &ProjectKey, execution: Execution) {
        let mut show = |at: Timestamp, execution: Execution| {
            let fact = Observation::Execution(project.clone(), execution);
            self.facts.push((at, fact));
        };
        let (started_at, finished_at) = (execution.started_at, execution.finished_at);
        if let (Some(started_at), Some(finished_at)) = (started_at, finished_at)
            && finished_at > started_at
        {
            let running = Execution {
                status: Status::Running,
                finished_at: None,
                updated_at: started_at,
                rows: None,
                error: None,
                ..execution.clone()
            };
            show(started_at, running);
        }
        let shown_at = finished_at.or(started_at).unwrap_or(execution.updated_at);
        show(shown_at, execution);
    }

    /// Adds facts as a source knows them now. What is known of projects, jobs and the like holds for all
    /// time.
    pub fn add(&mut self, facts: impl IntoIterator<Item = Observation>) {
        for fact in facts {
            match fact {
                Observation::Run(project, run) => self.run(&project, run),
                Observation::Execution(project, execution) => self.execution(&project, execution),
                Observation::Plan(project, plan) => {
                    self.fact(plan.updated_at, Observation::Plan(project, plan));
                }
                other => self.fact(Timestamp::MIN, other),
            }
        }
    }

    /// Plays everything from `from` until `until`.
    pub fn play(self, policy: &Arc<Policy>, from: Timestamp, until: Timestamp) -> Played {
        self.play_on(policy, Default::default(), from, until).0
    }

    /// Plays everything from `from` until `until`, going on from what is known and was saved; also returns the
    /// engine as it is then.
    pub fn play_on(
        mut self,
        policy: &Arc<Policy>,
        (history, saved): (History, Saved),
        from: Timestamp,
        until: Timestamp,
    ) -> (Played, Engine) {
        // Of one instant: projects before jobs before what happens in them; earlier phases first.
        self.facts
            .sort_by_key(|(at, fact)| (*at, rank(fact), updated_at(fact)));
        let has_plans = self
            .facts
            .iter()
            .any(|(_, fact)| matches!(fact, Observation::Plan(..)));
        let first_new = self.facts.partition_point(|(at, _)| *at <= from);
        let new = self.facts.split_off(first_new);
        let mut player = Player {
            projects: history.projects().map(|known| known.key.clone()).collect(),
            engine: Engine::new(Arc::clone(policy), history, saved),
            played: Played::default(),
            plans: has_plans.then(BTreeMap::new),
            hints: (None, None),
            wishes: std::mem::take(&mut self.wishes),
        };
        player.wishes.sort_by_key(|(at, _)| *at);
        player.wishes.reverse();
        let past = std::mem::replace(&mut self.facts, new);
        let past = past.into_iter().map(|(_, fact)| fact).collect();
        player.look(newest(past), from, self.is_blind(from));
        let mut next_fact = 0;
        let mut polls = Polls {
            regular_at: from,
            next_at: from,
        };
        let mut now = from;
        while let Some(at) = self.next_look(&player, next_fact, &mut polls, now, until) {
            now = at;
            let is_blind = self.is_blind(now);
            let is_poll = self.poll_every.is_none() || polls.next_at <= now;
            let mut seen = Vec::new();
            while is_poll
                && !is_blind
                && let Some((_, fact)) = self.facts.get(next_fact).filter(|(at, _)| *at <= now)
            {
                seen.push(fact.clone());
                next_fact += 1;
            }
            if is_poll {
                player.look(newest(seen), now, is_blind);
            } else {
                player.step(Input::default(), now);
            }
        }
        player.played.open = player
            .engine
            .alerts()
            .filter(|alert| alert.is_open())
            .count();
        (player.played, player.engine)
    }

    fn is_blind(&self, at: Timestamp) -> bool {
        self.outages
            .iter()
            .any(|(from, to)| *from <= at && at < *to)
    }

    /// The next instant at which there is something to see or to decide.
    fn next_look(
        &self,
        player: &Player,
        next_fact: usize,
        polls: &mut Polls,
        now: Timestamp,
        until: Timestamp,
    ) -> Option<Timestamp> {
        let (wake_at, known_at) = player.hints;
        let after = now + Span::milliseconds(1);
        let known_at = known_at.filter(|_| !self.is_blind(now));
        let known_at = known_at.map(|at| at.max(after));
        let seen_at = if let Some(every) = self.poll_every {
            // Polls that a verdict waits for come on top of the regular ones.
            while polls.regular_at <= now {
                polls.regular_at = polls.regular_at + every;
            }
            polls.next_at = known_at.map_or(polls.regular_at, |at| at.min(polls.regular_at));
            Some(polls.next_at)
        } else {
            let fact = self.facts.get(next_fact).map(|(at, _)| (*at).max(after));
            let fact = fact.filter(|_| !self.is_blind(now));
            let ends = self.outages.iter().flat_map(|(from, to)| [*from, *to]);
            let edge = ends.filter(|at| *at > now).min();
            fact.into_iter().chain(known_at).chain(edge).min()
        };
        let wish_at = player.wishes.last().map(|(at, _)| *at);
        let wake_at = wake_at.into_iter().chain(wish_at).min();
        let wake_at = wake_at.map(|at| at.max(after));
        seen_at
            .into_iter()
            .chain(wake_at)
            .min()
            .filter(|at| *at <= until)
    }
}

/// When to poll next.
struct Polls {
    regular_at: Timestamp,
    next_at: Timestamp,
}

/// The engine while facts are played to it.
struct Player {
    engine: Engine,
    projects: BTreeSet<ProjectKey>,
    played: Played,
    /// The newest state of each plan, where there are plans.
    plans: Option<BTreeMap<Name, (ProjectKey, Plan)>>,
    /// When to look again by the clock, and when runs must be known.
    hints: (Option<Timestamp>, Option<Timestamp>),
    /// What people are yet to do, the next one last.
    wishes: Vec<(Timestamp, Wish)>,
}

impl Player {
    /// A poll of every source.
    fn look(&mut self, facts: Vec<Observation>, now: Timestamp, is_blind: bool) {
        self.projects
            .extend(facts.iter().filter_map(Observation::project));
        let sources: BTreeSet<Name> = self
            .projects
            .iter()
            .map(|project| project.source.clone())
            .collect();
        let result = if is_blind {
            Err("the source could not be read".to_owned())
        } else {
            Ok(())
        };
        let known: BTreeMap<ProjectKey, Timestamp> = self
            .projects
            .iter()
            .filter(|_| !is_blind)
            .map(|project| (project.clone(), now))
            .collect();
        for fact in &facts {
            if let (Observation::Plan(project, plan), Some(plans)) = (fact, &mut self.plans) {
                plans.insert(plan.id.clone(), (project.clone(), plan.clone()));
            }
        }
        let health = sources.into_iter().map(|source| HealthReport {
            subject: SubjectKey::Source(source),
            at: now,
            result: result.clone(),
        });
        let input = Input {
            observations: facts,
            coverage: known.clone(),
            plans_waiting: self.plans_waiting(known.keys(), now),
            executions_known: known,
            health: health.collect(),
            ..Input::default()
        };
        self.step(input, now);
    }

    /// Which plans wait in projects that were read.
    fn plans_waiting<'a>(
        &self,
        projects: impl Iterator<Item = &'a ProjectKey>,
        now: Timestamp,
    ) -> BTreeMap<ProjectKey, WaitingPlans> {
        let Some(plans) = &self.plans else {
            return BTreeMap::new();
        };
        let waiting_in = |project: &ProjectKey| {
            let own = plans.values().filter(|(key, _)| key == project);
            let waiting = own.filter(|(_, plan)| plan.is_waiting());
            WaitingPlans {
                at: now,
                ids: waiting.map(|(_, plan)| plan.id.clone()).collect(),
            }
        };
        projects
            .map(|project| (project.clone(), waiting_in(project)))
            .collect()
    }

    /// What people do by now.
    fn acts(&mut self, now: Timestamp) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some((_, wish)) = self.wishes.pop_if(|(at, _)| *at <= now) {
            acts.push(wish.act(&self.engine, now));
        }
        acts
    }

    fn step(&mut self, input: Input, now: Timestamp) {
        let input = Input {
            acts: self.acts(now),
            ..input
        };
        let Step {
            acts,
            transitions,
            notifications,
            ledger,
            wake_at,
            poll_at,
            ..
        } = self.engine.step(input, now);
        self.played.transitions.extend(transitions);
        self.played.told.extend(notifications);
        self.played.ledger.extend(ledger);
        self.played.acts.extend(acts);
        self.played.steps += 1;
        self.hints = (wake_at, poll_at);
    }
}

/// Of several states of the same thing the last one: a reading shows what is, not what was.
fn newest(facts: Vec<Observation>) -> Vec<Observation> {
    let mut last: HashMap<(u8, Name), usize> = HashMap::new();
    for (index, fact) in facts.iter().enumerate() {
        last.insert(row_key(fact), index);
    }
    facts
        .into_iter()
        .enumerate()
        .filter(|(index, fact)| last.get(&row_key(fact)) == Some(index))
        .map(|(_, fact)| fact)
        .collect()
}

fn row_key(fact: &Observation) -> (u8, Name) {
    match fact {
        Observation::Run(_, run) => (0, run.id.clone()),
        Observation::Execution(_, execution) => (1, execution.id.clone()),
        Observation::Plan(_, plan) => (2, plan.id.clone()),
        Observation::Project(project) => (3, project.key.project_id.clone()),
        Observation::Jobs(project, _) => (4, project.project_id.clone()),
        Observation::Protections(source, _) => (5, source.clone()),
        Observation::ProjectGone(project) => (3, project.project_id.clone()),
        Observation::Averages(project, _) => (6, project.project_id.clone()),
    }
}

fn rank(fact: &Observation) -> u8 {
    match fact {
        Observation::Project(_) | Observation::ProjectGone(_) | Observation::Protections(..) => 0,
        Observation::Jobs(..) => 1,
        Observation::Run(..) => 2,
        Observation::Execution(..) | Observation::Plan(..) | Observation::Averages(..) => 3,
    }
}

fn updated_at(fact: &Observation) -> Timestamp {
    match fact {
        Observation::Run(_, run) => run.updated_at,
        Observation::Execution(_, execution) => execution.updated_at,
        Observation::Plan(_, plan) => plan.updated_at,
        Observation::Project(_)
        | Observation::ProjectGone(_)
        | Observation::Jobs(..)
        | Observation::Protections(..)
        | Observation::Averages(..) => Timestamp::MIN,
    }
}
