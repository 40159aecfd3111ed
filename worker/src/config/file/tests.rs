use super::*;
use crate::config::{Builtin, Files, Limits, ProcessConfig, ServeConfig};

fn faults(text: &str) -> String {
    parse(Path::new("/etc/orch/worker.yaml"), text).unwrap_err().to_string()
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(
        Path::new("/etc/orch/worker.yaml"),
        "
server: [http://a:1, 'http://b:2']
name: gpu-7
slots: 3
grace: 1m
flush: 10ms
keep_bytes: 16MiB
give_up_after: 1h
otlp_endpoint: http://collector:4317
token_file: w.token
labels: {zone: eu, rack: 7}
resources: {fpga: sum(2)}
time_limit: 2h
idle_timeout: 10m
tls: {ca: ca.pem, cert: /k/c.pem, key: /k/k.pem, domain: orch}
log: {level: debug, format: json}
kinds:
  zeta-zeros: {runner: builtin}
  zeros: {runner: builtin, miner: zeta-zeros}
  thumbs:
    runner: command
    argv: [python3, x.py, --n, 5]
    timeout: 60s
    env: {MODE: fast}
    pass_env: [CUDA_HOME]
    limits: {memory: 4GiB, processes: 64}
    files: {read: [/usr, data], write: [/scratch]}
    pin: true
    cwd: run
    stop_grace: 1s
    max_line_bytes: 1MiB
    max_output_bytes: 2GiB
  model: {runner: serve, argv: [./model], start_timeout: 2m}
",
    )
    .unwrap();
    let kind = |name: &str| Kind::new(name).unwrap();
    let thumbs = ProcessConfig {
        argv: ["python3", "x.py", "--n", "5"].map(str::to_owned).to_vec(),
        cwd: Some("/etc/orch/run".into()),
        env: [("MODE".to_owned(), "fast".to_owned())].into(),
        timeout: Some(Duration::from_secs(60)),
        stop_grace: Duration::from_secs(1),
        max_line_bytes: 1 << 20,
        max_output_bytes: 2 << 30,
        pass_env: vec!["CUDA_HOME".to_owned()],
        limits: Limits { memory: Some(4 << 30), processes: Some(64), ..Limits::default() },
        pin: true,
        cgroup: None,
        files: Some(Files { read: vec!["/usr".into(), "/etc/orch/data".into()], write: vec!["/scratch".into()] }),
    };
    let model = ServeConfig {
        process: ProcessConfig::new(vec!["./model".to_owned()]),
        start_timeout: Duration::from_secs(120),
    };
    let tls = ClientTls {
        ca: Some("/etc/orch/ca.pem".into()),
        cert: Some("/k/c.pem".into()),
        key: Some("/k/k.pem".into()),
        domain: Some("orch".into()),
    };
    let expected = FileConfig {
        tls,
        servers: Some(vec!["http://a:1".parse().unwrap(), "http://b:2".parse().unwrap()]),
        name: Some(WorkerId::new("gpu-7").unwrap()),
        slots: NonZeroUsize::new(3),
        kinds: Some(BTreeMap::from([
            (kind("zeta-zeros"), RunnerConfig::Builtin(Builtin::ZetaZeros)),
            (kind("zeros"), RunnerConfig::Builtin(Builtin::ZetaZeros)),
            (kind("thumbs"), RunnerConfig::Command(thumbs)),
            (kind("model"), RunnerConfig::Serve(model)),
        ])),
        labels: [("rack", "7"), ("zone", "eu")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        resources: Pools([("fpga".parse().unwrap(), "sum(2)".parse().unwrap())].into()),
        time_limit: Some(Duration::from_secs(7200)),
        idle_timeout: Some(Duration::from_secs(600)),
        grace: Some(Duration::from_secs(60)),
        flush: Some(Duration::from_millis(10)),
        keep_bytes: Some(16 << 20),
        give_up_after: Some(Duration::from_secs(3600)),
        otlp_endpoint: Some("http://collector:4317".parse().unwrap()),
        token_file: Some("/etc/orch/w.token".into()),
        log_level: Some("debug".into()),
        log_format: Some(LogFormat::Json),
    };
    assert_eq!(config, expected);
}

#[test]
fn an_empty_file_sets_nothing() {
    assert_eq!(parse(Path::new("w.yaml"), "").unwrap(), FileConfig::default());
    assert_eq!(parse(Path::new("w.yaml"), "# only a comment\n").unwrap(), FileConfig::default());
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let text = "server: https://orch
slots: 0
nmae: x
grace: soon
kinds:
  a b: {runner: builtin, miner: zeta-zeros}
  thumbs:
    runner: command
    timout: 60s
  model:
    runner: exec
  none: {argv: [x]}
  shell: {runner: command, argv: python3 x.py, pin: maybe}
  miner: {runner: builtin}
labels: [a]
log: {level: '=', colour: red}
keep_bytes: 16 MB
";
    let expected = "\
/etc/orch/worker.yaml:1: server: \"https://orch\" names no port: write it like http://127.0.0.1:50051 or https://orch.example.org:50051
/etc/orch/worker.yaml:2: slots: must be a whole number from 1
/etc/orch/worker.yaml:3: nmae: is not a key here; there are: log, tls, server, name, slots, kinds, labels, resources, time_limit, idle_timeout, grace, flush, keep_bytes, give_up_after, token_file, otlp_endpoint
/etc/orch/worker.yaml:4: grace: \"soon\" is not a length of time: write it like 30s, 10m or 1h 30m
/etc/orch/worker.yaml:6: kinds.a b: kind \"a b\" is not a name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - / and start with a letter or digit
/etc/orch/worker.yaml:8: kinds.thumbs.argv: is missing: name the program and its arguments, like [python3, x.py]
/etc/orch/worker.yaml:9: kinds.thumbs.timout: is not a key here; there are: runner, argv, cwd, env, pass_env, limits, pin, cgroup, files, timeout, stop_grace, max_line_bytes, max_output_bytes
/etc/orch/worker.yaml:11: kinds.model.runner: \"exec\" is no runner: say builtin, command or serve
/etc/orch/worker.yaml:12: kinds.none: names no runner: say `runner:` builtin, command or serve
/etc/orch/worker.yaml:13: kinds.shell.argv: must be a list, but is a single value
/etc/orch/worker.yaml:13: kinds.shell.argv: must start with a program: write it like [python3, x.py]
/etc/orch/worker.yaml:13: kinds.shell.pin: \"maybe\" is neither true nor false
/etc/orch/worker.yaml:14: kinds.miner: there is no built-in miner \"miner\": say `miner:` zeta-zeros
/etc/orch/worker.yaml:15: labels: must be a map, but is a list
/etc/orch/worker.yaml:16: log.level: \"=\" is no log level (invalid filter directive): say error, warn, info, debug or trace
/etc/orch/worker.yaml:16: log.colour: is not a key here; there are: level, format
/etc/orch/worker.yaml:17: keep_bytes: \"16 MB\" is not a size: write it like 65536, 64KiB, 16MiB or 1GiB";
    assert_eq!(faults(text), expected);
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    let text = faults("a: [1\nb: }\n");
    assert!(text.starts_with("/etc/orch/worker.yaml:"), "{text}");
    assert!(text.contains("not YAML"), "{text}");
    assert!(faults("- a\n").contains("must be a map, but is a list"));
    assert!(faults("slots: 1\nslots: 2\n").contains("dup"), "{}", faults("slots: 1\nslots: 2\n"));
    let missing = read(Path::new("/nonexistent/w.yaml")).unwrap_err().to_string();
    assert_eq!(missing, "/nonexistent/w.yaml: cannot be read: No such file or directory (os error 2)");
}
