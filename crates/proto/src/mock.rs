//! A scripted transport, for tests of what is built on the transport traits.
//!
//! [`pair`] gives the two ends: a [`MockConnect`] for the code under test and
//! the [`MockUpstream`] from which the test sees each link being opened, each
//! call made on it, and every goodbye, and answers as it likes. Nothing in it
//! sleeps or takes the time.

use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_channel::{mpsc, oneshot};
use futures_core::Stream;

use crate::{
    Json, Message, Notification, Request, Response, Revision,
    transport::{CallError, Connect, EndReason, Exchange, Fault, Feed, Link},
};

/// Makes the two ends of a mock transport.
#[must_use]
pub fn pair<T: ?Sized>() -> (MockConnect<T>, MockUpstream) {
    let (opened, openings) = mpsc::unbounded();
    let connects = Arc::new(AtomicU64::new(0));
    let connect = MockConnect { opened, connects: Arc::clone(&connects), target: PhantomData };
    (connect, MockUpstream { openings, connects })
}

/// The end for the code under test. `T` is what it connects to; the mock does
/// not look at it.
pub struct MockConnect<T: ?Sized> {
    opened: mpsc::UnboundedSender<MockOpening>,
    connects: Arc<AtomicU64>,
    target: PhantomData<fn(&T)>,
}

/// The end for the test.
#[derive(Debug)]
pub struct MockUpstream {
    openings: mpsc::UnboundedReceiver<MockOpening>,
    connects: Arc<AtomicU64>,
}

/// A link that somebody wants to open.
#[derive(Debug)]
pub struct MockOpening {
    verdict: oneshot::Sender<Result<(MockLink, MockFeed), CallError>>,
}

/// The upstream's end of one link. Dropping it breaks the calls under way.
#[derive(Debug)]
pub struct MockPeer {
    heard: mpsc::UnboundedReceiver<Heard>,
    feed: mpsc::UnboundedSender<Result<Message, EndReason>>,
    passed_over: VecDeque<Heard>,
    marks: Arc<Marks>,
}

/// What an upstream hears on a link.
#[derive(Debug)]
pub enum Heard {
    /// A call, to be answered.
    Call(MockCall),
    /// A notification.
    Notification(Notification),
    /// The answer to a request of the upstream's.
    Response(Response),
    /// The session's end.
    Goodbye,
}

/// A call, as the upstream has it. Dropping it unanswered breaks the call.
#[derive(Debug)]
pub struct MockCall {
    /// What is asked.
    pub request: Request,
    reply: mpsc::UnboundedSender<Result<Message, CallError>>,
}

/// A link of the mock.
#[derive(Debug)]
pub struct MockLink {
    heard: mpsc::UnboundedSender<Heard>,
    marks: Arc<Marks>,
}

/// What a mock link says unasked.
#[derive(Debug)]
pub struct MockFeed(mpsc::UnboundedReceiver<Result<Message, EndReason>>);

/// A call on a mock link.
#[derive(Debug)]
pub struct MockExchange {
    unsent: Option<(Request, mpsc::UnboundedSender<Heard>)>,
    ended: Option<EndReason>,
    replies: Option<mpsc::UnboundedReceiver<Result<Message, CallError>>>,
}

#[derive(Debug, Default)]
struct Marks {
    is_listened_to: AtomicBool,
    is_sessionless: AtomicBool,
    agreed: Mutex<Option<Revision>>,
    ended: OnceLock<EndReason>,
}

// === impl MockConnect ===

impl<T: ?Sized + 'static> Connect for MockConnect<T> {
    type Target = T;
    type Link = MockLink;
    type Feed = MockFeed;

    fn connect(
        &self,
        _: &T,
    ) -> impl Future<Output = Result<(MockLink, MockFeed), CallError>> + Send {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let (verdict, decided) = oneshot::channel();
        let _ = self.opened.unbounded_send(MockOpening { verdict });
        async move { decided.await.unwrap_or_else(|_| Err(unreachable_mock())) }
    }
}

