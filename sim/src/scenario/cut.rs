//! The end of an acknowledged ledger is gone: a start must refuse, because HEAD names what is missing.
//!
//! A power loss cannot do this to a disk that keeps its promises; a copied directory, a restored snapshot or a disk
//! that lies about its syncs can.

use std::sync::Arc;

use orch_core::state::Submission;
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::{OpenOptions, layout};
use orch_orchestrator::engine::commands::admin::Submit;
use orch_orchestrator::engine::{Engine, envelope};

use crate::checker::{Acknowledged, Rule, Violation, check_in};
use crate::world::jobs;

/// The most batches that a run may keep and still lose one.
pub const MOST: u64 = 7;

fn options() -> OpenOptions {
    let new_ledger_id = Some("00000000-0000-4000-8000-000000000001".to_owned());
    OpenOptions { new_ledger_id, claim_bytes: 0, ..OpenOptions::new(Timestamp(0), "simulation", "simulated", 1) }
}

fn open(dir: &MemoryDir) -> Result<Engine, orch_ledger::OpenError> {
    let opened = Engine::open_in(Arc::new(dir.clone()), options(), Span::seconds(60), Now::default())?;
    Ok(opened.engine)
}

/// Acknowledges some submits, then cuts the ledger back to `keep` of its batches, and starts it again.
///
/// # Errors
/// In words, if the run itself cannot be made.
pub fn run(keep: usize) -> Result<Vec<Violation>, String> {
    let dir = MemoryDir::new();
    let mut engine = open(&dir).map_err(|error| error.to_string())?;
    let mut told = Vec::new();
    let mut submissions = vec![jobs::setup(&None)?];
    for n in 0..6_u64 {
        submissions.push(jobs::one(n, 2)?);
    }
    for submission in submissions {
        told.extend(submit(&mut engine, submission)?);
    }
    engine.close().map_err(|error| error.to_string())?;
    let left = dir.kill();
    cut(&left, keep)?;
    let Ok(engine) = open(&left) else { return Ok(Vec::new()) };
    // It was opened: then nothing that was acknowledged may be missing.
    let live = engine.state().export();
    let mut violations = check_in(Arc::new(left), &told, Some(&live)).violations;
    if violations.is_empty() {
        violations.push(Violation::new(Rule::Chain, "a ledger was cut and nobody noticed"));
    }
    Ok(violations)
}

fn submit(engine: &mut Engine, submission: Submission) -> Result<Vec<Acknowledged>, String> {
    let (command, mut begun) = envelope(Submit(submission));
    engine.run_batch(vec![command], Now { wall: Timestamp(1), tick: Tick(1) }).map_err(|error| error.to_string())?;
    let answer = begun.try_answer().ok_or("a submit is not answered")?.map_err(|error| error.to_string())?;
    let submitted = answer.answer.map_err(|error| error.to_string())?;
    let jobs = submitted.jobs.into_iter();
    let told = jobs.map(|(job, _)| Acknowledged::Submitted { job, key: None, payload: None });
    Ok(told.chain([Acknowledged::Receipt(answer.receipt)]).collect())
}

/// Keeps the first batches of the last segment.
fn cut(dir: &MemoryDir, keep: usize) -> Result<(), String> {
    let files = dir.files();
    let mut segments = files.iter().filter(|(name, _)| name.starts_with(layout::LEDGER) && name.ends_with(".jsonl"));
    let (name, bytes) = segments.next_back().ok_or("there is no segment")?;
    let mut end = 0;
    let mut batches = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        let is_last = String::from_utf8_lossy(line).contains(",\"chain\":\"");
        batches += usize::from(is_last);
        if is_last && batches == keep {
            break;
        }
    }
    dir.put(name, &bytes[..end]);
    Ok(())
}
