//! What one client has with one upstream: its key, the session it uses, and
//! what it has set up in it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::OnceCell;
use wharf_pool::{Key, Lease, Pool, Scope, Spot};
use wharf_proto::{Request, Response, method};

use crate::{
    OnLost, Transport,
    commons::{Commons, is_part_of},
    dial::Dial,
    ear::Ear,
    setup,
    upstream::{Edition, Identity, Upstream},
    wire::WireLink,
};

/// One client's place with one upstream.
///
/// Where the client has sessions of its own, it is noticed here when one of
/// them is another than the last: what the client had set up is set up anew
/// before its next call, or the client is told that its session was lost.
#[derive(Default)]
pub(crate) struct Berth {
    terms: RwLock<Option<Arc<Terms>>>,
    is_in_use: AtomicBool,
    /// What the upstream says in a call and what it says unasked comes on one
    /// stream.
    has_one_stream: AtomicBool,
    /// The number of the session that calls can be made on without more ado.
    settled: AtomicU64,
    settling: Mutex<Settling>,
    standing: Mutex<Standing>,
    ear: Arc<Ear>,
}

/// How the client is with the upstream, as that is configured for now.
pub(crate) struct Terms {
    pub(crate) edition: Arc<Edition>,
    /// Where the sessions are that the client may use.
    pub(crate) spot: Spot<Dial>,
    /// What is shared, if sessions are.
    pub(crate) commons: Option<Arc<Commons>>,
}

/// The session that is about to be used: settled once, for all calls that
/// come to it at the same time.
#[derive(Default)]
struct Settling {
    session: u64,
    done: Arc<OnceCell<()>>,
}

/// What the client has set up in its session.
#[derive(Default)]
struct Standing {
    level: Option<Request>,
    /// By their URIs, oldest first.
    subscriptions: VecDeque<(String, Request)>,
}

/// How many subscriptions are remembered; the oldest is forgotten first.
pub(crate) const MOST_SUBSCRIPTIONS: usize = 1024;

/// Whether a call comes to the session that the last one went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boarding {
    /// It does, or there was none before, or it makes no difference.
    Usual,
    /// It is the first on a fresh session: what the upstream kept is lost.
    Replaced,
    /// The session is lost, and the client is to be told.
    Lost,
}

// === impl Berth ===

impl Berth {
    /// How the client is with the upstream for now.
    pub(crate) fn terms(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        pool: &Pool<Dial>,
    ) -> Arc<Terms> {
        if let Some(terms) = self.last_terms()
            && upstream.is_in(&terms.edition)
        {
            return terms;
        }
        let mut terms = self.terms.write().expect("nothing panics while holding it");
        if let Some(terms) = terms.as_ref().filter(|terms| upstream.is_in(&terms.edition)) {
            return Arc::clone(terms);
        }
        // What is shared is to be found by the new terms, and so the old ones
        // are kept until these are there.
        let current = Arc::new(Terms::new(upstream, identity, pool));
        *terms = Some(Arc::clone(&current));
        current
    }

    /// How the client was with the upstream when it last looked.
    pub(crate) fn last_terms(&self) -> Option<Arc<Terms>> {
        self.terms.read().expect("nothing panics while holding it").clone()
    }

    /// Whether the client shares its sessions with nobody.
    pub(crate) fn is_alone(&self) -> bool {
        let terms = self.terms.read().expect("nothing panics while holding it");
        terms.as_ref().is_some_and(|terms| terms.own_key().is_some())
    }

    /// From now on the client has sessions of its own: it shared one for want
    /// of any, and the upstream has begun to keep them.
    pub(crate) fn part_from_sharers(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        pool: &Pool<Dial>,
    ) {
        let mut terms = self.terms.write().expect("nothing panics while holding it");
        if terms.as_ref().is_none_or(|terms| terms.own_key().is_none()) {
            *terms = Some(Arc::new(Terms::alone(upstream, identity, pool)));
        }
    }

    /// What the client hears of the upstream unasked.
    pub(crate) const fn ear(&self) -> &Arc<Ear> {
        &self.ear
    }

    /// What is shared, if anything is.
    pub(crate) fn commons(&self) -> Option<Arc<Commons>> {
        self.last_terms()?.commons.clone()
    }

