//! `cargo xtask regress`: the faults that session pools have had, and how the pool and a naive one beside it stand.
//!
//! `docs/REGRESSIONS.md` is the table: which fault, which test, what it asserts. The tests are run, every scenario is played
//! with both pools, and the table is printed with what came out.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

mod outcome;
mod table;

use outcome::Outcomes;
use table::Group;

/// The table, from the root of the workspace.
const TABLE: &str = "docs/REGRESSIONS.md";

/// Runs the tests and plays the scenarios, and prints the table.
///
/// # Errors
///
/// When a test fails or does not exist, when a scenario fails with our pool, or when our pool loses a call.
pub(crate) fn run(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join(TABLE))
        .with_context(|| format!("cannot read {TABLE}"))?;
    let groups = table::groups(&text);
    let tests = said_by(root, &["test", "--package", "wharf-tests", "--test", "regress"])?;
    let beside = said_by(root, &["run", "--quiet", "--package", "wharf-tests", "--bin", "beside"])?;
    let outcomes = Outcomes::read(&tests.text, &beside.text);
    print(&groups, &outcomes);
    let failed = outcomes.failed(&groups);
    if !failed.is_empty() {
        println!("{}", tests.text);
        bail!("{} of the tests failed: {}", failed.len(), failed.join(", "));
    }
    if !tests.success || !beside.success {
        bail!("a test failed that is in no row, or the pool has lost calls; see above");
    }
    Ok(())
}

/// What a command said, and whether it ended well.
struct Said {
    text: String,
    success: bool,
}

fn said_by(root: &Path, args: &[&str]) -> Result<Said> {
    let mut cargo: Command = workspace::cargo(root);
    eprintln!("==> cargo {}", args.join(" "));
    // A test that fails says why on standard output, too.
    let output =
        cargo.args(args).stderr(Stdio::inherit()).output().context("cargo did not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Said { text, success: output.status.success() })
}

fn print(groups: &[Group], outcomes: &Outcomes) {
    for Group { fault, rows } in groups {
        println!("\n{fault}");
        println!("  {:<10} {:<8} {:<8} test", "row", "here", "naive");
        for row in rows {
            let Some(test) = &row.test else {
                println!("  {:<10} {:<8} {:<8} ({})", row.id, "-", "-", row.asserts);
                continue;
            };
            let here = outcomes.of(test);
            let naive = outcomes
                .naive(test)
                .map_or("-", |naive| if naive.is_empty() { "passes" } else { "FAILS" });
            println!("  {:<10} {here:<8} {naive:<8} {test}", row.id);
        }
    }
    println!("\nWhat goes wrong with the naive pool");
    for (scenario, naive) in &outcomes.beside {
        if !naive.there.is_empty() {
            println!("  {scenario}\n      {}", naive.there);
        }
    }
    println!("\nThe same mixed load, with clients that go away and an upstream that restarts");
    for line in &outcomes.load {
        println!("  {line}");
    }
    let (passed, rows) = outcomes.count(groups);
    println!("\n{passed} of {rows} rows that apply pass here\n");
}
