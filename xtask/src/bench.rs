//! `cargo xtask bench`: what Wharf costs on the way of a call, next to a proxy that does nothing.
//!
//! Everything that is compared is measured in the same run, on the same upstream and load, in turns: a machine that is
//! slower for a minute is slower for all of them.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

mod case;
mod chart;
mod crowd;
mod curve;
mod idle;
mod instructions;
mod lane;
mod result;
mod round;
mod share;

use crate::stage::{Build, Stage};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is measured.
    #[arg(value_enum, default_value = "calls")]
    subject: Subject,
    /// How many users call at once; may be repeated.
    #[arg(long, default_values_t = [1, 50, 500])]
    users: Vec<usize>,
    /// In which form the upstream answers, and over which transport.
    #[arg(long, value_enum, default_values_t = case::Wire::ALL)]
    wire: Vec<case::Wire>,
    /// How large the results are, in bytes.
    #[arg(long, default_values_t = [16, 64 * 1024])]
    bytes: Vec<usize>,
    /// The ways to the upstream.
    #[arg(long, value_enum, default_values_t = lane::Lane::ALL, value_delimiter = ',')]
    lanes: Vec<lane::Lane>,
    /// How many turns each way has.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long a turn is, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    turn: u64,
    /// All ways have their turns at the same time: what else the machine does
    /// then meets them alike. The latency of each is that under the load of all.
    #[arg(long)]
    at_once: bool,
    /// For `idle`, how many pairs of sessions; for `curve`, how much is held: may be repeated.
    #[arg(long, default_values_t = [10, 1000, 10_000])]
    count: Vec<usize>,
    /// Where the JSON file and the plot go [default: target/bench].
    #[arg(long)]
    out: Option<PathBuf>,
    /// How the programs are built.
    #[arg(long, value_enum, default_value = "guided")]
    build: Build,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// Latency and CPU that each way adds to a call.
    Calls,
    /// Share of its throughput that each way keeps from the fewest `--users` to the most, with the first `--wire` and
    /// `--bytes`.
    Share,
    /// Memory of sessions that nobody uses.
    Idle,
    /// CPU per call, by how much is held besides.
    Curve,
    /// Instructions per call, as callgrind counts them. Needs valgrind.
    Instructions,
}

impl Args {
    const fn turns(&self) -> round::Turns {
        let length = Duration::from_millis(self.turn);
        round::Turns { rounds: self.rounds, length, are_at_once: self.at_once }
    }

    fn comparison(&self) -> Result<share::Comparison<'_>> {
        let growth = share::Growth::new(self.wire[0], self.bytes[0], &self.users)?;
        share::Comparison::new(growth, &self.lanes, self.turns())
    }
}

/// Measures on the stage that is `set`.
///
/// # Errors
///
/// Where something cannot be built or started, or answers wrongly.
pub(crate) fn run(args: &Args, set: impl FnOnce(Build) -> Result<Stage>) -> Result<()> {
    if args.subject == Subject::Share {
        // What is wrong with it is told before anything is built for it.
        args.comparison()?;
    }
    let stage = set(args.build)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot set up the runtime")?;
    let out = args.out.clone().unwrap_or_else(|| stage.target().join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let turns = args.turns();
    match args.subject {
        Subject::Calls => {
            let cases = case::Case::all(&args.wire, &args.bytes, &args.users);
            let results = runtime.block_on(round::measure(&stage, &cases, &args.lanes, turns))?;
            result::publish(&results, &out)
        }
        Subject::Share => {
            let comparison = args.comparison()?;
            runtime.block_on(comparison.measure(&stage, &out))
        }
        Subject::Idle => {
            let pairs = args.count.iter().max().copied().unwrap_or_default();
            runtime.block_on(idle::measure(&stage, pairs, &out))
        }
        Subject::Curve => runtime.block_on(curve::measure(&stage, &args.count, turns, &out)),
        Subject::Instructions => runtime.block_on(instructions::measure(&stage, &out)),
    }
}

/// Uses the ways for a while, for what stands in them to count what it runs.
///
/// # Errors
///
/// As [`run`].
pub(crate) async fn rehearse(stage: &Stage) -> Result<()> {
    const WIRES: [case::Wire; 3] = [case::Wire::Json, case::Wire::EventStream, case::Wire::Sse];
    const LANES: [lane::Lane; 3] =
        [lane::Lane::BareProxy, lane::Lane::WharfClient, lane::Lane::WharfShared];
    let turns = round::Turns { rounds: 1, length: Duration::from_secs(2), are_at_once: false };
    for case in case::Case::all(&WIRES, &[16], &[50]) {
        println!("  {case}");
        let (_upstream, tracks) = round::ride(stage, case, &LANES, turns).await?;
        for track in tracks {
            track.end().await?;
        }
    }
    Ok(())
}
