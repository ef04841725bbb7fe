//! What a transport to an upstream is: the traits that the pool is built on
//! and that the client halves implement.
//!
//! [`Connect`] opens a [`Link`]. A call on it is an [`Exchange`]: what the
//! upstream says in relation to that call, in order, and then its answer.
//! What the upstream says unasked, and why the link ended, comes from the
//! link's [`Feed`].
//!
//! Nothing here spawns a task. An exchange is driven by whoever polls it, so
//! that dropping it is all it takes to stop it; a feed is driven by the one
//! task that owns the link.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

mod fault;

pub use fault::{CallError, Cause, EndReason, Fate, Fault};

use crate::{Message, Notification, Request, Response, Revision};

/// Opens links to upstreams.
pub trait Connect: Send + Sync + 'static {
    /// What says where to connect to, and with what.
    type Target: ?Sized;
    /// An open link.
    type Link: Link;
    /// What comes from it unasked.
    type Feed: Feed<End = EndReason>;

    /// Opens a link. The MCP handshake is not part of it.
    ///
    /// # Errors
    ///
    /// [`CallError`] where the upstream cannot be reached or is no MCP server
    /// of this transport. A transport that needs no connection of its own,
    /// such as streamable HTTP, finds out at the first call instead.
    fn connect(
        &self,
        target: &Self::Target,
    ) -> impl Future<Output = Result<(Self::Link, Self::Feed), CallError>> + Send;
}

/// An open link to an upstream. Shared by all who call through it.
pub trait Link: Send + Sync + 'static {
    /// One call.
    type Exchange: Exchange<Error = CallError>;

    /// Makes a call, beginning when the exchange is first polled. The id must
    /// not have been used on this link before (basic protocol, requests).
    fn call(&self, request: Request) -> Self::Exchange;

    /// Sends a notification.
    ///
    /// # Errors
    ///
    /// [`CallError`] where the upstream did not take it.
    fn notify(
        &self,
        notification: Notification,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Answers a request of the upstream's.
    ///
    /// # Errors
    ///
    /// [`CallError`] where the upstream did not take it.
    fn respond(&self, response: Response) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Says which revision the handshake has agreed on; whatever is sent
    /// afterwards is sent by its rules.
    fn agree(&self, revision: Revision);

    /// From now on somebody hears what the [`Feed`] says. A transport that
    /// needs a stream of its own for it opens it now and not before.
    fn listen(&self) {}

    /// Why the link has ended, as far as the transport knows: `None` while
    /// calls can be made. Costs no more than an atomic load, and says so
    /// before the [`Feed`] does, so that nobody is given a dead link between
    /// a call that found it dead and the owner that hears of it.
    ///
    /// Calls that begin after the end fail, and were not sent. Those under way
    /// hear of it where they all come over one stream, as over HTTP+SSE: each
    /// fails at once with [`Fault::Ended`]. Where each has a connection of its
    /// own, as over streamable HTTP, it goes on until it is answered, or
    /// refused in its turn: the end of the link, be it by [`Link::goodbye`] or
    /// by what another call was told, is for whoever keeps the link to pass on
    /// to its calls.
    fn end_reason(&self) -> Option<EndReason>;

    /// Whether the upstream keeps a session for this link. Where it keeps
    /// none, any number of callers may share it.
    fn has_session(&self) -> bool {
        true
    }

    /// Ends the link, and says goodbye, so that the upstream can forget the
    /// session. What that means for calls under way is said at
    /// [`Link::end_reason`].
    fn goodbye(&self) -> impl Future<Output = ()> + Send;
}

/// A call under way: what is said in relation to it, then its answer.
///
/// Yields any number of requests and notifications and then, as the last
/// thing, one [`Message::Response`] or an error. It must not be polled after
/// that. Dropping it before gives the call up; telling the peer so is the
/// business of who made the call.
pub trait Exchange: Send + Unpin + 'static {
    /// Why there is no answer.
    type Error: Send + 'static;

    /// Polls for the next message.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Self::Error>>;

    /// Gives the call up, and says whether the peer can have got it. To be
    /// dropped afterwards, not polled.
    fn call_off(&mut self) -> Fate {
        Fate::MayHaveRun
    }

    /// Whether a server half lets the call go on when its client goes away
    /// without cancelling it. Asked only where the revision leaves it open.
    fn survives_disconnect(&self) -> bool {
        true
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: what has been done is kept
    /// in the exchange itself.
    fn next(&mut self) -> Next<'_, Self>
    where
        Self: Sized,
    {
        Next(self)
    }

    /// Waits for the answer and passes over what is said before it.
    ///
    /// # Errors
    ///
    /// Where the exchange ends without one.
    ///
    /// # Cancel safety
    ///
    /// As [`Exchange::next`].
    fn answer(&mut self) -> impl Future<Output = Result<Response, Self::Error>> + Send
    where
        Self: Sized,
    {
        async {
            loop {
                if let Message::Response(response) = self.next().await? {
                    return Ok(response);
                }
            }
        }
    }
}

/// What a peer says unasked, until the link to it ends.
pub trait Feed: Send + Unpin + 'static {
    /// Why nothing more will come.
    type End: Send + 'static;

    /// Polls for the next message. An end is final: a feed must not be polled
    /// after it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Self::End>>;

    /// Waits for the next message.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    fn next(&mut self) -> NextHeard<'_, Self>
    where
        Self: Sized,
    {
        NextHeard(self)
    }
}

/// The future of [`Exchange::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a, E>(&'a mut E);

/// The future of [`Feed::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextHeard<'a, F>(&'a mut F);

// === impl Next ===

impl<E: Exchange> Future for Next<'_, E> {
    type Output = Result<Message, E::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx)
    }
}

// === impl NextHeard ===

impl<F: Feed> Future for NextHeard<'_, F> {
    type Output = Result<Message, F::End>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx)
    }
}
