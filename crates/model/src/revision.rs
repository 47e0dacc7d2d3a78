//! Terms, revisions and digests: how any two copies of a document are compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A leader's time in office, counted up at each change of leader (invariant I1: it only grows).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Term {
    /// The term that a claim made after seeing this one has to have.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a revision: write TERM.SEQUENCE, two whole numbers such as 3.17")]
pub struct RevisionError {
    found: String,
}

/// The version of a document: totally ordered, first by the term of the leader that wrote it, then by the
/// number of writes before it in its line. Written `TERM.SEQUENCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    /// The term of the leader that wrote it.
    pub term: Term,
    /// One more than its parent's, from 1.
    pub sequence: u64,
}

impl Revision {
    /// That of no document: what a node runs which has a configuration of its own.
    pub const OWN: Self = Self {
        term: Term(0),
        sequence: 0,
    };

    /// The revision of `sequence` in `term`.
    pub fn new(term: Term, sequence: u64) -> Self {
        Self { term, sequence }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.term, self.sequence))
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let refused = || RevisionError {
            found: text.chars().take(40).collect(),
        };
        let (term, sequence) = text.split_once('.').ok_or_else(refused)?;
        let number = |part: &str| {
            let is_plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            is_plain
                .then(|| part.parse::<u64>().ok())
                .flatten()
                .ok_or_else(refused)
        };
        Ok(Self {
            term: Term(number(term)?),
            sequence: number(sequence)?,
        })
    }
}

impl TryFrom<String> for Revision {
    type Error = RevisionError;
    fn try_from(text: String) -> Result<Self, RevisionError> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.to_string()
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a digest: 64 hexadecimal digits are expected")]
pub struct DigestError {
    found: String,
}

/// The SHA-256 of a document's body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refused = || DigestError {
            found: text.chars().take(80).collect(),
        };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refused());
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A revision together with the digest of the body that it names. Two nodes hold the same document exactly
/// when their stamps are equal. Equal revisions with unequal digests are an alarm (invariant I3), and the greater digest
/// stays: stamps are ordered by their revision first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Which version.
    pub revision: Revision,
    /// What its body must hash to.
    pub digest: Digest,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} ({})", self.revision, self.digest.short()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_term_wins_over_a_longer_line() {
        let earlier = Revision::new(Term(2), 900);
        let later = Revision::new(Term(3), 7);
        assert!(later > earlier);
    }

    #[test]
    fn revisions_read_back_as_written() {
        let revision: Revision = "3.17".parse().unwrap();
        assert_eq!(revision, Revision::new(Term(3), 17));
        assert_eq!(revision.to_string(), "3.17");
        for text in [
            "",
            "3",
            "3.",
            ".3",
            "3.x",
            "-1.2",
            "+1.2",
            "1.2.3",
            "99999999999999999999.1",
        ] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }

    #[test]
    fn digests_read_back_as_written() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }
}
