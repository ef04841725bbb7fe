//! Listening streams.

use http::{StatusCode, header};
use wharf_proto::{Response, server::Refusal};

use crate::{
    backend::{json, note},
    client::{Stage, delete, frame, get},
};

#[tokio::test]
async fn what_is_said_unasked_comes_on_the_listening_stream() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    session.say(note(1));
    let mut stream = stage.begin(get().of(&id));
    stream.streams().await;
    stage.listened().await;
    session.say(note(2));
    for number in [1, 2] {
        let said = stream.next().await.expect("is said");
        assert!(said.contains(&format!(r#""number":{number}"#)), "{said}");
    }
}

#[tokio::test]
async fn of_several_streams_exactly_one_carries_each_message() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let mut old = stage.begin(get().of(&id));
    old.streams().await;
    let mut new = stage.begin(get().of(&id));
    new.streams().await;
    for number in 1..=3 {
        session.say(note(number));
        let said = new.next().await.expect("the newest hears");
        assert!(said.contains(&format!(r#""number":{number}"#)));
    }
    stage.server.end_streams();
    assert_eq!(old.next().await, None, "it has carried none of them");
}

#[tokio::test]
async fn when_the_stream_that_carries_goes_another_takes_over() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let mut old = stage.ask_direct(get().of(&id)).await.into_body();
    let mut new = stage.ask_direct(get().of(&id)).await.into_body();
    session.say(note(1));
    assert!(frame(&mut new).await.expect("hears").contains(r#""number":1"#));
    session.say(note(2));
    drop(new);
    let said = frame(&mut old).await.expect("takes over");
    assert!(said.contains(r#""number":2"#), "{said}");
}

#[tokio::test]
async fn a_session_is_asked_for_its_feed_once_and_keeps_it_between_streams() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let response = stage.ask_direct(get().of(&id)).await;
    stage.listened().await;
    drop(response);
    session.say(note(1));
    let mut body = stage.ask_direct(get().of(&id)).await.into_body();
    assert!(frame(&mut body).await.expect("was kept").contains(r#""number":1"#));
    assert!(stage.is_silent());
}

#[tokio::test]
async fn only_streams_are_offered_to_a_listener() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let got = stage.ask(get().of(&id).accepting("application/json")).await;
    assert_eq!(got.status, StatusCode::NOT_ACCEPTABLE);
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_response_never_comes_on_a_listening_stream() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    session.say(Response::success(&1.into(), &json("{}")));
    session.say(note(1));
    let mut body = stage.ask_direct(get().of(&id)).await.into_body();
    assert!(frame(&mut body).await.expect("is said").contains("notes/one"));
}

#[tokio::test]
async fn streams_can_be_sent_away_and_opened_again() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let (mut one, mut two) = (stage.begin(get().of(&id)), stage.begin(get().of(&id)));
    one.streams().await;
    two.streams().await;
    stage.server.end_streams();
    assert_eq!(one.next().await, None);
    assert_eq!(two.next().await, None);
    assert_eq!(stage.server.sessions(), 1);
    session.say(note(1));
    assert!(stage.begin(get().of(&id)).next().await.is_some());
}

#[tokio::test]
async fn a_feed_that_ends_ends_the_streams_and_offers_no_more() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let (mut one, mut two) = (stage.begin(get().of(&id)), stage.begin(get().of(&id)));
    one.streams().await;
    two.streams().await;
    session.refuse(Refusal::Cancelled);
    assert_eq!(one.next().await, None);
    assert_eq!(two.next().await, None);
    let got = stage.ask(get().of(&id)).await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.headers[header::ALLOW], "POST, DELETE");
    assert_eq!(stage.ask(delete().of(&id)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_feed_that_ends_with_its_session_makes_the_server_forget_it() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let mut stream = stage.begin(get().of(&id));
    stream.streams().await;
    stage.listened().await;
    session.refuse(Refusal::SessionEnded);
    assert_eq!(stream.next().await, None);
    assert_eq!(stage.closed().await, 1);
    assert_eq!(stage.ask(get().of(&id)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn silent_streams_carry_comments_also_those_that_wait_for_their_turn() {
    let mut stage = Stage::new().await;
    let (id, session) = stage.open().await;
    let mut old = stage.ask_direct(get().of(&id)).await.into_body();
    let mut new = stage.ask_direct(get().of(&id)).await.into_body();
    let began = tokio::time::Instant::now();
    assert_eq!(frame(&mut old).await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(frame(&mut new).await.as_deref(), Some(": keep-alive\n\n"));
    let take_over = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        drop(new);
        session.say(note(1));
    };
    let (heard, ()) = tokio::join!(frame(&mut old), take_over);
    assert!(heard.expect("is woken").contains("notes/one"));
    assert_eq!(began.elapsed().as_secs(), 16);
}
