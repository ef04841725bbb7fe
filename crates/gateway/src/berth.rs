//! What one client has with one upstream: its key, the session it uses, and
//! what it has set up in it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OnceCell;
use wharf_pool::{Key, Lease, Scope};
use wharf_proto::{Request, Response, method, transport::Exchange};

use crate::{OnLost, upstream::Upstream, wire::WireLink};

/// One client's place with one upstream.
///
/// Where the client has sessions of its own, it is noticed here when one of
/// them is another than the last: what the client had set up is set up anew
/// before its next call, or the client is told that its session was lost.
#[derive(Default)]
pub(crate) struct Berth {
    key: OnceLock<Key>,
    /// The number of the session that calls can be made on without more ado.
    settled: AtomicU64,
    settling: Mutex<Settling>,
    standing: Mutex<Standing>,
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
    subscriptions: BTreeMap<String, Request>,
}

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
    pub(crate) fn key_or(&self, make: impl FnOnce() -> Key) -> &Key {
        self.key.get_or_init(make)
    }

    /// The key, if the sessions under it are this client's alone.
    pub(crate) fn own_key(&self) -> Option<&Key> {
        self.key.get().filter(|key| matches!(key.scope(), Scope::Client(_)))
    }

    /// Brings a call to the session it has leased.
    pub(crate) async fn board(&self, upstream: &Upstream, lease: &Lease<WireLink>) -> Boarding {
        let session = lease.number();
        // Numbers grow: a lower one is a session on its way out.
        if session <= self.settled.load(Ordering::Acquire) || self.own_key().is_none() {
            return Boarding::Usual;
        }
        let (done, is_first) = self.settle(session);
        if is_first {
            return Boarding::Usual;
        }
        if upstream.settings.on_lost == OnLost::Tell {
            return Boarding::Lost;
        }
        let before = self.settled.load(Ordering::Acquire);
        done.get_or_init(|| self.set_up(upstream, lease)).await;
        // Of the calls that have waited for it, one is told.
        let swapped =
            self.settled.compare_exchange(before, session, Ordering::AcqRel, Ordering::Acquire);
        if before != session && swapped.is_ok() { Boarding::Replaced } else { Boarding::Usual }
    }

    /// Where the setting up of `session` happens, and whether it is the first
    /// that the client has.
    fn settle(&self, session: u64) -> (Arc<OnceCell<()>>, bool) {
        let mut settling = self.settling.lock().expect("nothing panics while holding it");
        let is_first = settling.session == 0;
        if settling.session != session {
            *settling = Settling { session, done: Arc::default() };
        }
        if is_first {
            self.settled.store(session, Ordering::Release);
        }
        (Arc::clone(&settling.done), is_first)
    }

    /// Sets up in a fresh session what the client had set up in the last.
    async fn set_up(&self, upstream: &Upstream, lease: &Lease<WireLink>) {
        let requests = self.standing().requests();
        for request in requests {
            match lease.call(&request).answer().await {
                Ok(answer) if answer.error_code().is_none() => {}
                Ok(_) => {
                    tracing::warn!(upstream = %upstream.id(), method = request.method(), "the upstream refused on a fresh session what it had taken before");
                }
                Err(error) => {
                    tracing::warn!(upstream = %upstream.id(), method = request.method(), %error, "a fresh session could not be set up");
                }
            }
        }
    }

    /// Remembers what a call has set up in the session.
    pub(crate) fn note(&self, request: &Request, response: &Response) {
        if response.result().is_none() {
            return;
        }
        let uri = || Some(request.param("uri")?.to_text()?.as_str().to_owned());
        match request.method() {
            method::SET_LEVEL => self.standing().level = Some(request.clone()),
            method::RESOURCES_SUBSCRIBE => {
                if let Some(uri) = uri() {
                    self.standing().subscriptions.insert(uri, request.clone());
                }
            }
            method::RESOURCES_UNSUBSCRIBE => {
                if let Some(uri) = uri() {
                    self.standing().subscriptions.remove(&uri);
                }
            }
            _ => {}
        }
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().expect("nothing panics while holding it")
    }
}

// === impl Standing ===

impl Standing {
    fn requests(&self) -> Vec<Request> {
        self.level.iter().chain(self.subscriptions.values()).cloned().collect()
    }
}
