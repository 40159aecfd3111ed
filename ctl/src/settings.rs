//! The settings in force and where each came from: flag, then environment, then file, then default.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use orch_core::access::Secret;
use orch_core::time::Span;
use orch_proto::credentials::TokenSource;
use serde::Deserialize;

use crate::args::{Color, Format, GlobalArgs};
use crate::exit::Failure;

/// Where `orchctl` looks for a server unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// How long one call may take unless told otherwise.
const DEFAULT_CALL_TIMEOUT: Span = Span::seconds(60);

/// Where a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The file.
    File,
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// A setting and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// Every setting in force.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: Setting<String>,
    /// What is shown to be let in.
    pub token: Setting<TokenSource>,
    /// None: each command's own default, mostly `table`.
    pub output: Setting<Option<Format>>,
    pub color: Setting<Color>,
    pub quiet: Setting<bool>,
    pub call_timeout: Setting<Span>,
    pub file: ConfigFile,
}

/// The file of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it is or would be; none without a home directory.
    pub path: Option<PathBuf>,
    /// Whether it is there.
    pub found: bool,
}

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    server: Option<String>,
    token_file: Option<PathBuf>,
    output: Option<Format>,
    color: Option<Color>,
    quiet: Option<bool>,
    call_timeout: Option<Span>,
}

/// What of the environment counts beside the variables that clap reads.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub config: Option<PathBuf>,
    pub xdg_config_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub no_color: bool,
    /// `ORCH_TOKEN`, which is in no flag: every user of the machine sees those.
    pub token: Option<Secret>,
}

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            config: path("ORCH_CTL_CONFIG"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            home: path("HOME"),
            // https://no-color.org: set and not empty.
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            token: std::env::var("ORCH_TOKEN")
                .ok()
                .filter(|text| !text.trim().is_empty())
                .map(|text| Secret::new(text.trim())),
        }
    }

    fn config_path(&self) -> Option<PathBuf> {
        let config_home = || self.xdg_config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        self.config.clone().or_else(|| Some(config_home()?.join("orch").join("orchctl.yaml")))
    }
}

impl Settings {
    /// The settings that flags, environment and file amount to.
    ///
    /// # Errors
    /// A file that is named and missing, cannot be read, or says something that is not a setting.
    pub fn resolve(args: &GlobalArgs, matches: &ArgMatches, env: &Environment) -> Result<Self, Failure> {
        let (file, from_file) = read_file(env)?;
        let source = |id: &str| match matches.value_source(id) {
            Some(ValueSource::EnvVariable) => Source::Environment,
            Some(_) | None => Source::Flag,
        };
        let no_color = env.no_color.then_some(Color::Never);
        let color = match (args.color, no_color) {
            (None, Some(never)) => Setting { value: never, source: Source::Environment },
            (flag, _) => pick(flag, source("color"), from_file.color, Color::Auto),
        };
        let server = pick(args.server.clone(), source("server"), from_file.server, DEFAULT_SERVER.to_owned());
        let token = match (&args.token_file, &env.token, from_file.token_file) {
            (Some(path), _, _) => Setting { value: TokenSource::File(path.clone()), source: source("token_file") },
            (None, Some(secret), _) => {
                Setting { value: TokenSource::Told(secret.clone()), source: Source::Environment }
            }
            (None, None, Some(path)) => Setting { value: TokenSource::File(path), source: Source::File },
            (None, None, None) => Setting { value: TokenSource::None, source: Source::Default },
        };
        Ok(Self {
            token,
            server: Setting { value: server_url(&server.value)?, source: server.source },
            output: pick(args.output.map(Some), source("output"), from_file.output.map(Some), None),
            color,
            quiet: pick(args.quiet.then_some(true), Source::Flag, from_file.quiet, false),
            call_timeout: pick(args.call_timeout, source("call_timeout"), from_file.call_timeout, DEFAULT_CALL_TIMEOUT),
            file,
        })
    }

    /// The longest that one call may take.
    pub fn call_timeout(&self) -> Duration {
        self.call_timeout.value.duration()
    }
}

fn pick<T>(given: Option<T>, given_source: Source, from_file: Option<T>, default: T) -> Setting<T> {
    match (given, from_file) {
        (Some(value), _) => Setting { value, source: given_source },
        (None, Some(value)) => Setting { value, source: Source::File },
        (None, None) => Setting { value: default, source: Source::Default },
    }
}

