//! `[route]`, `[[inhibit]]` and `[[owner]]`: who hears of what.

use std::collections::HashSet;

use crate::engine::calendar::Calendar;
use crate::engine::labels::{Labels, Matcher};
use crate::engine::observation::Name;
use crate::engine::route::{EscalationStep, Inhibition, Owner, Route};
use crate::engine::rule::KIND_NAMES;
use crate::engine::time::{Span, config_span};

use super::addresses;
use super::context::{Context, Draft, did_you_mean, nearest};
use super::cursor::Cursor;
use super::keys;
use super::known::{Known, Names, name_or_default};
use super::place::Place;
use super::tree::{Spot, Table};
use super::values::{self, Refusal};

const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];
/// Shorter intervals would flood a channel.
const MIN_GROUP_INTERVAL: Span = Span::seconds(10);
/// Deeper trees are nobody's intention.
const MAX_DEPTH: usize = 16;

/// Reads the tree, and the fallback.
pub(super) fn read_route(top: &mut Cursor<'_>, known: &Known) -> (Route, Vec<Name>) {
    let context = top.context;
    let mut root = Route::root(known.receivers.iter().map(Name::from).collect());
    let Some(table) = top.table("route") else {
        return (root, Vec::new());
    };
    let mut cursor = Cursor::new(context, &keys::ROUTE, table);
    read_timers(&mut cursor, &mut root, known);
    read_escalation(&mut cursor, &mut root, known);
    let fallback = known
        .receivers_of(&mut cursor, "fallback")
        .unwrap_or_default();
    read_children(&mut cursor, &mut root, known, 1);
    cursor.finish();
    (root, fallback)
}

/// The keys that children inherit: whatever is written replaces what `route` has.
fn read_timers(cursor: &mut Cursor<'_>, route: &mut Route, known: &Known) {
    if let Some(receivers) = known.receivers_of(cursor, "receivers") {
        route.receivers = receivers;
    }
    if let Some(labels) = cursor.parsed_list("group_by", values::label_name) {
        route.group_by = labels.into_iter().map(|label| label.value.into()).collect();
    }
    route.group_wait = cursor.span_or("group_wait", route.group_wait);
    route.group_interval =
        cursor.span_from("group_interval", MIN_GROUP_INTERVAL, route.group_interval);
    route.repeat_interval =
        cursor.span_from("repeat_interval", Span::seconds(10), route.repeat_interval);
    if cursor.has("repeat_interval") && route.repeat_interval < route.group_interval {
        let place = cursor.place_of("repeat_interval");
        cursor.context.push(
            Draft::warning(
                "short-repeat",
                place,
                "`repeat_interval` is shorter than `group_interval`",
            )
            .label("reminders come no more often than `group_interval`")
            .help("write a longer repeat_interval, such as \"12h\""),
        );
    }
    if let Some(names) = cursor.texts("mute") {
        let find = |name: &Spot<String>| known.mutes.find(cursor.context, name).cloned();
        route.mute = names.iter().filter_map(find).collect::<Vec<Calendar>>();
    }
}

/// The steps that are written replace those of the parent; `escalate = []` is none.
fn read_escalation(cursor: &mut Cursor<'_>, route: &mut Route, known: &Known) {
    if cursor.has("escalate") {
        route.escalate.clear();
    }
    for table in cursor.tables("escalate") {
        let place = table.place;
        let mut step = Cursor::new(cursor.context, &keys::ESCALATE, table);
        let after = step.parsed("after", values::positive_span);
        let receivers = known.receivers_of(&mut step, "receivers");
        step.finish();
        let step = EscalationStep {
            after: after.map_or(Span::minutes(30), |after| after.value),
            receivers: receivers.unwrap_or_default(),
        };
        check_step(cursor.context, &step, route.escalate.last(), place);
        route.escalate.push(step);
    }
}

/// Steps come one after the other.
fn check_step(
    context: &Context<'_>,
    step: &EscalationStep,
    before: Option<&EscalationStep>,
    place: Place,
) {
    if let Some(before) = before.filter(|before| step.after <= before.after) {
        let (after, earlier) = (config_span(step.after), config_span(before.after));
        let message = format!("this step comes after {after}, the one before it after {earlier}");
        context.push(
            Draft::error("escalation-order", place, message)
                .label("not later than the step before it")
                .help("write the steps in order, each with a longer `after`"),
        );
    }
}

