//! Tardy: alerting and service levels for data pipelines on dagctl.

pub mod engine;
pub mod sim;
pub mod source;
