//! Answering peers.
//!
//! Whatever comes in was written by a program that holds a certificate of the fleet, which is no proof that it is
//! right. Each message is checked before it is believed, and none may panic this agent (invariant I6).

use std::net::SocketAddr;
use std::sync::Arc;

use hafleet_identity::Caller;
use hafleet_model::{DocumentKind, NodeId, Stamp};
use tonic::{Request, Response, Status, Streaming};

use super::answer::{self, Refusal};
use super::wire;
use crate::config::KeyShares;
use crate::documents::{Documents, Outcome};
use crate::gossip::{Inbox, Refused};
use crate::offload::offload;
use crate::proto;
use crate::proto::peer_server::Peer;

/// The longest id or public key that is looked at, in bytes.
const MAX_KEY_TEXT_LEN: usize = 256;

/// The gRPC service that a node offers to its peers.
#[derive(Debug)]
pub struct PeerService {
    pub(crate) documents: Arc<Documents>,
    pub(crate) inbox: Inbox,
    pub(crate) key_shares: Option<Arc<dyn KeyShares>>,
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn gossip(
        &self,
        request: Request<Streaming<proto::Frame>>,
    ) -> Result<Response<proto::GossipEnd>, Status> {
        let caller = node(&request)?;
        let addresses = caller.1;
        let mut frames = request.into_inner();
        let Some(proto::Frame {
            content: Some(proto::frame::Content::Opening(opening)),
        }) = frames.message().await?
        else {
            return Err(Status::invalid_argument(
                "the first frame must be the opening",
            ));
        };
        let address: SocketAddr = opening
            .address
            .parse()
            .map_err(|_| Status::invalid_argument("the opening's address is not IP:PORT"))?;
        if !addresses.is_empty() && !addresses.contains(&address.ip()) {
            return Err(Status::permission_denied(
                "the opening's address is not in the certificate",
            ));
        }
        let mut delivery = self.inbox.open(caller.0, address).ok_or_else(stopping)?;
        let ended = delivery.run(&mut frames).await;
        match ended {
            Ok(()) => Ok(Response::new(proto::GossipEnd {})),
            Err(Refused::Frame(error)) => Err(Status::invalid_argument(error.to_string())),
            Err(Refused::Stopping) => Err(stopping()),
            Err(Refused::Broken(status)) => Err(*status),
        }
    }

    async fn heads(
        &self,
        request: Request<proto::HeadsRequest>,
    ) -> Result<Response<proto::HeadsReply>, Status> {
        let (leader, _) = node(&request)?;
        let term = wire::term(request.get_ref().term).map_err(invalid)?;
        let heads = self
            .answer(move |documents| answer::heads(documents, &leader, term))
            .await?;
        let head = |(kind, stamp): (DocumentKind, Stamp)| proto::Head {
            kind: kind.as_str().to_owned(),
            stamp: Some(wire::stamp_message(stamp)),
        };
        Ok(Response::new(proto::HeadsReply {
            heads: heads.into_iter().map(head).collect(),
        }))
    }

    async fn store_document(
        &self,
        request: Request<proto::StoreDocumentRequest>,
    ) -> Result<Response<proto::StoreDocumentReply>, Status> {
        let (leader, _) = node(&request)?;
        let request = request.into_inner();
        let term = wire::term(request.term).map_err(invalid)?;
        let document = wire::document(request.document).map_err(invalid)?;
        let ancestry = wire::ancestry(&request.ancestry).map_err(invalid)?;
        let outcome = self
            .answer(move |documents| answer::store(documents, (&leader, term), document, &ancestry))
            .await?;
        let outcome = match outcome {
            Outcome::Adopted { .. } | Outcome::Known => proto::Outcome::Stored,
            Outcome::NeedsAncestry => proto::Outcome::NeedsAncestry,
            Outcome::Superseded => proto::Outcome::Superseded,
            Outcome::Divergent => proto::Outcome::Divergent,
        };
        Ok(Response::new(proto::StoreDocumentReply {
            outcome: outcome.into(),
        }))
    }

    async fn fetch_document(
        &self,
        request: Request<proto::FetchDocumentRequest>,
    ) -> Result<Response<proto::FetchDocumentReply>, Status> {
        node(&request)?;
        let kind = wire::kind(&request.get_ref().kind).map_err(invalid)?;
        let wanted = request
            .get_ref()
            .stamp
            .as_ref()
            .map(wire::stamp)
            .transpose()
            .map_err(invalid)?;
        let (document, ancestry) = self
            .answer(move |documents| answer::fetch(documents, kind, wanted))
            .await?;
        Ok(Response::new(proto::FetchDocumentReply {
            document: Some(wire::document_message(&document)),
            ancestry: wire::ancestry_message(&ancestry),
        }))
    }

    async fn conflicts(
        &self,
        request: Request<proto::ConflictsRequest>,
    ) -> Result<Response<proto::ConflictsReply>, Status> {
        node(&request)?;
        let kind = wire::kind(&request.get_ref().kind).map_err(invalid)?;
        let stamps = answer::conflicts(&self.documents, kind);
        Ok(Response::new(proto::ConflictsReply {
            stamps: wire::ancestry_message(&stamps),
        }))
    }

    async fn share_key(
        &self,
        request: Request<proto::ShareKeyRequest>,
    ) -> Result<Response<proto::ShareKeyReply>, Status> {
        let (caller, _) = node(&request)?;
        let proto::ShareKeyRequest { key, recipient } = request.into_inner();
        if key.len() > MAX_KEY_TEXT_LEN || recipient.len() > MAX_KEY_TEXT_LEN {
            return Err(Status::invalid_argument("that is no key"));
        }
        let shares = self.key_shares.as_ref();
        let shared = shares.and_then(|shares| shares.share(&key, &recipient));
        let sealed_key = shared.ok_or_else(|| Status::not_found("this node has no such key"))?;
        tracing::info!(node = %caller, key, "a key was sealed to a node that asked for it");
        Ok(Response::new(proto::ShareKeyReply { sealed_key }))
    }
}

impl PeerService {
    /// Answers on a thread that may wait for the disk.
    async fn answer<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Documents) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Status> {
        let documents = Arc::clone(&self.documents);
        let answered = offload(move || answer(&documents)).await;
        answered
            .ok_or_else(stopping)?
            .map_err(|refusal| match refusal {
                Refusal::LaterTerm(term) => wire::later_term(term),
                Refusal::NotFound => Status::not_found(refusal.to_string()),
                Refusal::Invalid(reason) => {
                    tracing::warn!(reason, "a peer sent a message that makes no sense");
                    Status::invalid_argument(reason)
                }
                Refusal::Store(error) => {
                    tracing::error!(%error, "the store failed");
                    Status::internal(error.to_string())
                }
            })
    }
}

/// The node that calls, and the addresses that its certificate grants.
fn node<T>(request: &Request<T>) -> Result<(NodeId, Vec<std::net::IpAddr>), Status> {
    let caller = request.extensions().get::<Caller>();
    let caller = caller.ok_or_else(|| Status::unauthenticated("the caller is not known"))?;
    let id = caller.identity.node_id().cloned();
    let id = id.ok_or_else(|| Status::permission_denied("only nodes may speak as peers"))?;
    Ok((id, caller.addresses.clone()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn invalid(error: wire::WireError) -> Status {
    tracing::warn!(%error, "a peer sent a message that makes no sense");
    Status::invalid_argument(error.to_string())
}

fn stopping() -> Status {
    Status::unavailable("this agent is stopping")
}
