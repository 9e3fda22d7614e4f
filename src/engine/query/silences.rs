//! Which silences there are, and what one would keep quiet.

use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::alert::Alert;
use super::super::labels::Matcher;
use super::super::silence::{Silence, SilenceEnd, Until};
use super::super::time::Timestamp;
use super::{AlertRow, alert_row, by_weight};

/// One silence in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceRow {
    /// Its id.
    pub id: String,
    /// As they are written; all must match.
    pub matchers: Vec<String>,
    /// Who made it.
    pub by: String,
    /// Why, in their words.
    pub comment: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub ends_at: Timestamp,
    /// What ends it before that.
    pub until: Until,
    /// It is in force.
    pub is_active: bool,
    /// When and why it ended.
    pub ended: Option<SilenceEnd>,
    /// Why it ended, in words.
    pub why_over: Option<String>,
    /// Open alerts that it fits now; 0 when it is over.
    pub quiet: usize,
}

/// All silences that are known: those in force first, the next to end first; then those that are over, the
/// last first.
pub fn silences(engine: &Engine, now: Timestamp) -> Vec<SilenceRow> {
    let mut rows: Vec<SilenceRow> = engine
        .silences()
        .map(|silence| silence_row(engine, silence, now))
        .collect();
    rows.sort_by(|a, b| {
        let over_at = |row: &SilenceRow| row.ended.as_ref().map_or(row.ends_at, |ended| ended.at);
        let order = b.is_active.cmp(&a.is_active);
        let by_end = if a.is_active && b.is_active {
            a.ends_at.cmp(&b.ends_at)
        } else {
            over_at(b).cmp(&over_at(a))
        };
        order.then(by_end).then_with(|| a.id.cmp(&b.id))
    });
    rows
}

fn silence_row(engine: &Engine, silence: &Silence, now: Timestamp) -> SilenceRow {
    let is_active = silence.is_active(now);
    let is_quiet = |alert: &&Alert| alert.is_open() && silence.is_match(&alert.labels);
    SilenceRow {
        id: silence.id.clone(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        by: silence.by.to_string(),
        comment: silence.comment.clone(),
        created_at: silence.created_at,
        ends_at: silence.ends_at,
        until: silence.until,
        is_active,
        ended: silence.ended.clone(),
        why_over: (!is_active).then(|| silence.why_over()),
        quiet: if is_active {
            engine.alerts().filter(is_quiet).count()
        } else {
            0
        },
    }
}

/// Open alerts that a silence with these matchers would keep quiet now, in the order of [`super::alerts`].
pub fn silence_preview(engine: &Engine, matchers: &[Matcher]) -> Vec<AlertRow> {
    let fits = |alert: &&Alert| {
        let mut matchers = matchers.iter();
        alert.is_open() && matchers.all(|matcher| matcher.is_match(&alert.labels))
    };
    let hidden = engine.alerts().filter(fits);
    let mut rows: Vec<AlertRow> = hidden.map(|alert| alert_row(engine, alert)).collect();
    rows.sort_by(by_weight);
    rows
}
