//! A socket that can misbehave: cut, end in the middle of a body, or drip.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// How a connection behaves for the present request.
#[derive(Clone, Debug, Default)]
pub(super) enum Conduct {
    /// As it should.
    #[default]
    Plain,
    /// Closed at the next write.
    Cut,
    /// Closed after this many bytes of body.
    CutInBody(usize),
    /// At most this many bytes at a time, with this pause between them.
    Drip(usize, Duration),
}

/// The switch of one connection, seen by the request handler.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<Mutex<Conduct>>);

impl Switch {
    pub(super) fn set(&self, conduct: Conduct) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = conduct;
    }

    fn get(&self) -> Conduct {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Accepts connections with a [`Switch`] each.
#[derive(Debug)]
pub(super) struct Lines(pub(super) TcpListener);

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, addr) = Listener::accept(&mut self.0).await;
        // Pages are written in one piece; waiting for more would only cost latency.
        let _ = stream.set_nodelay(true);
        (
            Line {
                stream,
                switch: Switch::default(),
                pause: None,
            },
            addr,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Switch {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().switch.clone()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    switch: Switch,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Line {
    /// Writes up to the middle of the body. The server writes the head and the start of the body in
    /// one piece, so a piece with an empty line holds the head.
    fn write_until_cut(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        left: usize,
    ) -> Poll<io::Result<usize>> {
        let head = bytes
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .map_or(0, |position| position + 4);
        let allowed = head.saturating_add(left).min(bytes.len());
        if allowed == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..allowed]))?;
        self.switch.set(Conduct::CutInBody(
            left.saturating_sub(written.saturating_sub(head)),
        ));
        Poll::Ready(Ok(written))
    }

    fn write_drop(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        size: usize,
        pause: Duration,
    ) -> Poll<io::Result<usize>> {
        if let Some(waiting) = self.pause.as_mut() {
            ready!(waiting.as_mut().poll(cx));
        }
        self.pause = Some(Box::pin(sleep(pause)));
        let drop = &bytes[..size.clamp(1, bytes.len().max(1)).min(bytes.len())];
        Pin::new(&mut self.stream).poll_write(cx, drop)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        match line.switch.get() {
            Conduct::Plain => Pin::new(&mut line.stream).poll_write(cx, bytes),
            Conduct::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Conduct::CutInBody(left) => line.write_until_cut(cx, bytes, left),
            Conduct::Drip(size, pause) => line.write_drop(cx, bytes, size, pause),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
