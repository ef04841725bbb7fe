//! Logs, on standard error: standard output is for answers.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::{Complaint, ConfigError, ConfigErrors, LogFormat},
    failure::Failure,
    plan::LogPlan,
};

/// Whether text is a filter.
pub(crate) fn is_filter(text: &str) -> bool {
    EnvFilter::builder().parse(text).is_ok()
}

/// Begins to log.
///
/// # Errors
///
/// Where the filter is none.
pub(crate) fn start(plan: &LogPlan) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&plan.filter.value).map_err(|_| {
        let origin = plan.filter.origin.clone();
        ConfigErrors(vec![ConfigError { origin, complaint: Complaint::LogFilter }])
    })?;
    let is_colourful = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(is_colourful);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match plan.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| Failure::Failed(error.into()))
}
