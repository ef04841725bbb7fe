//! What a user asks, and whether the answer is the answer to it.

use serde_json::{Value, json};
use wharf_proto::{Outcome, Response, method};

use super::axis::{Server, Subject};

/// One call: what is sent, and what must come back.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) params: Value,
    /// What stands in the call and nowhere else.
    pub(crate) nonce: String,
    /// What must stand in its answer.
    expected: String,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is a JSON-RPC error.
    Error {
        /// Whether Wharf says that the error is its own, and whether the call may have run.
        may_have_run: Option<bool>,
        text: String,
    },
    /// It does not belong to what was asked.
    Crossed(String),
}

// === impl Ask ===

impl Ask {
    /// The `number`th call of a user.
    pub(crate) fn new(subject: Subject, server: Server, user: usize, number: u64) -> Self {
        let nonce = nonce(user, number);
        let parts = match (subject, server) {
            (Subject::Tools, Server::FastTest) => echo(&nonce, 0),
            (Subject::Tools, Server::FastTime) => convert(user, number),
            (Subject::Prompts, Server::FastTime) => prompt(user, number),
            (Subject::Resources, Server::FastTime) => resource(user, number),
            (Subject::Lists, Server::FastTest) => list("slow_count"),
            (Subject::Lists, Server::FastTime) => list("convert_time"),
            (Subject::Pings, _) => (method::PING, json!({}), "{}".to_owned()),
            (_, Server::Other) => list("tools"),
            // Fast Test has neither prompts nor resources.
            (Subject::Prompts | Subject::Resources, Server::FastTest) => echo(&nonce, 1),
        };
        Self::marked(nonce, parts)
    }

    /// A call that takes a while, where the server has one, to be given up in the middle.
    pub(crate) fn slow(server: Server, user: usize, number: u64) -> Self {
        if server != Server::FastTest {
            return Self::new(Subject::Tools, server, user, number);
        }
        let nonce = nonce(user, number);
        let parts = echo(&nonce, 200);
        Self::marked(nonce, parts)
    }

    /// With the nonce where every call has it, whatever it asks.
    fn marked(nonce: String, (method, mut params, expected): Parts) -> Self {
        params["_meta"] = json!({ "nonce": nonce });
        Self { method, params, nonce, expected }
    }

    /// Whether this is the answer.
    ///
    /// # Errors
    ///
    /// [`Wrong`] where it is not.
    pub(crate) fn check(&self, response: &Response) -> Result<(), Wrong> {
        match response.outcome() {
            Outcome::Result(result) if result.as_str().contains(&self.expected) => Ok(()),
            Outcome::Result(result) => {
                let start: String = result.as_str().chars().take(200).collect();
                Err(Wrong::Crossed(format!("{} was answered with {start}", self.method)))
            }
            Outcome::Error(error) => Err(Wrong::error(error.as_str())),
        }
    }
}

// === impl Wrong ===

impl Wrong {
    fn error(text: &str) -> Self {
        let error: Value = serde_json::from_str(text).unwrap_or_default();
        let may_have_run = error["data"]["mayHaveRun"].as_bool();
        let message = error["message"].as_str().unwrap_or("an error without a message");
        Self::Error { may_have_run, text: message.to_owned() }
    }
}

type Parts = (&'static str, Value, String);

fn nonce(user: usize, number: u64) -> String {
    format!("n{user}-{number}")
}

fn echo(nonce: &str, delay: u64) -> Parts {
    let arguments = json!({ "message": nonce, "delay": delay });
    // In quotes, so that n1-1 is not found in n1-10.
    let expected = format!("\"{nonce}\"");
    (method::TOOLS_CALL, json!({ "name": "echo", "arguments": arguments }), expected)
}

/// A time that is another for each call, and in UTC and so known.
fn convert(user: usize, number: u64) -> Parts {
    let time = time(user, number);
    let arguments =
        json!({ "time": format!("{time}Z"), "source_timezone": "UTC", "target_timezone": "UTC" });
    (method::TOOLS_CALL, json!({ "name": "convert_time", "arguments": arguments }), time)
}

fn prompt(user: usize, number: u64) -> Parts {
    let time = time(user, number);
    let arguments =
        json!({ "time": format!("{time}Z"), "from_timezone": "UTC", "to_timezones": "UTC" });
    let params = json!({ "name": "convert_time_detailed", "arguments": arguments });
    (method::PROMPTS_GET, params, time)
}

fn resource(user: usize, number: u64) -> Parts {
    const ZONES: [&str; 5] =
        ["Europe/Berlin", "Asia/Tokyo", "America/Lima", "Africa/Cairo", "Australia/Perth"];
    let zone = ZONES[(user + number as usize) % ZONES.len()];
    let uri = format!("time://zone/{zone}");
    (method::RESOURCES_READ, json!({ "uri": uri }), uri)
}

fn list(tool: &str) -> Parts {
    (method::TOOLS_LIST, json!({}), format!("\"{tool}\""))
}

fn time(user: usize, number: u64) -> String {
    let (minutes, hours) = (number / 60, number / 3600);
    let day = user % 28 + 1;
    let month = user / 28 % 12 + 1;
    let year = 2000 + user / 336 % 100;
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}", hours % 24, minutes % 60, number % 60)
}

#[cfg(test)]
mod tests {
    use wharf_proto::{Json, RequestId};

    use super::*;

    fn answer(result: &str) -> Response {
        Response::success(&RequestId::from(1), &Json::parse(result.to_owned()).unwrap())
    }

    #[test]
    fn the_answer_to_another_call_is_wrong() {
        let ask = Ask::new(Subject::Tools, Server::FastTest, 1, 1);
        assert_eq!(ask.check(&answer(r#"{"content":[{"type":"text","text":"n1-1"}]}"#)), Ok(()));
        let crossed = ask.check(&answer(r#"{"content":[{"type":"text","text":"n1-10"}]}"#));
        assert!(matches!(crossed, Err(Wrong::Crossed(_))), "{crossed:?}");
    }

    #[test]
    fn a_call_that_is_to_be_given_up_is_one_that_its_server_knows() {
        let slow = Ask::slow(Server::FastTest, 1, 20);
        assert_eq!(slow.params["arguments"]["delay"], 200);
        let quick = Ask::slow(Server::FastTime, 1, 20);
        assert_eq!(quick.params["name"], "convert_time");
    }

    #[test]
    fn an_error_of_wharfs_says_whether_the_call_may_have_run() {
        let of = |text| Wrong::error(text);
        let said = of(r#"{"code":-1,"message":"m","data":{"mayHaveRun":true}}"#);
        assert_eq!(said, Wrong::Error { may_have_run: Some(true), text: "m".into() });
        let unsaid = of(r#"{"code":-1,"message":"m"}"#);
        assert_eq!(unsaid, Wrong::Error { may_have_run: None, text: "m".into() });
    }

    #[test]
    fn two_users_ask_for_different_times() {
        assert_ne!(time(1, 5), time(2, 5));
        assert_ne!(time(1, 5), time(1, 6));
    }
}
