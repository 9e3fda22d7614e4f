//! `[[receiver]]` and `[[smtp]]`.

use crate::notify::{
    Discord, Email, PagerDuty, Receiver, ReceiverKind, Slack, Smtp, SmtpTls, TemplateTexts,
};

use super::addresses;
use super::context::{Context, Draft};
use super::cursor::Cursor;
use super::keys::{self, Variant};
use super::known::{Known, Names, name_or_default};
use super::place::Place;
use super::service::{address, no_secret};
use super::templates;
use super::tree::{Spot, Table};
use super::values::Refusal;

/// Reads every `[[smtp]]`.
pub(super) fn read_relays(top: &mut Cursor<'_>) -> Names<Smtp> {
    let context = top.context;
    let mut relays = Names::new("smtp relay");
    for table in top.tables("smtp") {
        let mut cursor = Cursor::new(context, &keys::SMTP, table);
        let name = cursor.unique_name();
        let relay = read_relay(&mut cursor, name.as_ref());
        cursor.finish();
        if let Some(name) = name {
            relays.add(context, &name, Some(relay));
        }
    }
    relays
}

fn read_relay(cursor: &mut Cursor<'_>, name: Option<&Spot<String>>) -> Smtp {
    let host = cursor
        .parsed("host", host)
        .map(|host| host.value)
        .unwrap_or_default();
    let tls_word = cursor.word("tls");
    let (tls, port) = match tls_word.as_ref().map(|word| word.value) {
        Some("implicit") => (SmtpTls::Implicit, 465),
        Some("none") => (SmtpTls::None, 25),
        _ => (SmtpTls::StartTls, 587),
    };
    if let Some(word) = tls_word.filter(|_| tls == SmtpTls::None && !addresses::is_loopback(&host))
    {
        cursor.context.push(
            Draft::error(
                "unprotected-smtp",
                word.place,
                "mail would be sent without TLS",
            )
            .label("only for relays on this machine")
            .help("write tls = \"starttls\" (port 587) or tls = \"implicit\" (port 465)"),
        );
    }
    // The key's bounds keep it below 65 536.
    let port = cursor
        .integer("port")
        .and_then(|port| u16::try_from(port.value).ok())
        .unwrap_or(port);
    Smtp {
        name: name_or_default(name),
        host,
        port,
        tls,
        credentials: read_credentials(cursor),
        from: cursor
            .parsed("from", addresses::mail)
            .map(|from| from.value)
            .unwrap_or_default(),
    }
}

fn host(text: &str) -> Result<String, Refusal> {
    url::Host::parse(text)
        .map(|_| text.to_owned())
        .map_err(|_| {
            Refusal::new(
                "bad-host",
                format!("`{text}` is not a host name"),
                "write the name alone, without scheme and port, like \"smtp.example.com\"",
            )
        })
}

fn read_credentials(cursor: &mut Cursor<'_>) -> Option<(String, secrecy::SecretString)> {
    let username = cursor.text("username");
    let password = cursor.secret("password");
    for (given, missing) in [("username", "password"), ("password", "username")] {
        if cursor.has(given) && !cursor.has(missing) {
            let message = format!("`{given}` without `{missing}`");
            cursor.context.push(
                Draft::error("missing-key", cursor.place_of(given), message)
                    .label(format!("needs `{missing}`"))
                    .help("write both, or neither for a relay that asks for none"),
            );
        }
    }
    Some((username?.value, password?.value))
}

/// Reads every `[[receiver]]`. Without any there is one, the console.
pub(super) fn read(
    top: &mut Cursor<'_>,
    known: &mut Known,
    relays: &Names<Smtp>,
    not_built: &mut Vec<(String, Place)>,
) -> Vec<Receiver> {
    let context = top.context;
    let tables = top.tables("receiver");
    if tables.is_empty() {
        let name = Spot {
            value: "console".to_owned(),
            place: top.place,
        };
        known.receivers.add(context, &name, Some(()));
        return vec![Receiver {
            name: "console".into(),
            kind: ReceiverKind::Console,
            template: TemplateTexts::default(),
        }];
    }
    let read = |table| read_receiver(context, table, known, relays, not_built);
    tables.into_iter().filter_map(read).collect()
}

fn read_receiver(
    context: &Context<'_>,
    table: Spot<Table>,
    known: &mut Known,
    relays: &Names<Smtp>,
    not_built: &mut Vec<(String, Place)>,
) -> Option<Receiver> {
    let mut cursor = Cursor::new(context, &keys::RECEIVER, table);
    let name = cursor.unique_name();
    if let Some(name) = &name {
        known.receivers.add(context, name, Some(()));
    }
    let kind_place = cursor.place_of("kind");
    let kind = cursor.settle_kind(None)?;
    let kind = read_kind(&mut cursor, kind, relays);
    if matches!(kind, ReceiverKind::Discord(_)) {
        not_built.push((format!("receiver kind \"{}\"", kind.name()), kind_place));
    }
    let template = templates::read(&mut cursor, &kind);
    cursor.finish();
    Some(Receiver {
        name: name_or_default(name.as_ref()),
        kind,
        template,
    })
}

