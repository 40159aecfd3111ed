//! Identity: which candidate is the same as which, and the digests by which that is looked up.
//!
//! A field with a quantum is put on a grid: its value's position is `p = floor(value / quantum * 2^32)`, its bucket
//! `floor(p / 2^32)` and its offset `p mod 2^32`. The digest covers the buckets and every exact field. Two candidates
//! are the same if their exact fields are and every pair of positions is less than 2^32, one quantum, apart. So a
//! candidate that is the same as another lies in its bucket or in one beside it, and never needs rounding luck.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::decimal::{Decimal, MAX_QUANTUM_DIGITS};
use super::field::Field;
use super::screen::Probe;
use super::spec::IdentityField;
use super::{MAX_NUMERIC_FIELDS, message};
use crate::digest::Digest;
use crate::json::{self, Tree};

/// One quantum, in units of position.
const QUANTUM: i128 = 1 << 32;

/// Whether two candidates whose exact identity fields agree are the same: every value of theirs is less than a
/// quantum from mine. Their bucket lies `steps` from mine, per numeric field, -1, 0 or 1.
pub fn same(offsets_mine: &[u32], steps: &[i8], offsets_theirs: &[u32]) -> bool {
    offsets_mine.len() == offsets_theirs.len()
        && offsets_mine.len() <= steps.len()
        && offsets_mine.iter().zip(steps).zip(offsets_theirs).all(|((mine, step), theirs)| {
            let apart = i128::from(*theirs) + i128::from(*step) * QUANTUM - i128::from(*mine);
            apart.abs() < QUANTUM
        })
}

/// A contract's identity fields, compiled.
pub(super) struct Identity {
    /// In the contract's order.
    parts: Vec<Part>,
    /// Indices into `parts` in the order in which canonical JSON writes their keys.
    written: Vec<usize>,
    /// The preimage up to the first field's key.
    head: String,
}

struct Part {
    name: String,
    field: Field,
    /// `"name":`, canonical.
    key: String,
    grid: Option<Grid>,
}

/// What a numeric field is measured with.
struct Grid {
    quantum: Decimal,
    /// The how-manieth numeric field this is, in the contract's order.
    numeric: usize,
}

impl Part {
    fn compile(spec: &IdentityField) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let field = Field::parse(&spec.field).map_err(|fault| faults.push(format!("field: {fault}")));
        let quantum = spec.quantum.as_ref().map(quantum).transpose();
        let quantum = quantum.map_err(|fault| faults.push(format!("quantum: {fault}")));
        let (Ok(field), Ok(quantum)) = (field, quantum) else { return Err(faults) };
        let mut key = String::new();
        json::write_string(&spec.field, &mut key);
        key.push(':');
        // The number among the numeric fields is known once all fields are.
        let grid = quantum.map(|quantum| Grid { quantum, numeric: 0 });
        Ok(Self { name: spec.field.clone(), field, key, grid })
    }

    fn place(&self, candidate: &Tree<'_>) -> Result<Place, String> {
        let value = self.field.get(candidate).ok_or_else(|| format!("{}: is missing", self.name))?;
        let Some(Grid { quantum, numeric }) = &self.grid else {
            return Ok(Place::Exact(value.canonical_text()));
        };
        let position = Decimal::of(value).and_then(|decimal| decimal.position(quantum));
        let position = position.map_err(|fault| format!("{}: {}: {fault}", self.name, message::show(value)))?;
        // Bounded by `position`: the bucket is in [-2^63, 2^63). The offset is the low half, for negative ones too.
        Ok(Place::Grid { bucket: (position >> 32) as i64, offset: position as u32, numeric: *numeric })
    }
}

fn quantum(value: &Value) -> Result<Decimal, String> {
    let tree = Tree::from(value);
    let shown = message::show(&tree);
    let decimal = Decimal::of(&tree).map_err(|fault| format!("{shown}: {fault}"))?;
    if !decimal.is_positive() {
        return Err(format!("{shown} is not greater than 0"));
    }
    if decimal.significant_digits() > MAX_QUANTUM_DIGITS {
        return Err(format!("{shown} has more than {MAX_QUANTUM_DIGITS} significant digits"));
    }
    Ok(decimal)
}

/// What identity makes of one candidate.
pub(super) struct Identified {
    pub(super) digest: Digest,
    pub(super) offsets: Vec<u32>,
    pub(super) neighbours: Vec<Probe>,
}

