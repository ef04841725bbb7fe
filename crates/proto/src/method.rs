//! The names of MCP's methods.

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $method:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $method;)*

        /// The name as the program has it, where it is one of MCP's.
        pub(crate) fn known(name: &str) -> Option<&'static str> {
            match name {
                $($method => Some($method),)*
                _ => None,
            }
        }
    };
}

methods! {
    /// Opens a session.
    INITIALIZE = "initialize";
    /// The client has understood the answer to [`INITIALIZE`].
    INITIALIZED = "notifications/initialized";
    /// Is the peer there?
    PING = "ping";
    /// The sender no longer wants the answer to a request.
    CANCELLED = "notifications/cancelled";
    /// How far a request has got.
    PROGRESS = "notifications/progress";
    /// A log line.
    MESSAGE = "notifications/message";

    /// Lists tools.
    TOOLS_LIST = "tools/list";
    /// Calls a tool.
    TOOLS_CALL = "tools/call";
    /// The tools are others than before.
    TOOLS_LIST_CHANGED = "notifications/tools/list_changed";

    /// Lists prompts.
    PROMPTS_LIST = "prompts/list";
    /// Renders a prompt.
    PROMPTS_GET = "prompts/get";
    /// The prompts are others than before.
    PROMPTS_LIST_CHANGED = "notifications/prompts/list_changed";

    /// Lists resources.
    RESOURCES_LIST = "resources/list";
    /// Lists templates of resource URIs.
    RESOURCES_TEMPLATES_LIST = "resources/templates/list";
    /// Reads a resource.
    RESOURCES_READ = "resources/read";
    /// Asks to be told of a resource's changes.
    RESOURCES_SUBSCRIBE = "resources/subscribe";
    /// Asks to be told no more.
    RESOURCES_UNSUBSCRIBE = "resources/unsubscribe";
    /// A resource has changed.
    RESOURCES_UPDATED = "notifications/resources/updated";
    /// The resources are others than before.
    RESOURCES_LIST_CHANGED = "notifications/resources/list_changed";

    /// Completes an argument.
    COMPLETE = "completion/complete";
    /// Sets the least severity of log lines.
    SET_LEVEL = "logging/setLevel";

    /// The server wants a model's answer.
    CREATE_MESSAGE = "sampling/createMessage";
    /// The server wants something from the user.
    ELICIT = "elicitation/create";
    /// The server wants the client's roots.
    ROOTS_LIST = "roots/list";
    /// The roots are others than before.
    ROOTS_LIST_CHANGED = "notifications/roots/list_changed";

    /// The user has done what a URL elicitation asked for (2025-11-25).
    ELICITATION_COMPLETE = "notifications/elicitation/complete";

    /// How a task is getting on (2025-11-25, as the other task methods).
    TASKS_GET = "tasks/get";
    /// What has become of a task.
    TASKS_RESULT = "tasks/result";
    /// Lists tasks.
    TASKS_LIST = "tasks/list";
    /// Cancels a task.
    TASKS_CANCEL = "tasks/cancel";
    /// A task is getting on.
    TASKS_STATUS = "notifications/tasks/status";
}
