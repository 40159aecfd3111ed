//! `/workers` and `/admin/cleanup`: two calls of the admin service for whoever has no gRPC, by the same code, in the
//! shapes of `orchctl -o json`.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::view::{CleanupView, WorkersView};
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::Sources;
use crate::access::{self, Caller};

/// What `/admin/cleanup` may be sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cleanup {
    /// Which workers to forget; none: every stale one.
    #[serde(default)]
    workers: Vec<String>,
}

/// The workers, as `orchctl worker list -o json` shows them.
pub(super) async fn list(State(sources): State<Sources>, Extension(caller): Extension<Caller>) -> Response {
    let listed = sources.admin.workers(&caller, v1::ListWorkersRequest::default()).await;
    answer(listed.map(WorkersView::from))
}

/// Forgets stale workers and puts their jobs back, as `orchctl worker cleanup -o json` does.
pub(super) async fn cleanup(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // While nobody is asked for a token, a page in the browser of somebody who reaches us could send this.
    if headers.contains_key(header::ORIGIN) {
        let error = WireError::new(Reason::PermissionDenied, "this is not for the pages of a browser (Origin)");
        caller.denied(&error.reason, String::new());
        return access::refused(&error);
    }
    let asked = if body.is_empty() { Ok(Cleanup::default()) } else { serde_json::from_slice(&body) };
    let Cleanup { workers } = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let text = format!("the body is not like {{\"workers\": [\"NAME\"]}}: {error}");
            return access::refused(&WireError::new(Reason::InvalidArgument, text));
        }
    };
    let cleaned = sources.admin.cleanup(&caller, v1::CleanupWorkersRequest { workers }).await;
    answer(cleaned.map(CleanupView::from))
}

fn answer(answered: Result<impl Serialize, Status>) -> Response {
    let text = match answered {
        Ok(view) => serde_json::to_string(&view),
        Err(status) => return access::refused(&WireError::from(&status)),
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => access::refused(&WireError::new(Reason::Internal, error.to_string())),
    }
}
