//! What is remembered of the answers that a client gets.

use wharf_proto::{Request, Response, method};

use super::{Downstream, Endpoint, sets_up};
use crate::{atlas::Lesson, tokens::is_of_task, upstream::Upstream};

// === impl Downstream ===

impl Downstream {
    /// What there can be to remember of the answer to a request. Told before
    /// the request is sent: by when the answer is there, the processor has
    /// other things at hand. A session of its own that becomes a shared one by
    /// a new configuration meanwhile has nothing remembered yet.
    pub(crate) fn lesson(&self, request: &Request, has_own_session: bool) -> Lesson {
        if sets_up(request.method()) || is_of_task(request.method()) {
            return Lesson::Anything;
        }
        // What there is in a session of its own is found there.
        if self.endpoint == Endpoint::One && has_own_session {
            return Lesson::Nothing;
        }
        Lesson::of(request)
    }

    /// Remembers what the client has set up, and where things are that it has
    /// been shown.
    pub(crate) fn note(
        &self,
        lesson: Lesson,
        upstream: &Upstream,
        request: &Request,
        response: &Response,
    ) {
        if !lesson.is_in(response) {
            return;
        }
        if sets_up(request.method()) {
            self.berth(upstream).note(request, response);
        }
        self.tokens.note(upstream.number, request, response);
        let is_own = self.has_own_session(upstream);
        // Tasks on a session that is shared may be anybody's.
        let is_anybodys = !is_own && request.method() == method::TASKS_LIST;
        if (self.endpoint == Endpoint::All || !is_own) && !is_anybodys {
            self.atlas.learn(lesson, upstream.number, request, response);
        }
    }
}
