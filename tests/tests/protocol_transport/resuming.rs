//! Streams that break off.

use super::*;

#[tokio::test]
async fn t31_a_stream_begins_with_an_id_and_no_two_ids_are_the_same() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let mut listening = client.listen().await;
    let first = listening.event().await.unwrap();
    assert!(first.data.is_empty());
    let mut ids = vec![id_of(&first)];
    client.upstream.say(list_changed());
    ids.push(id_of(&message(&mut listening).await));
    for id in 1..=2 {
        let (mut reply, cue) = stage.streaming(&client, id).await;
        cue.answer("{}");
        let mut is_first = true;
        while let Some(event) = reply.event().await {
            assert_eq!(event.data.is_empty(), is_first);
            is_first = false;
            ids.push(id_of(&event));
        }
    }
    assert_eq!(ids.len(), 2 + 2 * 3);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    // Older revisions have ids, and no event that is empty.
    let (mut reply, _cue) = {
        let client = stage.client("2025-06-18").await;
        stage.streaming(&client, 1).await
    };
    let first = reply.event().await.unwrap();
    assert!(!first.data.is_empty() && first.id.is_some());
}

/// The gateway itself closes no connection in mid-call; whatever does, the
/// client knows from the beginning how long to wait.
#[tokio::test]
async fn t32_a_broken_stream_goes_on_where_it_broke_off() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let (mut reply, cue) = stage.streaming(&client, 1).await;
    let first = reply.event().await.unwrap();
    assert!(first.retry.is_some());
    let last = id_of(&message(&mut reply).await);
    drop(reply);
    cue.progress("2");
    let mut back = client.resume(&last).await;
    assert_eq!(back.status, StatusCode::OK);
    assert_eq!(back.value().await["params"]["progress"], 2);
    cue.answer(r#"{"done":true}"#);
    let said = rest(&mut back).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["id"], &said[0]["result"]["done"]), (&json!(1), &json!(true)));
    let nothing = client.resume("a99-1").await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn t33_only_the_broken_stream_is_said_again() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        let client = stage.client(revision).await;
        let (mut a, first) = stage.streaming(&client, 1).await;
        let (mut b, second) = stage.streaming(&client, 2).await;
        let last = id_of(&message(&mut a).await);
        message(&mut b).await;
        drop((a, b));
        for cue in [&first, &second] {
            cue.progress("2");
        }
        first.answer("{}");
        second.answer("{}");
        let said = rest(&mut client.resume(&last).await).await;
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!((&said[0]["params"]["progressToken"], &said[1]["id"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test]
async fn t34_a_disconnect_is_no_cancellation() {
    let mut stage = Stage::new().await;
    for revision in REVISIONS {
        let client = stage.client(revision).await;
        let (mut reply, cue) = stage.streaming(&client, 1).await;
        let last = id_of(&message(&mut reply).await);
        drop(reply);
        // That it is gone has been noticed when its next event is not sent.
        cue.progress("2");
        cue.answer("{}");
        let said = rest(&mut client.resume(&last).await).await;
        assert_eq!(said[1]["id"], 1, "{said:?}");
        // The next notification that the upstream hears is no cancellation.
        assert_eq!(client.post(NOTE).await.status, StatusCode::ACCEPTED);
        let heard = stage.strings.heard_next().await;
        assert_eq!(heard.method(), "notifications/roots/list_changed");
    }
}

/// What is said while a client that has listened does not is kept for it.
#[tokio::test]
async fn what_is_said_while_nobody_listens_is_heard_by_the_next_to_listen() {
    let mut stage = Stage::new().await;
    let client = stage.client("2025-11-25").await;
    let mut listening = client.listen().await;
    client.upstream.say(list_changed());
    let last = id_of(&message(&mut listening).await);
    drop(listening);
    client.upstream.say(Notification::new("notifications/prompts/list_changed", None));
    let mut back = client.resume(&last).await;
    assert_eq!(back.value().await["method"], "notifications/prompts/list_changed");
}
