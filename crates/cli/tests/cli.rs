//! The built command: what it answers, what it says of bad input, and its
//! exit status.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use wharf_testkit::{FastTest, FastTime, Upstream, UpstreamSettings};

mod circular;
#[cfg(unix)]
mod running;

/// How a command ended.
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

/// The command, with these arguments, in a folder of its own.
struct Wharf {
    command: Command,
    folder: tempfile::TempDir,
}

// === impl Wharf ===

impl Wharf {
    fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).current_dir(folder.path()).env_remove("NOT_SET");
        Self { command, folder }
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).expect("the folder is ours");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn run(self) -> Ended {
        self.run_with("")
    }

    fn run_with(mut self, input: &str) -> Ended {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
        // A command that does not read its input may be gone by now.
        let _ = child.stdin.take().expect("is a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the command ends");
        Ended {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).expect("it writes text"),
            err: String::from_utf8(output.stderr).expect("it writes text"),
        }
    }
}

// === impl Ended ===

impl Ended {
    /// It failed with this status, and said exactly this.
    #[track_caller]
    fn failed(&self, status: i32, err: &str) {
        assert_eq!(self.err, err);
        assert_eq!(self.status, Some(status));
    }

    /// It failed with this status, and this is among what it said.
    #[track_caller]
    fn failed_saying(&self, status: i32, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert_eq!(self.status, Some(status), "{}", self.err);
    }

    #[track_caller]
    fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }
}

/// Waits until something is so in the upstream, which another process causes.
async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it comes to be so");
}

fn serve_with(file: &str) -> Ended {
    Wharf::with(&["serve", "--config", "wharf.toml"]).file("wharf.toml", file).run()
}

#[test]
fn an_unknown_key_is_a_broken_configuration() {
    serve_with("[log]\nfromat = \"json\"\n[upstream.a]\nurl = \"http://h\"\n").failed(
        2,
        "error: wharf.toml:2:1: unknown key `fromat` (did you mean `format`?); expected one of \
         `format`, `filter`\n",
    );
}

#[test]
fn a_bad_url_is_a_broken_configuration_and_is_not_shown() {
    serve_with("[upstream.a]\nurl = \"ftp://u:pw@h/?key=s3cret\"\n").failed(
        2,
        "error: wharf.toml:2:7: this URL cannot be used: it must begin with http:// or https://\n",
    );
}

#[test]
fn a_missing_variable_is_a_broken_configuration() {
    let file = "[upstream.a]\nurl = \"http://h\"\nheaders = { X = \"${SET}${NOT_SET}\" }\n";
    let wharf = Wharf::with(&["serve", "--config", "wharf.toml"]).file("wharf.toml", file);
    wharf.variable("SET", "s3cret").run().failed(
        2,
        "error: wharf.toml:3:13: the variable `NOT_SET` is not set; set it, or give a default as \
         in `${NOT_SET:-default}`\n",
    );
}

#[test]
fn two_upstreams_of_one_name_are_a_broken_configuration() {
    serve_with("[upstream.a]\nurl = \"http://h\"\n[upstream.a]\n").failed(
        2,
        "error: wharf.toml:3:11: `a` is here a second time; it is first at wharf.toml:1:11\n",
    );
    let flags = ["serve", "--config", "wharf.toml", "--upstream", "a=http://i"];
    let wharf = Wharf::with(&flags).file("wharf.toml", "[upstream.a]\nurl = \"http://h\"\n");
    wharf.run().failed(
        2,
        "error: --upstream: upstream `a` is here a second time; it is first at wharf.toml:1:11\n",
    );
}

#[test]
fn a_stdio_entry_is_refused_by_name() {
    let file = r#"{"mcpServers": {"files": {"command": "npx", "args": ["-y", "files"]}}}"#;
    let wharf = Wharf::with(&["serve", "--mcp-json", "mcp.json"]).file("mcp.json", file);
    wharf.run().failed(
        2,
        "error: mcp.json:1:17: `files` is a command to start (stdio), which is not supported yet; \
         start it behind a bridge to streamable HTTP or SSE, and give its `url` here\n",
    );
}

#[test]
fn a_missing_file_and_no_upstream_at_all_are_broken_configurations() {
    Wharf::with(&["serve", "--config", "none.toml"])
        .run()
        .failed(2, "error: none.toml: cannot be read: No such file or directory (os error 2)\n");
    Wharf::with(&["serve"]).run().failed(
        2,
        "error: no upstream is named; name one with `--upstream ID=URL`, with `[upstream.ID]` in \
         the file of `--config`, or in the file of `--mcp-json`\n",
    );
}

