//! Sessions, listening streams, and the headers that every request has.

use super::*;

#[tokio::test]
async fn t16_a_client_with_a_session_can_listen() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        let reply = stage.client(revision).await.listen().await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.headers["content-type"], "text/event-stream");
    }
}

#[tokio::test]
async fn t17_two_streams_get_one_copy() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    let (mut one, mut two) = (client.listen().await, client.listen().await);
    client.upstream.say(list_changed());
    // The newest hears.
    two.value().await;
    client.delete().await;
    assert_eq!((rest(&mut one).await.len(), rest(&mut two).await.len()), (0, 0));
}

#[tokio::test]
async fn t18_listening_needs_a_session() {
    let stage = Stage::new().await;
    let reply = request("GET", &stage.url(), &[STREAM], "").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn t19_no_response_comes_on_a_listening_stream() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let mut listening = client.listen().await;
    let (mut reply, cue) = stage.streaming(&client, 1).await;
    cue.answer("{}");
    assert_eq!(rest(&mut reply).await.len(), 2);
    client.delete().await;
    assert!(rest(&mut listening).await.is_empty());
}

#[tokio::test]
async fn t20_a_deleted_session_ends_with_its_calls_and_streams_and_is_unknown() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let mut listening = client.listen().await;
    let (mut reply, cue) = stage.streaming(&client, 1).await;
    assert!(client.delete().await.is_success());
    cue.given_up().await;
    assert_eq!(rest(&mut reply).await.len(), 1, "what was said, and no answer");
    assert!(rest(&mut listening).await.is_empty());
    assert_eq!(client.post(PING).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.delete().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn t21_an_unknown_session_is_not_found() {
    let mut stage = Stage::new().await;
    let mut client = stage.client("2025-11-25").await;
    client.session = "0123456789abcdef0123456789abcdef".to_owned();
    assert_eq!(client.post(PING).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.listen().await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.delete().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn t22_a_request_needs_a_session() {
    let stage = Stage::new().await;
    for body in [PING, NOTE] {
        let reply = request("POST", &stage.url(), &[JSON, BOTH], body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn t23_session_ids_are_visible_ascii_long_and_all_different() {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::in_front_of([upstream("fast", &fast.url())]).await;
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let url = wharf.url("/mcp");
        let opened = join_all((0..50).map(async |_| {
            let reply = request("POST", &url, &[JSON, BOTH], hello("2025-11-25")).await;
            reply.headers["mcp-session-id"].as_bytes().to_vec()
        }));
        ids.extend(opened.await);
    }
    assert_eq!(ids.len(), 1000);
    for id in ids {
        // 32 hexadecimal digits are 128 bits.
        assert!(id.len() >= 32 && id.iter().all(u8::is_ascii_hexdigit), "{id:?}");
    }
}

#[tokio::test]
async fn t25_an_unsupported_version_is_refused_where_the_revision_has_the_header() {
    let mut stage = Stage::new().await;
    let bad = ("mcp-protocol-version", "1999-01-01");
    for (revision, status) in [
        ("2025-03-26", StatusCode::OK),
        ("2025-06-18", StatusCode::BAD_REQUEST),
        ("2025-11-25", StatusCode::BAD_REQUEST),
    ] {
        let client = stage.client(revision).await;
        let reply = client.send("POST", &[JSON, BOTH, bad], PING).await;
        assert_eq!(reply.status, status, "{revision}");
        let reply = client.send("GET", &[STREAM, bad], "").await;
        assert_eq!(reply.status, status, "{revision}");
    }
}

/// What was agreed on holds: also where the header names another revision that
/// is known, as clients do that always name the same one.
#[tokio::test]
async fn t26_without_a_version_what_was_agreed_on_holds() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    assert_eq!(client.post(PING).await.status, StatusCode::OK);
    let other = ("mcp-protocol-version", "2025-03-26");
    let reply = client.send("POST", &[JSON, BOTH, other], PING).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = client.send("POST", &[JSON, BOTH, other], format!("[{PING}]")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "it is no session of 2025-03-26");
}

#[tokio::test]
async fn t27_a_foreign_origin_is_forbidden() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    for origin in ["http://evil.example.com", "null", "https://localhost.evil.example.com"] {
        let evil = ("origin", origin);
        for (method, headers) in
            [("POST", vec![JSON, BOTH, evil]), ("GET", vec![STREAM, evil]), ("DELETE", vec![evil])]
        {
            let reply = client.send(method, &headers, PING).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {origin}");
        }
    }
}

#[tokio::test]
async fn t28_a_foreign_origin_is_refused_in_older_revisions_too() {
    let mut stage = Stage::new().await;
    let evil = ("origin", "http://evil.example.com");
    for revision in ["2025-03-26", "2025-06-18"] {
        let client = stage.client(revision).await;
        let reply = client.send("POST", &[JSON, BOTH, evil], PING).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    let reply = request("GET", &stage.wharf.url("/servers/p/sse"), &[STREAM, evil], "").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let url = stage.wharf.url("/servers/p/messages?session_id=1");
    assert_eq!(request("POST", &url, &[JSON, evil], PING).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn t29_names_that_are_not_the_listeners_are_refused() {
    let stage = Stage::new().await;
    let own = stage.wharf.address().to_string();
    let own_origin = format!("http://{own}");
    let evil_origin = "http://evil.example.com";
    for (host, origin, is_served) in [
        ("evil.example.com", evil_origin, false),
        ("evil.example.com", own_origin.as_str(), false),
        (own.as_str(), own_origin.as_str(), true),
        ("localhost", "http://localhost", true),
    ] {
        let headers = [JSON, BOTH, ("host", host), ("origin", origin)];
        let reply = request("POST", &stage.url(), &headers, hello("2025-11-25")).await;
        assert_eq!(reply.status.is_success(), is_served, "{host} {origin}");
        assert_eq!(reply.status.is_client_error(), !is_served, "{host} {origin}");
    }
}

#[tokio::test]
async fn t30_no_origin_is_needed() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        assert_eq!(stage.client(revision).await.post(PING).await.status, StatusCode::OK);
    }
    let reply = request("GET", &stage.wharf.url("/servers/p/sse"), &[STREAM], "").await;
    assert_eq!(reply.status, StatusCode::OK);
}
