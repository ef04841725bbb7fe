//! A client's session with a server of the kit, and the books of its calls.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use wharf_proto::{
    Message, Notification, RequestId, Revision, Severity, server::Refusal, transport::Feed,
};

/// One client's session. Its end, by [`Session::end`] or by dropping it, ends
/// its calls and takes it out of the [`Figures`].
pub struct Session {
    revision: Revision,
    least_severe: AtomicU8,
    /// `None` where clients without sessions share this one: their ids may
    /// clash, and none of them may cancel another's call.
    books: Option<Mutex<Books>>,
}

/// What a server counts. Shared by its clones.
#[derive(Debug, Clone)]
pub struct Figures(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    calls: AtomicU64,
    running: AtomicU64,
    sessions: AtomicU64,
    since: Instant,
}

/// What a session is told unasked.
#[derive(Debug)]
pub struct Unasked(Option<mpsc::UnboundedReceiver<Message>>);

/// A call's place in the books of its session. Dropping it takes it out.
#[derive(Debug)]
pub(super) struct Place {
    session: Arc<Session>,
    id: RequestId,
}

/// Why a call was not entered in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// Another call of that id is under way.
    IdInUse,
    /// The session has ended.
    Ended,
}

/// Resolves when a call is no longer wanted: `Ok` where the client has
/// cancelled it, an error where its session has ended.
pub(super) type Unwanted = oneshot::Receiver<()>;

#[derive(Default)]
struct Books {
    is_ended: bool,
    /// The calls under way; `None` where one has been told to stop already.
    calls: HashMap<RequestId, Option<oneshot::Sender<()>>>,
    ear: Option<mpsc::UnboundedSender<Message>>,
    unheard: Option<mpsc::UnboundedReceiver<Message>>,
    _seat: Option<Seat>,
}

/// One of the sessions, or one of the running calls, that [`Figures`] counts.
pub(super) struct Seat(Figures, fn(&Counts) -> &AtomicU64);

// === impl Session ===

impl Session {
    pub(super) fn open(revision: Revision, figures: &Figures) -> Self {
        let (ear, unheard) = mpsc::unbounded_channel();
        Self {
            revision,
            least_severe: AtomicU8::new(Severity::Info as u8),
            books: Some(Mutex::new(Books {
                ear: Some(ear),
                unheard: Some(unheard),
                _seat: Some(Seat::take(figures, |counts| &counts.sessions)),
                ..Books::default()
            })),
        }
    }

    /// The session of clients that keep none.
    pub(super) const fn anonymous() -> Self {
        Self {
            revision: Revision::ASSUMED,
            least_severe: AtomicU8::new(Severity::Info as u8),
            books: None,
        }
    }

    /// The revision that was agreed on.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Ends the session: its calls are refused, those under way too.
    pub fn end(&self) {
        if let Some(mut books) = self.books() {
            *books = Books { is_ended: true, ..Books::default() };
        }
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.books().is_some_and(|books| books.is_ended)
    }

    /// Enters a call; `None` where this session keeps no books.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: &RequestId,
    ) -> Result<Option<(Place, Unwanted)>, NoPlace> {
        let Some(mut books) = self.books() else {
            return Ok(None);
        };
        if books.is_ended {
            return Err(NoPlace::Ended);
        }
        let (stop, unwanted) = oneshot::channel();
        match books.calls.entry(id.clone()) {
            Entry::Occupied(_) => return Err(NoPlace::IdInUse),
            Entry::Vacant(free) => free.insert(Some(stop)),
        };
        let place = Place { session: Arc::clone(self), id: id.clone() };
        Ok(Some((place, unwanted)))
    }

    /// Cancels a call, where it is still under way.
    pub(super) fn cancel(&self, id: &RequestId) {
        let stop = self.books().and_then(|mut books| books.calls.get_mut(id)?.take());
        if let Some(stop) = stop {
            // The call may be ending just now, and then nobody listens.
            let _ = stop.send(());
        }
    }

    /// Says something unasked. `false` where nobody can hear it any more.
    pub(super) fn tell(&self, notification: &Notification) -> bool {
        self.books().is_some_and(|books| {
            let ear = books.ear.as_ref();
            ear.is_some_and(|ear| ear.send(notification.clone().into()).is_ok())
        })
    }

    pub(super) fn listen(&self) -> Unasked {
        Unasked(self.books().and_then(|mut books| books.unheard.take()))
    }

    pub(super) fn wants(&self, severity: Severity) -> bool {
        severity as u8 >= self.least_severe.load(Ordering::Relaxed)
    }

    pub(super) fn want_from(&self, severity: Severity) {
        self.least_severe.store(severity as u8, Ordering::Relaxed);
    }

    fn books(&self) -> Option<MutexGuard<'_, Books>> {
        let books = self.books.as_ref()?;
        Some(books.lock().expect("no one panics while holding it"))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("revision", &self.revision).finish_non_exhaustive()
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut books) = self.session.books() {
            books.calls.remove(&self.id);
        }
    }
}

// === impl Figures ===

impl Figures {
    pub(super) fn new() -> Self {
        Self(Arc::new(Counts {
            calls: AtomicU64::new(0),
            running: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            since: Instant::now(),
        }))
    }

    /// How many tool calls have begun.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// How many tool calls are under way.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.0.running.load(Ordering::Relaxed)
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// How long ago the server was made.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.since.elapsed()
    }

    pub(super) fn begin_call(&self) -> Seat {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Seat::take(self, |counts| &counts.running)
    }
}

// === impl Seat ===

impl Seat {
    fn take(figures: &Figures, gauge: fn(&Counts) -> &AtomicU64) -> Self {
        gauge(&figures.0).fetch_add(1, Ordering::Relaxed);
        Self(figures.clone(), gauge)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.1(&self.0.0).fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Unasked ===

impl Feed for Unasked {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        let Some(unheard) = &mut self.0 else {
            return Poll::Pending;
        };
        Poll::Ready(ready!(unheard.poll_recv(cx)).ok_or(Refusal::SessionEnded))
    }
}
