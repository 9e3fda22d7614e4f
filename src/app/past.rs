//! What the store still has of alerts: their changes of state, and what people did to them. Completes the
//! answers that the engine gives from what it holds now.

use crate::engine::acting::{Acted, Outcome, Refusal};
use crate::engine::alert::{AlertState, Transition};
use crate::engine::query::{PastAlert, WhyAnswer};
use crate::engine::time::human_time;
use crate::store::{Store, acts};

/// Completes the explanation of an alert. What cannot be read is left out; `tardy store verify` shows it.
pub fn complete(answer: &mut WhyAnswer, store: &dyn Store) {
    match answer {
        WhyAnswer::Alert(why) => {
            let (print, since) = (why.fingerprint, why.history.began_at);
            why.transitions =
                acts::transitions_of(store, print, &why.id, since).unwrap_or_default();
            why.acts = acts::acts_of(store, print, &why.id, since).unwrap_or_default();
        }
        WhyAnswer::Unknown(Refusal::NoSuchAlert { asked, .. }) => {
            if let Some(past) = past(asked, store) {
                *answer = WhyAnswer::Past(Box::new(past));
            }
        }
        WhyAnswer::Past(_) | WhyAnswer::Unknown(_) => {}
    }
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
    Some(PastAlert {
        id,
        rule,
        subject,
        transitions,
        acts,
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
