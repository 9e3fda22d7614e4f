//! The engine on a virtual clock: scenarios, the contract, and properties.

#![allow(unreachable_pub)] // modules of one test binary

#[path = "support/engine/accepting.rs"]
mod accepting;
#[path = "support/engine/acknowledging.rs"]
mod acknowledging;
#[path = "support/engine/aside.rs"]
mod aside;
#[path = "support/engine/contract.rs"]
mod contract;
#[path = "support/engine/cron.rs"]
mod cron;
#[path = "support/engine/cuts.rs"]
mod cuts;
#[path = "support/engine/digests.rs"]
mod digests;
#[path = "support/engine/escalating.rs"]
mod escalating;
#[path = "support/engine/files.rs"]
mod files;
#[path = "support/engine/flapping.rs"]
mod flapping;
#[path = "support/engine/gates.rs"]
mod gates;
#[path = "support/engine/interleavings.rs"]
mod interleavings;
#[path = "support/engine/kinds.rs"]
mod kinds;
#[path = "support/engine/levels.rs"]
mod levels;
#[path = "support/engine/models.rs"]
mod models;
#[path = "support/engine/objectives.rs"]
mod objectives;
#[path = "support/engine/on_call.rs"]
mod on_call;
#[path = "support/engine/on_time.rs"]
mod on_time;
#[path = "support/engine/owed.rs"]
mod owed;
#[path = "support/engine/people.rs"]
mod people;
#[path = "support/engine/precedence.rs"]
mod precedence;
#[path = "support/engine/promises.rs"]
mod promises;
#[path = "support/engine/runs.rs"]
mod runs;
#[path = "support/engine/silencing.rs"]
mod silencing;
#[path = "support/engine/telling.rs"]
mod telling;
#[path = "support/engine/time_cases.rs"]
mod time_cases;
#[path = "support/engine/timeline.rs"]
mod timeline;
#[path = "support/engine/year.rs"]
mod year;
