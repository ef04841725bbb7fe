//! Memory of sessions that nobody uses: a client's session with Wharf, and Wharf's with the upstream for it.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::{case::Wire, crowd, lane::Lane, result::write};
use crate::{
    stage::Stage,
    vitals::{Vitals, kernel_socket_memory},
};

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Idle {
    pairs: usize,
    resident_before: u64,
    resident_after: u64,
    bytes_per_pair: f64,
    /// Open in Wharf.
    sockets: u64,
    /// Of all processes, in bytes.
    kernel_sockets: u64,
}

/// Sessions before the count begins, so that what is allocated once is not counted, and what a few large pages have room
/// for is no great part of what is.
const WARM_UP: usize = 5000;

/// Opens pairs of sessions, lets them be, and weighs them.
///
/// # Errors
///
/// Where something does not come up.
pub(super) async fn measure(stage: &Stage, pairs: usize, out: &Path) -> Result<()> {
    let upstream = stage.upstream("fast-test", &Wire::Json.flags_for_many()).await?;
    let wharf = Lane::WharfClient.pave(stage, upstream.address(), Wire::Json).await?;
    let pid = wharf.pid().expect("Wharf is a process");
    crowd::open(&wharf.url, WARM_UP).await?;
    let before = Vitals::of(pid)?;
    crowd::open(&wharf.url, pairs).await?;
    // What is under way is over by then.
    sleep(Duration::from_secs(1)).await;
    let after = Vitals::of(pid)?;
    let idle = Idle {
        pairs,
        resident_before: before.resident,
        resident_after: after.resident,
        bytes_per_pair: after.resident.saturating_sub(before.resident) as f64 / pairs as f64,
        sockets: after.sockets,
        kernel_sockets: kernel_socket_memory(),
    };
    println!(
        "{} idle pairs of sessions: {:.0} bytes resident each ({} before, {} after), {} sockets; sockets take {} bytes in the kernel",
        idle.pairs,
        idle.bytes_per_pair,
        idle.resident_before,
        idle.resident_after,
        idle.sockets,
        idle.kernel_sockets
    );
    write(&out.join("idle.json"), &serde_json::to_string_pretty(&idle)?)
}