fn read_kind(cursor: &mut Cursor<'_>, kind: &Variant, relays: &Names<Smtp>) -> ReceiverKind {
    match kind.name {
        "slack" => ReceiverKind::Slack(Slack {
            token: secret(cursor, "token"),
            channel: cursor
                .parsed("channel", channel)
                .map(|channel| channel.value)
                .unwrap_or_default(),
            api_url: cursor
                .web_address("api_url")
                .unwrap_or_else(|| address("https://slack.com/api")),
            // Nobody answers them in this version.
            buttons: false,
        }),
        "slack_webhook" => ReceiverKind::SlackWebhook {
            url: secret_url(cursor),
        },
        "discord" => ReceiverKind::Discord(Discord {
            token: secret(cursor, "token"),
            channel_id: cursor
                .parsed("channel_id", snowflake)
                .map(|id| id.value)
                .unwrap_or_default(),
        }),
        "discord_webhook" => ReceiverKind::DiscordWebhook {
            url: secret_url(cursor),
        },
        "email" => read_email(cursor, relays),
        "webhook" => ReceiverKind::Webhook {
            url: secret_url(cursor),
            secret: cursor.secret("secret").map(|secret| secret.value),
        },
        "pagerduty" => ReceiverKind::PagerDuty(PagerDuty {
            routing_key: cursor
                .secret_checked("routing_key", routing_key)
                .map_or_else(no_secret, |secret| secret.value),
            api_url: cursor
                .web_address("api_url")
                .unwrap_or_else(|| address("https://events.pagerduty.com")),
        }),
        "teams" => ReceiverKind::Teams {
            url: secret_url(cursor),
        },
        "console" => ReceiverKind::Console,
        other => unreachable!("keys.rs lists a receiver kind `{other}` that is not read here"),
    }
}

/// The id of a Slack channel: names change, and the platform takes only ids to edit messages.
fn channel(text: &str) -> Result<String, Refusal> {
    let is_id = text.starts_with(['C', 'G', 'D'])
        && (3..=32).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if is_id {
        return Ok(text.to_owned());
    }
    let message = match text.strip_prefix('#') {
        Some(_) => format!("`{text}` is the name of a channel, not its id"),
        None => format!("`{text}` is not the id of a Slack channel"),
    };
    Err(Refusal::new(
        "bad-id",
        message,
        "write the id, like \"C0123ABCD\": in Slack, open the channel's details (click its name); the id is at \
         the bottom of the tab About",
    ))
}

fn secret(cursor: &mut Cursor<'_>, key: &'static str) -> secrecy::SecretString {
    cursor
        .secret(key)
        .map_or_else(no_secret, |secret| secret.value)
}

fn secret_url(cursor: &mut Cursor<'_>) -> secrecy::SecretString {
    cursor
        .secret_url("url")
        .map_or_else(no_secret, |secret| secret.value)
}

/// Keys of integrations have 32 letters and digits; those of PagerDuty's REST API do not. Never repeated.
fn routing_key(text: &str) -> Result<(), Refusal> {
    if text.len() == 32 && text.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Refusal::new(
        "bad-key",
        "this is not the key of an integration",
        "an integration of the kind \"Events API v2\" shows 32 letters and digits as its Integration Key; keys of \
         the REST API do not work",
    ))
}

/// A Discord id: digits, in quotes because it does not fit into other programs' numbers.
pub(super) fn snowflake(text: &str) -> Result<String, Refusal> {
    if (15..=20).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "bad-id",
        format!("`{text}` is not a Discord id"),
        "write the 15 to 20 digits in quotes; Discord's developer mode shows them under Copy ID",
    ))
}

fn read_email(cursor: &mut Cursor<'_>, relays: &Names<Smtp>) -> ReceiverKind {
    let context = cursor.context;
    let to = cursor
        .parsed_list("to", addresses::mail)
        .unwrap_or_default();
    if to.is_empty() && cursor.has("to") && !cursor.has_items("to") {
        context.push(
            Draft::error("empty", cursor.place_of("to"), "`to` is an empty list")
                .help("name at least one address, like to = [\"oncall@example.com\"]"),
        );
    }
    let smtp = match cursor.text("smtp") {
        Some(name) => relays.find(context, &name).cloned(),
        None if cursor.has("smtp") => None,
        None => {
            if relays.len() != 1 {
                let message = "a receiver of kind \"email\" needs a relay";
                context.push(
                    Draft::error("missing-key", cursor.place, message)
                        .label("`smtp` is missing")
                        .help("add [[smtp]] with a name, and smtp = \"<that name>\" here"),
                );
            }
            relays.only().cloned()
        }
    };
    let smtp = smtp.unwrap_or_else(|| Smtp {
        name: "".into(),
        host: String::new(),
        port: 587,
        tls: SmtpTls::StartTls,
        credentials: None,
        from: String::new(),
    });
    ReceiverKind::Email(Email {
        to: to.into_iter().map(|to| to.value).collect(),
        smtp,
    })
}
