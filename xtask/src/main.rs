//! `cargo xtask`: everything a person or CI runs on this repository, a file a task.
//!
//! A task is a function over the root of the workspace that returns an [`anyhow::Result`]; to add one, write its file, add
//! its variant to [`Task`] and its arm to the match in [`Xtask::run`].
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task speaks to the person or the log that runs it"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod conformance;
mod guided;
mod load;
mod regress;
mod report;
mod stage;
mod tidy;
mod vitals;
mod workspace;

/// Runs a task on this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

/// What can be run.
#[derive(Debug, Subcommand)]
enum Task {
    /// Run everything that CI runs, in the order of CI, up to the first failure.
    Ci,
    /// Run the official suite and SDKs against a reference server, directly and through Wharf.
    Conformance(conformance::ConformanceArgs),
    /// Run the tests against the faults that session pools have had, and a naive pool beside ours.
    Regress,
    /// Check the rules of this repository that no compiler or linter knows.
    Tidy,
    /// Put many users on Wharf, check every answer, and say whose each failure is.
    LoadTest(load::Args),
    /// Measure what Wharf costs on the way of a call, next to a proxy that does nothing.
    Bench(bench::Args),
    /// Build `wharf` as it is given out: for speed, guided by what a load has run of it.
    Dist,
}

fn main() -> ExitCode {
    match Xtask::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that `main` would print for an error it returned: a task fails over what it looked at.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

// === impl Xtask ===

impl Xtask {
    fn run(self) -> Result<()> {
        let root = workspace::root()?;
        match self.task {
            Task::Ci => ci::run(&root),
            Task::Conformance(args) => conformance::run(&root, &args),
            Task::Regress => regress::run(&root),
            Task::Tidy => tidy::run(&root),
            Task::LoadTest(args) => load::run(&args, |build| guided::stage(&root, build)),
            Task::Bench(args) => bench::run(&args, |build| guided::stage(&root, build)),
            Task::Dist => guided::run(&root),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Xtask::command().debug_assert();
    }

    #[test]
    fn every_task_is_called_by_its_name() {
        assert!(matches!(Xtask::try_parse_from(["xtask", "ci"]).unwrap().task, Task::Ci));
        let conformance = Xtask::try_parse_from(["xtask", "conformance", "--list"]).unwrap();
        assert!(matches!(conformance.task, Task::Conformance(_)));
        assert!(matches!(Xtask::try_parse_from(["xtask", "regress"]).unwrap().task, Task::Regress));
        assert!(matches!(Xtask::try_parse_from(["xtask", "tidy"]).unwrap().task, Task::Tidy));
        assert!(Xtask::try_parse_from(["xtask"]).is_err());
    }
}
