//! How much of what streams have said is kept, and the books about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How much of what streams have said is kept, for clients whose connection
/// breaks and who ask for the rest of it (GET with `Last-Event-ID`).
///
/// Where there is no room, the oldest events of a stream go first; a client
/// that asks for more than is kept gets what is. Answers that are JSON are no
/// streams and cost nothing of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// How many events of one stream are kept. 256; zero keeps nothing, and
    /// events have no ids then.
    pub events: usize,
    /// How many streams of one session are kept. 64.
    pub streams: usize,
    /// How many bytes are kept in one session. 32 MiB.
    pub session_bytes: usize,
    /// How many bytes are kept in all. 256 MiB.
    pub total_bytes: usize,
    /// How long an event is kept. 5 min; zero keeps nothing, as for `events`.
    pub age: Duration,
    /// How long clients are told to wait before they ask (from 2025-11-25
    /// on). 1 s.
    pub retry: Duration,
}

/// The bytes that are kept in all sessions.
#[derive(Debug)]
pub(super) struct Total {
    used: AtomicUsize,
    limit: usize,
    /// Told when most of it is used.
    scarce: Notify,
}

/// The bytes that are kept in one session.
#[derive(Debug)]
pub(super) struct Ledger {
    used: AtomicUsize,
    limit: usize,
    total: Arc<Total>,
}

/// Room for an event that is kept. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Room {
    ledger: Arc<Ledger>,
    bytes: usize,
}

// === impl Replay ===

impl Replay {
    /// Whether anything is kept at all.
    pub(super) const fn is_on(&self) -> bool {
        self.events > 0
            && self.streams > 0
            && self.session_bytes > 0
            && self.total_bytes > 0
            && !self.age.is_zero()
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            events: 256,
            streams: 64,
            session_bytes: 32 * 1024 * 1024,
            total_bytes: 256 * 1024 * 1024,
            age: Duration::from_secs(5 * 60),
            retry: Duration::from_secs(1),
        }
    }
}

// === impl Total ===

impl Total {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, scarce: Notify::new() })
    }

    /// Waits until most of it is used: time to forget what is least likely to
    /// be asked for.
    pub(super) async fn scarce(&self) {
        self.scarce.notified().await;
    }
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(limit: usize, total: &Arc<Total>) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, total: Arc::clone(total) })
    }

    /// Whether so much could be kept if nothing else were.
    pub(super) fn could_hold(&self, bytes: usize) -> bool {
        bytes <= self.limit.min(self.total.limit)
    }

    /// Whether more than half of it is used.
    pub(super) fn is_scarce(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit / 2
    }

    /// Takes room for an event, where there is any.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let total = &self.total;
        if !add(&self.used, bytes, self.limit) {
            return None;
        }
        // From here on a drop gives the room of the session back.
        let is_given = add(&total.used, bytes, total.limit);
        if !is_given {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        if total.used.load(Ordering::Relaxed) > total.limit / 4 * 3 {
            total.scarce.notify_one();
        }
        is_given.then(|| Room { ledger: Arc::clone(self), bytes })
    }
}

// === impl Room ===

impl Drop for Room {
    fn drop(&mut self) {
        self.ledger.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.ledger.total.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Adds, unless that would be more than the limit.
fn add(used: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let sum = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_may_be_zero_where_anything_is_kept() {
        assert!(Replay::default().is_on());
        let nones: [fn(&mut Replay); 5] = [
            |replay| replay.events = 0,
            |replay| replay.streams = 0,
            |replay| replay.session_bytes = 0,
            |replay| replay.total_bytes = 0,
            |replay| replay.age = Duration::ZERO,
        ];
        for none in nones {
            let mut replay = Replay::default();
            none(&mut replay);
            assert!(!replay.is_on(), "{replay:?}");
        }
    }

    #[test]
    fn room_is_given_up_to_each_limit_and_comes_back() {
        let total = Total::new(15);
        let (one, other) = (Ledger::new(10, &total), Ledger::new(10, &total));
        let ten = one.take(10).expect("is free");
        assert!(one.take(1).is_none(), "the session's is used up");
        assert!(other.take(6).is_none(), "there are five in all");
        let five = other.take(5).expect("are free");
        drop(ten);
        assert!(other.take(6).is_none(), "of its own it has five more");
        drop(five);
        assert!(other.take(10).is_some());
        assert_eq!(total.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_larger_than_everything_is_known_to_be() {
        let ledger = Ledger::new(10, &Total::new(8));
        assert!(ledger.could_hold(8));
        assert!(!ledger.could_hold(9));
    }

    #[tokio::test]
    async fn scarcity_is_told() {
        let total = Total::new(100);
        let ledger = Ledger::new(100, &total);
        let _half = ledger.take(50);
        assert!(!ledger.is_scarce());
        let _more = ledger.take(26);
        assert!(ledger.is_scarce());
        total.scarce().await;
    }
}
