//! POST: a client's messages.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use wharf_http::{
    Body, CollectError, collect, empty_response, is_json, json_response, unguessable,
};
use wharf_proto::{
    Message, Request, RequestId, Revision, header, method,
    server::{Backend, Caller, Opening},
    transport::Cause,
};

use super::{
    Sessions, Shared,
    answer::{self, Count},
    calls::{Calls, InCare},
    carry::Carried,
    check::{Form, Rejection},
    events,
    session::{InUse, Session},
    table::Place,
};

/// How large a body may be that comes without a session, or with one that
/// there is not: all that it can be is `initialize`.
const MAX_HELLO: usize = 1024 * 1024;

/// Up to how many bytes a body is kept by itself. A connection reads 8 KiB.
const SMALL: usize = 1024;

/// One POST: who sent it, in which session, and in which form it is answered.
pub(super) struct Post<B: Backend> {
    shared: Arc<Shared<B>>,
    sender: Sender,
    form: Form,
    /// In use since before the body was read, in which time it may have ended.
    session: Result<InUse<B>, Rejection>,
}

/// Who sent it, for as long as the backend may ask.
struct Sender {
    headers: HeaderMap,
    peer: Option<SocketAddr>,
}

/// What becomes of a POST once its body is there.
enum Matter<B: Backend> {
    /// A call has begun.
    Call(RequestId, InCare<B>),
    Refused(Rejected),
    /// Boxed: every call would have to make room for it.
    Other(Pin<Box<dyn Future<Output = Result<Response<Body>, Rejected>> + Send>>),
}

/// What a body is refused for that was not read to its end.
fn unread(error: CollectError, session: Option<Rejection>) -> Rejection {
    match (error, session) {
        (CollectError::TooLarge { limit }, Some(Rejection::NoSession)) => {
            Rejection::LargeHello { limit }
        }
        (CollectError::TooLarge { .. }, Some(rejection)) => rejection,
        (error, _) => Rejection::Unread(error),
    }
}

/// A rejection, and the request it answers.
type Rejected = (Rejection, Option<RequestId>);

// === impl Post ===

impl<B: Backend> Post<B> {
    /// What its headers say. The session is looked for before the body is read,
    /// so that who has none cannot make us read a large one; it is missed only
    /// when the body is known not to be `initialize`.
    pub(super) fn begun(
        shared: &Arc<Shared<B>>,
        headers: HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Rejection> {
        let form = Form::of(&headers, shared.settings.answers)?;
        if !is_json(&headers) {
            return Err(Rejection::NotJson);
        }
        let session = shared.session(&headers);
        let shared = Arc::clone(shared);
        Ok(Self { shared, sender: Sender { headers, peer }, form, session })
    }

    /// Takes the body and answers it. Nothing is kept of the POST, whose headers
    /// are not small, while a call's answer is awaited, which may be long in
    /// coming: so it is boxed until then, and the answer has its room alone.
    pub(super) fn take<R>(self, body: R) -> impl Future<Output = Response<Body>> + Send
    where
        R: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        Cause: From<R::Error>,
    {
        let settings = &self.shared.settings;
        let (form, keep_alive) = (self.form, settings.keep_alive);
        let collecting = collect(body, self.max_body()).within(settings.body_timeout);
        let taken = Box::pin(async move {
            match collecting.await {
                Ok(text) => self.matter(text),
                Err(error) => Matter::Refused(of_no_request(unread(error, self.session.err()))),
            }
        });
        async move {
            match taken.await {
                Matter::Call(id, calls) => answer::answer(calls, form, Count::One, keep_alive)
                    .await
                    .map_err(|rejection| (rejection, Some(id))),
                Matter::Refused(rejected) => Err(rejected),
                Matter::Other(answer) => answer.await,
            }
            .unwrap_or_else(|(rejection, id)| rejection.to_response(id.as_ref()))
        }
    }

    /// Reads the body.
    fn matter(self, text: Bytes) -> Matter<B> {
        match wharf_proto::Body::parse(apart(text)) {
            Ok(wharf_proto::Body::Single(Message::Request(request)))
                if request.method() != method::INITIALIZE =>
            {
                let id = request.id().clone();
                match self.call(request) {
                    Ok(calls) => Matter::Call(id, calls),
                    Err(rejection) => Matter::Refused((rejection, Some(id))),
                }
            }
            Ok(body) => Matter::Other(Box::pin(self.other(body))),
            Err(error) => Matter::Refused(of_no_request(Rejection::Malformed(error))),
        }
    }

    /// Answers what is no call, or several.
    async fn other(self, body: wharf_proto::Body) -> Result<Response<Body>, Rejected> {
        match body {
            wharf_proto::Body::Single(Message::Request(hello)) => {
                let id = hello.id().clone();
                self.initialize(hello).await.map_err(|rejection| (rejection, Some(id)))
            }
            wharf_proto::Body::Single(message) => self.said(message).await,
            wharf_proto::Body::Batch(messages) => self.batch(messages).await,
        }
    }

    /// How large the body may be.
    fn max_body(&self) -> usize {
        let max_body = self.shared.settings.max_body;
        if self.session.is_ok() { max_body } else { max_body.min(MAX_HELLO) }
    }

    /// Begins a call.
    fn call(self, request: Request) -> Result<InCare<B>, Rejection> {
        let session = still_open(self.session)?;
        let exchange = self.shared.backend.call(&session.state, request, self.sender.caller());
        Ok(InCare::new(self.shared, Calls::one(exchange), session))
    }

    /// Opens a session. A session id in the headers is not looked at: a
    /// client that begins anew may not have forgotten the old one.
    async fn initialize(self, hello: Request) -> Result<Response<Body>, Rejection> {
        let shared = self.shared;
        // Not in use by this, so that it can make room.
        drop(self.session);
        // A shutdown waits for the session that may come of this, to close it.
        let _opening = shared.tasks.token();
        let is_kept = shared.settings.sessions == Sessions::Kept;
        if is_kept && !shared.table.has_room() {
            return Err(Rejection::Full);
        }
        let opening = shared.backend.open(hello, self.sender.caller());
        let opening = shared.stop.run_until_cancelled(opening).await;
        let Opening { response, session } = opening.ok_or(Rejection::Stopping)?;
        let mut answer = match self.form {
            // Written whole with the head, so that there is nothing to lose
            // and no id to ask for the rest by.
            Form::EventStream => events::response(Body::full(events::event(response.text()))),
            Form::Fitting | Form::Json => json_response(StatusCode::OK, response.text().clone()),
        };
        let Some(state) = session else {
            return Ok(answer);
        };
        let id = unguessable();
        let header = HeaderValue::from_str(id.expose()).expect("an id is visible ASCII");
        let session = Session::new(id.clone(), state, response.agreed_revision());
        // Only now: a session that is refused must take nobody's place. What
        // room there was may have gone to another meanwhile.
        let Some(place) = is_kept.then(|| make_room(&shared)).flatten() else {
            // Nobody will find it.
            shared.end(session).leave_to_task();
            return if is_kept { Err(Rejection::Full) } else { Ok(answer) };
        };
        shared.table.insert(&id, Arc::clone(&session), place);
        shared.sweep();
        if shared.stop.is_cancelled() {
            // The server may have closed its sessions before this one was in.
            shared.forget(&session);
            return Err(Rejection::Stopping);
        }
        answer.headers_mut().insert(header::SESSION_ID, header);
        Ok(answer)
    }

    /// Takes a notification or a response.
    async fn said(self, message: Message) -> Result<Response<Body>, Rejected> {
        let session = still_open(self.session).map_err(of_no_request)?;
        deliver(&self.shared, session, vec![message]).await;
        Ok(empty_response(StatusCode::ACCEPTED))
    }

    async fn batch(self, messages: Vec<Message>) -> Result<Response<Body>, Rejected> {
        let (mut requests, mut said) = (Vec::new(), Vec::new());
        for message in messages {
            match message {
                Message::Request(request) => requests.push(request),
                message => said.push(message),
            }
        }
        if requests.iter().any(|request| request.method() == method::INITIALIZE) {
            return Err((Rejection::BatchedInitialize, None));
        }
        let shared = self.shared;
        let session = still_open(self.session).map_err(of_no_request)?;
        if !session.revision.is_none_or(Revision::has_batches) {
            return Err((Rejection::Batch, None));
        }
        let session = deliver(&shared, session, said).await;
        if requests.is_empty() {
            return Ok(empty_response(StatusCode::ACCEPTED));
        }
        let exchanges: Vec<_> = requests
            .into_iter()
            .map(|request| shared.backend.call(&session.state, request, self.sender.caller()))
            .collect();
        drop(self.sender);
        let keep_alive = shared.settings.keep_alive;
        let calls = InCare::new(shared, Calls::many(exchanges), session);
        answer::answer(calls, self.form, Count::Several, keep_alive).await.map_err(of_no_request)
    }
}

/// The text, by itself where it is small: a slice of what its connection has
/// read would keep the whole of that, many times its size, until the answer.
fn apart(text: Bytes) -> Bytes {
    if text.len() <= SMALL { Bytes::copy_from_slice(&text) } else { text }
}

// === impl Sender ===

impl Sender {
    const fn caller(&self) -> Caller<'_> {
        Caller { headers: &self.headers, peer: self.peer }
    }
}

