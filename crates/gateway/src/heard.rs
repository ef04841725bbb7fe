//! What an upstream says unasked, on its way to one client.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::sleep;
use wharf_pool::{Inbound, Lease, Scope, Session};
use wharf_proto::{Message, Notification, method, server::Refusal, transport::Feed};

use crate::{downstream::Downstream, fleet::Fleet, upstream::Upstream, wire::WireLink};

/// How long to wait before listening again after the upstream was lost, at
/// first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What one upstream says unasked, for one client. While the client listens,
/// a session of its own is in use and does not end for being idle; one that it
/// shares is left to calls.
pub(crate) struct Heard(Pin<Box<dyn Stream<Item = Message> + Send>>);

struct Ear {
    fleet: Arc<Fleet>,
    upstream: Arc<Upstream>,
    downstream: Arc<Downstream>,
    hearing: Option<Hearing>,
    pause: Duration,
}

/// A session that is listened to.
struct Hearing {
    session: Session<WireLink>,
    inbound: Inbound,
    /// Keeps the session where it is the client's own.
    _lease: Option<Lease<WireLink>>,
}

// === impl Heard ===

impl Heard {
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        upstream: &Arc<Upstream>,
        downstream: &Arc<Downstream>,
    ) -> Self {
        let ear = Ear {
            fleet: Arc::clone(fleet),
            upstream: Arc::clone(upstream),
            downstream: Arc::clone(downstream),
            hearing: None,
            pause: FIRST_PAUSE,
        };
        Self(Box::pin(stream::unfold(ear, async |mut ear| {
            let message = ear.next().await;
            Some((message, ear))
        })))
    }
}

impl Feed for Heard {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        self.0.poll_next_unpin(cx).map(|message| message.ok_or(Refusal::SessionEnded))
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heard(..)")
    }
}

// === impl Ear ===

impl Ear {
    /// The next thing for the client, over as many sessions as it takes.
    async fn next(&mut self) -> Message {
        loop {
            let Some(hearing) = &mut self.hearing else {
                self.begin().await;
                continue;
            };
            match hearing.inbound.next().await {
                Ok(message) => {
                    self.pause = FIRST_PAUSE;
                    if let Some(message) = pass_on(&self.downstream, &hearing.session, message) {
                        return message;
                    }
                }
                Err(_) => {
                    self.hearing = None;
                    self.rest().await;
                }
            }
        }
    }

    async fn begin(&mut self) {
        let key = self.downstream.key(&self.upstream).clone();
        if let Scope::Call(_) = key.scope() {
            // No session lasts long enough for it to say anything.
            return std::future::pending().await;
        }
        match self.fleet.lease(&self.upstream, &key).await {
            Ok(lease) => {
                let (session, inbound) = (lease.clone(), lease.listen());
                let is_own = matches!(key.scope(), Scope::Client(_));
                self.hearing = Some(Hearing { session, inbound, _lease: is_own.then_some(lease) });
            }
            Err(failure) => {
                tracing::debug!(%failure, "an upstream cannot be listened to");
                self.rest().await;
            }
        }
    }

    async fn rest(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn pass_on(
    downstream: &Downstream,
    session: &Session<WireLink>,
    message: Message,
) -> Option<Message> {
    match message {
        Message::Request(request) => {
            downstream.ask(session, &request).map(|asked| asked.request.into())
        }
        Message::Notification(said) if said.method() == method::CANCELLED => {
            downstream.taken_back(session, &said).map(Notification::into)
        }
        said @ Message::Notification(_) => Some(said),
        Message::Response(_) => None,
    }
}