impl<T: ?Sized> fmt::Debug for MockConnect<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockConnect")
    }
}

// === impl MockUpstream ===

impl MockUpstream {
    /// Waits until somebody wants to open a link. `None` once nobody can.
    pub async fn opening(&mut self) -> Option<MockOpening> {
        next(&mut self.openings).await
    }

    /// Accepts the next link and plays the handshake: answers `initialize`
    /// with `capabilities` as given and takes `notifications/initialized`.
    ///
    /// # Panics
    ///
    /// Where the code under test does not shake hands.
    pub async fn accept(&mut self) -> MockPeer {
        let mut peer = self.opening().await.expect("somebody connects").accept();
        peer.shake_hands().await;
        peer
    }

    /// How often somebody has begun to connect.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }
}

// === impl MockOpening ===

impl MockOpening {
    /// Opens the link.
    #[must_use]
    pub fn accept(self) -> MockPeer {
        let (hear, heard) = mpsc::unbounded();
        let (feed, fed) = mpsc::unbounded();
        let marks = Arc::new(Marks::default());
        let link = MockLink { heard: hear, marks: Arc::clone(&marks) };
        // Whoever wanted the link may have given up: then the peer sees it
        // closed, as a real one would.
        let _ = self.verdict.send(Ok((link, MockFeed(fed))));
        MockPeer { heard, feed, passed_over: VecDeque::new(), marks }
    }

    /// Refuses it.
    pub fn refuse(self) {
        let _ = self.verdict.send(Err(unreachable_mock()));
    }

    /// Whether whoever wanted the link has given up.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.verdict.is_canceled()
    }
}

// === impl MockPeer ===

impl MockPeer {
    /// Plays the server's part of the handshake.
    ///
    /// # Panics
    ///
    /// Where the other side does not play its own.
    pub async fn shake_hands(&mut self) {
        let hello = self.call().await;
        assert_eq!(hello.request.method(), crate::method::INITIALIZE);
        hello.answer(
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"mock","version":"1"}}"#,
        );
        let Some(Heard::Notification(done)) = self.hear().await else {
            panic!("`initialized` follows the answer to `initialize`")
        };
        assert_eq!(done.method(), crate::method::INITIALIZED);
    }

    /// Waits for the next thing said on the link. `None` once it is dropped.
    pub async fn hear(&mut self) -> Option<Heard> {
        if let Some(heard) = self.passed_over.pop_front() {
            return Some(heard);
        }
        next(&mut self.heard).await
    }

    /// What has been said on the link and not been heard yet.
    #[must_use]
    pub fn heard_so_far(&mut self) -> Vec<Heard> {
        let mut heard: Vec<_> = self.passed_over.drain(..).collect();
        while let Ok(more) = self.heard.try_recv() {
            heard.push(more);
        }
        heard
    }

    /// Waits for the next call, keeping what is not one for
    /// [`MockPeer::hear`].
    ///
    /// # Panics
    ///
    /// Where the link is dropped first.
    pub async fn call(&mut self) -> MockCall {
        loop {
            match next(&mut self.heard).await.expect("a call comes before the link is dropped") {
                Heard::Call(call) => return call,
                other => self.passed_over.push_back(other),
            }
        }
    }

    /// Says something unasked.
    pub fn say(&self, message: impl Into<Message>) {
        let _ = self.feed.unbounded_send(Ok(message.into()));
    }

    /// Ends the link: the feed says why, and later calls are not sent. Calls
    /// under way do not hear of it from here.
    pub fn end(&self, reason: EndReason) {
        let _ = self.marks.ended.set(reason.clone());
        let _ = self.feed.unbounded_send(Err(reason));
    }

    /// Makes the link one without a session.
    pub fn keep_no_session(&self) {
        self.marks.is_sessionless.store(true, Ordering::Relaxed);
    }

    /// Whether somebody listens to what is said unasked.
    #[must_use]
    pub fn is_listened_to(&self) -> bool {
        self.marks.is_listened_to.load(Ordering::Relaxed)
    }

    /// The revision that was agreed on.
    #[must_use]
    pub fn agreed(&self) -> Option<Revision> {
        *self.marks.agreed.lock().expect("no one panics while holding it")
    }
}

