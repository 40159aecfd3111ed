//! What the index keeps of a job, and its bytes.
//!
//! The bytes are ours alone: an index of another [`super::SCHEMA`] is never read. Numbers are LEB128, texts have
//! their length before them, the history is written as differences. About 90 bytes a job.

use orch_core::array::Task;
use orch_core::id::{JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use orch_core::record::{Event, FailureClass, Record};
use orch_core::summary::{JobSummary, TaskCounts};
use orch_core::time::Timestamp;

use super::bytes::{Reader, Writer};
use super::keys;

/// A job as the index knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What listings show of it.
    pub summary: JobSummary,
    /// The records that speak of it, oldest first, without its accepted candidates.
    pub history: Vec<Seq>,
}

impl Entry {
    /// The entry that a submit begins; None for any other record, also for a task's.
    pub fn begin(record: &Record) -> Option<(JobId, Self)> {
        let summary = JobSummary::begin(record)?;
        Some((JobId(record.seq), Self { summary, history: vec![record.seq] }))
    }

    /// The entry of a task that was made, given its array's, which takes it into account; None for any other record.
    pub fn begin_task(array: &mut Self, record: &Record) -> Option<(JobId, Self)> {
        let summary = JobSummary::begin_task(&array.summary, record)?;
        array.summary.follow(None, &summary);
        Some((JobId(record.seq), Self { summary, history: vec![record.seq] }))
    }

