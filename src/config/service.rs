//! The service file: from its tree to checked values.
//!
//! After a mistake any value will do in its place, because the whole configuration is refused in the
//! end; reading goes on so that every other mistake is found too.

use std::path::Path;

use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use crate::engine::labels::Patterns;
use crate::engine::observation::Name;
use crate::engine::policy::{Policy, SourcePolicy};
use crate::engine::route::{Inhibition, Owner, Route};
use crate::engine::schedule::Cron;
use crate::engine::time::{Span, config_span};
use crate::notify::Receiver;

use super::addresses;
use super::context::{Context, Draft};
use super::cursor::Cursor;
use super::keys;
use super::known::{Known, Names, name_or_default};
use super::place::Place;
use super::rules::Rules;
use super::tree::{Spot, Table};
use super::values::{self, Refusal};
use super::{Config, NotBuilt, SourceConfig, StoreConfig};
use super::{extras, receivers, routing, windows};

/// Everything of the service file, before rules are added.
pub(super) struct Service {
    /// Rule files.
    pub(super) globs: Vec<Spot<String>>,
    /// What rules may refer to.
    pub(super) known: Known,
    evaluation_schedule: Option<Cron>,
    sources: Vec<SourceConfig>,
    store: StoreConfig,
    receivers: Vec<Receiver>,
    route: Route,
    fallback: Vec<Name>,
    inhibitions: Vec<Inhibition>,
    owners: Vec<Owner>,
    extras: extras::Extras,
    not_built: Vec<(String, Place)>,
}

/// `rules/*.toml`, when `rules` is not written.
pub(super) fn default_globs(place: Place) -> Vec<Spot<String>> {
    vec![Spot {
        value: "rules/*.toml".to_owned(),
        place: super::load::start_of(place),
    }]
}

/// Reads the whole service file.
pub(super) fn read(context: &Context<'_>, table: Spot<Table>) -> Service {
    let place = table.place;
    let mut top = Cursor::new(context, &keys::SERVICE_FILE, table);
    let globs = top.texts("rules").unwrap_or_else(|| default_globs(place));
    let zone = top.zone("timezone").unwrap_or(Tz::UTC);
    let mut not_built = Vec::new();
    let mut known = Known {
        zone,
        is_complete: true,
        ..Known::nothing()
    };
    windows::read(&mut top, &mut known);
    let relays = receivers::read_relays(&mut top);
    let receivers = receivers::read(&mut top, &mut known, &relays, &mut not_built);
    let (route, fallback) = routing::read_route(&mut top, &known);
    let sources = read_sources(&mut top);
    let store = read_store(&mut top, &mut not_built);
    check_retention(context, &sources, &store);
    let extras = extras::read(&mut top, &known, &receivers, &mut not_built);
    let service = Service {
        globs,
        evaluation_schedule: read_evaluation(&mut top),
        receivers,
        route,
        fallback,
        inhibitions: routing::read_inhibitions(&mut top),
        owners: routing::read_owners(&mut top),
        extras,
        sources: sources.into_iter().map(|source| source.value.0).collect(),
        store: store.0,
        known,
        not_built,
    };
    top.finish();
    service
}

impl Service {
    /// The configuration, with its rules. `None` when something that every configuration has is missing.
    pub(super) fn into_config(self, context: &Context<'_>, path: &Path, rules: Rules) -> Config {
        let not_built = self.not_built.into_iter().chain(rules.not_built);
        let policy = Policy {
            rules: rules.enabled,
            disabled: rules.disabled,
            route: self.route,
            fallback: self.fallback,
            inhibitions: self.inhibitions,
            owners: self.owners,
            sources: self.sources.iter().map(source_policy).collect(),
            digests: self.extras.digests,
            zone: self.known.zone,
        };
        Config {
            path: path.to_path_buf(),
            policy,
            evaluation_schedule: self.evaluation_schedule.unwrap_or_else(default_schedule),
            timezone: self.known.zone,
            sources: self.sources,
            store: self.store,
            receivers: self.receivers,
            chat_slack: self.extras.chat_slack,
            chat_discord: self.extras.chat_discord,
            chat_act: self.extras.chat_act,
            web: self.extras.web,
            heartbeat: self.extras.heartbeat,
            not_built: not_built
                .map(|(part, place)| warn_not_built(context, part, place))
                .collect(),
        }
    }
}

