//! The pure heart of Tardy: values in, values out.

pub mod calendar;
pub mod labels;
pub mod notification;
pub mod observation;
pub mod policy;
pub mod route;
pub mod rule;
pub mod schedule;
pub mod time;
