//! The JSON of dagctl's lists, read tolerantly.
//!
//! Guarantees: unknown fields are ignored; a missing field, an explicit `null` and a field of an
//! unexpected type are the same; a list is found under any of its known keys, bare, or missing when
//! `total` is 0; a malformed row costs itself and not its page. The usual page is decoded in one go
//! with borrowed text; only a page on which that fails is decoded row by row.
//!
//! It knows no meaning: [`super::rows`] turns rows into observations.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A list of dagctl: the keys under which its rows may stand, most likely first.
pub(super) trait Listed {
    /// The keys.
    const KEYS: &'static [&'static str];
}

/// One decoded page of a list.
#[derive(Debug)]
pub(super) struct Page<'a, T> {
    /// The rows, in the order of the server; a malformed one as its text.
    pub(super) rows: Vec<Result<T, MalformedRow<'a>>>,
    /// What the envelope says about the whole list.
    pub(super) head: Head,
}

/// A row that is not an object of the expected form.
#[derive(Debug)]
pub(super) struct MalformedRow<'a> {
    /// The row as sent.
    pub(super) text: &'a str,
    /// The decoder's words.
    pub(super) why: String,
}

/// The paging fields of an envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Rows of the whole list.
    pub(super) total: Option<u64>,
    /// Rows per page as the server counts them: it may have clamped what was asked.
    pub(super) limit: Option<u64>,
    /// Pages of the whole list.
    pub(super) total_pages: Option<u64>,
}

/// Why a body is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// Not JSON at all.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// JSON without the list.
    #[error("the body has no list under {0}")]
    NoList(String),
    /// A list of something else.
    #[error("no row of the list has the expected fields")]
    NoKnownRow,
    /// Not the object it should be.
    #[error("the body is not the expected object: {0}")]
    NotObject(String),
}

/// Decodes one page.
pub(super) fn page<'a, T>(body: &'a str) -> Result<Page<'a, T>, WireError>
where
    T: Listed + Deserialize<'a>,
{
    if let Ok(envelope) = serde_json::from_str::<Envelope<T, T>>(body)
        && let Some(rows) = envelope.rows
    {
        return Ok(Page {
            rows: rows.into_iter().map(Ok).collect(),
            head: envelope.head,
        });
    }
    page_by_row(body)
}

/// The slow way: frames the rows first, then decodes each one on its own.
fn page_by_row<'a, T>(body: &'a str) -> Result<Page<'a, T>, WireError>
where
    T: Listed + Deserialize<'a>,
{
    let no_list = || WireError::NoList(format!("`{}`", T::KEYS.join("`, `")));
    let envelope: Envelope<&'a RawValue, T> = serde_json::from_str(body).map_err(|error| {
        if error.is_data() {
            no_list()
        } else {
            WireError::NotJson(error.to_string())
        }
    })?;
    let rows = match envelope.rows {
        Some(rows) => rows,
        None if envelope.head.total == Some(0) => Vec::new(),
        None => return Err(no_list()),
    };
    let rows = rows
        .into_iter()
        .map(|raw| {
            serde_json::from_str(raw.get()).map_err(|error| MalformedRow {
                text: raw.get(),
                why: error.to_string(),
            })
        })
        .collect();
    Ok(Page {
        rows,
        head: envelope.head,
    })
}

/// Decodes a body that is one object: bare, or under `key`.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a str, key: &str) -> Result<T, WireError> {
    let fields: std::collections::BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(body)
        .map_err(|error| {
            if error.is_data() {
                WireError::NotObject(error.to_string())
            } else {
                WireError::NotJson(error.to_string())
            }
        })?;
    let text = match fields.get(key) {
        Some(inner) if inner.get().starts_with('{') => inner.get(),
        _ => body,
    };
    serde_json::from_str(text).map_err(|error| WireError::NotObject(error.to_string()))
}

/// An envelope whose rows are `R`, with the keys of `L`.
struct Envelope<R, L> {
    rows: Option<Vec<R>>,
    head: Head,
    keys: PhantomData<L>,
}

