//! Small slices, written as one.
//!
//! hyper hands over the head of a message and its body as two slices. To write
//! one slice takes another system call than to write several, and that one
//! costs the system a tenth less. To put small ones together costs less than
//! that.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};

/// A stream that is written to in one slice where that is worth the copy.
#[derive(Debug)]
pub(crate) struct Gather<S>(S);

/// Up to how many bytes are put together: a head and a small body. They are
/// copied on the stack.
const SMALL: usize = 1024;

// === impl Gather ===

impl<S> Gather<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self(stream)
    }

    pub(crate) const fn get_ref(&self) -> &S {
        &self.0
    }
}

impl<S: Read + Unpin> Read for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        if let [only] = slices {
            return stream.poll_write(cx, only);
        }
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length > SMALL {
            return stream.poll_write_vectored(cx, slices);
        }
        let mut room = [0; SMALL];
        let mut rest = &mut room[..length];
        for slice in slices {
            let (place, behind) = rest.split_at_mut(slice.len());
            place.copy_from_slice(slice);
            rest = behind;
        }
        stream.poll_write(cx, &room[..length])
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes everything, and notes what it was given in which slices.
    #[derive(Default)]
    struct Sink(Vec<Vec<usize>>, Vec<u8>);

    impl Sink {
        fn take(&mut self, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
            self.0.push(slices.iter().map(|slice| slice.len()).collect());
            let before = self.1.len();
            slices.iter().for_each(|slice| self.1.extend_from_slice(slice));
            Poll::Ready(Ok(self.1.len() - before))
        }
    }

    impl Write for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.take(&[bytes])
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.take(&slices)
        }
    }

    /// In which slices these are written, and what.
    fn written(slices: &[&[u8]]) -> (Vec<Vec<usize>>, Vec<u8>) {
        let mut stream = Gather::new(Sink::default());
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut stream).poll_write_vectored(&mut cx, &slices);
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == stream.0.1.len()));
        (stream.0.0, stream.0.1)
    }

    #[test]
    fn a_small_head_and_body_are_written_as_one_slice() {
        assert_eq!(written(&[b"head", b"", b"body"]), (vec![vec![8]], b"headbody".to_vec()));
        let (slices, _) = written(&[&[b'h'; SMALL - 1], b"b"]);
        assert_eq!(slices, [[SMALL]]);
    }

    #[test]
    fn what_is_large_is_written_without_a_copy() {
        let (slices, bytes) = written(&[b"head", &[b'b'; SMALL]]);
        assert_eq!(slices, [[4, SMALL]]);
        assert_eq!((bytes.len(), &bytes[..5]), (SMALL + 4, &b"headb"[..]));
        assert_eq!(written(&[&[b'b'; 3 * SMALL]]).0, [[3 * SMALL]]);
    }
}
