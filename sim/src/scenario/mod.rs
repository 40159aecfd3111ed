//! Runs that chance alone would seldom draw: a fault at each step of each call, results that are sent again and again,
//! an acknowledged tail that is gone.

pub mod cut;
pub mod resend;
pub mod steps;
