//! Lists, names and URIs on `/mcp`, and what is said of their changes. A test
//! is named by its row of the protocol's matrix.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use wharf_gateway::{ScopeSetting, Transport as Spoken};
use wharf_proto::{Json, Notification, Revision, code, method};
use wharf_tests::{
    Oddity, Puppet, PuppetSession, Reply, Strings, Wharf, Wire, soon, until, upstream,
};

const EVERYTHING: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{}}"#;
const DECLARED: &str = r#"{"roots":{}}"#;

fn change(method: &str) -> Notification {
    Notification::new(method, None)
}

fn updated(uri: &str) -> Notification {
    let params = Json::parse(format!(r#"{{"uri":"{uri}"}}"#)).unwrap();
    Notification::new(method::RESOURCES_UPDATED, Some(&params))
}

/// A puppet that offers everything, behind `/mcp`; Wharf's own session with it.
async fn stage() -> (impl Sized, Strings, Wharf, Wire, Arc<PuppetSession>) {
    let (puppet, mut strings) = Puppet::offering(EVERYTHING, Default::default()).await;
    let mut settings = upstream("p", &puppet.url());
    // Nothing is to be found out, and so the first session is the one.
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), DECLARED).await;
    let own = strings.session_declaring("{}").await;
    (puppet, strings, wharf, wire, own)
}

/// Has an upstream say something until it is heard: when a stream is joined,
/// nobody is told.
async fn heard(stream: &mut Reply, mut say: impl FnMut()) -> Value {
    soon("it is heard", async {
        loop {
            say();
            let pause = tokio::time::sleep(Duration::from_millis(200));
            tokio::select! {
                heard = stream.value() => return heard,
                () = pause => {}
            }
        }
    })
    .await
}

/// What is heard within a moment that is long enough for what is gathered.
async fn heard_within(stream: &mut Reply, moment: Duration) -> Vec<Value> {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(moment, async {
        loop {
            all.push(stream.value().await);
        }
    })
    .await;
    all
}

