//! Certificates that were made.

use std::path::PathBuf;

use orch_transport::development::Made;
use serde::Serialize;

use crate::output::{Page, Table, View};

/// The files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertsView {
    pub ca: PathBuf,
    pub ca_key: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    pub client: PathBuf,
    pub client_key: PathBuf,
    /// What the server's certificate is for.
    pub names: Vec<String>,
}

impl From<Made> for CertsView {
    fn from(made: Made) -> Self {
        let Made { ca, ca_key, server, server_key, client, client_key, names } = made;
        Self { ca, ca_key, server, server_key, client, client_key, names }
    }
}

impl View for CertsView {
    fn table(&self, page: &Page) -> String {
        let Self { ca, ca_key, server, server_key, client, client_key, names } = self;
        let mut table = Table::new(&["FOR", "CERTIFICATE", "KEY"]);
        for (whose, certificate, key) in
            [("authority", ca, ca_key), ("orchestrator", server, server_key), ("clients", client, client_key)]
        {
            let text = |path: &PathBuf| path.display().to_string();
            table.row(vec![whose.into(), text(certificate).into(), text(key).into()]);
        }
        let (ca, server, key) = (ca.display(), server.display(), server_key.display());
        let (client, client_key) = (client.display(), client_key.display());
        format!(
            "{}\n\nThe orchestrator is {}. Start it, and reach it:\n  orchestrator --tls-cert {server} --tls-key {key} \
             --tls-client-ca {ca}\n  orchctl --server https://{}:50051 --tls-ca {ca} --tls-cert {client} --tls-key \
             {client_key} stats",
            table.text(page, ""),
            names.join(", "),
            names.last().map_or("localhost", |name| if name == "::1" { "localhost" } else { name }),
        )
    }

    fn names(&self) -> Vec<String> {
        let files = [&self.ca, &self.ca_key, &self.server, &self.server_key, &self.client, &self.client_key];
        files.into_iter().map(|file| file.display().to_string()).collect()
    }
}
