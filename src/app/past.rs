//! What the store still has of alerts: their changes of state, what people did to them, and what became of the
//! messages about them. Completes the answers that the engine gives from what it holds now.

use std::collections::BTreeSet;

use crate::engine::acting::{Acted, Outcome, Refusal};
use crate::engine::alert::{AlertState, Transition};
use crate::engine::observation::Name;
use crate::engine::query::{
    DeliveriesAnswer, DeliveryQuestion, PastAlert, WhyAnswer, WhyNotAnswer, of_deliveries,
    of_transitions, unknown_receiver,
};
use crate::engine::time::{Span, Timestamp, human_time};
use crate::store::{Store, StoreError, acts, deliveries};

/// Completes the explanation of an alert. What cannot be read is left out; `tardy store verify` shows it.
pub fn complete(answer: &mut WhyAnswer, store: &dyn Store) {
    match answer {
        WhyAnswer::Alert(why) => {
            let (print, since) = (why.fingerprint, why.history.began_at);
            why.transitions =
                acts::transitions_of(store, print, &why.id, since).unwrap_or_default();
            why.acts = acts::acts_of(store, print, &why.id, since).unwrap_or_default();
            why.deliveries = deliveries::of_alert(store, &why.id, since).unwrap_or_default();
            let gates = of_deliveries(&why.deliveries, why.asked_at, why.zone);
            why.gates.extend(gates);
        }
        WhyAnswer::Unknown(Refusal::NoSuchAlert { asked, .. }) => {
            if let Some(past) = past(asked, store) {
                *answer = WhyAnswer::Past(Box::new(past));
            }
        }
        WhyAnswer::Past(_) | WhyAnswer::Unknown(_) => {}
    }
}

/// So long before and after the instant that is asked about, what was recorded belongs to the answer; and so
/// long after an alert was over, what was told of it.
const AROUND: Span = Span::hours(24);

/// Completes why a rule said nothing: what was recorded of its alerts about the subject around that instant, and
/// whom they were told to.
pub fn complete_not(answer: &mut WhyNotAnswer, store: &dyn Store) {
    let WhyNotAnswer::Explained(why) = answer else {
        return;
    };
    let (from, to) = (why.at - AROUND, (why.at + AROUND).min(why.asked_at));
    let recorded = acts::transitions_between(store, from, to).unwrap_or_default();
    let is_own = |change: &Transition| {
        let mut labels = why.subject.iter();
        *change.rule == *why.rule && labels.all(|(name, value)| change.labels.get(name) == value)
    };
    why.recorded = recorded.into_iter().filter(is_own).collect();
    let ids: BTreeSet<&str> = why.recorded.iter().map(|known| known.id.as_str()).collect();
    let told = deliveries::around(store, &ids, from, to).unwrap_or_default();
    why.deliveries = told.rows;
    if told.is_cut {
        let limit = "of the messages of those days not all were looked through: there are too many";
        why.limits.push(limit.to_owned());
    }
    let records = of_transitions(&why.recorded, why.asked_at, why.zone);
    why.gates.extend(records);
    let messages = of_deliveries(&why.deliveries, why.asked_at, why.zone);
    why.gates.extend(messages);
    why.sum_up();
}

/// What was told to whom. `receivers` are all that are configured.
pub fn told(
    question: &DeliveryQuestion,
    receivers: &[Name],
    store: &dyn Store,
    now: Timestamp,
) -> Result<DeliveriesAnswer, StoreError> {
    let mut answer = deliveries::ask(store, question, now)?;
    // One that is not configured any more may have been told in its time.
    let asked = question
        .receiver
        .as_ref()
        .filter(|_| answer.rows.is_empty());
    answer.unknown_receiver = asked.and_then(|name| unknown_receiver(receivers, name));
    Ok(answer)
}

/// An act about an alert that is over, and whose end everybody has heard, is refused because it is over.
pub fn explain(acted: &mut Acted, store: &dyn Store) {
    let Outcome::Refused(Refusal::NoSuchAlert { asked, .. }) = &acted.outcome else {
        return;
    };
    let ended = past_transitions(asked, store);
    let Some(last) = ended.last().filter(|last| !is_open(last.to)) else {
        return;
    };
    acted.outcome = Outcome::Refused(Refusal::Over {
        id: last.id.clone(),
        at: human_time(last.at, acted.act.at, chrono_tz::Tz::UTC),
        headline: last.reason.clone(),
    });
}

fn is_open(state: AlertState) -> bool {
    matches!(state, AlertState::Pending | AlertState::Firing)
}

fn past(asked: &str, store: &dyn Store) -> Option<PastAlert> {
    let transitions = past_transitions(asked, store);
    let last = transitions.last()?;
    let (id, rule, subject) = (last.id.clone(), last.rule.to_string(), last.labels.clone());
    let since = transitions.first()?.recorded_at;
    let acts = acts::acts_of(store, last.fingerprint, &id, since).unwrap_or_default();
    let (ids, until) = (BTreeSet::from([id.as_str()]), last.recorded_at + AROUND);
    let deliveries = deliveries::around(store, &ids, since, until).unwrap_or_default();
    let deliveries = deliveries.rows;
    Some(PastAlert {
        id,
        rule,
        subject,
        transitions,
        acts,
        deliveries,
    })
}

fn past_transitions(asked: &str, store: &dyn Store) -> Vec<Transition> {
    let asked = asked.trim().to_lowercase();
    if asked.len() < MIN_ID {
        return Vec::new();
    }
    acts::past_transitions(store, &asked).unwrap_or_default()
}

/// Shorter beginnings of ids name too many of all that ever were.
const MIN_ID: usize = 3;
