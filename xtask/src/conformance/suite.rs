//! The official suite.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
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
    let mut names = names(kit, release, revision)?;
    names.retain(|name| name.contains(filter));
    let results = kit.file("results");
    // What an earlier run left would be read as this one's.
    let _ = fs::remove_dir_all(&results);
    let which = match filter {
        // Most of the time goes by until the suite has started.
        "" => vec![["--suite", "all"]],
        _ => names.iter().map(|name| ["--scenario", name]).collect(),
    };
    for which in which {
        let mut suite = kit.suite(release);
        suite.args(["server", "--url", url, "--spec-version", revision]).args(which);
        let mut lines = Lines::of(suite.arg("--output-dir").arg(&results).stderr(Stdio::null()))?;
        while let Some(line) = lines.next()? {
            if line.starts_with("Results saved") {
                progress.step();
            }
        }
    }
    let outcome = |name: String| {
        let verdict = if way == Way::Together && BY_NAME.iter().any(|one| name.starts_with(one)) {
            Verdict::Absent("it calls by a name that has no prefix".to_owned())
        } else {
            judge(&results, &name).unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")))
        };
        Outcome { name, verdict }
    };
    Ok(names.into_iter().map(outcome).collect())
}

/// Reads the checks of a scenario that was run.
fn judge(results: &Path, name: &str) -> Result<Verdict> {
    let none = "the suite has left no result";
    for folder in fs::read_dir(results).context(none)? {
        let folder = folder?.path();
        if is_of(&folder, name) {
            let text = fs::read_to_string(folder.join("checks.json")).context(none)?;
            let checks: Value = serde_json::from_str(&text).context("the result is no JSON")?;
            return Ok(verdict(checks.as_array().map_or(&[], Vec::as_slice)));
        }
    }
    bail!(none)
}

/// Whether a folder is that of a scenario: `server-ping-2026-11-24T18-58-57-519Z` is of `ping`.
fn is_of(folder: &Path, name: &str) -> bool {
    let folder = folder.file_name().unwrap_or_default().to_string_lossy();
    let time = folder.strip_prefix("server-").and_then(|folder| folder.strip_prefix(name));
    time.is_some_and(|time| time.len() == "-2026-11-24T18-58-57-519Z".len())
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
    fn a_scenario_has_the_result_of_its_own_folder() {
        let results = tempfile::tempdir().unwrap();
        for (name, status) in [("ping-pong", "FAILURE"), ("ping", "SUCCESS")] {
            let folder = results.path().join(format!("server-{name}-2026-11-24T18-58-57-519Z"));
            fs::create_dir(&folder).unwrap();
            let checks = json!([{"status": status, "description": name}]);
            fs::write(folder.join("checks.json"), checks.to_string()).unwrap();
        }
        assert_eq!(judge(results.path(), "ping").unwrap(), Verdict::Passed);
        assert!(matches!(judge(results.path(), "ping-pong").unwrap(), Verdict::Failed(_)));
    }

    #[test]
    fn a_scenario_without_a_result_has_not_passed() {
        let empty = tempfile::tempdir().unwrap();
        assert!(judge(empty.path(), "ping").is_err());
        assert!(judge(&empty.path().join("nowhere"), "ping").is_err());
    }
}
