//! POSTs and their answers.

use wharf_http::AcceptSettings;

use super::*;

#[tokio::test]
async fn t05_a_request_has_one_response_and_the_stream_ends_with_it() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        let client = stage.client(revision).await;
        let plain = async { stage.strings.call().await.answer("{}") };
        let (mut reply, ()) = tokio::join!(client.post(call(1)), plain);
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.value().await["id"], 1);
        assert_eq!(reply.next().await, None);
        let (mut reply, cue) = stage.streaming(&client, 2).await;
        cue.answer("{}");
        let said = rest(&mut reply).await;
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(
            (&said[0]["method"], &said[1]["id"]),
            (&json!("notifications/progress"), &json!(2))
        );
    }
}

/// `*/*`, and no `Accept` at all, takes either form; one form alone is
/// answered in that form.
#[tokio::test]
async fn t06_a_client_gets_a_form_that_it_accepts_or_406() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    for (accept, comes) in [
        ("application/json", Some("application/json")),
        ("text/event-stream", Some("text/event-stream")),
        ("*/*", Some("application/json")),
        ("application/json, text/event-stream", Some("application/json")),
        ("text/html", None),
        ("application/json;q=0, text/html", None),
    ] {
        let reply = client.send("POST", &[JSON, ("accept", accept)], PING).await;
        match comes {
            Some(kind) => assert_eq!(reply.headers["content-type"], kind, "{accept}"),
            None => assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE, "{accept}"),
        }
    }
    let reply = client.send("GET", &[("accept", "application/json")], "").await;
    assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn t07_a_body_of_another_type_is_refused() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    let reply = client.send("POST", &[BOTH, ("content-type", "text/plain")], PING).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn t08_what_is_not_json_is_a_parse_error() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    let mut reply = client.post("{").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(error_code(&reply.value().await), -32700);
}

#[tokio::test]
async fn t09_a_notification_is_taken_with_an_empty_202() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        let reply = stage.client(revision).await.post(NOTE).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        assert!(reply.whole().await.is_empty());
        stage.strings.heard("notifications/roots/list_changed").await;
    }
}

/// Posts an answer to what the upstream has asked in a call.
async fn ask_and_answer(stage: &mut Stage, client: &Client) {
    let (mut reply, cue) = stage.streaming(client, 1).await;
    reply.value().await;
    cue.ask("mine", "elicitation/create", r#"{"message":"?"}"#);
    let asked = reply.value().await;
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}});
    let taken = client.post(answer.to_string()).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED);
    assert!(taken.whole().await.is_empty());
    let answer = stage.strings.answer().await;
    assert_eq!(answer.id(), Some(&RequestId::from("mine")));
    assert!(answer.result().unwrap().as_str().contains("decline"));
    cue.answer("{}");
}

#[tokio::test]
async fn t10_an_answer_to_an_upstreams_question_is_taken_and_delivered() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    ask_and_answer(&mut stage, &client).await;
}

#[tokio::test]
async fn t11_an_answer_to_nothing_is_taken_and_reaches_nobody() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-06-18").await;
    for id in ["999", "\"mine\"", "0"] {
        let stray = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        assert_eq!(client.post(stray).await.status, StatusCode::ACCEPTED);
    }
    // The first answer that the upstream gets is the one it asked for.
    ask_and_answer(&mut stage, &client).await;
}

#[tokio::test]
async fn t12_each_request_of_a_batch_is_answered_and_its_notifications_are_not() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-03-26").await;
    let batch = format!("[{},{NOTE},{}]", call(1), call(2));
    let answering = async {
        stage.strings.call().await.answer("{}");
        stage.strings.call().await.answer("{}");
        stage.strings.heard("notifications/roots/list_changed").await;
    };
    let (mut reply, _) = tokio::join!(client.post(batch), answering);
    let mut ids: Vec<_> =
        rest(&mut reply).await.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    // In JSON, the answers are an array.
    let pings = format!("[{PING},{PING}]");
    let mut reply = client.send("POST", &[JSON, ("accept", "application/json")], pings).await;
    assert_eq!(reply.value().await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn t13_a_batch_of_notifications_is_taken() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-03-26").await;
    let reply = client.post(format!("[{NOTE},{NOTE}]")).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert!(reply.whole().await.is_empty());
    stage.strings.heard("notifications/roots/list_changed").await;
    stage.strings.heard("notifications/roots/list_changed").await;
}

#[tokio::test]
async fn t14_initialize_in_a_batch_is_refused() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-03-26").await;
    let batch = format!("[{},{PING}]", hello("2025-03-26"));
    let refused = [
        client.post(batch.clone()).await,
        request("POST", &stage.url(), &[JSON, BOTH], batch).await,
    ];
    for mut reply in refused {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(error_code(&reply.value().await), -32600);
    }
}

#[tokio::test]
async fn t15_later_revisions_take_no_arrays() {
    let mut stage = Stage::new().await;
    for revision in ["2025-06-18", "2025-11-25"] {
        let client = stage.client(revision).await;
        for body in [format!("[{PING}]"), format!("[{NOTE}]"), "[]".to_owned()] {
            let mut reply = client.post(body).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST);
            assert_eq!(error_code(&reply.value().await), -32600);
        }
    }
}

#[tokio::test]
async fn t35_concurrent_requests_are_answered_each_on_its_own() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let (mut one, first) = stage.streaming(&client, 1).await;
    let (mut two, second) = stage.streaming(&client, 2).await;
    let (mut three, third) = stage.streaming(&client, 3).await;
    for cue in [third, first, second] {
        cue.answer("{}");
    }
    for (reply, id) in [(&mut one, 1), (&mut two, 2), (&mut three, 3)] {
        let said = rest(reply).await;
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!((&said[0]["params"]["progressToken"], &said[1]["id"]), (&json!(id), &json!(id)));
    }
}

#[tokio::test]
async fn t42_what_is_too_large_is_refused() {
    let mut stage = Stage::with(|settings| settings.max_message = 1000).await;
    let client = stage.client("2025-11-25").await;
    let large = format!("{PING}{}", " ".repeat(1000));
    let reply = client.post(large).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut stream = TcpStream::connect(stage.wharf.address()).await.unwrap();
    // As much as may be there without an end, and not a byte more: unread bytes
    // would cut the answer off.
    let mut head = "GET /mcp HTTP/1.1\r\nx: ".to_owned();
    head.push_str(&"y".repeat(AcceptSettings::default().max_header_bytes - head.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut line);
    soon("it is refused", read).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 431");
}
