//! A gateway in the test's process.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use wharf_gateway::{Gateway, Reloaded, Settings, SetupError, UpstreamSettings};
use wharf_http::{Endpoint, Target};
use wharf_proto::server::Backend;
use wharf_testkit::Upstream;

use crate::soon;

/// A gateway with its two listeners, on free ports of 127.0.0.1. Dropping it
/// cuts everything short; [`Wharf::stop`] drains.
pub struct Wharf {
    address: SocketAddr,
    admin: SocketAddr,
    gateway: Gateway,
    settings: Settings,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinSet<()>,
}

/// An upstream by its URL, with the usual settings.
///
/// # Panics
///
/// Where the id or the URL is none.
#[must_use]
pub fn upstream(id: &str, url: &str) -> UpstreamSettings {
    UpstreamSettings::new(id.parse().unwrap(), Target::new(Endpoint::parse(url).unwrap()))
}

/// Starts one of the kit's servers, or any other backend, with both transports.
///
/// # Panics
///
/// Where there is no port.
///
/// # Cancel safety
///
/// Dropping the future starts nothing.
pub async fn serving<B: Backend>(backend: B) -> Upstream<B> {
    Upstream::start(backend, wharf_testkit::UpstreamSettings::default()).await.unwrap()
}

// === impl Wharf ===

impl Wharf {
    /// Starts a gateway in front of these upstreams.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn in_front_of(upstreams: impl IntoIterator<Item = UpstreamSettings>) -> Self {
        Self::start(upstreams, |_| {}).await
    }

    /// Starts a gateway whose settings are changed first.
    ///
    /// # Panics
    ///
    /// Where there is no port, or the settings contradict themselves.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn start(
        upstreams: impl IntoIterator<Item = UpstreamSettings>,
        configure: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::new(upstreams.into_iter().collect());
        configure(&mut settings);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let operators = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin = operators.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let gateway = Gateway::new(settings.clone()).expect("the settings are good");
        let mut serving = JoinSet::new();
        serving.spawn(gateway.clone().serve(listener, Some(operators), async {
            let _ = stopped.await;
        }));
        Self { address, admin, gateway, settings, stop: Some(stop), serving }
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path for clients.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL of a path for operators.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Has it stand in front of these upstreams from now on.
    ///
    /// # Errors
    ///
    /// [`SetupError`] where they contradict each other.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn reload(
        &self,
        upstreams: impl IntoIterator<Item = UpstreamSettings>,
    ) -> Result<Reloaded, SetupError> {
        let upstreams = upstreams.into_iter().collect();
        let settings = Settings { upstreams, ..self.settings.clone() };
        soon("the configuration is taken over", self.gateway.reload(settings)).await
    }

    /// Begins to drain, as SIGTERM would.
    pub fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has drained.
    ///
    /// # Panics
    ///
    /// Where it takes too long, or the gateway panics.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn stopped(&mut self) {
        if let Some(ended) = soon("the gateway drains", self.serving.join_next()).await {
            ended.expect("the gateway does not panic");
        }
    }

    /// Drains, and waits for it.
    ///
    /// # Cancel safety
    ///
    /// It goes on draining when the future is dropped.
    pub async fn stop(mut self) {
        self.begin_to_stop();
        self.stopped().await;
    }

    /// The figures of the pool for one upstream, as `/admin/pool` shows them.
    ///
    /// # Panics
    ///
    /// Where the upstream is unknown.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn figures(&self, upstream: &str) -> serde_json::Value {
        let reply = crate::wire::request("GET", &self.admin_url("/admin/pool"), &[], "").await;
        let pool: serde_json::Value = serde_json::from_slice(&reply.whole().await).unwrap();
        let mut upstreams = pool["upstreams"].as_array().unwrap().iter();
        upstreams.find(|one| one["id"] == upstream).expect("it is configured").clone()
    }
}

impl Wharf {
    /// Waits until nobody has a lease on a session with that upstream, nor
    /// stands in line for one.
    ///
    /// # Panics
    ///
    /// Where that does not come about.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn is_at_rest(&self, upstream: &str) {
        self.comes_to_hold_none_of(upstream, &["leases", "waiters", "opening"]).await;
    }

    /// Waits until the pool holds nothing for that upstream any more.
    ///
    /// # Panics
    ///
    /// Where that does not come about.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn is_empty(&self, upstream: &str) {
        let all = ["keys", "sessions", "opening", "leases", "waiters"];
        self.comes_to_hold_none_of(upstream, &all).await;
    }

    async fn comes_to_hold_none_of(&self, upstream: &str, figures: &[&str]) {
        let what = format!("the books on {upstream} balance");
        soon(&what, async {
            loop {
                let held = self.figures(upstream).await;
                if figures.iter().all(|figure| held[figure] == 0) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl fmt::Debug for Wharf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wharf({})", self.address)
    }
}
