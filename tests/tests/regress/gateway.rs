//! The rows that are about a whole gateway: real sockets, real transports.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use wharf_gateway::{Transport as Spoken, UpstreamSettings};
use wharf_proto::{Json, Message, Response, method, transport::Exchange as _};
use wharf_testkit::{
    FastTime, Faulty, FaultySettings, Hello, Script, TestClient, When,
    faulty::{Dress, Fault, Status},
};
use wharf_tests::{Over, Wharf, Wire, error_of, outcome, serving, soon, until, upstream};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];

async fn faulty(script: Script) -> Faulty {
    Faulty::start(script, FaultySettings::default()).await.expect("it starts")
}

fn reached(faulty: &Faulty, spoken: Spoken) -> UpstreamSettings {
    let url = if spoken == Spoken::Sse { faulty.sse_url() } else { faulty.url() };
    UpstreamSettings { transport: spoken, ..upstream("f", &url) }
}

async fn tool(client: &TestClient, name: &str, arguments: Value) -> String {
    let call = soon(name, client.call_tool(name, &arguments)).await;
    call.unwrap_or_else(|error| panic!("{name}: {error:?}")).text()
}

async fn tried(client: &TestClient, name: &str, arguments: Value) -> Response {
    let call = json!({"name": name, "arguments": arguments});
    soon(name, client.call(method::TOOLS_CALL, &call)).await.expect("the gateway answers")
}

#[tokio::test]
async fn a19_a_prompt_is_got_over_a_pooled_session() {
    for spoken in BOTH {
        let time = serving(FastTime::new()).await;
        let url = if spoken == Spoken::Sse { time.sse_url() } else { time.url() };
        let settings = UpstreamSettings { transport: spoken, ..upstream("time", &url) };
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.server(&wharf, "time").await;
        let arguments = json!({"timezones": "Europe/Berlin,Asia/Tokyo"});
        let asked = json!({"name": "compare_timezones", "arguments": arguments});
        for _ in 0..2 {
            let answer = soon("a prompt", client.call(method::PROMPTS_GET, &asked)).await;
            let answer = answer.expect("it is answered");
            assert!(outcome(&answer).contains("Asia/Tokyo"), "{}", outcome(&answer));
        }
        assert_eq!(time.requests().rpc(method::PROMPTS_GET), 2);
        assert_eq!(time.requests().rpc(method::INITIALIZE), 1, "{spoken:?}");
    }
}

/// Opens a session, uses it, stops the gateway: what the upstream has of it.
async fn opened_and_ended(spoken: Spoken) -> (usize, u64, u64) {
    let faulty = faulty(Script::new()).await;
    let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
    let client = Over::Http.server(&wharf, "f").await;
    tool(&client, "echo", json!({"message": "m"})).await;
    assert_eq!(faulty.record().so_far().sessions().now, 1);
    wharf.stop().await;
    let seen = soon("it ends", faulty.record().wait_for(|seen| seen.sessions().now == 0)).await;
    (seen.deletes().count(), seen.sessions().ever, seen.streams().now)
}

#[tokio::test]
async fn b4_a_session_over_sse_is_opened_kept_and_closed_with_its_stream() {
    assert_eq!(opened_and_ended(Spoken::Sse).await, (0, 1, 0));
}

#[tokio::test]
async fn b5_a_session_over_streamable_http_is_opened_kept_and_deleted() {
    assert_eq!(opened_and_ended(Spoken::StreamableHttp).await, (1, 1, 0));
}

#[tokio::test]
async fn b6_who_stops_listening_harms_no_session() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let wire = Wire::connect(&wharf.url("/servers/f/mcp"), "{}").await;
        let stream = wire.listen().await;
        soon("a stream", faulty.record().wait_for(|seen| seen.streams().now == 1)).await;
        drop(stream);
        for round in 0..3 {
            faulty.announce(method::TOOLS_LIST_CHANGED);
            let call = format!(
                r#"{{"jsonrpc":"2.0","id":{round},"method":"tools/call","params":{{"name":"add","arguments":{{"n":1}}}}}}"#
            );
            let mut reply = wire.post(call).await;
            // What is announced meanwhile may come before it.
            let answer = loop {
                let said = reply.value().await;
                if said["id"] == round {
                    break said;
                }
            };
            assert_eq!(answer["result"]["content"][0]["text"], (round + 1).to_string());
        }
    }
}

