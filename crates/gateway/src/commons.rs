//! What clients that share sessions with an upstream have set up in common:
//! the level of its log lines, and the resources they have subscribed to.
//!
//! A session has one level and one set of subscriptions. So the upstream is
//! told the least severe of what the sharers want, and each subscription once;
//! what comes of it is filtered for each client. Sharers take turns in telling
//! it, so that it hears things in the order in which they were wanted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{self, OnceCell};
use wharf_pool::{Key, Session};
use wharf_proto::{Json, Request, RequestId, Response, Severity, method};

use crate::{
    error::Failure,
    fleet::Fleet,
    setup::{ask, say, say_all},
    upstream::Upstream,
    wire::WireLink,
};

/// What those who share the sessions of one key have in common.
pub(crate) struct Commons {
    key: Key,
    /// The session that everybody listens to and that has the subscriptions.
    home: Mutex<Arc<OnceCell<Session<WireLink>>>>,
    sharers: Mutex<Sharers>,
    /// Some of them want log lines. Looked at by every call, which is not to
    /// wait for the others' looking.
    is_levelled: AtomicBool,
    /// Whose turn it is to tell the upstream of a subscription.
    turn: sync::Mutex<()>,
}

/// The commons of one upstream, by key. Those that nobody shares are gone.
#[derive(Default)]
pub(crate) struct AllCommons(Mutex<HashMap<Key, Weak<Commons>>>);

#[derive(Default)]
struct Sharers {
    levels: HashMap<u64, Severity>,
    /// The least severe of them.
    least: Option<Severity>,
    /// The level that each session was told last, by its number.
    told: BTreeMap<u64, Arc<Told>>,
    subscriptions: BTreeMap<String, Subscription>,
}

/// The level that a session was told last. Held by who tells it another.
type Told = sync::Mutex<Option<Severity>>;

/// Who wants to know of a resource, and how the upstream was told so. Where
/// nobody does any more, it is still to be told.
struct Subscription {
    request: Request,
    clients: BTreeSet<u64>,
}

/// How many sessions are remembered to have been told a level.
const MOST_TOLD: usize = 64;

// === impl AllCommons ===

impl AllCommons {
    /// The commons of a key.
    pub(crate) fn of(&self, key: &Key) -> Arc<Commons> {
        let mut all = self.0.lock().expect("nothing panics while holding it");
        if let Some(commons) = all.get(key).and_then(Weak::upgrade) {
            return commons;
        }
        all.retain(|_, commons| commons.strong_count() > 0);
        let commons = Arc::new(Commons {
            key: key.clone(),
            home: Mutex::default(),
            sharers: Mutex::default(),
            is_levelled: AtomicBool::new(false),
            turn: sync::Mutex::default(),
        });
        all.insert(key.clone(), Arc::downgrade(&commons));
        commons
    }
}

// === impl Commons ===

impl Commons {
    /// The session that everybody listens to, with what the sharers have set
    /// up in it. Opened and set up once for all who ask.
    pub(crate) async fn home(
        &self,
        fleet: &Fleet,
        upstream: &Upstream,
    ) -> Result<Session<WireLink>, Failure> {
        let home = self.current_home();
        let session = home.get_or_try_init(async || {
            let lease = fleet.lease(upstream, &self.key).await?;
            self.settle(upstream, &lease).await;
            let requests = self.sharers().requests();
            say_all(upstream, &lease, requests).await;
            Ok(Session::clone(&lease))
        });
        session.await.cloned()
    }

    fn current_home(&self) -> Arc<OnceCell<Session<WireLink>>> {
        let mut home = self.home.lock().expect("nothing panics while holding it");
        if home.get().is_some_and(Session::is_closed) {
            *home = Arc::default();
        }
        Arc::clone(&home)
    }

