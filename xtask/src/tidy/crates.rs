//! What every crate has: the workspace's lints and edition, and, if it is a library, a README that is its front page.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Finding;
use crate::workspace::Member;

/// The line of a lib.rs that makes the README the front page of the documentation, and its examples tests.
const README_IS_CRATE_DOC: &str = "#![doc = include_str!(\"../README.md\")]";

/// Finds what the crates of this workspace lack.
///
/// # Errors
///
/// When a manifest or a lib.rs cannot be read.
pub(super) fn check(root: &Path, members: &[Member]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in members {
        let manifest = member.folder.join("Cargo.toml");
        for message in not_inherited(&read(root, &manifest)?) {
            findings.push(Finding::of_file(&manifest, message));
        }
        if member.library && member.folder.starts_with("crates") {
            findings.extend(front_page(root, member)?);
        }
    }
    Ok(findings)
}

/// What a manifest says for itself although the workspace says it for all.
fn not_inherited(manifest: &str) -> Vec<&'static str> {
    let mut section = "";
    let (mut lints, mut edition) = (false, false);
    for line in manifest.lines().map(str::trim) {
        match (section, line) {
            ("[lints]", "workspace = true") => lints = true,
            ("[package]", "edition.workspace = true") => edition = true,
            _ if line.starts_with('[') => section = line,
            _ => {}
        }
    }
    let lints = (!lints).then_some("`[lints]` must say `workspace = true`");
    let edition = (!edition).then_some("`[package]` must say `edition.workspace = true`");
    lints.into_iter().chain(edition).collect()
}

fn front_page(root: &Path, member: &Member) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let readme = member.folder.join("README.md");
    if !root.join(&readme).is_file() {
        findings.push(Finding::of_file(readme, "a library has a README"));
    }
    let library = member.folder.join("src/lib.rs");
    let includes = |line: &str| line == README_IS_CRATE_DOC;
    if !read(root, &library)?.lines().any(includes) {
        let message = format!("a library's README is its documentation: `{README_IS_CRATE_DOC}`");
        findings.push(Finding::of_file(library, message));
    }
    Ok(findings)
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nedition.workspace = true\n\n[lints]\nworkspace = true\n";

    /// What is found in a workspace of one library, `crates/one`, with these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("crates/one");
        fs::create_dir_all(folder.join("src")).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let member = Member {
            name: "one".to_owned(),
            folder: "crates/one".into(),
            library: true,
            dependencies: Vec::new(),
        };
        let findings = check(root.path(), &[member]).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_library_with_a_front_page_passes() {
        let library = format!("{README_IS_CRATE_DOC}\n");
        let files = [("Cargo.toml", MANIFEST), ("README.md", "# One\n"), ("src/lib.rs", &library)];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_library_without_a_front_page_is_found() {
        let found = found(&[("Cargo.toml", MANIFEST), ("src/lib.rs", "//! One.\n")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/one/README.md: "), "{found:?}");
        assert!(found[1].starts_with("crates/one/src/lib.rs: "), "{found:?}");
    }

    #[test]
    fn a_manifest_of_its_own_mind_is_found() {
        assert_eq!(not_inherited(MANIFEST), Vec::<&str>::new());
        assert_eq!(not_inherited("[package]\nedition = \"2024\"\n").len(), 2);
        let elsewhere =
            "[package]\nedition.workspace = true\n[dependencies.one]\nworkspace = true\n";
        assert_eq!(not_inherited(elsewhere), ["`[lints]` must say `workspace = true`"]);
    }
}
