//! Where servers come from: what the API tells of it, and the leader's part in changing it.

use hafleet_api::fleet::Intent;
use hafleet_api::{Failure, v1};
use hafleet_model::NodeId;

use super::AgentFleet;

impl AgentFleet {
    pub(super) async fn sources_at_leader(
        &self,
        _is_forwarded: bool,
    ) -> Result<v1::ListSourcesResponse, Failure> {
        Err(not_yet())
    }

    pub(super) async fn confirm_at_leader(
        &self,
        _backend: String,
        _intent: Intent,
    ) -> Result<v1::ConfirmEndpointsResponse, Failure> {
        Err(not_yet())
    }

    pub(super) fn take_published(
        &self,
        _node: NodeId,
        _said: v1::publish_found_request::Said,
    ) -> Result<(), Failure> {
        Err(not_yet())
    }
}

fn not_yet() -> Failure {
    Failure::NoLeader {
        reason: "no agent asks sources yet".into(),
    }
}
