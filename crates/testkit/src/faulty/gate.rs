//! What holds answers until a test lets them go.

use std::{fmt, sync::Arc};

use tokio::sync::Semaphore;

/// Holds answers back: see [`Fault::Held`](super::Fault::Held). Clones are the
/// same gate.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

// === impl Gate ===

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one answer through: the one that has waited longest, or the next
    /// that comes.
    pub fn release(&self) {
        self.0.add_permits(1);
    }

    /// Lets all through that wait, and all that come.
    pub fn open(&self) {
        self.0.close();
    }

    pub(super) async fn pass(&self) {
        // An error says that it is open.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.0.is_closed()).finish()
    }
}