/// Calls the tool, so that the client has a session with the upstream.
async fn visit(wire: &Wire, strings: &mut Strings, name: &str) {
    let params = format!(r#"{{"name":"{name}"}}"#);
    let (answered, _) = tokio::join!(
        wire.ask(method::TOOLS_CALL, &params),
        strings.serve(method::TOOLS_CALL, "{}"),
    );
    assert!(answered["result"].is_object(), "{answered}");
}

#[tokio::test]
async fn a11_each_kind_of_change_is_announced_once_to_each_client() {
    let (_puppet, mut strings, wharf, wire, own) = stage().await;
    let other = Wire::connect(&wharf.url("/mcp"), "{}").await;
    visit(&wire, &mut strings, "p__t").await;
    let of_client = strings.session_declaring(DECLARED).await;
    let mut streams = [wire.listen().await, other.listen().await];
    for method in
        [method::TOOLS_LIST_CHANGED, method::PROMPTS_LIST_CHANGED, method::RESOURCES_LIST_CHANGED]
    {
        let said = heard(&mut streams[0], || own.say(change(method))).await;
        assert_eq!(said["method"], method);
        // What else was said until then is gathered to as many at most.
        heard_within(&mut streams[0], Duration::from_millis(300)).await;
        heard_within(&mut streams[1], Duration::from_millis(1)).await;
        // An upstream tells each of its sessions of the same change, and
        // changes in a burst are one.
        for _ in 0..10 {
            own.say(change(method));
            of_client.say(change(method));
        }
        for stream in &mut streams {
            assert_eq!(stream.value().await["method"], method);
            let more = heard_within(stream, Duration::from_millis(300)).await;
            assert!(more.is_empty(), "{more:?}");
        }
    }
}

#[tokio::test]
async fn a11_a_list_that_has_changed_is_read_anew_before_anybody_hears_of_it() {
    let (_puppet, mut strings, _wharf, wire, own) = stage().await;
    let mut stream = wire.listen().await;
    let list = |name: &'static str| format!(r#"{{"tools":[{{"name":"{name}"}}]}}"#);
    let (old, new) = (list("old"), list("new"));
    let (before, _) =
        tokio::join!(wire.ask(method::TOOLS_LIST, "{}"), strings.serve(method::TOOLS_LIST, &old),);
    assert_eq!(before["result"]["tools"][0]["name"], "p__old");
    // It is not asked again while nothing has changed.
    wire.ask(method::TOOLS_LIST, "{}").await;
    assert!(!strings.has_call());
    let play = async {
        soon("it is asked for the list", async {
            while !strings.has_call() {
                own.say(change(method::TOOLS_LIST_CHANGED));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        strings.serve(method::TOOLS_LIST, &new).await;
        while strings.has_call() {
            strings.serve(method::TOOLS_LIST, &new).await;
        }
    };
    let (said, ()) = tokio::join!(stream.value(), play);
    assert_eq!(said["method"], method::TOOLS_LIST_CHANGED);
    let after = wire.ask(method::TOOLS_LIST, "{}").await;
    assert_eq!(after["result"]["tools"][0]["name"], "p__new");
}

#[tokio::test]
async fn a22_an_upstream_that_goes_and_comes_back_is_announced() {
    let mut time = wharf_tests::serving(wharf_testkit::FastTime::new()).await;
    let wharf = Wharf::start([upstream("time", &time.url())], |settings| {
        settings.list_lifetime = Duration::from_millis(100);
    })
    .await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let count = async || {
        let list = wire.ask(method::TOOLS_LIST, "{}").await;
        list["result"]["tools"].as_array().unwrap().len()
    };
    let all = count().await;
    assert!(all > 0);
    let mut stream = wire.listen().await;
    time.stop().await;
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    assert_eq!(count().await, 0);
    time.restart().await.unwrap();
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    assert_eq!(count().await, all);
}

#[tokio::test]
async fn a17_a_uri_is_the_same_wherever_it_stands() {
    let (first, mut of_first) = Puppet::offering(EVERYTHING, Default::default()).await;
    let (second, mut of_second) = Puppet::offering(EVERYTHING, Default::default()).await;
    let upstreams = [upstream("p", &first.url()), upstream("q", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let wire = Wire::connect(&wharf.url("/mcp"), DECLARED).await;
    assert_eq!(wire.greeting()["result"]["capabilities"]["resources"]["subscribe"], true);
    let shared = r#"{"resources":[{"uri":"x://both","name":"1"},{"uri":"x://p","name":"p"}]}"#;
    let (listed, _, _) = tokio::join!(
        wire.ask(method::RESOURCES_LIST, "{}"),
        of_first.serve(method::RESOURCES_LIST, shared),
        of_second.serve(
            method::RESOURCES_LIST,
            r#"{"resources":[{"uri":"x://both","name":"2"},{"uri":"x://q","name":"q"}]}"#
        ),
    );
    // Of two that have the same, the first is shown and asked.
    let text = |json: &Value| json.as_str().unwrap().to_owned();
    let uris = listed["result"]["resources"].as_array().unwrap().iter();
    let uris: Vec<_> = uris.map(|one| [text(&one["uri"]), text(&one["name"])]).collect();
    assert_eq!(uris, [["x://both", "1"], ["x://p", "p"], ["x://q", "q"]]);
    let contents = |uri: &str| format!(r#"{{"contents":[{{"uri":"{uri}","text":""}}]}}"#);
    let both = contents("x://both");
    let (read, _) = tokio::join!(
        wire.ask(method::RESOURCES_READ, r#"{"uri":"x://both"}"#),
        of_first.serve(method::RESOURCES_READ, &both),
    );
    assert_eq!(read["result"]["contents"][0]["uri"], "x://both");
    let (subscribed, asked) = tokio::join!(
        wire.ask(method::RESOURCES_SUBSCRIBE, r#"{"uri":"x://q"}"#),
        of_second.serve(method::RESOURCES_SUBSCRIBE, "{}"),
    );
    assert_eq!(subscribed["result"], json!({}));
    assert_eq!(asked.params().unwrap().as_str(), r#"{"uri":"x://q"}"#);
    let mut stream = wire.listen().await;
    let session = of_second.session_declaring(DECLARED).await;
    let said = heard(&mut stream, || session.say(updated("x://q"))).await;
    assert_eq!(said["params"], json!({"uri": "x://q"}));
    // A link in a result leads back to who has shown it, though no list has it.
    let link = r#"{"content":[{"type":"resource_link","uri":"hidden://1","name":"h"}]}"#;
    let (called, _) = tokio::join!(
        wire.ask(method::TOOLS_CALL, r#"{"name":"q__t"}"#),
        of_second.serve(method::TOOLS_CALL, link),
    );
    assert_eq!(called["result"]["content"][0]["uri"], "hidden://1");
    let hidden = contents("hidden://1");
    let (read, _) = tokio::join!(
        wire.ask(method::RESOURCES_READ, r#"{"uri":"hidden://1"}"#),
        of_second.serve(method::RESOURCES_READ, &hidden),
    );
    assert_eq!(read["result"]["contents"][0]["uri"], "hidden://1");
    let (unsubscribed, _) = tokio::join!(
        wire.ask(method::RESOURCES_UNSUBSCRIBE, r#"{"uri":"x://q"}"#),
        of_second.serve(method::RESOURCES_UNSUBSCRIBE, "{}"),
    );
    assert_eq!(unsubscribed["result"], json!({}));
}

#[tokio::test]
async fn a17_sharers_of_a_session_subscribe_once_and_hear_of_their_own() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        let (puppet, mut strings) = Puppet::offering(EVERYTHING, Default::default()).await;
        let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
        let mut settings = upstream("p", &url);
        (settings.transport, settings.scope) = (spoken, ScopeSetting::Shared);
        let wharf = Wharf::in_front_of([settings]).await;
        let url = wharf.url("/servers/p/mcp");
        let (a, b) = (Wire::connect(&url, "{}").await, Wire::connect(&url, "{}").await);
        let c = Wire::connect(&url, "{}").await;
        let session = strings.session().await;
        let subscribe = async |wire: &Wire, uri: &str| {
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            assert_eq!(wire.ask(method::RESOURCES_SUBSCRIBE, &params).await["result"], json!({}));
        };
        tokio::join!(subscribe(&a, "x://both"), strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
        subscribe(&b, "x://both").await;
        tokio::join!(subscribe(&b, "x://b"), strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
        assert!(!strings.has_call(), "{spoken:?}");
        let (mut of_a, mut of_b) = (a.listen().await, b.listen().await);
        let mut of_c = c.listen().await;
        for stream in [&mut of_a, &mut of_b] {
            heard(stream, || session.say(updated("x://both"))).await;
        }
        heard(&mut of_c, || session.say(change(method::PROMPTS_LIST_CHANGED))).await;
        for uri in ["x://nobody's", "x://b/part", "x://both"] {
            session.say(updated(uri));
        }
        session.say(change(method::TOOLS_LIST_CHANGED));
        let uris = async |stream: &mut Reply| {
            let mut uris = Vec::new();
            loop {
                let said = stream.value().await;
                if said["method"] == method::TOOLS_LIST_CHANGED {
                    return uris;
                }
                uris.extend(said["params"]["uri"].as_str().map(str::to_owned));
            }
        };
        let (mut heard_by_a, heard_by_b) = (uris(&mut of_a).await, uris(&mut of_b).await);
        heard_by_a.dedup();
        // What nobody has asked for may be anybody's who has asked for anything.
        assert_eq!(heard_by_a, ["x://both", "x://nobody's", "x://both"], "{spoken:?}");
        let last = &heard_by_b[heard_by_b.len() - 3..];
        assert_eq!(last, ["x://nobody's", "x://b/part", "x://both"], "{spoken:?}");
        assert_eq!(uris(&mut of_c).await, [""; 0], "{spoken:?}");
        // The upstream hears of the last who goes.
        let params = r#"{"uri":"x://both"}"#;
        assert_eq!(a.ask(method::RESOURCES_UNSUBSCRIBE, params).await["result"], json!({}));
        assert!(!strings.has_call(), "{spoken:?}");
        b.delete().await;
        let mut taken_back = Vec::new();
        for _ in 0..2 {
            let asked = strings.serve(method::RESOURCES_UNSUBSCRIBE, "{}").await;
            taken_back.push(asked.param("uri").unwrap().as_str().to_owned());
        }
        taken_back.sort();
        assert_eq!(taken_back, [r#""x://b""#, r#""x://both""#], "{spoken:?}");
    }
}

#[tokio::test]
async fn a03_names_fit_and_the_short_ones_lead_to_the_long() {
    let (_puppet, mut strings, _wharf, wire, _own) = stage().await;
    let long = "n".repeat(128);
    let list =
        format!(r#"{{"tools":[{{"name":"{long}"}},{{"name":"caf\u00e9/x"}},{{"name":"t"}}]}}"#);
    let (listed, _) =
        tokio::join!(wire.ask(method::TOOLS_LIST, "{}"), strings.serve(method::TOOLS_LIST, &list),);
    let tools = listed["result"]["tools"].as_array().unwrap();
    for (tool, own) in tools.iter().zip([long.as_str(), "caf\u{e9}/x", "t"]) {
        let shown = tool["name"].as_str().unwrap();
        assert!(shown.len() <= 128, "{shown}");
        assert!(shown.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)), "{shown}");
        let params = json!({"name": shown}).to_string();
        let (_, called) = tokio::join!(
            wire.ask(method::TOOLS_CALL, &params),
            strings.serve(method::TOOLS_CALL, "{}"),
        );
        assert_eq!(called.param("name").unwrap().to_text().unwrap(), own);
    }
    let short = r#"{"name":"p__x.h0123456789abcdef0123456789abcdef"}"#;
    let refused = wire.ask(method::TOOLS_CALL, short).await;
    assert_eq!(refused["error"]["code"], code::INVALID_PARAMS);
    assert!(!strings.has_call());
}

/// The names of one page of the tools, and the cursor of the next.
async fn page(wire: &Wire, cursor: Option<&Value>) -> (Vec<String>, Option<Value>) {
    let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor})).to_string();
    let result = &wire.ask(method::TOOLS_LIST, &params).await["result"];
    let tools = result["tools"].as_array().unwrap().iter();
    let names = tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    (names, result.get("nextCursor").cloned())
}

#[tokio::test]
async fn a04_a_list_that_changes_between_two_pages_loses_nothing() {
    let (puppet, mut strings) = Puppet::offering(EVERYTHING, Default::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::start([settings], |settings| settings.page_size = 2).await;
    let wire = Wire::connect(&wharf.url("/mcp"), DECLARED).await;
    let own = strings.session_declaring("{}").await;
    let tools = std::cell::RefCell::new(vec!["a", "b", "c", "d"]);
    let serve = async {
        loop {
            let cue = strings.call().await;
            let named: Vec<_> = tools.borrow().iter().map(|name| json!({"name": name})).collect();
            cue.answer(&json!({"tools": named}).to_string());
        }
    };
    let read = async {
        let (first, next) = page(&wire, None).await;
        assert_eq!(first, ["p__a", "p__b"]);
        assert!(next.as_ref().unwrap().as_str().unwrap().len() < 256);
        for (now, rest) in [
            (vec!["b", "c", "d"], vec!["p__c", "p__d"]),
            (vec!["x", "a", "y", "b", "c", "d"], vec!["p__c", "p__d"]),
            (vec!["a", "c", "d"], vec!["p__c", "p__d"]),
            (vec!["c", "d"], vec!["p__c", "p__d"]),
            (vec!["a", "b"], vec![]),
        ] {
            let begin = format!("p__{}", now[0]);
            *tools.borrow_mut() = now;
            soon("the list changes", async {
                while page(&wire, None).await.0[0] != begin {
                    own.say(change(method::TOOLS_LIST_CHANGED));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let rest: Vec<_> = rest.into_iter().map(str::to_owned).collect();
            assert_eq!(page(&wire, next.as_ref()).await, (rest, None));
        }
    };
    tokio::select! { () = serve => {}, () = read => {} }
}

#[tokio::test]
async fn a25_a_schema_elsewhere_is_not_fetched() {
    let elsewhere = Oddity::saying("200 OK", "application/json", "{}").await;
    let (_puppet, mut strings, _wharf, wire, _own) = stage().await;
    let schema = format!(r#"{{"type":"object","$ref":"{}"}}"#, elsewhere.url());
    let list = format!(r#"{{"tools":[{{"name":"t","inputSchema":{schema}}}]}}"#);
    let (listed, _) =
        tokio::join!(wire.ask(method::TOOLS_LIST, "{}"), strings.serve(method::TOOLS_LIST, &list),);
    assert_eq!(listed["result"]["tools"][0]["inputSchema"]["$ref"], elsewhere.url());
    visit(&wire, &mut strings, "p__t").await;
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_task_is_asked_for_where_it_was_made() {
    let offer = r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
    let (first, mut of_first) = Puppet::offering(offer, Default::default()).await;
    let (second, mut of_second) = Puppet::offering(offer, Default::default()).await;
    let upstreams = [upstream("p", &first.url()), upstream("q", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let wire = Wire::connect_by(Revision::V2025_11_25, &wharf.url("/mcp"), "{}").await;
    let tasks = &wire.greeting()["result"]["capabilities"]["tasks"];
    assert_eq!(*tasks, json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}));
    let made = |id: &str| format!(r#"{{"task":{{"taskId":"{id}","status":"working"}}}}"#);
    for (name, id, strings) in [("p__t", "1", &mut of_first), ("q__t", "2", &mut of_second)] {
        let params = format!(r#"{{"name":"{name}","task":{{"ttl":60000}}}}"#);
        let made = made(id);
        let (answered, asked) = tokio::join!(
            wire.ask(method::TOOLS_CALL, &params),
            strings.serve(method::TOOLS_CALL, &made),
        );
        assert_eq!(answered["result"]["task"]["taskId"], id);
        assert_eq!(asked.param("task").unwrap().as_str(), r#"{"ttl":60000}"#);
    }
    for method in [method::TASKS_GET, method::TASKS_RESULT, method::TASKS_CANCEL] {
        let (answered, _) = tokio::join!(
            wire.ask(method, r#"{"taskId":"2"}"#),
            of_second.serve(method, r#"{"taskId":"2","status":"completed"}"#),
        );
        assert_eq!(answered["result"]["status"], "completed", "{method}");
        let unknown = wire.ask(method, r#"{"taskId":"3"}"#).await;
        assert_eq!(unknown["error"]["code"], code::INVALID_PARAMS, "{method}");
    }
    let (listed, _, _) = tokio::join!(
        wire.ask(method::TASKS_LIST, "{}"),
        of_first.serve(method::TASKS_LIST, r#"{"tasks":[{"taskId":"1"}]}"#),
        of_second.serve(method::TASKS_LIST, r#"{"tasks":[{"taskId":"2"}]}"#),
    );
    assert_eq!(listed["result"]["tasks"], json!([{"taskId": "1"}, {"taskId": "2"}]));
    // Who speaks an earlier revision is told of no tasks, and has none.
    let earlier = Wire::connect(&wharf.url("/mcp"), "{}").await;
    assert!(earlier.greeting()["result"]["capabilities"].get("tasks").is_none());
    let refused = earlier.ask(method::TASKS_GET, r#"{"taskId":"2"}"#).await;
    assert_eq!(refused["error"]["code"], code::METHOD_NOT_FOUND);
}

#[tokio::test]
async fn sixteen_megabytes_pass_both_ways() {
    let (puppet, mut strings) = Puppet::start(Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    for path in ["/mcp", "/servers/p/mcp"] {
        let wire = Wire::connect(&wharf.url(path), "{}").await;
        let large = "x".repeat(16_000_000);
        let params = format!(r#"{{"name":"p__t","arguments":{{"a":"{large}"}}}}"#);
        let result = format!(r#"{{"content":[{{"type":"text","text":"{large}"}}]}}"#);
        let (answered, asked) = tokio::join!(
            wire.ask(method::TOOLS_CALL, &params),
            strings.serve(method::TOOLS_CALL, &result),
        );
        assert_eq!(asked.param("arguments").unwrap().as_bytes().len(), large.len() + 8, "{path}");
        assert_eq!(answered["result"]["content"][0]["text"].as_str().unwrap().len(), large.len());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let (_puppet, mut strings, wharf, wire, own) = stage().await;
    let sleeper = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let _unread = sleeper.listen().await;
    let mut stream = wire.listen().await;
    heard(&mut stream, || own.say(change(method::TOOLS_LIST_CHANGED))).await;
    for _ in 0..10_000 {
        own.say(change(method::TOOLS_LIST_CHANGED));
        own.say(change(method::PROMPTS_LIST_CHANGED));
    }
    let mut prompts = 0;
    while prompts == 0 {
        prompts += usize::from(stream.value().await["method"] == method::PROMPTS_LIST_CHANGED);
    }
    visit(&wire, &mut strings, "p__t").await;
    until("nothing waits", || !strings.has_call()).await;
}

#[tokio::test]
async fn a01_tools_of_one_name_are_told_apart_and_each_reaches_its_own() {
    let (first, mut of_first) = Puppet::offering(EVERYTHING, Default::default()).await;
    let (second, mut of_second) = Puppet::offering(EVERYTHING, Default::default()).await;
    let upstreams = [upstream("p", &first.url()), upstream("q", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let list = r#"{"tools":[{"name":"search"}]}"#;
    let (listed, _, _) = tokio::join!(
        wire.ask(method::TOOLS_LIST, "{}"),
        of_first.serve(method::TOOLS_LIST, list),
        of_second.serve(method::TOOLS_LIST, list),
    );
    assert_eq!(listed["result"]["tools"], json!([{"name": "p__search"}, {"name": "q__search"}]));
    visit(&wire, &mut of_second, "q__search").await;
    visit(&wire, &mut of_first, "p__search").await;
}

#[tokio::test]
async fn a19_a_missing_resource_is_refused_by_its_code() {
    let time = wharf_tests::serving(wharf_testkit::FastTime::new()).await;
    let wharf = Wharf::in_front_of([upstream("time", &time.url())]).await;
    for path in ["/mcp", "/servers/time/mcp"] {
        let wire = Wire::connect(&wharf.url(path), "{}").await;
        for uri in ["time://zone/Moon", "nope://nope"] {
            let params = json!({"uri": uri}).to_string();
            let refused = wire.ask(method::RESOURCES_READ, &params).await;
            assert_eq!(refused["error"]["code"], code::RESOURCE_NOT_FOUND, "{path} {uri}");
            assert_eq!(refused["error"]["data"]["uri"], uri, "{path}");
        }
    }
}
