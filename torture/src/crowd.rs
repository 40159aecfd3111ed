//! Clients that are many: on threads of their own, of the lowest priority.
//!
//! They share the machine with the orchestrator, which in life they would not. What is measured beside them is to be what
//! they cost the orchestrator, not what they cost the machine by being there.

use std::future::Future;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::TortureError;

/// The priority that gives way to everybody's.
const LOWEST: i32 = 19;

/// Threads for many clients.
#[derive(Debug)]
pub struct Crowd {
    /// Where to start something there.
    pub threads: Handle,
    /// There until the drop.
    runtime: Option<Runtime>,
}

impl Crowd {
    /// As many threads as there are processors.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn new() -> Result<Self, TortureError> {
        // Who may not even give way is measured among equals.
        let give_way = || {
            let _ = setpriority_process(None, LOWEST);
        };
        let runtime = Builder::new_multi_thread().thread_name("crowd").on_thread_start(give_way).enable_all().build();
        let runtime = runtime.map_err(TortureError::io("start a runtime"))?;
        Ok(Self { threads: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs something there, with everything that it starts.
    ///
    /// # Errors
    /// [`TortureError::Call`]: it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TortureError> {
        let broke = |_| TortureError::Call { doing: "run many clients".to_owned(), message: "one panicked".to_owned() };
        self.threads.spawn(what).await.map_err(broke)
    }
}

impl Drop for Crowd {
    /// Within another runtime nobody may wait for the end of one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
