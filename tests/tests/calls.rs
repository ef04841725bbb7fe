//! Calls: their ids, their progress and their ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use wharf_gateway::{OnDisconnect, ScopeSetting, Transport as Spoken};
use wharf_proto::{
    Response, method,
    transport::{CallError, Exchange as _},
};
use wharf_testkit::{Asked, Sessions, TestClient, Transport, Upstream};
use wharf_tests::{Over, Puppet, Strings, Wharf, Wire, soon, until, upstream};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];

fn call(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

fn begin(client: &TestClient) -> Asked {
    client.exchange(method::TOOLS_CALL, &json!({"name": "p__t"}))
}

/// Whether the call is still under way, after it was given the chance to end.
async fn is_pending(call: &mut Asked) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(call.poll_next(cx).is_pending())).await
}

/// A whole call by the same way, to which other things have had time to happen.
async fn round_trip(wire: &Wire, strings: &mut Strings) {
    let mut after = Vec::new();
    let served = async {
        while !strings.has_call() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        strings.call().await.answer("{}");
    };
    let posted = async { after.push(wire.post(call("\"round\"", r#"{"name":"t"}"#)).await) };
    soon("a round trip", async { tokio::join!(served, posted) }).await;
    assert_eq!(after.pop().unwrap().value().await["id"], "round");
}

#[tokio::test]
async fn p06_equal_ids_and_tokens_of_clients_that_share_a_session_never_collide() {
    for spoken in BOTH {
        let (puppet, mut strings, mut settings) = Puppet::reached_by(spoken).await;
        settings.scope = ScopeSetting::Shared;
        settings.limits.sessions_per_key = 1;
        settings.limits.calls_per_session = 100;
        let wharf = Wharf::in_front_of([settings]).await;
        let url = wharf.url("/servers/p/mcp");
        let (a, b) = (Wire::connect(&url, "{}").await, Wire::connect(&url, "{}").await);
        let asked = [(&a, "1"), (&a, "\"1\""), (&b, "1"), (&b, "\"1\"")];
        let posts = join_all(asked.iter().enumerate().map(|(place, (wire, id))| {
            let params = format!(r#"{{"name":"{place}","_meta":{{"progressToken":{id}}}}}"#);
            wire.post(call(id, &params))
        }));
        let play = async {
            let mut cues = [None, None, None, None];
            for _ in 0..4 {
                let cue = strings.call().await;
                let name = cue.request.param("name").unwrap().to_text().unwrap();
                let place: usize = name.parse().unwrap();
                cues[place] = Some(cue);
            }
            let cues: Vec<_> = cues.into_iter().map(Option::unwrap).collect();
            let ids: BTreeSet<_> =
                cues.iter().map(|cue| cue.request.id().to_json().to_string()).collect();
            let tokens: BTreeSet<_> = cues
                .iter()
                .map(|cue| cue.request.progress_token().unwrap().1.to_string())
                .collect();
            assert_eq!((ids.len(), tokens.len()), (4, 4), "{ids:?} {tokens:?}");
            // In the order that a gateway which mixes them up does not expect.
            for (place, cue) in cues.iter().enumerate().rev() {
                cue.progress(&place.to_string());
            }
            for (place, cue) in cues.into_iter().enumerate().rev() {
                cue.answer(&format!(r#"{{"place":{place}}}"#));
            }
        };
        let (replies, ()) = soon("all are answered", async { tokio::join!(posts, play) }).await;
        for (place, (mut reply, (_, id))) in replies.into_iter().zip(asked).enumerate() {
            let id: Value = serde_json::from_str(id).unwrap();
            let progress = reply.value().await;
            assert_eq!(progress["params"]["progressToken"], id, "{spoken:?} {progress}");
            assert_eq!(progress["params"]["progress"], place, "{spoken:?} {progress}");
            let answer = reply.value().await;
            assert_eq!(answer["id"], id, "{spoken:?} {answer}");
            assert_eq!(answer["result"]["place"], place, "{spoken:?} {answer}");
            assert_eq!(reply.next().await, None);
        }
        assert_eq!(puppet.requests().rpc(method::INITIALIZE), 1, "{spoken:?}");
    }
}

#[tokio::test]
async fn x01_progress_comes_before_the_answer_on_the_calls_own_stream() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
        let params = r#"{"name":"p__t","_meta":{"progressToken":"t","x":1}}"#;
        let post = wire.post(call("7", params));
        let play = async {
            let cue = strings.call().await;
            cue.progress("0.5");
            cue
        };
        let (mut reply, cue) = soon("progress", async { tokio::join!(post, play) }).await;
        assert!(reply.is_stream());
        // It is there while the upstream still works.
        let progress = reply.value().await;
        assert_eq!(progress["params"], json!({"progressToken": "t", "progress": 0.5}));
        cue.progress("1");
        cue.answer("{}");
        assert_eq!(reply.value().await["params"]["progress"], 1);
        assert_eq!(reply.value().await, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
        assert_eq!(reply.next().await, None);
    }
}

#[tokio::test]
async fn a_call_that_says_nothing_before_its_answer_is_answered_with_json() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let post = wire.post(call("1", r#"{"name":"t"}"#));
    let play = async { strings.call().await.answer("{}") };
    let (reply, ()) = soon("an answer", async { tokio::join!(post, play) }).await;
    assert!(!reply.is_stream());
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn x04_a_cancelled_call_is_cancelled_at_the_upstream_and_not_answered() {
    for spoken in BOTH {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let numbered = wire.post(call("1", r#"{"name":"t"}"#));
        let named = wire.post(call("\"1\"", r#"{"name":"u"}"#));
        let play = async {
            let mut cues = [strings.call().await, strings.call().await];
            cues.sort_by_key(|cue| cue.request.param("name").unwrap().to_string());
            let [cancelled, other] = cues;
            let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"enough"}}"#;
            assert_eq!(wire.post(notification).await.status, StatusCode::ACCEPTED);
            let heard = strings.heard(method::CANCELLED).await;
            assert_eq!(heard.cancelled_id().as_ref(), Some(cancelled.request.id()), "{spoken:?}");
            // Too late: nobody is to get it.
            cancelled.answer(r#"{"late":true}"#);
            other.answer(r#"{"late":false}"#);
        };
        let all = async { tokio::join!(numbered, named, play) };
        let (mut numbered, mut named, ()) = soon("cancelled", all).await;
        assert_eq!(numbered.next().await, None, "{spoken:?}");
        assert_eq!(named.value().await["result"]["late"], false);
        round_trip(&wire, &mut strings).await;
        assert_eq!(wharf.figures("p").await["leases"], 0);
    }
}

#[tokio::test]
async fn a_client_over_sse_cancels_too() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Sse.everything(&wharf).await;
    let mut exchange = begin(&client);
    assert!(is_pending(&mut exchange).await);
    let cue = tokio::select! {
        cue = strings.call() => cue,
        answer = exchange.next() => panic!("{answer:?}"),
    };
    client.cancel(exchange.id()).await.unwrap();
    let heard = strings.heard(method::CANCELLED).await;
    assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()));
    cue.answer("{}");
    let mut after = begin(&client);
    let served = async { strings.call().await.answer("{}") };
    let (answer, ()) = soon("it goes on", async { tokio::join!(after.answer(), served) }).await;
    assert!(answer.unwrap().result().is_some());
    assert!(is_pending(&mut exchange).await);
}

#[tokio::test]
async fn x09_cancelling_what_is_unknown_or_another_clients_does_nothing() {
    let (puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let url = wharf.url("/servers/p/mcp");
    let (a, b) = (Wire::connect(&url, "{}").await, Wire::connect(&url, "{}").await);
    let post = a.post(call("1", r#"{"name":"t"}"#));
    let play = async {
        let cue = strings.call().await;
        for (wire, id) in [(&b, "1"), (&a, "2"), (&a, "\"1\""), (&a, "null"), (&a, "{}")] {
            let said = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
            );
            assert_eq!(wire.post(said).await.status, StatusCode::ACCEPTED, "{id}");
        }
        round_trip(&b, &mut strings).await;
        cue.answer("{}");
    };
    let (mut reply, ()) = soon("an answer", async { tokio::join!(post, play) }).await;
    assert_eq!(reply.value().await["id"], 1);
    assert_eq!(puppet.requests().rpc(method::CANCELLED), 0);
}

#[tokio::test]
async fn a_disconnect_is_no_cancellation() {
    for spoken in BOTH {
        let (puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let cue = tokio::select! {
            reply = wire.post(call("1", r#"{"name":"t"}"#)) => panic!("{reply:?}"),
            cue = strings.call() => cue,
        };
        for _ in 0..5 {
            round_trip(&wire, &mut strings).await;
        }
        assert_eq!(puppet.requests().rpc(method::CANCELLED), 0, "{spoken:?}");
        assert_eq!(wharf.figures("p").await["leases"], 1, "{spoken:?}");
        cue.answer("{}");
        soon("the lease comes back", async { while wharf.figures("p").await["leases"] != 0 {} })
            .await;
    }
}

#[tokio::test]
async fn a_disconnect_is_a_cancellation_where_the_operator_says_so() {
    for spoken in BOTH {
        let (_puppet, mut strings, mut settings) = Puppet::reached_by(spoken).await;
        settings.on_disconnect = OnDisconnect::Cancel;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let cue = tokio::select! {
            reply = wire.post(call("1", r#"{"name":"t"}"#)) => panic!("{reply:?}"),
            cue = strings.call() => cue,
        };
        let heard = strings.heard(method::CANCELLED).await;
        assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()), "{spoken:?}");
        // So is one from a stream that has begun.
        let params = r#"{"name":"t","_meta":{"progressToken":1}}"#;
        let play = async {
            let cue = strings.call().await;
            cue.progress("1");
            cue
        };
        let begun = async { tokio::join!(wire.post(call("2", params)), play) };
        let (mut reply, cue) = soon("it begins", begun).await;
        reply.value().await;
        drop(reply);
        let heard = strings.heard(method::CANCELLED).await;
        assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()), "{spoken:?}");
        round_trip(&wire, &mut strings).await;
    }
}

#[tokio::test]
async fn a_disconnect_is_what_the_calls_upstream_says_at_the_endpoint_of_all_too() {
    let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    settings.on_disconnect = OnDisconnect::Cancel;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let cue = tokio::select! {
        reply = wire.post(call("1", r#"{"name":"p__t"}"#)) => panic!("{reply:?}"),
        cue = strings.call() => cue,
    };
    let heard = strings.heard(method::CANCELLED).await;
    assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()));
}

#[tokio::test]
async fn the_end_of_a_clients_event_stream_ends_its_calls_and_its_session() {
    let (puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Sse.server(&wharf, "p").await;
    let mut exchange = begin(&client);
    let cue = tokio::select! {
        cue = strings.call() => cue,
        answer = exchange.next() => panic!("{answer:?}"),
    };
    drop((exchange, client));
    let heard = strings.heard(method::CANCELLED).await;
    assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()));
    until("the upstream's session ends", || puppet.sessions() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_client_run_at_the_same_time_and_find_their_way_back() {
    const CALLS: usize = 64;
    for (spoken, over) in BOTH.into_iter().zip([Over::Sse, Over::Http]) {
        let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
        let wharf = Wharf::in_front_of([settings]).await;
        let client = over.server(&wharf, "p").await;
        let calls = join_all((0..CALLS).map(|nonce| {
            let client = &client;
            async move {
                let params = json!({"name": "t", "nonce": nonce});
                let answer = client.call(method::TOOLS_CALL, &params).await.unwrap();
                let got: usize = answer.result().unwrap().field("nonce").unwrap().read().unwrap();
                assert_eq!(got, nonce);
            }
        }));
        let play = async {
            let mut cues = Vec::new();
            // None is answered before all are there.
            while cues.len() < CALLS {
                cues.push(strings.call().await);
            }
            for cue in cues.into_iter().rev() {
                let nonce = cue.request.param("nonce").unwrap();
                cue.answer(&format!(r#"{{"nonce":{nonce}}}"#));
            }
        };
        soon("all are answered", async { tokio::join!(calls, play) }).await;
        assert_eq!(wharf.figures("p").await["leases"], u64::from(over == Over::Sse));
    }
}

#[tokio::test]
async fn a_call_that_takes_longer_than_its_upstream_may_is_cancelled_and_told_so() {
    let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    settings.call_timeout = Some(Duration::from_millis(300));
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.server(&wharf, "p").await;
    let mut exchange = begin(&client);
    let play = async {
        let cue = strings.call().await;
        let heard = strings.heard(method::CANCELLED).await;
        assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()));
    };
    let both = async { tokio::join!(exchange.answer(), play) };
    let (answer, ()): (Result<Response, CallError>, ()) = soon("the timeout", both).await;
    let error = wharf_tests::gateway_error(&answer.unwrap(), "p", true);
    assert_eq!(error["data"]["reason"], "timeout", "{error}");
}

#[tokio::test]
async fn p10_one_handshake_serves_all_clients_of_an_upstream_without_sessions() {
    let settings = wharf_testkit::UpstreamSettings {
        transport: Transport::StreamableHttp,
        sessions: Sessions::None,
        ..wharf_testkit::UpstreamSettings::default()
    };
    let fast = Upstream::start(wharf_testkit::FastTest::new(), settings).await.unwrap();
    let mut settings = upstream("fast", &fast.url());
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::in_front_of([settings]).await;
    // The first finds out that there are no sessions.
    let mut clients = vec![Over::Http.server(&wharf, "fast").await];
    for _ in 0..8 {
        clients.push(Over::Http.server(&wharf, "fast").await);
    }
    let echoes = join_all(clients.iter().enumerate().map(async |(number, client)| {
        let message = number.to_string();
        let answer = client.call_tool("echo", &json!({"message": message})).await.unwrap();
        assert_eq!(answer.text(), message);
    }));
    soon("all are answered", echoes).await;
    let handshakes = fast.requests().rpc(method::INITIALIZE);
    assert!(handshakes <= 2, "{handshakes} handshakes");
}
