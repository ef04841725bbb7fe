//! A client to test with.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use serde::Serialize;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use wharf_http::{Endpoint, HttpClient, Target};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Outcome, Request, RequestId, Response, Revision,
    code, method,
    transport::{CallError, EndReason, Exchange, Feed, Link},
};

mod answer;
mod error;
mod hello;
mod link;

pub use answer::ToolAnswer;
pub use error::{ConnectError, ToolCallError};
pub use hello::Hello;

use link::{AnyExchange, AnyLink};

/// An MCP client with one session, over either transport.
///
/// It answers what a server asks with as little as it can: `ping` with `{}`,
/// anything else with "unknown method". Dropping it goes away without a word;
/// [`TestClient::close`] says goodbye.
pub struct TestClient {
    link: Arc<AnyLink>,
    next_id: AtomicU64,
    greeting: Json,
    agreed: Revision,
    heard: Mutex<mpsc::UnboundedReceiver<Message>>,
    end: watch::Receiver<Option<EndReason>>,
    /// Reads what comes unasked, for as long as the client lives.
    reader: JoinSet<()>,
}

/// A call under way: what is said in relation to it, then its answer.
#[derive(Debug)]
#[must_use = "a call does nothing unless polled"]
pub struct Asked {
    id: RequestId,
    exchange: AnyExchange,
}

#[derive(Serialize)]
struct ToolCall<'a, T: ?Sized> {
    name: &'a str,
    arguments: &'a T,
}

// === impl TestClient ===

impl TestClient {
    /// Opens a session over streamable HTTP, by the latest revision.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] where the server cannot be reached or refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session at the server.
    pub async fn connect_http(url: &str) -> Result<Self, ConnectError> {
        Self::connect_http_as(url, &Hello::default()).await
    }

    /// Opens a session over streamable HTTP.
    ///
    /// # Errors
    ///
    /// As [`TestClient::connect_http`].
    ///
    /// # Cancel safety
    ///
    /// As [`TestClient::connect_http`].
    pub async fn connect_http_as(url: &str, hello: &Hello) -> Result<Self, ConnectError> {
        let (http, target) = dial(url, hello)?;
        let settings = wharf_streamable_http::client::ClientSettings::default();
        let (link, feed) = wharf_streamable_http::client::open(http, target, settings);
        Self::shake_hands(AnyLink::Http(link), feed, hello).await
    }

    /// Opens a session over HTTP+SSE, by the latest revision.
    ///
    /// # Errors
    ///
    /// As [`TestClient::connect_http`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the session.
    pub async fn connect_sse(url: &str) -> Result<Self, ConnectError> {
        Self::connect_sse_as(url, &Hello::default()).await
    }

    /// Opens a session over HTTP+SSE.
    ///
    /// # Errors
    ///
    /// As [`TestClient::connect_http`].
    ///
    /// # Cancel safety
    ///
    /// As [`TestClient::connect_sse`].
    pub async fn connect_sse_as(url: &str, hello: &Hello) -> Result<Self, ConnectError> {
        let (http, target) = dial(url, hello)?;
        let (link, feed) = wharf_sse::open(http, target, wharf_sse::ClientSettings::default())
            .await
            .map_err(|source| ConnectError::Unanswered { source })?;
        Self::shake_hands(AnyLink::Sse(link), feed, hello).await
    }

    async fn shake_hands<F>(link: AnyLink, feed: F, hello: &Hello) -> Result<Self, ConnectError>
    where
        F: Feed<End = EndReason>,
    {
        let link = Arc::new(link);
        let (hear, heard) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        let mut reader = JoinSet::new();
        // Before the first call: over HTTP+SSE its answer comes by the feed.
        reader.spawn(read(feed, Arc::clone(&link), hear, ended));

        let request = Request::new(&0.into(), method::INITIALIZE, Some(&hello.to_params()));
        let mut exchange = link.call(request);
        let response = exchange.answer().await;
        let response = response.map_err(|source| ConnectError::Unanswered { source })?;
        let agreed = response.agreed_revision();
        let greeting = match response.outcome() {
            Outcome::Result(result) => result.clone(),
            Outcome::Error(error) => return Err(ConnectError::refused(error)),
        };
        let agreed = agreed.ok_or(ConnectError::NoRevision)?;
        link.agree(agreed);
        let initialized = Notification::new(method::INITIALIZED, None);
        let sent = link.notify(initialized).await;
        sent.map_err(|source| ConnectError::Unanswered { source })?;
        Ok(Self {
            link,
            next_id: AtomicU64::new(1),
            greeting,
            agreed,
            heard: Mutex::new(heard),
            end,
            reader,
        })
    }

    /// The server's answer to `initialize`.
    #[must_use]
    pub const fn greeting(&self) -> &Json {
        &self.greeting
    }

