//! Upstreams that are no MCP servers.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// A listener that answers whatever it is asked with the same bytes.
pub struct Oddity {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

// === impl Oddity ===

impl Oddity {
    /// Answers every request with these bytes and closes the connection;
    /// `None` closes it at once.
    ///
    /// # Panics
    ///
    /// Where there is no port.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts nothing.
    pub async fn answering(answer: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicU64>::default();
        let accepted = Arc::clone(&connections);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let answer = answer.map(Arc::new);
            let mut open = JoinSet::new();
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                accepted.fetch_add(1, Ordering::Relaxed);
                let Some(answer) = answer.clone() else { continue };
                open.spawn(async move {
                    let mut request = vec![0; 64 * 1024];
                    // One read is enough of a request for who does not care.
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    // A reset would take the answer away again.
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        Self { address, connections, _serving: serving }
    }

    /// Answers with that status, content type and body.
    ///
    /// # Cancel safety
    ///
    /// As [`Oddity::answering`].
    pub async fn saying(status: &str, kind: &str, body: &str) -> Self {
        let length = body.len();
        Self::answering(Some(format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )))
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oddity({})", self.address)
    }
}