fn read_children(cursor: &mut Cursor<'_>, parent: &mut Route, known: &Known, depth: usize) {
    let context = cursor.context;
    let children = cursor.tables("child");
    if depth > MAX_DEPTH && !children.is_empty() {
        context.push(
            Draft::error(
                "too-deep",
                cursor.place,
                format!("routes are nested more than {MAX_DEPTH} deep"),
            )
            .help("give the inner routes more matchers and move them up"),
        );
        return;
    }
    let mut names: Names<()> = Names::new("route");
    let mut seen = Siblings::default();
    for (index, table) in children.into_iter().enumerate() {
        let place = table.place;
        let mut child = Cursor::new(context, &keys::ROUTE_CHILD, table);
        let name = child.parsed("name", values::name);
        if let Some(name) = &name {
            names.add(context, name, None);
        }
        let own = match &name {
            Some(name) => name_or_default(Some(name)),
            None => format!("#{}", index + 1).into(),
        };
        let mut route = inherited(parent, format!("{}/{own}", parent.path).into());
        let matchers = read_matchers(&mut child, "match");
        route.is_continue = child.boolean("continue").unwrap_or(false);
        seen.check(context, &matchers, place, &own, route.is_continue);
        route.matchers = matchers.into_iter().map(|matcher| matcher.value).collect();
        read_timers(&mut child, &mut route, known);
        read_escalation(&mut child, &mut route, known);
        read_children(&mut child, &mut route, known, depth + 1);
        child.finish();
        parent.children.push(route);
    }
}

/// Earlier siblings that end the search, by their matchers.
#[derive(Default)]
struct Siblings {
    ending: std::collections::HashMap<Vec<String>, (Name, Place)>,
}

impl Siblings {
    /// Matchers of a branch whose subsets are all looked up.
    const MAX_SUBSETS_OF: usize = 6;

    fn check(
        &mut self,
        context: &Context<'_>,
        matchers: &[Spot<Matcher>],
        place: Place,
        name: &Name,
        is_continue: bool,
    ) {
        let mut texts: Vec<String> = matchers
            .iter()
            .map(|matcher| matcher.value.to_string())
            .collect();
        texts.sort();
        texts.dedup();
        if let Some((earlier, earlier_place)) = self.find_subset(&texts) {
            context.push(
                Draft::warning(
                    "route-never-reached",
                    place,
                    format!("route `{name}` is never reached"),
                )
                .label("every alert that fits here is taken before")
                .related(
                    *earlier_place,
                    format!("`{earlier}` takes them and does not continue"),
                )
                .help(format!(
                    "move it before `{earlier}`, or write continue = true there"
                )),
            );
        }
        if !is_continue {
            self.ending.entry(texts).or_insert((name.clone(), place));
        }
    }

    fn find_subset(&self, texts: &[String]) -> Option<&(Name, Place)> {
        let whole = self
            .ending
            .get(texts)
            .or_else(|| self.ending.get(&Vec::new()));
        if whole.is_some() || texts.len() > Self::MAX_SUBSETS_OF {
            return whole;
        }
        (1..1_usize << texts.len()).find_map(|mask| {
            let chosen = texts
                .iter()
                .enumerate()
                .filter(|(at, _)| mask >> at & 1 == 1);
            self.ending
                .get(&chosen.map(|(_, text)| text.clone()).collect::<Vec<_>>())
        })
    }
}

/// A list of matchers; words that no alert has are warned about.
fn read_matchers(cursor: &mut Cursor<'_>, key: &'static str) -> Vec<Spot<Matcher>> {
    let texts = cursor.texts(key).unwrap_or_default();
    let context = cursor.context;
    let read = |text: &Spot<String>| {
        let matcher = super::cursor::interpret(context, text, values::matcher)?;
        check_words(context, text, &matcher);
        Some(matcher)
    };
    texts.iter().filter_map(read).collect()
}