    /// Takes a later record that speaks of the job into account.
    pub fn take(&mut self, record: &Record) {
        self.summary.take(record);
        if !matches!(record.event, Event::CandidateAccepted(_)) {
            self.history.push(record.seq);
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { summary, history } = self;
        let mut out = Writer(Vec::with_capacity(128));
        write_summary(summary, &mut out);
        out.number(history.len() as u64);
        let mut before = 0;
        for seq in history {
            out.number(seq.0.wrapping_sub(before));
            before = seq.0;
        }
        out.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        let summary = read_summary(&mut bytes)?;
        let mut before = 0u64;
        let history = (0..bytes.number()?).map(|_| {
            before = before.wrapping_add(bytes.number()?);
            Some(Seq(before))
        });
        let history = history.collect::<Option<_>>()?;
        bytes.0.is_empty().then_some(Self { summary, history })
    }

    /// The summary alone: what a listing needs.
    pub(super) fn decode_summary(bytes: &[u8]) -> Option<JobSummary> {
        read_summary(&mut Reader(bytes))
    }
}

fn write_summary(summary: &JobSummary, out: &mut Writer) {
    let JobSummary {
        queue,
        kind,
        name,
        priority,
        phase,
        not_before,
        attempts,
        failures,
        crashes,
        submitted_at,
        changed_at,
        worker,
        members,
        lease,
        accepted,
        duplicates,
        rejected,
        class,
        message,
        last_seq,
        tasks,
        task,
    } = summary;
    out.text(queue.as_str());
    out.text(kind.as_str());
    out.option(name.as_ref(), |out, name| out.text(name));
    out.signed(i64::from(*priority));
    out.0.push(keys::phase_code(*phase));
    out.option(not_before.as_ref(), |out, due| out.signed(due.0));
    out.number(u64::from(*attempts));
    out.number(u64::from(*failures));
    out.number(u64::from(*crashes));
    out.signed(submitted_at.0);
    out.signed(changed_at.0);
    out.option(worker.as_ref(), |out, worker| out.text(worker.as_str()));
    out.number(members.len() as u64);
    members.iter().for_each(|member| out.text(member.as_str()));
    out.option(lease.as_ref(), |out, lease| out.number(lease.get()));
    out.number(*accepted);
    out.number(*duplicates);
    out.number(*rejected);
    out.option(class.as_ref(), |out, class| out.0.push(class_code(*class)));
    out.text(message);
    out.number(last_seq.0);
    out.option(tasks.as_ref(), |out, TaskCounts { left, open, done, failed, cancelled }| {
        [left, open, done, failed, cancelled].into_iter().for_each(|count| out.number(*count));
    });
    out.option(task.as_ref(), |out, task| {
        out.number(task.array.get());
        out.signed(task.index);
    });
}

fn read_summary(bytes: &mut Reader<'_>) -> Option<JobSummary> {
    // Fields are read in the order in which they stand here.
    Some(JobSummary {
        queue: QueueName::new(bytes.text()?).ok()?,
        kind: Kind::new(bytes.text()?).ok()?,
        name: bytes.option(|bytes| bytes.text().map(str::to_owned))?,
        priority: i32::try_from(bytes.signed()?).ok()?,
        phase: *keys::PHASES.get(usize::from(bytes.byte()?))?,
        not_before: bytes.option(|bytes| bytes.signed().map(Timestamp))?,
        attempts: u32::try_from(bytes.number()?).ok()?,
        failures: u32::try_from(bytes.number()?).ok()?,
        crashes: u32::try_from(bytes.number()?).ok()?,
        submitted_at: Timestamp(bytes.signed()?),
        changed_at: Timestamp(bytes.signed()?),
        worker: bytes.option(|bytes| WorkerId::new(bytes.text()?).ok())?,
        members: (0..bytes.number()?).map(|_| WorkerId::new(bytes.text()?).ok()).collect::<Option<_>>()?,
        lease: bytes.option(|bytes| bytes.number().map(LeaseId::new))?,
        accepted: bytes.number()?,
        duplicates: bytes.number()?,
        rejected: bytes.number()?,
        class: bytes.option(|bytes| CLASSES.get(usize::from(bytes.byte()?)).copied())?,
        message: bytes.text()?.to_owned(),
        last_seq: Seq(bytes.number()?),
        tasks: bytes.option(|bytes| {
            let mut count = || bytes.number();
            Some(TaskCounts { left: count()?, open: count()?, done: count()?, failed: count()?, cancelled: count()? })
        })?,
        task: bytes.option(|bytes| Some(Task { array: JobId::new(bytes.number()?), index: bytes.signed()? }))?,
    })
}

const CLASSES: [FailureClass; 5] = [
    FailureClass::Error,
    FailureClass::Timeout,
    FailureClass::Incomplete,
    FailureClass::Permanent,
    FailureClass::Quarantined,
];

const fn class_code(class: FailureClass) -> u8 {
    match class {
        FailureClass::Error => 0,
        FailureClass::Timeout => 1,
        FailureClass::Incomplete => 2,
        FailureClass::Permanent => 3,
        FailureClass::Quarantined => 4,
    }
}

#[cfg(test)]
mod tests {
    use orch_core::summary::JobPhase;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn entry()(
            (queue, kind) in ("[a-z][a-z0-9/]{0,9}", "[a-z]{1,9}"), name in proptest::option::of(".{0,20}"),
            (priority, phase) in (any::<i32>(), 0..8usize), not_before in proptest::option::of(any::<i64>()),
            (attempts, failures, crashes) in any::<(u32, u32, u32)>(), times in any::<(i64, i64)>(),
            (worker, members) in (proptest::option::of("[a-z]{1,9}"), proptest::collection::vec("[a-z]{1,9}", 0..3)),
            lease in proptest::option::of(any::<u64>()),
            (accepted, duplicates, rejected) in any::<(u64, u64, u64)>(),
            (class, message) in (proptest::option::of(0..5usize), ".{0,80}"),
            history in proptest::collection::vec(any::<u64>().prop_map(Seq), 0..20), last in any::<u64>(),
            (tasks, task) in any::<(Option<[u64; 5]>, Option<(u64, i64)>)>(),
        ) -> Entry {
            let summary = JobSummary {
                queue: QueueName::new(&queue).unwrap(),
                kind: Kind::new(&kind).unwrap(),
                name, priority, attempts, failures, crashes, accepted, duplicates, rejected, message,
                phase: keys::PHASES[phase],
                not_before: not_before.map(Timestamp),
                submitted_at: Timestamp(times.0),
                changed_at: Timestamp(times.1),
                worker: worker.map(|worker| WorkerId::new(&worker).unwrap()),
                members: members.iter().map(|member| WorkerId::new(member).unwrap()).collect(),
                lease: lease.map(LeaseId::new),
                class: class.map(|class| CLASSES[class]),
                last_seq: Seq(last),
                tasks: tasks.map(|[left, open, done, failed, cancelled]| {
                    TaskCounts { left, open, done, failed, cancelled }
                }),
                task: task.map(|(array, index)| Task { array: JobId::new(array), index }),
            };
            Entry { summary, history }
        }
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes(entry in entry()) {
            let bytes = entry.encode();
            prop_assert_eq!(Entry::decode(&bytes), Some(entry.clone()));
            prop_assert_eq!(Entry::decode_summary(&bytes), Some(entry.summary));
            prop_assert_eq!(Entry::decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
        }
    }

    #[test]
    fn codes_are_places_in_their_tables() {
        for class in CLASSES {
            assert_eq!(CLASSES[usize::from(class_code(class))], class);
        }
        for phase in keys::PHASES {
            assert_eq!(keys::PHASES[usize::from(keys::phase_code(phase))], phase);
        }
        assert_eq!(keys::PHASES[0], JobPhase::Blocked);
    }
}
