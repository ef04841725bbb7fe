//! What is on record.

use http::Method;
use serde_json::json;
use wharf_testkit::{Script, TestClient, When, faulty::Fault};

use crate::raw::{Raw, run, session, start, tool};

#[tokio::test]
async fn ids_headers_sessions_and_statuses_of_requests_are_on_record() {
    let faulty = start(Script::new().on(When::tool("run_once").nth(2), Fault::status(503))).await;
    let id = session(&faulty).await;
    for number in [7, 8] {
        let mut raw = Raw::to(&faulty).await;
        raw.post(Some(&id), &run(number, "t")).await;
        raw.rest().await;
    }
    let seen = faulty.record().so_far();
    let calls: Vec<_> = seen.calls("run_once").collect();
    let [first, second] = calls[..] else { panic!("{calls:?}") };
    assert_eq!((first.id(), second.id()), (Some(&json!(7)), Some(&json!(8))));
    assert_eq!((first.session(), first.header("mcp-session-id")), (Some(1), Some(&*id)));
    assert_eq!(first.argument("token"), Some(&json!("t")));
    assert_eq!((first.fault(), second.fault()), ("none", "status"));
    assert_eq!(second.status().map(|status| status.as_u16()), Some(503));
    assert!(first.ran().is_some() && first.answered() >= first.ran() && first.at() < second.at());
    assert!(second.ran().is_none());
    assert_eq!((seen.executions("t"), seen.executed().len()), (1, 1));
}

#[tokio::test]
async fn cancellations_disconnects_and_deletes_are_on_record() {
    let faulty = start(Script::new()).await;
    let id = session(&faulty).await;
    let asleep = |number| tool(number, "sleep", &json!({"ms": 3_600_000}));
    let mut cancelled = Raw::to(&faulty).await;
    cancelled.post(Some(&id), &asleep(1)).await;
    let mut abandoned = Raw::to(&faulty).await;
    abandoned.post(Some(&id), &asleep(2)).await;
    faulty.record().wait_for(|seen| seen.calls("sleep").count() == 2).await;
    let mut beside = Raw::to(&faulty).await;
    let gives_up =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    beside.post(Some(&id), &gives_up.to_string()).await;
    beside.until("202").await;
    cancelled.until("\r\n0\r\n").await;
    drop(abandoned);
    let seen = faulty.record().wait_for(|seen| seen.calls("sleep").any(|call| call.is_abandoned()));
    let seen = seen.await;
    let cancelled: Vec<_> = seen.cancelled().filter_map(|call| call.id().cloned()).collect();
    assert_eq!(cancelled, [json!(1)]);
    let abandoned = seen.calls("sleep").filter(|call| call.is_abandoned());
    let abandoned: Vec<_> = abandoned.filter_map(|call| call.id().cloned()).collect();
    assert_eq!(abandoned, [json!(2)]);
    let mut leaves = Raw::to(&faulty).await;
    leaves.request("DELETE /mcp", Some(&id), "").await;
    leaves.until("200").await;
    let seen = faulty.record().so_far();
    let deletes: Vec<_> = seen.deletes().collect();
    assert_eq!((deletes.len(), deletes[0].session()), (1, Some(1)));
    assert_eq!((seen.sessions().now, seen.sessions().ever), (0, 1));
}

#[tokio::test]
async fn the_kits_client_uses_it_like_any_server_over_both_transports() {
    for is_sse in [false, true] {
        let faulty = start(Script::new()).await;
        let client = if is_sse {
            TestClient::connect_sse(&faulty.sse_url()).await
        } else {
            TestClient::connect_http(&faulty.url()).await
        };
        let client = client.expect("it is let in");
        for sum in ["4", "8"] {
            let said = client.call_tool("add", &json!({"n": 4})).await.expect("it is answered");
            assert_eq!(said.text(), sum);
        }
        let said = client.call_tool("whoami", &json!({"header": "host"})).await;
        let said = said.expect("it is answered").text();
        assert!(said.contains(&faulty.address().to_string()), "{said}");
        client.listen();
        faulty.record().wait_for(|seen| seen.streams().now == 1).await;
        faulty.announce("notifications/tools/list_changed");
        assert!(client.hear().await.is_some());
        client.close().await;
        let seen = faulty.record().wait_for(|seen| seen.sessions().now == 0).await;
        assert_eq!(seen.http(&Method::DELETE).count(), usize::from(!is_sse));
    }
}
