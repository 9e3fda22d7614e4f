//! What Discord's answers mean.

use reqwest::StatusCode;
use serde_json::Value;

use super::super::http::Reply;

/// A snowflake.
pub(super) fn is_id(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

/// Discord's own error code; 0 when it gave none.
pub(super) fn error_code(reply: &Reply) -> u64 {
    reply.json()["code"].as_u64().unwrap_or_default()
}

/// The message cannot be edited any more: deleted (10008), in a channel that is gone (10003) or an archived
/// thread (50083), or another webhook's (50005). A 404 without a code is read so too: if the webhook itself is
/// gone, the new post will say so.
pub(super) fn is_gone(reply: &Reply) -> bool {
    match error_code(reply) {
        10_003 | 10_008 | 50_005 | 50_083 => reply.status.is_client_error(),
        0 => reply.status == StatusCode::NOT_FOUND,
        _ => false,
    }
}

/// A plainer message may be taken: 50035: the body's form was refused; 50006: it was taken for empty; 413 and
/// 40005: it is too large.
pub(super) fn is_about_content(reply: &Reply) -> bool {
    let code = error_code(reply);
    reply.status == StatusCode::PAYLOAD_TOO_LARGE
        || (reply.status == StatusCode::BAD_REQUEST && matches!(code, 50_035 | 50_006 | 40_005))
}

/// What to do about a refusal.
pub(super) fn remedy(status: StatusCode, code: u64) -> Option<&'static str> {
    Some(match (status.as_u16(), code) {
        (_, 10_015 | 50_027) | (401, _) => {
            "the webhook was deleted or its token is wrong; create a new one and configure its url"
        }
        (_, 10_003) => "its channel or thread is gone; configure the url of another webhook",
        (_, 50_083) => "its thread is archived; open it again or leave thread_id off",
        (_, 220_001) => "its channel is a forum; add ?thread_id=… of a post to the url",
        (403, _) => "the webhook may not post there; check the channel's permissions",
        (404, _) => "there is no such webhook; check its url",
        _ => return None,
    })
}

/// Id of a file of the message that was answered with. One that an embed shows is not among the message's
/// attachments (discord-api-docs issue 1340), but its address holds the id.
pub(super) fn attachment_id(message: &Value, name: &str) -> Option<String> {
    let items = |key: &str| message[key].as_array().cloned().unwrap_or_default();
    let listed = items("attachments").into_iter().find_map(|attachment| {
        let is_named = attachment["filename"] == name;
        let id = attachment["id"].as_str().filter(|_| is_named)?;
        Some(id.to_owned())
    });
    let shown = || {
        items("embeds").into_iter().find_map(|embed| {
            let url = embed["image"]["url"].as_str()?;
            let path = url.split(['?', '#']).next()?;
            let mut segments = path.rsplit('/');
            let is_named = segments.next() == Some(name);
            let id = segments.next().filter(|_| is_named)?;
            Some(id.to_owned())
        })
    };
    listed.or_else(shown).filter(|id| is_id(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_known_by_its_list_or_its_address() {
        let url = "https://cdn.discordapp.com/attachments/8/77/a.png?ex=1&hm=2";
        for (message, id) in [
            (
                json!({ "attachments": [{ "id": "5", "filename": "b.png" }, { "id": "6", "filename": "a.png" }] }),
                Some("6"),
            ),
            (
                json!({ "attachments": [], "embeds": [{}, { "image": { "url": url } }] }),
                Some("77"),
            ),
            (
                json!({ "embeds": [{ "image": { "url": "attachment://a.png" } }] }),
                None,
            ),
            (
                json!({ "attachments": [{ "id": "x", "filename": "a.png" }] }),
                None,
            ),
            (json!({}), None),
        ] {
            assert_eq!(attachment_id(&message, "a.png").as_deref(), id, "{message}");
        }
    }
}