impl Identity {
    /// Compiles the fields of a contract called `reference`; faults name their place.
    pub(super) fn compile(reference: &str, fields: &[IdentityField]) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        if fields.is_empty() {
            faults.push("identity: is empty: name at least one field".to_owned());
        }
        for (i, spec) in fields.iter().enumerate() {
            match Part::compile(spec) {
                Ok(part) if parts.iter().any(|other| other.field == part.field) => {
                    faults.push(format!("identity[{i}].field: {:?} is named before", part.name));
                }
                Ok(part) => parts.push(part),
                Err(part_faults) => faults.extend(part_faults.into_iter().map(|f| format!("identity[{i}].{f}"))),
            }
        }
        let numeric = fields.iter().filter(|field| field.quantum.is_some()).count();
        if numeric > MAX_NUMERIC_FIELDS {
            faults.push(format!("identity: {numeric} fields have a quantum, at most {MAX_NUMERIC_FIELDS} may"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        for (numeric, grid) in parts.iter_mut().filter_map(|part| part.grid.as_mut()).enumerate() {
            grid.numeric = numeric;
        }
        let mut written: Vec<usize> = (0..parts.len()).collect();
        written.sort_by(|a, b| json::utf16_order(&parts[*a].name, &parts[*b].name));
        let mut head = String::from("{\"contract\":");
        json::write_string(reference, &mut head);
        head.push_str(",\"identity\":{");
        Ok(Self { parts, written, head })
    }

    /// The digest, offsets and neighbours of a candidate.
    pub(super) fn identify(&self, candidate: &Tree<'_>) -> Result<Identified, String> {
        let places = self.places(candidate)?;
        let offsets: Vec<u32> = places.iter().filter_map(Place::offset).collect();
        let mut text = String::with_capacity(256);
        let mut hasher = BlockHasher::default();
        self.write_preimage(&places, &[0; MAX_NUMERIC_FIELDS], &mut text);
        let digest = hasher.digest(text.as_bytes());
        let neighbours = all_steps(offsets.len())
            .map(|steps| {
                text.clear();
                self.write_preimage(&places, &steps, &mut text);
                Probe { digest: hasher.digest(text.as_bytes()), steps }
            })
            .collect();
        Ok(Identified { digest, offsets, neighbours })
    }

    /// The text whose SHA-256 is the candidate's digest.
    pub(super) fn preimage(&self, candidate: &Tree<'_>) -> Result<String, String> {
        let mut text = String::new();
        self.write_preimage(&self.places(candidate)?, &[0; MAX_NUMERIC_FIELDS], &mut text);
        Ok(text)
    }

    /// The values of the identity fields, in the contract's order, as far as the candidate has them.
    pub(super) fn values<'t, 'a>(&'t self, candidate: &'t Tree<'a>) -> impl Iterator<Item = Option<&'t Tree<'a>>> {
        self.parts.iter().map(|part| part.field.get(candidate))
    }

    fn places(&self, candidate: &Tree<'_>) -> Result<Vec<Place>, String> {
        self.parts.iter().map(|part| part.place(candidate)).collect()
    }

    fn write_preimage(&self, places: &[Place], steps: &[i8; MAX_NUMERIC_FIELDS], text: &mut String) {
        text.push_str(&self.head);
        for (i, &at) in self.written.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&self.parts[at].key);
            match &places[at] {
                Place::Exact(canonical) => text.push_str(canonical),
                Place::Grid { bucket, numeric, .. } => {
                    // The steps are in the contract's order, the fields here in the order of their keys.
                    let bucket = i128::from(*bucket) + i128::from(steps[*numeric]);
                    text.push_str("{\"bucket\":\"");
                    write_integer(bucket, text);
                    text.push_str("\"}");
                }
            }
        }
        text.push_str("}}");
    }
}

/// Where one identity field of a candidate lies.
enum Place {
    Exact(String),
    Grid {
        bucket: i64,
        offset: u32,
        /// As in [`Grid`].
        numeric: usize,
    },
}

impl Place {
    fn offset(&self) -> Option<u32> {
        match self {
            Self::Exact(_) => None,
            Self::Grid { offset, .. } => Some(*offset),
        }
    }
}

/// The steps to every bucket around one, in this order: by the first field, then the second, and so on.
fn all_steps(numeric: usize) -> impl Iterator<Item = [i8; MAX_NUMERIC_FIELDS]> {
    // Counts in base 3, last field fastest; all zeros is the bucket itself.
    let nth = move |mut code: usize| {
        let mut steps = [0; MAX_NUMERIC_FIELDS];
        for step in steps[..numeric].iter_mut().rev() {
            *step = (code % 3) as i8 - 1;
            code /= 3;
        }
        steps
    };
    (0..3_usize.pow(numeric as u32)).map(nth).filter(|steps| steps.iter().any(|step| *step != 0))
}

fn write_integer(n: i128, text: &mut String) {
    // 128 bits are needed only for neighbours of the outermost buckets.
    match i64::try_from(n) {
        Ok(n) => text.push_str(itoa::Buffer::new().format(n)),
        Err(_) => text.push_str(itoa::Buffer::new().format(n)),
    }
}

/// SHA-256 of texts that mostly begin alike: the preimages of a bucket and its neighbours differ in a digit or two
/// near the end. Whole blocks that the last text had too are not hashed again.
#[derive(Default)]
struct BlockHasher {
    hashed: Vec<u8>,
    after: Sha256,
}

/// SHA-256 works on blocks of so many bytes.
const BLOCK: usize = 64;

impl BlockHasher {
    fn digest(&mut self, text: &[u8]) -> Digest {
        let blocks = text.len() / BLOCK * BLOCK;
        if text[..blocks] != self.hashed {
            self.hashed.clear();
            self.hashed.extend_from_slice(&text[..blocks]);
            self.after = Sha256::new_with_prefix(&self.hashed);
        }
        Digest(self.after.clone().chain_update(&text[blocks..]).finalize().into())
    }
}
