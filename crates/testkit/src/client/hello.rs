//! What a client says when it connects.

use std::fmt;

use http::HeaderMap;
use serde::Serialize;
use wharf_proto::{Json, Revision};

/// What a client says of itself.
#[derive(Clone)]
pub struct Hello {
    /// The revision it asks for; the latest by default.
    pub revision: Revision,
    /// Its capabilities; none by default.
    pub capabilities: Json,
    /// Headers of all its HTTP requests, such as credentials.
    pub headers: HeaderMap,
}

// === impl Hello ===

impl Hello {
    /// The parameters of `initialize`.
    pub(super) fn to_params(&self) -> Json {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Params<'a> {
            protocol_version: &'a str,
            capabilities: &'a Json,
            client_info: ClientInfo,
        }
        #[derive(Serialize)]
        struct ClientInfo {
            name: &'static str,
            version: &'static str,
        }
        let params = Params {
            protocol_version: self.revision.as_str(),
            capabilities: &self.capabilities,
            client_info: ClientInfo {
                name: "wharf-test-client",
                version: env!("CARGO_PKG_VERSION"),
            },
        };
        Json::from_value(&params).expect("the keys are strings")
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            revision: Revision::LATEST,
            capabilities: Json::empty_object(),
            headers: HeaderMap::new(),
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("revision", &self.revision)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
