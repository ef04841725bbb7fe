//! One call on its way from a client to an upstream and back.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tracing::Span;
use wharf_pool::{Call, Lease};
use wharf_proto::{
    Json, Message, Request, Response,
    server::Refusal,
    transport::{CallError, Exchange, Fate, Fault},
};

use crate::{
    OnDisconnect, Repeat,
    atlas::Lesson,
    berth::Boarding,
    downstream::{Downstream, Entry, Said, sets_up},
    ear::Place,
    error::Failure,
    settings::SESSION_REPLACED,
    tokens::Pledge,
    trace,
    upstream::Upstream,
    wire::WireLink,
};

/// Carries a call to an upstream, over a leased session, and brings back
/// what is said in relation to it and its answer.
///
/// A call that provably did not run, because the session was gone, is made
/// again on another session; the client does not notice.
pub(crate) struct Relay {
    request: Request,
    entry: Entry,
    leg: Leg,
    /// How often it has been made again.
    retries: u8,
    /// How it failed when it was sent before and may have run.
    before: Option<Box<Failure>>,
    has_spoken: bool,
    /// The upstream has asked the client something.
    has_asked: bool,
    /// What its upstream's settings say; the default until it has set out.
    on_disconnect: OnDisconnect,
    deadline: Option<Deadline>,
    /// The call in logs and traces.
    span: Span,
}

/// How often a call that provably did not run is made again. Once is mostly
/// enough; but where several sessions are shared, the next can be as stale as
/// the first until the news of a restart has got around, and an upstream that
/// starts may forget the session that it has just given.
const RETRIES_UNSENT: u8 = 3;

/// Where a call is to go: an upstream, and the request as that one knows it.
pub(crate) type Route = Result<(Arc<Upstream>, Request), Failure>;

/// When a call's time is up, from its beginning on, however often it is made.
struct Deadline {
    upstream: Arc<Upstream>,
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

/// How far the call has got.
enum Leg {
    /// It is being found out where it goes.
    Routing(Pin<Box<dyn Future<Output = Route> + Send>>),
    /// On the way to a session.
    Leasing(Pin<Box<dyn Future<Output = Result<Leased, Setback>> + Send>>),
    /// Under way on one.
    Calling(Box<Calling>),
    /// Over.
    Over,
}

/// A call under way.
struct Calling {
    call: Call<WireLink>,
    leased: Leased,
    /// Where it hears what its session says unasked, if it has to.
    place: Option<Place>,
    /// The answer, while something that was said before it is brought first.
    answer: Option<Box<Response>>,
    /// What there can be to remember of its answer.
    lesson: Lesson,
    /// Its progress token, if it may become a task.
    pledge: Option<Pledge>,
}

struct Leased {
    upstream: Arc<Upstream>,
    request: Request,
    lease: Lease<WireLink>,
    /// The session is the client's alone.
    has_own: bool,
    /// The session is another than the client's last.
    is_replacement: bool,
}

/// Why there is no session for a call.
enum Setback {
    Failure(Failure),
    /// It needs none: it is answered.
    Answered(Arc<Upstream>, Request, Response),
    /// The client's session was lost, and it is to be told so.
    Lost,
}

// === impl Relay ===

impl Relay {
    /// Carries `request` to where `route` leads.
    pub(crate) fn new(
        downstream: &Arc<Downstream>,
        request: Request,
        route: impl Future<Output = Route> + Send + 'static,
    ) -> Box<Self> {
        Self::begun(downstream, request, Leg::Routing(Box::pin(route)))
    }

    /// The same, where it is known from the beginning which upstream it is.
    pub(crate) fn to(
        downstream: &Arc<Downstream>,
        upstream: &Arc<Upstream>,
        request: Request,
    ) -> Box<Self> {
        let mut relay = Self::begun(downstream, request.clone(), Leg::Over);
        let span = relay.span.clone();
        span.in_scope(|| relay.set_out(Arc::clone(upstream), request));
        relay
    }

