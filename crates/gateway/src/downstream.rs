//! One client's session with the gateway.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use wharf_pool::{Key, Profile, Session};
use wharf_proto::{
    ErrorObject, Json, Notification, Request, RequestId, Response, Revision, code, method,
};

use crate::{
    ScopeSetting,
    berth::Berth,
    fleet::Fleet,
    upstream::{Identity, Upstream, own_info},
    wire::WireLink,
};

/// One client's session: what it declared, which calls it has under way, and
/// what upstreams have asked it.
///
/// The sessions with upstreams that are this client's alone end with it, at
/// the latest when it is dropped.
pub(crate) struct Downstream {
    identity: Identity,
    fleet: Arc<Fleet>,
    /// By the upstream's place among all; most clients use few of them.
    berths: Box<[OnceLock<Box<Berth>>]>,
    calls: Mutex<HashMap<RequestId, Arc<Cancellation>>>,
    questions: Mutex<HashMap<u64, Question>>,
    next_question: AtomicU64,
}

/// A call's entry in its session: dropping it takes the entry out.
pub(crate) struct Entry {
    downstream: Arc<Downstream>,
    id: RequestId,
    cancellation: Arc<Cancellation>,
}

#[derive(Default)]
struct Cancellation {
    is_cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// A request of an upstream's, as the client is asked it.
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) request: Request,
}

/// Who waits for the client's answer.
struct Question {
    session: Session<WireLink>,
    id: RequestId,
}

// === impl Downstream ===

