//! A handle on an open session.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use futures_channel::mpsc::UnboundedSender;
use tokio::{
    select,
    sync::{SetOnce, broadcast},
    time::Instant,
};
use wharf_proto::{
    Json, Message, Notification, ProgressToken, Request, RequestId, Response, Revision,
    transport::{CallError, EndReason, Fault, Link},
};

use crate::{
    CloseReason,
    bucket::Bucket,
    call::Call,
    life::{Life, Watch},
};

/// How many messages a listener may be behind before it loses the oldest.
const INBOUND_BACKLOG: usize = 256;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// An open session with an upstream.
///
/// Its owner task owns it; handles share it, and holding one does not keep
/// the session open. Calls are made from any number of tasks at once.
pub struct Session<L: Link>(pub(crate) Arc<Shared<L>>);

pub(crate) struct Shared<L: Link> {
    /// Where it is leased from. Another when it has been given away.
    home: Mutex<Arc<Bucket<L>>>,
    pub(crate) link: L,
    pub(crate) handshake: Handshake,
    pub(crate) life: Life,
    pub(crate) orders: UnboundedSender<Order>,
    pub(crate) usage: Usage,
    pub(crate) inbound: OnceLock<broadcast::WeakSender<Message>>,
    pub(crate) opened: Instant,
    /// Tells sessions of this process apart; later ones have higher numbers.
    number: u64,
    next_id: AtomicU64,
}

/// What the upstream said in the handshake.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The revision that was agreed on.
    pub revision: Revision,
    /// The whole result of `initialize`, as the upstream wrote it.
    pub result: Json,
}

/// How much a session is in use. The numbers change only under the lock of
/// its bucket.
#[derive(Debug)]
pub(crate) struct Usage {
    /// How many leases there may be at once.
    pub(crate) capacity: AtomicUsize,
    pub(crate) leases: AtomicUsize,
    /// When the last lease came back, in milliseconds since `opened`.
    pub(crate) idle_since: AtomicU64,
    /// Why it is leased no more, and ends with its last lease if not before.
    pub(crate) retiring: SetOnce<CloseReason>,
    /// Its owner is finding out whether it still works.
    pub(crate) is_examined: AtomicBool,
    /// It was in use when another session of its upstream was found dead, and
    /// no answer has come since.
    pub(crate) is_suspect: AtomicBool,
    /// It makes room for a starved key. Its permit hears of it by this.
    pub(crate) makes_room: Arc<AtomicBool>,
}

/// What an owner is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// A caller has given the call of that number up: tell the upstream.
    Abandon(u64),
    /// Nobody uses the session, and a key is starved: see who has use for
    /// the room.
    MakeRoom,
    /// The session has been given away: see by the rules of its new home.
    Moved,
    /// Nobody uses the session, and it has been taken out of service: find
    /// out whether it works.
    Examine,
    /// The last lease of a session that has ended came back.
    Vacate,
    /// End the session.
    Close(CloseReason),
    /// Somebody listens.
    Listen(broadcast::Sender<Message>),
}

/// What an upstream says unasked on one session, from the moment it is asked
/// for to the session's end.
#[derive(Debug)]
pub struct Inbound {
    heard: broadcast::Receiver<Message>,
}

// === impl Session ===

impl<L: Link> Session<L> {
    pub(crate) fn new(
        home: Arc<Bucket<L>>,
        link: L,
        handshake: Handshake,
        orders: UnboundedSender<Order>,
        makes_room: Arc<AtomicBool>,
    ) -> Self {
        Self(Arc::new(Shared {
            home: Mutex::new(home),
            link,
            handshake,
            life: Life::default(),
            orders,
            usage: Usage::new(makes_room),
            inbound: OnceLock::new(),
            opened: Instant::now(),
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            next_id: AtomicU64::new(1),
        }))
    }

