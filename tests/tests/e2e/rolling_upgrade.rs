//! A rolling upgrade in the middle of the main job: the orchestrator, then back, then one worker after the other. It is no bad
//! day: nothing is lost or doubled, and nothing is even charged.

use std::collections::HashSet;
use std::path::Path;

use orch_tests::binaries;
use rustix::process::Signal;
use serde_json::json;

use crate::support::main_job::{self, STEP, until_accepted};
use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, Worker, records, until};

/// How many zeros are submitted at once.
const PART: usize = 2_000;

/// The middle of the main job, wherever that is: work is submitted whenever none is left.
struct Middle {
    cluster: Cluster,
    submitted: usize,
}

impl Middle {
    fn feed(&mut self) {
        if self.cluster.stats()["jobs"]["ready"] == 0 {
            self.cluster.submit(&main_job::manifest(self.submitted, self.submitted + PART));
            self.submitted += PART;
        }
    }

    fn until(&mut self, what: &str, mut look: impl FnMut(&Cluster) -> bool) {
        until(what, || {
            self.feed();
            look(&self.cluster).then_some(())
        });
    }

    /// Goes on from here until more is done, so that what comes next comes in between.
    fn go_on(&mut self) {
        let accepted = records::accepted_count(&self.cluster.data());
        self.feed();
        until_accepted(&self.cluster.data(), accepted + 3 * STEP);
    }

    /// Puts another version of the orchestrator in its place.
    fn upgrade(&mut self, program: &Path, workers: &[Worker]) {
        self.go_on();
        self.cluster.replace(program.to_owned());
        let names: HashSet<String> = workers.iter().map(|worker| worker.name.clone()).collect();
        self.until("every worker to get work of the new one", |cluster| at_work_since_the_start(cluster) == names);
    }
}

/// The workers that got a lease after the last start of the orchestrator.
fn at_work_since_the_start(cluster: &Cluster) -> HashSet<String> {
    let records = records::records(&cluster.data());
    let start = records.iter().rposition(|(_, event, _)| event == "booted").unwrap();
    let granted = records[start..].iter().filter(|(_, event, _)| event == "lease_granted");
    granted.map(|(_, _, grant)| grant["worker"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rolling_upgrade_in_the_middle_of_the_main_job_costs_nothing() {
    let mut middle = Middle { cluster: Cluster::start(), submitted: 0 };
    let versions = ["orchestrator-2", "orchestrator-1"].map(|name| middle.cluster.folder().join(name));
    for version in &versions {
        std::fs::copy(binaries::path("orchestrator"), version).unwrap();
    }
    // A job that runs through all of it, beside the many short ones.
    let gate = middle.cluster.path("gate");
    let long = middle.cluster.submit(&(VALUES.to_owned() + &queue("long", "gate", "") + &job("long", &gate, "")));
    let mut workers = vec![middle.cluster.worker("a-1", 2)];
    let lease = middle.cluster.until_job(long[0], "leased")["lease"].clone();
    assert!(lease.is_u64(), "{lease}");
    workers.extend(["b-1", "c-1"].map(|name| middle.cluster.worker(name, 2)));

    // `helm upgrade`, and `helm rollback`: workers are told nothing.
    for version in &versions {
        middle.upgrade(version, &workers);
        assert_eq!(middle.cluster.job(long[0])["lease"], lease);
    }

    // The pool: a new worker first, then SIGTERM to an old one, which ends when what it runs is done.
    for name in ["a-2", "b-2", "c-2"] {
        middle.go_on();
        workers.push(middle.cluster.worker(name, 2));
        middle.until("the new worker at work", |cluster| at_work_since_the_start(cluster).contains(name));
        let mut old = workers.remove(0);
        old.process.signal(Signal::TERM);
        if old.name == "a-1" {
            old.process.until("draining", |old| old.err().contains("draining: ").then_some(()));
            std::fs::write(&gate, "").unwrap();
        }
        let status = until("the drained worker's end", || old.process.has_ended());
        assert_eq!(status.code(), Some(0), "{}", old.process.err());
    }
    let Middle { cluster, submitted } = middle;
    cluster.drain();
    main_job::check_zeros(&cluster, submitted);
    assert_eq!(records::check_accepted_once(&cluster.data()), submitted);

    // One lease did each job. What was granted besides had lost its way when a connection closed, and was given back unused.
    let (stats, jobs) = (cluster.stats(), submitted / STEP + 1);
    let count = |event| records::events(&cluster.data(), event).len();
    let (granted, released) = (count("lease_granted"), count("lease_released"));
    println!("{jobs} jobs by {granted} leases, of which {released} were given back; 3 starts, 6 workers");
    assert_eq!(count("booted"), 3);
    assert_eq!((count("attempt_failed"), count("lease_expired"), count("job_completed")), (0, 0, jobs), "{stats}");
    assert_eq!(granted, jobs + released, "{stats}");
    assert_eq!(stats["candidates"]["duplicate"], 0, "{stats}");
    let long = cluster.job(long[0]);
    assert_eq!((&long["state"], &long["attempts"]), (&json!("done"), &json!(1)), "{long}");
}
