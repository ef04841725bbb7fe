//! The accept loop of a listener.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{Body, serving::serve_connection};

/// How long the loop waits when no connection can be accepted for lack of
/// something, such as file descriptors, that others may give back.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Answers requests. Closures of a request and the peer's address do; a clone
/// is made for every connection, and shares what it stands on with the others.
pub trait Handle: Clone + Send + Sync + 'static {
    /// Answers one request. The future is dropped where the client goes away
    /// before it is ready. It borrows nothing, so that there is no more of it
    /// than the answer needs: what it needs of the handler it takes along, and
    /// so no `async fn` can be this.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<Self>;
}

/// What a connection may cost before its first request is there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcceptSettings {
    /// How large the head of a request may be, in bytes, and not less than
    /// 8192; a larger one is answered with 431.
    pub max_header_bytes: usize,
    /// How long the head of a request may take to come once its first byte is
    /// due. A connection without a request is closed after that, too.
    pub header_timeout: Duration,
    /// Whether small packets are sent as soon as they are written, and not
    /// held back for more (Nagle's algorithm). They are, by default: answers
    /// are small and written whole, and to hold one back only makes it late.
    pub no_delay: bool,
}

/// Serves connections until `shutdown`. Then the listener closes, connections
/// without a request close, and the others close with their answer; the
/// future is ready when all have. Dropping it aborts them.
///
/// What goes wrong with a connection, even that its handler panics, ends that
/// connection alone.
///
/// # Cancel safety
///
/// Dropping the future aborts the connections.
pub async fn serve<H: Handle>(
    listener: TcpListener,
    handle: H,
    settings: AcceptSettings,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let stop = CancellationToken::new();
    let http = http(&settings);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                look_into(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Where it cannot be had, answers are only late.
                let _ = stream.set_nodelay(settings.no_delay);
                let stop = stop.clone();
                connections.spawn(serve_connection(&http, stream, peer, handle.clone(), stop));
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a connection was gone"),
            Err(error) => {
                warn!(%error, "no connection can be accepted for now");
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(BACK_OFF) => {}
                }
            }
        }
    }
    drop(listener);
    stop.cancel();
    while let Some(ended) = connections.join_next().await {
        look_into(ended);
    }
}

// === impl Handle ===

impl<F, A> Handle for F
where
    F: Fn(Request<Incoming>, Option<SocketAddr>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<F, A> {
        self(request, peer)
    }
}

// === impl AcceptSettings ===

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            max_header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(30),
            no_delay: true,
        }
    }
}

fn http(settings: &AcceptSettings) -> http1::Builder {
    /// hyper reads no smaller head than this.
    const LEAST: usize = 8192;
    let mut http = http1::Builder::new();
    http.header_read_timeout(settings.header_timeout)
        .max_buf_size(settings.max_header_bytes.max(LEAST));
    http
}

fn look_into(ended: Result<hyper::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        // Clients go away all the time.
        Ok(Err(error)) => debug!(error = &error as &dyn std::error::Error, "a connection broke"),
        Err(error) => error!(%error, "a connection's task died"),
    }
}

/// Whether accepting failed because of that one connection.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
