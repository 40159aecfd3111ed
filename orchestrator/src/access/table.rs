//! What every call and every route needs: the one table.
//!
//! An orchestrator does not start if the descriptors of its services, or the list of its routes, name something that is
//! not here, or if something here is in neither. `docs/security.md` shows the same table; a test compares them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use orch_core::access::{Permission, Role};
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: probes ask it, and it tells nothing.
    Nothing,
    /// To be known, in whatever role.
    AnyRole,
    /// A role that may do this.
    May(Permission),
}

impl Need {
    /// Whether a caller of this role has what is needed.
    pub const fn met_by(self, role: Role) -> bool {
        match self {
            Self::Nothing | Self::AnyRole => true,
            Self::May(permission) => role.may(permission),
        }
    }
}

/// A call or a route, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path of its requests.
    pub path: &'static str,
    /// What it needs.
    pub need: Need,
    /// It may stay open for long: it ends when its caller's token does.
    pub long: bool,
    /// Whoever showed the certificate that the configuration names (`scaler_certificate`) may make it, too, without a
    /// token: for programs that cannot show one.
    pub certificate: bool,
}

const fn needs(path: &'static str, permission: Permission) -> Entry {
    Entry { path, need: Need::May(permission), long: false, certificate: false }
}

const fn open(path: &'static str) -> Entry {
    Entry { path, need: Need::Nothing, long: false, certificate: false }
}

const fn any_role(path: &'static str) -> Entry {
    Entry { path, need: Need::AnyRole, long: false, certificate: false }
}

impl Entry {
    const fn long(mut self) -> Self {
        self.long = true;
        self
    }

    const fn or_certificate(mut self) -> Self {
        self.certificate = true;
        self
    }

    /// What people call it: without the package.
    pub fn name(&self) -> &'static str {
        self.path.trim_start_matches("/orch.v1.")
    }

    /// Whether it is a call of a service, not a route for browsers and probes.
    pub fn is_call(&self) -> bool {
        // A service has the name of its package in it, which no route has.
        self.path.contains('.')
    }
}

