//! What a toolbox answers at once: everything but the running of a tool.

use serde::{Deserialize, Serialize};
use wharf_proto::{ErrorObject, Json, Request, Revision, code, method};

use super::{
    Failed, Offered, Reference, Session, Severity, Toolbox, invalid,
    offer::{prompt_result, written},
    page::page,
};

/// The most values that a completion may hold (server utilities, completion).
const MOST_VALUES: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Greeting<'a> {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: ServerInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}

#[derive(Serialize)]
struct Capabilities {
    #[serde(skip_serializing_if = "Option::is_none")]
    completions: Option<Offers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logging: Option<Offers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompts: Option<Offers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Offers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Offers>,
}

/// A capability without particulars.
#[derive(Serialize)]
struct Offers {}

#[derive(Serialize)]
struct ServerInfo<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Deserialize)]
struct CompleteParams {
    r#ref: Reference,
    argument: Typed,
}

#[derive(Deserialize)]
struct Typed {
    name: String,
    value: String,
}

// === impl Toolbox ===

impl<S: Send + Sync + 'static> Toolbox<S> {
    /// The result of `initialize`.
    pub(super) fn greeting(&self, revision: Revision) -> Json {
        let offers = |has: bool| has.then_some(Offers {});
        // 2024-11-05 completes arguments too, but has no word for it.
        let says_completions = revision >= Revision::V2025_03_26;
        written(&Greeting {
            protocol_version: revision.as_str(),
            capabilities: Capabilities {
                completions: offers(says_completions && !self.completions.is_empty()),
                logging: offers(self.has_log),
                prompts: offers(self.has_prompts()),
                resources: offers(self.has_resources()),
                tools: offers(self.has_tools()),
            },
            server_info: ServerInfo { name: &self.name, version: &self.version },
            instructions: self.instructions.as_deref(),
        })
    }

    /// The result of a request.
    pub(super) fn answer(&self, session: &Session, request: &Request) -> Result<Json, ErrorObject> {
        match request.method() {
            method::PING => Ok(Json::empty_object()),
            method::INITIALIZE => {
                Err(ErrorObject::new(code::INVALID_REQUEST, "the session is initialized already"))
            }
            method::TOOLS_LIST if self.has_tools() => self.list("tools", &self.tools, request),
            method::RESOURCES_LIST if self.has_resources() => {
                self.list("resources", &self.resources, request)
            }
            method::RESOURCES_TEMPLATES_LIST if self.has_resources() => {
                self.list("resourceTemplates", &self.templates, request)
            }
            method::RESOURCES_READ if self.has_resources() => self.read(request),
            method::PROMPTS_LIST if self.has_prompts() => {
                self.list("prompts", &self.prompts, request)
            }
            method::PROMPTS_GET if self.has_prompts() => self.speak(request),
            method::COMPLETE if !self.completions.is_empty() => self.complete(request),
            method::SET_LEVEL if self.has_log => {
                let level = request.param("level");
                let level = level.and_then(|level| level.read::<Severity>().ok());
                session.want_from(level.ok_or_else(|| invalid("`level` must be a log level"))?);
                Ok(Json::empty_object())
            }
            unknown => {
                Err(ErrorObject::new(code::METHOD_NOT_FOUND, format!("unknown method: {unknown}")))
            }
        }
    }

    fn has_tools(&self) -> bool {
        !self.tools.is_empty()
    }

    fn has_resources(&self) -> bool {
        !self.resources.is_empty() || !self.templates.is_empty()
    }

    fn has_prompts(&self) -> bool {
        !self.prompts.is_empty()
    }

    fn list<A>(
        &self,
        key: &str,
        offers: &[Offered<A>],
        request: &Request,
    ) -> Result<Json, ErrorObject> {
        page(key, offers, self.page_size, request.param("cursor").as_ref())
    }

    fn read(&self, request: &Request) -> Result<Json, ErrorObject> {
        let uri = request
            .param("uri")
            .and_then(|uri| uri.to_text())
            .ok_or_else(|| invalid("`uri` must be a string"))?;
        let contents = match self.resources.named(&uri) {
            Some(resource) => Some((resource.act)(&self.state)),
            None => self.templates.iter().find_map(|family| {
                let variable = uri.strip_prefix(&*family.act.prefix)?;
                (family.act.read)(&self.state, &percent_decoded(variable)?)
            }),
        };
        let contents = contents.ok_or_else(|| {
            ErrorObject::new(code::RESOURCE_NOT_FOUND, "resource not found")
                .with_data(written(&serde_json::json!({ "uri": &*uri })))
        })?;
        Ok(contents.into_result(&uri))
    }

    fn speak(&self, request: &Request) -> Result<Json, ErrorObject> {
        let name = request
            .param("name")
            .and_then(|name| name.to_text())
            .ok_or_else(|| invalid("`name` must be the name of a prompt"))?;
        let prompt =
            self.prompts.named(&name).ok_or_else(|| invalid(format!("unknown prompt: {name}")))?;
        let text = (prompt.act.render)(&self.state, request.param("arguments"))
            .map_err(|Failed(why)| invalid(why))?;
        Ok(prompt_result(&prompt.act.description, text))
    }

    fn complete(&self, request: &Request) -> Result<Json, ErrorObject> {
        let params: CompleteParams = request
            .params()
            .map_or_else(Json::empty_object, Clone::clone)
            .read()
            .map_err(|error| invalid(format!("the parameters do not fit: {error}")))?;
        let is_known = match &params.r#ref {
            Reference::Prompt { name } => self.prompts.named(name).is_some(),
            Reference::Resource { uri } => {
                self.templates.named(uri).is_some() || self.resources.named(uri).is_some()
            }
        };
        if !is_known {
            return Err(invalid("there is nothing of that name to complete"));
        }
        let values = self
            .completions
            .iter()
            .find(|one| one.of == params.r#ref && *one.argument == params.argument.name)
            .map(|one| (one.complete)(&self.state, &params.argument.value))
            .unwrap_or_default();
        Ok(completion(&values))
    }
}

fn completion(values: &[String]) -> Json {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Values<'a> {
        values: &'a [String],
        total: usize,
        has_more: bool,
    }
    #[derive(Serialize)]
    struct CompleteResult<'a> {
        completion: Values<'a>,
    }
    let shown = &values[..values.len().min(MOST_VALUES)];
    written(&CompleteResult {
        completion: Values {
            values: shown,
            total: values.len(),
            has_more: shown.len() < values.len(),
        },
    })
}

/// Reads `%2F` and the like; a client may expand `{+variable}` with or
/// without them. `None` where the escapes are broken.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                u8::try_from(value).expect("two hexadecimal digits are a byte")
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}
