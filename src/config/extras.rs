//! `[[digest]]`; and `[chat]`, `[web]` and `[heartbeat]`: read and checked, though not built yet.

use std::net::{Ipv4Addr, SocketAddr};

use crate::engine::digest::DigestPolicy;
use crate::engine::observation::Name;
use crate::engine::time::Span;
use crate::notify::{Receiver, ReceiverKind};

use super::addresses;
use super::context::{Context, Draft};
use super::cursor::Cursor;
use super::keys;
use super::known::{Known, Names, name_or_default};
use super::place::Place;
use super::receivers::snowflake;
use super::service::no_secret;
use super::softness;
use super::tree::{Spot, Table};
use super::values::{self, Refusal};
use super::{ChatDiscordConfig, ChatSlackConfig, HeartbeatConfig, WebConfig};

/// What was read.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) digests: Vec<DigestPolicy>,
    pub(super) chat_slack: Option<ChatSlackConfig>,
    pub(super) chat_discord: Option<ChatDiscordConfig>,
    pub(super) chat_act: Vec<String>,
    pub(super) web: Option<WebConfig>,
    pub(super) heartbeat: Option<HeartbeatConfig>,
}

/// Reads them all.
pub(super) fn read(
    top: &mut Cursor<'_>,
    known: &Known,
    receivers: &[Receiver],
    not_built: &mut Vec<(String, Place)>,
) -> Extras {
    let context = top.context;
    let mut extras = Extras::default();
    let mut names: Names<()> = Names::new("digest");
    for table in top.tables("digest") {
        extras
            .digests
            .push(read_digest(context, table, known, receivers, &mut names));
    }
    if let Some(table) = top.table("chat") {
        read_chat(context, table, &mut extras, not_built);
    }
    if let Some(table) = top.table("web") {
        not_built.push(("[web]".to_owned(), table.place));
        extras.web = Some(read_web(context, table));
    }
    if let Some(table) = top.table("heartbeat") {
        not_built.push(("[heartbeat]".to_owned(), table.place));
        extras.heartbeat = Some(read_heartbeat(context, table));
    }
    extras
}

fn read_digest(
    context: &Context<'_>,
    table: Spot<Table>,
    known: &Known,
    receivers: &[Receiver],
    names: &mut Names<()>,
) -> DigestPolicy {
    let mut cursor = Cursor::new(context, &keys::DIGEST, table);
    let name = cursor.unique_name();
    if let Some(name) = &name {
        names.add(context, name, None);
    }
    let timezone = cursor.zone("timezone").unwrap_or(known.zone);
    let schedule = cursor.schedule(timezone);
    let period = cursor.parsed("period", values::positive_span);
    let digest = DigestPolicy {
        name: name_or_default(name.as_ref()),
        schedule: schedule.map_or_else(softness::every_day, |schedule| schedule.value),
        zone: timezone,
        period: period.map_or(Span::hours(24), |period| period.value),
        receivers: known
            .receivers_of(&mut cursor, "receivers")
            .unwrap_or_default(),
        send_empty: cursor.boolean("send_empty").unwrap_or(false),
    };
    let place = cursor.place_of("receivers");
    cursor.finish();
    let is_pager = |name: &&Name| {
        let mut receivers = receivers.iter();
        let found = receivers.find(|receiver| receiver.name == **name);
        found.is_some_and(|found| matches!(found.kind, ReceiverKind::PagerDuty(_)))
    };
    for pager in digest.receivers.iter().filter(is_pager) {
        context.push(
            Draft::warning(
                "digest-to-pager",
                place,
                format!("receiver `{pager}` is a pager: it is sent no digests"),
            )
            .label("a digest wakes nobody")
            .help("name a receiver that is read in the morning"),
        );
    }
    digest
}

fn read_chat(
    context: &Context<'_>,
    table: Spot<Table>,
    extras: &mut Extras,
    not_built: &mut Vec<(String, Place)>,
) {
    let mut cursor = Cursor::new(context, &keys::CHAT, table);
    if let Some(table) = cursor.table("slack") {
        not_built.push(("[chat.slack]".to_owned(), table.place));
        extras.chat_slack = Some(read_chat_slack(context, table));
    }
    if let Some(table) = cursor.table("discord") {
        not_built.push(("[chat.discord]".to_owned(), table.place));
        extras.chat_discord = Some(read_chat_discord(context, table));
    }
    if let Some(table) = cursor.table("permissions") {
        not_built.push(("[chat.permissions]".to_owned(), table.place));
        let mut permissions = Cursor::new(context, &keys::CHAT_PERMISSIONS, table);
        let act = permissions
            .parsed_list("act", permission)
            .unwrap_or_default();
        extras.chat_act = act.into_iter().map(|who| who.value).collect();
        permissions.finish();
    }
    cursor.finish();
}

