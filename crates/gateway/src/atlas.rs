//! What a client of `/mcp` has been shown of where things are: resources that
//! no list has, tasks, elicitations. Bounded; the oldest is forgotten first.

use std::{
    collections::{HashMap, VecDeque},
    sync::{LazyLock, Mutex, MutexGuard},
};

use memchr::memmem::Finder;
use wharf_proto::{Json, Outcome, Request, Response, Text, code, method};

use crate::content;

/// How many things of one kind are remembered.
const MOST: usize = 4096;

/// The longest name that is remembered.
const LONGEST: usize = 4096;

/// What one client has been shown, by the upstream's number.
#[derive(Default)]
pub(crate) struct Atlas {
    resources: Mutex<Places>,
    tasks: Mutex<Places>,
    elicitations: Mutex<Places>,
}

/// What there can be to learn from an answer, as its request tells.
///
/// Words are looked for as everybody writes them: what is hidden behind escapes
/// is not learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesson {
    Nothing,
    /// Something, if it is an error.
    Error,
    /// The same, or if it is a result that links to something.
    Links,
    Anything,
}

#[derive(Default)]
struct Places {
    of: HashMap<Text, usize>,
    /// Oldest first.
    order: VecDeque<Text>,
}

// === impl Atlas ===

impl Atlas {
    /// Learns what is to be found at an upstream from an answer that
    /// [the lesson is in](Lesson::is_in).
    pub(crate) fn learn(
        &self,
        lesson: Lesson,
        upstream: usize,
        request: &Request,
        response: &Response,
    ) {
        let result = match response.outcome() {
            Outcome::Result(result) => result,
            Outcome::Error(error) => {
                if response.error_code() == Some(code::URL_ELICITATION_REQUIRED) {
                    self.learn_elicitations(upstream, error);
                }
                return;
            }
        };
        match request.method() {
            method::TOOLS_CALL | method::TASKS_RESULT => {
                if mentions_task(request) && request.param("task").is_some() {
                    self.learn_task(upstream, result.path(&["task", "taskId"]));
                }
                if lesson == Lesson::Links || mentions_resource(result) {
                    self.learn_blocks(upstream, request, result);
                }
            }
            method::PROMPTS_GET => self.learn_blocks(upstream, request, result),
            method::RESOURCES_READ => {
                let contents = result.field("contents").and_then(|contents| contents.items());
                let uris = contents.iter().flatten().filter_map(|one| one.field("uri"));
                uris.for_each(|uri| self.learn_resource(upstream, Some(uri)));
            }
            method::TASKS_LIST => {
                let tasks = result.field("tasks").and_then(|tasks| tasks.items());
                let ids = tasks.iter().flatten().map(|task| task.field("taskId"));
                ids.for_each(|id| self.learn_task(upstream, id));
            }
            _ => {}
        }
    }

    /// The upstream that has mentioned a resource last.
    pub(crate) fn resource(&self, uri: &str) -> Option<usize> {
        lock(&self.resources).of.get(uri).copied()
    }

    /// The upstream that has made a task.
    pub(crate) fn task(&self, id: &str) -> Option<usize> {
        lock(&self.tasks).of.get(id).copied()
    }

    /// Whether the client was sent to a URL under this id.
    pub(crate) fn has_elicitation(&self, id: &str) -> bool {
        lock(&self.elicitations).of.contains_key(id)
    }

    /// Links to resources, and resources themselves, in what a client is shown.
    fn learn_blocks(&self, upstream: usize, request: &Request, result: &Json) {
        for block in content::blocks(request.method(), result) {
            let kind = block.field("type").and_then(|kind| kind.to_text());
            match kind.as_deref() {
                Some("resource_link") => self.learn_resource(upstream, block.field("uri")),
                Some("resource") => self.learn_resource(upstream, block.path(&["resource", "uri"])),
                _ => {}
            }
        }
    }

    fn learn_resource(&self, upstream: usize, uri: Option<Json>) {
        lock(&self.resources).learn(uri, upstream);
    }

    fn learn_task(&self, upstream: usize, id: Option<Json>) {
        lock(&self.tasks).learn(id, upstream);
    }

    fn learn_elicitations(&self, upstream: usize, error: &Json) {
        let all = error.path(&["data", "elicitations"]).and_then(|all| all.items());
        let mut known = lock(&self.elicitations);
        for elicitation in all.iter().flatten() {
            known.learn(elicitation.field("elicitationId"), upstream);
        }
    }
}

// === impl Lesson ===

impl Lesson {
    /// What the answer to a request can teach. Those to most calls teach nothing.
    pub(crate) fn of(request: &Request) -> Self {
        match request.method() {
            method::TOOLS_CALL if !mentions_task(request) => Self::Links,
            method::TOOLS_CALL
            | method::PROMPTS_GET
            | method::RESOURCES_READ
            | method::TASKS_LIST => Self::Anything,
            _ => Self::Error,
        }
    }

