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
    all: Mutex<HashMap<Fingerprint, Arc<Breaker>>>,
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
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Attempts go through.
    Closed,
    /// None does until then, for that reason.
    Open { until: Instant, cause: OpenError },
    /// One is being tried; the others are told the reason.
    HalfOpen { cause: OpenError },
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
    /// The one try of a breaker that is half open.
    is_trial: bool,
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Arc<Breaker>>> {
        self.all.lock().expect("nothing panics while holding it")
    }

    /// The breaker of one credential. Whoever holds it gives it back by
    /// [`Breakers::give_back`].
    pub(crate) fn of(&self, credential: Fingerprint) -> Arc<Breaker> {
        let mut all = self.lock();
        if let Some(breaker) = all.get(&credential) {
            return Arc::clone(breaker);
        }
        if all.len() >= MOST_UNUSED {
            forget_oldest(&mut all);
        }
        let breaker = Arc::new(Breaker::new(self.limits.clone()));
        all.insert(credential, Arc::clone(&breaker));
        breaker
    }

    /// Forgets a breaker that is used no more, unless it has failures to
    /// remember.
    pub(crate) fn give_back(&self, credential: Fingerprint, breaker: &Arc<Breaker>) {
        let mut all = self.lock();
        // One is the map's and one is the giver's.
        if Arc::strong_count(breaker) == 2 && breaker.lock().last_failure.is_none() {
            all.remove(&credential);
        }
    }

    /// How many there are of each state.
    pub(crate) fn count(&self) -> HashMap<BreakerState, usize> {
        let mut count = HashMap::new();
        for breaker in self.lock().values() {
            *count.entry(breaker.state()).or_default() += 1;
        }
        count
    }
}

/// Leaves half as many as there may be, so that it is done seldom; those in
/// use stay in any case.
fn forget_oldest(all: &mut HashMap<Fingerprint, Arc<Breaker>>) {
    let mut unused: Vec<_> = all
        .iter()
        .filter(|(_, breaker)| Arc::strong_count(breaker) == 1)
        .map(|(credential, breaker)| (breaker.lock().last_failure, *credential))
        .collect();
    unused.sort_unstable_by_key(|(last_failure, _)| *last_failure);
    let spare = unused.len().saturating_sub(MOST_UNUSED / 2);
    for (_, credential) in unused.drain(..spare) {
        all.remove(&credential);
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
        let is_trial = match &state.phase {
            Phase::Closed => false,
            Phase::Open { until, cause } if *until <= now => {
                state.phase = Phase::HalfOpen { cause: cause.clone() };
                true
            }
            Phase::Open { until, cause } => {
                return Err(Tripped { retry_after: *until - now, cause: cause.clone() });
            }
            Phase::HalfOpen { cause } => {
                // Whether to try is decided by then, most likely.
                let retry_after = self.limits.pause;
                return Err(Tripped { retry_after, cause: cause.clone() });
            }
        };
        Ok(Attempt { breaker: Arc::clone(self), is_trial, is_settled: false })
    }

    /// How long to wait with an attempt that nobody waits for.
    pub(crate) fn pause(&self) -> Duration {
        match &self.lock().phase {
            Phase::Open { until, .. } => until.saturating_duration_since(Instant::now()),
            Phase::Closed | Phase::HalfOpen { .. } => Duration::ZERO,
        }
        .max(self.limits.pause(0, chance()))
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
        Self { failures: 0, trips: 0, last_failure: None, phase: Phase::Closed }
    }

    fn trip(&mut self, limits: &BreakerLimits, cause: OpenError) {
        let chance = chance();
        let until = Instant::now() + limits.pause(self.trips, chance);
        self.trips = self.trips.saturating_add(1);
        self.phase = Phase::Open { until, cause };
    }
}

// === impl Attempt ===

impl Attempt {
    /// A session was opened.
    pub(crate) fn succeeded(mut self) {
        self.is_settled = true;
        *self.breaker.lock() = State::at_rest();
    }

