//! The rules, applied to this repository.

use super::*;

#[test]
fn the_repository_is_tidy() {
    let findings = findings(&workspace::root().unwrap()).unwrap();
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn a_finding_reads_like_a_compiler_message() {
    let finding = Finding::of_line("src/lib.rs", 3, "too long");
    assert_eq!(finding.to_string(), "src/lib.rs:3: too long");
    let finding = Finding::of_file("src/lib.rs", "too long");
    assert_eq!(finding.to_string(), "src/lib.rs: too long");
}
