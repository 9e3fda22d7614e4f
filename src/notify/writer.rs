//! Writes messages for one receiver: in its zone, and by its own templates where it has any.

use std::sync::Arc;

use chrono_tz::Tz;

use super::TemplateTexts;
use super::message::Message;
use super::template::Templates;
use crate::engine::notification::Notification;

/// Writes messages for one receiver.
#[derive(Clone, Debug)]
pub struct Writer {
    zone: Tz,
    templates: Option<Arc<Templates>>,
}

impl Writer {
    /// For readers in `zone`, with the receiver's own texts.
    pub fn new(zone: Tz, texts: &TemplateTexts) -> Self {
        Self {
            zone,
            templates: Templates::new(texts).map(Arc::new),
        }
    }

    /// Zone of rendered times.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The message of a notification. A template that fails leaves the built-in text in place, and the message
    /// says so.
    pub fn message(&self, notification: &Notification) -> Message {
        let mut message = Message::new(notification, self.zone);
        if let Some(templates) = &self.templates {
            templates.apply(&mut message, notification, self.zone);
        }
        message
    }
}
