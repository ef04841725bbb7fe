//! Whatever callers, upstreams and time do, and in whatever order: the books
//! are right, the limits hold, and nobody waits for what is there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use proptest::{collection::vec, prelude::*};
use wharf_pool::{
    Afterwards, BreakerLimits, Key, Lease, Limits, Probe, Scope, Session, Settings,
    UpstreamSnapshot,
};
use wharf_proto::{
    Request, RequestId,
    mock::{Heard, MockCall, MockLink, MockOpening, MockPeer, MockUpstream},
    transport::EndReason,
};

use crate::support::{
    Asking, Calling, EMPTY, MockPool, ask, ask_until, books, call, json, key, pass, pool_with,
    read_request, secs, settle,
};

mod support;

/// Sessions there may be at once.
const SESSIONS: usize = 3;

/// What can happen. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    AskBriefly(usize),
    GiveUp(usize),
    LetIn(usize),
    Refuse(usize),
    Call(usize),
    Answer(usize),
    Cancel(usize),
    GiveBack(usize),
    CloseSession(usize),
    EndLink(usize),
    Retire(usize),
    /// The upstreams lose all sessions.
    Restart,
    Drain(usize),
    Wait(Duration),
}

/// One key, alone at an upstream of its own so that its figures are its own.
struct Side {
    key: Key,
    sessions: usize,
    calls: usize,
    /// How many openings have failed.
    failures: u64,
    /// One has, and callers still wait: it is up to the sessions there are to
    /// serve them.
    has_failed: bool,
}

struct Model {
    pool: MockPool,
    upstream: MockUpstream,
    sides: Vec<Side>,
    asking: Vec<(usize, Asking)>,
    leases: Vec<Held>,
    openings: Vec<MockOpening>,
    peers: Vec<Peer>,
    arrived: Vec<Arrived>,
    calls: Vec<UnderWay>,
    number: u64,
    /// Whose each session is that has been leased.
    owners: HashMap<u64, usize>,
    /// The requests that have got to an upstream.
    executed: HashSet<u64>,
}

struct Held {
    side: usize,
    lease: Lease<MockLink>,
    /// Its session goes with its last lease.
    is_retired: bool,
}

/// The upstream's end of a session, until it has heard a goodbye.
struct Peer {
    number: u64,
    peer: MockPeer,
    has_ended: bool,
}

/// A call as the upstream has it.
struct Arrived {
    at: u64,
    call: MockCall,
}

struct UnderWay {
    session: Session<MockLink>,
    nonce: u64,
    calling: Calling,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    let step = prop_oneof![
        6 => at().prop_map(Step::Ask),
        1 => at().prop_map(Step::AskBriefly),
        2 => at().prop_map(Step::GiveUp),
        6 => at().prop_map(Step::LetIn),
        1 => at().prop_map(Step::Refuse),
        4 => at().prop_map(Step::Call),
        3 => at().prop_map(Step::Answer),
        2 => at().prop_map(Step::Cancel),
        4 => at().prop_map(Step::GiveBack),
        1 => at().prop_map(Step::CloseSession),
        1 => at().prop_map(Step::EndLink),
        2 => at().prop_map(Step::Retire),
        1 => Just(Step::Restart),
        1 => at().prop_map(Step::Drain),
        2 => (0..70_u64).prop_map(|time| Step::Wait(secs(time))),
    ];
    vec(step, 1..100)
}

proptest! {
    #[test]
    fn the_books_balance_the_limits_hold_and_nobody_waits_for_what_is_there(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime starts");
        runtime.block_on(async {
            let mut model = Model::new();
            for step in steps {
                model.take(&step).await;
                model.look().await;
                model.check();
            }
            model.end().await;
        });
    }
}

/// The one that `number` chooses.
fn chosen<T>(all: &mut Vec<T>, number: usize) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(number % all.len()))
}

// === What happens ===

