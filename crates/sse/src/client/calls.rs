//! Who waits for what on one link.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wharf_proto::{
    Message, ProgressToken, Request, RequestId, Response,
    transport::{CallError, EndReason, Fault},
};

/// How much of its progress may wait for a call that is not polled. What is
/// beyond that is dropped: a later word says more, and the stream is not to
/// wait, for it is that of all calls.
const PROGRESS: usize = 256;

/// The calls under way on one link, and the link's end. Shared by the link,
/// its exchanges and its feed; locked for single look-ups only.
#[derive(Default)]
pub(super) struct Calls {
    table: Mutex<Table>,
    end: OnceLock<EndReason>,
    ended: CancellationToken,
}

/// A call's place among those that wait. Dropping it gives the place up.
pub(super) struct Seat {
    calls: Arc<Calls>,
    id: RequestId,
    inbox: mpsc::Receiver<Delivery>,
}

/// What the stream has for a call.
type Delivery = Result<Message, CallError>;

#[derive(Default)]
struct Table {
    waiting: HashMap<RequestId, Waiting>,
    by_token: HashMap<ProgressToken, RequestId>,
}

struct Waiting {
    inbox: mpsc::Sender<Delivery>,
    /// Room for the end of the call, whatever else is in its inbox.
    end: mpsc::OwnedPermit<Delivery>,
    token: Option<ProgressToken>,
}

/// Two calls of one id could not be told apart when the answer comes.
#[derive(Debug, thiserror::Error)]
#[error("the id of the request belongs to another call under way")]
struct IdInUse;

// === impl Calls ===

impl Calls {
    /// Gives a call its place.
    pub(super) fn seat(self: &Arc<Self>, request: &Request) -> Result<Seat, CallError> {
        let token = request.progress_token().map(|(token, _)| token);
        let id = request.id().clone();
        let mut table = self.table();
        // Under the lock, which the end takes after it has said why.
        if let Some(reason) = self.end.get() {
            return Err(CallError::not_sent(Fault::Ended(reason.clone())));
        }
        let (sender, inbox) = mpsc::channel(PROGRESS + 1);
        let end = sender.clone().try_reserve_owned().expect("nobody has sent anything yet");
        match table.waiting.entry(id.clone()) {
            Entry::Occupied(_) => {
                return Err(CallError::not_sent(Fault::Broken { source: IdInUse.into() }));
            }
            Entry::Vacant(entry) => {
                entry.insert(Waiting { inbox: sender, end, token: token.clone() })
            }
        };
        if let Some(token) = token {
            table.by_token.insert(token, id.clone());
        }
        drop(table);
        Ok(Seat { calls: Arc::clone(self), id, inbox })
    }

    /// Gives a message to the call it belongs to. Comes back with it where it
    /// belongs to none because it is said unasked.
    pub(super) fn route(&self, message: Message) -> Option<Message> {
        match message {
            Message::Response(response) => {
                self.answer(response);
                None
            }
            Message::Notification(notification) => {
                let Some((token, _)) = notification.progress_token() else {
                    return Some(notification.into());
                };
                let table = self.table();
                let call = table.by_token.get(&token).and_then(|id| table.waiting.get(id));
                // Of a call that is over it is said unasked: of its task, if
                // it has become one.
                let Some(call) = call else { return Some(notification.into()) };
                if call.inbox.try_send(Ok(notification.into())).is_err() {
                    tracing::debug!(?token, "dropped progress that its call does not take");
                }
                None
            }
            request @ Message::Request(_) => Some(request),
        }
    }

    /// Fails the call of that id, if it is under way.
    pub(super) fn fail(&self, id: &RequestId, error: CallError) -> bool {
        let Some(call) = self.table().remove(id) else {
            return false;
        };
        let is_waited_for = !call.inbox.is_closed();
        call.end.send(Err(error));
        is_waited_for
    }

    /// Ends the link: no call begins any more, and those under way fail.
    /// Returns why it ended, which is what was said first.
    pub(super) fn end(&self, reason: EndReason) -> EndReason {
        let reason = self.end.get_or_init(|| reason).clone();
        let over = std::mem::take(&mut *self.table());
        // Outside of the lock: this wakes every call.
        drop(over);
        self.ended.cancel();
        reason
    }

    /// Why the link has ended, once it has. An atomic load.
    pub(super) fn end_reason(&self) -> Option<EndReason> {
        self.end.get().cloned()
    }

