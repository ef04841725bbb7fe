//! What an upstream says unasked, on its way to one client.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{sync::watch, time::sleep};
use wharf_pool::{Key, Lease, Scope, Session};
use wharf_proto::{Message, server::Refusal, transport::Feed};

use crate::{
    downstream::{Downstream, Said},
    ear::Place,
    error::Failure,
    fleet::Fleet,
    upstream::Upstream,
    wire::WireLink,
};

/// How long to wait before listening again after the upstream was lost, at
/// first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What one upstream says unasked, for one client. While the client listens,
/// a session of its own is in use and does not end for being idle; one that it
/// shares is left to calls.
pub(crate) struct Heard(Unasked);

/// The same, until the upstream goes.
pub(crate) type Unasked = Pin<Box<dyn Stream<Item = Message> + Send>>;

struct Listener {
    fleet: Arc<Fleet>,
    upstream: Arc<Upstream>,
    downstream: Arc<Downstream>,
    place: Place,
    hearing: Option<Hearing>,
    /// Says that the upstream's sessions have been given up.
    renewals: watch::Receiver<()>,
    pause: Pause,
}

/// A session that is listened to.
struct Hearing {
    session: Session<WireLink>,
    /// Keeps the session where it is the client's own.
    lease: Option<Lease<WireLink>>,
}

/// How long to wait before trying again: longer each time.
pub(crate) struct Pause(Duration);

// === impl Heard ===

impl Heard {
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        upstream: &Arc<Upstream>,
        downstream: &Arc<Downstream>,
    ) -> Self {
        // When the upstream goes, the client's session ends with its last call,
        // and not with what is said beside it.
        Self(Box::pin(unasked(fleet, upstream, downstream).chain(stream::pending())))
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

/// What one upstream says unasked, for one client, until it goes.
pub(crate) fn unasked(
    fleet: &Arc<Fleet>,
    upstream: &Arc<Upstream>,
    downstream: &Arc<Downstream>,
) -> Unasked {
    let listener = Listener {
        fleet: Arc::clone(fleet),
        upstream: Arc::clone(upstream),
        downstream: Arc::clone(downstream),
        place: downstream.berth(upstream).ear().join(false),
        hearing: None,
        renewals: upstream.renewals(),
        pause: Pause::default(),
    };
    Box::pin(stream::unfold(listener, async |mut listener| {
        let upstream = Arc::clone(&listener.upstream);
        tokio::select! {
            message = listener.next() => Some((message, listener)),
            () = upstream.dismissed() => None,
        }
    }))
}

// === impl Listener ===

impl Listener {
    /// The next thing for the client, over as many sessions as it takes.
    async fn next(&mut self) -> Message {
        loop {
            let Some(hearing) = &mut self.hearing else {
                self.renewals.mark_unchanged();
                self.begin().await;
                continue;
            };
            let session = &hearing.session;
            let heard = tokio::select! {
                heard = poll_fn(|cx| self.place.poll_heard(session, cx)) => heard,
                Ok(()) = self.renewals.changed() => {
                    // It is heard until its last call is over.
                    hearing.lease = None;
                    continue;
                }
            };
            match heard {
                Ok(message) => {
                    self.pause = Pause::default();
                    let said = Said::unasked(&self.upstream, session);
                    if let Some(message) = self.downstream.pass_on(said, message) {
                        return message;
                    }
                }
                Err(_) => {
                    self.downstream.forget_session(session);
                    self.hearing = None;
                    self.pause.rest().await;
                }
            }
        }
    }

    async fn begin(&mut self) {
        let key = self.downstream.key(&self.upstream);
        if let Scope::Call(_) = key.scope() {
            // No session lasts long enough for it to say anything.
            return std::future::pending().await;
        }
        match self.find(&key).await {
            Ok(hearing) => self.hearing = Some(hearing),
            Err(failure) => {
                tracing::debug!(%failure, "an upstream cannot be listened to");
                self.pause.rest().await;
            }
        }
    }
}

impl Listener {
    async fn find(&self, key: &Key) -> Result<Hearing, Failure> {
        if let Some(commons) = &self.downstream.terms(&self.upstream).commons {
            let session = commons.home(&self.fleet, &self.upstream).await?;
            return Ok(Hearing { session, lease: None });
        }
        let lease = self.fleet.lease(&self.upstream, key).await?;
        Ok(Hearing { session: Session::clone(&lease), lease: Some(lease) })
    }
}

// === impl Pause ===

impl Pause {
    /// Waits.
    pub(crate) async fn rest(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}
