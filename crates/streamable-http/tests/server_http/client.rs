//! A server on a loopback port, the backend behind it, and a client before it.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use wharf_http::{
    AcceptSettings, Answer, Body, ClientSettings, EventReader, Guard, HttpClient, collect, serve,
};
use wharf_proto::{Json, Notification, sse::Event};
use wharf_streamable_http::server::{Server, ServerSettings};

use crate::backend::{Call, Heard, Kept, Scripted};

pub(crate) const BOTH: &str = "application/json, text/event-stream";
const LIMIT: usize = 1 << 26;

/// Everything a test needs. The server's connections end with it.
pub(crate) struct Stage {
    pub server: Server<Scripted>,
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
    http: HttpClient,
    _serving: JoinSet<()>,
}

/// A request in the making.
pub(crate) struct Ask(http::request::Builder, Bytes);

/// An answer that may not be there yet. Dropping it closes the connection.
pub(crate) struct Reply {
    task: JoinSet<Response<Answer>>,
    events: Option<EventReader>,
}

/// A response that has been read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

pub(crate) fn settings() -> ServerSettings {
    ServerSettings::new(Guard::for_listener(([127, 0, 0, 1], 0).into()))
}

// === impl Stage ===

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(settings(), |_| {}).await
    }

    pub(crate) async fn with(settings: ServerSettings, change: impl FnOnce(&mut Scripted)) -> Self {
        let (mut backend, heard) = Scripted::new();
        change(&mut backend);
        let server = Server::new(Arc::new(backend), settings);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut serving = JoinSet::new();
        let handle = {
            let server = server.clone();
            move |request, peer| {
                let server = server.clone();
                async move { server.handle(request, peer).await }
            }
        };
        serving.spawn(serve(listener, handle, AcceptSettings::default(), std::future::pending()));
        Self {
            server,
            address,
            heard,
            http: HttpClient::new(&ClientSettings::default()),
            _serving: serving,
        }
    }

    /// Sends a request; the answer can be waited for later.
    pub(crate) fn begin(&self, ask: Ask) -> Reply {
        let Ask(builder, body) = ask;
        let uri = format!("http://{}/mcp", self.address);
        let request = builder.uri(uri).body(body).expect("the test asks well");
        let sending = self.http.send(request);
        let mut task = JoinSet::new();
        task.spawn(async move { sending.await.expect("the server answers") });
        Reply { task, events: None }
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Got {
        self.begin(ask).got().await
    }

    /// Opens a session of the latest revision.
    pub(crate) async fn open(&mut self) -> (String, Arc<Kept>) {
        self.open_as("2025-11-25").await
    }

    pub(crate) async fn open_as(&mut self, revision: &str) -> (String, Arc<Kept>) {
        let got = self.ask(hello(revision)).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        let id = got.session().expect("the session has an id");
        match self.hear().await {
            Heard::Opened(session) => (id, session),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.expect("the backend is there")
    }

    pub(crate) async fn call(&mut self) -> Call {
        match self.hear().await {
            Heard::Call(call) => call,
            other => panic!("not a call: {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> usize {
        match self.hear().await {
            Heard::Closed(number) => number,
            other => panic!("not a close: {other:?}"),
        }
    }

    pub(crate) async fn notified(&mut self) -> (usize, Notification) {
        match self.hear().await {
            Heard::Notified(number, notification) => (number, notification),
            other => panic!("not a notification: {other:?}"),
        }
    }

    pub(crate) async fn listened(&mut self) {
        match self.hear().await {
            Heard::Listened => {}
            other => panic!("nobody listens: {other:?}"),
        }
    }

    /// Whether the backend has heard nothing more so far.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.heard.is_empty()
    }

    /// Writes bytes and reads what comes until the server closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        // The server may close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("the answer is text")
    }

    /// Asks the server by hand, without a connection.
    pub(crate) async fn ask_direct(&self, ask: Ask) -> Response<Body> {
        self.server.handle(ask.direct(), None).await
    }
}

// === impl Ask ===

impl Ask {
    pub(crate) fn new(method: Method) -> Self {
        Self(Request::builder().method(method), Bytes::new())
    }

    pub(crate) fn with(self, name: &'static str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1)
    }

    /// Without the header.
    pub(crate) fn without(mut self, name: header::HeaderName) -> Self {
        if let Some(headers) = self.0.headers_mut() {
            headers.remove(name);
        }
        self
    }

    pub(crate) fn accepting(self, mime: &str) -> Self {
        self.without(header::ACCEPT).with("accept", mime)
    }

    pub(crate) fn of(self, session: &str) -> Self {
        self.with("mcp-session-id", session)
    }

    /// For a server that is asked by hand.
    pub(crate) fn direct(self) -> Request<Full<Bytes>> {
        self.0.header("host", "localhost").body(Full::new(self.1)).expect("the test asks well")
    }
}

pub(crate) fn post(body: impl Into<String>) -> Ask {
    let ask = Ask(Request::builder().method(Method::POST), Bytes::from(body.into()));
    ask.with("content-type", "application/json").with("accept", BOTH)
}

pub(crate) fn get() -> Ask {
    Ask::new(Method::GET).with("accept", "text/event-stream")
}

pub(crate) fn delete() -> Ask {
    Ask::new(Method::DELETE)
}

/// `initialize`, asking for a revision.
pub(crate) fn hello(revision: &str) -> Ask {
    post(format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"test","version":"1"}}}}}}"#
    ))
}

