//! A client that shows what is on the wire: one connection a request, bodies
//! as they are.

use std::{collections::VecDeque, fmt, future::poll_fn};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};
use wharf_http::EventReader;
use wharf_proto::{Revision, header::SESSION_ID, sse::Event};

use crate::soon;

/// The largest event that is read.
const LIMIT: usize = 16 * 1024 * 1024;

/// A session over streamable HTTP, in the client's own words.
#[derive(Debug)]
pub struct Wire {
    url: String,
    revision: Revision,
    session: Option<HeaderValue>,
    greeting: Value,
}

/// The answer to a request. Dropping it closes the connection.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    body: Content,
    _connection: JoinSet<()>,
}

enum Content {
    Plain(Incoming),
    Events(Box<EventReader<Incoming>>),
    Over(VecDeque<Bytes>),
}

/// Sends a request on a connection of its own.
///
/// # Panics
///
/// Where there is no answer.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let uri: http::Uri = url.parse().unwrap();
    let authority = uri.authority().unwrap().as_str();
    let mut request = Request::builder().method(method).uri(uri.path_and_query().unwrap().as_str());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, authority);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    soon("the request is answered", async {
        let stream = TcpStream::connect(authority).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut connection = JoinSet::new();
        connection.spawn(async move { drop(driver.await) });
        let response = sender.send_request(request).await.unwrap();
        Reply::new(response, connection)
    })
    .await
}

// === impl Wire ===

impl Wire {
    /// Opens a session that declares `capabilities` (a JSON object).
    ///
    /// # Panics
    ///
    /// Where it is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session.
    pub async fn connect(url: &str, capabilities: &str) -> Self {
        Self::connect_by(Revision::V2025_06_18, url, capabilities).await
    }

    /// The same by another revision than 2025-06-18.
    ///
    /// # Panics
    ///
    /// As [`Wire::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`Wire::connect`].
    pub async fn connect_by(revision: Revision, url: &str, capabilities: &str) -> Self {
        let (session, greeting) = (None, Value::Null);
        let mut wire = Self { url: url.to_owned(), revision, session, greeting };
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{{"name":"wire","version":"1"}}}}}}"#
        );
        let mut reply = wire.post(hello).await;
        assert_eq!(reply.status, StatusCode::OK);
        wire.session = reply.headers.get(SESSION_ID).cloned();
        wire.greeting = reply.value().await;
        assert!(wire.greeting["result"].is_object(), "{}", wire.greeting);
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(wire.post(initialized).await.status, StatusCode::ACCEPTED);
        wire
    }

    /// The answer to `initialize`.
    #[must_use]
    pub const fn greeting(&self) -> &Value {
        &self.greeting
    }

    /// The session's id.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn session(&self) -> &str {
        self.session.as_ref().expect("a session is kept").to_str().unwrap()
    }

    /// Posts a body; returns when the head of the answer is there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is a disconnect.
    pub async fn post(&self, body: impl Into<Bytes>) -> Reply {
        let json = ("content-type", "application/json");
        self.send("POST", &[json, ("accept", "application/json, text/event-stream")], body).await
    }

    /// Posts a request and waits for its answer; what is said before it is
    /// passed over.
    ///
    /// # Panics
    ///
    /// Where none comes.
    ///
    /// # Cancel safety
    ///
    /// As [`Wire::post`].
    pub async fn ask(&self, method: &str, params: &str) -> Value {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":"asked","method":"{method}","params":{params}}}"#);
        let mut reply = self.post(body).await;
        loop {
            let message = reply.value().await;
            if message["id"] == "asked" && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Posts a notification.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    ///
    /// # Cancel safety
    ///
    /// As [`Wire::post`].
    pub async fn tell(&self, method: &str, params: &str) {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        assert_eq!(self.post(body).await.status, StatusCode::ACCEPTED);
    }

    /// Opens the listening stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is a disconnect.
    pub async fn listen(&self) -> Reply {
        self.send("GET", &[("accept", "text/event-stream")], "").await
    }

    /// Ends the session.
    ///
    /// # Cancel safety
    ///
    /// The session may or may not have ended.
    pub async fn delete(&self) -> StatusCode {
        self.send("DELETE", &[], "").await.status
    }

    async fn send(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let mut headers = headers.to_vec();
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id", session.to_str().unwrap()));
            headers.push(("mcp-protocol-version", self.revision.as_str()));
        }
        request(method, &self.url, &headers, body).await
    }
}

// === impl Reply ===

impl Reply {
    fn new(response: http::Response<Incoming>, connection: JoinSet<()>) -> Self {
        let (head, body) = response.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let body = if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            Content::Events(Box::new(EventReader::new(body, LIMIT)))
        } else {
            Content::Plain(body)
        };
        Self { status: head.status, headers: head.headers, body, _connection: connection }
    }

    /// Whether it is an event stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Content::Events(_))
    }

    /// The next message, as it was written: an event's data, or the body.
    /// `None` at the end, also where the connection breaks.
    ///
    /// # Panics
    ///
    /// Where nothing comes for too long.
    ///
    /// # Cancel safety
    ///
    /// An event stream loses nothing.
    pub async fn next(&mut self) -> Option<Bytes> {
        soon("a message comes", self.poll_next()).await
    }

    /// The next event of a stream as it is, also one without data. `None` at
    /// the end, also where the connection breaks.
    ///
    /// # Panics
    ///
    /// Where it is no event stream, or nothing comes for too long.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn event(&mut self) -> Option<Event> {
        let Content::Events(events) = &mut self.body else {
            panic!("{} is no stream", self.status)
        };
        soon("an event comes", events.next_event()).await.ok()?
    }

    async fn poll_next(&mut self) -> Option<Bytes> {
        loop {
            match &mut self.body {
                Content::Events(events) => {
                    let event = poll_fn(|cx| events.poll_event(cx)).await.ok()??;
                    if !event.data.is_empty() {
                        return Some(event.data);
                    }
                }
                Content::Plain(body) => {
                    let whole = body.collect().await.ok()?.to_bytes();
                    self.body =
                        Content::Over((!whole.is_empty()).then_some(whole).into_iter().collect());
                }
                Content::Over(rest) => return rest.pop_front(),
            }
        }
    }

    /// The next message as a value.
    ///
    /// # Panics
    ///
    /// Where there is none, or it is not JSON.
    ///
    /// # Cancel safety
    ///
    /// As [`Reply::next`].
    pub async fn value(&mut self) -> Value {
        let message = self.next().await.expect("there is another message");
        serde_json::from_slice(&message)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&message)))
    }

    /// The whole body of an answer that is no stream.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost.
    pub async fn whole(mut self) -> Bytes {
        self.next().await.unwrap_or_default()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {:?})", self.status, self.headers)
    }
}
