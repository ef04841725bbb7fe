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
    lane::{Between, Lane},
    result::write,
    round::{Track, Turns},
};
use crate::stage::{Process, Stage};

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

/// A gateway that holds so much, with users on the way through it.
struct Site {
    held: Held,
    count: usize,
    track: Track,
    _server: Server,
}

/// What answers behind a gateway, until it is dropped.
enum Server {
    Process(#[expect(dead_code, reason = "held for its Drop")] Process),
    Here(#[expect(dead_code, reason = "held for its Drop")] JoinSet<std::io::Result<()>>),
}

const CASE: Case = Case { wire: Wire::Json, bytes: 16, users: 50 };

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
        let mut sites = Vec::new();
        for &count in counts {
            sites.push(Site::set(stage, held, count).await?);
        }
        // Once all are there: connections that nobody uses meanwhile are not kept.
        for site in &sites {
            site.track.warm_up(CASE, turns).await?;
        }
        for _ in 0..turns.rounds {
            for site in &mut sites {
                site.track.turn(CASE, turns.length).await?;
            }
        }
        points.extend(sites.iter().map(Site::point).inspect(show));
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

fn show(point: &Point) {
    println!(
        "{:>7} {:<9} {:>7.1} µs of CPU per call, {:>7.0} calls/s",
        point.count,
        point.held.label(),
        point.cpu_per_call,
        point.calls_per_second
    );
}

// === impl Site ===

impl Site {
    async fn set(stage: &Stage, held: Held, count: usize) -> Result<Self> {
        match held {
            Held::Sessions => Self::with_sessions(stage, count).await,
            Held::Tools => Self::with_tools(stage, count).await,
        }
    }

    async fn with_sessions(stage: &Stage, count: usize) -> Result<Self> {
        let upstream = stage.upstream("fast-test", &Wire::Json.flags_for_many()).await?;
        let paved = Lane::WharfClient.pave(stage, upstream.address(), Wire::Json).await?;
        crowd::open(&paved.url, count).await?;
        let track = Track::new(paved, CASE, "echo").await?;
        Ok(Self { held: Held::Sessions, count, track, _server: Server::Process(upstream) })
    }

    async fn with_tools(stage: &Stage, count: usize) -> Result<Self> {
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
        let track = Track::new(paved, CASE, "bench__echo").await?;
        Ok(Self { held: Held::Tools, count, track, _server: Server::Here(serving) })
    }

    fn point(&self) -> Point {
        let measured = &self.track.measured;
        Point {
            held: self.held,
            count: self.count,
            cpu_per_call: measured.cpu_per_call().as_secs_f64() * 1e6,
            calls_per_second: measured.throughput(),
        }
    }
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
