//! Large messages and slow clients.

use super::*;

use wharf_streamable_http::server::Answers;

#[tokio::test]
async fn sixteen_megabytes_pass_in_both_directions_in_both_forms() {
    let text = "x".repeat(16_000_000);
    for answers in [Answers::Json, Answers::EventStream] {
        let settings = UpstreamSettings { answers, ..UpstreamSettings::default() };
        let (puppet, mut strings) = Puppet::start(settings).await;
        let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
        let url = wharf.url("/servers/p/mcp");
        let opened = request("POST", &url, &[JSON, BOTH], hello("2025-11-25")).await;
        let session = ("mcp-session-id", opened.headers["mcp-session-id"].to_str().unwrap());
        for accept in ["application/json", "text/event-stream"] {
            let params = Json::parse(format!(r#"{{"name":"t","arguments":{{"text":"{text}"}}}}"#));
            let call = Request::new(&RequestId::from(1), "tools/call", Some(&params.unwrap()));
            let headers = [JSON, ("accept", accept), session];
            let asked = request("POST", &url, &headers, call.text().clone());
            let answered = async {
                let cue = strings.call().await;
                let length = cue.request.params().unwrap().as_str().len();
                cue.answer(&format!(r#"{{"text":"{text}"}}"#));
                length
            };
            let (mut reply, length) = tokio::join!(asked, answered);
            assert!(length > text.len(), "{accept}");
            let answer = reply.next().await.unwrap();
            assert!(answer.len() > text.len(), "{accept}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let mut stage = Stage::new().await;
    let (slow, other) = (stage.client("2025-11-25").await, stage.client("2025-11-25").await);
    let (mut unread, cue) = stage.streaming(&slow, 1).await;
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000));
    let large = Notification::new("notifications/message", Some(&Json::parse(text).unwrap()));
    for _ in 0..64 {
        cue.say(large.clone());
    }
    for id in 2..5 {
        // Of the same client, and of another.
        for client in [&slow, &other] {
            let (mut reply, cue) = stage.streaming(client, id).await;
            cue.answer("{}");
            assert_eq!(rest(&mut reply).await.len(), 2);
        }
    }
    cue.answer("{}");
    assert_eq!(rest(&mut unread).await.len(), 66, "once it reads, it gets everything");
}
