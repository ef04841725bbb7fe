//! Tests of what flags and files mean together.

use std::{ffi::OsString, fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

/// A folder with files in it.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Text with the folder's path taken out.
    fn bare(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn none(_: &str) -> Option<OsString> {
    None
}

fn upstreams(texts: &[&str]) -> SourceArgs {
    let upstreams = texts.iter().map(|&text| text.to_owned()).collect();
    SourceArgs { upstreams, ..SourceArgs::default() }
}

fn planned(args: &ServeArgs) -> Result<Plan, String> {
    Plan::new(args, &LogArgs::default(), &none).map_err(|errors| errors.to_string())
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.settings.upstreams.iter().map(|upstream| upstream.id.as_str()).collect()
}

#[test]
fn flags_alone_are_enough() {
    let sources = upstreams(&["time=http://127.0.0.1:9001/mcp", "b=https://h/?a=b"]);
    let plan = planned(&ServeArgs { sources, ..ServeArgs::default() }).unwrap();
    assert_eq!(ids(&plan), ["time", "b"]);
    assert_eq!(plan.settings.upstreams[1].target.endpoint.uri(), "https://h/?a=b");
    assert_eq!(plan.listen.value.to_string(), "127.0.0.1:8080");
    assert_eq!(plan.admin.value, Admin::On(([127, 0, 0, 1], 8081).into()));
    assert_eq!(plan.log.filter.value, "warn,wharf=info");
    let defaults = format!("{:?}", Settings::new(Vec::new()));
    let settings = Settings { upstreams: Vec::new(), ..plan.settings };
    assert_eq!(format!("{settings:?}"), defaults);
}

#[test]
fn flags_go_before_the_file_and_upstreams_add_up() {
    let folder = Folder::with(&[
        (
            "wharf.toml",
            "listen = \"127.0.0.1:1\"\nadmin = \"off\"\n[limits]\nclients = 7\n\
             [log]\nformat = \"json\"\nfilter = \"debug\"\n\
             [upstream.b]\nurl = \"http://h/b\"\n[upstream.a]\nurl = \"http://h/a\"\n",
        ),
        ("mcp.json", r#"{"mcpServers": {"ide": {"url": "http://h/ide"}}}"#),
    ]);
    let sources = SourceArgs {
        config: Some(folder.path("wharf.toml")),
        mcp_json: Some(folder.path("mcp.json")),
        ..upstreams(&["flag=http://h/flag"])
    };
    let mut args = ServeArgs { sources, ..ServeArgs::default() };
    let plan = planned(&args).unwrap();
    assert_eq!(ids(&plan), ["b", "a", "ide", "flag"]);
    assert_eq!(plan.listen.value.to_string(), "127.0.0.1:1");
    assert_eq!(plan.admin.value, Admin::Off);
    assert_eq!(plan.settings.clients, 7);
    assert_eq!(plan.log.format, LogFormat::Json);
    assert_eq!(plan.log.filter.value, "debug");

    args.listen = Some(([127, 0, 0, 1], 2).into());
    args.admin = Some(Admin::On(([127, 0, 0, 1], 3).into()));
    let log = LogArgs { log_format: Some(LogFormat::Text), log_filter: Some("trace".to_owned()) };
    let plan = Plan::new(&args, &log, &none).unwrap();
    assert_eq!(plan.listen.value.to_string(), "127.0.0.1:2");
    assert_eq!(plan.admin.value, Admin::On(([127, 0, 0, 1], 3).into()));
    assert_eq!(plan.log.format, LogFormat::Text);
    assert_eq!(plan.log.filter.value, "trace");
}

#[test]
fn two_upstreams_of_one_name_are_an_error_with_both_places() {
    let folder = Folder::with(&[
        ("wharf.toml", "\n[upstream.time]\nurl = \"http://h/\"\n"),
        ("mcp.json", "{\"mcpServers\":\n {\"time\": {\"url\": \"http://h/\"}}}"),
    ]);
    let sources = SourceArgs {
        config: Some(folder.path("wharf.toml")),
        mcp_json: Some(folder.path("mcp.json")),
        ..upstreams(&["time=http://h/", "other=http://h/", "other=http://h/"])
    };
    let errors = planned(&ServeArgs { sources, ..ServeArgs::default() }).unwrap_err();
    let expected = "\
mcp.json:2:3: upstream `time` is here a second time; it is first at wharf.toml:2:11
--upstream: upstream `time` is here a second time; it is first at wharf.toml:2:11
--upstream: upstream `other` is here a second time; it is first at --upstream";
    assert_eq!(folder.bare(&errors), expected);
}

#[test]
fn no_upstream_is_an_error_that_says_how_to_name_one() {
    let errors = planned(&ServeArgs::default()).unwrap_err();
    assert_eq!(
        errors,
        "no upstream is named; name one with `--upstream ID=URL`, with `[upstream.ID]` in the \
         file of `--config`, or in the file of `--mcp-json`"
    );
}

#[test]
fn a_broken_flag_is_named_and_its_url_is_not_shown() {
    for (flag, expected) in [
        ("http://h/mcp", "expected ID=URL, such as time=http://127.0.0.1:9001/mcp"),
        ("http://u:s3cret@h/?a=b", "expected ID=URL, such as time=http://127.0.0.1:9001/mcp"),
        ("time=h/?key=s3cret", "this URL cannot be used: it must begin with http:// or https://"),
        (
            "time=http://u:s3cret@h/",
            "this URL cannot be used: it must not hold a user name or a password; send \
             credentials in a header",
        ),
        (
            "a__b=http://h/",
            "\"a__b\" is no id for an upstream: it takes 1 to 32 letters, digits, `-`, and \
             single `_` between them",
        ),
    ] {
        let sources = upstreams(&[flag]);
        let errors = planned(&ServeArgs { sources, ..ServeArgs::default() }).unwrap_err();
        assert_eq!(errors, format!("--upstream: {expected}"), "{flag}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_once() {
    let folder = Folder::with(&[("wharf.toml", "")]);
    fs::write(folder.path("wharf.toml"), [b'a', 0xff]).unwrap();
    let sources = SourceArgs {
        config: Some(folder.path("wharf.toml")),
        mcp_json: Some(folder.path("none.json")),
        ..SourceArgs::default()
    };
    let errors = planned(&ServeArgs { sources, ..ServeArgs::default() }).unwrap_err();
    let expected = "wharf.toml: cannot be read: byte 1 is not UTF-8\n\
                    none.json: cannot be read: No such file or directory (os error 2)";
    assert_eq!(folder.bare(&errors), expected);
}

#[test]
fn a_log_filter_that_is_none_is_named_by_its_place() {
    let folder = Folder::with(&[("wharf.toml", "[log]\nfilter = \"a=b=c\"\n")]);
    let sources =
        SourceArgs { config: Some(folder.path("wharf.toml")), ..upstreams(&["a=http://h/"]) };
    let args = ServeArgs { sources, ..ServeArgs::default() };
    let what = "expected a log filter, such as \"info\" or \"warn,wharf_pool=debug\"";
    assert_eq!(folder.bare(&planned(&args).unwrap_err()), format!("wharf.toml:2:10: {what}"));
    let log = LogArgs { log_filter: Some("a=b=c".to_owned()), ..LogArgs::default() };
    let errors = Plan::new(&args, &log, &none).unwrap_err().to_string();
    assert_eq!(errors, format!("--log: {what}"));
}