// === impl MockCall ===

impl MockCall {
    /// Says something in relation to the call.
    pub fn say(&self, message: impl Into<Message>) {
        let _ = self.reply.unbounded_send(Ok(message.into()));
    }

    /// Answers with a result.
    ///
    /// # Panics
    ///
    /// Where `result` is not JSON.
    pub fn answer(self, result: &str) {
        let result = Json::parse(result.to_owned()).expect("the result is JSON");
        self.say(Response::success(self.request.id(), &result));
    }

    /// Fails the call.
    pub fn fail(self, error: CallError) {
        let _ = self.reply.unbounded_send(Err(error));
    }

    /// Whether the caller has given up.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

// === impl MockLink ===

impl MockLink {
    fn tell(&self, heard: Heard) -> Result<(), CallError> {
        self.heard.unbounded_send(heard).map_err(|_| broken(CallError::not_sent))
    }
}

impl Link for MockLink {
    type Exchange = MockExchange;

    fn call(&self, request: Request) -> MockExchange {
        MockExchange {
            unsent: Some((request, self.heard.clone())),
            ended: self.end_reason(),
            replies: None,
        }
    }

    fn notify(
        &self,
        notification: Notification,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        std::future::ready(self.tell(Heard::Notification(notification)))
    }

    fn respond(&self, response: Response) -> impl Future<Output = Result<(), CallError>> + Send {
        std::future::ready(self.tell(Heard::Response(response)))
    }

    fn agree(&self, revision: Revision) {
        *self.marks.agreed.lock().expect("no one panics while holding it") = Some(revision);
    }

    fn listen(&self) {
        self.marks.is_listened_to.store(true, Ordering::Relaxed);
    }

    fn end_reason(&self) -> Option<EndReason> {
        self.marks.ended.get().cloned()
    }

    fn has_session(&self) -> bool {
        !self.marks.is_sessionless.load(Ordering::Relaxed)
    }

    fn goodbye(&self) -> impl Future<Output = ()> + Send {
        let _ = self.tell(Heard::Goodbye);
        std::future::ready(())
    }
}

// === impl MockExchange ===

impl Exchange for MockExchange {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        if let Some((request, upstream)) = self.unsent.take() {
            if let Some(reason) = self.ended.take() {
                return Poll::Ready(Err(CallError::not_sent(Fault::Ended(reason))));
            }
            let (reply, replies) = mpsc::unbounded();
            if upstream.unbounded_send(Heard::Call(MockCall { request, reply })).is_err() {
                return Poll::Ready(Err(broken(CallError::not_sent)));
            }
            self.replies = Some(replies);
        }
        let replies = self.replies.as_mut().expect("made at the first poll");
        let reply = ready!(Pin::new(replies).poll_next(cx));
        Poll::Ready(reply.unwrap_or_else(|| Err(broken(CallError::may_have_run))))
    }
}

// === impl MockFeed ===

impl Feed for MockFeed {
    type End = EndReason;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, EndReason>> {
        let heard = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(heard.unwrap_or(Err(EndReason::StreamEnded)))
    }
}

fn unreachable_mock() -> CallError {
    CallError::not_sent(Fault::Unreachable { source: "the mock refuses".into() })
}

fn broken(fate: fn(Fault) -> CallError) -> CallError {
    fate(Fault::Broken { source: "the mock hung up".into() })
}

async fn next<T>(stream: &mut mpsc::UnboundedReceiver<T>) -> Option<T> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
