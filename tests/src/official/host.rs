//! The official SDK's server, over streamable HTTP.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
        CompleteResult, CompletionInfo, ContentBlock, CreateMessageRequestParams,
        ElicitRequestParams, ElicitationSchema, GetPromptRequestParams, GetPromptResponse,
        GetPromptResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam,
        PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptMessage,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
        ResourceContents, ResourceTemplate, ResourceUpdatedNotificationParam, Role,
        SamplingMessage, ServerCapabilities, ServerConfig, SetLevelRequestParams,
        SubscribeRequestParams, Tool, UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

/// A server with something of everything.
#[derive(Debug, Clone, Default)]
pub struct Host(Arc<Happenings>);

/// What has happened in a [`Host`].
#[derive(Debug, Default)]
pub struct Happenings {
    /// How many calls of `wait` have begun.
    pub waits: AtomicU64,
    /// How many of them were cancelled.
    pub cancelled: AtomicU64,
    /// How many sessions were opened.
    pub opened: AtomicU64,
    /// What clients have set up, in words.
    told: Mutex<Vec<String>>,
}

/// A [`Host`] that is up. Dropping it takes it down, its connections too.
#[derive(Debug)]
pub struct Serving {
    url: String,
    happenings: Arc<Happenings>,
    sessions: Arc<LocalSessionManager>,
    _tasks: JoinSet<()>,
}

/// The tools, in the order in which they are listed.
const TOOLS: [&str; 10] = [
    "add",
    "ask_model",
    "ask_roots",
    "ask_user",
    "change",
    "count",
    "log",
    "send_user",
    "touch",
    "wait",
];

/// The cursor of their second page, and the place where it begins.
const SECOND: (&str, usize) = ("second", 6);

// === impl Happenings ===

impl Happenings {
    /// What clients have set up, in words such as `level error` or
    /// `subscribed memo://one`.
    ///
    /// # Panics
    ///
    /// Where the server has.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.told.lock().expect("nothing panics while holding it").clone()
    }

    fn tell(&self, what: String) {
        self.told.lock().expect("nothing panics while holding it").push(what);
    }
}

// === impl Host ===

impl Host {
    /// Starts a server; `keeps_sessions` or not, and answering with JSON where
    /// it does not.
    ///
    /// # Panics
    ///
    /// Where there is no port.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn start(keeps_sessions: bool) -> Serving {
        let host = Self::default();
        let happenings = Arc::clone(&host.0);
        let sessions = Arc::<LocalSessionManager>::default();
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(keeps_sessions)
            .with_json_response(!keeps_sessions);
        let service =
            StreamableHttpService::new(move || Ok(host.clone()), Arc::clone(&sessions), config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    // Clients go away all the time.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Serving { url, happenings, sessions, _tasks: tasks }
    }

    async fn wait(&self, context: &RequestContext<RoleServer>) -> Result<String, ErrorData> {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        context.ct.cancelled().await;
        self.0.cancelled.fetch_add(1, Ordering::Relaxed);
        Err(ErrorData::internal_error("cancelled", None))
    }
}

