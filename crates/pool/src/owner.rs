//! The task that owns a session for its whole life: handshake, attention,
//! goodbye. Nobody else opens, keeps or ends a session.

use std::sync::Arc;

use tokio::{
    select,
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::{Duration, Instant, sleep_until, timeout},
};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Request, RequestId, Response, code, method,
    transport::{CallError, Connect, EndReason, Exchange, Fault, Feed, Link},
};

use crate::{
    CloseReason, Key, OpenError, Session,
    bucket::{Bucket, Opening, Verdict, jittered},
    capacity::Permit,
    life::Pulse,
    pool::Inner,
    session::{Handshake, Order},
};

/// The owner of one session, from before it is open until after it has ended.
pub(crate) struct Owner<C: Connect<Target = Key>> {
    pub(crate) pool: Arc<Inner<C>>,
    pub(crate) bucket: Arc<Bucket<C::Link>>,
}

/// An open session and what only its owner has of it.
struct Attended<C: Connect<Target = Key>> {
    session: Session<C::Link>,
    feed: C::Feed,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Small things said to the upstream beside the calls.
    errands: JoinSet<()>,
    errand_limit: Duration,
    listeners: Option<broadcast::Sender<Message>>,
    dies: Option<Instant>,
}

/// The session's life and its place in the bucket. Dropping it, be it by a
/// panic, ends the one and then the other.
struct Tenancy<'a, C: Connect<Target = Key>> {
    owner: &'a Owner<C>,
    session: Session<C::Link>,
    pulse: Pulse,
}

// === impl Owner ===

impl<C: Connect<Target = Key>> Owner<C> {
    /// Lives the session's life. The permit is held to the very end, goodbye
    /// included: the upstream counts the session until then.
    pub(crate) async fn run(self, opening: Opening<C::Link>, permit: Permit<C>) {
        let limit = self.bucket.limits.open_timeout;
        let opened = select! {
            biased;
            () = self.pool.stop.cancelled() => Err(OpenError::Shutdown),
            opened = timeout(limit, self.open()) => {
                opened.unwrap_or(Err(OpenError::TimedOut { limit }))
            }
        };
        match opened {
            Ok((link, feed, handshake)) => self.keep(opening, link, feed, handshake).await,
            Err(error) => {
                tracing::debug!(key = ?self.bucket.key(), %error, "a session could not be opened");
                self.bucket.tally.failed_to_open();
                opening.fail(error);
                self.pool.registry.drop_if_empty(&self.bucket);
            }
        }
        drop(permit);
    }

    async fn open(&self) -> Result<(C::Link, C::Feed, Handshake), OpenError> {
        let key = self.bucket.key();
        let (link, mut feed) =
            self.pool.connect.connect(key).await.map_err(OpenError::Transport)?;
        let handshake = shake_hands(&link, &mut feed, key).await?;
        Ok((link, feed, handshake))
    }

    /// From the handshake to the goodbye. The order of ending: publish the
    /// reason, be leased no more, fail the calls, and only then take leave.
    async fn keep(
        &self,
        opening: Opening<C::Link>,
        link: C::Link,
        feed: C::Feed,
        handshake: Handshake,
    ) {
        let (pulse, life) = Pulse::new();
        let (order, orders) = mpsc::unbounded_channel();
        let key = self.bucket.key().clone();
        let calls = self.bucket.limits.calls_per_session;
        let session = Session::new(key, link, handshake, life, order, calls);
        let number = self.bucket.tally.opened();
        let dies = self.bucket.limits.max_age.map(|age| Instant::now() + jittered(age, number));
        let tenancy = Tenancy { owner: self, session: session.clone(), pulse };
        opening.succeed(&session);

        let mut attended = Attended {
            session,
            feed,
            orders,
            errands: JoinSet::new(),
            errand_limit: self.bucket.limits.goodbye_timeout,
            listeners: None,
            dies,
        };
        let reason = attended.until_end(self).await;
        tracing::debug!(key = ?self.bucket.key(), %reason, "a session ends");
        // Publishing also wakes the calls in flight, which fail with it.
        tenancy.pulse.stop(reason.clone());
        drop(tenancy);
        attended.take_leave(self, &reason).await;
    }
}

impl<C: Connect<Target = Key>> Drop for Tenancy<'_, C> {
    fn drop(&mut self) {
        self.pulse.stop(CloseReason::OwnerGone);
        let reason = self.session.close_reason().expect("it has just been published");
        self.owner.bucket.tally.closed(&reason);
        self.owner.bucket.forget(&self.session);
        // Those in line may now have a session of their own.
        self.owner.pool.grow(&self.owner.bucket);
        self.owner.pool.registry.drop_if_empty(&self.owner.bucket);
    }
}

