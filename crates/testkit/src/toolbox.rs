//! MCP servers as tables: a [`Toolbox`] is a [`Backend`] made of tools,
//! resources, templates and prompts, each a description and a closure.
//!
//! It serves every [`Revision`], pages its lists where asked to, completes
//! arguments, relays progress and log lines with the call they belong to, and
//! stops a call that its client cancels.

use std::{
    fmt,
    future::Future,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
};

use serde::de::DeserializeOwned;
use wharf_proto::{
    ErrorObject, Json, Notification, Request, Response, Revision, code, method,
    server::{Backend, Caller, Opening, Refusal},
};

mod answer;
mod call;
mod offer;
mod offers;
mod page;
mod session;
#[cfg(test)]
mod tests;

pub use call::{Answering, Call};
pub use offer::{
    Content, Contents, Failed, NoArguments, Prompt, Reference, Resource, Template, Tool,
};
pub use session::{Figures, Session, Unasked};
pub use wharf_proto::Severity;

use offers::{Offered, Offers};
use session::NoPlace;

/// An MCP server made of what has been put into it. `S` is what its tools
/// share: counters, a clock.
///
/// ```
/// use serde::Deserialize;
/// use wharf_testkit::toolbox::{Content, Tool, Toolbox};
///
/// #[derive(Deserialize)]
/// struct Whom { name: String }
///
/// let greeter = Toolbox::named("greeter", "1.0.0", ()).tool(
///     Tool::new("greet", "Greets somebody", serde_json::json!({
///         "type": "object",
///         "properties": {"name": {"type": "string"}},
///         "required": ["name"],
///     })),
///     async |whom: Whom, _| Ok(Content::text(format!("Hello, {}!", whom.name))),
/// );
/// # let _ = greeter;
/// ```
pub struct Toolbox<S> {
    name: String,
    version: String,
    instructions: Option<String>,
    state: Arc<S>,
    figures: Figures,
    page_size: Option<NonZeroUsize>,
    has_log: bool,
    tools: Offers<RunTool<S>>,
    resources: Offers<ReadResource<S>>,
    templates: Offers<Family<S>>,
    prompts: Offers<Spoken<S>>,
    completions: Vec<Completion<S>>,
    audience: Mutex<Vec<Weak<Session>>>,
}

type Work = Pin<Box<dyn Future<Output = Result<Content, Failed>> + Send>>;
type RunTool<S> = Box<dyn Fn(Option<Json>, Call<S>) -> Work + Send + Sync>;
type ReadResource<S> = Box<dyn Fn(&S) -> Contents + Send + Sync>;
type ReadMember<S> = Box<dyn Fn(&S, &str) -> Option<Contents> + Send + Sync>;
type Render<S> = Box<dyn Fn(&S, Option<Json>) -> Result<String, Failed> + Send + Sync>;
type Complete<S> = Box<dyn Fn(&S, &str) -> Vec<String> + Send + Sync>;

struct Family<S> {
    prefix: String,
    read: ReadMember<S>,
}

struct Spoken<S> {
    description: String,
    render: Render<S>,
}

struct Completion<S> {
    of: Reference,
    argument: Box<str>,
    complete: Complete<S>,
}

// === impl Toolbox ===

