//! The official SDK's client.

use rmcp::{
    ClientHandler, ErrorData, RoleClient, ServiceExt as _,
    model::{
        ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
        ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationCapability,
        FormElicitationCapability, Implementation, ListRootsResult,
        LoggingMessageNotificationParam, ProgressNotificationParam,
        ResourceUpdatedNotificationParam, Root, SamplingMessage, UrlElicitationCapability,
    },
    service::{NotificationContext, RequestContext, RunningService},
    transport::StreamableHttpClientTransport,
};
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::soon;

/// A client that can be asked for a model's words and for the user's, and for
/// its roots.
#[derive(Debug)]
pub struct Guest {
    name: String,
    can_answer: bool,
    progress: UnboundedSender<ProgressNotificationParam>,
    changes: UnboundedSender<&'static str>,
    lines: UnboundedSender<LoggingMessageNotificationParam>,
    updates: UnboundedSender<String>,
}

/// What a [`Guest`] has heard.
#[derive(Debug)]
pub struct Ears {
    /// How far its calls have got.
    pub progress: UnboundedReceiver<ProgressNotificationParam>,
    /// Which lists have changed, by their names.
    pub changes: UnboundedReceiver<&'static str>,
    /// Lines of logs.
    pub lines: UnboundedReceiver<LoggingMessageNotificationParam>,
    /// Which resources have changed, by their URIs.
    pub updates: UnboundedReceiver<String>,
}

/// Connects a client of that name over streamable HTTP. One that cannot
/// answer declares no capabilities.
///
/// # Panics
///
/// Where there is no session.
///
/// # Cancel safety
///
/// Dropping the future may leave a session.
pub async fn connect(
    url: &str,
    name: &str,
    can_answer: bool,
) -> (RunningService<RoleClient, Guest>, Ears) {
    let (progress, heard) = mpsc::unbounded_channel();
    let (changes, changed) = mpsc::unbounded_channel();
    let (lines, logged) = mpsc::unbounded_channel();
    let (updates, updated) = mpsc::unbounded_channel();
    let guest = Guest { name: name.to_owned(), can_answer, progress, changes, lines, updates };
    let transport = StreamableHttpClientTransport::from_uri(url);
    let service = soon("the official client connects", guest.serve(transport)).await;
    let ears = Ears { progress: heard, changes: changed, lines: logged, updates: updated };
    (service.unwrap(), ears)
}

// === impl Guest ===

impl ClientHandler for Guest {
    fn get_info(&self) -> ClientConfig {
        let capabilities = if self.can_answer {
            let elicitation = ElicitationCapability::default()
                .with_form(FormElicitationCapability::default())
                .with_url(UrlElicitationCapability::default());
            ClientCapabilities::builder()
                .enable_roots()
                .enable_roots_list_changed()
                .enable_sampling()
                .enable_elicitation_with(elicitation)
                .build()
        } else {
            ClientCapabilities::default()
        };
        ClientConfig::new(capabilities, Implementation::new(self.name.clone(), "1"))
    }

    async fn create_message(
        &self,
        asked: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let words = format!("{} has read {} messages", self.name, asked.messages.len());
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text(words), "no-model".to_owned()))
    }

    async fn create_elicitation(
        &self,
        asked: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let accepted = ElicitResult::new(ElicitationAction::Accept);
        Ok(match asked {
            ElicitRequestParams::UrlElicitationParams { .. } => accepted,
            _ => accepted.with_content(json!({"name": self.name})),
        })
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new(format!("file:///home/{}", self.name))]))
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.progress.send(progress);
    }

    async fn on_logging_message(
        &self,
        line: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.lines.send(line);
    }

    async fn on_resource_updated(
        &self,
        change: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.updates.send(change.uri);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changes.send("tools");
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changes.send("resources");
    }
}
