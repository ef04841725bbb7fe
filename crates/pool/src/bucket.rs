//! The sessions of one key, and those who wait for one.
//!
//! All of it is under one lock that is held for a few instructions: nobody
//! waits while holding it, and a bucket knows nothing of other buckets. The
//! rule it keeps: where there is a session with room, nobody is in line.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};
use wharf_proto::transport::Link;

use crate::{
    CloseReason, Key, Lease, OpenError, Scope, Session,
    capacity::Hunger,
    figures::Tally,
    line::{Grant, Line},
    session::Order,
    settings::Limits,
};

/// The sessions of one key.
pub(crate) struct Bucket<L: Link> {
    key: Key,
    pub(crate) limits: Limits,
    pub(crate) tally: Arc<Tally>,
    hunger: Hunger,
    /// In line for a permit. Changed only under the lock of that line.
    pub(crate) is_starved: AtomicBool,
    state: Mutex<State<L>>,
}

struct State<L: Link> {
    /// Sessions with room for another lease; the last was used last, and is
    /// leased first, so that the set shrinks to what is used.
    spare: Vec<Session<L>>,
    /// All open sessions of the key.
    open: Vec<Session<L>>,
    /// Sessions being opened.
    opening: usize,
    /// How many of these have been given up meanwhile.
    unwanted: usize,
    /// What tells those that have not, once they are.
    given_up: Arc<OnceLock<CloseReason>>,
    line: Line<L>,
    /// Nobody is let in any more; callers are told to come back or go.
    door: Door,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// Empty, and taken out of the registry: ask there for a new one.
    Gone,
    /// Shutting down.
    Shut,
}

/// What a caller finds at the door.
pub(crate) enum Admission<L: Link> {
    /// A lease.
    Lease(Lease<L>),
    /// A place in the line.
    Ticket(Ticket<L>),
    /// No place.
    Full { waiting: usize },
    /// This bucket is no more: ask the registry for another.
    Gone,
    /// Nothing will be leased again.
    Shut,
}

/// A place in the line. Dropping it leaves the line, and gives back what had
/// been granted meanwhile.
pub(crate) struct Ticket<L: Link> {
    bucket: Arc<Bucket<L>>,
    granted: oneshot::Receiver<Grant<L>>,
}

/// A session that is being opened. Dropping it tells those in line that
/// there will be none.
pub(crate) struct Opening<L: Link> {
    bucket: Arc<Bucket<L>>,
    given_up: Arc<OnceLock<CloseReason>>,
    failure: Option<OpenError>,
}

/// What is to become of a session whose time may have come.
pub(crate) enum Verdict {
    /// It goes now.
    Close(CloseReason),
    /// It goes with its last lease; those in line need another.
    Retire,
    /// It is asked again then.
    Until(Option<Instant>),
}

// === impl Bucket ===

