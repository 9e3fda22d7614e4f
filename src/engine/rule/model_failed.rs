//! model_failed

/// A model execution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFailed;