fn source_policy(source: &SourceConfig) -> SourcePolicy {
    SourcePolicy {
        name: source.name.clone(),
        schedule_zone: source.schedule_timezone,
        run_url: source.run_url.clone(),
    }
}

/// Notes a part that this version does not have.
pub(super) fn warn_not_built(context: &Context<'_>, part: String, place: Place) -> NotBuilt {
    context.push(
        Draft::warning(
            "not-built",
            place,
            format!("{part}: this version does not have it"),
        )
        .label("`tardy run` refuses to start with it")
        .help("it is checked like everything else; comment it out to run this version"),
    );
    NotBuilt {
        part,
        place: context.origin(place),
    }
}

fn default_schedule() -> Cron {
    Cron::parse("*/15 * * * * *", crate::engine::schedule::Dialect::Ours)
        .unwrap_or_else(|error| unreachable!("a constant expression that tests parse: {error}"))
}

fn read_evaluation(top: &mut Cursor<'_>) -> Option<Cron> {
    let table = top.table("evaluation")?;
    let context = top.context;
    let mut cursor = Cursor::new(context, &keys::EVALUATION, table);
    let schedule = cursor.parsed("schedule", |text| values::cron(context, text));
    cursor.finish();
    schedule.map(|schedule| schedule.value)
}

type ReadSource = (SourceConfig, Place);

fn read_sources(top: &mut Cursor<'_>) -> Vec<Spot<ReadSource>> {
    let tables = top.tables("source");
    let context = top.context;
    if tables.is_empty() {
        context.push(
            Draft::error(
                "no-source",
                top.place,
                "no [[source]] is configured: nothing would be watched",
            )
            .help(
                "add:\n[[source]]\nname = \"acme\"\norganization = \"org-…\"\n\
                     token = { env = \"DAGCTL_TOKEN\" }",
            ),
        );
    }
    let mut names: Names<()> = Names::new("source");
    tables
        .into_iter()
        .filter_map(|table| read_source(context, table, &mut names))
        .collect()
}

fn read_source(
    context: &Context<'_>,
    table: Spot<Table>,
    names: &mut Names<()>,
) -> Option<Spot<ReadSource>> {
    let place = table.place;
    let mut cursor = Cursor::new(context, &keys::SOURCE, table);
    let name = cursor.unique_name();
    if let Some(name) = &name {
        names.add(context, name, None);
    }
    cursor.settle_kind(Some("dagctl"))?;
    let backfill_place = cursor.place_of("backfill");
    let token = cursor.secret("token");
    let source = SourceConfig {
        name: name_or_default(name.as_ref()),
        base_url: cursor
            .web_address("base_url")
            .unwrap_or_else(|| address("https://api.dagctl.io")),
        organization: header_value(&mut cursor, "organization"),
        token: token.map_or_else(no_secret, |token| token.value),
        projects: cursor.patterns("projects").unwrap_or_default(),
        poll_interval: cursor.span_from("poll_interval", Span::seconds(1), Span::seconds(30)),
        backfill: cursor.span_from("backfill", Span::milliseconds(1), Span::days(30)),
        schedule_timezone: cursor.zone("schedule_timezone").unwrap_or(Tz::UTC),
        run_url: cursor.parsed("run_url", run_url).map(|url| url.value),
        job_names: cursor
            .map("job_names")
            .unwrap_or_default()
            .into_iter()
            .map(|(from, to)| (from.value, to.value))
            .collect(),
    };
    cursor.finish();
    Some(Spot {
        value: (source, backfill_place),
        place,
    })
}

/// The value goes into a request header.
fn header_value(cursor: &mut Cursor<'_>, key: &'static str) -> String {
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    let parsed = cursor.parsed(key, |text| {
        if is_plain(text) {
            return Ok(text.to_owned());
        }
        Err(Refusal::new(
            "bad-organization",
            "an organization id has no spaces and only ASCII characters",
            "copy the id from the dagctl settings, like \"org-1234abcd\"",
        ))
    });
    parsed.map(|text| text.value).unwrap_or_default()
}

fn run_url(text: &str) -> Result<String, Refusal> {
    const KNOWN: [&str; 2] = ["project_id", "run_id"];
    let text = values::template(text, |name| KNOWN.contains(&name), KNOWN)?;
    addresses::link(&text)
}

