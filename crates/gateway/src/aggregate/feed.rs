//! What is said unasked to a client of `/mcp`: by the gateway, of what all
//! upstreams offer together, and by each upstream that the client has a
//! session with.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream, stream::SelectAll};
use wharf_proto::{Message, Notification, server::Refusal, transport::Feed};

use super::welcome::Offer;
use crate::{
    bulletin::Reader,
    downstream::Downstream,
    heard::{Unasked, unasked},
};

/// All that is said unasked to one client.
pub(crate) struct Merged(Unasked);

struct Sources {
    downstream: Arc<Downstream>,
    bulletin: Reader,
    offer: Offer,
    /// The upstreams that are listened to, by their numbers.
    heard: Vec<usize>,
    upstreams: SelectAll<Unasked>,
}

// === impl Merged ===

impl Merged {
    pub(super) fn new(downstream: &Arc<Downstream>, bulletin: Reader, offer: Offer) -> Self {
        let sources = Sources {
            downstream: Arc::clone(downstream),
            bulletin,
            offer,
            heard: Vec::new(),
            upstreams: SelectAll::new(),
        };
        Self(Box::pin(stream::unfold(sources, async |mut sources| {
            let heard = sources.next().await;
            Some((heard, sources))
        })))
    }
}

impl Feed for Merged {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        self.0.poll_next_unpin(cx).map(|heard| heard.unwrap_or(Err(Refusal::SessionEnded)))
    }
}

impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Merged(..)")
    }
}

// === impl Sources ===

impl Sources {
    async fn next(&mut self) -> Result<Message, Refusal> {
        loop {
            self.join();
            tokio::select! {
                // What has changed first: it is what the rest is about.
                biased;
                change = self.bulletin.next() => {
                    if self.offer.has(change) {
                        return Ok(Notification::new(change.method(), None).into());
                    }
                }
                () = self.downstream.boarded().notified() => {}
                Some(heard) = self.upstreams.next() => return heard,
            }
        }
    }

    /// Listens to the upstreams that the client has come to since.
    fn join(&mut self) {
        for upstream in self.downstream.visited() {
            if !self.heard.contains(&upstream.number) {
                self.heard.push(upstream.number);
                self.upstreams.push(unasked(&upstream, &self.downstream));
            }
        }
    }
}
