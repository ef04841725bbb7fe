//! The progress tokens of tasks. A token is good until its call is answered;
//! that of a call which is answered with a task, until the task is over
//! (2025-11-25, progress).

use std::sync::{Arc, Mutex, MutexGuard};

use wharf_pool::{Call, Session};
use wharf_proto::{Json, Notification, ProgressToken, Request, Response, Text, method};

use crate::wire::WireLink;

/// How many tokens are kept: an upstream that never ends its tasks must not
/// pile them up. The oldest is forgotten first.
const MOST: usize = 256;

/// The tokens of one client's tasks, oldest first.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Vec<Token>>);

struct Token {
    /// The session whose token it is, by its number.
    session: u64,
    /// The upstream whose task it is, by its place among all.
    place: usize,
    upstreams: ProgressToken,
    clients: Json,
    /// `None` while the call is not answered.
    task: Option<Text>,
}

/// The token of a call that may become a task. Dropped before it has, the
/// token goes with it.
pub(crate) struct Pledge {
    tokens: Arc<Tokens>,
    session: u64,
    upstreams: ProgressToken,
}

// === impl Tokens ===

impl Tokens {
    /// Keeps the token of a call, where it has one and asks for a task.
    pub(crate) fn pledge(
        self: &Arc<Self>,
        place: usize,
        session: &Session<WireLink>,
        call: &Call<WireLink>,
        request: &Request,
    ) -> Option<Pledge> {
        let (upstreams, clients) = call.progress_token()?;
        request.param("task")?;
        let session = session.number();
        let mut all = self.lock();
        if all.len() >= MOST {
            all.remove(0);
        }
        let (upstreams, clients) = (upstreams.clone(), clients.to_json());
        all.push(Token { session, place, upstreams: upstreams.clone(), clients, task: None });
        drop(all);
        Some(Pledge { tokens: Arc::clone(self), session, upstreams })
    }

    /// Progress of a task as its client knows it. `None` where it is that of
    /// no task of this client's.
    pub(crate) fn translate(
        &self,
        session: &Session<WireLink>,
        progress: &Notification,
    ) -> Option<Notification> {
        let (told, part) = progress.progress_token()?;
        let all = self.lock();
        let token = all.iter().find(|token| token.is(session.number(), &told))?;
        Some(progress.replace(&part, &token.clients))
    }

    /// Learns from the answer to a request about a task that it is over.
    pub(crate) fn note(&self, place: usize, request: &Request, response: &Response) {
        let is_over = match request.method() {
            // It is answered when the task is over, and not before.
            method::TASKS_RESULT => true,
            method::TASKS_GET | method::TASKS_CANCEL => response.result().is_some_and(is_over),
            _ => return,
        };
        if is_over {
            self.end(place, request.param("taskId"));
        }
    }

    /// Learns from what an upstream says of a task that it is over.
    pub(crate) fn hear(&self, place: usize, status: &Notification) {
        if status.params().is_some_and(is_over) {
            self.end(place, status.param("taskId"));
        }
    }

    /// Forgets those of a session that has ended.
    pub(crate) fn forget_session(&self, session: &Session<WireLink>) {
        self.lock().retain(|token| token.session != session.number());
    }

    /// A task may be asked for on another session than it was made on, but at
    /// no other upstream.
    fn end(&self, place: usize, task: Option<Json>) {
        let Some(task) = task.and_then(|task| task.to_text()) else { return };
        self.lock().retain(|token| token.place != place || token.task.as_ref() != Some(&task));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Token>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Token ===

impl Token {
    fn is(&self, session: u64, upstreams: &ProgressToken) -> bool {
        self.session == session && self.upstreams == *upstreams
    }
}

// === impl Pledge ===

impl Pledge {
    /// The call is answered: with a task, if the token is to be kept.
    pub(crate) fn redeem(self, response: &Response) {
        let task = response.result().and_then(|result| result.path(&["task", "taskId"])?.to_text());
        let mut all = self.tokens.lock();
        let token = all.iter_mut().find(|token| token.is(self.session, &self.upstreams));
        if let Some(token) = token {
            // A text of its own: a part would keep the whole message.
            token.task = task.map(|task| task.as_str().into());
        }
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        let is_kept = |token: &Token| token.task.is_some();
        self.tokens
            .lock()
            .retain(|token| is_kept(token) || !token.is(self.session, &self.upstreams));
    }
}

/// Whether [`Tokens::note`] may learn from the answer that a task is over.
pub(crate) fn is_of_task(method: &str) -> bool {
    matches!(method, method::TASKS_RESULT | method::TASKS_GET | method::TASKS_CANCEL)
}

/// Whether a task's status is one that it stays in.
fn is_over(task: &Json) -> bool {
    let status = task.field("status").and_then(|status| status.to_text());
    matches!(status.as_deref(), Some("completed" | "failed" | "cancelled"))
}
