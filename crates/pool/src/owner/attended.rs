//! What an owner does while its session is open: it obeys, watches the time,
//! probes, and hears what the upstream says unasked.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    select,
    sync::{broadcast, watch},
    task::JoinSet,
    time::{Duration, Instant, sleep_until, timeout, timeout_at},
};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Request, RequestId, Response, code, method,
    transport::{CallError, Connect, Feed, Link},
};

use crate::{
    CloseReason, Key, ProbeFailure, Session,
    bucket::{Bucket, Dates, Verdict},
    owner::Owner,
    probe::examine,
    session::Order,
};

/// How many small things may be under way at once before an upstream that
/// takes none of them gets no more answers.
const ERRANDS: usize = 64;

/// How long a session that has passed a probe is not probed again, however
/// many others die meanwhile.
const TRUST: Duration = Duration::from_secs(1);

/// How long calls that are on their way to an upstream which has forgotten
/// their session are left to hear of it themselves.
const HEARSAY: Duration = Duration::from_millis(250);

type Examination = Pin<Box<dyn Future<Output = Result<(), ProbeFailure>> + Send>>;

/// An open session and what only its owner has of it.
pub(super) struct Attended<C: Connect<Target = Key>> {
    session: Session<C::Link>,
    feed: C::Feed,
    /// Of a kind that weighs little while it is empty, as it mostly is.
    orders: UnboundedReceiver<Order>,
    /// Small things said to the upstream beside the calls.
    errands: JoinSet<()>,
    errand_limit: Duration,
    listeners: Option<broadcast::Sender<Message>>,
    dates: Dates,
    /// When its time may have come.
    look_again: Option<Instant>,
    /// Under way while the session is probed.
    examination: Option<Examination>,
    alarms: watch::Receiver<()>,
    /// Another session of the upstream has been found dead since this one was
    /// last probed.
    is_alarmed: bool,
}

// === impl Attended ===

impl<C: Connect<Target = Key>> Attended<C> {
    pub(super) fn new(
        session: Session<C::Link>,
        feed: C::Feed,
        orders: UnboundedReceiver<Order>,
        dates: Dates,
        bucket: &Bucket<C::Link>,
    ) -> Self {
        Self {
            session,
            feed,
            orders,
            errands: JoinSet::new(),
            errand_limit: bucket.rules().limits.goodbye_timeout,
            listeners: None,
            dates,
            look_again: None,
            examination: None,
            alarms: bucket.upstream.hear_alarms(),
            is_alarmed: false,
        }
    }

    pub(super) fn home(&self) -> Arc<Bucket<C::Link>> {
        self.session.home()
    }

    pub(super) async fn until_end(&mut self, owner: &Owner<C>) -> CloseReason {
        let mut step = self.look(owner);
        while step.is_ok() {
            step = select! {
                // In the order of urgency: an end must not wait behind a
                // chatty upstream.
                biased;
                () = owner.shift.stop.cancelled() => Err(owner.stopped().0),
                Some(order) = self.orders.next() => self.obey(order, owner),
                () = at(self.look_again) => self.look(owner),
                examined = conclusion(&mut self.examination) => self.conclude(examined, owner),
                Ok(()) = self.alarms.changed() => {
                    self.is_alarmed = true;
                    self.look(owner)
                }
                heard = self.feed.next() => {
                    heard.map(|message| self.hear(message)).map_err(CloseReason::Link)
                }
                Some(_) = self.errands.join_next() => Ok(()),
            };
        }
        step.expect_err("it goes on while there is none")
    }

    /// Sees whether the session's time has come, or it is to be probed, and
    /// when to look again, if ever.
    fn look(&mut self, owner: &Owner<C>) -> Result<(), CloseReason> {
        let heed = self.heed_alarm(owner);
        let home = self.home();
        self.look_again = match home.judge(&self.session, &self.dates) {
            Verdict::Close(reason) => return Err(reason),
            Verdict::Retire => {
                owner.pool.grow(&home);
                None
            }
            Verdict::Examine => {
                self.begin_examination(owner);
                return self.look(owner);
            }
            Verdict::Until(when) => when.into_iter().chain(heed).min(),
        };
        Ok(())
    }

    /// Has the session probed because another is dead. One that has passed a
    /// probe just now is probed a little later: where sessions die one by one,
    /// not each of them is to have all others probed. Says when.
    fn heed_alarm(&mut self, owner: &Owner<C>) -> Option<Instant> {
        if !self.is_alarmed || self.examination.is_some() {
            return None;
        }
        let trusted = self.dates.passed.map(|passed| passed + TRUST);
        if trusted.is_some_and(|trusted| trusted > Instant::now()) {
            return trusted;
        }
        self.is_alarmed = false;
        if self.home().suspect(&self.session) {
            self.begin_examination(owner);
        }
        None
    }

