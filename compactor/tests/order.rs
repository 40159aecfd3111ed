//! What comes out, and in which order.

mod support;

use std::path::Path;

use orch_compactor::{CompactError, Options, Summary, compact};
use orch_core::id::Seq;
use proptest::prelude::*;
use serde_json::json;
use support::{Book, ID, zeros};

fn take(data: &Path, options: &Options) -> (String, Summary) {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("merged_clean.jsonl");
    let summary = compact(data, &path, options, &mut |_| {}).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!((text.len() as u64, text.lines().count() as u64), (summary.bytes, summary.written));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1, "nothing else is left");
    (text, summary)
}

#[test]
fn candidates_come_out_clean_and_sorted_by_identity() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::new(dir.path());
    let contract = book.contract(zeros("zeros", 1));
    let origin = book.leased("w1");
    let texts = [
        r#"{ "t": 21.022, "meta": {"b": 1.0, "a": 1e1} }"#,
        r#"{"t": -3}"#,
        r#"{"t": 14.1347}"#,
        r#"{"t": 14.13470000001}"#,
        r#"{"t": "x"}"#,
        r#"{"t": "100.5"}"#,
        r#"{"no": 1}"#,
    ];
    book.submit(origin, &contract, &texts.map(str::to_owned));
    book.complete(origin);
    let last = book.ledger.head();
    let data = book.close();
    let (text, summary) = take(&data, &Options::default());
    let expected = ["{\"t\":-3}", "{\"t\":14.1347}", "{\"meta\":{\"a\":10,\"b\":1},\"t\":21.022}", "{\"t\":\"100.5\"}"];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!((summary.accepted, summary.duplicates, summary.rejected, summary.written), (4, 1, 2, 4));
    assert_eq!(
        (summary.seq, summary.batch, summary.chain, summary.records),
        (last.seq, last.batch, last.chain, last.seq.0)
    );
    assert_eq!(summary.ledger.as_deref(), Some(ID));
    assert_eq!(summary.spilled_runs, 0);
    assert_eq!(
        summary.contracts.iter().map(|c| (c.contract.to_string(), c.written)).collect::<Vec<_>>(),
        [("zeros@1".into(), 4)]
    );
}

#[test]
fn an_empty_ledger_gives_an_empty_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = Book::new(dir.path()).close();
    let (text, summary) = take(&data, &Options::default());
    assert_eq!((text.as_str(), summary.written), ("", 0));
}

#[test]
fn contracts_come_one_after_the_other_and_one_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::new(dir.path());
    // Registered in another order than they come out in.
    let [b2, b1, a10] = [("b", 2), ("b", 1), ("a", 10)].map(|(name, version)| book.contract(zeros(name, version)));
    book.contract(zeros("unused", 1));
    for contract in [&b2, &a10, &b1] {
        book.deliver(contract, "w", &[2.0, 1.0]);
    }
    let data = book.close();
    let provenance = Options { provenance: true, ..Options::default() };
    let (text, summary) = take(&data, &provenance);
    let counts: Vec<_> = summary.contracts.iter().map(|c| (c.contract.to_string(), c.written)).collect();
    let expected = [("a@10", 2), ("b@1", 2), ("b@2", 2), ("unused@1", 0)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(counts, expected);
    let ts: Vec<f64> =
        text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["t"].as_f64().unwrap()).collect();
    assert_eq!(ts, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);

    let only = |contract: &str| Options { contract: Some(contract.parse().unwrap()), ..provenance.clone() };
    let (one, summary) = take(&data, &only("b@1"));
    assert_eq!(one.lines().collect::<Vec<_>>(), text.lines().skip(2).take(2).collect::<Vec<_>>());
    assert_eq!((summary.accepted, summary.written), (6, 2));
    assert_eq!(take(&data, &only("unused@1")).0, "");

    let out = dir.path().join("out");
    let error = compact(&data, &out, &only("c@1"), &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "contract c@1 is not in the ledger, which has a@10, b@1, b@2, unused@1");
    assert!(!out.exists());
}

/// The same finds, by other workers, in other leases, other batches and another order.
#[test]
fn who_found_what_when_makes_no_difference() {
    let ts: Vec<f64> = (0..200).map(|n| f64::from(n) * 0.37).collect();
    let tell = |workers: usize, piece: usize, reversed: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::new(dir.path());
        let contract = book.contract(zeros("zeros", 1));
        let mut pieces: Vec<&[f64]> = ts.chunks(piece).collect();
        if reversed {
            pieces.reverse();
        }
        for (n, piece) in pieces.into_iter().enumerate() {
            book.deliver(&contract, &format!("w{}", n % workers), piece);
        }
        take(&book.close(), &Options::default()).0
    };
    let first = tell(1, 200, false);
    assert_eq!(first.lines().count(), 200);
    assert_eq!(tell(3, 7, false), first);
    assert_eq!(tell(2, 11, true), first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_memory_bound_makes_no_difference(
        ts in prop::collection::vec((-1e6..1e6_f64, 1..4_u32), 1..300),
        memory in prop::collection::vec(0..40_000_usize, 3),
        provenance: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::new(dir.path());
        for version in 1..4 {
            book.contract(zeros("zeros", version));
        }
        for piece in ts.chunks(40) {
            let origin = book.leased("w");
            for (t, version) in piece {
                book.judge(origin, &format!("zeros@{version}"), &[format!("{{\"t\":{t}}}")]);
            }
            book.commit();
            book.complete(origin);
        }
        let data = book.close();
        let (expected, summary) = take(&data, &Options { provenance, ..Options::default() });
        prop_assert_eq!(summary.spilled_runs, 0);
        for memory in memory {
            let (text, spilled) = take(&data, &Options { provenance, memory, ..Options::default() });
            prop_assert_eq!(&text, &expected);
            prop_assert_eq!(Summary { spilled_runs: 0, ..spilled }, summary.clone());
        }
    }
}

