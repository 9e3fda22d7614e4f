//! A fake of PagerDuty's Events API v2: it keeps incidents, pages when one opens, and refuses what the
//! documented limits forbid. Shares nothing with the code under test.

use serde_json::{Value, json};

/// Of the form that PagerDuty gives out.
pub(crate) const ROUTING_KEY: &str = "R0utingKeyOfAnIntegration0123456";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Triggered,
    Acknowledged,
    Resolved,
}

#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) key: String,
    pub(crate) status: Status,
    pub(crate) severity: String,
    /// Its title: that of the event which opened it.
    pub(crate) title: String,
    /// Trigger events that it has taken.
    pub(crate) triggers: usize,
}

/// One service with its integration.
#[derive(Default)]
pub(crate) struct Service {
    incidents: Vec<Incident>,
    changes: Vec<Value>,
    dropped: usize,
}

impl Service {
    /// Every incident that ever opened, oldest first; each has paged once.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.incidents.clone()
    }

    pub(crate) fn changes(&self) -> Vec<Value> {
        self.changes.clone()
    }

    /// Acknowledgements and ends of what was not open.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }

    /// A person acts in PagerDuty itself.
    pub(crate) fn set(&mut self, index: usize, status: Status) {
        self.incidents[index].status = status;
    }

    /// Status and body of the answer.
    pub(crate) fn take(&mut self, path: &str, body: &str, is_revoked: bool) -> (u16, Value) {
        let errors = match serde_json::from_str(body) {
            _ if body.len() > 512_000 => return (413, json!({ "message": "too large" })),
            _ if is_revoked => vec!["Invalid routing key".to_owned()],
            Ok(event) => self.act(path, &event).err().unwrap_or_default(),
            Err(_) => vec!["not JSON".to_owned()],
        };
        if errors.is_empty() {
            let event: Value = serde_json::from_str(body).unwrap();
            let key = &event["dedup_key"];
            let answer =
                json!({ "status": "success", "message": "Event processed", "dedup_key": key });
            return (202, answer);
        }
        let message = "Event object is invalid";
        (
            400,
            json!({ "status": "invalid event", "message": message, "errors": errors }),
        )
    }

    fn act(&mut self, path: &str, event: &Value) -> Result<(), Vec<String>> {
        let mut errors = check(event);
        let is_change = path == "/v2/change/enqueue";
        if !is_change && path != "/v2/enqueue" {
            errors.push(format!("no such path {path}"));
        }
        let action = event["event_action"].as_str();
        if is_change {
            if action.is_some() || event.get("dedup_key").is_some() {
                errors.push("a change has neither action nor key".to_owned());
            }
            if !errors.is_empty() {
                return Err(errors);
            }
            self.changes.push(event.clone());
            return Ok(());
        }
        let key = event["dedup_key"].as_str().unwrap_or_default();
        match action {
            Some("trigger") if event["payload"].is_null() => errors.push("payload missing".into()),
            Some("trigger" | "acknowledge" | "resolve") if !key.is_empty() => {}
            _ => errors.push("'event_action' or 'dedup_key' is invalid".to_owned()),
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let open = self.incidents.iter_mut().rev();
        let mut open =
            open.filter(|incident| incident.key == key && incident.status != Status::Resolved);
        match (action, open.next()) {
            (Some("trigger"), Some(incident)) => {
                incident.triggers += 1;
                text(&event["payload"]["severity"]).clone_into(&mut incident.severity);
            }
            (Some("trigger"), None) => self.incidents.push(Incident {
                key: key.to_owned(),
                status: Status::Triggered,
                severity: text(&event["payload"]["severity"]).to_owned(),
                title: text(&event["payload"]["summary"]).to_owned(),
                triggers: 1,
            }),
            (Some("acknowledge"), Some(incident)) => incident.status = Status::Acknowledged,
            (_, Some(incident)) => incident.status = Status::Resolved,
            (_, None) => self.dropped += 1,
        }
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The documented limits of an event.
pub(crate) fn check(event: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let mut ensure = |holds: bool, what: &str| {
        if !holds {
            errors.push(what.to_owned());
        }
    };
    ensure(
        text(&event["routing_key"]).len() == 32,
        "Length of 'routing_key' is incorrect (should be 32 characters)",
    );
    let length = |value: &Value| text(value).chars().count();
    ensure(
        length(&event["dedup_key"]) <= 255,
        "'dedup_key' is too long",
    );
    let payload = &event["payload"];
    if !payload.is_null() {
        let summary = length(&payload["summary"]);
        ensure(
            (1..=1_024).contains(&summary),
            "'payload.summary' is invalid",
        );
        ensure(
            length(&payload["source"]) > 0,
            "'payload.source' is missing or blank",
        );
        let severity = payload.get("severity").map(text);
        let severities = ["critical", "error", "warning", "info"];
        ensure(
            severity.is_none_or(|severity| severities.contains(&severity)),
            "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
        );
        ensure(
            event["event_action"].is_null() || severity.is_some(),
            "'payload.severity' is missing or blank",
        );
        let at = payload.get("timestamp").map(text);
        let is_time = |at: &str| chrono::DateTime::parse_from_rfc3339(at).is_ok();
        ensure(at.is_none_or(is_time), "'payload.timestamp' is invalid");
        ensure(
            payload["custom_details"].is_object(),
            "'custom_details' is no object",
        );
    }
    for link in event["links"].as_array().into_iter().flatten() {
        ensure(
            text(&link["href"]).starts_with("http"),
            "'links' is invalid",
        );
        ensure(!text(&link["text"]).is_empty(), "'links' is invalid");
    }
    let images = event.get("images").and_then(Value::as_array);
    for image in images.into_iter().flatten() {
        ensure(
            text(&image["src"]).starts_with("https://"),
            "'images' is invalid",
        );
    }
    errors
}
