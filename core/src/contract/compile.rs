//! From a spec to a contract that can judge: every fault of it at once, each with its place.

use std::sync::Arc;

use serde_json::Value;

use super::field::Field;
use super::identity::Identity;
use super::schema::Schema;
use super::screen::Screen;
use super::spec::{Completeness, ContractSpec, SizeLimits};
use super::tolerance::Rule;
use super::{CountRule, sort_key};
use crate::id::ContractRef;
use crate::job::Payload;
use crate::json::Tree;

/// The most bytes of a contract's record.
const MAX_CONTRACT_BYTES: usize = 128 * 1024;

/// The deepest nesting of a schema, far below what a reader of the ledger still takes.
const MAX_SCHEMA_DEPTH: usize = 64;

/// The largest limits that a contract may set, so that every accepted candidate fits into a line of the ledger.
const MOST: SizeLimits = SizeLimits { max_bytes: 64 * 1024, max_depth: 64 };

/// A contract ready to judge: its schema compiled, its rules checked.
pub struct Contract {
    spec: ContractSpec,
    reference: ContractRef,
    pub(super) schema: Schema,
    pub(super) rules: Vec<Rule>,
    pub(super) identity: Identity,
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contract").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Why a contract cannot be registered: every fault, each naming its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract {contract}: {}", faults.join("; "))]
pub struct ContractError {
    /// The contract, `name@version`.
    pub contract: String,
    /// Its faults.
    pub faults: Vec<String>,
}

/// Why a contract cannot judge a job's candidates: a bound or a count refers to a field of the payload that is
/// missing or is no such number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract {contract}: payload field {field:?} {fault}")]
pub struct BindError {
    /// The contract.
    pub contract: ContractRef,
    /// The field of the payload.
    pub field: String,
    /// What is wrong with it.
    pub fault: String,
}

impl Contract {
    /// A contract ready to judge by this spec.
    ///
    /// # Errors
    /// [`ContractError`] with every fault: a schema that is none, a rule with no comparison or several, a bound that
    /// is not finite or lets nothing pass, an identity without fields, a quantum that is not a positive decimal,
    /// limits out of range, version 0, a contract too large to record.
    pub fn compile(spec: ContractSpec) -> Result<Self, ContractError> {
        let reference = spec.reference();
        let mut faults = check_frame(&spec);
        let schema = Schema::compile(&spec.schema).map_err(|more| faults.extend(more));
        let mut rules = Vec::with_capacity(spec.tolerance.len());
        for (i, rule) in spec.tolerance.iter().enumerate() {
            match Rule::compile(i, rule) {
                Ok(rule) => rules.push(rule),
                Err(more) => faults.extend(more),
            }
        }
        let identity = Identity::compile(&reference.to_string(), &spec.identity).map_err(|more| faults.extend(more));
        if let Some(complete) = &spec.complete {
            faults.extend(check_complete(complete));
        }
        match (schema, identity) {
            (Ok(schema), Ok(identity)) if faults.is_empty() => Ok(Self { spec, reference, schema, rules, identity }),
            _ => Err(ContractError { contract: reference.to_string(), faults }),
        }
    }

    /// The contract as recorded.
    pub fn spec(&self) -> &ContractSpec {
        &self.spec
    }

    /// The contract's name and version.
    pub fn reference(&self) -> &ContractRef {
        &self.reference
    }

    /// The contract with its bounds taken from a job's payload.
    ///
    /// # Errors
    /// [`BindError`] if a bound's field is missing, is no finite number, or makes a bound that lets nothing pass.
    pub fn bind(self: &Arc<Self>, payload: &Payload) -> Result<Screen, BindError> {
        // Most of what this costs is reading the payload: nothing to do for a contract that refers to none of it.
        let payload = if self.rules.is_empty() { Value::Null } else { payload.value() };
        let payload = Tree::from(&payload);
        let bounds = self.rules.iter().map(|rule| rule.bind(&payload)).collect::<Result<_, _>>();
        let bounds = bounds.map_err(|fault| self.bind_error(fault))?;
        Ok(Screen::new(Arc::clone(self), bounds))
    }

    /// How many distinct candidates make a job with this payload complete, if the contract says so.
    ///
    /// # Errors
    /// [`BindError`] if a field of the count is missing or not a whole number, or the count would be negative.
    pub fn expected_count(&self, payload: &Payload) -> Result<Option<u64>, BindError> {
        let Some(Completeness { count }) = &self.spec.complete else { return Ok(None) };
        let count = match count {
            CountRule::Number(count) => Ok(*count),
            CountRule::Payload { .. } => count.resolve(&Tree::from(&payload.value())),
        };
        count.map(Some).map_err(|fault| self.bind_error(fault))
    }

    /// Bytes by which exports sort candidates: comparing two keys as bytes compares the identity fields in the
    /// contract's order.
    ///
    /// Within a field: a missing value, null, false, true, numbers by value (in a field with a quantum, exact
    /// decimals in strings among them), strings by their UTF-8 bytes, arrays, objects (both by their canonical text).
    pub fn sort_key(&self, candidate: &Value) -> Vec<u8> {
        let candidate = Tree::from(candidate);
        let mut key = Vec::with_capacity(24 * self.spec.identity.len());
        for (value, field) in self.identity.values(&candidate).zip(&self.spec.identity) {
            sort_key::push(value, field.quantum.is_some(), &mut key);
        }
        key
    }

    /// The text whose SHA-256 is a candidate's digest, for people who check one by hand. The candidate is not judged.
    ///
    /// # Errors
    /// A message, if an identity field is missing or has no place on its grid.
    pub fn preimage(&self, candidate: &Value) -> Result<String, String> {
        self.identity.preimage(&Tree::from(candidate))
    }

    fn bind_error(&self, (field, fault): super::bound::FieldFault) -> BindError {
        BindError { contract: self.reference.clone(), field, fault: super::message::clip(&fault) }
    }
}

/// What no gate looks at: version, limits, sizes.
fn check_frame(spec: &ContractSpec) -> Vec<String> {
    let mut faults = Vec::new();
    if spec.version == 0 {
        faults.push("version: 0 is not a version: they count from 1".to_owned());
    }
    let SizeLimits { max_bytes, max_depth } = spec.limits;
    for (name, value, most) in [("max_bytes", max_bytes, MOST.max_bytes), ("max_depth", max_depth, MOST.max_depth)] {
        if !(1..=most).contains(&value) {
            faults.push(format!("limits.{name}: {value} is not between 1 and {most}"));
        }
    }
    if depth(&spec.schema) > MAX_SCHEMA_DEPTH {
        faults.push(format!("schema: is nested more than {MAX_SCHEMA_DEPTH} levels deep"));
    }
    let bytes = serde_json::to_vec(spec).map_or(0, |text| text.len());
    if bytes > MAX_CONTRACT_BYTES {
        faults.push(format!("is {bytes} bytes long, at most {MAX_CONTRACT_BYTES} are allowed"));
    }
    faults
}

fn check_complete(complete: &Completeness) -> Vec<String> {
    match &complete.count {
        CountRule::Number(_) => Vec::new(),
        CountRule::Payload { payload, minus } => {
            let fields = [("payload", Some(payload)), ("minus", minus.as_ref())];
            let fault = |(name, field): (&str, Option<&String>)| {
                Field::parse(field?).err().map(|fault| format!("complete.count.{name}: {fault}"))
            };
            fields.into_iter().filter_map(fault).collect()
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
