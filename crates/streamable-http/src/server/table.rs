//! The sessions by their ids.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use foldhash::fast::RandomState;
use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_http::ID_DIGITS;
use wharf_proto::{SessionId, server::Backend};

use super::session::{InUse, Session};

/// One for each last digit that an id can have: enough that requests on as many
/// cores rarely meet at one lock.
const SHARDS: usize = 16;

/// The sessions by their ids, in shards: each request looks here.
pub(super) struct Table<B: Backend> {
    shards: [RwLock<Shard<B>>; SHARDS],
    room: Arc<Semaphore>,
}

/// Room for one session. Whoever holds it may put one in.
pub(super) struct Place(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// By the sessions' ids, which no client chooses: the hash need not withstand one
/// who does.
type Shard<B> = HashMap<Digits, Entry<B>, RandomState>;

/// An id that this server has given. It is in the table itself: one that is
/// looked for is compared without a look elsewhere.
type Digits = [u8; ID_DIGITS];

struct Entry<B: Backend> {
    session: Arc<Session<B>>,
    place: Place,
}

// === impl Table ===

impl<B: Backend> Table<B> {
    pub(super) fn new(max_sessions: usize) -> Self {
        let room = max_sessions.min(Semaphore::MAX_PERMITS);
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// How many sessions are open.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Begins a use of the session with the id in a header.
    pub(super) fn enter(&self, id: &HeaderValue) -> Option<InUse<B>> {
        // Of another length it is none of ours.
        let id = id.as_bytes().try_into().ok()?;
        // Entered under the lock, so that whoever removes idle sessions, under
        // the same lock, sees either the use or no session.
        let shard = read(self.shard(id));
        Some(Arc::clone(&shard.get(id)?.session).enter())
    }

    /// Whether there is room for a session, or an idle one that can make it.
    pub(super) fn has_room(&self) -> bool {
        let has_idle = |shard: &RwLock<Shard<B>>| {
            read(shard).values().any(|entry| entry.session.idle().is_some())
        };
        self.room.available_permits() > 0 || self.shards.iter().any(has_idle)
    }

    /// Reserves room for a session. Where there is none, the session that has
    /// been idle for the longest is taken out for it.
    pub(super) fn reserve(&self) -> Option<(Place, Option<Arc<Session<B>>>)> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some((Place(permit), None));
        }
        // The one that is found may be taken up before it is removed.
        for _ in 0..3 {
            let id = self.longest_idle()?;
            let mut shard = write(self.shard(&id));
            let is_idle = |entry: &Entry<B>| entry.session.idle().is_some();
            if shard.get(&id).is_some_and(is_idle)
                && let Some(entry) = shard.remove(&id)
            {
                return Some((entry.place, Some(entry.session)));
            }
        }
        None
    }

    /// Puts a session in its place.
    pub(super) fn insert(&self, id: &SessionId, session: Arc<Session<B>>, place: Place) {
        let id = digits(id);
        let old = write(self.shard(&id)).insert(id, Entry { session, place });
        debug_assert!(old.is_none(), "ids are unguessable, so they differ");
    }

    /// Takes a session out. Of several callers, one gets it.
    pub(super) fn remove(&self, session: &Session<B>) -> Option<Arc<Session<B>>> {
        let id = digits(session.id.as_ref()?);
        write(self.shard(&id)).remove(&id).map(Entry::into_session)
    }

    /// Takes out those that have been idle for `limit` or longer.
    pub(super) fn remove_idle(&self, limit: Duration) -> Vec<Arc<Session<B>>> {
        self.remove_if(|session| session.idle().is_some_and(|idle| idle >= limit))
    }

    /// Takes out all.
    pub(super) fn remove_all(&self) -> Vec<Arc<Session<B>>> {
        self.remove_if(|_| true)
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(&Session<B>)) {
        for shard in &self.shards {
            // Not under the lock: a visit may wake others, who come here.
            let sessions: Vec<_> =
                read(shard).values().map(|entry| Arc::clone(&entry.session)).collect();
            sessions.iter().for_each(|session| visit(session));
        }
    }

    fn remove_if(&self, mut is_over: impl FnMut(&Session<B>) -> bool) -> Vec<Arc<Session<B>>> {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = write(shard);
            let over = shard.extract_if(|_, entry| is_over(&entry.session));
            removed.extend(over.map(|(_, entry)| entry.into_session()));
        }
        removed
    }

    fn longest_idle(&self) -> Option<Digits> {
        let mut longest: Option<(Duration, Digits)> = None;
        for shard in &self.shards {
            for (id, entry) in read(shard).iter() {
                if let Some(idle) = entry.session.idle()
                    && longest.as_ref().is_none_or(|(most, _)| idle > *most)
                {
                    longest = Some((idle, *id));
                }
            }
        }
        longest.map(|(_, id)| id)
    }

    /// By the last digit: the ids that are given are of random ones.
    fn shard(&self, id: &Digits) -> &RwLock<Shard<B>> {
        let digit = char::from(id[id.len() - 1]).to_digit(16);
        &self.shards[digit.unwrap_or(0) as usize]
    }
}

// === impl Entry ===

impl<B: Backend> Entry<B> {
    fn into_session(self) -> Arc<Session<B>> {
        self.session
    }
}

fn digits(id: &SessionId) -> Digits {
    id.expose().as_bytes().try_into().expect("it is unguessable, and has as many digits")
}

fn read<B: Backend>(shard: &RwLock<Shard<B>>) -> RwLockReadGuard<'_, Shard<B>> {
    shard.read().expect("no one panics while holding it")
}

fn write<B: Backend>(shard: &RwLock<Shard<B>>) -> RwLockWriteGuard<'_, Shard<B>> {
    shard.write().expect("no one panics while holding it")
}
