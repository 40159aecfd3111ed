//! The `orch-torture` command.

mod args;

use std::process::ExitCode;

use clap::Parser as _;
use orch_torture::binaries::Binaries;
use orch_torture::report::Progress;
use orch_torture::work::Work;
use orch_torture::{Report, TortureError, calls, disk, hostile, kill, overload, pause, rollback, stampede, writers};
use tokio::signal::unix::{SignalKind, signal};

use args::{Command, Torture};

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    let work = match Work::new(name(&command.torture), command.common.work_dir.as_deref()) {
        Ok(work) => work,
        Err(error) => return failed(&error),
    };
    let done = tokio::select! {
        done = run(&command, &work) => done,
        // What runs is dropped, and with it every process, mount and file.
        () = interrupted() => {
            eprintln!("orch-torture: interrupted");
            return ExitCode::from(130);
        }
    };
    let good = match &done {
        Ok(report) => {
            println!("{report}");
            report.is_good()
        }
        Err(error) => {
            failed(error);
            false
        }
    };
    if !good || command.common.keep {
        eprintln!("orch-torture: the files are in {}", work.keep().display());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(error: &TortureError) -> ExitCode {
    eprintln!("orch-torture: {}", error.in_full());
    ExitCode::FAILURE
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn name(torture: &Torture) -> &'static str {
    match torture {
        Torture::Kill(_) => "kill",
        Torture::Calls(_) => "calls",
        Torture::Pause(_) => "pause",
        Torture::Rollback(_) => "rollback",
        Torture::Disk(_) => "disk",
        Torture::Writers(_) => "writers",
        Torture::Overload(_) => "overload",
        Torture::Stampede(_) => "stampede",
        Torture::HostileClients(_) => "hostile-clients",
    }
}

async fn run(command: &Command, work: &Work) -> Result<Report, TortureError> {
    let common = &command.common;
    let binaries = Binaries::find(common.bin_dir.clone())?;
    let (folder, seed, progress) = (work.path(), common.seed, Progress::new());
    match &command.torture {
        Torture::Kill(args::Kill { cycles, clients, longest, check_every }) => {
            let options = kill::Options {
                cycles: *cycles,
                clients: *clients,
                longest: *longest,
                check_every: (*check_every).max(1),
                seed,
            };
            kill::run(&binaries, folder, &options, &progress).await
        }
        Torture::Calls(args::Calls { every, short_writes }) => {
            let options = calls::Options { every: *every, short_writes: *short_writes, seed };
            calls::run(&binaries, folder, &options, &progress).await
        }
        Torture::Pause(args::Pause { runs, parallel }) => {
            let options = pause::Options { runs: *runs, parallel: *parallel };
            pause::run(&binaries, folder, &options, &progress).await
        }
        Torture::Rollback(args::Rollback { cycles }) => {
            let options = rollback::Options { cycles: *cycles };
            rollback::run(&binaries, folder, &options, &progress).await
        }
        Torture::Disk(args::Disk { cycles, clients }) => {
            let options = disk::Options { cycles: *cycles, clients: *clients };
            disk::run(&binaries, folder, &options, &progress).await
        }
        Torture::Writers(args::Writers { cycles }) => {
            let options = writers::Options { cycles: *cycles };
            writers::run(&binaries, folder, &options, &progress).await
        }
        Torture::Overload(args::Overload { flood, times, waiting }) => {
            let options = overload::Options { flood: *flood, times: *times, waiting: *waiting };
            overload::run(&binaries, folder, &options, &progress).await
        }
        Torture::Stampede(args::Stampede { workers, quiet, heartbeat }) => {
            let options = stampede::Options { workers: *workers, quiet: *quiet, heartbeat: *heartbeat, seed };
            stampede::run(&binaries, folder, &options, &progress).await
        }
        Torture::HostileClients(args::HostileClients { slow, flood, time, tls }) => {
            let options = hostile::Options { slow: *slow, flood: *flood, time: *time, tls: *tls };
            hostile::run(&binaries, folder, &options, &progress).await
        }
    }
}