impl<'de, R: Deserialize<'de>, L: Listed> Deserialize<'de> for Envelope<R, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EnvelopeVisitor(PhantomData))
    }
}

struct EnvelopeVisitor<R, L>(PhantomData<(R, L)>);

impl<'de, R: Deserialize<'de>, L: Listed> Visitor<'de> for EnvelopeVisitor<R, L> {
    type Value = Envelope<R, L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, or an object with `{}`", L::KEYS.join("` or `"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element()? {
            rows.push(row);
        }
        Ok(Envelope {
            rows: Some(rows),
            head: Head::default(),
            keys: PhantomData,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut head = Head::default();
        let mut best: Option<(usize, Vec<R>)> = None;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let key = key.unwrap_or_default();
            if let Some(rank) = L::KEYS.iter().position(|known| *known == key) {
                // A null list is how Go writes an empty one.
                let rows = map.next_value::<Option<Vec<R>>>()?.unwrap_or_default();
                if best.as_ref().is_none_or(|(held, _)| rank < *held) {
                    best = Some((rank, rows));
                }
                continue;
            }
            match &*key {
                "total" => head.total = map.next_value::<Number>()?.count(),
                "limit" => head.limit = map.next_value::<Number>()?.count(),
                "total_pages" => head.total_pages = map.next_value::<Number>()?.count(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Envelope {
            rows: best.map(|(_, rows)| rows),
            head,
            keys: PhantomData,
        })
    }
}

/// A text, borrowed where the JSON allows it. Numbers and booleans are taken as written; anything
/// else is no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, unless it is missing or blank.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.trim().is_empty())
    }
}

/// A finite number, or a text that is one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub(super) Option<f64>);

impl Number {
    /// As a count; negative ones are none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and is never negative
    pub(super) fn count(self) -> Option<u64> {
        self.0
            .filter(|number| *number >= 0.0)
            .map(|number| number as u64)
    }
}

/// A truth value, or 0/1, or a text that is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) Option<bool>);

/// What a scalar can be made from; everything that is not a scalar is nothing.
trait Scalar<'de>: Default {
    fn from_text(text: Cow<'de, str>) -> Self;
    fn from_number(number: f64, written: impl fmt::Display) -> Self;
    fn from_bool(truth: bool) -> Self;
}

impl<'de> Scalar<'de> for Text<'de> {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(Some(text))
    }
    fn from_number(_: f64, written: impl fmt::Display) -> Self {
        Self(Some(Cow::Owned(written.to_string())))
    }
    fn from_bool(truth: bool) -> Self {
        Self(Some(Cow::Borrowed(if truth { "true" } else { "false" })))
    }
}

impl<'de> Scalar<'de> for Number {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(
            text.trim()
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite()),
        )
    }
    fn from_number(number: f64, _: impl fmt::Display) -> Self {
        Self(Some(number))
    }
    fn from_bool(_: bool) -> Self {
        Self(None)
    }
}

impl<'de> Scalar<'de> for Flag {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(match &*text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }
    fn from_number(number: f64, _: impl fmt::Display) -> Self {
        Self(Some(number != 0.0))
    }
    fn from_bool(truth: bool) -> Self {
        Self(Some(truth))
    }
}

struct ScalarVisitor<S>(PhantomData<S>);

impl<'de, S: Scalar<'de>> Visitor<'de> for ScalarVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<S, E> {
        Ok(S::from_text(Cow::Borrowed(text)))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<S, E> {
        Ok(S::from_text(Cow::Owned(text.to_owned())))
    }
    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<S, E> {
        Ok(S::from_bool(truth))
    }
    #[allow(clippy::cast_precision_loss)] // counts and durations are far below 2^53
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<S, E> {
        Ok(S::from_number(number as f64, number))
    }
    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<S, E> {
        Ok(S::from_number(number as f64, number))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<S, E> {
        Ok(S::from_number(number, number))
    }
    fn visit_unit<E: de::Error>(self) -> Result<S, E> {
        Ok(S::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<S, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(S::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(S::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor::<Text<'de>>(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor(PhantomData))
    }
}
