//! Keys of routes and inhibitions.

use super::service::plain;
use super::{Key, Section, Type, key, optional, required, sections};

const RECEIVERS: Key = optional(
    "receivers",
    Type::Texts,
    "[\"team-slack\"]",
    "Who is told: names of receivers.",
);
const GROUP_BY: Key = key(
    "group_by",
    Type::Texts,
    "[\"project\", \"job\"]",
    "Labels whose values make a group; one message for each.",
);
const GROUP_WAIT: Key = key(
    "group_wait",
    Type::Duration,
    "\"15s\"",
    "Wait after the first alert of a group.",
);
const GROUP_INTERVAL: Key = key(
    "group_interval",
    Type::Duration,
    "\"2m\"",
    "Least time between two notifications of a group; at least 10s.",
);
const REPEAT_INTERVAL: Key = key(
    "repeat_interval",
    Type::Duration,
    "\"12h\"",
    "Time between reminders while something fires.",
);
const MUTES: Key = optional(
    "mute",
    Type::Texts,
    "[\"weekend\"]",
    "[[mute]] windows in which nothing new is announced.",
);

/// `[route]`
pub static ROUTE: Section = plain(
    "[route]",
    "route",
    "route",
    "The routing tree: which receivers hear of an alert, grouped how, and when.",
    &[
        RECEIVERS,
        GROUP_BY,
        GROUP_WAIT,
        GROUP_INTERVAL,
        REPEAT_INTERVAL,
        MUTES,
        sections("escalate", &ESCALATE),
        optional(
            "fallback",
            Type::Texts,
            "[\"leads\"]",
            "Told when a receiver cannot be reached.",
        ),
        sections("child", &ROUTE_CHILD),
    ],
);

/// `[[route.child]]`
pub static ROUTE_CHILD: Section = plain(
    "[[route.child]]",
    "route",
    "route.child",
    "A branch of the routing tree; keys left out are inherited; `escalate = []` is none.",
    &[
        optional(
            "name",
            Type::Text,
            "\"pages\"",
            "Name of the branch, unique among its siblings.",
        ),
        optional(
            "match",
            Type::Matchers,
            "['severity = \"critical\"']",
            "Matchers of labels (=, !=, =~, !~; anchored); all must fit.",
        ),
        optional(
            "receivers",
            Type::Texts,
            "[\"oncall\"]",
            "Who is told; inherited when left out.",
        ),
        optional(
            "group_by",
            Type::Texts,
            "[\"project\"]",
            "Inherited when left out.",
        ),
        optional(
            "group_wait",
            Type::Duration,
            "\"15s\"",
            "Inherited when left out.",
        ),
        optional(
            "group_interval",
            Type::Duration,
            "\"2m\"",
            "Inherited when left out; at least 10s.",
        ),
        optional(
            "repeat_interval",
            Type::Duration,
            "\"12h\"",
            "Inherited when left out.",
        ),
        MUTES,
        sections("escalate", &ESCALATE),
        key(
            "continue",
            Type::Boolean,
            "false",
            "Go on to later siblings after matching.",
        ),
        // Not through `sections`, which would read the static while it is being made.
        Key {
            name: "child",
            ty: Type::Tables(&ROUTE_CHILD),
            is_required: false,
            default: "",
            example: "",
            doc: "Branches below this one.",
        },
    ],
);

/// A step of `escalate`
pub static ESCALATE: Section = plain(
    "escalate",
    "escalation step",
    "route.escalate",
    "Who is told when nobody acknowledges: { after = \"30m\", receivers = [\"leads\"] }.",
    &[
        required(
            "after",
            Type::Duration,
            "\"30m\"",
            "Time after the first notification, or since an acknowledgement or silence is over; longer from step to step.",
        ),
        required("receivers", Type::Texts, "[\"leads\"]", "Who is told then."),
    ],
);

/// `[[inhibit]]`
pub static INHIBIT: Section = plain(
    "[[inhibit]]",
    "inhibition",
    "inhibit",
    "Alerts that keep others quiet while they fire.",
    &[
        required(
            "source",
            Type::Matchers,
            "['kind = \"run_failed\"']",
            "The alert that keeps others quiet.",
        ),
        required(
            "target",
            Type::Matchers,
            "['kind =~ \"staleness|model_failed\"']",
            "The alerts kept quiet.",
        ),
        key(
            "equal",
            Type::Texts,
            "[]",
            "Labels that must have equal values.",
        ),
    ],
);
