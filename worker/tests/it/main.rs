//! The worker against a small orchestrator in the same process, over the real wire, with real child processes.

mod delivery;
mod examples;
mod hostile;
mod life;
mod program;
mod runners;
mod server;
mod service;
mod support;
