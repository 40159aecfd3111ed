//! Settings written as the YAML that would set them.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use orch_proto::credentials::TokenSource;
use orch_transport::ClientTls;

use super::file::LogFormat;
use super::merge::Effective;
use super::{Files, Limits, ProcessConfig, RunnerConfig, ServeConfig, WorkerConfig};

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, file, log_level, log_format } = self;
        match file {
            Some(file) => writeln!(f, "# flags, environment and {}", file.display())?,
            None => writeln!(f, "# flags, environment and defaults; no file")?,
        }
        let WorkerConfig {
            servers,
            tls,
            name,
            slots,
            kinds,
            labels,
            resources,
            time_limit,
            idle_timeout,
            grace,
            flush,
            keep_bytes,
            give_up_after,
            token,
            otlp_endpoint,
        } = worker;
        let servers: Vec<&str> = servers.iter().map(super::Server::as_str).collect();
        writeln!(f, "server: {}", list(&servers))?;
        f.write_str(&self::tls(tls))?;
        writeln!(f, "name: {}", quoted(name.as_str()))?;
        writeln!(f, "slots: {slots}")?;
        writeln!(f, "grace: {}", span(*grace))?;
        writeln!(f, "flush: {}", span(*flush))?;
        writeln!(f, "keep_bytes: {keep_bytes}")?;
        if let Some(give_up_after) = give_up_after {
            writeln!(f, "give_up_after: {}", span(*give_up_after))?;
        }
        if let Some(time_limit) = time_limit {
            writeln!(f, "time_limit: {}", span(*time_limit))?;
        }
        if let Some(idle_timeout) = idle_timeout {
            writeln!(f, "idle_timeout: {}", span(*idle_timeout))?;
        }
        match token {
            TokenSource::None => {}
            TokenSource::File(path) => writeln!(f, "token_file: {}", quoted(&path.to_string_lossy()))?,
            TokenSource::Told(_) => writeln!(f, "# a token is set in the environment")?,
        }
        if let Some(otlp_endpoint) = otlp_endpoint {
            writeln!(f, "otlp_endpoint: {}", quoted(otlp_endpoint.as_str()))?;
        }
        let format = match log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        writeln!(f, "log: {{level: {}, format: {format}}}", quoted(log_level))?;
        if !labels.is_empty() {
            writeln!(f, "labels:")?;
            for (label, value) in labels {
                writeln!(f, "  {}: {}", quoted(label), quoted(value))?;
            }
        }
        if !resources.0.is_empty() {
            writeln!(f, "resources:")?;
            for (name, pool) in &resources.0 {
                writeln!(f, "  {}: {}", quoted(name.as_str()), quoted(&pool.to_string()))?;
            }
        }
        writeln!(f, "kinds:")?;
        for (kind, runner) in kinds {
            writeln!(f, "  {}:", quoted(kind.as_str()))?;
            f.write_str(&self::runner(runner)?)?;
        }
        Ok(())
    }
}

fn tls(tls: &ClientTls) -> String {
    let ClientTls { ca, cert, key, domain } = tls;
    let file = |key, path: &Option<PathBuf>| path.as_ref().map(|path| (key, path.to_string_lossy().into_owned()));
    let entries = [file("ca", ca), file("cert", cert), file("key", key), domain.clone().map(|name| ("domain", name))];
    let lines: String =
        entries.into_iter().flatten().map(|(key, text)| format!("  {key}: {}\n", quoted(&text))).collect();
    if lines.is_empty() { lines } else { format!("tls:\n{lines}") }
}

fn runner(runner: &RunnerConfig) -> Result<String, fmt::Error> {
    let mut text = String::new();
    match runner {
        RunnerConfig::Builtin(builtin) => writeln!(text, "    runner: builtin\n    miner: {}", builtin.name())?,
        RunnerConfig::Command(config) => {
            writeln!(text, "    runner: command")?;
            process(&mut text, config)?;
        }
        RunnerConfig::Serve(ServeConfig { process: config, start_timeout }) => {
            writeln!(text, "    runner: serve\n    start_timeout: {}", span(*start_timeout))?;
            process(&mut text, config)?;
        }
    }
    Ok(text)
}

