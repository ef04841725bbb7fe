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
use tokio::time::{Instant, sleep};
use wharf_pool::{CloseReason, Lease, Scope, Session};
use wharf_proto::{Message, server::Refusal, transport::Feed};

use crate::{
    downstream::{Downstream, Said},
    ear::Place,
    error::Failure,
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

/// The same as a stream, until the upstream goes. It says why it has ended, if
/// that is not why.
pub(crate) type Unasked = Pin<Box<dyn Stream<Item = Result<Message, Refusal>> + Send>>;

struct Listener {
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
    lease: Option<Lease<WireLink>>,
    since: Instant,
}

/// What comes next on a session.
enum Next {
    Said(Message),
    /// The session ends once nobody has a lease on it.
    Retiring(CloseReason),
    Ended,
}

/// How long to wait before trying again: longer each time.
pub(crate) struct Pause(Duration);

// === impl Heard ===

impl Heard {
    pub(crate) fn new(upstream: &Arc<Upstream>, downstream: &Arc<Downstream>) -> Self {
        // When the upstream goes, the client's session ends with its last call,
        // and not with what is said beside it.
        Self(Box::pin(unasked(upstream, downstream).chain(stream::pending())))
    }
}

impl Feed for Heard {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        self.0.poll_next_unpin(cx).map(|heard| heard.unwrap_or(Err(Refusal::SessionEnded)))
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heard(..)")
    }
}

/// What one upstream says unasked, for one client, until it goes.
pub(crate) fn unasked(upstream: &Arc<Upstream>, downstream: &Arc<Downstream>) -> Unasked {
    let listener = Listener {
        upstream: Arc::clone(upstream),
        downstream: Arc::clone(downstream),
        place: downstream.berth(upstream).ear().join(false),
        hearing: None,
        pause: Pause::default(),
    };
    Box::pin(stream::unfold(listener, async |mut listener| {
        let upstream = Arc::clone(&listener.upstream);
        tokio::select! {
            heard = listener.next() => Some((heard, listener)),
            () = upstream.dismissed() => None,
        }
    }))
}

// === impl Listener ===

impl Listener {
    /// The next thing for the client, over as many sessions as it takes.
    async fn next(&mut self) -> Result<Message, Refusal> {
        loop {
            let Some(hearing) = &self.hearing else {
                self.begin().await?;
                continue;
            };
            let session = &hearing.session;
            match hearing.next(&self.place).await {
                Next::Said(message) => {
                    self.pause = Pause::default();
                    let said = Said::unasked(&self.upstream, session);
                    if let Some(message) = self.downstream.pass_on(said, message) {
                        return Ok(message);
                    }
                }
                // The client has left, or nobody would have given it up.
                Next::Retiring(CloseReason::Retired) => return Err(Refusal::SessionEnded),
                // Whatever is open on it may still be answered.
                Next::Retiring(_) => self.hearing = None,
                Next::Ended => {
                    self.downstream.forget_session(session);
                    let (had, end) = (hearing.since.elapsed(), session.close_reason());
                    self.hearing = None;
                    self.pause.rest_after(had, end.as_ref()).await;
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Refusal> {
        if let Scope::Call(_) = self.downstream.key(&self.upstream).scope() {
            // No session lasts long enough for it to say anything.
            return std::future::pending().await;
        }
        match self.find().await {
            Ok(Some(hearing)) => self.hearing = Some(hearing),
            Ok(None) => return Err(Refusal::SessionEnded),
            Err(failure) => {
                tracing::debug!(%failure, "an upstream cannot be listened to");
                self.pause.rest().await;
            }
        }
        Ok(())
    }

    /// A session with what the client has set up in it. `None` where the
    /// client's is lost, and it is to be told.
    async fn find(&self) -> Result<Option<Hearing>, Failure> {
        if let Some(session) = self.downstream.common_session(&self.upstream).await {
            return Ok(Some(Hearing::of(session?, None)));
        }
        let lease = self.downstream.lease(&self.upstream).await?;
        let may_go_on = self.downstream.come_along(&self.upstream, &lease).await;
        Ok(may_go_on.then(|| Hearing::of(Session::clone(&lease), Some(lease))))
    }
}

// === impl Hearing ===

impl Hearing {
    fn of(session: Session<WireLink>, lease: Option<Lease<WireLink>>) -> Self {
        Self { session, lease, since: Instant::now() }
    }

    async fn next(&self, place: &Place) -> Next {
        tokio::select! {
            // What has been said before is heard.
            biased;
            heard = poll_fn(|cx| place.poll_heard(&self.session, cx)) => {
                heard.map_or(Next::Ended, Next::Said)
            }
            reason = self.retiring() => Next::Retiring(reason),
        }
    }

    /// Waits until the session is in use for no other reason than this.
    async fn retiring(&self) -> CloseReason {
        match &self.lease {
            Some(lease) => lease.retiring().await,
            None => std::future::pending().await,
        }
    }
}

// === impl Pause ===

impl Pause {
    /// Waits.
    pub(crate) async fn rest(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }

    /// Waits after a session has ended that was had for so long. Not where it
    /// is no fault that it has; but what ends as soon as it is opened is not
    /// to be opened as often as that, and who had to make room does not take
    /// it back at once.
    pub(crate) async fn rest_after(&mut self, had: Duration, end: Option<&CloseReason>) {
        let is_aged = matches!(end, Some(CloseReason::Idle | CloseReason::Age));
        if is_aged || matches!(end, Some(CloseReason::Evicted)) || had > LONGEST_PAUSE {
            *self = Self::default();
        }
        if !is_aged || had < FIRST_PAUSE {
            self.rest().await;
        }
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use wharf_proto::transport::EndReason;

    use super::*;

    const LOST: CloseReason = CloseReason::Link(EndReason::StreamEnded);
    const A_MINUTE: Duration = Duration::from_secs(60);

    async fn rested(pause: &mut Pause, had: Duration, end: &CloseReason) -> Duration {
        let before = Instant::now();
        pause.rest_after(had, Some(end)).await;
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_while_sessions_are_lost_and_begin_anew_after_one_that_lasted() {
        let mut pause = Pause::default();
        for factor in [1, 2, 4] {
            let rested = rested(&mut pause, Duration::ZERO, &LOST).await;
            assert!(rested >= FIRST_PAUSE * factor && rested < FIRST_PAUSE * (factor + 1));
        }
        let rested = rested(&mut pause, A_MINUTE, &LOST).await;
        assert!(rested < FIRST_PAUSE * 2, "{rested:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_time_had_come_is_followed_at_once() {
        let mut pause = Pause::default();
        rested(&mut pause, Duration::ZERO, &LOST).await;
        for end in [CloseReason::Idle, CloseReason::Age] {
            assert_eq!(rested(&mut pause, A_MINUTE, &end).await, Duration::ZERO);
            assert_ne!(rested(&mut pause, Duration::ZERO, &end).await, Duration::ZERO);
        }
        assert_ne!(rested(&mut pause, A_MINUTE, &CloseReason::Evicted).await, Duration::ZERO);
    }
}
