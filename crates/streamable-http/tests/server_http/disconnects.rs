//! Clients that go away.

use http::StatusCode;
use wharf_proto::server::Refusal;
use wharf_streamable_http::server::OnDisconnect;

use crate::{
    backend::note,
    client::{Stage, call, delete, post, request, settings},
};

#[tokio::test]
async fn a_call_goes_on_when_its_client_goes_before_the_head() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let mut call = stage.call().await;
    drop(reply);
    call.moved().await;
    assert!(!call.is_abandoned());
    call.say(note(1));
    call.answer("{}");
    call.abandoned().await;
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_call_goes_on_when_its_client_goes_within_the_stream() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut reply = stage.begin(call(1).of(&id));
    let mut call = stage.call().await;
    call.say(note(1));
    assert!(reply.next().await.is_some());
    drop(reply);
    call.moved().await;
    assert!(!call.is_abandoned());
    call.answer("{}");
    call.abandoned().await;
}

#[tokio::test]
async fn of_too_many_calls_without_their_client_the_oldest_are_dropped() {
    for anonymous in [false, true] {
        let mut settings = settings();
        settings.max_kept_calls = 2;
        let mut stage = Stage::with(settings, |backend| backend.is_open_to_anonymous = true).await;
        let (id, _) = stage.open().await;
        let mut kept = Vec::new();
        for number in 1..=3 {
            let ask = if anonymous { call(number) } else { call(number).of(&id) };
            let reply = stage.begin(ask);
            let mut call = stage.call().await;
            drop(reply);
            call.moved().await;
            kept.push(call);
        }
        kept[0].abandoned().await;
        assert!(!kept[1].is_abandoned() && !kept[2].is_abandoned());
        // One that has ended makes room for another.
        kept[2].answer("{}");
        kept[2].abandoned().await;
        let reply = stage.begin(if anonymous { call(4) } else { call(4).of(&id) });
        let mut fourth = stage.call().await;
        drop(reply);
        fourth.moved().await;
        assert!(!kept[1].is_abandoned() && !fourth.is_abandoned());
    }
}

#[tokio::test]
async fn a_kept_call_ends_with_its_session() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let mut call = stage.call().await;
    drop(reply);
    call.moved().await;
    assert_eq!(stage.ask(delete().of(&id)).await.status, StatusCode::NO_CONTENT);
    call.abandoned().await;
    assert_eq!(stage.closed().await, 1);
}

#[tokio::test]
async fn a_kept_call_can_end_its_session() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let mut call = stage.call().await;
    drop(reply);
    call.moved().await;
    call.refuse(Refusal::SessionEnded);
    assert_eq!(stage.closed().await, 1);
    assert_eq!(stage.server.sessions(), 0);
}

#[tokio::test]
async fn a_disconnect_cancels_where_the_operator_says_so() {
    let mut settings = settings();
    settings.on_disconnect = OnDisconnect::Cancel;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    drop(reply);
    call.abandoned().await;
    assert_eq!(stage.server.sessions(), 1);
}

#[tokio::test]
async fn a_disconnect_cancels_where_the_revision_says_so() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2024-11-05").await;
    let reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    drop(reply);
    call.abandoned().await;
}

#[tokio::test]
async fn a_notification_is_delivered_also_when_its_client_does_not_wait() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    let ask = post(note).of(&id).direct();
    let server = stage.server.clone();
    let mut handling = Box::pin(server.handle(ask, None));
    let polled = futures_util::poll!(&mut handling);
    assert!(polled.is_pending(), "the backend takes its time");
    drop(handling);
    let (_, notification) = stage.notified().await;
    assert_eq!(notification.method(), "notifications/cancelled");
}

#[tokio::test]
async fn who_waits_for_an_answer_gets_it_although_the_server_is_dropped() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut handling = Box::pin(stage.server.handle(call(1).of(&id).direct(), None));
    assert!(futures_util::poll!(&mut handling).is_pending());
    let call = stage.call().await;
    drop(stage);
    call.answer("{}");
    assert_eq!(handling.await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_batch_go_on_together() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2025-03-26").await;
    let batch = format!("[{},{}]", request(1, "work"), request(2, "work"));
    let response = stage.ask_direct(post(batch).of(&id)).await;
    let (first, second) = (stage.call().await, stage.call().await);
    drop(response);
    assert!(!first.is_abandoned() && !second.is_abandoned());
    first.answer("{}");
    first.abandoned().await;
    assert!(!second.is_abandoned());
    second.answer("{}");
    second.abandoned().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_drops_its_calls() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    let mut call = stage.call().await;
    drop(reply);
    call.moved().await;
    drop(stage);
    call.abandoned().await;
}
