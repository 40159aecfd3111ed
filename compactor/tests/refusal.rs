//! What is refused, in which words, and that an older output survives it.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use orch_compactor::{CompactError, Compactor, Options, Progress, compact};
use orch_core::id::Seq;
use orch_core::record::Event;
use support::{Book, raw_lines, zeros};

fn small(data: &Path) -> PathBuf {
    let mut book = Book::new(data);
    let contract = book.contract(zeros("zeros", 1));
    for n in 0..20 {
        book.deliver(&contract, "w", &(0..10).map(|k| f64::from(n * 10 + k)).collect::<Vec<_>>());
    }
    book.close()
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(data.join("ledger")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Compacts over an older output and gives the error's text; the older output must be as it was.
fn refused(data: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    fs::write(&out, "older\n").unwrap();
    let error = compact(data, &out, &Options::default(), &mut |_| {}).unwrap_err();
    assert_eq!(fs::read_to_string(&out).unwrap(), "older\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    error.to_string()
}

#[test]
fn any_damage_is_refused_and_the_older_output_stays() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(dir.path());
    let files = segments(&data);
    assert!(files.len() > 2, "{} segments", files.len());
    for file in &files {
        let good = fs::read(file).unwrap();
        for at in (0..good.len()).step_by(good.len() / 12) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(file, &bad).unwrap();
            let text = refused(&data);
            assert!(text.starts_with("the ledger is damaged: "), "{text}");
            assert!(text.ends_with(&format!("; run next: orchctl ledger verify {}", data.display())), "{text}");
        }
        fs::write(file, good).unwrap();
    }
    compact(&data, &dir.path().join("out"), &Options::default(), &mut |_| {}).unwrap();
}

#[test]
fn lines_that_are_sound_but_in_the_wrong_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(dir.path());
    let files = segments(&data);
    let good = fs::read_to_string(&files[1]).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    for (drop, swap) in [(Some(4), None), (None, Some(4))] {
        let mut bad = lines.clone();
        if let Some(at) = drop {
            bad.remove(at);
        }
        if let Some(at) = swap {
            bad.swap(at, at + 1);
        }
        fs::write(&files[1], bad.join("\n") + "\n").unwrap();
        assert!(refused(&data).contains("expected seq"), "{}", refused(&data));
    }
    fs::write(&files[1], &good).unwrap();
    fs::remove_file(&files[1]).unwrap();
    assert!(refused(&data).starts_with("the ledger is damaged: "), "{}", refused(&data));
}

#[test]
fn another_history_than_the_one_that_head_names_is_refused() {
    // Two ledgers of the same shape: every line of the one is sound, but HEAD is the other's.
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let make = |dir: &Path, t: f64| {
        let mut book = Book::new(dir);
        let contract = book.contract(zeros("zeros", 1));
        book.deliver(&contract, "w", &[t]);
        book.close()
    };
    let (one, two) = (make(one.path(), 1.0), make(two.path(), 2.0));
    fs::copy(two.join("HEAD"), one.join("HEAD")).unwrap();
    let text = refused(&one);
    assert!(text.contains("expected chain link") && text.contains("as HEAD names it"), "{text}");
}

#[test]
fn what_is_no_ledger_is_told_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(&dir.path().join("data"));
    let at = dir.path().canonicalize().unwrap();
    let text = |path: PathBuf| refused(&path);

    let missing = dir.path().join("nothing");
    assert_eq!(text(missing.clone()), format!("{} is not a ledger: there is no such directory", missing.display()));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(
        text(empty.clone()),
        format!(
            "{} is not a ledger: it has neither HEAD nor ledger/; name the directory that the orchestrator was given with --data",
            empty.display()
        )
    );
    let segment = segments(&data)[0].clone();
    assert_eq!(
        text(segment.clone()),
        format!(
            "{} is not a ledger: it is one segment of a ledger; name the data directory, {}/data",
            segment.display(),
            at.display()
        )
    );
    assert!(text(data.join("HEAD")).contains("it is one file of a data directory"));
    let file = dir.path().join("ledger.jsonl");
    fs::write(&file, "{}\n").unwrap();
    assert!(text(file).contains("it is a file; a ledger is a data directory"));
    let copied = dir.path().join("copied");
    fs::create_dir(&copied).unwrap();
    fs::copy(&segment, copied.join(segment.file_name().unwrap())).unwrap();
    assert!(text(copied).contains("HEAD is not beside it"));

    // The folder of segments means the data directory around it.
    compact(&data.join("ledger"), &dir.path().join("out"), &Options::default(), &mut |_| {}).unwrap();
}

#[test]
fn an_output_among_the_ledgers_own_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(dir.path());
    for name in ["ledger/00000000000000000001.jsonl", "ledger/out.jsonl", "HEAD", "LEDGER_ID"] {
        let before = fs::read(data.join(name)).ok();
        let error = compact(&data, &data.join(name), &Options::default(), &mut |_| {}).unwrap_err();
        assert!(
            error.to_string().ends_with("would lie among the ledger's own files: name a file elsewhere"),
            "{error}"
        );
        assert_eq!(fs::read(data.join(name)).ok(), before);
    }
    // Beside them is a good place.
    compact(&data, &data.join("merged_clean.jsonl"), &Options::default(), &mut |_| {}).unwrap();
}

