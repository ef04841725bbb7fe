//! A toolbox, asked without a transport.

use std::{num::NonZeroUsize, time::Duration};

use serde_json::{Value, json};
use wharf_proto::{
    Message,
    transport::{Exchange, Feed},
};

use super::*;
use crate::direct::{Direct, drained};

/// A server with one tool, which waits for ever.
fn patient() -> Toolbox<()> {
    let wait = Tool::new("wait", "Waits for ever", json!({"type": "object"}));
    Toolbox::named("patient", "1", ()).tool(wait, async |_: NoArguments, _| {
        std::future::pending::<()>().await;
        unreachable!("nothing ends the wait")
    })
}

fn numbered(count: usize, page_size: usize) -> Toolbox<()> {
    let server = Toolbox::named("numbered", "1", ()).page_size(NonZeroUsize::new(page_size));
    (0..count).fold(server, |server, number| {
        let tool = Tool::new(format!("tool-{number}"), "", json!({"type": "object"}));
        server.tool(tool, async |_: NoArguments, _| Ok(Content::text("done")))
    })
}

fn wait() -> Value {
    json!({"name": "wait"})
}

#[tokio::test]
async fn every_revision_is_agreed_to_and_an_unknown_one_gets_the_latest() {
    let server = Arc::new(patient());
    for revision in Revision::ALL {
        let (client, hello) = Direct::of(Arc::clone(&server), revision).await;
        assert_eq!(hello["protocolVersion"], revision.as_str());
        assert_eq!(hello["capabilities"], json!({"tools": {}}));
        assert_eq!(hello["serverInfo"], json!({"name": "patient", "version": "1"}));
        assert_eq!(client.session.revision(), revision);
    }
}

#[tokio::test]
async fn an_initialize_without_a_version_opens_nothing() {
    let server = patient();
    let hello = Request::new(&1.into(), method::INITIALIZE, Some(&Json::empty_object()));
    let headers = http::HeaderMap::new();
    let caller = Caller { headers: &headers, peer: None };
    let opening = server.open(hello, caller).await;
    assert!(opening.session.is_none());
    assert_eq!(opening.response.error_code(), Some(code::INVALID_PARAMS));
    assert_eq!(server.figures().sessions(), 0);
}

#[tokio::test]
async fn what_is_not_offered_is_an_unknown_method() {
    let client = Direct::open(patient()).await;
    for method in [
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "no/such/method",
    ] {
        let error = client.ask(method, json!({})).await.unwrap_err();
        assert_eq!(error["code"], code::METHOD_NOT_FOUND, "{method}");
    }
    assert_eq!(client.ask(method::PING, json!({})).await, Ok(json!({})));
}

#[tokio::test]
async fn an_unknown_tool_is_an_error_and_a_bad_argument_a_failure_of_the_tool() {
    let client = Direct::open(patient()).await;
    for params in [json!({"name": "nope"}), json!({"name": 1}), json!({})] {
        let error = client.ask(method::TOOLS_CALL, params).await.unwrap_err();
        assert_eq!(error["code"], code::INVALID_PARAMS);
    }
    let (text, is_error) = client.tool("wait", json!({"surplus": 1})).await;
    assert!(is_error);
    assert!(text.contains("unknown field `surplus`"), "{text}");
}

