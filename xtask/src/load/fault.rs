//! Making things go wrong.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use super::injection::Injections;
use crate::stage::Process;

/// How long an upstream runs between two restarts, and how long it is away.
const UP: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_millis(300);

/// Kills and restarts the upstreams in turn, until it is dropped.
///
/// # Errors
///
/// Where one does not come up again.
///
/// # Cancel safety
///
/// Dropped while an upstream is away, it leaves it so.
pub(super) async fn restart(upstreams: &mut [Process], injections: &Arc<Injections>) -> Result<()> {
    loop {
        for (server, upstream) in upstreams.iter_mut().enumerate() {
            sleep(UP).await;
            let number = injections.restarting(server);
            upstream.kill()?;
            sleep(AWAY).await;
            upstream.start_again().await?;
            injections.restarted(number);
        }
    }
}
