//! The address of an orchestrator.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use tonic::transport::Uri;

/// The address of an orchestrator: `http://host:port`, or `https://host:port` for TLS. A bare `host:port` is `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    text: String,
    tls: bool,
    host: String,
    port: u16,
}

/// Why a text is not the address of an orchestrator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {why}: write it like http://127.0.0.1:50051 or https://orch.example.org:50051")]
pub struct UrlError {
    text: String,
    why: &'static str,
}

/// A secret was about to be sent where everybody on the way can read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token would go to {server} without encryption: use https://, or a server on this machine")]
pub struct InTheClear {
    server: String,
}

impl ServerUrl {
    /// The address as a URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether TLS is spoken there.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as a server's `--listen` would have them.
    pub fn authority(&self) -> &str {
        self.text.split_once("://").map_or(self.text.as_str(), |(_, rest)| rest)
    }

    /// Whether the host can only be this machine. Names other than `localhost` may be anybody's.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether a token may be sent there: over TLS, or to this machine. Ask before one is put into a request.
    ///
    /// # Errors
    /// [`InTheClear`], which names the fix.
    pub fn may_carry_secrets(&self) -> Result<(), InTheClear> {
        if self.tls || self.is_loopback() { Ok(()) } else { Err(InTheClear { server: self.text.clone() }) }
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let fault = |why| UrlError { text: text.chars().take(200).collect(), why };
        let trimmed = text.trim().trim_end_matches('/');
        let (scheme, rest) = trimmed.split_once("://").unwrap_or(("http", trimmed));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(fault("has a scheme other than http and https")),
        };
        if rest.is_empty() {
            return Err(fault("names no host"));
        }
        let text = format!("{scheme}://{rest}");
        let uri: Uri = text.parse().map_err(|_| fault("is not a URL"))?;
        if rest.contains('@') {
            return Err(fault("holds a user name, which is not used"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(fault("has a path"));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(fault("names no host"));
        }
        let port = uri.port_u16().ok_or_else(|| fault("names no port"))?;
        Ok(Self { text, tls, host, port })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        for (text, same, tls, host) in [
            ("localhost:7", "http://localhost:7", false, "localhost"),
            ("http://[::1]:7/", "http://[::1]:7", false, "::1"),
            ("https://orch:50051", "https://orch:50051", true, "orch"),
        ] {
            let parsed = url(text);
            assert_eq!((parsed.as_str(), parsed.tls(), parsed.host()), (same, tls, host));
        }
        let bad = ["", "http://", "host", "https://h", "ftp://h:1", "http://h:1/path", "a b:1", "http://:1", "u@h:1"];
        for bad in bad {
            let error = bad.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(error.contains("write it like http://127.0.0.1:50051"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for fine in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://far.example.org:1"] {
            assert_eq!(url(fine).may_carry_secrets(), Ok(()), "{fine}");
        }
        for bad in ["http://10.0.0.1:1", "http://orch:1", "http://127.0.0.1.example.org:1"] {
            assert!(url(bad).may_carry_secrets().unwrap_err().to_string().contains("https://"), "{bad}");
        }
    }
}