fn read_file(env: &Environment) -> Result<(ConfigFile, FileSettings), Failure> {
    let Some(path) = env.config_path() else {
        return Ok((ConfigFile { path: None, found: false }, FileSettings::default()));
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && env.config.is_none() => {
            return Ok((ConfigFile { path: Some(path), found: false }, FileSettings::default()));
        }
        Err(error) => {
            return Err(Failure::usage(format!("cannot read the settings file {}", path.display()))
                .fix("correct the path in ORCH_CTL_CONFIG, or unset it")
                .because(error));
        }
    };
    let settings = parse_file(&text).map_err(|error| {
        Failure::usage(format!("settings file {}: {error}", path.display())).fix(
            "it may set server, token_file, output, color, quiet and call_timeout; `orchctl config show` lists them",
        )
    })?;
    Ok((ConfigFile { path: Some(path), found: true }, settings))
}

fn parse_file(text: &str) -> Result<FileSettings, String> {
    // A file of comments only holds no document at all.
    let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if empty {
        return Ok(FileSettings::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The server as a URL: `host:port` gets its scheme.
fn server_url(text: &str) -> Result<String, Failure> {
    let bad =
        |why: &str| Failure::usage(format!("server {text:?} {why}")).fix(format!("write it like {DEFAULT_SERVER}"));
    let trimmed = text.trim().trim_end_matches('/');
    let (scheme, rest) = trimmed.split_once("://").unwrap_or(("http", trimmed));
    if rest.is_empty() {
        return Err(bad("names no host"));
    }
    match scheme {
        "http" => {}
        "https" => return Err(bad("asks for TLS, which this version does not speak")),
        _ => return Err(bad("has a scheme other than http")),
    }
    let url = format!("http://{rest}");
    let uri: tonic::codegen::http::Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    match (uri.port_u16(), uri.path()) {
        (Some(_), "/" | "") => Ok(url),
        (None, "/" | "") => Err(bad("names no port")),
        _ => Err(bad("has a path")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::args::Cli;

    fn resolve(args: &[&str], env: &Environment) -> Result<Settings, Failure> {
        let matches = Cli::command().try_get_matches_from(args).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        Settings::resolve(&cli.global, &matches, env)
    }

    fn env_with_file(text: &str) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orchctl.yaml");
        std::fs::write(&path, text).unwrap();
        let env = Environment { config: Some(path), ..Environment::default() };
        (dir, env)
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_the_default() {
        let (_dir, env) = env_with_file("server: http://file:1\noutput: yaml\ncall_timeout: 5s\n");
        let settings = resolve(&["orchctl", "stats", "--server", "flag:2"], &env).unwrap();
        assert_eq!(settings.server, Setting { value: "http://flag:2".into(), source: Source::Flag });
        assert_eq!(settings.output, Setting { value: Some(Format::Yaml), source: Source::File });
        assert_eq!(settings.call_timeout(), Duration::from_secs(5));
        assert_eq!(settings.color, Setting { value: Color::Auto, source: Source::Default });
        assert!(settings.file.found);
    }

    #[test]
    fn no_color_is_respected_unless_a_flag_says_otherwise() {
        let env = Environment { no_color: true, ..Environment::default() };
        assert_eq!(resolve(&["orchctl", "stats"], &env).unwrap().color.value, Color::Never);
        assert_eq!(resolve(&["orchctl", "stats", "--color", "always"], &env).unwrap().color.value, Color::Always);
    }

    #[test]
    fn a_bad_file_names_itself_and_what_it_may_say() {
        let (_dir, env) = env_with_file("sever: http://x:1\n");
        let failure = resolve(&["orchctl", "stats"], &env).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("orchctl.yaml") && text.contains("sever") && text.contains("fix:"), "{text}");
        let missing = Environment { config: Some("/nonexistent/orch.yaml".into()), ..Environment::default() };
        assert!(resolve(&["orchctl", "stats"], &missing).is_err());
        let (_dir, empty) = env_with_file("# nothing set\n");
        assert!(resolve(&["orchctl", "stats"], &empty).is_ok());
    }

    #[test]
    fn a_server_is_host_and_port() {
        for (text, url) in [("localhost:7", "http://localhost:7"), ("http://[::1]:7/", "http://[::1]:7")] {
            assert_eq!(server_url(text).unwrap(), url);
        }
        for bad in ["", "http://", "host", "https://h:1", "ftp://h:1", "http://h:1/path", "a b:1"] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }
}
