//! The books of the naive pool: sessions by key, and breakers by URL.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use wharf_proto::transport::Link;

use super::{NaiveFigures, NaiveSettings, Wanted, session::NaiveSession};

/// How often at most what is idle is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What makes two requests eligible for the same session: the URL, and a hash
/// of the credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct NaiveKey {
    url: String,
    credential: u64,
}

pub(super) struct Books<L: Link> {
    buckets: HashMap<NaiveKey, Bucket<L>>,
    /// Failures to open by URL. Fault: never forgotten, and shared by all
    /// tenants.
    failures: HashMap<String, u32>,
    open_until: HashMap<String, Instant>,
    trips: u64,
    swept: Option<Instant>,
}

struct Bucket<L: Link> {
    idle: VecDeque<Arc<NaiveSession<L>>>,
    active: Vec<Arc<NaiveSession<L>>>,
    slots: Arc<Semaphore>,
}

// === impl NaiveKey ===

impl NaiveKey {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let mut hasher = DefaultHasher::new();
        wanted.credential.hash(&mut hasher);
        Self { url: wanted.url.clone(), credential: hasher.finish() }
    }
}

// === impl Books ===

impl<L: Link> Books<L> {
    fn bucket(&mut self, key: &NaiveKey, settings: &NaiveSettings) -> &mut Bucket<L> {
        self.buckets.entry(key.clone()).or_insert_with(|| Bucket {
            idle: VecDeque::new(),
            active: Vec::new(),
            slots: Arc::new(Semaphore::new(settings.sessions_per_key)),
        })
    }

    pub(super) fn slots(&mut self, key: &NaiveKey, settings: &NaiveSettings) -> Arc<Semaphore> {
        Arc::clone(&self.bucket(key, settings).slots)
    }

    /// The session that has been idle for longest.
    pub(super) fn take_idle(&mut self, key: &NaiveKey) -> Option<Arc<NaiveSession<L>>> {
        self.buckets.get_mut(key)?.idle.pop_front()
    }

    pub(super) fn put_idle(
        &mut self,
        key: &NaiveKey,
        session: Arc<NaiveSession<L>>,
        settings: &NaiveSettings,
    ) {
        // Fault: the slot stays taken, and those who wait for one sleep on.
        self.bucket(key, settings).idle.push_back(session);
    }

    pub(super) fn activate(
        &mut self,
        key: &NaiveKey,
        session: &Arc<NaiveSession<L>>,
        settings: &NaiveSettings,
    ) {
        self.bucket(key, settings).active.push(Arc::clone(session));
    }

    /// Takes a session off those in use, where it is found under this key.
    pub(super) fn deactivate(&mut self, key: &NaiveKey, session: &Arc<NaiveSession<L>>) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.active.retain(|other| !Arc::ptr_eq(other, session));
        }
    }

    pub(super) fn free_slot(&mut self, key: &NaiveKey) {
        if let Some(bucket) = self.buckets.get(key) {
            bucket.slots.add_permits(1);
        }
    }

    /// Takes out what has been idle for too long, once in a while.
    pub(super) fn sweep(&mut self, settings: &NaiveSettings) -> Vec<Arc<NaiveSession<L>>> {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now - swept < SWEEP_EVERY) {
            return Vec::new();
        }
        self.swept = Some(now);
        let mut reaped = Vec::new();
        self.buckets.retain(|_, bucket| {
            if !bucket.active.is_empty() {
                return true;
            }
            while bucket.idle.front().is_some_and(|idle| idle.idle_for() >= settings.idle_timeout) {
                reaped.extend(bucket.idle.pop_front());
                bucket.slots.add_permits(1);
            }
            !bucket.idle.is_empty()
        });
        reaped
    }

    pub(super) fn is_tripped(&mut self, url: &str) -> bool {
        match self.open_until.get(url) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                // Fault: not half open; everybody may connect at once.
                self.open_until.remove(url);
                self.failures.remove(url);
                false
            }
            None => false,
        }
    }

    pub(super) fn failed(&mut self, url: &str, settings: &NaiveSettings) {
        let failures = self.failures.entry(url.to_owned()).or_default();
        *failures += 1;
        if *failures >= settings.breaker_failures {
            self.open_until.insert(url.to_owned(), Instant::now() + settings.breaker_pause);
            self.trips += 1;
        }
    }

    pub(super) fn succeeded(&mut self, url: &str) {
        self.failures.remove(url);
    }

    /// Forgets every key.
    pub(super) fn clear(&mut self) -> Vec<Arc<NaiveSession<L>>> {
        let buckets = self.buckets.drain();
        buckets.flat_map(|(_, bucket)| bucket.idle.into_iter().chain(bucket.active)).collect()
    }

    pub(super) fn figures(&self) -> NaiveFigures {
        let mut figures = NaiveFigures { keys: self.buckets.len(), ..NaiveFigures::default() };
        for (key, bucket) in &self.buckets {
            figures.idle += bucket.idle.len();
            figures.active += bucket.active.len();
            let (idle, active) = (bucket.idle.len(), bucket.active.len());
            let _ = writeln!(figures.text, "{}: {idle} idle, {active} active", key.url);
        }
        figures.trips = self.trips;
        figures
    }
}

impl<L: Link> Default for Books<L> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
            failures: HashMap::new(),
            open_until: HashMap::new(),
            trips: 0,
            swept: None,
        }
    }
}
