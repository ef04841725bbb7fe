//! `cargo xtask ci`: every check this repository is held to, the quickest first.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{load, tidy, workspace};

/// Runs every check up to the first failure, and says what was run and how long it took.
///
/// # Errors
///
/// When a check fails; the message names it.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut steps = Steps::default();
    let outcome = all(root, &mut steps);
    steps.summarize();
    outcome
}

fn all(root: &Path, steps: &mut Steps) -> Result<()> {
    let workspace = ["--workspace", "--all-features"];
    let cargo = |args: &[&str]| Cargo::new(root, args);

    steps.cargo(cargo(&["fmt", "--all", "--check"]))?;
    steps.step("cargo xtask tidy", || tidy::run(root))?;
    let clippy = cargo(&["clippy", "--all-targets"]).args(&workspace);
    steps.cargo(clippy.args(&["--", "-D", "warnings"]))?;
    for library in libraries(root)? {
        // Alone, so that it cannot live off a feature that only a neighbour turns on.
        steps.cargo(cargo(&["check", "-p", &library]))?;
    }
    if is_installed(root, "nextest") {
        steps.cargo(cargo(&["nextest", "run"]).args(&workspace))?;
    } else {
        steps.cargo(cargo(&["test", "--lib", "--bins", "--tests"]).args(&workspace))?;
    }
    steps.cargo(cargo(&["test", "--doc"]).args(&workspace))?;
    steps.step("cargo xtask load-test smoke --build dev", || load::smoke(root))?;
    let doc = cargo(&["doc", "--no-deps", "--document-private-items"]).args(&workspace);
    steps.cargo(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    if is_installed(root, "deny") {
        steps.cargo(cargo(&["deny", "check"]))?;
    } else {
        steps.skip("cargo deny check", "cargo-deny is not installed");
    }
    Ok(())
}

/// The names of the libraries this workspace is made of, apart from what only its own tests use.
fn libraries(root: &Path) -> Result<Vec<String>> {
    let members = workspace::members(root)?.into_iter();
    let libraries = members.filter(|member| member.library && member.folder.starts_with("crates"));
    Ok(libraries.map(|member| member.name).collect())
}

/// Whether cargo has the subcommand `name`.
fn is_installed(root: &Path, name: &str) -> bool {
    let status = workspace::cargo(root)
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// A call of cargo, and the line that a person would type for it.
struct Cargo {
    command: Command,
    line: String,
}

// === impl Cargo ===

impl Cargo {
    fn new(root: &Path, args: &[&str]) -> Self {
        let this = Self { command: workspace::cargo(root), line: "cargo".to_owned() };
        this.args(args)
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        for arg in args {
            self.line.push(' ');
            self.line.push_str(arg);
        }
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.line = format!("{name}=\"{value}\" {}", self.line);
        self
    }
}

/// What was run so far.
#[derive(Debug, Default)]
struct Steps {
    taken: Vec<(String, Outcome)>,
}

/// How a step ended.
#[derive(Debug)]
enum Outcome {
    /// It passed, in this time.
    Passed(Duration),
    /// It failed, after this time.
    Failed(Duration),
    /// It was not run, for this reason.
    Skipped(&'static str),
}

// === impl Steps ===

impl Steps {
    /// Runs a cargo command as a step of its own.
    fn cargo(&mut self, mut cargo: Cargo) -> Result<()> {
        self.step(&cargo.line, || {
            let status = cargo.command.status().context("cargo did not start")?;
            if !status.success() {
                bail!("it ended with {status}; its output is above");
            }
            Ok(())
        })
    }

    /// Runs `work` under a headline and writes down how it went.
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no runtime here whose clock could be paused"
    )]
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n==> {name}");
        let start = std::time::Instant::now();
        let result = work();
        let took = start.elapsed();
        let outcome = match &result {
            Ok(()) => Outcome::Passed(took),
            Err(_) => Outcome::Failed(took),
        };
        println!("<== {}", line(name, &outcome));
        self.taken.push((name.to_owned(), outcome));
        result.with_context(|| format!("`{name}` failed"))
    }

    /// Writes down that a step was left out, and why.
    fn skip(&mut self, name: &str, reason: &'static str) {
        let outcome = Outcome::Skipped(reason);
        println!("\n==> {}", line(name, &outcome));
        self.taken.push((name.to_owned(), outcome));
    }

    fn summarize(&self) {
        println!("\nSummary");
        for (name, outcome) in &self.taken {
            println!("  {}", line(name, outcome));
        }
        let seconds = self.total().as_secs_f64();
        println!("  in all {seconds:.1} s\n");
    }

    fn total(&self) -> Duration {
        let times = self.taken.iter().map(|(_, outcome)| match outcome {
            Outcome::Passed(took) | Outcome::Failed(took) => *took,
            Outcome::Skipped(_) => Duration::ZERO,
        });
        times.sum()
    }
}

/// A step and its outcome in one line.
fn line(name: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed(took) => format!("passed  {:>7.1} s  {name}", took.as_secs_f64()),
        Outcome::Failed(took) => format!("FAILED  {:>7.1} s  {name}", took.as_secs_f64()),
        Outcome::Skipped(reason) => format!("skipped            {name}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failed_step_is_written_down_and_named_in_the_error() {
        let mut steps = Steps::default();
        steps.step("the first", || Ok(())).unwrap();
        let error = steps.step("the second", || Err(anyhow!("why"))).unwrap_err();
        assert_eq!(format!("{error:#}"), "`the second` failed: why");
        assert!(matches!(steps.taken[..], [(_, Outcome::Passed(_)), (_, Outcome::Failed(_))]));
    }

    #[test]
    fn a_cargo_that_fails_fails_its_step() {
        let root = workspace::root().unwrap();
        let mut steps = Steps::default();
        steps.cargo(Cargo::new(&root, &["--version"])).unwrap();
        let error = steps.cargo(Cargo::new(&root, &["no-such-command"])).unwrap_err();
        assert!(error.to_string().contains("cargo no-such-command"), "{error}");
    }

    #[test]
    fn a_skipped_step_says_why() {
        let mut steps = Steps::default();
        steps.skip("a step", "no reason");
        let (name, outcome) = &steps.taken[0];
        assert!(line(name, outcome).ends_with("a step: no reason"));
        assert_eq!(steps.total(), Duration::ZERO);
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let cargo = Cargo::new(Path::new("."), &["doc"]).args(&["--no-deps"]);
        let cargo = cargo.env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(cargo.line, "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn the_libraries_are_those_under_crates() {
        let libraries = libraries(&workspace::root().unwrap()).unwrap();
        assert!(libraries.contains(&"wharf-proto".to_owned()));
        assert!(!libraries.contains(&"wharf-tests".to_owned()));
        assert!(!libraries.contains(&"xtask".to_owned()));
    }

    #[test]
    fn a_command_that_nobody_has_is_not_installed() {
        let root = workspace::root().unwrap();
        assert!(is_installed(&root, "fmt"));
        assert!(!is_installed(&root, "no-such-command"));
    }
}
