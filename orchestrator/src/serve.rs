//! Starting and stopping: the order in which the parts come up and go down.
//!
//! Up: reserve the address, take the data directory into use (lock, recovery, replay), start the engine's thread and
//! the index, and only then listen. Down: stop listening, end the engine after the batch that it is in, give the
//! connections a moment to carry the last answers, close the index.

mod accept;
mod call;
mod certificates;
mod connection;
mod connections;
mod door;
mod health;

pub use connections::{Caps, Connections, Counts as ConnectionCounts};
pub(crate) use door::Place;
pub use health::Standing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::from_fn_with_state;
use orch_core::access::Secret;
use orch_core::id::Seq;
use orch_core::time::Span;
use orch_ledger::disk::real::RealDir;
use orch_ledger::{OpenError, OpenOptions, RecoveryReport};
use orch_proto::DESCRIPTORS;
use orch_proto::externalscaler::external_scaler_server::ExternalScalerServer;
use orch_proto::v1::admin_service_server::AdminServiceServer;
use orch_proto::v1::worker_service_server::WorkerServiceServer;
use orch_telemetry::{Exporter, Origin};
use orch_transport::{Certificates, ServerTlsError};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::access::{self, Access, Auditor, Enforcement, KeyError, Keys, Unlisted, authorize};
use crate::config::{Exposed, MAX_MESSAGE_BYTES, OrchestratorConfig, exposure};
use crate::engine::commands::admin::WaitJobs;
use crate::engine::rollback;
use crate::engine::{self, Clock, Engine, EngineThread, Fatal, Handle, OpenedEngine};
use crate::grpc::admin::{About, Admin};
use crate::grpc::scaler::Scaler;
use crate::grpc::worker::Workers;
use crate::http::{self, Sources};
use crate::index::{Follower, FollowerOptions, LedgerSource, directory};
use crate::logs::JobLogs;
use crate::trace::{Fold, Tracer};

use self::connection::Server;
use self::door::Door;

