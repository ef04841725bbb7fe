//! A caller's place in the line of a bucket.

use std::sync::Arc;

use tokio::sync::oneshot;
use wharf_proto::transport::Link;

use crate::{AcquireError, Lease, OpenError, bucket::Bucket, line::Grant};

/// A place in the line. Dropping it leaves the line, and gives back what had
/// been granted meanwhile.
pub(crate) struct Ticket<L: Link> {
    bucket: Arc<Bucket<L>>,
    granted: oneshot::Receiver<Grant<L>>,
}

// === impl Ticket ===

impl<L: Link> Ticket<L> {
    pub(super) const fn new(bucket: Arc<Bucket<L>>, granted: oneshot::Receiver<Grant<L>>) -> Self {
        Self { bucket, granted }
    }

    pub(crate) async fn granted(&mut self) -> Result<Lease<L>, AcquireError> {
        let session = (&mut self.granted).await.unwrap_or(Err(OpenError::OwnerGone.into()))?;
        Ok(Lease::new(Arc::clone(&self.bucket), session))
    }
}

impl<L: Link> Drop for Ticket<L> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(Ok(session)) = self.granted.try_recv() {
            self.bucket.give_back(&session);
        }
    }
}
