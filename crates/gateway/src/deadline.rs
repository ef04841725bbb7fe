//! When a time is up.

use std::time::Duration;

use tokio::time::Instant;

/// So long that it makes no difference: nobody waits for it.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// When `limit` from now is. A time too long to add is no limit.
pub(crate) fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_time_too_long_to_add_is_no_limit() {
        assert_eq!(after(Duration::from_secs(1)), Instant::now() + Duration::from_secs(1));
        assert!(after(Duration::MAX) >= Instant::now() + FOREVER);
    }
}
