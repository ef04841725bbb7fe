//! A connection to an upstream, driven by whoever uses it.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_rustls::MaybeHttpsStream;
use tokio::task::unconstrained;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    outgoing::Outgoing,
    prompt::{Prompt, Promptness},
};

/// What a connection runs over.
pub(crate) type Transport = MaybeHttpsStream<Prompt>;

/// The head of an answer on its way.
pub(crate) type Head = Pin<Box<dyn Future<Output = HeadOutcome> + Send>>;

type HeadOutcome = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>;

/// A connection that has no task of its own: the call that uses it drives it,
/// so that a call takes no detour over another task and another thread, and
/// dropping it closes the connection.
pub(crate) struct Connection {
    sender: http1::SendRequest<Outgoing>,
    /// Until its end. What still waits for something then learns of the end
    /// by the driver's being dropped, and not before.
    driver: Option<Box<http1::Connection<Transport, Outgoing>>>,
    gate: Arc<Gate>,
    /// Of the gate, made once.
    waker: Waker,
    promptness: Promptness,
    _counted: TaskTrackerToken,
}

/// Lets what happens on a connection wake the task that drives it, except
/// while it is driven: then it is driven once more instead. The parts of a
/// connection wake each other all the time.
#[derive(Debug, Default)]
struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

/// How often a connection is driven before others get their turn. A task that
/// has used up its share (tokio's budget) is woken each time it asks for more,
/// and must come to an end nevertheless.
const AT_A_STRETCH: usize = 4;

const RESTING: u8 = 0;
const DRIVEN: u8 = 1;
const WOKEN: u8 = 2;

// === impl Connection ===

impl Connection {
    /// Speaks HTTP/1.1 over what has been dialled; does no I/O. `counted` is
    /// held for as long as the connection is.
    pub(crate) async fn new(
        transport: Transport,
        counted: TaskTrackerToken,
    ) -> hyper::Result<Self> {
        let tcp = match &transport {
            MaybeHttpsStream::Http(tcp) => tcp,
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner(),
        };
        let promptness = tcp.promptness();
        let (sender, driver) = http1::handshake(transport).await?;
        let gate = Arc::new(Gate::default());
        let waker = Waker::from(Arc::clone(&gate));
        let driver = Some(Box::new(driver));
        Ok(Self { sender, driver, gate, waker, promptness, _counted: counted })
    }

    /// Queues a request. It is sent when the connection is driven; the
    /// connection must be ready for it.
    pub(crate) fn send(&mut self, request: Request<Outgoing>) -> Head {
        self.promptness.forgive();
        Box::pin(self.sender.try_send_request(request))
    }

    /// Drives the connection, and `poll` with it, until `poll` is ready or
    /// there is nothing to do but wait.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.gate.task.register(cx.waker());
        let waker = self.waker.clone();
        let mut inner = Context::from_waker(&waker);
        let is_stirred = self.gate.enter();
        // First, so that the driver learns what is wanted.
        let mut polled = poll(&mut inner);
        if polled.is_ready() {
            // The driver has not been polled: what has stirred it is still to
            // be seen to.
            if is_stirred {
                self.gate.stir();
            } else {
                self.gate.leave();
            }
            return polled;
        }
        for _ in 0..AT_A_STRETCH {
            if polled.is_ready() {
                return polled;
            }
            self.gate.enter();
            self.poll_driver(&mut inner);
            polled = poll(&mut inner);
            // Where more is awaited, the driver is polled once more to
            // acknowledge what has come, which it does when it finds no more.
            if self.gate.leave() && (polled.is_ready() || !self.promptness.call_in()) {
                return polled;
            }
        }
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Puts the connection to rest: `keeper` is woken by what happens on it
    /// from now on. Whether another request can be sent over it.
    pub(crate) fn rest(&mut self, keeper: &Waker) -> bool {
        self.gate.task.register(keeper);
        if self.is_stirred() || !self.sender.is_ready() {
            self.step();
        }
        if self.is_stirred() {
            keeper.wake_by_ref();
        }
        self.can_send()
    }

    /// Whether something has happened on a connection at rest.
    pub(crate) fn is_stirred(&self) -> bool {
        self.gate.is_woken()
    }

    /// Finds out what has happened on a connection at rest. Whether another
    /// request can be sent over it.
    pub(crate) fn look(&mut self) -> bool {
        if self.is_stirred() {
            self.step();
        }
        self.can_send()
    }

    /// Drives it once, whatever else the task has done by now: one that has
    /// used up its share would not see that the connection has been closed.
    fn step(&mut self) {
        let waker = self.waker.clone();
        self.gate.enter();
        let step = poll_fn(|cx| {
            self.poll_driver(cx);
            Poll::Ready(())
        });
        let _ = pin!(unconstrained(step)).poll(&mut Context::from_waker(&waker));
        self.gate.leave();
    }

    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(&mut **driver).poll(cx).is_ready()
        {
            // What went wrong is told to the head or the body, too.
            self.driver = None;
        }
    }

    fn can_send(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_open", &self.driver.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Gate ===

impl Gate {
    /// Whether something has happened that nobody has seen to yet.
    fn enter(&self) -> bool {
        self.state.swap(DRIVEN, Ordering::SeqCst) == WOKEN
    }

    /// Something is still to be seen to.
    fn stir(&self) {
        self.state.store(WOKEN, Ordering::SeqCst);
    }

    /// Whether nothing has happened since [`Gate::enter`].
    fn leave(&self) -> bool {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.compare_exchange(DRIVEN, RESTING, success, failure).is_ok()
    }

    fn is_woken(&self) -> bool {
        self.state.load(Ordering::SeqCst) == WOKEN
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::SeqCst) == RESTING {
            self.task.wake();
        }
    }
}
