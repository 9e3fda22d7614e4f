//! The pure heart of Tardy: values in, values out.

pub mod labels;
pub mod observation;
pub mod time;
