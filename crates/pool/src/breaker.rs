//! Whether it is worth trying to open a session.
//!
//! One breaker for each upstream and credential: it counts failures to open,
//! one after the other, and nothing else. A call that fails says nothing of
//! whether a session can be opened, and one tenant's refused credential must
//! not close the door for another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Fingerprint, OpenError};

/// How many breakers an upstream has at most that nobody uses. Each remembers
/// failures of one credential; those that failed longest ago are forgotten.
const MOST_UNUSED: usize = 1024;

/// What is tried for nobody is not tried more often, whatever is set.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures to open, one after the other, that open it. Zero: it never
    /// opens. Default: 5.
    pub failures: u32,
    /// How long it is open at first; twice as long each time the one try
    /// after it fails. Up to a half is taken off by chance, so that many
    /// gateways do not try at once. Default: 500 ms.
    pub pause: Duration,
    /// How long it is open at most. Default: 10 s.
    pub longest_pause: Duration,
}

/// The breakers of one upstream, by credential.
#[derive(Debug)]
pub(crate) struct Breakers {
    limits: BreakerLimits,
    all: Mutex<All>,
}

#[derive(Debug)]
struct All {
    breakers: HashMap<Fingerprint, Arc<Breaker>>,
    /// How many there are when the unused are looked for again.
    look_at: usize,
}

/// Lets attempts to open a session through, or does not.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: BreakerLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// How often it has opened since the last success.
    trips: u32,
    last_failure: Option<Instant>,
    /// How many trials there have been, so that each has its number.
    trials: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Attempts go through.
    Closed,
    /// None does until then, for that reason.
    Open { until: Instant, cause: OpenError },
    /// One is being tried; the others are told the reason.
    HalfOpen { trial: u64, cause: OpenError },
}

/// How a breaker stands, for figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BreakerState {
    /// Sessions may be opened.
    #[default]
    Closed,
    /// One try may be made, or is under way.
    HalfOpen,
    /// None may be opened for a while.
    Open,
}

/// The permission to try. It has to be told how the try went; dropped
/// without, the try counts as not made.
#[derive(Debug)]
#[must_use = "a breaker learns nothing from a try that is not reported"]
pub(crate) struct Attempt {
    breaker: Arc<Breaker>,
    /// The number of this trial, where it is the one try of a breaker that is
    /// half open.
    trial: Option<u64>,
    is_settled: bool,
}

/// No: the breaker is open.
#[derive(Debug, Clone)]
pub(crate) struct Tripped {
    /// For how long still.
    pub(crate) retry_after: Duration,
    /// What the last failure was.
    pub(crate) cause: OpenError,
}

// === impl BreakerLimits ===

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
        }
    }
}

impl BreakerLimits {
    /// How long the breaker is open the `trip`th time, counted from 0.
    /// `chance` lies in 0..1024.
    fn pause(&self, trip: u32, chance: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1_u32.checked_shl(trip).unwrap_or(u32::MAX));
        let pause = doubled.min(self.longest_pause);
        pause - pause / 2048 * chance
    }
}

// === impl Breakers ===