    /// Boxed, since whoever answers a client moves it from hand to hand.
    fn begun(downstream: &Arc<Downstream>, request: Request, leg: Leg) -> Box<Self> {
        Box::new(Self {
            entry: Entry::new(downstream, request.id()),
            span: trace::span(&request),
            request,
            leg,
            retries: 0,
            before: None,
            has_spoken: false,
            has_asked: false,
            on_disconnect: OnDisconnect::default(),
            deadline: None,
        })
    }

    /// Goes to a session that is free, or on the way to one.
    fn set_out(&mut self, upstream: Arc<Upstream>, request: Request) {
        self.span.record("upstream", upstream.id().as_str());
        let client = self.entry.downstream();
        let terms = client.terms(&upstream);
        let settings = &terms.edition.settings;
        self.on_disconnect = settings.on_disconnect;
        self.deadline = settings.call_timeout.map(|limit| Deadline::new(&upstream, limit));
        let berth = client.berth(&upstream);
        let at_hand = client.lease_at_once(&upstream, &terms, &request);
        let at_hand = match at_hand {
            Some(lease) if berth.is_settled(&terms, &lease) => {
                let (has_own, is_replacement) = (terms.own_key().is_some(), false);
                return self.begin(Leased { upstream, request, lease, has_own, is_replacement });
            }
            at_hand => at_hand,
        };
        let downstream = Arc::clone(client);
        let leasing = async move { lease(&downstream, upstream, request, at_hand).await };
        self.leg = Leg::Leasing(Box::pin(leasing));
    }

    fn begin(&mut self, leased: Leased) {
        self.leg = Leg::Calling(Box::new(Calling::new(self.entry.downstream(), leased)));
    }

    /// Makes the call once more, on a session that is good, if that is safe.
    fn begin_again(&mut self, leased: Leased, error: CallError) {
        self.retries += 1;
        let downstream = Arc::clone(self.entry.downstream());
        let Leased { upstream, request, lease: lost, .. } = leased;
        let failed = Failure::Call { upstream: upstream.id().clone(), source: error };
        let may_have_run = failed.may_have_run();
        if may_have_run {
            self.before = Some(Box::new(failed.clone()));
        }
        self.leg = Leg::Leasing(Box::pin(async move {
            drop(lost);
            if may_have_run && !downstream.fleet().is_repeatable(&upstream, &request).await {
                return Err(failed.into());
            }
            tracing::debug!(failure = %failed, "a call is made again");
            lease(&downstream, upstream, request, None).await
        }));
    }

    /// What the client gets of what an upstream says before its answer.
    fn pass_on(&mut self, message: Message) -> Option<Message> {
        let Leg::Calling(calling) = &self.leg else { return None };
        let leased = &calling.leased;
        let call = (self.entry.number(), &self.request);
        let said = Said::in_call(&leased.upstream, &leased.lease, call);
        let message = self.entry.downstream().pass_on(said, message)?;
        self.has_asked |= matches!(message, Message::Request(_));
        self.has_spoken = true;
        Some(message)
    }

    /// The end of the call, be it an answer or a failure.
    fn finish(&mut self, response: Response) -> Message {
        self.leg = Leg::Over;
        response.into()
    }

    /// A try that did not run does not unmake one before it that may have.
    fn fail(&mut self, failure: &Failure) -> Message {
        let before = self.before.take().filter(|_| !failure.may_have_run());
        let failure = before.as_deref().unwrap_or(failure);
        tracing::debug!(%failure, method = self.request.method(), "a call failed");
        self.finish(failure.to_response(self.request.id()))
    }