    /// Whether an answer has to be learned from.
    pub(crate) fn is_in(self, response: &Response) -> bool {
        match (self, response.outcome()) {
            (Self::Nothing, _) | (Self::Error, Outcome::Result(_)) => false,
            (Self::Links, Outcome::Result(result)) => mentions_resource(result),
            (Self::Anything, _) | (_, Outcome::Error(_)) => true,
        }
    }
}

// === impl Places ===

impl Places {
    fn learn(&mut self, name: Option<Json>, upstream: usize) {
        let Some(name) = name.and_then(|name| name.to_text()) else { return };
        if name.len() > LONGEST {
            return;
        }
        // A text of its own: a part would keep the whole message.
        let name = Text::from(name.as_str());
        if self.of.insert(name.clone(), upstream).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

fn mentions_task(request: &Request) -> bool {
    static TASK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""task""#));
    request.params().is_some_and(|params| TASK.find(params.as_bytes()).is_some())
}

/// Most results have none, and some are very long.
fn mentions_resource(result: &Json) -> bool {
    static RESOURCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""resource"#));
    RESOURCE.find(result.as_bytes()).is_some()
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().expect("nothing panics while holding it")
}

#[cfg(test)]
mod tests {
    use wharf_proto::RequestId;

    use super::*;

    fn learned(atlas: &Atlas, upstream: usize, method: &str, params: &str, result: &str) {
        let json = |text: &str| Json::parse(text.to_owned()).expect("the test's JSON is valid");
        let id = RequestId::from(1);
        let request = Request::new(&id, method, Some(&json(params)));
        let response = Response::success(&id, &json(result));
        let lesson = Lesson::of(&request);
        if lesson.is_in(&response) {
            atlas.learn(lesson, upstream, &request, &response);
        }
    }

    #[test]
    fn most_calls_teach_nothing() {
        let id = RequestId::from(1);
        let json = |text: &str| Json::parse(text.to_owned()).expect("the test's JSON is valid");
        let is_taught = |method, params: &str, result: &str| {
            let request = Request::new(&id, method, Some(&json(params)));
            Lesson::of(&request).is_in(&Response::success(&id, &json(result)))
        };
        let said = r#"{"content":[{"type":"text","text":"a resource, a task"}]}"#;
        assert!(!is_taught(method::TOOLS_CALL, r#"{"name":"t"}"#, said));
        assert!(!is_taught(method::TOOLS_LIST, "{}", r#"{"tools":[{"name":"resource"}]}"#));
        assert!(is_taught(method::TOOLS_CALL, r#"{"name":"t","task":{}}"#, said));
        assert!(is_taught(method::TOOLS_CALL, "{}", r#"{"content":[{"type":"resource_link"}]}"#));
        assert!(is_taught(method::PROMPTS_GET, "{}", "{}"));
    }

    #[test]
    fn links_are_learned_from_every_place_where_they_stand() {
        let atlas = Atlas::default();
        let content = r#"[{"type":"text","text":"x://no"},{"type":"resource_link","uri":"x://link","name":"l"},{"type":"resource","resource":{"uri":"x://in","text":""}}]"#;
        let result = format!(r#"{{"content":{content}}}"#);
        learned(&atlas, 1, method::TOOLS_CALL, "{}", &result);
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"x://p","text":""}}}]}"#;
        learned(&atlas, 2, method::PROMPTS_GET, "{}", prompt);
        let read = r#"{"contents":[{"uri":"x://dir/a","text":""}]}"#;
        learned(&atlas, 3, method::RESOURCES_READ, "{}", read);
        let found =
            ["x://link", "x://in", "x://p", "x://dir/a", "x://no"].map(|uri| atlas.resource(uri));
        assert_eq!(found, [Some(1), Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn tasks_are_learned_where_one_was_asked_for() {
        let atlas = Atlas::default();
        let made = |id| format!(r#"{{"task":{{"taskId":"{id}","status":"working"}}}}"#);
        learned(&atlas, 1, method::TOOLS_CALL, r#"{"task":{}}"#, &made("a"));
        learned(&atlas, 1, method::TOOLS_CALL, "{}", &made("b"));
        learned(&atlas, 2, method::TASKS_LIST, "{}", r#"{"tasks":[{"taskId":"c"}]}"#);
        assert_eq!(["a", "b", "c"].map(|id| atlas.task(id)), [Some(1), None, Some(2)]);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let atlas = Atlas::default();
        for number in 0..=MOST {
            let read = format!(r#"{{"contents":[{{"uri":"x://{number}"}}]}}"#);
            learned(&atlas, 0, method::RESOURCES_READ, "{}", &read);
        }
        assert_eq!(atlas.resource("x://0"), None);
        assert_eq!(atlas.resource("x://1"), Some(0));
        assert_eq!(lock(&atlas.resources).of.len(), MOST);
    }
}
