//! Builders for ledgers in memory.
// Each test binary uses a part of this.
#![allow(dead_code)]

#[path = "../../../sim/src/cores.rs"]
pub mod cores;
pub mod damage;
pub mod long;
pub mod power_loss;
pub mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::{ContractRef, JobId, LeaseId, QueueName, Seq};
use orch_core::record::{BatchJudged, CandidateAccepted, Event, Origin, Record};
use orch_core::time::Timestamp;
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::{Ledger, OpenError, OpenOptions, Opened, Position};

pub const ID: &str = "0190b5a4-3c00-7000-8000-000000000001";
pub const T0: Timestamp = Timestamp(1_795_248_000_000);

/// Small segments and little space ahead, so that a test sees it all.
pub fn options() -> OpenOptions {
    OpenOptions {
        new_ledger_id: Some(ID.to_owned()),
        segment_bytes: 4096,
        claim_bytes: 2048,
        zero_bytes: 512,
        ..OpenOptions::new(T0, "0.1.0", "host-1", 42)
    }
}

/// What a replay saw, as comparable text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub records: Vec<(Seq, Timestamp, String)>,
    pub chains: BTreeMap<u64, Digest>,
}

impl Seen {
    pub fn take(&mut self, record: &Record, position: &Position) -> Result<(), String> {
        assert_eq!(record.seq.0, self.records.len() as u64 + 1, "records come in order");
        self.records.push(line(record));
        if let Some(chain) = position.chain {
            assert_eq!(position.left, 0);
            self.chains.insert(position.batch, chain);
        }
        Ok(())
    }

    pub fn last(&self) -> Seq {
        Seq(self.records.len() as u64)
    }
}

pub fn line(record: &Record) -> (Seq, Timestamp, String) {
    (record.seq, record.at, serde_json::to_string(&record.event).unwrap())
}

pub fn open_with(dir: &MemoryDir, options: OpenOptions) -> Result<(Opened, Seen), OpenError> {
    let mut seen = Seen::default();
    let dir: Arc<dyn Dir> = Arc::new(dir.clone());
    let opened = Ledger::open_in(dir, options, &mut |record, position| seen.take(record, position))?;
    Ok((opened, seen))
}

pub fn open(dir: &MemoryDir) -> Result<(Opened, Seen), OpenError> {
    open_with(dir, options())
}

/// The refusal's text; panics if the ledger opens.
pub fn refusal(dir: &MemoryDir) -> String {
    match open(dir) {
        Ok((opened, _)) => panic!("opened: {:?}", opened.recovered),
        Err(error @ (OpenError::Refused { .. } | OpenError::Format { .. })) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
    }
}

pub fn paused(reason: &str) -> Event {
    Event::QueuePaused { queue: QueueName::new("q").unwrap(), reason: reason.to_owned() }
}

/// A batch as the engine writes it: a verdict and its accepted candidates.
pub fn judged(number: u64, candidates: u32) -> Vec<Event> {
    let origin = Origin::Lease { job: JobId::new(3), lease: LeaseId::new(4) };
    let verdict = BatchJudged {
        origin,
        number,
        accepted: candidates,
        duplicates: vec![Seq(2)],
        rejected: 0,
        rejections: Vec::new(),
    };
    let accepted = (0..candidates).map(|i| {
        let candidate = format!("{{\"n\":{i},\"t\":14.134725141734694,\"text\":\"a\\nb\\\"{{[\"}}");
        Event::CandidateAccepted(Box::new(CandidateAccepted {
            origin,
            contract: "zeta-zeros@1".parse::<ContractRef>().unwrap(),
            digest: Digest::of(candidate.as_bytes()),
            offsets: vec![i, u32::MAX],
            candidate: serde_json::value::RawValue::from_string(candidate).unwrap(),
        }))
    });
    std::iter::once(Event::BatchJudged(Box::new(verdict))).chain(accepted).collect()
}

/// Commits the events as one batch.
pub fn commit(ledger: &mut Ledger, events: &[Event]) -> orch_ledger::Commit {
    for event in events {
        ledger.stage(T0, event).unwrap();
    }
    ledger.commit().unwrap()
}