    fn begin_examination(&mut self, owner: &Owner<C>) {
        let home = self.home();
        home.upstream.tally.probes.fetch_add(1, Relaxed);
        self.is_alarmed = false;
        let limits = &home.rules().limits;
        let (probes, limit) = (limits.probes.clone(), limits.probe_timeout);
        self.examination = Some(Box::pin(examine(self.session.clone(), probes, limit)));
        // Those in line may have one opened meanwhile.
        owner.pool.grow(&home);
    }

    fn conclude(
        &mut self,
        examined: Result<(), ProbeFailure>,
        owner: &Owner<C>,
    ) -> Result<(), CloseReason> {
        self.examination = None;
        let home = self.home();
        if let Err(failure) = examined {
            home.upstream.tally.probe_failures.fetch_add(1, Relaxed);
            // What the link itself says is nearer to the truth.
            let end = self.session.0.link.end_reason().map(CloseReason::Link);
            return Err(end.unwrap_or(CloseReason::Probe(failure)));
        }
        self.dates.passed = Some(Instant::now());
        home.acquit(&self.session);
        self.look(owner)
    }

    fn obey(&mut self, order: Order, owner: &Owner<C>) -> Result<(), CloseReason> {
        match order {
            Order::Close(reason) => return Err(reason),
            Order::Abandon(number) => self.cancel(number),
            Order::Examine => self.begin_examination(owner),
            Order::Moved => return self.look(owner),
            // It has not ended as far as this owner knows; it is about to.
            Order::Vacate => {}
            Order::MakeRoom => owner.pool.feed_from(&self.home()),
            Order::Listen(listeners) => {
                self.listeners = Some(listeners);
                self.session.0.link.listen();
            }
        }
        Ok(())
    }

    fn cancel(&mut self, number: u64) {
        let cancelled =
            Notification::cancelled(&RequestId::from(number), "the caller has given up");
        let session = self.session.clone();
        self.errand(async move { session.0.link.notify(cancelled).await });
    }

    /// Something that the upstream says in relation to no call.
    fn hear(&mut self, message: Message) {
        if let Message::Request(request) = &message
            && let Some(response) = self.answer(request)
        {
            if self.errands.len() >= ERRANDS {
                tracing::debug!("an upstream asks and takes no answers");
                return;
            }
            let session = self.session.clone();
            self.errand(async move { session.0.link.respond(response).await });
            return;
        }
        if let Some(listeners) = &self.listeners {
            // Nobody listens: nobody misses it.
            let _ = listeners.send(message);
        }
    }

    /// The answer to a request that is ours to answer: `ping`, and what
    /// nobody is there to answer (base protocol, requests).
    fn answer(&self, request: &Request) -> Option<Response> {
        if request.method() == method::PING {
            return Some(Response::success(request.id(), &Json::empty_object()));
        }
        // Of several who share the session nobody can be told to be the one
        // that is asked.
        let is_shared = !self.home().key().is_ones_own();
        let is_heard = self.listeners.as_ref().is_some_and(|all| all.receiver_count() > 0);
        (is_shared || !is_heard).then(|| {
            let error = ErrorObject::new(
                code::METHOD_NOT_FOUND,
                format!("nobody is there to answer {}", request.method()),
            );
            Response::failure(Some(request.id()), &error)
        })
    }

    fn errand(&mut self, errand: impl Future<Output = Result<(), CallError>> + Send + 'static) {
        // Bounded, so that an upstream that takes nothing does not pile up.
        let limit = self.errand_limit;
        self.errands.spawn(async move {
            match timeout(limit, errand).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the upstream could not be told"),
                Err(_) => tracing::debug!(?limit, "the upstream could not be told in time"),
            }
        });
    }

    /// The upstream has told one call that it does not know the session. The
    /// others that are on their way to it are about to be told the same, each
    /// by its own answer, which says better than we could whether it has run:
    /// they have a moment for it. No call begins any more.
    pub(super) async fn let_calls_learn(&mut self) {
        let deadline = Instant::now() + HEARSAY;
        while self.session.usage().leases.load(Relaxed) > 0 {
            let Ok(Some(order)) = timeout_at(deadline, self.orders.next()).await else { return };
            if let Order::Close(_) = order {
                return;
            }
        }
    }

    /// The goodbye, after everybody knows that the session has ended. What
    /// is still to be said (a cancellation, most likely) is said before it.
    pub(super) async fn take_leave(mut self: Box<Self>, owner: &Owner<C>) {
        self.orders.close();
        while let Some(Some(order)) = self.orders.next().now_or_never() {
            if let Order::Abandon(number) = order {
                self.cancel(number);
            }
        }
        drop((self.listeners.take(), self.examination.take(), self.feed));
        let link = &self.session.0.link;
        let farewell = async {
            // Half the time at most, so that some is left for the goodbye.
            let said = async { while self.errands.join_next().await.is_some() {} };
            let _ = timeout(self.errand_limit / 2, said).await;
            link.goodbye().await;
        };
        owner.say_goodbye(link.end_reason(), farewell).await;
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn conclusion(examination: &mut Option<Examination>) -> Result<(), ProbeFailure> {
    match examination {
        Some(examination) => examination.await,
        None => std::future::pending().await,
    }
}