    /// The revision that was agreed on.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.agreed
    }

    /// Whether the server keeps a session for this client.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.link.has_session()
    }

    /// Makes a call and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`CallError`] where there is none.
    ///
    /// # Panics
    ///
    /// Where `params` cannot be JSON.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up and does not tell the server.
    pub async fn call<T>(&self, method: &str, params: &T) -> Result<Response, CallError>
    where
        T: Serialize + Sync + ?Sized,
    {
        let mut exchange = self.exchange(method, params);
        loop {
            match exchange.next().await? {
                Message::Response(response) => return Ok(response),
                Message::Request(request) => self.link.respond(refusal(&request)).await?,
                Message::Notification(_) => {}
            }
        }
    }

    /// Calls a tool and waits for what it answers.
    ///
    /// # Errors
    ///
    /// [`ToolCallError`] where there is no answer, or a JSON-RPC error. A
    /// tool that fails gives an answer that says so.
    ///
    /// # Panics
    ///
    /// Where `arguments` cannot be JSON.
    ///
    /// # Cancel safety
    ///
    /// As [`TestClient::call`].
    pub async fn call_tool<T>(&self, name: &str, arguments: &T) -> Result<ToolAnswer, ToolCallError>
    where
        T: Serialize + Sync + ?Sized,
    {
        let call = ToolCall { name, arguments };
        let response = self.call(method::TOOLS_CALL, &call).await;
        let response = response.map_err(|source| ToolCallError::Unanswered { source })?;
        match response.outcome() {
            Outcome::Result(result) => Ok(ToolAnswer::new(result.clone())),
            Outcome::Error(error) => Err(ToolCallError::refused(error)),
        }
    }

    /// Makes a call of which the caller hears everything. What the server
    /// asks in it is the caller's to answer, by [`TestClient::respond`].
    ///
    /// # Panics
    ///
    /// Where `params` cannot be JSON.
    pub fn exchange<T: Serialize + ?Sized>(&self, method: &str, params: &T) -> Asked {
        let id = RequestId::from(self.next_id.fetch_add(1, Ordering::Relaxed));
        let params = Json::from_value(params).expect("parameters can be written as JSON");
        let params = (params.as_str() != "null").then_some(&params);
        let exchange = self.link.call(Request::new(&id, method, params));
        Asked { id, exchange }
    }

    /// Sends a notification.
    ///
    /// # Errors
    ///
    /// [`CallError`] where the server did not take it.
    ///
    /// # Cancel safety
    ///
    /// The notification may or may not be sent when the future is dropped.
    pub async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        self.link.notify(notification).await
    }

    /// Cancels a call of [`TestClient::exchange`].
    ///
    /// # Errors
    ///
    /// As [`TestClient::notify`].
    ///
    /// # Cancel safety
    ///
    /// As [`TestClient::notify`].
    pub async fn cancel(&self, id: &RequestId) -> Result<(), CallError> {
        self.notify(Notification::cancelled(id, "the client has seen enough")).await
    }

    /// Answers a request of the server's.
    ///
    /// # Errors
    ///
    /// As [`TestClient::notify`].
    ///
    /// # Cancel safety
    ///
    /// As [`TestClient::notify`].
    pub async fn respond(&self, response: Response) -> Result<(), CallError> {
        self.link.respond(response).await
    }

    /// Begins to listen for what the server says unasked: streamable HTTP
    /// needs a stream for it, HTTP+SSE has one.
    pub fn listen(&self) {
        self.link.listen();
    }

    /// Waits for the next message that came unasked. `None` once the session
    /// has ended and all is heard.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn hear(&self) -> Option<Message> {
        self.heard.lock().await.recv().await
    }

    /// Why the session has ended, where it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.link.end_reason()
    }

    /// Waits until the session ends.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn ended(&self) -> EndReason {
        let mut end = self.end.clone();
        let reason = end.wait_for(Option::is_some).await;
        // The reader, which owns the other half, never ends without a reason.
        reason.map_or(EndReason::Closed, |reason| reason.clone().unwrap_or(EndReason::Closed))
    }

    /// Ends the session and tells the server so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the session here, told or not.
    pub async fn close(mut self) {
        self.link.goodbye().await;
        self.reader.shutdown().await;
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("revision", &self.agreed)
            .field("end", &self.end_reason())
            .finish_non_exhaustive()
    }
}

fn dial(url: &str, hello: &Hello) -> Result<(HttpClient, Target), ConnectError> {
    let endpoint = Endpoint::parse(url).map_err(|source| ConnectError::BadUrl { source })?;
    let mut target = Target::new(endpoint);
    target.headers = hello.headers.clone();
    Ok((HttpClient::new(&wharf_http::ClientSettings::default()), target))
}

/// Reads a feed to its end: answers pings, keeps the rest for who hears.
async fn read<F: Feed<End = EndReason>>(
    mut feed: F,
    link: Arc<AnyLink>,
    hear: mpsc::UnboundedSender<Message>,
    ended: watch::Sender<Option<EndReason>>,
) {
    loop {
        match feed.next().await {
            Ok(Message::Request(ping)) if ping.method() == method::PING => {
                // Where the answer does not get through, the feed ends too.
                let _ = link.respond(refusal(&ping)).await;
            }
            Ok(message) => drop(hear.send(message)),
            Err(reason) => {
                ended.send_replace(Some(reason));
                return;
            }
        }
    }
}

/// The answer of a client that can do nothing.
fn refusal(request: &Request) -> Response {
    if request.method() == method::PING {
        return Response::success(request.id(), &Json::empty_object());
    }
    let error = ErrorObject::new(code::METHOD_NOT_FOUND, "the test client cannot do that");
    Response::failure(Some(request.id()), &error)
}

// === impl Asked ===

impl Asked {
    /// The id it was made under, for [`TestClient::cancel`].
    #[must_use]
    pub const fn id(&self) -> &RequestId {
        &self.id
    }
}

impl Exchange for Asked {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        self.exchange.poll_next(cx)
    }
}
