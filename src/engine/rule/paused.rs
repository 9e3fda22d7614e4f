//! # paused
//!
//! ## What it tells
//! A job has been disabled, or a project suspended or not deployed, for longer than `max`: somebody
//! paused it and forgot. A project that is held makes one alert about the project, however many jobs it
//! has; a job makes an alert of its own only when it is disabled itself.
//!
//! ## When to use
//! Always, with a generous `max`. Tardy owes nothing while something is paused (no missed ticks, no
//! staleness), so this is the rule that notices a pause that nobody ended.
//!
//! ## Keys
//! `max` (required): the longest pause. With a `calendar` only its days and hours count. A rule whose
//! `job` selects only some jobs judges those and says nothing of projects.
//!
//! ## No data
//! When something is paused at first sight, the true beginning is not known: it counts from the last
//! change of the job, or else from when Tardy first saw it, and the message says "at least". While the
//! lists of projects and jobs cannot be read, what was last read stands; `source_unreachable` tells.
//!
//! ## Resolve
//! When the job is enabled, or the project is deployed and not suspended any more; the message says how
//! long it was paused. The alert expires when the job is not listed any more.

use super::super::alert::{Evidence, Verdict};
use super::super::history::Hold;
use super::super::notification::Fact;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span};
use super::Rule;
use super::context::{Context, Judgement, expired, resolved};

/// A job disabled, or a project suspended or not deployed, for longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Longest pause.
    pub max: Span,
}

/// Since when, and whether it may have begun before.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Timestamp,
    is_at_least: bool,
}

impl Since {
    fn of(ctx: &Context<'_>, hold: Hold) -> Self {
        let (at, is_at_least) = hold.since().unwrap_or((ctx.memory.watching_since, true));
        Self { at, is_at_least }
    }

    fn words(self, ctx: &Context<'_>) -> String {
        let word = if self.is_at_least {
            "at least since"
        } else {
            "since"
        };
        format!("{word} {}", ctx.clock(self.at))
    }

    fn length(self, to: Timestamp) -> String {
        let word = if self.is_at_least { "at least " } else { "" };
        format!("{word}{}", human_span(to.since(self.at)))
    }
}

impl Paused {
    /// Judges a job or a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let is_open = ctx.open.iter().any(super::super::alert::Alert::is_open);
        match last_hold(ctx) {
            Some(hold) if hold.to.is_none() => self.judge_hold(ctx, hold, is_open, &mut judgement),
            ended if is_open => {
                let to = ended.and_then(|hold| hold.to).unwrap_or(ctx.known_until);
                let since = ended.map(|hold| Since::of(ctx, hold));
                judgement.find(to, resumed(ctx, since, to));
            }
            _ => {}
        }
        judgement
    }

    fn judge_hold(&self, ctx: &Context<'_>, hold: Hold, is_open: bool, judgement: &mut Judgement) {
        let since = Since::of(ctx, hold);
        let due_at = ctx.rule.after(since.at, self.max);
        if ctx.known_until >= due_at {
            judgement.find(due_at, Verdict::Breach(self.evidence(ctx, since)));
            return;
        }
        if due_at < Timestamp::MAX {
            judgement.wake_known(due_at);
        }
        if is_open {
            // Paused anew, or the limit was raised.
            let headline = format!(
                "Over: {} is {} {}, within the limit of {}",
                ctx.title(),
                held_word(ctx),
                since.words(ctx),
                human_span(self.max)
            );
            judgement.find(ctx.known_until, expired(headline));
        }
    }

    fn evidence(&self, ctx: &Context<'_>, since: Since) -> Evidence {
        let word = held_word(ctx);
        let headline = format!(
            "Paused: {} is {word} {} (limit {})",
            ctx.title(),
            since.words(ctx),
            human_span(self.max)
        );
        let mut facts = vec![
            Fact::new("Paused", format!("{word} {}", since.words(ctx))),
            Fact::new("Limit", limit_text(ctx.rule, self.max)),
        ];
        if let Some(job) = ctx.job() {
            facts.extend(ctx.last_good(job));
        } else {
            let jobs = ctx.project.jobs().filter(|job| job.is_listed()).count();
            facts.push(Fact::new("Jobs that do not run", jobs.to_string()));
        }
        Evidence {
            headline,
            facts,
            ..Evidence::default()
        }
    }
}

/// `4 h`, or `4 h in the hours of the calendar eu-business`.
pub(super) fn limit_text(rule: &Rule, max: Span) -> String {
    let max = human_span(max);
    match &rule.calendar {
        Some(calendar) => format!("{max} in the hours of the calendar {}", calendar.name),
        None => max,
    }
}

/// The subject's own hold: a job's is not its project's.
fn last_hold(ctx: &Context<'_>) -> Option<Hold> {
    match ctx.subject {
        SubjectKey::Project(_) => ctx.project.last_hold(),
        _ => ctx.job()?.last_hold(),
    }
}