    /// Brings a session to the level that the sharers want, before a call.
    pub(crate) async fn settle(&self, upstream: &Upstream, session: &Session<WireLink>) {
        let Some(told) = self.sharers().told(session.number()) else { return };
        let mut told = told.lock().await;
        // As it is now: it may be another than when the turn was waited for.
        let level = self.sharers().least;
        let Some(level) = level.filter(|level| *told != Some(*level)) else { return };
        let is_told = match session.handshake().offers("logging") {
            true => say(upstream, session, &set_level(level)).await,
            // There is no log that it could be the level of.
            false => Ok(()),
        };
        // Where no answer comes the calls to come are not to wait for one.
        if matches!(is_told, Ok(()) | Err(Failure::TimedOut { .. })) {
            *told = Some(level);
        }
    }

    /// Whether a session has to be brought to nothing before a call.
    pub(crate) fn is_settled(&self, session: &Session<WireLink>) -> bool {
        if !self.is_levelled.load(Ordering::Acquire) {
            return true;
        }
        let sharers = self.sharers();
        let told = || sharers.told.get(&session.number())?.try_lock().ok();
        sharers.least.is_none() || told().is_some_and(|told| *told == sharers.least)
    }

    /// Takes a client's level.
    pub(crate) async fn set_level(
        &self,
        fleet: &Fleet,
        upstream: &Upstream,
        client: u64,
        level: Severity,
    ) -> Result<(), Failure> {
        self.want_level(client, level);
        let home = self.home(fleet, upstream).await?;
        self.settle(upstream, &home).await;
        Ok(())
    }

    /// Subscribes a client; the upstream hears of the first alone.
    pub(crate) async fn subscribe(
        &self,
        fleet: &Fleet,
        upstream: &Upstream,
        client: u64,
        request: &Request,
    ) -> Result<Response, Failure> {
        let uri = uri(request)?;
        let home = self.home(fleet, upstream).await?;
        if self.sharers().join(&uri, client) {
            return Ok(Response::success(request.id(), &Json::empty_object()));
        }
        let _turn = self.turn.lock().await;
        // Somebody else may have been first.
        if self.sharers().join(&uri, client) {
            return Ok(Response::success(request.id(), &Json::empty_object()));
        }
        let response = ask(upstream, &home, request).await?;
        if response.result().is_some() {
            self.sharers().add(uri, request, client);
        }
        Ok(response)
    }

    /// Takes a client's subscription back; the upstream hears of the last
    /// alone.
    pub(crate) async fn unsubscribe(
        &self,
        fleet: &Fleet,
        upstream: &Upstream,
        client: u64,
        request: &Request,
    ) -> Result<Response, Failure> {
        let uri = uri(request)?;
        let _turn = self.turn.lock().await;
        if !self.sharers().withdraw(&uri, client) {
            return Ok(Response::success(request.id(), &Json::empty_object()));
        }
        let home = self.home(fleet, upstream).await?;
        ask(upstream, &home, request).await
    }

    /// Forgets a client. Whether there is now something to take back that
    /// nobody wants any more.
    pub(crate) fn leave(&self, client: u64) -> bool {
        let mut sharers = self.sharers();
        let is_any_unwanted = sharers.leave(client);
        self.is_levelled.store(sharers.least.is_some(), Ordering::Release);
        is_any_unwanted
    }

    /// Takes the subscriptions back that nobody wants any more.
    pub(crate) async fn take_back(&self, upstream: &Upstream) {
        let _turn = self.turn.lock().await;
        // Only now: somebody may have come who wants one of them.
        let unwanted = self.sharers().take_unwanted();
        let home = self.current_home();
        let Some(home) = home.get() else { return };
        let unsubscribe = |subscribe: Request| {
            Request::new(&RequestId::from(0), method::RESOURCES_UNSUBSCRIBE, subscribe.params())
        };
        say_all(upstream, home, unwanted.into_iter().map(unsubscribe).collect()).await;
    }

