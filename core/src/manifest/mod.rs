//! What `orchctl submit -f` reads: contracts, queues and jobs, as YAML documents (JSON is YAML too).
//!
//! A document is one of
//! - a contract: a map with `contract: NAME` (and no `queue`), the fields of a [`ContractSpec`];
//! - a queue: a map with `queue: NAME`, the fields of a [`QueueSpec`];
//! - limits: a map `limits:` from what each is about to how much it is ([`LimitSpec`]);
//! - a schedule: a map with `schedule: NAME`, the fields of a [`ScheduleSpec`];
//! - `job:`, one [`JobSpec`]; `jobs:`, a list of them, or a map with a `range` that is cut into jobs ([`RangeSpec`]).
//!
//! [`parse`] reports every fault of every document with its place. Where to look: `yaml` makes a tree that knows its
//! places, `shape` reads documents from it, `check` holds jobs against each other. [`job_from_json`] reads one line
//! of an import.

mod check;
mod limits;
mod line;
mod range;
mod shape;
mod yaml;

use std::fmt;

pub use check::{MAX_DEPENDENCIES, MAX_NAME_CHARS, retry_rule_faults, share_faults, want_faults};
pub use line::{LineError, MAX_LINE_BYTES, job_from_json};
pub use range::{Cut, MAX_RANGE_JOBS, RangeSpec};

use check::{Listed, dependency_faults, job_faults, rule_faults};
use range::RangeDocument;
use shape::{CONTRACT, JOB, QUEUE, RANGE, SCHEDULE};
use yaml::{Content, Node};

use crate::contract::{Contract, ContractSpec};
use crate::job::{JobSpec, Payload};
use crate::limit::LimitSpec;
use crate::queue::QueueSpec;
use crate::timetable::ScheduleSpec;

/// A manifest: what its documents say, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The documents, empty ones left out.
    pub documents: Vec<Document>,
}

/// One document of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A version of a contract, found to compile.
    Contract(Box<ContractSpec>),
    /// A queue.
    Queue(Box<QueueSpec>),
    /// Limits.
    Limits(Vec<LimitSpec>),
    /// A schedule.
    Schedule(Box<ScheduleSpec>),
    /// One job.
    Job(Box<JobSpec>),
    /// A list of jobs.
    Jobs(Vec<JobSpec>),
    /// A range cut into jobs.
    Range(Box<RangeSpec>),
}

/// A place in a text, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The document, from 1, empty ones not counted. None if the text is not even YAML.
    pub document: Option<usize>,
    /// Where it stands, where that is known.
    pub at: Option<Place>,
    /// The field, such as `job.retry.factor`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Why a text is not a manifest: every fault that was found. A text that is not YAML is read up to its first one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ManifestError {
    /// The faults, in the order of the text.
    pub faults: Vec<Fault>,
}

/// Reads a manifest.
///
/// # Errors
/// [`ManifestError`] with every fault.
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let nodes = yaml::documents(text).map_err(|fault| ManifestError { faults: vec![fault] })?;
    let mut documents = Vec::with_capacity(nodes.len());
    let mut faults = Vec::new();
    for (number, node) in (1..).zip(&nodes) {
        match Document::read(node) {
            Ok(document) => documents.push(document),
            Err(more) => {
                faults.extend(more.into_iter().map(|fault| Fault { document: Some(number), ..fault }));
            }
        }
    }
    if faults.is_empty() {
        faults = cross_faults(&documents, &nodes);
    }
    if faults.is_empty() { Ok(Manifest { documents }) } else { Err(ManifestError { faults }) }
}

impl Manifest {
    /// The contracts, in order.
    pub fn contracts(&self) -> impl Iterator<Item = &ContractSpec> {
        self.documents.iter().filter_map(|document| match document {
            Document::Contract(contract) => Some(&**contract),
            Document::Queue(_)
            | Document::Limits(_)
            | Document::Schedule(_)
            | Document::Job(_)
            | Document::Jobs(_)
            | Document::Range(_) => None,
        })
    }

    /// The limits, in order.
    pub fn limits(&self) -> impl Iterator<Item = &LimitSpec> {
        self.documents.iter().flat_map(|document| match document {
            Document::Limits(limits) => &limits[..],
            Document::Contract(_)
            | Document::Queue(_)
            | Document::Schedule(_)
            | Document::Job(_)
            | Document::Jobs(_)
            | Document::Range(_) => &[],
        })
    }

    /// The queues, in order.
    pub fn queues(&self) -> impl Iterator<Item = &QueueSpec> {
        self.documents.iter().filter_map(|document| match document {
            Document::Queue(queue) => Some(&**queue),
            Document::Contract(_)
            | Document::Limits(_)
            | Document::Schedule(_)
            | Document::Job(_)
            | Document::Jobs(_)
            | Document::Range(_) => None,
        })
    }

