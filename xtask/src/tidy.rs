//! `cargo xtask tidy`: the rules of this repository that no compiler or linter knows.
//!
//! Each check is a function that returns what it found, so that the checks are also tests of this crate: one test asserts that
//! the repository has no finding, and the tests of each check show that it can find something.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace;

mod arrows;
mod crates;
mod functions;
mod mask;
mod sources;
#[cfg(test)]
mod tests;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, relative to the root of the workspace.
    file: PathBuf,
    /// The line, counted from 1, or none where the whole file is meant.
    line: Option<usize>,
    /// What is wrong, and what would be right.
    message: String,
}

/// Prints what breaks a rule.
///
/// # Errors
///
/// When a check cannot be made, or when there is anything to print.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("the repository is not tidy: {} findings, listed above", findings.len());
    }
    println!("the repository is tidy");
    Ok(())
}

/// Everything in the repository that breaks a rule, in the order of the files.
fn findings(root: &Path) -> Result<Vec<Finding>> {
    let members = workspace::members(root)?;
    let sources = sources::read_all(root)?;

    let mut findings = arrows::directions(&members);
    findings.extend(arrows::reach(root, &members)?);
    findings.extend(crates::check(root, &members)?);
    for source in &sources {
        findings.extend(sources::check(source));
        findings.extend(functions::check(source));
    }
    findings.sort();
    Ok(findings)
}

// === impl Finding ===

impl Finding {
    /// A finding about a whole file.
    fn of_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into() }
    }

    /// A finding about a line, counted from 1.
    fn of_line(file: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of_file(file, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}
