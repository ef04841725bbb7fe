//! From a client's message to the backend, and from the backend to the
//! client's stream.

use std::sync::Arc;

use wharf_proto::{
    ErrorObject, Json, Message, Request, Response, code, method,
    server::{Backend, Caller, Refusal},
    transport::{Exchange, Feed},
};

use super::{
    Sender, Shared,
    session::{Place, Places, Session},
};

// === impl Shared ===

impl<B: Backend> Shared<B> {
    /// Hands a message on. What it leads to is done by tasks of the session,
    /// in the places that there are for the calls among its fellows.
    pub(super) async fn deliver(
        self: &Arc<Self>,
        session: &Arc<Session<B::Session>>,
        message: Message,
        places: &mut Places,
        sender: &Sender,
    ) {
        match message {
            Message::Request(hello) if hello.method() == method::INITIALIZE => {
                self.initialize(session, hello, places.take(), sender).await;
            }
            Message::Request(request) => {
                self.call(session, request, places.take(), sender).await;
            }
            Message::Notification(notification) => {
                self.tell(session, |backend, open| async move {
                    backend.notify(&open, notification).await;
                })
                .await;
            }
            Message::Response(response) => {
                self.tell(session, |backend, open| async move {
                    backend.respond(&open, response).await;
                })
                .await;
            }
        }
    }

    /// Opens the backend's session. Never given up half-way: a session that
    /// was opened for a client that has left is closed like any other.
    async fn initialize(
        self: &Arc<Self>,
        session: &Arc<Session<B::Session>>,
        hello: Request,
        place: Place,
        sender: &Sender,
    ) {
        if !session.begin_opening() {
            session.say(invalid(&hello, "the session is initialized already")).await;
            return;
        }
        let (shared, opening) = (Arc::clone(self), Arc::clone(session));
        let (headers, peer) = (sender.headers.clone(), sender.peer);
        session.spawn_to_finish(async move {
            let caller = Caller { headers: &headers, peer };
            let opened = shared.backend.open(hello, caller).await;
            // Before the client can know: its next message may come at once.
            opening.finish_opening(opened.session.clone());
            opening.say(opened.response).await;
            drop(place);
            if let Some(open) = opened.session {
                opening.spawn(forward(Arc::clone(&opening), shared.backend.listen(&open)));
            }
        });
    }

    async fn call(
        &self,
        session: &Arc<Session<B::Session>>,
        request: Request,
        place: Place,
        sender: &Sender,
    ) {
        let Some(open) = session.backend() else {
            // A ping is the one request that may come this early (2024-11-05,
            // lifecycle, initialization), and there is nobody else to answer.
            let answer = if request.method() == method::PING {
                Response::success(request.id(), &Json::empty_object())
            } else {
                invalid(&request, "the session is not initialized")
            };
            session.say(answer).await;
            return;
        };
        let caller = Caller { headers: &sender.headers, peer: sender.peer };
        let exchange = self.backend.call(&open, request, caller);
        // Boxed, since each that it is wrapped in would have room for it twice.
        session.answer(place, Box::pin(carry(Arc::clone(session), exchange)));
    }

    /// Lets the backend take a message that wants no answer, and waits until
    /// it has, so that a client can rely on the order of what it sends. In a
    /// task, for a client that goes away must not cut it short.
    async fn tell<F>(
        &self,
        session: &Arc<Session<B::Session>>,
        take: impl FnOnce(Arc<B>, Arc<B::Session>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(open) = session.backend() else {
            tracing::debug!("dropped a message that came before initialization");
            return;
        };
        let taken = session.spawn(take(Arc::clone(&self.backend), open));
        if let Err(panic) = taken.await {
            tracing::error!(error = %panic, "the backend failed to take a message");
        }
    }
}

/// Carries what a call yields to the client.
async fn carry<S, E>(session: Arc<Session<S>>, mut exchange: E)
where
    E: Exchange<Error = Refusal>,
{
    loop {
        match exchange.next().await {
            Ok(answer @ Message::Response(_)) => return session.say(answer).await,
            Ok(message) => session.say(message).await,
            Err(Refusal::Cancelled) => return,
            Err(Refusal::SessionEnded) => return session.ended().cancel(),
        }
    }
}

/// Carries what the backend says unasked to the client.
async fn forward<S, F>(session: Arc<Session<S>>, mut feed: F)
where
    F: Feed<End = Refusal>,
{
    while let Ok(message) = feed.next().await {
        session.say(message).await;
    }
    session.ended().cancel();
}

fn invalid(request: &Request, why: &str) -> Response {
    let error = ErrorObject::new(code::INVALID_REQUEST, why);
    Response::failure(Some(request.id()), &error)
}
