//! One client's session with the gateway.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use wharf_pool::{Key, Lease, Profile, Session};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Request, RequestId, Response, Revision, code, method,
};

mod entry;
mod noting;
mod sharing;

pub(crate) use entry::Entry;
pub(crate) use sharing::sets_up;

use crate::{
    atlas::Atlas,
    berth::{Berth, Boarding, Terms},
    berths::Berths,
    calls::Calls,
    catalogue::Kind,
    content, declared,
    fleet::Fleet,
    level::Level,
    questions::{Asker, Questions},
    tokens::Tokens,
    upstream::{Identity, Upstream, own_info},
    wire::WireLink,
};

/// One client's session: what it declared, which calls it has under way, and
/// what upstreams have asked it.
///
/// The sessions with upstreams that are this client's alone end with it, at
/// the latest when it is dropped.
pub(crate) struct Downstream {
    identity: Identity,
    fleet: Arc<Fleet>,
    endpoint: Endpoint,
    berths: Berths,
    calls: Calls,
    questions: Questions,
    tokens: Arc<Tokens>,
    level: Level,
    atlas: Atlas,
    /// There is a session with an upstream that the client had none with.
    boarded: Notify,
}

/// What a client has opened its session with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// One upstream: it says itself what there is to be said.
    One,
    /// All upstreams: what they offer together is announced by the gateway.
    All,
}

/// Who says something, and in relation to what.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    upstream: &'a Upstream,
    session: &'a Session<WireLink>,
    /// The call, by its number and as the client made it.
    call: Option<(u64, &'a Request)>,
}

// === impl Said ===