impl<S: Send + Sync + 'static> Toolbox<S> {
    /// A server of that name and version that offers nothing yet.
    pub fn named(name: impl Into<String>, version: impl Into<String>, state: S) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            instructions: None,
            state: Arc::new(state),
            figures: Figures::new(),
            page_size: None,
            has_log: false,
            tools: Offers::default(),
            resources: Offers::default(),
            templates: Offers::default(),
            prompts: Offers::default(),
            completions: Vec::new(),
            audience: Mutex::default(),
        }
    }

    /// Tells clients how the server is meant to be used.
    #[must_use]
    pub fn instructions(self, text: impl Into<String>) -> Self {
        Self { instructions: Some(text.into()), ..self }
    }

    /// Answers lists in pages of so many items; `None`, the default, in one.
    #[must_use]
    pub fn page_size(self, items: Option<NonZeroUsize>) -> Self {
        Self { page_size: items, ..self }
    }

    /// Offers log lines, and lets clients say how severe they must be.
    #[must_use]
    pub fn with_log(self) -> Self {
        Self { has_log: true, ..self }
    }

    /// Adds a tool. Arguments that are no `A` are a failure of the tool, in
    /// words for the model.
    #[must_use]
    pub fn tool<A, F, W>(mut self, tool: Tool, run: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A, Call<S>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<Content, Failed>> + Send + 'static,
    {
        let run = Arc::new(run);
        let act: RunTool<S> = Box::new(move |arguments, call| {
            let run = Arc::clone(&run);
            Box::pin(async move { run(read(arguments)?, call).await })
        });
        let (name, listed) = tool.into_parts();
        self.tools.push(Offered { name, listed, act });
        self
    }

    /// Adds a resource.
    #[must_use]
    pub fn resource(
        mut self,
        resource: Resource,
        read: impl Fn(&S) -> Contents + Send + Sync + 'static,
    ) -> Self {
        let act: ReadResource<S> = Box::new(read);
        let (name, listed) = resource.into_parts();
        self.resources.push(Offered { name, listed, act });
        self
    }

    /// Adds a family of resources; `read` gets what stands in the variable's
    /// place, and says `None` where there is no such resource.
    #[must_use]
    pub fn template(
        mut self,
        template: Template,
        read: impl Fn(&S, &str) -> Option<Contents> + Send + Sync + 'static,
    ) -> Self {
        let (name, listed, prefix) = template.into_parts();
        let read: ReadMember<S> = Box::new(read);
        let act = Family { prefix, read };
        self.templates.push(Offered { name, listed, act });
        self
    }

    /// Adds a prompt. Arguments that are no `A`, and a failure, are JSON-RPC
    /// errors.
    #[must_use]
    pub fn prompt<A: DeserializeOwned>(
        mut self,
        prompt: Prompt,
        render: impl Fn(&S, &A) -> Result<String, Failed> + Send + Sync + 'static,
    ) -> Self {
        let (name, listed, description) = prompt.into_parts();
        let render: Render<S> = Box::new(move |state, arguments| render(state, &read(arguments)?));
        let act = Spoken { description, render };
        self.prompts.push(Offered { name, listed, act });
        self
    }

    /// Completes an argument; `complete` gives every value that fits what the
    /// user has typed, the best first.
    #[must_use]
    pub fn completes(
        mut self,
        of: Reference,
        argument: &str,
        complete: impl Fn(&S, &str) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.completions.push(Completion {
            of,
            argument: argument.into(),
            complete: Box::new(complete),
        });
        self
    }

    /// What the tools share.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// What the server has counted.
    #[must_use]
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Says something to every client with a session, unasked.
    pub fn announce(&self, notification: &Notification) {
        self.audience()
            .retain(|session| session.upgrade().is_some_and(|session| session.tell(notification)));
    }

    fn audience(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Session>>> {
        self.audience.lock().expect("no one panics while holding it")
    }

    /// Runs a tool; everything else is answered at once.
    fn run(&self, session: &Arc<Session>, request: &Request) -> Answering {
        let Some(name) = request.param("name").and_then(|name| name.to_text()) else {
            return failed(request, &invalid("`name` must be the name of a tool"));
        };
        let Some(tool) = self.tools.named(&name) else {
            return failed(request, &invalid(format!("unknown tool: {name}")));
        };
        let entry = match session.enter(request.id()) {
            Ok(entry) => entry,
            Err(NoPlace::Ended) => return Answering::refused(Refusal::SessionEnded),
            Err(NoPlace::IdInUse) => {
                let error = ErrorObject::new(
                    code::INVALID_REQUEST,
                    "another request of this id is under way in the session",
                );
                return failed(request, &error);
            }
        };
        let call = Call::new(
            Arc::clone(&self.state),
            self.figures.clone(),
            Arc::clone(session),
            request.progress_token().map(|(token, _)| token),
        );
        let (figures, id) = (self.figures.clone(), request.id().clone());
        let arguments = request.param("arguments");
        Answering::running(call, entry, |call| {
            let work = (tool.act)(arguments, call);
            async move {
                let _running = figures.begin_call();
                let result = match work.await {
                    Ok(content) => content.into_result(false),
                    Err(Failed(text)) => Content::text(text).into_result(true),
                };
                Response::success(&id, &result)
            }
        })
    }
}

impl<S: Send + Sync + 'static> Backend for Toolbox<S> {
    type Session = Session;
    type Exchange = Answering;
    type Feed = Unasked;

    async fn open(&self, hello: Request, _: Caller<'_>) -> Opening<Session> {
        let Some(requested) = hello.requested_revision() else {
            let error = invalid("`protocolVersion` must be a string");
            return Opening::refused(Response::failure(Some(hello.id()), &error));
        };
        let revision = Revision::negotiate(&requested);
        let session = Arc::new(Session::open(revision, &self.figures));
        let mut audience = self.audience();
        audience.retain(|session| session.strong_count() > 0);
        audience.push(Arc::downgrade(&session));
        Opening {
            response: Response::success(hello.id(), &self.greeting(revision)),
            session: Some(session),
        }
    }

    fn call(&self, session: &Arc<Session>, request: Request, _: Caller<'_>) -> Answering {
        if session.has_ended() {
            return Answering::refused(Refusal::SessionEnded);
        }
        if request.method() == method::TOOLS_CALL && !self.tools.is_empty() {
            return self.run(session, &request);
        }
        match self.answer(session, &request) {
            Ok(result) => Answering::answered(Response::success(request.id(), &result)),
            Err(error) => failed(&request, &error),
        }
    }

    async fn notify(&self, session: &Arc<Session>, notification: Notification) {
        if let Some(id) = notification.cancelled_id() {
            session.cancel(&id);
        }
    }

    /// Nobody was asked anything, so nothing is done with the answer.
    async fn respond(&self, _: &Arc<Session>, _: Response) {}

    fn listen(&self, session: &Arc<Session>) -> Unasked {
        session.listen()
    }

    async fn close(&self, session: &Arc<Session>) {
        session.end();
    }

    fn anonymous(&self) -> Option<Arc<Session>> {
        Some(Arc::new(Session::anonymous()))
    }
}

impl<S> fmt::Debug for Toolbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toolbox")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Reads arguments; none at all are an empty object.
fn read<A: DeserializeOwned>(arguments: Option<Json>) -> Result<A, Failed> {
    let arguments = arguments
        .filter(|arguments| arguments.as_str() != "null")
        .unwrap_or_else(Json::empty_object);
    // Serde would take an array for the fields of a struct in their order.
    if !arguments.is_object() {
        return Err(Failed::new("the arguments do not fit: they must be an object"));
    }
    arguments.read().map_err(|error| Failed(format!("the arguments do not fit: {error}")))
}

fn invalid(message: impl Into<String>) -> ErrorObject {
    ErrorObject::new(code::INVALID_PARAMS, message)
}

fn failed(request: &Request, error: &ErrorObject) -> Answering {
    Answering::answered(Response::failure(Some(request.id()), error))
}
