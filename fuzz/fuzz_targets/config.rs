//! Both formats of the configuration: whatever is in a file, it is read or
//! refused.

#![no_main]

use config::{Findings, Reading, Source, mcp_json, schema};

// The module is of the binary `wharf`, and stands alone.
#[allow(dead_code, unused_imports, reason = "the binary uses more of it")]
#[path = "../../crates/cli/src/config/mod.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text, |reading| drop(schema::read(reading)));
        read(text, |reading| drop(mcp_json::read(reading)));
    }
});

fn read(text: &str, reader: fn(Reading<'_>)) {
    let (source, findings) = (Source::new("file", text), Findings::default());
    let variables = |name: &str| (name == "TOKEN").then(|| "s3cret".into());
    reader(Reading { source: &source, variables: &variables, findings: &findings });
    if let Err(errors) = findings.conclude() {
        let shown = errors.to_string();
        assert!(!shown.is_empty());
        assert!(!shown.contains("s3cret") || text.contains("s3cret"), "{shown}");
    }
}
