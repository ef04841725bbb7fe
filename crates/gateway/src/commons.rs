//! What clients that share sessions with an upstream have set up in common:
//! the level of its log lines, and the resources they have subscribed to.
//!
//! A session has one level and one set of subscriptions. So the upstream is
//! told the least severe of what the sharers want, and each subscription once;
//! what comes of it is filtered for each client.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use tokio::sync::OnceCell;
use wharf_pool::{Key, Session};
use wharf_proto::{Json, Request, RequestId, Response, Severity, method, transport::Exchange as _};

use crate::{error::Failure, fleet::Fleet, upstream::Upstream, wire::WireLink};

/// What those who share the sessions of one key have in common.
pub(crate) struct Commons {
    key: Key,
    /// The session that everybody listens to and that has the subscriptions.
    home: Mutex<Arc<OnceCell<Session<WireLink>>>>,
    sharers: Mutex<Sharers>,
}

/// The commons of one upstream, by key. Those that nobody shares are gone.
#[derive(Default)]
pub(crate) struct AllCommons(Mutex<HashMap<Key, Weak<Commons>>>);

#[derive(Default)]
struct Sharers {
    levels: HashMap<u64, Severity>,
    /// The level that each session was told last, by its number.
    told: BTreeMap<u64, Severity>,
    subscriptions: BTreeMap<String, Subscription>,
}

/// Who wants to know of a resource, and how the upstream was told so.
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
            for request in requests {
                say(upstream, &lease, &request).await;
            }
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
        let Some(level) = self.sharers().untold(session.number()) else { return };
        say(upstream, session, &set_level(level)).await;
    }

    /// Whether no session has to be brought to anything before a call.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.sharers().levels.is_empty()
    }

    /// Takes a client's level.
    pub(crate) async fn set_level(
        &self,
        fleet: &Fleet,
        upstream: &Upstream,
        client: u64,
        level: Severity,
    ) -> Result<(), Failure> {
        self.sharers().levels.insert(client, level);
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
        let response = ask(upstream, &home, request).await?;
        if response.result().is_some() {
            let mut sharers = self.sharers();
            let first = || Subscription { request: request.clone(), clients: BTreeSet::new() };
            sharers.subscriptions.entry(uri).or_insert_with(first).clients.insert(client);
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
        if !self.sharers().withdraw(&uri, client) {
            return Ok(Response::success(request.id(), &Json::empty_object()));
        }
        let home = self.home(fleet, upstream).await?;
        ask(upstream, &home, request).await
    }

    /// Forgets a client; what nobody wants any more is taken back.
    pub(crate) async fn leave(&self, upstream: &Upstream, client: u64) {
        let unwanted = self.sharers().leave(client);
        let home = self.current_home();
        let Some(home) = home.get() else { return };
        for subscribe in unwanted {
            let params = subscribe.params();
            let request = Request::new(&RequestId::from(0), method::RESOURCES_UNSUBSCRIBE, params);
            say(upstream, home, &request).await;
        }
    }

    /// Whether anybody has subscribed to this resource or to one that it is a
    /// part of.
    pub(crate) fn knows(&self, uri: &str) -> bool {
        self.sharers().subscriptions.keys().any(|whole| is_part_of(uri, whole))
    }

    fn sharers(&self) -> MutexGuard<'_, Sharers> {
        self.sharers.lock().expect("nothing panics while holding it")
    }
}

// === impl Sharers ===

impl Sharers {
    /// The level that a session is to be told, unless it was.
    fn untold(&mut self, session: u64) -> Option<Severity> {
        let level = self.levels.values().min().copied()?;
        if self.told.get(&session) == Some(&level) {
            return None;
        }
        self.told.insert(session, level);
        if self.told.len() > MOST_TOLD {
            // Numbers grow: the lowest is most likely to be gone.
            self.told.pop_first();
        }
        Some(level)
    }

    fn requests(&self) -> Vec<Request> {
        self.subscriptions.values().map(|subscription| subscription.request.clone()).collect()
    }

    /// Adds a client to those who want to know of a resource already.
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

    /// The subscriptions that were this client's alone.
    fn leave(&mut self, client: u64) -> Vec<Request> {
        self.levels.remove(&client);
        let mut unwanted = Vec::new();
        self.subscriptions.retain(|_, subscription| {
            let was_in = subscription.clients.remove(&client);
            let is_unwanted = was_in && subscription.clients.is_empty();
            if is_unwanted {
                unwanted.push(subscription.request.clone());
            }
            !is_unwanted
        });
        unwanted
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

async fn ask(
    upstream: &Upstream,
    session: &Session<WireLink>,
    request: &Request,
) -> Result<Response, Failure> {
    let answer = session.call(request).answer().await;
    answer.map_err(|source| Failure::Call { upstream: upstream.id().clone(), source })
}

/// Says something whose answer changes nothing.
async fn say(upstream: &Upstream, session: &Session<WireLink>, request: &Request) {
    match ask(upstream, session, request).await {
        Ok(answer) if answer.error_code().is_none() => {}
        Ok(_) => {
            tracing::debug!(upstream = %upstream.id(), method = request.method(), "an upstream refused what sharers have set up");
        }
        Err(failure) => {
            tracing::debug!(%failure, method = request.method(), "a shared session could not be set up");
        }
    }
}
