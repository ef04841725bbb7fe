//! One call on its way from a client to an upstream and back.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};
use wharf_pool::{Call, Lease};
use wharf_proto::{
    Message, Notification, Request, Response, method,
    server::Refusal,
    transport::{CallError, Exchange, Fate, Fault},
};

use crate::{
    downstream::{Downstream, Entry},
    error::Failure,
    fleet::Fleet,
    upstream::Upstream,
    wire::WireLink,
};

/// Carries a call to an upstream, over a leased session, and brings back
/// what is said in relation to it and its answer.
///
/// A call that provably did not run, because the session was gone, runs once
/// more on a fresh session; the client does not notice.
pub(crate) struct Relay {
    fleet: Arc<Fleet>,
    downstream: Arc<Downstream>,
    request: Request,
    entry: Entry,
    leg: Leg,
    has_retried: bool,
    has_spoken: bool,
    /// What the upstream has asked the client in the course of this call.
    questions: Vec<u64>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Where a call is to go: an upstream, and the request as that one knows it.
pub(crate) type Route = Result<(Arc<Upstream>, Request), Failure>;

/// How far the call has got.
#[expect(clippy::large_enum_variant, reason = "every call gets to the large variant")]
enum Leg {
    /// On the way to a session.
    Leasing(Pin<Box<dyn Future<Output = Result<Leased, Failure>> + Send>>),
    /// Under way on one.
    Calling { call: Call<WireLink>, leased: Leased },
    /// Over.
    Over,
}

struct Leased {
    upstream: Arc<Upstream>,
    request: Request,
    lease: Lease<WireLink>,
}

// === impl Relay ===

impl Relay {
    /// Carries `request` to where `route` leads.
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        downstream: &Arc<Downstream>,
        request: Request,
        route: impl Future<Output = Route> + Send + 'static,
    ) -> Self {
        let entry = downstream.enter(request.id());
        let leasing = {
            let (fleet, downstream) = (Arc::clone(fleet), Arc::clone(downstream));
            async move {
                let (upstream, request) = route.await?;
                lease(&fleet, &downstream, upstream, request).await
            }
        };
        Self {
            fleet: Arc::clone(fleet),
            downstream: Arc::clone(downstream),
            request,
            entry,
            leg: Leg::Leasing(Box::pin(leasing)),
            has_retried: false,
            has_spoken: false,
            questions: Vec::new(),
            deadline: None,
        }
    }

    fn begin(&mut self, leased: Leased) {
        let limit = leased.upstream.settings.call_timeout;
        self.deadline = limit.map(|limit| Box::pin(sleep(limit)));
        let call = leased.lease.call(&leased.request);
        self.leg = Leg::Calling { call, leased };
    }

    /// Takes the call to a fresh session.
    fn begin_again(&mut self, leased: &Leased) {
        self.has_retried = true;
        let (fleet, downstream) = (Arc::clone(&self.fleet), Arc::clone(&self.downstream));
        let (upstream, request) = (Arc::clone(&leased.upstream), leased.request.clone());
        tracing::debug!(upstream = %upstream.id(), "the session was gone; the call did not run and goes to a fresh one");
        self.leg =
            Leg::Leasing(Box::pin(
                async move { lease(&fleet, &downstream, upstream, request).await },
            ));
    }

    /// What the client gets of what an upstream says before its answer.
    fn pass_on(&mut self, message: Message) -> Option<Message> {
        let Leg::Calling { leased, .. } = &self.leg else { return None };
        match message {
            Message::Request(request) => {
                let asked = self.downstream.ask(&leased.lease, &request)?;
                self.questions.push(asked.number);
                Some(asked.request.into())
            }
            Message::Notification(notification) => {
                let notification = self.translate(leased, notification)?;
                Some(notification.into())
            }
            response @ Message::Response(_) => Some(response),
        }
    }

    fn translate(&self, leased: &Leased, said: Notification) -> Option<Notification> {
        if said.method() == method::CANCELLED {
            return self.downstream.taken_back(&leased.lease, &said);
        }
        Some(said)
    }

    /// The end of the call, be it an answer or a failure.
    fn finish(&mut self, response: Response) -> Message {
        self.leg = Leg::Over;
        response.into()
    }

    fn fail(&mut self, failure: &Failure) -> Message {
        tracing::debug!(%failure, method = self.request.method(), "a call failed");
        self.finish(failure.to_response(self.request.id()))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Whether the call can go to another session.
    fn can_retry(&self, error: &CallError) -> bool {
        let is_session = matches!(error.fault, Fault::SessionGone | Fault::Ended(_));
        error.fate == Fate::NotSent && is_session && !self.has_retried && !self.has_spoken
    }
}

impl Exchange for Relay {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        if self.entry.poll_cancelled(cx).is_ready() {
            // Dropping the call tells the upstream.
            self.leg = Leg::Over;
            return Poll::Ready(Err(Refusal::Cancelled));
        }
        loop {
            match &mut self.leg {
                Leg::Leasing(leasing) => match std::task::ready!(leasing.as_mut().poll(cx)) {
                    Ok(leased) => self.begin(leased),
                    Err(failure) => return Poll::Ready(Ok(self.fail(&failure))),
                },
                Leg::Calling { call, .. } => match call.poll_next(cx) {
                    Poll::Ready(Ok(Message::Response(response))) => {
                        return Poll::Ready(Ok(self.finish(response)));
                    }
                    Poll::Ready(Ok(message)) => {
                        if let Some(message) = self.pass_on(message) {
                            self.has_spoken = true;
                            return Poll::Ready(Ok(message));
                        }
                    }
                    Poll::Ready(Err(error)) => {
                        if let Some(message) = self.fall(error) {
                            return Poll::Ready(Ok(message));
                        }
                    }
                    Poll::Pending => {
                        std::task::ready!(self.poll_deadline(cx));
                        return Poll::Ready(Ok(self.run_out()));
                    }
                },
                Leg::Over => unreachable!("an exchange is not polled after its end"),
            }
        }
    }
}

impl Relay {
    /// A call that failed: to be made again, or over.
    fn fall(&mut self, error: CallError) -> Option<Message> {
        let Leg::Calling { leased, .. } = std::mem::replace(&mut self.leg, Leg::Over) else {
            unreachable!("only a call under way fails")
        };
        if self.can_retry(&error) {
            self.begin_again(&leased);
            return None;
        }
        let upstream = leased.upstream.id().clone();
        Some(self.fail(&Failure::Call { upstream, source: error }))
    }

    fn run_out(&mut self) -> Message {
        let Leg::Calling { leased, .. } = std::mem::replace(&mut self.leg, Leg::Over) else {
            unreachable!("only a call under way runs out of time")
        };
        let limit = leased.upstream.settings.call_timeout.unwrap_or_default();
        let upstream = leased.upstream.id().clone();
        self.fail(&Failure::TimedOut { upstream, limit })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for number in self.questions.drain(..) {
            self.downstream.unask(number);
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({:?})", self.request)
    }
}

async fn lease(
    fleet: &Fleet,
    downstream: &Downstream,
    upstream: Arc<Upstream>,
    request: Request,
) -> Result<Leased, Failure> {
    let lease = fleet.lease(&upstream, downstream.key(&upstream)).await?;
    Ok(Leased { upstream, request, lease })
}
