//! A ledger that was repaired has another history behind the cut: receipts for what is lost are told by their link, also
//! when their seqs are taken again.

use std::sync::Arc;

use orch_core::record::Record;
use orch_core::state::State;
use orch_core::time::Timestamp;
use orch_ledger::Position;
use orch_ledger::disk::real::RealDir;
use orch_ledger::repair::{Repair, Signature};
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve;
use orch_proto::v1;

use crate::support::*;

#[tokio::test]
async fn a_receipt_for_a_lost_record_is_told_though_its_seq_is_taken_again() {
    let orch = Orch::start().await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let lost = orch.admin().await.submit(submission(vec![job("q", 2)])).await.unwrap().into_inner();
    let (ledger, receipt) = (lost.ledger.clone(), lost.receipt.clone().unwrap());
    let Orch { running, data } = orch;
    running.stop().await.unwrap();

    // The last batch is damaged, and cut off.
    let segment = std::fs::read_dir(data.path().join("ledger")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(9).rposition(|window| window == b"\"count\":2").unwrap();
    bytes[at + 8] = b'3';
    std::fs::write(&segment, bytes).unwrap();
    let refused = serve::start(config(data.path())).await.err().unwrap();
    assert!(format!("{refused:?}").contains("Refused"), "{refused:?}");
    let from = RealDir::new(data.path());
    let mut state = State::default();
    let mut replay = |record: &Record, _: &Position| state.apply(record).map_err(|error| error.to_string());
    let repair = Repair::plan(&from, &mut replay).unwrap();
    assert_eq!(repair.the_plan().loss.acknowledged_to.map(|seq| seq.0), Some(receipt.seq));
    let repaired = tempfile::tempdir().unwrap();
    let signature = Signature { at: Timestamp(1_795_248_000_000), by: "a test".into() };
    repair.carry_out(Arc::new(RealDir::new(repaired.path())), signature).unwrap();
    // As `orchctl ledger repair` does.
    orch_ledger::secret::take_along(data.path(), repaired.path()).unwrap();

    // It goes on, beyond the seq of the receipt.
    let running = serve::start(config(repaired.path())).await.unwrap();
    let orch = Orch { running, data: repaired };
    for _ in 0..3 {
        orch.admin().await.submit(submission(vec![job("q", 4)])).await.unwrap();
    }
    let stats = orch.admin().await.stats(v1::StatsRequest {}).await.unwrap().into_inner().ledger.unwrap();
    assert!(stats.seq > receipt.seq, "{stats:?}");
    let presenting =
        v1::RegisterWorkerRequest { ledger: ledger.clone(), last_receipt: Some(receipt.clone()), ..registration("w1") };
    let status = orch.worker().await.register_worker(presenting.clone()).await.unwrap_err();
    assert!(status.message().contains(&format!("--accept-rollback {}", receipt.seq)), "{status}");

    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let accepting = OrchestratorConfig { accept_rollback: receipt.seq, ..config(data.path()) };
    let orch = Orch { running: serve::start(accepting).await.unwrap(), data };
    let registered = orch.worker().await.register_worker(presenting).await.unwrap().into_inner();
    assert!(registered.forget_receipt);
    assert_eq!(registered.ledger, ledger, "it keeps its id");
    orch.stop().await;
}
