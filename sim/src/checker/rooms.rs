//! Who may have what: the resources and labels of jobs against what workers have, and workers that are kept away.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::record::{Event, GangMember, Record};
use orch_core::resource::{Needs, Variant};
use orch_core::time::Span;

use super::machine::Machine;
use super::{Rule, Violation};

/// What a job wants of its worker.
#[derive(Clone, Default)]
struct Wanted {
    needs: Needs,
    labels: BTreeMap<String, String>,
    avoid: BTreeSet<WorkerId>,
}

/// What each holder of a lease set apart for it.
struct Granted {
    labels: BTreeMap<String, String>,
    by: BTreeMap<WorkerId, Variant>,
}

/// A fold over what jobs want and whom they were granted to.
#[derive(Default)]
pub(super) struct Rooms {
    jobs: BTreeMap<JobId, Wanted>,
    leases: BTreeMap<LeaseId, Granted>,
    grantees: BTreeMap<LeaseId, WorkerId>,
    set_aside: BTreeSet<WorkerId>,
    violations: Vec<Violation>,
}

impl Rooms {
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    fn violated(&mut self, message: String) {
        self.violations.push(Violation::new(Rule::Room, message));
    }

    pub(super) fn take(&mut self, record: &Record) {
        let seq = record.seq;
        match &record.event {
            Event::JobSubmitted(submitted) => {
                let (needs, labels) = (submitted.spec.resources.clone(), submitted.spec.labels.clone());
                self.jobs.insert(JobId(seq), Wanted { needs, labels, avoid: BTreeSet::new() });
            }
            Event::TaskMade { array, .. } => {
                let wanted = self.jobs.get(array).cloned().unwrap_or_default();
                self.jobs.insert(JobId(seq), wanted);
            }
            Event::LeaseGranted { job, worker, variant, members, .. } => {
                self.granted(LeaseId(seq), *job, worker, *variant, members);
            }
            Event::AttemptFailed { job, lease, needs, avoid_worker, worker, .. } => {
                let on = worker.as_ref().or_else(|| self.grantees.get(lease));
                if let Some(job) = self.jobs.get_mut(job) {
                    job.avoid.extend(on.filter(|_| *avoid_worker).cloned());
                    job.needs = needs.clone().unwrap_or_else(|| job.needs.clone());
                }
            }
            Event::JobRetried { job } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.avoid.clear();
                }
            }
            Event::WorkerSetAside { worker, .. } => drop(self.set_aside.insert(worker.clone())),
            Event::WorkerResumed { worker } => drop(self.set_aside.remove(worker)),
            // The rest says nothing of where a job may run.
            Event::JobCancelled { .. }
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::LeaseReleased { .. }
            | Event::LeaseExpired { .. }
            | Event::BatchJudged(_)
            | Event::CandidateAccepted(_)
            | Event::JobCompleted { .. }
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => {}
        }
    }

    fn granted(&mut self, lease: LeaseId, job: JobId, worker: &WorkerId, variant: u32, members: &[GangMember]) {
        let Wanted { needs, labels, avoid } = self.jobs.get(&job).cloned().unwrap_or_default();
        let holders = members.iter().map(|member| (&member.worker, member.variant));
        let mut by = BTreeMap::new();
        for (worker, variant) in std::iter::once((worker, variant)).chain(holders) {
            if avoid.contains(worker) {
                self.violated(format!("lease {lease} gives job {job} to {worker}, which it is to be kept away from"));
            }
            if self.set_aside.contains(worker) {
                self.violated(format!("lease {lease} gives job {job} to {worker}, which is set aside"));
            }
            let place = usize::try_from(variant).unwrap_or(usize::MAX);
            let chosen =
                if needs.is_empty() && place == 0 { Some(Variant::default()) } else { needs.0.get(place).cloned() };
            match chosen {
                Some(chosen) => drop(by.insert(worker.clone(), chosen)),
                None => self.violated(format!("lease {lease} names alternative {place} of job {job}, which has none")),
            }
        }
        self.grantees.insert(lease, worker.clone());
        self.leases.insert(lease, Granted { labels, by });
    }

    /// A worker that lived for so long yet when it asked got this lease: that is as long as its job asks for.
    pub(super) fn asked(&mut self, worker: &WorkerId, lease: LeaseId, remaining: Span) {
        let granted = self.leases.get(&lease).and_then(|granted| granted.by.get(worker));
        let wanted = granted.and_then(|variant| variant.min_time).filter(|wanted| *wanted > remaining);
        if let Some(wanted) = wanted {
            self.violated(format!(
                "lease {lease} wants {wanted} of {worker}, which had {remaining} left when it asked"
            ));
        }
    }

    /// A worker holds these leases at one moment: they have room in what it has, and its labels are what they ask for.
    pub(super) fn holds(&mut self, worker: &WorkerId, leases: &[LeaseId], has: &Machine) {
        // A lease that is not in the ledger, or is another's, is another rule's business.
        let held: Vec<(&LeaseId, &Granted, &Variant)> = leases
            .iter()
            .filter_map(|lease| self.leases.get(lease).map(|granted| (lease, granted)))
            .filter_map(|(lease, granted)| granted.by.get(worker).map(|variant| (lease, granted, variant)))
            .collect();
        let mut wrong = Vec::new();
        for (lease, granted, _) in &held {
            if !has.is_labelled(&granted.labels) {
                wrong.push(format!("lease {lease} wants {:?} of {worker}, which has {:?}", granted.labels, has.labels));
            }
        }
        let variants: Vec<&Variant> = held.iter().map(|(_, _, variant)| *variant).collect();
        if !has.has_room_for(&variants) {
            let wanted: Vec<String> = held.iter().map(|(lease, _, variant)| format!("{lease}: {variant}")).collect();
            wrong.push(format!(
                "{worker} holds more than there is room for: {}; it has {:?}",
                wanted.join(", "),
                has.has
            ));
        }
        wrong.into_iter().for_each(|message| self.violated(message));
    }
}
