//! What a group keeps quiet: which members, at which receivers, why, and until when.
//!
//! It decides nothing about what is told of the others; that is the group's.

use std::collections::{BTreeMap, BTreeSet};

use super::super::alert::AlertState;
use super::super::labels::Fingerprint;
use super::super::notification::{Suppressed, SuppressionReason};
use super::super::observation::Name;
use super::super::route::Route;
use super::super::time::Timestamp;
use super::{Flush, Group, News, UNREAD_FOR};

impl Group {
    /// Members that may not be announced now, and why.
    pub(super) fn suppressed(&self, flush: &Flush<'_>) -> Vec<(Fingerprint, SuppressionReason)> {
        let muted = flush
            .route
            .mute
            .iter()
            .find(|calendar| calendar.is_open(flush.now));
        self.members
            .iter()
            .filter_map(|print| flush.alerts.get(print))
            .filter(|alert| alert.state == AlertState::Firing || !self.is_told(alert.fingerprint))
            .filter_map(|alert| {
                let silence = flush.silences.find_for(alert);
                let reason = match (silence, muted, flush.inhibitors.find(alert)) {
                    (Some(silence), _, _) => SuppressionReason::Silenced(silence.id.clone()),
                    (None, Some(calendar), _) => SuppressionReason::Muted(calendar.name.clone()),
                    (None, None, Some(id)) => SuppressionReason::Inhibited(id.to_owned()),
                    (None, None, None) => return None,
                };
                Some((alert.fingerprint, reason))
            })
            .collect()
    }

    /// Notes which members are kept quiet, at all receivers or at some, and why.
    pub(super) fn hold_back(
        &mut self,
        suppressed: &[(Fingerprint, SuppressionReason)],
        flush: &Flush<'_>,
    ) {
        let folded = self.members.iter().filter_map(|print| {
            let reason = flush.folds.reason(*print)?;
            Some((*print, reason))
        });
        let reasons = folded.chain(suppressed.iter().cloned()).collect();
        let before = std::mem::replace(&mut self.reasons, reasons);
        self.note_explained_runs(flush);
        let is_firing = |print: &Fingerprint| {
            let alert = flush.alerts.get(print);
            alert.is_some_and(|alert| alert.state == AlertState::Firing)
        };
        let reasons = &self.reasons;
        self.released
            .retain(|print, _| is_firing(print) && !reasons.contains_key(print));
        for (print, reason) in before {
            if !is_firing(&print) || reasons.contains_key(&print) {
                continue;
            }
            if let Some(release_at) = self.release_at(&reason, flush) {
                self.released.insert(print, release_at);
            }
        }
        self.wait_for_reading(flush);
        // What a receiver hears of in another group ends there, too.
        let is_elsewhere = |print: &Fingerprint| {
            let mut receivers = flush.route.receivers.iter();
            receivers.any(|receiver| (flush.is_told_elsewhere)(receiver, *print))
        };
        let elsewhere = self.members.iter().filter(|print| is_elsewhere(print));
        let kept: BTreeSet<Fingerprint> = elsewhere
            .chain(self.reasons.keys())
            .chain(self.waiting(flush))
            .copied()
            .collect();
        self.held_back.extend(&kept);
        self.held_back
            .retain(|print| !is_firing(print) || kept.contains(print));
    }

    /// When what was kept quiet may be told; `None`: at once, as far as the group may speak.
    fn release_at(&self, reason: &SuppressionReason, flush: &Flush<'_>) -> Option<Timestamp> {
        let after_interval = |told_at| flush.now.max(told_at + flush.route.group_interval);
        let after_wait = flush.now + flush.route.group_wait;
        match (reason, self.told_at) {
            (SuppressionReason::Muted(_), _) => None,
            // It does not fit the silence any more, which goes on: it has got worse, and nothing else will
            // become of it.
            (SuppressionReason::Silenced(id), told_at) if flush.silences.is_in_force(id) => {
                Some(told_at.map_or(flush.now, after_interval))
            }
            // What ended the silence may end the alert, too: a short wait, and no longer one.
            (SuppressionReason::Silenced(_), _) | (_, None) => Some(after_wait),
            (SuppressionReason::Inhibited(_), Some(told_at)) => Some(after_interval(told_at)),
        }
    }

