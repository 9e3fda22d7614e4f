//! A mail as an independent parser reads it.

use mail_parser::MessageParser;

#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) id: String,
    pub(crate) references: Option<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) text: String,
    pub(crate) html: String,
}

impl Mail {
    pub(crate) fn parse(to: &str, bytes: &[u8]) -> Self {
        let mail = MessageParser::default().parse(bytes).unwrap();
        Self {
            to: to.to_owned(),
            subject: mail.subject().unwrap().to_owned(),
            id: mail.message_id().unwrap().to_owned(),
            references: mail.references().as_text().map(str::to_owned),
            headers: mail
                .headers()
                .iter()
                .map(|header| header.name().to_owned())
                .collect(),
            text: mail.body_text(0).unwrap().replace("\r\n", "\n"),
            html: mail.body_html(0).unwrap().into_owned(),
        }
    }
}