impl Model {
    fn new() -> Self {
        let side = |name: &str, scope, sessions, calls| Side {
            key: key(name, scope),
            sessions,
            calls,
            failures: 0,
            has_failed: false,
        };
        let sides = vec![
            side("a", Scope::Client(1), 1, usize::MAX),
            side("b", Scope::Identity("ann".into()), 2, 1),
            side("c", Scope::Shared, 2, 2),
        ];
        let (pool, upstream) = pool_with(|settings: &mut Settings| {
            settings.sessions = SESSIONS;
            for side in &sides {
                let limits = Limits {
                    sessions_per_key: side.sessions,
                    calls_per_session: side.calls,
                    open_timeout: secs(30),
                    idle_timeout: secs(60),
                    // One is kept warm for clients to come.
                    warm: usize::from(matches!(side.key.scope(), Scope::Client(_))),
                    probes: vec![Probe::Ping],
                    probe_after: secs(20),
                    probe_timeout: secs(5),
                    breaker: BreakerLimits { failures: 0, ..BreakerLimits::default() },
                    ..Limits::default()
                };
                settings.upstreams.insert(Arc::clone(side.key.upstream()), limits);
            }
        });
        Self {
            pool,
            upstream,
            sides,
            asking: Vec::new(),
            leases: Vec::new(),
            openings: Vec::new(),
            peers: Vec::new(),
            arrived: Vec::new(),
            calls: Vec::new(),
            number: 0,
            owners: HashMap::new(),
            executed: HashSet::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Ask(side) => self.ask(side, None),
            Step::AskBriefly(side) => self.ask(side, Some(secs(3))),
            Step::GiveUp(number) => drop(chosen(&mut self.asking, number)),
            Step::LetIn(number) => self.let_in(number).await,
            Step::Refuse(number) => {
                if let Some(opening) = chosen(&mut self.openings, number) {
                    opening.refuse();
                }
            }
            Step::Call(number) => self.call(number),
            Step::Answer(number) => {
                if let Some(Arrived { call, .. }) = chosen(&mut self.arrived, number) {
                    // A probe has none.
                    let nonce = call.request.param("nonce").unwrap_or_else(|| json("0"));
                    call.answer(&format!(r#"{{"nonce":{nonce}}}"#));
                }
            }
            Step::Cancel(number) => drop(chosen(&mut self.calls, number)),
            Step::GiveBack(number) => drop(chosen(&mut self.leases, number)),
            Step::CloseSession(number) => {
                let number = number % self.leases.len().max(1);
                if let Some(held) = self.leases.get(number) {
                    held.lease.close(wharf_pool::CloseReason::Retired);
                }
            }
            Step::EndLink(number) => {
                let number = number % self.peers.len().max(1);
                if let Some(ends) = self.peers.get_mut(number) {
                    ends.peer.end(EndReason::StreamEnded);
                    ends.has_ended = true;
                }
            }
            Step::Retire(side) => self.retire(side % self.sides.len()),
            Step::Restart => {
                for ends in &mut self.peers {
                    ends.peer.end(EndReason::SessionGone);
                    ends.has_ended = true;
                }
                // Calls that are on their way have a moment to hear of it by
                // themselves; none has more than that.
                settle().await;
                pass(Duration::from_millis(250)).await;
            }
            Step::Drain(side) => {
                let id = Arc::clone(self.sides[side % self.sides.len()].key.upstream());
                self.pool.drain(&id, tokio::time::Instant::now(), Afterwards::Open).await;
            }
            Step::Wait(time) => pass(time).await,
        }
    }

    fn ask(&mut self, side: usize, patience: Option<Duration>) {
        let side = side % self.sides.len();
        let key = &self.sides[side].key;
        let asking = match patience {
            Some(time) => ask_until(&self.pool, key, tokio::time::Instant::now() + time),
            None => ask(&self.pool, key),
        };
        self.asking.push((side, asking));
    }

    async fn let_in(&mut self, number: usize) {
        if let Some(opening) = chosen(&mut self.openings, number)
            && !opening.is_abandoned()
        {
            let mut peer = opening.accept();
            peer.shake_hands().await;
            self.number += 1;
            self.peers.push(Peer { number: self.number, peer, has_ended: false });
        }
    }

    fn call(&mut self, number: usize) {
        if self.leases.is_empty() {
            return;
        }
        let session = (*self.leases[number % self.leases.len()].lease).clone();
        self.number += 1;
        let nonce = self.number;
        let calling = call(&session, &asked(nonce));
        self.calls.push(UnderWay { session, nonce, calling });
    }

    fn retire(&mut self, side: usize) {
        self.pool.retire(&self.sides[side].key);
        for held in self.leases.iter_mut().filter(|held| held.side == side) {
            held.is_retired = true;
        }
    }
}

/// All calls have the same id: their callers know nothing of each other.
fn asked(nonce: u64) -> Request {
    read_request(&format!(
        r#"{{"jsonrpc":"2.0","id":"same","method":"tools/call","params":{{"nonce":{nonce}}}}}"#
    ))
}

fn cancel(arrived: &mut Vec<Arrived>, at: u64, id: &RequestId) {
    let given_up = arrived.iter().position(|arrived| {
        arrived.at == at && arrived.call.request.id() == id && arrived.call.is_abandoned()
    });
    arrived.remove(given_up.expect("only what has been given up is cancelled"));
}

// === What is seen of it ===

impl Model {
    /// Sees what has come of it on both sides, once everything has settled.
    async fn look(&mut self) {
        settle().await;
        while let Some(Some(opening)) = self.upstream.opening().now_or_never() {
            self.openings.push(opening);
        }
        self.openings.retain(|opening| !opening.is_abandoned());
        self.collect_leases().await;
        self.hear();
        self.collect_answers().await;
        for side in &mut self.sides {
            let seen = figures(&self.pool, &side.key);
            side.has_failed |= seen.open_failures > side.failures;
            side.has_failed &= seen.waiters > 0;
            side.failures = seen.open_failures;
        }
    }

    async fn collect_leases(&mut self) {
        for (side, mut asking) in std::mem::take(&mut self.asking) {
            if !asking.is_done().await {
                self.asking.push((side, asking));
            } else if let Ok(lease) = asking.outcome().await {
                let owner = *self.owners.entry(lease.number()).or_insert(side);
                assert_eq!(owner, side, "a session was leased to another");
                self.leases.push(Held { side, lease, is_retired: false });
            }
        }
    }

    /// Every call given up on a session that lives is cancelled once, and no
    /// other is.
    fn hear(&mut self) {
        let (arrived, executed) = (&mut self.arrived, &mut self.executed);
        self.peers.retain_mut(|Peer { number, peer, has_ended }| {
            let at = *number;
            let mut lives = true;
            for heard in peer.heard_so_far() {
                match heard {
                    Heard::Call(call) => {
                        let nonce = call.request.param("nonce").and_then(|nonce| nonce.read().ok());
                        let is_new = nonce.is_none_or(|nonce| executed.insert(nonce));
                        assert!(is_new, "a request was made twice");
                        arrived.push(Arrived { at, call });
                    }
                    Heard::Notification(cancelled) => {
                        let id = cancelled.cancelled_id().expect("it is a cancellation");
                        cancel(arrived, at, &id);
                    }
                    Heard::Response(response) => panic!("{response:?} answers nothing"),
                    Heard::Goodbye => lives = false,
                }
            }
            let is_given_up = |arrived: &Arrived| arrived.at == at && arrived.call.is_abandoned();
            let is_untold = lives && !*has_ended && arrived.iter().any(is_given_up);
            assert!(!is_untold, "a call was given up and the upstream not told");
            lives
        });
        // These went with their sessions.
        arrived.retain(|arrived| !arrived.call.is_abandoned());
    }

    async fn collect_answers(&mut self) {
        for mut under_way in std::mem::take(&mut self.calls) {
            if !under_way.calling.is_done().await {
                assert!(!under_way.session.is_closed(), "a call outlived its session");
                self.calls.push(under_way);
            } else if let Ok(answer) = under_way.calling.outcome().await {
                let nonce = answer.result().and_then(|result| result.field("nonce"));
                let nonce = nonce.and_then(|nonce| nonce.read().ok());
                assert_eq!(nonce, Some(under_way.nonce), "an answer went astray");
                assert_eq!(answer.id(), Some(&"same".into()));
            } else {
                assert!(under_way.session.is_closed(), "a call failed on a session that lives");
            }
        }
    }

    fn check(&self) {
        let held = books(&self.pool);
        let warm: usize = self.pool.snapshot().upstreams.iter().map(|seen| seen.warm).sum();
        let taken = held.sessions + held.opening + warm;
        assert!(taken <= SESSIONS, "{held:?}");
        let has_idle = (0..self.sides.len()).any(|side| self.idle_sessions(side) > 0);
        for (index, side) in self.sides.iter().enumerate() {
            let seen = figures(&self.pool, &side.key);
            let leases = self.living(index, |_| true).count();
            assert_eq!(seen.leases, leases, "the leases of {:?}", side.key);
            let asking = self.asking.iter().filter(|(asked, _)| *asked == index).count();
            assert_eq!(seen.waiters, asking, "the waiters of {:?}", side.key);

            let retired = self.distinct(index, |held| held.is_retired);
            let in_service = seen.sessions - retired;
            assert!(in_service <= side.sessions, "{seen:?}");
            if seen.waiters == 0 {
                continue;
            }
            let leased = self.living(index, |held| !held.is_retired).count();
            // What is being probed serves nobody until it has passed.
            let serving = in_service - seen.probing;
            assert_eq!(leased, serving.saturating_mul(side.calls), "there is room: {seen:?}");
            if seen.opening == 0 && in_service < side.sessions && !side.has_failed {
                let is_full = taken == SESSIONS;
                assert!(is_full && !has_idle, "one could be opened: {seen:?} of {held:?}");
            }
        }
    }

    /// The leases of a key whose sessions have not ended.
    fn living(&self, side: usize, which: impl Fn(&Held) -> bool) -> impl Iterator<Item = &Held> {
        let of_side = self.leases.iter().filter(move |held| held.side == side);
        of_side.filter(move |held| which(held) && !held.lease.is_closed())
    }

    fn idle_sessions(&self, side: usize) -> usize {
        let seen = figures(&self.pool, &self.sides[side].key);
        seen.sessions - seen.probing - self.distinct(side, |_| true)
    }

    /// How many sessions the leases are of.
    fn distinct(&self, side: usize, which: impl Fn(&Held) -> bool) -> usize {
        let mut sessions: Vec<&Session<MockLink>> = Vec::new();
        for held in self.living(side, which) {
            if !sessions.iter().any(|session| session.is_same(&held.lease)) {
                sessions.push(&held.lease);
            }
        }
        sessions.len()
    }

    /// When everybody has gone home, nothing is left.
    async fn end(mut self) {
        self.asking.clear();
        self.calls.clear();
        self.leases.clear();
        settle().await;
        self.openings.into_iter().for_each(MockOpening::refuse);
        pass(secs(300)).await;
        assert_eq!(books(&self.pool), EMPTY);
    }
}

fn figures(pool: &MockPool, key: &Key) -> UpstreamSnapshot {
    let mut upstreams = pool.snapshot().upstreams.into_iter();
    upstreams.find(|seen| *seen.upstream == **key.upstream()).unwrap_or_default()
}
