//! Walks the tree of a configuration file and collects every fault on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use orch_core::id::{Kind, WorkerId};
use orch_core::resource::{Pool, Pools, ResourceName};
use orch_transport::ClientTls;
use serde_saphyr::Spanned;

use super::super::yaml::Node;
use super::super::{Builtin, Files, Limits, ProcessConfig, RunnerConfig, ServeConfig, Server, ServerError};
use super::{Fault, FileConfig, LogFormat, bytes, duration, level, truth};

type Value = Spanned<Node>;

/// Collects faults while it reads.
pub(super) struct Reader<'a> {
    /// What paths of the file are relative to.
    folder: &'a Path,
    pub(super) faults: Vec<Fault>,
}

/// A map's entries that were not asked for yet.
struct Fields<'n> {
    path: String,
    line: u64,
    entries: Vec<(&'n str, &'n Value)>,
    asked: Vec<&'static str>,
}

fn line_of(value: &Value) -> u64 {
    value.referenced.line()
}

impl<'n> Fields<'n> {
    fn take(&mut self, key: &'static str) -> Option<(String, &'n Value)> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(name, _)| *name == key)?;
        let (_, value) = self.entries.remove(at);
        match value.value {
            Node::Null => None,
            Node::Scalar(_) | Node::List(_) | Node::Map(_) => Some((self.path_of(key), value)),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder, faults: Vec::new() }
    }

    fn fault(&mut self, line: u64, field: &str, message: impl Into<String>) {
        self.faults.push(Fault { line, field: field.to_owned(), message: message.into() });
    }

    /// Reads the whole document.
    pub(super) fn root(&mut self, root: &Value) -> FileConfig {
        if matches!(root.value, Node::Null) {
            return FileConfig::default();
        }
        let Some(mut fields) = self.fields("", root) else {
            return FileConfig::default();
        };
        let f = &mut fields;
        let log = f.take("log").and_then(|(path, value)| self.fields(&path, value));
        let (log_level, log_format) = log.map_or((None, None), |mut log| self.log(&mut log));
        let tls = f.take("tls").and_then(|(path, value)| self.fields(&path, value));
        let config = FileConfig {
            tls: tls.map(|tls| self.tls(tls)).unwrap_or_default(),
            servers: f.take("server").and_then(|(path, value)| self.servers(&path, value)),
            name: self.parsed(f, "name", WorkerId::new),
            slots: self.parsed(f, "slots", |text| text.parse().map_err(|_| "must be a whole number from 1")),
            kinds: f.take("kinds").map(|(path, value)| self.kinds(&path, value)),
            labels: f.take("labels").map(|(path, value)| self.texts(&path, value)).unwrap_or_default(),
            resources: f.take("resources").map(|(path, value)| self.resources(&path, value)).unwrap_or_default(),
            time_limit: self.parsed(f, "time_limit", duration),
            idle_timeout: self.parsed(f, "idle_timeout", duration),
            grace: self.parsed(f, "grace", duration),
            flush: self.parsed(f, "flush", duration),
            keep_bytes: self.parsed(f, "keep_bytes", bytes).and_then(|bytes| usize::try_from(bytes).ok()),
            give_up_after: self.parsed(f, "give_up_after", duration),
            token_file: self
                .parsed(f, "token_file", |text| Ok::<_, String>(text.to_owned()))
                .map(|text| self.folder.join(text)),
            otlp_endpoint: self.parsed(f, "otlp_endpoint", |text| text.parse::<Server>()),
            log_level,
            log_format,
        };
        self.refuse_rest(fields);
        config
    }

    fn log(&mut self, log: &mut Fields<'_>) -> (Option<String>, Option<LogFormat>) {
        let level = self.parsed(log, "level", level);
        let format = self.parsed(log, "format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json"),
        });
        let rest = Fields {
            entries: std::mem::take(&mut log.entries),
            asked: std::mem::take(&mut log.asked),
            path: log.path.clone(),
            line: log.line,
        };
        self.refuse_rest(rest);
        (level, format)
    }

    /// Files are relative to this one, as everywhere in it.
    fn tls(&mut self, mut fields: Fields<'_>) -> ClientTls {
        let f = &mut fields;
        let mut path = |key| self.parsed(f, key, PathBuf::from_str).map(|path| self.folder.join(path));
        let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
        let domain = self.parsed(f, "domain", |text| Ok::<_, String>(text.to_owned()));
        self.refuse_rest(fields);
        ClientTls { ca, cert, key, domain }
    }

    fn servers(&mut self, path: &str, value: &Value) -> Option<Vec<Server>> {
        let texts: Vec<(u64, String)> = match &value.value {
            Node::Scalar(text) => text.split(',').map(|part| (line_of(value), part.trim().to_owned())).collect(),
            Node::List(_) | Node::Map(_) | Node::Null => self.list(path, value),
        };
        let mut servers = Vec::new();
        for (line, text) in texts {
            match text.parse() {
                Ok(server) => servers.push(server),
                Err(error) => self.fault(line, path, ServerError::to_string(&error)),
            }
        }
        Some(servers).filter(|servers| !servers.is_empty())
    }

    fn kinds(&mut self, path: &str, value: &Value) -> BTreeMap<Kind, RunnerConfig> {
        let mut kinds = BTreeMap::new();
        let Some(fields) = self.fields(path, value) else {
            return kinds;
        };
        if fields.entries.is_empty() {
            self.fault(fields.line, path, "names no kind: the worker would have nothing to run");
        }
        for (name, value) in fields.entries {
            let path = format!("{path}.{name}");
            let kind = match Kind::new(name) {
                Ok(kind) => Some(kind),
                Err(error) => {
                    self.fault(line_of(value), &path, error.to_string());
                    None
                }
            };
            let runner = self.runner(&path, name, value);
            kinds.extend(kind.zip(runner));
        }
        kinds
    }

    fn runner(&mut self, path: &str, kind: &str, value: &Value) -> Option<RunnerConfig> {
        let mut fields = self.fields(path, value)?;
        let line = fields.line;
        let names = "builtin, command or serve";
        let Some((at, runner)) = fields.take("runner") else {
            self.fault(line, path, format!("names no runner: say `runner:` {names}"));
            return None;
        };
        let config = match &runner.value {
            Node::Scalar(name) if name == "builtin" => self.builtin(&mut fields, kind),
            Node::Scalar(name) if name == "command" => self.process(&mut fields).map(RunnerConfig::Command),
            Node::Scalar(name) if name == "serve" => {
                let start_timeout = self.parsed(&mut fields, "start_timeout", duration);
                let start_timeout = start_timeout.unwrap_or(Duration::from_secs(60));
                self.process(&mut fields).map(|process| RunnerConfig::Serve(ServeConfig { process, start_timeout }))
            }
            Node::Scalar(name) => {
                self.fault(line_of(runner), &at, format!("{name:?} is no runner: say {names}"));
                return None;
            }
            Node::Null | Node::List(_) | Node::Map(_) => {
                self.fault(line_of(runner), &at, format!("must be {names}"));
                return None;
            }
        };
        self.refuse_rest(fields);
        config
    }

    fn builtin(&mut self, fields: &mut Fields<'_>, kind: &str) -> Option<RunnerConfig> {
        let line = fields.line;
        let miner = self.parsed(fields, "miner", |text| Ok::<_, String>(text.to_owned()));
        let name = miner.unwrap_or_else(|| kind.to_owned());
        let builtin = Builtin::named(&name);
        if builtin.is_none() {
            let known: Vec<&str> = Builtin::ALL.into_iter().map(Builtin::name).collect();
            let message = format!("there is no built-in miner {name:?}: say `miner:` {}", known.join(" or "));
            self.fault(line, &fields.path, message);
        }
        builtin.map(RunnerConfig::Builtin)
    }

    fn process(&mut self, fields: &mut Fields<'_>) -> Option<ProcessConfig> {
        let line = fields.line;
        let argv = fields.take("argv").map(|(path, value)| (line_of(value), self.list(&path, value)));
        let argv: Option<Vec<String>> = match argv {
            Some((line, words)) if words.first().is_none_or(|(_, word)| word.is_empty()) => {
                self.fault(line, &fields.path_of("argv"), "must start with a program: write it like [python3, x.py]");
                None
            }
            Some((_, words)) => Some(words.into_iter().map(|(_, word)| word).collect()),
            None => {
                let message = "is missing: name the program and its arguments, like [python3, x.py]";
                self.fault(line, &fields.path_of("argv"), message);
                None
            }
        };
        let defaults = ProcessConfig::new(Vec::new());
        let cwd: Option<PathBuf> = self.parsed(fields, "cwd", PathBuf::from_str);
        let process = ProcessConfig {
            argv: argv.clone().unwrap_or_default(),
            // Relative to the file, so that a configuration and its runners can be moved together.
            cwd: cwd.map(|cwd| self.folder.join(cwd)),
            env: fields.take("env").map(|(path, value)| self.texts(&path, value)).unwrap_or_default(),
            pass_env: fields.take("pass_env").map(|(path, value)| self.names(&path, value)).unwrap_or_default(),
            limits: fields.take("limits").map(|(path, value)| self.limits(&path, value)).unwrap_or_default(),
            pin: self.parsed(fields, "pin", truth).unwrap_or(defaults.pin),
            cgroup: self.parsed(fields, "cgroup", PathBuf::from_str),
            files: fields.take("files").map(|(path, value)| self.files(&path, value)),
            timeout: self.parsed(fields, "timeout", duration),
            stop_grace: self.parsed(fields, "stop_grace", duration).unwrap_or(defaults.stop_grace),
            max_line_bytes: self
                .parsed(fields, "max_line_bytes", bytes)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(defaults.max_line_bytes),
            max_output_bytes: self.parsed(fields, "max_output_bytes", bytes).unwrap_or(defaults.max_output_bytes),
        };
        argv.map(|_| process)
    }

    fn limits(&mut self, path: &str, value: &Value) -> Limits {
        let Some(mut fields) = self.fields(path, value) else { return Limits::default() };
        let f = &mut fields;
        let count = |text: &str| text.parse().ok().filter(|&count| count > 0).ok_or("must be a whole number from 1");
        let limits = Limits {
            memory: self.parsed(f, "memory", bytes),
            cpu_time: self.parsed(f, "cpu_time", duration),
            open_files: self.parsed(f, "open_files", count),
            processes: self.parsed(f, "processes", count),
            file_size: self.parsed(f, "file_size", bytes),
        };
        self.refuse_rest(fields);
        limits
    }

    fn files(&mut self, path: &str, value: &Value) -> Files {
        let Some(mut fields) = self.fields(path, value) else { return Files::default() };
        let [read, write] = ["read", "write"].map(|key| {
            let paths = fields.take(key).map(|(path, value)| self.list(&path, value)).unwrap_or_default();
            paths.into_iter().map(|(_, path)| self.folder.join(path)).collect()
        });
        self.refuse_rest(fields);
        Files { read, write }
    }

    fn names(&mut self, path: &str, value: &Value) -> Vec<String> {
        self.list(path, value).into_iter().map(|(_, name)| name).collect()
    }

    /// The fields of a map; a fault and None if the value is none or a key stands twice.
    fn fields<'n>(&mut self, path: &str, value: &'n Value) -> Option<Fields<'n>> {
        let Node::Map(map) = &value.value else {
            self.fault(line_of(value), path, format!("must be a map, but is {}", value.value.what()));
            return None;
        };
        let entries = map.iter().map(|(key, value)| (key.value.as_str(), value)).collect();
        let line = map.first().map_or(line_of(value), |(key, _)| key.referenced.line());
        Some(Fields { path: path.to_owned(), line, entries, asked: Vec::new() })
    }

    fn refuse_rest(&mut self, fields: Fields<'_>) {
        for (name, value) in &fields.entries {
            let known = fields.asked.join(", ");
            self.fault(line_of(value), &fields.path_of(name), format!("is not a key here; there are: {known}"));
        }
    }

    /// A scalar, turned into what it means.
    fn parsed<T, E: fmt::Display>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (path, value) = fields.take(key)?;
        let text = self.text(&path, value)?;
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fault(line_of(value), &path, error.to_string());
                None
            }
        }
    }

    fn text<'n>(&mut self, path: &str, value: &'n Value) -> Option<&'n str> {
        match &value.value {
            Node::Scalar(text) => Some(text),
            Node::Null | Node::List(_) | Node::Map(_) => {
                self.fault(line_of(value), path, format!("must be a single value, but is {}", value.value.what()));
                None
            }
        }
    }

    /// A list of scalars, with their lines.
    fn list(&mut self, path: &str, value: &Value) -> Vec<(u64, String)> {
        let Node::List(items) = &value.value else {
            self.fault(line_of(value), path, format!("must be a list, but is {}", value.value.what()));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let text = self.text(&format!("{path}[{i}]"), item).map(str::to_owned);
            texts.extend(text.map(|text| (line_of(item), text)));
        }
        texts
    }

    /// A map from resources to what there is of each.
    fn resources(&mut self, path: &str, value: &Value) -> Pools {
        let mut pools = Pools::default();
        for (key, value) in self.fields(path, value).map(|fields| fields.entries).unwrap_or_default() {
            let path = format!("{path}.{key}");
            let Some(text) = self.text(&path, value) else { continue };
            match (ResourceName::new(key), text.parse::<Pool>()) {
                (Ok(name), Ok(pool)) => drop(pools.0.insert(name, pool)),
                (Err(error), _) => self.fault(line_of(value), &path, error.to_string()),
                (_, Err(error)) => self.fault(line_of(value), &path, error.to_string()),
            }
        }
        pools
    }

    /// A map of scalars.
    fn texts(&mut self, path: &str, value: &Value) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.fields(path, value).map(|fields| fields.entries).unwrap_or_default() {
            let text = self.text(&format!("{path}.{key}"), value).map(str::to_owned);
            texts.extend(text.map(|text| (key.to_owned(), text)));
        }
        texts
    }
}
