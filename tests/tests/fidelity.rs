//! What is forwarded is forwarded as it is.

use http::{HeaderValue, StatusCode};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{ErrorObject, Json, Message, RequestId, method};
use wharf_testkit::Hello;
use wharf_tests::{Over, Puppet, Wharf, Wire, soon};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];

fn call(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

/// Everything that a parser might change.
const QUEER: &str = r#"{ "zz":1,"a" : [ ],"big":184467440737095516160,"neg":-0.0,"exp":1E+2,"text":"\u0041\/\ud83e\udd80","a2":{"nested":{ }},"null":null }"#;

#[tokio::test]
async fn what_is_forwarded_is_forwarded_byte_for_byte() {
    for spoken in BOTH {
        for over in ["/servers/p/mcp", "/mcp"] {
            let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
            let wharf = Wharf::in_front_of([settings]).await;
            let wire = Wire::connect(&wharf.url(over), "{}").await;
            let params = |name: &str| format!(r#"{{ "arguments":{QUEER} ,"name":"{name}"}}"#);
            let (theirs, ours) = if over == "/mcp" { ("p__t", "t") } else { ("t", "t") };
            let body = call("18446744073709551615", &params(theirs));
            let play = async {
                let cue = strings.call().await;
                assert_eq!(cue.request.params().map(Json::as_str), Some(&*params(ours)));
                cue.answer(QUEER);
            };
            let (mut reply, ()) =
                soon("an answer", async { tokio::join!(wire.post(body), play) }).await;
            let answer = reply.next().await.unwrap();
            let Ok(Message::Response(answer)) = single(&answer) else { panic!("{answer:?}") };
            assert_eq!(answer.result().map(Json::as_str), Some(QUEER), "{spoken:?} {over}");
            assert_eq!(answer.id().unwrap().to_json().as_str(), "18446744073709551615");
        }
    }
}

fn single(text: &bytes::Bytes) -> Result<Message, wharf_proto::ParseError> {
    match wharf_proto::Body::parse(text.clone())? {
        wharf_proto::Body::Single(message) => Ok(message),
        wharf_proto::Body::Batch(_) => panic!("one message is no batch"),
    }
}

#[tokio::test]
async fn errors_and_unknown_methods_are_forwarded_too() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let body =
        format!(r#"{{"id":1,"x-more":1,"method":"vendor/odd","params":{QUEER},"jsonrpc":"2.0"}}"#);
    let play = async {
        let cue = strings.call().await;
        assert_eq!(cue.request.method(), "vendor/odd");
        assert_eq!(cue.request.params().map(Json::as_str), Some(QUEER));
        let text = std::str::from_utf8(cue.request.text()).unwrap();
        assert!(text.contains(r#""x-more":1"#), "{text}");
        let error = ErrorObject::new(-32042, "odd \u{1f980}");
        cue.fail(&error.with_data(Json::parse(QUEER).unwrap()));
    };
    let (mut reply, ()) = soon("an answer", async { tokio::join!(wire.post(body), play) }).await;
    assert_eq!(reply.status, StatusCode::OK);
    let answer = reply.next().await.unwrap();
    let text = std::str::from_utf8(&answer).unwrap();
    assert!(text.contains(QUEER) && text.contains("-32042"), "{text}");
}

#[tokio::test]
async fn a_clients_own_notifications_reach_its_upstream_session() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), r#"{"roots":{}}"#).await;
        let changed = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
        assert_eq!(wire.post(changed).await.status, StatusCode::ACCEPTED);
        strings.heard(method::ROOTS_LIST_CHANGED).await;
        let odd = format!(r#"{{"jsonrpc":"2.0","method":"vendor/odd","params":{QUEER}}}"#);
        assert_eq!(wire.post(odd).await.status, StatusCode::ACCEPTED);
        let heard = strings.heard("vendor/odd").await;
        assert_eq!(heard.params().map(Json::as_str), Some(QUEER));
    }
}

#[tokio::test]
async fn what_a_client_declares_is_declared_to_its_upstream_session() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let capabilities = r#"{"sampling":{},"x-vendor":{"n":184467440737095516160}}"#;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), capabilities).await;
    let session = strings.session().await;
    let hello = session.hello();
    assert_eq!(hello.param("capabilities").as_ref().map(Json::as_str), Some(capabilities));
    assert_eq!(
        hello.param("clientInfo").as_ref().map(Json::as_str),
        Some(r#"{"name":"wire","version":"1"}"#)
    );
    assert_eq!(hello.requested_revision().unwrap().as_str(), "2025-06-18");
    assert_eq!(wire.greeting()["result"]["protocolVersion"], "2025-06-18");
}

#[tokio::test]
async fn an_upstream_gets_its_own_credentials_and_none_of_the_clients() {
    for spoken in BOTH {
        let (_puppet, mut strings, mut settings) = Puppet::reached_by(spoken).await;
        let own = HeaderValue::from_static("Bearer the-upstreams");
        settings.target.headers.insert("authorization", own);
        let wharf = Wharf::in_front_of([settings]).await;
        let mut hello = Hello::default();
        let theirs = HeaderValue::from_static("Bearer the-clients");
        for name in ["authorization", "cookie", "x-api-key"] {
            hello.headers.insert(name, theirs.clone());
        }
        for over in Over::BOTH {
            let _client = over.connect(&wharf, "/servers/p", &hello).await;
            let session = strings.session().await;
            let headers = format!("{:?}", session.headers());
            assert_eq!(session.headers()["authorization"], "Bearer the-upstreams", "{spoken:?}");
            assert!(!headers.contains("the-clients"), "{over:?} to {spoken:?}: {headers}");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_no_id_is_not_forwarded() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    for id in ["1.5", "{}", "[1]", "true"] {
        let mut reply = wire.post(call(id, r#"{"name":"t"}"#)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{id}");
        assert_eq!(reply.value().await["error"]["code"], -32600, "{id}");
    }
    assert!(!strings.has_call());
    let id = RequestId::from(1);
    assert_eq!(id.to_json().as_str(), "1");
}