impl<'a> Said<'a> {
    /// In the course of a call.
    pub(crate) const fn in_call(
        upstream: &'a Upstream,
        session: &'a Session<WireLink>,
        call: (u64, &'a Request),
    ) -> Self {
        Self { upstream, session, call: Some(call) }
    }

    /// By itself.
    pub(crate) const fn unasked(upstream: &'a Upstream, session: &'a Session<WireLink>) -> Self {
        Self { upstream, session, call: None }
    }

    fn asker(&self) -> Asker {
        self.call.map_or(Asker::Unasked, |(number, _)| Asker::Call(number))
    }
}

// === impl Downstream ===

impl Downstream {
    /// The session of a client that says `hello`.
    pub(crate) fn new(hello: &Request, fleet: &Arc<Fleet>, endpoint: Endpoint) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let requested = hello.requested_revision();
        let profile = Profile {
            revision: requested.map_or(Revision::LATEST, |revision| Revision::negotiate(&revision)),
            capabilities: object(hello.param("capabilities")).unwrap_or(Json::empty_object()),
            client_info: object(hello.param("clientInfo")).unwrap_or_else(own_info),
        };
        let client = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            identity: Identity { client, profile: Arc::new(profile) },
            fleet: Arc::clone(fleet),
            endpoint,
            berths: Berths::new(fleet.upstreams.numbers()),
            calls: Calls::default(),
            questions: Questions::default(),
            tokens: Arc::default(),
            level: Level::default(),
            atlas: Atlas::default(),
            boarded: Notify::new(),
        }
    }

    pub(crate) const fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The number of the client.
    pub(crate) const fn client(&self) -> u64 {
        self.identity.client
    }

    /// The revision that the client asked for, or the latest.
    pub(crate) fn revision(&self) -> Revision {
        self.identity.profile.revision
    }

    /// How this client is with an upstream for now.
    pub(crate) fn terms(&self, upstream: &Upstream) -> Arc<Terms> {
        self.berth(upstream).terms(upstream, &self.identity, &self.fleet.pool)
    }

    /// The key of the sessions with an upstream that this client may use.
    pub(crate) fn key(&self, upstream: &Upstream) -> Key {
        self.terms(upstream).spot.key().clone()
    }

    /// What the client has with an upstream.
    pub(crate) fn berth(&self, upstream: &Upstream) -> &Berth {
        self.berths.at(upstream.number)
    }

    /// The upstreams with which the client has had a session.
    pub(crate) fn visited(&self) -> Vec<Arc<Upstream>> {
        let roster = self.fleet.upstreams.roster();
        let has_been_to =
            |upstream: &Upstream| self.berths.find(upstream.number).is_some_and(Berth::is_in_use);
        roster.all().iter().filter(|upstream| has_been_to(upstream)).map(Arc::clone).collect()
    }

    /// The upstream at which the client has subscribed to a resource.
    pub(crate) fn subscribed(&self, uri: &str) -> Option<Arc<Upstream>> {
        let mut visited = self.visited().into_iter();
        visited.find(|upstream| self.berth(upstream).subscribes_to(uri))
    }

    /// Is told when the client has a session with one upstream more. For one
    /// who waits.
    pub(crate) const fn boarded(&self) -> &Notify {
        &self.boarded
    }

    /// What the client has seen of where things are.
    pub(crate) const fn atlas(&self) -> &Atlas {
        &self.atlas
    }

    /// The least severe log line that the client wants.
    pub(crate) const fn level(&self) -> &Level {
        &self.level
    }

    /// What the client has been asked.
    pub(crate) const fn questions(&self) -> &Questions {
        &self.questions
    }

    /// The progress tokens of the client's tasks.
    pub(crate) const fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Forgets what was open on a session that has ended.
    pub(crate) fn forget_session(&self, session: &Session<WireLink>) {
        self.questions.forget_session(session);
        self.tokens.forget_session(session);
    }

    /// Gives up the sessions that were this client's alone, and what it has
    /// set up in those that it shared.
    pub(crate) fn leave(&self) {
        for upstream in self.fleet.upstreams.roster().all() {
            let berth = self.berths.find(upstream.number);
            let Some(terms) = berth.and_then(Berth::last_terms) else { continue };
            if let Some(key) = terms.own_key() {
                self.fleet.pool.retire(key);
            }
            if let Some(commons) = &terms.commons
                && commons.leave(self.client())
            {
                let (commons, upstream) = (Arc::clone(commons), Arc::clone(upstream));
                self.fleet.see_to(async move { commons.take_back(&upstream).await });
            }
        }
    }

    /// Brings a call to the session that it has leased.
    pub(crate) async fn board(&self, upstream: &Upstream, lease: &Lease<WireLink>) -> Boarding {
        let terms = self.terms(upstream);
        let boarding = self.berth(upstream).board(&terms, upstream, lease).await;
        self.occupy(upstream);
        boarding
    }

    /// The same for one who makes no call. Whether the client may go on.
    pub(crate) async fn come_along(&self, upstream: &Upstream, lease: &Lease<WireLink>) -> bool {
        let terms = self.terms(upstream);
        self.berth(upstream).come_along(&terms, upstream, lease).await
    }

    /// Notes that the client has come to an upstream.
    pub(crate) fn occupy(&self, upstream: &Upstream) {
        if self.berth(upstream).occupy() {
            self.boarded.notify_one();
        }
    }

    /// Cancels a call of this client's; of others it has none to name.
    pub(crate) fn cancel(&self, id: &RequestId) {
        self.calls.cancel(id);
    }

    /// What the client gets of what an upstream says.
    pub(crate) fn pass_on(&self, said: Said<'_>, message: Message) -> Option<Message> {
        match message {
            Message::Request(request) => self.ask(said, &request).map(Message::from),
            Message::Notification(notification) => {
                self.translate(said, notification).map(Message::from)
            }
            Message::Response(_) => None,
        }
    }

    /// Puts a request of an upstream's to the client, under an id of our own,
    /// if the client has declared that it can answer; else answers it here.
    fn ask(&self, said: Said<'_>, request: &Request) -> Option<Request> {
        if request.method() == method::PING {
            let pong = Response::success(request.id(), &Json::empty_object());
            self.fleet.answer(said.session, pong);
            return None;
        }
        let refusal = declared::refusal(&self.identity.profile.capabilities, request);
        let asked = match refusal {
            Some(refusal) => Err(refusal),
            None => self.questions.ask(said.session, request, said.asker()).ok_or_else(|| {
                ErrorObject::new(code::INTERNAL_ERROR, "the client has too many open questions")
            }),
        };
        let asked = asked.map(|question| match self.is_older(said.session) {
            true => content::readable_question(question, self.revision()),
            false => question,
        });
        asked
            .map_err(|error| {
                let refused = Response::failure(Some(request.id()), &error);
                self.fleet.answer(said.session, refused);
            })
            .ok()
    }

    /// A notification as the client gets it, if it is for this client.
    fn translate(&self, said: Said<'_>, notification: Notification) -> Option<Notification> {
        let is_heard = match notification.method() {
            method::CANCELLED => return self.questions.taken_back(said.session, &notification),
            method::PROGRESS if !self.is_own_progress(said, &notification) => {
                return self.tokens.translate(said.session, &notification);
            }
            method::MESSAGE => self.wants_line(said, &notification),
            changed if Kind::changed_by(changed).is_some() => {
                said.upstream.catalogue.changed_by(changed);
                self.endpoint == Endpoint::One
            }
            method::RESOURCES_UPDATED => {
                let uri = || notification.param("uri")?.to_text();
                self.is_alone(said) || uri().is_some_and(|uri| self.wants(said.upstream, &uri))
            }
            method::ELICITATION_COMPLETE => {
                let id = || notification.param("elicitationId")?.to_text();
                self.is_alone(said) || id().is_some_and(|id| self.atlas.has_elicitation(&id))
            }
            method::TASKS_STATUS => {
                self.tokens.hear(said.upstream.number, &notification);
                let id = || notification.param("taskId")?.to_text();
                self.is_alone(said) || id().is_some_and(|id| self.atlas.task(&id).is_some())
            }
            // What nothing is known of may be about anybody.
            _ => said.call.is_some() || self.is_alone(said),
        };
        is_heard.then_some(notification)
    }

    /// Whether progress is that of the call on whose stream it comes. With the
    /// call's answer it is over (base protocol, progress).
    fn is_own_progress(&self, said: Said<'_>, progress: &Notification) -> bool {
        let own = said.call.and_then(|(_, request)| request.progress_token());
        let told = progress.progress_token();
        own.zip(told).is_some_and(|((own, _), (told, _))| own == told)
    }

    /// Whether the client wants a log line. A session of its own has its own
    /// level; one that it shares, or several together, are filtered here.
    fn wants_line(&self, said: Said<'_>, line: &Notification) -> bool {
        let is_filtered = self.endpoint == Endpoint::All || !self.has_own_session(said.upstream);
        let severity = || line.param("level")?.read().ok();
        !is_filtered || self.level.wants(severity())
    }

    /// Whether the client wants to hear of a resource on a session that it
    /// shares: where it has subscribed to it, or to anything at all and it is
    /// of nobody's subscriptions, so that nobody can say whose it is.
    fn wants(&self, upstream: &Upstream, uri: &str) -> bool {
        let berth = self.berth(upstream);
        let is_nobodys = || berth.commons().is_none_or(|commons| !commons.knows(uri));
        berth.subscribes_to_part_of(uri) || berth.has_subscriptions() && is_nobodys()
    }

    /// An upstream's answer as the client can read it.
    pub(crate) fn readable(
        &self,
        session: &Session<WireLink>,
        request: &Request,
        answer: Response,
    ) -> Response {
        if !self.is_older(session) {
            return answer;
        }
        content::readable(answer, request.method(), self.revision())
    }

    /// Whether the client speaks an earlier revision than a session does. A
    /// client of one upstream has agreed with that upstream itself.
    fn is_older(&self, session: &Session<WireLink>) -> bool {
        self.endpoint == Endpoint::All && self.revision() < session.handshake().revision
    }

    /// Whether nobody else can be meant by what is said.
    fn is_alone(&self, said: Said<'_>) -> bool {
        said.call.is_some() || self.has_own_session(said.upstream)
    }

    /// Whether the client shares its session with nobody.
    pub(crate) fn has_own_session(&self, upstream: &Upstream) -> bool {
        self.berth(upstream).is_alone()
    }

    /// Takes the client's answer to the upstream that asked. An answer to
    /// nothing is dropped: it must not reach any upstream.
    pub(crate) async fn answer(&self, response: Response) {
        let Some((session, response)) = self.questions.answer(response) else {
            tracing::debug!("a client answered what nobody asked");
            return;
        };
        if let Err(error) = session.respond(response).await {
            tracing::debug!(%error, "an upstream did not take a client's answer");
        }
    }

    /// Takes the client's progress with an answer to the upstream that asked.
    pub(crate) async fn tell_progress(&self, progress: &Notification) {
        let Some((session, progress)) = self.questions.progress(progress) else {
            tracing::debug!("a client told the progress of what nobody asked");
            return;
        };
        if let Err(error) = session.notify(progress).await {
            tracing::debug!(%error, "an upstream did not take a client's progress");
        }
    }

    /// Tells an upstream something about the client's side of the session,
    /// where it is the client's own.
    pub(crate) async fn tell(&self, upstream: &Arc<Upstream>, notification: Notification) {
        if !self.has_own_session(upstream) {
            return;
        }
        let told = match self.lease(upstream).await {
            Ok(lease) if self.come_along(upstream, &lease).await => {
                lease.notify(notification).await.map_err(|error| error.to_string())
            }
            Ok(_) => Err("the session that it was for is lost".to_owned()),
            Err(failure) => Err(failure.to_string()),
        };
        if let Err(error) = told {
            tracing::debug!(upstream = %upstream.id(), error, "a notification got lost");
        }
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Downstream({}, {})", self.identity.client, self.revision())
    }
}

fn object(json: Option<Json>) -> Option<Json> {
    // Kept for as long as the client's session is.
    json.filter(Json::is_object).map(|json| json.detached())
}
