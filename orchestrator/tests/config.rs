//! Settings: defaults, the order of their sources, and what bad ones get.

use clap::Parser as _;
use orch_core::time::Span;
use orch_orchestrator::config::{Args, ArgsError, Layer, LogFormat, OrchestratorConfig};

fn args(args: &[&str]) -> Args {
    Args::try_parse_from([&["orchestrator"], args].concat()).unwrap()
}

#[test]
fn config_defaults() {
    let config = Layer::default().check().unwrap();
    assert_eq!(config, OrchestratorConfig::default());
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.stale_after, Span::seconds(120));
    let shown = config.to_json();
    let queues = &shown["defaults_of_queues"];
    assert_eq!(queues["lease_ttl"], "10m");
    assert_eq!(queues["heartbeat"], "30s");
    assert_eq!(queues["max_attempts"], 3);
    assert_eq!(queues["retry_backoff"], "1m");
    assert_eq!(queues["retry_factor"], 2.0);
    assert_eq!(queues["retry_cap"], "1h");
    assert_eq!(queues["retry_jitter"], "15s");
    assert_eq!(shown["segment_bytes"], 256 << 20);
}

#[test]
fn config_custom() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orch.yaml");
    let yaml = "data: /from/file\nlisten: 127.0.0.1:1\nstale_after: 5m\nlog_format: json\nmax_streams: 7\n";
    std::fs::write(&file, yaml).unwrap();
    let file = file.to_str().unwrap();
    let config = args(&["--config", file, "--listen", "[::1]:2", "--drain"]).resolve().unwrap();
    let expected = OrchestratorConfig {
        data: "/from/file".into(),
        listen: "[::1]:2".parse().unwrap(),
        stale_after: Span::seconds(300),
        drain: true,
        log_format: LogFormat::Json,
        max_streams: 7,
        ..OrchestratorConfig::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn a_flag_beats_the_file_and_can_take_back_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orch.yaml");
    std::fs::write(&file, "drain: true\n").unwrap();
    let file = file.to_str().unwrap();
    assert!(args(&["--config", file]).resolve().unwrap().drain);
    assert!(!args(&["--config", file, "--drain=false"]).resolve().unwrap().drain);
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let bad = ["--listen", "localhost", "--stale-after", "ten", "--segment-bytes", "1", "--log-format", "xml"];
    let refused = || args(&[&bad[..], &["--log-level", "a=b=c"]].concat()).resolve().unwrap_err();
    let said = format!("{:#}", anyhow::Error::from(refused()));
    assert_eq!(said.matches("stale_after").count(), 1, "each is said once: {said}");
    let error = refused();
    let ArgsError::Config(error) = error else { panic!("{error}") };
    let fields: Vec<&str> = error.faults.iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["listen", "stale_after", "segment_bytes", "log_level", "log_format"]);
    let text = error.to_string();
    assert!(text.contains("listen: \"localhost\" is no address: write an address and a port"), "{text}");
    assert!(text.contains("segment_bytes: 1 is not within 1048576 and"), "{text}");
}

#[test]
fn an_unknown_key_and_a_wrong_type_name_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orch.yaml");
    for (yaml, word) in
        [("dat: x\n", "dat"), ("drain: maybe\n", "line 1"), ("data: [\n", "line"), ("a: 1\na: 2\n", "a")]
    {
        std::fs::write(&file, yaml).unwrap();
        let error = args(&["--config", file.to_str().unwrap()]).resolve().unwrap_err().to_string();
        assert!(error.contains("orch.yaml") && error.contains(word), "{error}");
    }
    std::fs::write(&file, "").unwrap();
    assert!(args(&["--config", file.to_str().unwrap()]).resolve().is_ok());
    let error = args(&["--config", "/nowhere/orch.yaml"]).resolve().unwrap_err();
    assert!(error.to_string().contains("/nowhere/orch.yaml"), "{error}");
}

#[test]
fn the_help_teaches() {
    let help = <Args as clap::CommandFactory>::command().render_long_help().to_string();
    for word in ["Examples:", "ORCH_DATA", "orchctl submit", "SIGTERM", "--drain", "flag, then as the environment"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
}
