//! What a load test has found: a table, a JSON file, a page, and a picture.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::load::{Blame, GatewayFigures, Run};

mod page;
mod plot;
#[cfg(test)]
mod tests;

/// The JSON file. `schema/load-report.schema.json` says what it holds.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    runs: &'a [Run],
}

/// Raised when a reader of the last version would go wrong.
const VERSION: u32 = 2;

/// Writes the JSON file, the page, and the picture of its plots.
///
/// # Errors
///
/// Where they cannot be written.
pub(crate) fn write(runs: &[Run], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let save = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let json = serde_json::to_string_pretty(&Report { version: VERSION, runs });
    save("report.json", json.context("the report is JSON")?)?;
    save("report.html", page::draw(runs))?;
    save("report.svg", page::picture(runs))
}

/// A load and what has come of it, for people.
pub(crate) fn table(run: &Run) -> String {
    let mut text = String::new();
    for (name, value) in lines(run) {
        let _ = writeln!(text, "  {name:<22} {value}");
    }
    text
}

/// Every figure with its name.
fn lines(run: &Run) -> Vec<(&'static str, String)> {
    let latency = run.latency;
    let count = |blame| {
        let of = run.failures.iter().filter(|failures| failures.blame == blame);
        of.map(|failures| failures.count).sum::<u64>()
    };
    let fair = if run.fairness.holds() { "fair" } else { "UNFAIR" };
    let mut lines = vec![
        (
            "calls answered",
            format!("{} in {:.1} s, {:.0}/s", run.calls, run.seconds, run.calls_per_second),
        ),
        (
            "latency",
            format!(
                "p50 {}, p95 {}, p99 {}, max {} µs",
                latency.p50, latency.p95, latency.p99, latency.max
            ),
        ),
        (
            "failures",
            format!(
                "{} ours, {} injected, {} the upstream's",
                count(Blame::Ours),
                count(Blame::Injected),
                count(Blame::Upstream)
            ),
        ),
        (
            "sessions of the users",
            format!("{} opened, {} times reused", run.sessions.opened, run.sessions.reused),
        ),
        ("given up on purpose", run.vanished.to_string()),
        (
            "calls of a user",
            format!("slowest {}, median {}: {fair}", run.fairness.slowest, run.fairness.median),
        ),
    ];
    if let Some(gateway) = &run.gateway {
        lines.extend(gateway_lines(gateway));
    }
    for failures in &run.failures {
        let whose = match failures.blame {
            Blame::Ours => "  OURS",
            Blame::Injected => "  injected",
            Blame::Upstream => "  the upstream's",
        };
        lines.push((whose, format!("{} x {}", failures.count, failures.what)));
    }
    lines
}

/// What the load cost the gateway, and what it left in it.
fn gateway_lines(gateway: &GatewayFigures) -> [(&'static str, String); 2] {
    let held = gateway.held_after;
    let cost = format!(
        "{:.1} µs of CPU per call, {:.1} MiB at its peak, {} threads",
        gateway.cpu_per_call,
        gateway.peak_memory as f64 / f64::from(1 << 20),
        gateway.threads
    );
    let left = format!(
        "{} sessions, {} leases, {} waiters, {} clients; sockets {} (before: {}), tasks {} (before: {}); ended {}",
        held.open + held.opening + held.closing,
        held.leases,
        held.waiters,
        held.clients,
        gateway.sockets_after,
        gateway.sockets_before,
        held.tasks,
        gateway.tasks_before,
        if gateway.ended_well { "well" } else { "BADLY" }
    );
    [("the gateway", cost), ("left afterwards", left)]
}
