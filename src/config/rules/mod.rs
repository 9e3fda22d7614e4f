//! Rule files: from their trees to checked rules.

mod deadline;
mod kinds;
mod objective;
mod settings;

use chrono_tz::Tz;

use crate::engine::annotate;
use crate::engine::calendar::Calendar;
use crate::engine::labels::{Labels, Patterns};
use crate::engine::observation::Name;
use crate::engine::policy::DisabledRule;
use crate::engine::rule::source_unreachable::SourceUnreachable;
use crate::engine::rule::{Annotations, DEFAULT_CLEAR, Rule, RuleKind, Selectors, Severity};
use crate::engine::schedule::Cron;
use crate::engine::time::Span;

use super::context::{Context, Draft, did_you_mean, nearest};
use super::cursor::Cursor;
use super::keys;
use super::known::{Known, Names, name_or_default};
use super::place::Place;
use super::tree::{Spot, Table};
use super::{addresses, values};
use objective::References;
use settings::{Written, settings, written};

/// Rules and what of them this version does not have.
#[derive(Default)]
pub(super) struct Rules {
    /// Enabled rules, in the order of their files.
    pub(super) enabled: Vec<Rule>,
    /// The others.
    pub(super) disabled: Vec<DisabledRule>,
    /// Parts not built, with their places.
    pub(super) not_built: Vec<(String, Place)>,
}

/// What `[defaults]` gives to every rule of its file.
#[derive(Default)]
struct Defaults {
    severity: Option<Severity>,
    labels: Labels,
    annotations: Annotations,
    schedule: Option<Cron>,
    /// The schedule never fires.
    is_never: bool,
    zone: Option<Tz>,
    hold: Option<Span>,
    keep_firing_for: Option<Span>,
    calendar: Option<Calendar>,
    receivers: Option<Vec<Name>>,
    job_type: Option<Patterns>,
    /// As they are written.
    written: Written,
}

/// While rules are read.
struct Reading<'a> {
    known: &'a Known,
    names: Names<()>,
    references: References,
    found: Rules,
}

/// Reads every rule file.
pub(super) fn read(context: &Context<'_>, files: &[Place], known: &Known) -> Rules {
    let mut reading = Reading {
        known,
        names: Names::new("rule"),
        references: References::default(),
        found: Rules::default(),
    };
    let mut is_complete = true;
    for file in files {
        match super::load::parse(context, *file) {
            Some(table) => {
                let place = super::load::start_of(*file);
                read_file(
                    context,
                    Spot {
                        value: table,
                        place,
                    },
                    &mut reading,
                );
            }
            None => is_complete = false,
        }
    }
    let Reading {
        names,
        references,
        mut found,
        ..
    } = reading;
    if is_complete && known.is_complete {
        references.check(context, &names);
    }
    add_built_in(&mut found.enabled, &names, known.zone);
    found
}

/// Blindness is always told.
fn add_built_in(rules: &mut Vec<Rule>, names: &Names<()>, zone: Tz) {
    let is_there = |rule: &Rule| matches!(rule.kind, RuleKind::SourceUnreachable(_));
    if rules.iter().any(is_there) {
        return;
    }
    let free = ["source-unreachable", "source-unreachable (built in)"];
    let name = free
        .iter()
        .find(|name| !names.contains(name))
        .unwrap_or(&free[1]);
    let kind = RuleKind::SourceUnreachable(SourceUnreachable {
        max: Span::minutes(5),
    });
    rules.push(Rule {
        zone,
        ..Rule::new(name, kind, "built in")
    });
}

fn read_file(context: &Context<'_>, table: Spot<Table>, reading: &mut Reading<'_>) {
    let mut top = Cursor::new(context, &keys::RULES_FILE, table);
    let defaults = match top.table("defaults") {
        Some(table) => read_defaults(context, table, reading.known),
        None => Defaults::default(),
    };
    for table in top.tables("rule") {
        read_rule(context, table, &defaults, reading);
    }
    top.finish();
}

fn read_defaults(context: &Context<'_>, table: Spot<Table>, known: &Known) -> Defaults {
    let mut cursor = Cursor::new(context, &keys::DEFAULTS, table);
    let labels = read_labels(&mut cursor);
    let zone = cursor.zone("timezone");
    let schedule = cursor.schedule(zone.unwrap_or(known.zone));
    let defaults = Defaults {
        severity: read_severity(&mut cursor),
        annotations: read_annotations(&mut cursor, &labels),
        labels,
        is_never: cursor.has("schedule") && schedule.is_none(),
        schedule: schedule.map(|schedule| schedule.value),
        zone,
        hold: read_span(&mut cursor, "for"),
        keep_firing_for: read_span(&mut cursor, "keep_firing_for"),
        calendar: known.calendar_of(&mut cursor),
        receivers: known.receivers_of(&mut cursor, "receivers"),
        job_type: cursor.job_types(),
        written: written(&cursor),
    };
    cursor.finish();
    defaults
}

