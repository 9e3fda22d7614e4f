//! # project_drift
//!
//! ## What it tells
//! The branch of a project has more commits that are not deployed than it may: what people merged is not
//! what runs.
//!
//! ## When to use
//! For projects that deploy soon after a merge. Give it `for = "2h"` or so: being behind for as long as a
//! deployment takes is normal.
//!
//! ## Keys
//! `max_commits_behind` (required): the most commits the project may be behind; 0 allows none.
//!
//! ## No data
//! While dagctl does not say how far a project is behind, nothing is decided. A project that is behind when
//! Tardy first sees it counts from then.
//!
//! ## Resolve
//! When the project is behind by `max_commits_behind` or less. `clear` does not apply: commits are deployed
//! all together.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::notification::Fact;
use super::super::observation::Project;
use super::context::{Context, Judgement, resolved};

/// Commits on the branch that are not deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDrift {
    /// Most commits behind.
    pub max_commits_behind: u32,
}

impl ProjectDrift {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(info) = &ctx.project.info else {
            return judgement;
        };
        let Some(behind) = info.commits_behind else {
            let why = format!("dagctl does not say how far {} is behind", ctx.title());
            judgement.find(ctx.known_until, Verdict::Unknown(why));
            return judgement;
        };
        if behind > self.max_commits_behind {
            let mut open = ctx.open.iter().filter(|alert| alert.is_open());
            let at = open.next().map_or(ctx.known_until, |alert| alert.began_at);
            judgement.find(at, Verdict::Breach(self.evidence(ctx, info, behind)));
        } else if ctx.open.iter().any(Alert::is_open) {
            judgement.find(ctx.known_until, self.caught_up(ctx, behind));
        }
        judgement
    }

    fn evidence(&self, ctx: &Context<'_>, info: &Project, behind: u32) -> Evidence {
        let allowed = self.max_commits_behind;
        let mut facts = vec![
            Fact::new("Commits behind", behind.to_string()),
            Fact::new("Allowed", allowed.to_string()),
        ];
        let commits = [
            ("Deployed commit", &info.current_commit),
            ("Latest commit", &info.latest_commit),
            ("Latest change", &info.latest_message),
        ];
        for (name, text) in commits {
            facts.extend(text.as_ref().map(|text| Fact::new(name, text.to_string())));
        }
        Evidence {
            headline: format!(
                "Drift: {} is {} behind (at most {allowed})",
                ctx.title(),
                commits_text(behind)
            ),
            facts,
            ..Evidence::default()
        }
    }

    fn caught_up(&self, ctx: &Context<'_>, behind: u32) -> Verdict {
        let title = ctx.title();
        let headline = match behind {
            0 => format!("Caught up: {title} is up to date"),
            _ => format!(
                "Caught up: {title} is {} behind (at most {})",
                commits_text(behind),
                self.max_commits_behind
            ),
        };
        resolved(
            headline,
            vec![Fact::new("Commits behind", behind.to_string())],
        )
    }
}

fn commits_text(count: u32) -> String {
    match count {
        1 => "1 commit".into(),
        _ => format!("{count} commits"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn behind(count: Option<u32>) -> Case {
        Case::new(RuleKind::ProjectDrift(ProjectDrift {
            max_commits_behind: 5,
        }))
        .whole_project()
        .project("01:00", |p| p.commits_behind = count)
    }

    #[test]
    fn a_project_may_be_behind_by_so_many_commits() {
        let said = "06:00 breach Drift: finance is 6 commits behind (at most 5)";
        for (count, expected) in [
            (Some(0), ""),
            (Some(5), ""),
            (Some(6), said),
            (
                None,
                "06:00 unknown dagctl does not say how far finance is behind",
            ),
        ] {
            assert_eq!(
                behind(count).judge("06:00").join("; "),
                expected,
                "{count:?}"
            );
        }
    }

    #[test]
    fn an_open_alert_keeps_its_beginning_and_ends_when_it_is_caught_up() {
        for (count, expected) in [
            (
                Some(7),
                "06:00 breach Drift: finance is 7 commits behind (at most 5)",
            ),
            (
                Some(1),
                "09:00 ok Caught up: finance is 1 commit behind (at most 5)",
            ),
            (Some(0), "09:00 ok Caught up: finance is up to date"),
        ] {
            let open = behind(Some(6)).opened("06:00");
            let later = open.project("08:00", |p| p.commits_behind = count);
            assert_eq!(later.judge("09:00").join("; "), expected, "{count:?}");
        }
    }
}
