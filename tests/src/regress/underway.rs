//! What goes on beside a scenario, and the time it takes.
//!
//! The clock is paused: time passes only while every task waits, so that
//! [`settle`] means "until nothing more happens by itself".

use std::time::Duration;

use tokio::task::JoinSet;

/// Something that goes on in a task of its own. Dropping it gives it up.
#[derive(Debug)]
pub struct Underway<T> {
    task: JoinSet<T>,
    done: Option<T>,
}

/// Lets every task go on until all of them wait.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn settle() {
    pass(millis(1)).await;
}

/// Lets time pass, and everything happen that it brings.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// So many seconds.
#[must_use]
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many milliseconds.
#[must_use]
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// === impl Underway ===

impl<T: Send + 'static> Underway<T> {
    /// Starts it.
    pub fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(future);
        Self { task, done: None }
    }

    /// Whether it is done once everything has settled.
    ///
    /// # Panics
    ///
    /// Where it has.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn is_done(&mut self) -> bool {
        settle().await;
        if let Some(done) = self.task.try_join_next() {
            self.done = Some(done.expect("the task does not panic"));
        }
        self.done.is_some()
    }

    /// Waits for its outcome.
    ///
    /// # Panics
    ///
    /// Where it has.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives it up.
    pub async fn outcome(mut self) -> T {
        if let Some(done) = self.done.take() {
            return done;
        }
        let done = self.task.join_next().await.expect("there is one task");
        done.expect("the task does not panic")
    }
}
