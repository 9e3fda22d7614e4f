//! Slack's escapes, and mentions of configured owners.
//!
//! Role: the only place where text becomes mrkdwn. Guarantees: text from outside can neither mention, link nor
//! leave its code; only owners that are configured and have the form of a mention are mentioned. It does not
//! clean or bound texts: [`text`] does.

use super::super::message::Message;
use super::super::text;
use crate::engine::route::Owner;

/// Configured mentions of the owners to mention; only what is one in form.
pub(in crate::notify) fn mentions(message: &Message, owners: &[Owner]) -> String {
    let wanted = owners
        .iter()
        .filter(|owner| message.mentioned.iter().any(|name| **name == *owner.name));
    let mentions: Vec<&str> = wanted
        .filter_map(|owner| owner.slack.as_deref())
        .filter(|mention| is_mention(mention))
        .collect();
    mentions.join(" ")
}

fn is_mention(text: &str) -> bool {
    let id = text
        .strip_prefix("<@")
        .or_else(|| text.strip_prefix("<!subteam^"));
    id.and_then(|id| id.strip_suffix('>'))
        .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Untrusted text inside mrkdwn.
pub(in crate::notify) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Escaped, and cut so that the escaped text fits.
pub(in crate::notify) fn escape_within(text: &str, limit: usize) -> String {
    let escaped = escape(text);
    if text::measure(&escaped) <= limit {
        return escaped;
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += match c {
            '&' => 5,
            '<' | '>' => 4,
            c => c.len_utf16(),
        };
        used <= limit
    });
    let kept: String = kept.collect();
    format!("{}…", escape(kept.trim_end()))
}

/// A code span: nothing inside is interpreted, so only what would end it is replaced.
pub(in crate::notify) fn code(text: &str) -> String {
    format!(
        "`{}`",
        escape(&text.replace('`', "\u{2cb}").replace('\n', " "))
    )
}

/// A code block; the zero-width spaces keep data from closing it.
pub(in crate::notify) fn code_block(text: &str) -> String {
    format!(
        "```\n{}\n```",
        escape(&text.replace("```", "`\u{200b}`\u{200b}`"))
    )
}

/// A link with a label of ours. The address is a checked URL; what would end the link is encoded.
pub(in crate::notify) fn link(url: &str, label: &str) -> String {
    let url = url
        .replace('|', "%7C")
        .replace('<', "%3C")
        .replace('>', "%3E");
    format!("<{}|{label}>", url.replace('&', "&amp;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_mention_link_or_leave_its_span() {
        assert_eq!(escape_within("a<b&c", 20), "a&lt;b&amp;c");
        assert_eq!(escape_within("a<b&c", 10), "a&lt;b…");
        assert_eq!(
            escape("<!channel> & <@U1>"),
            "&lt;!channel&gt; &amp; &lt;@U1&gt;"
        );
        assert_eq!(code("a`b\nc"), "`a\u{2cb}b c`");
        assert!(
            !code_block("x\n```\n<!here>")[4..]
                .trim_end_matches("\n```")
                .contains("```")
        );
        assert_eq!(
            link("https://x/?a=1&b=|>", "run"),
            "<https://x/?a=1&amp;b=%7C%3E|run>"
        );
    }

    #[test]
    fn only_real_mentions_are_mentions() {
        for (text, is) in [
            ("<@U0ALICE>", true),
            ("<!subteam^S0FINANCE>", true),
            ("<!channel>", false),
            ("<@>", false),
            ("<@U1> <!here>", false),
            ("@everyone", false),
        ] {
            assert_eq!(is_mention(text), is, "{text}");
        }
    }
}
