//! What is open: alerts that fire, and those that change too often.

use super::super::alert::{Alert, AlertState};
use super::super::query::Page;
use super::{FlappingRow, Look, MAX_OPEN, MAX_ROWS, OpenRow, short};

impl Look<'_> {
    fn firing(&self) -> Vec<&Alert> {
        let alerts = self.engine.alerts();
        let mut firing: Vec<&Alert> = alerts
            .filter(|alert| alert.state == AlertState::Firing)
            .collect();
        firing.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then(a.began_at.cmp(&b.began_at))
                .then(a.fingerprint.cmp(&b.fingerprint))
        });
        firing
    }

    fn is_new_alert(&self, alert: &Alert) -> bool {
        alert.fired_at.unwrap_or(alert.began_at) > self.new_since
    }

    pub(super) fn open(&self) -> Page<OpenRow> {
        let firing = self.firing();
        let more = firing.len().saturating_sub(MAX_OPEN);
        let rows = firing
            .into_iter()
            .take(MAX_OPEN)
            .map(|alert| self.open_row(alert));
        Page {
            rows: rows.collect(),
            more,
        }
    }

    fn open_row(&self, alert: &Alert) -> OpenRow {
        let known = alert.acknowledged.as_ref();
        let known = known.filter(|known| known.until > self.now);
        OpenRow {
            id: alert.id(),
            headline: short(alert.headline()),
            severity: alert.severity,
            began_at: alert.began_at,
            owner: alert.owner.as_deref().map(short),
            acknowledged_by: known.map(|known| short(&known.by)),
            acknowledged_until: known.map(|known| known.until),
            quiet: self.quiet(alert),
            run_url: alert.run_url.clone(),
            is_new: self.is_new_alert(alert),
        }
    }

    /// Why nobody is told: a silence, or what a group has found.
    fn quiet(&self, alert: &Alert) -> Option<String> {
        let active = |silence: &&super::super::silence::Silence| {
            silence.is_active(self.now) && silence.is_match(&alert.labels)
        };
        if let Some(silence) = self.engine.silences().find(active) {
            return Some(short(&format!(
                "silenced by {} ({})",
                silence.by, silence.id
            )));
        }
        let mut reasons = self
            .engine
            .groups()
            .filter_map(|group| group.reasons.get(&alert.fingerprint));
        reasons.next().map(|reason| short(&reason.to_string()))
    }

    pub(super) fn flapping(&self) -> Page<FlappingRow> {
        let alerts = self.engine.alerts().filter(|alert| alert.is_flapping());
        let mut rows: Vec<FlappingRow> = alerts
            .filter_map(|alert| {
                let flapping = alert.flapping.as_ref()?;
                Some(FlappingRow {
                    id: alert.id(),
                    headline: short(alert.headline()),
                    note: short(&flapping.note),
                    since: flapping.since,
                    is_new: flapping.since > self.new_since,
                })
            })
            .collect();
        rows.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        Page::cut(rows, MAX_ROWS)
    }
}
