//! What the tests and the scenarios said of themselves.

use std::collections::BTreeMap;

use super::table::Group;

/// How everything came out.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// Whether each test passed, by its name without its modules.
    tests: BTreeMap<String, bool>,
    /// How each scenario came out, in the order of playing.
    pub(crate) beside: Vec<(String, Beside)>,
    /// What is said of the load.
    pub(crate) load: Vec<String>,
}

/// A scenario with both pools: nothing where it came out well, else what was expected and not so.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) here: String,
    pub(crate) there: String,
}

// === impl Outcomes ===

impl Outcomes {
    /// Reads what `cargo test` and the binary that plays the scenarios have said.
    pub(crate) fn read(tests: &str, beside: &str) -> Self {
        let mut outcomes = Self::default();
        for line in tests.lines() {
            let Some((name, outcome)) =
                line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
            else {
                continue;
            };
            let name = name.rsplit("::").next().unwrap_or(name);
            outcomes.tests.insert(name.to_owned(), outcome == "ok");
        }
        for line in beside.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["scenario", name, here, there] => {
                    let beside = Beside { here: here.to_owned(), there: there.to_owned() };
                    outcomes.beside.push((name.to_owned(), beside));
                }
                ["load", which, losses] => {
                    outcomes.load.push(format!("{:<6} {losses}", title(which)))
                }
                ["loss", which, count, reason] => {
                    outcomes.load.push(format!("{:<6}   {count} lost: {reason}", title(which)));
                }
                _ => {}
            }
        }
        outcomes
    }

    /// How a test came out, in a word.
    pub(crate) fn of(&self, test: &str) -> &'static str {
        let stands = self.scenario(test).is_none_or(|beside| beside.here.is_empty());
        match self.tests.get(test) {
            Some(true) if stands => "passed",
            Some(_) => "FAILED",
            None => "MISSING",
        }
    }

    /// How a scenario came out with the naive pool; none where the test is no scenario.
    pub(crate) fn naive(&self, test: &str) -> Option<&str> {
        self.scenario(test).map(|beside| beside.there.as_str())
    }

    /// The tests of the table that have not passed.
    pub(crate) fn failed<'a>(&self, groups: &'a [Group]) -> Vec<&'a str> {
        tests_of(groups).filter(|test| self.of(test) != "passed").collect()
    }

    /// How many tests of the table have passed, and how many there are.
    pub(crate) fn count(&self, groups: &[Group]) -> (usize, usize) {
        (
            tests_of(groups).filter(|test| self.of(test) == "passed").count(),
            tests_of(groups).count(),
        )
    }

    fn scenario(&self, test: &str) -> Option<&Beside> {
        self.beside.iter().find(|(name, _)| name == test).map(|(_, beside)| beside)
    }
}

fn tests_of(groups: &[Group]) -> impl Iterator<Item = &str> {
    groups.iter().flat_map(|group| &group.rows).filter_map(|row| row.test.as_deref())
}

fn title(which: &str) -> &str {
    if which == "there" { "naive" } else { which }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regress::table::groups;

    const TABLE: &str = "## A fault\n\n| A1 | `a1_lives` | It lives. | fails |\n| A2 | `a2_dies` | It dies. | passes |\n\
                         | A3 | `a3_is_gone` | It is not there. |  |\n| A4 | - | Does not apply: no. |  |\n";

    fn outcomes(beside: &str) -> Outcomes {
        let tests = "running 2 tests\ntest scenarios::a1_lives ... ok\ntest scenarios::a2_dies ... FAILED\n";
        Outcomes::read(tests, beside)
    }

    #[test]
    fn a_test_that_failed_or_was_not_run_is_among_those_that_have_not_passed() {
        let (outcomes, groups) = (outcomes(""), groups(TABLE));
        assert_eq!(outcomes.failed(&groups), ["a2_dies", "a3_is_gone"]);
        assert_eq!(outcomes.count(&groups), (1, 3));
        assert_eq!(outcomes.of("a3_is_gone"), "MISSING");
    }

    #[test]
    fn a_scenario_that_falls_here_has_not_passed_whatever_its_test_says() {
        let outcomes = outcomes("scenario\ta1_lives\tit is dead\tit is dead, too\n");
        assert_eq!(outcomes.of("a1_lives"), "FAILED");
        assert_eq!(outcomes.naive("a1_lives"), Some("it is dead, too"));
    }

    #[test]
    fn what_is_lost_is_said_of_each_pool() {
        let outcomes =
            outcomes("load\there\tnone lost\nload\tthere\tall lost\nloss\tthere\t7\twhy\n");
        assert_eq!(outcomes.load, ["here   none lost", "naive  all lost", "naive    7 lost: why"]);
    }
}
