//! A TCP connection whose end acknowledges at once while it waits for more.
//!
//! A sender with Nagle's algorithm on holds a small packet back until the one
//! before is acknowledged, and a receiver that expects to answer soon
//! acknowledges 40 ms late. Each is right alone; together they make an event
//! stream, whose head and events are small packets, 40 ms late. The sender is
//! somebody else's, so this end does without its half, where that helps: an
//! answer that has come whole is acknowledged by the next request, for nothing.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    gate::{Gate, Note},
    gather::Gather,
};

/// Connects as [`HttpConnector`] does.
#[derive(Debug, Clone)]
pub(crate) struct PromptConnector {
    pub(crate) tcp: HttpConnector,
    pub(crate) is_prompt: bool,
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Prompt {
    stream: Gather<TokioIo<TcpStream>>,
    promptness: Promptness,
}

/// What a connection's end owes its peer, and whether it is to be paid at
/// once. Clones are of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Promptness {
    is_prompt: bool,
    gate: Arc<Gate>,
}

// === impl PromptConnector ===

impl Service<Uri> for PromptConnector {
    type Response = Prompt;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Prompt, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.tcp.call(to);
        let is_prompt = self.is_prompt;
        Box::pin(async move {
            let stream = connecting.await?;
            Ok(Prompt { stream: Gather::new(stream), promptness: Promptness::new(is_prompt) })
        })
    }
}

// === impl Prompt ===

impl Prompt {
    pub(crate) const fn promptness(&self) -> &Promptness {
        &self.promptness
    }

    /// Acknowledges what has been read. The system takes the option back by
    /// itself, so it is set anew each time.
    fn acknowledge(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // Where it cannot be had, the connection is only slower.
        let _ = self.stream.get_ref().inner().set_quickack(true);
    }
}

// === impl Promptness ===

impl Promptness {
    fn new(is_prompt: bool) -> Self {
        let can_be = cfg!(any(target_os = "linux", target_os = "android"));
        Self { is_prompt: is_prompt && can_be, gate: Arc::default() }
    }

    /// The gate of the connection.
    pub(crate) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Has what was read acknowledged the next time that there is nothing to
    /// read; whether there is anything to be acknowledged.
    pub(crate) fn call_in(&self) -> bool {
        let is_owed = self.is_prompt && self.gate.notes().has(Note::Owed);
        if is_owed {
            self.gate.notes().make(Note::CalledIn);
        }
        is_owed
    }

    /// What was read is acknowledged by what is sent now.
    pub(crate) fn forgive(&self) {
        self.gate.notes().take(Note::Owed);
    }

    fn owe(&self) {
        self.gate.notes().make(Note::Owed);
    }

    /// Whether it is to be paid now.
    fn is_due(&self) -> bool {
        self.gate.notes().take(Note::CalledIn) && self.gate.notes().take(Note::Owed)
    }
}

impl Read for Prompt {
    /// Once there is nothing more to read, and not after each read: a large
    /// body is acknowledged on the way.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        match &read {
            Poll::Ready(_) => this.promptness.owe(),
            Poll::Pending if this.promptness.is_due() => this.acknowledge(),
            Poll::Pending => {}
        }
        read
    }
}

impl Write for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl Connection for Prompt {
    fn connected(&self) -> Connected {
        self.stream.get_ref().connected()
    }
}
