//! The embedded store: what every store must do, and what this one does when its disk lets it down.

#[path = "support/store_conformance.rs"]
mod conformance;
#[path = "support/store_faults.rs"]
mod faults;
