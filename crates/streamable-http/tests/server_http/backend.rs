//! A backend that does what the test says, and tells it what it hears.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::Id,
};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Request, Response, Revision, code,
    server::{Backend, Caller, Opening, Refusal},
    transport::{Exchange, Feed},
};

/// Answers `echo` with its parameters, panics at `panic`, and leaves every
/// other call to the test.
pub(crate) struct Scripted {
    heard: mpsc::UnboundedSender<Heard>,
    sessions: AtomicUsize,
    pub is_open_to_anonymous: bool,
    /// `initialize` is never answered.
    pub is_stuck: bool,
    /// An `initialize` with the header `x-gated` waits here.
    pub gate: Arc<Semaphore>,
}

/// What the backend hears. The numbers are those of sessions, in the order in
/// which they were opened; 0 is the anonymous one's.
#[derive(Debug)]
pub(crate) enum Heard {
    Opened(Arc<Kept>),
    /// An `initialize` has come to the gate.
    Waits,
    Call(Call),
    Notified(usize, Notification),
    Responded(usize, Response),
    Listened,
    Panicked,
    Closed(usize),
}

/// A session, as the backend keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub number: usize,
    feed: mpsc::UnboundedSender<Result<Message, Refusal>>,
    fed: Mutex<Option<mpsc::UnboundedReceiver<Result<Message, Refusal>>>>,
}

/// A call that waits for the test.
#[derive(Debug)]
pub(crate) struct Call {
    pub request: Request,
    reply: mpsc::UnboundedSender<Result<Message, Refusal>>,
    poller: watch::Receiver<Option<Id>>,
}

pub(crate) struct Played {
    unsent: Option<(mpsc::UnboundedSender<Heard>, Call)>,
    replies: mpsc::UnboundedReceiver<Result<Message, Refusal>>,
    echo: Option<Response>,
    is_to_panic: bool,
    poller: watch::Sender<Option<Id>>,
}

pub(crate) struct Fed(mpsc::UnboundedReceiver<Result<Message, Refusal>>);

// === impl Scripted ===

impl Scripted {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (heard, hears) = mpsc::unbounded_channel();
        let backend = Self {
            heard,
            sessions: AtomicUsize::new(0),
            is_open_to_anonymous: false,
            is_stuck: false,
            gate: Arc::new(Semaphore::new(0)),
        };
        (backend, hears)
    }

    fn tell(&self, heard: Heard) {
        let _ = self.heard.send(heard);
    }
}

impl Backend for Scripted {
    type Session = Kept;
    type Exchange = Played;
    type Feed = Fed;

    async fn open(&self, hello: Request, caller: Caller<'_>) -> Opening<Kept> {
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        if caller.headers.contains_key("x-gated") {
            self.tell(Heard::Waits);
            self.gate.acquire().await.expect("the gate stays").forget();
        }
        let Some(requested) = hello.requested_revision() else {
            let error = ErrorObject::new(code::INVALID_PARAMS, "which revision?");
            return Opening::refused(Response::failure(Some(hello.id()), &error));
        };
        let revision = Revision::negotiate(&requested);
        let result = json(&format!(
            r#"{{"protocolVersion":"{revision}","capabilities":{{}},"serverInfo":{{"name":"scripted","version":"1"}}}}"#
        ));
        let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Kept::new(number));
        self.tell(Heard::Opened(Arc::clone(&session)));
        Opening { response: Response::success(hello.id(), &result), session: Some(session) }
    }

    fn call(&self, _: &Arc<Kept>, request: Request, _: Caller<'_>) -> Played {
        let (reply, replies) = mpsc::unbounded_channel();
        let (poller, polled) = watch::channel(None);
        let echo = (request.method() == "echo").then(|| {
            let result = request.params().cloned().unwrap_or_else(Json::empty_object);
            Response::success(request.id(), &result)
        });
        Played {
            is_to_panic: request.method() == "panic",
            unsent: Some((self.heard.clone(), Call { request, reply, poller: polled })),
            replies,
            echo,
            poller,
        }
    }

    async fn notify(&self, session: &Arc<Kept>, notification: Notification) {
        // Not at the first poll, so that the client can go away meanwhile.
        tokio::task::yield_now().await;
        self.tell(Heard::Notified(session.number, notification));
    }

    async fn respond(&self, session: &Arc<Kept>, response: Response) {
        self.tell(Heard::Responded(session.number, response));
    }

    fn listen(&self, session: &Arc<Kept>) -> Fed {
        self.tell(Heard::Listened);
        let fed = session.fed.lock().expect("no test panics holding it").take();
        Fed(fed.expect("a session is listened to once"))
    }

    async fn close(&self, session: &Arc<Kept>) {
        self.tell(Heard::Closed(session.number));
    }

    fn anonymous(&self) -> Option<Arc<Kept>> {
        self.is_open_to_anonymous.then(|| Arc::new(Kept::new(0)))
    }
}

// === impl Kept ===

impl Kept {
    fn new(number: usize) -> Self {
        let (feed, fed) = mpsc::unbounded_channel();
        Self { number, feed, fed: Mutex::new(Some(fed)) }
    }

    /// Says something unasked.
    pub(crate) fn say(&self, message: impl Into<Message>) {
        let _ = self.feed.send(Ok(message.into()));
    }

    /// Ends the feed.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let _ = self.feed.send(Err(refusal));
    }
}

// === impl Call ===

impl Call {
    /// Says something in relation to the call.
    pub(crate) fn say(&self, message: impl Into<Message>) {
        let _ = self.reply.send(Ok(message.into()));
    }

    /// Answers with a result.
    pub(crate) fn answer(&self, result: &str) {
        self.say(Response::success(self.request.id(), &json(result)));
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        let _ = self.reply.send(Err(refusal));
    }

    /// Whether the server has dropped the call.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Waits until the server has dropped the call.
    pub(crate) async fn abandoned(&self) {
        self.reply.closed().await;
    }

    /// Waits until another task polls the call than has before.
    pub(crate) async fn moved(&mut self) {
        self.poller.borrow_and_update();
        let _ = self.poller.changed().await;
    }
}

// === impl Played ===

impl Exchange for Played {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        if self.is_to_panic
            && let Some((heard, _)) = &self.unsent
        {
            let _ = heard.send(Heard::Panicked);
            panic!("told to");
        }
        let task = tokio::task::try_id();
        self.poller.send_if_modified(|poller| std::mem::replace(poller, task) != task);
        if let Some(echo) = self.echo.take() {
            return Poll::Ready(Ok(echo.into()));
        }
        if let Some((heard, call)) = self.unsent.take() {
            let _ = heard.send(Heard::Call(call));
        }
        match ready!(self.replies.poll_recv(cx)) {
            Some(said) => Poll::Ready(said),
            // The test has forgotten the call: nothing will come.
            None => Poll::Pending,
        }
    }
}

// === impl Fed ===

impl Feed for Fed {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(said) => Poll::Ready(said),
            None => Poll::Pending,
        }
    }
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).expect("the test's JSON is valid")
}

/// A notification with a number, to be told from others.
pub(crate) fn note(number: usize) -> Notification {
    Notification::new("notes/one", Some(&json(&format!(r#"{{"number":{number}}}"#))))
}
