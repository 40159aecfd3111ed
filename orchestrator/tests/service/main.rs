//! The orchestrator as its callers meet it: in process, on a port of the loopback interface, through real clients.

mod access;
mod admin;
mod bad_input;
mod command;
mod http;
mod identity;
mod ledger;
mod lifecycle;
mod limits;
mod repaired;
mod restart;
mod retries;
mod rollback;
mod routes;
mod scaler;
mod schedules;
mod service_accounts;
mod support;
mod tls;
mod tokens;
mod waits;
mod worker;
