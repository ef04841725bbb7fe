//! The tasks of 2025-11-25: what is said of a task after the call that made it
//! has been answered.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use wharf_gateway::{ScopeSetting, Transport as Spoken};
use wharf_proto::{Json, Notification, ProgressToken, Revision, method};
use wharf_tests::{Puppet, PuppetSession, Reply, Strings, Wharf, Wire, soon, upstream};

const OFFER: &str =
    r#"{"tools":{},"logging":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;

/// A client that listens, and the session that the puppet has with it.
struct Stage {
    wire: Wire,
    stream: Reply,
    session: Arc<PuppetSession>,
    strings: Strings,
}

impl Stage {
    async fn set(wharf: &Wharf, path: &str, scope: ScopeSetting, mut strings: Strings) -> Self {
        let wire = Wire::connect_by(Revision::V2025_11_25, &wharf.url(path), "{}").await;
        let stream = wire.listen().await;
        // Whoever has called has a session.
        let params = r#"{"name":"p__t"}"#;
        let served = strings.serve(method::TOOLS_CALL, "{}");
        tokio::join!(wire.ask(method::TOOLS_CALL, params), served);
        // What is shared is opened in Wharf's name.
        let name = if scope == ScopeSetting::Shared { "wharf" } else { "wire" };
        let session = loop {
            let session = strings.session().await;
            if session.hello().param("clientInfo").unwrap().as_str().contains(name) {
                break session;
            }
        };
        let mut stage = Self { wire, stream, session, strings };
        is_heard(&stage.session, &mut stage.stream).await;
        stage
    }

    /// What the client hears next.
    async fn hears(&mut self) -> Value {
        hears(&mut self.stream).await
    }