#[test]
fn little_memory_spills_where_it_is_told_to() {
    let (dir, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut book = Book::new(dir.path());
    let contract = book.contract(zeros("zeros", 1));
    book.deliver(&contract, "w", &(0..500).map(f64::from).collect::<Vec<_>>());
    let data = book.close();
    let options = Options { memory: 2000, tmp: Some(tmp.path().to_owned()), ..Options::default() };
    let (text, summary) = take(&data, &options);
    assert!(summary.spilled_runs > 10, "{}", summary.spilled_runs);
    assert_eq!(text, take(&data, &Options::default()).0);
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);

    let options = Options { tmp: Some(tmp.path().join("missing")), ..options };
    let error = compact(&data, &dir.path().join("out"), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, CompactError::Sort(_)), "{error}");
}

#[test]
fn until_takes_what_was_recorded_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::new(dir.path());
    let contract = book.contract(zeros("zeros", 1));
    let first = book.deliver(&contract, "w", &[5.0, 4.0, 3.0]);
    let ends = book.ledger.head();
    let second = book.deliver(&contract, "w", &[2.0, 1.0]);
    let last = book.ledger.head().seq;
    let data = book.close();
    let until = |seq: Seq| {
        let (text, summary) = take(&data, &Options { until: Some(seq), ..Options::default() });
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["t"].as_f64().unwrap();
        (text.lines().map(value).collect::<Vec<_>>(), summary)
    };
    assert_eq!(until(first[0]).0, [5.0]);
    // Within a batch: the batch is read to its end for its chain link, and no further.
    let (ts, summary) = until(first[1]);
    assert_eq!(ts, [4.0, 5.0]);
    assert_eq!((summary.seq, summary.accepted), (first[1], 2));
    let (ts, summary) = until(ends.seq);
    assert_eq!((ts, summary.chain), (vec![3.0, 4.0, 5.0], ends.chain));
    assert_eq!(until(second[0]).0, [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(until(last).1, take(&data, &Options::default()).1);

    let out = dir.path().join("out");
    let options = Options { until: Some(last.next()), ..Options::default() };
    let error = compact(&data, &out, &options, &mut |_| {}).unwrap_err();
    let expected = format!("the ledger's last durable record is {last}, records until {} were asked for", last.next());
    assert_eq!(error.to_string(), expected);
    assert!(!out.exists());
}

#[test]
fn provenance_says_who_found_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::new(dir.path());
    let contract = book.contract(zeros("zeros", 1));
    let job = book.job();
    // Two attempts before the one that delivers the rest.
    let lost = book.lease(job, 1, "w1");
    let a = book.submit(lost, &contract, &["{\"t\":1}".into()])[0];
    book.expire(lost);
    let given_back = book.lease(job, 2, "w2");
    book.release(given_back);
    let kept = book.lease(job, 2, "w3");
    let other = book.leased("w4");
    let b = book.submit(kept, &contract, &["{\"t\":2}".into()])[0];
    let c = book.submit(other, &contract, &["{\"t\":3}".into()])[0];
    book.complete(kept);
    let import = book.import(&contract);
    let d = book.submit(import, &contract, &["{\"t\":4}".into()])[0];
    let data = book.close();

    let (text, _) = take(&data, &Options { provenance: true, ..Options::default() });
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let origin = |line: &serde_json::Value| {
        let orch = &line["_orch"];
        assert_eq!(orch["digest"].as_str().unwrap().len(), 64);
        json!([line["t"], orch["seq"], orch["job"], orch["worker"], orch["attempt"], orch["import"]])
    };
    let orch_core::record::Origin::Lease { job: other_job, .. } = other else { unreachable!() };
    let orch_core::record::Origin::Legacy { import } = import else { unreachable!() };
    assert_eq!(origin(&lines[0]), json!([1, a, job, "w1", 1, null]));
    assert_eq!(origin(&lines[1]), json!([2, b, job, "w3", 2, null]));
    assert_eq!(origin(&lines[2]), json!([3, c, other_job, "w4", 1, null]));
    assert_eq!(origin(&lines[3]), json!([4, d, null, null, null, import]));
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["_orch", "t"]);

    let (plain, _) = take(&data, &Options::default());
    assert_eq!(plain, "{\"t\":1}\n{\"t\":2}\n{\"t\":3}\n{\"t\":4}\n");
}
