//! The short forms of the tortures that need neither root nor strace.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use orch_torture::binaries::Binaries;
use orch_torture::report::Progress;
use orch_torture::work::Work;
use orch_torture::{Report, TortureError, kill};

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
