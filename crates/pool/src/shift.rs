//! The owners from one drain to the next, and how they are brought to an end.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long owners have for their goodbyes at most, once they have been told
/// to stop, before those that still have not ended are dropped.
const LONGEST_GOODBYE: Duration = Duration::from_secs(30);

/// What an owner has beyond its own limit for the goodbye.
const MARGIN: Duration = Duration::from_secs(1);

/// Owners that are brought to an end together. Clones are the same shift.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shift {
    owners: TaskTracker,
    /// The owners of the shift that this one is a part of.
    all: Option<TaskTracker>,
    /// Nothing is begun any more.
    pub(crate) closing: CancellationToken,
    /// Every session ends now.
    pub(crate) stop: CancellationToken,
    /// Owners that have not ended are dropped.
    cut: CancellationToken,
}

/// While it is there the shift has not ended.
pub(crate) type Presence = tokio_util::task::task_tracker::TaskTrackerToken;

// === impl Shift ===

impl Shift {
    /// A part of this shift: it ends with it, or before.
    pub(crate) fn part(&self) -> Self {
        Self {
            owners: TaskTracker::new(),
            all: Some(self.owners.clone()),
            closing: self.closing.child_token(),
            stop: self.stop.child_token(),
            cut: self.cut.child_token(),
        }
    }

    /// To be taken before anything is begun that an owner is to end.
    pub(crate) fn presence(&self) -> [Presence; 2] {
        [self.owners.token(), self.all.as_ref().unwrap_or(&self.owners).token()]
    }

    pub(crate) fn spawn(&self, owner: impl Future<Output = ()> + Send + 'static, on: &Handle) {
        let (presence, cut) = (self.presence(), self.cut.clone());
        // Once in a box, and not once more for each future around it.
        let owner = Box::pin(owner);
        let owner = async move {
            // Dropped, it leaves its books in order as after any other end.
            cut.run_until_cancelled_owned(owner).await;
            drop(presence);
        };
        self.owners.spawn_on(owner, on);
    }

    /// Waits for the owners until `deadline`; then has them stop, and gives
    /// them as long as a `goodbye` may take; then drops them. One that blocks
    /// its thread is not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, whatever has been told remains told. May be called
    /// again, and at once by several: the first deadline counts.
    pub(crate) async fn end(&self, deadline: Instant, goodbye: Duration) {
        self.closing.cancel();
        self.owners.close();
        if timeout_at(deadline, self.owners.wait()).await.is_ok() {
            return;
        }
        self.stop.cancel();
        let farewell = goodbye.min(LONGEST_GOODBYE) + MARGIN;
        if timeout(farewell, self.owners.wait()).await.is_ok() {
            return;
        }
        tracing::warn!("owners of sessions did not end in time and are dropped");
        self.cut.cancel();
        let _ = timeout(MARGIN, self.owners.wait()).await;
    }
}
