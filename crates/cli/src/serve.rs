//! `wharf serve`: the gateway, until it is told to stop.

use std::{io, net::SocketAddr};

use anyhow::{Context as _, anyhow};
use tokio::{net::TcpListener, sync::oneshot};
use wharf_gateway::{Gateway, Settings};

use crate::{
    args::{LogArgs, ServeArgs},
    config::{Admin, Placed, interpolate::environment},
    failure::{Exit, Failure},
    log,
    plan::Plan,
    reload::Reload,
    signals::{Signal, Signals},
};

/// Serves until a signal to stop, then drains. A second one ends it at once.
/// SIGHUP has it read its configuration anew.
///
/// # Errors
///
/// Where it cannot begin to serve.
///
/// # Cancel safety
///
/// Not cancel safe: dropped midway, calls under way are cut off.
pub(crate) async fn run(args: &ServeArgs, log_args: &LogArgs) -> Result<Exit, Failure> {
    let plan = Plan::new(args, log_args, &environment)?;
    log::start(&plan.log)?;
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    // Before anybody can see that we are there, and so ask us to stop.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let listener = listen(&plan.listen).await?;
    let admin = match plan.admin.value {
        Admin::Off => None,
        Admin::On(address) => {
            let origin = plan.admin.origin.clone();
            Some(listen(&Placed { value: address, origin }).await?)
        }
    };
    announce(&plan.settings, &listener, admin.as_ref())?;
    let gateway = Gateway::new(plan.settings).context("cannot set up the gateway")?;
    let reload = Reload {
        args,
        log_args,
        gateway: gateway.clone(),
        listen: plan.listen.value,
        admin: plan.admin.value,
        log: plan.log,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = gateway.serve(listener, admin, async {
        // An error is the other half's end, which is a stop too.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => return Ok(Exit::Fine),
            signal = signals.next() => {
                if signal.stops() {
                    tracing::info!(signal = signal.name(), "stopping: finishing the calls under way");
                    break;
                }
                reload.run().await;
            }
        }
    }
    drop(stop);
    tokio::select! {
        () = &mut serving => {
            tracing::info!("stopped");
            Ok(Exit::Fine)
        }
        signal = to_stop(&mut signals) => {
            tracing::warn!(signal = signal.name(), "a second signal: stopping at once");
            Ok(Exit::Signal(signal.number()))
        }
    }
}

async fn to_stop(signals: &mut Signals) -> Signal {
    loop {
        let signal = signals.next().await;
        if signal.stops() {
            return signal;
        }
    }
}

async fn listen(address: &Placed<SocketAddr>) -> Result<TcpListener, Failure> {
    TcpListener::bind(address.value).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => ": another process listens there",
            io::ErrorKind::PermissionDenied => ": ports below 1024 take a privilege",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ => "",
        };
        let what = anyhow!("cannot listen on {} ({}){hint}", address.value, address.origin);
        Failure::usage(anyhow::Error::new(error).context(what))
    })
}

/// Says where everything is.
fn announce(
    settings: &Settings,
    listener: &TcpListener,
    admin: Option<&TcpListener>,
) -> Result<(), Failure> {
    let local = |listener: &TcpListener| listener.local_addr().context("a listener is gone");
    let base = format!("http://{}", local(listener)?);
    tracing::info!(
        streamable_http = %format_args!("{base}/mcp"),
        sse = %format_args!("{base}/sse"),
        "listening for clients"
    );
    for upstream in &settings.upstreams {
        let id = &upstream.id;
        tracing::info!(
            %id,
            url = %upstream.target.endpoint,
            transport = upstream.transport.label(),
            alone_at = %format_args!("{base}/servers/{id}/mcp"),
            "upstream"
        );
    }
    if let Some(admin) = admin {
        let base = format!("http://{}", local(admin)?);
        tracing::info!(
            metrics = %format_args!("{base}/metrics"),
            health = %format_args!("{base}/healthz"),
            "listening for operators"
        );
    }
    Ok(())
}
