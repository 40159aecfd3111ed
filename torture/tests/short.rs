//! The short forms of the tortures that need neither root nor strace.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use orch_torture::binaries::Binaries;
use orch_torture::report::Progress;
use orch_torture::work::Work;
use orch_torture::{Report, TortureError, calls, hostile, kill, overload, pause, rollback, stampede, writers};

/// Runs a torture in a folder of its own, which is kept if it finds anything.
fn torture<F>(title: &str, run: impl FnOnce(Binaries, PathBuf, Progress) -> F) -> Report
where
    F: Future<Output = Result<Report, TortureError>>,
{
    let binaries = Binaries::find(Some(orch_tests::binaries::folder().to_owned())).unwrap();
    let work = Work::new(title, None).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(run(binaries, work.path().to_owned(), Progress::quiet()));
    let done = done.map_err(|error| error.in_full());
    match done {
        Ok(report) if report.is_good() => report,
        Ok(report) => panic!("{report}\nthe files are in {}", work.keep().display()),
        Err(error) => panic!("{error}\nthe files are in {}", work.keep().display()),
    }
}

#[test]
fn kills_under_load_lose_nothing_that_was_acknowledged() {
    let options =
        kill::Options { cycles: 50, clients: 8, longest: Duration::from_millis(250), check_every: 50, seed: 1 };
    let report = torture("kill", |binaries, folder, progress| async move {
        kill::run(&binaries, &folder, &options, &progress).await
    });
    assert_eq!(report.get("kills"), Some("50"));
}

#[test]
fn short_writes_are_taken_back_and_written_again() {
    let options = calls::Options { every: 1, short_writes: 4, seed: 1 };
    torture("short-writes", |binaries, folder, progress| async move {
        calls::short_writes(&binaries, &folder, &options, &progress).await
    });
}

#[test]
fn a_worker_that_slept_too_long_changes_nothing() {
    let options = pause::Options { runs: 16, parallel: 4 };
    let report = torture("pause", |binaries, folder, progress| async move {
        pause::run(&binaries, &folder, &options, &progress).await
    });
    assert_eq!(report.get("workers stopped"), Some("16"));
}

#[test]
fn an_older_copy_of_the_data_is_noticed_and_leases_nothing() {
    let options = rollback::Options { cycles: 3 };
    torture("rollback", |binaries, folder, progress| async move {
        rollback::run(&binaries, &folder, &options, &progress).await
    });
}

#[test]
fn there_is_one_writer() {
    let options = writers::Options { cycles: 50 };
    torture("writers", |binaries, folder, progress| async move {
        writers::run(&binaries, &folder, &options, &progress).await
    });
}

#[test]
fn a_flood_is_refused_and_loses_nothing() {
    let options = overload::Options { flood: Duration::from_secs(10), times: 10, waiting: 20_000 };
    torture("overload", |binaries, folder, progress| async move {
        overload::run(&binaries, &folder, &options, &progress).await
    });
}

#[test]
fn workers_that_come_back_all_at_once_keep_their_leases() {
    let (quiet, heartbeat) = (Duration::from_secs(3), Duration::from_secs(2));
    let options = stampede::Options { workers: 500, quiet, heartbeat, seed: 1 };
    torture("stampede", |binaries, folder, progress| async move {
        stampede::run(&binaries, &folder, &options, &progress).await
    });
}

fn hostile_clients(tls: bool) {
    let options = hostile::Options { slow: 100, flood: 300, time: Duration::from_secs(2), tls };
    let title = if tls { "hostile-tls" } else { "hostile" };
    let report = torture(title, |binaries, folder, progress| async move {
        hostile::run(&binaries, &folder, &options, &progress).await
    });
    assert_eq!(report.get("slow connections"), Some("100"));
}

#[test]
fn hostile_clients_are_cut_and_good_ones_served() {
    hostile_clients(false);
}

#[test]
fn hostile_clients_are_cut_and_good_ones_served_under_tls() {
    hostile_clients(true);
}
