//! One call of a connection: its time limit, and what the connection learns of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Calls that a peer takes back within this time after it made them.
const AT_ONCE: Duration = Duration::from_millis(100);

/// So many of them are forgiven at once, and so many each second. A peer that gives up after waiting is not meant, nor
/// is one whose connection broke.
const FORGIVEN: f64 = 200.0;
const FORGIVEN_PER_SECOND: f64 = 50.0;

/// What goes on over one connection.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    asked: AtomicBool,
    under_way: AtomicUsize,
    /// When the last call ended, in milliseconds since the beginning.
    ended_ms: AtomicU64,
    /// What is left of what is forgiven, and since when.
    forgiven: Mutex<(f64, Instant)>,
    /// Told when the peer does nothing but make calls and take them back.
    pub abused: CancellationToken,
}

impl Activity {
    /// Of a connection that begins now.
    pub fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            began,
            asked: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            ended_ms: AtomicU64::new(0),
            forgiven: Mutex::new((FORGIVEN, began)),
            abused: CancellationToken::new(),
        })
    }

    /// Whether anything was asked yet.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Since when nothing is under way; None while something is.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = self.under_way.load(Ordering::Acquire) == 0;
        idle.then(|| self.began + Duration::from_millis(self.ended_ms.load(Ordering::Relaxed)))
    }

    /// A call begins.
    pub fn begin(self: &Arc<Self>) -> Call {
        self.under_way.fetch_add(1, Ordering::Acquire);
        self.asked.store(true, Ordering::Relaxed);
        Call { activity: Arc::clone(self), began: Instant::now(), answered: false }
    }

    fn taken_back(&self, now: Instant) {
        let mut forgiven = self.forgiven.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *forgiven;
        let left = (left + now.duration_since(since).as_secs_f64() * FORGIVEN_PER_SECOND).min(FORGIVEN) - 1.0;
        *forgiven = (left, now);
        if left < 0.0 {
            self.abused.cancel();
        }
    }
}

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub struct Call {
    activity: Arc<Activity>,
    began: Instant,
    answered: bool,
}

impl Call {
    /// The same call, which keeps being under way until the answer's last byte is taken.
    pub fn answer<B>(mut self, response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<axum::BoxError>,
    {
        self.answered = true;
        response.map(|body| Body::new(Answer { body, _call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now = Instant::now();
        let ms = u64::try_from(now.duration_since(self.activity.began).as_millis()).unwrap_or(u64::MAX);
        self.activity.ended_ms.fetch_max(ms, Ordering::Relaxed);
        self.activity.under_way.fetch_sub(1, Ordering::Release);
        if !self.answered && now.duration_since(self.began) < AT_ONCE {
            self.activity.taken_back(now);
        }
    }
}

/// An answer's body, with the call that it belongs to.
struct Answer<B> {
    body: B,
    _call: Call,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a call may take until its answer begins: what the server allows, or less if the caller says so.
pub fn time_limit(headers: &HeaderMap, most: Duration) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(grpc_timeout);
    asked.map_or(most, |asked| asked.min(most))
}

/// The answer to a call that took too long.
pub fn late() -> Response<Body> {
    Status::cancelled("Timeout expired").into_http()
}

/// At most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_shorten_its_time_but_not_lengthen_it() {
        let most = Duration::from_secs(120);
        let limit = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            time_limit(&headers, most)
        };
        assert_eq!(limit("20m"), Duration::from_millis(20));
        assert_eq!(limit("5S"), Duration::from_secs(5));
        assert_eq!(limit("99999999H"), most);
        for nonsense in ["", "S", "-1S", "1", "123456789S", "1x", "ü"] {
            assert_eq!(limit(nonsense), most, "{nonsense}");
        }
        assert_eq!(time_limit(&HeaderMap::new(), most), most);
    }

    #[test]
    fn a_peer_that_only_takes_back_is_noticed_and_one_that_gives_up_is_not() {
        let began = Instant::now();
        let activity = Activity::new(began);
        assert!(activity.idle_since().is_some() && !activity.asked());
        let call = activity.begin();
        assert!(activity.asked() && activity.idle_since().is_none());
        drop(call);
        for _ in 0..FORGIVEN as u32 - 1 {
            drop(activity.begin());
        }
        assert!(!activity.abused.is_cancelled());
        // It waited: that is no abuse.
        let mut waited = activity.begin();
        waited.began = began.checked_sub(Duration::from_secs(1)).unwrap();
        drop(waited);
        // Many more than time forgives while this test runs.
        for _ in 0..100_000 {
            drop(activity.begin());
        }
        assert!(activity.abused.is_cancelled());
    }
}
