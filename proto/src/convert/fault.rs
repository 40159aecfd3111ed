//! What is wrong with a message: all of it, field by field.

use std::fmt;

/// The most faults that are kept of one message: a person reads a few, and an error must fit into a header.
pub const MAX_FAULTS: usize = 16;

/// One bad field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as a path: `jobs[3].retry.factor`.
    pub field: String,
    /// What is wrong with it, with its value.
    pub message: String,
}

/// Every bad field of a message; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    listed: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first [`MAX_FAULTS`] of them, in the order of the message.
    pub fn listed(&self) -> &[Fault] {
        &self.listed
    }

    /// How many there are, listed or not.
    pub fn count(&self) -> usize {
        self.listed.len() + self.more
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The field of the first; empty if there is none.
    pub fn first_field(&self) -> &str {
        self.listed.first().map_or("", |fault| &fault.field)
    }

    /// Notes a fault.
    pub fn push(&mut self, field: &str, message: impl fmt::Display) {
        if self.listed.len() < MAX_FAULTS {
            self.listed.push(Fault { field: field.to_owned(), message: message.to_string() });
        } else {
            self.more += 1;
        }
    }

    /// The value of `result`, or a note that `field` is bad.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.push(field, error)).ok()
    }

    /// The value of `result`, or its faults under the path `parent`.
    pub fn absorb<T>(&mut self, parent: &str, result: Result<T, Self>) -> Option<T> {
        let inner = match result {
            Ok(value) => return Some(value),
            Err(inner) => inner,
        };
        self.more += inner.more;
        for Fault { field, message } in inner.listed {
            let path = if field.is_empty() { parent.to_owned() } else { format!("{parent}.{field}") };
            self.push(&path, message);
        }
        None
    }

    /// `value` if nothing was noted.
    ///
    /// # Errors
    /// Itself, if anything was.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.listed.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { field, message }) in self.listed.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {message}")?;
        }
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_carry_their_path_and_stay_few() {
        let mut inner = Faults::new();
        inner.push("factor", "0 is too small");
        let mut outer = Faults::new();
        assert_eq!(outer.absorb::<()>("jobs[3].retry", Err(inner)), None);
        assert_eq!(outer.to_string(), "jobs[3].retry.factor: 0 is too small");
        assert_eq!(outer.first_field(), "jobs[3].retry.factor");
        for _ in 0..20 {
            outer.push("x", "bad");
        }
        assert_eq!((outer.listed().len(), outer.count()), (MAX_FAULTS, 21));
        assert!(outer.to_string().ends_with("; and 5 more"));
        assert!(outer.or(()).is_err());
    }
}
