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
    CloseReason, Key, OpenError, Scope, Session,
    bucket::{Bucket, Opening, Verdict, jittered},
    capacity::Permit,
    life::Pulse,
    pool::Inner,
    session::{Handshake, Order, Usage},
};

/// How many small things may be under way at once before an upstream that
/// takes none of them gets no more answers.
const ERRANDS: usize = 64;

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
        let mut connected = None;
        let opened = select! {
            biased;
            () = self.pool.stop.cancelled() => Err(OpenError::Shutdown),
            opened = timeout(limit, self.open(&mut connected)) => {
                opened.unwrap_or(Err(OpenError::TimedOut { limit }))
            }
        };
        match opened {
            Ok(handshake) => {
                let (link, feed) = connected.expect("hands are shaken on a link");
                self.keep(opening, &permit, (link, feed), handshake).await;
            }
            Err(error) => {
                tracing::debug!(key = ?self.bucket.key(), %error, "a session could not be opened");
                opening.fail(error);
                if let Some((link, _)) = connected {
                    // The upstream may have opened it on its side.
                    self.say_goodbye(link.end_reason(), link.goodbye()).await;
                }
            }
        }
        drop(permit);
    }

    /// Connects and shakes hands. What is connected is put into `connected`
    /// at once, so that it can be taken leave of wherever this is dropped.
    async fn open(
        &self,
        connected: &mut Option<(C::Link, C::Feed)>,
    ) -> Result<Handshake, OpenError> {
        let key = self.bucket.key();
        let made = self.pool.connect.connect(key).await.map_err(OpenError::Transport)?;
        let (link, feed) = connected.insert(made);
        shake_hands(link, feed, key).await
    }

    /// From the handshake to the goodbye. The order of ending: publish the
    /// reason, be leased no more, fail the calls, and only then take leave.
    async fn keep(
        &self,
        opening: Opening<C::Link>,
        permit: &Permit<C>,
        (link, feed): (C::Link, C::Feed),
        handshake: Handshake,
    ) {
        let (pulse, life) = Pulse::new();
        let (order, orders) = mpsc::unbounded_channel();
        let key = self.bucket.key().clone();
        let usage = Usage::new(self.bucket.limits.calls_per_session, permit.makes_room());
        let session = Session::new(key, link, handshake, life, order, usage);
        let number = self.bucket.tally.opened();
        let age = self.bucket.limits.max_age.map(|age| jittered(age, number));
        let dies = age.and_then(|age| Instant::now().checked_add(age));
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
        attended.take_leave(self).await;
    }

    /// Says goodbye, but not to who does not know the session any more.
    async fn say_goodbye(&self, end: Option<EndReason>, goodbye: impl Future<Output = ()>) {
        if matches!(end, Some(EndReason::SessionGone)) {
            return;
        }
        if timeout(self.bucket.limits.goodbye_timeout, goodbye).await.is_err() {
            tracing::debug!(key = ?self.bucket.key(), "an upstream did not take our leave in time");
        }
    }
}

impl<C: Connect<Target = Key>> Drop for Owner<C> {
    fn drop(&mut self) {
        // However it ended, a panic included, a key that only had this owner
        // is forgotten with it.
        self.pool.registry.drop_if_empty(&self.bucket);
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
        let mut look_again = match self.look(owner) {
            Ok(when) => when,
            Err(reason) => return reason,
        };
        loop {
            select! {
                // In the order of urgency: an end must not wait behind a
                // chatty upstream.
                biased;
                () = owner.pool.stop.cancelled() => return CloseReason::Shutdown,
                Some(order) = self.orders.recv() => {
                    if let Some(reason) = self.obey(order, owner) {
                        return reason;
                    }
                }
                () = at(look_again) => match self.look(owner) {
                    Ok(when) => look_again = when,
                    Err(reason) => return reason,
                },
                heard = self.feed.next() => match heard {
                    Ok(message) => self.hear(message),
                    Err(end) => return CloseReason::Link(end),
                },
                Some(_) = self.errands.join_next() => {}
            }
        }
    }

    /// Sees whether the session's time has come; else says when to look
    /// again, if ever.
    fn look(&self, owner: &Owner<C>) -> Result<Option<Instant>, CloseReason> {
        match owner.bucket.judge(&self.session, self.dies) {
            Verdict::Close(reason) => Err(reason),
            Verdict::Retire => {
                owner.pool.grow(&owner.bucket);
                Ok(None)
            }
            Verdict::Until(when) => Ok(when),
        }
    }

    fn obey(&mut self, order: Order, owner: &Owner<C>) -> Option<CloseReason> {
        match order {
            Order::Close(reason) => return Some(reason),
            Order::Abandon(id) => self.cancel(&id),
            Order::MakeRoom => owner.pool.feed_from(&owner.bucket),
            Order::Listen(listeners) => {
                self.listeners = Some(listeners);
                self.session.0.link.listen();
            }
        }
        None
    }

    fn cancel(&mut self, id: &RequestId) {
        let cancelled = Notification::cancelled(id, "the caller has given up");
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
        let is_shared = !matches!(self.session.0.key.scope(), Scope::Client(_) | Scope::Call(_));
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

    /// The goodbye, after everybody knows that the session has ended. What
    /// is still to be said (a cancellation, most likely) is said before it.
    async fn take_leave(mut self, owner: &Owner<C>) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Abandon(id) = order {
                self.cancel(&id);
            }
        }
        drop((self.listeners.take(), self.feed));
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
