//! The sessions of one key, and those who wait for one.
//!
//! All of it is under one lock that is held for a few instructions: nobody
//! waits while holding it, and a bucket knows nothing of other buckets. The
//! rule it keeps: where there is a session with room, nobody is in line.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use smallvec::SmallVec;
use wharf_proto::transport::Link;

use crate::{
    AcquireError, CloseReason, Key, Lease, Scope, Session, breaker::Attempt, capacity::Hunger,
    line::Line, rules::KeyRules, session::Order, upstream::Upstream,
};

mod opening;
mod ticket;
mod upkeep;

pub(crate) use opening::Opening;
pub(crate) use ticket::Ticket;
pub(crate) use upkeep::{Dates, Verdict, jittered};

/// The sessions of one key.
pub(crate) struct Bucket<L: Link> {
    key: Key,
    /// What the key says, at hand where leases come back.
    is_for_one_call: bool,
    pub(crate) upstream: Arc<Upstream>,
    rules: RwLock<Arc<KeyRules>>,
    hunger: Hunger,
    /// In line for a permit. Changed only under the lock of that line.
    pub(crate) is_starved: AtomicBool,
    state: Mutex<State<L>>,
}

struct State<L: Link> {
    /// Sessions with room for another lease; the last was used last, and is
    /// leased first, so that the set shrinks to what is used. Most keys have
    /// one session, which is found without a look elsewhere.
    spare: SmallVec<[Session<L>; 1]>,
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

/// What a bucket holds at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) sessions: usize,
    /// How many of these are leased.
    pub(crate) busy: usize,
    /// How many of the others are being probed.
    pub(crate) probing: usize,
    /// The rest of them.
    pub(crate) idle: usize,
    pub(crate) opening: usize,
    pub(crate) leases: usize,
    pub(crate) waiters: usize,
}

// === impl Bucket ===

impl<L: Link> Bucket<L> {
    pub(crate) fn new(key: Key, upstream: Arc<Upstream>, hunger: Hunger) -> Self {
        let rules = RwLock::new(Arc::new(upstream.rules().for_key(&key)));
        let state = State {
            spare: SmallVec::new(),
            open: Vec::new(),
            opening: 0,
            unwanted: 0,
            given_up: Arc::default(),
            line: Line::new(),
            door: Door::Open,
        };
        let is_starved = AtomicBool::new(false);
        let is_for_one_call = matches!(key.scope(), Scope::Call(_));
        let state = Mutex::new(state);
        Self { key, is_for_one_call, upstream, rules, hunger, is_starved, state }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// What holds for the key for now.
    pub(crate) fn rules(&self) -> Arc<KeyRules> {
        Arc::clone(&self.rules.read().expect("nothing panics while holding it"))
    }

    /// Takes over what holds for its upstream from now on.
    pub(crate) fn renew(&self) {
        let rules = Arc::new(self.upstream.rules().for_key(&self.key));
        *self.rules.write().expect("nothing panics while holding it") = rules;
    }

    /// Whether its callers may find a session that was opened ahead of demand.
    pub(crate) fn keeps_warm(&self) -> bool {
        self.rules().limits.warm > 0 && self.key.is_ones_own()
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
            return Admission::Lease(self.hit(session));
        }
        let waiting = state.line.len();
        if waiting >= self.rules().limits.waiters_per_key {
            return Admission::Full { waiting };
        }
        let granted = state.line.join();
        drop(state);
        self.upstream.tally.misses.fetch_add(1, Relaxed);
        Admission::Ticket(Ticket::new(Arc::clone(self), granted))
    }

    /// Lets a caller in to a session with room, if there is one.
    pub(crate) fn admit_at_once(self: &Arc<Self>) -> Option<Lease<L>> {
        let mut state = self.lock();
        let session = if state.door == Door::Open { state.take_spare() } else { None }?;
        drop(state);
        Some(self.hit(session))
    }

    fn hit(self: &Arc<Self>, session: Session<L>) -> Lease<L> {
        self.upstream.tally.hits.fetch_add(1, Relaxed);
        Lease::new(Arc::clone(self), session)
    }

    /// Whether those in line want a session more than are being opened, and
    /// the key may have one.
    pub(crate) fn wants_session(&self) -> bool {
        self.lock().wants_session(self)
    }

    /// Counts a session as being opened, if one is still wanted.
    pub(crate) fn begin_opening(self: &Arc<Self>, attempt: Option<Attempt>) -> Option<Opening<L>> {
        let mut state = self.lock();
        if !state.wants_session(self) {
            return None;
        }
        state.opening += 1;
        Some(Opening::new(Arc::clone(self), attempt, Arc::clone(&state.given_up)))
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.lock().wanted() > 0
    }