/// Why an orchestrator does not start. Each message names the fix.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Others reach the address, and it is not secured.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// The address cannot be listened on.
    #[error(
        "failed to listen on {listen}: is another process there? Stop it, or choose another address with --listen \
         (port 0 takes a free one)"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory is in use, or its ledger is refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory went away while it was opened.
    #[error("failed to find the lock that was just taken in {}", dir.display())]
    Home {
        /// The data directory.
        dir: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was found of a rollback cannot be read, or not be removed.
    #[error("failed to take up {}, which says that an older copy of the ledger is in use", file.display())]
    Rollback {
        /// The file.
        file: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory's secret cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// What is served and the table of what it needs differ: a bug of this build.
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
    /// Everybody would be shut out.
    #[error(
        "enforcement is strict, and there is neither a bootstrap token nor any other: nobody could get in. Give one with \
         --bootstrap-token-file FILE or in ORCH_BOOTSTRAP_TOKEN, make tokens with it, and start without it then"
    )]
    NoToken,
    /// The system gives no thread.
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
    /// The description of the services is broken: a bug of this build.
    #[error("failed to describe the services for reflection")]
    Reflection(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an orchestrator did not stop cleanly. What was acknowledged is on disk all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The ledger could not be closed.
    #[error("failed to close the ledger")]
    Close(#[source] Fatal),
    /// A part of the server panicked.
    #[error("the server panicked")]
    Panic(#[source] tokio::task::JoinError),
}

/// What was found and started, for the line that people read.
#[derive(Clone, Debug)]
pub struct Started {
    /// The ledger's id.
    pub ledger: String,
    /// The number of this boot.
    pub epoch: u64,
    /// The last record.
    pub seq: u64,
    /// Jobs that may still come to something.
    pub open_jobs: u64,
    /// How long recovery and replay took.
    pub replayed_in: Span,
}

/// A running orchestrator. Dropping it stops listening but leaves the engine to end by itself: call
/// [`Running::stop`].
pub struct Running {
    local_addr: SocketAddr,
    started: Started,
    engine: EngineThread,
    index: Follower,
    tracer: Option<Tracer>,
    server: JoinHandle<()>,
    certificates: Option<Arc<Certificates>>,
    connections: Arc<Connections>,
    auditor: Auditor,
    /// Ends long streams and the acceptance of connections.
    stopping: CancellationToken,
}

/// What else is served, besides the services of our own descriptors.
const HEALTH: &[u8] = tonic_health::pb::FILE_DESCRIPTOR_SET;
const REFLECTION: &[u8] = tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET;

/// A trigger's metadata are a few words.
const MAX_TRIGGER_BYTES: usize = 64 << 10;

/// What connections get to carry the last answers.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The index writes what changed at most so often while nobody waits for it.
const INDEX_PACE: Duration = Duration::from_millis(500);

/// Starts an orchestrator: everything is recovered, and it listens, when this returns.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: OrchestratorConfig) -> Result<Running, StartError> {
    access::check_table(&[DESCRIPTORS, HEALTH, REFLECTION], &http::ROUTES)?;
    // Without TLS there is no need to open the ledger; whether it has tokens shows later.
    may_listen(&config, true)?;
    let certificates = config.tls.clone().map(Certificates::open).transpose()?.map(Arc::new);
    let socket = reserve(config.listen)?;
    let clock = Clock::default();
    let (mut opened, started) = open(&config, clock.clone()).await?;
    let keys = Arc::new(Keys::open(&config.data)?);
    opened.engine.keep_keys(Arc::clone(&keys));
    let tokens = opened.engine.tokens();
    let bootstrap = config.bootstrap_token.as_ref().map(Secret::digest);
    let accounts = config.service_accounts.accounts();
    let somebody = bootstrap.is_some() || accounts.is_some() || !opened.engine.state().tokens().is_empty();
    if config.enforcement == Enforcement::Strict && !somebody {
        return Err(StartError::NoToken);
    }
    let authenticates = match config.enforcement {
        Enforcement::Strict => true,
        Enforcement::Auto => somebody,
        Enforcement::Warn | Enforcement::Off => false,
    };
    may_listen(&config, authenticates)?;
    let data = config.data.clone();
    let seen = Seq(started.seq);
    let traced = config.telemetry.as_ref().map(|telemetry| {
        let fold = Fold::of(&started.ledger, telemetry.sampling, opened.engine.state());
        let origin = Origin { service: "orchestrator", instance: started.ledger.clone(), version: VERSION };
        (fold, Exporter::start(telemetry.endpoint.clone(), origin))
    });
    let engine = engine::spawn(opened.engine, clock).map_err(StartError::Thread)?;
    let handle = engine.handle.clone();
    let options = FollowerOptions { dir: Some(directory(&data, &started.ledger)), pace: INDEX_PACE };
    let source = Box::new(LedgerSource::new(&data));
    let index = Follower::start(options, source, handle.durable()).map_err(StartError::Thread)?;
    let tracer = traced.map(|(fold, exporter)| Tracer::start(&data, fold, seen, handle.durable(), exporter));
    let door = Door::new().map_err(StartError::Thread)?;
    let listener = {
        // Whoever accepts is woken by the threads that watch the socket.
        let _door = door.handle().enter();
        listen(socket, config.listen)?
    };
    let local_addr = listener.local_addr().map_err(|source| StartError::Listen { listen: config.listen, source })?;
    let about = About {
        ledger: started.ledger.clone(),
        epoch: started.epoch,
        data: data.clone(),
        config: OrchestratorConfig { listen: local_addr, ..config },
        host: host(),
        started: Instant::now(),
    };
    let stopping = CancellationToken::new();
    let logs = JobLogs::new(&data);
    let auditor = Auditor::start(handle.clone(), stopping.clone());
    let certificate = about.config.scaler_certificate.as_deref();
    let access = Access::new(tokens, bootstrap, accounts, certificate, about.config.enforcement, auditor.clone());
    let admin = Admin::new(handle.clone(), index.index(), logs.clone(), about.clone(), stopping.clone());
    let sampling = about.config.telemetry.as_ref().map(|telemetry| telemetry.sampling);
    let workers = Workers::new(handle.clone(), logs, started.ledger.clone(), about.config.stale_after, keys);
    let workers = workers.traced(sampling);
    let scaler = Scaler::new(handle.clone(), stopping.clone());
    let standing = health::watch(handle.clone(), stopping.clone()).await;
    let connections = Connections::new(caps(&about.config));
    let sources = Sources {
        handle,
        admin: admin.clone(),
        index: index.index(),
        data,
        standing,
        connections: Arc::clone(&connections),
        auditor: auditor.clone(),
        exporter: tracer.as_ref().map(|tracer| tracer.exporter().clone()),
    };
    let routes = routes(access, admin, workers, scaler, sources).await?;
    if let Some(certificates) = &certificates {
        certificates::watch(Arc::clone(certificates), stopping.clone());
    }
    let shared = Arc::new(Server::new(routes, &about.config, certificates.clone(), door, stopping.clone()));
    let at_the_door = shared.door().handle().clone();
    let server = at_the_door.spawn(accept::accept(listener, shared, Arc::clone(&connections)));
    tracing::info!(%local_addr, ledger = %started.ledger, epoch = started.epoch, seq = started.seq, "the orchestrator listens");
    Ok(Running { local_addr, started, engine, index, tracer, server, auditor, certificates, connections, stopping })
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What was found and started.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// To speak to the engine from within this process.
    pub fn handle(&self) -> Handle {
        self.engine.handle.clone()
    }

    /// Tells of callers.
    pub fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// Waits until the server ends by itself, which it does only by a failure.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn failed(&mut self) -> Result<(), StopError> {
        (&mut self.server).await.map_err(StopError::Panic)
    }

    /// Takes up the certificates' files as they are now. Whether they are good; the log says more.
    pub fn reload_certificates(&self) -> bool {
        match &self.certificates {
            Some(certificates) => certificates::reload(certificates),
            None => {
                tracing::info!("there are no certificates to load anew: TLS is not spoken");
                true
            }
        }
    }

    /// Who is connected.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Waits until nothing is open any more: queued, delayed, blocked or leased.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let handle = self.engine.handle.clone();
        async move {
            loop {
                let wait = WaitJobs { jobs: Vec::new(), queue: None, wait: Span::seconds(60), until: None };
                match handle.call_and_wait(wait).await {
                    Ok(replied) if replied.answer == 0 => return,
                    Ok(_) => {}
                    // Overloaded or stopping: neither says anything of the jobs.
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        }
    }

    /// Stops listening, ends the engine after the batch that it is in, levels HEAD, closes ledger and index.
    ///
    /// # Errors
    /// [`StopError`]; nothing that was acknowledged is lost by it.
    pub async fn stop(self) -> Result<(), StopError> {
        let Self {
            local_addr: _,
            started: _,
            engine,
            index,
            tracer,
            mut server,
            auditor,
            certificates: _,
            connections: _,
            stopping,
        } = self;
        stopping.cancel();
        auditor.flush().await;
        let closed = tokio::task::spawn_blocking(move || engine.stop()).await.map_err(StopError::Panic)?;
        // Workers keep their streams open: they are cut, and come back to the next orchestrator.
        if tokio::time::timeout(LAST_ANSWERS, &mut server).await.is_err() {
            server.abort();
        }
        if let Some(tracer) = tracer {
            tracer.stop().await;
        }
        let stopped = tokio::task::spawn_blocking(move || index.stop()).await;
        closed.map_err(StopError::Close)?;
        stopped.map_err(StopError::Panic)
    }
}

/// Takes the address without listening yet: a port in use shows before a long replay, and callers are refused rather
/// than left waiting during it.
fn reserve(listen: SocketAddr) -> Result<TcpSocket, StartError> {
    let bind = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that the last process left a moment ago can be had again.
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        Ok(socket)
    };
    bind().map_err(|source| StartError::Listen { listen, source })
}

