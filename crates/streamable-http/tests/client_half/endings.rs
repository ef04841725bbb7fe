//! Connections that fail and streams that stop.

use wharf_proto::{
    Revision,
    transport::{Exchange as _, Fate, Fault, Link as _},
};

use crate::upstream::{Upstream, request, soon};

#[tokio::test]
async fn a_call_that_finds_nobody_was_not_sent() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    drop(upstream);
    let error = soon(link.call(request(1, "tools/call")).answer()).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(error.fate, Fate::NotSent);
    assert!(matches!(error.fault, Fault::Unreachable { .. }), "{error:?}");
    assert!(link.end_reason().is_none(), "a connection is no session");
}

#[tokio::test]
async fn a_reset_after_the_request_may_have_run() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async { asked.reset() }).await;
    let error = error.expect_err("is broken");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Broken { .. }), "{error:?}");
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn a_body_that_is_cut_off_may_have_run() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = asked.into_stream();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.expect("writes");
    });
    let error = error.await.expect_err("is cut");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stream_that_stops_without_an_id_cannot_be_resumed() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async {
        let mut events = asked.events().await;
        events.say("retry: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n\n").await;
    });
    let error = error.await.expect_err("is not answered");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::NoAnswer), "{error:?}");
    upstream.is_left_alone().await;
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn a_stream_that_breaks_without_an_id_is_broken() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let mut exchange = link.call(request(1, "tools/call"));
    let script = async {
        let mut events = upstream.asked().await.events().await;
        events.message(r#"{"jsonrpc":"2.0","method":"m"}"#).await;
        events
    };
    let (said, events) = soon(async { tokio::join!(exchange.next(), script) }).await;
    said.expect("was said");
    events.reset();
    let error = soon(exchange.next()).await.expect_err("is broken");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn ids_of_a_revision_that_has_none_are_not_resumed_from() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.link();
    upstream.shake_hands(&link, None, Revision::V2024_11_05).await;
    let error = upstream.called(&link, |asked| async {
        asked.events().await.say("id: 1\ndata:\n\n").await;
    });
    let error = error.await.expect_err("is not answered");
    assert!(matches!(error.fault, Fault::NoAnswer), "{error:?}");
    upstream.is_left_alone().await;
}
