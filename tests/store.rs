//! The embedded store: what every store must do, and what this one does when its files or its disk
//! let it down.

// Child processes are told what to do by variables and answer on their output.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

#[path = "support/store_common.rs"]
mod common;
#[path = "support/store_conformance.rs"]
mod conformance;
#[path = "support/store_disks.rs"]
mod disks;
#[path = "support/store_faults.rs"]
mod faults;
