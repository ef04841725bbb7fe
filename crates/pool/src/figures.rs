//! Figures: what the pool has done and what it holds. No URL, credential or
//! session id is in them.

use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::CloseReason;

/// What the pool has done with one upstream, counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) refusals: AtomicU64,
    opens: AtomicU64,
    open_failures: AtomicU64,
    ends: [AtomicU64; CloseReason::LABELS.len()],
}

/// The tallies by upstream.
#[derive(Debug, Default)]
pub(crate) struct Tallies(RwLock<HashMap<Arc<str>, Arc<Tally>>>);

/// The pool at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Each upstream that has been used, in the order of their ids.
    pub upstreams: Vec<UpstreamSnapshot>,
}

/// One upstream's part of the pool at one moment.
#[derive(Debug, Clone, Default)]
pub struct UpstreamSnapshot {
    /// The upstream's id.
    pub upstream: String,
    /// Keys that have a session or a waiter.
    pub keys: usize,
    /// Sessions open now.
    pub sessions: usize,
    /// Sessions being opened now.
    pub opening: usize,
    /// Leases out now.
    pub leases: usize,
    /// Callers waiting now.
    pub waiters: usize,
    /// Leases given at once, from a session that was open.
    pub hits: u64,
    /// Callers who had to wait for a session to be opened or to become free.
    pub misses: u64,
    /// Callers who were sent away because too many were waiting.
    pub refusals: u64,
    /// Sessions opened.
    pub opens: u64,
    /// Sessions that could not be opened.
    pub open_failures: u64,
    /// Sessions ended, by [`CloseReason::label`]; reasons that have not
    /// occurred are left out.
    pub ends: Vec<(&'static str, u64)>,
}

// === impl Tally ===

impl Tally {
    /// Counts a session that is open, and gives it a number.
    pub(crate) fn opened(&self) -> u64 {
        self.opens.fetch_add(1, Relaxed)
    }

    pub(crate) fn failed_to_open(&self) {
        self.open_failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self, reason: &CloseReason) {
        let label = reason.label();
        let at = CloseReason::LABELS.iter().position(|other| *other == label);
        self.ends[at.expect("every label is listed")].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, upstream: &str) -> UpstreamSnapshot {
        let ends = CloseReason::LABELS.iter().zip(&self.ends);
        let ends = ends.map(|(label, count)| (*label, count.load(Relaxed)));
        UpstreamSnapshot {
            upstream: upstream.into(),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            opens: self.opens.load(Relaxed),
            open_failures: self.open_failures.load(Relaxed),
            ends: ends.filter(|(_, count)| *count > 0).collect(),
            ..UpstreamSnapshot::default()
        }
    }
}

// === impl Tallies ===

impl Tallies {
    pub(crate) fn of(&self, upstream: &Arc<str>) -> Arc<Tally> {
        if let Some(tally) = self.0.read().expect("nothing panics while holding it").get(upstream) {
            return Arc::clone(tally);
        }
        let mut all = self.0.write().expect("nothing panics while holding it");
        Arc::clone(all.entry(Arc::clone(upstream)).or_default())
    }

    pub(crate) fn read(&self) -> Vec<UpstreamSnapshot> {
        let all = self.0.read().expect("nothing panics while holding it");
        let mut read: Vec<_> = all.iter().map(|(id, tally)| tally.read(id)).collect();
        read.sort_by(|a, b| a.upstream.cmp(&b.upstream));
        read
    }
}
