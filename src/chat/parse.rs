//! Text to command. Pure; the same grammar on every surface. A typo gets the nearest command.

use serde::{Deserialize, Serialize};

use crate::engine::digest::DigestQuestion;
use crate::engine::labels::{Glob, Matcher};
use crate::engine::query::{
    AlertQuery, AlertQuestion, ModelQuestion, ModelState, RunQuestion, RunState, SlaQuestion,
    WhyNotQuestion,
};
use crate::engine::time::{Span, parse_span};

/// Most rows of an answer in chat.
pub const CHAT_LIMIT: usize = 10;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `/runs [failed, late, running, slow, all] [job or project glob] [24h]`
    Runs(RunQuestion),
    /// `/alerts [firing, pending, silenced] [matchers]`
    Alerts(AlertQuestion),
    /// `/models [slow, failed, regressed] [glob] [7d]`
    Models(ModelQuestion),
    /// `/sla [job or objective] [30d]`
    Sla(SlaQuestion),
    /// `/why <alert>`, by its short id or the beginning of it.
    Why(String),
    /// `/why-not <rule> <subject> [at <time>]`
    WhyNot(WhyNotQuestion),
    /// `/digest [name] [24h]`
    Digest(DigestQuestion),
    /// `/help`
    Help,
    /// The rules in force.
    Rules,
}

impl Command {
    /// Its answer may take seconds: time that has passed is played once more.
    pub fn is_long(&self) -> bool {
        matches!(self, Self::WhyNot(question) if question.at.is_some())
    }
}

/// Why a text is no command. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing was asked.
    #[error("ask something, for example: /runs failed 24h")]
    Empty,
    /// No command is called that.
    #[error("there is no command /{word}{}", suggestion.map_or(String::new(), |near| format!("; did you mean /{near}?")))]
    Unknown {
        /// What was written.
        word: String,
        /// The nearest command.
        suggestion: Option<&'static str>,
    },
    /// A command that this version does not have.
    #[error("/{0} is not built yet; built are {built}", built = BUILT.map(|word| format!("/{word}")).join(", "))]
    NotBuilt(&'static str),
    /// A word that the command does not take.
    #[error("/{command} does not take `{word}`; {usage}")]
    Argument {
        /// The command.
        command: &'static str,
        /// The word.
        word: String,
        /// How it is used.
        usage: &'static str,
    },
    /// A command without what it is about.
    #[error("/{command} of what? {usage}")]
    Missing {
        /// The command.
        command: &'static str,
        /// How it is used.
        usage: &'static str,
    },
    /// Longer than anybody types.
    #[error("a question is at most {MAX_CHARS} characters")]
    TooLong,
}

/// Longest question read, so that a hostile one costs nothing.
const MAX_CHARS: usize = 2_000;

/// Every command of the grammar.
const WORDS: [&str; 14] = [
    "runs",
    "run",
    "models",
    "alerts",
    "sla",
    "plans",
    "why",
    "why-not",
    "ack",
    "silence",
    "unsilence",
    "accept",
    "digest",
    "status",
];

/// Commands that can be answered.
pub const BUILT: [&str; 9] = [
    "runs", "alerts", "models", "sla", "why", "why-not", "digest", "rules", "help",
];

/// How each is used.
pub const RUNS_USAGE: &str =
    "use it as /runs [failed|late|running|slow|all] [job or project] [24h]";
/// How it is used.
pub const ALERTS_USAGE: &str = "use it as /alerts [firing|pending|silenced] [label=value …]";
/// How it is used.
pub const MODELS_USAGE: &str = "use it as /models [slow|failed|regressed] [model] [7d]";
/// How it is used.
pub const SLA_USAGE: &str = "use it as /sla [job or objective] [30d]";

/// How it is used.
pub const DIGEST_USAGE: &str = "use it as /digest [name of a digest] [24h]";
/// How it is used.
pub const WHY_USAGE: &str = "use it as /why ALERT, with the id that every message shows";

/// How it is used.
pub const WHY_NOT_USAGE: &str = "use it as /why-not RULE SUBJECT [at TIME], like /why-not late finance/nightly at yesterday 07:00";

/// Reads `/runs failed 24h`, with or without the slash.
pub fn parse(text: &str) -> Result<Command, ParseError> {
    if text.chars().count() > MAX_CHARS {
        return Err(ParseError::TooLong);
    }
    let words = split(text);
    let Some((first, rest)) = words.split_first() else {
        return Err(ParseError::Empty);
    };
    let word = first.trim_start_matches('/').to_lowercase();
    match word.as_str() {
        "" => Err(ParseError::Empty),
        "tardy" => parse(&rest.join(" ")),
        "help" => Ok(Command::Help),
        "rules" => Ok(Command::Rules),
        "runs" => runs(rest),
        "alerts" => alerts(rest),
        "models" => models(rest),
        "sla" => sla(rest),
        "why" => why(rest),
        "why-not" | "whynot" => why_not(rest),
        "digest" => digest(rest),
        other => Err(unknown(other)),
    }
}

