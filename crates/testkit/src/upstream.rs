//! Upstreams in the test's own process that can crash and come back.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
};

use tokio::{net::TcpSocket, runtime, sync::oneshot};
use wharf_http::AcceptSettings;
use wharf_proto::server::Backend;
use wharf_streamable_http::server::{Answers, Sessions};

use crate::{
    recorder::{Recorded, Requests, Tally},
    site::{self, MCP, SSE, Site, SiteSettings, Transport},
};

/// An MCP server in this process.
///
/// It runs on a thread and a runtime of its own: a test may pause its clock or
/// block, and [`Upstream::stop`] takes everything down at once, tasks that
/// the transports have set going included. Dropping the handle does the same
/// and does not wait for it.
pub struct Upstream<B: Backend> {
    backend: Arc<B>,
    settings: SiteSettings,
    address: SocketAddr,
    tally: Tally,
    running: Option<Running<B>>,
    /// Bound and never listening, so that nobody else gets the port while the
    /// upstream is down.
    _port: TcpSocket,
}

/// Where an [`Upstream`] is to listen, and how to serve.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamSettings {
    /// The transports it speaks; both by default.
    pub transport: Transport,
    /// In which form it answers calls over streamable HTTP.
    pub answers: Answers,
    /// Whether it keeps sessions over streamable HTTP.
    pub sessions: Sessions,
    /// Whether it leaves Nagle's algorithm on, as many servers do.
    pub nagle: bool,
    /// Where it listens; by default at a free port of 127.0.0.1.
    pub addr: SocketAddr,
}

/// An upstream that has not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its address cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no thread or no event queue for it.
    #[error("cannot set up a thread for the upstream")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The thread of an upstream that is up. Dropping it brings it down.
struct Running<B: Backend> {
    site: Site<Recorded<B>>,
    stop: oneshot::Sender<()>,
    /// Ends when the thread has dropped all it had.
    gone: oneshot::Receiver<()>,
}

// === impl Upstream ===

impl<B: Backend> Upstream<B> {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// [`StartError`] where it cannot listen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the server.
    pub async fn start(backend: B, settings: UpstreamSettings) -> Result<Self, StartError> {
        let bound = site::bound(settings.addr).and_then(|port| Ok((port.local_addr()?, port)));
        let (address, port) =
            bound.map_err(|source| StartError::Listen { address: settings.addr, source })?;
        let mut upstream = Self {
            backend: Arc::new(backend),
            address,
            settings: SiteSettings {
                transport: settings.transport,
                answers: settings.answers,
                sessions: settings.sessions,
                nagle: settings.nagle,
                ..SiteSettings::default()
            },
            tally: Tally::default(),
            running: None,
            _port: port,
        };
        upstream.restart().await?;
        Ok(upstream)
    }

    /// Where streamable HTTP is served, or HTTP+SSE where that is all there is.
    #[must_use]
    pub fn url(&self) -> String {
        if self.settings.transport.has_http() { self.at(MCP) } else { self.sse_url() }
    }

    /// Where HTTP+SSE is served.
    #[must_use]
    pub fn sse_url(&self) -> String {
        self.at(SSE)
    }

    /// Where it listens, or did before it was stopped.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is served. It outlives a restart.
    #[must_use]
    pub const fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// How many sessions the transports keep.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.site.sessions())
    }

    /// What has reached it since it was first started.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.tally.so_far()
    }

    /// Kills it, as a crash would: connections break, sessions are forgotten,
    /// and nobody is told. Returns when whoever calls it is refused; the port
    /// stays its own.
    ///
    /// # Cancel safety
    ///
    /// It dies all the same when the future is dropped.
    pub async fn stop(&mut self) {
        if let Some(Running { stop, gone, site, .. }) = self.running.take() {
            drop(stop);
            // An error is how the thread says that it is gone.
            let _ = gone.await;
            // Only now, so that its sessions go when nothing uses them.
            drop(site);
        }
    }

    /// Starts it again at the same address, without the sessions it had. It
    /// is stopped first where it is up.
    ///
    /// # Errors
    ///
    /// [`StartError`] where the address cannot be had again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it stopped.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        let recorded = Recorded::new(Arc::clone(&self.backend), self.tally.clone());
        let running =
            Running::start(Arc::new(recorded), self.settings, self.address, self.tally.clone());
        self.running = Some(running.await?);
        Ok(())
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl<B: Backend> fmt::Debug for Upstream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .field("is_up", &self.running.is_some())
            .finish_non_exhaustive()
    }
}

// === impl UpstreamSettings ===

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            transport: Transport::default(),
            answers: Answers::default(),
            sessions: Sessions::default(),
            nagle: false,
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
        }
    }
}

// === impl Running ===

impl<B: Backend> Running<B> {
    async fn start(
        backend: Arc<Recorded<B>>,
        settings: SiteSettings,
        address: SocketAddr,
        tally: Tally,
    ) -> Result<Self, StartError> {
        let (stop, stopping) = oneshot::channel();
        let (going, gone) = oneshot::channel();
        let (up, is_up) = oneshot::channel();
        let live = move || {
            let site = || Site::new(&backend, settings, address, Some(tally));
            live(address, &settings.accept(), site, up, stopping);
            drop(going);
        };
        thread::Builder::new()
            .name("upstream".into())
            .spawn(live)
            .map_err(|source| StartError::Thread { source })?;
        let site = is_up.await.expect("the thread says how it went")?;
        Ok(Self { site, stop, gone })
    }
}

type Up<B> = Result<Site<Recorded<B>>, StartError>;

/// The life of an upstream's thread. When it returns, the runtime is dropped
/// and with it every task and every socket.
fn live<B: Backend>(
    address: SocketAddr,
    accept: &AcceptSettings,
    site: impl FnOnce() -> Site<Recorded<B>>,
    up: oneshot::Sender<Up<B>>,
    stopping: oneshot::Receiver<()>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return drop(up.send(Err(StartError::Thread { source }))),
    };
    runtime.block_on(async {
        let listener = match site::listen(address) {
            Ok(listener) => listener,
            Err(source) => return drop(up.send(Err(StartError::Listen { address, source }))),
        };
        let site = site();
        if up.send(Ok(site.clone())).is_err() {
            return;
        }
        let (handle, forever) = (site.into_handle(), std::future::pending());
        tokio::select! {
            () = wharf_http::serve(listener, handle, accept.clone(), forever) => {}
            // Asked to stop, or the handle is gone.
            _ = stopping => {}
        }
    });
}