    /// Tells this session from every other of this process. A session that
    /// was opened later has a higher number; none has 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// What the upstream said in the handshake.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Whether the upstream keeps a session at all. Where it does not,
    /// nothing of one caller can be seen by another.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.0.link.has_session()
    }

    /// Makes a call. The request's id and progress token are replaced by ones
    /// that are this session's own, and put back in what comes in return.
    ///
    /// Nothing is sent before the call is polled. Dropping it before its
    /// answer has come tells the upstream `notifications/cancelled`; no other
    /// call notices.
    #[must_use]
    pub fn call(&self, request: &Request) -> Call<L> {
        let number = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let mut rewrite = request.rewrite().id(RequestId::from(number));
        let token = request.progress_token().map(|(token, part)| {
            // The call's number serves: unique in the session, and on a
            // transport with one stream it tells whose progress it is. With a
            // letter it is none that a client is likely to have chosen: its
            // calls' progress is not to be taken for that of another.
            (ProgressToken::from(format!("w{number}").as_str()), token, part)
        });
        if let Some((ours, _, part)) = &token {
            rewrite = rewrite.replace(part, &ours.to_json());
        }
        let exchange = self.0.link.call(rewrite.finish());
        let token = token.map(|(ours, theirs, _)| (ours, theirs));
        Call::new(self.clone(), exchange, number, request.id().clone(), token)
    }

    /// Sends a notification.
    ///
    /// # Errors
    ///
    /// [`CallError`] where the session has ended, or ends before the upstream
    /// has taken it, or the upstream does not take it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped midway, the notification may or may not have
    /// been sent.
    pub async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        self.while_open(self.0.link.notify(notification)).await
    }

    /// Answers a request of the upstream's.
    ///
    /// # Errors
    ///
    /// As [`Session::notify`].
    ///
    /// # Cancel safety
    ///
    /// As [`Session::notify`].
    pub async fn respond(&self, response: Response) -> Result<(), CallError> {
        self.while_open(self.0.link.respond(response)).await
    }

    /// Begins to hear what the upstream says unasked. The first listener is
    /// what makes a transport open a stream for it.
    #[must_use]
    pub fn listen(&self) -> Inbound {
        let mut begun = None;
        let inbound = self.0.inbound.get_or_init(|| {
            let (sender, heard) = broadcast::channel(INBOUND_BACKLOG);
            let weak = sender.downgrade();
            begun = Some(heard);
            // The owner alone holds the sender, so that its end is heard.
            let _ = self.0.orders.unbounded_send(Order::Listen(sender));
            weak
        });
        let heard = begun.or_else(|| Some(inbound.upgrade()?.subscribe())).unwrap_or_else(|| {
            // The owner is gone: an end is all there is to hear.
            broadcast::channel(1).1
        });
        Inbound { heard }
    }

    /// Whether the session has ended. Derived from the owner and the link,
    /// never set by hand; costs an atomic load of each.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.life.end().is_some() || self.0.link.end_reason().is_some()
    }

    /// Why the session has ended.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        let published = self.0.life.end().cloned();
        published.or_else(|| self.0.link.end_reason().map(CloseReason::Link))
    }

    /// Waits for the session's end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        let mut watch = Watch::new(self.clone());
        poll_fn(|cx| watch.poll_end(cx)).await
    }

    /// Asks the owner to end the session, which is leased to nobody from now
    /// on. Calls under way fail with the reason; [`Session::closed`] waits for
    /// it.
    pub fn close(&self, reason: CloseReason) {
        self.usage().retire(reason.clone());
        self.order(Order::Close(reason));
    }

    /// Publishes that it has ended, and why. For its owner alone.
    pub(crate) fn stop(&self, reason: CloseReason) {
        self.0.life.stop(reason);
    }

    /// Tells the owner. Where it is gone there is nothing left to tell.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.0.orders.unbounded_send(order);
    }

    pub(crate) fn home(&self) -> Arc<Bucket<L>> {
        Arc::clone(&self.0.home.lock().expect("nothing panics while holding it"))
    }

    /// It is leased from there from now on. Nobody may have it leased, and no
    /// bucket list it, while this is done.
    pub(crate) fn move_to(&self, home: &Arc<Bucket<L>>) {
        let mut old = self.0.home.lock().expect("nothing panics while holding it");
        *old = Arc::clone(home);
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    /// Whether both are handles on one session.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn idle_since(&self) -> Instant {
        let since = self.0.usage.idle_since.load(Ordering::Relaxed);
        self.0.opened + std::time::Duration::from_millis(since)
    }

    pub(crate) fn touch(&self) {
        let since = self.0.opened.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.0.usage.idle_since.store(since, Ordering::Relaxed);
    }

    /// An answer has come: the session works.
    pub(crate) fn has_answered(&self) {
        // Mostly there is nothing to write, and then nothing is written to
        // what all calls of the session look at.
        if self.usage().is_suspect.load(Ordering::Relaxed) {
            self.usage().is_suspect.store(false, Ordering::Relaxed);
        }
    }

    /// Whether it can be leased to anybody again.
    pub(crate) fn is_leasable(&self) -> bool {
        self.usage().retiring.get().is_none() && !self.is_closed()
    }

    /// Takes it out of service: it ends now, or with its last lease. Called
    /// under the lock of its bucket.
    pub(crate) fn retire(&self, reason: CloseReason) {
        let reason = self.usage().retire(reason);
        if self.usage().leases.load(Ordering::Relaxed) == 0 {
            self.close(reason.clone());
        }
    }

    /// Says something to the upstream, unless the session ends before it is
    /// taken: who waits for that must not wait for an upstream that hangs.
    async fn while_open(
        &self,
        said: impl Future<Output = Result<(), CallError>>,
    ) -> Result<(), CallError> {
        if let Some(reason) = self.close_reason() {
            return Err(CallError::not_sent(Fault::Ended(reason.as_end())));
        }
        select! {
            biased;
            said = said => said,
            reason = self.closed() => Err(CallError::may_have_run(Fault::Ended(reason.as_end()))),
        }
    }
}

