//! The gateway in front of an upstream that does wrong: what the caller is
//! told, and when; that no other caller is hurt; that the books balance; and
//! that the next call is answered.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use wharf_gateway::{ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::{Response, method, transport::Exchange as _};
use wharf_testkit::{
    Faulty, FaultySettings, Script, TestClient, When,
    faulty::{Fault, Form, Gate, Memory},
};
use wharf_tests::{Over, Wharf, error_of, gateway_error, outcome, soon, upstream};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];

/// How soon a caller hears of what the upstream's end of the connection tells.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the caller of a call sees of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The answer.
    Answer,
    /// At once an error of the gateway's: the call may have run.
    Lost,
    /// At once an error of the gateway's: the call has not run.
    Refused,
    /// Nothing before the call's own time is up: there is nothing to see.
    Silence,
}

use Sees::{Answer, Lost, Refused, Silence};

/// The faults that strike an answer, and what is seen of each over streamable
/// HTTP and over HTTP+SSE.
fn faults() -> Vec<(Fault, Sees, Sees)> {
    let html = || Fault::WrongContentType("text/html".into());
    vec![
        (Fault::Hang, Silence, Silence),
        (Fault::HangAfterHeaders, Silence, Silence),
        (Fault::Close, Lost, Lost),
        (Fault::ResetBeforeHeaders, Lost, Lost),
        (Fault::ResetAfterHeaders, Lost, Lost),
        (Fault::ResetMidEvent, Lost, Lost),
        (Fault::ResetMidJson, Lost, Lost),
        (Fault::EndWithoutAnswer, Lost, Lost),
        (Fault::status(401), Refused, Refused),
        (Fault::status(403), Refused, Refused),
        (Fault::status(500), Lost, Lost),
        (Fault::status(503), Lost, Lost),
        // Over HTTP+SSE no answer has a content type of its own, and what
        // cannot be read, or names no call, cannot be told to belong to one.
        (html(), Lost, Answer),
        (Fault::Malformed, Lost, Silence),
        (Fault::StrangeIdInstead, Lost, Silence),
        (Fault::StrangeIdFirst, Answer, Answer),
        (Fault::Twice, Answer, Answer),
        (Fault::HugeEvent(2 * 1024 * 1024), Lost, Lost),
        (Fault::Drip(Duration::from_millis(1)), Answer, Answer),
        (Fault::Late(Duration::from_millis(100)), Answer, Answer),
        (Fault::Crash, Lost, Lost),
        (Fault::Restart(Memory::Kept), Lost, Lost),
        (Fault::Restart(Memory::Lost), Lost, Lost),
    ]
}

async fn start(form: Form) -> Faulty {
    let settings = FaultySettings { form, ..FaultySettings::default() };
    Faulty::start(Script::new(), settings).await.expect("it starts")
}

fn reached(faulty: &Faulty, spoken: Spoken) -> UpstreamSettings {
    let url = if spoken == Spoken::Sse { faulty.sse_url() } else { faulty.url() };
    UpstreamSettings { transport: spoken, ..upstream("f", &url) }
}

fn ask(name: &str, arguments: &Value) -> Value {
    json!({"name": name, "arguments": arguments})
}

async fn call(client: &TestClient, name: &str, arguments: Value) -> Response {
    let asked = ask(name, &arguments);
    soon(name, client.call(method::TOOLS_CALL, &asked)).await.expect("the gateway answers")
}

