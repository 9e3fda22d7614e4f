//! Text from the source is data in every channel.

use tardy::engine::time::Span;
use tardy::sim::{JobPlan, PlannedRun};
use tardy::store::records::DeliveryOutcome;

use crate::rig::{FAILED, PROJECT, Rig, minute, organization};

const HOSTILE: [&str; 9] = [
    "@everyone <@123456789012345678> @here",
    "<!channel> <!here> <@U123> <http://evil|run>",
    "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "a\r\nBcc: evil@example.com\r\n\r\n<html>",
    "\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}y",
    "\u{1b}[31mred\u{1b}[0m \u{7}bell \0nul",
    "```\n*bold* ||spoiler|| [a](http://evil) # head",
    "{{ 7*7 }} {% raw %} ${x} %0d%0aBcc:x",
    "&amp; &lt;b&gt; ?q=\"><script>alert(1)</script>' onmouseover=alert(1) x=\"",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_and_errors_stay_data_on_every_channel() {
    let mut organization = organization();
    let megabyte = "lorem <ipsum> & @everyone ".repeat(42_000);
    for (index, text) in HOSTILE.iter().enumerate() {
        organization.job(PROJECT, JobPlan::new(text, "0 * * * *"));
        let error = if index == 0 { &megabyte } else { *text };
        let run = PlannedRun::failure(
            &format!("h{index}"),
            text,
            minute(20),
            Span::minutes(2),
            error,
        );
        organization.add_run(PROJECT, run);
    }
    let mut rig = Rig::of(organization, FAILED).await;
    rig.start();
    rig.run_to(minute(10)).await;
    assert_eq!(rig.counts(), [0; 5]);
    rig.run_to(minute(40)).await;
    let count = HOSTILE.len();
    assert_eq!(
        rig.counts(),
        [count, count, count, count, 0],
        "{:#?}",
        rig.problems
    );
    // The fakes hold every body to the platform's rules and refuse pings, markup and lengths.
    assert!(
        rig.settled
            .iter()
            .all(|record| record.outcome == DeliveryOutcome::Delivered)
    );
    for message in rig.discord.messages() {
        assert_eq!(message["allowed_mentions"]["parse"], serde_json::json!([]));
        assert!(
            !message["content"]
                .as_str()
                .unwrap_or_default()
                .contains("@everyone")
        );
    }
    for mail in rig.mails() {
        assert!(
            !mail
                .headers
                .iter()
                .any(|header| header.eq_ignore_ascii_case("bcc")),
            "{mail:?}"
        );
        assert!(
            !mail
                .subject
                .contains(['\r', '\n', '\0', '\u{1b}', '\u{202e}']),
            "{:?}",
            mail.subject
        );
        assert!(!mail.text.contains(['\0', '\u{1b}', '\u{202e}']));
        for tag in [
            "<script",
            "<img src=x",
            "onerror=\"",
            " onmouseover=alert(1) x=\"",
        ] {
            assert!(!mail.html.contains(tag), "{tag} in {}", mail.html);
        }
    }
    for said in rig.hook.said().iter().chain(&rig.slack.said()) {
        assert!(said.body.len() < 100_000, "{} bytes", said.body.len());
    }
}
