//! What upstreams ask and say: in the course of a call, and unasked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use http::StatusCode;
use serde_json::{Value, json};
use wharf_gateway::{ScopeSetting, Transport as Spoken};
use wharf_proto::{Json, Message, Notification, Request, code, method, transport::Exchange as _};
use wharf_testkit::Hello;
use wharf_tests::{Cue, Over, Puppet, Reply, Strings, Wharf, Wire, soon};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];
const ALL: &str = r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#;
const QUESTION: &str = r#"{ "messages":[],"maxTokens":184467440737095516160,"x":{ } }"#;
const ANSWER: &str = r#"{ "role":"assistant","y":184467440737095516160,"model":"m" }"#;

/// Begins a call, in which the upstream then does something.
async fn begin(wire: &Wire, strings: &mut Strings, act: impl FnOnce(&Cue)) -> (Reply, Cue) {
    let body = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"p__t"}}"#;
    let play = async {
        let cue = strings.call().await;
        act(&cue);
        cue
    };
    soon("the call begins", async { tokio::join!(wire.post(body), play) }).await
}

async fn answer(wire: &Wire, id: &Value, body: &str) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#);
    assert_eq!(wire.post(body).await.status, StatusCode::ACCEPTED);
}

fn notification(method: &str, params: Option<&str>) -> Notification {
    let params = params.map(|params| Json::parse(params.to_owned()).unwrap());
    Notification::new(method, params.as_ref())
}

#[tokio::test]
async fn x11_what_an_upstream_asks_in_a_call_reaches_that_client_on_that_calls_stream() {
    for path in ["/mcp", "/servers/p/mcp"] {
        let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url(path), ALL).await;
        let bystander = Wire::connect(&wharf.url(path), ALL).await;
        let mut overheard = bystander.listen().await;
        for (asked, id) in [
            (method::CREATE_MESSAGE, json!("q")),
            (method::ELICIT, json!(1)),
            (method::ROOTS_LIST, json!("1")),
        ] {
            let own = wharf_proto::RequestId::from_json(&Json::from_value(&id).unwrap()).unwrap();
            let (mut reply, cue) =
                begin(&wire, &mut strings, |cue| cue.ask(own, asked, QUESTION)).await;
            assert!(reply.is_stream());
            let question = reply.next().await.unwrap();
            let text = std::str::from_utf8(&question).unwrap();
            assert!(text.contains(QUESTION), "{text}");
            let question: Value = serde_json::from_str(text).unwrap();
            assert_eq!(question["method"], asked);
            answer(&wire, &question["id"], &format!(r#""result":{ANSWER}"#)).await;
            let answered = strings.answer().await;
            assert_eq!(answered.id().unwrap().to_json().as_str(), id.to_string());
            assert_eq!(answered.result().map(Json::as_str), Some(ANSWER));
            cue.answer("{}");
            assert_eq!(reply.value().await["id"], "c");
            assert_eq!(reply.next().await, None);
        }
        drop(wharf);
        if let Some(overheard) = overheard.next().await {
            panic!("{overheard:?}");
        }
    }
}

#[tokio::test]
async fn x15_a_clients_refusal_reaches_the_upstream_as_it_is() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), ALL).await;
    let (mut reply, _cue) =
        begin(&wire, &mut strings, |cue| cue.ask(5, method::CREATE_MESSAGE, QUESTION)).await;
    let id = reply.value().await["id"].clone();
    answer(&wire, &id, r#""error":{"code":-1,"message":"no","data":{ "n":1e1 }}"#).await;
    let answered = strings.answer().await;
    assert_eq!(answered.error_code(), Some(-1));
    assert!(std::str::from_utf8(answered.text()).unwrap().contains(r#"{ "n":1e1 }"#));
}

#[tokio::test]
async fn x13_what_the_client_has_not_declared_is_refused_in_its_name() {
    for spoken in BOTH {
        for path in ["/mcp", "/servers/p/mcp"] {
            let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
            let wharf = Wharf::in_front_of([settings]).await;
            let wire = Wire::connect(&wharf.url(path), "{}").await;
            let asked = [method::CREATE_MESSAGE, method::ELICIT, method::ROOTS_LIST, "vendor/odd"];
            let body =
                r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"p__t"}}"#;
            let play = async {
                let cue = strings.call().await;
                for asked in asked {
                    cue.ask(asked, asked, QUESTION);
                    let refused = strings.answer().await;
                    assert_eq!(refused.id().unwrap().to_json().as_str(), format!("\"{asked}\""));
                    assert_eq!(refused.error_code(), Some(code::METHOD_NOT_FOUND), "{asked}");
                }
                cue.answer("{}");
            };
            let both = async { tokio::join!(wire.post(body), play) };
            let (mut reply, ()) = soon("it is refused", both).await;
            // The client hears of nothing but the answer.
            assert_eq!(reply.value().await["id"], "c", "{spoken:?} {path}");
            assert_eq!(reply.next().await, None);
        }
    }
}

