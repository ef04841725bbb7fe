//! The ways to an upstream that are compared.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde::Serialize;

use super::case::Wire;
use crate::stage::{Gateway, Process, Stage};

/// Sessions that there is room for: more than are ever measured.
pub(super) const MANY: &str = "200000";

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lane {
    /// Straight to the upstream.
    Straight,
    /// Through a proxy of hyper's that does nothing.
    BareProxy,
    /// Through Wharf, a session per client.
    WharfClient,
    /// Through Wharf, clients sharing sessions.
    WharfShared,
    /// Through Wharf, a session per call.
    WharfCall,
}

/// A way that is there: what stands in it, and the URL at its beginning.
pub(crate) struct Paved {
    pub(crate) lane: Lane,
    pub(crate) url: String,
    pub(super) between: Between,
}

pub(super) enum Between {
    Nothing,
    Proxy(Process),
    Wharf(Gateway),
}

// === impl Lane ===

impl Lane {
    pub(crate) const ALL: [Self; 5] =
        [Self::Straight, Self::BareProxy, Self::WharfClient, Self::WharfShared, Self::WharfCall];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::BareProxy => "bare hyper proxy",
            Self::WharfClient => "Wharf, a session per client",
            Self::WharfShared => "Wharf, shared pool",
            Self::WharfCall => "Wharf, no pool",
        }
    }

    /// Starts what stands in the way.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub(crate) async fn pave(
        self,
        stage: &Stage,
        upstream: SocketAddr,
        wire: Wire,
    ) -> Result<Paved> {
        let path = wire.path();
        let (between, url) = match self {
            Self::Straight => (Between::Nothing, format!("http://{upstream}{path}")),
            Self::BareProxy => {
                let proxy = stage.bare_proxy(upstream).await?;
                let url = format!("http://{}{path}", proxy.address());
                (Between::Proxy(proxy), url)
            }
            Self::WharfClient | Self::WharfShared | Self::WharfCall => {
                let config = self.config(&format!("http://{upstream}{path}"), wire);
                let gateway = stage.wharf("wharf", &config).await?;
                let url = format!("http://{}/servers/bench{path}", gateway.process.address());
                (Between::Wharf(gateway), url)
            }
        };
        Ok(Paved { lane: self, url, between })
    }

    fn config(self, url: &str, wire: Wire) -> String {
        let scope = match self {
            Self::WharfShared => {
                "scope = \"shared\"\nsessions_per_key = 64\ncalls_per_session = 64"
            }
            Self::WharfCall => "pool = false",
            _ => "scope = \"client\"",
        };
        let transport = wire.transport();
        let limits = format!("[limits]\nsessions = {MANY}\nclients = {MANY}\n");
        // Probes are calls: a session that is held without being used has one
        // every half a minute, which is no part of what others' calls cost.
        format!(
            "{limits}[upstream.bench]\nsessions = {MANY}\nurl = \"{url}\"\ntransport = \"{transport}\"\nprobes = []\n{scope}\n"
        )
    }
}

// === impl Paved ===

impl Paved {
    /// Ends what stands in the way.
    ///
    /// # Errors
    ///
    /// Where it does not end in time, or not as it should.
    pub(crate) async fn end(self) -> Result<()> {
        match self.between {
            Between::Nothing => {}
            Between::Proxy(mut process) | Between::Wharf(Gateway { mut process, .. }) => {
                if !process.end().await? {
                    bail!("{} did not end as it should", self.lane.label());
                }
            }
        }
        Ok(())
    }

    /// The process in the way.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.between {
            Between::Nothing => None,
            Between::Proxy(process) => Some(process.pid()),
            Between::Wharf(gateway) => Some(gateway.process.pid()),
        }
    }
}
