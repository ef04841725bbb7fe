//! The sessions, and what each of them keeps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

use super::{mouth::Mouth, record::Record};

/// The sessions of both transports.
pub(super) struct Sessions {
    record: Record,
    table: Mutex<Table>,
    /// What clients without a session share.
    pub(super) anonymous: Arc<Session>,
}

#[derive(Default)]
struct Table {
    opened: u64,
    by_id: BTreeMap<String, Arc<Session>>,
}

/// One session. It lives on for who uses it when it is forgotten.
pub(super) struct Session {
    /// From 1 in the order of opening; 0 for the anonymous one.
    pub(super) number: u64,
    pub(super) id: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sum: i64,
    level: Option<String>,
    subscriptions: BTreeSet<String>,
    /// The calls under way, by id, and what stops them.
    running: HashMap<String, Arc<Notify>>,
    asks: u64,
    /// What clients have been asked and have not answered yet.
    asked: HashMap<String, oneshot::Sender<Value>>,
    /// Where what is said unasked goes.
    ear: Option<Mouth>,
    unheard: Vec<Value>,
}

/// A call's place among those that run. Dropping it takes it out.
pub(super) struct Place<'a> {
    session: &'a Session,
    id: String,
    stop: Arc<Notify>,
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(record: Record) -> Self {
        let anonymous = Arc::new(Session::new(0, String::new()));
        Self { record, table: Mutex::default(), anonymous }
    }

    /// Opens a session for that request.
    pub(super) fn open(&self, request: usize) -> Arc<Session> {
        let mut table = self.table();
        table.opened += 1;
        let number = table.opened;
        // So that the id of one upstream means nothing to another.
        let dice = RandomState::new().build_hasher().finish();
        let session = Arc::new(Session::new(number, format!("{number}-{dice:016x}")));
        table.by_id.insert(session.id.clone(), Arc::clone(&session));
        drop(table);
        self.record.opened(number, request);
        session
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.table().by_id.get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.table().by_id.values().cloned().collect()
    }

    /// Forgets a session and does nothing to its calls and streams, as when
    /// its next request gets to another machine.
    pub(super) fn forget(&self, session: &Session) {
        if self.table().by_id.remove(&session.id).is_some() {
            self.record.ended(session.number);
        }
    }

    /// Ends a session: its calls are stopped and its streams end.
    pub(super) fn end(&self, session: &Session) {
        self.forget(session);
        session.end();
    }

    pub(super) fn forget_all(&self) {
        for session in self.all() {
            self.forget(&session);
        }
        // The machine that kept it is gone.
        *self.anonymous.state() = State::default();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no one panics while holding it")
    }
}

// === impl Session ===

impl Session {
    fn new(number: u64, id: String) -> Self {
        Self { number, id, state: Mutex::default() }
    }

    /// Adds to the sum that the session keeps.
    pub(super) fn add(&self, n: i64) -> i64 {
        let mut state = self.state();
        state.sum = state.sum.wrapping_add(n);
        state.sum
    }

    pub(super) fn set_level(&self, level: &str) {
        self.state().level = Some(level.to_owned());
    }

    pub(super) fn subscribe(&self, uri: &str) {
        self.state().subscriptions.insert(uri.to_owned());
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        self.state().subscriptions.remove(uri);
    }

    /// What it keeps, for a client that wants to know whose it is.
    pub(super) fn portrait(&self) -> Value {
        let State { sum, level, subscriptions, .. } = &*self.state();
        json!({
            "session": self.number,
            "sum": sum,
            "level": level,
            "subscriptions": subscriptions,
        })
    }

    /// Enters a call among those that run.
    pub(super) fn enter(&self, id: &Value) -> Place<'_> {
        let stop = Arc::new(Notify::new());
        let id = id.to_string();
        // Clients without a session use the same ids: none of them may stop
        // another's call.
        if self.number > 0 {
            self.state().running.insert(id.clone(), Arc::clone(&stop));
        }
        Place { session: self, id, stop }
    }

    /// Stops a call, where it runs.
    pub(super) fn cancel(&self, id: &Value) {
        if let Some(stop) = self.state().running.get(&id.to_string()) {
            stop.notify_one();
        }
    }

    /// Asks the client something in the course of a call.
    pub(super) async fn ask(&self, method: &str, params: &Value, mouth: &Mouth) -> Option<Value> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = self.state();
            state.asks += 1;
            let id = format!("faulty-{}-{}", self.number, state.asks);
            state.asked.insert(id.clone(), answer);
            id
        };
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if !mouth.say(&request) {
            return None;
        }
        answered.await.ok()
    }

    /// Takes a response of the client's.
    pub(super) fn answered(&self, response: &Value) {
        let id = response.get("id").and_then(Value::as_str);
        let waiting = id.and_then(|id| self.state().asked.remove(id));
        if let Some(waiting) = waiting {
            // The call that asked may be over.
            let _ = waiting.send(response.clone());
        }
    }

    /// Says a notification unasked, now or when somebody listens.
    pub(super) fn announce(&self, method: &str) {
        let notification = json!({"jsonrpc": "2.0", "method": method});
        let mut state = self.state();
        let is_heard = state.ear.as_ref().is_some_and(|ear| ear.say(&notification));
        if !is_heard {
            state.unheard.push(notification);
        }
    }

    /// From now on what is said unasked goes there. Another stream that it
    /// went to ends.
    pub(super) fn listen(&self, ear: Mouth) {
        let mut state = self.state();
        for notification in mem::take(&mut state.unheard) {
            ear.say(&notification);
        }
        state.ear = Some(ear);
    }

    /// The stream that somebody listens on.
    pub(super) fn ear(&self) -> Option<Mouth> {
        self.state().ear.clone()
    }

    fn end(&self) {
        let mut state = self.state();
        state.ear = None;
        state.asked.clear();
        for stop in state.running.values() {
            stop.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding it")
    }
}

// === impl Place ===

impl Place<'_> {
    /// Waits until the call is not wanted any more.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state();
        // Another call may have come under the same id.
        if state.running.get(&self.id).is_some_and(|stop| Arc::ptr_eq(stop, &self.stop)) {
            state.running.remove(&self.id);
        }
    }
}
