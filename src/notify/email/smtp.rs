//! One connection to a relay, and what each of its answers means.
//!
//! lettre's connection, driven command by command: only so is it known whether a failure came before or after
//! the mail was handed over, does every answer have a time-out, and does a broken attempt never leave a
//! half-finished dialogue to the next one. Connections that ended an attempt cleanly are kept for half a
//! minute, and there are never more than a few at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::super::http::{Timeouts, install_crypto};
use super::super::mask::Known;
use super::super::{BuildError, Smtp, SmtpTls, limits, text};

/// How long an idle connection is kept; relays close theirs after minutes.
const IDLE: Duration = Duration::from_secs(30);

/// Connections to a relay at once. Relays limit those of one client, Postfix to 50; more than a few make
/// nothing faster.
const CONNECTIONS: usize = 8;

/// A relay, with its idle connections.
pub(super) struct Relay {
    smtp: Smtp,
    tls: Option<TlsParameters>,
    timeouts: Timeouts,
    known: Known,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
    turns: Semaphore,
}

/// Why a mail was not taken.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// In words, without secrets.
    pub(super) why: String,
    /// Trying again would not help.
    pub(super) is_permanent: bool,
    stage: Stage,
}

/// Where it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before any mail: the relay is not to be reached or does not let us in.
    Relay,
    /// The relay answered no, and the dialogue can go on.
    Answered,
    /// The dialogue broke before the mail was handed over.
    Broken,
    /// The mail was handed over, and no answer came.
    HandedOver,
}

impl Failure {
    /// One that trying again would not help.
    pub(super) fn permanent(why: String) -> Self {
        Self {
            why,
            is_permanent: true,
            stage: Stage::Answered,
        }
    }

    fn passing(why: String) -> Self {
        Self {
            why,
            is_permanent: false,
            stage: Stage::Broken,
        }
    }

    fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// It would happen to every recipient.
    pub(super) fn is_general(&self) -> bool {
        self.stage == Stage::Relay
    }

    /// The recipient may have it.
    pub(super) fn is_uncertain(&self) -> bool {
        self.stage == Stage::HandedOver
    }

    /// Names the recipient, if it is about one.
    pub(super) fn about(self, recipient: &str) -> Self {
        if self.is_general() {
            return self;
        }
        Self {
            why: format!("{}: {}", text::line(recipient, 80), self.why),
            ..self
        }
    }
}

type Answer<T> = Result<T, Failure>;

impl Relay {
    /// Checks what can be checked without connecting.
    pub(super) fn new(receiver: &str, smtp: &Smtp, timeouts: Timeouts) -> Result<Self, BuildError> {
        install_crypto();
        let refuse = |why: String| BuildError::Mail {
            receiver: receiver.to_owned(),
            what: format!("smtp {:?}", smtp.name),
            why,
        };
        let host = smtp.host.trim_matches(['[', ']']);
        let is_local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if smtp.tls == SmtpTls::None && !is_local {
            return Err(refuse(
                "tls = \"none\" is for loopback only; use \"starttls\"".to_owned(),
            ));
        }
        let tls = match smtp.tls {
            SmtpTls::None => None,
            SmtpTls::StartTls | SmtpTls::Implicit => Some(
                TlsParameters::new(smtp.host.clone()).map_err(|error| refuse(error.to_string()))?,
            ),
        };
        let password = smtp.credentials.as_ref().map(|(_, password)| password);
        let known = password.map_or_else(Known::default, |password| {
            Known::default().with(password.expose_secret())
        });
        Ok(Self {
            smtp: smtp.clone(),
            tls,
            timeouts,
            known,
            idle: Mutex::default(),
            turns: Semaphore::new(CONNECTIONS),
        })
    }

    /// A session that ends at `until` at the latest; connects when the first mail is sent. Waits for its turn.
    pub(super) async fn session(&self, until: Instant) -> Session<'_> {
        // Without a turn no time is left either: nothing is sent.
        let turn = tokio::time::timeout_at(until, self.turns.acquire()).await;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        let kept = idle.pop();
        Session {
            relay: self,
            is_reused: kept.is_some(),
            connection: kept.map(|(connection, _)| connection),
            until,
            _turn: turn.ok().and_then(Result::ok),
        }
    }

    /// Host and port.
    fn server(&self) -> (&str, u16) {
        (self.smtp.host.trim_matches(['[', ']']), self.smtp.port)
    }

    fn scrub(&self, said: &str) -> String {
        text::line(
            &self.known.mask(&text::line(said, 2_000)),
            limits::http::ECHO,
        )
    }
}

/// A dialogue with the relay.
pub(super) struct Session<'a> {
    relay: &'a Relay,
    connection: Option<AsyncSmtpConnection>,
    is_reused: bool,
    until: Instant,
    _turn: Option<SemaphorePermit<'a>>,
}

