//! A fault at each step of each call, and nothing else: whatever is lost on the way, nothing acknowledged is, nothing
//! counts twice, and no lease leaks.

use crate::checker::describe;
use crate::cores;
use crate::seeds;
use crate::world::{self, CallKind, Options, Step, Target};

/// What a series of runs came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Runs in which the fault struck.
    pub struck: u64,
    /// Runs in all.
    pub runs: u64,
}

/// Has each fault strike `times` times, and tells after each kind of call.
///
/// # Errors
/// What does not hold, and in which run.
pub fn run(times: u64, tell: &mut dyn FnMut(&str)) -> Result<Report, String> {
    let mut report = Report::default();
    for kind in CallKind::ALL {
        for done in cores::for_each(&Step::ALL, |step| one(kind, *step, times)) {
            let Report { struck, runs } = done?;
            report.struck += struck;
            report.runs += runs;
        }
        tell(&format!("{kind:?}: {} faults struck in {} runs", report.struck, report.runs));
    }
    Ok(report)
}

fn one(kind: CallKind, step: Step, times: u64) -> Result<Report, String> {
    let (mut report, mut seed) = (Report::default(), 0);
    while report.struck < times {
        seed += 1;
        if seed > times * 60 {
            return Err(format!("a {kind:?} was never made in {seed} runs"));
        }
        let nth = usize::try_from(seed % 4).unwrap_or(0);
        let target = Some(Target { kind, nth, step });
        let options = Options { faults: Vec::new(), target, ..Options::new(seed) };
        let outcome = world::run(&options)?;
        report.runs += 1;
        report.struck += u64::from(outcome.hit);
        if !outcome.violations.is_empty() {
            let violations = describe(&outcome.violations);
            return Err(format!("{target:?}, seed {seed}:\n{violations}replay it: {}", seeds::command(&options)));
        }
    }
    Ok(report)
}
