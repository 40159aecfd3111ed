//! The door: connections are accepted, counted, and served each in a task of its own.
//!
//! Nothing that a peer does may stop the door: handshakes happen behind it, and when there is no file descriptor left
//! it waits a little, longer each time, after turning away whoever stands there with a descriptor kept for that.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::connection::{Server, serve};
use super::connections::Connections;

/// The waits after an accept that failed for want of a resource.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Refusals and exhaustion are logged once in so long, with their number.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// At the door: accepts connections until the stop, then waits until all of them have ended.
pub async fn accept(listener: TcpListener, server: Arc<Server>, connections: Arc<Connections>) {
    let tasks = TaskTracker::new();
    let mut reserve = Reserve::new();
    let (mut refused, mut exhausted) = (Quiet::default(), Quiet::default());
    let mut wait = FIRST_WAIT;
    loop {
        let accepted = tokio::select! {
            () = server.stopping().cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, address)) => {
                wait = FIRST_WAIT;
                match connections.admit(address.ip()) {
                    Ok(pass) => {
                        tasks.spawn(serve(tcp, address, pass, Arc::clone(&server), tasks.clone()));
                    }
                    Err(full) => {
                        if let Some(count) = refused.note() {
                            tracing::warn!(?full, %address, count, open = connections.open(), "too many connections: \
                                new ones are refused (max_connections, max_connections_per_address)");
                        }
                        turn_away(tcp, address);
                    }
                }
            }
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                connections.counts.no_descriptor.fetch_add(1, Ordering::Relaxed);
                if let Some(count) = exhausted.note() {
                    tracing::error!(%error, count, open = connections.open(), "connections cannot be accepted: raise the \
                        limit on open files (ulimit -n), or lower max_connections");
                }
                reserve.turn_one_away(&listener).await;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
    // The port is free for the next one before the last connections end.
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// A failure that says nothing of the next connection.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Closes with a reset: no state is kept for the peer here, and it learns at once that it has to come back.
fn turn_away(tcp: TcpStream, address: SocketAddr) {
    if let Err(error) = tcp.set_zero_linger() {
        tracing::debug!(%error, %address, "a connection is closed without a reset");
    }
}

/// A file descriptor kept free for the moment when there is none.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts one connection with the descriptor that was kept, closes it, and keeps the descriptor again.
    async fn turn_one_away(&mut self, listener: &TcpListener) {
        self.0 = None;
        // It stands at the door already, unless somebody else took the descriptor or the peer went away.
        if let Ok(Ok((tcp, address))) = tokio::time::timeout(FIRST_WAIT, listener.accept()).await {
            turn_away(tcp, address);
        }
        *self = Self::new();
    }
}

/// Says something at most once in [`SAY_EVERY`].
#[derive(Default)]
struct Quiet {
    said: Option<Instant>,
    count: u64,
}

impl Quiet {
    /// How often it happened since it was said last, if it is time to say it again.
    fn note(&mut self) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}
