//! A request on its way to an upstream.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, header::HOST};
use hyper::{body::Incoming, client::conn::TrySendError};
use wharf_proto::transport::{CallError, Fate, Fault};

use crate::{
    BadEndpoint, HttpClient,
    answer::{Answer, Source},
    connection::{Connection, Head},
    dial::{DialTimedOut, Dialling, find},
    idle::Place,
    outgoing::{Outgoing, Progress},
    url::host_header,
};

/// A request on its way: ready when the head of the answer is there. Driven
/// by whoever polls it; dropping it closes the connection it was sent on.
#[must_use = "futures do nothing unless awaited"]
pub struct Sending {
    client: HttpClient,
    /// `None` where the request's URI leads nowhere.
    place: Option<Place>,
    stage: Stage,
    progress: Arc<Progress>,
}

enum Stage {
    /// To be sent over a new connection.
    Dialling(Dialling, Option<Box<Request<Outgoing>>>),
    /// Queued on a connection; the head of the answer is awaited.
    Sent(Sent),
    /// Answered, or failed, or not to be sent at all.
    Over,
}

struct Sent {
    connection: Box<Connection>,
    head: Head,
    /// The connection may turn out to have been closed before.
    is_kept: bool,
}

// === impl Sending ===

impl Sending {
    pub(crate) fn new(client: HttpClient, request: Request<Bytes>) -> Self {
        let (mut head, body) = request.into_parts();
        let (body, progress) = Outgoing::new(body);
        if !head.headers.contains_key(HOST) {
            head.headers.insert(HOST, host_header(&head.uri));
        }
        // A connection leads to one place, so that it need not be said.
        let (place, path) = Place::split(head.uri);
        head.uri = path;
        let mut sending = Self { client, place, stage: Stage::Over, progress };
        sending.begin(Request::from_parts(head, body));
        sending
    }

    /// Gives the request up, and says whether the upstream can have got it: a
    /// body that has not been handed to a connection by now never is. To be
    /// dropped afterwards.
    #[must_use]
    pub fn call_off(&mut self) -> Fate {
        self.progress.call_off()
    }

    /// Queues the request on a kept connection or dials.
    fn begin(&mut self, request: Request<Outgoing>) {
        let Some(place) = &self.place else { return };
        self.stage = match self.client.idle().take(place) {
            Some(connection) => Stage::Sent(Sent::new(connection, request, true)),
            None => Stage::Dialling(self.client.dial(place), Some(Box::new(request))),
        };
    }

    /// The head is there; the body comes over the same connection.
    fn answered(&mut self, head: Response<Incoming>) -> Response<Answer> {
        let (Stage::Sent(Sent { connection, .. }), Some(place)) =
            (std::mem::replace(&mut self.stage, Stage::Over), self.place.take())
        else {
            unreachable!("what is answered was sent somewhere")
        };
        let home = Arc::downgrade(self.client.idle());
        head.map(|body| Answer::new(body, Source { connection, place, home }))
    }

    /// There is no head. A request that comes back from a connection which
    /// was closed while it was kept can be sent over another.
    fn failed(&mut self, mut error: TrySendError<Request<Outgoing>>) -> Result<(), CallError> {
        let was_kept = matches!(&self.stage, Stage::Sent(sent) if sent.is_kept);
        self.stage = Stage::Over;
        match error.take_message() {
            Some(request) if was_kept => {
                self.begin(request);
                Ok(())
            }
            unsent => {
                let fate = self.progress.call_off();
                let fate = if unsent.is_some() { Fate::NotSent } else { fate };
                Err(CallError { fate, fault: Fault::Broken { source: error.into_error().into() } })
            }
        }
    }
}

impl Future for Sending {
    type Output = Result<Response<Answer>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.place.is_none() {
            let source = BadEndpoint::Scheme.into();
            return Poll::Ready(Err(CallError::not_sent(Fault::Unreachable { source })));
        }
        loop {
            match &mut this.stage {
                Stage::Dialling(dialling, request) => {
                    let connection = ready!(dialling.as_mut().poll(cx)).map_err(undialled)?;
                    let request = request.take().expect("it is dialled for once");
                    this.stage = Stage::Sent(Sent::new(connection, *request, false));
                }
                Stage::Sent(sent) => match ready!(sent.poll(cx)) {
                    Ok(head) => return Poll::Ready(Ok(this.answered(head))),
                    Err(error) => this.failed(error)?,
                },
                Stage::Over => unreachable!("a future is not polled after its end"),
            }
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}

// === impl Sent ===

impl Sent {
    fn new(mut connection: Box<Connection>, request: Request<Outgoing>, is_kept: bool) -> Self {
        let head = connection.send(request);
        Self { connection, head, is_kept }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> {
        let Self { connection, head, .. } = self;
        connection.drive(cx, |cx| head.as_mut().poll(cx))
    }
}

/// What it says about a request that no connection was made for it.
fn undialled(error: crate::dial::BoxError) -> CallError {
    CallError::not_sent(match find(&*error) {
        Some(DialTimedOut { limit }) => Fault::TimedOut { step: "connect", limit: *limit },
        None => Fault::Unreachable { source: error.into() },
    })
}
