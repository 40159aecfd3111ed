//! The commands, a struct each: what workers ask ([`worker`]), what they deliver ([`results`]), what people do
//! ([`admin`]), older results ([`legacy`]), and who may and did ([`access`], [`bound`]).

pub mod access;
pub mod admin;
pub mod bound;
pub mod legacy;
pub mod results;
pub mod schedules;
pub mod trust;
pub mod worker;
