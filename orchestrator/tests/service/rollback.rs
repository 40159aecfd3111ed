//! An older copy of the data directory is in use: whoever holds a receipt that is newer than it tells.

use std::path::Path;

use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve;
use orch_proto::v1;
use tempfile::TempDir;
use tonic::Status;

use crate::support::*;

/// Starts an orchestrator on the directory, accepting what is lost up to `accept_rollback`.
async fn start(data: TempDir, accept_rollback: u64) -> Orch {
    let running = serve::start(OrchestratorConfig { accept_rollback, ..config(data.path()) }).await.unwrap();
    Orch { running, data }
}

/// Copies the ledger to where it comes from when it is rolled back.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// An orchestrator on a copy that lacks the last submit; its ledger's id, and the receipt for that submit.
async fn rolled_back() -> (Orch, String, v1::Receipt) {
    let orch = Orch::start().await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let older = tempfile::tempdir().unwrap();
    copy(data.path(), older.path());
    let orch = start(data, 0).await;
    let submitted = orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    orch.stop().await;
    (start(older, 0).await, submitted.ledger, submitted.receipt.unwrap())
}

fn presenting(ledger: &str, receipt: &v1::Receipt, leases: Vec<u64>) -> v1::RegisterWorkerRequest {
    let (ledger, last_receipt) = (ledger.to_owned(), Some(receipt.clone()));
    v1::RegisterWorkerRequest { ledger, last_receipt, leases, ..registration("w1") }
}

async fn missing(orch: &Orch) -> (u64, String) {
    let stats = orch.admin().await.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    let ledger = stats.ledger.unwrap();
    (ledger.missing_seq, ledger.read_only_reason)
}

/// Nothing is leased or taken in.
async fn is_held(orch: &Orch) -> bool {
    let mut other = orch.worker().await;
    let refused = |status: Option<Status>| status.is_some_and(|status| reason(&status).0 == "READ_ONLY");
    let leased = other.lease_job(ask("w2", 1, 0)).await.err();
    let submitted = orch.admin().await.submit(submission(vec![job("q", 1)])).await.err();
    assert_eq!(leased.is_some(), submitted.is_some());
    refused(leased) && refused(submitted)
}

#[tokio::test]
async fn a_receipt_from_the_future_stops_everything_until_it_is_accepted() {
    let (orch, ledger, receipt) = rolled_back().await;
    assert!(!is_held(&orch).await);
    let mut worker = orch.worker().await;
    let status = worker.register_worker(presenting(&ledger, &receipt, vec![])).await.unwrap_err();
    assert_eq!(reason(&status), ("WRONG_STATE".to_owned(), "last_receipt".to_owned()));
    let accept = format!("--accept-rollback {}", receipt.seq);
    assert!(status.message().contains(&accept) && status.message().contains("worker w1"), "{status}");
    assert!(is_held(&orch).await);
    let (seq, text) = missing(&orch).await;
    assert_eq!((seq, text.contains(&accept)), (receipt.seq, true), "{text}");

    // A restart decides nothing.
    let orch = orch.restart().await;
    assert!(is_held(&orch).await);

    // Accepting less than is missing does not help.
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let orch = start(data, receipt.seq - 1).await;
    assert!(is_held(&orch).await);

    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let orch = start(data, receipt.seq).await;
    assert!(!is_held(&orch).await);
    let mut worker = orch.worker().await;
    let registered = worker.register_worker(presenting(&ledger, &receipt, vec![7])).await.unwrap().into_inner();
    assert_eq!((registered.forget_receipt, registered.lost), (true, vec![7]));
    assert_eq!(missing(&orch).await, (0, String::new()));
    lease(&mut worker, "w1").await;

    // It was decided once: the next start needs no word of it.
    let orch = orch.restart().await;
    assert!(!is_held(&orch).await);
    orch.stop().await;
}

#[tokio::test]
async fn a_client_with_a_receipt_from_the_future_tells_as_well() {
    let (orch, ledger, receipt) = rolled_back().await;
    let request = v1::SubmitRequest { last_receipt: Some(receipt.clone()), ledger, ..submission(vec![job("q", 1)]) };
    let status = orch.admin().await.submit(request).await.unwrap_err();
    assert!(status.message().contains("a caller of Submit"), "{status}");
    assert!(is_held(&orch).await);
    assert_eq!(missing(&orch).await.0, receipt.seq);
    orch.stop().await;
}