fn read_chat_slack(context: &Context<'_>, table: Spot<Table>) -> ChatSlackConfig {
    let mut cursor = Cursor::new(context, &keys::CHAT_SLACK, table);
    let token = cursor.secret("bot_token");
    let config = ChatSlackConfig {
        bot_token: token.map_or_else(no_secret, |token| token.value),
        signing_secret: cursor.secret("signing_secret").map(|secret| secret.value),
        app_token: cursor.secret("app_token").map(|secret| secret.value),
    };
    if !cursor.has("signing_secret") && !cursor.has("app_token") {
        let message = "[chat.slack] needs one of the keys `signing_secret` and `app_token`";
        context.push(
            Draft::error("missing-key", cursor.place, message)
                .label("no way for Slack to reach Tardy")
                .help(
                    "add signing_secret = { env = \"…\" } for HTTP, or app_token for Socket Mode",
                ),
        );
    }
    cursor.finish();
    config
}

fn read_chat_discord(context: &Context<'_>, table: Spot<Table>) -> ChatDiscordConfig {
    let mut cursor = Cursor::new(context, &keys::CHAT_DISCORD, table);
    let token = cursor.secret("token");
    let application_id = cursor.parsed("application_id", snowflake);
    let config = ChatDiscordConfig {
        token: token.map_or_else(no_secret, |token| token.value),
        application_id: application_id.map(|id| id.value).unwrap_or_default(),
        public_key: cursor.parsed("public_key", public_key).map(|key| key.value),
        guild_ids: cursor
            .parsed_list("guild_ids", snowflake)
            .unwrap_or_default()
            .into_iter()
            .map(|id| id.value)
            .collect(),
    };
    cursor.finish();
    config
}

fn public_key(text: &str) -> Result<String, Refusal> {
    if text.len() == 64 && hex::decode(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "bad-id",
        "this is not a Discord public key",
        "copy the 64 hexadecimal digits from the application's General Information page",
    ))
}

fn permission(text: &str) -> Result<String, Refusal> {
    let is_slack_id = |id: &str| {
        id.len() >= 5
            && id.starts_with(['U', 'W', 'S'])
            && id
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    // Roles of the examples are shorter than real ids.
    let is_number = |id: &str| !id.is_empty() && id.bytes().all(|c| c.is_ascii_digit());
    let is_known = match text.split_once(':') {
        Some(("slack", id)) => is_slack_id(id),
        Some(("discord", id)) => is_number(id.strip_prefix("role:").unwrap_or(id)),
        _ => false,
    };
    if is_known {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "bad-permission",
        format!("`{text}` is nobody who could act"),
        "write \"slack:U…\" (a person), \"slack:S…\" (a group), \"discord:<id>\" or \"discord:role:<id>\"",
    ))
}

fn read_web(context: &Context<'_>, table: Spot<Table>) -> WebConfig {
    let mut cursor = Cursor::new(context, &keys::WEB, table);
    let listen = cursor.parsed("listen", addresses::socket);
    if let Some(listen) = &listen
        && !listen.value.ip().is_loopback()
        && !cursor.has("token")
    {
        context.push(
            Draft::error(
                "unprotected-web",
                listen.place,
                "the pages would be open to the network",
            )
            .label("not loopback, and no `token`")
            .help("add token = { env = \"TARDY_WEB_TOKEN\" }, or listen on 127.0.0.1"),
        );
    }
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8090));
    let config = WebConfig {
        listen: listen.map_or(default, |listen| listen.value),
        public_url: cursor.web_address("public_url"),
        token: cursor.secret("token").map(|token| token.value),
    };
    cursor.finish();
    config
}

fn read_heartbeat(context: &Context<'_>, table: Spot<Table>) -> HeartbeatConfig {
    let mut cursor = Cursor::new(context, &keys::HEARTBEAT, table);
    let config = HeartbeatConfig {
        url: cursor
            .secret_url("url")
            .map_or_else(no_secret, |url| url.value),
        interval: cursor.span_from("interval", Span::seconds(1), Span::minutes(1)),
    };
    cursor.finish();
    config
}
