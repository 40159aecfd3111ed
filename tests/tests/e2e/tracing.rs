//! One job is one trace: from the ledger, over the worker, into its program, as a collector of OpenTelemetry gets it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::cluster::{Options, Worker, kinds};
use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, until};

/// Spans with the service that sent them.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector: the one call of OTLP, on a free port.
struct Collector {
    url: String,
    spans: Spans,
    _runtime: Runtime,
}

struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_one in request.into_inner().resource_spans {
            let service = text(&of_one.resource.unwrap().attributes, "service.name");
            let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let spans = Spans::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(Receiver(Arc::clone(&spans)));
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serve);
        Self { url, spans, _runtime: runtime }
    }

    /// The spans of a job's trace, by name and then by beginning; none until there are so many.
    fn of_job(&self, job: u64, count: usize) -> Option<Vec<(String, Span)>> {
        let all = self.spans.lock().unwrap();
        let of_job = |(_, span): &&(String, Span)| number(&span.attributes, "orch.job") == i64::try_from(job).unwrap();
        let mut spans: Vec<_> = all.iter().filter(of_job).cloned().collect();
        spans.sort_by_key(|(_, span)| (span.name.clone(), span.start_time_unix_nano));
        (spans.len() >= count).then_some(spans)
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a any_value::Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Some(any_value::Value::IntValue(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A trace as a tree, a line for each span.
fn tree(spans: &[(String, Span)]) -> String {
    let mut below: BTreeMap<Vec<u8>, Vec<&(String, Span)>> = BTreeMap::new();
    for span in spans {
        below.entry(span.1.parent_span_id.clone()).or_default().push(span);
    }
    fn draw(at: &[u8], depth: usize, below: &BTreeMap<Vec<u8>, Vec<&(String, Span)>>, lines: &mut String) {
        for (service, span) in below.get(at).into_iter().flatten() {
            let outcome = ["orch.outcome", "orch.state"].iter().find_map(|key| value(&span.attributes, key));
            let outcome = match outcome {
                Some(any_value::Value::StringValue(text)) => format!(" {text}"),
                _ => String::new(),
            };
            let failed = if span.status.as_ref().is_some_and(|status| status.code == 2) { " !" } else { "" };
            lines.push_str(&format!("{}{} ({service}){outcome}{failed}\n", "  ".repeat(depth), span.name));
            draw(&span.span_id, depth + 1, below, lines);
        }
    }
    let mut lines = String::new();
    draw(&[], 0, &below, &mut lines);
    lines
}

/// A worker that sends its spans there.
fn traced_worker(cluster: &Cluster, url: &str) -> Worker {
    let config = cluster.file("traced.yaml", format!("otlp_endpoint: {url}\n{}", kinds()));
    cluster.worker_with("w", 2, &config)
}

#[test]
fn one_job_is_one_trace_across_processes() {
    let collector = Collector::start();
    let mut cluster =
        Cluster::with(Options { args: vec!["--otlp-endpoint".into(), collector.url.clone()], ..Options::default() });
    let file = cluster.file("values", "{\"v\":1}\n{\"v\":1}\nno json\n");
    let flag = cluster.path("flag");
    let retry = "retry: {max_attempts: 2, backoff: 1ms, jitter: 0s}";
    let manifest = VALUES.to_owned()
        + &queue("t", "traced", "")
        + &queue("flags", "flag", retry)
        + &job("t", &file, "")
        + &job("flags", &flag, "");
    let jobs = cluster.submit(&manifest);
    let worker = traced_worker(&cluster, &collector.url);
    cluster.until_job(jobs[0], "done");
    cluster.until_job(jobs[1], "failed");
    let told = cluster.ctl(&["job", "logs", &jobs[0].to_string()]).ok().out;

    // What is over is told at the stop at the latest.
    drop(worker);
    cluster.stop();
    let spans = until("the whole trace", || collector.of_job(jobs[0], 4));
    println!("trace {}\n{}", hex(&spans[0].1.trace_id), tree(&spans));
    assert_eq!(
        tree(&spans),
        "job (orchestrator) done\n  attempt (orchestrator) completed\n    run (worker) completed\n  wait (orchestrator)\n"
    );
    assert!(spans.iter().all(|(_, span)| span.trace_id == spans[0].1.trace_id));
    assert!(spans.iter().all(|(_, span)| span.start_time_unix_nano <= span.end_time_unix_nano));
    let run = spans.iter().find(|(_, span)| span.name == "run").map(|(_, span)| span).unwrap();
    assert_eq!(told.trim(), format!("00-{}-{}-01", hex(&run.trace_id), hex(&run.span_id)), "as its program was told");
    let attempt = spans.iter().find(|(_, span)| span.name == "attempt").map(|(_, span)| span).unwrap();
    let count = |verdict: &str| number(&attempt.attributes, &format!("orch.candidates.{verdict}"));
    assert_eq!((count("accepted"), count("duplicate"), count("rejected")), (1, 1, 1));

    let failed = until("the other trace", || collector.of_job(jobs[1], 7));
    println!("trace {}\n{}", hex(&failed[0].1.trace_id), tree(&failed));
    let names = |name: &str| failed.iter().filter(|(_, span)| span.name == name).count();
    assert_eq!((names("job"), names("wait"), names("attempt"), names("run")), (1, 2, 2, 2));
    assert_ne!(failed[0].1.trace_id, spans[0].1.trace_id);
    for (_, span) in failed.iter().filter(|(_, span)| span.name != "wait") {
        assert_eq!(span.status.as_ref().unwrap().code, 2);
        assert!(span.status.as_ref().unwrap().message.contains("no flag yet"), "{span:?}");
    }
    // No two spans of a trace have one id.
    let mut ids: Vec<_> = failed.iter().map(|(_, span)| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), failed.len());
}

#[test]
fn a_restart_goes_on_with_the_trace() {
    let collector = Collector::start();
    let mut cluster =
        Cluster::with(Options { args: vec!["--otlp-endpoint".into(), collector.url.clone()], ..Options::default() });
    let gate = cluster.path("gate");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("g", "gate", "") + &job("g", &gate, "")));
    let _worker = traced_worker(&cluster, &collector.url);
    cluster.until_job(jobs[0], "leased");
    cluster.kill9();
    cluster.restart();
    std::fs::write(&gate, "{\"v\":1}\n").unwrap();
    cluster.until_job(jobs[0], "done");
    let spans = until("the trace", || collector.of_job(jobs[0], 3));
    let shown = tree(&spans);
    // The wait may have been lost with the process; what was open was not.
    assert!(
        shown.starts_with("job (orchestrator) done\n  attempt (orchestrator) completed\n    run (worker) completed\n")
    );
}

