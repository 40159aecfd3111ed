//! The way to a collector.
//!
//! Spans go into a bounded channel, and from there in batches over OTLP/gRPC. Whoever hands one in never waits: when the
//! channel is full, because the collector is slow or away, the span is dropped and counted. A batch that could not be
//! delivered is tried again while it is younger than [`PATIENCE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, ScopeSpans, span, status};
use orch_transport::{ClientTls, Dial, DialError, ServerUrl};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::span::{Attribute, Span, Value};

/// Spans that wait to be sent, at most.
const WAITING: usize = 8192;

/// Spans of one request.
const BATCH: usize = 512;

/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_millis(500);

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a batch is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait after a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// Whose spans these are.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The program: `service.name`.
    pub service: &'static str,
    /// Which one of them: `service.instance.id`.
    pub instance: String,
    /// Its version: `service.version`.
    pub version: &'static str,
}

enum Message {
    Span(Box<Span>),
    /// Everything until here is to be on its way.
    Flush(oneshot::Sender<()>),
}

/// Takes finished spans. Clones share the way.
#[derive(Clone, Debug)]
pub struct Exporter {
    sender: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failing: AtomicBool,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Span(_) => "span",
            Self::Flush(_) => "flush",
        })
    }
}

impl Exporter {
    /// Starts the way to this collector, within the current runtime. It ends when the last clone is gone.
    ///
    /// # Panics
    /// Never: no setting contradicts the address.
    #[allow(clippy::expect_used)]
    pub fn start(endpoint: ServerUrl, origin: Origin) -> Self {
        let dial = Dial::new(endpoint, ClientTls::default()).expect("nothing contradicts the address").within(TIMEOUT);
        let (sender, messages) = mpsc::channel(WAITING);
        let counts = Arc::new(Counts::default());
        let way = Way { dial, resource: resource(origin), client: None, counts: Arc::clone(&counts) };
        tokio::spawn(way.run(messages));
        Self { sender, counts }
    }

    /// Hands in a span; it is dropped if there is no room.
    pub fn send(&self, span: Span) {
        if self.sender.try_send(Message::Span(Box::new(span))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that a collector took.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Spans that were dropped: the collector was away, or too slow, or did not want them.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Sends what was handed in until now, for at most `patience`.
    pub async fn flush(&self, patience: Duration) {
        let (sender, done) = oneshot::channel();
        let flush = async {
            if self.sender.send(Message::Flush(sender)).await.is_ok() {
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout(patience, flush).await;
    }
}

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("no answer within {TIMEOUT:?}")]
    Late,
}

impl Failure {
    /// Whether the same batch may be taken later.
    fn may_pass(&self) -> bool {
        use tonic::Code;
        match self {
            Self::Dial(error) => error.is_away(),
            Self::Late => true,
            // As the protocol's document has it.
            Self::Status(status) => matches!(
                status.code(),
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
                    | Code::ResourceExhausted
                    | Code::Unknown
            ),
        }
    }
}

struct Way {
    dial: Dial,
    resource: Resource,
    client: Option<TraceServiceClient<Channel>>,
    counts: Arc<Counts>,
}

impl Way {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut spans = Vec::with_capacity(BATCH);
        while let Some(first) = messages.recv().await {
            let mut flushed = take(&mut spans, first);
            let until = Instant::now() + GATHER;
            while flushed.is_none() && spans.len() < BATCH {
                match tokio::time::timeout_at(until, messages.recv()).await {
                    Ok(Some(message)) => flushed = take(&mut spans, message),
                    Ok(None) | Err(_) => break,
                }
            }
            self.deliver(std::mem::take(&mut spans)).await;
            if let Some(flushed) = flushed {
                // Whoever asked may have given up.
                let _ = flushed.send(());
            }
        }
    }

    async fn deliver(&mut self, spans: Vec<otlp::Span>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let began = Instant::now();
        let scope = InstrumentationScope { name: "orch".into(), ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let of_us = ResourceSpans { resource: Some(self.resource.clone()), scope_spans, schema_url: String::new() };
        let request = ExportTraceServiceRequest { resource_spans: vec![of_us] };
        loop {
            match self.export(request.clone()).await {
                Ok(rejected) => {
                    self.counts.sent.fetch_add(count.saturating_sub(rejected), Ordering::Relaxed);
                    self.counts.dropped.fetch_add(rejected, Ordering::Relaxed);
                    if self.counts.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(collector = %self.dial.server(), "traces are delivered again");
                    }
                    return;
                }
                Err(failure) => {
                    self.client = None;
                    if !self.counts.failing.swap(true, Ordering::Relaxed) {
                        tracing::warn!(collector = %self.dial.server(), error = %failure, "traces cannot be delivered");
                    }
                    if !failure.may_pass() || began.elapsed() > PATIENCE {
                        self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// How many spans the collector did not want.
    async fn export(&mut self, request: ExportTraceServiceRequest) -> Result<u64, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            place => place.insert(TraceServiceClient::new(self.dial.connect().await?)),
        };
        let answer = tokio::time::timeout(TIMEOUT, client.export(request)).await.map_err(|_| Failure::Late)??;
        let partial = answer.into_inner().partial_success.unwrap_or_default();
        Ok(u64::try_from(partial.rejected_spans).unwrap_or(0))
    }
}

/// Puts a span with the others, or says that the others are waited for.
fn take(spans: &mut Vec<otlp::Span>, message: Message) -> Option<oneshot::Sender<()>> {
    match message {
        Message::Span(span) => {
            spans.push(encoded(*span));
            None
        }
        Message::Flush(flushed) => Some(flushed),
    }
}

fn resource(origin: Origin) -> Resource {
    let Origin { service, instance, version } = origin;
    let attributes = [
        ("service.name", Value::from(service)),
        ("service.instance.id", instance.into()),
        ("service.version", version.into()),
    ];
    Resource { attributes: attributes.into_iter().map(attribute).collect(), ..Resource::default() }
}

fn attribute((key, value): Attribute) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn encoded(span: Span) -> otlp::Span {
    let Span { trace, id, parent, name, start, end, attributes, error } = span;
    let status = error.map(|message| otlp::Status { message, code: status::StatusCode::Error.into() });
    otlp::Span {
        trace_id: trace.0.to_vec(),
        span_id: id.0.to_vec(),
        parent_span_id: parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name: name.to_owned(),
        kind: span::SpanKind::Internal.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        attributes: attributes.into_iter().map(attribute).collect(),
        status,
        ..otlp::Span::default()
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{SpanId, TraceId};

    #[tokio::test]
    async fn whoever_hands_in_spans_never_waits_for_a_collector_that_is_away() {
        // Nobody listens on the port that was just given up.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let exporter = Exporter::start(endpoint, Origin { service: "test", instance: "t".into(), version: "0" });
        let at = UNIX_EPOCH;
        let count = 3 * WAITING as u64;
        for n in 0..count {
            let (trace, id) = (TraceId::of_job("l", n), SpanId::of_job("l", n, 0));
            exporter.send(Span {
                trace,
                id,
                parent: None,
                name: "x",
                start: at,
                end: at,
                attributes: vec![],
                error: None,
            });
        }
        assert!(exporter.dropped() >= count - (WAITING + BATCH) as u64, "{}", exporter.dropped());
        assert_eq!(exporter.sent(), 0);
        // Nor for the end.
        exporter.flush(Duration::from_millis(10)).await;
    }
}
