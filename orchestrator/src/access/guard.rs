//! Ends what is open when its caller may not go on: the answer that is waited for, and both directions of a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use orch_proto::error::WireError;
use tonic::Status;

/// Resolves when its caller may not go on, and says why.
pub(super) type Ended = Pin<Box<dyn Future<Output = WireError> + Send>>;

/// A body that ends when its caller may not go on.
struct Guarded {
    inner: Body,
    ended: Option<Ended>,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    /// What the caller sends: whoever reads it is told.
    Request,
    /// What the caller gets: it ends with a status.
    Response,
}

/// The messages of a caller, until it may not go on.
pub(super) fn request(inner: Body, ended: Ended) -> Body {
    Body::new(Guarded { inner, ended: Some(ended), side: Side::Request })
}

/// The answers to a caller, until it may not go on.
pub(super) fn response(inner: Body, ended: Ended) -> Body {
    Body::new(Guarded { inner, ended: Some(ended), side: Side::Response })
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(error) = ended.as_mut().poll(context) {
            self.ended = None;
            // Whatever else is there is dropped with it, and whoever made it is told by that.
            self.inner = Body::empty();
            let status = Status::from(error);
            return Poll::Ready(Some(match self.side {
                Side::Request => Err(axum::Error::new(status)),
                Side::Response => Ok(Frame::trailers(trailers(&status))),
            }));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The end of a stream of answers that did not go well.
fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // It holds no byte that a header may not hold: both are encoded.
    let _ = status.add_header(&mut trailers);
    trailers
}
