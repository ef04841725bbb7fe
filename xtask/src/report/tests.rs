//! The report against its schema, and the page.

use serde_json::{Value, json};

use super::*;
use crate::load::{Failures, Fairness, Held, Latency, Profile, Sample, Sessions};

const SCHEMA: &str = include_str!("../../schema/load-report.schema.json");

fn run(profile: Profile) -> Run {
    let latency = Latency { p50: 1, p95: 2, p99: 3, max: 4 };
    let held = Held::default();
    let failures = [Blame::Ours, Blame::Injected, Blame::Upstream].map(|blame| Failures {
        blame,
        what: "a <failure>".into(),
        count: 1,
    });
    Run {
        load: profile.loads().remove(0),
        seconds: 2.0,
        calls: 10,
        calls_per_second: 5.0,
        latency,
        failures: failures.to_vec(),
        sessions: Sessions { opened: 1, reused: 9 },
        vanished: 0,
        fairness: Fairness { slowest: 5, median: 5 },
        gateway: (profile != Profile::Full).then_some(GatewayFigures {
            cpu_per_call: 50.0,
            peak_memory: 1 << 20,
            threads: 3,
            sockets_before: 2,
            tasks_before: 4,
            sockets_after: 2,
            held_after: held,
            ended_well: true,
        }),
        samples: vec![Sample { at: 1.0, calls_per_second: 5.0, latency, ..Sample::default() }],
        injected_at: vec![0.5, 0.500_01, 0.7],
    }
}

fn report() -> Value {
    let runs = [run(Profile::Smoke), run(Profile::Full), run(Profile::Chaos), run(Profile::Soak)];
    serde_json::to_value(Report { version: VERSION, runs: &runs }).unwrap()
}

fn misfits(report: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut misfits = Vec::new();
    check(&schema, &schema, report, "", &mut misfits);
    misfits
}

/// As much of JSON Schema as ours uses; a word it does not know is a misfit, so that none is believed to be checked.
fn check(root: &Value, schema: &Value, value: &Value, at: &str, misfits: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                check(root, target, value, at, misfits);
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| {
                let mut inner = Vec::new();
                check(root, one, value, at, &mut inner);
                inner.is_empty()
            }),
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                _ => false,
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|it| it.keys().all(|key| known.contains_key(key)))
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(root, inner, value, &format!("{at}/{name}"), misfits);
                    }
                }
                true
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{number}"), misfits);
                }
                true
            }
            _ => false,
        };
        if !fits {
            misfits.push(format!("{at}: {word}"));
        }
    }
}

#[test]
fn the_report_is_as_its_schema_says() {
    assert_eq!(misfits(&report()), [""; 0]);
}

#[test]
fn the_schema_finds_what_is_missing_unknown_or_of_another_type() {
    let mut missing = report();
    missing["runs"][0].as_object_mut().unwrap().remove("calls");
    assert_eq!(misfits(&missing), ["/runs/0: required"]);
    let mut unknown = report();
    unknown["runs"][0]["latency"]["p42"] = json!(1);
    assert_eq!(misfits(&unknown), ["/runs/0/latency: additionalProperties"]);
    let mut other = report();
    other["runs"][1]["failures"][0]["count"] = json!("many");
    assert!(!misfits(&other).is_empty());
}

#[test]
fn the_page_needs_nothing_from_outside_and_lets_no_failure_be_markup() {
    let page = page::draw(&[run(Profile::Smoke)]);
    for outside in ["<script", "<link", "src=", "@import", "a <failure>"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("a &lt;failure&gt;"));
    assert_eq!(page.matches("<svg").count(), 5);
    // A path for all marks, and those that would lie on one another drawn once.
    assert_eq!(page.matches("class=\"mark\"").count(), 5);
    assert_eq!(page.matches("v180").count(), 10);
}

#[test]
fn a_failure_that_is_ours_is_a_fault_and_an_injected_one_is_none() {
    let mut run = run(Profile::Smoke);
    assert_eq!(run.faults_of_ours().len(), 1);
    run.failures.retain(|failures| failures.blame != Blame::Ours);
    assert!(run.faults_of_ours().is_empty());
}

#[test]
fn a_user_who_is_left_behind_is_a_fault() {
    let mut run = run(Profile::Chaos);
    run.failures.clear();
    run.fairness = Fairness { slowest: 4, median: 9 };
    assert_eq!(run.faults_of_ours().len(), 1);
    run.fairness = Fairness { slowest: 5, median: 9 };
    assert!(run.faults_of_ours().is_empty());
}

#[test]
fn what_grows_under_a_steady_load_is_a_fault() {
    let mut run = run(Profile::Soak);
    run.failures.clear();
    run.seconds = 600.0;
    let samples = |memory: fn(u64) -> u64| {
        let sample = |at: u64| Sample { at: at as f64, resident: memory(at), ..Sample::default() };
        (0..600).map(sample).collect::<Vec<_>>()
    };
    // The first minutes do not count.
    run.samples = samples(|at| at.min(100) << 20);
    assert!(run.faults_of_ours().is_empty());
    run.samples = samples(|at| (100 + at) << 20);
    let faults = run.faults_of_ours();
    assert!(matches!(&*faults, [fault] if fault.contains("memory grew")), "{faults:?}");
}
