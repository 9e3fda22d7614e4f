//! The one line of a digest.

use std::collections::BTreeSet;

use super::{Digest, DigestState};

/// Projects named in the verdict; the others are counted.
const MAX_NAMED: usize = 2;

pub(super) fn state(digest: &Digest) -> DigestState {
    let tally = digest.tally();
    let is_broken = |row: &super::EarlierRow| matches!(row.outcome.as_str(), "missed" | "late");
    if tally.broken() > 0
        || !digest.open.rows.is_empty()
        || digest.decided_since.rows.iter().any(is_broken)
    {
        DigestState::Bad
    } else if tally.unknown > 0
        || !digest.gaps.rows.is_empty()
        || !digest.unreachable.rows.is_empty()
    {
        DigestState::Unsure
    } else {
        DigestState::Good
    }
}

/// `3 of 41 promises missed, 2 late; 2 alerts open`.
pub(super) fn words(digest: &Digest) -> String {
    let mut parts = vec![promises(digest)];
    let broken = |word: &str| {
        let rows = digest.decided_since.rows.iter();
        rows.filter(|row| row.outcome == word).count()
    };
    for word in ["missed", "late"] {
        match broken(word) {
            0 => {}
            count => parts.push(format!("{} {word}", many(count, "earlier promise"))),
        }
    }
    let open = digest.open.rows.len() + digest.open.more;
    if open > 0 {
        parts.push(format!("{} open", many(open, "alert")));
    }
    parts.extend(unknown(digest));
    parts.join("; ")
}

fn promises(digest: &Digest) -> String {
    let tally = digest.tally();
    let counted = tally.counted();
    let mut said = match (tally.missed, tally.late) {
        (0, 0) if counted == 0 && tally.unknown == 0 => return nothing_due(digest),
        (0, 0) if counted == 0 => String::new(),
        (0, 0) if tally.unknown == 0 && digest.gaps.rows.is_empty() => match counted {
            1 => "the one promise kept".to_owned(),
            _ => format!("all {counted} promises kept"),
        },
        (0, 0) => format!("{} kept", many(counted, "promise")),
        (0, late) => format!("{late} of {} late", many(counted, "promise")),
        (missed, 0) => format!("{missed} of {} missed", many(counted, "promise")),
        (missed, late) => {
            format!(
                "{missed} of {} missed, {late} late",
                many(counted, "promise")
            )
        }
    };
    if tally.unknown > 0 {
        said = match said.as_str() {
            "" => format!("{} cannot be told", many(tally.unknown, "promise")),
            said => format!("{said}, {} cannot be told", tally.unknown),
        };
    }
    said
}

/// No promise counts, and none is unknown.
fn nothing_due(digest: &Digest) -> String {
    let is_known = digest.gaps.rows.is_empty();
    match digest.tally().excused {
        0 if is_known => "no promise was due".to_owned(),
        0 => "no promise is known to have been due".to_owned(),
        excused => format!("{} excused, no other was due", many(excused, "promise")),
    }
}

fn unknown(digest: &Digest) -> Option<String> {
    let projects: BTreeSet<&str> = digest
        .gaps
        .rows
        .iter()
        .map(|row| row.project.as_str())
        .collect();
    if projects.is_empty() {
        return None;
    }
    let named: Vec<&str> = projects.iter().copied().take(MAX_NAMED).collect();
    let others = projects.len() - named.len() + digest.gaps.more;
    let more = match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    Some(format!("not all is known of {}{more}", named.join(", ")))
}

fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