// === impl Attended ===

impl<C: Connect<Target = Key>> Attended<C> {
    async fn until_end(&mut self, owner: &Owner<C>) -> CloseReason {
        let mut look_again = match owner.bucket.judge(&self.session, self.dies) {
            Verdict::Close(reason) => return reason,
            Verdict::Until(when) => when,
        };
        loop {
            select! {
                // In the order of urgency: an end must not wait behind a
                // chatty upstream.
                biased;
                () = owner.pool.stop.cancelled() => return CloseReason::Shutdown,
                Some(order) = self.orders.recv() => {
                    if let Some(reason) = self.obey(order) {
                        return reason;
                    }
                }
                () = at(look_again) => match owner.bucket.judge(&self.session, self.dies) {
                    Verdict::Close(reason) => return reason,
                    Verdict::Until(when) => look_again = when,
                },
                heard = self.feed.next() => match heard {
                    Ok(message) => self.hear(message),
                    Err(end) => return CloseReason::Link(end),
                },
                Some(_) = self.errands.join_next() => {}
            }
        }
    }

    fn obey(&mut self, order: Order) -> Option<CloseReason> {
        match order {
            Order::Close(reason) => return Some(reason),
            Order::Abandon(id) => {
                let cancelled = Notification::cancelled(&id, "the caller has given up");
                let session = self.session.clone();
                self.errand(async move { session.0.link.notify(cancelled).await });
            }
            Order::Listen(listeners) => {
                self.listeners = Some(listeners);
                self.session.0.link.listen();
            }
        }
        None
    }

    /// Something that the upstream says in relation to no call.
    fn hear(&mut self, message: Message) {
        if let Message::Request(request) = &message
            && let Some(response) = self.answer(request)
        {
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
        let is_heard = self.listeners.as_ref().is_some_and(|all| all.receiver_count() > 0);
        (!is_heard).then(|| {
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

    /// The goodbye, after everybody knows that the session has ended. What
    /// is still to be said (a cancellation, most likely) is said before it.
    async fn take_leave(mut self, owner: &Owner<C>, reason: &CloseReason) {
        while let Ok(order) = self.orders.try_recv() {
            let _ = self.obey(order);
        }
        drop((self.listeners, self.feed));
        if matches!(reason, CloseReason::Link(EndReason::SessionGone)) {
            return;
        }
        let farewell = async {
            while self.errands.join_next().await.is_some() {}
            self.session.0.link.goodbye().await;
        };
        if timeout(owner.bucket.limits.goodbye_timeout, farewell).await.is_err() {
            tracing::debug!(key = ?owner.bucket.key(), "an upstream did not take our leave in time");
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The MCP handshake (lifecycle, initialization). The feed is attended to
/// meanwhile: on some transports it is what brings the answer.
async fn shake_hands<L: Link, F: Feed<End = EndReason>>(
    link: &L,
    feed: &mut F,
    key: &Key,
) -> Result<Handshake, OpenError> {
    let params = key.profile().to_params();
    let mut hello = link.call(Request::new(&RequestId::from(0), method::INITIALIZE, Some(&params)));
    let answer = while_heard(link, feed, hello.answer()).await.map_err(OpenError::Transport)?;
    if let Some(code) = answer.error_code() {
        let error = answer_error(&answer);
        return Err(OpenError::Refused { code, error });
    }
    let revision = answer.agreed_revision().ok_or(OpenError::NotAHandshake)?;
    let result = answer.result().cloned().ok_or(OpenError::NotAHandshake)?;
    link.agree(revision);
    let initialized = Notification::new(method::INITIALIZED, None);
    while_heard(link, feed, link.notify(initialized)).await.map_err(OpenError::Transport)?;
    Ok(Handshake { revision, result })
}

fn answer_error(answer: &Response) -> Json {
    match answer.outcome() {
        wharf_proto::Outcome::Error(error) | wharf_proto::Outcome::Result(error) => error.clone(),
    }
}

/// Runs `step` while attending to the feed. Before the handshake is done an
/// upstream may say no more than ping and log lines.
async fn while_heard<L: Link, F: Feed<End = EndReason>, T>(
    link: &L,
    feed: &mut F,
    step: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::pin!(step);
    loop {
        select! {
            biased;
            done = &mut step => return done,
            heard = feed.next() => match heard {
                Ok(Message::Request(ping)) if ping.method() == method::PING => {
                    link.respond(Response::success(ping.id(), &Json::empty_object())).await?;
                }
                Ok(_) => {}
                Err(end) => return Err(CallError::may_have_run(Fault::Ended(end))),
            },
        }
    }
}
