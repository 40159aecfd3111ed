//! The settings in force and where each came from: flag, then environment, then file, then default.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use orch_core::access::Secret;
use orch_core::time::Span;
use orch_proto::credentials::TokenSource;
use orch_transport::{ClientTls, Dial, ServerUrl, UrlError};
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
    pub server: Setting<ServerUrl>,
    /// What is shown to be let in.
    pub token: Setting<TokenSource>,
    /// Only for addresses with https.
    pub tls_ca: Setting<Option<PathBuf>>,
    pub tls_cert: Setting<Option<PathBuf>>,
    pub tls_key: Setting<Option<PathBuf>>,
    pub tls_domain: Setting<Option<String>>,
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
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_domain: Option<String>,
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
        let path = |flag: &Option<PathBuf>, id: &str, file: Option<PathBuf>| {
            pick(flag.clone().map(Some), source(id), file.map(Some), None)
        };
        Ok(Self {
            token,
            server: Setting { value: server_url(&server.value)?, source: server.source },
            tls_ca: path(&args.tls_ca, "tls_ca", from_file.tls_ca),
            tls_cert: path(&args.tls_cert, "tls_cert", from_file.tls_cert),
            tls_key: path(&args.tls_key, "tls_key", from_file.tls_key),
            tls_domain: pick(
                args.tls_domain.clone().map(Some),
                source("tls_domain"),
                from_file.tls_domain.map(Some),
                None,
            ),
            output: pick(args.output.map(Some), source("output"), from_file.output.map(Some), None),
            color,
            quiet: pick(args.quiet.then_some(true), Source::Flag, from_file.quiet, false),
            call_timeout: pick(args.call_timeout, source("call_timeout"), from_file.call_timeout, DEFAULT_CALL_TIMEOUT),
            file,
        })
    }

    /// How the server is reached.
    ///
    /// # Errors
    /// Settings of TLS that contradict the address or each other.
    pub fn dial(&self) -> Result<Dial, Failure> {
        let tls = ClientTls {
            ca: self.tls_ca.value.clone(),
            cert: self.tls_cert.value.clone(),
            key: self.tls_key.value.clone(),
            domain: self.tls_domain.value.clone(),
        };
        Dial::new(self.server.value.clone(), tls).map_err(|error| Failure::usage(error.to_string()))
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
            "it may set server, tls_ca, tls_cert, tls_key, tls_domain, token_file, output, color, quiet and call_timeout; `orchctl config show` lists them",
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
fn server_url(text: &str) -> Result<ServerUrl, Failure> {
    text.parse().map_err(|error: UrlError| Failure::usage(format!("server {error}")))
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
        assert_eq!(settings.server, Setting { value: "http://flag:2".parse().unwrap(), source: Source::Flag });
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
    fn tls_is_for_https_only_and_a_certificate_has_its_key() {
        let (_dir, env) = env_with_file("server: https://file:1\ntls_ca: /ca.pem\n");
        let settings = resolve(&["orchctl", "stats", "--tls-cert", "c", "--tls-key", "k"], &env).unwrap();
        assert_eq!(settings.tls_ca, Setting { value: Some("/ca.pem".into()), source: Source::File });
        assert_eq!(settings.tls_cert, Setting { value: Some("c".into()), source: Source::Flag });
        assert!(settings.dial().is_ok());
        let half = resolve(&["orchctl", "stats", "--tls-cert", "c"], &env).unwrap();
        assert!(half.dial().unwrap_err().to_string().contains("--tls-key"));
        let plain = resolve(&["orchctl", "stats", "--server", "http://h:1"], &env).unwrap();
        assert!(plain.dial().unwrap_err().to_string().contains("https://"));
    }
}