#[tokio::test]
async fn b10_a_clients_session_id_never_reaches_an_upstream() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let wire = Wire::connect(&wharf.url("/servers/f/mcp"), "{}").await;
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
        assert_eq!(wire.post(call).await.status, StatusCode::OK);
        let seen = faulty.record().so_far();
        assert!(seen.calls("whoami").count() == 1, "{seen:?}");
        for arrival in seen.requests() {
            let values = arrival.headers().values();
            let tells = values.into_iter().any(|value| value == wire.session());
            assert!(!tells && arrival.header("x-mcp-session-id").is_none(), "{arrival:?}");
        }
    }
}

#[tokio::test]
async fn b11_what_is_configured_for_connecting_is_used_by_every_request() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let mut settings = reached(&faulty, spoken);
        settings.target.headers.insert("x-fleet", HeaderValue::from_static("harbour"));
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.server(&wharf, "f").await;
        tool(&client, "echo", json!({"message": "m"})).await;
        wharf.stop().await;
        let seen = faulty.record().so_far();
        assert!(seen.requests().len() >= 3, "{seen:?}");
        for arrival in seen.requests() {
            assert_eq!(arrival.header("x-fleet"), Some("harbour"), "{arrival:?}");
        }
    }
}

#[tokio::test]
async fn b17_what_an_upstream_says_unasked_is_heard_by_who_listens() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let client = Over::Http.server(&wharf, "f").await;
        client.listen();
        soon("a stream", faulty.record().wait_for(|seen| seen.streams().now == 1)).await;
        // Until somebody listens nobody hears it, and over SSE the stream tells
        // nothing of that: it is there from the beginning.
        let heard = async {
            loop {
                faulty.announce(method::RESOURCES_LIST_CHANGED);
                let heard = timeout(Duration::from_millis(50), client.hear()).await;
                if let Ok(message) = heard {
                    break message.expect("the session goes on");
                }
            }
        };
        let heard = soon("it is heard", heard).await;
        assert!(
            matches!(heard, Message::Notification(n) if n.method() == method::RESOURCES_LIST_CHANGED)
        );
    }
}

#[tokio::test]
async fn b18_what_nobody_listens_to_harms_no_session() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let client = Over::Http.server(&wharf, "f").await;
        for round in 1..=3 {
            faulty.announce(method::TOOLS_LIST_CHANGED);
            assert_eq!(tool(&client, "add", json!({"n": 1})).await, round.to_string());
        }
        assert_eq!(faulty.record().so_far().sessions().ever, 1);
    }
}

#[tokio::test]
async fn r1984_every_change_that_is_announced_is_told_and_only_to_its_upstreams_clients() {
    let [first, second] = [faulty(Script::new()).await, faulty(Script::new()).await];
    let wharf = Wharf::in_front_of([upstream("a", &first.url()), upstream("b", &second.url())]);
    let wharf = wharf.await;
    let of_first = Over::Http.server(&wharf, "a").await;
    let of_second = Over::Http.server(&wharf, "b").await;
    for (client, faulty) in [(&of_first, &first), (&of_second, &second)] {
        client.listen();
        soon("a stream", faulty.record().wait_for(|seen| seen.streams().now == 1)).await;
    }
    // In a burst, of which none may be taken for a repetition.
    for _ in 0..5 {
        first.announce(method::TOOLS_LIST_CHANGED);
    }
    second.announce(method::PROMPTS_LIST_CHANGED);
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(soon("a change", of_first.hear()).await.expect("the session goes on"));
    }
    let is = |message: &Message, method: &str| matches!(message, Message::Notification(said) if said.method() == method);
    assert!(heard.iter().all(|said| is(said, method::TOOLS_LIST_CHANGED)), "{heard:?}");
    let other = soon("a change", of_second.hear()).await.expect("the session goes on");
    assert!(is(&other, method::PROMPTS_LIST_CHANGED), "{other:?}");
}

