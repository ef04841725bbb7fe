//! Reading the configuration anew while `wharf serve` runs.

use std::net::SocketAddr;

use wharf_gateway::{Gateway, Reloaded, UpstreamId};

use crate::{
    args::{LogArgs, ServeArgs},
    config::{Admin, ConfigErrors, interpolate::environment},
    plan::{LogPlan, Plan},
};

/// What it takes to read the configuration anew, and what of it stays as it
/// was at the start.
pub(crate) struct Reload<'a> {
    pub(crate) args: &'a ServeArgs,
    pub(crate) log_args: &'a LogArgs,
    pub(crate) gateway: Gateway,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Admin,
    pub(crate) log: LogPlan,
}

// === impl Reload ===

impl Reload<'_> {
    /// Takes over the configuration as it is now. Where anything is wrong with
    /// it, that is said and nothing changes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: either nothing has changed or everything has.
    pub(crate) async fn run(&self) {
        let plan = match Plan::new(self.args, self.log_args, &environment) {
            Ok(plan) => plan,
            Err(ConfigErrors(errors)) => {
                for error in &errors {
                    tracing::error!("{error}");
                }
                return refuse();
            }
        };
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        let mut fixed = self.fixed(&plan);
        match self.gateway.reload(plan.settings).await {
            Ok(reloaded) => {
                fixed.extend(&reloaded.ignored);
                for setting in fixed {
                    tracing::warn!(setting, "it cannot change while running: start anew for it");
                }
                report(&reloaded);
            }
            Err(error) => {
                tracing::error!("{error}");
                refuse();
            }
        }
    }

    /// What is another than at the start, and takes a new one.
    fn fixed(&self, plan: &Plan) -> Vec<&'static str> {
        let changes = [
            ("listen", self.listen != plan.listen.value),
            ("admin", self.admin != plan.admin.value),
            ("log.format", self.log.format != plan.log.format),
            ("log.filter", self.log.filter.value != plan.log.filter.value),
        ];
        changes.into_iter().filter(|(_, has_changed)| *has_changed).map(|(name, _)| name).collect()
    }
}

fn refuse() {
    tracing::error!("the configuration is not taken over: what was configured before goes on");
}

fn report(reloaded: &Reloaded) {
    let tell = |upstreams: &[UpstreamId], what: &str| {
        for id in upstreams {
            tracing::info!(%id, "{what}");
        }
    };
    tell(&reloaded.added, "an upstream has come");
    tell(&reloaded.changed, "an upstream has changed");
    tell(&reloaded.removed, "an upstream goes: its calls under way finish");
    tracing::info!("the configuration has been read anew");
}
