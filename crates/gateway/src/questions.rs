//! What upstreams have asked one client and it has not answered yet.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use wharf_pool::Session;
use wharf_proto::{Json, Notification, ProgressToken, Request, RequestId, Response};

use crate::wire::WireLink;

/// How many questions may be open at once: an upstream that asks and a client
/// that does not answer must not pile them up.
const MOST: usize = 1024;

/// The open questions of one client, each under an id of the gateway's own.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<u64, Question>,
    last: u64,
}

/// Who waits for the client's answer, and under which names.
struct Question {
    session: Session<WireLink>,
    id: RequestId,
    /// The upstream's own token, where it wants to hear of progress.
    token: Option<Json>,
    asker: Asker,
}

/// In relation to what a client is asked something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A call of the client's, by its number.
    Call(u64),
    /// Nothing that the client has asked.
    Unasked,
}

// === impl Questions ===

impl Questions {
    /// The request as the client is asked it: under an id, and where it has
    /// one a progress token, that are the gateway's own. `None` where too many
    /// are open.
    pub(crate) fn ask(
        &self,
        session: &Session<WireLink>,
        request: &Request,
        asker: Asker,
    ) -> Option<Request> {
        let token = request.progress_token().map(|(_, part)| part);
        let mut table = self.lock();
        if table.open.len() >= MOST {
            // Some may be of sessions whose end nobody has told.
            table.open.retain(|_, question| !question.session.is_closed());
        }
        if table.open.len() >= MOST {
            return None;
        }
        table.last += 1;
        let number = table.last;
        let (session, id) = (session.clone(), request.id().clone());
        table.open.insert(number, Question { session, id, token: token.clone(), asker });
        drop(table);
        let mut rewrite = request.rewrite().id(RequestId::from(number));
        if let Some(token) = token {
            rewrite = rewrite.replace(&token, &ProgressToken::from(number).to_json());
        }
        Some(rewrite.finish())
    }

    /// The answer as the upstream that asked gets it, and the session that it
    /// waits on. `None` for an answer to what nobody asked.
    pub(crate) fn answer(&self, response: Response) -> Option<(Session<WireLink>, Response)> {
        let number = response.id().and_then(RequestId::as_u64)?;
        let question = self.lock().open.remove(&number)?;
        Some((question.session, response.with_id(&question.id)))
    }

    /// The client's progress with an answer, as the upstream that asked gets
    /// it. `None` where it is about nothing that is open.
    pub(crate) fn progress(
        &self,
        said: &Notification,
    ) -> Option<(Session<WireLink>, Notification)> {
        let (token, part) = said.progress_token()?;
        let table = self.lock();
        let question = table.open.get(&token.as_u64()?)?;
        let theirs = question.token.as_ref()?;
        Some((question.session.clone(), said.replace(&part, theirs)))
    }

    /// What the client is told when an upstream takes a question back.
    pub(crate) fn taken_back(
        &self,
        session: &Session<WireLink>,
        cancelled: &Notification,
    ) -> Option<Notification> {
        let id = cancelled.cancelled_id()?;
        let part = cancelled.param("requestId")?;
        let mut table = self.lock();
        let (number, _) = table
            .open
            .iter()
            .find(|(_, asked)| asked.id == id && asked.session.is_same(session))?;
        let number = *number;
        // Nobody waits for its answer any more.
        table.open.remove(&number);
        Some(cancelled.replace(&part, &RequestId::from(number).to_json()))
    }

    /// Forgets what was asked in a call that is over.
    pub(crate) fn forget_call(&self, call: u64) {
        self.lock().open.retain(|_, question| question.asker != Asker::Call(call));
    }

    /// Forgets what was asked on a session that has ended.
    pub(crate) fn forget_session(&self, session: &Session<WireLink>) {
        self.lock().open.retain(|_, question| !question.session.is_same(session));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("nothing panics while holding it")
    }
}
