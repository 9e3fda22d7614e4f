//! Acts while no bot runs: the store is opened, the act done, and what it changed written; nothing is judged,
//! and nothing is put in the outbox. What people are to hear of it waits in its group for the next start, as does
//! all else that is due.

use std::sync::Arc;

use super::past;
use super::pipeline::{Incoming, Pipeline};
use super::start::{Opened, sequences};
use crate::engine::acting::{Act, Acted};
use crate::engine::policy::Policy;
use crate::engine::time::Timestamp;
use crate::engine::{Engine, Input};
use crate::store::StoreError;

/// Does one thing; `None` cannot happen while an offline step answers every act.
pub fn act(
    policy: &Policy,
    opened: Opened,
    act: Act,
    now: Timestamp,
) -> Result<Option<Acted>, StoreError> {
    let sequences = sequences(&opened.loaded, now);
    let loaded = opened.loaded;
    let engine = Engine::new(Arc::new(policy.clone()), loaded.history, loaded.saved);
    let mut pipeline = Pipeline::new(engine, opened.store.clone(), sequences);
    let input = Input {
        acts: vec![act],
        is_offline: true,
        ..Input::default()
    };
    let incoming = Incoming {
        input,
        ..Incoming::default()
    };
    let mut acts = pipeline.activate(incoming, now)?.step.acts;
    let mut acted = acts.pop();
    if let Some(acted) = &mut acted {
        past::explain(acted, opened.store.as_ref());
    }
    Ok(acted)
}