    /// None could be. Says whether that has opened the breaker.
    pub(crate) fn failed(mut self, cause: &OpenError) -> bool {
        self.is_settled = true;
        let limits = &self.breaker.limits;
        let mut state = self.breaker.lock();
        state.failures = state.failures.saturating_add(1);
        state.last_failure = Some(Instant::now());
        let is_enough = limits.failures > 0 && state.failures >= limits.failures;
        // Those that were under way when it opened do not open it again.
        let is_closed = matches!(state.phase, Phase::Closed);
        let trips = self.is_trial || (is_closed && is_enough);
        if trips {
            state.trip(limits, cause.clone());
        }
        trips
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_settled || !self.is_trial {
            return;
        }
        let mut state = self.breaker.lock();
        if let Phase::HalfOpen { cause } = &state.phase {
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
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker(failures: u32) -> Arc<Breaker> {
        Arc::new(Breaker::new(BreakerLimits { failures, ..BreakerLimits::default() }))
    }

    fn fail(breaker: &Arc<Breaker>) {
        let attempt = breaker.attempt().expect("it lets attempts through");
        attempt.failed(&OpenError::OwnerGone);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
        let breaker = breaker(3);
        fail(&breaker);
        fail(&breaker);
        breaker.attempt().expect("it is closed").succeeded();
        fail(&breaker);
        fail(&breaker);
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&breaker);
        assert_eq!(breaker.state(), BreakerState::Open);
        let tripped = breaker.attempt().expect_err("it is open");
        assert!(tripped.retry_after <= Duration::from_millis(500));
        assert!(matches!(tripped.cause, OpenError::OwnerGone));
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_one_try_and_its_success_closes_it() {
        let breaker = breaker(1);
        fail(&breaker);
        advance(Duration::from_millis(500)).await;
        let trial = breaker.attempt().expect("one may try");
        assert!(breaker.attempt().is_err(), "and only one");
        trial.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_doubles_the_pause_up_to_the_longest() {
        let breaker = breaker(1);
        fail(&breaker);
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            let pause = breaker.attempt().expect_err("it is open").retry_after;
            assert!(pause <= Duration::from_secs(10));
            longest = longest.max(pause);
            advance(pause).await;
            fail(&breaker);
        }
        assert!(longest >= Duration::from_secs(5), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_given_up_leaves_the_next_one_to_try() {
        let breaker = breaker(1);
        fail(&breaker);
        advance(Duration::from_millis(500)).await;
        drop(breaker.attempt().expect("one may try"));
        breaker.attempt().expect("another may try").succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_attempts_that_were_under_way_do_not_open_it_twice() {
        let breaker = breaker(1);
        let (first, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        assert!(first.failed(&OpenError::OwnerGone));
        let before = breaker.attempt().expect_err("it is open").retry_after;
        assert!(!late.failed(&OpenError::OwnerGone), "one trip is one trip");
        let after = breaker.attempt().expect_err("it is open").retry_after;
        assert_eq!(before, after);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_gives_an_earlier_attempt_up_lets_nobody_try_beside_the_trial() {
        let breaker = breaker(1);
        let (first, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        assert!(first.failed(&OpenError::OwnerGone));
        advance(Duration::from_millis(500)).await;
        let trial = breaker.attempt().expect("one may try");
        drop(late);
        assert!(breaker.attempt().is_err(), "the trial is still under way");
        trial.succeeded();
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_pause_is_over_it_says_that_one_may_try() {
        let breaker = breaker(1);
        fail(&breaker);
        let pause = breaker.attempt().expect_err("it is open").retry_after;
        advance(pause - Duration::from_millis(1)).await;
        assert_eq!(breaker.state(), BreakerState::Open);
        advance(Duration::from_millis(1)).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let _trial = breaker.attempt().expect("one may try");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn breakers_that_open_at_once_do_not_all_let_somebody_try_at_once() {
        let pauses = (0..100).map(|_| {
            let breaker = breaker(1);
            fail(&breaker);
            breaker.attempt().expect_err("it is open").retry_after
        });
        let pauses: std::collections::HashSet<_> = pauses.collect();
        // By chance some are the same.
        assert!(pauses.len() > 50, "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_many_credentials_have_failed_the_older_half_is_forgotten() {
        let breakers = Breakers::new(BreakerLimits::default());
        let fingerprinter = crate::Fingerprinter::default();
        let in_use = breakers.of(Fingerprint::NONE);
        let fail_with = async |token: usize| {
            let credential = fingerprinter.of(token);
            let breaker = breakers.of(credential);
            fail(&breaker);
            breakers.give_back(credential, &breaker);
            advance(Duration::from_millis(1)).await;
        };
        for token in 1..MOST_UNUSED {
            fail_with(token).await;
        }
        assert_eq!(breakers.lock().len(), MOST_UNUSED, "there is room for all of them");

        fail_with(MOST_UNUSED).await;
        let is_known = |token: usize| breakers.lock().contains_key(&fingerprinter.of(token));
        let half = MOST_UNUSED / 2;
        assert!((1..half).all(|token| !is_known(token)));
        assert!((half..=MOST_UNUSED).all(is_known));
        assert!(Arc::ptr_eq(&in_use, &breakers.of(Fingerprint::NONE)));
        assert_eq!(breakers.of(fingerprinter.of(half)).lock().failures, 1);
    }

    #[test]
    fn a_pause_is_between_half_and_whole_and_never_overflows() {
        let limits = BreakerLimits::default();
        for trip in [0, 1, 5, 31, 32, u32::MAX] {
            for chance in [0, 511, 1023] {
                let pause = limits.pause(trip, chance);
                assert!(pause <= limits.longest_pause && pause >= limits.pause / 2, "{pause:?}");
            }
        }
    }
}
