//! Zeros of the Riemann zeta function on the critical line, located and counted with certainty.
