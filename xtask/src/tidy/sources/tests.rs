//! Small files, tidy and untidy.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.to_owned() }
}

/// Checks that a file called `path` that says `text` has exactly these findings.
fn check_text(path: &str, text: &str, expected: &[&str]) {
    let found: Vec<_> = check(&source(path, text)).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn a_tidy_file_passes() {
    check_text("a.rs", "//! A.\n\nfn a() {}\n", &[]);
    check_text("a.md", "# A\n", &[]);
    check_text("a.toml", "", &[]);
}

#[test]
fn a_tab_is_found() {
    check_text("a.md", "# A\n\n\tcode\n", &["a.md:3: a tab"]);
}

#[test]
fn white_space_at_the_end_of_a_line_is_found() {
    check_text("a.md", "# A \n", &["a.md:1: white space at the end of the line"]);
    check_text("a.md", "# A\r\n", &["a.md:1: white space at the end of the line"]);
}

#[test]
fn a_file_ends_with_one_newline() {
    check_text("a.md", "# A", &["a.md:1: the last line does not end"]);
    check_text("a.md", "# A\n\n", &["a.md:2: an empty line at the end of the file"]);
    check_text("a.md", "\n", &["a.md:1: an empty line at the end of the file"]);
}

#[test]
fn a_rust_file_says_what_it_is_first() {
    let message = "a file begins with `//!` and what it is";
    check_text("a.rs", "\n\nfn a() {}\n", &[&format!("a.rs:3: {message}")]);
    check_text("a.rs", "", &[&format!("a.rs:1: {message}")]);
    check_text("a.rs", "// A.\n", &[&format!("a.rs:1: {message}")]);
    check_text("a.rs", "#![doc = include_str!(\"../README.md\")]\n", &[]);
}

#[test]
fn only_a_rust_file_is_bounded() {
    let longest = format!("//! A.\n{}", "// b\n".repeat(MOST_LINES - 1));
    check_text("a.rs", &longest, &[]);
    let longer = longest + "// b\n";
    check_text("a.rs", &longer, &["a.rs: 501 lines; a file has at most 500"]);
    check_text("a.md", &longer, &[]);
}

#[test]
fn a_test_is_told_by_its_path() {
    assert!(source("tests/tests/calls.rs", "").is_test());
    assert!(source("crates/one/tests/calls.rs", "").is_test());
    assert!(source("crates/one/src/calls/tests.rs", "").is_test());
    assert!(!source("crates/one/src/calls.rs", "").is_test());
    assert!(!source("crates/tests-of-speed/src/lib.rs", "").is_test());
}

#[test]
fn what_people_wrote_is_read_and_what_tools_left_is_not() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    let ours = [".cargo/config.toml", "README.md", "crates/one/src/deep/down.rs"];
    ours.iter().for_each(|path| write(path));
    let theirs = [".git/a.md", "target/a.rs", "cache/CACHEDIR.TAG", "cache/a.rs", "a.lock"];
    theirs.iter().for_each(|path| write(path));

    let mut read: Vec<_> = read_all(root.path()).unwrap().into_iter().map(|it| it.path).collect();
    read.sort();
    assert_eq!(read, ours.map(PathBuf::from));
}