#[tokio::test]
async fn r2360_nothing_is_left_of_clients_that_went_away() {
    let runtime = tokio::runtime::Handle::current();
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let tasks_before = runtime.metrics().num_alive_tasks();
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let asleep = json!({"name": "sleep", "arguments": {"ms": 3_600_000}});
        for round in 1..=3 {
            let clients = join_all((0..10).map(|_| Over::Sse.server(&wharf, "f"))).await;
            let mut calls: Vec<_> =
                clients.iter().map(|client| client.exchange(method::TOOLS_CALL, &asleep)).collect();
            // Under way, and then their clients are gone.
            let are_asleep =
                faulty.record().wait_for(|seen| seen.calls("sleep").count() == 10 * round);
            tokio::select! {
                answers = join_all(calls.iter_mut().map(|call| call.next())) => panic!("{answers:?}"),
                _ = soon("the calls run", are_asleep) => {}
            }
            drop((calls, clients));
        }
        let ended = faulty.record().wait_for(|seen| seen.sessions().now == 0);
        let seen = soon("their sessions end", ended).await;
        assert_eq!((seen.sessions().ever, seen.streams().now), (30, 0), "{spoken:?}");
        wharf.is_empty("f").await;
        wharf.stop().await;
        until("all tasks end", || runtime.metrics().num_alive_tasks() <= tasks_before).await;
    }
}

#[tokio::test]
async fn r3371_the_error_in_an_upstreams_refusal_reaches_the_caller() {
    let refusal = Status::new(500).json_rpc(-32050, "out of beans");
    let faulty = faulty(Script::new().on(When::tool("echo"), refusal)).await;
    let wharf = Wharf::in_front_of([reached(&faulty, Spoken::StreamableHttp)]).await;
    let client = Over::Http.server(&wharf, "f").await;
    let error = error_of(&tried(&client, "echo", json!({"message": "m"})).await);
    assert_eq!((&error["code"], &error["message"]), (&json!(-32050), &json!("out of beans")));
    assert!(error["data"]["gateway"].is_null(), "it is the upstream's: {error}");
}

#[tokio::test]
async fn r4205_what_one_client_adds_up_is_not_seen_by_another_of_the_same_user() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let (a, b) = (Over::Http.server(&wharf, "f").await, Over::Http.server(&wharf, "f").await);
        assert_eq!(tool(&a, "add", json!({"n": 5})).await, "5");
        assert_eq!(tool(&b, "add", json!({"n": 3})).await, "3", "{spoken:?}");
        assert_eq!(tool(&a, "add", json!({"n": 0})).await, "5");
    }
}

