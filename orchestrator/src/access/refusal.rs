//! A refusal in the language of whoever asked.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use orch_proto::error::{Reason, WireError};
use tonic::{Code, Status};

/// Whether a request speaks gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// In gRPC or in HTTP.
pub(super) fn answer(grpc: bool, error: WireError) -> Response {
    if grpc { Status::from(error).into_http() } else { http(&error) }
}

/// A status of HTTP, with a line of text: the stable reason, a colon, and the message.
pub fn http(error: &WireError) -> Response {
    let text = format!("{}: {}\n", error.reason.as_str(), error.message);
    let mut response = (status(error.reason.code()), text).into_response();
    if error.reason == Reason::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = error.retry_after {
        // Whole seconds, and never too few.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_reason_is_an_error_of_http_that_says_when_to_come_back() {
        for reason in Reason::all() {
            let status = http(&WireError::new(reason.clone(), "why")).status();
            assert!(status.is_client_error() || status.is_server_error(), "{reason:?}: {status}");
        }
        let busy = http(&WireError::new(Reason::Busy, "full").retry_after(Duration::from_millis(1200)));
        assert_eq!(
            (busy.status(), &busy.headers()[header::RETRY_AFTER]),
            (StatusCode::TOO_MANY_REQUESTS, &"2".parse().unwrap())
        );
        let unknown = http(&WireError::new(Reason::Unauthenticated, "who?"));
        assert_eq!(unknown.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
