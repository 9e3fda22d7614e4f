//! Acknowledging: a person takes an alert on. It stays open, and its ending is told as ever; reminders and
//! escalation stop until the acknowledgement expires, is taken back, or the alert gets worse.
//!
//! Only what fires can be acknowledged: of what is pending nobody was told, so there is nothing to stop, and
//! its announcement must not be lost because somebody looked at a list early.

use super::super::alert::{Acknowledgement, Alert, AlertState};
use super::super::labels::Fingerprint;
use super::super::time::{Span, Timestamp, human_time};
use super::super::{Engine, Step};
use super::{Act, Refusal, bounded};

/// How long an acknowledgement lasts when nothing is said: a working day.
const USUAL: Span = Span::hours(8);
/// Shorter ones would be over before anybody has looked.
const SHORTEST: Span = Span::minutes(1);
/// Whoever needs longer looks again.
const LONGEST: Span = Span::days(7);
/// A second one by the same person that adds less than this is a double click.
const PROLONGS_BY: Span = Span::minutes(1);

impl Engine {
    pub(super) fn acknowledge(
        &mut self,
        alert: &Alert,
        act: &Act,
        for_millis: Option<i64>,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<String, Refusal> {
        self.refuse_over(alert, now)?;
        if alert.state != AlertState::Firing {
            return Err(Refusal::Pending { id: alert.id() });
        }
        let millis = for_millis.unwrap_or(USUAL.num_milliseconds());
        let until = now + bounded("an acknowledgement", millis, SHORTEST, LONGEST)?;
        let zone = self.zone_of(alert);
        if let Some(known) = &alert.acknowledged
            && known.by == act.by
            && until < known.until + PROLONGS_BY
        {
            return Err(Refusal::AlreadyAcknowledged {
                id: alert.id(),
                until: human_time(known.until, now, zone),
                by: known.by.clone(),
            });
        }
        let acknowledgement = Acknowledgement {
            by: act.by.clone(),
            at: now,
            until,
            comment: act.comment.clone(),
            severity: alert.severity,
        };
        let said = format!(
            "Acknowledged by {} until {}: {}",
            act.by,
            human_time(until, now, zone),
            alert.headline()
        );
        self.set_acknowledged(alert.fingerprint, Some(acknowledgement), now, step);
        Ok(said)
    }

    pub(super) fn unacknowledge(
        &mut self,
        alert: &Alert,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<String, Refusal> {
        self.refuse_over(alert, now)?;
        if alert.acknowledged.is_none() {
            return Err(Refusal::NotAcknowledged { id: alert.id() });
        }
        self.set_acknowledged(alert.fingerprint, None, now, step);
        Ok(format!("Not acknowledged any more: {}", alert.headline()))
    }

    /// Notes who has taken an alert on, and tells those who know of it.
    fn set_acknowledged(
        &mut self,
        print: Fingerprint,
        acknowledged: Option<Acknowledgement>,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(alert) = self.alerts.get_mut(&print) else {
            return;
        };
        alert.acknowledged = acknowledged;
        step.changed.alerts.insert(print, Some(alert.clone()));
        self.acknowledged.insert(print);
        self.hasten(print, now, step);
    }

    /// Takes acknowledgements back whose time is over.
    pub(in super::super) fn expire_acknowledgements(&mut self, now: Timestamp, step: &mut Step) {
        let until = |print: &Fingerprint| {
            let known = self.alerts.get(print)?.acknowledged.as_ref()?;
            Some(known.until)
        };
        let known = self.acknowledged.iter().copied();
        // Those that ended, or got worse, have none any more.
        let known: Vec<_> = known
            .filter_map(|print| Some((print, until(&print)?)))
            .collect();
        self.acknowledged = known.iter().map(|(print, _)| *print).collect();
        for (print, until) in known {
            if until <= now {
                self.set_acknowledged(print, None, now, step);
                self.acknowledged.remove(&print);
            }
        }
    }

    /// When the next acknowledgement expires.
    pub(in super::super) fn next_unacknowledged_at(&self) -> Option<Timestamp> {
        let known = self.acknowledged.iter();
        let known = known.filter_map(|print| self.alerts.get(print)?.acknowledged.as_ref());
        known.map(|known| known.until).min()
    }
}
