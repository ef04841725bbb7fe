//! What has come of the calls so far.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Blame {
    /// Ours: nothing that was injected explains it.
    Ours,
    /// It was injected, and the caller was told rightly.
    Injected,
    /// The upstream's: it said itself that it failed.
    Upstream,
}

/// What has come of the calls of one load, kept while they are made.
#[derive(Debug)]
pub(crate) struct Tally {
    books: Mutex<Books>,
    /// Calls answered, by user.
    answered: Vec<AtomicU64>,
    pub(crate) sessions: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) vanished: AtomicU64,
}

#[derive(Debug)]
struct Books {
    all: Histogram<u64>,
    /// Since the last look.
    recent: Histogram<u64>,
    failures: BTreeMap<(Blame, String), u64>,
}

/// A kind of failure, and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failures {
    pub(crate) blame: Blame,
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// Quantiles of latency, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// How evenly the users were served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fairness {
    pub(crate) slowest: u64,
    pub(crate) median: u64,
}

/// How many kinds of failures are told apart; a message that holds a number would else fill the report.
const KINDS: usize = 200;

// === impl Tally ===

impl Tally {
    pub(crate) fn new(users: usize) -> Self {
        Self {
            books: Mutex::new(Books {
                all: histogram(),
                recent: histogram(),
                failures: BTreeMap::new(),
            }),
            answered: (0..users).map(|_| AtomicU64::new(0)).collect(),
            sessions: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            vanished: AtomicU64::new(0),
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut books = self.books();
        books.all.saturating_record(micros);
        books.recent.saturating_record(micros);
    }

    /// A call of this user's was answered while all users could have called.
    pub(crate) fn answered_among_all(&self, user: usize) {
        self.answered[user].fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, blame: Blame, what: String) {
        let mut books = self.books();
        let is_known = books.failures.contains_key(&(blame, what.clone()));
        let what =
            if is_known || books.failures.len() < KINDS { what } else { "others".to_owned() };
        *books.failures.entry((blame, what)).or_default() += 1;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.books().all.len()
    }

    pub(crate) fn count(&self, blame: Blame) -> u64 {
        let books = self.books();
        let counts = books.failures.iter().filter(|((of, _), _)| *of == blame);
        counts.map(|(_, count)| count).sum()
    }

    pub(crate) fn failures(&self) -> Vec<Failures> {
        let books = self.books();
        let kinds = books.failures.iter();
        kinds
            .map(|((blame, what), count)| Failures {
                blame: *blame,
                what: what.clone(),
                count: *count,
            })
            .collect()
    }

    pub(crate) fn latency(&self) -> Latency {
        Latency::of(&self.books().all)
    }

    /// The latency of the calls since this was asked last, and how many there were.
    pub(crate) fn recent(&self) -> (u64, Latency) {
        let mut books = self.books();
        let recent = (books.recent.len(), Latency::of(&books.recent));
        books.recent.reset();
        recent
    }

    pub(crate) fn fairness(&self) -> Fairness {
        let mut calls: Vec<_> = self.answered.iter().map(|calls| calls.load(Relaxed)).collect();
        calls.sort_unstable();
        Fairness {
            slowest: calls.first().copied().unwrap_or_default(),
            median: calls.get(calls.len() / 2).copied().unwrap_or_default(),
        }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("nothing panics while holding it")
    }
}

fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000;
    Histogram::new_with_bounds(1, HOUR, 3).expect("these bounds are allowed")
}

// === impl Latency ===

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p95: histogram.value_at_quantile(0.95),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

// === impl Fairness ===

impl Fairness {
    /// Whether the slowest user got at least half of what the median user got.
    pub(crate) const fn holds(self) -> bool {
        self.slowest * 2 >= self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_whose_they_are() {
        let tally = Tally::new(1);
        tally.failed(Blame::Ours, "one".into());
        tally.failed(Blame::Ours, "one".into());
        tally.failed(Blame::Injected, "one".into());
        assert_eq!((tally.count(Blame::Ours), tally.count(Blame::Injected)), (2, 1));
        assert_eq!(tally.failures().len(), 2);
    }

    #[test]
    fn a_user_with_less_than_half_of_the_medians_calls_is_unfairly_treated() {
        let tally = Tally::new(3);
        for (user, calls) in [(0, 4), (1, 10), (2, 10)] {
            for _ in 0..calls {
                tally.answered_among_all(user);
            }
        }
        assert!(!tally.fairness().holds());
        tally.answered_among_all(0);
        assert!(tally.fairness().holds());
    }

    #[test]
    fn what_was_recent_is_so_once() {
        let tally = Tally::new(1);
        tally.answered(Duration::from_millis(5));
        assert_eq!(tally.recent().0, 1);
        assert_eq!(tally.recent().0, 0);
        assert_eq!(tally.calls(), 1);
    }
}
