//! Work that is done whether or not somebody waits for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is carried to its end: whoever awaits it drives it, and if
/// they go away, or never come, a task does. On the usual way there is no
/// task.
pub(super) struct Carried {
    work: Option<Work>,
    tasks: TaskTracker,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Carried ===

impl Carried {
    pub(super) fn new(
        tasks: &TaskTracker,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { work: Some(Box::pin(work)), tasks: tasks.clone() }
    }

    /// Does not wait for it.
    pub(super) fn leave_to_task(self) {
        drop(self);
    }
}

impl Future for Carried {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Taken out for the poll: work that panics is not taken up again.
        let Some(mut work) = self.work.take() else {
            return Poll::Ready(());
        };
        let done = work.as_mut().poll(cx);
        if done.is_pending() {
            self.work = Some(work);
        }
        done
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            spawn(&self.tasks, work);
        }
    }
}

/// Spawns a task from where there may be no runtime any more: a stream can be
/// dropped after it.
pub(super) fn spawn(tasks: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        tasks.spawn_on(work, &runtime);
    }
}
