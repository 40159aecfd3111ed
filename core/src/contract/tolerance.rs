//! Gate two: numeric fields within their bounds.

use super::bound::{Bound, FieldFault, number_text};
use super::decimal::Decimal;
use super::field::Field;
use super::message;
use super::spec::ToleranceRule;
use crate::json::Tree;

/// How a field is compared with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AbsLt,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    const fn name(self) -> &'static str {
        match self {
            Self::AbsLt => "abs_lt",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
        }
    }

    /// What a value is not, if it fails.
    const fn words(self) -> &'static str {
        match self {
            Self::AbsLt | Self::Lt => "less than",
            Self::Le => "less than or equal to",
            Self::Gt => "greater than",
            Self::Ge => "greater than or equal to",
        }
    }

    fn holds<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::AbsLt | Self::Lt => value < bound,
            Self::Le => value <= bound,
            Self::Gt => value > bound,
            Self::Ge => value >= bound,
        }
    }
}

/// A rule of a contract, checked.
pub(super) struct Rule {
    name: String,
    field: Field,
    comparison: Comparison,
    bound: Bound,
}

/// A rule with its bound taken from a payload.
pub(super) struct BoundRule {
    bound: f64,
    label: String,
}

impl Rule {
    /// Compiles the `i`-th rule; faults name their place.
    pub(super) fn compile(i: usize, spec: &ToleranceRule) -> Result<Self, Vec<String>> {
        let ToleranceRule { field: name, abs_lt, lt, le, gt, ge } = spec;
        let mut faults = Vec::new();
        let field = Field::parse(name).map_err(|fault| faults.push(format!("tolerance[{i}].field: {fault}")));
        let all = [
            (Comparison::AbsLt, abs_lt),
            (Comparison::Lt, lt),
            (Comparison::Le, le),
            (Comparison::Gt, gt),
            (Comparison::Ge, ge),
        ];
        let set: Vec<(Comparison, &Bound)> =
            all.into_iter().filter_map(|(c, bound)| Some((c, bound.as_ref()?))).collect();
        for (comparison, bound) in &set {
            if let Err(fault) = check_bound(*comparison, bound) {
                faults.push(format!("tolerance[{i}].{}: {fault}", comparison.name()));
            }
        }
        let &[(comparison, bound)] = set.as_slice() else {
            let names: Vec<&str> = set.iter().map(|(comparison, _)| comparison.name()).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
            faults.push(format!("tolerance[{i}]: has {has} of abs_lt, lt, le, gt, ge: exactly one is needed"));
            return Err(faults);
        };
        match field {
            Ok(field) if faults.is_empty() => Ok(Self { name: name.clone(), field, comparison, bound: bound.clone() }),
            Ok(_) | Err(()) => Err(faults),
        }
    }

    /// The rule's bound for a payload.
    pub(super) fn bind(&self, payload: &Tree<'_>) -> Result<BoundRule, FieldFault> {
        let (bound, label) = self.bound.resolve(payload)?;
        if let (Bound::Payload { payload: field, .. }, Comparison::AbsLt) = (&self.bound, self.comparison)
            && bound <= 0.0
        {
            let text = number_text(bound);
            return Err((field.clone(), format!("makes {text} the bound of |{}|: nothing is less", self.name)));
        }
        Ok(BoundRule { bound, label })
    }

    /// Judges a candidate.
    pub(super) fn check(&self, rule: &BoundRule, candidate: &Tree<'_>) -> Result<(), String> {
        let value = self.field.get(candidate).ok_or_else(|| format!("{}: is missing", self.name))?;
        let holds = match value {
            Tree::Number(number) => {
                let number = number.as_f64().ok_or_else(|| format!("{}: {number} is not a double", self.name))?;
                let number = if self.comparison == Comparison::AbsLt { number.abs() } else { number };
                self.comparison.holds(&number, &rule.bound)
            }
            // A decimal may be finer than a double: it is compared as it stands with the bound's shortest text.
            Tree::Text(_) | Tree::Null | Tree::Bool(_) | Tree::List(_) | Tree::Map(_) => {
                let decimal = Decimal::of(value);
                let decimal = decimal.map_err(|why| format!("{}: {}: {why}", self.name, message::show(value)))?;
                let decimal = if self.comparison == Comparison::AbsLt { decimal.abs() } else { decimal };
                let bound = Decimal::parse(&number_text(rule.bound)).map_err(|why| format!("{}: {why}", rule.label))?;
                self.comparison.holds(&decimal, &bound)
            }
        };
        if holds {
            return Ok(());
        }
        let shown = message::show(value);
        let shown = if self.comparison == Comparison::AbsLt { format!("|{shown}|") } else { shown };
        Err(format!("{}: {shown} is not {} {}", self.name, self.comparison.words(), rule.label))
    }
}

fn check_bound(comparison: Comparison, bound: &Bound) -> Result<(), String> {
    match bound {
        Bound::Number(number) if !number.is_finite() => Err(format!("{number} is not finite")),
        Bound::Number(number) if comparison == Comparison::AbsLt && *number <= 0.0 => {
            Err(format!("{}: no magnitude is less than that", number_text(*number)))
        }
        Bound::Number(_) => Ok(()),
        Bound::Payload { payload, plus } => {
            Field::parse(payload).map_err(|fault| format!("payload {fault}"))?;
            if plus.is_finite() { Ok(()) } else { Err(format!("plus {plus} is not finite")) }
        }
    }
}
