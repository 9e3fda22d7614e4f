//! The engine on a virtual clock: scenarios, the contract, and properties.

#[path = "support/engine/cron.rs"]
mod cron;
