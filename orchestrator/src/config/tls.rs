//! The settings of TLS, checked as a whole.

use std::path::PathBuf;

use orch_transport::{ClientAuth, ServerTls};
use serde::Serialize;

use super::ConfigFault;

/// What sources said about TLS.
#[derive(Debug)]
pub(super) struct TlsSettings {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub client_auth: Option<String>,
}

impl TlsSettings {
    /// What they amount to; faults go where the others are.
    pub(super) fn check(self, faults: &mut Vec<ConfigFault>) -> Option<ServerTls> {
        let Self { cert, key, client_ca, client_auth } = self;
        let mut fault = |field, message: &str| faults.push(ConfigFault { field, message: message.to_owned() });
        let auth = match client_auth.as_deref() {
            None | Some("required") => ClientAuth::Required,
            Some("optional") => ClientAuth::Optional,
            Some(other) => {
                fault("tls_client_auth", &format!("{other:?} is neither required nor optional"));
                ClientAuth::Required
            }
        };
        if client_ca.is_none() && client_auth.is_some() {
            fault(
                "tls_client_auth",
                "means nothing without tls_client_ca: name the authority of clients' certificates",
            );
        }
        match (cert, key) {
            (Some(cert), Some(key)) => Some(ServerTls { cert, key, client_ca, client_auth: auth }),
            (Some(_), None) => {
                fault("tls_key", "is missing: the certificate of tls_cert needs its key");
                None
            }
            (None, Some(_)) => {
                fault("tls_cert", "is missing: the key of tls_key needs its certificate");
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    fault(
                        "tls_client_ca",
                        "means nothing without tls_cert and tls_key: nobody shows a certificate then",
                    );
                }
                None
            }
        }
    }
}

/// As it is shown: files are named, and nothing of what they hold.
#[derive(Serialize)]
struct Shown<'a> {
    cert: &'a PathBuf,
    key: &'a PathBuf,
    client_ca: &'a Option<PathBuf>,
    client_auth: Option<&'static str>,
}

pub(super) fn shown<S: serde::Serializer>(tls: &Option<ServerTls>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = tls.as_ref().map(|tls| {
        let ServerTls { cert, key, client_ca, client_auth } = tls;
        let auth = match client_auth {
            ClientAuth::Required => "required",
            ClientAuth::Optional => "optional",
        };
        Shown { cert, key, client_ca, client_auth: client_ca.is_some().then_some(auth) }
    });
    shown.serialize(serializer)
}