/// `kind = "run_faild"` fits nothing, ever.
fn check_words(context: &Context<'_>, text: &Spot<String>, matcher: &Spot<Matcher>) {
    let (noun, words): (&str, &[&str]) = match matcher.value.label() {
        "kind" => ("rule kind", &KIND_NAMES),
        "severity" => ("severity", &SEVERITIES),
        _ => return,
    };
    let fits = |word: &&&str| {
        matcher
            .value
            .is_match(&Labels::default().with(matcher.value.label(), **word))
    };
    let count = words.iter().filter(fits).count();
    let is_negated = text.value.contains("!=") || text.value.contains("!~");
    let is_odd = if is_negated {
        count == words.len()
    } else {
        count == 0
    };
    if !is_odd {
        return;
    }
    let value = text.value.rsplit(['=', '~']).next().unwrap_or_default();
    let value = value.trim().trim_matches('"');
    let what = if is_negated {
        "excludes nothing"
    } else {
        "fits no alert"
    };
    context.push(
        Draft::warning(
            "unknown-word",
            text.place,
            format!("this matcher {what}: no {noun} is like `{value}`"),
        )
        .label(nearest(value, words.iter().copied()).map_or_else(
            || format!("not a {noun}"),
            |near| format!("did you mean `{near}`?"),
        ))
        .help(did_you_mean(
            value,
            &format!("the {noun} words are"),
            words.iter().copied(),
        )),
    );
}

/// Reads every `[[inhibit]]`.
pub(super) fn read_inhibitions(top: &mut Cursor<'_>) -> Vec<Inhibition> {
    let context = top.context;
    let read = |table: Spot<Table>| {
        let place = table.place;
        let mut cursor = Cursor::new(context, &keys::INHIBIT, table);
        let sides = ["source", "target"].map(|side| {
            let matchers = read_matchers(&mut cursor, side);
            if matchers.is_empty() && cursor.has(side) && !cursor.has_items(side) {
                let message = format!("`{side}` of an inhibition is an empty list");
                context.push(
                    Draft::error("empty", cursor.place_of(side), message)
                        .label("it would fit every alert")
                        .help(format!(
                            "write a matcher, like {side} = ['kind = \"run_failed\"']"
                        )),
                );
            }
            matchers
                .into_iter()
                .map(|matcher| matcher.value)
                .collect::<Vec<_>>()
        });
        let equal = cursor
            .parsed_list("equal", values::label_name)
            .unwrap_or_default();
        cursor.finish();
        let [source, target] = sides;
        let equal = equal.into_iter().map(|label| label.value.into()).collect();
        let inhibition = Inhibition {
            source,
            target,
            equal,
        };
        check_inhibition(context, &inhibition, place);
        inhibition
    };
    top.tables("inhibit").into_iter().map(read).collect()
}

fn check_inhibition(context: &Context<'_>, inhibition: &Inhibition, place: Place) {
    let why = contradiction(&inhibition.source)
        .map(|why| format!("`source` fits no alert: {why}"))
        .or_else(|| {
            contradiction(&inhibition.target).map(|why| format!("`target` fits no alert: {why}"))
        })
        .or_else(|| unequal(inhibition));
    if let Some(why) = why {
        context.push(
            Draft::warning(
                "inhibition-never",
                place,
                format!("this inhibition can never apply: {why}"),
            )
            .help("change the matchers so that an alert can fit them, or remove it"),
        );
    }
}

/// Why no alert can fit all of these.
fn contradiction(matchers: &[Matcher]) -> Option<String> {
    let labels: HashSet<&str> = matchers.iter().map(Matcher::label).collect();
    let mut labels: Vec<&str> = labels.into_iter().collect();
    labels.sort_unstable();
    labels.into_iter().find_map(|label| {
        let same: Vec<&Matcher> = matchers
            .iter()
            .filter(|matcher| matcher.label() == label)
            .collect();
        let candidates: Vec<String> = match label {
            "kind" => KIND_NAMES.iter().map(ToString::to_string).collect(),
            "severity" => SEVERITIES.iter().map(ToString::to_string).collect(),
            _ => vec![same.iter().find_map(|matcher| exact(matcher))?],
        };
        let fits = |value: &String| {
            let labels = Labels::default().with(label, value.as_str());
            same.iter().all(|matcher| matcher.is_match(&labels))
        };
        (!candidates.iter().any(fits)).then(|| match label {
            "kind" | "severity" => format!("no {label} is like that"),
            _ => format!("its matchers of `{label}` contradict each other"),
        })
    })
}

/// The only value that a matcher accepts.
fn exact(matcher: &Matcher) -> Option<String> {
    let text = matcher.to_string();
    let value = text.strip_prefix(matcher.label())?.strip_prefix(" = ")?;
    serde_json::from_str(value).ok()
}

/// Source and target demand different values of a label that must be equal.
fn unequal(inhibition: &Inhibition) -> Option<String> {
    let value_of = |side: &[Matcher], label: &str| {
        side.iter()
            .filter(|matcher| matcher.label() == label)
            .find_map(exact)
    };
    inhibition.equal.iter().find_map(|label| {
        let source = value_of(&inhibition.source, label)?;
        let target = value_of(&inhibition.target, label)?;
        (source != target)
            .then(|| format!("`{label}` must be equal, and is `{source}` and `{target}`"))
    })
}

