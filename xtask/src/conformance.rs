//! `cargo xtask conformance`: software that we did not write, with and without Wharf in between.
//!
//! The official suite and clients on the official SDKs talk to a reference server, which is itself built on an official SDK:
//! directly, and through a Wharf that runs as its users run it. What passes directly has to pass through Wharf.
//!
//! All of it is installed into `target/conformance` from the package indexes of Python and Node, so that this is no part of
//! `cargo xtask ci`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

mod client;
mod figures;
mod kit;
mod lines;
mod program;
mod stage;
mod suite;
mod verdict;

use figures::Figures;
use kit::Kit;
use program::Program;
use stage::{Stage, Way};

/// What to run, and where the figures go.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// Run only what has this in its name: a program, or one of its checks. See `--list`.
    filter: Option<String>,
    /// Print the programs and their checks, and run none.
    #[arg(long)]
    list: bool,
    /// Put the figures into docs/CONFORMANCE.md.
    #[arg(long, conflicts_with = "filter")]
    write: bool,
    /// A `wharf` that is built already; by default it is built first.
    #[arg(long, value_name = "FILE")]
    wharf: Option<PathBuf>,
}

/// Runs every program in every way, and prints what passes.
///
/// # Errors
///
/// When something cannot be installed or started, and when anything that passes directly does not pass through Wharf.
pub(crate) fn run(root: &Path, args: &ConformanceArgs) -> Result<()> {
    let folder = root.join("target/conformance");
    fs::create_dir_all(&folder)?;
    let kit = Kit::install(root, &folder)?;
    let programs = Program::all();
    if args.list {
        return list(&kit, &programs);
    }
    let stage = Stage::set(root, &folder, &kit, args.wharf.as_deref())?;
    let mut figures = Figures::default();
    for program in &programs {
        let Some(filter) = program.narrow(args.filter.as_deref(), &kit)? else { continue };
        println!("\n{}", program.title());
        for way in Way::ALL {
            let outcomes = program.run(&kit, &stage, way, &filter)?;
            figures.enter(program, way, outcomes);
        }
    }
    if figures.are_empty() {
        bail!(
            "nothing has `{}` in its name; --list prints the names",
            args.filter.as_deref().unwrap_or_default()
        );
    }
    print!("\n{}", figures.as_text());
    if args.write {
        figures.write_into(root)?;
    }
    match figures.lost() {
        0 => Ok(()),
        lost => bail!(
            "{lost} checks that pass directly do not pass through Wharf; they are listed above"
        ),
    }
}

fn list(kit: &Kit, programs: &[Program]) -> Result<()> {
    for program in programs {
        println!("{}", program.title());
        for name in program.names(kit)? {
            println!("  {name}");
        }
    }
    Ok(())
}
