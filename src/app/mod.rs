//! The shell around the engine: clocks, tasks, and the order of things. It knows all adapters and decides
//! nothing about alerts.

pub mod clock;
pub mod control;
pub mod deliver;
pub mod demo;
pub mod detection;
pub mod digest_picture;
pub mod dispatch;
pub mod evaluate;
pub mod illustrate;
pub mod live;
pub mod offline;
pub mod past;
pub mod picture;
pub mod pipeline;
pub mod poll;
pub mod rule_test;
pub mod series;
pub mod start;
pub mod starter;
pub mod status;
pub mod upkeep;

/// Runs a call that blocks for a moment (a commit to disk) without holding up other tasks.
pub fn blocking<T>(call: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        Ok(_) | Err(_) => call(),
    }
}
