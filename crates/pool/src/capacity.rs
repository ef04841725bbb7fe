//! How many sessions there may be in all and per upstream.
//!
//! Asked only when a session is opened or has ended, or becomes idle while a
//! key waits for room; never on the usual way of a call.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use wharf_proto::transport::{Connect, Link};

use crate::{Key, bucket::Bucket, pool::Inner, settings::Settings};

/// Counts sessions against the limits, and keeps those keys in line that a
/// limit keeps from opening one.
pub(crate) struct Capacity<C: Connect<Target = Key>> {
    state: Mutex<Counts<C>>,
    hunger: Hunger,
}

/// Whether any key is starved. Seen by every bucket without a lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hunger(Arc<AtomicBool>);

struct Counts<C: Connect<Target = Key>> {
    total: usize,
    /// Each upstream that has had a session. There are no more of them than
    /// the pool keeps figures of.
    upstreams: HashMap<Arc<str>, Count>,
    /// Keys in line for a permit.
    starved: VecDeque<Weak<Bucket<C::Link>>>,
}

/// The sessions to one upstream.
#[derive(Debug, Default)]
struct Count {
    sessions: usize,
    /// How many of them are on their way out to make room. Counted after the
    /// session has been asked, so that one that goes at once can take it
    /// below 0 for a moment.
    leaving: isize,
}

/// Keys that the same limit keeps from opening a session.
struct Class<'a, L: Link> {
    /// The upstream whose limit it is; `None` is the limit of all.
    upstream: Option<&'a str>,
    /// How many of them get the room that sessions are making already.
    served: usize,
    /// The first for which none is making room.
    needy: Option<Arc<Bucket<L>>>,
}

/// The permission to have one session. Dropping it lets the next key that is
/// starved open one.
pub(crate) struct Permit<C: Connect<Target = Key>> {
    pool: Weak<Inner<C>>,
    upstream: Arc<str>,
    makes_room: Arc<AtomicBool>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scarce {
    /// There are as many sessions as there may be; any one that is idle could
    /// make room.
    Everywhere,
    /// There are as many to this upstream as there may be.
    AtThisUpstream,
    /// The key is in line, and it is not its turn to ask for room: sessions
    /// are making it already, or others come first and have found none idle.
    InTurn,
}

// === impl Capacity ===

impl<C: Connect<Target = Key>> Capacity<C> {
    pub(crate) fn new() -> Self {
        let counts = Counts { total: 0, upstreams: HashMap::new(), starved: VecDeque::new() };
        Self { state: Mutex::new(counts), hunger: Hunger::default() }
    }

    pub(crate) const fn hunger(&self) -> &Hunger {
        &self.hunger
    }

    fn lock(&self) -> MutexGuard<'_, Counts<C>> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Takes a permit for `bucket`, or puts it in line for one.
    ///
    /// # Errors
    ///
    /// Whose idle session could make room.
    pub(crate) fn permit(
        &self,
        pool: &Arc<Inner<C>>,
        bucket: &Arc<Bucket<C::Link>>,
    ) -> Result<Permit<C>, Scarce> {
        let settings = pool.settings();
        let mut counts = self.lock();
        let upstream = bucket.key().upstream();
        if let Err(scarce) = counts.room_for(upstream, &settings) {
            counts.starve(bucket);
            self.hunger.set(true);
            let mut needy = counts.needy(&settings).into_iter();
            let is_its_turn = needy.any(|needy| Arc::ptr_eq(&needy, bucket));
            return Err(if is_its_turn { scarce } else { Scarce::InTurn });
        }
        Ok(counts.take_room(pool, upstream))
    }

    /// Takes a permit if there is room that no key is in line for.
    pub(crate) fn spare_permit(
        &self,
        pool: &Arc<Inner<C>>,
        upstream: &Arc<str>,
    ) -> Option<Permit<C>> {
        let mut counts = self.lock();
        counts.forget_sated();
        let is_spare =
            counts.starved.is_empty() && counts.room_for(upstream, &pool.settings()).is_ok();
        is_spare.then(|| counts.take_room(pool, upstream))
    }

    /// Counts a session to `upstream` that is making room.
    pub(crate) fn leaves(&self, upstream: &Arc<str>) {
        let mut counts = self.lock();
        counts.upstreams.entry(Arc::clone(upstream)).or_default().leaving += 1;
    }

    /// The keys whose turn it is to ask idle sessions for room: of those that
    /// the same limit is in the way of, the first for which none is making
    /// room yet.
    pub(crate) fn needy(&self, settings: &Settings) -> Vec<Arc<Bucket<C::Link>>> {
        if !self.hunger.is_felt() {
            return Vec::new();
        }
        let mut counts = self.lock();
        counts.forget_sated();
        self.hunger.set(!counts.starved.is_empty());
        counts.needy(settings)
    }

    /// The first of those keys that an idle session to `upstream` is of use
    /// to.
    pub(crate) fn needy_for(
        &self,
        upstream: &str,
        settings: &Settings,
    ) -> Option<Arc<Bucket<C::Link>>> {
        let needy = self.needy(settings);
        let counts = self.lock();
        needy.into_iter().find(|bucket| {
            let other = bucket.key().upstream();
            **other == *upstream || counts.room_for(other, settings) == Err(Scarce::Everywhere)
        })
    }

