//! What the pool of `wharf-pool` holds, in a form that tests can compare.

use wharf_pool::{Key, Pool, UpstreamSnapshot};
use wharf_proto::transport::Connect;

/// What a pool holds, over all upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Keys with a session or a waiter.
    pub keys: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Sessions being opened.
    pub opening: usize,
    /// Leases.
    pub leases: usize,
    /// Callers in line.
    pub waiters: usize,
}

/// Nothing.
pub const EMPTY: Held = Held { keys: 0, sessions: 0, opening: 0, leases: 0, waiters: 0 };

/// What it holds now.
#[must_use]
pub fn held<C: Connect<Target = Key>>(pool: &Pool<C>) -> Held {
    let mut held = EMPTY;
    for upstream in pool.snapshot().upstreams {
        held.keys += upstream.keys;
        held.sessions += upstream.sessions;
        held.opening += upstream.opening;
        held.leases += upstream.leases;
        held.waiters += upstream.waiters;
    }
    held
}

/// How many sessions have ended for this reason.
#[must_use]
pub fn ends<C: Connect<Target = Key>>(pool: &Pool<C>, reason: &str) -> u64 {
    let upstreams = pool.snapshot().upstreams;
    let ends = upstreams.iter().flat_map(|upstream| &upstream.ends);
    ends.filter(|(label, _)| *label == reason).map(|(_, count)| count).sum()
}

/// The figures of one upstream.
///
/// # Panics
///
/// Where it has never been used.
#[must_use]
pub fn snapshot_of<C: Connect<Target = Key>>(pool: &Pool<C>, upstream: &str) -> UpstreamSnapshot {
    let upstreams = pool.snapshot().upstreams;
    upstreams.into_iter().find(|one| one.upstream == upstream).expect("it has been used")
}

/// The figures of the only upstream.
///
/// # Panics
///
/// Where there are several, or none.
#[must_use]
pub fn only<C: Connect<Target = Key>>(pool: &Pool<C>) -> UpstreamSnapshot {
    let mut upstreams = pool.snapshot().upstreams;
    assert_eq!(upstreams.len(), 1, "{upstreams:?}");
    upstreams.remove(0)
}
