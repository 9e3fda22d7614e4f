//! Labels, patterns over names, matchers over labels, and fingerprints.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::observation::Name;

/// Sorted label set. Identity labels (source, project, job, model, `run_id` …) plus configured ones.
/// Cloning shares the set; one that is changed is copied first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<Vec<(Name, Name)>>);

impl Labels {
    /// Adds or replaces a label; empty values are not kept.
    pub fn set(&mut self, name: &str, value: impl Into<Name>) {
        let value = value.into();
        let found = self.find(name);
        match (found, value.is_empty()) {
            (Ok(at), _) if *self.0[at].1 == *value => {}
            (Ok(at), false) => Arc::make_mut(&mut self.0)[at].1 = value,
            (Ok(at), true) => drop(Arc::make_mut(&mut self.0).remove(at)),
            (Err(at), false) => Arc::make_mut(&mut self.0).insert(at, (name.into(), value)),
            (Err(_), true) => {}
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// Adds a label and returns the set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Name>) -> Self {
        self.set(name, value);
        self
    }

    /// A label's value; a missing label is the empty text, as in Alertmanager.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| &self.0[at].1)
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The labels named in `names`, for grouping and equality.
    #[must_use]
    pub fn project(&self, names: &[Name]) -> Self {
        names.iter().fold(Self::default(), |labels, name| {
            labels.with(name, self.get(name))
        })
    }
}

impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<Name, Name>::deserialize(deserializer)?;
        Ok(Self(Arc::new(
            map.into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        )))
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        Ok(())
    }
}

/// 128-bit identity of an alert, stable across restarts and versions.
///
/// Algorithm (version 1): SHA-256 over the UTF-8 bytes of `tardy1`, the rule's name, then each
/// identity label's name and value in name order, every item preceded by its length as eight
/// big-endian bytes; the first sixteen bytes of the digest, as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of a rule and identity labels.
    pub fn of(rule: &str, identity: &Labels) -> Self {
        let mut hasher = Sha256::new();
        let mut feed = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        feed("tardy1");
        feed(rule);
        for (name, value) in identity.iter() {
            feed(name);
            feed(value);
        }
        let digest = hasher.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(bytes))
    }

    /// From the raw number, as stored.
    pub const fn from_u128(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Short id for people: the first `len` symbols in Crockford's base 32 (no i, l, o, u).
    pub fn short(self, len: usize) -> String {
        const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        (0..len.min(24))
            .map(|index| SYMBOLS[(self.0 >> (123 - 5 * index)) as usize & 31] as char)
            .collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not a fingerprint"))
    }
}

/// A glob over names: `*` is any run of characters, `?` is one; everything else is literal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole of `name` fits.
    pub fn is_match(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, n));
                    p += 1;
                }
                Some(b'?') => {
                    // One character, however many bytes it has.
                    p += 1;
                    n += 1;
                    while n < name.len() && name[n] & 0xC0 == 0x80 {
                        n += 1;
                    }
                }
                Some(byte) if *byte == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match retry {
                    Some((after_star, from)) => {
                        p = after_star;
                        n = from + 1;
                        retry = Some((after_star, n));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// A list of globs; `!` negates. A name fits when at least one positive glob fits (or none is
/// given) and no negated one does. The empty list fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patterns {
    positive: Vec<Glob>,
    negated: Vec<Glob>,
}

impl Patterns {
    /// From the configured texts.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self::default();
        for text in texts {
            match text.strip_prefix('!') {
                Some(negated) => patterns.negated.push(Glob::new(negated)),
                None => patterns.positive.push(Glob::new(text)),
            }
        }
        patterns
    }

    /// `name` fits.
    pub fn is_match(&self, name: &str) -> bool {
        self.is_match_any(&[name])
    }

    /// One of the names of the same thing (id, name) fits a positive glob and none fits a negated one.
    pub fn is_match_any(&self, names: &[&str]) -> bool {
        let fits = |glob: &Glob| names.iter().any(|name| glob.is_match(name));
        (self.positive.is_empty() || self.positive.iter().any(fits))
            && !self.negated.iter().any(fits)
    }

    /// Fits every name.
    pub fn is_any(&self) -> bool {
        self.negated.is_empty()
            && (self.positive.is_empty() || self.positive.iter().any(|g| g.0 == "*"))
    }

    /// The globs as written.
    pub fn texts(&self) -> Vec<String> {
        let negated = self.negated.iter().map(|glob| format!("!{}", glob.0));
        self.positive
            .iter()
            .map(|glob| glob.0.clone())
            .chain(negated)
            .collect()
    }
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored
    Regex,
    /// `!~`, anchored
    NotRegex,
}

