//! What operators do by hand: what the API tells of it, and the leader's part in changing it.

use std::sync::Arc;

use async_trait::async_trait;
use hafleet_api::overrides::{OverrideChange, OverrideWrite, state_message};
use hafleet_api::{Failure, v1};
use hafleet_cluster::{Confirmed, Member};
use hafleet_model::overrides::{NodeDrain, OverridesError, ServerOverride, ServerPath};
use hafleet_model::{DocumentKind, NodeId, Overrides, with_causes};

use super::{AgentFleet, Errand, HOLDERS_WAIT, WriteFailure};
use crate::forward::{Forward, Unanswered};
use crate::overrides::known::{Known, KnownNode, KnownServers};
use crate::overrides::write::{Rewrite, RewriteError};
use crate::overrides::{change, now_ms};

#[async_trait]
impl Errand for OverrideWrite {
    type Done = v1::WriteOverrideResponse;

    fn is_forwarded(&self) -> bool {
        self.intent.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure> {
        fleet.lead()?;
        fleet.write_override_here(self).await
    }

    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered> {
        leader.write_override(self).await
    }
}

impl AgentFleet {
    pub(super) fn override_list(&self) -> v1::ListOverridesResponse {
        let overrides = self.overrides.holding();
        let servers = self.known_servers();
        let header = self.overrides.document();
        let node = |(id, drain): (NodeId, NodeDrain)| {
            let is_known = self.known(&id).is_ok();
            let without_effect = (!is_known).then(|| "there is no such node".to_owned());
            v1::NodeOverride {
                node_id: id.to_string(),
                provenance: Some(drain.provenance.into()),
                without_effect: without_effect.unwrap_or_default(),
            }
        };
        let server = |(path, server): (ServerPath, ServerOverride)| v1::ServerOverride {
            without_effect: servers.lack_of(&path).unwrap_or_default(),
            backend: path.backend,
            server: path.server,
            state: server
                .state
                .map_or(v1::ServerState::Unspecified, state_message)
                .into(),
            weight: server.weight.map(u32::from),
            provenance: Some(server.provenance.into()),
        };
        let conflicts = self.conflicts_of(DocumentKind::Overrides).into_iter();
        v1::ListOverridesResponse {
            revision: header.map(|document| document.header().clone().into()),
            nodes: overrides.nodes.into_iter().map(node).collect(),
            servers: overrides.servers.into_iter().map(server).collect(),
            conflicts: conflicts.map(Into::into).collect(),
        }
    }

    /// Changes the overrides here, where the leader is.
    async fn write_override_here(
        &self,
        write: &OverrideWrite,
    ) -> Result<v1::WriteOverrideResponse, WriteFailure> {
        let intent = &write.intent;
        let changes_who_counts = matches!(
            write.change,
            OverrideChange::Forget { .. } | OverrideChange::Leave { .. }
        );
        if changes_who_counts && !intent.force && !self.overrides.is_settled(&intent.author).await {
            let words = "no majority is known to have the last change by hand yet, and who counts changes one at a time; \
                         nothing was written, try again";
            return Err(WriteFailure::Final(Failure::TimedOut(words.to_owned())));
        }
        let known = self.known_things();
        let rewrite = |stored: &Overrides| -> Result<Option<Rewrite>, WriteFailure> {
            let now_ms = now_ms();
            let holding = stored.clone().holding(now_ms);
            let rewrite = change::rewrite(holding, write, &known, now_ms);
            rewrite.map_err(WriteFailure::Final)
        };
        let written = self
            .overrides
            .rewrite(&intent.author, intent.force, rewrite);
        match written.await? {
            Some(written) => Ok(v1::WriteOverrideResponse {
                revision: Some(written.header.into()),
                stored_by: written.stored_by.iter().map(NodeId::to_string).collect(),
                known_nodes: u32::try_from(written.known_members).unwrap_or(u32::MAX),
                committed: written.committed,
                unchanged: false,
                until: self.end_of(&write.change),
            }),
            None => Ok(self.override_as_it_is(&intent.author).await),
        }
    }

    /// When what was asked for is over.
    fn end_of(&self, change: &OverrideChange) -> Option<pbjson_types::Timestamp> {
        let overrides = self.overrides.newest().overrides;
        let provenance = match change {
            OverrideChange::Drain { node, .. } | OverrideChange::Undrain { node } => {
                overrides.nodes.get(node).map(|drain| &drain.provenance)
            }
            OverrideChange::State { server, .. } | OverrideChange::Weight { server, .. } => {
                let server = overrides.servers.get(server);
                server.map(|server| &server.provenance)
            }
            OverrideChange::Forget { .. }
            | OverrideChange::Leave { .. }
            | OverrideChange::Dismiss { .. } => None,
        };
        provenance?.until_ms.map(hafleet_api::convert::timestamp)
    }

    async fn override_as_it_is(&self, author: &str) -> v1::WriteOverrideResponse {
        let Some(current) = self.overrides.document() else {
            let known_nodes = self.cluster.view().borrow().known_count();
            return v1::WriteOverrideResponse {
                known_nodes: u32::try_from(known_nodes).unwrap_or(u32::MAX),
                committed: true,
                unchanged: true,
                ..v1::WriteOverrideResponse::default()
            };
        };
        let confirmed = self.cluster.confirm(&current, author, HOLDERS_WAIT);
        let Confirmed { header, holding } = confirmed.await;
        v1::WriteOverrideResponse {
            unchanged: header.stamp == current.stamp(),
            revision: Some(header.into()),
            stored_by: holding.nodes.iter().map(NodeId::to_string).collect(),
            known_nodes: u32::try_from(holding.known).unwrap_or(u32::MAX),
            committed: holding.is_committed,
            until: None,
        }
    }

    fn known_things(&self) -> Known {
        let view = Arc::clone(&self.cluster.view().borrow());
        let node = |member: &Member| KnownNode {
            id: member.report.id.clone(),
            generation: member.report.generation,
            is_live: member.liveness.is_live(),
        };
        let conflicts = DocumentKind::ALL.into_iter().flat_map(|kind| {
            let conflicts = self.cluster.conflicts(kind);
            let stamps = conflicts.iter();
            let stamps = stamps.map(|conflict| (kind, conflict.header.stamp));
            stamps.collect::<Vec<_>>()
        });
        Known {
            nodes: view.members.iter().map(node).collect(),
            servers: self.known_servers(),
            conflicts: conflicts.collect(),
        }
    }

    /// The servers of the fleet's spec with what discovery found, as this node has them.
    fn known_servers(&self) -> KnownServers {
        let document = self.cluster.document(DocumentKind::Spec).borrow().clone();
        let candidate = document.and_then(|document| self.candidate(document.body()).ok());
        candidate.map_or_else(KnownServers::default, |candidate| {
            KnownServers::of(candidate.rendered())
        })
    }
}

impl From<RewriteError> for WriteFailure {
    fn from(error: RewriteError) -> Self {
        let words = with_causes(&error);
        Self::Final(match error {
            RewriteError::Write(error) => return error.into(),
            RewriteError::Busy => Failure::TimedOut(words),
            RewriteError::Document(OverridesError::TooMany { .. }) => Failure::InvalidArgument {
                field: "overrides",
                problem: words,
            },
            RewriteError::Document(_) => Failure::Internal(words),
        })
    }
}