#[test]
fn beside_an_open_writer_only_what_is_durable_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::new(dir.path());
    let contract = book.contract(zeros("zeros", 1));
    book.deliver(&contract, "w", &[3.0, 1.0]);
    let head = book.ledger.head();
    let out = dir.path().join("out.jsonl");
    let text = |book: &Book| {
        let summary = compact(&book.data, &out, &Options::default(), &mut |_| {}).unwrap();
        (fs::read_to_string(&out).unwrap(), summary)
    };
    let (first, summary) = text(&book);
    assert_eq!((first.lines().count(), summary.seq, summary.chain), (2, head.seq, head.chain));

    // Behind the durable end: a batch that is half there, as a reader may meet it.
    let active = segments(&book.data).pop().unwrap();
    let half = b"{\"seq\":999,\"batch\":";
    let mut file = fs::OpenOptions::new().write(true).open(&active).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(head.offset)).unwrap();
    file.write_all(half).unwrap();
    assert_eq!(text(&book).0, first);

    // The writer goes on over it, and what it made durable is taken then.
    book.deliver(&contract, "w", &[2.0]);
    assert_eq!(text(&book).0.lines().count(), 3);

    // A whole batch of which HEAD does not know yet is not taken either.
    let head = book.ledger.head();
    let saved = fs::read(book.data.join("HEAD")).unwrap();
    book.deliver(&contract, "w", &[4.0]);
    fs::write(book.data.join("HEAD"), saved).unwrap();
    let (behind, summary) = text(&book);
    assert_eq!((behind.lines().count(), summary.seq), (3, head.seq));
}

#[test]
fn lines_can_be_pushed_from_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(&dir.path().join("data"));
    let out = dir.path().join("out");
    let mut reading = Vec::new();
    let summary = compact(&data, &out, &Options::default(), &mut |progress| reading.push(progress)).unwrap();
    let total = raw_lines(&data).iter().map(|line| line.len() as u64 + 1).sum();
    assert!(reading.contains(&Progress::Reading { done: total, total }), "{reading:?}");
    assert_eq!(reading.last(), Some(&Progress::Writing { done: 200, total: 200 }));

    let lines = raw_lines(&data);
    let pushed = |options: Options, lines: &[Vec<u8>]| {
        let mut compactor = Compactor::new(options);
        for line in lines {
            compactor.push_line(line)?;
        }
        let mut out = Vec::new();
        let summary = compactor.finish()?.write_jsonl(&mut out, Path::new("-"), &mut |_| {})?;
        Ok::<_, CompactError>((out, summary))
    };
    let (text, pushed_summary) = pushed(Options::default(), &lines).unwrap();
    assert_eq!((text, pushed_summary), (fs::read(&out).unwrap(), summary));

    // The end is missing, within a batch.
    let until = lines.iter().rposition(|line| line.windows(18).any(|w| w == b"candidate_accepted")).unwrap();
    let error = pushed(Options::default(), &lines[..until]).unwrap_err();
    assert!(error.to_string().ends_with(": 1 of its records are missing"), "{error}");
    // A line is missing.
    let error = pushed(Options::default(), &lines[1..]).unwrap_err();
    assert_eq!(error.to_string(), "the ledger is damaged: record 1: expected seq 1, found 2");
    // A line is not one.
    let error = pushed(Options::default(), &[b"{}".to_vec()]).unwrap_err();
    assert!(error.to_string().starts_with("the ledger is damaged: record 1: expected "), "{error}");
    // Beyond `until` nothing is looked at.
    let mut more = lines[..until + 1].to_vec();
    more.push(b"not a line".to_vec());
    let options = Options { until: Some(Seq(until as u64 - 3)), ..Options::default() };
    pushed(options, &more).unwrap();
    let error = pushed(Options { until: Some(Seq(9999)), ..Options::default() }, &lines).unwrap_err();
    assert!(error.to_string().ends_with("records until 9999 were asked for"), "{error}");
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let refuse = |write: &dyn Fn(&mut Book, &str)| {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::new(&dir.path().join("data"));
        let contract = book.contract(zeros("zeros", 1));
        write(&mut book, &contract);
        let data = book.close();
        let options = Options { provenance: true, ..Options::default() };
        compact(&data, &dir.path().join("out"), &options, &mut |_| {}).unwrap_err().to_string()
    };
    // The same candidate twice: written again past the gates.
    let twice = refuse(&|book, contract| {
        let origin = book.leased("w");
        let seq = book.submit(origin, contract, &["{\"t\":1}".into()])[0];
        let record = book.ledger.read(seq).unwrap();
        book.write(&record.event);
    });
    assert!(twice.ends_with("are the same candidate, which a ledger never holds twice"), "{twice}");
    let no_lease = refuse(&|book, contract| {
        let origin = book.leased("w");
        book.complete(origin);
        book.submit(origin, contract, &["{\"t\":1}".into()]);
    });
    assert!(no_lease.ends_with("which was not current"), "{no_lease}");
    let reserved = refuse(&|book, contract| {
        let origin = book.leased("w");
        book.submit(origin, contract, &["{\"t\":1,\"_orch\":2}".into()]);
    });
    assert!(reserved.contains("has a field \"_orch\" of its own"), "{reserved}");
    let unregistered = refuse(&|book, contract| {
        let origin = book.leased("w");
        let seq = book.submit(origin, contract, &["{\"t\":1}".into()])[0];
        let Event::CandidateAccepted(mut accepted) = book.ledger.read(seq).unwrap().event else { unreachable!() };
        accepted.contract = "other@1".parse().unwrap();
        book.write(&Event::CandidateAccepted(accepted));
    });
    assert!(unregistered.contains("contract other@1, which no record before it holds"), "{unregistered}");
}
