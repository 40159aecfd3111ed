//! `orchctl cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orch_core::time::Span;

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    Dev(CertDevArgs),
}

/// Make certificates to develop and try with
#[derive(Debug, Args)]
#[command(
    long_about = "Make certificates to develop and try with.\n\nWrites an authority (ca.pem, ca-key.pem), a certificate \
        for the orchestrator (server.pem, server-key.pem) and one for clients (client.pem, client-key.pem) into DIR. Keys \
        can be read by their owner only. The authority's key lies there too: whoever can read it can be anybody, so for \
        a cluster that strangers reach take certificates from your own authority.",
    after_help = "Examples:\n  orchctl cert dev certs --name orch.example.org --name 10.0.0.7\n  orchestrator --listen \
        0.0.0.0:50051 --tls-cert certs/server.pem --tls-key certs/server-key.pem --tls-client-ca certs/ca.pem\n  worker \
        --server https://10.0.0.7:50051 --tls-ca certs/ca.pem --tls-cert certs/client.pem --tls-key certs/client-key.pem"
)]
pub struct CertDevArgs {
    /// The folder for the files; made if it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// One more name or address of the orchestrator, beside localhost, 127.0.0.1 and ::1; may be repeated
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,

    /// The common name in the client's certificate
    #[arg(long, value_name = "NAME", default_value = "client")]
    pub client: String,

    /// How long they are valid
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    pub valid: Span,

    /// Keep the authority that is there, and make new certificates of it: what trusts it goes on doing so
    #[arg(long, conflicts_with = "force")]
    pub renew: bool,

    /// Replace files that are there, the authority too
    #[arg(long)]
    pub force: bool,
}