impl ServerHandler for Host {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("official", "1"))
            .with_instructions("Made with the official SDK.")
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
    }

    async fn on_roots_list_changed(&self, _: NotificationContext<RoleServer>) {
        self.0.tell("roots changed".to_owned());
    }

    async fn set_level(
        &self,
        asked: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tell(format!("level {:?}", asked.level));
        Ok(())
    }

    async fn subscribe(
        &self,
        asked: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tell(format!("subscribed {}", asked.uri));
        Ok(())
    }

    async fn unsubscribe(
        &self,
        asked: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tell(format!("unsubscribed {}", asked.uri));
        Ok(())
    }

    async fn list_tools(
        &self,
        asked: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object"}).as_object().unwrap().clone();
        let is_second = asked.is_some_and(|asked| asked.cursor.as_deref() == Some(SECOND.0));
        let (first, second) = TOOLS.split_at(SECOND.1);
        let names = if is_second { second } else { first };
        let tools = names.iter().map(|name| Tool::new(*name, "", schema.clone())).collect();
        let mut listed = ListToolsResult::with_all_items(tools);
        listed.next_cursor = (!is_second).then(|| SECOND.0.to_owned());
        Ok(listed)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let number = |name: &str| call.arguments.as_ref()?.get(name)?.as_u64();
        let text = match &*call.name {
            "add" => (number("a").unwrap_or(0) + number("b").unwrap_or(0)).to_string(),
            "count" => count(&context, number("to").unwrap_or(0)).await?,
            "ask_model" => ask_model(&context.peer).await?,
            "ask_roots" => ask_roots(&context.peer).await?,
            "ask_user" => ask_user(&context.peer).await?,
            "send_user" => send_user(&context.peer).await?,
            "touch" => {
                let told = context.peer.notify_tool_list_changed().await;
                told.map_err(internal)?;
                "touched".to_owned()
            }
            "change" => {
                let change = ResourceUpdatedNotificationParam::new("memo://one");
                context.peer.notify_resource_updated(change).await.map_err(internal)?;
                "changed".to_owned()
            }
            "log" => {
                let line = LoggingMessageNotificationParam::new(LoggingLevel::Error, json!("oh"));
                context.peer.notify_logging_message(line).await.map_err(internal)?;
                "logged".to_owned()
            }
            "wait" => self.wait(&context).await?,
            unknown => {
                return Err(ErrorData::invalid_params(format!("no tool {unknown}"), None));
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(vec![Prompt::new("greet", Some("Greets"), None)]))
    }

    async fn get_prompt(
        &self,
        asked: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let text = format!("Greet somebody by {}", asked.name);
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new("memo://one", "one")]))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new("memo://{name}", "memo");
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        asked: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if asked.uri == "memo://missing" {
            return Err(ErrorData::resource_not_found("no such memo", None));
        }
        let contents = ResourceContents::text(format!("This is {}", asked.uri), asked.uri);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn complete(
        &self,
        asked: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = vec![format!("{}...", asked.argument.value)];
        Ok(CompleteResult::new(CompletionInfo::new(values).map_err(internal)?))
    }
}

async fn count(context: &RequestContext<RoleServer>, to: u64) -> Result<String, ErrorData> {
    for number in 1..=to {
        if let Some(token) = context.meta.get_progress_token() {
            #[expect(clippy::cast_precision_loss, reason = "it counts to ten at most")]
            let progress = ProgressNotificationParam::new(token, number as f64);
            context.peer.notify_progress(progress).await.map_err(internal)?;
        }
    }
    Ok(format!("counted to {to}"))
}

async fn ask_model(peer: &Peer<RoleServer>) -> Result<String, ErrorData> {
    let question = CreateMessageRequestParams::new(vec![SamplingMessage::user_text("Well?")], 10);
    let answer = peer.create_message(question).await.map_err(internal)?;
    let words = answer.message.content.first().and_then(|words| words.as_text());
    Ok(words.map(|words| words.text.clone()).unwrap_or_default())
}

async fn ask_user(peer: &Peer<RoleServer>) -> Result<String, ErrorData> {
    let question = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: "Who are you?".to_owned(),
        requested_schema: ElicitationSchema::builder()
            .required_string("name")
            .build()
            .map_err(internal)?,
    };
    let answer = peer.create_elicitation(question).await.map_err(internal)?;
    Ok(answer.content.unwrap_or_default()["name"].as_str().unwrap_or_default().to_owned())
}

async fn ask_roots(peer: &Peer<RoleServer>) -> Result<String, ErrorData> {
    let answer = peer.list_roots().await.map_err(internal)?;
    Ok(answer.roots.iter().map(|root| root.uri.as_str()).collect::<Vec<_>>().join(" "))
}

async fn send_user(peer: &Peer<RoleServer>) -> Result<String, ErrorData> {
    let question = ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: "Please go there.".to_owned(),
        url: "https://example.com/form".to_owned(),
        elicitation_id: "there".to_owned(),
    };
    let answer = peer.create_elicitation(question).await.map_err(internal)?;
    Ok(format!("{:?}", answer.action))
}

fn internal(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

// === impl Serving ===

impl Serving {
    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has happened in it.
    #[must_use]
    pub fn happenings(&self) -> &Happenings {
        &self.happenings
    }

    /// How many sessions it keeps.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn sessions(&self) -> usize {
        self.sessions.sessions.read().await.len()
    }

    /// Forgets every session, as a restart would.
    ///
    /// # Cancel safety
    ///
    /// All are forgotten or none.
    pub async fn forget_sessions(&self) {
        self.sessions.sessions.write().await.clear();
    }
}