fn unknown(word: &str) -> ParseError {
    if let Some(known) = WORDS.iter().find(|known| **known == word) {
        return ParseError::NotBuilt(known);
    }
    let near = WORDS
        .iter()
        .chain(["help", "rules"].iter())
        .map(|known| (strsim::damerau_levenshtein(known, word), *known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(word.len()) / 2)
        .map(|(_, known)| known);
    ParseError::Unknown {
        word: word.chars().take(40).collect(),
        suggestion: near,
    }
}

/// Words, with quoted parts kept together: `job="my job"`.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' | '“' | '”' => {
                is_quoted = !is_quoted;
                word.push('"');
            }
            c if c.is_whitespace() && !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `24h`: a number and a unit. A job may well be called `7d`, but nobody asks for it without a glob.
fn span(word: &str) -> Option<Span> {
    let starts_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
    parse_span(word)
        .ok()
        .filter(|span| starts_with_digit && *span > Span::zero())
}

/// The state words, the pattern and the span of a question, in any order.
fn arguments<S: Copy>(
    command: &'static str,
    usage: &'static str,
    words: &[String],
    states: &[(&str, S)],
    default: (S, Span),
) -> Result<(S, Glob, Span), ParseError> {
    let (mut state, mut pattern, mut within) = (None, None, None);
    for word in words {
        let known = states
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        match (known, span(word)) {
            (Some((_, found)), _) if state.is_none() => state = Some(*found),
            (None, Some(found)) if within.is_none() => within = Some(found),
            (None, None) if pattern.is_none() => pattern = Some(Glob::new(word.trim_matches('"'))),
            _ => {
                return Err(ParseError::Argument {
                    command,
                    word: word.clone(),
                    usage,
                });
            }
        }
    }
    Ok((
        state.unwrap_or(default.0),
        pattern.unwrap_or_else(|| Glob::new("*")),
        within.unwrap_or(default.1),
    ))
}

fn runs(words: &[String]) -> Result<Command, ParseError> {
    let default = (RunState::All, Span::hours(24));
    let (state, pattern, within) = arguments("runs", RUNS_USAGE, words, &RunState::WORDS, default)?;
    Ok(Command::Runs(RunQuestion {
        state,
        pattern,
        within_millis: within.num_milliseconds(),
        limit: CHAT_LIMIT,
    }))
}

fn models(words: &[String]) -> Result<Command, ParseError> {
    let default = (ModelState::All, Span::days(7));
    let states = [
        ("all", ModelState::All),
        ("slow", ModelState::Slow),
        ("failed", ModelState::Failed),
        ("regressed", ModelState::Regressed),
    ];
    let (state, pattern, within) = arguments("models", MODELS_USAGE, words, &states, default)?;
    Ok(Command::Models(ModelQuestion {
        state,
        pattern,
        within_millis: within.num_milliseconds(),
        limit: CHAT_LIMIT,
    }))
}

fn sla(words: &[String]) -> Result<Command, ParseError> {
    let default = ((), Span::days(30));
    let ((), pattern, within) = arguments("sla", SLA_USAGE, words, &[], default)?;
    Ok(Command::Sla(SlaQuestion {
        pattern,
        within_millis: within.num_milliseconds(),
        has_promises: false,
        limit: CHAT_LIMIT,
    }))
}

fn digest(words: &[String]) -> Result<Command, ParseError> {
    let mut question = DigestQuestion::default();
    for word in words {
        match span(word) {
            Some(within) if question.within_millis.is_none() => {
                question.within_millis = Some(within.num_milliseconds());
            }
            None if question.name.is_none() => {
                question.name = Some(word.trim_matches('"').to_owned());
            }
            _ => {
                return Err(ParseError::Argument {
                    command: "digest",
                    word: word.clone(),
                    usage: DIGEST_USAGE,
                });
            }
        }
    }
    Ok(Command::Digest(question))
}

fn why(words: &[String]) -> Result<Command, ParseError> {
    match words {
        [alert] => Ok(Command::Why(alert.trim_matches('"').to_owned())),
        [] => Err(ParseError::Missing {
            command: "why",
            usage: WHY_USAGE,
        }),
        [_, word, ..] => Err(ParseError::Argument {
            command: "why",
            word: word.clone(),
            usage: WHY_USAGE,
        }),
    }
}

fn why_not(words: &[String]) -> Result<Command, ParseError> {
    let bare = |word: &String| word.trim_matches('"').to_owned();
    let (rule, subject, rest) = match words {
        [rule, subject, rest @ ..] => (bare(rule), bare(subject), rest),
        [] | [_] => {
            return Err(ParseError::Missing {
                command: "why-not",
                usage: WHY_NOT_USAGE,
            });
        }
    };
    let at = match rest {
        [] => None,
        [word, time @ ..] if word.trim_start_matches('-') == "at" && !time.is_empty() => {
            Some(time.iter().map(bare).collect::<Vec<_>>().join(" "))
        }
        [word, ..] => {
            return Err(ParseError::Argument {
                command: "why-not",
                word: word.clone(),
                usage: WHY_NOT_USAGE,
            });
        }
    };
    Ok(Command::WhyNot(WhyNotQuestion { rule, subject, at }))
}

