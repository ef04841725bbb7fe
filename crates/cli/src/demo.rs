//! `wharf demo`: the gateway at work, with nothing to configure.
//!
//! Two upstreams, a gateway before them and a client, all in this process and
//! on loopback. What the gateway is for is there to be seen: a first call
//! that opens a session, those after it that reuse it, and a call that
//! succeeds though its upstream has just been killed and restarted.

use anyhow::{Context as _, Result};
use wharf_testkit::TestClient;

use crate::args::DemoArgs;

mod report;
mod scenes;
mod stage;

use report::Report;
use stage::Stage;

/// Runs the demo.
///
/// # Errors
///
/// Where a call of it fails: the demo is a test of the whole, too.
pub(crate) async fn run(args: &DemoArgs) -> Result<()> {
    let mut stage = Stage::set().await.context("the demo could not be set up")?;
    let mut report = Report::default();
    report.begin(&stage.cast());

    let http =
        TestClient::connect_http(&stage.url("/mcp")).await.context("over streamable HTTP")?;
    scenes::calls(&mut stage, &mut report, "streamable HTTP", &http).await?;
    let sse = TestClient::connect_sse(&stage.url("/sse")).await.context("over HTTP+SSE")?;
    scenes::calls(&mut stage, &mut report, "HTTP+SSE", &sse).await?;
    scenes::many(&mut stage, &mut report, &http).await?;
    scenes::restart(&mut stage, &mut report, &http).await?;
    report.end();

    if args.keep {
        report.invite(&stage.url("/mcp"), &stage.admin("/admin/pool"));
        tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    }
    http.close().await;
    sse.close().await;
    stage.strike().await
}
