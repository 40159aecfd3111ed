//! Which records are wanted.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use orch_core::record::Event;
use orch_ledger::Line;
use serde::Deserialize;

use crate::args::RecordFilterArgs;
use crate::exit::Failure;

/// Which records are wanted. With a queue it learns, record by record, which jobs are the queue's, and so has to see
/// the ledger from its start.
#[derive(Debug)]
pub struct Filter {
    job: Option<u64>,
    queue: Option<String>,
    types: Vec<String>,
    from: u64,
    jobs_of_queue: HashSet<u64>,
}

/// What of an event says whose it is.
#[derive(Default, Deserialize)]
struct Subject<'a> {
    #[serde(default)]
    job: Option<u64>,
    #[serde(default)]
    array: Option<u64>,
    #[serde(default, borrow)]
    queue: Option<Cow<'a, str>>,
    #[serde(default)]
    origin: Option<Origin>,
    #[serde(default, borrow)]
    spec: Option<Spec<'a>>,
}

#[derive(Deserialize)]
struct Origin {
    #[serde(default)]
    lease: Option<LeaseOrigin>,
}

#[derive(Deserialize)]
struct LeaseOrigin {
    job: u64,
}

#[derive(Deserialize)]
struct Spec<'a> {
    #[serde(default, borrow)]
    queue: Option<Cow<'a, str>>,
}

impl Filter {
    /// The filter that the arguments mean.
    ///
    /// # Errors
    /// A type that no event has.
    pub fn new(args: &RecordFilterArgs) -> Result<Self, Failure> {
        let RecordFilterArgs { job, queue, types, from, until: _ } = args;
        for name in types {
            check_type(name)?;
        }
        Ok(Self {
            job: *job,
            queue: queue.as_ref().map(|queue| queue.to_string()),
            types: types.clone(),
            from: *from,
            jobs_of_queue: HashSet::new(),
        })
    }

    /// The first seq that it has to see.
    pub fn start(&self) -> u64 {
        if self.queue.is_some() { 1 } else { self.from }
    }

    /// Whether this record is wanted. Records must come in order.
    pub fn wants(&mut self, line: &Line<'_>) -> bool {
        if self.job.is_none() && self.queue.is_none() {
            return line.seq.0 >= self.from && self.has_type(line);
        }
        let subject = subject(line);
        let job = match line.event_name() {
            "job_submitted" | "task_made" => Some(line.seq.0),
            "array_ended" => subject.array,
            _ => subject.job.or(subject.origin.and_then(|origin| origin.lease).map(|lease| lease.job)),
        };
        let queue = subject.queue.or(subject.spec.and_then(|spec| spec.queue));
        let of_queue = match (&self.queue, &queue, job) {
            (None, _, _) => true,
            (Some(wanted), Some(queue), _) => wanted == queue,
            (Some(_), None, Some(job)) => self.jobs_of_queue.contains(&job),
            (Some(_), None, None) => false,
        };
        // A task is of its array's queue.
        let of_queue = of_queue || subject.array.is_some_and(|array| self.jobs_of_queue.contains(&array));
        if let (true, Some(job)) = (of_queue && (queue.is_some() || subject.array.is_some()), job) {
            self.jobs_of_queue.insert(job);
        }
        let of_job = self.job.is_none() || self.job == job;
        of_queue && of_job && line.seq.0 >= self.from && self.has_type(line)
    }

    fn has_type(&self, line: &Line<'_>) -> bool {
        self.types.is_empty() || self.types.iter().any(|name| name == line.event_name())
    }
}

/// Events without any of the fields speak of no job and no queue.
fn subject<'a>(line: &Line<'a>) -> Subject<'a> {
    let event: Option<HashMap<Cow<'a, str>, Subject<'a>>> = serde_json::from_str(line.event_json).ok();
    event.and_then(|event| event.into_values().next()).unwrap_or_default()
}

