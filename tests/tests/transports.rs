//! Every client transport against every upstream transport, in every way of
//! answering, with sessions and without.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::print_stdout, reason = "the output of a test is seen where it fails")]

use serde_json::{Value, json};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{Revision, method};
use wharf_testkit::{
    Answers, FastTest, FastTime, Hello, Sessions, TestClient, Transport, Upstream, UpstreamSettings,
};
use wharf_tests::{Over, Wharf, outcome, soon, upstream, value};

/// One row of the table: how Wharf comes to its upstream, and what that is.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// What Wharf is told that the upstream speaks.
    told: Spoken,
    /// What it speaks.
    settings: UpstreamSettings,
}

/// What runs behind the gateway in one row.
struct Row {
    time: Upstream<FastTime>,
    wharf: Wharf,
    _fast: Upstream<FastTest>,
}

impl Way {
    fn all() -> Vec<Self> {
        let mut ways = Vec::new();
        for answers in [Answers::Fitting, Answers::Json, Answers::EventStream] {
            for sessions in [Sessions::Kept, Sessions::None] {
                for (told, transport) in [
                    (Spoken::StreamableHttp, Transport::StreamableHttp),
                    (Spoken::Auto, Transport::StreamableHttp),
                    (Spoken::Auto, Transport::Both),
                ] {
                    ways.push(Self::new(told, transport, answers, sessions));
                }
            }
        }
        // What is answered by streamable HTTP makes no difference here.
        for told in [Spoken::Sse, Spoken::Auto] {
            ways.push(Self::new(told, Transport::Sse, Answers::Fitting, Sessions::Kept));
        }
        ways
    }

    fn new(told: Spoken, transport: Transport, answers: Answers, sessions: Sessions) -> Self {
        let default = UpstreamSettings::default();
        Self { told, settings: UpstreamSettings { transport, answers, sessions, ..default } }
    }

    async fn start(self) -> Row {
        let time = Upstream::start(FastTime::new(), self.settings).await.unwrap();
        let fast = Upstream::start(FastTest::new(), self.settings).await.unwrap();
        let mut upstreams = [upstream("fast", &fast.url()), upstream("time", &time.url())];
        for upstream in &mut upstreams {
            upstream.transport = self.told;
        }
        Row { time, wharf: Wharf::in_front_of(upstreams).await, _fast: fast }
    }

    /// Whether anything can be said before an answer.
    fn has_asides(&self) -> bool {
        self.settings.transport == Transport::Sse || self.settings.answers != Answers::Json
    }
}

/// Runs a test on every row with a client of either kind, and says which one
/// it failed on.
async fn on_every_way(test: impl AsyncFn(Way, Row, Over)) {
    for way in Way::all() {
        for over in Over::BOTH {
            let row = format!("{over:?} to {way:?}");
            println!("{row}");
            soon(&row, async { test(way, way.start().await, over).await }).await;
        }
    }
}

/// Something of everything that Fast Time offers, with answers that stay the
/// same: by the upstream's own names.
fn questions() -> Vec<(&'static str, Value)> {
    let convert = json!({
        "name": "convert_time",
        "arguments": {
            "time": "2025-07-01 09:00",
            "source_timezone": "Europe/Berlin",
            "target_timezone": "America/New_York",
        },
    });
    let compare = json!({
        "name": "compare_timezones",
        "arguments": {"timezones": "UTC, Asia/Tokyo", "reference_time": "2025-01-15T12:00:00Z"},
    });
    let zone = json!({
        "ref": {"type": "ref/resource", "uri": "time://zone/{+timezone}"},
        "argument": {"name": "timezone", "value": "Europe/B"},
    });
    let prompt = json!({
        "ref": {"type": "ref/prompt", "name": "compare_timezones"},
        "argument": {"name": "timezones", "value": "UTC, Asia/T"},
    });
    vec![
        (method::PING, json!({})),
        (method::TOOLS_LIST, json!({})),
        (method::TOOLS_CALL, convert),
        (method::TOOLS_CALL, json!({"name": "convert_time", "arguments": {"time": 1}})),
        (method::TOOLS_CALL, json!({"name": "no_such_tool"})),
        (method::PROMPTS_LIST, json!({})),
        (method::PROMPTS_GET, compare),
        (method::PROMPTS_GET, json!({"name": "no_such_prompt"})),
        (method::RESOURCES_LIST, json!({})),
        (method::RESOURCES_READ, json!({"uri": "time://formats"})),
        (method::RESOURCES_READ, json!({"uri": "time://zone/Moon"})),
        (method::RESOURCES_TEMPLATES_LIST, json!({})),
        (method::COMPLETE, zone),
        (method::COMPLETE, prompt),
        ("no/such/method", json!({})),
        (method::SET_LEVEL, json!({"level": "debug"})),
    ]
}