/// Reads every `[[owner]]`.
pub(super) fn read_owners(top: &mut Cursor<'_>) -> Vec<Owner> {
    let context = top.context;
    let mut names: Names<()> = Names::new("owner");
    let mut owners = Vec::new();
    for table in top.tables("owner") {
        let place = table.place;
        let mut cursor = Cursor::new(context, &keys::OWNER, table);
        let name = cursor.unique_name();
        if let Some(name) = &name {
            names.add(context, name, None);
        }
        let mut globs = |key| -> Vec<String> {
            let texts = cursor.texts(key).unwrap_or_default();
            texts.into_iter().map(|text| text.value).collect()
        };
        let (projects, jobs, models) = (globs("projects"), globs("jobs"), globs("models"));
        let owner = Owner {
            name: name_or_default(name.as_ref()),
            slack: cursor.parsed("slack", slack_mention).map(|text| text.value),
            discord: cursor
                .parsed("discord", discord_mention)
                .map(|text| text.value),
            teams: cursor.parsed("teams", teams_user).map(|text| text.value),
            email: cursor
                .parsed("email", addresses::mail)
                .map(|text| text.value),
            projects,
            jobs,
            models,
        };
        cursor.finish();
        check_owner(context, &owner, place);
        owners.push(owner);
    }
    owners
}

/// An owner that nobody can reach, or that owns nothing, is nobody's intention.
fn check_owner(context: &Context<'_>, owner: &Owner, place: Place) {
    let name = &owner.name;
    let contacts = [&owner.slack, &owner.discord, &owner.teams, &owner.email];
    if contacts.iter().all(|contact| contact.is_none()) {
        context.push(
            Draft::warning(
                "owner-without-contact",
                place,
                format!("owner `{name}` has no contact: nobody is mentioned"),
            )
            .help("add slack = \"<@U…>\", discord = \"<@id>\", teams = \"…\" or email = \"…\""),
        );
    }
    if owner.projects.is_empty() && owner.jobs.is_empty() && owner.models.is_empty() {
        context.push(
            Draft::warning(
                "owner-of-nothing",
                place,
                format!("owner `{name}` owns nothing"),
            )
            .help("add projects, jobs or models; or name it in a rule's annotations.owner"),
        );
    }
}

fn slack_mention(text: &str) -> Result<String, Refusal> {
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let id = inner.and_then(|inner| {
        inner
            .strip_prefix("!subteam^")
            .or_else(|| inner.strip_prefix('@'))
    });
    match id {
        Some(id) if is_id(id) => Ok(text.to_owned()),
        _ => Err(Refusal::new(
            "bad-mention",
            format!("`{text}` is not a Slack mention"),
            "write \"<@U…>\" for a person or \"<!subteam^S…>\" for a group; names do not work",
        )),
    }
}

fn discord_mention(text: &str) -> Result<String, Refusal> {
    let inner = text
        .strip_prefix("<@")
        .and_then(|rest| rest.strip_suffix('>'));
    let id = inner.map(|inner| inner.strip_prefix('&').unwrap_or(inner));
    match id {
        Some(id) if (1..=24).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_digit()) => {
            Ok(text.to_owned())
        }
        _ => Err(Refusal::new(
            "bad-mention",
            format!("`{text}` is not a Discord mention"),
            "write \"<@id>\" for a person or \"<@&id>\" for a role, with the id's digits",
        )),
    }
}

fn teams_user(text: &str) -> Result<String, Refusal> {
    if crate::notify::is_teams_user(text) {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "bad-mention",
        format!("`{text}` is not a user of Microsoft Teams"),
        "write the address the person signs in with, like \"alice@example.com\"; groups and tags do not work",
    ))
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// What a child inherits, without the children read so far.
fn inherited(parent: &Route, path: Name) -> Route {
    Route {
        path,
        matchers: Vec::new(),
        receivers: parent.receivers.clone(),
        group_by: parent.group_by.clone(),
        group_wait: parent.group_wait,
        group_interval: parent.group_interval,
        repeat_interval: parent.repeat_interval,
        mute: parent.mute.clone(),
        escalate: parent.escalate.clone(),
        is_continue: false,
        children: Vec::new(),
    }
}
