//! The binaries, from outside.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::json;
use wharf_proto::{Json, method};
use wharf_testkit::TestClient;

const FAST_TEST: &str = env!("CARGO_BIN_EXE_fast-test");
const FAST_TIME: &str = env!("CARGO_BIN_EXE_fast-time");

/// A program that is killed where the test does not end it.
struct Program(Child);

impl Program {
    /// Starts it on a free port and reads the URLs that it prints.
    fn start<const URLS: usize>(path: &str, flags: &[&str]) -> (Self, [String; URLS]) {
        let mut child = Command::new(path)
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let urls = std::array::from_fn(|_| {
            let line = lines.next().expect("there is a line a URL");
            let line = line.expect("it is text");
            let (_, url) = line.split_once(" is at ").expect("the line names a URL");
            url.to_owned()
        });
        (Self(child), urls)
    }

    /// Tells it to end, and waits until it has.
    fn end(mut self) -> bool {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("there is a `kill`").success());
        self.0.wait().expect("it can be waited for").success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(path: &str, flags: &[&str]) -> Output {
    let ran = Command::new(path).args(flags).output();
    ran.expect("the program is built")
}

#[tokio::test]
async fn fast_test_serves_both_transports_and_ends_when_it_is_told_to() {
    let (program, [http, sse]) = Program::start(FAST_TEST, &[]);
    let over_http = TestClient::connect_http(&http).await.unwrap();
    let over_sse = TestClient::connect_sse(&sse).await.unwrap();
    for client in [&over_http, &over_sse] {
        let arguments = json!({"message": "hello"});
        let answer = client.call_tool("echo", &arguments).await.unwrap();
        assert_eq!(answer.text(), "hello");
    }
    // With sessions open and a stream listening.
    over_http.listen();
    let told = tokio::time::Instant::now();
    let ended = tokio::task::spawn_blocking(|| program.end()).await;
    assert!(ended.unwrap());
    // Streams are ended, and not waited for until the patience is at its end.
    assert!(told.elapsed() < Duration::from_secs(4));
    over_sse.ended().await;
}

#[tokio::test]
async fn the_flags_are_heeded() {
    let flags = [
        "--transport",
        "streamable-http",
        "--answers",
        "event-stream",
        "--no-sessions",
        "--page-size",
        "1",
    ];
    let (_program, [http]) = Program::start(FAST_TIME, &flags);
    let client = TestClient::connect_http(&http).await.unwrap();
    assert!(!client.has_session());
    let listed = client.call(method::TOOLS_LIST, &json!({})).await.unwrap();
    let tools = listed.result().and_then(|result| result.field("tools"));
    assert_eq!(tools.as_ref().and_then(Json::items).map(|all| all.len()), Some(1));
    assert!(listed.result().unwrap().field("nextCursor").is_some());
}

#[test]
fn a_bad_flag_is_explained_with_status_2() {
    for flags in [["--transport", "carrier-pigeon"], ["--listen", "nowhere"], ["--page-size", "0"]]
    {
        let output = run(FAST_TEST, &flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(flags[0]) && text.contains(flags[1]), "{text}");
    }
}

#[test]
fn a_port_in_use_is_explained_with_status_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(FAST_TIME, &["--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = format!("fast-time: cannot listen at {address}: ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(output.stdout.is_empty());
}
