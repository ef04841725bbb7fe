//! The official suite.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::kit::{Kit, SuiteRelease};
use super::lines::Lines;
use super::program::Progress;
use super::stage::Way;
use super::verdict::{Outcome, Verdict};

/// Scenarios that call a tool or a prompt by a name that has no prefix, by the beginnings of their names.
const BY_NAME: [&str; 6] = [
    "completion-complete",
    "elicitation-",
    "json-schema-",
    "prompts-get-",
    "server-sse-polling",
    "tools-call-",
];

/// The names of the scenarios for servers of a revision.
///
/// # Errors
///
/// When the suite does not start.
pub(super) fn names(kit: &Kit, release: SuiteRelease, revision: &str) -> Result<Vec<String>> {
    let mut lines = Lines::of(kit.suite(release).arg("list"))?;
    let mut listed = Vec::new();
    while let Some(line) = lines.next()? {
        listed.push(line);
    }
    Ok(for_servers(&listed, revision))
}

/// The scenarios of a revision in the first part of the suite's list, such as `  - ping [2025-06-18,2025-11-25]`.
fn for_servers(listed: &[String], revision: &str) -> Vec<String> {
    let servers = listed.iter().skip_while(|line| !line.starts_with("Server scenarios")).skip(1);
    let scenarios = servers.map_while(|line| line.trim_start().strip_prefix("- "));
    let named = scenarios.filter_map(|line| line.split_once(' '));
    named
        .filter(|(_, revisions)| revisions.contains(revision))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Runs the scenarios with `filter` in their names.
///
/// # Errors
///
/// When the suite does not start, or falls silent.
pub(super) fn run(
    kit: &Kit,
    (release, revision): (SuiteRelease, &str),
    way: Way,
    url: &str,
    filter: &str,
    progress: &mut Progress,
) -> Result<Vec<Outcome>> {
    let results = kit.file("results");
    let mut outcomes = Vec::new();
    for name in names(kit, release, revision)?.into_iter().filter(|name| name.contains(filter)) {
        let verdict = if way == Way::Together && BY_NAME.iter().any(|one| name.starts_with(one)) {
            Verdict::Absent("it calls by a name that has no prefix".to_owned())
        } else {
            // What an earlier run left would be read as this one's.
            let _ = fs::remove_dir_all(&results);
            let mut suite = kit.suite(release);
            suite.args(["server", "--url", url, "--scenario", &name, "--spec-version", revision]);
            let mut lines =
                Lines::of(suite.arg("--output-dir").arg(&results).stderr(Stdio::null()))?;
            while lines.next()?.is_some() {}
            judge(&results).unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")))
        };
        outcomes.push(Outcome { name, verdict });
        progress.step();
    }
    Ok(outcomes)
}

/// Reads the checks of the one scenario that was run.
fn judge(results: &Path) -> Result<Verdict> {
    let none = "the suite has left no result";
    let mut folders = fs::read_dir(results).context(none)?;
    let folder = folders.next().context(none)??;
    let text = fs::read_to_string(folder.path().join("checks.json")).context(none)?;
    let checks: Value = serde_json::from_str(&text).context("the suite's result is no JSON")?;
    Ok(verdict(checks.as_array().map_or(&[], Vec::as_slice)))
}

/// The worst of a scenario's checks. Where none of them judges anything, that is not to pass.
fn verdict(checks: &[Value]) -> Verdict {
    let of = |status: &str| {
        let found: Vec<_> = checks.iter().filter(|check| check["status"] == status).collect();
        let reasons: Vec<_> = found.iter().map(|check| reason(check)).collect();
        (!found.is_empty()).then(|| reasons.join("; "))
    };
    if let Some(reasons) = of("FAILURE") {
        return Verdict::Failed(reasons);
    }
    if let Some(reasons) = of("WARNING") {
        return Verdict::Warned(reasons);
    }
    match of("SUCCESS") {
        Some(_) => Verdict::Passed,
        None => Verdict::Warned("there was nothing that could be judged".to_owned()),
    }
}

fn reason(check: &Value) -> String {
    let said = check["errorMessage"].as_str().or_else(|| check["description"].as_str());
    said.unwrap_or("the suite does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_servers_scenarios_of_the_revision_are_listed() {
        let listed = "Server scenarios (test against a server):
  - ping [2025-06-18,2025-11-25]
  - server-stateless [2026-07-28]
  - caching [2026-07-28,2025-11-25]

Client scenarios (test against a client):
  - initialize [2025-06-18,2025-11-25]";
        let listed: Vec<_> = listed.lines().map(str::to_owned).collect();
        assert_eq!(for_servers(&listed, "2025-11-25"), ["ping", "caching"]);
        assert_eq!(for_servers(&listed, "2024-11-05"), [""; 0]);
    }

    #[test]
    fn a_scenario_is_as_good_as_its_worst_check() {
        let passed = json!({"status": "SUCCESS"});
        let warned = json!({"status": "WARNING", "errorMessage": "a pity"});
        let failed = json!({"status": "FAILURE", "description": "a fault"});
        let told = json!({"status": "INFO"});
        assert_eq!(verdict(&[told.clone(), passed.clone()]), Verdict::Passed);
        let all = [passed, warned.clone(), failed];
        assert_eq!(verdict(&all), Verdict::Failed("a fault".to_owned()));
        assert_eq!(verdict(&[warned]), Verdict::Warned("a pity".to_owned()));
        assert!(matches!(verdict(&[told]), Verdict::Warned(_)));
        assert!(matches!(verdict(&[]), Verdict::Warned(_)));
    }

    #[test]
    fn a_scenario_without_a_result_has_not_passed() {
        let empty = tempfile::tempdir().unwrap();
        assert!(judge(empty.path()).is_err());
        assert!(judge(&empty.path().join("nowhere")).is_err());
    }
}
