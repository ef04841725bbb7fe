//! What belongs to which call and to which client: progress, cancellation,
//! log lines, questions. A test is named by its row of the protocol's matrix.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use wharf_gateway::{ScopeSetting, Transport as Spoken};
use wharf_proto::{ErrorObject, Json, Notification, Revision, code, method};
use wharf_tests::{Cue, Puppet, Reply, Strings, Wharf, Wire, request, soon, upstream};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];
const ALL: &str = r#"{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{}}"#;
const LOGGING: &str = r#"{"tools":{},"logging":{}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"p__t"}}"#;

fn line(level: &str, number: usize) -> Notification {
    notification(method::MESSAGE, &format!(r#"{{"level":"{level}","data":{number}}}"#))
}

fn notification(method: &str, params: &str) -> Notification {
    Notification::new(method, Some(&Json::parse(params.to_owned()).unwrap()))
}

async fn begin(wire: &Wire, strings: &mut Strings, act: impl FnOnce(&Cue)) -> (Reply, Cue) {
    let play = async {
        let cue = strings.call().await;
        act(&cue);
        cue
    };
    soon("the call begins", async { tokio::join!(wire.post(CALL), play) }).await
}

async fn answer(wire: &Wire, id: &Value, body: &str) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#);
    assert_eq!(wire.post(body).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn x02_progress_after_the_answer_reaches_nobody() {
    for spoken in BOTH {
        for path in ["/mcp", "/servers/p/mcp"] {
            let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
            let wharf = Wharf::in_front_of([settings]).await;
            let wire = Wire::connect(&wharf.url(path), "{}").await;
            let mut stream = wire.listen().await;
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"p__t","_meta":{"progressToken":"mine"}}}"#;
            let play = async {
                let cue = strings.call().await;
                let (token, _) = cue.request.progress_token().unwrap();
                cue.progress("1");
                cue.answer("{}");
                token
            };
            let (mut reply, token) = tokio::join!(wire.post(body), play);
            assert_eq!(reply.value().await["params"]["progressToken"], "mine");
            assert_eq!(reply.value().await["id"], 1);
            // It comes unasked now, in each session that there is.
            let late = format!(r#"{{"progressToken":{},"progress":2}}"#, token.to_json());
            let change = Notification::new(method::TOOLS_LIST_CHANGED, None);
            let session = loop {
                let session = strings.session().await;
                if session.hello().param("clientInfo").unwrap().as_str().contains("wire") {
                    break session;
                }
            };
            soon("the change is heard", async {
                loop {
                    session.say(notification(method::PROGRESS, &late));
                    session.say(change.clone());
                    let pause = tokio::time::sleep(Duration::from_millis(50));
                    tokio::select! {
                        heard = stream.value() => {
                            assert_eq!(heard["method"], method::TOOLS_LIST_CHANGED, "{spoken:?} {path}");
                            break;
                        }
                        () = pause => {}
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn x11_an_elicitation_reaches_the_caller_that_does_not_listen_over_either_transport() {
    for spoken in BOTH {
        for path in ["/mcp", "/servers/p/mcp"] {
            let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
            let wharf = Wharf::in_front_of([settings]).await;
            let wire = Wire::connect(&wharf.url(path), ALL).await;
            let other = Wire::connect(&wharf.url(path), ALL).await;
            for (number, params) in [
                r#"{"message":"m","requestedSchema":{"type":"object","properties":{}}}"#,
                r#"{"mode":"url","message":"m","url":"https://x.example/","elicitationId":"e"}"#,
            ]
            .into_iter()
            .enumerate()
            {
                let id = u64::try_from(number).unwrap() + 70;
                let (mut reply, cue) =
                    begin(&wire, &mut strings, |cue| cue.ask(id, method::ELICIT, params)).await;
                let question = reply.value().await;
                assert_eq!(question["method"], method::ELICIT, "{spoken:?} {path}");
                assert_eq!(question["params"], serde_json::from_str::<Value>(params).unwrap());
                answer(&other, &question["id"], r#""result":{"action":"decline"}"#).await;
                answer(&wire, &question["id"], r#""result":{"action":"accept"}"#).await;
                let answered = strings.answer().await;
                assert_eq!(answered.id().unwrap().as_u64(), Some(id));
                assert_eq!(answered.result().unwrap().as_str(), r#"{"action":"accept"}"#);
                cue.answer("{}");
                assert_eq!(reply.value().await["id"], "c");
                assert_eq!(reply.next().await, None);
            }
        }
    }
}

#[tokio::test]
async fn x13_a_mode_that_the_client_has_not_declared_is_refused_with_invalid_params() {
    let url = r#"{"mode":"url","message":"m","url":"https://x.example/","elicitationId":"e"}"#;
    let tools = r#"{"messages":[],"maxTokens":1,"tools":[]}"#;
    let declared = r#"{"elicitation":{},"sampling":{}}"#;
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/mcp"), declared).await;
        let play = async {
            let cue = strings.call().await;
            for (id, asked, params) in
                [(1_u64, method::ELICIT, url), (2, method::CREATE_MESSAGE, tools)]
            {
                cue.ask(id, asked, params);
                assert_eq!(strings.answer().await.error_code(), Some(code::INVALID_PARAMS));
            }
            cue.answer("{}");
        };
        let (mut reply, ()) = tokio::join!(wire.post(CALL), play);
        assert_eq!(reply.value().await["id"], "c", "{spoken:?}");
    }
}

#[tokio::test]
async fn x12_a_clients_progress_with_an_answer_comes_under_the_upstreams_own_token() {
    for path in ["/mcp", "/servers/p/mcp"] {
        let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url(path), ALL).await;
        let asked = r#"{"messages":[],"maxTokens":1,"_meta":{"progressToken":"theirs"}}"#;
        let (mut reply, cue) =
            begin(&wire, &mut strings, |cue| cue.ask(7, method::CREATE_MESSAGE, asked)).await;
        let question = reply.value().await;
        let token = &question["params"]["_meta"]["progressToken"];
        wire.tell(method::PROGRESS, r#"{"progressToken":"nobody's","progress":9}"#).await;
        wire.tell(method::PROGRESS, &format!(r#"{{"progressToken":{token},"progress":1.50}}"#))
            .await;
        let heard = strings.heard(method::PROGRESS).await;
        let expected = r#"{"progressToken":"theirs","progress":1.50}"#;
        assert_eq!(heard.params().map(Json::as_str), Some(expected), "{path}");
        answer(&wire, &question["id"], r#""result":{}"#).await;
        strings.answer().await;
        cue.answer("{}");
        reply.value().await;
    }
}

/// Reads log lines until the one that ends them.
async fn lines(stream: &mut Reply, last: usize) -> Vec<usize> {
    let mut heard = Vec::new();
    loop {
        let said = stream.value().await;
        if said["method"] != method::MESSAGE {
            continue;
        }
        let number = usize::try_from(said["params"]["data"].as_u64().unwrap()).unwrap();
        if number == last {
            return heard;
        }
        heard.push(number);
    }
}

#[tokio::test]
async fn x17_each_sharer_of_a_session_hears_the_lines_of_its_own_level() {
    for spoken in BOTH {
        let (puppet, mut strings) = Puppet::offering(LOGGING, Default::default()).await;
        let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
        let mut settings = upstream("p", &url);
        (settings.transport, settings.scope) = (spoken, ScopeSetting::Shared);
        let wharf = Wharf::in_front_of([settings]).await;
        let url = wharf.url("/servers/p/mcp");
        let (a, b) = (Wire::connect(&url, "{}").await, Wire::connect(&url, "{}").await);
        let session = strings.session().await;
        let told = async {
            let error = strings.serve(method::SET_LEVEL, "{}").await;
            let debug = strings.serve(method::SET_LEVEL, "{}").await;
            [error, debug].map(|told| told.param("level").unwrap().as_str().to_owned())
        };
        let set = async {
            assert!(a.ask(method::SET_LEVEL, r#"{"level":"error"}"#).await["result"].is_object());
            assert!(b.ask(method::SET_LEVEL, r#"{"level":"debug"}"#).await["result"].is_object());
            // The session has the lower one, which is enough for this one too.
            assert!(a.ask(method::SET_LEVEL, r#"{"level":"alert"}"#).await["result"].is_object());
        };
        let (told, ()) = tokio::join!(told, set);
        assert_eq!(told, [r#""error""#, r#""debug""#], "{spoken:?}");
        let (mut of_a, mut of_b) = (a.listen().await, b.listen().await);
        let mut joined = [false; 2];
        soon("both listen", async {
            while joined != [true; 2] {
                session.say(line("emergency", 0));
                let pause = tokio::time::sleep(Duration::from_millis(20));
                tokio::select! {
                    _ = of_a.next(), if !joined[0] => joined[0] = true,
                    _ = of_b.next(), if !joined[1] => joined[1] = true,
                    () = pause => {}
                }
            }
        })
        .await;
        for (number, level) in ["debug", "error", "alert", "emergency"].into_iter().enumerate() {
            session.say(line(level, number + 1));
        }
        session.say(line("emergency", 9));
        let heard = [lines(&mut of_a, 9).await, lines(&mut of_b, 9).await];
        let heard =
            heard.map(|all| all.into_iter().filter(|number| *number > 0).collect::<Vec<_>>());
        assert_eq!(heard, [vec![3, 4], vec![1, 2, 3, 4]], "{spoken:?}");
    }
}

#[tokio::test]
async fn x17_one_level_goes_to_every_upstream_that_writes_a_log() {
    let (first, mut of_first) = Puppet::offering(LOGGING, Default::default()).await;
    let (second, mut of_second) = Puppet::offering(LOGGING, Default::default()).await;
    let (mute, mut of_mute) = Puppet::start(Default::default()).await;
    let upstreams = [("p", first.url()), ("q", second.url()), ("mute", mute.url())];
    let wharf = Wharf::in_front_of(upstreams.map(|(id, url)| upstream(id, &url))).await;
    let declared = r#"{"roots":{}}"#;
    let wire = Wire::connect(&wharf.url("/mcp"), declared).await;
    assert!(wire.greeting()["result"]["capabilities"]["logging"].is_object());
    let set = wire.ask(method::SET_LEVEL, r#"{"level":"warning"}"#);
    let (set, of_p, of_q) = tokio::join!(
        set,
        of_first.serve(method::SET_LEVEL, "{}"),
        of_second.serve(method::SET_LEVEL, "{}"),
    );
    assert_eq!(set["result"], json!({}));
    for told in [of_p, of_q] {
        assert_eq!(told.params().unwrap().as_str(), r#"{"level":"warning"}"#);
    }
    assert!(!of_mute.has_call());
    // What an upstream writes unasked is heard from all, and filtered here for
    // those that do not care about levels.
    let mut stream = wire.listen().await;
    let sessions =
        [of_first.session_declaring(declared).await, of_second.session_declaring(declared).await];
    for (place, session) in sessions.iter().enumerate() {
        soon("lines are heard", async {
            loop {
                session.say(line("info", 100));
                session.say(line("error", place));
                let pause = tokio::time::sleep(Duration::from_millis(20));
                tokio::select! {
                    said = stream.value() => {
                        assert_ne!(said["params"]["data"], 100, "{said}");
                        if said["params"]["data"] == place {
                            break;
                        }
                    }
                    () = pause => {}
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn x18_a_level_that_is_none_is_refused() {
    let (puppet, mut strings) = Puppet::offering(LOGGING, Default::default()).await;
    let mut shared = upstream("shared", &puppet.url());
    shared.scope = ScopeSetting::Shared;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url()), shared]).await;
    for path in ["/mcp", "/servers/shared/mcp"] {
        let wire = Wire::connect(&wharf.url(path), "{}").await;
        for params in [r#"{"level":"bogus"}"#, r#"{"level":7}"#, "{}"] {
            let refused = wire.ask(method::SET_LEVEL, params).await;
            assert_eq!(refused["error"]["code"], code::INVALID_PARAMS, "{path} {params}");
        }
    }
    // A session of the client's own is the upstream's to refuse.
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let refuse = async {
        strings.call().await.fail(&ErrorObject::new(code::INVALID_PARAMS, "what is bogus?"));
    };
    let (refused, ()) = tokio::join!(wire.ask(method::SET_LEVEL, r#"{"level":"bogus"}"#), refuse);
    assert_eq!(refused["error"]["message"], "what is bogus?");
}

#[tokio::test]
async fn x21_a_url_elicitation_and_its_end_reach_the_client_that_was_sent_there_alone() {
    let data = r#"{"elicitations":[{"mode":"url","elicitationId":"e-1","url":"https://x.example/","message":"m"}]}"#;
    for (path, scope) in [
        ("/mcp", ScopeSetting::Client),
        ("/servers/p/mcp", ScopeSetting::Client),
        ("/servers/p/mcp", ScopeSetting::Shared),
    ] {
        let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
        settings.scope = scope;
        let wharf = Wharf::in_front_of([settings]).await;
        let a = Wire::connect_by(Revision::V2025_11_25, &wharf.url(path), ALL).await;
        let b = Wire::connect_by(Revision::V2025_11_25, &wharf.url(path), ALL).await;
        let refuse = async {
            let cue = strings.call().await;
            let error = ErrorObject::new(code::URL_ELICITATION_REQUIRED, "go there");
            cue.fail(&error.with_data(Json::parse(data).unwrap()));
        };
        let (refused, ()) = tokio::join!(a.ask(method::TOOLS_CALL, r#"{"name":"p__t"}"#), refuse);
        assert_eq!(refused["error"]["code"], code::URL_ELICITATION_REQUIRED);
        assert_eq!(refused["error"]["data"], serde_json::from_str::<Value>(data).unwrap());
        let declared = if scope == ScopeSetting::Shared { "{}" } else { ALL };
        let session = strings.session_declaring(declared).await;
        let (mut of_a, mut of_b) = (a.listen().await, b.listen().await);
        let done = notification(method::ELICITATION_COMPLETE, r#"{"elicitationId":"e-1"}"#);
        soon("the end is heard", async {
            loop {
                session.say(done.clone());
                let pause = tokio::time::sleep(Duration::from_millis(20));
                tokio::select! {
                    heard = of_a.value() => break assert_eq!(heard["method"], method::ELICITATION_COMPLETE),
                    heard = of_b.value() => panic!("{path} {scope:?}: {heard}"),
                    () = pause => {}
                }
            }
        })
        .await;
        drop(wharf);
        if let Some(heard) = of_b.next().await {
            panic!("{path} {scope:?}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn changed_roots_are_told_to_the_upstreams_that_the_client_has_been_to() {
    let declared = r#"{"roots":{"listChanged":true}}"#;
    let (first, mut of_first) = Puppet::start(Default::default()).await;
    let (second, mut of_second) = Puppet::start(Default::default()).await;
    let upstreams = [upstream("p", &first.url()), upstream("q", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let client = Wire::connect(&wharf.url("/mcp"), declared).await;
    let (answered, _) = tokio::join!(
        client.ask(method::TOOLS_CALL, r#"{"name":"p__t"}"#),
        of_first.serve(method::TOOLS_CALL, "{}"),
    );
    assert!(answered["result"].is_object());
    client.tell(method::ROOTS_LIST_CHANGED, "{}").await;
    of_first.heard(method::ROOTS_LIST_CHANGED).await;
    assert!(!of_second.has_heard(method::ROOTS_LIST_CHANGED));
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn the_trace_of_a_call_goes_on_to_the_upstream() {
    for (path, spoken) in [("/mcp", Spoken::StreamableHttp), ("/servers/p/mcp", Spoken::Sse)] {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let url = wharf.url(path);
        let wire = Wire::connect(&url, "{}").await;
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", wire.session()),
            ("traceparent", PARENT),
            ("tracestate", "vendor=1"),
        ];
        let sent = request("POST", &url, &headers, CALL);
        let (mut reply, ()) = tokio::join!(sent, async {
            let cue = strings.call().await;
            let expected = json!({"traceparent": PARENT, "tracestate": "vendor=1"});
            let meta: Value = cue.request.param("_meta").unwrap().read().unwrap();
            assert_eq!(meta, expected, "{path}");
            assert_eq!(cue.headers["traceparent"], PARENT, "{path}");
            assert_eq!(cue.headers["tracestate"], "vendor=1", "{path}");
            cue.answer("{}");
        });
        assert_eq!(reply.value().await["id"], "c");
    }
}

#[tokio::test]
async fn a_trace_in_a_message_goes_on_in_the_headers_too_and_nothing_else_does() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    for (meta, parent, state) in [
        (json!({"traceparent": PARENT, "tracestate": "a=1"}), Some(PARENT), Some("a=1")),
        (json!({"traceparent": PARENT, "tracestate": "a=1\r\nevil: 1"}), Some(PARENT), None),
        (json!({"traceparent": format!("{PARENT}\r\nevil: 1"), "tracestate": "a=1"}), None, None),
        (json!({}), None, None),
    ] {
        let params = json!({"name": "t", "_meta": meta}).to_string();
        let (answered, ()) = tokio::join!(wire.ask(method::TOOLS_CALL, &params), async {
            let cue = strings.call().await;
            let told = |name| cue.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!((told("traceparent"), told("tracestate")), (parent, state), "{meta}");
            assert_eq!(told("evil"), None);
            let passed: Value = cue.request.param("_meta").unwrap().read().unwrap();
            assert_eq!(passed, meta);
            cue.answer("{}");
        });
        assert!(answered["result"].is_object());
    }
}
