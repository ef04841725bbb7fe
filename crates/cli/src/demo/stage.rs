//! What the demo plays on: two upstreams and a gateway.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet, time::timeout};
use wharf_gateway::{Gateway, Settings, Transport, UpstreamId, UpstreamSettings};
use wharf_http::{Endpoint, Target};
use wharf_testkit::{FastTest, FastTime, Upstream};

/// How long the gateway may take to stop before the demo calls it stuck.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Two upstreams and a gateway before them.
pub(super) struct Stage {
    pub(super) fast_test: Upstream<FastTest>,
    pub(super) fast_time: Upstream<FastTime>,
    gateway: Gateway,
    address: SocketAddr,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinSet<()>,
}

/// How often the gateway has opened a session, and the upstreams have been
/// sent something, so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) sessions: u64,
    pub(super) posts: u64,
}

// === impl Stage ===

impl Stage {
    /// Starts everything, each on a free port of 127.0.0.1.
    pub(super) async fn set() -> Result<Self> {
        let over = |transport| wharf_testkit::UpstreamSettings { transport, ..Default::default() };
        let over_http = over(wharf_testkit::Transport::StreamableHttp);
        let over_sse = over(wharf_testkit::Transport::Sse);
        let fast_test = Upstream::start(FastTest::new(), over_http).await?;
        let fast_time = Upstream::start(FastTime::new(), over_sse).await?;

        let mut settings = Settings::new(vec![
            upstream("test", &fast_test.url())?,
            upstream("time", &fast_time.url())?,
        ]);
        // Nobody minds if the demo's own streams end at once.
        settings.drain_timeout = Duration::from_secs(2);
        let gateway = Gateway::new(settings)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let admin_listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, admin) = (listener.local_addr()?, admin_listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        let serve = gateway.clone();
        serving.spawn(async move {
            serve.serve(listener, Some(admin_listener), async { drop(stopped.await) }).await;
        });
        Ok(Self { fast_test, fast_time, gateway, address, admin, stop, serving })
    }

    /// Who is on it, and where.
    pub(super) fn cast(&self) -> [(&'static str, String); 3] {
        [
            ("Fast Test, over streamable HTTP", self.fast_test.url()),
            ("Fast Time, over HTTP+SSE", self.fast_time.url()),
            ("Wharf, in front of both", self.url("/mcp")),
        ]
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    pub(super) fn tally(&self) -> Tally {
        let sessions =
            self.gateway.snapshot().upstreams.iter().map(|upstream| upstream.opens).sum();
        let post = http::Method::POST;
        let posts = self.fast_test.requests().http(&post) + self.fast_time.requests().http(&post);
        Tally { sessions, posts }
    }

    /// Stops everything, in order.
    pub(super) async fn strike(mut self) -> Result<()> {
        drop(self.stop);
        timeout(STOP_LIMIT, self.serving.join_next()).await.context("the gateway did not stop")?;
        self.fast_test.stop().await;
        self.fast_time.stop().await;
        Ok(())
    }
}

fn upstream(id: &str, url: &str) -> Result<UpstreamSettings> {
    let id: UpstreamId = id.parse()?;
    let mut settings = UpstreamSettings::new(id, Target::new(Endpoint::parse(url)?));
    settings.transport = Transport::Auto;
    Ok(settings)
}