impl MatchOp {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on a label, as in Alertmanager: `severity = "critical"`, `job =~ "fin.*"`.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: Name,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

/// Why a matcher was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// Not `label op "value"`.
    #[error("`{0}` is not a matcher; write label = \"value\", with one of = != =~ !~")]
    Form(String),
    /// The regular expression does not compile or is longer than 1 KiB.
    #[error("`{0}` is not a regular expression Tardy can use: {1}")]
    Regex(String, String),
}

/// Longest pattern accepted, so that a hostile one cannot take memory.
const MAX_PATTERN_BYTES: usize = 1_024;

impl Matcher {
    /// Reads `label op "value"`; the quotes may be left out.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let form = || MatcherError::Form(text.to_owned());
        let at = text.find(['=', '!']).ok_or_else(form)?;
        let (label, rest) = text.split_at(at);
        let (op, value) = [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal),
        ]
        .iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (*op, value)))
        .ok_or_else(form)?;
        let label = label.trim();
        if label.is_empty() || !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(form());
        }
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(inner) => inner.strip_suffix('"').ok_or_else(form)?,
            None => value,
        };
        Self::new(label, op, value)
    }

    /// From its parts.
    pub fn new(label: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let refuse = |why: String| MatcherError::Regex(value.chars().take(80).collect(), why);
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex if value.len() > MAX_PATTERN_BYTES => {
                return Err(refuse(format!("longer than {MAX_PATTERN_BYTES} bytes")));
            }
            MatchOp::Regex | MatchOp::NotRegex => {
                Some(Regex::new(&format!("^(?:{value})$")).map_err(|error| {
                    let text = error.to_string();
                    refuse(
                        text.lines()
                            .last()
                            .unwrap_or_default()
                            .trim_start_matches("error: ")
                            .to_owned(),
                    )
                })?)
            }
        };
        Ok(Self {
            label: label.into(),
            op,
            value: value.to_owned(),
            regex,
        })
    }

    /// The labels fit.
    pub fn is_match(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label);
        let is_match = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => value == self.value,
        };
        is_match == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// The label it looks at.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.label, self.op.as_str(), self.value)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.op, &self.value) == (&other.label, other.op, &other.value)
    }
}

/// Stored and sent as its text.
impl Serialize for Matcher {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_never_change() {
        let labels = Labels::default()
            .with("project", "proj_a1")
            .with("job", "hourly-orders");
        let fingerprint = Fingerprint::of("run-failed", &labels);
        // Golden value, computed with Python's hashlib from the documented algorithm.
        assert_eq!(fingerprint.to_string(), GOLDEN);
        assert_ne!(
            Fingerprint::of("run-failed", &labels.with("job", "x")),
            fingerprint
        );
    }

    #[test]
    fn label_boundaries_cannot_be_shifted() {
        let a = Fingerprint::of("r", &Labels::default().with("ab", "c"));
        let b = Fingerprint::of("r", &Labels::default().with("a", "bc"));
        assert_ne!(a, b);
    }

    const GOLDEN: &str = "461615d94205005f69f6edb6c1f3d2ab";

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("hourly-*", "hourly-orders", true),
            ("hourly-*", "nightly", false),
            ("*orders", "hourly-orders", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("na?ve", "naïve", true),
            ("marts.*", "marts_orders", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(glob).is_match(name), expected, "{glob} on {name}");
        }
    }

    #[test]
    fn patterns_negate() {
        let patterns = Patterns::new(["hourly-*", "!hourly-test*"]);
        assert!(patterns.is_match("hourly-orders"));
        assert!(!patterns.is_match("hourly-test-1"));
        assert!(!patterns.is_match("nightly"));
        assert!(Patterns::new(["!janitor"]).is_match("run"));
        assert!(Patterns::default().is_match("x") && Patterns::default().is_any());
        assert!(!Patterns::new(["!proj_1"]).is_match_any(&["proj_1", "finance"]));
    }

    #[test]
    fn matchers_are_anchored() {
        let labels = Labels::default()
            .with("severity", "warning")
            .with("project", "finance-eu");
        for (text, expected) in [
            ("severity = \"warning\"", true),
            ("severity=warning", true),
            ("severity != \"warning\"", false),
            ("project =~ \"fin.*\"", true),
            ("project =~ \"fin\"", false),
            ("project !~ \"growth|fin.*\"", false),
            ("owner = \"\"", true),
            ("owner != \"\"", false),
        ] {
            let matcher = Matcher::parse(text).unwrap();
            assert_eq!(matcher.is_match(&labels), expected, "{text}");
            assert_eq!(Matcher::parse(&matcher.to_string()).unwrap(), matcher);
        }
        assert!(matches!(
            Matcher::parse("nonsense"),
            Err(MatcherError::Form(_))
        ));
        assert!(matches!(
            Matcher::parse("a = \"b"),
            Err(MatcherError::Form(_))
        ));
        assert!(matches!(
            Matcher::parse("a =~ \"(\""),
            Err(MatcherError::Regex(..))
        ));
    }
}
