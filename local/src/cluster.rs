//! One orchestrator and its workers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use orch_core::id::{Kind, WorkerId};
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running};
use orch_proto::credentials::{Credentials, Identified, TokenSource};
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_transport::{ClientTls, Dial};
use orch_worker::config::file::FileFaults;
use orch_worker::config::{RunnerConfig, Server};
use orch_worker::{CancellationToken, WorkerConfig, WorkerError, WorkerReport};
use tokio::task::JoinSet;

use crate::LocalError;

/// What runs which kind.
pub type Kinds = BTreeMap<Kind, RunnerConfig>;

/// What a local cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The data directory.
    pub data: PathBuf,
    /// How many workers, of one slot each.
    pub workers: NonZeroUsize,
    /// What runs which kind, besides the built-in kinds.
    pub kinds: Kinds,
    /// Go on even where a lock or a sync may not be one.
    pub allow_any_filesystem: bool,
    /// What the workers and the submitter show to be let in, where the data directory has tokens.
    pub token: TokenSource,
}

/// The runners that a worker's configuration file lists.
///
/// # Errors
/// Every fault of the file, with its place.
pub fn worker_kinds(path: &Path) -> Result<Kinds, FileFaults> {
    Ok(orch_worker::config::file::read(path)?.kinds.unwrap_or_default())
}

/// A running local cluster.
pub struct Cluster {
    orchestrator: Running,
    credentials: Credentials,
    workers: JoinSet<Result<WorkerReport, WorkerError>>,
    drain: CancellationToken,
    kill: CancellationToken,
}

impl Cluster {
    /// Starts the orchestrator on a free port of the loopback interface, then the workers.
    ///
    /// # Errors
    /// [`LocalError::Start`] if the data directory is in use, its ledger is refused, or no port is free.
    pub async fn start(options: &ClusterOptions) -> Result<Self, LocalError> {
        let credentials = Credentials::new(options.token.clone()).map_err(LocalError::start)?;
        let mut config = OrchestratorConfig::new(options.data.clone());
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.allow_any_filesystem = options.allow_any_filesystem;
        let orchestrator = serve::start(config).await.map_err(LocalError::start)?;
        let url = format!("http://{}", orchestrator.local_addr());
        let server: Server = url.parse().map_err(LocalError::start)?;
        let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
        let mut workers = JoinSet::new();
        for number in 1..=options.workers.get() {
            let name = WorkerId::new(&format!("local-{number}")).map_err(LocalError::start)?;
            let mut config = WorkerConfig::new(vec![server.clone()], name, NonZeroUsize::MIN);
            config.kinds.extend(options.kinds.clone());
            config.token = options.token.clone();
            workers.spawn(orch_worker::run(config, drain.clone(), kill.clone()));
        }
        Ok(Self { orchestrator, credentials, workers, drain, kill })
    }

    /// A client of the orchestrator, over the wire like anybody's.
    ///
    /// # Errors
    /// [`LocalError::Start`] if the connection fails.
    pub async fn client(&self) -> Result<AdminServiceClient<Identified>, LocalError> {
        let server: Server = format!("http://{}", self.orchestrator.local_addr()).parse().map_err(LocalError::start)?;
        let dial = Dial::new(server, ClientTls::default()).map_err(LocalError::start)?;
        let channel = dial.connect().await.map_err(LocalError::start)?;
        let client = AdminServiceClient::with_interceptor(channel, self.credentials.clone());
        Ok(client.max_decoding_message_size(64 << 20))
    }

    /// Has the workers finish or give back what they run, and the orchestrator close its ledger.
    ///
    /// `at_once`: nothing is finished, everything is given back.
    ///
    /// # Errors
    /// [`LocalError::Stop`] if the ledger cannot be closed cleanly; nothing acknowledged is lost by that.
    pub async fn stop(mut self, at_once: bool) -> Result<(), LocalError> {
        self.drain.cancel();
        if at_once {
            self.kill.cancel();
        }
        while let Some(ended) = self.workers.join_next().await {
            match ended {
                Ok(Ok(report)) => tracing::debug!(%report, "a worker ended"),
                Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "a worker ended early"),
                Err(error) => tracing::warn!(%error, "a worker panicked"),
            }
        }
        self.orchestrator.stop().await.map_err(LocalError::stop)
    }
}
