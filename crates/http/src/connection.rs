//! A connection to an upstream, driven by whoever uses it.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_rustls::MaybeHttpsStream;
use tokio::task::coop::unconstrained;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    gate::{AT_A_STRETCH, DRIVER, Gate},
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
/// dropping it closes the connection. Boxed, since it goes from hand to hand.
pub(crate) struct Connection {
    sender: http1::SendRequest<Outgoing>,
    /// Until its end. What still waits for something then learns of the end
    /// by the driver's being dropped, and not before.
    driver: Option<http1::Connection<Transport, Outgoing>>,
    gate: Arc<Gate>,
    driver_bell: Waker,
    /// Whoever uses it has been polled since the driver was, which has not been
    /// woken since.
    is_awaited: bool,
    promptness: Promptness,
    _counted: TaskTrackerToken,
}

// === impl Connection ===

impl Connection {
    /// Speaks HTTP/1.1 over what has been dialled; does no I/O. `counted` is
    /// held for as long as the connection is.
    pub(crate) async fn new(
        transport: Transport,
        counted: TaskTrackerToken,
    ) -> hyper::Result<Box<Self>> {
        let tcp = match &transport {
            MaybeHttpsStream::Http(tcp) => tcp,
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner(),
        };
        let promptness = tcp.promptness().clone();
        let gate = Arc::clone(promptness.gate());
        let (sender, driver) = http1::handshake(transport).await?;
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            driver_bell: gate.driver_bell(),
            gate,
            is_awaited: false,
            promptness,
            _counted: counted,
        }))
    }

    /// Queues a request. It is sent when the connection is driven; the
    /// connection must be ready for it.
    pub(crate) fn send(&mut self, request: Request<Outgoing>) -> Head {
        self.promptness.forgive();
        // Nobody has to be woken for it: who sends drives the connection next.
        self.gate.enter();
        let head = self.sender.try_send_request(request);
        self.gate.leave(DRIVER);
        Box::pin(head)
    }

    /// Drives the connection, and `poll` with it, until `poll` is ready or
    /// there is nothing to do but wait.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.gate.register(cx.waker());
        if self.is_awaited && self.gate.is_quiet() {
            return Poll::Pending;
        }
        let mut woken = self.gate.enter();
        // First, so that the driver learns what is wanted.
        let mut may_be_ready = !self.is_awaited;
        for _ in 0..=AT_A_STRETCH {
            if may_be_ready && let Poll::Ready(ready) = poll_unwoken(&mut poll) {
                self.is_awaited = false;
                // What the driver is to see to is still to be seen to.
                self.gate.leave(woken);
                return Poll::Ready(ready);
            }
            woken |= self.gate.enter();
            // Where more is awaited, the driver is polled once more to
            // acknowledge what has come, which it does when it finds no more.
            may_be_ready = woken != 0 || self.promptness.call_in();
            if may_be_ready {
                poll_driver(&mut self.driver, &mut Context::from_waker(&self.driver_bell));
                woken = self.gate.enter();
            } else if self.gate.leave_quietly() {
                self.is_awaited = true;
                return Poll::Pending;
            }
        }
        self.is_awaited = false;
        self.gate.leave(DRIVER);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts the connection to rest: `keeper` is woken by what happens on it
    /// from now on. Whether another request can be sent over it.
    pub(crate) fn rest(&mut self, keeper: &Waker) -> bool {
        self.gate.register(keeper);
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
        self.gate.is_stirred()
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
        let Self { driver, driver_bell, gate, .. } = self;
        gate.enter();
        let step = poll_fn(|cx| {
            poll_driver(driver, cx);
            Poll::Ready(())
        });
        let _ = pin!(unconstrained(step)).poll(&mut Context::from_waker(driver_bell));
        gate.leave(0);
    }

    fn can_send(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Polls what the driver alone has anything for, and what is polled whenever the
/// driver has been: it needs no waker, and must not be held back by tokio's
/// budget, which would wake it.
fn poll_unwoken<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_driver(driver: &mut Option<http1::Connection<Transport, Outgoing>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        // What went wrong is told to the head or the body, too.
        *driver = None;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_open", &self.driver.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
        time::Duration,
    };

    use bytes::Bytes;
    use http_body::Body as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::dial::Dial;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn connect() -> (Box<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let dialling =
            Dial::new(Duration::from_secs(10), true).dial(to, TaskTracker::new().token());
        let (connection, accepted) = tokio::join!(dialling, listener.accept());
        (connection.unwrap(), accepted.unwrap().0)
    }

    fn request() -> Request<Outgoing> {
        Request::post("/").body(Outgoing::new(Bytes::from_static(b"?")).0).unwrap()
    }

    async fn answer(peer: &mut TcpStream) {
        let mut asked = Vec::new();
        while !asked.ends_with(b"?") {
            peer.read_buf(&mut asked).await.unwrap();
        }
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!").await.unwrap();
    }

    #[tokio::test]
    async fn a_call_on_a_kept_connection_wakes_nobody_who_keeps_it() {
        let (mut connection, mut peer) = connect().await;
        let counter = Arc::new(Counter::default());
        let keeper = Waker::from(Arc::clone(&counter));
        for _ in 0..3 {
            let mut head = connection.send(request());
            let head = poll_fn(|cx| connection.drive(cx, |cx| head.as_mut().poll(cx)));
            let (head, ()) = tokio::join!(head, answer(&mut peer));
            let mut body = head.unwrap().into_body();
            let body = poll_fn(|cx| connection.drive(cx, |cx| Pin::new(&mut body).poll_frame(cx)));
            assert_eq!(body.await.unwrap().unwrap().into_data().unwrap(), "!");
            assert!(connection.rest(&keeper));
        }
        assert_eq!(counter.0.load(Ordering::SeqCst), 0);
        drop(peer);
        while connection.look() {
            tokio::task::yield_now().await;
        }
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_asks_before_anything_has_happened_costs_the_connection_nothing() {
        let (mut connection, mut peer) = connect().await;
        let mut head = connection.send(request());
        let (mut asked, mut polled) = (0, 0);
        let head = poll_fn(|cx| {
            asked += 1;
            let driven = connection.drive(cx, |cx| {
                polled += 1;
                head.as_mut().poll(cx)
            });
            if asked <= 3 {
                cx.waker().wake_by_ref();
            }
            driven
        });
        let served = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            answer(&mut peer).await;
        };
        let (head, ()) = tokio::join!(head, served);
        assert!(head.is_ok());
        // To say what is wanted, and whenever the driver was polled: by which it was
        // sent, and by which the answer came.
        assert!(asked > 3 && polled == 3, "{asked}, {polled}");
    }
}
