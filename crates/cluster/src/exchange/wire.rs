//! Protocol messages to domain types and back. The one place where a peer's documents are parsed.

use hafleet_model::{Document, DocumentKind, Header, Revision, Stamp, Term};

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::facts::MAX_TERM;
use crate::limits::{MAX_ANCESTRY, MAX_BODY_LEN, MAX_COMMENT_LEN};
use crate::proto;

/// A message that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} cannot be read: {reason}")]
    Bad { field: &'static str, reason: String },
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn bad(field: &'static str, reason: impl ToString) -> WireError {
    WireError::Bad {
        field,
        reason: reason.to_string(),
    }
}

impl std::fmt::Debug for proto::Document {
    /// All but the body, which may hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

pub(crate) fn kind(text: &str) -> Result<DocumentKind, WireError> {
    text.parse().map_err(|error| bad("kind", error))
}

pub(crate) fn term(number: u64) -> Result<Term, WireError> {
    if number > MAX_TERM.0 {
        Err(bad("term", "it is out of bounds"))
    } else {
        Ok(Term(number))
    }
}

/// Under which key a refusal names the later term.
const TERM_KEY: &str = "hafleet-term";

/// The refusal of what is meant for a term before `highest`, which the caller learns from it.
pub(crate) fn later_term(highest: Term) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(TERM_KEY, MetadataValue::from(highest.0));
    Status::with_metadata(
        Code::FailedPrecondition,
        format!("this node knows term {highest}"),
        metadata,
    )
}

/// The term that a refusal names.
pub(crate) fn refused_for(status: &Status) -> Option<Term> {
    let value = status.metadata().get(TERM_KEY)?.to_str().ok()?;
    term(value.parse().ok()?).ok()
}

pub(crate) fn stamp(message: &proto::Stamp) -> Result<Stamp, WireError> {
    let revision = Revision::new(term(message.term)?, message.sequence);
    Ok(Stamp {
        revision,
        digest: message
            .digest
            .parse()
            .map_err(|error| bad("digest", error))?,
    })
}

pub(crate) fn stamp_message(stamp: Stamp) -> proto::Stamp {
    proto::Stamp {
        term: stamp.revision.term.0,
        sequence: stamp.revision.sequence,
        digest: stamp.digest.to_string(),
    }
}

pub(crate) fn ancestry(messages: &[proto::Stamp]) -> Result<Vec<Stamp>, WireError> {
    if messages.len() > MAX_ANCESTRY {
        return Err(bad(
            "ancestry",
            format!("it has more than {MAX_ANCESTRY} stamps"),
        ));
    }
    messages.iter().map(stamp).collect()
}

pub(crate) fn ancestry_message(ancestry: &[Stamp]) -> Vec<proto::Stamp> {
    ancestry
        .iter()
        .take(MAX_ANCESTRY)
        .map(|stamp| stamp_message(*stamp))
        .collect()
}

pub(crate) fn document(message: Option<proto::Document>) -> Result<Document, WireError> {
    let message = message.ok_or(WireError::Missing { field: "document" })?;
    let header = header(
        &message
            .header
            .ok_or(WireError::Missing { field: "header" })?,
    )?;
    if message.body.len() > MAX_BODY_LEN {
        return Err(bad(
            "body",
            format!(
                "it has {} bytes, and {MAX_BODY_LEN} are allowed",
                message.body.len()
            ),
        ));
    }
    Document::new(header, message.body).map_err(|error| bad("body", error))
}

pub(crate) fn document_message(document: &Document) -> proto::Document {
    let header = document.header();
    proto::Document {
        header: Some(proto::Header {
            kind: header.kind.as_str().to_owned(),
            stamp: Some(stamp_message(header.stamp)),
            parent: header.parent.map(stamp_message),
            author: header.author.clone(),
            comment: header.comment.clone(),
            written_at_ms: header.written_at_ms,
        }),
        body: document.body().to_owned(),
    }
}

fn header(message: &proto::Header) -> Result<Header, WireError> {
    let text = |field: &'static str, text: &String| {
        if text.len() > MAX_COMMENT_LEN {
            Err(bad(field, "it is too long"))
        } else {
            Ok(text.clone())
        }
    };
    Ok(Header {
        kind: kind(&message.kind)?,
        stamp: stamp(
            message
                .stamp
                .as_ref()
                .ok_or(WireError::Missing { field: "stamp" })?,
        )?,
        parent: message.parent.as_ref().map(stamp).transpose()?,
        author: text("author", &message.author)?,
        comment: text("comment", &message.comment)?,
        written_at_ms: message.written_at_ms,
    })
}