    /// Whether the client has had a session with the upstream.
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_in_use.load(Ordering::Acquire)
    }

    /// Whether calls have to hear what their session says unasked: where it
    /// comes on the stream of everything, and can be nobody else's.
    pub(crate) fn is_heard_by_calls(&self) -> bool {
        self.has_one_stream.load(Ordering::Relaxed) && self.is_alone()
    }

    /// Notes that the client has a session; whether it is the first time.
    pub(crate) fn occupy(&self) -> bool {
        !self.is_in_use.swap(true, Ordering::AcqRel)
    }

    /// Brings a call to the session it has leased.
    pub(crate) async fn board(
        &self,
        terms: &Terms,
        upstream: &Upstream,
        lease: &Lease<WireLink>,
    ) -> Boarding {
        if let Some(commons) = &terms.commons {
            commons.settle(upstream, lease).await;
            return Boarding::Usual;
        }
        let session = lease.number();
        if self.is_on_board(terms, session) {
            return Boarding::Usual;
        }
        let before = self.settled.load(Ordering::Acquire);
        let Some(is_first) = self.set_up(terms, upstream, lease).await else {
            return Boarding::Lost;
        };
        // Of the calls that have waited for it, one is told.
        let swapped =
            self.settled.compare_exchange(before, session, Ordering::AcqRel, Ordering::Acquire);
        let is_told = !is_first && before != session && swapped.is_ok();
        if is_told { Boarding::Replaced } else { Boarding::Usual }
    }

    /// Brings one who makes no call to the session it has leased. That the
    /// session is another is left for the next call to be told. Whether the
    /// client may go on with it.
    pub(crate) async fn come_along(
        &self,
        terms: &Terms,
        upstream: &Upstream,
        lease: &Lease<WireLink>,
    ) -> bool {
        self.is_on_board(terms, lease.number())
            || self.set_up(terms, upstream, lease).await.is_some()
    }

    /// Whether a call may go to the session it has leased without more ado.
    pub(crate) fn is_settled(&self, terms: &Terms, lease: &Lease<WireLink>) -> bool {
        match &terms.commons {
            Some(commons) => commons.is_settled(lease),
            None => self.is_on_board(terms, lease.number()),
        }
    }

    /// Whether calls have come to this session or a later one before, or it
    /// makes no difference.
    fn is_on_board(&self, terms: &Terms, session: u64) -> bool {
        // Numbers grow: a lower one is a session on its way out.
        session <= self.settled.load(Ordering::Acquire) || terms.own_key().is_none()
    }

    /// Where the setting up of `session` happens, and whether it is the first
    /// that the client has.
    fn settle(&self, session: u64) -> (Arc<OnceCell<()>>, bool) {
        let mut settling = self.settling.lock().expect("nothing panics while holding it");
        let is_first = self.settled.load(Ordering::Acquire) == 0;
        if settling.session != session {
            *settling = Settling { session, done: Arc::default() };
        }
        (Arc::clone(&settling.done), is_first)
    }

    /// Sets up in a fresh session what the client had set up in the last: once
    /// for all who come to it. Whether it is the first that the client has;
    /// `None` where that is lost, and the client is to be told.
    async fn set_up(
        &self,
        terms: &Terms,
        upstream: &Upstream,
        lease: &Lease<WireLink>,
    ) -> Option<bool> {
        let edition = &terms.edition;
        self.has_one_stream.store(edition.transport() == Transport::Sse, Ordering::Relaxed);
        let (done, is_first) = self.settle(lease.number());
        if !is_first && edition.settings.on_lost == OnLost::Tell {
            return None;
        }
        let set_up = || {
            let writes_log = lease.handshake().offers("logging");
            let requests = self.standing().requests(writes_log);
            setup::say_all(upstream, lease, requests)
        };
        done.get_or_init(set_up).await;
        Some(is_first)
    }

    /// Remembers what a call has set up in the session.
    pub(crate) fn note(&self, request: &Request, response: &Response) {
        if response.result().is_none() {
            return;
        }
        let uri = || Some(request.param("uri")?.to_text()?.as_str().to_owned());
        match request.method() {
            method::SET_LEVEL => self.keep_level(request.clone()),
            method::RESOURCES_SUBSCRIBE => {
                if let Some(uri) = uri() {
                    self.standing().subscribe(uri, request);
                }
            }
            method::RESOURCES_UNSUBSCRIBE => {
                if let Some(uri) = uri() {
                    self.standing().unsubscribe(&uri);
                }
            }
            _ => {}
        }
    }

    /// Keeps a level that is set in every session to come.
    pub(crate) fn keep_level(&self, request: Request) {
        self.standing().level = Some(request);
    }

    /// Whether the client has subscribed to this resource.
    pub(crate) fn subscribes_to(&self, uri: &str) -> bool {
        self.standing().subscriptions.iter().any(|(whole, _)| whole == uri)
    }

    /// Whether the client has subscribed to this resource or to one that it is
    /// a part of.
    pub(crate) fn subscribes_to_part_of(&self, uri: &str) -> bool {
        self.standing().subscriptions.iter().any(|(whole, _)| is_part_of(uri, whole))
    }

    /// Whether the client has subscribed to anything.
    pub(crate) fn has_subscriptions(&self) -> bool {
        !self.standing().subscriptions.is_empty()
    }

    /// Whether one subscription more would have another forgotten.
    pub(crate) fn is_full_of_subscriptions(&self) -> bool {
        self.standing().subscriptions.len() >= MOST_SUBSCRIPTIONS
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("nothing panics while holding it")
    }
}

