//! The names of MCP's methods.

/// Opens a session.
pub const INITIALIZE: &str = "initialize";
/// The client has understood the answer to [`INITIALIZE`].
pub const INITIALIZED: &str = "notifications/initialized";
/// Is the peer there?
pub const PING: &str = "ping";
/// The sender no longer wants the answer to a request.
pub const CANCELLED: &str = "notifications/cancelled";
/// How far a request has got.
pub const PROGRESS: &str = "notifications/progress";
/// A log line.
pub const MESSAGE: &str = "notifications/message";

/// Lists tools.
pub const TOOLS_LIST: &str = "tools/list";
/// Calls a tool.
pub const TOOLS_CALL: &str = "tools/call";
/// The tools are others than before.
pub const TOOLS_LIST_CHANGED: &str = "notifications/tools/list_changed";

/// Lists prompts.
pub const PROMPTS_LIST: &str = "prompts/list";
/// Renders a prompt.
pub const PROMPTS_GET: &str = "prompts/get";
/// The prompts are others than before.
pub const PROMPTS_LIST_CHANGED: &str = "notifications/prompts/list_changed";

/// Lists resources.
pub const RESOURCES_LIST: &str = "resources/list";
/// Lists templates of resource URIs.
pub const RESOURCES_TEMPLATES_LIST: &str = "resources/templates/list";
/// Reads a resource.
pub const RESOURCES_READ: &str = "resources/read";
/// Asks to be told of a resource's changes.
pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
/// Asks to be told no more.
pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
/// A resource has changed.
pub const RESOURCES_UPDATED: &str = "notifications/resources/updated";
/// The resources are others than before.
pub const RESOURCES_LIST_CHANGED: &str = "notifications/resources/list_changed";

/// Completes an argument.
pub const COMPLETE: &str = "completion/complete";
/// Sets the least severity of log lines.
pub const SET_LEVEL: &str = "logging/setLevel";

/// The server wants a model's answer.
pub const CREATE_MESSAGE: &str = "sampling/createMessage";
/// The server wants something from the user.
pub const ELICIT: &str = "elicitation/create";
/// The server wants the client's roots.
pub const ROOTS_LIST: &str = "roots/list";
/// The roots are others than before.
pub const ROOTS_LIST_CHANGED: &str = "notifications/roots/list_changed";

/// The user has done what a URL elicitation asked for (2025-11-25).
pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";

/// How a task is getting on (2025-11-25, as the other task methods).
pub const TASKS_GET: &str = "tasks/get";
/// What has become of a task.
pub const TASKS_RESULT: &str = "tasks/result";
/// Lists tasks.
pub const TASKS_LIST: &str = "tasks/list";
/// Cancels a task.
pub const TASKS_CANCEL: &str = "tasks/cancel";
/// A task is getting on.
pub const TASKS_STATUS: &str = "notifications/tasks/status";
