//! KEDA's calls, by a real client: whether there is work for a pool, and how much.

use std::collections::HashMap;
use std::time::Duration;

use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running};
use orch_proto::error::WireError;
use orch_proto::externalscaler as keda;
use orch_proto::externalscaler::external_scaler_client::ExternalScalerClient;
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_proto::v1::submit_results_request::Action;
use orch_transport::development::{self, Development, Existing};
use orch_transport::{ClientAuth, ClientTls, Dial, ServerTls};
use tonic::Code;
use tonic::transport::Channel;

use crate::support::*;

type Scaler = ExternalScalerClient<Channel>;

fn trigger(metadata: &[(&str, &str)]) -> keda::ScaledObjectRef {
    let scaler_metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    keda::ScaledObjectRef { name: "pool".into(), namespace: "here".into(), scaler_metadata }
}

async fn active(scaler: &mut Scaler, metadata: &[(&str, &str)]) -> bool {
    scaler.is_active(trigger(metadata)).await.unwrap().into_inner().result
}

/// The one metric, as a number and as a whole one.
async fn wanted(scaler: &mut Scaler, metadata: &[(&str, &str)]) -> (f64, i64) {
    let specs = scaler.get_metric_spec(trigger(metadata)).await.unwrap().into_inner().metric_specs;
    let [spec] = specs.as_slice() else { panic!("{specs:?}") };
    assert_eq!((spec.target_size, spec.target_size_float), (1, 1.0));
    let request =
        keda::GetMetricsRequest { scaled_object_ref: Some(trigger(metadata)), metric_name: spec.metric_name.clone() };
    let values = scaler.get_metrics(request).await.unwrap().into_inner().metric_values;
    let [value] = values.as_slice() else { panic!("{values:?}") };
    assert_eq!(value.metric_name, spec.metric_name);
    (value.metric_value_float, value.metric_value)
}

async fn scaler(orch: &Orch) -> Scaler {
    ExternalScalerClient::connect(format!("http://{}", orch.running.local_addr())).await.unwrap()
}

#[tokio::test]
async fn a_pool_is_active_from_the_first_job_to_the_end_of_the_last() {
    let orch = Orch::start().await;
    let mut keda = scaler(&orch).await;
    let pool =
        [("scalerAddress", "orch:50051"), ("enableTLS", "true"), ("queues", "q"), ("kinds", "roots"), ("slots", "2")];
    let mut stream = keda.stream_is_active(trigger(&pool)).await.unwrap().into_inner();
    let mut told = async || stream.message().await.unwrap().unwrap().result;
    assert!(!told().await);
    assert_eq!((active(&mut keda, &pool).await, wanted(&mut keda, &pool).await), (false, (0.0, 0)));

    let jobs = vec![job("q", 1), job("q", 1), job("q", 1)];
    orch.admin().await.submit(submission(jobs)).await.unwrap();
    assert!(told().await);
    assert_eq!((active(&mut keda, &pool).await, wanted(&mut keda, &pool).await), (true, (1.5, 2)));
    // Of others it is nothing.
    for others in [[("queues", "r")], [("kinds", "primes")]] {
        assert!(!active(&mut keda, &others).await);
    }

    // One after the other is leased and done: what runs counts as long as it runs.
    let mut worker = orch.registered("w").await;
    for left in [1.5, 1.0, 0.5] {
        let lease = lease(&mut worker, "w").await.lease;
        assert_eq!(wanted(&mut keda, &pool).await.0, left);
        let mut results = Results::open(&mut worker, "w").await;
        results.batch(lease, 1, &[candidate(left)]).await;
        results.verdicts().await;
        results.say(lease, Action::Complete(v1::Complete { batches: 1 })).await;
        results.ended().await;
    }
    assert!(!told().await, "once true, it was never false before the last job's end");
    assert_eq!((active(&mut keda, &pool).await, wanted(&mut keda, &pool).await), (false, (0.0, 0)));
    orch.stop().await;
}

