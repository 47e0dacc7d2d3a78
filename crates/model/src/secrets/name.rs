//! Names of certificates: what a bind calls them, and what their files are called.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
const MAX_LEN: usize = 128;

/// Endings of files that HAProxy loads beside a certificate by itself (Configuration Manual, section 5.1, `crt`, and
/// section 3.1, `ssl-load-extra-files`). A certificate of such a name would be taken for a part of another one.
const COMPANIONS: [&str; 4] = [".issuer", ".key", ".ocsp", ".sctl"];

/// A text that cannot be a certificate's name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a name of a certificate: use 1 to {MAX_LEN} of A-Z, a-z, 0-9, '-', '_', '.', '@' and '+', not beginning with '.', and none of the endings {} that HAProxy has a use for", COMPANIONS.join(", ")
)]
pub struct CertificateNameError {
    found: String,
}

/// The name of a certificate of the fleet. The rule is that of the files which a bind's `certificates` may name, so
/// that a bind says either in the same way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(String);

impl CertificateName {
    /// Accepts `text` as a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character or an ending that is not allowed.
    pub fn new(text: impl Into<String>) -> Result<Self, CertificateNameError> {
        let text = text.into();
        let is_companion = COMPANIONS.iter().any(|ending| text.ends_with(ending));
        let is_name = (1..=MAX_LEN).contains(&text.len())
            && !text.starts_with('.')
            && !is_companion
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c));
        if is_name {
            return Ok(Self(text));
        }
        Err(CertificateNameError {
            found: text.chars().take(80).collect(),
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, CertificateNameError> {
        Self::new(text)
    }
}
