//! Streams that break off and are taken up again.

use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;
use wharf_streamable_http::server::{OnDisconnect, Replay, ServerSettings};

use crate::{
    backend::{Call, note},
    client::{Ask, Reply, Stage, call, data, delete, frame, get, post, request, settings},
};

/// Takes a stream up after an event.
fn after(session: &str, event: &str) -> Ask {
    get().of(session).with("last-event-id", event)
}

fn replaying(change: impl FnOnce(&mut Replay)) -> ServerSettings {
    let mut settings = settings();
    change(&mut settings.replay);
    settings
}

/// A call that has said note 1 on its stream: the connection, the call, and
/// the id of that event.
async fn begun(stage: &mut Stage, session: &str, id: usize) -> (Reply, Call, String) {
    let mut reply = stage.begin(call(id).of(session));
    let call = stage.call().await;
    call.say(note(1));
    loop {
        let event = reply.event().await.expect("the note comes");
        if !event.data.is_empty() {
            let id = event.id.expect("it has an id").as_str().to_owned();
            return (reply, call, id);
        }
    }
}

/// The ids and the numbers of the notes that a stream says, to its end.
async fn rest(reply: &mut Reply) -> Vec<(String, String)> {
    let mut rest = Vec::new();
    while let Some(event) = reply.event().await {
        let id = event.id.as_ref().map(|id| id.as_str().to_owned());
        rest.push((id.unwrap_or_default(), data(&event)));
    }
    rest
}

#[tokio::test]
async fn a_stream_begins_with_an_id_and_a_wait_where_the_revision_says_so() {
    let mut stage = Stage::new().await;
    for (revision, is_primed) in
        [("2025-11-25", true), ("2025-06-18", false), ("2025-03-26", false)]
    {
        let (id, session) = stage.open_as(revision).await;
        let mut posted = stage.begin(call(1).of(&id));
        let call = stage.call().await;
        call.say(note(1));
        let mut listening = stage.begin(get().of(&id));
        listening.streams().await;
        session.say(note(1));
        for (stream, kind) in [(&mut posted, "a1"), (&mut listening, "l1")] {
            let first = stream.event().await.expect("begins");
            let number = u32::from(!is_primed);
            assert_eq!(first.id.expect("has one").as_str(), format!("{kind}-{number}"));
            assert_eq!(first.data.is_empty(), is_primed, "{revision}");
            assert_eq!(first.retry.is_some(), is_primed, "{revision}");
        }
        stage.listened().await;
        call.answer("{}");
    }
}

#[tokio::test]
async fn a_client_without_ids_of_its_own_gets_none() {
    let mut stage = Stage::with(settings(), |backend| backend.is_open_to_anonymous = true).await;
    let got = stage.ask(post(request(1, "echo")).accepting("text/event-stream")).await;
    assert!(got.text().starts_with("event: message\ndata: "), "{got:?}");
    let (id, _) = stage.open_as("2024-11-05").await;
    let got = stage.ask(post(request(1, "echo")).of(&id).accepting("text/event-stream")).await;
    assert!(got.text().starts_with("event: message\ndata: "), "{got:?}");
}