impl Breakers {
    pub(crate) fn new(limits: BreakerLimits) -> Self {
        Self { limits, all: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().expect("nothing panics while holding it")
    }

    /// The breaker of one credential. Whoever holds it gives it back by
    /// [`Breakers::give_back`].
    pub(crate) fn of(&self, credential: Fingerprint) -> Arc<Breaker> {
        let mut all = self.lock();
        if let Some(breaker) = all.breakers.get(&credential) {
            return Arc::clone(breaker);
        }
        if all.breakers.len() >= all.look_at {
            all.forget_oldest();
        }
        let breaker = Arc::new(Breaker::new(self.limits.clone()));
        all.breakers.insert(credential, Arc::clone(&breaker));
        breaker
    }

    /// Forgets a breaker that is used no more, unless it has failures to
    /// remember.
    pub(crate) fn give_back(&self, credential: Fingerprint, breaker: &Arc<Breaker>) {
        let mut all = self.lock();
        // One is the map's and one is the giver's.
        if Arc::strong_count(breaker) == 2 && breaker.lock().last_failure.is_none() {
            all.breakers.remove(&credential);
        }
    }

    /// How many there are of each state.
    pub(crate) fn count(&self) -> HashMap<BreakerState, usize> {
        let mut count = HashMap::new();
        for breaker in self.lock().breakers.values() {
            *count.entry(breaker.state()).or_default() += 1;
        }
        count
    }
}

// === impl All ===

impl All {
    /// Leaves half as many as there may be, so that it is done seldom; those
    /// in use stay in any case, and are not looked at again before there are
    /// as many more.
    fn forget_oldest(&mut self) {
        let mut unused: Vec<_> = self
            .breakers
            .iter()
            .filter(|(_, breaker)| Arc::strong_count(breaker) == 1)
            .map(|(credential, breaker)| (breaker.lock().last_failure, *credential))
            .collect();
        unused.sort_unstable_by_key(|(last_failure, _)| *last_failure);
        let spare = unused.len().saturating_sub(MOST_UNUSED / 2);
        for (_, credential) in unused.drain(..spare) {
            self.breakers.remove(&credential);
        }
        self.look_at = self.breakers.len() + MOST_UNUSED / 2;
    }
}

impl Default for All {
    fn default() -> Self {
        Self { breakers: HashMap::new(), look_at: MOST_UNUSED }
    }
}

// === impl Breaker ===

impl Breaker {
    pub(crate) fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: Mutex::new(State::at_rest()) }
    }

    /// Asks for permission to try.
    ///
    /// # Errors
    ///
    /// [`Tripped`] while the breaker is open, or another tries already.
    pub(crate) fn attempt(self: &Arc<Self>) -> Result<Attempt, Tripped> {
        let mut state = self.lock();
        let now = Instant::now();
        let trial = match &state.phase {
            Phase::Closed => None,
            Phase::Open { until, cause } if *until <= now => {
                let cause = cause.clone();
                state.trials += 1;
                state.phase = Phase::HalfOpen { trial: state.trials, cause };
                Some(state.trials)
            }
            Phase::Open { until, cause } => {
                return Err(Tripped { retry_after: *until - now, cause: cause.clone() });
            }
            Phase::HalfOpen { cause, .. } => {
                // Whether to try is decided by then, most likely.
                let retry_after = self.limits.pause;
                return Err(Tripped { retry_after, cause: cause.clone() });
            }
        };
        Ok(Attempt { breaker: Arc::clone(self), trial, is_settled: false })
    }

    /// How long to wait with an attempt that nobody waits for.
    pub(crate) fn pause(&self) -> Duration {
        match &self.lock().phase {
            Phase::Open { until, .. } => until.saturating_duration_since(Instant::now()),
            Phase::Closed | Phase::HalfOpen { .. } => Duration::ZERO,
        }
        .max(self.limits.pause(0, chance()))
        .max(LEAST_PAUSE)
    }

    pub(crate) fn state(&self) -> BreakerState {
        match &self.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until, .. } if *until > Instant::now() => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }
}

// === impl State ===

impl State {
    const fn at_rest() -> Self {
        Self { failures: 0, trips: 0, trials: 0, last_failure: None, phase: Phase::Closed }
    }

    fn rest(&mut self) {
        *self = Self { trials: self.trials, ..Self::at_rest() };
    }

    fn trip(&mut self, limits: &BreakerLimits, cause: OpenError) {
        let chance = chance();
        let now = Instant::now();
        // A time too long to add is as good as this one.
        let pause = limits.pause(self.trips, chance).min(Duration::from_secs(u32::MAX.into()));
        let until = now + pause;
        self.trips = self.trips.saturating_add(1);
        self.phase = Phase::Open { until, cause };
    }
}

// === impl Attempt ===

impl Attempt {
    /// A session was opened.
    pub(crate) fn succeeded(mut self) {
        self.is_settled = true;
        self.breaker.lock().rest();
    }

    /// None could be. Says whether that has opened the breaker.
    pub(crate) fn failed(mut self, cause: &OpenError) -> bool {
        self.is_settled = true;
        let limits = &self.breaker.limits;
        let mut state = self.breaker.lock();
        state.failures = state.failures.saturating_add(1);
        state.last_failure = Some(Instant::now());
        let is_enough = limits.failures > 0 && state.failures >= limits.failures;
        let trips = match state.phase {
            Phase::Closed => is_enough,
            // Those that were under way when it opened do not open it again.
            Phase::Open { .. } => false,
            Phase::HalfOpen { trial, .. } => self.trial == Some(trial),
        };
        if trips {
            state.trip(limits, cause.clone());
        }
        trips
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_settled || self.trial.is_none() {
            return;
        }
        let mut state = self.breaker.lock();
        if let Phase::HalfOpen { trial, cause } = &state.phase
            && self.trial == Some(*trial)
        {
            // The next to ask tries in its place.
            let cause = cause.clone();
            state.phase = Phase::Open { until: Instant::now(), cause };
        }
    }
}

/// A number in 0..1024 that differs from one call to the next, and from one
/// process to the next.
fn chance() -> u32 {
    use std::hash::BuildHasher as _;
    let hash = std::hash::RandomState::new().hash_one(());
    u32::try_from(hash % 1024).expect("it is below 1024")
}

#[cfg(test)]
mod tests;
