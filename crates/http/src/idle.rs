//! Connections that nobody uses just now.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Wake, Waker},
    time::Duration,
};

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use crate::{client::ClientSettings, connection::Connection};

/// No connection is kept for longer, so that the time can be added to any other.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Connections at rest, by where they lead. One task keeps them all, as long
/// as there are any: it drops those that their peers close and those that
/// have rested for too long.
pub(crate) struct Idle {
    kept: Mutex<Kept>,
    alarm: Arc<Alarm>,
    /// The alarm, for the connections.
    waker: Waker,
    /// For how long one is kept.
    limit: Duration,
    /// How many that lead to one place.
    per_place: usize,
    tasks: TaskTracker,
}

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    is_https: bool,
    authority: Authority,
}

#[derive(Default)]
struct Kept {
    /// Last in, first out: what is not needed comes to rest at the front.
    places: BTreeMap<Place, Vec<Resting>>,
    has_keeper: bool,
}

struct Resting {
    connection: Box<Connection>,
    since: Instant,
}

/// Tells the keeper that something has happened on a connection.
#[derive(Debug, Default)]
struct Alarm(Notify);

// === impl Idle ===

impl Idle {
    pub(crate) fn new(settings: &ClientSettings) -> Arc<Self> {
        let alarm = Arc::new(Alarm::default());
        Arc::new(Self {
            kept: Mutex::default(),
            waker: Waker::from(Arc::clone(&alarm)),
            alarm,
            limit: settings.idle_connection.min(LONGEST),
            per_place: settings.idle_connections_per_host,
            tasks: TaskTracker::new(),
        })
    }

    /// The tasks that connections are counted among, and that see to them.
    pub(crate) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes a connection that leads to `place` and still works.
    pub(crate) fn take(&self, place: &Place) -> Option<Box<Connection>> {
        loop {
            // Not examined, and if it is closed not dropped, under the lock.
            let mut connection = self.kept().places.get_mut(place)?.pop()?.connection;
            if connection.look() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for whoever needs one next, if it can be used again
    /// and there is not enough of its kind.
    pub(crate) fn keep(self: &Arc<Self>, place: Place, mut connection: Box<Connection>) {
        if self.per_place == 0 || !connection.rest(&self.waker) {
            return;
        }
        if self.put(place, Resting { connection, since: Instant::now() }) {
            self.set_keeper();
        }
    }

    /// Puts one where it is found. Whether there is nobody to look after it.
    fn put(&self, place: Place, resting: Resting) -> bool {
        let mut kept = self.kept();
        let others = kept.places.entry(place).or_default();
        // The oldest makes room: it is the one that is needed the least.
        let surplus = (others.len() >= self.per_place).then(|| others.remove(0));
        let at = others.partition_point(|other| other.since <= resting.since);
        others.insert(at, resting);
        // The keeper may have come for it before it was here.
        let is_stirred = others[at].connection.is_stirred();
        let needs_keeper = !std::mem::replace(&mut kept.has_keeper, true);
        drop(kept);
        drop(surplus);
        if is_stirred {
            self.waker.wake_by_ref();
        }
        needs_keeper
    }

    fn set_keeper(self: &Arc<Self>) {
        // Without a runtime there is nothing left to keep them for.
        if let Ok(runtime) = Handle::try_current() {
            let keeping = keep(Arc::downgrade(self), Arc::clone(&self.alarm), self.limit);
            self.tasks.spawn_on(keeping, &runtime);
        }
    }

    /// Drops what is of no use any more; when the next will have rested for
    /// too long, if there is one.
    fn sweep(&self) -> Option<Instant> {
        // Neither seen to nor dropped under the lock, which calls take.
        for (place, mut resting) in self.take_suspects() {
            let is_young = resting.since.elapsed() < self.limit;
            if is_young && resting.connection.rest(&self.waker) {
                self.put(place, resting);
            }
        }
        let mut kept = self.kept();
        kept.places.retain(|_, resting| !resting.is_empty());
        // What has rested the longest is at the front.
        let oldest = kept.places.values().filter_map(|resting| resting.first());
        let next = oldest.map(|oldest| oldest.since + self.limit).min();
        kept.has_keeper = next.is_some();
        next
    }

    /// Takes out those on which something has happened, and those that have
    /// rested for too long.
    fn take_suspects(&self) -> Vec<(Place, Resting)> {
        let now = Instant::now();
        let is_suspect = |resting: &mut Resting| {
            now.duration_since(resting.since) >= self.limit || resting.connection.is_stirred()
        };
        let mut suspects = Vec::new();
        for (place, resting) in &mut self.kept().places {
            let taken = resting.extract_if(.., is_suspect);
            suspects.extend(taken.map(|resting| (place.clone(), resting)));
        }
        suspects
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while holding it")
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // The keeper learns that there is nothing left to keep.
        self.alarm.0.notify_one();
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections: usize = self.kept().places.values().map(Vec::len).sum();
        f.debug_struct("Idle").field("connections", &connections).finish_non_exhaustive()
    }
}

/// Looks after connections until there are none.
async fn keep(idle: Weak<Idle>, alarm: Arc<Alarm>, limit: Duration) {
    let mut next = Instant::now() + limit;
    loop {
        // Whether it is time or something has happened, all are looked at.
        let _ = timeout_at(next, alarm.0.notified()).await;
        let Some(idle) = idle.upgrade() else { return };
        match idle.sweep() {
            Some(soonest) => next = soonest,
            None => return,
        }
    }
}

// === impl Place ===

impl Place {
    /// Takes a URI apart: where it leads, `None` where it is not absolute, or
    /// not of HTTP; and what to ask for there.
    pub(crate) fn split(uri: Uri) -> (Option<Self>, Uri) {
        let parts = uri.into_parts();
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let place = parts.scheme.zip(parts.authority).and_then(|(scheme, authority)| {
            let is_https = scheme == Scheme::HTTPS;
            (is_https || scheme == Scheme::HTTP).then_some(Self { is_https, authority })
        });
        (place, path.into())
    }

    /// The URI to dial.
    pub(crate) fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.is_https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).expect("it has a scheme, an authority and a path")
    }
}

/// As it is written: who writes a host in another case has another connection.
/// Authorities compare themselves letter by letter.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_scheme = self.is_https.cmp(&other.is_https);
        by_scheme.then_with(|| self.authority.as_str().cmp(other.authority.as_str()))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

// === impl Alarm ===

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}
