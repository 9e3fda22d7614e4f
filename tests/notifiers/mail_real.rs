//! Mail through a real server. `TARDY_MAIL_SERVER=needed` makes it an error that there is none.

use serde_json::json;
use tardy::notify::{Email, Receiver, ReceiverKind, Smtp, SmtpTls, TemplateTexts, build};

use crate::exim::Exim;
use crate::told;
use crate::world::{Kind, Mail, World, chart, deliver_with, handle_of};

#[tokio::test]
#[allow(clippy::disallowed_methods)] // whether a server has to be there
async fn a_real_server_delivers_a_conversation_to_all_but_the_refused() {
    let Some(server) = Exim::start() else {
        let is_needed =
            std::env::var_os("TARDY_MAIL_SERVER").is_some_and(|value| value == "needed");
        assert!(!is_needed, "no Exim: apt-get install exim4-daemon-light");
        println!("skipped: no Exim on this machine; apt-get install exim4-daemon-light");
        return;
    };
    let world = World::new(Kind::Email).await;
    let receiver = Receiver {
        name: "team".into(),
        kind: ReceiverKind::Email(Email {
            to: [
                "Lead <lead@example.com>",
                "gone@example.com",
                "oncall@example.com",
            ]
            .map(str::to_owned)
            .to_vec(),
            smtp: Smtp {
                name: "office".into(),
                host: "127.0.0.1".to_owned(),
                port: server.addr.port(),
                tls: SmtpTls::None,
                credentials: None,
                from: "Tardy <tardy@example.com>".to_owned(),
            },
        }),
        template: TemplateTexts::default(),
    };
    let notifier = build(&receiver, &world.context()).unwrap();
    let picture = chart();
    let mut handle = None;
    let story = [told::first(), told::reminder(1), told::recovered(2)];
    for (notification, picture) in story.iter().zip([Some(&picture), None, None]) {
        let told = deliver_with(&*notifier, notification, handle.as_ref(), picture).await;
        handle = handle_of(told);
        let refused = &handle.as_ref().unwrap().0["refused"];
        assert_eq!(*refused, json!(["gone@example.com"]));
    }
    drop(notifier);
    let mails: Vec<Mail> = server
        .mails()
        .iter()
        .map(|(to, mail)| read(to, mail))
        .collect();
    assert_eq!(mails.len(), 6);
    for thread in mails.chunks(3) {
        let to = &thread[0].to;
        assert!(
            thread
                .iter()
                .all(|mail| mail.to == *to && mail.id.ends_with("@example.com"))
        );
        assert_eq!(thread[0].in_reply_to, None);
        for (mail, notification) in thread.iter().zip(&story) {
            mail.check();
            assert!(
                mail.id.starts_with(&notification.delivery_id()),
                "{}",
                mail.id
            );
            assert!(
                mail.raw
                    .contains("\r\nList-Id: Tardy <team.tardy.example.com>\r\n")
            );
        }
        for reply in &thread[1..] {
            assert_eq!(reply.in_reply_to.as_ref(), Some(&thread[0].id));
            assert_eq!(reply.references.as_ref(), Some(&thread[0].id));
            assert_eq!(reply.subject, format!("Re: {}", thread[0].subject));
        }
        assert_eq!(
            *thread[0].inline[0].2, *picture.png,
            "the chart came through whole"
        );
        assert!(
            thread[1].text.starts_with("Still so after"),
            "{}",
            thread[1].text
        );
        assert!(
            thread[2].text.starts_with("Recovered:"),
            "{}",
            thread[2].text
        );
    }
}

/// As it was sent: folders hold lines without carriage returns, and the server has put its mark on top.
fn read(to: &str, mail: &[u8]) -> Mail {
    let text = std::str::from_utf8(mail).unwrap();
    let mark = text
        .strip_prefix("Received: ")
        .expect("the server says that it took it");
    let end = mark
        .match_indices('\n')
        .find(|(at, _)| !mark[at + 1..].starts_with(['\t', ' ']));
    let sent = &mark[end.unwrap().0 + 1..];
    Mail::parse(to, sent.replace('\n', "\r\n").as_bytes())
}