async fn ask(client: &TestClient, method: &str, params: &Value) -> String {
    let answer = soon(method, client.call(method, params)).await;
    let answer = answer.unwrap_or_else(|error| panic!("{method} {params}: {error:?}"));
    outcome(&answer).to_owned()
}

async fn result(client: &TestClient, method: &str, params: &Value) -> Value {
    let answer = soon(method, client.call(method, params)).await.unwrap();
    value(answer.result().unwrap_or_else(|| panic!("{method} {params}: {}", outcome(&answer))))
}

#[tokio::test]
async fn one_upstream_on_its_own_endpoint_cannot_be_told_from_itself() {
    on_every_way(async |way, row, over| {
        let direct = match way.settings.transport {
            Transport::Sse => TestClient::connect_sse(&row.time.sse_url()).await,
            _ => TestClient::connect_http(&row.time.url()).await,
        };
        let direct = direct.unwrap();
        let through = over.server(&row.wharf, "time").await;
        assert_eq!(through.greeting().as_str(), direct.greeting().as_str());
        assert_eq!(through.revision(), direct.revision());
        for (method, params) in questions() {
            let expected = ask(&direct, method, &params).await;
            assert_eq!(ask(&through, method, &params).await, expected, "{method} {params}");
        }
        through.close().await;
        row.wharf.stop().await;
    })
    .await;
}

#[tokio::test]
async fn everything_is_offered_at_one_endpoint_under_prefixed_names() {
    on_every_way(async |_, row, over| {
        let client = over.everything(&row.wharf).await;
        let greeting = value(client.greeting());
        assert_eq!(greeting["serverInfo"]["name"], "wharf");
        for capability in ["tools", "prompts", "resources", "completions"] {
            assert!(greeting["capabilities"][capability].is_object(), "{greeting}");
        }
        assert_eq!(ask(&client, method::PING, &json!({})).await, "{}");

        let tools = result(&client, method::TOOLS_LIST, &json!({})).await;
        let names: Vec<_> = tools["tools"].as_array().unwrap().iter().collect();
        let names: Vec<_> = names.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        let expected = [
            "fast__echo",
            "fast__get_system_time",
            "fast__get_stats",
            "fast__slow_count",
            "time__get_system_time",
            "time__convert_time",
        ];
        assert_eq!(names, expected);
        let echo = client.call_tool("fast__echo", &json!({"message": "ahoy"})).await.unwrap();
        assert_eq!(echo.text(), "ahoy");
        let time = json!({
            "time": "2025-07-01 09:00",
            "source_timezone": "Europe/Berlin",
            "target_timezone": "America/New_York",
        });
        let converted = client.call_tool("time__convert_time", &time).await.unwrap();
        assert_eq!(converted.text(), "2025-07-01T03:00:00-04:00");

        let prompts = result(&client, method::PROMPTS_LIST, &json!({})).await;
        assert_eq!(prompts["prompts"][0]["name"], "time__compare_timezones");
        let compare = json!({"name": "time__compare_timezones", "arguments": {"timezones": "UTC"}});
        let prompt = result(&client, method::PROMPTS_GET, &compare).await;
        assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("UTC"));

        let resources = result(&client, method::RESOURCES_LIST, &json!({})).await;
        assert_eq!(resources["resources"].as_array().unwrap().len(), 4);
        for uri in ["time://formats", "time://zone/Europe/Berlin"] {
            let read = result(&client, method::RESOURCES_READ, &json!({"uri": uri})).await;
            assert_eq!(read["contents"][0]["uri"], uri);
        }
        let templates = result(&client, method::RESOURCES_TEMPLATES_LIST, &json!({})).await;
        assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "time://zone/{+timezone}");

        let zone = json!({
            "ref": {"type": "ref/resource", "uri": "time://zone/{+timezone}"},
            "argument": {"name": "timezone", "value": "Europe/Berl"},
        });
        let completed = result(&client, method::COMPLETE, &zone).await;
        assert_eq!(completed["completion"]["values"], json!(["Europe/Berlin"]));
        client.close().await;
        row.wharf.stop().await;
    })
    .await;
}