    /// The schedules, in order.
    pub fn schedules(&self) -> impl Iterator<Item = &ScheduleSpec> {
        self.documents.iter().filter_map(|document| match document {
            Document::Schedule(schedule) => Some(&**schedule),
            Document::Contract(_)
            | Document::Queue(_)
            | Document::Limits(_)
            | Document::Job(_)
            | Document::Jobs(_)
            | Document::Range(_) => None,
        })
    }

    /// The jobs, in order; those of a range are made one by one.
    pub fn jobs(&self) -> impl Iterator<Item = JobSpec> {
        self.documents.iter().flat_map(Document::jobs)
    }

    /// How many jobs there are.
    pub fn job_count(&self) -> u64 {
        self.documents.iter().map(Document::job_count).sum()
    }
}

impl Document {
    /// Its jobs; those of a range are made one by one.
    pub fn jobs(&self) -> Box<dyn Iterator<Item = JobSpec> + '_> {
        match self {
            Self::Contract(_) | Self::Queue(_) | Self::Limits(_) | Self::Schedule(_) => Box::new(std::iter::empty()),
            Self::Job(job) => Box::new(std::iter::once(JobSpec::clone(job))),
            Self::Jobs(jobs) => Box::new(jobs.iter().cloned()),
            Self::Range(range) => Box::new(range.jobs()),
        }
    }

    /// How many jobs it has.
    pub fn job_count(&self) -> u64 {
        match self {
            Self::Contract(_) | Self::Queue(_) | Self::Limits(_) | Self::Schedule(_) => 0,
            Self::Job(_) => 1,
            Self::Jobs(jobs) => jobs.len() as u64,
            Self::Range(range) => range.len(),
        }
    }

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        const KINDS: &str = "a document is a contract (contract: NAME, ...), a queue (queue: NAME, ...), limits:, a schedule (schedule: NAME, ...), job: or jobs:";
        let Content::Map(members) = &node.value else {
            return Err(vec![Fault::at(node.at, "", format!("must be a map: {KINDS}"))]);
        };
        // It has a job, too.
        if node.get("schedule").is_some() {
            return read_schedule(node).map(|schedule| Self::Schedule(Box::new(schedule)));
        }
        if let Some((key, body)) = members.iter().find(|(key, _)| matches!(key.text.as_str(), "job" | "jobs")) {
            let others = members.iter().filter(|(other, _)| other.text != key.text);
            let beside = |(other, _): &(yaml::Key, Node)| {
                Fault::at(other.at, &other.text, format!("stands beside {}: put it below", key.text))
            };
            let faults: Vec<Fault> = others.map(beside).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            return match (key.text.as_str(), &body.value) {
                ("job", _) => read_job(body, "job").map(|job| Self::Job(Box::new(job))),
                (_, Content::List(items)) => read_jobs(items).map(Self::Jobs),
                (_, Content::Map(_)) => read_range(body).map(|range| Self::Range(Box::new(range))),
                _ => Err(vec![Fault::at(body.at, "jobs", "must be a list of jobs, or a map with a range".to_owned())]),
            };
        }
        // A contract has limits too, of its candidates.
        if let [(key, body)] = &members[..]
            && key.text == "limits"
        {
            return limits::read(body).map(Self::Limits);
        }
        if node.get("queue").is_some() {
            return read_queue(node).map(|queue| Self::Queue(Box::new(queue)));
        }
        if node.get("contract").is_some() {
            return read_contract(node).map(|contract| Self::Contract(Box::new(contract)));
        }
        Err(vec![Fault::at(
            node.at,
            "",
            format!("has none of contract, queue, limits, schedule, job and jobs: {KINDS}"),
        )])
    }
}

fn read_job(node: &Node, path: &str) -> Result<JobSpec, Vec<Fault>> {
    let job: JobSpec = shape::read(node, &JOB, path)?;
    // Read through serde the payload is JSON, but not canonical yet.
    let payload = node.get("payload").map_or_else(Payload::default, |payload| Payload::from_value(&payload.json()));
    let job = JobSpec { payload, ..job };
    let faults = located(node, path, job_faults(&job));
    if faults.is_empty() { Ok(job) } else { Err(faults) }
}

