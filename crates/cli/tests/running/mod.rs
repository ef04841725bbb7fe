//! The gateway as a process: served until it is told to stop, and told to read
//! its configuration anew.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use wharf_testkit::{FastTest, FastTime, Upstream, UpstreamSettings};

use super::{Wharf, signal, until};

/// A gateway that runs. Killed when it is dropped.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
    url: String,
}

impl Running {
    /// Starts it and waits until it says where it listens.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(arguments)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut lines = BufReader::new(child.stderr.take().expect("is a pipe")).lines();
        let first = lines.next().expect("it logs").expect("it logs text");
        let first: serde_json::Value = serde_json::from_str(&first).expect("it logs JSON");
        let url = first["streamable_http"].as_str().expect("it says where").to_owned();
        Self { child, lines, url }
    }

    /// Asks it to read its configuration anew. What it logs, up to `last`.
    fn hang_up(&mut self, last: &str) -> String {
        signal(&self.child, "HUP");
        let mut said = String::new();
        while !said.contains(last) {
            let line = self.lines.next().expect("it goes on").expect("it logs text");
            said.push_str(&line);
            said.push('\n');
        }
        said
    }

    /// Waits for its end: its status and the rest of its log.
    fn end(mut self) -> (Option<i32>, String) {
        let rest: Vec<_> = self.lines.by_ref().map_while(Result::ok).collect();
        let status = self.child.wait().expect("the command ends");
        (status.code(), rest.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where all went well it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_gateway_serves_until_it_is_told_to_stop() {
    let upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = format!("[upstream.fast]\nurl = \"{}\"\n", upstream.url());
    fs::write(folder.path().join("wharf.toml"), file).unwrap();

    for name in ["TERM", "INT"] {
        let gateway = Running::start(folder.path(), &["--config", "wharf.toml"]);
        let call = ["call", &gateway.url, "fast__echo", r#"{"message": "through"}"#];
        assert_eq!(Wharf::with(&call).run().fine(), "through\n");
        signal(&gateway.child, name);
        let (status, log) = gateway.end();
        assert_eq!(status, Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
    }
    assert_eq!(upstream.sessions(), 0, "every session was ended");
}

#[tokio::test]
async fn a_hangup_has_it_read_its_configuration_anew_and_a_faulty_one_changes_nothing() {
    let fast = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let time = Upstream::start(FastTime::new(), UpstreamSettings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join("wharf.toml"), text).unwrap();
    let first = format!("[upstream.fast]\nurl = \"{}\"\n", fast.url());
    write(&first);
    let mut gateway = Running::start(folder.path(), &["--config", "wharf.toml"]);
    let url = gateway.url.clone();
    let echo = || Wharf::with(&["call", &url, "fast__echo", r#"{"message": "m"}"#]).run();
    assert_eq!(echo().fine(), "m\n");

    write("limts = 1\n[upstream.time]\nurl = \"http://h\"\nheaders = { X = \"${NOT_SET}\" }\n");
    let said = gateway.hang_up("what was configured before goes on");
    for part in ["wharf.toml:1:1: unknown key `limts`", "wharf.toml:4:13: the variable `NOT_SET`"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(echo().fine(), "m\n");

    let fixed = "admin = \"off\"\n[limits]\nclients = 7\n[log]\nfilter = \"info\"\n";
    write(&format!("{fixed}{first}[upstream.time]\nurl = \"{}\"\n", time.url()));
    let said = gateway.hang_up("the configuration has been read anew");
    for part in [r#""setting":"log.filter""#, r#""setting":"limits.clients""#, r#""id":"time""#] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    // A flag goes before the file, and has not changed.
    assert!(!said.contains(r#""setting":"admin""#), "{said}");
    let ask = ["call", &url, "time__get_system_time", r#"{"timezone": "UTC"}"#];
    assert!(!Wharf::with(&ask).run().fine().is_empty());
    assert_eq!(echo().fine(), "m\n");
    signal(&gateway.child, "TERM");
    let (status, log) = gateway.end();
    assert_eq!(status, Some(0), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fast = format!("fast={}", upstream.url());
    let gateway = Running::start(folder.path(), &["--upstream", &fast]);
    let call = ["call", &gateway.url, "fast__echo", r#"{"message": "late", "delay": 60000}"#];
    let mut call = Wharf::with(&call);
    let mut caller = call.command.stderr(Stdio::null()).spawn().unwrap();
    until(|| upstream.backend().state().count() > 0).await;
    signal(&gateway.child, "TERM");
    signal(&gateway.child, "INT");
    let (status, log) = gateway.end();
    assert!(matches!(status, Some(130 | 143)), "{status:?} {log}");
    caller.kill().unwrap();
    caller.wait().unwrap();
}
