//! Bodies: what a server half answers with, and reading one within a limit.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep, sleep};
use wharf_proto::{header as names, transport::Cause};

/// The body of an answer: nothing, bytes that are there already, or a stream.
///
/// Only a stream is boxed; most answers are none.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Stream(UnsyncBoxBody<Bytes, Infallible>),
}

/// A body that could not be read whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CollectError {
    /// There is more of it than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection broke before its end.
    #[error("the connection broke within the body")]
    Broken {
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Nothing of it came for too long.
    #[error("nothing more of the body has come for {limit:?}")]
    TimedOut {
        /// How long was waited.
        limit: Duration,
    },
}

/// The future of [`collect`]. Dropping it drops the body and what has come of
/// it.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Collecting<B> {
    body: B,
    limit: usize,
    read: Read,
    patience: Option<Patience>,
}

/// How long is waited for more of a body. It costs nothing while more is there.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    /// Since the body was first waited for.
    end: Option<Pin<Box<Sleep>>>,
}

/// What of a body has come so far. Most bodies are one frame, which is then
/// passed on without a copy.
#[derive(Debug, Default)]
enum Read {
    #[default]
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

/// For how many bytes room is made when they are announced and have not come:
/// who announces many need not send any.
const MOST_AT_WORD: usize = 256 * 1024;

/// Reads a body whole.
///
/// # Errors
///
/// [`CollectError::TooLarge`] as soon as it is known that there are more than
/// `limit` bytes, from `Content-Length` if that says so;
/// [`CollectError::Broken`] where the body ends with an error;
/// [`CollectError::TimedOut`] as [`Collecting::within`] says.
///
/// # Cancel safety
///
/// What has been read is lost with the future.
pub fn collect<B>(body: B, limit: usize) -> Collecting<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    Cause: From<B::Error>,
{
    Collecting { body, limit, read: Read::default(), patience: None }
}

/// An answer with a JSON body.
#[must_use]
pub fn json_response(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(names::JSON));
    response
}

/// An answer without a body.
#[must_use]
pub fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

// === impl Body ===

