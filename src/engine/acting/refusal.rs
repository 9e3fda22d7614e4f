//! Why an act was not done, in words that say what to do instead.

use serde::{Deserialize, Serialize};

use super::super::observation::Name;
use super::silencing::{MAX_MATCHERS, MAX_SILENCES, MAX_VALUE};

/// An alert by its id and headline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Short id.
    pub id: String,
    /// What it says.
    pub headline: String,
}

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n  {} {}", self.id, self.headline)
    }
}

/// Why an act was not done, or an alert not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No alert has that id.
    #[error("there is no alert `{asked}`; {}", near(.nearest))]
    NoSuchAlert {
        /// What was asked for.
        asked: String,
        /// The nearest that are open.
        nearest: Vec<Near>,
    },
    /// Several alerts have ids that begin so.
    #[error("`{asked}` is the beginning of several ids; write more of one of them:{}", list(.matching))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Those.
        matching: Vec<Near>,
    },
    /// It has ended meanwhile.
    #[error("alert {id} is over: it ended at {at} ({headline})")]
    Over {
        /// Its id.
        id: String,
        /// When, for people.
        at: String,
        /// How.
        headline: String,
    },
    /// It was done before.
    #[error("alert {id} was accepted already at {at} by {by}")]
    AlreadyAccepted {
        /// Its id.
        id: String,
        /// When, for people.
        at: String,
        /// Who did.
        by: Name,
    },
    /// It is waiting for `keep_firing_for`.
    #[error(
        "nothing to accept: the runs of alert {id} are back to usual since {since}, and it ends by itself"
    )]
    Back {
        /// Its id.
        id: String,
        /// Since when, for people.
        since: String,
    },
    /// Its kind compares nothing with what is usual.
    #[error(
        "alert {id} is of kind {kind}, which has no level to accept; run_regression and model_regression have"
    )]
    NoLevel {
        /// Its id.
        id: String,
        /// Its kind.
        kind: Name,
    },
    /// It is about where runs go, not about a level.
    #[error(
        "alert {id} is of method trend: a slope has no level to accept; raise `limit`, or the limit of the \
         rule that it names, or silence it"
    )]
    Slope {
        /// Its id.
        id: String,
    },
    /// It is about daily averages, which are always held against the days before them.
    #[error(
        "alert {id} is about daily averages, of which no level can be accepted; raise `percent`, or silence it"
    )]
    Averages {
        /// Its id.
        id: String,
    },
    /// The runs it is about are not known any more.
    #[error(
        "the slow runs that alert {id} is about are not known any more, so there is no level to accept"
    )]
    NoRuns {
        /// Its id.
        id: String,
    },
    /// It does not fire yet: nobody was told of it.
    #[error(
        "alert {id} is pending: nobody was told of it, and it may pass by itself; acknowledge it when it \
         fires, or silence it now"
    )]
    Pending {
        /// Its id.
        id: String,
    },
    /// The same person has acknowledged it for as long.
    #[error("alert {id} is acknowledged already by {by}, until {until}")]
    AlreadyAcknowledged {
        /// Its id.
        id: String,
        /// Until when, for people.
        until: String,
        /// Who did.
        by: Name,
    },
    /// There is nothing to take back.
    #[error("alert {id} is not acknowledged: there is nothing to take back")]
    NotAcknowledged {
        /// Its id.
        id: String,
    },
    /// Too short or too long.
    #[error("{what} for {asked} is not possible: write a time from {least} to {most}, like 2h")]
    OutOfBounds {
        /// What is wanted, `a silence`.
        what: String,
        /// What was asked for, for people.
        asked: String,
        /// The shortest.
        least: String,
        /// The longest.
        most: String,
    },
    /// A silence without a matcher.
    #[error(
        "a silence needs a matcher, like job = \"orders\": without one it would fit every alert"
    )]
    NoMatchers,
    /// A silence that would keep everything quiet.
    #[error(
        "{matchers} fits every alert, or nearly: name what is to be quiet with at least one matcher that does \
         not fit everything, like project = \"finance\""
    )]
    FitsEverything {
        /// As they are written.
        matchers: String,
    },
    /// More, or longer, than anybody writes.
    #[error(
        "a silence has at most {MAX_MATCHERS} matchers of {MAX_VALUE} characters; make two of it"
    )]
    TooManyMatchers,
    /// As many as can be in force.
    #[error(
        "{MAX_SILENCES} silences are in force, which is the most; end some, or use a wider matcher like \
         project =~ \"fin.*\""
    )]
    TooManySilences,
    /// A silence without a reason.
    #[error("a silence needs a reason: say why, for those who wonder where the alerts are")]
    NoComment,
    /// Until the next success of what?
    #[error(
        "a silence until the next success must name the job: add a matcher like job = \"orders\""
    )]
    NoJob,
    /// It would end at once.
    #[error(
        "no open alert fits {matchers}, so a silence until they are resolved would end at once; leave out \
         `until`, or look at what is open with `tardy alerts`"
    )]
    NothingOpen {
        /// As they are written.
        matchers: String,
    },
    /// The same silence is in force.
    #[error("that is silenced already: {id} by {by}, until {until}")]
    AlreadySilenced {
        /// Its id.
        id: String,
        /// Until when, for people.
        until: String,
        /// Who did.
        by: Name,
    },
    /// No silence has that id.
    #[error("there is no silence `{asked}`; {}", near_silences(.nearest))]
    NoSuchSilence {
        /// What was asked for.
        asked: String,
        /// The nearest that are in force.
        nearest: Vec<Near>,
    },
    /// It has ended before.
    #[error("silence {id} is over already: it ended at {at} ({why})")]
    SilenceOver {
        /// Its id.
        id: String,
        /// When, for people.
        at: String,
        /// Why, for people.
        why: String,
    },
}

impl Refusal {
    /// What was asked for is not there, or cannot be meant: a mistake of the one who asked.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::NoSuchAlert { .. }
            | Self::Ambiguous { .. }
            | Self::NoLevel { .. }
            | Self::Slope { .. }
            | Self::Averages { .. }
            | Self::OutOfBounds { .. }
            | Self::NoMatchers
            | Self::FitsEverything { .. }
            | Self::TooManyMatchers
            | Self::NoComment
            | Self::NoJob
            | Self::NoSuchSilence { .. } => true,
            Self::Over { .. }
            | Self::AlreadyAccepted { .. }
            | Self::Back { .. }
            | Self::NoRuns { .. }
            | Self::Pending { .. }
            | Self::AlreadyAcknowledged { .. }
            | Self::NotAcknowledged { .. }
            | Self::TooManySilences
            | Self::NothingOpen { .. }
            | Self::AlreadySilenced { .. }
            | Self::SilenceOver { .. } => false,
        }
    }
}

fn near(nearest: &[Near]) -> String {
    if nearest.is_empty() {
        return "no alert is open".to_owned();
    }
    format!("the nearest that are open:{}", list(nearest))
}

fn near_silences(nearest: &[Near]) -> String {
    if nearest.is_empty() {
        return "none is in force".to_owned();
    }
    format!("the nearest in force:{}", list(nearest))
}

fn list(alerts: &[Near]) -> String {
    alerts.iter().map(ToString::to_string).collect()
}
