//! What a node answers its peers about documents: the rules behind the calls of `exchange`, without the wire.
//!
//! Each answer is one step that nothing comes between: what is promised holds for what is stored.

use hafleet_model::{Document, DocumentKind, NodeId, Stamp, Term};

use crate::documents::{AdoptError, Documents, Outcome};
use crate::store::StoreError;

/// Why a node does not do what a peer asks.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It has promised another leader not to: who wants to write here has to claim a term above this one.
    #[error("this node knows term {0}")]
    LaterTerm(Term),
    /// It does not hold that revision.
    #[error("this node does not hold that revision")]
    NotFound,
    /// What came makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Promises `leader` not to store for another one of `term`, nor for one of an earlier term, and says what is the newest of
/// each document.
///
/// # Errors
/// When another leader of that term or one of a later was promised that before, or the promise cannot be made durable.
pub fn heads(
    documents: &Documents,
    leader: &NodeId,
    term: Term,
) -> Result<Vec<(DocumentKind, Stamp)>, Refusal> {
    let heads = documents.promised((leader, term), || documents.heads())?;
    heads.map_err(Refusal::LaterTerm)
}

/// Stores what `leader` has written in `term`.
///
/// # Errors
/// When another leader of that term or one of a later was promised not to, the revision is impossible, or the disk refuses.
pub fn store(
    documents: &Documents,
    (leader, term): (&NodeId, Term),
    document: Document,
    ancestry: &[Stamp],
) -> Result<Outcome, Refusal> {
    if document.revision().term > term {
        return Err(Refusal::Invalid(
            "the revision is of a later term than its leader".to_owned(),
        ));
    }
    let (kind, stamp) = (document.kind(), document.stamp());
    let adopted = documents.promised((leader, term), || {
        documents.adopt(document, ancestry, false)
    })?;
    let outcome = adopted
        .map_err(Refusal::LaterTerm)?
        .map_err(|error| match error {
            AdoptError::Store(error) => Refusal::Store(error),
            other => Refusal::Invalid(other.to_string()),
        })?;
    tracing::debug!(%kind, %stamp, %term, ?outcome, "a revision was pushed");
    Ok(outcome)
}

/// The revision `stamp`, be it in the line or in conflict, or the newest, with what comes before it in the line.
///
/// # Errors
/// When it is not held, or the disk refuses.
pub fn fetch(
    documents: &Documents,
    kind: DocumentKind,
    stamp: Option<Stamp>,
) -> Result<(Document, Vec<Stamp>), Refusal> {
    let found = match stamp {
        Some(stamp) => documents.stamped(kind, stamp)?,
        None => documents.newest(kind).map(|document| (*document).clone()),
    };
    let document = found.ok_or(Refusal::NotFound)?;
    let ancestry = documents.ancestry(kind, document.stamp());
    Ok((document, ancestry))
}

/// The revisions of `kind` that are kept as conflicts.
pub fn conflicts(documents: &Documents, kind: DocumentKind) -> Vec<Stamp> {
    let conflicts = documents.conflicts(kind);
    conflicts
        .iter()
        .map(|conflict| conflict.header.stamp)
        .collect()
}
