//! One client's session: its stage, its outbox, and its calls.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use wharf_proto::Message;

/// How many messages may wait for a client that reads slowly. Its calls wait
/// for room beyond that, and nobody else's.
const OUTBOX: usize = 256;

/// And how many bytes of them. One message alone may be more.
const OUTBOX_BYTES: u32 = 1024 * 1024;

/// A session, from the opening of its stream to its end. Held by the
/// registry, its keeper and whoever is delivering a message to it; the stream
/// itself holds the other end of the outbox.
pub(super) struct Session<S> {
    outbox: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    /// For calls under way.
    places: Arc<Semaphore>,
    stage: Mutex<Stage<S>>,
    calls: TaskTracker,
    /// The calls among them that the client waits for.
    answers: TaskTracker,
    ended: CancellationToken,
}

/// A message on its way to the client, and the room that it takes meanwhile.
pub(super) struct Queued {
    pub(super) message: Message,
    pub(super) _room: OwnedSemaphorePermit,
}

/// Room for the calls of one POST.
pub(super) struct Places(OwnedSemaphorePermit);

/// Room for one call, from before it is taken until its answer is in the
/// outbox. Dropping it gives the room back.
pub(super) struct Place(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

enum Stage<S> {
    /// The client has not said `initialize` yet, or was refused.
    New,
    /// The backend is answering it.
    Opening,
    Open(Arc<S>),
    Closed,
}

// === impl Session ===

impl<S> Session<S> {
    pub(super) fn new(
        ended: CancellationToken,
        max_calls: usize,
    ) -> (Self, mpsc::Receiver<Queued>) {
        let (sender, outbox) = mpsc::channel(OUTBOX);
        let (calls, answers) = (TaskTracker::new(), TaskTracker::new());
        // Closed means that one can wait for it; tasks are still taken.
        calls.close();
        answers.close();
        let stage = Mutex::new(Stage::New);
        let room = Arc::new(Semaphore::new(OUTBOX_BYTES as usize));
        let places = Arc::new(Semaphore::new(max_calls.min(Semaphore::MAX_PERMITS)));
        let session = Self { outbox: sender, room, places, stage, calls, answers, ended };
        (session, outbox)
    }

    /// Is cancelled when the session ends, for whatever reason.
    pub(super) const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Keeps the session from being closed until the token is dropped. `None`
    /// where it has ended.
    pub(super) fn enter(&self) -> Option<TaskTrackerToken> {
        // In this order: the keeper waits for tokens after the end, so that
        // either it sees this one or this sees the end.
        let token = self.calls.token();
        (!self.ended.is_cancelled()).then_some(token)
    }

    /// Takes room for so many calls; `None` where too many are under way.
    pub(super) fn admit(&self, calls: usize) -> Option<Places> {
        let calls = u32::try_from(calls).ok()?;
        Arc::clone(&self.places).try_acquire_many_owned(calls).ok().map(Places)
    }

    /// The backend's session, once it is open.
    pub(super) fn backend(&self) -> Option<Arc<S>> {
        match &*self.stage() {
            Stage::Open(session) => Some(Arc::clone(session)),
            Stage::New | Stage::Opening | Stage::Closed => None,
        }
    }

    /// Takes the right to open the session; `false` where it is open or about
    /// to be.
    pub(super) fn begin_opening(&self) -> bool {
        let mut stage = self.stage();
        let is_new = matches!(*stage, Stage::New);
        if is_new {
            *stage = Stage::Opening;
        }
        is_new
    }

    /// Sets what the backend has made of `initialize`.
    pub(super) fn finish_opening(&self, session: Option<Arc<S>>) {
        *self.stage() = session.map_or(Stage::New, Stage::Open);
    }

    /// Takes what there is to close.
    pub(super) fn close(&self) -> Option<Arc<S>> {
        match std::mem::replace(&mut *self.stage(), Stage::Closed) {
            Stage::Open(session) => Some(session),
            Stage::New | Stage::Opening | Stage::Closed => None,
        }
    }

    /// Sends a message down the stream, when there is room; not once the
    /// session has ended.
    pub(super) async fn say(&self, message: impl Into<Message>) {
        let message = message.into();
        let bytes = u32::try_from(message.text().len()).unwrap_or(u32::MAX).min(OUTBOX_BYTES);
        let said = async {
            let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
            let room = room.expect("the semaphore is never closed");
            // An error means that the stream has gone, and the session ends.
            let _ = self.outbox.send(Queued { message, _room: room }).await;
        };
        tokio::select! {
            biased;
            () = said => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Runs a task that is dropped when the session ends.
    pub(super) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        S: Send + Sync + 'static,
    {
        let ended = self.ended.clone();
        self.calls.spawn(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                () = task => {}
            }
        })
    }

    /// Runs a call that the client waits for, and that is dropped when the
    /// session ends.
    pub(super) fn answer(
        self: &Arc<Self>,
        place: Place,
        call: impl Future<Output = ()> + Send + 'static,
    ) where
        S: Send + Sync + 'static,
    {
        self.spawn(self.answers.track_future(async move {
            let _place = place;
            call.await;
        }));
    }

    /// Waits until the client waits for no answer.
    pub(super) async fn wait_for_answers(&self) {
        self.answers.wait().await;
    }

    /// Runs a task that is left to finish when the session ends; only then is
    /// the session closed.
    pub(super) fn spawn_to_finish(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.calls.spawn(task);
    }

    /// Waits until no task runs and nobody delivers a message.
    pub(super) async fn wait_for_calls(&self) {
        self.calls.wait().await;
    }

    fn stage(&self) -> MutexGuard<'_, Stage<S>> {
        self.stage.lock().expect("no one panics while holding it")
    }
}

// === impl Places ===

impl Places {
    /// The room for one of the calls.
    pub(super) fn take(&mut self) -> Place {
        Place(self.0.split(1).expect("there is a place for each of the calls"))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use wharf_proto::{Json, Notification};

    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_slow_client_is_bounded_in_bytes() {
        let (session, mut outbox) = Session::<()>::new(CancellationToken::new(), 1);
        let text = |length| Json::parse(format!(r#"{{"text":"{}"}}"#, "x".repeat(length)));
        let half = text(OUTBOX_BYTES as usize / 2).expect("is JSON");
        let large = text(2 * OUTBOX_BYTES as usize).expect("is JSON");
        session.say(Notification::new("one", Some(&half))).await;
        let mut second = Box::pin(session.say(Notification::new("two", Some(&half))));
        assert!(poll!(&mut second).is_pending(), "there is more than half already");
        drop(outbox.recv().await);
        second.await;
        // What is larger than all the room waits until it is alone.
        let mut third = Box::pin(session.say(Notification::new("three", Some(&large))));
        assert!(poll!(&mut third).is_pending());
        drop(outbox.recv().await);
        third.await;
        assert!(outbox.recv().await.is_some());
    }
}
