//! What the connections of an upstream share.

use std::{
    future::Future,
    mem,
    sync::{Arc, Mutex},
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    FaultySettings, Script,
    life::{Command, Order},
    record::Record,
    session::Sessions,
};

/// What outlives a crash, and the tasks, which do not.
pub(super) struct Shared {
    pub(super) script: Script,
    pub(super) settings: FaultySettings,
    pub(super) record: Record,
    pub(super) sessions: Sessions,
    tasks: Mutex<JoinSet<()>>,
    /// Weak, so that the thread ends with the handle.
    commands: mpsc::WeakUnboundedSender<Command>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        script: Script,
        settings: FaultySettings,
        commands: mpsc::WeakUnboundedSender<Command>,
    ) -> Arc<Self> {
        let record = Record::new();
        let sessions = Sessions::new(record.clone());
        Arc::new(Self { script, settings, record, sessions, tasks: Mutex::default(), commands })
    }

    /// Runs a task until it ends or the upstream dies.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("no one panics while holding it");
        // A set keeps what has ended until somebody asks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends all tasks, and with them their connections.
    pub(super) async fn end_tasks(&self) {
        let tasks = mem::take(&mut *self.tasks.lock().expect("no one panics while holding it"));
        { tasks }.shutdown().await;
    }

    /// Has the upstream die under the task that asks for it.
    pub(super) async fn die(&self, order: Order) {
        if let Some(commands) = self.commands.upgrade() {
            // Where nobody listens the thread has ended, and this task with it.
            let _ = commands.send(Command { order, done: None });
        }
        std::future::pending().await
    }
}
