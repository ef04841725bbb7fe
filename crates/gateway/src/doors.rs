//! The paths at which clients come in.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use futures_util::{FutureExt as _, StreamExt as _, future::ready, stream::FuturesUnordered};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use wharf_http::{Body, Guard, Handle, json_response};
use wharf_proto::server::Backend;
use wharf_streamable_http::server as streamable_http;

use crate::{aggregate::Aggregate, direct::Direct, fleet::Fleet, upstream::Upstream};

/// All endpoints of a gateway, by path.
pub(crate) struct Doors {
    everything: Arc<Aggregate>,
    aggregate: Door<Aggregate>,
    /// By the numbers of the upstreams. Made when somebody comes.
    direct: RwLock<BTreeMap<usize, Arc<Direction>>>,
    guard: Guard,
    fleet: Arc<Fleet>,
}

/// Shows the requests of a connection to their doors.
#[derive(Clone)]
pub(crate) struct Porter(Arc<Doors>);

/// The endpoint of one upstream.
struct Direction {
    upstream: Arc<Upstream>,
    door: Door<Direct>,
}

/// One endpoint, over both transports.
struct Door<B: Backend> {
    http: streamable_http::Server<B>,
    sse: wharf_sse::Server<B>,
}

/// Where a request goes.
enum Way {
    ToAll(Entrance),
    ToOne(Arc<Direction>, Entrance),
    Nowhere(fn() -> Response<Body>),
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
        Self {
            aggregate: Door::new(Arc::clone(&everything), fleet, guard, ""),
            everything,
            direct: RwLock::default(),
            guard: guard.clone(),
            fleet: Arc::clone(fleet),
        }
    }

    /// Answers one request.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        match self.way(request.uri().path()) {
            Way::ToAll(entrance) => self.aggregate.handle(entrance, request, peer).left_future(),
            Way::ToOne(direction, entrance) => {
                direction.door.handle(entrance, request, peer).left_future().right_future()
            }
            Way::Nowhere(answer) => ready(answer()).right_future().right_future(),
        }
    }

    /// Where a path leads.
    fn way(&self, path: &str) -> Way {
        if let Some(entrance) = Entrance::of(path) {
            return Way::ToAll(entrance);
        }
        let Some((id, rest)) = path.strip_prefix("/servers/").and_then(|path| {
            let slash = path.find('/')?;
            Some(path.split_at(slash))
        }) else {
            return Way::Nowhere(no_such_path);
        };
        match (self.fleet.upstreams.find(id), Entrance::of(rest)) {
            (Some(upstream), Some(entrance)) => Way::ToOne(self.direct(&upstream), entrance),
            (None, Some(_)) => Way::Nowhere(no_such_server),
            (_, None) => Way::Nowhere(no_such_path),
        }
    }

    /// Sessions of clients: on `/mcp`, and with each upstream of its own.
    pub(crate) fn sessions(&self) -> (usize, Vec<(Arc<Upstream>, usize)>) {
        let directions = self.direct.read().expect("nothing panics while holding it");
        let roster = self.fleet.upstreams.roster();
        let direct = roster.all().iter().map(|upstream| {
            let direction = directions.get(&upstream.number);
            (Arc::clone(upstream), direction.map_or(0, |direction| direction.door.sessions()))
        });
        (self.aggregate.sessions(), direct.collect())
    }

    /// Closes the doors to upstreams that go, for as long as it is polled:
    /// nobody comes in any more, and who is in goes when the calls are over.
    pub(crate) async fn see_off(&self) {
        let mut roster = self.fleet.upstreams.follow();
        let mut closing = FuturesUnordered::new();
        let mut closed = HashSet::new();
        loop {
            let current = Arc::clone(&roster.borrow_and_update());
            for direction in self.directions() {
                let number = direction.upstream.number;
                if current.numbered(number).is_none() && closed.insert(number) {
                    closing.push(self.close(direction));
                }
            }
            tokio::select! {
                changed = roster.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(number) = closing.next() => {
                    closed.remove(&number);
                }
            }
        }
    }

    async fn close(&self, direction: Arc<Direction>) -> usize {
        direction.door.drain();
        direction.upstream.left().await;
        direction.door.shutdown().await;
        let number = direction.upstream.number;
        self.direct.write().expect("nothing panics while holding it").remove(&number);
        number
    }

    /// The door to an upstream.
    fn direct(&self, upstream: &Arc<Upstream>) -> Arc<Direction> {
        let known = {
            let directions = self.direct.read().expect("nothing panics while holding it");
            directions.get(&upstream.number).map(Arc::clone)
        };
        known.unwrap_or_else(|| {
            let mut directions = self.direct.write().expect("nothing panics while holding it");
            let direction = directions.entry(upstream.number);
            Arc::clone(direction.or_insert_with(|| Arc::new(self.direction(upstream))))
        })
    }

    fn direction(&self, upstream: &Arc<Upstream>) -> Direction {
        let backend = Direct::new(Arc::clone(&self.fleet), Arc::clone(upstream));
        let prefix = format!("/servers/{}", upstream.id());
        let door = Door::new(Arc::new(backend), &self.fleet, &self.guard, &prefix);
        Direction { upstream: Arc::clone(upstream), door }
    }

    fn directions(&self) -> Vec<Arc<Direction>> {
        let directions = self.direct.read().expect("nothing panics while holding it");
        directions.values().map(Arc::clone).collect()
    }

    /// Ends the streams on which nobody waits for an answer.
    pub(crate) fn drain(&self) {
        self.aggregate.drain();
        self.directions().iter().for_each(|direction| direction.door.drain());
    }

    /// Ends all sessions of clients.
    pub(crate) async fn shutdown(&self) {
        self.aggregate.shutdown().await;
        for direction in self.directions() {
            direction.door.shutdown().await;
        }
        self.everything.stop().await;
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("sessions", &self.sessions()).finish()
    }
}

// === impl Porter ===

impl Porter {
    pub(crate) fn of(doors: &Arc<Doors>) -> Self {
        Self(Arc::clone(doors))
    }
}

impl Handle for Porter {
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        self.0.handle(request, peer)
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

    fn handle(
        &self,
        entrance: Entrance,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<B> {
        let sse = || self.sse.clone();
        match entrance {
            Entrance::Http => self.http.handle(request, peer).left_future(),
            // Boxed, so that the others need not make room for them.
            Entrance::SseStream => {
                let sse = sse();
                async move { sse.open(request, peer).await }.boxed().right_future()
            }
            Entrance::SseMessages => {
                let sse = sse();
                async move { sse.post(request, peer).await }.boxed().right_future()
            }
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
