//! A scripted upstream: takes one request per connection and answers what the
//! test says.

use std::{collections::HashMap, future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wharf_http::{Endpoint, HttpClient, Target};
use wharf_proto::{
    Json, Message, Request, RequestId, Response, Revision, method,
    transport::{CallError, Exchange as _, Link as _},
};
use wharf_streamable_http::client::{ClientSettings, HttpFeed, HttpLink, open};

/// A credential that must not show up anywhere.
pub(crate) const SECRET: &str = "s3cr3t";
/// The session id that the upstream gives.
pub(crate) const SESSION: &str = "upstream-session-1";

pub(crate) struct Upstream {
    listener: TcpListener,
    address: SocketAddr,
}

/// A request, and the connection it came on.
pub(crate) struct Asked {
    pub(crate) method: String,
    headers: HashMap<String, String>,
    pub(crate) body: String,
    stream: TcpStream,
}

/// An answer that is an event stream. Dropping it ends the stream in order.
pub(crate) struct Events(TcpStream);

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        Self { listener, address }
    }

    pub(crate) fn target(&self) -> Target {
        let url = format!("http://{}/mcp?key={SECRET}", self.address);
        let mut target = Target::new(Endpoint::parse(&url).expect("is a URL"));
        let credential = format!("Bearer {SECRET}").parse().expect("fits a header");
        target.headers.insert("authorization", credential);
        target
    }

    /// A link that has not shaken hands.
    pub(crate) fn link(&self) -> (HttpLink, HttpFeed) {
        self.link_with(quick())
    }

    pub(crate) fn link_with(&self, settings: ClientSettings) -> (HttpLink, HttpFeed) {
        open(http(), self.target(), settings)
    }

    /// A link whose upstream has given a session, at the latest revision.
    pub(crate) async fn session(&self) -> (HttpLink, HttpFeed) {
        self.session_with(quick()).await
    }

    pub(crate) async fn session_with(&self, settings: ClientSettings) -> (HttpLink, HttpFeed) {
        let (link, feed) = self.link_with(settings);
        self.shake_hands(&link, Some(SESSION), Revision::LATEST).await;
        (link, feed)
    }

    pub(crate) async fn shake_hands(
        &self,
        link: &HttpLink,
        session: Option<&str>,
        revision: Revision,
    ) {
        let script = async {
            let asked = self.asked().await;
            let session = session.map(|id| format!("mcp-session-id: {id}\r\n"));
            let answer = asked.response("{}");
            let session = session.unwrap_or_default();
            asked.answer(200, "application/json", &session, &answer).await;
        };
        let mut exchange = link.call(request(0, method::INITIALIZE));
        let (answer, ()) = tokio::join!(exchange.answer(), script);
        answer.expect("the handshake is answered");
        link.agree(revision);
    }

    /// The next request.
    pub(crate) async fn asked(&self) -> Asked {
        let accepted = soon(self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection");
        Asked::read(stream).await.expect("a request")
    }

    /// Waits for a request that must not come.
    pub(crate) async fn is_left_alone(&self) {
        let quiet = tokio::time::timeout(Duration::from_millis(60), self.listener.accept());
        assert!(quiet.await.is_err(), "nothing is to be asked");
    }

    /// Makes a call that the upstream answers by a script.
    pub(crate) async fn called<F: Future<Output = ()>>(
        &self,
        link: &HttpLink,
        script: impl FnOnce(Asked) -> F,
    ) -> Result<Response, CallError> {
        let mut exchange = link.call(request(1, "tools/call"));
        let script = async { script(self.asked().await).await };
        let (answer, ()) = soon(async { tokio::join!(exchange.answer(), script) }).await;
        answer
    }
}

impl Asked {
    /// Reads a request; `None` where the connection closes first.
    pub(crate) async fn read(mut stream: TcpStream) -> Option<Self> {
        stream.set_nodelay(true).expect("is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).expect("a head is text");
        let (line, headers) = head.split_once("\r\n").expect("a head has lines");
        let headers: HashMap<_, _> = headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        assert!(line.contains(&format!(" /mcp?key={SECRET} ")), "{line}");
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().expect("a length is a number"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let asked = Self {
            method: line.split(' ').next().expect("has a method").to_owned(),
            headers,
            body: String::from_utf8(body).expect("a body is text"),
            stream,
        };
        assert_eq!(asked.header("authorization"), Some("Bearer s3cr3t"));
        Some(asked)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn id(&self) -> RequestId {
        match Message::parse(self.body.clone()).expect("is a message") {
            Message::Request(request) => request.id().clone(),
            other => panic!("{other:?} is no request"),
        }
    }

    /// The text of the answer to this request.
    pub(crate) fn response(&self, result: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id().to_json())
    }

    pub(crate) async fn answer(mut self, status: u16, kind: &str, headers: &str, body: &str) {
        let kind =
            if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let answer = format!(
            "HTTP/1.1 {status} Whatever\r\nconnection: close\r\ncontent-length: {}\r\n{kind}{headers}\r\n{body}",
            body.len()
        );
        // The client may have seen enough and hung up.
        let _ = self.stream.write_all(answer.as_bytes()).await;
    }

    pub(crate) async fn json(self, body: &str) {
        self.answer(200, "application/json", "", body).await;
    }

    pub(crate) async fn status(self, status: u16) {
        self.answer(status, "", "", "").await;
    }

    /// Begins an event stream.
    pub(crate) async fn events(mut self) -> Events {
        let head =
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.expect("writes");
        Events(self.stream)
    }

    /// The connection, to do with as the test likes.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("is open");
    }
}

impl Events {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("writes");
    }

    pub(crate) async fn message(&mut self, json: &str) {
        self.say(&format!("event: message\ndata: {json}\n\n")).await;
    }

    pub(crate) fn reset(self) {
        self.0.set_zero_linger().expect("is open");
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(mut self) {
        let read = soon(self.0.read(&mut [0])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the client says nothing");
    }
}

pub(crate) fn http() -> HttpClient {
    HttpClient::new(&wharf_http::ClientSettings::default())
}

/// Settings under which tests need not wait.
pub(crate) fn quick() -> ClientSettings {
    let mut settings = ClientSettings::default();
    settings.max_message = 4096;
    settings.reopen_after = Duration::from_millis(5);
    settings.reopen_at_most = Duration::from_millis(20);
    settings
}

pub(crate) fn request(id: u64, method: &str) -> Request {
    Request::new(&RequestId::from(id), method, Some(&Json::empty_object()))
}

/// Fails a test that would hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(Duration::from_secs(10), future);
    in_time.await.expect("does not hang")
}

/// What `future` gives, while whatever `aside` waits for goes on.
pub(crate) async fn beside<T>(future: impl Future<Output = T>, aside: impl Future) -> T {
    tokio::select! {
        value = soon(future) => value,
        _ = aside => panic!("that was to go on"),
    }
}
