//! Sessions: opened, found, ended, forgotten.

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::{StatusCode, header};
use tokio::sync::Semaphore;
use wharf_proto::server::Refusal;
use wharf_streamable_http::server::Sessions;

use crate::{
    backend::{Heard, note},
    client::{Stage, call, delete, get, hello, post, request, settings},
};

#[tokio::test]
async fn initialize_agrees_on_the_revision_asked_for_or_on_the_latest() {
    let stage = Stage::new().await;
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1.0.0", "2025-11-25"),
    ] {
        // A version header has no meaning yet, not even a wrong one.
        let got = stage.ask(hello(asked).with("mcp-protocol-version", "1.0.0")).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.headers[header::CONTENT_TYPE], "application/json");
        let revision = got.json().path(&["result", "protocolVersion"]);
        assert_eq!(revision.expect("is there").to_text().expect("is text"), agreed);
    }
    assert_eq!(stage.server.sessions(), 5);
}

#[tokio::test]
async fn session_ids_are_visible_ascii_long_and_all_different() {
    let stage = Stage::new().await;
    let mut ids = HashSet::new();
    for _ in 0..200 {
        let got = stage.ask_direct(hello("2025-11-25")).await;
        let id = got.headers()["mcp-session-id"].to_str().expect("is ASCII").to_owned();
        assert!(id.len() >= 32 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn a_refused_initialize_opens_no_session() {
    let mut settings = settings();
    settings.max_sessions = 1;
    let stage = Stage::with(settings, |_| {}).await;
    for _ in 0..3 {
        let got = stage.ask(post(request(1, "initialize"))).await;
        assert_eq!((got.status, got.session()), (StatusCode::OK, None));
        assert_eq!(got.error(), (-32602, Some("1".to_owned())));
    }
    assert_eq!(stage.server.sessions(), 0);
    assert_eq!(stage.ask(hello("2025-11-25")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_session_id_everything_but_initialize_is_a_400() {
    let mut stage = Stage::new().await;
    let note = r#"{"jsonrpc":"2.0","method":"notes/one"}"#;
    for ask in [call(1), post(note), post(format!("[{note}]")), get(), delete()] {
        let got = stage.ask(ask).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
        assert!(got.text().contains("Mcp-Session-Id"));
    }
    assert_eq!(stage.ask(call(1)).await.error(), (-32600, Some("1".to_owned())));
    assert!(stage.is_silent());
}

#[tokio::test]
async fn an_unknown_session_id_is_a_404_and_is_not_repeated() {
    let mut stage = Stage::new().await;
    let (own, _) = stage.open().await;
    let [shorter, longer] = [&own[1..], &format!("{own}0")].map(str::to_owned);
    let other = format!("{}~", &own[1..]);
    let uppercase = own.to_ascii_uppercase();
    let ids = ["0123456789abcdef0123456789abcdef", "has space", "\u{e9}"];
    let like_own = [shorter, longer, other, uppercase];
    let like_own = like_own.iter().map(String::as_str).filter(|id| *id != own);
    for id in ids.into_iter().chain(like_own) {
        for ask in [call(1), get(), delete()] {
            let got = stage.ask(ask.of(id)).await;
            assert_eq!(got.status, StatusCode::NOT_FOUND);
            assert!(!got.text().contains(id));
        }
    }
    assert!(stage.is_silent());
    assert_eq!(stage.ask(delete().of(&own)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn initialize_opens_a_new_session_whatever_id_comes_with_it() {
    let mut stage = Stage::new().await;
    let (old, _) = stage.open().await;
    for id in [old.as_str(), "forgotten"] {
        let got = stage.ask(hello("2025-11-25").of(id)).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_ne!(got.session().expect("is new"), id);
    }
    assert_eq!(stage.server.sessions(), 3);
}

#[tokio::test]
async fn a_version_header_must_name_a_known_revision_and_may_be_missing() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    for (version, status) in [
        (Some("1999-01-01"), StatusCode::BAD_REQUEST),
        (Some("\u{e9}"), StatusCode::BAD_REQUEST),
        (Some("2025-11-25"), StatusCode::OK),
        (Some("2025-06-18"), StatusCode::OK),
        (None, StatusCode::OK),
    ] {
        let mut ask = post(request(1, "echo")).of(&id);
        if let Some(version) = version {
            ask = ask.with("mcp-protocol-version", version);
        }
        let got = stage.ask(ask).await;
        assert_eq!(got.status, status, "{version:?}");
        if status == StatusCode::BAD_REQUEST {
            assert!(got.text().contains("known are 2024-11-05"));
        }
    }
    let got = stage.ask(get().of(&id).with("mcp-protocol-version", "1999-01-01")).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_call_before_initialized_is_answered() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let got = stage.ask(post(request(1, "echo")).of(&id)).await;
    assert_eq!(got.text(), r#"{"jsonrpc":"2.0","id":1,"result":{"of":1}}"#);
}

#[tokio::test]
async fn delete_ends_the_session_its_streams_and_its_calls() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut listening = stage.begin(get().of(&id));
    listening.streams().await;
    stage.listened().await;
    let waiting = stage.begin(call(1).of(&id));
    let waiting_call = stage.call().await;
    let mut streaming = stage.begin(call(2).of(&id));
    let streaming_call = stage.call().await;
    streaming_call.say(note(1));
    assert!(streaming.next().await.is_some());

    let got = stage.ask(delete().of(&id)).await;
    assert_eq!((got.status, got.text()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(stage.closed().await, 1);
    assert_eq!(listening.next().await, None);
    assert_eq!(streaming.next().await, None);
    assert_eq!(waiting.got().await.status, StatusCode::NOT_FOUND);
    waiting_call.abandoned().await;
    streaming_call.abandoned().await;
    for ask in [call(3), get(), delete()] {
        assert_eq!(stage.ask(ask.of(&id)).await.status, StatusCode::NOT_FOUND);
    }
    assert!(stage.is_silent(), "it is closed once");
    assert_eq!(stage.server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_expires() {
    let mut settings = settings();
    settings.idle_session = Duration::from_secs(100);
    let mut stage = Stage::with(settings, |_| {}).await;
    let used = opened_direct(&mut stage).await;
    let unused = opened_direct(&mut stage).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        let echo = post(request(1, "echo")).of(&used);
        assert_eq!(stage.ask_direct(echo).await.status(), StatusCode::OK);
    }
    assert_eq!(stage.server.sessions(), 1);
    assert_eq!(stage.closed().await, 2);
    let echo = post(request(1, "echo")).of(&unused);
    assert_eq!(stage.ask_direct(echo).await.status(), StatusCode::NOT_FOUND);
    let began = tokio::time::Instant::now();
    assert_eq!(stage.closed().await, 1);
    assert!((100..=125).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_session_with_an_open_stream_or_a_call_under_way_does_not_expire() {
    let mut settings = settings();
    settings.idle_session = Duration::from_secs(100);
    let mut stage = Stage::with(settings, |_| {}).await;
    let listened = opened_direct(&mut stage).await;
    let called = opened_direct(&mut stage).await;
    let stream = stage.ask_direct(get().of(&listened)).await;
    stage.listened().await;
    let answer = stage.ask_direct(call(1).of(&called)).await;
    let call = stage.call().await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(stage.server.sessions(), 2);
    // The client goes away; the call goes on, and keeps the session.
    drop(answer);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(stage.server.sessions(), 2);
    call.answer("{}");
    assert_eq!(stage.closed().await, 2);
    drop(stream);
    assert_eq!(stage.closed().await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_session_that_is_idle_for_the_longest_makes_room() {
    let mut settings = settings();
    settings.max_sessions = 2;
    let mut stage = Stage::with(settings, |_| {}).await;
    let first = opened_direct(&mut stage).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let second = opened_direct(&mut stage).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let echo = post(request(1, "echo"));
    assert_eq!(stage.ask_direct(echo.of(&first)).await.status(), StatusCode::OK);
    tokio::time::advance(Duration::from_secs(1)).await;

    let response = stage.ask_direct(hello("2025-11-25")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut numbers = [0; 2];
    for _ in 0..2 {
        match stage.hear().await {
            Heard::Opened(session) => numbers[0] = session.number,
            Heard::Closed(number) => numbers[1] = number,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(numbers, [3, 2], "the second goes, not the one used since");
    assert_eq!(stage.server.sessions(), 2);
    let echo = post(request(1, "echo")).of(&second);
    assert_eq!(stage.ask_direct(echo).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_refused_initialize_ends_nobodys_session() {
    let mut settings = settings();
    settings.max_sessions = 1;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let got = stage.ask(post(request(1, "initialize"))).await;
    assert_eq!(got.error(), (-32602, Some("1".to_owned())));
    assert!(stage.is_silent());
    assert_eq!(stage.ask(post(request(1, "echo")).of(&id)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_for_which_there_is_no_room_any_more_is_closed() {
    let mut settings = settings();
    settings.max_sessions = 1;
    let gate = Arc::new(Semaphore::new(0));
    let gated = Arc::clone(&gate);
    let mut stage = Stage::with(settings, |backend| backend.gate = gated).await;
    let slow = stage.begin(hello("2025-11-25").with("x-gated", "yes"));
    // It is under way when there is room yet, and finds none afterwards.
    let Heard::Waits = stage.hear().await else { panic!("it waits at the gate") };
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    gate.add_permits(1);
    let Heard::Opened(session) = stage.hear().await else { panic!("a session is opened") };
    let got = slow.got().await;
    assert_eq!((got.status, got.session()), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert_eq!(stage.closed().await, session.number);
    call.answer("{}");
    assert_eq!(reply.got().await.status, StatusCode::OK);
}

#[tokio::test]
async fn there_is_no_room_while_every_session_is_in_use() {
    let mut settings = settings();
    settings.max_sessions = 1;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    let got = stage.ask(hello("2025-11-25")).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(got.error(), (-32603, Some("0".to_owned())));
    assert!(stage.is_silent(), "the backend is not asked for nothing");
    call.answer("{}");
    reply.got().await;
    // The use ends with the body, which the server may let go of a moment
    // after the client has read it.
    while stage.ask(hello("2025-11-25")).await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_without_sessions_gives_no_id_and_asks_for_none() {
    let mut settings = settings();
    settings.sessions = Sessions::None;
    let mut stage = Stage::with(settings, |backend| backend.is_open_to_anonymous = true).await;
    let got = stage.ask(hello("2025-11-25")).await;
    assert_eq!((got.status, got.session()), (StatusCode::OK, None));
    let Heard::Opened(_) = stage.hear().await else { panic!("the backend answers `initialize`") };
    assert_eq!(stage.closed().await, 1, "what nobody can find is closed");
    for ask in [post(request(1, "echo")), post(request(1, "echo")).of("whatever")] {
        assert_eq!(stage.ask(ask).await.status, StatusCode::OK);
    }
    for ask in [get(), delete()] {
        let got = stage.ask(ask).await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(got.headers[header::ALLOW], "POST");
    }
    let reply = stage.begin(call(1));
    stage.call().await.refuse(Refusal::SessionEnded);
    assert_eq!(reply.got().await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.ask(post(request(1, "echo"))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_without_a_session_is_served_where_the_backend_has_one_for_it() {
    let mut stage = Stage::with(settings(), |backend| backend.is_open_to_anonymous = true).await;
    let batch = format!("[{}]", request(1, "echo"));
    for (ask, status) in [
        (post(request(1, "echo")), StatusCode::OK),
        (post(batch.clone()), StatusCode::OK),
        (post(batch).with("mcp-protocol-version", "2025-11-25"), StatusCode::BAD_REQUEST),
        // One that names a session wants that one.
        (post(request(1, "echo")).of("unknown"), StatusCode::NOT_FOUND),
        (get(), StatusCode::METHOD_NOT_ALLOWED),
        (delete(), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(stage.ask(ask).await.status, status);
    }
    assert!(stage.is_silent());
    let (id, _) = stage.open().await;
    assert_eq!(stage.ask(delete().of(&id)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn shutdown_ends_everything_and_opens_nothing_more() {
    let mut stage = Stage::new().await;
    let (one, _) = stage.open().await;
    let (two, _) = stage.open().await;
    let mut listening = stage.begin(get().of(&one));
    listening.streams().await;
    stage.listened().await;
    let reply = stage.begin(call(1).of(&two));
    let under_way = stage.call().await;
    let gone = stage.begin(call(2).of(&two));
    let mut kept = stage.call().await;
    drop(gone);
    kept.moved().await;

    stage.server.shutdown().await;
    assert_eq!(stage.server.sessions(), 0);
    let mut closed = [stage.closed().await, stage.closed().await];
    closed.sort_unstable();
    assert_eq!(closed, [1, 2]);
    assert!(kept.is_abandoned(), "shutdown waits for it");
    assert_eq!(listening.next().await, None);
    assert_eq!(reply.got().await.status, StatusCode::NOT_FOUND);
    under_way.abandoned().await;
    let got = stage.ask(hello("2025-11-25")).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(stage.is_silent());
}

#[tokio::test]
async fn shutdown_gives_up_an_initialize_under_way() {
    let stage = Stage::with(settings(), |backend| backend.is_stuck = true).await;
    let hello = stage.server.handle(hello("2025-11-25").direct(), None);
    let (response, ()) = tokio::join!(hello, stage.server.shutdown());
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

async fn opened_direct(stage: &mut Stage) -> String {
    let response = stage.ask_direct(hello("2025-11-25")).await;
    let Heard::Opened(_) = stage.hear().await else { panic!("the backend opens a session") };
    response.headers()["mcp-session-id"].to_str().expect("is ASCII").to_owned()
}