#[tokio::test]
async fn what_another_ledger_gave_stops_nothing() {
    let (orch, ledger, receipt) = rolled_back().await;
    let mut worker = orch.worker().await;
    // It hears which ledger this is, and that its leases are not of it.
    let registered = worker.register_worker(presenting("another", &receipt, vec![3])).await.unwrap().into_inner();
    assert_eq!((registered.ledger.as_str(), registered.lost), (ledger.as_str(), vec![3]));
    assert!(!registered.forget_receipt);
    let request = v1::SubmitRequest {
        last_receipt: Some(receipt.clone()),
        ledger: "another".into(),
        ..submission(vec![job("q", 1)])
    };
    let status = orch.admin().await.submit(request).await.unwrap_err();
    assert!(status.message().contains("another"), "{status}");
    // Nor does a receipt of nobody knows which ledger.
    let unknown = presenting("", &receipt, vec![]);
    assert_eq!(reason(&worker.register_worker(unknown).await.unwrap_err()).0, "WRONG_STATE");
    assert!(!is_held(&orch).await);
    assert_eq!(missing(&orch).await, (0, String::new()));
    orch.stop().await;
}

#[tokio::test]
async fn a_receipt_that_the_ledger_gave_is_welcome() {
    let orch = Orch::start().await;
    let submitted = orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    let receipt = submitted.receipt.unwrap();
    let orch = orch.restart().await;
    let mut worker = orch.worker().await;
    worker.register_worker(presenting(&submitted.ledger, &receipt, vec![])).await.unwrap();
    let more = v1::SubmitRequest { last_receipt: Some(receipt), ledger: submitted.ledger, ..submission(vec![]) };
    orch.admin().await.submit(more).await.unwrap();
    assert_eq!(missing(&orch).await.0, 0);
    orch.stop().await;
}

#[tokio::test]
async fn a_lease_from_the_future_tells_by_the_receipt_that_it_came_with() {
    let orch = Orch::start().await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let older = tempfile::tempdir().unwrap();
    copy(data.path(), older.path());
    let orch = start(data, 0).await;
    let mut worker = orch.worker().await;
    let registered = worker.register_worker(registration("w1")).await.unwrap().into_inner();
    let leased = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner();
    let (ledger, lease, receipt) = (registered.ledger, leased.leases[0].lease, leased.receipt.unwrap());
    orch.stop().await;
    let orch = start(older, 0).await;
    let mut worker = orch.worker().await;
    // Alone it proves nothing: anybody can name a number. It is lost, and that is all.
    let alone = v1::RegisterWorkerRequest { last_receipt: None, ..presenting(&ledger, &receipt, vec![lease]) };
    assert_eq!(worker.register_worker(alone).await.unwrap().into_inner().lost, [lease]);
    assert!(!is_held(&orch).await);
    worker.register_worker(presenting(&ledger, &receipt, vec![lease])).await.unwrap_err();
    assert_eq!(missing(&orch).await.0, receipt.seq);
    assert!(is_held(&orch).await);
    orch.stop().await;
}

/// Whatever somebody makes up of a receipt: without the code that a copy of this directory gave, it stops nothing.
#[tokio::test]
async fn a_forged_receipt_stops_nothing() {
    let (orch, ledger, receipt) = rolled_back().await;
    let forged = [
        v1::Receipt { mac: Vec::new().into(), ..receipt.clone() },
        v1::Receipt { mac: vec![0; 16].into(), ..receipt.clone() },
        v1::Receipt { mac: vec![7; 16].into(), ..receipt.clone() },
        v1::Receipt { mac: vec![7; 99].into(), ..receipt.clone() },
        v1::Receipt { seq: receipt.seq + 1, ..receipt.clone() },
        v1::Receipt { seq: u64::MAX, ..receipt.clone() },
        v1::Receipt { chain: vec![1; 32].into(), ..receipt.clone() },
    ];
    let mut worker = orch.worker().await;
    for forged in forged {
        let status = worker.register_worker(presenting(&ledger, &forged, vec![u64::MAX])).await.unwrap_err();
        assert_eq!(reason(&status), ("UNPROVEN_RECEIPT".to_owned(), "last_receipt".to_owned()), "{status}");
        let request =
            v1::SubmitRequest { last_receipt: Some(forged), ledger: ledger.clone(), ..submission(vec![job("q", 1)]) };
        let status = orch.admin().await.submit(request).await.unwrap_err();
        assert_eq!(reason(&status).0, "UNPROVEN_RECEIPT", "{status}");
    }
    assert_eq!(missing(&orch).await, (0, String::new()));
    assert!(!is_held(&orch).await);
    // Another directory gives codes, too; they are not this one's.
    let other = Orch::start().await;
    let given = other.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner().receipt.unwrap();
    let status = worker.register_worker(presenting(&ledger, &v1::Receipt { seq: 999, ..given }, vec![])).await;
    assert_eq!(reason(&status.unwrap_err()).0, "UNPROVEN_RECEIPT");
    other.stop().await;
    assert!(!is_held(&orch).await);
    // The real one does.
    worker.register_worker(presenting(&ledger, &receipt, vec![])).await.unwrap_err();
    assert!(is_held(&orch).await);
    orch.stop().await;
}

#[tokio::test]
async fn a_lease_comes_with_a_receipt() {
    let orch = Orch::start().await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let leased = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner();
    assert_eq!(leased.receipt.unwrap().seq, leased.leases[0].lease);
    let none = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner();
    assert_eq!(none.receipt, None);
    orch.stop().await;
}
