//! An upstream that does what the test says, request by request.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use hyper::body::Incoming;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use wharf_http::{Body, collect, empty_response};
use wharf_proto::{
    Message,
    sse::{self, Event, Line},
};

use super::{serve, within};

pub struct Upstream {
    pub address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    tasks: JoinSet<()>,
}

/// A request that waits for the test to answer it.
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub peer: SocketAddr,
    reply: oneshot::Sender<Response<Body>>,
}

/// The upstream's end of an event stream. Dropping it ends the stream.
pub struct Events(mpsc::UnboundedSender<Bytes>);

struct Channel(mpsc::UnboundedReceiver<Bytes>);

impl Upstream {
    pub async fn start() -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let handle = move |request: Request<Incoming>, peer: Option<SocketAddr>| {
            let ask = ask.clone();
            async move {
                let (head, body) = request.into_parts();
                let Ok(body) = collect(body, usize::MAX).await else {
                    return empty_response(StatusCode::BAD_REQUEST);
                };
                let (reply, replied) = oneshot::channel();
                let asked = Asked {
                    method: head.method,
                    path: head.uri.to_string(),
                    headers: head.headers,
                    body,
                    peer: peer.expect("a TCP connection"),
                    reply,
                };
                let _ = ask.send(asked);
                let dropped = |_| empty_response(StatusCode::INTERNAL_SERVER_ERROR);
                replied.await.unwrap_or_else(dropped)
            }
        };
        let address = serve(&mut tasks, handle).await;
        Self { address, asked, tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}/sse?key=s3cr3t", self.address)
    }

    pub async fn asked(&mut self) -> Asked {
        within(self.asked.recv()).await.expect("the server runs")
    }

    /// Takes the GET and announces an endpoint.
    pub async fn announce(&mut self, endpoint: &str) -> Events {
        let events = self.asked().await.stream();
        events.event("endpoint", endpoint);
        events
    }

    /// Breaks every connection.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Asked {
    pub fn accept(self) {
        self.status(StatusCode::ACCEPTED);
    }

    pub fn status(self, status: StatusCode) {
        let mut response = Response::new(Body::full("Accepted"));
        *response.status_mut() = status;
        self.reply(response);
    }

    pub fn reply(self, response: Response<Body>) {
        // The client may have gone away.
        let _ = self.reply.send(response);
    }

    pub fn stream(self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut response = Response::new(Body::stream(Channel(receiver)));
        let mime = "text/event-stream; charset=utf-8".parse().expect("a value");
        response.headers_mut().insert(header::CONTENT_TYPE, mime);
        self.reply(response);
        Events(sender)
    }

    pub fn message(&self) -> Message {
        Message::parse(self.body.clone()).expect("a message")
    }

    pub fn id(&self) -> u64 {
        let Message::Request(request) = self.message() else { panic!("a request") };
        request.id().as_u64().expect("a number")
    }
}

impl Events {
    pub fn event(&self, name: &str, data: &str) {
        let event = Event {
            name: Some(Line::new(name.to_owned()).expect("one line")),
            data: Bytes::copy_from_slice(data.as_bytes()),
            ..Event::default()
        };
        let mut bytes = BytesMut::new();
        sse::encode(&event, &mut bytes);
        self.raw(bytes.freeze());
    }

    pub fn message(&self, text: &str) {
        self.event("message", text);
    }

    pub fn answer(&self, id: u64) {
        self.message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"to":{id}}}}}"#));
    }

    pub fn raw(&self, bytes: impl Into<Bytes>) {
        let _ = self.0.send(bytes.into());
    }

    /// Waits until the client has closed the stream.
    pub async fn closed(&self) {
        within(self.0.closed()).await;
    }
}

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
