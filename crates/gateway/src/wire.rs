//! The transports behind one type, so that one pool holds sessions of both.

use std::task::{Context, Poll};

use wharf_proto::{
    Message, Notification, Request, Response, Revision,
    transport::{CallError, EndReason, Exchange, Fate, Feed, Link},
};
use wharf_sse::{SseExchange, SseFeed, SseLink};
use wharf_streamable_http::client::{HttpExchange, HttpFeed, HttpLink};

/// A link of either transport.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireLink {
    /// Streamable HTTP.
    Http(HttpLink),
    /// HTTP+SSE.
    Sse(SseLink),
}

/// A call on a link of either transport.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireExchange {
    /// Streamable HTTP.
    Http(HttpExchange),
    /// HTTP+SSE.
    Sse(SseExchange),
}

/// What comes unasked from a link of either transport.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireFeed {
    /// Streamable HTTP.
    Http(HttpFeed),
    /// HTTP+SSE. Boxed: most sessions have the other, which is small.
    Sse(Box<SseFeed>),
}

// === impl WireLink ===

impl Link for WireLink {
    type Exchange = WireExchange;

    fn call(&self, request: Request) -> WireExchange {
        match self {
            Self::Http(link) => WireExchange::Http(link.call(request)),
            Self::Sse(link) => WireExchange::Sse(link.call(request)),
        }
    }

    async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        match self {
            Self::Http(link) => link.notify(notification).await,
            Self::Sse(link) => link.notify(notification).await,
        }
    }

    async fn respond(&self, response: Response) -> Result<(), CallError> {
        match self {
            Self::Http(link) => link.respond(response).await,
            Self::Sse(link) => link.respond(response).await,
        }
    }

    fn agree(&self, revision: Revision) {
        match self {
            Self::Http(link) => link.agree(revision),
            Self::Sse(link) => link.agree(revision),
        }
    }

    fn listen(&self) {
        match self {
            Self::Http(link) => link.listen(),
            Self::Sse(link) => link.listen(),
        }
    }

    fn end_reason(&self) -> Option<EndReason> {
        match self {
            Self::Http(link) => link.end_reason(),
            Self::Sse(link) => link.end_reason(),
        }
    }

    fn has_session(&self) -> bool {
        match self {
            Self::Http(link) => link.has_session(),
            Self::Sse(link) => link.has_session(),
        }
    }

    async fn goodbye(&self) {
        match self {
            Self::Http(link) => link.goodbye().await,
            Self::Sse(link) => link.goodbye().await,
        }
    }
}

// === impl WireExchange ===

impl Exchange for WireExchange {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        match self {
            Self::Http(exchange) => exchange.poll_next(cx),
            Self::Sse(exchange) => exchange.poll_next(cx),
        }
    }

    fn call_off(&mut self) -> Fate {
        match self {
            Self::Http(exchange) => exchange.call_off(),
            Self::Sse(exchange) => exchange.call_off(),
        }
    }
}

// === impl WireFeed ===

impl Feed for WireFeed {
    type End = EndReason;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, EndReason>> {
        match self {
            Self::Http(feed) => feed.poll_next(cx),
            Self::Sse(feed) => feed.poll_next(cx),
        }
    }
}