/// serde knows every event's name, and says so when it meets another one.
fn check_type(name: &str) -> Result<(), Failure> {
    let probe = serde_json::json!({ name: null }).to_string();
    let error = match serde_json::from_str::<Event>(&probe) {
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    match error.strip_prefix("unknown variant ") {
        None => Ok(()),
        Some(rest) => {
            let known = rest.split_once("expected one of ").map_or(rest, |(_, known)| known);
            let known = known.split(" at line ").next().unwrap_or(known).replace('`', "");
            Err(Failure::usage(format!("no event has the type {name:?}")).fix(format!("use one of {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as a ledger has them; their checksums are made here.
    fn line(seq: u64, event: &str) -> String {
        let body =
            format!("{{\"seq\":{seq},\"batch\":1,\"left\":9,\"at\":\"2026-11-21T08:00:00.000Z\",\"event\":{event}");
        format!("{body},\"crc\":\"{:08x}\"}}", crc32c(body.as_bytes()))
    }

    /// CRC-32C bit by bit: slow and plain.
    fn crc32c(bytes: &[u8]) -> u32 {
        let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }

    fn wanted(args: &RecordFilterArgs) -> Vec<u64> {
        let lines = [
            line(1, r#"{"queue_defined":{"queue":"a"}}"#),
            line(2, r#"{"job_submitted":{"spec":{"queue":"a","payload":1},"kind":"k"}}"#),
            line(3, r#"{"job_submitted":{"spec":{"queue":"b","payload":1},"kind":"k"}}"#),
            line(4, r#"{"lease_granted":{"job":2,"attempt":1,"worker":"w"}}"#),
            line(5, r#"{"batch_judged":{"origin":{"lease":{"job":2,"lease":4}},"number":1,"accepted":0}}"#),
            line(6, r#"{"batch_judged":{"origin":{"legacy":{"import":9}},"number":1,"accepted":0}}"#),
            line(7, r#"{"queue_paused":{"queue":"b","reason":"x"}}"#),
            line(8, r#"{"task_made":{"array":2,"index":1}}"#),
            line(9, r#"{"lease_granted":{"job":8,"attempt":1,"worker":"w"}}"#),
            line(10, r#"{"array_ended":{"array":2,"done":1}}"#),
        ];
        let mut filter = Filter::new(args).unwrap();
        let lines = lines.iter().map(|text| orch_ledger::line::decode(text.as_bytes()).unwrap());
        lines.filter(|line| filter.wants(line)).map(|line| line.seq.0).collect()
    }

    #[test]
    fn records_are_found_by_job_queue_type_and_seq() {
        let all = RecordFilterArgs { from: 1, ..RecordFilterArgs::default() };
        assert_eq!(wanted(&all), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(wanted(&RecordFilterArgs { job: Some(2), from: 1, ..RecordFilterArgs::default() }), [2, 4, 5, 10]);
        assert_eq!(wanted(&RecordFilterArgs { job: Some(8), from: 1, ..RecordFilterArgs::default() }), [8, 9]);
        let queue = Some("a".parse().unwrap());
        assert_eq!(
            wanted(&RecordFilterArgs { queue: queue.clone(), from: 1, ..RecordFilterArgs::default() }),
            [1, 2, 4, 5, 8, 9, 10]
        );
        assert_eq!(wanted(&RecordFilterArgs { queue, from: 4, ..RecordFilterArgs::default() }), [4, 5, 8, 9, 10]);
        let types = vec!["queue_paused".to_owned(), "lease_granted".to_owned()];
        assert_eq!(wanted(&RecordFilterArgs { types, from: 1, ..RecordFilterArgs::default() }), [4, 7, 9]);
    }

    #[test]
    fn an_unknown_type_is_told_with_those_that_exist() {
        let text = check_type("job_done").unwrap_err().to_string();
        assert!(text.contains("\"job_done\"") && text.contains("job_completed"), "{text}");
        assert!(check_type("candidate_accepted").is_ok());
        assert!(check_type("segment_sealed").is_ok());
    }
}