fn read_rule(
    context: &Context<'_>,
    table: Spot<Table>,
    defaults: &Defaults,
    reading: &mut Reading<'_>,
) {
    let mut cursor = Cursor::new(context, &keys::RULE, table);
    let name = cursor.unique_name();
    let place = name.as_ref().map_or(cursor.place, |name| name.place);
    if let Some(name) = &name {
        reading.names.add(context, name, Some(()));
    }
    let Some(variant) = cursor.settle_kind(None) else {
        if !cursor.has("kind") {
            refuse_without_kind(&cursor);
        }
        return;
    };
    let own_zone = cursor.zone("timezone").or(defaults.zone);
    let zone = own_zone.unwrap_or(reading.known.zone);
    let (schedule, is_never) = read_schedule(&mut cursor, defaults, zone);
    let head = Head {
        name: name_or_default(name.as_ref()),
        kind: kinds::read(&mut cursor, variant.name, own_zone, &mut reading.references),
        schedule,
        zone,
        origin: context.origin(place),
    };
    if cursor.has("times") {
        kinds::check_times(&cursor, &head.kind);
    }
    let is_enabled = cursor.boolean("enabled").unwrap_or(true);
    let settings = settings(&cursor, variant, &defaults.written);
    let rule = Rule {
        settings,
        ..read_shared(&mut cursor, head, defaults, reading.known)
    };
    cursor.finish();
    reading.references.add_rule(&rule);
    if is_enabled && !is_never {
        if let Some(part) = rule.kind.not_built() {
            let part = format!("rule `{}`: {part}", rule.name);
            reading.found.not_built.push((part, place));
        }
        reading.found.enabled.push(rule);
    } else {
        reading.found.disabled.push(DisabledRule {
            name: rule.name,
            origin: rule.origin,
            why: if is_enabled {
                "its `schedule` never fires"
            } else {
                "it says enabled = false"
            },
        });
    }
}

/// What is settled before the keys that every rule has.
struct Head {
    name: Name,
    kind: RuleKind,
    schedule: Option<Cron>,
    zone: Tz,
    origin: String,
}

/// The schedule, and whether it never fires.
fn read_schedule(cursor: &mut Cursor<'_>, defaults: &Defaults, zone: Tz) -> (Option<Cron>, bool) {
    let own = cursor.schedule(zone);
    if cursor.has("schedule") {
        let is_never = own.is_none();
        (own.map(|schedule| schedule.value), is_never)
    } else {
        (defaults.schedule.clone(), defaults.is_never)
    }
}

/// Reads the keys that every rule has.
fn read_shared(cursor: &mut Cursor<'_>, head: Head, defaults: &Defaults, known: &Known) -> Rule {
    let own_labels = read_labels(cursor);
    let labels = own_labels
        .iter()
        .fold(defaults.labels.clone(), |all, (key, value)| {
            all.with(key, value)
        });
    let severity = read_severity(cursor).or(defaults.severity);
    let hold = read_span(cursor, "for").or(defaults.hold);
    let keep_firing_for = read_span(cursor, "keep_firing_for").or(defaults.keep_firing_for);
    let calendar = known.calendar_of(cursor);
    let receivers = known.receivers_of(cursor, "receivers");
    Rule {
        name: head.name,
        kind: head.kind,
        selectors: read_selectors(cursor, defaults),
        severity: severity.unwrap_or(Severity::Warning),
        annotations: merged(read_annotations(cursor, &labels), &defaults.annotations),
        labels,
        schedule: head.schedule,
        hold: hold.unwrap_or_default(),
        keep_firing_for: keep_firing_for.unwrap_or_default(),
        times: cursor
            .parsed("times", values::times)
            .map(|times| times.value),
        clear: cursor
            .number("clear")
            .map_or(DEFAULT_CLEAR, |clear| clear.value),
        calendar: calendar.or_else(|| defaults.calendar.clone()),
        receivers: receivers.or_else(|| defaults.receivers.clone()),
        zone: head.zone,
        origin: head.origin,
        settings: Vec::new(),
    }
}

fn refuse_without_kind(cursor: &Cursor<'_>) {
    let kinds = keys::RULE.variants.iter().map(|variant| variant.name);
    cursor.context.push(
        Draft::error("missing-key", cursor.place, "a rule needs the key `kind`")
            .label("`kind` is missing")
            .help(format!(
                "add kind = \"run_failed\"; the kinds are: {}",
                super::context::listed(kinds)
            )),
    );
}