fn read_store(
    top: &mut Cursor<'_>,
    not_built: &mut Vec<(String, Place)>,
) -> (StoreConfig, Option<Place>) {
    let table = top.table("store").unwrap_or(Spot {
        value: Table::default(),
        place: top.place,
    });
    let context = top.context;
    let mut cursor = Cursor::new(context, &keys::STORE, table);
    let default = || StoreConfig::Sled {
        path: context.folder.join("data"),
        retention: Span::days(180),
    };
    let Some(kind) = cursor.settle_kind(Some("sled")) else {
        return (default(), None);
    };
    let retention_place = cursor
        .has("retention")
        .then(|| cursor.place_of("retention"));
    let retention = cursor.span_from("retention", Span::days(1), Span::days(180));
    let store = if kind.name == "postgres" {
        not_built.push(("store \"postgres\"".to_owned(), cursor.place_of("kind")));
        let url = cursor.secret_checked("url", addresses::postgres_address);
        let url = url.map_or_else(no_secret, |url| url.value);
        StoreConfig::Postgres { url, retention }
    } else {
        let path = cursor.text("path");
        let path = path.map_or_else(|| "data".to_owned(), |path| path.value);
        let path = context.folder.join(path);
        StoreConfig::Sled { path, retention }
    };
    cursor.finish();
    (store, retention_place)
}

fn check_retention(
    context: &Context<'_>,
    sources: &[Spot<ReadSource>],
    (store, retention_place): &(StoreConfig, Option<Place>),
) {
    let (StoreConfig::Sled { retention, .. } | StoreConfig::Postgres { retention, .. }) = store;
    for source in sources {
        let (config, backfill_place) = &source.value;
        if *retention >= config.backfill {
            continue;
        }
        let kept = config_span(*retention);
        let message = format!(
            "the first poll reads {} back, but history is kept for {kept} only",
            config_span(config.backfill)
        );
        context.push(
            Draft::warning(
                "retention-short",
                retention_place.unwrap_or(*backfill_place),
                message,
            )
            .label(format!(
                "shorter than `backfill` of source `{}`",
                config.name
            ))
            .help(format!(
                "write retention = \"180d\", or a backfill of at most \"{kept}\""
            )),
        );
    }
}

/// A placeholder after a mistake.
pub(super) fn no_secret() -> SecretString {
    SecretString::from("")
}

/// A constant address.
pub(super) fn address(text: &'static str) -> Url {
    Url::parse(text).unwrap_or_else(|error| unreachable!("`{text}` is a constant address: {error}"))
}

impl Cursor<'_> {
    /// An IANA zone.
    pub(super) fn zone(&mut self, name: &'static str) -> Option<Tz> {
        self.parsed(name, values::zone).map(|zone| zone.value)
    }

    /// A glob or a list of globs.
    pub(super) fn patterns(&mut self, name: &'static str) -> Option<Patterns> {
        let texts = self.pattern_texts(name)?;
        Some(Patterns::new(texts.iter().map(|text| text.value.as_str())))
    }

    /// The globs of a key, each with its place.
    pub(super) fn pattern_texts(&mut self, name: &'static str) -> Option<Vec<Spot<String>>> {
        let texts = self.parsed_list(name, |text| match text.trim_start_matches('!').trim() {
            "" => Err(Refusal::new(
                "bad-pattern",
                "a pattern with nothing after the !",
                "write a glob like \"hourly-*\", or \"!hourly-test*\" to leave names out",
            )),
            _ => Ok(text.to_owned()),
        })?;
        if texts.is_empty() && !self.has_items(name) {
            let place = self.place_of(name);
            self.context.push(
                Draft::error("empty", place, format!("`{name}` is an empty list"))
                    .label("it is not clear whether this means all or none")
                    .help(format!(
                        "write {name} = \"*\" for all, or name at least one"
                    )),
            );
        }
        Some(texts)
    }

    /// A length of time, or its default.
    pub(super) fn span_or(&mut self, name: &'static str, default: Span) -> Span {
        self.parsed(name, values::span)
            .map_or(default, |span| span.value)
    }

    /// A length of time that is at least `least`, or its default.
    pub(super) fn span_from(&mut self, name: &'static str, least: Span, default: Span) -> Span {
        self.parsed(name, |text| values::span_from(least, text))
            .map_or(default, |span| span.value)
    }

    /// An http(s) address.
    pub(super) fn web_address(&mut self, name: &'static str) -> Option<Url> {
        self.parsed(name, addresses::web_address)
            .map(|url| url.value)
    }
}