fn make_room<B: Backend>(shared: &Shared<B>) -> Option<Place> {
    let (place, evicted) = shared.table.reserve()?;
    if let Some(session) = evicted {
        tracing::debug!("an idle session makes room for another");
        shared.end(session).leave_to_task();
    }
    Some(place)
}

/// The session, unless it has ended while the body came.
fn still_open<B: Backend>(session: Result<InUse<B>, Rejection>) -> Result<InUse<B>, Rejection> {
    let session = session?;
    if session.has_ended() { Err(answer::gone(&session)) } else { Ok(session) }
}

const fn of_no_request(rejection: Rejection) -> Rejected {
    (rejection, None)
}

/// Gives the backend what wants no answer, one after the other, also when
/// the client does not wait for it: what was taken is taken.
async fn deliver<B: Backend>(
    shared: &Shared<B>,
    session: InUse<B>,
    said: Vec<Message>,
) -> InUse<B> {
    if said.is_empty() {
        return session;
    }
    let in_use = Arc::clone(session.session()).enter();
    let backend = Arc::clone(&shared.backend);
    let delivery = async move {
        for message in said {
            match message {
                Message::Notification(notification) => {
                    backend.notify(&in_use.state, notification).await;
                }
                Message::Response(response) => {
                    backend.respond(&in_use.state, response).await;
                }
                // Requests are calls.
                Message::Request(_) => {}
            }
        }
    };
    let ended = Arc::clone(session.session());
    let delivery = async move {
        tokio::select! {
            biased;
            () = delivery => {}
            () = ended.ended() => {}
        }
    };
    Carried::new(&shared.tasks, delivery).await;
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_keeps_nothing_of_what_its_connection_has_read_and_a_large_one_is_not_copied() {
        for (length, is_apart) in [(1, true), (SMALL, true), (SMALL + 1, false)] {
            let read = Bytes::from(vec![b' '; 8 * SMALL]);
            let text = apart(read.slice(..length));
            assert_eq!(text, read[..length]);
            assert_eq!(text.as_ptr() != read.as_ptr(), is_apart);
        }
    }
}
