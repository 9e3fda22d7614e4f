//! The pure heart of Tardy: values in, values out.

pub mod time;
