//! A client's connection, and the task that serves it.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::task::waker_ref;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    Handle,
    gate::{AT_A_STRETCH, Gate, Note, StopBell},
    gather::Gather,
    head_timer::HeadTimer,
};

/// Serves one connection to its end; after a stop, to the end of the answer
/// that is under way.
///
/// hyper polls the future of an answer whenever anything happens, and wakes
/// its own task when the body of a request is taken. Here the parts have wakers
/// of their own: what is woken while the task runs does not make it run again,
/// and the answer is polled when it was meant.
struct Serving<C> {
    connection: C,
    /// Until it has come.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    stop_bell: Arc<StopBell>,
    gate: Arc<Gate>,
    bell: Waker,
}

/// An answer on its way, polled when it was meant.
struct Attended<F> {
    answer: Pin<Box<F>>,
    gate: Arc<Gate>,
}

/// Serves `stream` with `handle` until it closes, or until it has nothing to
/// answer after `stop`.
pub(crate) fn serve_connection<H: Handle>(
    http: &http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    handle: H,
    stop: CancellationToken,
) -> impl Future<Output = hyper::Result<()>> + Send + 'static {
    let gate = Arc::new(Gate::default());
    let service = {
        let gate = Arc::clone(&gate);
        service_fn(move |request| {
            Attended::new(handle.handle(request, Some(peer)), Arc::clone(&gate))
        })
    };
    let mut http = http.clone();
    let stream = Gather::new(TokioIo::new(stream));
    let connection = http.timer(HeadTimer::default()).serve_connection(stream, service);
    Serving::new(connection, stop, gate)
}

// === impl Serving ===

impl<C> Serving<C>
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    fn new(connection: C, stop: CancellationToken, gate: Arc<Gate>) -> Self {
        // So that it is polled at first.
        gate.notes().make(Note::Stop);
        let stop = Some(Box::pin(stop.cancelled_owned()));
        Self { connection, stop, stop_bell: StopBell::of(&gate), bell: gate.driver_bell(), gate }
    }

    fn heed_stop(&mut self) {
        if let Some(stop) = &mut self.stop
            && self.gate.notes().take(Note::Stop)
            && stop.as_mut().poll(&mut Context::from_waker(&waker_ref(&self.stop_bell))).is_ready()
        {
            self.stop = None;
            Pin::new(&mut self.connection).graceful_shutdown();
        }
    }
}

impl<C> Future for Serving<C>
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = &mut *self;
        this.gate.register(cx.waker());
        for _ in 0..AT_A_STRETCH {
            this.gate.enter();
            this.heed_stop();
            let cx = &mut Context::from_waker(&this.bell);
            if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(cx) {
                return Poll::Ready(ended);
            }
            if this.gate.leave_quietly() {
                return Poll::Pending;
            }
        }
        this.gate.leave(0);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl Attended ===

impl<F> Attended<F> {
    fn new(answer: F, gate: Arc<Gate>) -> Self {
        // hyper polls it next.
        gate.notes().make(Note::Answer);
        // Boxed: else its connection would keep the room for it while there is
        // nothing to answer. What one request gives back another takes, while
        // the processor still has it at hand.
        Self { answer: Box::pin(answer), gate }
    }
}

impl<F: Future> Future for Attended<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.gate.notes().take(Note::Answer) {
            return Poll::Pending;
        }
        this.answer.as_mut().poll(&mut Context::from_waker(&waker_ref(&this.gate))).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Request, Response};
    use hyper::body::Incoming;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::{mpsc, oneshot},
        task::{JoinSet, yield_now},
    };

    use super::*;
    use crate::{Body, collect};

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n?";

    async fn connect() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        (client, stream, peer)
    }

    /// Reads the head of an answer that has no body.
    async fn answered(client: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(client.read_buf(&mut head).await.unwrap(), 0, "it is closed");
        }
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn a_request_runs_its_connection_twice_however_its_parts_wake_each_other() {
        let (mut client, stream, peer) = connect().await;
        let (go, gone) = oneshot::channel::<()>();
        let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
        let asked = Arc::new(AtomicUsize::new(0));
        let handle = {
            let asked = Arc::clone(&asked);
            move |request: Request<Incoming>, _| {
                let (asked, gone) = (Arc::clone(&asked), gone.lock().unwrap().take().unwrap());
                let mut answer = Box::pin(async move {
                    collect(request.into_body(), 9).await.unwrap();
                    gone.await.unwrap();
                    Response::new(Body::empty())
                });
                poll_fn(move |cx| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    answer.as_mut().poll(cx)
                })
            }
        };
        client.write_all(REQUEST).await.unwrap();
        let http = http1::Builder::new();
        let stop = CancellationToken::new();
        let mut serving = Box::pin(serve_connection(&http, stream, peer, handle, stop.clone()));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let mut tasks = JoinSet::new();
        tasks.spawn(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            serving.as_mut().poll(cx)
        }));
        while asked.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        for _ in 0..9 {
            yield_now().await;
        }
        go.send(()).unwrap();
        assert!(answered(&mut client).await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // The first may find that nothing has come yet, and the last is the stop's.
        let runs = runs.load(Ordering::Relaxed);
        assert!(runs <= 4, "{runs}");
    }

    #[tokio::test]
    async fn an_answer_that_takes_more_turns_than_a_task_has_is_given() {
        const TURNS: usize = 2000;
        let (mut client, stream, peer) = connect().await;
        let handle = |_, _| async {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            (0..TURNS).for_each(|turn| sender.send(turn).unwrap());
            for _ in 0..TURNS {
                receiver.recv().await.unwrap();
            }
            Response::new(Body::empty())
        };
        client.write_all(REQUEST).await.unwrap();
        let http = http1::Builder::new();
        let stop = CancellationToken::new();
        let serving = serve_connection(&http, stream, peer, handle, stop.clone());
        let client = async {
            assert!(answered(&mut client).await.starts_with("HTTP/1.1 200"));
            stop.cancel();
        };
        tokio::join!(serving, client).0.unwrap();
    }
}
