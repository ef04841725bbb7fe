//! A client's session, and how the server knows that it is in use.

use std::{
    mem,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::SetOnce, time::Instant};
use tokio_util::sync::CancellationToken;
use wharf_http::LateTimer;
use wharf_proto::{Revision, SessionId, server::Backend};

use super::{listen::Listening, strays::Strays, streams::Streams};

/// A client's session.
pub(super) struct Session<B: Backend> {
    /// `None` for a client that keeps no session: then this one lasts as long
    /// as the request.
    pub(super) id: Option<SessionId>,
    /// What the backend keeps of it.
    pub(super) state: Arc<B::Session>,
    /// What was agreed on; `None` where that is not known.
    pub(super) revision: Option<Revision>,
    pub(super) listening: Listening<B::Feed>,
    /// What its streams have said.
    pub(super) streams: Streams,
    /// Its calls that go on without their client.
    pub(super) strays: Arc<Strays>,
    end: End,
    /// That of the last call, for the next.
    timer: Mutex<LateTimer>,
    born: Instant,
    /// Requests, streams and calls under way.
    uses: AtomicUsize,
    /// Milliseconds after `born`.
    last_use: AtomicU64,
}

/// What ends a session.
enum End {
    /// Whoever takes it out of the table. In the session itself: each of its calls
    /// waits for it.
    Removal(SetOnce<()>),
    /// The server's own end: that of a session that is in no table.
    Stop(CancellationToken),
}

/// A session in use: it does not count as idle while this lives.
pub(super) struct InUse<B: Backend>(Arc<Session<B>>);

/// A wait for a session's end.
pub(super) type SessionEnded = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Session ===

impl<B: Backend> Session<B> {
    /// A session that the client knows by an id.
    pub(super) fn new(
        id: SessionId,
        state: Arc<B::Session>,
        revision: Option<Revision>,
    ) -> Arc<Self> {
        Self::of(Some(id), state, revision, Arc::default(), End::Removal(SetOnce::new()))
    }

    /// The session of a client that keeps none. All of them leave their calls
    /// in the same place.
    pub(super) fn anonymous(
        state: Arc<B::Session>,
        revision: Revision,
        strays: Arc<Strays>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Self::of(None, state, Some(revision), strays, End::Stop(stop))
    }

    fn of(
        id: Option<SessionId>,
        state: Arc<B::Session>,
        revision: Option<Revision>,
        strays: Arc<Strays>,
        end: End,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            state,
            revision,
            listening: Listening::new(),
            streams: Streams::default(),
            strays,
            end,
            timer: Mutex::default(),
            born: Instant::now(),
            uses: AtomicUsize::new(0),
            last_use: AtomicU64::new(0),
        })
    }

    /// Begins a use.
    pub(super) fn enter(self: Arc<Self>) -> InUse<B> {
        self.uses.fetch_add(1, Ordering::AcqRel);
        InUse(self)
    }

    /// For how long nothing has been done in the session; `None` while
    /// something is. Nothing can begin meanwhile if the caller keeps others
    /// out of the table.
    pub(super) fn idle(&self) -> Option<Duration> {
        if self.uses.load(Ordering::Acquire) > 0 {
            return None;
        }
        let last_use = Duration::from_millis(self.last_use.load(Ordering::Relaxed));
        Some(self.born.elapsed().saturating_sub(last_use))
    }

    /// Ends the streams and the calls of a session that clients find no more.
    pub(super) fn end(&self) {
        // That of a session without an id is the server's own.
        if let End::Removal(end) = &self.end {
            let _ = end.set(());
        }
        self.listening.end();
        self.streams.close();
    }

    pub(super) fn has_ended(&self) -> bool {
        match &self.end {
            End::Removal(end) => end.initialized(),
            End::Stop(stop) => stop.is_cancelled(),
        }
    }

    /// Waits for the session's end.
    pub(super) async fn ended(&self) {
        match &self.end {
            End::Removal(end) => {
                end.wait().await;
            }
            End::Stop(stop) => stop.cancelled().await,
        }
    }

    /// The same, for those that are not bound to where the session is held.
    pub(super) fn ended_owned(self: &Arc<Self>) -> SessionEnded {
        let session = Arc::clone(self);
        Box::pin(async move { session.ended().await })
    }

    /// A timer for a call.
    pub(super) fn timer(&self) -> LateTimer {
        mem::take(&mut self.timer.lock().expect("nothing panics while holding it"))
    }

    /// Keeps a call's timer for the next call.
    pub(super) fn keep(&self, timer: LateTimer) {
        let mut kept = self.timer.lock().expect("nothing panics while holding it");
        // Of calls that were under way together, one has left its own.
        if kept.is_new() {
            *kept = timer;
        }
    }

    /// Whether the events of its streams have ids, by which a client that
    /// keeps the session can ask for them again.
    pub(super) fn has_event_ids(&self) -> bool {
        self.id.is_some() && self.revision.is_some_and(Revision::has_event_ids)
    }

    /// Whether its streams begin with an id to ask for them by.
    pub(super) fn has_priming_events(&self) -> bool {
        self.revision.is_some_and(Revision::has_priming_events)
    }
}

// === impl InUse ===

impl<B: Backend> InUse<B> {
    /// The session, for those who need it beyond this use.
    pub(super) const fn session(&self) -> &Arc<Session<B>> {
        &self.0
    }
}

impl<B: Backend> Deref for InUse<B> {
    type Target = Session<B>;

    fn deref(&self) -> &Session<B> {
        &self.0
    }
}

impl<B: Backend> Drop for InUse<B> {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        // `fetch_max`: uses may end in another order than their clocks say.
        self.0.last_use.fetch_max(now, Ordering::Relaxed);
        self.0.uses.fetch_sub(1, Ordering::AcqRel);
    }
}
