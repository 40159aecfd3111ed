//! Builds ledgers on disk, with real contracts and the real writer.
// Each test binary uses a part of this.
#![allow(dead_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::contract::{AcceptedSet, Contract, Screen};
use orch_core::digest::Digest;
use orch_core::id::{ImportId, JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::record::{BatchJudged, CandidateAccepted, Event, JobSubmitted, ListedRejection, Next, Origin};
use orch_core::time::Timestamp;
use orch_ledger::{Ledger, OpenOptions};
use serde_json::{Value, json};

pub const ID: &str = "0190b5a4-3c00-7000-8000-000000000001";
pub const T0: Timestamp = Timestamp(1_795_248_000_000);

/// A ledger on disk that is being written.
pub struct Book {
    pub ledger: Ledger,
    pub data: PathBuf,
    screens: HashMap<String, Screen>,
    accepted: AcceptedSet,
    batches: HashMap<String, u64>,
}

/// A contract whose candidates are told apart by `t`, one millionth apart.
pub fn zeros(name: &str, version: u32) -> Value {
    json!({
        "contract": name, "version": version,
        "schema": {"type": "object", "required": ["t"], "properties": {"t": {"type": ["number", "string"]}}},
        "identity": [{"field": "t", "quantum": 1e-6}]
    })
}

impl Book {
    /// A new ledger in `data`, with small segments, so that there are several.
    pub fn new(data: &Path) -> Self {
        Self::with_segments(data, 16 << 10)
    }

    pub fn with_segments(data: &Path, segment_bytes: u64) -> Self {
        let options = OpenOptions {
            new_ledger_id: Some(ID.to_owned()),
            segment_bytes,
            claim_bytes: 64 << 10,
            zero_bytes: 4096,
            allow_any_filesystem: true,
            ..OpenOptions::new(T0, "0.1.0", "host-1", 42)
        };
        let opened = Ledger::open(data, options, &mut |_, _| Ok(())).unwrap();
        Self {
            ledger: opened.ledger,
            data: data.to_owned(),
            screens: HashMap::new(),
            accepted: AcceptedSet::default(),
            batches: HashMap::new(),
        }
    }

    /// Stages a record.
    pub fn stage(&mut self, event: &Event) -> Seq {
        self.ledger.stage(T0, event).unwrap()
    }

    /// Writes a record as a batch of its own.
    pub fn write(&mut self, event: &Event) -> Seq {
        let seq = self.stage(event);
        self.commit();
        seq
    }

    /// Makes what is staged durable, and HEAD name it.
    pub fn commit(&mut self) {
        self.ledger.commit().unwrap();
        self.ledger.maybe_roll(T0).unwrap();
        self.ledger.level_head().unwrap();
    }

    /// Registers a contract.
    pub fn contract(&mut self, spec: Value) -> String {
        let contract = Arc::new(Contract::compile(serde_json::from_value(spec).unwrap()).unwrap());
        self.write(&Event::ContractRegistered(Box::new(contract.spec().clone())));
        let reference = contract.reference().to_string();
        self.screens.insert(reference.clone(), contract.bind(&Payload::default()).unwrap());
        reference
    }

    pub fn job(&mut self) -> JobId {
        let spec = JobSpec::new(QueueName::new("q").unwrap(), Payload::default());
        let kind = Kind::new("k").unwrap();
        let submitted = JobSubmitted { spec, kind, depends_on: Vec::new(), not_before: None };
        JobId(self.write(&Event::JobSubmitted(Box::new(submitted))))
    }

    pub fn lease(&mut self, job: JobId, attempt: u32, worker: &str) -> Origin {
        let worker = WorkerId::new(worker).unwrap();
        let seq = self.write(&Event::LeaseGranted {
            job,
            attempt,
            worker,
            contract: None,
            expected: None,
            variant: 0,
            session: None,
            members: Vec::new(),
        });
        Origin::Lease { job, lease: LeaseId(seq) }
    }

    /// A job, leased.
    pub fn leased(&mut self, worker: &str) -> Origin {
        let job = self.job();
        self.lease(job, 1, worker)
    }

    pub fn release(&mut self, origin: Origin) {
        if let Origin::Lease { job, lease } = origin {
            self.write(&Event::LeaseReleased { job, lease, reason: String::new() });
        }
    }

    pub fn expire(&mut self, origin: Origin) {
        if let Origin::Lease { job, lease } = origin {
            let cause = orch_core::record::ExpiryCause::Ttl;
            self.write(&Event::LeaseExpired { job, lease, cause, next: Next::Ready, worker: None });
        }
    }

    pub fn complete(&mut self, origin: Origin) {
        if let Origin::Lease { job, lease } = origin {
            self.write(&Event::JobCompleted { job, lease });
        }
    }

    pub fn import(&mut self, contract: &str) -> Origin {
        let event = Event::LegacyImportStarted {
            file: Digest::of(b"old"),
            name: "old.jsonl".into(),
            contract: contract.parse().unwrap(),
            payload: Payload::default(),
        };
        Origin::Legacy { import: ImportId(self.write(&event)) }
    }

    /// Judges candidates, given as JSON texts, as the orchestrator does, and stages the outcome.
    pub fn judge(&mut self, origin: Origin, contract: &str, candidates: &[String]) -> Vec<Seq> {
        let number = self.batches.entry(format!("{origin:?}")).or_default();
        *number += 1;
        let mut judged =
            BatchJudged { origin, number: *number, accepted: 0, duplicates: vec![], rejected: 0, rejections: vec![] };
        let first = self.ledger.next_seq().next();
        let mut fresh = Vec::new();
        for (index, text) in (0..).zip(candidates) {
            match self.screens[contract].judge(text.as_bytes()) {
                Err(rejection) => {
                    judged.rejected += 1;
                    judged.rejections.push(ListedRejection { index, rule: rejection.rule, message: rejection.message });
                }
                Ok(screened) => match self.accepted.find(&screened) {
                    Some(there) => judged.duplicates.push(there),
                    None => {
                        let seq = first.plus(fresh.len() as u64);
                        self.accepted.insert(screened.digest(), screened.offsets(), seq);
                        fresh.push(screened);
                    }
                },
            }
        }
        judged.accepted = fresh.len() as u32;
        self.stage(&Event::BatchJudged(Box::new(judged)));
        fresh
            .into_iter()
            .map(|screened| {
                let accepted = CandidateAccepted {
                    origin,
                    contract: screened.contract().clone(),
                    digest: screened.digest(),
                    offsets: screened.offsets().to_vec(),
                    candidate: screened.into_candidate(),
                };
                self.stage(&Event::CandidateAccepted(Box::new(accepted)))
            })
            .collect()
    }

    /// The same, durable.
    pub fn submit(&mut self, origin: Origin, contract: &str, candidates: &[String]) -> Vec<Seq> {
        let seqs = self.judge(origin, contract, candidates);
        self.commit();
        seqs
    }

    /// A job that delivers these values of `t`.
    pub fn deliver(&mut self, contract: &str, worker: &str, ts: &[f64]) -> Vec<Seq> {
        let origin = self.leased(worker);
        let texts: Vec<String> = ts.iter().map(|t| format!("{{\"t\":{t},\"method\":\"secant\"}}")).collect();
        let seqs = self.submit(origin, contract, &texts);
        self.complete(origin);
        seqs
    }

    /// Ends the writing.
    pub fn close(self) -> PathBuf {
        self.ledger.close().unwrap();
        self.data
    }
}

/// Every line of a ledger's files, in order.
pub fn raw_lines(data: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("ledger")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        lines.extend(bytes.split(|byte| *byte == b'\n').filter(|l| l.starts_with(b"{")).map(<[u8]>::to_vec));
    }
    lines
}