impl<L: Link> AsRef<Life> for Session<L> {
    fn as_ref(&self) -> &Life {
        &self.0.life
    }
}

impl<L: Link> Clone for Session<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Link> fmt::Debug for Session<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, {:?})", self.home(), self.close_reason())
    }
}

// === impl Usage ===

impl Usage {
    pub(crate) fn is_probed(&self) -> bool {
        self.is_examined.load(Ordering::Relaxed)
    }

    /// Counts one lease more; how many there are then. Under the lock of its
    /// bucket nobody else counts, and it has no lease while it goes from one
    /// bucket to another: so it is read and written and no more.
    pub(crate) fn lend(&self) -> usize {
        let leases = self.leases.load(Ordering::Relaxed) + 1;
        self.leases.store(leases, Ordering::Relaxed);
        leases
    }

    /// Counts one lease less, as [`Usage::lend`] does; how many are left.
    pub(crate) fn take_back(&self) -> usize {
        let leases = self.leases.load(Ordering::Relaxed) - 1;
        self.leases.store(leases, Ordering::Relaxed);
        leases
    }

    /// Has it leased no more. Why it is not: the first reason counts.
    pub(crate) fn retire(&self, reason: CloseReason) -> &CloseReason {
        let _ = self.retiring.set(reason);
        self.retiring.get().expect("it has been set")
    }

    fn new(makes_room: Arc<AtomicBool>) -> Self {
        Self {
            // Its bucket says how many.
            capacity: AtomicUsize::new(0),
            leases: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            retiring: SetOnce::new(),
            is_examined: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            makes_room,
        }
    }
}

// === impl Handshake ===

impl Handshake {
    /// What the upstream can do.
    #[must_use]
    pub fn capabilities(&self) -> Json {
        self.result.field("capabilities").unwrap_or(Json::empty_object())
    }

    /// Whether the upstream has declared a capability.
    #[must_use]
    pub fn offers(&self, capability: &str) -> bool {
        self.capabilities().field(capability).is_some_and(|value| value.is_object())
    }
}

// === impl Inbound ===

impl Inbound {
    /// Waits for the next message. A listener that is too far behind loses
    /// the oldest messages.
    ///
    /// # Errors
    ///
    /// [`EndReason::Closed`] once the session has ended; its own
    /// [`Session::close_reason`] says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn next(&mut self) -> Result<Message, EndReason> {
        loop {
            match self.heard.recv().await {
                Ok(message) => return Ok(message),
                Err(broadcast::error::RecvError::Closed) => return Err(EndReason::Closed),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a slow listener lost messages of an upstream");
                }
            }
        }
    }
}
