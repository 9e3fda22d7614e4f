//! Whether sources can be read and receivers reached, as the shell reports it.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Health of one source or receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The last complete success.
    pub ok_at: Option<Timestamp>,
    /// Failing without a complete success since; `None` while all is well.
    pub failing_since: Option<Timestamp>,
    /// What went wrong last, in words for people.
    pub why: Option<String>,
}

impl Health {
    /// Takes in a success.
    pub fn succeed(&mut self, at: Timestamp) {
        *self = Self {
            ok_at: Some(at),
            failing_since: None,
            why: None,
        };
    }

    /// Takes in a failure at `at`. The trouble began with the first failure since the last success.
    pub fn fail(&mut self, at: Timestamp, why: String) {
        self.failing_since.get_or_insert(at);
        self.why = Some(why);
    }
}