#[tokio::test]
async fn r4346_what_an_upstream_asks_in_a_call_is_asked_of_that_calls_client() {
    for spoken in BOTH {
        let faulty = faulty(Script::new()).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let capabilities = Json::parse(r#"{"elicitation":{}}"#).expect("it is JSON");
        let hello = Hello { capabilities, ..Hello::default() };
        let client = Over::Http.connect(&wharf, "/servers/f", &hello).await;
        if spoken == Spoken::Sse {
            // Such an upstream does not say in which call it asks.
            client.listen();
            soon("the client listens", async { while wharf.figures("f").await["leases"] != 1 {} })
                .await;
        }
        let asks = json!({"name": "ask", "arguments": {"kind": "elicitation"}});
        let mut call = client.exchange(method::TOOLS_CALL, &asks);
        let question = soon("it is asked", async {
            tokio::select! {
                said = call.next() => said.expect("the call goes on"),
                said = client.hear() => said.expect("the session goes on"),
            }
        })
        .await;
        let Message::Request(question) = question else { panic!("{spoken:?}: {question:?}") };
        assert_eq!(question.method(), method::ELICIT);
        let answer = Json::parse(r#"{"action":"accept","content":{"name":"Wilma"}}"#);
        let answer = Response::success(question.id(), &answer.expect("it is JSON"));
        client.respond(answer).await.expect("the answer is taken");
        let answer = soon("the call ends", call.answer()).await.expect("it is answered");
        assert!(outcome(&answer).contains("Wilma"), "{}", outcome(&answer));
    }
}

#[tokio::test]
async fn r5079_calls_at_once_on_one_session_get_their_own_answers_in_any_order() {
    for spoken in BOTH {
        let script = Script::new()
            .on(When::tool("echo").nth(1), Fault::Overtaken(9))
            .on(When::tool("echo").nth(2), Fault::Overtaken(8))
            .on(When::tool("echo").nth(3), Fault::StrangeIdFirst)
            .on(When::tool("echo").nth(4), Fault::Twice);
        let faulty = faulty(script).await;
        let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
        let client = Over::Http.server(&wharf, "f").await;
        let nonces: Vec<_> = (0..10).map(|number| format!("nonce {number}")).collect();
        let calls = nonces.iter().map(|nonce| tool(&client, "echo", json!({"message": nonce})));
        let answers: Vec<_> = soon("ten answers", join_all(calls)).await;
        assert_eq!(answers, nonces, "{spoken:?}");
        let ids: HashSet<_> =
            faulty.record().so_far().calls("echo").map(|call| call.id().cloned()).collect();
        assert_eq!(ids.len(), 10, "no two of them have one id");
    }
}

#[tokio::test]
async fn r5631_an_error_says_what_went_wrong_and_holds_no_secret() {
    let rows = [
        (Fault::status(401), "401"),
        (Fault::status(403), "403"),
        (Fault::status(500), "500"),
        (Fault::status(503), "503"),
        (Fault::WrongContentType("text/html".into()), "text/html"),
        (Fault::ResetBeforeHeaders, "broke"),
        (Fault::Malformed, "not JSON-RPC"),
        (Fault::EndWithoutAnswer, "without a response"),
    ];
    let faulty = faulty(Script::new()).await;
    let url = format!("{}?api_key=s3cr3t", faulty.url());
    let mut settings = upstream("f", &url);
    settings.transport = Spoken::StreamableHttp;
    settings.target.headers.insert("authorization", HeaderValue::from_static("Bearer s3cr3t"));
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.server(&wharf, "f").await;
    let mut said = Vec::new();
    for (fault, word) in rows {
        faulty.script().clear();
        faulty.script().push(When::tool("echo"), fault);
        let error = error_of(&tried(&client, "echo", json!({"message": "m"})).await);
        let text = error["message"].as_str().expect("there is a message");
        assert!(text.contains(word), "{word}: {text}");
        said.push(error.to_string());
    }
    faulty.crash().await;
    let error = error_of(&tried(&client, "echo", json!({"message": "m"})).await);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("cannot be reached")));
    said.push(error.to_string());
    for path in ["/admin/pool", "/metrics"] {
        let page = wharf_tests::request("GET", &wharf.admin_url(path), &[], "").await;
        assert_eq!(page.status, StatusCode::OK);
        said.push(String::from_utf8_lossy(&page.whole().await).into_owned());
    }
    for text in said {
        assert!(!text.contains("s3cr3t") && !text.contains("api_key"), "{text}");
    }
}

#[tokio::test]
async fn e6c7e9c16_a_session_that_is_gone_is_replaced_however_it_is_said() {
    for dress in Dress::ALL {
        let gone = Fault::SessionGone(dress);
        let faulty = faulty(Script::new().on(When::tool("run_once").nth(2), gone)).await;
        let wharf = Wharf::in_front_of([reached(&faulty, Spoken::StreamableHttp)]).await;
        let client = Over::Http.server(&wharf, "f").await;
        for token in ["first", "second", "third"] {
            let ran = tool(&client, "run_once", json!({"token": token})).await;
            assert_eq!(ran, "ran 1 times", "{dress:?}, {token}");
        }
        assert_eq!(faulty.record().so_far().sessions().ever, 2, "{dress:?}");
    }
}
