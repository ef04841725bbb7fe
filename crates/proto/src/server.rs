//! What stands behind the server half of a transport: the trait that a
//! gateway, or any MCP server, implements once for every transport.
//!
//! A server half reads what clients send, keeps their sessions, and hands
//! each message to its [`Backend`]. A call is an [`Exchange`] here too: the
//! server half polls it, chooses JSON or an event stream by what it yields
//! first, and drops it where the client's disconnect means a cancellation.

use std::{future::Future, net::SocketAddr, sync::Arc};

use http::HeaderMap;

use crate::{
    Message, Notification, Request, Response,
    transport::{Exchange, Feed},
};

/// The MCP server behind a server half.
pub trait Backend: Send + Sync + 'static {
    /// What the backend keeps for one client's session.
    type Session: Send + Sync + 'static;
    /// One call of a client's.
    type Exchange: Exchange<Error = Refusal>;
    /// What the backend says to one client unasked.
    type Feed: Feed<End = Refusal>;

    /// Answers `initialize`, and opens a session unless it answers with an
    /// error.
    fn open(
        &self,
        hello: Request,
        caller: Caller<'_>,
    ) -> impl Future<Output = Opening<Self::Session>> + Send;

    /// Takes a request in a session. Nothing is done before the exchange is
    /// polled.
    fn call(
        &self,
        session: &Arc<Self::Session>,
        request: Request,
        caller: Caller<'_>,
    ) -> Self::Exchange;

    /// Takes a notification.
    fn notify(
        &self,
        session: &Arc<Self::Session>,
        notification: Notification,
    ) -> impl Future<Output = ()> + Send;

    /// Takes the client's answer to a request that an exchange or the feed
    /// has yielded.
    fn respond(
        &self,
        session: &Arc<Self::Session>,
        response: Response,
    ) -> impl Future<Output = ()> + Send;

    /// What is to be said to the client unasked. Asked for when the client
    /// first listens; polled only while it does.
    fn listen(&self, session: &Arc<Self::Session>) -> Self::Feed;

    /// The session has ended: by the client's word, by disuse, or because the
    /// server stops. Nothing comes for it afterwards.
    fn close(&self, session: &Arc<Self::Session>) -> impl Future<Output = ()> + Send;

    /// The session of a client that keeps none. `None`, the default, refuses
    /// such a client.
    fn anonymous(&self) -> Option<Arc<Self::Session>> {
        None
    }
}

/// Where a message came from.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The HTTP headers that came with it.
    pub headers: &'a HeaderMap,
    /// The other end of the connection, where the listener has addresses.
    pub peer: Option<SocketAddr>,
}

/// The backend's answer to `initialize`.
#[derive(Debug)]
pub struct Opening<S> {
    /// What the client is told.
    pub response: Response,
    /// The session; `None` where it was refused.
    pub session: Option<Arc<S>>,
}

/// Why a call has no response, or a feed no more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The session has ended; the client has to open another.
    #[error("the session has ended")]
    SessionEnded,
    /// The client has cancelled the call and wants no response.
    #[error("the client has cancelled the call")]
    Cancelled,
}

/// An exchange that is a future: for backends whose calls say nothing before
/// their answer, or whose answer is there at once.
pub struct Reply(Option<ReplyState>);

enum ReplyState {
    Ready(Response),
    Later(std::pin::Pin<Box<dyn Future<Output = Response> + Send>>),
}

/// A feed that never says anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence;

// === impl Opening ===

impl<S> Opening<S> {
    /// Opens a session.
    #[must_use]
    pub fn accepted(response: Response, session: S) -> Self {
        Self { response, session: Some(Arc::new(session)) }
    }

    /// Opens none.
    #[must_use]
    pub const fn refused(response: Response) -> Self {
        Self { response, session: None }
    }
}

// === impl Reply ===

impl Reply {
    /// An answer that is there.
    #[must_use]
    pub const fn ready(response: Response) -> Self {
        Self(Some(ReplyState::Ready(response)))
    }

    /// An answer that a future will give.
    pub fn later(response: impl Future<Output = Response> + Send + 'static) -> Self {
        Self(Some(ReplyState::Later(Box::pin(response))))
    }
}

impl Exchange for Reply {
    type Error = Refusal;

    fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Message, Refusal>> {
        use std::task::{Poll, ready};
        let response = match self.0.take().expect("an exchange is not polled after its answer") {
            ReplyState::Ready(response) => response,
            ReplyState::Later(mut future) => match future.as_mut().poll(cx) {
                Poll::Ready(response) => response,
                Poll::Pending => {
                    self.0 = Some(ReplyState::Later(future));
                    ready!(Poll::Pending)
                }
            },
        };
        Poll::Ready(Ok(response.into()))
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply(..)")
    }
}

// === impl Silence ===

impl Feed for Silence {
    type End = Refusal;

    fn poll_next(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Message, Refusal>> {
        std::task::Poll::Pending
    }
}