/// A call that is to be answered.
async fn works(client: &TestClient, name: &str, arguments: Value) -> String {
    let answer = call(client, name, arguments).await;
    let result: Value = serde_json::from_str(outcome(&answer)).expect("it is JSON");
    let text = result["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("{name}: {result}")).to_owned()
}

/// One fault, from one end to the other.
async fn meet(spoken: Spoken, form: Form, fault: Fault, sees: Sees) {
    let row = format!("{} over {spoken:?} as {form:?}", fault.name());
    let faulty = start(form).await;
    let mut settings = reached(&faulty, spoken);
    settings.call_timeout = (sees == Silence).then_some(Duration::from_millis(300));
    let wharf = Wharf::start([settings], |settings| settings.max_message = 1024 * 1024).await;
    let caller = Over::Http.server(&wharf, "f").await;
    let bystander = Over::Http.server(&wharf, "f").await;
    works(&caller, "add", json!({"n": 1})).await;
    let is_death = matches!(fault, Fault::Crash | Fault::Restart(_));
    let is_crash = matches!(fault, Fault::Crash);

    let gate = Gate::new();
    faulty.script().push(When::tool("look"), Fault::Held(gate.clone()));
    faulty.script().push(When::tool("run_once"), fault);
    let looks = ask("look", &json!({"token": "bystander"}));
    let mut look = bystander.exchange(method::TOOLS_CALL, &looks);
    let fall = async {
        if !is_death && sees != Silence {
            let looked = faulty.record().wait_for(|seen| seen.executions("bystander") == 1);
            soon("the bystander's call runs", looked).await;
        }
        let begun = Instant::now();
        let answer = call(&caller, "run_once", json!({"token": "caller"})).await;
        let took = begun.elapsed();
        gate.open();
        (answer, took)
    };
    let (looked, (answer, took)) = tokio::join!(soon("the bystander", look.answer()), fall);
    judge(&row, &answer, sees, took);
    if !is_death && sees != Silence {
        let looked = looked.expect("the gateway answers");
        assert!(outcome(&looked).contains("ran 1 times"), "{row}: {}", outcome(&looked));
    }
    wharf.is_at_rest("f").await;
    let ran = faulty.record().executions("caller");
    assert!(ran <= 1 && (sees != Refused || ran == 0), "{row}: it ran {ran} times");

    faulty.script().clear();
    if is_crash {
        faulty.revive(Memory::Lost).await.expect("its port is its own");
    }
    assert_eq!(works(&caller, "echo", json!({"message": "next"})).await, "next", "{row}");
    wharf.stop().await;
}

fn judge(row: &str, answer: &Response, sees: Sees, took: Duration) {
    match sees {
        Answer => assert!(outcome(answer).contains("ran 1 times"), "{row}: {}", outcome(answer)),
        Lost | Refused => {
            let error = gateway_error(answer, "f", sees == Lost);
            assert!(took < AT_ONCE, "{row}: after {took:?}: {error}");
        }
        Silence => {
            let error = gateway_error(answer, "f", true);
            assert_eq!(error["data"]["reason"], "timeout", "{row}: {error}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_an_answer_as_an_event_stream_is_told_to_its_caller_and_to_nobody_else() {
    for (fault, sees, _) in faults() {
        meet(Spoken::StreamableHttp, Form::EventStream, fault, sees).await;
    }
}

#[tokio::test]
async fn every_fault_of_an_answer_as_json_is_told_to_its_caller_and_to_nobody_else() {
    for (fault, sees, _) in faults() {
        meet(Spoken::StreamableHttp, Form::Json, fault, sees).await;
    }
}

#[tokio::test]
async fn every_fault_of_an_answer_over_sse_is_told_to_its_caller() {
    for (fault, _, sees) in faults() {
        // Over HTTP+SSE the stream that breaks is one client's session.
        meet(Spoken::Sse, Form::EventStream, fault, sees).await;
    }
}

#[tokio::test]
async fn a_call_that_ran_out_of_time_is_cancelled_upstream() {
    for spoken in BOTH {
        let faulty = start(Form::EventStream).await;
        let mut settings = reached(&faulty, spoken);
        settings.call_timeout = Some(Duration::from_millis(200));
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.server(&wharf, "f").await;
        let answer = call(&client, "sleep", json!({"ms": 3_600_000})).await;
        let _ = gateway_error(&answer, "f", true);
        let told = faulty.record().wait_for(|seen| seen.cancelled().count() == 1);
        let seen = soon("it is told", told).await;
        assert_eq!(seen.cancelled().next().and_then(|call| call.tool()), Some("sleep"));
    }
}

/// A first contact that fails: what the caller is told, and that the second
/// succeeds.
async fn fails_to_open(spoken: Spoken, when: When, fault: Fault, word: &str) {
    let row = format!("{} over {spoken:?} at {when:?}", fault.name());
    let faulty = start(Form::EventStream).await;
    let mut settings = reached(&faulty, spoken);
    settings.limits.open_timeout = Duration::from_millis(500);
    // The gateway's own attempts, for its lists, are not to close the door.
    settings.limits.breaker.failures = 1000;
    faulty.script().push(when, fault);
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.everything(&wharf).await;
    let answer = call(&client, "f__run_once", json!({"token": "t"})).await;
    let error = gateway_error(&answer, "f", false);
    let text = error["message"].as_str().unwrap_or_default();
    assert!(text.contains(word), "{row}: {text}");
    assert_eq!(error["data"]["reason"], "cannot_open_session", "{row}");
    faulty.script().clear();
    let answer = works(&client, "f__run_once", json!({"token": "t"})).await;
    assert_eq!(answer, "ran 1 times", "{row}");
    wharf.is_at_rest("f").await;
}

#[tokio::test]
async fn every_fault_of_a_handshake_is_told_and_the_call_has_not_run() {
    for spoken in BOTH {
        for (fault, word) in [
            (Fault::Hang, "longer than 500ms"),
            (Fault::status(401), "401"),
            (Fault::status(403), "403"),
            (Fault::status(500), "500"),
            (Fault::status(503), "503"),
            (Fault::ResetBeforeHeaders, "broke"),
            (Fault::EndWithoutAnswer, ""),
            (Fault::Error { code: -32602, message: "no".into() }, "-32602"),
        ] {
            fails_to_open(spoken, When::method(method::INITIALIZE), fault, word).await;
        }
    }
}

#[tokio::test]
async fn every_fault_of_the_stream_that_is_a_session_is_told_and_the_call_has_not_run() {
    let stream = || When::http(Method::GET).at("/sse");
    for (fault, word) in [
        (Fault::Hang, "longer than 500ms"),
        (Fault::HangAfterHeaders, "longer than 500ms"),
        (Fault::status(503), "503"),
        (Fault::WrongContentType("text/html".into()), "text/html"),
        (Fault::EndWithoutAnswer, ""),
    ] {
        fails_to_open(Spoken::Sse, stream(), fault, word).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_reset_or_never_served_is_told_and_the_call_has_not_run() {
    for spoken in BOTH {
        for fault in [Fault::Hang, Fault::Close, Fault::ResetBeforeHeaders] {
            fails_to_open(spoken, When::connect(), fault, "").await;
        }
    }
}

#[tokio::test]
async fn a_port_that_refuses_or_hangs_is_told_and_used_again_when_it_opens() {
    for spoken in BOTH {
        for hangs in [false, true] {
            let faulty = start(Form::EventStream).await;
            let mut settings = reached(&faulty, spoken);
            settings.limits.open_timeout = Duration::from_millis(300);
            settings.limits.breaker.failures = 1000;
            // Before the gateway has connections to use again.
            if hangs {
                faulty.stall().await.expect("there is a port");
            } else {
                faulty.refuse().await;
            }
            let wharf = Wharf::in_front_of([settings]).await;
            let client = Over::Http.everything(&wharf).await;
            let answer = call(&client, "f__echo", json!({"message": "m"})).await;
            let _ = gateway_error(&answer, "f", false);
            faulty.admit().await.expect("its port is its own");
            // An attempt that fell into the stall is repeated by the system
            // only after a while; a new one need not wait for it.
            assert_eq!(works(&client, "f__echo", json!({"message": "m"})).await, "m");
        }
    }
}

#[tokio::test]
async fn a_session_whose_probe_hangs_is_replaced_before_anybody_needs_it() {
    for spoken in BOTH {
        let faulty = start(Form::EventStream).await;
        let mut settings = reached(&faulty, spoken);
        settings.limits.probe_after = Duration::from_millis(100);
        settings.limits.probe_timeout = Duration::from_millis(100);
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.server(&wharf, "f").await;
        works(&client, "run_once", json!({"token": "first"})).await;
        faulty.script().push(When::method(method::PING).in_session(1), Fault::Hang);
        let failed = async {
            while wharf.figures("f").await["ends"]["probe_failed"] != 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the session ends", failed).await;
        let begun = Instant::now();
        let ran = works(&client, "run_once", json!({"token": "second"})).await;
        assert_eq!(ran, "ran 1 times", "{spoken:?}");
        assert!(begun.elapsed() < AT_ONCE, "{spoken:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_goodbye_that_hangs_holds_nobody_up() {
    let faulty = start(Form::EventStream).await;
    faulty.script().push(When::http(Method::DELETE), Fault::Hang);
    let mut settings = reached(&faulty, Spoken::StreamableHttp);
    settings.limits.goodbye_timeout = Duration::from_millis(200);
    let wharf = Wharf::in_front_of([settings]).await;
    let (leaves, stays) =
        (Over::Http.server(&wharf, "f").await, Over::Http.server(&wharf, "f").await);
    let begun = Instant::now();
    soon("a client leaves", leaves.close()).await;
    works(&stays, "echo", json!({"message": "m"})).await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    wharf.stop().await;
    assert_eq!(faulty.record().so_far().deletes().count(), 2);
}

#[tokio::test]
async fn a_listening_stream_that_fails_costs_no_call() {
    for fault in [
        Fault::Hang,
        Fault::HangAfterHeaders,
        Fault::ResetAfterHeaders,
        Fault::ResetMidEvent,
        Fault::EndWithoutAnswer,
        Fault::status(405),
        Fault::status(500),
    ] {
        let name = fault.name();
        let faulty = start(Form::EventStream).await;
        faulty.script().push(When::http(Method::GET), fault);
        let wharf = Wharf::in_front_of([reached(&faulty, Spoken::StreamableHttp)]).await;
        let client = Over::Http.server(&wharf, "f").await;
        client.listen();
        let tried = faulty.record().wait_for(|seen| seen.http(&Method::GET).count() > 0);
        soon("somebody listens", tried).await;
        for sum in 1..=3 {
            let said = works(&client, "add", json!({"n": 1})).await;
            assert_eq!(said, sum.to_string(), "{name}: it is the same session");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_used_with_its_sessions_or_with_new_ones() {
    for memory in [Memory::Kept, Memory::Lost] {
        for spoken in BOTH {
            let faulty = start(Form::EventStream).await;
            let wharf = Wharf::in_front_of([reached(&faulty, spoken)]).await;
            let client = Over::Http.server(&wharf, "f").await;
            works(&client, "add", json!({"n": 5})).await;
            faulty.crash().await;
            let error = error_of(&call(&client, "add", json!({"n": 1})).await);
            assert_eq!(error["data"]["mayHaveRun"], false, "{error}");
            faulty.revive(memory).await.expect("its port is its own");
            let answer = call(&client, "add", json!({"n": 1})).await;
            let is_kept = memory == Memory::Kept && spoken == Spoken::StreamableHttp;
            let sum = if is_kept { "\"6\"" } else { "\"1\"" };
            let said = outcome(&answer);
            assert!(said.contains(sum), "{memory:?} over {spoken:?}: {said}");
            assert_eq!(said.contains("wharf/sessionReplaced"), !is_kept, "{said}");
        }
    }
}

/// Enough failures to open the breaker, and then the upstream is back: whoever
/// calls meanwhile waits for it instead of being refused.
#[tokio::test]
async fn a_call_waits_for_an_upstream_that_is_to_be_tried_again_soon() {
    for spoken in BOTH {
        let faulty = start(Form::Json).await;
        let settings = UpstreamSettings { scope: ScopeSetting::Call, ..reached(&faulty, spoken) };
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.server(&wharf, "f").await;
        works(&client, "add", json!({"n": 1})).await;
        faulty.crash().await;
        while wharf.figures("f").await["breakers"]["open"] == 0 {
            let error = error_of(&call(&client, "add", json!({"n": 1})).await);
            assert_eq!(error["data"]["mayHaveRun"], false, "{error}");
        }
        faulty.revive(Memory::Lost).await.expect("its port is its own");
        works(&client, "add", json!({"n": 1})).await;
        assert_eq!(wharf.figures("f").await["breakers"]["open"], 0);
    }
}
