//! Clients: a raw one, and a driver for the feed of a link.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use tokio::{sync::mpsc, task::JoinSet};
use wharf_http::{Answer, EventReader, HttpClient, collect};
use wharf_proto::{
    Message, Response,
    transport::{EndReason, Feed},
};
use wharf_sse::SseFeed;

use super::{hello, http, within};

/// A client that knows HTTP and nothing of this crate.
pub struct RawClient {
    pub http: HttpClient,
    address: SocketAddr,
}

/// A stream as a raw client reads it.
pub struct RawStream {
    pub headers: HeaderMap,
    /// What the first event said.
    pub endpoint: String,
    pub events: EventReader,
}

/// Polls a feed and keeps what it says.
pub struct Driven {
    said: mpsc::UnboundedReceiver<Result<Message, EndReason>>,
    _tasks: JoinSet<()>,
}

impl RawClient {
    pub fn new(address: SocketAddr) -> Self {
        Self { http: http(), address }
    }

    pub fn get(&self, path: &str) -> http::request::Builder {
        Request::get(format!("http://{}{path}", self.address))
            .header(header::ACCEPT, "text/event-stream")
    }

    pub fn to(&self, path: &str) -> http::request::Builder {
        Request::post(format!("http://{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
    }

    pub async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> http::Response<Answer> {
        let request = request.body(body.into()).expect("a request");
        within(self.http.send(request)).await.expect("an answer")
    }

    pub async fn status(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> StatusCode {
        self.send(request, body).await.status()
    }

    pub async fn open(&self) -> RawStream {
        let response = self.send(self.get("/sse"), "").await;
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        let mut events = EventReader::new(body, 64 * 1024 * 1024);
        let first = within(events.next_event()).await.expect("a clean stream");
        let first = first.expect("an event");
        assert_eq!(first.event_type(), "endpoint");
        RawStream {
            headers: head.headers,
            endpoint: String::from_utf8(first.data.to_vec()).expect("UTF-8"),
            events,
        }
    }

    /// Opens a stream and shakes hands on it.
    pub async fn initialize(&self) -> RawStream {
        let mut stream = self.open().await;
        self.post(&stream, hello().text().clone()).await;
        assert!(stream.response().await.result().is_some());
        stream
    }

    /// Sends a message, which must be taken.
    pub async fn post(&self, stream: &RawStream, body: impl Into<Bytes>) {
        let response = self.send(self.to(&stream.endpoint), body).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let body = within(collect(response.into_body(), 1024)).await;
        assert_eq!(body.expect("a body"), "Accepted");
    }
}

impl RawStream {
    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        let event = within(self.events.next_event()).await.expect("a clean stream")?;
        assert_eq!(event.event_type(), "message");
        Some(Message::parse(event.data).expect("a message"))
    }

    pub async fn response(&mut self) -> Response {
        match self.next().await {
            Some(Message::Response(response)) => response,
            other => panic!("a response, not {other:?}"),
        }
    }
}

impl Driven {
    pub fn new(mut feed: SseFeed) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let message = feed.next().await;
                let is_over = message.is_err();
                let _ = say.send(message);
                if is_over {
                    return;
                }
            }
        });
        Self { said, _tasks: tasks }
    }

    pub async fn next(&mut self) -> Result<Message, EndReason> {
        within(self.said.recv()).await.expect("not over")
    }

    pub async fn end(&mut self) -> EndReason {
        match self.next().await {
            Ok(message) => panic!("an end, not {message:?}"),
            Err(reason) => reason,
        }
    }

    pub fn is_silent(&mut self) -> bool {
        self.said.try_recv().is_err()
    }
}
