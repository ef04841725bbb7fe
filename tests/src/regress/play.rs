//! Playing: on a runtime of its own, on a paused clock, and with an end.

use std::{any::Any, pin::Pin, thread};

use tokio::{runtime, time::timeout};

use super::secs;

/// How a scenario ended: well, or with what was expected and not so.
pub type Outcome<T = ()> = Result<T, String>;

/// What is ready to be played.
pub type Scene<T = ()> = Pin<Box<dyn Future<Output = T>>>;

/// Longer than anything that is played takes; on a paused clock it costs
/// nothing to wait for it.
const A_WEEK: u64 = 7 * 24 * 3600;

/// Plays something to its end.
///
/// # Errors
///
/// What it panicked with, or that it would have gone on for ever.
///
/// # Panics
///
/// Where there is no thread for it.
pub fn play<T: Send + 'static>(scene: fn() -> Scene<T>) -> Outcome<T> {
    let stage = thread::Builder::new().name("scenario".into()).spawn(move || {
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets takes nothing from the system");
        runtime.block_on(async { timeout(secs(A_WEEK), scene()).await })
    });
    match stage.expect("there is room for a thread").join() {
        Ok(Ok(played)) => Ok(played),
        Ok(Err(_)) => Err("somebody waits for ever".into()),
        Err(panic) => Err(message(&*panic)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let lines: Vec<_> = text.unwrap_or("it panicked").lines().map(str::trim).collect();
    lines.join(" ")
}
