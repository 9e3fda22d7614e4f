//! A dagctl API simulator: the same endpoints over HTTP on loopback, from a planned organization.
//!
//! Used by `tardy sim`, `tardy demo`, the end-to-end tests and the benches.
//!
//! Guarantees:
//! * Everything is planned ahead ([`model`], [`organization`]) and what a request sees is a function
//!   of the virtual time of [`clock::SimClock`]. Same seed and same instant: same bytes.
//! * The documented parts of the API are strict; every inferred shape is a switch of
//!   [`variant::Variant`], so a client can be shown to survive a wrong guess.
//! * Faults come on demand or at random from a seed ([`faults::Faults`]), and requests are counted.
//!
//! What it does not do: read the wall clock, write anything, share wire types or schedule code with
//! the client. Cron, JSON and random numbers are written here a second time on purpose: a mistake in
//! the client must not be mirrored by the thing it is tested against.

mod aggregates;
pub mod clock;
mod cron;
pub mod faults;
mod generate;
mod habit;
mod json;
mod line;
mod listing;
pub mod model;
pub mod organization;
mod random;
mod resources;
mod respond;
mod runs;
pub mod server;
pub mod story;
pub mod variant;
mod view;

pub use clock::SimClock;
pub use faults::{Fault, Faults, Garbage};
pub use generate::{BULK_PROJECT, ORGANIZATION, Shape, TOKEN};
pub use model::{
    Amendment, JobChange, JobPlan, Member, Outcome, PlanRecord, PlannedExecution, PlannedRun,
    ProjectChange, ProjectKind, ProjectPlan, Protection,
};
pub use organization::{Organization, SharedOrganization};
pub use server::{Running, SimError, serve};
pub use story::{Moment, Story};
pub use variant::Variant;
