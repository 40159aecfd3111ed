//! The main run once more with everything over TLS, a certificate on both sides: submit, mine, rotate, restart, compact.

use rustix::process::Signal;
use serde_json::json;

use crate::support::process::{command, orchctl, run};
use crate::support::{Cluster, Options, project, records, zeros};

#[test]
fn the_whole_path_over_mutual_tls() {
    let mut cluster = Cluster::with(Options { tls: true, ..Options::default() });
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let range = "range: {from: -1, to: 99999, step: 1000, as: [a, b]}";
    let manifest = example.replace(range, "range: {from: -1, to: 3999, step: 500, as: [a, b]}");
    assert_eq!(cluster.submit(&manifest).len(), 8);
    let _one = cluster.worker("one", 1);

    // New certificates of the same authority while it works; then the orchestrator itself comes back.
    orchctl(["cert", "dev", "--renew", &cluster.path("certs")]).ok();
    cluster.server().signal(Signal::HUP);
    cluster.server().until("new certificates", |server| server.err().contains("were loaded anew").then_some(()));
    let _two = cluster.worker("two", 1);
    cluster.kill9();
    cluster.restart();
    cluster.drain();

    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["done"], &stats["jobs"]["failed"]), (&json!(8), &json!(0)));
    assert_eq!(records::check_accepted_once(&cluster.data()), 4000);
    let out = cluster.path("zeros.jsonl");
    cluster.ctl(&["compact", "--out", &out]).ok();
    zeros::check(out.as_ref(), 1, 4000);
    cluster.ctl(&["doctor"]).prints("this machine only, with TLS");
}

#[test]
fn who_is_not_let_in_is_told_what_is_missing() {
    let cluster = Cluster::with(Options { tls: true, ..Options::default() });
    let (url, ca) = (cluster.url(), cluster.path("certs/ca.pem"));
    let stats = |args: &[&str]| orchctl([&["stats"], args].concat());
    // Not trusted, no certificate, no TLS, half a certificate, TLS for an address without it.
    let other = cluster.path("other");
    orchctl(["cert", "dev", &other]).ok();
    let stranger = format!("{other}/ca.pem");
    stats(&["--server", &url, "--tls-ca", &stranger]).ended(8).says("name the authority that signed it with --tls-ca");
    stats(&["--server", &url, "--tls-ca", &ca]).ended(7).says("--tls-cert");
    let plain = url.replace("https", "http");
    stats(&["--server", &plain]).ended(7).says("https://");
    stats(&["--server", &url, "--tls-ca", &ca, "--tls-cert", &ca])
        .ended(2)
        .says("--tls-cert and --tls-key go together");
    stats(&["--server", &plain, "--tls-ca", &ca]).ended(2).says("write https:// in the address");
    stats(&["--server", &url, "--tls-ca", "/nowhere.pem"]).ended(2).says("/nowhere.pem");

    let mut worker = command("worker");
    worker.args(["--server", &url, "--tls-ca", &stranger, "--give-up-after", "0s"]);
    run(worker).ended(8).says("name the authority that signed it with --tls-ca");
    let mut worker = command("worker");
    worker.args(["--server", &url, "--tls-ca", &ca, "--give-up-after", "0s"]);
    run(worker).ended(8).says("name one with --tls-cert and --tls-key");
    // What was made is not overwritten.
    orchctl(["cert", "dev", &other]).ended(1).says("--renew").says("--force");
}

#[test]
fn an_address_that_others_reach_is_refused_unless_it_is_insisted_upon() {
    let folder = crate::support::folder();
    let data = folder.path().join("data");
    let start = |more: &[&str]| {
        let mut orchestrator = command("orchestrator");
        orchestrator
            .args(["--listen", "0.0.0.0:0", "--allow-any-filesystem", "--drain", "--data"])
            .arg(&data)
            .args(more);
        run(orchestrator)
    };
    start(&[]).ended(1).says("0.0.0.0:0 can be reached from other machines").says("--insecure");
    start(&["--insecure"]).ok().says("INSECURE");
}
