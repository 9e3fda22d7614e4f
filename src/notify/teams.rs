//! Microsoft Teams through a workflow of Power Automate (`docs/teams.md` tells how to make one).
//!
//! A workflow returns no reference to what it posts: nothing can be edited or replied to. So every
//! notification is a new card, and from the second on it names the first: `Update on k3x9pq: …`. A workflow
//! also answers before it posts; what it cannot post is lost unseen, so a card stays far below the limits.
//! Guarantees: text from outside stands in text runs, which know no Markdown, no link and no mention; only
//! owners that configuration names are mentioned. Charts are not shown: a card holds pictures by public
//! address only.

mod card;

use std::pin::Pin;
use std::sync::Arc;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::http::{self, Client, Endpoint, Reply};
use super::message::Message;
use super::{
    BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, Preview, PreviewForm, Writer,
};
use crate::engine::route::Owner;

/// Posts cards to a workflow.
pub(super) struct Teams {
    client: Client,
    writer: Writer,
    owners: Arc<[Owner]>,
}

/// What is kept of the first message: the id by which later ones name it.
#[derive(Serialize, Deserialize)]
struct Reference {
    first: String,
}

impl Teams {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::new(url, receiver, true)?;
        if is_connector(url) {
            return Err(BuildError::Address {
                receiver: receiver.to_owned(),
                why: "it is that of a connector, which Microsoft has retired; create a workflow as \
                      docs/teams.md says, and use its url",
            });
        }
        Ok(Self {
            client: Client::new(endpoint, context)?,
            writer: context.writer(),
            owners: context.owners.clone(),
        })
    }

    /// What is posted; and how later messages name it, when it opens the conversation.
    fn body(&self, delivery: Delivery<'_>) -> (serde_json::Value, Option<String>) {
        let message = self.writer.message(delivery.notification);
        let known = delivery.handle.and_then(reference);
        let first = known
            .clone()
            .or_else(|| message.lead_id().map(str::to_owned));
        let body = card::message(
            &message,
            first.as_deref(),
            &mentioned(&message, &self.owners),
        );
        (body, first.filter(|_| known.is_none()))
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let (body, first) = self.body(delivery);
        let url = self.client.endpoint().url().clone();
        let request = http::json(Method::POST, url, body.to_string().into_bytes());
        let reply = self.client.attempt().send(request).await?;
        Ok(self.outcome(&reply, first))
    }

    fn outcome(&self, reply: &Reply, first: Option<String>) -> Outcome {
        if reply.status.is_success() {
            let handle = first.and_then(|first| serde_json::to_value(Reference { first }).ok());
            return Outcome::Delivered {
                handle: handle.map(Handle),
            };
        }
        let answer = reply.json();
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        let said = if code.is_empty() {
            reply.text()
        } else {
            format!("{code}, {}", answer["error"]["message"])
        };
        let said = self.client.endpoint().scrub(&said);
        let status = reply.status.as_u16();
        let Some(remedy) = remedy(code, status) else {
            return reply.outcome(&said);
        };
        let colon = if said.is_empty() { "" } else { ", saying " };
        Outcome::Rejected {
            why: format!("Teams refused the message ({status}{colon}{said}): {remedy}"),
        }
    }
}

impl Notifier for Teams {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        super::ended(self.attempt(delivery))
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        vec![Preview {
            title: "POST",
            form: PreviewForm::Json,
            text: self.body(delivery).0.to_string(),
        }]
    }
}

fn reference(handle: &Handle) -> Option<String> {
    let reference = Reference::deserialize(&handle.0).ok()?;
    Some(reference.first)
}

/// An incoming webhook of the kind that workflows have replaced.
fn is_connector(url: &SecretString) -> bool {
    let url = Url::parse(url.expose_secret().trim()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.ends_with(".webhook.office.com") || host == "outlook.office.com"
}

/// What to do about a refusal, by the code that Power Automate gives, else by the status.
fn remedy(code: &str, status: u16) -> Option<&'static str> {
    Some(match (code, status) {
        ("WorkflowTriggerIsNotEnabled" | "WorkflowDisabled", 400..500) => {
            "the workflow is turned off: turn it on in Power Automate, and see why it was"
        }
        ("DirectApiAuthorizationRequired", _) => {
            "the workflow takes requests of its tenant only: set its trigger to be open to anyone, and \
             configure the url it then shows"
        }
        (_, 400) => {
            "it must begin with the trigger `When a Teams webhook request is received`; create it from \
             the template that docs/teams.md names"
        }
        (_, 401 | 403) => {
            "its url is not whole or no longer valid, or its trigger is not open to anyone: copy the url anew"
        }
        (_, 404 | 410) => {
            "the workflow was deleted or turned off: turn it on, or create a new one and configure its url"
        }
        (_, 413) => "the card is too large for it; please report this as a bug of Tardy",
        _ => return None,
    })
}

/// Configured addresses of the owners to mention; only what is one in form.
fn mentioned<'a>(message: &Message, owners: &'a [Owner]) -> Vec<&'a str> {
    let wanted = owners
        .iter()
        .filter(|owner| message.mentioned.iter().any(|name| **name == *owner.name));
    wanted
        .filter_map(|owner| owner.teams.as_deref())
        .filter(|address| is_user(address))
        .collect()
}

/// A user principal name, `user@example.com`, of letters that mean nothing in a card.
pub(crate) fn is_user(address: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_+'#@".contains(c);
    let (name, domain) = address.split_once('@').unwrap_or_default();
    !name.is_empty()
        && domain.contains('.')
        && !domain.contains('@')
        && address.len() <= 113
        && address.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_names_are_mentioned() {
        for (text, is) in [
            ("alice@example.com", true),
            ("a.b-c_d@data.example.com", true),
            ("alice", false),
            ("@example.com", false),
            ("alice@example", false),
            ("a@b@example.com", false),
            ("<at>x</at>@example.com", false),
            ("a b@example.com", false),
            ("[a](x)@example.com", false),
        ] {
            assert_eq!(is_user(text), is, "{text}");
        }
    }

    #[test]
    fn every_refusal_of_power_automate_has_its_remedy() {
        for (code, status, part) in [
            ("WorkflowTriggerIsNotEnabled", 400, "turned off"),
            ("DirectApiAuthorizationRequired", 401, "open to anyone"),
            ("", 400, "trigger"),
            ("", 401, "copy the url anew"),
            ("", 403, "copy the url anew"),
            ("WorkflowNotFound", 404, "create a new one"),
            ("", 410, "create a new one"),
            ("", 413, "too large"),
        ] {
            let remedy = remedy(code, status).unwrap();
            assert!(remedy.contains(part), "{code} {status}: {remedy}");
        }
        assert_eq!(remedy("", 503), None);
    }
}