fn read_jobs(items: &[Node]) -> Result<Vec<JobSpec>, Vec<Fault>> {
    let (mut jobs, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (i, item) in items.iter().enumerate() {
        match read_job(item, &format!("jobs[{i}]")) {
            Ok(job) => jobs.push(job),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(jobs) } else { Err(faults) }
}

fn read_range(node: &Node) -> Result<RangeSpec, Vec<Fault>> {
    let range: RangeDocument = shape::read(node, &RANGE, "jobs")?;
    range.resolve().map_err(|faults| located(node, "jobs", faults))
}

fn read_queue(node: &Node) -> Result<QueueSpec, Vec<Fault>> {
    let queue: QueueSpec = shape::read(node, &QUEUE, "")?;
    let mut faults = rule_faults(&queue.retry, &queue.lease, queue.timeout, queue.queue_timeout);
    faults.extend(share_faults(queue.weight, &queue.fair_weights, queue.max_running));
    let faults = located(node, "", faults);
    if faults.is_empty() { Ok(queue) } else { Err(faults) }
}

fn read_schedule(node: &Node) -> Result<ScheduleSpec, Vec<Fault>> {
    let schedule: ScheduleSpec = shape::read(node, &SCHEDULE, "")?;
    let body = node.get("job").ok_or_else(|| vec![Fault::at(node.at, "job", "is missing".to_owned())])?;
    let schedule = ScheduleSpec { job: read_job(body, "job")?, ..schedule };
    let faults = located(node, "", schedule.faults());
    if faults.is_empty() { Ok(schedule) } else { Err(faults) }
}

fn read_contract(node: &Node) -> Result<ContractSpec, Vec<Fault>> {
    let contract: ContractSpec = shape::read(node, &CONTRACT, "")?;
    let split = |fault: String| match fault.split_once(": ") {
        Some((path, message)) => (path.to_owned(), message.to_owned()),
        None => (String::new(), fault),
    };
    let compiled = Contract::compile(contract.clone());
    compiled.map_err(|error| located(node, "", error.faults.into_iter().map(split).collect()))?;
    Ok(contract)
}

fn located(node: &Node, path: &str, faults: Vec<(String, String)>) -> Vec<Fault> {
    let locate =
        |(field, message): (String, String)| Fault::at(node.place(&field), &shape::join(path, &field), message);
    faults.into_iter().map(locate).collect()
}

/// What is wrong between documents that are right by themselves.
fn cross_faults(documents: &[Document], nodes: &[Node]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (mut contracts, mut queues, mut limits, mut schedules) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut jobs: Vec<Listed<'_>> = Vec::new();
    for ((number, document), node) in (1..).zip(documents).zip(nodes) {
        let mut again = |first: Option<usize>, path: &str, what: String| {
            if let Some(first) = first {
                let message = format!("{what} is in document {first} already");
                faults.push(Fault { document: Some(number), ..Fault::at(node.place(path), path, message) });
            }
        };
        let list = |job, path: String, step: &str| {
            let at = node.place(step);
            Listed { job, document: number, at, path }
        };
        match document {
            Document::Contract(contract) => {
                let reference = contract.reference();
                again(seen(&mut contracts, reference.clone(), number), "contract", format!("contract {reference}"));
            }
            Document::Queue(queue) => {
                again(seen(&mut queues, queue.name.clone(), number), "queue", format!("queue {}", queue.name));
            }
            Document::Limits(of_document) => {
                for spec in of_document {
                    let path = format!("limits.{}", spec.limit);
                    again(seen(&mut limits, spec.limit.clone(), number), &path, format!("limit {}", spec.limit));
                }
            }
            Document::Schedule(schedule) => {
                let name = schedule.name.clone();
                again(seen(&mut schedules, name.clone(), number), "schedule", format!("schedule {name}"));
            }
            Document::Job(job) => jobs.push(list(job, "job".to_owned(), "job")),
            Document::Jobs(items) => {
                jobs.extend(items.iter().enumerate().map(|(i, job)| {
                    let path = format!("jobs[{i}]");
                    list(job, path.clone(), &path)
                }));
            }
            Document::Range(range) => jobs.push(list(range.template(), "jobs".to_owned(), "jobs")),
        }
    }
    faults.extend(dependency_faults(&jobs));
    faults
}

/// The document that had this key first, if it is not this one.
fn seen<K: PartialEq>(keys: &mut Vec<(K, usize)>, key: K, number: usize) -> Option<usize> {
    let first = keys.iter().find(|(other, _)| *other == key).map(|(_, first)| *first);
    if first.is_none() {
        keys.push((key, number));
    }
    first
}

impl Place {
    fn new(line: u64, column: u64) -> Self {
        Self { line, column }
    }
}

impl Fault {
    fn at(at: Place, path: &str, message: String) -> Self {
        Self { document: None, at: Some(at), path: path.to_owned(), message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, at, path, message } = self;
        let mut places = Vec::new();
        if let Some(number) = document {
            places.push(format!("document {number}"));
        }
        if let Some(Place { line, column }) = at {
            places.push(format!("line {line}, column {column}"));
        }
        if !path.is_empty() {
            places.push(path.clone());
        }
        places.push(message.clone());
        let text = match (places.as_slice(), document) {
            ([number, rest @ ..], Some(_)) if !rest.is_empty() => format!("{number}, {}", rest.join(": ")),
            (places, _) => places.join(": "),
        };
        f.write_str(&text)
    }
}