fn listen(socket: TcpSocket, listen: SocketAddr) -> Result<TcpListener, StartError> {
    socket.listen(1024).map_err(|source| StartError::Listen { listen, source })
}

async fn open(config: &OrchestratorConfig, clock: Clock) -> Result<(OpenedEngine, Started), StartError> {
    let now = clock.now();
    let mut options = OpenOptions::new(now.wall, env!("CARGO_PKG_VERSION"), &host(), std::process::id());
    options.segment_bytes = config.segment_bytes;
    options.allow_any_filesystem = config.allow_any_filesystem;
    let (data, stale_after, accepted) = (config.data.clone(), config.stale_after, Seq(config.accept_rollback));
    tracing::info!(data = %data.display(), "opening the ledger");
    let opening = tokio::task::spawn_blocking(move || {
        let mut opened = Engine::open(&data, options, stale_after, now)?;
        opened.engine.keep_home(&data).map_err(|source| StartError::Home { dir: data.clone(), source })?;
        let kept = opened.engine.keep_rollback(Arc::new(RealDir::new(&data)), accepted);
        kept.map_err(|source| StartError::Rollback { file: data.join(rollback::FILE), source })?;
        let replayed_in = clock.now().tick.since(now.tick);
        let state = opened.engine.state();
        let started = Started {
            ledger: opened.engine.ledger().id().to_owned(),
            epoch: state.epoch(),
            seq: state.last_seq().0,
            open_jobs: state.counts().jobs.open(),
            replayed_in,
        };
        Ok::<_, StartError>((opened, started))
    });
    let opened = opening.await.map_err(|error| StartError::Thread(io::Error::other(error)))??;
    report(&opened.0.recovered);
    tracing::info!(records = opened.1.seq, took = %opened.1.replayed_in, "the ledger is replayed");
    Ok(opened)
}

