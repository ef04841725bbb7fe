//! Both halves against each other.

use wharf_proto::{
    Message, Notification, RequestId,
    transport::{Connect, EndReason, Exchange, Fate, Fault, Link},
};
use wharf_sse::{ClientSettings, Connector, SseLink};

mod support;

use support::{
    backend::{Heard, Serving},
    client::Driven,
    hello, http, message, request, target, within,
};

async fn connected(serving: &mut Serving) -> (SseLink, Driven) {
    let connector = Connector::new(http(), ClientSettings::default());
    let target = target(&format!("http://{}/sse", serving.address));
    let (link, feed) = within(connector.connect(&target)).await.expect("a link");
    let feed = Driven::new(feed);
    let mut opening = link.call(hello());
    let answer = within(opening.answer()).await.expect("an answer");
    assert!(answer.result().is_some());
    (link, feed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_all_get_their_own_answer() {
    let mut serving = Serving::start().await;
    let (link, _feed) = connected(&mut serving).await;
    serving.opened().await;
    let mut calls: Vec<_> = (1..=200)
        .map(|id| link.call(request(id, "tools/call", &format!(r#"{{"nonce":{id}}}"#))))
        .collect();
    let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
    let (answers, ()) = tokio::join!(within(answers), async {
        let mut waiting = Vec::new();
        while waiting.len() < 200 {
            waiting.push(serving.call().await);
        }
        for call in waiting.iter().rev() {
            call.answer();
        }
    });
    for (answer, id) in answers.into_iter().zip(1_u64..) {
        let answer = answer.expect("an answer");
        assert_eq!(answer.id(), Some(&RequestId::from(id)));
        let nonce = answer.result().expect("a result").field("nonce");
        assert_eq!(nonce.expect("the nonce").to_string(), id.to_string());
    }
}

#[tokio::test]
async fn what_each_side_says_reaches_the_other() {
    let mut serving = Serving::start().await;
    let (link, mut feed) = connected(&mut serving).await;
    let say = serving.opened().await;

    let note = Notification::new("notifications/initialized", None);
    within(link.notify(note)).await.expect("taken");
    assert!(matches!(serving.heard().await, Heard::Notification(_)));

    say.send(Ok(message(r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#)))
        .expect("listened to");
    let Ok(Message::Request(roots)) = feed.next().await else { panic!("a request") };
    let answer = wharf_proto::Response::success(roots.id(), &wharf_proto::Json::empty_object());
    within(link.respond(answer)).await.expect("taken");
    let Heard::Response(answer) = serving.heard().await else { panic!("a response") };
    assert_eq!(answer.id(), Some(&RequestId::from("r")));
}

#[tokio::test]
async fn goodbye_ends_the_session_on_both_sides() {
    let mut serving = Serving::start().await;
    let (link, mut feed) = connected(&mut serving).await;
    serving.opened().await;
    link.goodbye().await;
    assert!(matches!(feed.end().await, EndReason::Closed));
    serving.closed().await;
    assert_eq!(serving.server.sessions(), 0);
}

#[tokio::test]
async fn a_server_that_stops_fails_every_call_at_once() {
    let mut serving = Serving::start().await;
    let (link, mut feed) = connected(&mut serving).await;
    serving.opened().await;
    let mut calls: Vec<_> = (1..=20).map(|id| link.call(request(id, "tools/call", "{}"))).collect();
    let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
    let (answers, ()) = tokio::join!(within(answers), async {
        for _ in 1..=20 {
            serving.call().await;
        }
        within(serving.server.shutdown()).await;
    });
    for answer in answers {
        let error = answer.expect_err("ended");
        assert_eq!(error.fate, Fate::MayHaveRun);
        assert!(matches!(error.fault, Fault::Ended(EndReason::StreamEnded)));
    }
    assert!(matches!(feed.end().await, EndReason::StreamEnded));
}
