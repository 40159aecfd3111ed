//! Zeros of the Riemann zeta function on the critical line, located and counted with certainty.
mod cell;
mod dd;
mod euler;
mod grid;
mod hardy;
mod kernel;
mod logs;
mod range;
mod remainder;
mod search;
mod siegel;
mod strip;
mod theta;
mod trig;
mod turing;

pub use hardy::{RIEMANN_SIEGEL_FROM, z, z_error_bound};
pub use range::{GRAM_MAX, GRAM_MIN, GramRange, RangeError};
pub use search::{Block, Method, Summary, Zero, ZerosError, zeros};
pub use theta::{gram_point, theta};

/// The lowest t at which the functions of this crate are defined.
pub const T_MIN: f64 = 8.0;

/// The highest t at which the functions of this crate are defined.
pub const T_MAX: f64 = 4.4e7;
