//! Contracts.

use orch_core::contract::ContractSpec;
use orch_core::id::ContractRef;
use orch_proto::v1;
use serde::Serialize;

use crate::output::{Cell, Page, Table, View, each, key_values};

/// A registered version of a contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContractView {
    /// `name@version`.
    pub contract: String,
    /// The record that registered it.
    pub seq: u64,
    /// Candidates that it accepted.
    pub accepted: u64,
    /// The contract itself, as `orchctl submit` takes it.
    pub spec: ContractSpec,
}

impl TryFrom<v1::ContractStatus> for ContractView {
    type Error = String;

    fn try_from(wire: v1::ContractStatus) -> Result<Self, String> {
        let v1::ContractStatus { contract, spec_json, seq, accepted } = wire;
        let spec = serde_json::from_str(&spec_json).map_err(|error| format!("contract {contract}: {error}"))?;
        Ok(Self { contract, seq, accepted, spec })
    }
}

impl ContractView {
    /// Its name and version.
    pub fn reference(&self) -> ContractRef {
        self.spec.reference()
    }
}

impl View for ContractView {
    fn table(&self, page: &Page) -> String {
        let pairs = [
            ("contract", Cell::from(&self.contract)),
            ("registered", format!("seq {}", self.seq).into()),
            ("accepted", self.accepted.into()),
        ];
        // A contract is a tree: YAML shows it as its author wrote it.
        let spec = serde_saphyr::to_string(&self.spec).unwrap_or_else(|error| error.to_string());
        format!("{}\n\n{spec}", key_values(page, &pairs))
    }

    fn names(&self) -> Vec<String> {
        vec![self.contract.clone()]
    }
}

/// A list of contracts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContractsView {
    pub contracts: Vec<ContractView>,
}

impl View for ContractsView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["CONTRACT", ">ACCEPTED", ">SEQ", "IDENTITY", "DESCRIPTION"]);
        for contract in &self.contracts {
            let identity: Vec<&str> = contract.spec.identity.iter().map(|field| field.field.as_str()).collect();
            table.row(vec![
                Cell::from(&contract.contract),
                contract.accepted.into(),
                contract.seq.into(),
                identity.join(",").into(),
                Cell::from(&contract.spec.description),
            ]);
        }
        table.text(page, "no contracts yet: register one with `orchctl submit -f FILE`")
    }

    fn names(&self) -> Vec<String> {
        self.contracts.iter().map(|contract| contract.contract.clone()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.contracts)
    }
}
