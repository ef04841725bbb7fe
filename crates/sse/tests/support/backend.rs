//! A backend that tells the test what it is asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::{sync::mpsc, task::JoinSet};
use wharf_http::{Guard, empty_response};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Response,
    server::{Backend, Caller, Opening, Refusal},
    transport::{Exchange, Feed},
};
use wharf_sse::{Server, ServerSettings};

use super::{serve, within};

/// What the backend was asked.
pub enum Heard {
    Open(mpsc::UnboundedSender<Said>),
    Call(Call),
    Notification(Notification),
    Response(Response),
    Close,
}

pub struct Call {
    pub request: wharf_proto::Request,
    pub header: Option<String>,
    /// How much of what the test said was taken.
    pub taken: Arc<AtomicUsize>,
    reply: mpsc::UnboundedSender<Said>,
}

/// What an exchange or a feed yields.
pub type Said = Result<Message, Refusal>;

pub struct Scripted {
    hear: mpsc::UnboundedSender<Heard>,
}

pub struct Session {
    feed: Mutex<Option<mpsc::UnboundedReceiver<Said>>>,
}

pub struct Speaking(mpsc::UnboundedReceiver<Said>);

pub struct Answering {
    unasked: Option<(Call, mpsc::UnboundedSender<Heard>)>,
    said: mpsc::UnboundedReceiver<Said>,
    taken: Arc<AtomicUsize>,
}

/// A server with a scripted backend on a socket.
pub struct Serving {
    pub address: SocketAddr,
    pub server: Server<Scripted>,
    heard: mpsc::UnboundedReceiver<Heard>,
    pub tasks: JoinSet<()>,
}

impl Backend for Scripted {
    type Session = Session;
    type Exchange = Answering;
    type Feed = Speaking;

    async fn open(&self, hello: wharf_proto::Request, _: Caller<'_>) -> Opening<Session> {
        if hello.param("refuse").is_some() {
            let error = ErrorObject::new(-32602, "refused");
            return Opening::refused(Response::failure(Some(hello.id()), &error));
        }
        let (say, feed) = mpsc::unbounded_channel();
        let _ = self.hear.send(Heard::Open(say));
        let answer = Response::success(hello.id(), &Json::empty_object());
        let feed = Mutex::new(Some(feed));
        Opening::accepted(answer, Session { feed })
    }

    fn call(
        &self,
        _: &Arc<Session>,
        request: wharf_proto::Request,
        caller: Caller<'_>,
    ) -> Answering {
        let (reply, said) = mpsc::unbounded_channel();
        let taken = Arc::new(AtomicUsize::new(0));
        let header = caller.headers.get("x-test");
        let call = Call {
            request,
            header: header.map(|value| value.to_str().expect("text").to_owned()),
            taken: Arc::clone(&taken),
            reply,
        };
        Answering { unasked: Some((call, self.hear.clone())), said, taken }
    }

    async fn notify(&self, _: &Arc<Session>, notification: Notification) {
        let _ = self.hear.send(Heard::Notification(notification));
    }

    async fn respond(&self, _: &Arc<Session>, response: Response) {
        let _ = self.hear.send(Heard::Response(response));
    }

    fn listen(&self, session: &Arc<Session>) -> Speaking {
        let feed = session.feed.lock().expect("no panic").take();
        Speaking(feed.expect("it listens once"))
    }

    async fn close(&self, _: &Arc<Session>) {
        let _ = self.hear.send(Heard::Close);
    }
}

impl Exchange for Answering {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        if let Some((call, hear)) = self.unasked.take() {
            let _ = hear.send(Heard::Call(call));
        }
        let said = ready!(self.said.poll_recv(cx));
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(said.unwrap_or(Err(Refusal::Cancelled)))
    }
}

impl Feed for Speaking {
    type End = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(said)) => Poll::Ready(said),
            // The test has nothing more to say.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Call {
    pub fn say(&self, said: Said) {
        let _ = self.reply.send(said);
    }

    pub fn answer(&self) {
        let params = self.request.params().cloned();
        let result = params.unwrap_or(Json::empty_object());
        self.say(Ok(Response::success(self.request.id(), &result).into()));
    }

    /// Waits until the exchange is dropped.
    pub async fn dropped(&self) {
        within(self.reply.closed()).await;
    }
}

impl Serving {
    pub async fn start() -> Self {
        Self::with(|settings| settings).await
    }

    pub async fn with(settle: impl FnOnce(ServerSettings) -> ServerSettings) -> Self {
        let (hear, heard) = mpsc::unbounded_channel();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = ServerSettings::new(Guard::for_listener(loopback), "/messages");
        let server = Server::new(Arc::new(Scripted { hear }), settle(settings));
        let mut tasks = JoinSet::new();
        let routes = server.clone();
        let handle = move |request: Request<Incoming>, peer| {
            let server = routes.clone();
            async move {
                match request.uri().path() {
                    "/sse" => server.open(request, peer).await,
                    "/messages" => server.post(request, peer).await,
                    _ => empty_response(StatusCode::IM_A_TEAPOT),
                }
            }
        };
        let address = serve(&mut tasks, handle).await;
        Self { address, server, heard, tasks }
    }

    pub async fn heard(&mut self) -> Heard {
        within(self.heard.recv()).await.expect("the backend lives")
    }

    pub fn has_heard_nothing(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// The session that is opened next, by what its feed says.
    pub async fn opened(&mut self) -> mpsc::UnboundedSender<Said> {
        match self.heard().await {
            Heard::Open(say) => say,
            _ => panic!("a session is opened"),
        }
    }

    pub async fn call(&mut self) -> Call {
        match self.heard().await {
            Heard::Call(call) => call,
            _ => panic!("a call is made"),
        }
    }

    pub async fn closed(&mut self) {
        assert!(matches!(self.heard().await, Heard::Close));
    }
}
