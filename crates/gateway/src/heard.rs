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
use tokio::time::sleep;
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

/// The same without an end.
pub(crate) type Unasked = Pin<Box<dyn Stream<Item = Message> + Send>>;

struct Listener {
    fleet: Arc<Fleet>,
    upstream: Arc<Upstream>,
    downstream: Arc<Downstream>,
    place: Place,
    hearing: Option<Hearing>,
    pause: Pause,
}

/// A session that is listened to.
struct Hearing {
    session: Session<WireLink>,
    /// Keeps the session where it is the client's own.
    _lease: Option<Lease<WireLink>>,
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
        Self(unasked(fleet, upstream, downstream))
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

/// What one upstream says unasked, for one client.
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
        pause: Pause::default(),
    };
    Box::pin(stream::unfold(listener, async |mut listener| {
        let message = listener.next().await;
        Some((message, listener))
    }))
}

// === impl Listener ===

impl Listener {
    /// The next thing for the client, over as many sessions as it takes.
    async fn next(&mut self) -> Message {
        loop {
            let Some(hearing) = &self.hearing else {
                self.begin().await;
                continue;
            };
            let session = &hearing.session;
            match poll_fn(|cx| self.place.poll_heard(session, cx)).await {
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
        let key = self.downstream.key(&self.upstream).clone();
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
        let berth = self.downstream.berth(&self.upstream);
        if let Some(commons) = berth.commons_of(&self.upstream) {
            let session = commons.home(&self.fleet, &self.upstream).await?;
            return Ok(Hearing { session, _lease: None });
        }
        let lease = self.fleet.lease(&self.upstream, key).await?;
        Ok(Hearing { session: Session::clone(&lease), _lease: Some(lease) })
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
