//! What clients were told, compared with what the records say.

use std::collections::HashMap;

use orch_core::id::{JobId, LeaseId, Seq, WorkerId};
use orch_core::json::{self, Limits};
use orch_core::receipt::Receipt;
use orch_core::record::Origin;

use super::facts::{Facts, LeaseEnd};
use super::rooms::Rooms;
use super::{Acknowledged, End, Rule, Told};

/// What was told of a batch before, which every resend must be told again.
type Known<'a> = HashMap<(LeaseId, u64), (&'a [Told], Receipt)>;

/// Adds what does not hold to the facts' violations.
pub(super) fn compare(facts: &mut Facts, rooms: &mut Rooms, told: &[Acknowledged]) {
    let mut known: Known<'_> = HashMap::new();
    for one in told {
        match one {
            Acknowledged::Submitted { job, key, payload } => {
                let fault = match facts.jobs.get(job) {
                    None => Some(format!("job {job} was acknowledged and is not in the ledger")),
                    Some(fact) if key.is_some() && fact.key != *key => {
                        Some(format!("job {job} has another key than was submitted"))
                    }
                    Some(fact) if payload.as_ref().is_some_and(|payload| *payload != fact.payload) => {
                        Some(format!("job {job} has another payload than was submitted"))
                    }
                    Some(_) => None,
                };
                lost(facts, fault);
            }
            Acknowledged::Granted { worker, lease, job } => granted(facts, worker, *lease, *job),
            Acknowledged::Asked { worker, lease, remaining } => rooms.asked(worker, *lease, *remaining),
            Acknowledged::Holds { worker, leases, has } => rooms.holds(worker, leases, has),
            Acknowledged::Judged { worker, lease, number, verdicts, candidates, receipt } => {
                grantee(facts, worker, *lease, "a batch");
                judged(facts, *lease, *number, verdicts, candidates);
                check_receipt(facts, *receipt);
                let first = known.entry((*lease, *number)).or_insert((verdicts, *receipt));
                if *first != (&verdicts[..], *receipt) {
                    let message = format!(
                        "batch {number} of lease {lease} was told twice, differently: {first:?}, {verdicts:?} {receipt:?}"
                    );
                    facts.violated(Rule::Receipt, message);
                }
            }
            Acknowledged::Ended { worker, lease, end, receipt } => {
                member(facts, worker, *lease, "an end");
                ended(facts, *lease, *end, *receipt);
                check_receipt(facts, *receipt);
            }
            Acknowledged::Released { worker, lease } => {
                member(facts, worker, *lease, "a release");
                let end = facts.leases.get(lease).and_then(|fact| fact.end);
                if !matches!(end, Some((_, LeaseEnd::Released))) {
                    facts.violated(
                        Rule::AcknowledgedIsKept,
                        format!("lease {lease} was given back, but it ended as {end:?}"),
                    );
                }
            }
            Acknowledged::Lost { worker, lease, durable } => lease_lost(facts, worker, *lease, *durable),
            Acknowledged::Cancelled { job } => {
                let kept = facts.jobs.get(job).is_some_and(|fact| fact.cancelled);
                lost(
                    facts,
                    (!kept).then(|| format!("the cancellation of job {job} was acknowledged and is not in the ledger")),
                );
            }
            Acknowledged::Retried { job } => {
                let kept = facts.jobs.get(job).is_some_and(|fact| fact.retried);
                lost(
                    facts,
                    (!kept).then(|| format!("the retry of job {job} was acknowledged and is not in the ledger")),
                );
            }
            Acknowledged::Receipt(receipt) => check_receipt(facts, *receipt),
        }
    }
}

fn lost(facts: &mut Facts, fault: Option<String>) {
    if let Some(fault) = fault {
        facts.violated(Rule::AcknowledgedIsKept, fault);
    }
}

fn granted(facts: &mut Facts, worker: &WorkerId, lease: LeaseId, job: JobId) {
    let fault = match facts.leases.get(&lease) {
        None => Some(format!("lease {lease} was granted to {worker} and is not in the ledger")),
        Some(fact) if !fact.is_held_by(worker) || fact.job != job => Some(format!(
            "lease {lease} was granted to {worker} for job {job}; the ledger says {} and job {}",
            fact.worker, fact.job
        )),
        Some(_) => None,
    };
    lost(facts, fault);
}

/// A lease that its worker was told it lost has ended, by a record that was there by then.
fn lease_lost(facts: &mut Facts, worker: &WorkerId, lease: LeaseId, durable: Option<Seq>) {
    // Another worker's lease is no business of this one.
    let Some(fact) = facts.leases.get(&lease).filter(|fact| fact.is_held_by(worker)) else { return };
    let ended = fact.end.map(|(seq, _)| seq);
    if ended.is_none_or(|ended| durable.is_some_and(|durable| ended > durable)) {
        let when = durable.map_or_else(String::new, |durable| format!(" when record {durable} was the last"));
        let message = match ended {
            None => format!("worker {worker} was told{when} that it lost lease {lease}, which no record ended"),
            Some(ended) => {
                format!("worker {worker} was told{when} that it lost lease {lease}, which record {ended} ended")
            }
        };
        facts.violated(Rule::ExpiryIsRecorded, message);
    }
}

