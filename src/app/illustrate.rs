//! Charts that go with messages: which message gets one, who draws it, and for how long that is waited for.
//!
//! Guarantees: a message is held up by its chart for at most [`PATIENCE`], and never lost because of it: a drawing
//! that is slow, fails or panics is left out. A chart is drawn once for all receivers of the same news and kept for
//! later tries, as far as memory is given to it; few are drawn at a time, and a flood of messages goes out without.
//! What a chart shows is the engine's answer ([`crate::engine::query::picture`]); how it looks is `chart`'s.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::live::Shared;
use super::picture::duration_chart;
use crate::chart::{self, DurationChart, Size, Theme};
use crate::engine::notification::{AlertView, Notification, Reason};
use crate::engine::query::{PictureAnswer, PictureQuestion, picture};
use crate::engine::time::Timestamp;
use crate::notify::Chart;
use crate::notify::message::lead;

/// Longest wait for a chart.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Charts drawn at a time: each takes a core for some 100 ms.
const DRAWN_AT_ONCE: usize = 2;

/// Charts that may wait to be drawn: as many as are done well within [`PATIENCE`]. Whoever comes later gets none.
const WAITING: usize = 8;

/// Charts kept for later tries and other receivers, of some 60 kB each.
const KEPT: usize = 32;

/// Runs in a picture, at least: fewer show nothing that the words do not say.
const MIN_RUNS: usize = 3;

/// Longest file name, without its ending.
const MAX_NAME: usize = 48;

/// Kinds of rules that are about how long something takes.
const KINDS: [&str; 5] = [
    "run_regression",
    "model_regression",
    "run_duration",
    "model_duration",
    "deadline",
];

/// Draws the chart of a message.
pub trait Illustrator: Send + Sync {
    /// The chart of `alert`, if there is one to draw. May block, be slow and panic: it is called where that
    /// harms nobody.
    fn illustrate(&self, alert: &AlertView) -> Option<Chart>;
}

/// The alert a chart is about: that of the first line, when it is news, still fires and is about durations.
pub fn illustrated(notification: &Notification) -> Option<&AlertView> {
    let is_news = match notification.reason {
        Reason::First | Reason::NewAlerts | Reason::Escalated | Reason::Upgraded => true,
        Reason::Changed
        | Reason::SomeResolved
        | Reason::AllResolved
        | Reason::Reminder
        | Reason::Flapping
        | Reason::RuleRemoved
        | Reason::Undeliverable
        | Reason::Notice
        | Reason::Acknowledged
        | Reason::Silenced
        | Reason::Digest => false,
    };
    lead(notification)
        .filter(|alert| is_news && alert.ended_at.is_none() && KINDS.contains(&&*alert.kind))
}

/// Draws what the running bot knows.
pub struct Draftsman {
    shared: Arc<Shared>,
}

impl Draftsman {
    /// Draws what is known to the engine of `shared`.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Illustrator for Draftsman {
    fn illustrate(&self, alert: &AlertView) -> Option<Chart> {
        let question = PictureQuestion {
            subject: alert.id.clone(),
            last: PictureQuestion::RUNS,
        };
        let answer = self.shared.read(|engine| {
            // Names are not asked for: an alert that has ended needs no chart any more.
            let mut open = engine.alerts().filter(|open| open.is_open());
            let is_open = open.any(|open| open.id() == alert.id);
            is_open.then(|| picture(engine, &question))
        });
        match answer? {
            PictureAnswer::Picture(picture) => drawn(&duration_chart(&picture)),
            PictureAnswer::Unknown(_) => None,
        }
    }
}

/// As chats and mails show it; `None` when it would show nothing.
pub fn drawn(chart: &DurationChart) -> Option<Chart> {
    if chart.points.len() < MIN_RUNS {
        return None;
    }
    let png = chart::png(chart, Theme::Light, Size::Phone);
    let png =
        png.inspect_err(|error| tracing::error!("a message goes out without its chart: {error}"));
    Some(Chart {
        name: file_name(&chart.title),
        alt: format!("{}: {}", chart.title, chart::describe(chart)),
        png: png.ok()?.into(),
    })
}

/// `finance nightly-refresh` becomes `finance-nightly-refresh.png`; nothing else of a title survives.
fn file_name(title: &str) -> String {
    let mut name = String::new();
    for c in title.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() == MAX_NAME {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    format!("{}.png", if name.is_empty() { "chart" } else { name })
}

/// What came of a drawing: nothing yet, or perhaps a chart.
type Drawing = watch::Receiver<Option<Option<Chart>>>;

/// Where charts are drawn and kept.
pub struct Studio {
    illustrator: Arc<dyn Illustrator>,
    /// Drawings under way or waiting.
    places: Arc<Semaphore>,
    /// Drawings under way.
    easels: Arc<Semaphore>,
    /// Oldest first.
    kept: Mutex<VecDeque<(Subject, Drawing)>>,
}

/// What a chart is of, and as of when.
type Subject = (String, Timestamp);

impl Studio {
    /// Has `illustrator` draw.
    pub fn new(illustrator: Arc<dyn Illustrator>) -> Self {
        Self {
            illustrator,
            places: Arc::new(Semaphore::new(DRAWN_AT_ONCE + WAITING)),
            easels: Arc::new(Semaphore::new(DRAWN_AT_ONCE)),
            kept: Mutex::default(),
        }
    }

    /// The chart of a notification, if it is to have one and it is there in time.
    pub async fn chart(&self, notification: &Notification) -> Option<Chart> {
        let alert = illustrated(notification)?;
        let mut drawing = self.drawing(alert, notification.decided_at)?;
        let done = tokio::time::timeout(PATIENCE, drawing.wait_for(Option::is_some)).await;
        match done {
            Ok(Ok(chart)) => (*chart).clone().flatten(),
            Ok(Err(_)) => {
                tracing::error!("a bug: drawing a chart panicked; the message goes out without it");
                None
            }
            Err(_) => {
                let patience = PATIENCE.as_secs();
                tracing::warn!(
                    "a message goes out without its chart: not drawn within {patience} s"
                );
                None
            }
        }
    }

    /// The drawing that is kept or under way, or a new one while there is a place for it.
    fn drawing(&self, alert: &AlertView, at: Timestamp) -> Option<Drawing> {
        let subject = (alert.id.clone(), at);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, drawing)) = kept.iter().find(|(of, _)| *of == subject) {
            return Some(drawing.clone());
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (done, drawing) = watch::channel(None);
        let (easels, illustrator) = (Arc::clone(&self.easels), Arc::clone(&self.illustrator));
        let alert = alert.clone();
        tokio::spawn(async move {
            let Ok(easel) = easels.acquire_owned().await else {
                return;
            };
            // The places are given back by the thread: one that hangs keeps its own, and others go on.
            tokio::task::spawn_blocking(move || {
                let _held = (place, easel);
                done.send_replace(Some(illustrator.illustrate(&alert)));
            });
        });
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((subject, drawing.clone()));
        Some(drawing)
    }
}

#[cfg(test)]
mod tests;
