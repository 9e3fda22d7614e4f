//! The conversation with people: one grammar and one set of answers, wherever it is spoken.

pub mod parse;
pub mod run;
