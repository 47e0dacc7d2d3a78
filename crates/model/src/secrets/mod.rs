//! The secrets document: the certificates and keys that the fleet's traffic is served with.
//!
//! Its body is JSON with a version, so that it can be read by later versions:
//! `{"version":1,"certificates":{"www.pem":{"pem":"…"}}}`. Each PEM is what HAProxy loads: the certificate, its chain,
//! its key. In that form it is sealed (`hafleet-identity`), and only as such does it leave a node or get to its disk.
//! Whether those belong together is looked at before they get here (`hafleet-identity`); this module knows
//! names and forms.
//!
//! A key can be had by [`Confidential::expose`] alone. Nothing else here shows one: no `Debug`, no error, no JSON.

mod confidential;
mod name;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use confidential::Confidential;
pub use name::{CertificateName, CertificateNameError};

/// The most certificates that a fleet may have.
pub const MAX_CERTIFICATES: usize = 5_000;

/// The longest PEM of one certificate with its chain and key, in bytes. HAProxy replaces those above its `tune.bufsize`
/// (16 kB) only by a reload.
pub const MAX_PEM_BYTES: usize = 128 * 1024;

/// A body that is no secrets document. Says where, never what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Not the JSON that is expected.
    #[error("the secrets document cannot be read: {what} at line {line}, column {column}")]
    Malformed {
        /// What kind of fault.
        what: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Of another version.
    #[error(
        "the secrets document has version {found}, and this version of hafleet reads version {}: install the later one",
        Secrets::VERSION
    )]
    OtherVersion {
        /// What it says.
        found: u32,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] CertificateNameError),
    /// Too large a PEM.
    #[error("certificate {name} has {len} bytes, and {MAX_PEM_BYTES} are allowed")]
    TooLong {
        /// Which one.
        name: CertificateName,
        /// Its length.
        len: usize,
    },
    /// Too many certificates.
    #[error("a fleet may have {MAX_CERTIFICATES} certificates: remove one that is no longer used")]
    TooMany,
}

/// The certificates of a fleet, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    certificates: BTreeMap<CertificateName, Confidential>,
}

/// The body as written.
#[derive(Serialize, Deserialize)]
struct Body<T> {
    version: u32,
    certificates: BTreeMap<String, Entry<T>>,
}

/// One certificate as written.
#[derive(Serialize, Deserialize)]
struct Entry<T> {
    pem: T,
}

/// The version alone, which is read before the rest.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Secrets {
    /// The version of the form that is written.
    pub const VERSION: u32 = 1;

    /// Reads a document's body.
    ///
    /// # Errors
    /// When it is not JSON of the known version, or a name is none. The error never has a part of the body in it.
    pub fn parse(body: &str) -> Result<Self, SecretsError> {
        let VersionOnly { version } = serde_json::from_str(body).map_err(|error| at(&error))?;
        if version != Self::VERSION {
            return Err(SecretsError::OtherVersion { found: version });
        }
        let body: Body<String> = serde_json::from_str(body).map_err(|error| at(&error))?;
        let mut secrets = Self::default();
        for (name, entry) in body.certificates {
            secrets.put(CertificateName::new(name)?, Confidential::new(entry.pem))?;
        }
        Ok(secrets)
    }

    /// The document's body before it is sealed: the same certificates give the same bytes. It is cleared from memory when
    /// it is dropped.
    pub fn body(&self) -> Zeroizing<String> {
        let certificates = self.certificates.iter();
        let body = Body {
            version: Self::VERSION,
            certificates: certificates
                .map(|(name, pem)| (name.to_string(), Entry { pem: pem.expose() }))
                .collect(),
        };
        // Texts and numbers under text keys: there is nothing in it that JSON could not hold.
        Zeroizing::new(serde_json::to_string(&body).unwrap_or_default())
    }

    /// All certificates, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&CertificateName, &Confidential)> {
        self.certificates.iter()
    }

    /// The PEM of the certificate `name`.
    pub fn get(&self, name: &CertificateName) -> Option<&Confidential> {
        self.certificates.get(name)
    }

    /// Adds a certificate or replaces the one of that name; whether anything is different now.
    ///
    /// # Errors
    /// When it is too long, or there are too many already.
    pub fn put(&mut self, name: CertificateName, pem: Confidential) -> Result<bool, SecretsError> {
        let len = pem.expose().len();
        if len > MAX_PEM_BYTES {
            return Err(SecretsError::TooLong { name, len });
        }
        if self.certificates.len() >= MAX_CERTIFICATES && !self.certificates.contains_key(&name) {
            return Err(SecretsError::TooMany);
        }
        let before = self.certificates.insert(name.clone(), pem);
        Ok(before.as_ref() != self.get(&name))
    }

    /// Removes a certificate; whether there was one.
    pub fn remove(&mut self, name: &CertificateName) -> bool {
        self.certificates.remove(name).is_some()
    }
}

/// Where the fault is. serde's own words may quote what they found, and that may be a key.
fn at(error: &serde_json::Error) -> SecretsError {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a value of another form than expected",
        serde_json::error::Category::Eof => "an early end",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "no JSON",
    };
    SecretsError::Malformed {
        what,
        line: error.line(),
        column: error.column(),
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
