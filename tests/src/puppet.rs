//! An upstream that says what the test tells it to, when the test tells it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use wharf_gateway::Transport;
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Request, RequestId, Response, Revision, method,
    server::{Backend, Caller, Opening, Refusal},
    transport::{Exchange, Feed},
};
use wharf_testkit::{Strict, Upstream, UpstreamSettings};

use crate::{soon, upstream};

/// The server: it hands everything it gets to its [`Strings`].
#[derive(Debug)]
pub struct Puppet {
    capabilities: &'static str,
    sessions: UnboundedSender<Arc<PuppetSession>>,
    calls: UnboundedSender<Cue>,
    heard: UnboundedSender<Notification>,
    answers: UnboundedSender<Response>,
    is_deaf: Arc<AtomicBool>,
}

/// What a test holds of a [`Puppet`].
#[derive(Debug)]
pub struct Strings {
    sessions: UnboundedReceiver<Arc<PuppetSession>>,
    calls: UnboundedReceiver<Cue>,
    heard: UnboundedReceiver<Notification>,
    answers: UnboundedReceiver<Response>,
    is_deaf: Arc<AtomicBool>,
}

/// A client's session with a puppet.
pub struct PuppetSession {
    hello: Request,
    headers: HeaderMap,
    mouth: UnboundedSender<Message>,
    ear: Mutex<Option<UnboundedReceiver<Message>>>,
}

/// A call to be answered by the test. Dropped without an answer, the call ends
/// without one.
#[derive(Debug)]
pub struct Cue {
    /// What was asked.
    pub request: Request,
    /// The HTTP headers it came with.
    pub headers: HeaderMap,
    mouth: UnboundedSender<Message>,
}

/// A call under way, or the unasked.
#[derive(Debug)]
pub struct Lines(Option<UnboundedReceiver<Message>>);

// === impl Puppet ===

impl Puppet {
    /// Starts a puppet that offers tools.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn start(settings: UpstreamSettings) -> (Upstream<Self>, Strings) {
        Self::offering(r#"{"tools":{"listChanged":true}}"#, settings).await
    }

    /// Starts a puppet, to be called `p` and reached by that transport.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn reached_by(
        transport: Transport,
    ) -> (Upstream<Self>, Strings, wharf_gateway::UpstreamSettings) {
        let (puppet, strings) = Self::start(UpstreamSettings::default()).await;
        let url = if transport == Transport::Sse { puppet.sse_url() } else { puppet.url() };
        let mut settings = upstream("p", &url);
        settings.transport = transport;
        (puppet, strings, settings)
    }

    /// Starts a puppet with these capabilities that speaks one revision and
    /// takes nothing that it does not have.
    ///
    /// # Panics
    ///
    /// Where there is no port.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn strict(
        revision: Revision,
        capabilities: &'static str,
        settings: UpstreamSettings,
    ) -> (Upstream<Strict<Self>>, Strings) {
        let (puppet, strings) = Self::new(capabilities);
        (Upstream::start(Strict::new(puppet, revision), settings).await.unwrap(), strings)
    }

    /// Starts a puppet with these capabilities.
    ///
    /// # Panics
    ///
    /// Where there is no port.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn offering(
        capabilities: &'static str,
        settings: UpstreamSettings,
    ) -> (Upstream<Self>, Strings) {
        let (puppet, strings) = Self::new(capabilities);
        (Upstream::start(puppet, settings).await.unwrap(), strings)
    }

    fn new(capabilities: &'static str) -> (Self, Strings) {
        let (sessions, seen) = mpsc::unbounded_channel();
        let (calls, called) = mpsc::unbounded_channel();
        let (heard, hears) = mpsc::unbounded_channel();
        let (answers, answered) = mpsc::unbounded_channel();
        let is_deaf = Arc::<AtomicBool>::default();
        let puppet =
            Self { capabilities, sessions, calls, heard, answers, is_deaf: Arc::clone(&is_deaf) };
        let (sessions, calls, heard, answers) = (seen, called, hears, answered);
        let strings = Strings { sessions, calls, heard, answers, is_deaf };
        (puppet, strings)
    }
}

impl Backend for Puppet {
    type Session = PuppetSession;
    type Exchange = Lines;
    type Feed = Lines;

    async fn open(&self, hello: Request, caller: Caller<'_>) -> Opening<PuppetSession> {
        let revision = hello.requested_revision().unwrap();
        let result = Json::parse(format!(
            r#"{{"serverInfo":{{"version":"1","name":"puppet"}},  "capabilities":{},"protocolVersion":"{revision}","x-unknown":184467440737095516160}}"#,
            self.capabilities,
        ));
        let response = Response::success(hello.id(), &result.unwrap());
        let (mouth, ear) = mpsc::unbounded_channel();
        let headers = caller.headers.clone();
        let session = PuppetSession { hello, headers, mouth, ear: Mutex::new(Some(ear)) };
        let session = Arc::new(session);
        let _ = self.sessions.send(Arc::clone(&session));
        Opening { response, session: Some(session) }
    }

    fn call(&self, _: &Arc<PuppetSession>, request: Request, caller: Caller<'_>) -> Lines {
        let (mouth, lines) = mpsc::unbounded_channel();
        let _ = self.calls.send(Cue { request, headers: caller.headers.clone(), mouth });
        Lines(Some(lines))
    }

    async fn notify(&self, _: &Arc<PuppetSession>, notification: Notification) {
        let _ = self.heard.send(notification);
    }