fn alerts(words: &[String]) -> Result<Command, ParseError> {
    let mut state = AlertQuery::Open;
    let mut matchers = Vec::new();
    for word in words {
        match word.to_lowercase().as_str() {
            "firing" => state = AlertQuery::Firing,
            "pending" => state = AlertQuery::Pending,
            "silenced" => state = AlertQuery::Silenced,
            "all" | "open" => state = AlertQuery::Open,
            _ => matchers.push(Matcher::parse(word.trim_end_matches(',')).map_err(|_| {
                ParseError::Argument {
                    command: "alerts",
                    word: word.clone(),
                    usage: ALERTS_USAGE,
                }
            })?),
        }
    }
    Ok(Command::Alerts(AlertQuestion {
        state,
        matchers,
        limit: CHAT_LIMIT,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_in_any_order() {
        let expected = Command::Runs(RunQuestion {
            state: RunState::Failed,
            pattern: Glob::new("fin*"),
            within_millis: 86_400_000,
            limit: CHAT_LIMIT,
        });
        for text in [
            "/runs failed fin* 24h",
            "runs fin* failed",
            "/tardy runs 1d fin* failed",
            "  /RUNS  24h fin* FAILED ",
        ] {
            assert_eq!(parse(text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn promises_are_asked_for_by_name_and_period() {
        for (text, pattern, days) in [
            ("/sla", "*", 30),
            ("/sla nightly 7d", "nightly", 7),
            ("sla 7d 'x", "'x", 7),
            ("/sla \"finance nightly\"", "finance nightly", 30),
        ] {
            let expected = Command::Sla(SlaQuestion {
                pattern: Glob::new(pattern),
                within_millis: days * 86_400_000,
                has_promises: false,
                limit: CHAT_LIMIT,
            });
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_digest_is_asked_for_by_name_or_period() {
        for (text, name, within_millis) in [
            ("/digest", None, None),
            ("digest 7d", None, Some(7 * 86_400_000)),
            ("/digest morning", Some("morning"), None),
            (
                "/digest 24h \"my digest\"",
                Some("my digest"),
                Some(86_400_000),
            ),
        ] {
            let name = name.map(str::to_owned);
            let expected = Command::Digest(DigestQuestion {
                name,
                within_millis,
            });
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        assert_eq!(
            parse("/digest a b").unwrap_err().to_string(),
            "/digest does not take `b`; use it as /digest [name of a digest] [24h]"
        );
    }

    #[test]
    fn alerts_take_matchers() {
        let Ok(Command::Alerts(question)) =
            parse("/alerts firing severity=critical job=~\"a b.*\"")
        else {
            panic!("not an alerts question");
        };
        assert_eq!(question.state, AlertQuery::Firing);
        assert_eq!(question.matchers.len(), 2);
    }

    #[test]
    fn why_not_takes_a_rule_a_subject_and_a_time() {
        for (text, subject, at) in [
            ("/why-not late finance/nightly", "finance/nightly", None),
            ("/why-not late \"my job\"", "my job", None),
            ("why-not late n* at 3h ago", "n*", Some("3h ago")),
            (
                "/tardy why-not late nightly --at \"yesterday 07:00\"",
                "nightly",
                Some("yesterday 07:00"),
            ),
        ] {
            let expected = Command::WhyNot(WhyNotQuestion {
                rule: "late".into(),
                subject: subject.into(),
                at: at.map(str::to_owned),
            });
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        assert!(parse("/why-not late").is_err());
        assert!(parse("/why-not late nightly yesterday").is_err());
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (text, expected) in [
            ("", "ask something, for example: /runs failed 24h"),
            ("/rnus", "there is no command /rnus; did you mean /runs?"),
            (
                "/alrets",
                "there is no command /alrets; did you mean /alerts?",
            ),
            ("/xyzzyplugh", "there is no command /xyzzyplugh"),
            (
                "/plans",
                "/plans is not built yet; built are /runs, /alerts, /models, /sla, /why, /why-not, /digest, /rules, /help",
            ),
            (
                "/sla nightly weekly",
                "/sla does not take `weekly`; use it as /sla [job or objective] [30d]",
            ),
            (
                "/runs failed slow",
                "/runs does not take `slow`; use it as /runs [failed|late|running|slow|all] [job or project] [24h]",
            ),
            (
                "/why",
                "/why of what? use it as /why ALERT, with the id that every message shows",
            ),
            (
                "/why k3x9qa now",
                "/why does not take `now`; use it as /why ALERT, with the id that every message shows",
            ),
            (
                "/alerts bogus",
                "/alerts does not take `bogus`; use it as /alerts [firing|pending|silenced] [label=value …]",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(parse(&"x".repeat(3_000)), Err(ParseError::TooLong));
    }
}