#[tokio::test]
async fn x10_a_ping_of_the_upstreams_is_answered_without_the_client() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
        let play = async {
            let cue = strings.call().await;
            cue.ask("ping", method::PING, "{}");
            assert_eq!(strings.answer().await.result().map(Json::as_str), Some("{}"));
            cue.answer("{}");
        };
        let (mut reply, ()) = soon("pong", async { tokio::join!(wire.post(body), play) }).await;
        assert_eq!(reply.value().await["id"], 1);
    }
}

#[tokio::test]
async fn an_answer_to_what_nobody_asked_reaches_no_upstream() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let url = wharf.url("/servers/p/mcp");
    let (wire, thief) = (Wire::connect(&url, ALL).await, Wire::connect(&url, ALL).await);
    let (mut reply, cue) =
        begin(&wire, &mut strings, |cue| cue.ask(5, method::CREATE_MESSAGE, QUESTION)).await;
    let id = reply.value().await["id"].clone();
    answer(&thief, &id, r#""result":{"stolen":true}"#).await;
    answer(&wire, &json!("no such"), r#""result":{"stolen":true}"#).await;
    answer(&wire, &json!(99), r#""result":{"stolen":true}"#).await;
    answer(&wire, &id, r#""result":{"stolen":false}"#).await;
    // A question is answered once.
    answer(&wire, &id, r#""result":{"stolen":true}"#).await;
    let answered = strings.answer().await;
    assert_eq!(answered.result().map(Json::as_str), Some(r#"{"stolen":false}"#));
    cue.answer("{}");
    reply.value().await;
    // Nor is one answered whose call is over.
    let (mut reply, cue) =
        begin(&wire, &mut strings, |cue| cue.ask(6, method::CREATE_MESSAGE, QUESTION)).await;
    let late = reply.value().await["id"].clone();
    cue.answer("{}");
    reply.value().await;
    answer(&wire, &late, r#""result":{"late":true}"#).await;
    let (mut reply, _cue) =
        begin(&wire, &mut strings, |cue| cue.ask(7, method::CREATE_MESSAGE, QUESTION)).await;
    let id = reply.value().await["id"].clone();
    answer(&wire, &id, r#""result":{"late":false}"#).await;
    assert_eq!(strings.answer().await.result().map(Json::as_str), Some(r#"{"late":false}"#));
}

#[tokio::test]
async fn x16_a_question_that_the_upstream_takes_back_is_taken_back_under_the_clients_id() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), ALL).await;
    let (mut reply, cue) = begin(&wire, &mut strings, |cue| {
        cue.ask("q", method::ELICIT, QUESTION);
        // Of a question that the client was not asked it hears nothing.
        cue.say(notification(method::CANCELLED, Some(r#"{"requestId":"other"}"#)));
        cue.say(notification(method::CANCELLED, Some(r#"{"reason":"late","requestId":"q"}"#)));
    })
    .await;
    let id = reply.value().await["id"].clone();
    let taken_back = reply.value().await;
    assert_eq!(taken_back["method"], method::CANCELLED);
    assert_eq!(taken_back["params"], json!({"reason": "late", "requestId": id}));
    cue.answer("{}");
    assert_eq!(reply.value().await["id"], "c");
}

#[tokio::test]
async fn log_lines_in_a_call_come_on_its_stream() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let line = r#"{"level":"info","data":{ "n":184467440737095516160 }}"#;
    let (mut reply, cue) =
        begin(&wire, &mut strings, |cue| cue.say(notification(method::MESSAGE, Some(line)))).await;
    let said = reply.next().await.unwrap();
    let said = std::str::from_utf8(&said).unwrap();
    assert!(said.contains(method::MESSAGE) && said.contains(line), "{said}");
    cue.answer("{}");
    assert_eq!(reply.value().await["id"], "c");
}

#[tokio::test]
async fn what_an_upstream_says_unasked_comes_on_the_listening_stream_of_its_client_alone() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let url = wharf.url("/servers/p/mcp");
        let (a, b) = (Wire::connect(&url, ALL).await, Wire::connect(&url, ALL).await);
        let (of_a, of_b) = (strings.session().await, strings.session().await);
        let (mut hears_a, mut hears_b) = (a.listen().await, b.listen().await);
        assert!(hears_a.is_stream() && hears_b.is_stream());
        // What is said before anybody listens may be lost on SSE, so each says
        // something until it is heard.
        for (session, stream, name) in [(&of_a, &mut hears_a, "a"), (&of_b, &mut hears_b, "b")] {
            let hello = notification("x/hello", Some(&format!(r#"{{"to":"{name}"}}"#)));
            soon("the stream is joined", async {
                loop {
                    session.say(hello.clone());
                    let pause = tokio::time::sleep(std::time::Duration::from_millis(20));
                    tokio::select! {
                        heard = stream.value() => {
                            assert_eq!(heard["params"]["to"], name, "{spoken:?}");
                            return;
                        }
                        () = pause => {}
                    }
                }
            })
            .await;
        }
        let updated = r#"{"uri":"x://y","n":184467440737095516160}"#;
        for (session, name) in [(&of_a, "a"), (&of_b, "b")] {
            for method in [
                method::TOOLS_LIST_CHANGED,
                method::PROMPTS_LIST_CHANGED,
                method::RESOURCES_LIST_CHANGED,
            ] {
                session.say(notification(method, None));
            }
            session.say(notification(method::RESOURCES_UPDATED, Some(updated)));
            session.say(notification("x/end", Some(&format!(r#"{{"to":"{name}"}}"#))));
        }
        for (stream, name) in [(&mut hears_a, "a"), (&mut hears_b, "b")] {
            let mut heard = Vec::new();
            loop {
                let said = stream.next().await.unwrap();
                let text = std::str::from_utf8(&said).unwrap().to_owned();
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["method"] == "x/end" {
                    assert_eq!(said["params"]["to"], name, "{spoken:?}");
                    break;
                }
                if said["method"] == "x/hello" {
                    continue;
                }
                if said["method"] == method::RESOURCES_UPDATED {
                    assert!(text.contains(updated), "{text}");
                }
                heard.push(said["method"].as_str().unwrap().to_owned());
            }
            let expected = [
                method::TOOLS_LIST_CHANGED,
                method::PROMPTS_LIST_CHANGED,
                method::RESOURCES_LIST_CHANGED,
                method::RESOURCES_UPDATED,
            ];
            assert_eq!(heard, expected, "{spoken:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_client_over_sse_hears_and_answers_what_it_is_asked() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let hello = Hello { capabilities: Json::parse(ALL).unwrap(), ..Hello::default() };
        let client = Over::Sse.connect(&wharf, "/servers/p", &hello).await;
        // Over SSE the server listens from the beginning; it shows in the pool.
        soon("the gateway listens", async { while wharf.figures("p").await["leases"] != 1 {} })
            .await;
        let session = strings.session().await;
        let nothing = json!({"name": "t"});
        let mut exchange = client.exchange(method::TOOLS_CALL, &nothing);
        let cue = tokio::select! {
            cue = strings.call() => cue,
            said = exchange.next() => panic!("{said:?}"),
        };
        cue.ask("in a call", method::CREATE_MESSAGE, QUESTION);
        for id in ["in a call", "unasked"] {
            let asked = soon("the client is asked", async {
                tokio::select! {
                    said = client.hear() => said.unwrap(),
                    said = exchange.next() => said.unwrap(),
                }
            })
            .await;
            let Message::Request(question) = asked else { panic!("{asked:?}") };
            assert_eq!(question.params().map(Json::as_str), Some(QUESTION), "{spoken:?} {id}");
            let result = Json::parse(ANSWER).unwrap();
            client.respond(wharf_proto::Response::success(question.id(), &result)).await.unwrap();
            let answered = strings.answer().await;
            assert_eq!(answered.id().unwrap().to_json().as_str(), format!("{id:?}"));
            assert_eq!(answered.result().map(Json::as_str), Some(ANSWER));
            if id == "in a call" {
                let params = Json::parse(QUESTION).unwrap();
                session.say(Request::new(&"unasked".into(), method::ELICIT, Some(&params)));
            }
        }
        cue.answer("{}");
        assert!(soon("the answer", exchange.answer()).await.unwrap().result().is_some());
    }
}

#[tokio::test]
async fn an_unasked_question_that_nobody_hears_is_refused() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        // It listens, and can do nothing.
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let _stream = wire.listen().await;
        let session = strings.session().await;
        let params = Json::parse(QUESTION).unwrap();
        session.say(Request::new(&1.into(), method::CREATE_MESSAGE, Some(&params)));
        assert_eq!(strings.answer().await.error_code(), Some(code::METHOD_NOT_FOUND));
    }
}

#[tokio::test]
async fn x14_what_a_shared_session_asks_unasked_is_nobodys_to_answer() {
    let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    settings.scope = ScopeSetting::Shared;
    let wharf = Wharf::in_front_of([settings]).await;
    let url = wharf.url("/servers/p/mcp");
    let wires = [Wire::connect(&url, ALL).await, Wire::connect(&url, ALL).await];
    let session = strings.session().await;
    // What a client can do is not declared in the name of all.
    assert_eq!(session.hello().param("capabilities").unwrap().as_str(), "{}");
    let mut streams = [wires[0].listen().await, wires[1].listen().await];
    for stream in &mut streams {
        let hello = notification(method::TOOLS_LIST_CHANGED, None);
        soon("the stream is joined", async {
            loop {
                session.say(hello.clone());
                let pause = tokio::time::sleep(std::time::Duration::from_millis(20));
                tokio::select! {
                    _ = stream.value() => return,
                    () = pause => {}
                }
            }
        })
        .await;
    }
    let params = Json::parse(QUESTION).unwrap();
    session.say(Request::new(&1.into(), method::CREATE_MESSAGE, Some(&params)));
    session.say(notification(method::PROMPTS_LIST_CHANGED, None));
    for stream in &mut streams {
        loop {
            let said = stream.value().await;
            assert_ne!(said["method"], method::CREATE_MESSAGE);
            if said["method"] == method::PROMPTS_LIST_CHANGED {
                break;
            }
        }
    }
    assert_eq!(strings.answer().await.error_code(), Some(code::METHOD_NOT_FOUND));
}
