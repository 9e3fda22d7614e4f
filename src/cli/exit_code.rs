//! Exit codes, in one place.

use std::process::ExitCode as Code;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// All is well.
    Fine,
    /// What was asked failed.
    Failed,
    /// Problems were found in what was given: configuration, rules, arguments.
    Problems,
    /// A bug of ours.
    Bug,
}

impl ExitCode {
    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Problems => 2,
            Self::Bug => 70,
        }
    }
}

impl From<ExitCode> for Code {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}
