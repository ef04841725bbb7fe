//! What becomes of a bucket's sessions with time.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;
use wharf_proto::transport::Link;

use crate::{
    CloseReason, Session,
    bucket::{Bucket, State},
};

/// A session is not probed more often, whatever is set.
const LEAST_PROBE_PAUSE: Duration = Duration::from_millis(100);

/// What is to become of a session whose time may have come.
pub(crate) enum Verdict {
    /// It goes now.
    Close(CloseReason),
    /// It goes with its last lease; those in line need another.
    Retire,
    /// It is to be probed, and is leased to nobody meanwhile.
    Examine,
    /// It is asked again then.
    Until(Option<Instant>),
}

/// What a session's owner knows of its times.
#[derive(Debug, Default)]
pub(crate) struct Dates {
    /// When it will have reached its age.
    pub(crate) dies: Option<Instant>,
    /// When it last passed a probe.
    pub(crate) passed: Option<Instant>,
}

// === impl Bucket ===

impl<L: Link> Bucket<L> {
    /// Whether a session's time has come: nobody has used it for long, or it
    /// is old. An old one that is in use ends with its last lease.
    pub(crate) fn judge(&self, session: &Session<L>, dates: &Dates) -> Verdict {
        let mut state = self.lock();
        if !state.lists(session) {
            // It is on its way to another bucket, which will say so.
            return Verdict::Until(dates.dies);
        }
        let now = Instant::now();
        let usage = session.usage();
        let is_used = usage.leases.load(Relaxed) > 0;
        // One in use is looked at again when it could at the soonest be idle.
        // A time too long to add is no limit.
        let idle_since = if is_used { now } else { session.idle_since() };
        let idle_until = idle_since.checked_add(self.rules().limits.idle_timeout);
        if dates.dies.is_some_and(|dies| dies <= now) {
            usage.retire(CloseReason::Age);
        } else if idle_until.is_some_and(|until| until <= now) && !is_used {
            usage.retire(CloseReason::Idle);
        }
        if let Some(reason) = usage.retiring.get() {
            state.spare.retain(|spare| !spare.is_same(session));
            return if is_used { Verdict::Retire } else { Verdict::Close(reason.clone()) };
        }
        let worked = dates.passed.map_or(idle_since, |passed| passed.max(idle_since));
        let probe = self.probe_due(session, worked);
        if probe.is_some_and(|due| due <= now) && !is_used {
            state.examine(session);
            return Verdict::Examine;
        }
        Verdict::Until(dates.dies.into_iter().chain(idle_until).chain(probe).min())
    }

    fn probe_due(&self, session: &Session<L>, worked: Instant) -> Option<Instant> {
        let limits = &self.rules().limits;
        let is_due = limits.has_probes() && !session.usage().is_examined.load(Relaxed);
        let after = limits.probe_after.max(LEAST_PROBE_PAUSE);
        if is_due { worked.checked_add(after) } else { None }
    }

    /// Another session of the upstream has been found dead. Says whether this
    /// one is to be probed now; one in use may have to be when it no longer
    /// is, if no answer comes before.
    pub(crate) fn suspect(&self, session: &Session<L>) -> bool {
        let mut state = self.lock();
        let usage = session.usage();
        let is_examined = usage.is_examined.load(Relaxed);
        let is_free = session.is_leasable() && state.lists(session);
        if !self.rules().limits.has_probes() || is_examined || !is_free {
            return false;
        }
        let is_used = usage.leases.load(Relaxed) > 0;
        if is_used {
            usage.is_suspect.store(true, Relaxed);
        } else {
            state.examine(session);
        }
        !is_used
    }

    /// The session has passed its probe, and serves again.
    pub(crate) fn acquit(&self, session: &Session<L>) {
        let mut state = self.lock();
        session.usage().is_examined.store(false, Relaxed);
        if !session.is_leasable() {
            return;
        }
        state.seat(session);
        if session.usage().leases.load(Relaxed) == 0 {
            self.offer(session);
        }
    }
}

// === impl State ===

impl<L: Link> State<L> {
    fn lists(&self, session: &Session<L>) -> bool {
        self.open.iter().any(|open| open.is_same(session))
    }

    /// Takes a session that nobody uses out of service until its owner has
    /// found out whether it still works. Those who come meanwhile get another
    /// that is idle, or have one opened where the limits allow it, and take
    /// what is there first: mostly this one, as a probe is one round trip and
    /// a handshake more. What is one client's alone is worth the wait.
    pub(super) fn examine(&mut self, session: &Session<L>) {
        session.usage().is_examined.store(true, Relaxed);
        self.spare.retain(|spare| !spare.is_same(session));
    }
}

/// How long until `age` with up to a tenth taken off, by a number that
/// differs from session to session.
pub(crate) fn jittered(age: Duration, number: u64) -> Duration {
    // Spreads consecutive numbers over the whole range.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    age - age / 10_240 * spread as u32
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant};
    use wharf_proto::mock;

    use crate::{
        Key, Pool, Settings,
        bucket::{Dates, Verdict},
    };

    #[tokio::test(start_paused = true)]
    async fn a_session_on_its_way_to_another_bucket_is_none_of_the_old_ones_concern() {
        let (connect, mut upstream) = mock::pair();
        let pool = Pool::new(connect, Settings::default());
        let (key, deadline) = (Key::client(1), Instant::now() + Duration::from_secs(60));
        let (lease, _peer) = tokio::join!(pool.acquire(&key, deadline), upstream.accept());
        drop(lease.expect("there is a session"));
        let bucket = pool.inner().registry.find(&key).expect("it has a session");
        let session = bucket.give_away().expect("nobody uses it");

        let dates = Dates { dies: Some(Instant::now()), passed: None };
        assert!(
            matches!(bucket.judge(&session, &dates), Verdict::Until(when) if when == dates.dies)
        );
        assert!(!bucket.suspect(&session));
        assert!(session.is_leasable());
    }
}