    /// Tells those in line that no session can be opened; not where there is
    /// one already, or one on its way, that will serve them.
    pub(crate) fn refuse(&self, error: &AcquireError) {
        let mut state = self.lock();
        if !state.is_served() {
            state.line.fail(error);
        }
    }

    /// Takes a lease back: to the first in line, else to the sessions with
    /// room.
    pub(crate) fn give_back(&self, session: &Session<L>) {
        let usage = session.usage();
        let mut state = self.lock();
        let leases = usage.take_back();
        session.touch();
        if session.is_closed() {
            if leases == 0 {
                session.order(Order::Vacate);
            }
            return;
        }
        if self.is_for_one_call {
            usage.retire(CloseReason::Retired);
        }
        if let Some(reason) = usage.retiring.get() {
            if leases == 0 {
                session.close(reason.clone());
            }
            return;
        }
        if leases == 0 && usage.is_suspect.swap(false, Relaxed) {
            state.examine(session);
            session.order(Order::Examine);
            return;
        }
        usage.lend();
        if !state.line.grant(session) {
            usage.take_back();
            if leases == 0 {
                self.offer(session);
            }
            // With other leases out it has never left the spare ones.
            if leases + 1 == usage.capacity.load(Relaxed) || leases == 0 {
                state.put_spare(session.clone());
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

    /// Lets nobody in any more, and tells those in line why.
    pub(crate) fn shut(&self, why: &AcquireError) {
        let mut state = self.lock();
        state.door = Door::Shut;
        state.line.fail(why);
    }

    /// Lets callers in again.
    pub(crate) fn reopen(&self) {
        let mut state = self.lock();
        if state.door == Door::Shut {
            state.door = Door::Open;
        }
    }

    /// Gives an idle session away, to be moved to another bucket.
    pub(crate) fn give_away(&self) -> Option<Session<L>> {
        let mut state = self.lock();
        loop {
            let session = state.spare.pop()?;
            if session.is_leasable() {
                state.open.retain(|other| !other.is_same(&session));
                return Some(session);
            }
        }
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
        if is_empty {
            state.door = Door::Gone;
        }
        is_empty
    }

    pub(crate) fn held(&self) -> Held {
        let mut state = self.lock();
        let (opening, waiters) = (state.opening, state.line.len());
        let mut held = Held { opening, waiters, ..Held::default() };
        // One that has ended is only there until its owner has seen to it.
        for session in state.open.iter().filter(|session| !session.is_closed()) {
            let leases = session.usage().leases.load(Relaxed);
            held.sessions += 1;
            held.leases += leases;
            // Each is in one state, so that nobody has to subtract.
            match leases {
                1.. => held.busy += 1,
                0 if session.usage().is_probed() => held.probing += 1,
                0 => held.idle += 1,
            }
        }
        held
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
            if session.usage().lend() >= session.usage().capacity.load(Relaxed) {
                self.spare.pop();
            }
            return Some(session);
        }
    }

    /// How many sessions are being opened for those in line.
    const fn wanted(&self) -> usize {
        self.opening - self.unwanted
    }

    /// Whether those in line will be served without any more ado.
    fn is_served(&self) -> bool {
        self.wanted() > 0 || self.open.iter().any(Session::is_leasable)
    }

    /// Has a session serve those in line, as many as it can; what room is
    /// left is for who comes next.
    fn seat(&mut self, session: &Session<L>) {
        let usage = session.usage();
        while usage.leases.load(Relaxed) < usage.capacity.load(Relaxed) {
            usage.lend();
            if !self.line.grant(session) {
                usage.take_back();
                self.put_spare(session.clone());
                return;
            }
        }
    }

    /// Gives a session its place among those with room: behind those that
    /// were used before it.
    fn put_spare(&mut self, session: Session<L>) {
        self.spare.retain(|other| !other.is_same(&session));
        let used = session.idle_since();
        let before = self.spare.iter().rposition(|other| other.idle_since() <= used);
        self.spare.insert(before.map_or(0, |before| before + 1), session);
    }

    fn wants_session(&mut self, bucket: &Bucket<L>) -> bool {
        let limits = &bucket.rules().limits;
        let promised = self.wanted().saturating_mul(limits.calls_per_session);
        // Nobody ever stands in line for what is opened ahead of demand.
        let is_wanted = bucket.key.is_ahead() || self.line.len() > promised;
        if self.door != Door::Open || !is_wanted {
            return false;
        }
        // One that is on its way out is no use to those in line.
        let leasable = self.open.iter().filter(|session| session.is_leasable()).count();
        leasable + self.wanted() < limits.sessions_per_key
    }
}
