//! The system from outside: what a user, an operator and a bad day do to it.

mod access;
mod arrays;
mod backup;
mod bad_input;
mod crash;
mod duplicates;
mod examples;
mod full_disk;
mod gangs;
mod import;
mod jobs;
mod local_run;
mod polite_downloader;
mod resources;
mod retries;
mod rolling_upgrade;
mod support;
mod tls;
mod tracing;
mod views;