/// Every call and every route.
pub const TABLE: &[Entry] = &[
    open("/healthz"),
    open("/readyz"),
    needs("/metrics", Permission::View),
    needs("/workers", Permission::View),
    needs("/admin/cleanup", Permission::Operate),
    open("/grpc.health.v1.Health/Check"),
    open("/grpc.health.v1.Health/Watch"),
    any_role("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").long(),
    needs("/externalscaler.ExternalScaler/IsActive", Permission::View).or_certificate(),
    needs("/externalscaler.ExternalScaler/StreamIsActive", Permission::View).or_certificate().long(),
    needs("/externalscaler.ExternalScaler/GetMetricSpec", Permission::View).or_certificate(),
    needs("/externalscaler.ExternalScaler/GetMetrics", Permission::View).or_certificate(),
    needs("/externalscaler.ExternalScaler/StreamMetricSpec", Permission::View).or_certificate().long(),
    any_role("/orch.v1.AdminService/WhoAmI"),
    needs("/orch.v1.AdminService/GetJob", Permission::View),
    needs("/orch.v1.AdminService/ListJobs", Permission::View),
    needs("/orch.v1.AdminService/WaitJobs", Permission::View).long(),
    needs("/orch.v1.AdminService/ReadJobLog", Permission::View).long(),
    needs("/orch.v1.AdminService/ListQueues", Permission::View),
    needs("/orch.v1.AdminService/ListLimits", Permission::View),
    needs("/orch.v1.AdminService/ListSchedules", Permission::View),
    needs("/orch.v1.AdminService/ExplainJob", Permission::View),
    needs("/orch.v1.AdminService/ExplainWorker", Permission::View),
    needs("/orch.v1.AdminService/ListWorkers", Permission::View),
    needs("/orch.v1.AdminService/ListContracts", Permission::View),
    needs("/orch.v1.AdminService/Stats", Permission::View),
    needs("/orch.v1.AdminService/ServerInfo", Permission::View),
    needs("/orch.v1.AdminService/ReadLedger", Permission::ReadAll).long(),
    needs("/orch.v1.AdminService/ExportState", Permission::ReadAll).long(),
    needs("/orch.v1.AdminService/Submit", Permission::Submit),
    needs("/orch.v1.AdminService/ImportJobs", Permission::Submit).long(),
    needs("/orch.v1.AdminService/CancelJobs", Permission::Submit),
    needs("/orch.v1.AdminService/RetryFailed", Permission::Submit),
    needs("/orch.v1.AdminService/PauseQueue", Permission::Operate),
    needs("/orch.v1.AdminService/ResumeWorker", Permission::Operate),
    needs("/orch.v1.AdminService/PauseRetries", Permission::Operate),
    needs("/orch.v1.AdminService/ResumeRetries", Permission::Operate),
    needs("/orch.v1.AdminService/ResumeQueue", Permission::Operate),
    needs("/orch.v1.AdminService/SetLimit", Permission::Operate),
    needs("/orch.v1.AdminService/UnsetLimit", Permission::Operate),
    needs("/orch.v1.AdminService/PauseSchedule", Permission::Operate),
    needs("/orch.v1.AdminService/ResumeSchedule", Permission::Operate),
    needs("/orch.v1.AdminService/RemoveSchedule", Permission::Operate),
    needs("/orch.v1.AdminService/DrainWorkers", Permission::Operate),
    needs("/orch.v1.AdminService/CleanupWorkers", Permission::Operate),
    needs("/orch.v1.AdminService/ImportLegacy", Permission::Operate).long(),
    needs("/orch.v1.AdminService/CreateToken", Permission::Administer),
    needs("/orch.v1.AdminService/ListTokens", Permission::Administer),
    needs("/orch.v1.AdminService/RevokeToken", Permission::Administer),
    needs("/orch.v1.AdminService/ListAudit", Permission::Administer),
    needs("/orch.v1.AdminService/ReadDirectorySecret", Permission::Administer),
    needs("/orch.v1.WorkerService/RegisterWorker", Permission::Work),
    needs("/orch.v1.WorkerService/LeaseJob", Permission::Work).long(),
    needs("/orch.v1.WorkerService/Heartbeat", Permission::Work),
    needs("/orch.v1.WorkerService/SubmitResults", Permission::Work).long(),
    needs("/orch.v1.WorkerService/ReleaseLeases", Permission::Work),
    needs("/orch.v1.WorkerService/PushLogs", Permission::Work).long(),
    needs("/orch.v1.WorkerService/DeregisterWorker", Permission::Work),
];

static BY_PATH: LazyLock<BTreeMap<&'static str, &'static Entry>> =
    LazyLock::new(|| TABLE.iter().map(|entry| (entry.path, entry)).collect());

/// What a path needs; None: there is no such call or route.
pub(super) fn find(path: &str) -> Option<&'static Entry> {
    BY_PATH.get(path).copied()
}

/// The table and what is served differ: a bug of this build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of what calls need does not fit what is served: {0}")]
pub struct Unlisted(String);

/// Whether the table has exactly what these descriptors describe, and these routes, and says of every stream that it is
/// one.
///
/// # Errors
/// [`Unlisted`], with the first difference.
pub fn check(descriptors: &[&[u8]], routes: &[&str]) -> Result<(), Unlisted> {
    let mut served: BTreeMap<String, bool> = routes.iter().map(|route| ((*route).to_owned(), false)).collect();
    for set in descriptors {
        let set = FileDescriptorSet::decode(*set).map_err(|error| Unlisted(error.to_string()))?;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    served.insert(path, method.client_streaming() || method.server_streaming());
                }
            }
        }
    }
    let listed: BTreeSet<&str> = TABLE.iter().map(|entry| entry.path).collect();
    if listed.len() != TABLE.len() {
        return Err(Unlisted("something is listed twice".to_owned()));
    }
    for (path, streams) in &served {
        match find(path) {
            None => return Err(Unlisted(format!("{path} is served and not listed"))),
            Some(entry) if *streams && !entry.long && entry.need != Need::Nothing => {
                return Err(Unlisted(format!("{path} is a stream and not listed as long")));
            }
            Some(_) => {}
        }
    }
    match listed.into_iter().find(|path| !served.contains_key(*path)) {
        Some(path) => Err(Unlisted(format!("{path} is listed and not served"))),
        None => Ok(()),
    }
}