    /// Is cancelled when the link ends.
    pub(super) const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn answer(&self, response: Response) {
        let Some(id) = response.id() else {
            tracing::debug!("dropped a response without an id");
            return;
        };
        let Some(call) = self.table().remove(id) else {
            tracing::debug!(%id, "dropped the answer to a call that is not under way");
            return;
        };
        call.end.send(Ok(response.into()));
    }

    fn leave(&self, id: &RequestId) {
        let mut table = self.table();
        // An answered call has left already, and its id may be another's.
        let is_own = |call: &Waiting| call.inbox.is_closed();
        if table.waiting.get(id).is_some_and(is_own) {
            table.remove(id);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no one panics while holding it")
    }
}

// === impl Table ===

impl Table {
    fn remove(&mut self, id: &RequestId) -> Option<Waiting> {
        let call = self.waiting.remove(id)?;
        if let Some(token) = &call.token
            && self.by_token.get(token) == Some(id)
        {
            self.by_token.remove(token);
        }
        Some(call)
    }
}

// === impl Seat ===

impl Seat {
    /// Polls for what the stream has for the call. `None` once the link has
    /// ended and everything before that was taken.
    pub(super) fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.inbox.poll_recv(cx)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.inbox.close();
        self.calls.leave(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;
    use wharf_proto::Json;

    use super::*;

    fn request(id: u64, token: u64) -> Request {
        let params = format!(r#"{{"_meta":{{"progressToken":{token}}}}}"#);
        let params = Json::parse(params).expect("JSON");
        Request::new(&id.into(), "tools/call", Some(&params))
    }

    fn message(text: &str) -> Message {
        Message::parse(text.to_owned()).expect("a message")
    }

    fn taken(seat: &mut Seat) -> Option<Delivery> {
        match seat.poll_delivery(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(delivery) => delivery,
            Poll::Pending => panic!("nothing was delivered"),
        }
    }

    #[test]
    fn a_dropped_seat_leaves_nothing_behind() {
        let calls = Arc::new(Calls::default());
        drop(calls.seat(&request(1, 7)).expect("seated"));
        let table = calls.table();
        assert!(table.waiting.is_empty());
        assert!(table.by_token.is_empty());
    }

    #[test]
    fn progress_goes_to_the_call_that_asked_for_it_and_is_unasked_after_it() {
        let calls = Arc::new(Calls::default());
        let mut first = calls.seat(&request(1, 7)).expect("seated");
        let _second = calls.seat(&request(2, 8)).expect("seated");
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
        assert!(calls.route(message(progress)).is_none());
        assert!(matches!(taken(&mut first), Some(Ok(Message::Notification(_)))));
        drop(first);
        assert!(calls.route(message(progress)).is_some());
    }

    #[test]
    fn progress_that_is_not_taken_is_dropped_and_the_answer_is_not() {
        let calls = Arc::new(Calls::default());
        let mut seat = calls.seat(&request(1, 7)).expect("seated");
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
        for _ in 0..2 * PROGRESS {
            calls.route(message(progress));
        }
        calls.route(message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        for _ in 0..PROGRESS {
            assert!(matches!(taken(&mut seat), Some(Ok(Message::Notification(_)))));
        }
        assert!(matches!(taken(&mut seat), Some(Ok(Message::Response(_)))));
    }

    #[test]
    fn the_id_of_a_call_under_way_is_refused_to_another() {
        let calls = Arc::new(Calls::default());
        let mut first = calls.seat(&request(1, 7)).expect("seated");
        assert!(calls.seat(&request(1, 8)).is_err());
        calls.route(message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        assert!(matches!(taken(&mut first), Some(Ok(Message::Response(_)))));
    }

    #[test]
    fn an_answered_call_does_not_take_the_seat_of_a_later_one() {
        let calls = Arc::new(Calls::default());
        let first = calls.seat(&request(1, 7)).expect("seated");
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        calls.route(message(answer));
        let mut second = calls.seat(&request(1, 7)).expect("the id is free");
        drop(first);
        calls.route(message(answer));
        assert!(matches!(taken(&mut second), Some(Ok(Message::Response(_)))));
    }

    #[test]
    fn the_first_reason_of_an_end_is_the_reason() {
        let calls = Arc::new(Calls::default());
        let mut seat = calls.seat(&request(1, 7)).expect("seated");
        calls.end(EndReason::SessionGone);
        assert!(matches!(calls.end(EndReason::Closed), EndReason::SessionGone));
        assert!(taken(&mut seat).is_none());
        assert!(calls.seat(&request(2, 8)).is_err());
    }
}
