//! Taking over another configuration while the gateway runs.

use std::sync::Arc;

use wharf_pool::{Afterwards, CloseReason};

use crate::{
    Settings, SetupError, UpstreamId, deadline, fleet::Fleet, roster::Turnover, upstream::Upstream,
};

/// What has come of another configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// The upstreams that have come.
    pub added: Vec<UpstreamId>,
    /// Those whose settings are others now.
    pub changed: Vec<UpstreamId>,
    /// Those that go. Calls under way may finish within the drain timeout.
    pub removed: Vec<UpstreamId>,
    /// The settings, by their names in `wharf.toml`, that are others and stay
    /// as they were: they hold from the next start on.
    pub ignored: Vec<&'static str>,
}

// === impl Fleet ===

impl Fleet {
    /// Takes over the upstreams of `settings`.
    pub(crate) async fn reload(
        self: &Arc<Self>,
        settings: Settings,
    ) -> Result<Reloaded, SetupError> {
        // One after the other; who comes late waits.
        let mut leaving = self.leaving.lock().await;
        let ignored = fixed(&self.settings, &settings);
        let turnover = self.upstreams.replace(settings.upstreams)?;
        self.renew(&turnover);
        leaving.retain(|upstream| !upstream.has_left());
        let superseded: Vec<_> = leaving
            .extract_if(.., |old| turnover.added.iter().any(|new| new.id() == old.id()))
            .collect();
        for upstream in &turnover.removed {
            upstream.dismiss();
            leaving.push(Arc::clone(upstream));
            let (fleet, upstream) = (Arc::clone(self), Arc::clone(upstream));
            self.see_to(async move { fleet.see_off(&upstream).await });
        }
        for upstream in superseded {
            // The one that is back is not to be kept shut for its sake.
            upstream.supersede();
            upstream.left().await;
        }
        Ok(Reloaded {
            added: ids(&turnover.added),
            changed: turnover.changed.iter().map(|(upstream, _)| upstream.id().clone()).collect(),
            removed: ids(&turnover.removed),
            ignored,
        })
    }

    /// Has the pool know what is now of the upstreams. They have their new
    /// settings already, so that whatever is opened from now on has them too.
    fn renew(&self, turnover: &Turnover) {
        let renew = |upstream: &Upstream, reason: &CloseReason| {
            let limits = upstream.edition().settings.limits.clone();
            self.pool.renew(&upstream.id().shared(), limits, reason);
        };
        for (upstream, reason) in &turnover.changed {
            if let Some(reason) = reason {
                renew(upstream, reason);
                upstream.renew();
            }
        }
        // The pool may remember one of the same id.
        turnover.added.iter().for_each(|upstream| renew(upstream, &CloseReason::Configuration));
    }

    /// Lets the calls finish that are under way to an upstream that goes.
    async fn see_off(&self, upstream: &Upstream) {
        let deadline = deadline::after(self.settings.drain_timeout);
        let drained = self.pool.drain(upstream.id().as_str(), deadline, Afterwards::Open);
        upstream.until_superseded(drained).await;
        upstream.leave();
    }
}

fn ids(upstreams: &[Arc<Upstream>]) -> Vec<UpstreamId> {
    upstreams.iter().map(|upstream| upstream.id().clone()).collect()
}

/// The settings that cannot change while the gateway runs, and would have to.
fn fixed(now: &Settings, then: &Settings) -> Vec<&'static str> {
    let changes = [
        ("separator", now.separator != then.separator),
        ("allowed_hosts", now.allowed_hosts != then.allowed_hosts),
        ("allowed_origins", now.allowed_origins != then.allowed_origins),
        ("limits.sessions", now.sessions != then.sessions),
        ("limits.clients", now.clients != then.clients),
        ("limits.page_size", now.page_size != then.page_size),
        ("limits.max_message", now.max_message != then.max_message),
        ("limits.acquire_timeout", now.acquire_timeout != then.acquire_timeout),
        ("limits.list_lifetime", now.list_lifetime != then.list_lifetime),
        ("limits.list_timeout", now.list_timeout != then.list_timeout),
        ("limits.keep_alive", now.keep_alive != then.keep_alive),
        ("limits.idle_session", now.idle_session != then.idle_session),
        ("limits.idle_connection", now.idle_connection != then.idle_connection),
        ("limits.drain_timeout", now.drain_timeout != then.drain_timeout),
    ];
    changes.into_iter().filter(|(_, has_changed)| *has_changed).map(|(name, _)| name).collect()
}
