//! Gate one: the contract's JSON Schema (draft 2020-12).
//!
//! Schemas of the common subset are judged by [`Subset`]; every other one by boon. Both are compiled from the same
//! text, and boon checks it against the meta-schema either way. Nothing is ever fetched: a `$ref` that leaves the
//! schema is a fault of the contract.

use boon::{CompileError, Compiler, Draft, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use super::message;
use super::subset::Subset;
use crate::json::Tree;

/// Where the schema stands for the compiler. `invalid` is the top-level domain that never resolves (RFC 2606).
const LOCATION: &str = "https://orch.invalid/schema";

/// A compiled schema.
pub(super) enum Schema {
    /// One that the quick checker knows in full.
    Quick(Subset),
    /// Any other.
    Full(Box<Full>),
}

/// boon's form of a schema.
pub(super) struct Full {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// Compiles a schema; faults name their place.
    pub(super) fn compile(schema: &Value) -> Result<Self, Vec<String>> {
        let full = Full::compile(schema)?;
        Ok(match Subset::compile(schema) {
            Some(subset) => Self::Quick(subset),
            None => Self::Full(Box::new(full)),
        })
    }

    /// Judges a candidate: the first fault, with its place.
    pub(super) fn check(&self, candidate: &Tree<'_>) -> Result<(), String> {
        match self {
            Self::Quick(subset) => subset.check(candidate),
            Self::Full(full) => full.check(&Value::from(candidate.clone())),
        }
    }
}

impl Full {
    pub(super) fn compile(schema: &Value) -> Result<Self, Vec<String>> {
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            return Err(vec![format!(
                "schema: {} is not a schema: an object is needed",
                message::show(&Tree::from(schema))
            )]);
        }
        if let Some(draft) = schema.get("$schema").filter(|draft| !is_supported_draft(draft)) {
            return Err(vec![format!(
                "schema.$schema: {} is not supported: leave it out, or write {SUPPORTED_DRAFT:?}",
                message::show(&Tree::from(draft))
            )]);
        }
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        // The default one opens file: URLs.
        compiler.use_loader(Box::new(NothingElse));
        let faults = |error: CompileError| compile_faults(&error);
        compiler.add_resource(LOCATION, schema.clone()).map_err(faults)?;
        let mut schemas = Schemas::new();
        let index = compiler.compile(LOCATION, &mut schemas).map_err(faults)?;
        Ok(Self { schemas, index })
    }

    pub(super) fn check(&self, candidate: &Value) -> Result<(), String> {
        self.schemas.validate(candidate, self.index).map_err(|error| {
            let leaf = first_leaf(&error);
            format!("{}: {}", place(&leaf.instance_location.to_string()), leaf.kind)
        })
    }
}

const SUPPORTED_DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

fn is_supported_draft(draft: &Value) -> bool {
    draft.as_str().is_some_and(|draft| draft.trim_end_matches('#') == SUPPORTED_DRAFT)
}

/// Loads nothing: contracts stand alone, whatever machine judges by them.
struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url} lies outside the contract, which must stand alone").into())
    }
}

fn compile_faults(error: &CompileError) -> Vec<String> {
    match error {
        CompileError::ValidationError { src, .. } => {
            let mut leaves = Vec::new();
            all_leaves(src, &mut leaves);
            let fault = |leaf: &&ValidationError| format!("schema{}: {}", leaf.instance_location, leaf.kind);
            let mut faults: Vec<String> = leaves.iter().map(fault).collect();
            faults.dedup();
            faults
        }
        // The enum is boon's and open; its own words name the place as a URL under LOCATION.
        other => {
            let text = format!("{other:#}");
            vec![format!("schema: {}", text.replace(&format!("{LOCATION}#"), "").replace(LOCATION, ""))]
        }
    }
}

fn all_leaves<'a>(error: &'a ValidationError<'a, 'a>, leaves: &mut Vec<&'a ValidationError<'a, 'a>>) {
    if error.causes.is_empty() {
        leaves.push(error);
    }
    for cause in &error.causes {
        all_leaves(cause, leaves);
    }
}

/// The fault that says most: the first innermost one, but not beyond a choice, whose branches all failed.
fn first_leaf<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    let is_choice = matches!(error.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_) | ErrorKind::Not | ErrorKind::Contains);
    match error.causes.first() {
        Some(cause) if !is_choice => first_leaf(cause),
        Some(_) | None => error,
    }
}

/// How a message names a place in the candidate: `t`, `/meta/iters`, or the candidate itself.
pub(super) fn place(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        None => "candidate".to_owned(),
        Some(rest) if rest.contains(['/', '~']) || rest.is_empty() => pointer.to_owned(),
        Some(key) => key.to_owned(),
    }
}
