//! Domain types as messages of the wire. The other direction is a few fields, read where the call is served.

use hafleet_model::report::{ApplyState, DataPlane, DataPlaneHealth};
use hafleet_model::spec::Finding;
use hafleet_model::{Header, NodeId};
use pbjson_types::Timestamp;

use crate::fleet::{FleetPlan, LeaderRole, NodePlan, NodeStatus, Status, Written};
use crate::v1;

/// Milliseconds since 1970 as protobuf has them.
fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000)).unwrap_or_default() * 1_000_000;
    Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

impl From<Status> for v1::FleetStatus {
    fn from(status: Status) -> Self {
        let leader = status.leader.clone();
        Self {
            fleet: status.fleet.to_string(),
            node_id: status.node.to_string(),
            leadership: Some(leadership(&status)),
            nodes: status.nodes.into_iter().map(|node| node_status(node, leader.as_ref())).collect(),
            spec: status.spec.map(Into::into),
            conflicts: status.conflicts.into_iter().map(Into::into).collect(),
            majority: u32::try_from(status.majority).unwrap_or(u32::MAX),
            at: Some(timestamp(status.at_ms)),
        }
    }
}

fn leadership(status: &Status) -> v1::Leadership {
    use v1::leadership::Role;
    let (role, reason) = match &status.role {
        LeaderRole::Leader => (Role::Leader, ""),
        LeaderRole::Follower => (Role::Follower, ""),
        LeaderRole::Settling(reason) => (Role::Settling, reason.as_str()),
        LeaderRole::Unfit(reason) => (Role::Unfit, reason.as_str()),
    };
    v1::Leadership {
        role: role.into(),
        leader: status.leader.as_ref().map(ToString::to_string).unwrap_or_default(),
        term: status.term.0,
        reason: reason.to_owned(),
    }
}

fn node_status(node: NodeStatus, leader: Option<&NodeId>) -> v1::NodeStatus {
    use v1::node_status::Liveness;
    let report = node.report;
    let held = report.held.get(&hafleet_model::DocumentKind::Spec);
    v1::NodeStatus {
        leader: leader == Some(&report.id),
        id: report.id.to_string(),
        address: report.address.to_string(),
        data_address: report.data_address.to_string(),
        zone: report.zone.unwrap_or_default(),
        version: report.version,
        generation: report.generation,
        liveness: if node.dead.is_none() { Liveness::Live } else { Liveness::Dead }.into(),
        liveness_reason: node.dead.unwrap_or_default(),
        held_revision: held.map(|stamp| stamp.revision.to_string()).unwrap_or_default(),
        apply: Some(report.apply.into()),
        haproxy: Some(report.data_plane.into()),
    }
}

impl From<ApplyState> for v1::ApplyStatus {
    fn from(state: ApplyState) -> Self {
        use v1::apply_status::State;
        let running_revision = state.running().map(|revision| revision.to_string()).unwrap_or_default();
        let (kind, revision, change, error) = match state {
            ApplyState::Waiting => (State::Waiting, None, "", String::new()),
            ApplyState::Applying { revision } => (State::Applying, Some(revision), "", String::new()),
            ApplyState::Applied { revision, change } => {
                (State::Applied, Some(revision), change.as_str(), String::new())
            }
            ApplyState::Failed { revision, error, .. } => (State::Failed, Some(revision), "", error),
        };
        Self {
            state: kind.into(),
            revision: revision.map(|revision| revision.to_string()).unwrap_or_default(),
            running_revision,
            change: change.to_owned(),
            error,
        }
    }
}

impl From<DataPlane> for v1::HaproxyStatus {
    fn from(data_plane: DataPlane) -> Self {
        use v1::haproxy_status::Health;
        let health = match data_plane.health {
            DataPlaneHealth::Idle => Health::Idle,
            DataPlaneHealth::Up => Health::Up,
            DataPlaneHealth::Down => Health::Down,
        };
        Self {
            health: health.into(),
            pid: data_plane.pid.unwrap_or_default(),
            version: data_plane.version.unwrap_or_default(),
            old_processes: data_plane.old_processes,
            handover: data_plane.handover,
        }
    }
}

impl From<Header> for v1::RevisionInfo {
    fn from(header: Header) -> Self {
        Self {
            revision: header.stamp.revision.to_string(),
            digest: header.stamp.digest.to_string(),
            parent: header.parent.map(|parent| parent.revision.to_string()).unwrap_or_default(),
            author: header.author,
            comment: header.comment,
            written_at: Some(timestamp(header.written_at_ms)),
        }
    }
}

impl From<Finding> for v1::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            path: finding.path,
            line: finding.line.unwrap_or_default(),
            column: finding.column.unwrap_or_default(),
            message: finding.message,
        }
    }
}

impl From<FleetPlan> for v1::PlanSpecResponse {
    fn from(plan: FleetPlan) -> Self {
        Self {
            base_revision: plan.base.map(|revision| revision.to_string()).unwrap_or_default(),
            diff: plan.diff,
            nodes: plan.nodes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<NodePlan> for v1::NodePlan {
    fn from(plan: NodePlan) -> Self {
        let node_id = plan.node.to_string();
        match plan.outcome {
            Ok(steps) => Self {
                node_id,
                change: steps.change.as_str().to_owned(),
                steps: steps.steps,
                reason: steps.reason,
                error: String::new(),
            },
            Err(error) => Self { node_id, error, ..Self::default() },
        }
    }
}

impl From<Written> for v1::WriteSpecResponse {
    fn from(written: Written) -> Self {
        Self {
            revision: Some(written.header.into()),
            stored_by: written.stored_by.iter().map(ToString::to_string).collect(),
            known_nodes: u32::try_from(written.known_nodes).unwrap_or(u32::MAX),
            committed: written.is_committed,
            unchanged: written.is_unchanged,
            warnings: written.warnings.into_iter().map(Into::into).collect(),
        }
    }
}