#[test]
fn a_port_in_use_is_told_with_the_flag_that_chose_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cause = "listens there\ncaused by: Address already in use";

    let upstream = ["serve", "--log", "warn", "--upstream", "a=http://127.0.0.1:9/mcp"];
    let mut wharf = Wharf::with(&upstream);
    wharf.command.args(["--listen", &address, "--admin", "off"]);
    let place = format!("error: cannot listen on {address} (--listen): another process");
    wharf.run().failed_saying(2, &[&place, cause]);

    let file = format!("admin = \"{address}\"\n");
    let mut wharf = Wharf::with(&upstream).file("wharf.toml", &file);
    wharf.command.args(["--listen", "127.0.0.1:0", "--config", "wharf.toml"]);
    let place = format!("error: cannot listen on {address} (wharf.toml:1:9): another process");
    wharf.run().failed_saying(2, &[&place, cause]);
}

#[test]
fn a_flag_or_a_command_that_does_not_exist_is_a_broken_command_line() {
    Wharf::with(&["serve", "--listne", "x"])
        .run()
        .failed_saying(2, &["unexpected argument '--listne'", "--listen"]);
    Wharf::with(&["sevre"]).run().failed_saying(2, &["unrecognized subcommand 'sevre'"]);
    Wharf::with(&["serve", "--listen", "localhost"])
        .run()
        .failed_saying(2, &["expected an address and a port, such as 127.0.0.1:8080"]);
    Wharf::with(&["list", "http://h", "--log", "a=b=c"]).run().failed(
        2,
        "error: --log: expected a log filter, such as \"info\" or \"warn,wharf_pool=debug\"\n",
    );
}

