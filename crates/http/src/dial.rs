//! Making a connection: TCP and, for https, TLS, within one limit of time.

use std::{error::Error, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use hyper_rustls::{
    ConfigBuilderExt as _, DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream,
};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, crypto::ring};
use tokio::sync::OnceCell;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_service::Service;

use crate::{
    connection::{Connection, Transport},
    prompt::PromptConnector,
};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// TLS cannot be used on this machine: a cause of
/// [`Fault::Unreachable`](wharf_proto::transport::Fault::Unreachable) where an
/// https URL is dialled.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: the system's certificates cannot be used")]
pub struct TlsSetup {
    /// What is wrong with them.
    #[source]
    source: io::Error,
}

/// A connection was not there in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {limit:?}")]
pub(crate) struct DialTimedOut {
    pub(crate) limit: Duration,
}

/// A connection being made.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Box<Connection>, BoxError>> + Send>>;

/// Makes connections. Clones share the certificates,
/// which are read when the first https URL is dialled and not before.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    tcp: PromptConnector,
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
    limit: Duration,
}

// === impl Dial ===

impl Dial {
    pub(crate) fn new(limit: Duration, is_prompt: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // TLS included, time is limited in `call`. The connector's own limit
        // is shared out among the addresses of a name, so that a dead one does
        // not use up all the time.
        tcp.set_connect_timeout(Some(limit));
        let tcp = PromptConnector { tcp, is_prompt };
        Self { tcp, tls: Arc::new(OnceCell::new()), limit }
    }

    /// Makes a connection to the host of `to`, which counts as `counted`.
    pub(crate) fn dial(&self, to: Uri, counted: TaskTrackerToken) -> Dialling {
        let Self { tcp, tls, limit } = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(limit, dial(tcp, &tls, to)).await {
                Ok(Err(error)) if !is_late(&*error) => Err(error),
                Ok(Ok(transport)) => Ok(Connection::new(transport, counted).await?),
                Ok(Err(_)) | Err(_) => Err(DialTimedOut { limit }.into()),
            }
        })
    }
}

async fn dial(
    mut tcp: PromptConnector,
    tls: &OnceCell<Arc<ClientConfig>>,
    to: Uri,
) -> Result<Transport, BoxError> {
    if to.scheme() != Some(&Scheme::HTTPS) {
        return Ok(MaybeHttpsStream::Http(tcp.call(to).await?));
    }
    let config = tls.get_or_try_init(trust_the_system).await?;
    let names = Arc::new(DefaultServerNameResolver::default());
    HttpsConnector::new(tcp, Arc::clone(config), true, names).call(to).await
}

/// Whether the connector gave up for want of time.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    find(error).is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
}

/// The first error of type `E` among an error and its causes.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Reads the system's certificates, which takes milliseconds of disk time.
async fn trust_the_system() -> Result<Arc<ClientConfig>, BoxError> {
    let config = tokio::task::spawn_blocking(|| {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_native_roots()?
            .with_no_client_auth();
        Ok(config)
    });
    let config = config.await?.map_err(|source| TlsSetup { source })?;
    Ok(Arc::new(config))
}
