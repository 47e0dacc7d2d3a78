//! Where servers come from: what the API tells of it, and the leader's part in changing it.

use std::time::Duration;

use async_trait::async_trait;
use hafleet_api::fleet::Intent;
use hafleet_api::{Failure, v1};
use hafleet_model::{DocumentKind, NodeId};

use super::{AgentFleet, Errand, WriteFailure};
use crate::discovery::{Confirmed, Request, Unconfirmed, answer_of};
use crate::forward::{Forward, Unanswered};

/// How long a confirmation may take to be written.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks how the sources are.
pub(super) struct ListSources {
    pub(super) is_forwarded: bool,
}

/// Lets through what is held back of a backend.
pub(super) struct ConfirmEndpoints {
    pub(super) backend: String,
    pub(super) intent: Intent,
}

#[async_trait]
impl Errand for ListSources {
    type Done = v1::ListSourcesResponse;

    fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure> {
        fleet.lead()?;
        let sources = fleet.board.status().ok_or_else(has_just_begun)?;
        let newest = fleet.cluster.document(DocumentKind::Endpoints);
        let newest = newest.borrow().clone();
        Ok(v1::ListSourcesResponse {
            endpoints: newest.map(|document| document.header().clone().into()),
            ..sources
        })
    }

    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered> {
        leader.sources().await
    }
}

#[async_trait]
impl Errand for ConfirmEndpoints {
    type Done = v1::ConfirmEndpointsResponse;

    fn is_forwarded(&self) -> bool {
        self.intent.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure> {
        fleet.lead()?;
        let confirm = fleet
            .board
            .confirm(self.backend.clone(), self.intent.author.clone());
        let confirmed = tokio::time::timeout(CONFIRM_TIMEOUT, confirm).await;
        let late = |_| {
            let words = "it takes long to write; `hafleet sources` tells whether it is done";
            WriteFailure::Final(Failure::TimedOut(words.to_owned()))
        };
        match confirmed.map_err(late)? {
            Ok(Confirmed { gone, header }) => Ok(v1::ConfirmEndpointsResponse {
                gone,
                endpoints: header.map(Into::into),
            }),
            Err(Unconfirmed::NotLeading) => Err(has_just_begun()),
            Err(Unconfirmed::UnknownBackend { known }) => {
                Err(WriteFailure::Final(unknown(&self.backend, &known)))
            }
            Err(Unconfirmed::Unwritten(reason)) => {
                Err(WriteFailure::Final(Failure::Internal(reason)))
            }
        }
    }

    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered> {
        leader.confirm(&self.backend).await
    }
}

impl AgentFleet {
    /// Takes what the engine of `node` has, if this node leads.
    pub(super) fn take_published(
        &self,
        node: NodeId,
        said: v1::publish_found_request::Said,
    ) -> Result<(), Failure> {
        if let Err(WriteFailure::NotLeader { reason, .. }) = self.lead() {
            return Err(Failure::NoLeader { reason });
        }
        let result = answer_of(said, node.as_str()).map_err(|error| Failure::InvalidArgument {
            field: "found",
            problem: error.to_string(),
        })?;
        self.board.pin(Request::Publish { node, result });
        Ok(())
    }
}

fn has_just_begun() -> WriteFailure {
    WriteFailure::NotLeader {
        leader: None,
        reason: "the leader has just begun".to_owned(),
    }
}

fn unknown(backend: &str, known: &[String]) -> Failure {
    let problem = match known {
        [] => format!("{backend:?} has no sources; no backend of the spec has"),
        known => format!(
            "{backend:?} has no sources; these have: {}",
            known.join(", ")
        ),
    };
    Failure::InvalidArgument {
        field: "backend",
        problem,
    }
}