fn grantee(facts: &mut Facts, worker: &WorkerId, lease: LeaseId, what: &str) {
    let Some(fact) = facts.leases.get(&lease) else { return };
    if fact.worker != *worker {
        let message = format!("{what} of {worker} was taken under lease {lease}, which is {}'s", fact.worker);
        facts.violated(Rule::Grantee, message);
    }
}

/// The same of what any member of a gang may do.
fn member(facts: &mut Facts, worker: &WorkerId, lease: LeaseId, what: &str) {
    if facts.leases.get(&lease).is_some_and(|fact| !fact.is_held_by(worker)) {
        grantee(facts, worker, lease, what);
    }
}

fn judged(facts: &mut Facts, lease: LeaseId, number: u64, verdicts: &[Told], candidates: &[String]) {
    let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
    let batch = facts.leases.get(&lease).and_then(|fact| fact.batches.get(index));
    let Some(batch) = batch else {
        let message = format!("batch {number} of lease {lease} was acknowledged and is not in the ledger under it");
        facts.violated(Rule::AcknowledgedIsKept, message);
        return;
    };
    let (judged, last) = (batch.judged, batch.last());
    let count = |which: fn(&Told) -> bool| verdicts.iter().filter(|verdict| which(verdict)).count() as u64;
    let told = (
        count(|verdict| matches!(verdict, Told::Accepted(_))),
        count(|verdict| matches!(verdict, Told::Duplicate(_))),
        count(|verdict| matches!(verdict, Told::Rejected)),
    );
    let recorded = (u64::from(batch.accepted), batch.duplicates.len() as u64, u64::from(batch.rejected));
    let mut found = Vec::new();
    if told != recorded {
        let message = format!(
            "batch {number} of lease {lease}: accepted, duplicate, rejected were told as {told:?}, recorded as {recorded:?}"
        );
        found.push((Rule::AcknowledgedIsKept, message));
    }
    for (i, verdict) in verdicts.iter().enumerate() {
        let (seq, rule) = match verdict {
            Told::Rejected => continue,
            Told::Accepted(seq) => (*seq, Rule::AcknowledgedIsKept),
            Told::Duplicate(seq) => (*seq, Rule::Duplicate),
        };
        let Some(accepted) = facts.accepted.get(&seq) else {
            found.push((rule, format!("record {seq} was told as accepted, and accepts nothing")));
            continue;
        };
        let own = seq > judged && seq <= last;
        match verdict {
            Told::Accepted(_) if !own || !is_of(accepted.origin, lease) => {
                found.push((
                    Rule::Grantee,
                    format!(
                        "record {seq} was told as accepted under lease {lease}, its record says {:?}",
                        accepted.origin
                    ),
                ));
            }
            Told::Accepted(_) => {
                let sent = candidates.get(i).and_then(|sent| canonical(sent));
                if sent.is_some_and(|sent| sent != accepted.candidate) {
                    found.push((
                        rule,
                        format!(
                            "record {seq} holds another candidate than the {i}. of batch {number} of lease {lease}"
                        ),
                    ));
                }
            }
            Told::Duplicate(_) if seq > last => {
                found.push((rule, format!("record {seq} was told as there before record {judged}")));
            }
            Told::Duplicate(_) | Told::Rejected => {}
        }
    }
    for (rule, message) in found {
        facts.violated(rule, message);
    }
}

fn is_of(origin: Origin, of: LeaseId) -> bool {
    match origin {
        Origin::Lease { lease, .. } => lease == of,
        Origin::Legacy { .. } => false,
    }
}

/// The digest of a candidate's canonical text; None if it is no JSON.
fn canonical(text: &str) -> Option<orch_core::digest::Digest> {
    let limits = Limits { max_bytes: usize::MAX, max_depth: 64 };
    let tree = json::parse_tree(text.as_bytes(), limits).ok()?;
    Some(orch_core::digest::Digest::of(tree.canonical_text().as_bytes()))
}

fn ended(facts: &mut Facts, lease: LeaseId, end: End, receipt: Receipt) {
    let recorded = facts.leases.get(&lease).and_then(|fact| fact.end);
    let same = match (recorded, end) {
        (Some((_, LeaseEnd::Completed)), End::Done) => true,
        (Some((_, LeaseEnd::Failed { finally: recorded })), End::Failed { finally }) => recorded == finally,
        (Some(_) | None, End::Done | End::Failed { .. }) => false,
    };
    let at = recorded.map(|(seq, _)| seq);
    if !same {
        facts.violated(
            Rule::AcknowledgedIsKept,
            format!("the end of lease {lease} was told as {end:?}, recorded is {recorded:?}"),
        );
    } else if at != Some(receipt.seq) {
        let at = at.unwrap_or_default();
        facts.violated(
            Rule::Receipt,
            format!("the end of lease {lease} is record {at}, its receipt names {}", receipt.seq),
        );
    }
}

/// A receipt's link is that of the batch that holds its record.
fn check_receipt(facts: &mut Facts, receipt: Receipt) {
    if receipt.seq == Seq(0) {
        return;
    }
    let index = facts.links.partition_point(|(last, _)| *last < receipt.seq);
    let message = match facts.links.get(index) {
        None => format!("a receipt names record {}, the ledger ends with record {}", receipt.seq, facts.last),
        Some((_, chain)) if *chain != receipt.chain => {
            format!("a receipt says that record {} stands under link {}; it is {chain}", receipt.seq, receipt.chain)
        }
        Some(_) => return,
    };
    facts.violated(Rule::Receipt, message);
}