    /// The first key in line that there is room for now; it leaves the line.
    pub(crate) fn next_starved(&self, settings: &Settings) -> Option<Arc<Bucket<C::Link>>> {
        let mut counts = self.lock();
        counts.forget_sated();
        let at = counts.starved.iter().position(|starved| {
            starved
                .upgrade()
                .is_some_and(|bucket| counts.room_for(bucket.key().upstream(), settings).is_ok())
        });
        let next = at.and_then(|at| counts.take(at));
        self.hunger.set(!counts.starved.is_empty());
        next
    }

    fn release(&self, upstream: &Arc<str>, made_room: bool) {
        let mut counts = self.lock();
        counts.total -= 1;
        let count = counts.upstreams.entry(Arc::clone(upstream)).or_default();
        count.sessions -= 1;
        count.leaving -= isize::from(made_room);
    }
}

// === impl Counts ===

impl<C: Connect<Target = Key>> Counts<C> {
    fn room_for(&self, upstream: &str, settings: &Settings) -> Result<(), Scarce> {
        let here = self.upstreams.get(upstream).map_or(0, |count| count.sessions);
        if here >= settings.limits(upstream).sessions {
            return Err(Scarce::AtThisUpstream);
        }
        if self.total >= settings.sessions {
            return Err(Scarce::Everywhere);
        }
        Ok(())
    }

    fn take_room(&mut self, pool: &Arc<Inner<C>>, upstream: &Arc<str>) -> Permit<C> {
        self.total += 1;
        self.upstreams.entry(Arc::clone(upstream)).or_default().sessions += 1;
        Permit {
            pool: Arc::downgrade(pool),
            upstream: Arc::clone(upstream),
            makes_room: Arc::default(),
        }
    }

    /// Puts a key in line, unless it is there already.
    fn starve(&mut self, bucket: &Arc<Bucket<C::Link>>) {
        if bucket.is_starved.swap(true, Relaxed) {
            return;
        }
        if self.starved.len().is_power_of_two() {
            // Behind a key that nobody makes room for others come and go. To
            // look at this length only makes it cheap, and keeps the line at
            // most twice as long as it has to be.
            self.starved.retain(|starved| starved.strong_count() > 0);
        }
        self.starved.push_back(Arc::downgrade(bucket));
    }

    /// Takes a key out of the line.
    fn take(&mut self, at: usize) -> Option<Arc<Bucket<C::Link>>> {
        let bucket = self.starved.remove(at)?.upgrade()?;
        bucket.is_starved.store(false, Relaxed);
        Some(bucket)
    }

    /// Forgets those at the head of the line who want no session any more.
    fn forget_sated(&mut self) {
        while let Some(first) = self.starved.front() {
            if first.upgrade().is_some_and(|bucket| bucket.wants_session()) {
                break;
            }
            self.take(0);
        }
    }

    fn needy(&self, settings: &Settings) -> Vec<Arc<Bucket<C::Link>>> {
        let mut classes = self.classes(settings);
        let starved = self.starved.iter().filter_map(Weak::upgrade);
        for bucket in starved.filter(|bucket| bucket.wants_session()) {
            // The line can be long; the classes are few.
            if classes.iter().all(|class| class.needy.is_some()) {
                break;
            }
            let upstream = &**bucket.key().upstream();
            let own = classes.iter().position(|class| class.upstream == Some(upstream));
            let of_all = || classes.iter().position(|class| class.upstream.is_none());
            let Some(at) = own.or_else(of_all) else { continue };
            let class = &mut classes[at];
            if class.served > 0 {
                class.served -= 1;
            } else if class.needy.is_none() {
                class.needy = Some(bucket);
            }
        }
        classes.into_iter().filter_map(|class| class.needy).collect()
    }

    /// The limits that are reached.
    fn classes(&self, settings: &Settings) -> Vec<Class<'_, C::Link>> {
        let mut classes = Vec::new();
        let mut leaving_elsewhere = 0;
        for (upstream, count) in &self.upstreams {
            let served = usize::try_from(count.leaving).unwrap_or(0);
            if count.sessions >= settings.limits(upstream).sessions {
                classes.push(Class { upstream: Some(upstream), served, needy: None });
            } else {
                leaving_elsewhere += served;
            }
        }
        if self.total >= settings.sessions {
            classes.push(Class { upstream: None, served: leaving_elsewhere, needy: None });
        }
        classes
    }
}

// === impl Hunger ===

impl Hunger {
    pub(crate) fn is_felt(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn set(&self, is_felt: bool) {
        self.0.store(is_felt, Relaxed);
    }
}

// === impl Permit ===

impl<C: Connect<Target = Key>> Permit<C> {
    /// To be set before its session is asked to make room.
    pub(crate) fn makes_room(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.makes_room)
    }
}

impl<C: Connect<Target = Key>> Drop for Permit<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        pool.capacity.release(&self.upstream, self.makes_room.load(Relaxed));
        pool.feed_starved();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::{Duration, Instant};
    use wharf_proto::mock;

    use crate::{Key, Pool, Settings};

    #[tokio::test(start_paused = true)]
    async fn those_who_give_up_behind_a_key_that_waits_leave_the_line_short() {
        let (connect, _upstream) = mock::pair();
        let pool = Pool::new(connect, Settings { sessions: 0, ..Settings::default() });
        let deadline = Instant::now() + Duration::from_secs(60);
        let waits = Key::client(0);
        let mut waits = Box::pin(pool.acquire(&waits, deadline));
        assert!(poll!(&mut waits).is_pending());
        for number in 1..100 {
            let gives_up = Key::client(number);
            let mut gives_up = Box::pin(pool.acquire(&gives_up, deadline));
            assert!(poll!(&mut gives_up).is_pending());
        }
        assert!(pool.inner().capacity.lock().starved.len() <= 2);
    }
}
