//! The ledger over the wire: byte for byte, filtered, followed.

use orch_ledger::ChainChecker;
use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

fn all() -> v1::ReadLedgerRequest {
    v1::ReadLedgerRequest::default()
}

async fn read(admin: &mut Admin, request: v1::ReadLedgerRequest) -> Vec<u8> {
    let mut messages = admin.read_ledger(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        assert!(message.last_seq <= message.durable_seq);
        bytes.extend_from_slice(&message.lines);
    }
    bytes
}

fn names(lines: &[u8]) -> Vec<String> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| orch_ledger::line::decode(line).unwrap().event_name().to_owned()).collect()
}

#[tokio::test]
async fn lines_come_byte_for_byte_and_carry_their_chain() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    for _ in 0..3 {
        admin.submit(submission((0..2000).map(|_| job("q", 1)).collect())).await.unwrap();
    }
    let bytes = read(&mut admin, all()).await;
    let mut checker = ChainChecker::new();
    let mut count = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        checker.check(line).unwrap();
        count += 1;
    }
    assert_eq!(checker.lines_missing(), None);
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner().ledger.unwrap();
    assert_eq!((checker.link().seq.0, count), (stats.seq, stats.seq));
    assert_eq!(checker.link().chain.0[..], stats.chain[..]);

    let part = read(&mut admin, v1::ReadLedgerRequest { from_seq: 10, until_seq: 12, ..all() }).await;
    assert_eq!(names(&part).len(), 3);
    let nothing = read(&mut admin, v1::ReadLedgerRequest { from_seq: stats.seq + 5, ..all() }).await;
    assert!(nothing.is_empty());
    orch.stop().await;
}

#[tokio::test]
async fn the_records_of_one_job_and_those_to_come() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 1), job("q", 1)])).await.unwrap().into_inner();
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await;
    let of_job = v1::ReadLedgerRequest { job: submitted.jobs[0].job, ..all() };
    let lines = read(&mut admin, of_job).await;
    assert_eq!(names(&lines), ["job_submitted", "lease_granted"]);

    let follow = v1::ReadLedgerRequest { follow: true, ..of_job };
    let mut messages = admin.read_ledger(follow).await.unwrap().into_inner();
    let first = messages.message().await.unwrap().unwrap();
    assert_eq!(names(&first.lines), ["job_submitted", "lease_granted"]);
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease.lease, 1, &[candidate(1.0)]).await;
    results.verdicts().await;
    let next = messages.message().await.unwrap().unwrap();
    assert_eq!(names(&next.lines), ["batch_judged", "candidate_accepted"]);
    results.say(lease.lease, Action::Complete(v1::Complete { batches: 1 })).await;
    let next = messages.message().await.unwrap().unwrap();
    assert_eq!(names(&next.lines), ["job_completed"]);
    orch.stop().await;
    // The stop ends the stream: nothing more, or an error, but it does not hang.
    let _ = messages.message().await;
}
