//! Where a stream stands, so that it can be opened again from there.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use http::HeaderValue;
use wharf_proto::sse::Event;

use super::ClientSettings;

/// The least wait before a stream is opened again, whatever the server says:
/// `retry: 0` must not make this end spin.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait that a server is granted. One that names weeks does not
/// mean them, and the caller would wait for nothing.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// What a stream has said of its own continuation, over all the connections
/// it took.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    last_event_id: Option<HeaderValue>,
    retry: Option<Duration>,
    /// How often in succession it was opened and nothing came: no data, and no
    /// id of a place that it was not at before.
    fruitless: u32,
}

// === impl Cursor ===

impl Cursor {
    /// Takes note of an event.
    pub(super) fn pass(&mut self, event: &Event) {
        let mut is_new = !event.data.is_empty();
        if let Some(id) = &event.id {
            // An empty id takes the last one back. One that no header can
            // hold cannot be resumed from.
            let place = Some(id.as_str())
                .filter(|id| !id.is_empty())
                .and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
            is_new |= place.is_some() && place != self.last_event_id;
            self.last_event_id = place;
        }
        if is_new {
            self.fruitless = 0;
        }
        if let Some(retry) = event.retry {
            self.retry = Some(retry.min(LONGEST_RETRY));
        }
    }

    /// The value of `Last-Event-ID`.
    pub(super) fn last_event_id(&self) -> Option<HeaderValue> {
        self.last_event_id.clone()
    }

    /// Whether the server lets the stream be resumed.
    pub(super) const fn can_resume(&self) -> bool {
        self.last_event_id.is_some()
    }

    /// Gives up the place: the stream can only be begun anew. Whether there
    /// was one.
    pub(super) fn forget_place(&mut self) -> bool {
        self.last_event_id.take().is_some()
    }

    pub(super) const fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// Takes note that the stream has to be opened again, and says after how
    /// long: after what the server said, else after a moment that doubles
    /// while nothing comes and is not the same for all who lost the server
    /// at once.
    pub(super) fn wait(&mut self, settings: &ClientSettings) -> Duration {
        let growth = 1 << self.fruitless.min(16);
        self.fruitless = self.fruitless.saturating_add(1);
        let backoff = settings.reopen_after.saturating_mul(growth).min(settings.reopen_at_most);
        match self.retry {
            // The server's word holds as long as it gives something.
            Some(retry) if growth == 1 => retry,
            Some(retry) => retry.max(jittered(backoff)),
            None => jittered(backoff),
        }
        .max(LEAST_WAIT)
    }
}

/// Between half of `wait` and the whole of it.
fn jittered(wait: Duration) -> Duration {
    // Each of these is seeded anew, and nothing here needs better dice.
    let dice = RandomState::new().build_hasher().finish();
    let share = f64::from(u32::try_from(dice >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use wharf_proto::sse::Line;

    use super::*;

    fn event(id: Option<&'static str>, retry: Option<u64>) -> Event {
        Event {
            id: id.map(|id| Line::new(id).expect("fits")),
            retry: retry.map(Duration::from_millis),
            ..Event::default()
        }
    }

    fn with_data(retry: Option<u64>) -> Event {
        Event { data: "{}".into(), ..event(None, retry) }
    }

    #[test]
    fn the_last_id_stays_until_it_is_replaced_or_taken_back() {
        let mut cursor = Cursor::default();
        assert!(!cursor.can_resume());
        cursor.pass(&event(Some("a"), None));
        cursor.pass(&event(None, None));
        assert_eq!(cursor.last_event_id().expect("was given"), "a");
        cursor.pass(&event(Some("b"), None));
        assert_eq!(cursor.last_event_id().expect("was given"), "b");
        cursor.pass(&event(Some(""), None));
        assert!(!cursor.can_resume());
    }

    #[test]
    fn waits_grow_to_the_limit_and_begin_anew_when_something_comes() {
        let settings = ClientSettings::default();
        let mut cursor = Cursor::default();
        for growth in 0..40 {
            let most = settings.reopen_after * (1 << growth.min(16));
            let most = most.min(settings.reopen_at_most);
            let wait = cursor.wait(&settings);
            assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
        cursor.pass(&with_data(None));
        assert!(cursor.wait(&settings) <= settings.reopen_after);
    }

    #[test]
    fn only_what_has_data_or_a_new_id_is_something() {
        let mut cursor = Cursor::default();
        cursor.pass(&event(Some("a"), Some(0)));
        for again in 1..10 {
            cursor.wait(&ClientSettings::default());
            // The server says where it stands, and closes.
            cursor.pass(&event(Some("a"), Some(0)));
            cursor.pass(&event(None, Some(0)));
            assert_eq!(cursor.fruitless(), again);
        }
        cursor.pass(&event(Some("b"), None));
        assert_eq!(cursor.fruitless(), 0);
        cursor.wait(&ClientSettings::default());
        cursor.pass(&event(Some(""), None));
        assert_eq!(cursor.fruitless(), 1, "no id is none");
        cursor.pass(&with_data(None));
        assert_eq!(cursor.fruitless(), 0);
    }

    #[test]
    fn the_servers_own_wait_has_a_limit() {
        let settings = ClientSettings::default();
        let mut cursor = Cursor::default();
        cursor.pass(&event(None, Some(4_000_000_000)));
        assert_eq!(cursor.wait(&settings), LONGEST_RETRY);
        assert_eq!(cursor.wait(&settings), LONGEST_RETRY);
    }

    #[test]
    fn the_servers_own_wait_is_kept_but_never_spun_on() {
        let settings = ClientSettings::default();
        let mut cursor = Cursor::default();
        cursor.pass(&event(None, Some(7_000)));
        assert_eq!(cursor.wait(&settings), Duration::from_secs(7));
        assert!(cursor.wait(&settings) >= Duration::from_secs(7));
        cursor.pass(&with_data(Some(0)));
        assert_eq!(cursor.wait(&settings), LEAST_WAIT);
        assert!(cursor.wait(&settings) >= settings.reopen_after);
    }
}
