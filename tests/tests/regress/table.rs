//! Whether the table and the tests say the same.

use std::{collections::BTreeSet, env, process::Command};

use wharf_tests::regress::{Naive, scenarios::ALL};

const TABLE: &str = include_str!("../../../docs/REGRESSIONS.md");

/// A row of the table.
#[derive(Debug)]
struct Row<'a> {
    id: &'a str,
    /// The test; none where the row does not apply.
    test: Option<&'a str>,
    asserts: &'a str,
    naive: &'a str,
}

/// The rows of the tables that have a test in their second column.
fn rows() -> Vec<Row<'static>> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    lines
        .filter_map(|line| {
            let [id, test, asserts, naive] = line.split(" | ").collect::<Vec<_>>()[..] else {
                return None;
            };
            let is_head = id == "row";
            let test = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            (!is_head).then_some(Row { id, test, asserts, naive })
        })
        .collect()
}

/// The tests of this binary that are named after a row.
fn tests() -> BTreeSet<String> {
    let this = env::current_exe().expect("a test knows where it is");
    let listed = Command::new(this).args(["--list", "--format", "terse"]).output();
    let listed = listed.expect("a test binary can list its tests").stdout;
    let listed = String::from_utf8(listed).expect("their names are text");
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test")?.rsplit("::").next());
    names
        .filter(|name| row_of(name).contains(|c: char| c.is_ascii_digit()))
        .map(Into::into)
        .collect()
}

/// The row after which a test is named, as it begins its name.
fn row_of(test: &str) -> &str {
    test.split('_').next().unwrap_or_default()
}

#[test]
fn every_row_of_the_matrices_and_of_the_faults_is_in_the_table() {
    let listed: BTreeSet<_> = rows().iter().map(|row| row.id.to_owned()).collect();
    let matrices = [("A", 20), ("B", 18), ("R", 15)];
    for (letter, last) in matrices {
        for number in 1..=last {
            let id = format!("{letter}{number}");
            assert!(listed.contains(&id), "there is no row {id}");
        }
    }
}

#[test]
fn every_test_in_the_table_exists_and_every_test_of_a_row_is_in_it() {
    let listed: BTreeSet<_> = rows().iter().filter_map(|row| row.test).map(str::to_owned).collect();
    let tests = tests();
    let unlisted: Vec<_> = tests.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not in the table: {unlisted:#?}");
    let missing: Vec<_> = listed.difference(&tests).collect();
    assert!(missing.is_empty(), "in the table, and do not exist: {missing:#?}");
    assert!(tests.len() > 60, "the binary lists its tests");
}

#[test]
fn every_row_has_a_test_of_its_own_name_or_says_why_it_has_none() {
    for row in rows() {
        match row.test {
            Some(test) => {
                let named = row_of(test);
                let id = row.id.trim_start_matches('#').to_ascii_lowercase();
                assert!(id == named || format!("r{id}") == named, "{row:?}");
            }
            None => assert!(row.asserts.starts_with("Does not apply: "), "{row:?}"),
        }
    }
}

#[test]
fn the_table_says_of_the_naive_pool_what_the_scenarios_show() {
    for row in rows() {
        let scenario = row.test.and_then(|test| ALL.iter().find(|one| one.name == test));
        let shown = match scenario.map(|scenario| scenario.naive) {
            Some(Naive::Fails) => "fails",
            Some(Naive::Passes) => "passes",
            None => "",
        };
        assert_eq!(row.naive, shown, "{row:?}");
    }
}