#[tokio::test]
async fn only_work_that_could_run_now_counts() {
    let orch = Orch::start().await;
    let mut keda = scaler(&orch).await;
    let mut admin = orch.admin().await;
    let jobs: Vec<v1::JobSpec> = (0..4)
        .map(|_| v1::JobSpec { keys: HashMap::from([("host".to_owned(), "a".to_owned())]), ..job("q", 1) })
        .collect();
    admin.submit(submission(jobs)).await.unwrap();
    assert_eq!(wanted(&mut keda, &[]).await, (4.0, 4));
    let limit = v1::Limit { limit: "host=*".into(), max: Some(3), ..v1::Limit::default() };
    admin.set_limit(v1::SetLimitRequest { limit: Some(limit) }).await.unwrap();
    assert_eq!(wanted(&mut keda, &[]).await, (3.0, 3));
    admin.pause_queue(v1::PauseQueueRequest { queue: "q".into(), reason: "why".into() }).await.unwrap();
    assert_eq!((active(&mut keda, &[]).await, wanted(&mut keda, &[]).await), (false, (0.0, 0)));
    orch.stop().await;
}

#[tokio::test]
async fn a_metric_specification_is_pushed_at_once_and_goes_on() {
    let orch = Orch::start().await;
    let mut keda = scaler(&orch).await;
    let mut stream = keda.stream_metric_spec(trigger(&[])).await.unwrap().into_inner();
    let specs = stream.message().await.unwrap().unwrap().metric_specs;
    assert_eq!(specs, keda.get_metric_spec(trigger(&[])).await.unwrap().into_inner().metric_specs);
    orch.stop().await;
    // The orchestrator ends it; a connection that is cut says so in its own words.
    assert!(matches!(stream.message().await, Ok(None) | Err(_)));
}

#[tokio::test]
async fn a_trigger_that_says_nonsense_is_refused_with_every_fault() {
    let orch = Orch::start().await;
    let mut keda = scaler(&orch).await;
    let bad = trigger(&[("queue", "q"), ("slots", "0"), ("resources", "gpus"), ("needs", "g-pu"), ("labels", "zone")]);
    let status = keda.is_active(bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let message = WireError::from(&status).message;
    for part in
        ["labels: \"zone\" has no =", "needs: \"g-pu\"", "queue: is no setting", "resources: ", "slots: must be"]
    {
        assert!(message.contains(part), "{message}");
    }
    let other = keda::GetMetricsRequest { scaled_object_ref: Some(trigger(&[])), metric_name: "cpu".into() };
    let status = keda.get_metrics(other).await.unwrap_err();
    assert_eq!(
        (status.code(), WireError::from(&status).message.contains("orch_workers_wanted")),
        (Code::NotFound, true)
    );
    orch.stop().await;
}

/// KEDA can show a certificate, and no token. Workers have certificates of the same authority.
#[tokio::test]
async fn where_tokens_are_asked_for_the_named_certificate_is_enough_for_these_calls_only() {
    let dir = tempfile::tempdir().unwrap();
    let made = |client: &str, existing| {
        let (valid, dir) = (Duration::from_secs(86_400), dir.path().join("certs"));
        development::make(&Development { dir, names: vec![], client: client.into(), valid, existing }).unwrap()
    };
    let first = made("worker-1", Existing::Keep);
    let ca = || Some(first.ca.clone());
    let (cert, key) = (dir.path().join("worker.crt"), dir.path().join("worker.key"));
    std::fs::copy(&first.client, &cert).unwrap();
    std::fs::copy(&first.client_key, &key).unwrap();
    let worker = ClientTls { ca: ca(), cert: Some(cert), key: Some(key), ..ClientTls::default() };
    let second = made("keda", Existing::Renew);
    let keda = ClientTls { cert: Some(second.client), key: Some(second.client_key), ..worker.clone() };
    let nobody = ClientTls { ca: ca(), ..ClientTls::default() };

    let data = dir.path().join("data");
    let (cert, key) = (second.server, second.server_key);
    let tls = ServerTls { cert, key, client_ca: ca(), client_auth: ClientAuth::Optional };
    let start = async |name: Option<&str>| {
        let (tls, scaler_certificate) = (Some(tls.clone()), name.map(str::to_owned));
        serve::start(OrchestratorConfig { tls, scaler_certificate, ..guarded(&data) }).await.unwrap()
    };
    let connect = async |running: &Running, tls: &ClientTls| {
        let url = format!("https://{}", running.local_addr()).parse().unwrap();
        Dial::new(url, tls.clone()).unwrap().within(Duration::from_secs(60)).connect().await.unwrap()
    };
    let asked = async |running: &Running, tls: &ClientTls| {
        let mut scaler = ExternalScalerClient::new(connect(running, tls).await);
        scaler.is_active(trigger(&[])).await.map_err(|status| status.code())
    };

    let running = start(None).await;
    for anybody in [&nobody, &worker, &keda] {
        assert_eq!(asked(&running, anybody).await.unwrap_err(), Code::Unauthenticated, "no certificate was named");
    }
    running.stop().await.unwrap();
    let running = start(Some("keda")).await;
    for other in [&nobody, &worker] {
        assert_eq!(asked(&running, other).await.unwrap_err(), Code::Unauthenticated);
    }
    let channel = connect(&running, &keda).await;
    let mut scaler = ExternalScalerClient::new(channel.clone());
    assert!(!active(&mut scaler, &[]).await);
    let mut stream = scaler.stream_is_active(trigger(&[])).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().result);
    let status = AdminServiceClient::new(channel).stats(v1::StatsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "it is no key to anything else");
    running.stop().await.unwrap();
}