fn held_word(ctx: &Context<'_>) -> &'static str {
    let info = ctx.project.info.as_ref();
    match (
        ctx.job(),
        info.map(|info| (info.is_suspended, info.is_deployed)),
    ) {
        (Some(_), _) => "disabled",
        (None, Some((true, false))) => "suspended and not deployed",
        (None, Some((false, false))) => "not deployed",
        (None, _) => "suspended",
    }
}

fn resumed(ctx: &Context<'_>, since: Option<Since>, to: Timestamp) -> Verdict {
    let how = if ctx.job().is_some() {
        "is enabled again"
    } else {
        "runs its jobs again"
    };
    let length = since.map(|since| since.length(to));
    let after = length
        .as_ref()
        .map_or(String::new(), |length| format!(" after {length}"));
    let facts = length.map(|length| Fact::new("Was paused", length));
    resolved(
        format!("Resumed: {} {how}{after}", ctx.title()),
        facts.into_iter().collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn case() -> Case {
        Case::new(RuleKind::Paused(Paused {
            max: Span::hours(3),
        }))
    }

    #[test]
    fn a_job_is_paused_when_it_has_been_disabled_for_longer_than_max() {
        let seen = || case().job("01:00", "0 * * * *", true);
        let off = || seen().job("02:00", "0 * * * *", false);
        let said = "05:00 breach Paused: p1 job is disabled since 02:00 UTC (limit 3 h)";
        for (name, case, known, expected) in [
            ("enabled", seen(), "09:00", ""),
            ("not for long", off(), "04:59", ""),
            ("at the limit", off(), "05:00", said),
            ("later", off(), "09:00", said),
            (
                "disabled anew",
                off()
                    .job("04:00", "0 * * * *", true)
                    .job("04:30", "0 * * * *", false),
                "07:29",
                "",
            ),
            (
                "over before anybody was told",
                off().job("08:00", "0 * * * *", true),
                "09:00",
                "",
            ),
            (
                "held at first sight, changed then",
                case().job("01:00", "0 * * * *", false),
                "05:00",
                "04:00 breach Paused: p1 job is disabled at least since 01:00 UTC (limit 3 h)",
            ),
            (
                "its project, too",
                off().project("02:00", |p| p.is_suspended = true),
                "09:00",
                "05:00 breach Paused: finance job is disabled since 02:00 UTC (limit 3 h)",
            ),
            (
                "only its project",
                seen().project("02:00", |p| p.is_suspended = true),
                "09:00",
                "",
            ),
        ] {
            assert_eq!(case.judge(known).join("; "), expected, "{name}");
        }
        assert_eq!(
            off().judgement("04:00").wake_when_known,
            Some(super::super::fixture::at("05:00"))
        );
    }

    #[test]
    fn a_project_is_paused_as_a_whole() {
        let seen = || case().whole_project().project("01:00", |_| {});
        for (name, case, expected) in [
            ("running", seen(), ""),
            (
                "suspended",
                seen().project("02:00", |p| p.is_suspended = true),
                "05:00 breach Paused: finance is suspended since 02:00 UTC (limit 3 h)",
            ),
            (
                "suspended, then not deployed",
                seen()
                    .project("02:00", |p| p.is_suspended = true)
                    .project("03:00", |p| p.is_deployed = false),
                "05:00 breach Paused: finance is not deployed since 02:00 UTC (limit 3 h)",
            ),
            ("a job of it", seen().job("02:00", "0 * * * *", false), ""),
            (
                "at first sight",
                case()
                    .whole_project()
                    .project("00:30", |p| p.is_deployed = false),
                "03:30 breach Paused: finance is not deployed at least since 00:30 UTC (limit 3 h)",
            ),
        ] {
            assert_eq!(case.judge("09:00").join("; "), expected, "{name}");
        }
    }

    #[test]
    fn only_the_hours_of_the_calendar_count() {
        let mut off = case()
            .job("01:00", "0 * * * *", true)
            .job("02:00", "0 * * * *", false);
        off.rule.calendar = Some(super::super::fixture::calendar("08:00", "17:00"));
        assert_eq!(off.judge("10:59"), Vec::<String>::new());
        assert_eq!(
            off.judge("11:00"),
            ["11:00 breach Paused: p1 job is disabled since 02:00 UTC (limit 3 h)"]
        );
    }

    #[test]
    fn what_is_open_ends_when_it_is_resumed() {
        let off = || {
            case()
                .job("01:00", "0 * * * *", true)
                .job("02:00", "0 * * * *", false)
        };
        for (name, case, expected) in [
            (
                "enabled",
                off().opened("05:00").job("08:00", "0 * * * *", true),
                "08:00 ok Resumed: p1 job is enabled again after 6 h",
            ),
            (
                "a project",
                case()
                    .whole_project()
                    .project("00:30", |p| p.is_deployed = false)
                    .opened("05:00")
                    .project("08:00", |_| {}),
                "08:00 ok Resumed: finance runs its jobs again after at least 7 h 30 min",
            ),
            (
                "paused anew meanwhile",
                off().opened("05:00").job("08:00", "0 * * * *", true).job(
                    "08:30",
                    "0 * * * *",
                    false,
                ),
                "09:00 expired Over: p1 job is disabled since 08:30 UTC, within the limit of 3 h",
            ),
        ] {
            assert_eq!(case.judge("09:00").join("; "), expected, "{name}");
        }
    }
}
