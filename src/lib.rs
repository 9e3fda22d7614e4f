//! Tardy: alerting and service levels for data pipelines on dagctl.

pub mod app;
pub mod chart;
pub mod chat;
pub mod cli;
pub mod config;
pub mod engine;
pub mod notify;
pub mod sim;
pub mod source;
pub mod store;
