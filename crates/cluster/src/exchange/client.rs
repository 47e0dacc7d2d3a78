//! Asking peers.

use std::time::Duration;

use hafleet_model::{Document, DocumentKind, Stamp, Term};
use tonic::Code;
use tonic::transport::Channel;

use super::wire::{self, WireError};
use crate::documents::Outcome;
use crate::limits::MAX_MESSAGE_LEN;
use crate::proto;
use crate::proto::peer_client::PeerClient;

/// Why a peer's answer is of no use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// Nothing came in time. What was asked may have been done.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It has promised another leader not to, and takes nothing before a term above this one.
    #[error("it knows term {0}")]
    LaterTerm(Term),
    /// It does not hold what was asked for.
    #[error("it does not hold that")]
    NotFound,
    /// Something else, in its own words. What was asked may have been done.
    #[error("it failed: {0}")]
    Failed(String),
    /// Its answer is no answer.
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
}

impl From<WireError> for AskError {
    fn from(error: WireError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

impl From<tonic::Status> for AskError {
    fn from(status: tonic::Status) -> Self {
        match (status.code(), wire::refused_for(&status)) {
            (Code::FailedPrecondition, Some(term)) => Self::LaterTerm(term),
            (Code::NotFound, _) => Self::NotFound,
            _ => Self::Failed(status.to_string()),
        }
    }
}

/// How fast a body travels at least, on a path that is slow or between machines that are busy.
const BYTES_PER_SECOND: u32 = 1024 * 1024;

fn travel_time(bytes: usize) -> Duration {
    Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX)) / BYTES_PER_SECOND
}

/// A peer, and how long it may take to answer.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    client: PeerClient<Channel>,
    deadline: Duration,
}

/// A peer's answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// It has stored it.
    Stored,
    /// What came before has to be sent with it.
    NeedsAncestry,
    /// It holds something else; it keeps what was pushed among its conflicts.
    Refused,
}

impl From<Outcome> for PushOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Adopted { .. } | Outcome::Known => Self::Stored,
            Outcome::NeedsAncestry => Self::NeedsAncestry,
            Outcome::Superseded | Outcome::Divergent => Self::Refused,
        }
    }
}

impl Peer {
    pub(crate) fn new(channel: Channel, deadline: Duration) -> Self {
        Self {
            client: peer_client(channel),
            deadline,
        }
    }

    /// The newest of each document, and the promise not to store for an earlier term.
    pub(crate) async fn heads(
        &mut self,
        term: Term,
    ) -> Result<Vec<(DocumentKind, Stamp)>, AskError> {
        let reply = within(
            self.deadline,
            self.client.heads(proto::HeadsRequest { term: term.0 }),
        )
        .await?;
        let mut heads = Vec::new();
        for head in reply.heads {
            let stamp = head
                .stamp
                .as_ref()
                .ok_or(WireError::Missing { field: "stamp" })?;
            heads.push((wire::kind(&head.kind)?, wire::stamp(stamp)?));
        }
        Ok(heads)
    }

    /// Hands over a revision. One with a large body may take longer, as it does on the way.
    pub(crate) async fn store(
        &mut self,
        term: Term,
        document: &Document,
        ancestry: &[Stamp],
    ) -> Result<PushOutcome, AskError> {
        let request = proto::StoreDocumentRequest {
            term: term.0,
            document: Some(wire::document_message(document)),
            ancestry: wire::ancestry_message(ancestry),
        };
        let deadline = self.deadline + travel_time(document.body().len());
        let reply = within(deadline, self.client.store_document(request)).await?;
        Ok(match reply.outcome() {
            proto::Outcome::Stored => PushOutcome::Stored,
            proto::Outcome::NeedsAncestry => PushOutcome::NeedsAncestry,
            proto::Outcome::Superseded
            | proto::Outcome::Divergent
            | proto::Outcome::Unspecified => PushOutcome::Refused,
        })
    }

    /// The revisions of `kind` that it keeps as conflicts.
    pub(crate) async fn conflicts(&mut self, kind: DocumentKind) -> Result<Vec<Stamp>, AskError> {
        let request = proto::ConflictsRequest {
            kind: kind.as_str().to_owned(),
        };
        let reply = within(self.deadline, self.client.conflicts(request)).await?;
        Ok(wire::ancestry(&reply.stamps)?)
    }

    /// Reads a revision, or the newest, with all that is known to come before it.
    pub(crate) async fn fetch(
        &mut self,
        kind: DocumentKind,
        stamp: Option<Stamp>,
    ) -> Result<(Document, Vec<Stamp>), AskError> {
        let request = proto::FetchDocumentRequest {
            kind: kind.as_str().to_owned(),
            stamp: stamp.map(wire::stamp_message),
        };
        let reply = within(self.deadline, self.client.fetch_document(request)).await?;
        let document = wire::document(reply.document)?;
        if document.kind() != kind || stamp.is_some_and(|stamp| stamp != document.stamp()) {
            return Err(WireError::Bad {
                field: "document",
                reason: "another one was asked for".into(),
            }
            .into());
        }
        Ok((document, wire::ancestry(&reply.ancestry)?))
    }

    /// The key `id`, sealed to `recipient`.
    pub(crate) async fn share_key(
        &mut self,
        id: &str,
        recipient: &str,
    ) -> Result<String, AskError> {
        let request = proto::ShareKeyRequest {
            key: id.to_owned(),
            recipient: recipient.to_owned(),
        };
        let reply = within(self.deadline, self.client.share_key(request)).await?;
        Ok(reply.sealed_key)
    }
}

/// The generated client with the limits that all agents use.
pub(crate) fn peer_client(channel: Channel) -> PeerClient<Channel> {
    PeerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN)
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, AskError> {
    let answered = tokio::time::timeout(deadline, call).await;
    Ok(answered
        .map_err(|_| AskError::TimedOut(deadline))??
        .into_inner())
}