    async fn respond(&self, _: &Arc<PuppetSession>, response: Response) {
        let _ = self.answers.send(response);
        if self.is_deaf.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    fn listen(&self, session: &Arc<PuppetSession>) -> Lines {
        Lines(session.ear.lock().expect("nothing panics while holding it").take())
    }

    async fn close(&self, _: &Arc<PuppetSession>) {}
}

// === impl Strings ===

impl Strings {
    /// The next session that is opened.
    ///
    /// # Panics
    ///
    /// Where none is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, as all of these are.
    pub async fn session(&mut self) -> Arc<PuppetSession> {
        soon("a session is opened", self.sessions.recv()).await.expect("the puppet lives")
    }

    /// The next call.
    ///
    /// # Panics
    ///
    /// Where none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn call(&mut self) -> Cue {
        soon("a call comes", self.calls.recv()).await.expect("the puppet lives")
    }

    /// The next call, which must be of that method, answered with that result
    /// (a JSON text).
    ///
    /// # Panics
    ///
    /// Where none comes, or one of another method.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn serve(&mut self, method: &str, result: &str) -> Request {
        let cue = self.call().await;
        assert_eq!(cue.request.method(), method);
        let request = cue.request.clone();
        cue.answer(result);
        request
    }

    /// The next session that declares those capabilities (a JSON text), and
    /// so is not Wharf's own.
    ///
    /// # Panics
    ///
    /// Where none is opened.
    ///
    /// # Cancel safety
    ///
    /// Sessions that declare others are lost.
    pub async fn session_declaring(&mut self, capabilities: &str) -> Arc<PuppetSession> {
        loop {
            let session = self.session().await;
            let declared = session.hello().param("capabilities");
            if declared.as_ref().map(Json::as_str) == Some(capabilities) {
                return session;
            }
        }
    }

    /// From now on the puppet never lets go of an answer to what it has asked.
    pub fn turn_deaf(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    /// Whether there is a call that was not asked for yet.
    pub fn has_call(&mut self) -> bool {
        !self.calls.is_empty()
    }

    /// The next notification of that method.
    ///
    /// # Panics
    ///
    /// Where none comes.
    ///
    /// # Cancel safety
    ///
    /// Those of other methods are lost.
    pub async fn heard(&mut self, method: &str) -> Notification {
        soon(&format!("{method} is heard"), async {
            loop {
                let heard = self.heard.recv().await.expect("the puppet lives");
                if heard.method() == method {
                    return heard;
                }
            }
        })
        .await
    }

    /// The next notification, whatever it is but for `initialized`.
    ///
    /// # Panics
    ///
    /// Where none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn heard_next(&mut self) -> Notification {
        loop {
            let heard = soon("a notification is heard", self.heard.recv()).await;
            let heard = heard.expect("the puppet lives");
            if heard.method() != method::INITIALIZED {
                return heard;
            }
        }
    }

    /// Whether a notification of that method was heard that nobody has asked
    /// for. Those that were heard before it are lost.
    pub fn has_heard(&mut self, method: &str) -> bool {
        std::iter::from_fn(|| self.heard.try_recv().ok()).any(|heard| heard.method() == method)
    }

    /// The next answer to what the puppet has asked.
    ///
    /// # Panics
    ///
    /// Where none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn answer(&mut self) -> Response {
        soon("an answer comes", self.answers.recv()).await.expect("the puppet lives")
    }
}

// === impl PuppetSession ===

impl PuppetSession {
    /// What the client said to open it.
    #[must_use]
    pub const fn hello(&self) -> &Request {
        &self.hello
    }

    /// The HTTP headers it was opened with.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Says something unasked.
    pub fn say(&self, message: impl Into<Message>) {
        let _ = self.mouth.send(message.into());
    }
}

impl fmt::Debug for PuppetSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PuppetSession")
    }
}

// === impl Cue ===

impl Cue {
    /// Says something in relation to the call.
    pub fn say(&self, message: impl Into<Message>) {
        let _ = self.mouth.send(message.into());
    }

    /// Says how far the call has got, under its own token.
    ///
    /// # Panics
    ///
    /// Where the call has no token.
    pub fn progress(&self, progress: &str) {
        let (token, _) = self.request.progress_token().expect("the caller wants progress");
        let params = format!(r#"{{"progressToken":{},"progress":{progress}}}"#, token.to_json());
        self.say(Notification::new("notifications/progress", Some(&Json::parse(params).unwrap())));
    }

    /// Asks the client something in the course of the call.
    ///
    /// # Panics
    ///
    /// Where `params` is no JSON.
    pub fn ask(&self, id: impl Into<RequestId>, method: &str, params: &str) {
        let params = Json::parse(params.to_owned()).unwrap();
        self.say(Request::new(&id.into(), method, Some(&params)));
    }

    /// Answers with that result (a JSON text).
    ///
    /// # Panics
    ///
    /// Where it is no JSON.
    pub fn answer(self, result: &str) {
        let result = Json::parse(result.to_owned()).unwrap();
        self.say(Response::success(self.request.id(), &result));
    }

    /// Answers with an error.
    pub fn fail(self, error: &ErrorObject) {
        self.say(Response::failure(Some(self.request.id()), error));
    }

    /// Waits until nobody waits for the answer any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn given_up(&self) {
        soon("the call is given up", self.mouth.closed()).await;
    }
}

// === impl Lines ===

impl Exchange for Lines {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        let Some(lines) = &mut self.0 else { return Poll::Pending };
        Poll::Ready(ready!(lines.poll_recv(cx)).ok_or(Refusal::Cancelled))
    }
}

impl Feed for Lines {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        let Some(lines) = &mut self.0 else { return Poll::Pending };
        Poll::Ready(ready!(lines.poll_recv(cx)).ok_or(Refusal::SessionEnded))
    }
}