#[tokio::test]
async fn pages_hold_every_item_once_and_end_without_a_cursor() {
    let client = Direct::open(numbered(7, 3)).await;
    let (mut names, mut sizes, mut params) = (Vec::new(), Vec::new(), json!({}));
    loop {
        let page = client.ask(method::TOOLS_LIST, params).await.unwrap();
        let tools = page["tools"].as_array().unwrap();
        sizes.push(tools.len());
        names.extend(tools.iter().map(|tool| tool["name"].clone()));
        match page.get("nextCursor") {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => break,
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
    let expected: Vec<_> = (0..7).map(|number| json!(format!("tool-{number}"))).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_cursor_that_the_list_has_not_given_out_is_refused() {
    let client = Direct::open(numbered(7, 3)).await;
    let page = client.ask(method::TOOLS_LIST, json!({})).await.unwrap();
    let good = page["nextCursor"].as_str().unwrap().to_owned();
    let bad = [
        json!(""),
        json!("3"),
        json!("zz"),
        json!("ü"),
        json!(3),
        json!(format!("{good}0")),
        json!(good.to_uppercase()),
    ];
    for cursor in bad {
        let error = client.ask(method::TOOLS_LIST, json!({"cursor": cursor})).await;
        assert_eq!(error.unwrap_err()["code"], code::INVALID_PARAMS, "{cursor}");
    }
    let all_at_once = Direct::open(numbered(7, 0)).await;
    let error = all_at_once.ask(method::TOOLS_LIST, json!({"cursor": good})).await;
    assert_eq!(error.unwrap_err()["code"], code::INVALID_PARAMS);
}

#[tokio::test]
async fn a_call_stops_when_its_client_cancels_it_and_no_other_does() {
    let client = Direct::open(patient()).await;
    let (first, mut cancelled) = client.begin(method::TOOLS_CALL, &wait());
    let (_, mut other) = client.begin(method::TOOLS_CALL, &wait());
    let neighbour = Direct::of(Arc::clone(&client.backend), Revision::LATEST).await.0;
    let (namesake, mut elsewhere) = neighbour.begin(method::TOOLS_CALL, &wait());
    assert_eq!(first, namesake);
    for exchange in [&mut cancelled, &mut other, &mut elsewhere] {
        assert!(is_pending(exchange).await);
    }
    client.cancel(&first).await;
    assert_eq!(cancelled.next().await.unwrap_err(), Refusal::Cancelled);
    // The work has ended though the exchange is still held.
    assert_eq!(client.backend.figures().running(), 2);
    assert!(is_pending(&mut other).await);
    assert!(is_pending(&mut elsewhere).await);
}

#[tokio::test]
async fn a_dropped_call_leaves_the_books() {
    let client = Direct::open(patient()).await;
    let (id, mut exchange) = client.begin(method::TOOLS_CALL, &wait());
    assert!(is_pending(&mut exchange).await);
    assert_eq!(client.backend.figures().running(), 1);
    drop(exchange);
    assert_eq!(client.backend.figures().running(), 0);
    client.cancel(&id).await;
    let mut again = client.begin_as(1, method::TOOLS_CALL, &wait());
    assert!(is_pending(&mut again).await);
}

#[tokio::test]
async fn nothing_is_done_before_an_exchange_is_polled() {
    let client = Direct::open(patient()).await;
    let (_, mut exchange) = client.begin(method::TOOLS_CALL, &wait());
    assert_eq!(client.backend.figures().calls(), 0);
    assert!(is_pending(&mut exchange).await);
    assert_eq!(client.backend.figures().calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_call_under_way_cannot_be_used_again() {
    let client = Direct::open(patient()).await;
    let _held = client.begin_as(5, method::TOOLS_CALL, &wait());
    let mut again = client.begin_as(5, method::TOOLS_CALL, &wait());
    let response = tokio::time::timeout(Duration::from_secs(1), again.answer()).await;
    let response = response.expect("it is refused and not run").unwrap();
    assert_eq!(response.error_code(), Some(code::INVALID_REQUEST));
}

#[tokio::test]
async fn a_closed_session_ends_its_calls_and_takes_no_more() {
    let client = Direct::open(patient()).await;
    let (_, mut exchange) = client.begin(method::TOOLS_CALL, &wait());
    assert!(is_pending(&mut exchange).await);
    let mut feed = client.backend.listen(&client.session);
    assert_eq!(client.backend.figures().sessions(), 1);

    client.backend.close(&client.session).await;

    assert_eq!(client.backend.figures().sessions(), 0);
    assert_eq!(exchange.next().await.unwrap_err(), Refusal::SessionEnded);
    assert_eq!(feed.next().await.unwrap_err(), Refusal::SessionEnded);
    for (method, params) in [(method::TOOLS_CALL, wait()), (method::PING, json!({}))] {
        let (_, exchange) = client.begin(method, &params);
        assert_eq!(drained(exchange).await.1, Err(Refusal::SessionEnded));
    }
}

#[tokio::test]
async fn a_dropped_session_is_counted_no_more() {
    let client = Direct::open(patient()).await;
    let server = Arc::clone(&client.backend);
    assert_eq!(server.figures().sessions(), 1);
    drop(client);
    assert_eq!(server.figures().sessions(), 0);
}

#[tokio::test]
async fn clients_without_a_session_may_use_the_same_id_and_cancel_nothing() {
    let server = Arc::new(patient());
    let session = server.anonymous().expect("serves clients without sessions");
    let params = Json::from_value(&wait()).unwrap();
    let request = Request::new(&1.into(), method::TOOLS_CALL, Some(&params));
    let headers = http::HeaderMap::new();
    let caller = Caller { headers: &headers, peer: None };
    let mut first = server.call(&session, request.clone(), caller);
    let mut second = server.call(&session, request.clone(), caller);
    let cancelled = Notification::cancelled(request.id(), "");
    server.notify(&session, cancelled).await;
    assert!(is_pending(&mut first).await);
    assert!(is_pending(&mut second).await);
    assert_eq!(server.figures().sessions(), 0);
}

#[tokio::test]
async fn an_announcement_reaches_every_session_once() {
    let first = Direct::open(patient()).await;
    let server = Arc::clone(&first.backend);
    let second = Direct::of(Arc::clone(&server), Revision::LATEST).await.0;
    let mut feeds = [server.listen(&first.session), server.listen(&second.session)];
    server.announce(&Notification::new(method::TOOLS_LIST_CHANGED, None));
    for feed in &mut feeds {
        let Ok(Message::Notification(heard)) = feed.next().await else {
            panic!("the announcement is heard")
        };
        assert_eq!(heard.method(), method::TOOLS_LIST_CHANGED);
        let more = std::future::poll_fn(|cx| std::task::Poll::Ready(feed.poll_next(cx))).await;
        assert!(more.is_pending());
    }
}

async fn is_pending(exchange: &mut Answering) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(exchange.poll_next(cx).is_pending())).await
}
