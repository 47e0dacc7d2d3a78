//! Documents: what the fleet replicates, whole, each under one revision.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::revision::{Digest, Revision, Stamp};

/// Which of the fleet's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// What people write.
    Spec,
    /// The servers that discovery found for each backend.
    Endpoints,
    /// What operators did by hand: server states and weights, node drains.
    Overrides,
    /// Certificates and keys.
    Secrets,
}

impl DocumentKind {
    /// All of them, in the order of their names in status.
    pub const ALL: [Self; 4] = [Self::Spec, Self::Endpoints, Self::Overrides, Self::Secrets];

    /// The name by which the wire, the store and people know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Endpoints => "endpoints",
            Self::Overrides => "overrides",
            Self::Secrets => "secrets",
        }
    }

    /// Whether agents find it out and nobody writes it. What is lost of it is found out again, so that it is written
    /// without a majority, too, and a revision that loses against another is nothing for people to look at.
    pub fn is_observed(self) -> bool {
        matches!(self, Self::Endpoints)
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no document {found:?}: spec, endpoints, overrides and secrets are known")]
pub struct UnknownDocument {
    found: String,
}

impl FromStr for DocumentKind {
    type Err = UnknownDocument;

    fn from_str(text: &str) -> Result<Self, UnknownDocument> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| UnknownDocument {
            found: text.chars().take(40).collect(),
        })
    }
}

/// All of a revision but its body: who wrote it, when, why, and what came before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Which document.
    pub kind: DocumentKind,
    /// This version of it, and the digest of its body.
    pub stamp: Stamp,
    /// The version that it replaced; none for the first.
    pub parent: Option<Stamp>,
    /// Who asked for it, as their certificate names them.
    pub author: String,
    /// Why, in their words; may be empty.
    pub comment: String,
    /// When the leader accepted it, in milliseconds since 1970 by the leader's clock. For people only: nothing
    /// is ordered by it.
    pub written_at_ms: i64,
}

/// A body that is not what its header says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body of {kind} {revision} has digest {found}, but its header says {expected}")]
pub struct DigestMismatch {
    kind: DocumentKind,
    revision: Revision,
    expected: Digest,
    found: Digest,
}

/// One revision of a document. The body is kept as it was written, so that people get back their own comments
/// and order. It is not shown by `Debug`, since it may hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    header: Header,
    body: Arc<str>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// Puts a header and its body together.
    ///
    /// # Errors
    /// When the body's digest is not the header's.
    pub fn new(header: Header, body: impl Into<Arc<str>>) -> Result<Self, DigestMismatch> {
        let body = body.into();
        let found = Digest::of(body.as_bytes());
        if found != header.stamp.digest {
            return Err(DigestMismatch {
                kind: header.kind,
                revision: header.stamp.revision,
                expected: header.stamp.digest,
                found,
            });
        }
        Ok(Self { header, body })
    }

    /// All but the body.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which document.
    pub fn kind(&self) -> DocumentKind {
        self.header.kind
    }

    /// Its revision and digest.
    pub fn stamp(&self) -> Stamp {
        self.header.stamp
    }

    /// Its revision.
    pub fn revision(&self) -> Revision {
        self.header.stamp.revision
    }

    /// The text as written.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The text as written, shared.
    pub fn shared_body(&self) -> Arc<str> {
        Arc::clone(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Term;

    #[test]
    fn a_body_that_is_not_the_headers_is_refused() {
        let stamp = Stamp {
            revision: Revision::new(Term(1), 1),
            digest: Digest::of(b"version: 1"),
        };
        let header = Header {
            kind: DocumentKind::Spec,
            stamp,
            parent: None,
            author: "ada".into(),
            comment: String::new(),
            written_at_ms: 0,
        };
        assert!(Document::new(header.clone(), "version: 1").is_ok());
        assert!(Document::new(header, "version: 2").is_err());
    }

    #[test]
    fn kinds_read_back_as_written() {
        for kind in DocumentKind::ALL {
            assert_eq!(kind.as_str().parse::<DocumentKind>().unwrap(), kind);
        }
        assert!("Spec".parse::<DocumentKind>().is_err());
    }
}
