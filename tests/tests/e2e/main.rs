//! The system from outside: what a user, an operator and a bad day do to it.

mod crash;
mod duplicates;
mod jobs;
mod support;
