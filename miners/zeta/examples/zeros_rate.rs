//! Zeros per second on one core: `cargo run --release -p orch-zeta --example zeros_rate -- [GRAM_INDEX] [COUNT]`.
//!
//! Without arguments, 100,000 zeros from Gram index 1,650,000, near t = 10^6.

use std::time::Instant;

use orch_zeta::{GramRange, Method, gram_point, zeros};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let first: i64 = args.next().map_or(Ok(1_650_000), |arg| arg.parse())?;
    let count: i64 = args.next().map_or(Ok(100_000), |arg| arg.parse())?;
    let range = GramRange::new(first, first + count)?;
    let start = Instant::now();
    let mut riemann_siegel = 0_u64;
    let mut steps = 0_u64;
    // FNV-1a over the bits of the zeros: the same on every machine and for every build.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let summary = zeros(range, &|| true, &mut |zero| {
        riemann_siegel += u64::from(zero.method == Method::RiemannSiegel);
        steps += u64::from(zero.iters);
        for word in [zero.n, zero.t.to_bits(), zero.z.to_bits()] {
            digest = (digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} zeros, t from {:.3} to {:.3}, {riemann_siegel} by riemann-siegel",
        summary.zeros,
        gram_point(first),
        gram_point(first + count)
    );
    println!("counted from gram index {} to {}", summary.first_gram, summary.last_gram);
    println!(
        "largest |Z(t)| {:.3e}; {:.2} steps a zero",
        summary.largest_root_val,
        steps as f64 / summary.zeros as f64
    );
    println!("digest {digest:016x}");
    println!("{seconds:.3} s, {:.0} zeros/s", summary.zeros as f64 / seconds);
    Ok(())
}