impl<L: Link> Bucket<L> {
    pub(crate) fn new(key: Key, limits: Limits, tally: Arc<Tally>, hunger: Hunger) -> Self {
        let state = State {
            spare: Vec::new(),
            open: Vec::new(),
            opening: 0,
            unwanted: 0,
            given_up: Arc::default(),
            line: Line::new(),
            door: Door::Open,
        };
        let is_starved = AtomicBool::new(false);
        Self { key, limits, tally, hunger, is_starved, state: Mutex::new(state) }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Lets a caller in: to a session with room, else to the line.
    pub(crate) fn admit(self: &Arc<Self>) -> Admission<L> {
        let mut state = self.lock();
        match state.door {
            Door::Open => {}
            Door::Gone => return Admission::Gone,
            Door::Shut => return Admission::Shut,
        }
        if let Some(session) = state.take_spare() {
            drop(state);
            self.tally.hits.fetch_add(1, Relaxed);
            return Admission::Lease(Lease::new(Arc::clone(self), session));
        }
        let waiting = state.line.len();
        if waiting >= self.limits.waiters_per_key {
            return Admission::Full { waiting };
        }
        let granted = state.line.join();
        drop(state);
        self.tally.misses.fetch_add(1, Relaxed);
        Admission::Ticket(Ticket { bucket: Arc::clone(self), granted })
    }

    /// Whether those in line want a session more than are being opened, and
    /// the key may have one.
    pub(crate) fn wants_session(&self) -> bool {
        self.lock().wants_session(&self.limits)
    }

    /// Counts a session as being opened, if one is still wanted.
    pub(crate) fn begin_opening(self: &Arc<Self>) -> Option<Opening<L>> {
        let mut state = self.lock();
        if !state.wants_session(&self.limits) {
            return None;
        }
        state.opening += 1;
        let given_up = Arc::clone(&state.given_up);
        let failure = Some(OpenError::OwnerGone);
        Some(Opening { bucket: Arc::clone(self), given_up, failure })
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.lock().wanted() > 0
    }

    /// Takes a lease back: to the first in line, else to the sessions with
    /// room.
    pub(crate) fn give_back(&self, session: Session<L>) {
        let usage = session.usage();
        let mut state = self.lock();
        let leases = usage.leases.fetch_sub(1, Relaxed) - 1;
        session.touch();
        if session.is_closed() {
            return;
        }
        if let Scope::Call(_) = self.key.scope() {
            usage.retiring.get_or_init(|| CloseReason::Retired);
        }
        if let Some(reason) = usage.retiring.get() {
            if leases == 0 {
                session.close(reason.clone());
            }
            return;
        }
        usage.leases.fetch_add(1, Relaxed);
        if let Err(session) = state.line.grant(session) {
            session.usage().leases.fetch_sub(1, Relaxed);
            if leases == 0 {
                self.offer(&session);
            }
            // With other leases out it has never left the spare ones.
            if leases + 1 == session.usage().capacity || leases == 0 {
                state.put_spare(session);
            }
        }
    }

    /// Has a session's owner see whether another key needs the room. Read
    /// under the lock: a starved key either finds the session idle here, or
    /// has said before that it is starved.
    fn offer(&self, session: &Session<L>) {
        if self.hunger.is_felt() {
            session.order(Order::MakeRoom);
        }
    }

    /// Ends every session nobody uses, the others with their last lease, and
    /// those being opened when they are open.
    pub(crate) fn retire_all(&self, reason: &CloseReason) {
        let mut state = self.lock();
        state.spare.clear();
        state.unwanted = state.opening;
        let _ = std::mem::take(&mut state.given_up).set(reason.clone());
        state.open.iter().for_each(|session| session.retire(reason.clone()));
    }

    /// Lets nobody in any more.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.door = Door::Shut;
        state.line.fail(&OpenError::Shutdown);
    }

    /// Ends one idle session, to make room for another key's.
    pub(crate) fn evict_one(&self) -> bool {
        let mut state = self.lock();
        let idle = |session: &Session<L>| {
            session.usage().leases.load(Relaxed) == 0 && session.is_leasable()
        };
        // The first has been unused for longest.
        let Some(at) = state.spare.iter().position(idle) else {
            return false;
        };
        let session = state.spare.remove(at);
        session.usage().makes_room.store(true, Relaxed);
        session.retire(CloseReason::Evicted);
        true
    }

    /// Whether a session's time has come: nobody has used it for long, or it
    /// is old. An old one that is in use ends with its last lease.
    pub(crate) fn judge(&self, session: &Session<L>, dies: Option<Instant>) -> Verdict {
        let mut state = self.lock();
        let now = Instant::now();
        let usage = session.usage();
        let is_used = usage.leases.load(Relaxed) > 0;
        // A time too long to add is no limit.
        let idle_until = session.idle_since().checked_add(self.limits.idle_timeout);
        if dies.is_some_and(|dies| dies <= now) {
            usage.retiring.get_or_init(|| CloseReason::Age);
        } else if !is_used && idle_until.is_some_and(|until| until <= now) {
            usage.retiring.get_or_init(|| CloseReason::Idle);
        }
        if let Some(reason) = usage.retiring.get() {
            state.spare.retain(|spare| !spare.is_same(session));
            return if is_used { Verdict::Retire } else { Verdict::Close(reason.clone()) };
        }
        // One in use is looked at again when it could at the soonest be idle.
        let soonest = if is_used { now.checked_add(self.limits.idle_timeout) } else { idle_until };
        Verdict::Until(dies.into_iter().chain(soonest).min())
    }

    /// Forgets a session that has ended.
    pub(crate) fn forget(&self, session: &Session<L>) {
        let mut state = self.lock();
        state.open.retain(|other| !other.is_same(session));
        state.spare.retain(|other| !other.is_same(session));
    }

    /// Closes the door for good if nobody is in and nobody waits. Called
    /// under the registry's lock, so that nobody comes in meanwhile.
    pub(crate) fn leave_if_empty(&self) -> bool {
        let mut state = self.lock();
        let is_empty = state.open.is_empty() && state.opening == 0 && state.line.is_empty();
        if is_empty && state.door == Door::Open {
            state.door = Door::Gone;
        }
        is_empty
    }