    /// Whether anybody has subscribed to this resource or to one that it is a
    /// part of.
    pub(crate) fn knows(&self, uri: &str) -> bool {
        self.sharers().subscriptions.keys().any(|whole| is_part_of(uri, whole))
    }

    fn want_level(&self, client: u64, level: Severity) {
        let mut sharers = self.sharers();
        sharers.set_level(client, level);
        self.is_levelled.store(sharers.least.is_some(), Ordering::Release);
    }

    fn sharers(&self) -> MutexGuard<'_, Sharers> {
        self.sharers.lock().expect("nothing panics while holding it")
    }
}

// === impl Sharers ===

impl Sharers {
    fn set_level(&mut self, client: u64, level: Severity) {
        self.levels.insert(client, level);
        self.least = self.levels.values().min().copied();
    }

    /// Where the level is written down that a session was told; `None` where
    /// nobody wants any.
    fn told(&mut self, session: u64) -> Option<Arc<Told>> {
        self.least?;
        let told = Arc::clone(self.told.entry(session).or_default());
        if self.told.len() > MOST_TOLD {
            // Numbers grow: the lowest is most likely to be gone.
            self.told.pop_first();
        }
        Some(told)
    }

    /// What a fresh session is to be told.
    fn requests(&self) -> Vec<Request> {
        let wanted = self.subscriptions.values().filter(|one| !one.clients.is_empty());
        wanted.map(|subscription| subscription.request.clone()).collect()
    }

    fn add(&mut self, uri: String, request: &Request, client: u64) {
        let first = || Subscription { request: request.clone(), clients: BTreeSet::new() };
        self.subscriptions.entry(uri).or_insert_with(first).clients.insert(client);
    }

    /// Adds a client to those who want to know of a resource that the upstream
    /// has been told of.
    fn join(&mut self, uri: &str, client: u64) -> bool {
        let subscription = self.subscriptions.get_mut(uri);
        subscription.is_some_and(|subscription| {
            subscription.clients.insert(client);
            true
        })
    }

    /// Takes a client's interest in a resource away. Whether the upstream is
    /// to hear of it: because it was the last, or nobody knows of any.
    fn withdraw(&mut self, uri: &str, client: u64) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(uri) else { return true };
        subscription.clients.remove(&client);
        let is_last = subscription.clients.is_empty();
        if is_last {
            self.subscriptions.remove(uri);
        }
        is_last
    }

    /// Forgets a client. Whether a subscription was its alone.
    fn leave(&mut self, client: u64) -> bool {
        self.levels.remove(&client);
        self.least = self.levels.values().min().copied();
        let mut is_any_unwanted = false;
        for subscription in self.subscriptions.values_mut() {
            let was_in = subscription.clients.remove(&client);
            is_any_unwanted |= was_in && subscription.clients.is_empty();
        }
        is_any_unwanted
    }

    /// The subscriptions that are nobody's, which are forgotten with it.
    fn take_unwanted(&mut self) -> Vec<Request> {
        let unwanted = self.subscriptions.extract_if(.., |_, one| one.clients.is_empty());
        unwanted.map(|(_, subscription)| subscription.request).collect()
    }
}

/// Whether a resource is the whole or a part of it: it may be another that has
/// changed than was subscribed to (server features, resources, subscriptions).
pub(crate) fn is_part_of(uri: &str, whole: &str) -> bool {
    let rest = uri.strip_prefix(whole);
    rest.is_some_and(|rest| {
        rest.is_empty() || whole.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}

fn set_level(level: Severity) -> Request {
    let params = Json::from_value(&serde_json::json!({"level": level})).expect("it is JSON");
    Request::new(&RequestId::from(0), method::SET_LEVEL, Some(&params))
}

fn uri(request: &Request) -> Result<String, Failure> {
    let uri = request.param("uri").and_then(|uri| uri.to_text());
    let missing = || Failure::Missing { method: request.method().into(), param: "uri" };
    Ok(uri.ok_or_else(missing)?.as_str().to_owned())
}
