//! Who may be let near: the rule for the address that is listened on.

use std::net::SocketAddr;

/// An address that others reach, without what keeps strangers out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{listen} can be reached from other machines, and {}: {}, listen on 127.0.0.1, or accept it with --insecure",
    lacks(*tls, *authentication),
    fix(*tls, *authentication)
)]
pub struct Exposed {
    /// The address.
    pub listen: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Whether callers must prove who they are.
    pub authentication: bool,
}

/// The rule: what others reach speaks TLS and knows its callers. Loopback is for this machine's own.
///
/// # Errors
/// [`Exposed`], which names the fix. `--insecure` overrides it, and nothing else does.
pub fn exposure(listen: SocketAddr, tls: bool, authentication: bool) -> Result<(), Exposed> {
    if listen.ip().to_canonical().is_loopback() || (tls && authentication) {
        Ok(())
    } else {
        Err(Exposed { listen, tls, authentication })
    }
}

fn lacks(tls: bool, authentication: bool) -> &'static str {
    match (tls, authentication) {
        (false, false) => "nothing is encrypted and nobody has to say who he is",
        (false, true) => "nothing is encrypted",
        (true, _) => "nobody has to say who he is",
    }
}

fn fix(tls: bool, authentication: bool) -> &'static str {
    match (tls, authentication) {
        (false, false) => {
            "give it --tls-cert and --tls-key, with a --bootstrap-token-file or --tls-client-ca (`orchctl cert dev` makes some to try)"
        }
        (false, true) => "give it --tls-cert and --tls-key (`orchctl cert dev` makes some to try)",
        (true, _) => "give it a --bootstrap-token-file or --tls-client-ca",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served_without_tls_and_authentication() {
        let may = |listen: &str, tls, auth| exposure(listen.parse().unwrap(), tls, auth).is_ok();
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(may(here, false, false), "{here}");
        }
        for everywhere in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(!may(everywhere, false, false), "{everywhere}");
            assert!(!may(everywhere, true, false), "{everywhere}");
            assert!(!may(everywhere, false, true), "{everywhere}");
            assert!(may(everywhere, true, true), "{everywhere}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_missing_and_how_to_have_it() {
        let text = |tls, auth| exposure("0.0.0.0:1".parse().unwrap(), tls, auth).unwrap_err().to_string();
        assert!(
            text(false, false).contains("nothing is encrypted and nobody") && text(false, false).contains("--insecure")
        );
        assert!(text(true, false).contains("--tls-client-ca") && !text(true, false).contains("encrypted"));
        assert!(text(false, true).contains("--tls-cert"));
    }
}
