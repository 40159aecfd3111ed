//! The settings of traces.

use orch_telemetry::{Sampling, Telemetry};
use orch_transport::ServerUrl;
use serde::Serialize;

use super::ConfigFault;

/// What sources said amounts to; faults go where the others are.
pub(super) fn check(
    endpoint: Option<String>,
    sampling: Option<String>,
    faults: &mut Vec<ConfigFault>,
) -> Option<Telemetry> {
    let mut fault = |field, message| faults.push(ConfigFault { field, message });
    if endpoint.is_none() && sampling.is_some() {
        fault("trace_sampling", "means nothing without otlp_endpoint: name the collector".to_owned());
    }
    let parsed = sampling.map_or(Ok(Sampling::ALL), |text| text.parse::<Sampling>());
    let sampling = parsed.map_err(|error| fault("trace_sampling", error.to_string())).ok();
    let endpoint = endpoint
        .and_then(|text| text.parse::<ServerUrl>().map_err(|error| fault("otlp_endpoint", error.to_string())).ok());
    Some(Telemetry { endpoint: endpoint?, sampling: sampling? })
}

#[derive(Serialize)]
struct Shown<'a> {
    endpoint: &'a str,
    sampling: String,
}

// serde passes a reference.
#[allow(clippy::ref_option)]
pub(super) fn shown<S: serde::Serializer>(telemetry: &Option<Telemetry>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = telemetry
        .as_ref()
        .map(|telemetry| Shown { endpoint: telemetry.endpoint.as_str(), sampling: telemetry.sampling.to_string() });
    shown.serialize(serializer)
}
