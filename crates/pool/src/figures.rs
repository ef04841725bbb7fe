//! Figures: what the pool has done and what it holds. No URL, credential or
//! session id is in them.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    BreakerState, CloseReason, Key, LatencySnapshot, bucket::Held, latency::Latencies,
    upstream::Upstream,
};

/// What the pool has done with one upstream, counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) warm_hits: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) breaker_refusals: AtomicU64,
    pub(crate) breaker_trips: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) probe_failures: AtomicU64,
    opens: AtomicU64,
    open_failures: AtomicU64,
    ends: [AtomicU64; CloseReason::LABELS.len()],
    closing: AtomicUsize,
    acquire_latency: Latencies,
    open_latency: Latencies,
}

/// A session that has ended and says goodbye. Dropping it is the end of that.
#[derive(Debug)]
pub(crate) struct Closing<'a>(&'a Tally);

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
    /// Sessions open now under these keys.
    pub sessions: usize,
    /// How many of them are leased.
    pub busy: usize,
    /// How many of the others are being probed, and leased to nobody meanwhile.
    pub probing: usize,
    /// How many of the others nobody uses.
    pub idle: usize,
    /// Sessions kept open ahead of demand, which belong to no key yet.
    pub warm: usize,
    /// Sessions being opened now.
    pub opening: usize,
    /// Sessions that have ended and say goodbye now.
    pub closing: usize,
    /// Leases out now.
    pub leases: usize,
    /// Callers waiting now.
    pub waiters: usize,
    /// Leases given at once, from a session that was open.
    pub hits: u64,
    /// Callers who had to wait for a session to be opened or to become free.
    pub misses: u64,
    /// How many of these did not have to, as a session was kept warm for them.
    pub warm_hits: u64,
    /// Callers who were sent away because too many were waiting.
    pub refusals: u64,
    /// Callers who were sent away because sessions cannot be opened for now.
    pub breaker_refusals: u64,
    /// Sessions opened.
    pub opens: u64,
    /// Sessions that could not be opened.
    pub open_failures: u64,
    /// Sessions ended, by [`CloseReason::label`]; reasons that have not
    /// occurred are left out.
    pub ends: Vec<(&'static str, u64)>,
    /// Times that a session was probed.
    pub probes: u64,
    /// Times that it turned out not to work.
    pub probe_failures: u64,
    /// Breakers, each for one credential that is in use or has failed lately.
    pub breakers: usize,
    /// Breakers that let no attempt through.
    pub breakers_open: usize,
    /// Breakers that let one attempt through.
    pub breakers_half_open: usize,
    /// How often a breaker has opened.
    pub breaker_trips: u64,
    /// How long callers who got a lease have waited for it. Those who got it
    /// at once are in the first range.
    pub acquire_latency: LatencySnapshot,
    /// How long it took to connect and shake hands, where that succeeded.
    pub open_latency: LatencySnapshot,
}

// === impl Tally ===

impl Tally {
    /// Counts a session that is open, and gives it a number.
    pub(crate) fn opened(&self, took: Duration) -> u64 {
        self.open_latency.record(took);
        self.opens.fetch_add(1, Relaxed)
    }

    pub(crate) fn failed_to_open(&self) {
        self.open_failures.fetch_add(1, Relaxed);
    }

    /// Counts a lease that was waited for. One that was there at once is a
    /// hit, and costs no look at the clock.
    pub(crate) fn acquired(&self, took: Duration) {
        self.acquire_latency.record(took);
    }

    pub(crate) fn closed(&self, reason: &CloseReason) {
        let label = reason.label();
        let at = CloseReason::LABELS.iter().position(|other| *other == label);
        self.ends[at.expect("every label is listed")].fetch_add(1, Relaxed);
    }

    /// Counts a session as saying goodbye.
    pub(crate) fn closing(&self) -> Closing<'_> {
        self.closing.fetch_add(1, Relaxed);
        Closing(self)
    }

    fn ends(&self) -> Vec<(&'static str, u64)> {
        let ends = CloseReason::LABELS.iter().zip(&self.ends);
        let ends = ends.map(|(label, count)| (*label, count.load(Relaxed)));
        ends.filter(|(_, count)| *count > 0).collect()
    }
}

// === impl Closing ===

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closing.fetch_sub(1, Relaxed);
    }
}

// === impl UpstreamSnapshot ===

impl UpstreamSnapshot {
    /// What has been counted; what is held is added key by key.
    pub(crate) fn of(upstream: &Upstream) -> Self {
        let tally = &upstream.tally;
        let count = upstream.rules().breakers.count();
        let breakers = |state| count.get(&state).copied().unwrap_or(0);
        let hits = tally.hits.load(Relaxed);
        let mut acquire_latency = tally.acquire_latency.read();
        acquire_latency.counts[0] += hits;
        Self {
            upstream: (*upstream.id).into(),
            closing: tally.closing.load(Relaxed),
            hits,
            misses: tally.misses.load(Relaxed),
            warm_hits: tally.warm_hits.load(Relaxed),
            refusals: tally.refusals.load(Relaxed),
            breaker_refusals: tally.breaker_refusals.load(Relaxed),
            opens: tally.opens.load(Relaxed),
            open_failures: tally.open_failures.load(Relaxed),
            ends: tally.ends(),
            probes: tally.probes.load(Relaxed),
            probe_failures: tally.probe_failures.load(Relaxed),
            breakers: count.values().sum(),
            breakers_open: breakers(BreakerState::Open),
            breakers_half_open: breakers(BreakerState::HalfOpen),
            breaker_trips: tally.breaker_trips.load(Relaxed),
            acquire_latency,
            open_latency: tally.open_latency.read(),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, key: &Key, held: Held) {
        self.opening += held.opening;
        if key.is_ahead() {
            self.warm += held.sessions;
            return;
        }
        self.keys += 1;
        self.sessions += held.sessions;
        self.busy += held.busy;
        self.probing += held.probing;
        self.idle += held.idle;
        self.leases += held.leases;
        self.waiters += held.waiters;
    }
}