impl Body {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body that is there already.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        Self(Kind::Full(bytes))
    }

    /// A body that comes bit by bit.
    #[must_use]
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self(Kind::Stream(UnsyncBoxBody::new(body)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Kind::Stream(body) = &mut self.0 {
            return Pin::new(body).poll_frame(cx);
        }
        match std::mem::replace(&mut self.0, Kind::Empty) {
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Kind::Empty | Kind::Stream(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Body(empty)"),
            Kind::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

// === impl Collecting ===

impl<B> Collecting<B> {
    /// Gives up where nothing of the body comes for so long; never where that
    /// is zero. A body may take any time as long as more of it comes.
    pub fn within(mut self, silence: Duration) -> Self {
        self.patience = (!silence.is_zero()).then_some(Patience { limit: silence, end: None });
        self
    }
}

impl<B> Future for Collecting<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    Cause: From<B::Error>,
{
    type Output = Result<Bytes, CollectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let limit = this.limit;
        loop {
            // Of a length that is announced, nothing need be read to refuse it.
            if this.read.len() as u64 + this.body.size_hint().lower() > limit as u64 {
                return Poll::Ready(Err(CollectError::TooLarge { limit }));
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                let Some(patience) = &mut this.patience else { return Poll::Pending };
                ready!(patience.poll_end(cx));
                return Poll::Ready(Err(CollectError::TimedOut { limit: patience.limit }));
            };
            if let Some(patience) = &mut this.patience {
                patience.begin_anew();
            }
            match frame {
                Some(Ok(frame)) => {
                    // Trailers are of no interest.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if this.read.len() + data.len() > limit {
                        return Poll::Ready(Err(CollectError::TooLarge { limit }));
                    }
                    this.read.push(data, this.body.size_hint().exact());
                    // Where the length was announced, its end need not be asked for.
                    if this.body.is_end_stream() {
                        return Poll::Ready(Ok(this.read.take()));
                    }
                }
                Some(Err(source)) => {
                    let source = source.into();
                    return Poll::Ready(Err(CollectError::Broken { source }));
                }
                None => return Poll::Ready(Ok(this.read.take())),
            }
        }
    }
}

// === impl Patience ===

impl Patience {
    fn begin_anew(&mut self) {
        if let Some(end) = &mut self.end {
            end.as_mut().reset(Instant::now() + self.limit);
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end.get_or_insert_with(|| Box::pin(sleep(self.limit))).as_mut().poll(cx)
    }
}

// === impl Read ===

impl Read {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.remaining(),
            Self::Several(bytes) => bytes.remaining(),
        }
    }

    /// Takes what has come, and how much more is to come, if that is announced.
    fn push(&mut self, data: Bytes, announced: Option<u64>) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let length = first.len() + data.len();
                let more = announced.map_or(length, |more| {
                    usize::try_from(more).map_or(MOST_AT_WORD, |more| more.min(MOST_AT_WORD))
                });
                let mut all = BytesMut::with_capacity(length + more);
                all.extend_from_slice(first);
                all.extend_from_slice(&data);
                *self = Self::Several(all);
            }
            Self::Several(all) => all.extend_from_slice(&data),
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::take(self) {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::StreamExt as _;

    use super::*;

    /// A body of these frames, of a length that is not announced.
    struct Frames(VecDeque<Result<&'static str, &'static str>>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let frame = self.0.pop_front();
            Poll::Ready(frame.map(|frame| frame.map(|data| Frame::data(Bytes::from(data)))))
        }
    }

    fn frames(frames: &[&'static str]) -> Frames {
        Frames(frames.iter().copied().map(Ok).collect())
    }

    #[tokio::test]
    async fn one_frame_is_passed_on_without_a_copy() {
        let bytes = Bytes::from(vec![b'x'; 100]);
        let read = collect(Body::full(bytes.clone()), 100).await.expect("fits");
        assert_eq!(read.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn room_is_made_for_what_is_announced_as_far_as_it_is_to_be_believed() {
        let capacity = |announced: Option<u64>| {
            let mut read = Read::default();
            read.push(Bytes::from_static(b"12"), announced.map(|rest| rest + 2));
            read.push(Bytes::from_static(b"34"), announced);
            let Read::Several(all) = read else { panic!("there are two") };
            all.capacity()
        };
        assert_eq!(capacity(None), 8);
        assert_eq!(capacity(Some(0)), 4);
        assert_eq!(capacity(Some(96)), 100);
        assert_eq!(capacity(Some(1 << 40)), 4 + MOST_AT_WORD);
    }

    #[tokio::test]
    async fn a_body_of_an_announced_length_is_not_asked_for_its_end() {
        struct Announced(Option<&'static str>);

        impl HttpBody for Announced {
            type Data = Bytes;
            type Error = Infallible;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                let data = self.0.take().expect("it is not asked again");
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(data)))))
            }

            fn is_end_stream(&self) -> bool {
                self.0.is_none()
            }
        }

        assert_eq!(collect(Announced(Some("all")), 3).await.expect("it is whole"), "all");
    }

    #[tokio::test]
    async fn frames_are_joined_up_to_the_limit() {
        let read = collect(frames(&["ab", "", "cd", "e"]), 5).await;
        assert_eq!(read.expect("fits"), "abcde");
        let error = collect(frames(&["ab", "cd", "e"]), 4).await;
        assert!(matches!(error, Err(CollectError::TooLarge { limit: 4 })));
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_anything_is_read() {
        let mut body = Body::full("abcde");
        let error = collect(&mut body, 4).await;
        assert!(matches!(error, Err(CollectError::TooLarge { limit: 4 })));
        assert_eq!(body.size_hint().exact(), Some(5), "it is still there");
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_no_body() {
        let body = Frames([Ok("ab"), Err("cut")].into());
        let error = collect(body, 100).await.expect_err("is cut");
        let CollectError::Broken { source } = error else { panic!("{error}") };
        assert_eq!(source.to_string(), "cut");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_when_nothing_of_it_comes_and_not_while_more_does() {
        let trickle = |pauses: &'static [u64]| {
            let frames = pauses.iter().map(|pause| async move {
                sleep(Duration::from_secs(*pause)).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
            });
            http_body_util::StreamBody::new(futures_util::stream::iter(frames).buffered(1))
        };
        let limit = Duration::from_secs(30);
        let slow = collect(trickle(&[29, 29, 29, 29]), 100).within(limit).await;
        assert_eq!(slow.expect("comes"), "xxxx");
        let began = Instant::now();
        let error = collect(trickle(&[20, 31]), 100).within(limit).await;
        assert!(matches!(error, Err(CollectError::TimedOut { limit: told }) if told == limit));
        assert_eq!(began.elapsed(), Duration::from_secs(50));
        let patient = collect(trickle(&[4000]), 100).within(Duration::ZERO).await;
        assert_eq!(patient.expect("comes"), "x");
    }

    #[tokio::test]
    async fn bodies_say_how_long_they_are() {
        assert!(Body::empty().is_end_stream());
        assert!(Body::full("").is_end_stream());
        assert_eq!(Body::full("abc").size_hint().exact(), Some(3));
        let stream = Body::stream(Body::full("abc"));
        assert_eq!(collect(stream, 3).await.expect("fits"), "abc");
    }
}
