//! Tests of the event stream on a paused clock.

use std::{future::poll_fn, sync::Arc};

use http_body::Body as _;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use wharf_proto::{
    Json, Message, Notification,
    sse::{Decoder, Event},
};

use super::*;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Bench {
    body: EventBody,
    outbox: mpsc::Sender<Queued>,
    ended: CancellationToken,
}

fn bench(keep_alive: Duration) -> Bench {
    let (sender, outbox) = mpsc::channel(256);
    let ended = CancellationToken::new();
    Bench {
        body: EventBody::new("/messages?session_id=1", outbox, ended.clone(), keep_alive),
        outbox: sender,
        ended,
    }
}

fn message(text: String) -> Queued {
    queued(Message::parse(text).expect("a message"))
}

fn queued(message: impl Into<Message>) -> Queued {
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("is free");
    Queued { message: message.into(), _room: room }
}

async fn frame(body: &mut EventBody) -> Option<Bytes> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    let Ok(frame) = frame;
    frame.into_data().ok()
}

fn events(bytes: Bytes) -> Vec<Event> {
    let mut decoder = Decoder::new(usize::MAX / 2);
    decoder.feed(bytes);
    std::iter::from_fn(|| decoder.next_event().expect("a clean stream")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_is_alive() {
    let mut bench = bench(KEEP_ALIVE);
    frame(&mut bench.body).await.expect("the endpoint");
    let start = Instant::now();
    for round in 1..=3 {
        let comment = frame(&mut bench.body).await.expect("a comment");
        assert_eq!(comment.first(), Some(&b':'));
        assert!(events(comment).is_empty());
        assert_eq!(start.elapsed(), KEEP_ALIVE * round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_keep_alive_stays_silent() {
    let mut bench = bench(Duration::ZERO);
    frame(&mut bench.body).await.expect("the endpoint");
    let silence = tokio::time::timeout(Duration::from_secs(3600), frame(&mut bench.body));
    assert!(silence.await.is_err());
}

#[tokio::test]
async fn what_waits_goes_out_before_the_end() {
    let mut bench = bench(KEEP_ALIVE);
    frame(&mut bench.body).await.expect("the endpoint");
    let last = Notification::new("last", None);
    bench.outbox.send(queued(last)).await.expect("open");
    bench.ended.cancel();
    let sent = events(frame(&mut bench.body).await.expect("the message"));
    assert_eq!(sent.len(), 1);
    assert!(frame(&mut bench.body).await.is_none());
}

#[tokio::test]
async fn a_dropped_stream_ends_its_session() {
    let bench = bench(KEEP_ALIVE);
    assert!(!bench.ended.is_cancelled());
    drop(bench.body);
    assert!(bench.ended.is_cancelled());
}

proptest! {
    #[test]
    fn every_message_is_one_event_with_one_line_of_data(
        texts in proptest::collection::vec(("\\PC{0,40}", "[ \t\r\n]{0,4}"), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let sent: Vec<_> = texts
            .iter()
            .map(|(text, space)| {
                let text = Json::string(text);
                format!(r#"{{{space}"jsonrpc":"2.0","method":"m",{space}"params":{{"text":{text}}}{space}}}"#)
            })
            .collect();
        let received = runtime.block_on(async {
            let mut bench = bench(Duration::ZERO);
            frame(&mut bench.body).await.expect("the endpoint");
            for text in &sent {
                bench.outbox.try_send(message(text.clone())).expect("room");
            }
            bench.ended.cancel();
            let mut stream = BytesMut::new();
            while let Some(bytes) = frame(&mut bench.body).await {
                stream.extend_from_slice(&bytes);
            }
            stream.freeze()
        });
        let lines = received.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"data:"));
        prop_assert_eq!(lines.count(), sent.len());
        let events = events(received);
        prop_assert_eq!(events.len(), sent.len());
        for (event, text) in events.iter().zip(&sent) {
            prop_assert_eq!(event.event_type(), "message");
            let text = text.replace(['\r', '\n'], " ");
            prop_assert_eq!(&event.data[..], text.as_bytes());
        }
    }
}