/// A stream is no way to stay for longer than a certificate lasts.
#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let dir = tempfile::tempdir().unwrap();
    let (valid, certs) = (Duration::from_secs(86_400), dir.path().join("certs"));
    let wanted = Development { dir: certs, names: vec![], client: "keda".into(), valid, existing: Existing::Keep };
    let made = development::make(&wanted).unwrap();
    let (client_ca, client_auth) = (Some(made.ca.clone()), ClientAuth::Optional);
    let tls = ServerTls { cert: made.server, key: made.server_key, client_ca, client_auth };
    let (tls, scaler_certificate) = (Some(tls), Some("keda".to_owned()));
    let config = OrchestratorConfig { tls, scaler_certificate, ..guarded(&dir.path().join("data")) };
    let running = serve::start(config).await.unwrap();
    // The same authority, and little time.
    let valid = Duration::from_secs(8);
    development::make(&Development { valid, existing: Existing::Renew, ..wanted }).unwrap();
    let shown =
        ClientTls { ca: Some(made.ca), cert: Some(made.client), key: Some(made.client_key), ..ClientTls::default() };
    let url = format!("https://{}", running.local_addr()).parse().unwrap();
    let dial = Dial::new(url, shown).unwrap().within(Duration::from_secs(60));
    let Ok(channel) = dial.connect().await else { return running.stop().await.unwrap() };
    let mut stream = match ExternalScalerClient::new(channel).stream_is_active(trigger(&[])).await {
        Ok(stream) => stream.into_inner(),
        // This machine was too slow: its time was over before the call.
        Err(status) => {
            assert_eq!(status.code(), Code::Unauthenticated);
            return running.stop().await.unwrap();
        }
    };
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated, "{end}");
    running.stop().await.unwrap();
}

/// What stands in the ScaledObjects that the chart makes is understood here.
#[tokio::test]
async fn the_triggers_of_the_chart_are_understood() {
    let orch = Orch::start().await;
    let mut keda = scaler(&orch).await;
    let renders = [
        include_str!("../../../helm/orchestrator/tests/golden/gpu.yaml"),
        include_str!("../../../helm/orchestrator/tests/golden/everything.yaml"),
    ];
    let mut seen = 0;
    for part in renders.iter().flat_map(|text| text.split("\n---\n")).filter(|part| part.contains("kind: ScaledObject"))
    {
        let object: serde_json::Value = serde_saphyr::from_str(part).unwrap();
        let metadata = object["spec"]["triggers"][0]["metadata"].as_object().unwrap();
        let metadata: Vec<(&str, &str)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect();
        assert!(!active(&mut keda, &metadata).await);
        seen += 1;
    }
    assert_eq!(seen, 2);
    orch.stop().await;
}
