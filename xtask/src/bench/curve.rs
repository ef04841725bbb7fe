//! CPU per call, by how much Wharf holds besides.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use wharf_testkit::{
    SiteSettings, Toolbox, listen, serve,
    toolbox::{Content, Tool},
};

use super::{
    case::{Case, Wire},
    chart, crowd,
    lane::{Between, Lane, Paved},
    result::write,
    round::{Track, Turns},
};
use crate::stage::Stage;

/// A point of the curve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    held: Held,
    count: usize,
    /// In microseconds.
    cpu_per_call: f64,
    calls_per_second: f64,
}

/// What there is more and more of.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Held {
    /// Clients with a session each, and so as many keys and upstream sessions.
    Sessions,
    /// Tools in the catalogue of `/mcp`.
    Tools,
}

const USERS: usize = 50;

// === impl Held ===

impl Held {
    const fn label(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Tools => "tools",
        }
    }
}

/// Measures each count of each kind.
///
/// # Errors
///
/// Where something does not come up.
pub(super) async fn measure(
    stage: &Stage,
    counts: &[usize],
    turns: Turns,
    out: &Path,
) -> Result<()> {
    let mut points = Vec::new();
    for held in [Held::Sessions, Held::Tools] {
        for &count in counts {
            let track = match held {
                Held::Sessions => with_sessions(stage, count, turns).await?,
                Held::Tools => with_tools(stage, count, turns).await?,
            };
            let point = Point {
                held,
                count,
                cpu_per_call: track.cpu_per_call().as_secs_f64() * 1e6,
                calls_per_second: track.throughput(),
            };
            println!(
                "{:>7} {:<9} {:>7.1} µs of CPU per call, {:>7.0} calls/s",
                point.count,
                held.label(),
                point.cpu_per_call,
                point.calls_per_second
            );
            points.push(point);
        }
    }
    let bars: Vec<_> = points
        .iter()
        .map(|point| {
            let label = format!("{} {}", point.count, point.held.label());
            chart::Bar { label, value: point.cpu_per_call }
        })
        .collect();
    write(
        &out.join("curve.svg"),
        &chart::bars("CPU of Wharf, microseconds per call, by what it holds", &bars),
    )?;
    write(&out.join("curve.json"), &serde_json::to_string_pretty(&points)?)
}

async fn with_sessions(
    stage: &Stage,
    count: usize,
    turns: Turns,
) -> Result<super::round::Measured> {
    let upstream = stage.upstream("fast-test", &Wire::Json.flags_for_many()).await?;
    let paved = Lane::WharfClient.pave(stage, upstream.address(), Wire::Json).await?;
    crowd::open(&paved.url, count).await?;
    ride(paved, "echo", turns).await
}

async fn with_tools(stage: &Stage, count: usize, turns: Turns) -> Result<super::round::Measured> {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).context("no port is free")?;
    let address = listener.local_addr().context("a listener has no address")?;
    let mut serving = JoinSet::new();
    let backend = Arc::new(toolbox(count));
    serving.spawn(serve(listener, backend, SiteSettings::default(), std::future::pending()));
    let mut paved = Lane::WharfClient.pave(stage, address, Wire::Json).await?;
    if let Between::Wharf(gateway) = &paved.between {
        // All upstreams together, which is where the catalogue is.
        paved.url = format!("http://{}/mcp", gateway.process.address());
    }
    ride(paved, "bench__echo", turns).await
}

async fn ride(paved: Paved, tool: &'static str, turns: Turns) -> Result<super::round::Measured> {
    let case = Case { wire: Wire::Json, bytes: 16, users: USERS };
    let mut track = Track::new(paved, case, tool).await?;
    track.warm_up(case, turns).await?;
    for _ in 0..turns.rounds {
        track.turn(case, turns.length).await?;
    }
    Ok(track.measured)
}

/// A server of so many tools, of which the last is `echo`.
fn toolbox(count: usize) -> Toolbox<()> {
    #[derive(serde::Deserialize)]
    struct Echo {
        message: String,
    }
    let schema = || json!({ "type": "object", "properties": { "message": { "type": "string" } } });
    let echo = async |echo: Echo, _| Ok(Content::text(echo.message));
    let others = 1..count;
    let toolbox = others.fold(Toolbox::named("many", "1", ()), |toolbox, number| {
        toolbox.tool(Tool::new(format!("tool_{number}"), "One of many", schema()), echo)
    });
    toolbox.tool(Tool::new("echo", "Answers with the message", schema()), echo)
}
