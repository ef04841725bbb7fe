//! `docs/PROTOCOL.md` and the tests say the same: every row of the matrix has
//! its tests or a reason, every test that the table names exists, and every
//! test that is named by a row is in the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The groups of the matrix, and how many rows each has.
const GROUPS: [(char, usize); 5] = [('T', 42), ('L', 18), ('P', 16), ('X', 21), ('A', 25)];

/// Groups that are not in the table yet. Whoever adds one takes it off here.
const TO_BE_COVERED: &[char] = &[];

/// What a row says instead of naming tests, before the reason.
const NOT_APPLICABLE: &str = "does not apply: ";

/// A row of the table: the tests that it names, or none and a reason.
#[derive(Debug)]
struct Row {
    tests: BTreeSet<String>,
    is_applicable: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table by their ids.
fn table() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("the table is there");
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, id, situation, proof, _] = cells[..] else { continue };
        if !is_id(id) {
            continue;
        }
        assert!(!situation.is_empty(), "{id} says what happens");
        let tests = proof.split('`').skip(1).step_by(2).map(str::to_owned);
        let is_applicable = !proof.starts_with(NOT_APPLICABLE);
        let row = Row { tests: tests.collect(), is_applicable };
        assert_ne!(row.is_applicable, row.tests.is_empty(), "{id} has tests, or a reason");
        assert!(rows.insert(id.to_owned(), row).is_none(), "{id} is there once");
    }
    rows
}

fn is_id(text: &str) -> bool {
    let mut chars = text.chars();
    let is_group = chars.next().is_some_and(|group| GROUPS.iter().any(|(of, _)| *of == group));
    is_group && text.len() == 3 && chars.all(|digit| digit.is_ascii_digit())
}

/// The id of the row that a test is named by.
fn row_of(test: &str) -> Option<String> {
    let id = test.get(..3)?.to_ascii_uppercase();
    (is_id(&id) && test.as_bytes().get(3) == Some(&b'_')).then_some(id)
}

/// The names of all end-to-end tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join("tests/tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the tests are there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                // Rows of another table, which has a test of its own.
                folders.extend((!path.ends_with("regress")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_in(&fs::read_to_string(path).expect("is text")));
            }
        }
    }
    names
}

fn tests_in(source: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
        } else if std::mem::take(&mut is_test) {
            let name = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            names.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_row_of_the_matrix_is_in_the_table() {
    let table = table();
    for (group, rows) in GROUPS {
        let there = table.keys().filter(|id| id.starts_with(group)).cloned();
        let there: BTreeSet<_> = there.collect();
        if TO_BE_COVERED.contains(&group) {
            assert!(there.is_empty(), "{group} is covered now: take it off the list");
            continue;
        }
        let expected: BTreeSet<_> = (1..=rows).map(|row| format!("{group}{row:02}")).collect();
        assert_eq!(there, expected, "the rows of {group}");
    }
}

#[test]
fn every_test_that_the_table_names_exists_and_proves_the_row() {
    let tests = tests();
    for (id, row) in table() {
        let named = row.tests.iter().filter(|test| row_of(test).as_ref() == Some(&id)).count();
        assert!(!row.is_applicable || named > 0, "{id} has a test of its name");
        for test in row.tests {
            assert!(tests.contains(&test), "{id} names {test}, which does not exist");
        }
    }
}

#[test]
fn every_test_that_is_named_by_a_row_is_in_the_table() {
    let table = table();
    for test in tests() {
        let Some(id) = row_of(&test) else { continue };
        let group = id.chars().next().unwrap_or_default();
        if !TO_BE_COVERED.contains(&group) {
            let row = table.get(&id).unwrap_or_else(|| panic!("{test} is of no row"));
            assert!(row.tests.contains(&test), "{id} does not name {test}");
        }
    }
}

#[test]
fn the_readers_of_names_read_what_is_meant() {
    assert_eq!(row_of("t17_two_streams").as_deref(), Some("T17"));
    assert_eq!((row_of("t1_x"), row_of("t170_x"), row_of("z17_x")), (None, None, None));
    let source = "#[tokio::test(start_paused = true)]\nasync fn one() {}\nfn two() {}\n#[test]\n#[should_panic]\nfn three() {";
    assert_eq!(tests_in(source), ["one", "three"]);
}
