//! A network that breaks: passes bytes on to an upstream, and now and then resets a connection that carries a call.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::interval,
};

use super::injection::Injections;

/// A connection that can be reset.
#[derive(Debug, Default)]
struct Line {
    reset: Notify,
    /// The nonces of the calls under way on it.
    nonces: Mutex<Vec<String>>,
}

/// The way to one upstream. Dropping it resets every connection.
#[derive(Debug)]
pub(crate) struct Flaky {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// How often a connection is reset.
const EVERY: Duration = Duration::from_millis(100);

/// What stands before a nonce in a request.
const BEFORE_NONCE: &str = r#""nonce":""#;

type Lines = Arc<Mutex<Vec<std::sync::Weak<Line>>>>;

// === impl Flaky ===

impl Flaky {
    /// Puts itself before the upstream of that number.
    ///
    /// # Errors
    ///
    /// Where no port is free.
    pub(crate) async fn before(
        server: usize,
        upstream: SocketAddr,
        injections: &Arc<Injections>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no port is free")?;
        let address = listener.local_addr().context("a listener has no address")?;
        let lines = Lines::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, server, Arc::clone(injections), Arc::clone(&lines)));
        tasks.spawn(break_now_and_then(lines));
        Ok(Self { address, _tasks: tasks })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    server: usize,
    injections: Arc<Injections>,
    lines: Lines,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let line = Arc::new(Line::default());
        {
            let mut lines = lines.lock().expect("nothing panics while holding it");
            lines.retain(|line| line.strong_count() > 0);
            lines.push(Arc::downgrade(&line));
        }
        let injections = Arc::clone(&injections);
        connections.spawn(async move {
            // Not before the next is accepted: where a thousand come at once the queue would run over, and who is turned away
            // there comes again after seconds.
            let Ok(upstream) = TcpStream::connect(upstream).await else { return };
            line.carry(client, upstream, server, &injections).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Chooses a connection with a call under way, each in turn, and resets it.
async fn break_now_and_then(lines: Lines) {
    let mut ticks = interval(EVERY);
    let turn = AtomicU64::new(0);
    loop {
        ticks.tick().await;
        let lines = lines.lock().expect("nothing panics while holding it");
        let busy: Vec<_> = lines
            .iter()
            .filter_map(std::sync::Weak::upgrade)
            .filter(|line| !line.nonces().is_empty())
            .collect();
        let turn = turn.fetch_add(1, Relaxed) as usize;
        if let Some(line) = busy.get(turn % busy.len().max(1)) {
            line.reset.notify_one();
        }
    }
}

// === impl Line ===

impl Line {
    async fn carry(
        &self,
        mut client: TcpStream,
        mut upstream: TcpStream,
        server: usize,
        injections: &Injections,
    ) {
        // It must not be slower than a network that holds.
        let _ = client.set_nodelay(true);
        let _ = upstream.set_nodelay(true);
        let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        let is_reset = loop {
            tokio::select! {
                biased;
                () = self.reset.notified() => break true,
                read = client.read(&mut asked) => match read {
                    Ok(read @ 1..) => {
                        self.note(&asked[..read]);
                        if upstream.write_all(&asked[..read]).await.is_err() { break false; }
                    }
                    _ => break false,
                },
                read = upstream.read(&mut said) => match read {
                    Ok(read @ 1..) => {
                        self.nonces().clear();
                        if client.write_all(&said[..read]).await.is_err() { break false; }
                    }
                    _ => break false,
                },
            }
        };
        if !is_reset {
            return;
        }
        // What has come meanwhile is lost with the rest.
        while let Ok(read @ 1..) = client.try_read(&mut asked) {
            self.note(&asked[..read]);
        }
        injections.reset(server, std::mem::take(&mut self.nonces()));
        // Closed like this, it is reset and not ended.
        let _ = client.set_zero_linger();
    }

    fn note(&self, bytes: &[u8]) {
        self.nonces().extend(nonces(bytes));
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nonces.lock().expect("nothing panics while holding it")
    }
}

/// The nonces in what a client has sent.
fn nonces(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.split(BEFORE_NONCE).skip(1);
    parts.filter_map(|part| Some(part.split_once('"')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonces_of_a_request_are_found() {
        let sent = b"POST /mcp HTTP/1.1\r\n\r\n{\"params\":{\"_meta\":{\"nonce\":\"n3-7\"}}}";
        assert_eq!(nonces(sent), ["n3-7"]);
        assert!(nonces(b"GET / HTTP/1.1\r\n\r\n").is_empty());
    }
}
