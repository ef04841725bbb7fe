//! HTTP+SSE.

use super::*;

/// Opens a stream; the URL that takes its messages.
async fn open(wharf: &Wharf) -> (Reply, String) {
    let mut stream = request("GET", &wharf.url("/servers/p/sse"), &[STREAM], "").await;
    let first = stream.event().await.unwrap();
    assert_eq!(first.event_type(), "endpoint");
    let path = String::from_utf8(first.data.to_vec()).unwrap();
    // A path has the origin of the stream.
    assert!(path.starts_with("/servers/p/messages?"), "{path}");
    (stream, wharf.url(&path))
}

#[tokio::test]
async fn t01_a_stream_says_first_where_messages_go() {
    let stage = Stage::new().await;
    let (mut stream, url) = open(&stage.wharf).await;
    request("POST", &url, &[JSON], hello("2024-11-05")).await;
    assert_eq!(stream.event().await.unwrap().event_type(), "message");
}

#[tokio::test]
async fn t02_a_post_is_taken_and_answered_on_the_stream() {
    let stage = Stage::new().await;
    let (mut stream, url) = open(&stage.wharf).await;
    let reply = request("POST", &url, &[JSON], hello("2024-11-05")).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let answer = stream.value().await;
    assert_eq!((&answer["id"], answer["result"].is_object()), (&json!(0), true), "{answer}");
}

#[tokio::test]
async fn t03_messages_for_an_unknown_session_are_refused() {
    let stage = Stage::new().await;
    for (query, status) in [
        ("?session_id=0123456789abcdef", StatusCode::NOT_FOUND),
        ("?session=1", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let url = stage.wharf.url(&format!("/servers/p/messages{query}"));
        assert_eq!(request("POST", &url, &[JSON], PING).await.status, status, "{query}");
        assert_eq!(request("GET", &url, &[JSON], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn t04_the_end_of_a_stream_ends_its_session_and_its_calls() {
    let mut stage = Stage::new().await;
    let (mut stream, url) = open(&stage.wharf).await;
    request("POST", &url, &[JSON], hello("2024-11-05")).await;
    stream.value().await;
    request("POST", &url, &[JSON], call(1)).await;
    let cue = stage.strings.call().await;
    drop(stream);
    cue.given_up().await;
    let cancelled = stage.strings.heard("notifications/cancelled").await;
    assert_eq!(cancelled.cancelled_id().as_ref(), Some(cue.request.id()));
    assert_eq!(request("POST", &url, &[JSON], PING).await.status, StatusCode::NOT_FOUND);
    soon("nothing is leased", async {
        while stage.wharf.figures("p").await["leases"] != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
