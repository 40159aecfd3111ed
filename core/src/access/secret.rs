//! A secret that cannot be shown by mistake.

use std::fmt;

use crate::digest::Digest;

/// A text that must not come into a log, an error or a listing: it has no `Display`, and its `Debug` hides it.
///
/// Whoever needs the text says so with [`Secret::expose`], which is easily searched for.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as a secret from here on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the header of a call, and for whoever it was made for, once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl PartialEq for Secret {
    /// By their digests, whose bytes tell nothing of the texts: comparing takes no longer for a good guess.
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        let secret = Secret::new("orch_0123");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)).matches("orch_").count(), 0);
        assert_eq!(secret.expose(), "orch_0123");
        assert_ne!(secret, Secret::new("orch_0124"));
    }
}
