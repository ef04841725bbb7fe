//! One listener, both transports: `/mcp`, and `/sse` with `/messages`.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpSocket};
use wharf_http::{AcceptSettings, Body, Guard, Handle, empty_response, media_type};
use wharf_proto::{header::EVENT_STREAM, server::Backend};
use wharf_streamable_http::server::{Answers, Sessions};

use crate::{hesitant::Hesitant, recorder::Tally};

/// Where streamable HTTP is served.
pub(crate) const MCP: &str = "/mcp";
/// Where HTTP+SSE is served.
pub(crate) const SSE: &str = "/sse";
const MESSAGES: &str = "/messages";

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long requests under way may take to end once the server is to stop, and
/// sessions to close after that.
const GRACE: Duration = Duration::from_secs(5);

/// What a server is reached by, and how it answers.
#[derive(Debug, Clone, Copy)]
pub struct SiteSettings {
    /// The transports it speaks.
    pub transport: Transport,
    /// In which form it answers calls over streamable HTTP.
    pub answers: Answers,
    /// Whether it keeps sessions over streamable HTTP.
    pub sessions: Sessions,
    /// Whether it leaves Nagle's algorithm on, and writes the head of an event
    /// stream apart from the first event, as many servers do.
    pub nagle: bool,
    /// How many sessions it keeps over each transport; the one that has been
    /// idle for the longest makes room over streamable HTTP. Default: 10,000.
    pub max_sessions: usize,
}

/// The transports that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Streamable HTTP, at `/mcp`.
    StreamableHttp,
    /// HTTP+SSE (2024-11-05), at `/sse`.
    Sse,
    /// Both.
    #[default]
    Both,
}

/// The routes of one listener. Clones share the sessions.
pub(crate) struct Site<B: Backend> {
    http: Option<wharf_streamable_http::server::Server<B>>,
    sse: Option<wharf_sse::Server<B>>,
    tally: Option<Tally>,
    nagle: bool,
}

/// Listens at an address that may have been listened at a moment ago.
///
/// # Errors
///
/// Where the address cannot be had: in use, not this machine's, forbidden.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}

/// A socket that has the address, and does nothing with it yet.
pub(crate) fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the listener before may still linger in the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves a backend until `shutdown`, then lets requests end and closes every
/// session, each for 5 s at the most.
///
/// # Errors
///
/// Where the listener has no address any more.
///
/// # Cancel safety
///
/// Dropping the future aborts the connections and tells the backend nothing.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    settings: SiteSettings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let site = Site::new(&backend, settings, listener.local_addr()?, None);
    let handle = site.clone().into_handle();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopping = async {
        shutdown.await;
        // Streams that nobody ends would keep their connections for ever.
        site.end_streams();
        let _ = stop.send(());
    };
    let too_late = async {
        // An error would mean that `serve` is done, and then nobody waits here.
        let _ = stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = wharf_http::serve(listener, handle, settings.accept(), stopping) => {}
        () = too_late => {}
    }
    // A backend that does not let go of a session must not keep the program.
    let _ = tokio::time::timeout(GRACE, site.shutdown()).await;
    Ok(())
}

// === impl SiteSettings ===

impl SiteSettings {
    /// How connections are accepted.
    pub(crate) fn accept(self) -> AcceptSettings {
        let mut accept = AcceptSettings::default();
        accept.no_delay = !self.nagle;
        accept
    }
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            transport: Transport::default(),
            answers: Answers::default(),
            sessions: Sessions::default(),
            nagle: false,
            max_sessions: 10_000,
        }
    }
}

// === impl Transport ===

impl Transport {
    /// The paths that clients connect to.
    pub fn paths(self) -> impl Iterator<Item = &'static str> {
        let http = self.has_http().then_some(MCP);
        http.into_iter().chain(self.has_sse().then_some(SSE))
    }

    pub(crate) const fn has_http(self) -> bool {
        matches!(self, Self::StreamableHttp | Self::Both)
    }

    pub(crate) const fn has_sse(self) -> bool {
        matches!(self, Self::Sse | Self::Both)
    }
}

// === impl Site ===

impl<B: Backend> Site<B> {
    pub(crate) fn new(
        backend: &Arc<B>,
        settings: SiteSettings,
        address: SocketAddr,
        tally: Option<Tally>,
    ) -> Self {
        let guard = Guard::for_listener(address);
        let http = settings.transport.has_http().then(|| {
            let mut http = wharf_streamable_http::server::ServerSettings::new(guard.clone());
            http.answers = settings.answers;
            http.sessions = settings.sessions;
            http.max_sessions = settings.max_sessions;
            wharf_streamable_http::server::Server::new(Arc::clone(backend), http)
        });
        let sse = settings.transport.has_sse().then(|| {
            let mut sse = wharf_sse::ServerSettings::new(guard, MESSAGES);
            sse.max_sessions = settings.max_sessions;
            wharf_sse::Server::new(Arc::clone(backend), sse)
        });
        Self { http, sse, tally, nagle: settings.nagle }
    }

    pub(crate) fn sessions(&self) -> usize {
        let http = self.http.as_ref().map_or(0, |server| server.sessions());
        let sse = self.sse.as_ref().map_or(0, |server| server.sessions());
        http + sse
    }

    fn end_streams(&self) {
        if let Some(http) = &self.http {
            http.end_streams();
        }
        if let Some(sse) = &self.sse {
            sse.end_streams();
        }
    }

    async fn shutdown(&self) {
        if let Some(http) = &self.http {
            http.shutdown().await;
        }
        if let Some(sse) = &self.sse {
            sse.shutdown().await;
        }
    }

    /// What answers the listener's requests.
    pub(crate) fn into_handle(self) -> impl Handle {
        move |request: Request<_>, peer| {
            let site = self.clone();
            async move {
                if let Some(tally) = &site.tally {
                    tally.http(request.method());
                }
                let response = match (request.uri().path(), &site.http, &site.sse) {
                    (MCP, Some(http), _) => http.handle(request, peer).await,
                    (SSE, _, Some(sse)) => sse.open(request, peer).await,
                    (MESSAGES, _, Some(sse)) => sse.post(request, peer).await,
                    _ => empty_response(StatusCode::NOT_FOUND),
                };
                if let Some(tally) = &site.tally {
                    tally.answered(response.status());
                }
                if site.nagle { apart(response) } else { response }
            }
        }
    }
}

/// The same answer, its head written apart if it is an event stream.
fn apart(response: Response<Body>) -> Response<Body> {
    if media_type(response.headers()) == Some(EVENT_STREAM) {
        return response.map(|body| Body::stream(Hesitant::new(body)));
    }
    response
}

impl<B: Backend> Clone for Site<B> {
    fn clone(&self) -> Self {
        let (http, sse, tally) = (self.http.clone(), self.sse.clone(), self.tally.clone());
        Self { http, sse, tally, nagle: self.nagle }
    }
}

impl<B: Backend> fmt::Debug for Site<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site(..)")
    }
}
