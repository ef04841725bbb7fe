//! How long things take: counted into a few ranges, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How many ranges there are, the last without an end.
const RANGES: usize = 14;

/// Durations, counted by range.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    counts: [AtomicU64; RANGES],
    /// In microseconds: half a million years fit.
    sum: AtomicU64,
}

/// Durations, counted by range, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// How many fell into each range; the ranges end at
    /// [`LatencySnapshot::BOUNDS`], the last has no end.
    pub counts: [u64; RANGES],
    /// All of them together.
    pub sum: Duration,
}

// === impl Latencies ===

impl Latencies {
    pub(crate) fn record(&self, took: Duration) {
        let range = LatencySnapshot::BOUNDS.partition_point(|bound| *bound < took);
        self.counts[range].fetch_add(1, Relaxed);
        self.sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn read(&self) -> LatencySnapshot {
        LatencySnapshot {
            counts: std::array::from_fn(|range| self.counts[range].load(Relaxed)),
            sum: Duration::from_micros(self.sum.load(Relaxed)),
        }
    }
}

// === impl LatencySnapshot ===

impl LatencySnapshot {
    /// Where the ranges end.
    pub const BOUNDS: [Duration; RANGES - 1] = [
        Duration::from_micros(100),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
    ];

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_range_it_does_not_exceed() {
        let latencies = Latencies::default();
        for bound in LatencySnapshot::BOUNDS {
            latencies.record(bound);
        }
        latencies.record(Duration::from_secs(3600));
        assert_eq!(latencies.read().counts, [1; RANGES]);
        assert!(latencies.read().sum > Duration::from_secs(3600));
        assert_eq!(latencies.read().count(), RANGES as u64);
    }
}