    /// Whether the call may be made again: not after the client has heard of
    /// it, and only where it did not run, or the operator allows to ask
    /// whether it can run twice.
    fn may_begin_again(&self, leased: &Leased, error: &CallError) -> bool {
        let is_allowed = match error.fate {
            Fate::NotSent => {
                let is_lost = matches!(error.fault, Fault::SessionGone | Fault::Ended(_));
                is_lost && self.retries < RETRIES_UNSENT
            }
            Fate::MayHaveRun => {
                let settings = &leased.upstream.edition().settings;
                settings.repeat == Repeat::Hinted && self.retries == 0
            }
        };
        is_allowed && !self.has_spoken
    }

    /// The end of a call that an upstream has answered.
    fn answered(&mut self, mut response: Response) -> Message {
        if let Leg::Calling(calling) = &mut self.leg {
            let (client, Calling { leased, lesson, pledge, .. }) =
                (self.entry.downstream(), &mut **calling);
            client.note(*lesson, &leased.upstream, &leased.request, &response);
            if let Some(pledge) = pledge.take() {
                pledge.redeem(&response);
            }
            response = client.readable(&leased.lease, &leased.request, response);
            if leased.is_replacement {
                response = marked(response);
            }
        }
        self.finish(response)
    }
}

impl Exchange for Relay {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        let span = self.span.clone();
        let _in_span = span.enter();
        if self.entry.poll_cancelled(cx).is_ready() {
            // Dropping the call tells the upstream.
            self.leg = Leg::Over;
            return Poll::Ready(Err(Refusal::Cancelled));
        }
        if let Poll::Ready(message) = self.advance(cx) {
            return Poll::Ready(message);
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        std::task::ready!(deadline.sleep.as_mut().poll(cx));
        Poll::Ready(Ok(self.run_out()))
    }

    fn survives_disconnect(&self) -> bool {
        self.on_disconnect == OnDisconnect::Keep
    }
}

impl Relay {
    /// Gets on as far as it goes.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        loop {
            match &mut self.leg {
                Leg::Routing(route) => match std::task::ready!(route.as_mut().poll(cx)) {
                    Ok((upstream, request)) => self.set_out(upstream, request),
                    Err(failure) => return Poll::Ready(Ok(self.fail(&failure))),
                },
                Leg::Leasing(leasing) => match std::task::ready!(leasing.as_mut().poll(cx)) {
                    Ok(leased) => self.begin(leased),
                    Err(Setback::Failure(failure)) => {
                        return Poll::Ready(Ok(self.fail(&failure)));
                    }
                    Err(Setback::Answered(upstream, request, response)) => {
                        let client = self.entry.downstream();
                        client.note(Lesson::Anything, &upstream, &request, &response);
                        return Poll::Ready(Ok(self.finish(response)));
                    }
                    Err(Setback::Lost) => {
                        self.leg = Leg::Over;
                        return Poll::Ready(Err(Refusal::SessionEnded));
                    }
                },
                Leg::Calling(calling) => match std::task::ready!(calling.poll_next(cx)) {
                    Ok(Message::Response(response)) => {
                        return Poll::Ready(Ok(self.answered(response)));
                    }
                    Ok(message) => {
                        if let Some(message) = self.pass_on(message) {
                            return Poll::Ready(Ok(message));
                        }
                    }
                    Err(error) => {
                        if let Some(message) = self.fall(error) {
                            return Poll::Ready(Ok(message));
                        }
                    }
                },
                Leg::Over => unreachable!("an exchange is not polled after its end"),
            }
        }
    }

    /// A call that failed: to be made again, or over.
    fn fall(&mut self, error: CallError) -> Option<Message> {
        let Leg::Calling(calling) = std::mem::replace(&mut self.leg, Leg::Over) else {
            unreachable!("only a call under way fails")
        };
        let leased = calling.leased;
        if self.may_begin_again(&leased, &error) {
            self.begin_again(leased, error);
            return None;
        }
        let upstream = leased.upstream.id().clone();
        Some(self.fail(&Failure::Call { upstream, source: error }))
    }

    fn run_out(&mut self) -> Message {
        let Some(Deadline { upstream, limit, .. }) = self.deadline.take() else {
            unreachable!("only what has a deadline runs out of time")
        };
        let is_under_way = matches!(self.leg, Leg::Calling(_)) || sets_up(self.request.method());
        let upstream = upstream.id().clone();
        self.fail(&match self.before.is_some() || is_under_way {
            true => Failure::TimedOut { upstream, limit },
            false => Failure::NotReady { upstream, limit },
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.has_asked {
            self.entry.downstream().questions().forget_call(self.entry.number());
        }
    }
}

// === impl Deadline ===

impl Deadline {
    fn new(upstream: &Arc<Upstream>, limit: Duration) -> Self {
        Self { upstream: Arc::clone(upstream), limit, sleep: Box::pin(sleep(limit)) }
    }
}

// === impl Calling ===

impl Calling {
    fn new(downstream: &Downstream, leased: Leased) -> Self {
        let berth = downstream.berth(&leased.upstream);
        let place = berth.is_heard_by_calls().then(|| {
            let place = berth.ear().join(true);
            place.attend(&leased.lease);
            place
        });
        let call = leased.lease.call(&leased.request);
        let upstream = leased.upstream.number;
        let pledge = downstream.tokens().pledge(upstream, &leased.lease, &call, &leased.request);
        let lesson = downstream.lesson(&leased.request, leased.has_own);
        Self { call, leased, place, answer: None, lesson, pledge }
    }

    /// Polls for what is said in the course of the call, then its answer.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        let Some(place) = &self.place else { return self.call.poll_next(cx) };
        if let Poll::Ready(Ok(message)) = place.poll_heard(&self.leased.lease, cx) {
            return Poll::Ready(Ok(message));
        }
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(Ok((*answer).into()));
        }
        let message = std::task::ready!(self.call.poll_next(cx))?;
        let Message::Response(answer) = message else { return Poll::Ready(Ok(message)) };
        // What was said before it may have come in since.
        if let Poll::Ready(Ok(message)) = place.poll_heard(&self.leased.lease, cx) {
            self.answer = Some(Box::new(answer));
            return Poll::Ready(Ok(message));
        }
        Poll::Ready(Ok(answer.into()))
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({:?})", self.request)
    }
}

