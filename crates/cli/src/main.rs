//! The `wharf` command: an MCP gateway that keeps its sessions open.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

mod args;
mod call;
mod check;
mod config;
mod demo;
mod failure;
mod list;
mod log;
mod output;
mod plan;
mod reload;
mod serve;
mod signals;
mod visit;

use args::{Args, Command};
use failure::{Exit, Failure};
use plan::LogPlan;

/// A call makes and drops some forty small things, on whichever thread it is.
/// What is free is given out again last in, first out, while it is in the cache.
/// What it is built with is in `.cargo/config.toml`.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let exit = run(&Args::parse()).unwrap_or_else(|failure| failure.report());
    exit.into()
}

fn run(args: &Args) -> Result<Exit, Failure> {
    if let Command::Completions { shell } = args.command {
        return completions(shell);
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let exit = runtime.block_on(obey(args));
    // A name that is still being looked up must not hold up the exit.
    runtime.shutdown_background();
    exit
}

async fn obey(args: &Args) -> Result<Exit, Failure> {
    if !matches!(args.command, Command::Serve(_)) {
        log::start(&LogPlan::new(&args.log, LogPlan::QUIET))?;
    }
    match &args.command {
        // It logs as its configuration says, which it has yet to read.
        Command::Serve(serve) => serve::run(serve, &args.log).await,
        Command::Check(check) => check::run(check, &args.log).await,
        Command::List(list) => list::run(list).await,
        Command::Call(call) => call::run(call).await,
        Command::Demo(demo) => {
            demo::run(demo).await.map_err(Failure::Failed)?;
            Ok(Exit::Fine)
        }
        Command::Completions { shell } => completions(*shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "wharf", &mut script);
    output::print(script)?;
    Ok(Exit::Fine)
}