    /// Makes a task, and says which token the puppet has for its progress.
    async fn make_task(&mut self, id: &str) -> ProgressToken {
        let params = r#"{"name":"p__t","task":{},"_meta":{"progressToken":1}}"#;
        let made = format!(r#"{{"task":{{"taskId":"{id}","status":"working"}}}}"#);
        let served = self.strings.serve(method::TOOLS_CALL, &made);
        let (answered, asked) = tokio::join!(self.wire.ask(method::TOOLS_CALL, params), served);
        assert_eq!(answered["result"]["task"]["taskId"], id);
        asked.progress_token().unwrap().0
    }
}

/// Waits until what the puppet says unasked reaches a client.
async fn is_heard(session: &PuppetSession, stream: &mut Reply) {
    soon("the client is told something", async {
        loop {
            session.say(line("early"));
            tokio::select! {
                _ = stream.value() => break,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    })
    .await;
}

/// What a client hears next.
async fn hears(stream: &mut Reply) -> Value {
    loop {
        let heard = soon("something is heard", stream.value()).await;
        if heard["params"]["data"] != "early" {
            return heard["params"].clone();
        }
    }
}

fn line(data: &str) -> Notification {
    notification(method::MESSAGE, &format!(r#"{{"level":"info","data":"{data}"}}"#))
}

fn progress(token: &ProgressToken, done: u32) -> Notification {
    let params = format!(r#"{{"progressToken":{},"progress":{done}}}"#, token.to_json());
    notification(method::PROGRESS, &params)
}

fn notification(method: &str, params: &str) -> Notification {
    Notification::new(method, Some(&Json::parse(params.to_owned()).unwrap()))
}

async fn stage(spoken: Spoken, path: &str) -> (wharf_testkit::Upstream<Puppet>, Wharf, Stage) {
    stage_in(ScopeSetting::Client, spoken, path).await
}

async fn stage_in(
    scope: ScopeSetting,
    spoken: Spoken,
    path: &str,
) -> (wharf_testkit::Upstream<Puppet>, Wharf, Stage) {
    let (puppet, strings) = Puppet::offering(OFFER, Default::default()).await;
    let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
    let mut settings = upstream("p", &url);
    (settings.transport, settings.scope) = (spoken, scope);
    if scope == ScopeSetting::Shared {
        // Of several that are shared, one is listened to: nothing tells which.
        settings.limits.sessions_per_key = 1;
    }
    let wharf = Wharf::in_front_of([settings]).await;
    let stage = Stage::set(&wharf, path, scope, strings).await;
    (puppet, wharf, stage)
}

#[tokio::test]
async fn the_progress_of_a_task_reaches_its_client_until_the_task_is_over() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for path in ["/mcp", "/servers/p/mcp"] {
            let (_puppet, _wharf, mut stage) = stage(spoken, path).await;
            let token = stage.make_task("x").await;
            let other = stage.make_task("y").await;
            // Unasked, under the token that the client has given.
            stage.session.say(progress(&token, 1));
            assert_eq!(stage.hears().await, json!({"progressToken": 1, "progress": 1}));
            // On the stream of whoever waits for the task.
            let body =
                r#"{"jsonrpc":"2.0","id":2,"method":"tasks/result","params":{"taskId":"x"}}"#;
            let (mut reply, ()) = tokio::join!(stage.wire.post(body), async {
                let cue = stage.strings.call().await;
                cue.say(progress(&token, 2));
                cue.answer("{}");
            });
            let said = reply.value().await;
            assert_eq!(said["params"], json!({"progressToken": 1, "progress": 2}), "{spoken:?}");
            assert_eq!(reply.value().await["id"], 2);
            // With its result the task is over, and the other one is not.
            stage.session.say(progress(&token, 3));
            stage.session.say(progress(&other, 4));
            assert_eq!(stage.hears().await, json!({"progressToken": 1, "progress": 4}));
            let over = r#"{"taskId":"y","status":"failed"}"#;
            stage.session.say(notification(method::TASKS_STATUS, over));
            assert_eq!(stage.hears().await["status"], "failed");
            stage.session.say(progress(&other, 5));
            stage.session.say(line("last"));
            assert_eq!(stage.hears().await["data"], "last", "{spoken:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_task_that_is_over_when_it_is_asked_for_or_cancelled_has_no_more_progress() {
    for path in ["/mcp", "/servers/p/mcp"] {
        let (_puppet, _wharf, mut stage) = stage(Spoken::StreamableHttp, path).await;
        for asking in [method::TASKS_GET, method::TASKS_CANCEL] {
            let [token, other] = [stage.make_task("x").await, stage.make_task("y").await];
            for (status, is_over) in [("working", false), ("cancelled", true)] {
                let answer = format!(r#"{{"taskId":"x","status":"{status}"}}"#);
                let served = stage.strings.serve(asking, &answer);
                tokio::join!(stage.wire.ask(asking, r#"{"taskId":"x"}"#), served);
                stage.session.say(progress(&token, 1));
                stage.session.say(progress(&other, 2));
                let heard = stage.hears().await["progress"].clone();
                assert_eq!(heard, if is_over { 2 } else { 1 }, "{path} {asking} {status}");
                if !is_over {
                    assert_eq!(stage.hears().await["progress"], 2);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_was_to_become_a_task_and_did_not_leaves_no_token() {
    let (_puppet, _wharf, mut stage) = stage(Spoken::StreamableHttp, "/mcp").await;
    let params = r#"{"name":"p__t","task":{},"_meta":{"progressToken":1}}"#;
    let served = stage.strings.serve(method::TOOLS_CALL, r#"{"content":[]}"#);
    let (_, asked) = tokio::join!(stage.wire.ask(method::TOOLS_CALL, params), served);
    stage.session.say(progress(&asked.progress_token().unwrap().0, 1));
    stage.session.say(line("last"));
    assert_eq!(stage.hears().await["data"], "last");
}

#[tokio::test]
async fn the_progress_of_a_task_reaches_nobody_else_who_shares_the_session() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        let (_puppet, wharf, mut stage) =
            stage_in(ScopeSetting::Shared, spoken, "/servers/p/mcp").await;
        let other =
            Wire::connect_by(Revision::V2025_11_25, &wharf.url("/servers/p/mcp"), "{}").await;
        let mut of_other = other.listen().await;
        is_heard(&stage.session, &mut of_other).await;
        let token = stage.make_task("x").await;
        stage.session.say(progress(&token, 1));
        stage.session.say(line("last"));
        assert_eq!(stage.hears().await, json!({"progressToken": 1, "progress": 1}), "{spoken:?}");
        assert_eq!(hears(&mut of_other).await["data"], "last", "{spoken:?}");
    }
}

#[tokio::test]
async fn who_shares_a_session_is_shown_its_own_tasks_and_reaches_no_others() {
    let (_puppet, wharf, mut stage) =
        stage_in(ScopeSetting::Shared, Spoken::StreamableHttp, "/mcp").await;
    let other = Wire::connect_by(Revision::V2025_11_25, &wharf.url("/mcp"), "{}").await;
    let served = stage.strings.serve(method::TOOLS_CALL, "{}");
    tokio::join!(other.ask(method::TOOLS_CALL, r#"{"name":"p__t"}"#), served);
    stage.make_task("mine").await;
    let all = r#"{"tasks":[{"taskId":"mine"}]}"#;
    for (wire, expected) in [(&stage.wire, json!([{"taskId": "mine"}])), (&other, json!([]))] {
        let served = stage.strings.serve(method::TASKS_LIST, all);
        let (listed, _) = tokio::join!(wire.ask(method::TASKS_LIST, "{}"), served);
        assert_eq!(listed["result"]["tasks"], expected);
    }
    let reached = other.ask(method::TASKS_GET, r#"{"taskId":"mine"}"#).await;
    assert_eq!(reached["error"]["code"], wharf_proto::code::INVALID_PARAMS, "{reached}");
}

#[tokio::test]
async fn the_end_of_a_task_is_not_that_of_another_upstreams_with_the_same_id() {
    let (first, mut of_first) = Puppet::offering(OFFER, Default::default()).await;
    let (second, mut of_second) = Puppet::offering(OFFER, Default::default()).await;
    let mut upstreams = [upstream("p", &first.url()), upstream("q", &second.url())];
    upstreams.iter_mut().for_each(|settings| settings.transport = Spoken::StreamableHttp);
    let wharf = Wharf::in_front_of(upstreams).await;
    let declared = r#"{"roots":{}}"#;
    let wire = Wire::connect_by(Revision::V2025_11_25, &wharf.url("/mcp"), declared).await;
    let mut stream = wire.listen().await;
    let made = r#"{"task":{"taskId":"1","status":"working"}}"#;
    let mut tokens = Vec::new();
    for (name, strings) in [("p__t", &mut of_first), ("q__t", &mut of_second)] {
        let params =
            format!(r#"{{"name":"{name}","task":{{}},"_meta":{{"progressToken":"{name}"}}}}"#);
        let served = strings.serve(method::TOOLS_CALL, made);
        let (_, asked) = tokio::join!(wire.ask(method::TOOLS_CALL, &params), served);
        tokens.push(asked.progress_token().unwrap().0);
    }
    let session = of_first.session_declaring(declared).await;
    is_heard(&session, &mut stream).await;
    // The one that was made last is asked for.
    let over = of_second.serve(method::TASKS_GET, r#"{"taskId":"1","status":"completed"}"#);
    tokio::join!(wire.ask(method::TASKS_GET, r#"{"taskId":"1"}"#), over);
    session.say(progress(&tokens[0], 1));
    session.say(line("last"));
    assert_eq!(hears(&mut stream).await["progressToken"], "p__t");
}
