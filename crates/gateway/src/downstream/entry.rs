//! A call in its client's book, for as long as it is under way.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use wharf_proto::RequestId;

use super::Downstream;
use crate::calls::Record;

/// A call's entry in its client's book: dropping it takes the entry out.
pub(crate) struct Entry {
    downstream: Arc<Downstream>,
    record: Record,
}

// === impl Entry ===

impl Entry {
    /// Enters a call, so that its client can cancel it.
    pub(crate) fn new(downstream: &Arc<Downstream>, id: &RequestId) -> Self {
        Self { downstream: Arc::clone(downstream), record: downstream.calls.enter(id) }
    }

    /// Whose call it is.
    pub(crate) const fn downstream(&self) -> &Arc<Downstream> {
        &self.downstream
    }

    /// Tells the client's calls apart, whatever ids it gives them.
    pub(crate) const fn number(&self) -> u64 {
        self.record.number
    }

    /// Polls for the client's cancellation.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.record.poll_cancelled(cx)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.downstream.calls.leave(&self.record);
    }
}
