//! The settings of Kubernetes' service accounts, checked as a whole.

use std::path::PathBuf;

use orch_core::time::Span;
use orch_transport::ServerUrl;
use serde::Serialize;

use super::ConfigFault;
use crate::access::{AccountRule, Accounts, CREDENTIALS, Reviewer};

/// The audience, unless another one is set.
const AUDIENCE: &str = "orch";

/// How often a token is asked about again, unless it is set.
const RECHECK: Span = Span::seconds(60);

/// Which service accounts are let in, and who knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceAccounts {
    /// What each is; empty: none is let in.
    pub accounts: Vec<AccountRule>,
    /// What their tokens must be made for.
    pub audience: String,
    /// How often a token is asked about again.
    pub recheck: Span,
    /// The API server that says whose a token is; there is one if any account is let in.
    #[serde(serialize_with = "shown")]
    pub api: Option<ServerUrl>,
    /// A directory with `token` and `ca.crt` to ask it with.
    pub credentials: PathBuf,
}

impl ServiceAccounts {
    /// The accounts, ready to be asked for; None if none is let in.
    pub fn accounts(&self) -> Option<Accounts> {
        let api = self.api.clone().filter(|_| !self.accounts.is_empty())?;
        let reviewer = Reviewer::new(api, &self.credentials, self.audience.clone());
        Some(Accounts::new(self.accounts.clone(), reviewer, self.recheck.duration()))
    }
}

// serde passes a reference.
#[allow(clippy::ref_option)]
fn shown<S: serde::Serializer>(api: &Option<ServerUrl>, serializer: S) -> Result<S::Ok, S::Error> {
    api.as_ref().map(ServerUrl::as_str).serialize(serializer)
}

/// What sources said about service accounts.
#[derive(Debug)]
pub(super) struct ServiceAccountSettings {
    pub accounts: Option<Vec<String>>,
    pub audience: Option<String>,
    pub recheck: Option<String>,
    pub api: Option<String>,
    pub credentials: Option<PathBuf>,
}

impl ServiceAccountSettings {
    /// What they amount to; faults go where the others are.
    pub(super) fn check(self, faults: &mut Vec<ConfigFault>) -> ServiceAccounts {
        let Self { accounts, audience, recheck, api, credentials } = self;
        let mut fault = |field, message| faults.push(ConfigFault { field, message });
        let mut rules: Vec<AccountRule> = Vec::new();
        for text in accounts.unwrap_or_default() {
            match text.parse::<AccountRule>() {
                Ok(rule) if rules.iter().any(|other| other.account == rule.account) => {
                    fault("service_account", format!("{} is named twice: it has one role", rule.account));
                }
                Ok(rule) => rules.push(rule),
                Err(message) => fault("service_account", message),
            }
        }
        let none = "means nothing without service_account: name the accounts that are let in".to_owned();
        if rules.is_empty() {
            let set = [
                ("service_account_audience", audience.is_some()),
                ("service_account_recheck", recheck.is_some()),
                ("kubernetes_api", api.is_some()),
                ("kubernetes_credentials", credentials.is_some()),
            ];
            set.into_iter().filter(|(_, set)| *set).for_each(|(field, _)| fault(field, none.clone()));
            return ServiceAccounts::default();
        }
        let api = match api {
            Some(text) => text.parse::<ServerUrl>().map_err(|error| error.to_string()),
            None => of_pod(),
        };
        let api = api.and_then(|api| match api.may_carry_secrets() {
            Ok(()) => Ok(api),
            Err(error) => Err(error.to_string()),
        });
        let audience = audience.unwrap_or_else(|| AUDIENCE.to_owned());
        if audience.is_empty() {
            fault("service_account_audience", "is empty: a token for any audience would do".to_owned());
        }
        let recheck = recheck.map_or(Ok(RECHECK), |text| match text.parse::<Span>() {
            Ok(span) if (Span::seconds(1)..=Span::seconds(3600)).contains(&span) => Ok(span),
            Ok(span) => Err(format!("{span}: from 1s to 1h")),
            Err(message) => Err(message),
        });
        let recheck = recheck.map_err(|message| fault("service_account_recheck", message)).unwrap_or(RECHECK);
        let api = api.map_err(|message| fault("kubernetes_api", message)).ok();
        let credentials = credentials.unwrap_or_else(|| PathBuf::from(CREDENTIALS));
        ServiceAccounts { accounts: rules, audience, recheck, api, credentials }
    }
}

/// The API server, as Kubernetes tells every pod.
fn of_pod() -> Result<ServerUrl, String> {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) else {
        return Err("is not set, and this is no pod: write it like https://10.0.0.1:443".to_owned());
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("https://{host}:{port}").parse().map_err(|error: orch_transport::UrlError| error.to_string())
}