/// Says what recovery did, where it did something.
fn report(recovered: &RecoveryReport) {
    let RecoveryReport { created, quarantined, newline_added, head_slot_damaged, unfinished_segment_removed } =
        recovered;
    if *created {
        tracing::info!("a new ledger was made");
    }
    if let Some(quarantined) = quarantined {
        tracing::warn!(?quarantined, "a write that a crash tore, and that nobody was told of, was put into quarantine");
    }
    if *newline_added {
        tracing::warn!("the last line of the ledger lacked its newline, and got it");
    }
    if *head_slot_damaged {
        tracing::warn!("one slot of HEAD could not be read; the other one was used");
    }
    if *unfinished_segment_removed {
        tracing::info!("a segment that was never finished was removed");
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What is served on the one port: the services, health, reflection, probes and metrics.
async fn routes(
    access: Access,
    admin: Admin,
    workers: Workers,
    scaler: Scaler,
    sources: Sources,
) -> Result<Router, StartError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(HEALTH)
        .build_v1()
        .map_err(|error| StartError::Reflection(error.into()))?;
    let health = health::service(sources.standing.clone()).await;
    let grpc = Routes::new(reflection)
        .add_service(health)
        .add_service(AdminServiceServer::new(admin).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(WorkerServiceServer::new(workers).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ExternalScalerServer::new(scaler).max_decoding_message_size(MAX_TRIGGER_BYTES));
    let routes = http::routes(grpc.into_axum_router(), sources);
    Ok(routes.layer(from_fn_with_state(access, authorize)))
}

/// Refuses an address that others reach and that is not secured, unless the operator insists; then it is said aloud.
/// `tokens`: whether callers must show one.
fn may_listen(config: &OrchestratorConfig, tokens: bool) -> Result<(), StartError> {
    match exposure(config.listen, config.tls.is_some(), tokens || config.demands_certificates()) {
        Ok(()) => Ok(()),
        Err(exposed) if config.insecure => {
            tracing::warn!(
                "INSECURE: {exposed}. It was accepted with --insecure: whoever reaches this address can do \
                everything, and read everything on its way"
            );
            Ok(())
        }
        Err(exposed) => Err(exposed.into()),
    }
}

/// File descriptors that are kept for the ledger, the index and the logs, whatever stands at the door.
const KEPT_FILES: u64 = 256;

/// The caps of the configuration, within what the system allows this process.
fn caps(config: &OrchestratorConfig) -> Caps {
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let (all, per_address) = (size(config.max_connections), size(config.max_connections_per_address));
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = allowed.map_or(usize::MAX, |files| {
        // Of few files, half are kept.
        usize::try_from(files - KEPT_FILES.min(files / 2)).unwrap_or(usize::MAX)
    });
    if room < all {
        tracing::warn!(
            max_connections = all,
            room,
            "fewer connections than configured: raise the limit on open files \
            (ulimit -n)"
        );
    }
    Caps { all: all.min(room), per_address }
}