/// Gets a call to a session: to the one `at_hand`, if there is any.
async fn lease(
    downstream: &Downstream,
    upstream: Arc<Upstream>,
    request: Request,
    at_hand: Option<Lease<WireLink>>,
) -> Result<Leased, Setback> {
    if let Some(response) = downstream.set_up_in_common(&upstream, &request).await {
        return Err(Setback::Answered(upstream, request, response?));
    }
    let lease = match at_hand {
        Some(lease) => lease,
        None => downstream.lease(&upstream).await?,
    };
    let boarding = downstream.board(&upstream, &lease).await;
    if boarding == Boarding::Lost {
        return Err(Setback::Lost);
    }
    let is_replacement = boarding == Boarding::Replaced;
    let has_own = downstream.has_own_session(&upstream);
    Ok(Leased { upstream, request, lease, has_own, is_replacement })
}

/// The answer, with the word in its `_meta` that it comes from a session that
/// has taken the place of another. An error has nothing to put it in.
fn marked(response: Response) -> Response {
    let Some(result) = response.result().filter(|result| result.is_object()).cloned() else {
        return response;
    };
    let yes = Json::parse("true").expect("it is JSON");
    match result.field("_meta") {
        Some(meta) if meta.is_object() => response.insert(&meta, SESSION_REPLACED, &yes),
        Some(_) => response,
        None => {
            let meta = format!(r#"{{"{SESSION_REPLACED}":true}}"#);
            let meta = Json::parse(meta).expect("it is JSON");
            response.insert(&result, "_meta", &meta)
        }
    }
}

// === impl Setback ===

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
