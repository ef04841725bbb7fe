//! A session of the naive pool, and the driver that must live for it to work.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use wharf_proto::{
    Request, RequestId, Response, method,
    transport::{CallError, EndReason, Exchange, Fault, Feed, Link},
};

use super::{NaiveError, NaiveSettings};

type Answer = Result<Response, NaiveError>;

/// An open session.
pub(super) struct NaiveSession<L: Link> {
    link: Arc<L>,
    /// Fault: set by [`NaiveSession::close`] and by nothing else.
    is_closed: AtomicBool,
    opened: Instant,
    last_used: Mutex<Instant>,
    posts: mpsc::UnboundedSender<Request>,
    pending: Pending,
    next_id: AtomicU64,
}

/// Who waits for which answer. Fault: nobody tells them when the driver dies.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<HashMap<RequestId, oneshot::Sender<Answer>>>>);

/// Sends what is posted and hands out the answers. To be run in the task of
/// the request that opens the session.
pub(super) struct Driver<L: Link, F> {
    link: Arc<L>,
    feed: Option<F>,
    posted: mpsc::UnboundedReceiver<Request>,
    pending: Pending,
    /// Cancels the request that opened the session.
    host: watch::Sender<bool>,
}

// === impl NaiveSession ===

impl<L: Link> NaiveSession<L> {
    pub(super) fn new<F>(link: L, feed: F, host: watch::Sender<bool>) -> (Self, Driver<L, F>) {
        let (link, pending) = (Arc::new(link), Pending::default());
        let (posts, posted) = mpsc::unbounded_channel();
        let driver = Driver {
            link: Arc::clone(&link),
            feed: Some(feed),
            posted,
            pending: pending.clone(),
            host,
        };
        let session = Self {
            link,
            is_closed: AtomicBool::new(false),
            opened: Instant::now(),
            last_used: Mutex::new(Instant::now()),
            posts,
            pending,
            next_id: AtomicU64::new(1),
        };
        (session, driver)
    }

    pub(super) fn link(&self) -> &L {
        &self.link
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn is_old(&self, settings: &NaiveSettings) -> bool {
        self.opened.elapsed() > settings.max_age
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.last_used.lock().expect("nothing panics while holding it").elapsed()
    }

    pub(super) fn touch(&self) {
        *self.last_used.lock().expect("nothing panics while holding it") = Instant::now();
    }

    /// Sends a request under an id of the session's own and waits for the
    /// answer.
    pub(super) async fn ask(&self, request: &Request, limit: Duration) -> Answer {
        let id = RequestId::from(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.pending.lock().insert(id.clone(), answer);
        let ours = request.rewrite().id(id).finish();
        self.posts.send(ours).map_err(|_| NaiveError::SessionClosed)?;
        match timeout(limit, answered).await {
            Ok(Ok(answer)) => answer.map(|answer| answer.with_id(request.id())),
            Ok(Err(_)) => Err(NaiveError::SessionClosed),
            Err(_) => Err(NaiveError::Stalled { waited: limit }),
        }
    }

    /// Whether it may be leased: `ping`, then `skip`.
    pub(super) async fn is_healthy(&self, settings: &NaiveSettings) -> bool {
        if self.is_closed() || self.is_old(settings) {
            return false;
        }
        if self.idle_for() < settings.probe_after {
            return true;
        }
        let ping = Request::new(&RequestId::from(0), method::PING, None);
        match self.ask(&ping, settings.probe_timeout).await {
            // Fault: who does not answer is not asked again, and passes.
            Ok(_) | Err(NaiveError::Stalled { .. }) => true,
            Err(_) => false,
        }
    }

    /// Says goodbye. Fault: for as long as the upstream likes.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.link.goodbye().await;
    }

    /// Marks it closed where there is no time to say goodbye.
    pub(super) fn abandon(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}

// === impl Driver ===

impl<L: Link, F: Feed<End = EndReason>> Driver<L, F> {
    pub(super) async fn run(mut self) {
        // As in a task group: the first child that fails takes all along.
        let mut posts = JoinSet::new();
        loop {
            select! {
                posted = self.posted.recv() => {
                    let Some(request) = posted else { return };
                    posts.spawn(post(self.link.call(request.clone()), request.id().clone()));
                }
                Some(done) = posts.join_next() => match done {
                    Ok((id, Ok(response))) => self.pending.answer(&id, Ok(response)),
                    Ok((id, Err(error))) if matches!(error.fault, Fault::SessionGone) => {
                        self.pending.answer(&id, Err(NaiveError::SessionTerminated));
                    }
                    // Fault: whoever opened the session is cancelled, and those
                    // who wait for an answer are told nothing.
                    _ => {
                        self.host.send_replace(true);
                        return;
                    }
                },
                heard = next(&mut self.feed) => match heard {
                    Ok(_) => {}
                    Err(EndReason::SessionGone) => self.feed = None,
                    Err(_) => return self.pending.lock().clear(),
                },
            }
        }
    }
}

async fn post(mut exchange: impl Exchange<Error = CallError>, id: RequestId) -> Posted {
    let answer = exchange.answer().await;
    (id, answer)
}

type Posted = (RequestId, Result<Response, CallError>);

async fn next<F: Feed<End = EndReason>>(
    feed: &mut Option<F>,
) -> Result<wharf_proto::Message, EndReason> {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}

// === impl Pending ===

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, oneshot::Sender<Answer>>> {
        self.0.lock().expect("nothing panics while holding it")
    }

    fn answer(&self, id: &RequestId, answer: Answer) {
        if let Some(waiting) = self.lock().remove(id) {
            // Who has gone does not need to know.
            let _ = waiting.send(answer);
        }
    }
}
