//! The right to make calls on a session.

use std::{fmt, ops::Deref, sync::Arc};

use wharf_proto::transport::Link;

use crate::{CloseReason, Session, bucket::Bucket};

/// The right to make calls on a session. Derefs to the [`Session`]; dropping
/// it gives the right back, to the first who waits for it.
#[must_use = "dropping a lease gives it back"]
pub struct Lease<L: Link> {
    session: Session<L>,
    bucket: Arc<Bucket<L>>,
}

// === impl Lease ===

impl<L: Link> Lease<L> {
    pub(crate) fn new(bucket: Arc<Bucket<L>>, session: Session<L>) -> Self {
        Self { session, bucket }
    }

    /// Waits until the session is taken out of service: it ends with its last
    /// lease, so who keeps one for long is to give it back then, and to ask
    /// for another. A session that ends before that may never say so; see
    /// [`Session::closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn retiring(&self) -> CloseReason {
        self.session.usage().retiring.wait().await.clone()
    }
}

impl<L: Link> Deref for Lease<L> {
    type Target = Session<L>;

    fn deref(&self) -> &Session<L> {
        &self.session
    }
}

impl<L: Link> Drop for Lease<L> {
    fn drop(&mut self) {
        self.bucket.give_back(&self.session);
    }
}

impl<L: Link> fmt::Debug for Lease<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.session)
    }
}