#[tokio::test]
async fn what_a_call_says_after_its_client_went_is_there_when_it_comes_back() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    call.say(note(2));
    call.answer(r#"{"done":true}"#);
    call.abandoned().await;
    let mut back = stage.begin(after(&id, &last));
    let said = rest(&mut back).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains(r#""number":2"#) && said[1].1.contains(r#""done":true"#));
    assert_eq!((&*said[0].0, &*said[1].0), ("a1-2", "a1-3"));
}

#[tokio::test]
async fn a_client_that_comes_back_before_the_answer_waits_for_it() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    let mut back = stage.begin(after(&id, &last));
    back.streams().await;
    call.say(note(2));
    assert!(back.next().await.expect("is said").contains(r#""number":2"#));
    // And breaks off again.
    drop(back);
    call.say(note(3));
    let mut back = stage.begin(after(&id, "a1-2"));
    back.streams().await;
    call.answer("{}");
    let said = rest(&mut back).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains(r#""number":3"#) && said[1].1.contains("result"));
}

#[tokio::test]
async fn what_was_lost_on_its_way_is_sent_again() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    call.say(note(1));
    call.say(note(2));
    call.answer("{}");
    assert_eq!(rest(&mut reply).await.len(), 4, "the beginning, two notes and the answer");
    for (last, left) in [("a1-0", 3), ("a1-1", 2), ("a1-2", 1)] {
        assert_eq!(rest(&mut stage.begin(after(&id, last))).await.len(), left, "{last}");
    }
    assert_eq!(stage.ask(after(&id, "a1-3")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_client_can_come_back_before_the_server_knows_that_it_went() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (mut old, call, last) = begun(&mut stage, &id, 1).await;
    let mut new = stage.begin(after(&id, &last));
    new.streams().await;
    assert_eq!(old.next().await, None, "the old connection gives way");
    call.say(note(2));
    assert!(new.next().await.expect("is said").contains(r#""number":2"#));
    let mut newest = stage.begin(after(&id, &last));
    newest.streams().await;
    assert_eq!(new.next().await, None, "and so does one that came back");
    call.answer("{}");
    assert_eq!(rest(&mut newest).await.len(), 2);
}

#[tokio::test]
async fn only_the_streams_own_messages_are_sent_again() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let (one, mut first, last) = begun(&mut stage, &id, 1).await;
    let (two, mut second, other) = begun(&mut stage, &id, 2).await;
    let mut listening = stage.begin(get().of(&id));
    listening.streams().await;
    stage.listened().await;
    session.say(note(100));
    assert!(listening.next().await.is_some());
    drop((one, two));
    tokio::join!(first.moved(), second.moved());
    first.say(note(11));
    second.say(note(21));
    first.answer("{}");
    second.answer("{}");
    for (last, number, answers) in [(last, 11, 1), (other, 21, 2)] {
        let said = rest(&mut stage.begin(after(&id, &last))).await;
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].1.contains(&format!(r#""number":{number}"#)), "{said:?}");
        assert!(said[1].1.contains(&format!(r#""id":{answers}"#)), "{said:?}");
    }
}

#[tokio::test]
async fn no_session_sees_anothers_streams() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (other, _) = stage.open().await;
    let (_reply, _call, last) = begun(&mut stage, &id, 1).await;
    let got = stage.ask(after(&other, &last)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert_eq!(stage.ask(get().with("last-event-id", &last)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_id_that_was_never_given_is_refused_with_the_reason() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (_reply, _call, _) = begun(&mut stage, &id, 1).await;
    for last in ["", "x", "a1-2", "a2-1", "l1-0", "l2-1", "a01-1", "1"] {
        let got = stage.ask(after(&id, last)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{last:?}");
        assert_eq!(got.error(), (-32600, None));
        assert!(got.text().contains("Last-Event-ID"), "{got:?}");
    }
}

#[tokio::test]
async fn a_listening_stream_is_taken_up_where_it_broke_off() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let mut listening = stage.begin(get().of(&id));
    listening.streams().await;
    stage.listened().await;
    for number in 1..=3 {
        session.say(note(number));
        assert!(listening.next().await.is_some());
    }
    // It has read two and lost the third. Another stream says something.
    let mut other = stage.begin(get().of(&id));
    other.streams().await;
    session.say(note(4));
    assert!(other.next().await.expect("is newer").contains(r#""number":4"#));
    let mut back = stage.begin(after(&id, "l1-2"));
    assert!(back.next().await.expect("is sent again").contains(r#""number":3"#));
    assert_eq!(listening.next().await, None, "the old connection gives way");
    session.say(note(5));
    let event = back.event().await.expect("it is the newest now");
    assert_eq!(event.id.as_ref().map(|id| id.as_str()), Some("l1-4"));
    assert!(data(&event).contains(r#""number":5"#), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_forgotten_but_a_client_may_still_listen() {
    let mut stage =
        Stage::with(replaying(|replay| replay.age = Duration::from_secs(40)), |_| {}).await;
    let (id, session) = stage.open().await;
    let mut listening = stage.ask_direct(get().of(&id)).await.into_body();
    session.say(note(1));
    assert!(frame(&mut listening).await.is_some());
    drop(listening);
    sleep(Duration::from_secs(39)).await;
    let mut back = stage.ask_direct(after(&id, "l1-0")).await.into_body();
    assert!(frame(&mut back).await.expect("is kept").contains(r#""number":1"#));
    drop(back);
    sleep(Duration::from_secs(60)).await;
    session.say(note(2));
    let mut back = stage.ask_direct(after(&id, "l1-0")).await.into_body();
    assert!(frame(&mut back).await.expect("listens").contains(r#""number":2"#));
}

#[tokio::test]
async fn of_too_many_events_the_newest_are_kept() {
    let mut stage = Stage::with(replaying(|replay| replay.events = 3), |_| {}).await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    for number in 2..=9 {
        call.say(note(number));
    }
    call.answer("{}");
    call.abandoned().await;
    let said = rest(&mut stage.begin(after(&id, &last))).await;
    let ids: Vec<_> = said.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["a1-8", "a1-9", "a1-10"]);
}

#[tokio::test]
async fn bytes_are_bounded_in_a_session_and_in_all() {
    for (session_bytes, total_bytes) in [(500, 10_000), (10_000, 500)] {
        let bounded = |replay: &mut Replay| {
            (replay.session_bytes, replay.total_bytes) = (session_bytes, total_bytes);
        };
        let mut stage = Stage::with(replaying(bounded), |_| {}).await;
        let (id, _) = stage.open().await;
        let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
        drop(reply);
        call.moved().await;
        for number in 2..=50 {
            call.say(note(number));
        }
        // What is larger than all that may be kept is not, and takes nobody's
        // room.
        call.say(wharf_proto::Notification::new(
            "notes/large",
            Some(&crate::backend::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(1000)))),
        ));
        call.answer("{}");
        call.abandoned().await;
        let said = rest(&mut stage.begin(after(&id, &last))).await;
        assert!((2..10).contains(&said.len()), "{said:?}");
        assert!(said[0].1.contains("notes/one"), "{said:?}");
        assert!(said.last().expect("is kept").1.contains("result"), "{said:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_still_reaches_the_client_that_came_back() {
    let mut stage = Stage::with(replaying(|replay| replay.session_bytes = 400), |_| {}).await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    let mut back = stage.begin(after(&id, &last));
    back.streams().await;
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(1000));
    call.say(note(2));
    call.answer(&large);
    let said = rest(&mut back).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].1.contains(&large));
}

#[tokio::test]
async fn of_too_many_streams_those_that_were_delivered_go_first() {
    let mut stage = Stage::with(replaying(|replay| replay.streams = 2), |_| {}).await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    call.answer("{}");
    call.abandoned().await;
    for _ in 0..3 {
        let ask = post(request(2, "echo")).of(&id).accepting("text/event-stream");
        assert_eq!(stage.ask(ask).await.status, StatusCode::OK);
    }
    assert_eq!(stage.ask(after(&id, "a2-0")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(rest(&mut stage.begin(after(&id, &last))).await.len(), 1);
}

#[tokio::test]
async fn where_nothing_is_to_be_kept_events_have_no_ids() {
    let mut stage = Stage::with(replaying(|replay| replay.events = 0), |_| {}).await;
    let (id, session) = stage.open().await;
    let mut posted = stage.begin(call(1).of(&id));
    stage.call().await.say(note(1));
    let mut listening = stage.begin(get().of(&id));
    listening.streams().await;
    session.say(note(1));
    for stream in [&mut posted, &mut listening] {
        let event = stream.event().await.expect("is said");
        assert!(event.id.is_none() && event.retry.is_none() && !event.data.is_empty());
    }
}

#[tokio::test]
async fn an_answer_in_json_is_no_stream() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    for _ in 0..3 {
        assert!(stage.ask(post(request(1, "echo")).of(&id)).await.text().contains("result"));
    }
    let (_reply, _call, last) = begun(&mut stage, &id, 2).await;
    assert_eq!(last, "a1-1", "it is the first stream");
}

#[tokio::test]
async fn a_call_that_its_disconnect_has_cancelled_has_no_rest() {
    let mut settings = settings();
    settings.on_disconnect = OnDisconnect::Cancel;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let (reply, call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.abandoned().await;
    assert_eq!(stage.ask(after(&id, &last)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_session_that_ends_ends_the_streams_that_were_taken_up() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (reply, mut call, last) = begun(&mut stage, &id, 1).await;
    drop(reply);
    call.moved().await;
    let mut back = stage.begin(after(&id, &last));
    back.streams().await;
    assert_eq!(stage.ask(delete().of(&id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(back.next().await, None);
    call.abandoned().await;
    assert_eq!(stage.closed().await, 1);
    assert_eq!(stage.ask(after(&id, &last)).await.status, StatusCode::NOT_FOUND);
}
