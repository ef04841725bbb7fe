//! A client's connection, down to its bytes.

use std::{fmt::Write as _, future::Future, time::Duration};

use http::StatusCode;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::request::{self, Request};

/// How much of what a client sends while it is being answered is kept. What
/// comes after that stays in the kernel.
const MAX_AHEAD: usize = 1024 * 1024;

/// How much is read at a time, at least.
const READ: usize = 8 * 1024;

/// A connection. Dropping it closes it, in order unless it has been reset.
pub(super) struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The client has closed it.
    There,
    /// It is to be closed on this side.
    Here,
}

// === impl Line ===

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Half an event is to leave before the reset that comes after it.
        let _ = stream.set_nodelay(true);
        Self { stream, unread: Vec::new() }
    }

    /// Reads the next request.
    pub(super) async fn request(&mut self) -> Result<Request, Over> {
        loop {
            match request::take(&mut self.unread) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => self.read().await?,
                Err(request::Unreadable) => {
                    self.whole(StatusCode::BAD_REQUEST, &[], b"").await?;
                    return Err(Over::Here);
                }
            }
        }
    }

    /// Writes a response with its length.
    pub(super) async fn whole(
        &mut self,
        status: StatusCode,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Over> {
        let length = body.len().to_string();
        let mut response = head(status, headers, &[("content-length", &length)]).into_bytes();
        response.extend_from_slice(body);
        self.write(&response).await
    }

    /// Writes the head of a response of that length, to be followed by it.
    pub(super) async fn head_of_length(
        &mut self,
        status: StatusCode,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Result<(), Over> {
        let head = head(status, headers, &[("content-length", &length.to_string())]);
        self.write(head.as_bytes()).await
    }

    /// Writes the head of a response that comes in chunks.
    pub(super) async fn head_of_chunks(&mut self, headers: &[(&str, &str)]) -> Result<(), Over> {
        let head = head(StatusCode::OK, headers, &[("transfer-encoding", "chunked")]);
        self.write(head.as_bytes()).await
    }

    /// Writes a chunk; one without bytes ends the response.
    pub(super) async fn chunk(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk).await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes).await.map_err(|_| Over::There)
    }

    /// Makes it so that closing the connection resets it.
    pub(super) fn reset(&self) -> Over {
        self.stream.set_zero_linger().expect("a socket that is open can be told how to close");
        Over::Here
    }

    /// Waits until the client closes the connection. What it sends meanwhile
    /// is kept.
    pub(super) async fn closed(&mut self) {
        while self.unread.len() < MAX_AHEAD {
            if self.read().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Waits for something, but not longer than the client does.
    pub(super) async fn unless_closed<T>(
        &mut self,
        awaited: impl Future<Output = T>,
    ) -> Result<T, Over> {
        tokio::select! {
            biased;
            awaited = awaited => Ok(awaited),
            () = self.closed() => Err(Over::There),
        }
    }

    pub(super) async fn pause(&mut self, length: Duration) -> Result<(), Over> {
        self.unless_closed(tokio::time::sleep(length)).await
    }

    /// Reads some more. Nothing is lost when the future is dropped.
    async fn read(&mut self) -> Result<(), Over> {
        loop {
            self.stream.readable().await.map_err(|_| Over::There)?;
            self.unread.reserve(READ);
            match self.stream.try_read_buf(&mut self.unread) {
                Ok(0) => return Err(Over::There),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Over::There),
            }
        }
    }
}

fn head(status: StatusCode, headers: &[(&str, &str)], more: &[(&str, &str)]) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in headers.iter().chain(more) {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    head.push_str("\r\n");
    head
}
