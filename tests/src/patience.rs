//! Waiting that ends: every wait of a test has a limit and says what it is for.

use std::{future::Future, time::Duration};

use tokio::time::{sleep, timeout};

/// How long a step of a test may take: far longer than it does.
pub const A_WHILE: Duration = Duration::from_secs(20);

/// Waits for `future`.
///
/// # Panics
///
/// Where it takes longer than [`A_WHILE`]; the message is `what`.
///
/// # Cancel safety
///
/// That of `future`.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = timeout(A_WHILE, future).await;
    done.unwrap_or_else(|_| panic!("not within {A_WHILE:?}: {what}"))
}

/// Waits until something has come about that nobody signals.
///
/// # Panics
///
/// As [`soon`].
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
