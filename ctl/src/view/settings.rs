//! The settings in force.

use std::path::PathBuf;

use orch_proto::credentials::TokenSource;
use serde::Serialize;

use crate::output::{Cell, Page, Table, Tint, View};
use crate::settings::{Setting, Settings};

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingView {
    pub setting: &'static str,
    pub value: String,
    /// `flag`, `environment`, `file` or `default`.
    pub source: String,
}

/// Every setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingsView {
    /// The file; null if there is no home directory for it.
    pub file: Option<String>,
    pub file_found: bool,
    pub settings: Vec<SettingView>,
}

impl From<&Settings> for SettingsView {
    fn from(settings: &Settings) -> Self {
        fn line<T>(setting: &'static str, from: &Setting<T>, value: String) -> SettingView {
            SettingView { setting, value, source: from.source.to_string() }
        }
        let path = |setting: &Setting<Option<PathBuf>>, none: &str| {
            setting.value.as_ref().map_or_else(|| none.to_owned(), |path| path.display().to_string())
        };
        let Settings { server, token, tls_ca, tls_cert, tls_key, tls_domain, output, color, quiet, call_timeout, file } =
            settings;
        Self {
            file: file.path.as_ref().map(|path| path.display().to_string()),
            file_found: file.found,
            settings: vec![
                line("server", server, server.value.to_string()),
                line("token_file", token, token_in_words(&token.value)),
                line("tls_ca", tls_ca, path(tls_ca, "what this machine trusts")),
                line("tls_cert", tls_cert, path(tls_cert, "none")),
                line("tls_key", tls_key, path(tls_key, "none")),
                line("tls_domain", tls_domain, tls_domain.value.clone().unwrap_or_else(|| "of the address".into())),
                line("output", output, output.value.map_or("table", |format| format.name()).to_owned()),
                line("color", color, color.value.name().to_owned()),
                line("quiet", quiet, quiet.value.to_string()),
                line("call_timeout", call_timeout, call_timeout.value.to_string()),
            ],
        }
    }
}

/// Where the token comes from, never the token.
fn token_in_words(token: &TokenSource) -> String {
    match token {
        TokenSource::None => "none".to_owned(),
        TokenSource::Told(_) => "(ORCH_TOKEN, not shown)".to_owned(),
        TokenSource::File(path) => path.display().to_string(),
    }
}

impl View for SettingsView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["SETTING", "VALUE", "SOURCE"]);
        for SettingView { setting, value, source } in &self.settings {
            let tint = if source == "default" { Tint::Dim } else { Tint::Plain };
            table.row(vec![(*setting).into(), value.into(), Cell::tinted(source, tint)]);
        }
        let file = match (&self.file, self.file_found) {
            (Some(file), true) => format!("file: {file}"),
            (Some(file), false) => format!("file: {file} (not there)"),
            (None, _) => "file: none (no home directory)".to_owned(),
        };
        format!("{}\n\n{file}", table.text(page, ""))
    }

    fn names(&self) -> Vec<String> {
        self.settings.iter().map(|setting| setting.setting.to_owned()).collect()
    }
}
