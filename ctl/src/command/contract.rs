//! `orchctl contract`: look at contracts, and try one offline.

use std::path::Path;
use std::sync::Arc;

use orch_core::contract::{AcceptedSet, Contract, ContractSpec, Screen};
use orch_core::id::{ContractName, ContractRef, Seq};
use orch_proto::v1;

use super::input::{self, ReadLine};
use super::submit;
use crate::args::{ContractCommand, ContractTestArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{ContractView, ContractsView, TestView, VerdictView};

/// Lists, shows or tests.
pub async fn run(context: &Context, command: ContractCommand) -> Result<Exit, Failure> {
    match command {
        ContractCommand::List => {
            let client = context.connect().await?;
            context.print(&ContractsView { contracts: list(&client, String::new()).await? })?;
            Ok(Exit::Done)
        }
        ContractCommand::Show { contract: (name, version) } => {
            let client = context.connect().await?;
            context.print(&show(&client, &name, version).await?)?;
            Ok(Exit::Done)
        }
        ContractCommand::Test(args) => {
            let view = test(&args)?;
            context.print(&view)?;
            Ok(if view.rejected == 0 { Exit::Done } else { Exit::Error })
        }
    }
}

async fn list(client: &Client, name: String) -> Result<Vec<ContractView>, Failure> {
    let mut admin = client.admin();
    let call = admin.list_contracts(v1::ListContractsRequest { name });
    let answer = client.unary("cannot list contracts", call).await?;
    let contracts: Result<Vec<ContractView>, String> =
        answer.contracts.into_iter().map(ContractView::try_from).collect();
    contracts.map_err(Failure::error)
}

async fn show(client: &Client, name: &ContractName, version: Option<u32>) -> Result<ContractView, Failure> {
    let versions = list(client, name.to_string()).await?;
    let mut matching: Vec<ContractView> = versions
        .into_iter()
        .filter(|contract| {
            contract.spec.name == *name && version.is_none_or(|version| contract.spec.version == version)
        })
        .collect();
    matching.sort_by_key(ContractView::reference);
    let asked = version.map_or_else(|| name.to_string(), |version| format!("{name}@{version}"));
    matching.pop().ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("contract {asked} is not registered"))
            .fix("`orchctl contract list` lists those that are")
    })
}

fn test(args: &ContractTestArgs) -> Result<TestView, Failure> {
    let spec = pick(&args.file, args.contract.as_ref())?;
    let reference = spec.reference().to_string();
    let bad = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", input::name(&args.file)));
    let contract = Arc::new(Contract::compile(spec).map_err(|error| bad(&error))?);
    let payload = input::payload(&args.payload)?;
    let needs_payload = "give the job's payload with --payload JSON";
    let Some(candidates) = &args.candidates else {
        // Without candidates the payload may be missing too: the contract itself was checked.
        let complete_count = contract.expected_count(&payload).ok().flatten();
        let none = TestView {
            contract: reference,
            accepted: 0,
            duplicate: 0,
            rejected: 0,
            complete_count,
            verdicts: Vec::new(),
        };
        return Ok(none);
    };
    let screen = contract.bind(&payload).map_err(|error| bad(&error).fix(needs_payload))?;
    let complete_count = contract.expected_count(&payload).map_err(|error| bad(&error).fix(needs_payload))?;
    let verdicts = judge(&screen, candidates)?;
    let count = |verdict| verdicts.iter().filter(|view| view.verdict == verdict).count() as u64;
    let (accepted, duplicate, rejected) = (count("accepted"), count("duplicate"), count("rejected"));
    Ok(TestView { contract: reference, accepted, duplicate, rejected, complete_count, verdicts })
}

/// The contract of a manifest: the one that is asked for, or the only one.
fn pick(file: &Path, wanted: Option<&ContractRef>) -> Result<ContractSpec, Failure> {
    let manifest = submit::parse(file)?;
    let found: Vec<&ContractSpec> =
        manifest.contracts().filter(|spec| wanted.is_none_or(|wanted| spec.reference() == *wanted)).collect();
    let names: Vec<String> = manifest.contracts().map(|spec| spec.reference().to_string()).collect();
    let name = input::name(file);
    match found.as_slice() {
        [spec] => Ok((*spec).clone()),
        [] if names.is_empty() => {
            Err(Failure::usage(format!("{name} holds no contract")).fix("name a file with a document `contract: NAME`"))
        }
        [] => Err(Failure::usage(format!("{name} holds other contracts: {}", names.join(", ")))
            .fix("name one of them with --contract")),
        [..] => Err(Failure::usage(format!("{name} holds several contracts: {}", names.join(", ")))
            .fix("say which with --contract")),
    }
}

/// The verdict on every line that holds something, as the orchestrator would give it to a first batch.
fn judge(screen: &Screen, file: &Path) -> Result<Vec<VerdictView>, Failure> {
    let mut input = input::open(file)?;
    let (mut text, mut line) = (Vec::new(), 0);
    let mut accepted = AcceptedSet::new();
    let mut verdicts = Vec::new();
    loop {
        let read = input::read_line(&mut *input, &mut text);
        let read = read.map_err(|error| Failure::error(format!("cannot read {}", input::name(file))).because(error))?;
        if read == ReadLine::End {
            return Ok(verdicts);
        }
        line += 1;
        if !text.trim_ascii().is_empty() {
            verdicts.push(verdict(screen, &mut accepted, line, &text));
        }
    }
}

fn verdict(screen: &Screen, accepted: &mut AcceptedSet, line: u64, text: &[u8]) -> VerdictView {
    let blank = VerdictView { line, verdict: "accepted", digest: None, duplicate_of: None, rule: None, message: None };
    let screened = match screen.judge(text) {
        Ok(screened) => screened,
        Err(rejection) => {
            let (rule, message) = (Some(rejection.rule.name()), Some(rejection.message));
            return VerdictView { verdict: "rejected", rule, message, ..blank };
        }
    };
    let digest = Some(screened.digest());
    match accepted.find(&screened) {
        // The set keeps seqs; here a line stands for one.
        Some(Seq(first)) => VerdictView { verdict: "duplicate", digest, duplicate_of: Some(first), ..blank },
        None => {
            accepted.insert(screened.digest(), screened.offsets(), Seq(line));
            VerdictView { digest, ..blank }
        }
    }
}