impl Downstream {
    /// The session of a client that says `hello`.
    pub(crate) fn new(hello: &Request, fleet: &Arc<Fleet>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let requested = hello.requested_revision();
        let profile = Profile {
            revision: requested.map_or(Revision::LATEST, |revision| Revision::negotiate(&revision)),
            capabilities: object(hello.param("capabilities")).unwrap_or(Json::empty_object()),
            client_info: object(hello.param("clientInfo")).unwrap_or_else(own_info),
        };
        let client = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            identity: Identity { client, profile: Arc::new(profile) },
            fleet: Arc::clone(fleet),
            berths: fleet.upstreams.all().iter().map(|_| OnceLock::new()).collect(),
            calls: Mutex::default(),
            questions: Mutex::default(),
            next_question: AtomicU64::new(1),
        }
    }

    /// The revision that the client asked for, or the latest.
    pub(crate) fn revision(&self) -> Revision {
        self.identity.profile.revision
    }

    /// The key of the sessions with an upstream that this client may use.
    pub(crate) fn key(&self, upstream: &Upstream) -> &Key {
        self.berth(upstream).key_or(|| upstream.key_for(&self.identity))
    }

    /// The key of the session that one call may use.
    pub(crate) fn key_for_call(&self, upstream: &Upstream) -> Key {
        match upstream.settings.scope {
            ScopeSetting::Call => upstream.key_for(&self.identity),
            _ => self.key(upstream).clone(),
        }
    }

    /// What the client has with an upstream.
    pub(crate) fn berth(&self, upstream: &Upstream) -> &Berth {
        self.berths[upstream.index].get_or_init(Box::default)
    }

    /// Gives up the sessions that were this client's alone.
    pub(crate) fn leave(&self) {
        let berths = self.berths.iter().filter_map(OnceLock::get);
        berths.filter_map(|berth| berth.own_key()).for_each(|key| self.fleet.pool.retire(key));
    }

    /// Enters a call, so that the client can cancel it.
    pub(crate) fn enter(self: &Arc<Self>, id: &RequestId) -> Entry {
        let cancellation = Arc::<Cancellation>::default();
        let mut calls = self.calls.lock().expect("nothing panics while holding it");
        calls.insert(id.clone(), Arc::clone(&cancellation));
        drop(calls);
        Entry { downstream: Arc::clone(self), id: id.clone(), cancellation }
    }

    /// Cancels a call of this client's; of others it has none to name.
    pub(crate) fn cancel(&self, id: &RequestId) {
        let calls = self.calls.lock().expect("nothing panics while holding it");
        let Some(cancellation) = calls.get(id).map(Arc::clone) else { return };
        drop(calls);
        cancellation.is_cancelled.store(true, Ordering::Release);
        cancellation.waker.wake();
    }

    /// Puts a request of an upstream's to the client, under an id of our own,
    /// if the client has declared that it can answer; else answers it here.
    pub(crate) fn ask(&self, session: &Session<WireLink>, request: &Request) -> Option<Asked> {
        if request.method() == method::PING {
            let pong = Response::success(request.id(), &Json::empty_object());
            self.fleet.answer(session, pong);
            return None;
        }
        if !self.can_answer(request.method()) {
            let what = format!("the client has not declared what {} needs", request.method());
            let error = ErrorObject::new(code::METHOD_NOT_FOUND, what);
            self.fleet.answer(session, Response::failure(Some(request.id()), &error));
            return None;
        }
        let number = self.next_question.fetch_add(1, Ordering::Relaxed);
        let question = Question { session: session.clone(), id: request.id().clone() };
        self.questions().insert(number, question);
        Some(Asked { number, request: request.rewrite().id(RequestId::from(number)).finish() })
    }

    /// Whether the client has declared that it can answer such a request
    /// (lifecycle, capability negotiation).
    fn can_answer(&self, method: &str) -> bool {
        let capability = match method {
            method::CREATE_MESSAGE => "sampling",
            method::ELICIT => "elicitation",
            method::ROOTS_LIST => "roots",
            tasks if tasks.starts_with("tasks/") => "tasks",
            _ => return false,
        };
        self.identity.profile.capabilities.field(capability).is_some_and(|value| value.is_object())
    }

    /// Forgets a question: nobody waits for its answer.
    pub(crate) fn unask(&self, number: u64) {
        self.questions().remove(&number);
    }

    /// Takes the client's answer to the upstream that asked. An answer to
    /// nothing is dropped: it must not reach any upstream.
    pub(crate) async fn answer(&self, response: Response) {
        let number = response.id().and_then(RequestId::as_u64);
        let question = number.and_then(|number| self.questions().remove(&number));
        let Some(question) = question else {
            tracing::debug!("a client answered what nobody asked");
            return;
        };
        if let Err(error) = question.session.respond(response.with_id(&question.id)).await {
            tracing::debug!(%error, "an upstream did not take a client's answer");
        }
    }

    /// What the client is told when an upstream takes a question back.
    pub(crate) fn taken_back(
        &self,
        session: &Session<WireLink>,
        cancelled: &Notification,
    ) -> Option<Notification> {
        let id = cancelled.cancelled_id()?;
        let questions = self.questions();
        let (number, _) =
            questions.iter().find(|(_, asked)| asked.id == id && asked.session.is_same(session))?;
        let part = cancelled.param("requestId")?;
        Some(cancelled.replace(&part, &RequestId::from(*number).to_json()))
    }

    fn questions(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Question>> {
        self.questions.lock().expect("nothing panics while holding it")
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Downstream({}, {})", self.identity.client, self.revision())
    }
}

// === impl Entry ===

impl Entry {
    /// Polls for the client's cancellation.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_cancelled = || self.cancellation.is_cancelled.load(Ordering::Acquire);
        if is_cancelled() {
            return Poll::Ready(());
        }
        self.cancellation.waker.register(cx.waker());
        if is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut calls = self.downstream.calls.lock().expect("nothing panics while holding it");
        // A client that uses an id twice has overwritten the first entry.
        let is_ours = |entry: &Arc<Cancellation>| Arc::ptr_eq(entry, &self.cancellation);
        if calls.get(&self.id).is_some_and(is_ours) {
            calls.remove(&self.id);
        }
    }
}

fn object(json: Option<Json>) -> Option<Json> {
    json.filter(Json::is_object)
}