/// A call that the test answers.
pub(crate) fn call(id: usize) -> Ask {
    post(request(id, "work"))
}

pub(crate) fn request(id: usize, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"of":{id}}}}}"#)
}

// === impl Reply ===

impl Reply {
    async fn head(&mut self) -> Response<Answer> {
        let sent = self.task.join_next().await.expect("the head comes once");
        sent.expect("sending does not panic")
    }

    /// Reads the answer whole.
    pub(crate) async fn got(mut self) -> Got {
        let (head, body) = self.head().await.into_parts();
        Got {
            status: head.status,
            headers: head.headers,
            body: collect(body, LIMIT).await.expect("the body ends well"),
        }
    }

    /// The head of an event stream.
    pub(crate) async fn streams(&mut self) {
        let response = self.head().await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache, no-transform");
        assert_eq!(headers["x-accel-buffering"], "no");
        self.events = Some(EventReader::new(response.into_body(), LIMIT));
    }

    /// The data of the next event that has any; `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let event = self.event().await?;
            if !event.data.is_empty() {
                return Some(data(&event));
            }
        }
    }

    /// The next event as it is.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        if self.events.is_none() {
            self.streams().await;
        }
        let events = self.events.as_mut().expect("it is a stream");
        let event = events.next_event().await.expect("the stream is whole")?;
        assert_eq!(event.event_type(), "message");
        Some(event)
    }
}

// === impl Got ===

impl Got {
    pub(crate) fn session(&self) -> Option<String> {
        let id = self.headers.get("mcp-session-id")?;
        Some(id.to_str().expect("is ASCII").to_owned())
    }

    pub(crate) fn json(&self) -> Json {
        Json::parse(self.body.clone()).expect("the body is JSON")
    }

    /// The JSON-RPC error of the body: its code and its id as JSON text.
    pub(crate) fn error(&self) -> (i64, Option<String>) {
        let json = self.json();
        let code = json.path(&["error", "code"]).expect("the body is an error");
        let id = json.field("id").map(|id| id.to_string());
        (code.read().expect("is a number"), id)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

pub(crate) fn data(event: &Event) -> String {
    String::from_utf8(event.data.to_vec()).expect("is UTF-8")
}

/// The next frame of a body that was asked for by hand, but for that which a
/// stream begins with.
pub(crate) async fn frame(body: &mut Body) -> Option<String> {
    loop {
        let frame = body.frame().await?.expect("cannot fail");
        let data = frame.into_data().expect("there are no trailers");
        let text = String::from_utf8(data.to_vec()).expect("is UTF-8");
        if !text.ends_with("data: \n\n") {
            return Some(text);
        }
    }
}