#[tokio::test]
async fn progress_comes_before_the_answer_wherever_the_upstream_can_say_it() {
    use wharf_proto::{Message, transport::Exchange as _};
    on_every_way(async |way, row, over| {
        let client = over.everything(&row.wharf).await;
        let count = json!({
            "name": "fast__slow_count",
            "arguments": {"to": 3, "every": 1},
            "_meta": {"progressToken": "mine"},
        });
        let mut exchange = client.exchange(method::TOOLS_CALL, &count);
        let mut counted = Vec::new();
        let answer = loop {
            match soon("the call goes on", exchange.next()).await.unwrap() {
                Message::Notification(said) if said.method() == method::PROGRESS => {
                    counted.push(said.param("progress").unwrap().read::<u64>().unwrap());
                }
                Message::Notification(_) => {}
                Message::Response(answer) => break answer,
                Message::Request(request) => panic!("{request:?}"),
            }
        };
        assert!(outcome(&answer).contains("counted to 3"), "{}", outcome(&answer));
        let expected: &[u64] = if way.has_asides() { &[1, 2, 3] } else { &[] };
        assert_eq!(counted, expected);
    })
    .await;
}

#[tokio::test]
async fn l01_every_revision_of_a_client_is_served_and_agreed_with_the_upstream() {
    let time = Upstream::start(FastTime::new(), UpstreamSettings::default()).await.unwrap();
    let wharf = Wharf::in_front_of([upstream("time", &time.url())]).await;
    for revision in Revision::ALL {
        let hello = Hello { revision, ..Hello::default() };
        let direct = TestClient::connect_http_as(&time.url(), &hello).await.unwrap();
        for over in Over::BOTH {
            for prefix in ["", "/servers/time"] {
                let client = over.connect(&wharf, prefix, &hello).await;
                assert_eq!(client.revision(), revision, "{over:?} {prefix}");
                assert_eq!(ask(&client, method::PING, &json!({})).await, "{}");
                if !prefix.is_empty() {
                    assert_eq!(client.greeting().as_str(), direct.greeting().as_str());
                }
            }
        }
    }
}

#[tokio::test]
async fn l14_an_upstream_whose_transport_is_found_out_is_probed_once() {
    for transport in [Transport::StreamableHttp, Transport::Sse] {
        let settings = UpstreamSettings { transport, ..UpstreamSettings::default() };
        let fast = Upstream::start(FastTest::new(), settings).await.unwrap();
        let wharf = Wharf::in_front_of([upstream("fast", &fast.url())]).await;
        let clients: Vec<_> =
            futures_util::future::join_all((0..8).map(|_| Over::Http.server(&wharf, "fast"))).await;
        let probes = u64::from(transport == Transport::StreamableHttp);
        assert_eq!(fast.requests().rpc(method::INITIALIZE), 8 + probes, "{transport:?}");
        let figures = wharf.figures("fast").await;
        let label = if transport == Transport::Sse { "sse" } else { "streamable-http" };
        assert_eq!(figures["transport"], label);
        drop(clients);
    }
}
