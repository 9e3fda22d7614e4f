//! A small SMTP server that keeps what it is given and fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with the next mail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// `421` and the connection is closed, at MAIL.
    HangUp,
    /// `451` at MAIL.
    Busy,
    /// The mail is kept, and the connection closed without an answer.
    DropAfterData,
    /// The mail is kept, and no answer ever comes.
    SilentAfterData,
    /// `554` after the mail was read.
    RefuseContent,
    /// The connection is closed right after this mail was accepted.
    CloseAfter,
}

#[derive(Default)]
struct State {
    mails: Vec<(String, Vec<u8>)>,
    refused: BTreeMap<String, String>,
    faults: VecDeque<Fault>,
    password: Option<String>,
    connections: usize,
}

/// The server; gone when the runtime is.
#[derive(Clone)]
pub(crate) struct Smtp {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Smtp {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        server
    }

    /// Recipient and bytes of every accepted mail, in order.
    pub(crate) fn mails(&self) -> Vec<(String, Vec<u8>)> {
        self.state.lock().unwrap().mails.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Answers this recipient with `reply` from now on; `None`: accepts it again.
    pub(crate) fn refuse(&self, recipient: &str, reply: Option<&str>) {
        let refused = &mut self.state.lock().unwrap().refused;
        match reply {
            Some(reply) => refused.insert(recipient.to_owned(), reply.to_owned()),
            None => refused.remove(recipient),
        };
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// Only this password is let in (AUTH PLAIN).
    pub(crate) fn require(&self, password: &str) {
        self.state.lock().unwrap().password = Some(password.to_owned());
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 fake ESMTP").await?;
    let mut recipient = String::new();
    let mut is_let_in = false;
    loop {
        let line = read_line(&mut stream).await?;
        let upper = line.to_uppercase();
        let password = state.lock().unwrap().password.clone();
        if upper.starts_with("EHLO") {
            let auth = if password.is_some() {
                "250-AUTH PLAIN\r\n"
            } else {
                ""
            };
            say(&mut stream, &format!("250-fake\r\n{auth}250 SMTPUTF8")).await?;
        } else if let Some(given) = line.strip_prefix("AUTH PLAIN ") {
            // base64 of "\0tardy\0<password>"; compared in its encoded form.
            let expected = base64(format!("\0tardy\0{}", password.unwrap_or_default()).as_bytes());
            is_let_in = given.trim() == expected;
            let reply = if is_let_in {
                "235 ok"
            } else {
                "535 5.7.8 bad credentials"
            };
            say(&mut stream, reply).await?;
        } else if upper.starts_with("MAIL FROM") {
            if password.is_some() && !is_let_in {
                say(&mut stream, "530 authenticate first").await?;
                continue;
            }
            match take(&state, &[is_hang_up, is_busy]) {
                Some(Fault::HangUp) => {
                    say(&mut stream, "421 closing").await?;
                    return None;
                }
                Some(_) => say(&mut stream, "451 4.3.0 busy").await?,
                None => say(&mut stream, "250 ok").await?,
            }
        } else if upper.starts_with("RCPT TO") {
            recipient = line[line.find('<')? + 1..line.find('>')?].to_owned();
            let refused = state.lock().unwrap().refused.get(&recipient).cloned();
            say(&mut stream, refused.as_deref().unwrap_or("250 ok")).await?;
        } else if upper.starts_with("DATA") {
            say(&mut stream, "354 go ahead").await?;
            let mail = read_mail(&mut stream).await?;
            let fault = take(&state, &[|_| true]);
            if !matches!(fault, Some(Fault::RefuseContent)) {
                state.lock().unwrap().mails.push((recipient.clone(), mail));
            }
            match fault {
                Some(Fault::DropAfterData) => return None,
                Some(Fault::SilentAfterData) => std::future::pending().await,
                Some(Fault::RefuseContent) => say(&mut stream, "554 5.7.1 looks like spam").await?,
                Some(Fault::CloseAfter) => {
                    say(&mut stream, "250 kept").await?;
                    return None;
                }
                _ => say(&mut stream, "250 kept").await?,
            }
        } else if upper.starts_with("QUIT") {
            say(&mut stream, "221 bye").await?;
            return None;
        } else {
            say(&mut stream, "250 ok").await?;
        }
    }
}

fn is_hang_up(fault: Fault) -> bool {
    matches!(fault, Fault::HangUp)
}

fn is_busy(fault: Fault) -> bool {
    matches!(fault, Fault::Busy)
}

/// The next fault, if it is one of those asked for.
fn take(state: &Arc<Mutex<State>>, wanted: &[fn(Fault) -> bool]) -> Option<Fault> {
    let faults = &mut state.lock().unwrap().faults;
    let next = *faults.front()?;
    wanted
        .iter()
        .any(|is| is(next))
        .then(|| faults.pop_front())?
}

async fn say(stream: &mut BufReader<TcpStream>, text: &str) -> Option<()> {
    stream
        .write_all(format!("{text}\r\n").as_bytes())
        .await
        .ok()
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    let read = stream.read_until(b'\n', &mut line).await.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// To the lone dot, with dot-stuffing undone.
async fn read_mail(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        match &line[..] {
            b".\r\n" => return Some(mail),
            [b'.', rest @ ..] => mail.extend_from_slice(rest),
            line => mail.extend_from_slice(line),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = 0_usize;
        for index in 0..3 {
            word = word << 8 | usize::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let symbol = SYMBOLS[word >> (18 - 6 * index) & 63] as char;
            text.push(if index <= chunk.len() { symbol } else { '=' });
        }
    }
    text
}