fn read_span(cursor: &mut Cursor<'_>, key: &'static str) -> Option<Span> {
    cursor.parsed(key, values::span).map(|span| span.value)
}

fn read_severity(cursor: &mut Cursor<'_>) -> Option<Severity> {
    Some(match cursor.word("severity")?.value {
        "info" => Severity::Info,
        "critical" => Severity::Critical,
        _ => Severity::Warning,
    })
}

fn read_selectors(cursor: &mut Cursor<'_>, defaults: &Defaults) -> Selectors {
    let mut patterns = |key| cursor.patterns(key).unwrap_or_default();
    let (project, job, model) = (patterns("project"), patterns("job"), patterns("model"));
    let (environment, triggered_by) = (patterns("environment"), patterns("triggered_by"));
    let job_type = cursor
        .job_types()
        .or_else(|| defaults.job_type.clone())
        .unwrap_or_else(|| Patterns::new(["!janitor"]));
    Selectors {
        project,
        job,
        model,
        environment,
        job_type,
        triggered_by,
    }
}

impl Cursor<'_> {
    /// The selector `job_type`; a word that is no run type is warned about.
    fn job_types(&mut self) -> Option<Patterns> {
        const TYPES: [&str; 3] = ["run", "plan", "janitor"];
        let context = self.context;
        let texts = self.pattern_texts("job_type")?;
        for text in &texts {
            let glob = text.value.trim_start_matches('!');
            if glob.is_empty()
                || TYPES
                    .iter()
                    .any(|word| Patterns::new([glob]).is_match(word))
            {
                continue;
            }
            let message = format!(
                "`{}` fits none of the run types that dagctl documents",
                text.value
            );
            let label = nearest(glob, TYPES).map(|near| format!("did you mean `{near}`?"));
            context.push(
                Draft::warning("unknown-word", text.place, message)
                    .label(label.unwrap_or_else(|| "no such run type".to_owned()))
                    .help(did_you_mean(glob, "the run types are", TYPES)),
            );
        }
        Some(Patterns::new(texts.iter().map(|text| text.value.as_str())))
    }
}

/// Labels that an alert has by itself.
const RESERVED_LABELS: [&str; 10] = [
    "source",
    "project",
    "project_id",
    "job",
    "model",
    "run_id",
    "plan_id",
    "kind",
    "rule",
    "severity",
];

fn read_labels(cursor: &mut Cursor<'_>) -> Labels {
    let context = cursor.context;
    let mut labels = Labels::default();
    for (name, value) in cursor.map("labels").unwrap_or_default() {
        if super::cursor::interpret(context, &name, values::label_name).is_none() {
            continue;
        }
        if RESERVED_LABELS.contains(&name.value.as_str()) {
            let message = format!("the label `{}` is set by Tardy itself", name.value);
            context.push(
                Draft::error("reserved-label", name.place, message)
                    .label("every alert has it already")
                    .help(format!("choose another name, like {}_team", name.value)),
            );
            continue;
        }
        labels.set(&name.value, value.value);
    }
    labels
}

fn read_annotations(cursor: &mut Cursor<'_>, labels: &Labels) -> Annotations {
    let context = cursor.context;
    let Some(table) = cursor.table("annotations") else {
        return Annotations::default();
    };
    let mut cursor = Cursor::new(context, &keys::ANNOTATIONS, table);
    let is_label = |name: &str| labels.iter().any(|(label, _)| label == name);
    let known = |name: &str| annotate::names().any(|known| known == name) || is_label(name);
    let template = |text: &str| {
        let candidates = annotate::names().chain(labels.iter().map(|(label, _)| label));
        values::template(text, known, candidates)
    };
    let mut text = |key| cursor.parsed(key, template).map(|text| text.value);
    let (summary, description, owner) = (text("summary"), text("description"), text("owner"));
    let runbook = cursor.parsed("runbook", |text| {
        template(text).and_then(|text| addresses::link(&text))
    });
    cursor.finish();
    Annotations {
        summary,
        description,
        runbook: runbook.map(|text| text.value),
        owner,
    }
}

fn merged(own: Annotations, defaults: &Annotations) -> Annotations {
    let or = |own: Option<String>, default: &Option<String>| own.or_else(|| default.clone());
    Annotations {
        summary: or(own.summary, &defaults.summary),
        description: or(own.description, &defaults.description),
        runbook: or(own.runbook, &defaults.runbook),
        owner: or(own.owner, &defaults.owner),
    }
}
