//! The paths at which clients come in.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use wharf_http::{Body, Guard, json_response};
use wharf_proto::server::Backend;
use wharf_streamable_http::server as streamable_http;

use crate::{aggregate::Aggregate, direct::Direct, fleet::Fleet};

/// All endpoints of a gateway, by path.
pub(crate) struct Doors {
    everything: Arc<Aggregate>,
    aggregate: Door<Aggregate>,
    /// In the order of the upstreams.
    direct: Vec<Door<Direct>>,
    fleet: Arc<Fleet>,
}

/// One endpoint, over both transports.
struct Door<B: Backend> {
    http: streamable_http::Server<B>,
    sse: wharf_sse::Server<B>,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrance {
    Http,
    SseStream,
    SseMessages,
}

// === impl Doors ===

impl Doors {
    pub(crate) fn new(fleet: &Arc<Fleet>, guard: &Guard) -> Self {
        let everything = Arc::new(Aggregate::new(Arc::clone(fleet)));
        let direct = fleet.upstreams.all().iter().map(|upstream| {
            let backend = Direct::new(Arc::clone(fleet), Arc::clone(upstream));
            let prefix = format!("/servers/{}", upstream.id());
            Door::new(Arc::new(backend), fleet, guard, &prefix)
        });
        Self {
            aggregate: Door::new(Arc::clone(&everything), fleet, guard, ""),
            everything,
            direct: direct.collect(),
            fleet: Arc::clone(fleet),
        }
    }

    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<Body> {
        let path = request.uri().path();
        if let Some(entrance) = Entrance::of(path) {
            return self.aggregate.handle(entrance, request, peer).await;
        }
        let Some((id, rest)) = path.strip_prefix("/servers/").and_then(|path| {
            let slash = path.find('/')?;
            Some(path.split_at(slash))
        }) else {
            return no_such_path();
        };
        match (self.fleet.upstreams.find(id), Entrance::of(rest)) {
            (Some(upstream), Some(entrance)) => {
                self.direct[upstream.index].handle(entrance, request, peer).await
            }
            (None, Some(_)) => no_such_server(),
            (_, None) => no_such_path(),
        }
    }

    /// Sessions of clients: on `/mcp`, and with each upstream of its own.
    pub(crate) fn sessions(&self) -> (usize, Vec<usize>) {
        (self.aggregate.sessions(), self.direct.iter().map(Door::sessions).collect())
    }

    /// Ends the streams on which nobody waits for an answer.
    pub(crate) fn drain(&self) {
        self.aggregate.drain();
        self.direct.iter().for_each(Door::drain);
    }

    /// Ends all sessions of clients.
    pub(crate) async fn shutdown(&self) {
        self.aggregate.shutdown().await;
        for door in &self.direct {
            door.shutdown().await;
        }
        self.everything.stop().await;
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("sessions", &self.sessions()).finish()
    }
}

// === impl Door ===

impl<B: Backend> Door<B> {
    fn new(backend: Arc<B>, fleet: &Fleet, guard: &Guard, prefix: &str) -> Self {
        let settings = &fleet.settings;
        let mut http = streamable_http::ServerSettings::new(guard.clone());
        http.max_body = settings.max_message;
        http.keep_alive = settings.keep_alive;
        http.idle_session = settings.idle_session;
        http.max_sessions = settings.clients;
        let messages = format!("{prefix}/messages");
        let mut sse = wharf_sse::ServerSettings::new(guard.clone(), messages);
        sse.max_body = settings.max_message;
        sse.keep_alive = settings.keep_alive;
        sse.max_sessions = settings.clients;
        Self {
            http: streamable_http::Server::new(Arc::clone(&backend), http),
            sse: wharf_sse::Server::new(backend, sse),
        }
    }

    async fn handle(
        &self,
        entrance: Entrance,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<Body> {
        match entrance {
            Entrance::Http => self.http.handle(request, peer).await,
            // Boxed, so that the others need not make room for them.
            Entrance::SseStream => Box::pin(self.sse.open(request, peer)).await,
            Entrance::SseMessages => Box::pin(self.sse.post(request, peer)).await,
        }
    }

    fn drain(&self) {
        self.http.end_streams();
        self.sse.drain();
    }

    fn sessions(&self) -> usize {
        self.http.sessions() + self.sse.sessions()
    }

    async fn shutdown(&self) {
        self.http.shutdown().await;
        self.sse.shutdown().await;
    }
}

// === impl Entrance ===

impl Entrance {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/mcp" => Some(Self::Http),
            "/sse" => Some(Self::SseStream),
            "/messages" => Some(Self::SseMessages),
            _ => None,
        }
    }
}

fn no_such_path() -> Response<Body> {
    let body = r#"{"error":"no such path; MCP is served at /mcp and /sse, and per server at /servers/{id}/mcp and /servers/{id}/sse"}"#;
    json_response(StatusCode::NOT_FOUND, body)
}

fn no_such_server() -> Response<Body> {
    json_response(StatusCode::NOT_FOUND, r#"{"error":"no server of this id is configured"}"#)
}
