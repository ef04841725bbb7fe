//! A link of either transport.

use std::task::{Context, Poll};

use wharf_proto::{
    Message, Notification, Request, Response, Revision,
    transport::{CallError, EndReason, Exchange, Link},
};
use wharf_sse::{SseExchange, SseLink};
use wharf_streamable_http::client::{HttpExchange, HttpLink};

pub(super) enum AnyLink {
    Http(HttpLink),
    Sse(SseLink),
}

#[derive(Debug)]
pub(super) enum AnyExchange {
    Http(Box<HttpExchange>),
    Sse(Box<SseExchange>),
}

// === impl AnyLink ===

impl Link for AnyLink {
    type Exchange = AnyExchange;

    fn call(&self, request: Request) -> AnyExchange {
        match self {
            Self::Http(link) => AnyExchange::Http(Box::new(link.call(request))),
            Self::Sse(link) => AnyExchange::Sse(Box::new(link.call(request))),
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

// === impl AnyExchange ===

impl Exchange for AnyExchange {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        match self {
            Self::Http(exchange) => exchange.poll_next(cx),
            Self::Sse(exchange) => exchange.poll_next(cx),
        }
    }
}
