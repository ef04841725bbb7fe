//! What was measured, as a table, a JSON file and a plot.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    case::Case,
    chart,
    lane::Lane,
    round::{CaseResult, Measured},
};

/// A case as the JSON file has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CaseRow {
    #[serde(flatten)]
    case: Case,
    lanes: Vec<LaneRow>,
}

/// One way in one case. Times are in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LaneRow {
    pub(super) lane: Lane,
    calls: u64,
    pub(super) per_second: f64,
    p50: f64,
    p99: f64,
    added_p50: f64,
    added_p99: f64,
    pub(super) cpu_per_call: f64,
    /// This way's CPU per call, by that of the bare proxy.
    pub(super) cpu_ratio: Option<f64>,
    /// This way's added p50, by that of the bare proxy.
    p50_ratio: Option<f64>,
}

/// Writes the JSON file and the plot.
///
/// # Errors
///
/// Where they cannot be written.
pub(super) fn publish(results: &[CaseResult], out: &Path) -> Result<()> {
    let cases: Vec<_> =
        results.iter().map(|result| CaseRow { case: result.case, lanes: rows(result) }).collect();
    let json = serde_json::to_string_pretty(&cases).context("the rows are JSON")?;
    write(&out.join("bench.json"), &json)?;
    let charted: Vec<_> = results.iter().map(|result| (result.case, rows(result))).collect();
    write(&out.join("bench.svg"), &chart::draw(&charted))
}

/// A case as a table for people.
pub(super) fn table(result: &CaseResult) -> String {
    let mut text = format!(
        "  {:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}\n",
        "way", "calls/s", "p50 µs", "p99 µs", "+p50", "+p99", "CPU µs", "CPU x", "p50 x"
    );
    let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
    for row in rows(result) {
        let _ = writeln!(
            text,
            "  {:<28} {:>9.0} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>6} {:>6}",
            row.lane.label(),
            row.per_second,
            row.p50,
            row.p99,
            row.added_p50,
            row.added_p99,
            row.cpu_per_call,
            ratio(row.cpu_ratio),
            ratio(row.p50_ratio),
        );
    }
    text
}

fn rows(result: &CaseResult) -> Vec<LaneRow> {
    let of = |lane| result.lanes.iter().find(|measured| measured.lane == lane);
    let (straight, bare) = (of(Lane::Straight), of(Lane::BareProxy));
    let row = |measured: &Measured| {
        let added = |measured: &Measured, quantile| {
            straight.map_or(0.0, |straight| {
                micros(measured.quantile(quantile)) - micros(straight.quantile(quantile))
            })
        };
        let against = |of: &dyn Fn(&Measured) -> f64| {
            let bare = bare.filter(|_| measured.lane != Lane::Straight).map(of)?;
            (bare > 0.0).then(|| of(measured) / bare)
        };
        LaneRow {
            lane: measured.lane,
            calls: measured.calls(),
            per_second: measured.throughput(),
            p50: micros(measured.quantile(0.5)),
            p99: micros(measured.quantile(0.99)),
            added_p50: added(measured, 0.5),
            added_p99: added(measured, 0.99),
            cpu_per_call: micros(measured.cpu_per_call()),
            cpu_ratio: against(&|measured| micros(measured.cpu_per_call())),
            p50_ratio: against(&|measured| added(measured, 0.5)),
        }
    };
    result.lanes.iter().map(row).collect()
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