    /// After a stop what is released waits until it is known what became of it.
    fn wait_for_reading(&mut self, flush: &Flush<'_>) {
        let is_unread = |print: &Fingerprint| {
            let alert = flush.alerts.get(print);
            alert.is_some_and(|alert| (flush.is_unread)(alert))
        };
        for (print, at) in &mut self.released {
            if *at <= flush.now && is_unread(print) {
                *at = flush.now + UNREAD_FOR;
            }
        }
    }

    /// Members that a silence has kept quiet, are over, and are only kept firing for a while: they are announced
    /// when they are broken again, and not at all when they end.
    fn over<'a>(&'a self, flush: &'a Flush<'_>) -> impl Iterator<Item = &'a Fingerprint> {
        let is_over = |print: &&Fingerprint| {
            let alert = flush.alerts.get(*print);
            let alert = alert.filter(|alert| alert.state == AlertState::Firing);
            let alert = alert.filter(|alert| alert.cleared_at.is_some());
            alert.is_some_and(|alert| flush.silences.has_kept(alert)) && !self.is_known(**print)
        };
        self.held_back.iter().filter(is_over)
    }

    /// Some receiver was told of it, and not of its end.
    fn is_known(&self, print: Fingerprint) -> bool {
        let mut conversations = self.conversations.values();
        conversations.any(|known| known.told.get(&print).is_some_and(|told| !told.is_ended))
    }

    /// Silences that keep something of the group quiet, and from whom.
    pub(in super::super) fn kept_by_silences(
        &self,
        route: &Route,
    ) -> BTreeMap<String, BTreeSet<Name>> {
        let silences = self.reasons.values().filter_map(|reason| match reason {
            SuppressionReason::Silenced(id) => Some(id.clone()),
            SuppressionReason::Inhibited(_) | SuppressionReason::Muted(_) => None,
        });
        let silences: BTreeSet<String> = silences.collect();
        if silences.is_empty() {
            return BTreeMap::new();
        }
        let receivers = route.receivers.iter().chain(self.conversations.keys());
        let receivers: BTreeSet<Name> = receivers.chain(self.escalated(route)).cloned().collect();
        let with_all = |id: String| (id, receivers.clone());
        silences.into_iter().map(with_all).collect()
    }

    /// Keeps of which run an alert told when another one explained it.
    fn note_explained_runs(&mut self, flush: &Flush<'_>) {
        let reasons = &self.reasons;
        self.explained_runs
            .retain(|print, _| reasons.contains_key(print));
        for print in reasons.keys() {
            let alert = flush.alerts.get(print);
            let run_id = alert.and_then(|alert| alert.evidence.run_id.clone());
            if let Some(run_id) = run_id.filter(|_| flush.folds.is_explained(*print)) {
                self.explained_runs.insert(*print, run_id);
            }
        }
    }

    /// Members that are kept quiet no more, and may not be told yet.
    pub(super) fn waiting<'a>(
        &'a self,
        flush: &'a Flush<'_>,
    ) -> impl Iterator<Item = &'a Fingerprint> {
        let later = self.released.iter().filter(|(_, at)| **at > flush.now);
        later.map(|(print, _)| print).chain(self.over(flush))
    }

    pub(super) fn next_release(&self, flush: &Flush<'_>) -> Option<Timestamp> {
        let later = self.released.values().filter(|at| **at > flush.now);
        later.min().copied()
    }

    /// Members that a receiver is not told of now.
    pub(super) fn hushed_at(
        &self,
        receiver: &Name,
        flush: &Flush<'_>,
        hushed: &BTreeSet<Fingerprint>,
    ) -> BTreeSet<Fingerprint> {
        let is_folded = |print: &&Fingerprint| flush.folds.is_folded(receiver, **print);
        let folded = self.members.iter().filter(is_folded);
        hushed.iter().chain(folded).copied().collect()
    }

    /// What a receiver is not told because of what it is told here, or is told elsewhere.
    pub(super) fn folded_at(
        &self,
        receiver: &Name,
        flush: &Flush<'_>,
        news: &News,
    ) -> Vec<Suppressed> {
        let conversation = self.conversations.get(receiver);
        flush.folds.of(receiver, |print| {
            self.members.contains(&print)
                && (news.new.contains(&print)
                    || conversation.is_some_and(|known| known.told.contains_key(&print))
                    || flush.folds.is_folded(receiver, print))
        })
    }
}