#[test]
fn what_the_part_leaves_out_is_told_to_nobody() {
    let collector = Collector::start();
    let args = ["--otlp-endpoint", &collector.url, "--trace-sampling", "0"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::with(Options { args, ..Options::default() });
    let file = cluster.file("values", "{\"v\":1}\n");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("t", "traced", "") + &job("t", &file, "")));
    let worker = traced_worker(&cluster, &collector.url);
    cluster.until_job(jobs[0], "done");
    // The program knows its trace all the same, and that nobody keeps it.
    let told = cluster.ctl(&["job", "logs", &jobs[0].to_string()]).ok().out;
    assert!(told.starts_with("00-") && told.trim().ends_with("-00"), "{told}");
    drop(worker);
    cluster.stop();
    assert!(collector.spans.lock().unwrap().is_empty());
}

#[test]
fn a_collector_that_is_away_costs_nothing() {
    let cluster = Cluster::with(Options {
        args: vec!["--otlp-endpoint".into(), "http://127.0.0.1:9".into(), "--trace-sampling".into(), "0.5".into()],
        ..Options::default()
    });
    let file = cluster.file("values", "{\"v\":1}\n");
    let manifest = VALUES.to_owned() + &queue("q", "emit", "") + &job("q", &file, "").repeat(20);
    cluster.submit(&manifest);
    let _worker = traced_worker(&cluster, "http://127.0.0.1:9");
    cluster.drain();
    assert_eq!(cluster.stats()["jobs"]["done"], 20);
}
