//! Zeros of the Riemann zeta function on the critical line, located and counted with certainty.
#![allow(dead_code)]
mod dd;
mod euler;
mod hardy;
mod logs;
mod range;
mod remainder;
mod siegel;
mod theta;
mod trig;

pub use hardy::{RIEMANN_SIEGEL_FROM, z, z_error_bound};
pub use range::{GRAM_MAX, GRAM_MIN, GramRange, RangeError};
pub use theta::{gram_point, theta};

/// The lowest t at which the functions of this crate are defined.
pub const T_MIN: f64 = 8.0;

/// The highest t at which the functions of this crate are defined.
pub const T_MAX: f64 = 4.4e7;