    /// Open sessions, sessions being opened, leases, waiters.
    pub(crate) fn count(&self) -> (usize, usize, usize, usize) {
        let mut state = self.lock();
        let leases = state.open.iter().map(|session| session.usage().leases.load(Relaxed)).sum();
        (state.open.len(), state.opening, leases, state.line.len())
    }

    /// One of the open sessions, for what its handshake says.
    pub(crate) fn any_session(&self) -> Option<Session<L>> {
        self.lock().open.iter().find(|session| session.is_leasable()).cloned()
    }
}

impl<L: Link> fmt::Debug for Bucket<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({:?})", self.key)
    }
}

// === impl State ===

impl<L: Link> State<L> {
    /// A session with room, its lease counted.
    fn take_spare(&mut self) -> Option<Session<L>> {
        loop {
            let session = self.spare.last()?;
            if !session.is_leasable() {
                // Its owner is about to say so.
                self.spare.pop();
                continue;
            }
            let session = session.clone();
            let leases = session.usage().leases.fetch_add(1, Relaxed) + 1;
            if leases >= session.usage().capacity {
                self.spare.pop();
            }
            return Some(session);
        }
    }

    /// How many sessions are being opened for those in line.
    const fn wanted(&self) -> usize {
        self.opening - self.unwanted
    }

    /// Counts an opening as over; says why nobody wants its session any more.
    fn end(&mut self, opening: &Opening<L>) -> Option<CloseReason> {
        let given_up = opening.given_up.get().cloned();
        self.opening -= 1;
        self.unwanted -= usize::from(given_up.is_some());
        given_up
    }

    /// Makes a session the one to be leased next.
    fn put_spare(&mut self, session: Session<L>) {
        self.spare.retain(|other| !other.is_same(&session));
        self.spare.push(session);
    }

    fn wants_session(&mut self, limits: &Limits) -> bool {
        let promised = self.wanted().saturating_mul(limits.calls_per_session);
        if self.door != Door::Open || self.line.len() <= promised {
            return false;
        }
        // One that is on its way out is no use to those in line.
        let leasable = self.open.iter().filter(|session| session.is_leasable()).count();
        leasable + self.wanted() < limits.sessions_per_key
    }
}

// === impl Ticket ===

impl<L: Link> Ticket<L> {
    pub(crate) async fn granted(&mut self) -> Result<Lease<L>, OpenError> {
        let session = (&mut self.granted).await.unwrap_or(Err(OpenError::OwnerGone))?;
        Ok(Lease::new(Arc::clone(&self.bucket), session))
    }
}

impl<L: Link> Drop for Ticket<L> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(Ok(session)) = self.granted.try_recv() {
            self.bucket.give_back(session);
        }
    }
}

// === impl Opening ===

impl<L: Link> Opening<L> {
    /// The session is open: serves those in line.
    pub(crate) fn succeed(mut self, session: &Session<L>) {
        self.failure = None;
        session.touch();
        let mut state = self.bucket.lock();
        let given_up = state.end(&self);
        state.open.push(session.clone());
        if let Some(reason) = given_up {
            session.retire(reason);
            return;
        }
        let usage = session.usage();
        while usage.leases.load(Relaxed) < usage.capacity {
            usage.leases.fetch_add(1, Relaxed);
            if state.line.grant(session.clone()).is_err() {
                usage.leases.fetch_sub(1, Relaxed);
                state.put_spare(session.clone());
                break;
            }
        }
        if usage.leases.load(Relaxed) == 0 {
            self.bucket.offer(session);
        }
    }

    /// There is no session.
    pub(crate) fn fail(mut self, error: OpenError) {
        self.failure = Some(error);
    }
}

impl<L: Link> Drop for Opening<L> {
    fn drop(&mut self) {
        let Some(error) = self.failure.take() else {
            return;
        };
        self.bucket.tally.failed_to_open();
        let mut state = self.bucket.lock();
        let given_up = state.end(self);
        // With other sessions there, or on their way, those in line are
        // served by them.
        let is_last = state.wanted() == 0 && !state.open.iter().any(Session::is_leasable);
        if given_up.is_none() && is_last {
            state.line.fail(&error);
        }
    }
}

/// How long until `age` with up to a tenth taken off, by a number that
/// differs from session to session.
pub(crate) fn jittered(age: Duration, number: u64) -> Duration {
    // Spreads consecutive numbers over the whole range.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    age - age / 10_240 * spread as u32
}