impl Session<'_> {
    /// Sends one mail to one recipient. A connection that had been idle and turns out to be closed is
    /// replaced once.
    pub(super) async fn send(&mut self, from: &Address, to: &Address, mail: &[u8]) -> Answer<()> {
        let was_reused = std::mem::take(&mut self.is_reused);
        let sent = self.send_once(from, to, mail).await;
        match sent {
            Err(failure) if was_reused && failure.stage == Stage::Broken => {
                self.send_once(from, to, mail).await
            }
            sent => sent,
        }
    }

    async fn send_once(&mut self, from: &Address, to: &Address, mail: &[u8]) -> Answer<()> {
        if self.until <= Instant::now() {
            let why = "no time was left in this attempt".to_owned();
            return Err(Failure::passing(why).at(Stage::Relay));
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|failure| failure.at(Stage::Relay))?,
        };
        let sent = self.dialogue(&mut connection, from, to, mail).await;
        let is_usable = match &sent {
            Ok(()) => true,
            Err(failure) if failure.stage == Stage::Answered => {
                self.command(connection.command(Rset)).await.is_ok()
            }
            Err(_) => false,
        };
        if is_usable {
            self.connection = Some(connection);
        }
        sent
    }

    async fn dialogue(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &Address,
        mail: &[u8],
    ) -> Answer<()> {
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let mut parameters = Vec::new();
        if !is_ascii(from) || !is_ascii(to) {
            if !connection
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
            {
                let why = "the relay takes no addresses with letters beyond ASCII".to_owned();
                return Err(Failure::permanent(why));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let sender = Mail::new(Some(from.clone()), parameters);
        self.command(connection.command(sender)).await?;
        let recipient = Rcpt::new(to.clone(), Vec::new());
        self.command(connection.command(recipient)).await?;
        self.command(connection.command(Data)).await?;
        let handed_over = self.command(connection.message(mail)).await;
        handed_over
            .map(|_| ())
            .map_err(|failure| match failure.stage {
                Stage::Broken => failure.at(Stage::HandedOver),
                Stage::Relay | Stage::Answered | Stage::HandedOver => failure,
            })
    }

    async fn connect(&self) -> Answer<AsyncSmtpConnection> {
        let relay = self.relay;
        let hello = ClientId::default();
        let opened = match (relay.smtp.tls, relay.tls.clone()) {
            (SmtpTls::Implicit, Some(tls)) => {
                let wait = Some(relay.timeouts.connect);
                let server = relay.server();
                let opening =
                    AsyncSmtpConnection::connect_tokio1(server, wait, &hello, Some(tls), None);
                self.timed(opening).await
            }
            _ => self.connect_without_delay(&hello).await,
        };
        let mut connection = opened.map_err(|failure| Failure {
            why: format!("cannot connect to the relay: {}", failure.why),
            ..failure
        })?;
        if let (SmtpTls::StartTls, Some(tls)) = (relay.smtp.tls, relay.tls.clone()) {
            self.timed(connection.starttls(tls, &hello))
                .await
                .map_err(|failure| Failure {
                    why: format!("STARTTLS failed: {}", failure.why),
                    is_permanent: false,
                    ..failure
                })?;
        }
        if let Some((user, password)) = &relay.smtp.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let let_in = self.timed(connection.auth(&mechanisms, &credentials)).await;
            let_in.map_err(|failure| {
                let remedy = if failure.is_permanent {
                    "; check its username and password"
                } else {
                    ""
                };
                Failure {
                    why: format!("the relay does not let us in ({}){remedy}", failure.why),
                    ..failure
                }
            })?;
        }
        Ok(connection)
    }

    /// lettre writes a mail and its final dot apart. With Nagle's algorithm the dot would wait for the relay's
    /// delayed acknowledgement, 40 ms for each mail.
    async fn connect_without_delay(&self, hello: &ClientId) -> Answer<AsyncSmtpConnection> {
        let passing =
            |error: std::io::Error| Failure::passing(self.relay.scrub(&error.to_string()));
        let connecting = TcpStream::connect(self.relay.server());
        let stream = tokio::time::timeout(self.relay.timeouts.connect, connecting).await;
        let stream = stream
            .map_err(|_| Failure::passing("no answer".to_owned()))?
            .map_err(passing)?;
        stream.set_nodelay(true).map_err(passing)?;
        self.timed(AsyncSmtpConnection::connect_with_transport(
            Box::new(stream),
            hello,
        ))
        .await
    }

    async fn command(
        &self,
        command: impl Future<Output = Result<Response, lettre::transport::smtp::Error>>,
    ) -> Answer<Response> {
        self.timed(command).await
    }

    /// Within the time of one command and of the whole session.
    async fn timed<T>(
        &self,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Answer<T> {
        let limit = self.relay.timeouts.smtp;
        let left = self.until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(limit.min(left), step).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(Failure::passing(format!(
                "the relay did not answer within {} s",
                limit.min(left).as_secs_f32()
            ))),
        }
    }

    fn failure(&self, error: &lettre::transport::smtp::Error) -> Failure {
        let status = error.status().map(|code| code.to_string());
        // 421: the relay says something and hangs up.
        let is_answered = status.as_deref().is_some_and(|status| status != "421");
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let said = self
            .relay
            .scrub(&cause.unwrap_or_else(|| error.to_string()));
        Failure {
            why: match status {
                Some(status) => format!("the relay answered {status} {said}"),
                None => said,
            },
            is_permanent: error.is_permanent() || error.is_client(),
            stage: if is_answered {
                Stage::Answered
            } else {
                Stage::Broken
            },
        }
    }

    /// Keeps the connection for the next attempt.
    pub(super) fn park(self) {
        if let Some(connection) = self.connection {
            let mut idle = self
                .relay
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            idle.push((connection, Instant::now()));
        }
    }
}