fn process(text: &mut String, config: &ProcessConfig) -> fmt::Result {
    let ProcessConfig {
        argv,
        cwd,
        env,
        pass_env,
        limits,
        pin,
        cgroup,
        files,
        timeout,
        stop_grace,
        max_line_bytes,
        max_output_bytes,
    } = config;
    writeln!(text, "    argv: {}", list(argv))?;
    if let Some(cwd) = cwd {
        writeln!(text, "    cwd: {}", quoted(&cwd.to_string_lossy()))?;
    }
    if !env.is_empty() {
        writeln!(text, "    env:")?;
        for (name, value) in env {
            writeln!(text, "      {}: {}", quoted(name), quoted(value))?;
        }
    }
    if !pass_env.is_empty() {
        writeln!(text, "    pass_env: {}", list(pass_env))?;
    }
    if !limits.is_empty() {
        writeln!(text, "    limits: {{{}}}", self::limits(limits).join(", "))?;
    }
    if *pin {
        writeln!(text, "    pin: true")?;
    }
    if let Some(cgroup) = cgroup {
        writeln!(text, "    cgroup: {}", quoted(&cgroup.to_string_lossy()))?;
    }
    if let Some(Files { read, write }) = files {
        let [read, write] = [read, write].map(|paths| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            list(&paths)
        });
        writeln!(text, "    files: {{read: {read}, write: {write}}}")?;
    }
    if let Some(timeout) = timeout {
        writeln!(text, "    timeout: {}", span(*timeout))?;
    }
    writeln!(text, "    stop_grace: {}", span(*stop_grace))?;
    writeln!(text, "    max_line_bytes: {max_line_bytes}\n    max_output_bytes: {max_output_bytes}")
}

fn limits(limits: &Limits) -> Vec<String> {
    let Limits { memory, cpu_time, open_files, processes, file_size } = limits;
    let numbers = [("memory", memory), ("open_files", open_files), ("processes", processes), ("file_size", file_size)];
    let numbers = numbers.iter().filter_map(|(name, bound)| bound.map(|bound| format!("{name}: {bound}")));
    numbers.chain(cpu_time.map(|time| format!("cpu_time: {}", span(time)))).collect()
}

fn span(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A JSON string is a YAML string, whatever it holds.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::file;
    use super::super::merge::{Settings, merge};

    #[test]
    fn what_is_shown_can_be_read_again() {
        let text = "
server: ['https://a:1', 'https://b:2']
tls: {ca: ca.pem, cert: '/k/c\"1.pem', key: k.pem, domain: orch.example.org}
name: w
slots: 2
labels: {zone: 'a \"b\": c'}
give_up_after: 1m
otlp_endpoint: http://collector:4317
resources: {fpga: sum(2), nic: '[a, b]', gpus: range(0-1)}
time_limit: 2h
idle_timeout: 10m
kinds:
  zeta-zeros: {runner: builtin}
  x: {runner: command, argv: [sh, -c, 'echo \"$1\"'], cwd: /tmp, env: {A: '1'}, pass_env: [B], timeout: 1m 30s, pin: true, cgroup: /sys/fs/cgroup/orch,
      limits: {memory: 1GiB, cpu_time: 90s, open_files: 64, processes: 8, file_size: 2MiB}, files: {read: [/usr, data], write: ['/a b']}}
  y: {runner: serve, argv: [y]}
";
        let path = Path::new("/etc/w.yaml");
        let first = merge(Settings::default(), file::parse(path, text).unwrap(), Some(path.into())).unwrap();
        let shown = first.to_string();
        let again = merge(Settings::default(), file::parse(path, &shown).unwrap(), Some(PathBuf::from(path))).unwrap();
        assert_eq!(first, again, "{shown}");
    }
}
