//! Crashes of the store: killed processes and power cuts, many of each.
//!
//! | variable | what | default | before a release |
//! |---|---|---|---|
//! | `TARDY_CRASH_KILLS` | kills at random instants under load | 25 | 200 |
//! | `TARDY_CRASH_AIMED` | kills while sled writes its snapshot | 5 | 50 |
//! | `TARDY_CRASH_CUTS` | power cuts | 20 | 100 |

#![cfg(target_os = "linux")]
// Child processes are told what to do by variables and answer on their output.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

#[path = "support/crash_kill.rs"]
mod kill;
#[path = "support/crash_load.rs"]
mod load;
#[path = "support/crash_powercut.rs"]
mod powercut;
