//! Whether callers are asked who they are, and what becomes of those who may not do what they ask for.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Strict as soon as there is a bootstrap token, or a token was ever made; until then off.
    #[default]
    Auto,
    /// Whoever may not do what it asks for is refused.
    Strict,
    /// It is let pass, and that is recorded.
    Warn,
    /// Nobody is asked.
    Off,
}

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// See [`Enforcement::Strict`].
    Strict,
    /// See [`Enforcement::Warn`].
    Warn,
    /// See [`Enforcement::Off`].
    Off,
}

impl Enforcement {
    /// What is in force where tokens are known, or not.
    pub const fn mode(self, has_tokens: bool) -> Mode {
        match self {
            Self::Auto if has_tokens => Mode::Strict,
            Self::Auto | Self::Off => Mode::Off,
            Self::Strict => Mode::Strict,
            Self::Warn => Mode::Warn,
        }
    }
}

impl Mode {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        })
    }
}

impl FromStr for Enforcement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "strict" => Ok(Self::Strict),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is no enforcement: write auto, strict, warn or off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_until_there_is_a_token_unless_somebody_says_otherwise() {
        assert_eq!(Enforcement::default().mode(false), Mode::Off);
        assert_eq!(Enforcement::default().mode(true), Mode::Strict);
        assert_eq!(Enforcement::Strict.mode(false), Mode::Strict);
        assert_eq!(Enforcement::Warn.mode(true), Mode::Warn);
        assert_eq!(Enforcement::Off.mode(true), Mode::Off);
        for text in ["auto", "strict", "warn", "off"] {
            assert_eq!(text.parse::<Enforcement>().unwrap().to_string(), text);
        }
        assert!("on".parse::<Enforcement>().is_err());
    }
}
