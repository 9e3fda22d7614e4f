//! From a run at dagctl to a message in every channel, with everything real but time.

#[path = "support/chat.rs"]
#[allow(dead_code)]
mod chat;
#[path = "support/mail.rs"]
mod mail;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/smtp.rs"]
#[allow(dead_code)]
mod smtp;

#[path = "pipeline/rig.rs"]
mod rig;

#[path = "pipeline/averages.rs"]
mod averages;
#[path = "pipeline/contract.rs"]
mod contract;
#[path = "pipeline/crashes.rs"]
mod crashes;
#[path = "pipeline/digests.rs"]
mod digests;
#[path = "pipeline/hostile.rs"]
mod hostile;
#[path = "pipeline/interleavings.rs"]
mod interleavings;
#[path = "pipeline/night.rs"]
mod night;
#[path = "pipeline/night_seen.rs"]
mod night_seen;
#[path = "pipeline/reloads.rs"]
mod reloads;
#[path = "pipeline/told.rs"]
mod told;
