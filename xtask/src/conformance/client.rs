//! Our scripts on the official SDKs.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::kit::Kit;
use super::lines::Lines;
use super::program::{Progress, Sdk};
use super::stage::{Transport, Way};
use super::verdict::{Outcome, Verdict};

/// The names of the checks.
///
/// # Errors
///
/// When the script does not start.
pub(super) fn names(kit: &Kit, sdk: Sdk) -> Result<Vec<String>> {
    let outcomes = read(script(kit, sdk).arg("--list"), || ())?;
    Ok(outcomes.into_iter().map(|outcome| outcome.name).collect())
}

/// Runs the checks with `filter` in their names.
///
/// # Errors
///
/// When the script does not start, or falls silent.
pub(super) fn run(
    kit: &Kit,
    (sdk, transport): (Sdk, Transport),
    way: Way,
    url: &str,
    filter: &str,
    progress: &mut Progress,
) -> Result<Vec<Outcome>> {
    let mut script = script(kit, sdk);
    script.args(["--url", url, "--transport", transport.name(), "--filter", filter]);
    script.args(["--prefix", &way.prefix()]);
    read(&mut script, || progress.step())
}

fn script(kit: &Kit, sdk: Sdk) -> Command {
    match sdk {
        Sdk::Python(release) => kit.python(release, "client.py"),
        Sdk::TypeScript => kit.typescript(),
    }
}

fn read(script: &mut Command, mut step: impl FnMut()) -> Result<Vec<Outcome>> {
    let mut lines = Lines::of(script)?;
    let mut outcomes = Vec::new();
    while let Some(line) = lines.next()? {
        outcomes.push(outcome(&line).with_context(|| format!("a script printed `{line}`"))?);
        step();
    }
    Ok(outcomes)
}

/// Reads one line of JSON.
fn outcome(line: &str) -> Option<Outcome> {
    let line: Value = serde_json::from_str(line).ok()?;
    let detail = line["detail"].as_str()?.to_owned();
    let verdict = match line["ok"] {
        Value::Bool(true) => Verdict::Passed,
        Value::Bool(false) => Verdict::Failed(detail),
        Value::Null => Verdict::Absent(detail),
        _ => return None,
    };
    Some(Outcome { name: line["check"].as_str()?.to_owned(), verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_check_and_how_it_went() {
        let read = |line| outcome(line).map(|outcome| outcome.verdict);
        let passed = read(r#"{"check": "ping", "ok": true, "detail": ""}"#);
        assert_eq!(passed, Some(Verdict::Passed));
        let failed = read(r#"{"check": "ping", "ok": false, "detail": "why"}"#);
        assert_eq!(failed, Some(Verdict::Failed("why".to_owned())));
        let absent = read(r#"{"check": "ping", "ok": null, "detail": "none"}"#);
        assert_eq!(absent, Some(Verdict::Absent("none".to_owned())));
    }

    #[test]
    fn anything_else_is_not() {
        for line in ["", "Traceback", "{}", r#"{"check": "ping", "ok": 1, "detail": ""}"#] {
            assert_eq!(outcome(line), None, "{line}");
        }
    }
}
