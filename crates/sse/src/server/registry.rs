//! Which sessions there are.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, RwLock},
};

use wharf_proto::SessionId;

use super::session::Session;

/// The sessions of a server by their ids. Every message looks one up, which
/// readers do side by side; only an opening or an ending stream writes.
pub(super) struct Registry<S> {
    sessions: RwLock<HashMap<Key, Arc<Session<S>>>>,
    max: usize,
}

/// An id that can be looked up by the text of a query.
#[derive(PartialEq, Eq)]
struct Key(SessionId);

// === impl Registry ===

impl<S> Registry<S> {
    pub(super) fn new(max: usize) -> Self {
        Self { sessions: RwLock::default(), max }
    }

    /// Adds a session, unless there is no room for it.
    pub(super) fn insert(&self, id: SessionId, session: &Arc<Session<S>>) -> bool {
        let mut sessions = self.sessions.write().expect(NO_PANIC);
        if sessions.len() >= self.max {
            return false;
        }
        sessions.insert(Key(id), Arc::clone(session));
        true
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Session<S>>> {
        let sessions = self.sessions.read().expect(NO_PANIC);
        sessions.get(id).cloned()
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.sessions.write().expect(NO_PANIC).remove(id.expose());
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.read().expect(NO_PANIC).len()
    }
}

const NO_PANIC: &str = "no one panics while holding it";

// === impl Key ===

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.0.expose()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the text it is borrowed as.
        self.0.expose().hash(state);
    }
}
