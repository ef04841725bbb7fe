//! The gateway: listeners, and the order in which it stops.

use std::{fmt, future::Future, sync::Arc};

use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use wharf_http::{AcceptSettings, Guard};
use wharf_pool::Snapshot;

use crate::{
    Reloaded, Settings, SetupError,
    admin::{Admin, Readiness},
    deadline,
    doors::{Doors, Porter},
    fleet::Fleet,
};

/// An MCP gateway. Clones are handles on the same one.
#[derive(Clone)]
pub struct Gateway {
    fleet: Arc<Fleet>,
}

// === impl Gateway ===

impl Gateway {
    /// Makes a gateway. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`] where the settings contradict themselves.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Ok(Self { fleet: Fleet::new(settings)? })
    }

    /// What the pool holds and has done.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.fleet.pool.snapshot()
    }

    /// Takes over another configuration. Upstreams come and go; those whose
    /// settings have changed are called as they are now from the next call on,
    /// and the sessions opened under the old settings end with the calls that
    /// they have under way; those that are the same are not touched. What else
    /// there is in `settings` takes a new start.
    ///
    /// # Errors
    ///
    /// [`SetupError`] where the settings contradict themselves. Nothing has
    /// changed then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: either nothing has changed or everything has.
    pub async fn reload(&self, settings: Settings) -> Result<Reloaded, SetupError> {
        self.fleet.reload(settings).await
    }

    /// Serves clients on `listener`, and figures on `admin`, until `shutdown`.
    /// Then it accepts nobody any more, lets calls under way finish within
    /// the drain timeout, ends the clients' sessions, takes leave of the
    /// upstreams, and returns.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped midway, sessions end without a goodbye.
    pub async fn serve(
        self,
        listener: TcpListener,
        admin: Option<TcpListener>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let guard = guard(&self.fleet.settings, &listener);
        let doors = Arc::new(Doors::new(&self.fleet, &guard));
        let readiness = Arc::<Readiness>::default();
        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());

        let mut clients = JoinSet::new();
        let stopped = stop.clone().cancelled_owned();
        let porter = Porter::of(&doors);
        clients.spawn(wharf_http::serve(listener, porter, AcceptSettings::default(), stopped));

        let mut operators = JoinSet::new();
        if let Some(listener) = admin {
            let guard = guard_of(&listener);
            let admin = Admin::new(guard, &self.fleet, &doors, &readiness);
            let handle = move |request, _| {
                let admin = admin.clone();
                async move { admin.handle(&request) }
            };
            let stopped = stop_admin.clone().cancelled_owned();
            operators.spawn(wharf_http::serve(
                listener,
                handle,
                AcceptSettings::default(),
                stopped,
            ));
        }

        tokio::select! {
            () = shutdown => {}
            () = doors.see_off() => unreachable!("the fleet is there"),
        }
        readiness.begin_draining();
        self.drain(&doors, clients, &stop).await;
        stop_admin.cancel();
        let soon = Instant::now() + std::time::Duration::from_secs(1);
        // An operator who has not read the answer by then will not.
        let _ = timeout_at(soon, operators.join_all()).await;
    }

    /// Stops in the order that loses least: no new clients, calls finish,
    /// clients' sessions end, upstream sessions end.
    async fn drain(&self, doors: &Doors, mut clients: JoinSet<()>, stop: &CancellationToken) {
        let deadline = deadline::after(self.fleet.settings.drain_timeout);
        tracing::info!("draining: no new connections, calls under way finish");
        stop.cancel();
        doors.drain();
        let finished = timeout_at(deadline, async { while clients.join_next().await.is_some() {} });
        if finished.await.is_err() {
            tracing::warn!("some calls did not finish in time and are cut short");
        }
        doors.shutdown().await;
        clients.shutdown().await;
        self.fleet.shutdown(deadline.max(Instant::now())).await;
        tracing::info!("drained: all sessions have ended");
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.fleet, f)
    }
}

fn guard(settings: &Settings, listener: &TcpListener) -> Guard {
    settings.guard(listener.local_addr().expect("a listener has an address"))
}

fn guard_of(listener: &TcpListener) -> Guard {
    Guard::for_listener(listener.local_addr().expect("a listener has an address"))
}
