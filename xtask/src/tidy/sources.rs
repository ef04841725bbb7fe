//! What every source file keeps to: a bound on its length, a first line that says what it is, clean white space.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Finding;

/// The most lines that a Rust file may have.
const MOST_LINES: usize = 500;

/// A Rust, Markdown or TOML file of this repository.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it is, relative to the root of the workspace.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// Reads every Rust, Markdown and TOML file of the repository.
///
/// # Errors
///
/// When a folder or a file cannot be read, or is not UTF-8.
pub(super) fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = || format!("cannot read the folder {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let path = entry.path();
            // The kind of the entry itself: a symbolic link is neither, and what it points to is judged where it is.
            let kind = entry.file_type().with_context(unreadable)?;
            if kind.is_dir() && is_ours(&path) {
                folders.push(path);
            } else if kind.is_file() && is_source(&path) {
                sources.push(Source::read(root, &path)?);
            }
        }
    }
    Ok(sources)
}

/// Finds what is wrong with a file as text.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = white_space(source);
    if source.is_rust() {
        findings.extend(length(source));
        findings.extend(first_line(source));
    }
    findings
}

/// Whether a folder holds what people wrote, and not what tools left: they keep to hidden folders, or mark theirs as a cache.
fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_hidden = name.starts_with('.') && ![".cargo", ".ci", ".config"].contains(&&*name);
    !is_hidden && name != "target" && !folder.join("CACHEDIR.TAG").exists()
}

fn is_source(file: &Path) -> bool {
    ["rs", "md", "toml"].map(OsStr::new).map(Some).contains(&file.extension())
}

fn white_space(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, message| findings.push(Finding::of_line(&source.path, line, message));
    for (line, number) in source.text.split('\n').zip(1..) {
        if line.contains('\t') {
            find(number, "a tab");
        }
        if line.trim_end() != line {
            find(number, "white space at the end of the line");
        }
    }
    let lines = source.text.matches('\n').count();
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        find(lines + 1, "the last line does not end");
    }
    if source.text.ends_with("\n\n") || source.text == "\n" {
        find(lines, "an empty line at the end of the file");
    }
    findings
}

fn length(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    let message = format!("{lines} lines; a file has at most {MOST_LINES}");
    (lines > MOST_LINES).then(|| Finding::of_file(&source.path, message))
}

fn first_line(source: &Source) -> Option<Finding> {
    let mut lines = source.text.lines().zip(1..);
    let (line, number) = lines.find(|(line, _)| !line.is_empty()).unwrap_or(("", 1));
    let says_what_it_is = line.starts_with("//!") || line.starts_with("#![doc = ");
    let message = "a file begins with `//!` and what it is";
    (!says_what_it_is).then(|| Finding::of_line(&source.path, number, message))
}

// === impl Source ===

impl Source {
    /// Whether this is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.extension() == Some(OsStr::new("rs"))
    }

    /// Whether this holds nothing but tests.
    pub(super) fn is_test(&self) -> bool {
        let mut folders = self.path.components();
        self.path.file_name() == Some(OsStr::new("tests.rs"))
            || folders.any(|folder| folder.as_os_str() == "tests")
    }

    fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path);
        Ok(Self {
            path: path.strip_prefix(root).unwrap_or(path).to_owned(),
            text: text.with_context(|| format!("cannot read {}", path.display()))?,
        })
    }
}

#[cfg(test)]
mod tests;
