//! How many sessions and callers there may be, and how long steps may take.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{BreakerLimits, Key, Probe, Scope};

/// The limits of a pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sessions open at once, to all upstreams. Default: 10 000.
    pub sessions: usize,
    /// What holds for an upstream that `upstreams` does not name.
    pub default: Limits,
    /// What holds for one upstream, by its id.
    pub upstreams: HashMap<Arc<str>, Limits>,
}

/// The limits towards one upstream. Where a number for one key is 0, it counts
/// as 1: with less nobody could ever be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions open at once to this upstream. Default: 10 000.
    pub sessions: usize,
    /// Sessions open at once for one key. A key of scope [`Scope::Client`]
    /// has one, whatever stands here. Default: 10.
    pub sessions_per_key: usize,
    /// Calls under way at once on a session that several callers share. A
    /// session that belongs to one client takes as many as its client makes.
    /// Default: 1.
    pub calls_per_session: usize,
    /// Callers waiting at once for one key. Default: 1000.
    pub waiters_per_key: usize,
    /// How long connecting and the handshake may take together. Default: 30 s.
    pub open_timeout: Duration,
    /// How long the goodbye may take. Default: 5 s.
    pub goodbye_timeout: Duration,
    /// How long a session is kept that nobody uses. Default: 10 min.
    pub idle_timeout: Duration,
    /// How long a session is kept at most. Each session's own limit is up to
    /// a tenth shorter, so that those opened together do not end together.
    /// Default: none.
    pub max_age: Option<Duration>,
    /// Sessions kept open ahead of demand, each for the first call of a client
    /// that is yet to come: so many for each kind that clients have asked for
    /// within `idle_timeout`, which is to say what they declare and with which
    /// credential; for no more than four kinds. They count as sessions to
    /// this upstream, and are the first to make room. Default: 0.
    pub warm: usize,
    /// How it is found out whether a session that nobody uses still works:
    /// the first whose method the upstream has decides. Empty: it is not.
    /// Default: `ping`.
    pub probes: Vec<Probe>,
    /// How long a session may be unused before it is probed, and again and
    /// again; 100 ms at the least. Default: 30 s.
    pub probe_after: Duration,
    /// How long the answer to one probe may take; one that does not come in
    /// time is a failure. Default: 5 s.
    pub probe_timeout: Duration,
    /// When no more attempts to open a session are made for a while.
    pub breaker: BreakerLimits,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { sessions: 10_000, default: Limits::default(), upstreams: HashMap::new() }
    }
}

impl Settings {
    pub(crate) fn limits(&self, upstream: &str) -> &Limits {
        self.upstreams.get(upstream).unwrap_or(&self.default)
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_key: 10,
            calls_per_session: 1,
            waiters_per_key: 1000,
            open_timeout: Duration::from_secs(30),
            goodbye_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_age: None,
            warm: 0,
            probes: vec![Probe::Ping],
            probe_after: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(5),
            breaker: BreakerLimits::default(),
        }
    }
}

impl Limits {
    /// The limits as they are for one key: a client's own session is one, and
    /// its calls are bounded by the client alone.
    pub(crate) fn for_key(&self, key: &Key) -> Self {
        let (sessions_per_key, calls_per_session) = match key.scope() {
            _ if key.is_ahead() => (self.warm, 1),
            Scope::Client(_) | Scope::Call(_) => (1, usize::MAX),
            Scope::Identity(_) | Scope::Shared => {
                (self.sessions_per_key.max(1), self.calls_per_session.max(1))
            }
        };
        // Who has a session opened waits for it, too.
        let waiters_per_key = self.waiters_per_key.max(1);
        Self { sessions_per_key, calls_per_session, waiters_per_key, ..self.clone() }
    }

    /// Whether sessions are probed at all.
    pub(crate) fn has_probes(&self) -> bool {
        !matches!(self.probes.first(), None | Some(Probe::Skip))
    }
}
