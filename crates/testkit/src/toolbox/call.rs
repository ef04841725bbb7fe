//! A call under way in a server of the kit.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use serde::Serialize;
use wharf_proto::{
    Json, Message, Notification, ProgressToken, Response, Revision, Severity, method,
    server::Refusal, transport::Exchange,
};

use super::{
    offer::written,
    session::{Figures, Place, Session, Unwanted},
};

/// What a tool knows of the call it serves, and how it speaks before it
/// answers.
///
/// What it says goes out when the tool's own future is next polled, and
/// always before the answer.
pub struct Call<S> {
    state: Arc<S>,
    figures: Figures,
    session: Arc<Session>,
    token: Option<ProgressToken>,
    outbox: Outbox,
}

/// A call to a server of the kit, driven by whoever polls it.
#[derive(Debug)]
pub struct Answering(Stage);

#[derive(Debug)]
enum Stage {
    Answered(Option<Response>),
    Refused(Refusal),
    Running(Running),
}

/// What a tool has said and nobody has fetched yet. It is filled while the
/// tool's future is polled and emptied right after, so nobody needs waking.
#[derive(Debug, Clone, Default)]
struct Outbox(Arc<Mutex<VecDeque<Message>>>);

struct Running {
    work: Pin<Box<dyn Future<Output = Response> + Send>>,
    outbox: Outbox,
    entry: Option<(Place, Unwanted)>,
    answer: Option<Response>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    progress_token: Json,
    progress: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct LogLine<'a> {
    level: Severity,
    logger: &'a str,
    data: &'a str,
}

// === impl Call ===

impl<S> Call<S> {
    pub(super) fn new(
        state: Arc<S>,
        figures: Figures,
        session: Arc<Session>,
        token: Option<ProgressToken>,
    ) -> Self {
        Self { state, figures, session, token, outbox: Outbox::default() }
    }

    /// What the server keeps for all its calls.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// What the server has counted.
    #[must_use]
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Says how far the call has got, where the client wants to know.
    /// `message` is kept from clients of 2024-11-05, which has no such field.
    pub fn progress(&self, progress: u64, total: Option<u64>, message: &str) {
        let Some(token) = &self.token else { return };
        let has_message = self.session.revision() >= Revision::V2025_03_26;
        let params = written(&Progress {
            progress_token: token.to_json(),
            progress,
            total,
            message: has_message.then_some(message),
        });
        self.outbox.put(Notification::new(method::PROGRESS, Some(&params)));
    }

    /// Writes a line to the client's log, where the client wants lines of
    /// this severity.
    pub fn log(&self, level: Severity, logger: &str, text: &str) {
        if self.session.wants(level) {
            let params = written(&LogLine { level, logger, data: text });
            self.outbox.put(Notification::new(method::MESSAGE, Some(&params)));
        }
    }
}

impl<S> fmt::Debug for Call<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("token", &self.token).finish_non_exhaustive()
    }
}

// === impl Answering ===

impl Answering {
    pub(super) const fn answered(response: Response) -> Self {
        Self(Stage::Answered(Some(response)))
    }

    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self(Stage::Refused(refusal))
    }

    /// Runs `work`, which speaks through `call`, which it has been given.
    pub(super) fn running<S, W>(
        call: Call<S>,
        entry: Option<(Place, Unwanted)>,
        work: impl FnOnce(Call<S>) -> W,
    ) -> Self
    where
        W: Future<Output = Response> + Send + 'static,
    {
        let outbox = call.outbox.clone();
        Self(Stage::Running(Running { work: Box::pin(work(call)), outbox, entry, answer: None }))
    }
}

impl Exchange for Answering {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        let polled = match &mut self.0 {
            Stage::Answered(response) => {
                let response = response.take();
                let response = response.expect("an exchange is not polled after its answer");
                return Poll::Ready(Ok(response.into()));
            }
            Stage::Refused(refusal) => return Poll::Ready(Err(*refusal)),
            Stage::Running(running) => running.poll_next(cx),
        };
        if let Poll::Ready(Err(refusal)) = polled {
            // The work stops here and now, not when the exchange is dropped.
            self.0 = Stage::Refused(refusal);
        }
        polled
    }
}

// === impl Running ===

impl Running {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        if let Some((_, unwanted)) = &mut self.entry {
            // A cancellation that came before the answer was fetched wins.
            match Pin::new(unwanted).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Err(Refusal::Cancelled)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Refusal::SessionEnded)),
                Poll::Pending => {}
            }
        }
        if self.answer.is_none()
            && self.outbox.is_empty()
            && let Poll::Ready(answer) = self.work.as_mut().poll(cx)
        {
            self.answer = Some(answer);
        }
        if let Some(message) = self.outbox.take() {
            return Poll::Ready(Ok(message));
        }
        match self.answer.take() {
            Some(answer) => Poll::Ready(Ok(answer.into())),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("answer", &self.answer).finish_non_exhaustive()
    }
}

// === impl Outbox ===

impl Outbox {
    fn put(&self, message: impl Into<Message>) {
        self.lock().push_back(message.into());
    }

    fn take(&self) -> Option<Message> {
        self.lock().pop_front()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Message>> {
        self.0.lock().expect("no one panics while holding it")
    }
}