#[test]
fn arguments_that_are_not_json_are_a_broken_command_line() {
    let call = ["call", "http://127.0.0.1:9/mcp", "echo"];
    Wharf::with(&[&call[..], &["{\"message\": hello}"]].concat()).run().failed(
        2,
        "error: the tool's arguments are not JSON: expected value at line 1 column 13\n",
    );
    Wharf::with(&[&call[..], &["-"]].concat()).run_with("[1]").failed(
        2,
        "error: the tool's arguments must be a JSON object, such as {\"message\": \"hello\"}\n",
    );
    Wharf::with(&["call", "127.0.0.1:9/mcp", "echo"])
        .run()
        .failed(2, "error: this URL cannot be used: it must begin with http:// or https://\n");
    Wharf::with(&[&call[..], &["--header", "s3cret"]].concat())
        .run()
        .failed(2, "error: --header: expected `Name: value`\n");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_a_failure_with_its_causes() {
    let refused = ["cannot be reached", "caused by: ", "Connection refused"];
    let call = Wharf::with(&["call", "http://127.0.0.1:9/mcp?key=s3cret", "echo"]).run();
    call.failed_saying(1, &refused);
    call.failed_saying(1, &["error: cannot open a session with http://127.0.0.1:9/mcp\n"]);
    assert!(!call.err.contains("s3cret"), "{}", call.err);
    Wharf::with(&["list", "http://127.0.0.1:9/mcp"]).run().failed_saying(1, &refused);

    let check = Wharf::with(&["check", "--upstream", "a=http://127.0.0.1:9/mcp?key=s3cret"]).run();
    assert_eq!((check.status, check.err.as_str()), (Some(1), ""));
    assert!(check.out.contains("http://127.0.0.1:9/mcp  fails, see below\n"), "{}", check.out);
    assert!(check.out.contains("Connection refused"), "{}", check.out);
    assert!(!check.out.contains("s3cret"), "{}", check.out);
}

#[test]
fn a_broken_configuration_is_json_where_a_script_wants_it() {
    let flags = ["check", "--json", "--config", "wharf.toml"];
    let check = Wharf::with(&flags).file("wharf.toml", "\ncolour = 1\n").run();
    assert_eq!((check.status, check.err.as_str()), (Some(2), ""));
    let report: serde_json::Value = serde_json::from_str(&check.out).unwrap();
    let error = &report["errors"][0];
    assert_eq!(
        (&error["file"], &error["line"], &error["column"]),
        (&"wharf.toml".into(), &2.into(), &1.into())
    );
    assert!(error["message"].as_str().unwrap().starts_with("unknown key `colour`"));
}

#[tokio::test]
async fn a_tool_is_called_over_either_transport() {
    let upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    for url in [upstream.url(), upstream.sse_url()] {
        let call = |rest: &[&str]| Wharf::with(&[&["call", &url], rest].concat());
        assert_eq!(call(&["echo", r#"{"message": "hello"}"#]).run().fine(), "hello\n");
        assert_eq!(call(&["echo", "-"]).run_with(r#"{"message": "piped"}"#).fine(), "piped\n");

        let raw = call(&["echo", r#"{"message": "raw"}"#, "--json"]).run().fine();
        let raw: serde_json::Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(raw["content"][0]["text"], "raw");

        let failed = call(&["echo", r#"{"message": 1}"#]).run();
        failed.failed(1, "error: the tool \"echo\" says that it failed\n");
        assert!(!failed.out.is_empty());
        call(&["no_such_tool"]).run().failed_saying(
            1,
            &["error: cannot call \"no_such_tool\"\n", "the server refused tools/call"],
        );
        // Over SSE the goodbye is the end of the stream, which takes a moment
        // to be noticed.
        until(|| upstream.sessions() == 0).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_call_is_cancelled_and_its_session_ended() {
    let upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let arguments = ["call", &upstream.url(), "echo", r#"{"message": "late", "delay": 60000}"#];
    let mut call = Wharf::with(&arguments);
    let child = call.command.stderr(Stdio::piped()).spawn().unwrap();
    until(|| upstream.backend().state().count() > 0).await;
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), &b""[..]));
    assert_eq!(upstream.requests().rpc("notifications/cancelled"), 1);
    assert_eq!(upstream.sessions(), 0);
}

#[tokio::test]
async fn a_server_is_listed() {
    let upstream = Upstream::start(FastTime::new(), UpstreamSettings::default()).await.unwrap();
    let text = Wharf::with(&["list", &upstream.url()]).run().fine();
    for part in ["tools: 2\n", "  convert_time     ", "prompts: ", "resources: ", "templates: "] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let json = Wharf::with(&["list", &upstream.url(), "--json"]).run().fine();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["transport"], "streamable-http");
    assert_eq!(json["protocolVersion"], "2025-11-25");
    assert_eq!(json["tools"].as_array().unwrap().len(), 2);
    assert!(json["tools"][0]["inputSchema"].is_object());
    assert!(json["resourceTemplates"].is_array());
}

#[test]
fn a_list_whose_pages_lead_back_is_refused() {
    let listed = Wharf::with(&["list", &circular::server()]).run();
    listed.failed(
        1,
        "error: the server's answer to tools/list names a page as the next that was asked for \
         already\n",
    );
}

#[tokio::test]
async fn a_check_tries_every_upstream() {
    let upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let (http, sse) = (format!("http={}", upstream.url()), format!("sse={}", upstream.sse_url()));
    let flags = ["check", "--upstream", &http, "--upstream", &sse];
    let text = Wharf::with(&flags).run().fine();
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!(
        rows[1][..5],
        ["http", &upstream.url(), "streamable-http", "2025-11-25", "fast-test"]
    );
    assert_eq!(rows[2][..4], ["sse", &upstream.sse_url(), "sse", "2025-11-25"]);

    let dead = [&flags[..], &["--upstream", "dead=http://127.0.0.1:9/mcp", "--json"]].concat();
    let check = Wharf::with(&dead).run();
    assert_eq!((check.status, check.err.as_str()), (Some(1), ""));
    let report: serde_json::Value = serde_json::from_str(&check.out).unwrap();
    let found = report["upstreams"].as_array().unwrap();
    let found: Vec<_> = found.iter().map(|it| (it["id"].as_str(), it["ok"].as_bool())).collect();
    let expected = [("http", true), ("sse", true), ("dead", false)];
    assert_eq!(found, expected.map(|(id, ok)| (Some(id), Some(ok))));
    assert_eq!(report["upstreams"][0]["tools"], 4);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut wharf = Wharf::with(&["completions", "bash"]);
    let mut child = wharf.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Wharf::with(&["completions", shell]).run().fine();
        assert!(script.contains("serve") && script.contains("mcp-json"), "{shell}");
    }
}

#[cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    any(target_env = "gnu", target_env = "musl")
))]
#[test]
fn its_allocator_asks_for_large_pages_and_keeps_what_is_free_for_a_minute() {
    let ended =
        Wharf::with(&["--version"]).variable("_RJEM_MALLOC_CONF", "confirm_conf:true").run();
    let built_in = ended.err.lines().find(|line| line.contains("--with-malloc-conf"));
    assert!(
        built_in.is_some_and(|line| line.ends_with("thp:always,dirty_decay_ms:60000\"")),
        "not built with the settings of .cargo/config.toml: build within the workspace, without \
         X86_64_UNKNOWN_LINUX_*_JEMALLOC_SYS_WITH_MALLOC_CONF in the environment\n{}",
        ended.err
    );
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
    assert!(status.success());
}
