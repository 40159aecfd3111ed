//! Ids and names, each a type of its own, so that a lease can never be passed where a job is meant.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Position of a record in the ledger: 1 for the first, then one more for each. 0 means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The seq that follows this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The seq `n` places further on.
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

/// A job, named by the seq of the record that submitted it: unique, growing, and where its payload is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Seq);

/// A lease, named by the seq of its grant: unique and growing across crashes. It is the fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub Seq);

/// A legacy import, named by the seq of the record that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImportId(pub Seq);

macro_rules! seq_id {
    ($name:ident) => {
        impl $name {
            /// The id whose record has this seq.
            pub const fn new(seq: u64) -> Self {
                Self(Seq(seq))
            }

            /// The seq as a plain number, as it stands on the wire.
            pub const fn get(self) -> u64 {
                self.0.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

seq_id!(JobId);
seq_id!(LeaseId);
seq_id!(ImportId);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {text:?} is not a name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - / and start with a letter or digit"
)]
pub struct NameError {
    /// What the name would have named.
    pub what: &'static str,
    /// The text, cut to 64 characters.
    pub text: String,
}

fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    let ok_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let ok = !text.is_empty()
        && text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(ok_char);
    if ok {
        return Ok(());
    }
    Err(NameError { what, text: text.chars().take(64).collect() })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name, if the text is one.
            ///
            /// # Errors
            /// [`NameError`] for an empty or too long text, or one with a character outside `A-Za-z0-9._-/`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a queue.
    QueueName,
    "queue"
);

name!(
    /// Names a schedule.
    ScheduleName,
    "schedule"
);

name!(
    /// A kind of job: names the runner that can do it.
    Kind,
    "kind"
);
name!(
    /// The name of a contract, without its version.
    ContractName,
    "contract"
);
name!(
    /// A worker, named by itself when it registers; stable across its reconnections.
    WorkerId,
    "worker"
);

name!(
    /// The name of a key that jobs carry, such as `host` or `resolver`.
    KeyName,
    "key"
);
name!(
    /// The name of a semaphore: something of which there is so much for the whole cluster, such as `gpu_slots`.
    SemaphoreName,
    "semaphore"
);

name!(
    /// The name of a token.
    TokenName,
    "token"
);

/// One version of a contract, written `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractRef {
    /// The contract.
    pub name: ContractName,
    /// Its version, from 1.
    pub version: u32,
}

/// Why a text does not name a version of a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractRefError {
    /// There is no `@version` behind the name.
    #[error("contract {0:?} has no version: write name@version, for example {0}@1")]
    NoVersion(String),
    /// What stands behind the `@` is not a version.
    #[error("contract version {0:?} is not a whole number from 1")]
    BadVersion(String),
    /// What stands before the `@` is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for ContractRef {
    type Err = ContractRefError;

    fn from_str(text: &str) -> Result<Self, ContractRefError> {
        let Some((name, version)) = text.rsplit_once('@') else {
            return Err(ContractRefError::NoVersion(text.chars().take(64).collect()));
        };
        let name = ContractName::new(name)?;
        match version.parse::<u32>() {
            Ok(version) if version > 0 => Ok(Self { name, version }),
            Ok(_) | Err(_) => Err(ContractRefError::BadVersion(version.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for ContractRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl Serialize for ContractRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContractRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_once_at_the_edge() {
        assert!(QueueName::new("zeta/zeros-1.v2").is_ok());
        for bad in ["", "-x", "a b", "é", "a\n", &"x".repeat(129)] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
        let text = QueueName::new("a b").unwrap_err().to_string();
        assert!(text.starts_with("queue \"a b\" is not a name"), "{text}");
    }

    #[test]
    fn a_contract_reference_names_its_version() {
        let reference: ContractRef = "zeta-zeros@3".parse().unwrap();
        assert_eq!(reference.to_string(), "zeta-zeros@3");
        assert!(matches!("zeta".parse::<ContractRef>(), Err(ContractRefError::NoVersion(_))));
        assert!(matches!("zeta@0".parse::<ContractRef>(), Err(ContractRefError::BadVersion(_))));
    }
}
