//! The commands, a struct each: what workers ask ([`worker`]), what they deliver ([`results`]), what people do
//! ([`admin`]), and older results ([`legacy`]).

pub mod admin;
pub mod legacy;
pub mod results;
pub mod worker;