// === impl Terms ===

impl Terms {
    fn new(upstream: &Upstream, identity: &Identity, pool: &Pool<Dial>) -> Self {
        let edition = upstream.edition();
        let key = upstream.key_for(&edition, identity);
        let is_shared = matches!(key.scope(), Scope::Identity(_) | Scope::Shared);
        let commons = is_shared.then(|| upstream.commons.of(&key));
        Self { edition, spot: pool.spot(key), commons }
    }

    /// Those of a client that shares nothing.
    fn alone(upstream: &Upstream, identity: &Identity, pool: &Pool<Dial>) -> Self {
        let spot = pool.spot(upstream.key_alone(identity));
        Self { edition: upstream.edition(), spot, commons: None }
    }

    /// The key, if the sessions under it are this client's alone.
    pub(crate) fn own_key(&self) -> Option<&Key> {
        Some(self.spot.key()).filter(|key| matches!(key.scope(), Scope::Client(_)))
    }
}

// === impl Standing ===

impl Standing {
    /// What a session is told to be as the last one was.
    fn requests(&self, writes_log: bool) -> Vec<Request> {
        let level = self.level.iter().filter(|_| writes_log);
        level.chain(self.subscriptions.iter().map(|(_, request)| request)).cloned().collect()
    }

    fn subscribe(&mut self, uri: String, request: &Request) {
        self.unsubscribe(&uri);
        if self.subscriptions.len() >= MOST_SUBSCRIPTIONS {
            self.subscriptions.pop_front();
        }
        self.subscriptions.push_back((uri, request.clone()));
    }

    fn unsubscribe(&mut self, uri: &str) {
        self.subscriptions.retain(|(other, _)| other != uri);
    }
}

#[cfg(test)]
mod tests {
    use wharf_proto::{Json, RequestId};

    use super::*;

    fn subscribe(berth: &Berth, number: usize) {
        let params = Json::parse(format!(r#"{{"uri":"x://{number}"}}"#)).expect("it is JSON");
        let id = RequestId::from(1);
        let request = Request::new(&id, method::RESOURCES_SUBSCRIBE, Some(&params));
        berth.note(&request, &Response::success(&id, &Json::empty_object()));
    }

    #[test]
    fn of_too_many_subscriptions_the_oldest_is_forgotten() {
        let berth = Berth::default();
        for number in 0..MOST_SUBSCRIPTIONS {
            subscribe(&berth, number);
        }
        assert!(berth.is_full_of_subscriptions());
        // One that is made again is a new one.
        subscribe(&berth, 0);
        subscribe(&berth, MOST_SUBSCRIPTIONS);
        assert_eq!(berth.standing().requests(false).len(), MOST_SUBSCRIPTIONS);
        let known = [0, 1, 2, MOST_SUBSCRIPTIONS].map(|number| format!("x://{number}"));
        assert_eq!(known.map(|uri| berth.subscribes_to(&uri)), [true, false, true, true]);
    }
}
