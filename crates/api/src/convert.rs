//! Domain types as messages of the wire, and back where an agent reads what another one answered.

use std::net::IpAddr;

use hafleet_model::overrides::{Provenance, Removal};
use hafleet_model::report::{
    ApplyState, CertificateState, Change, DataPlane, DataPlaneHealth, OwnConfiguration,
};
use hafleet_model::spec::{Finding, NodeAddress};
use hafleet_model::{DocumentKind, Header, NodeId, Stamp};
use pbjson_types::{Duration, Timestamp};

use crate::fleet::{
    FleetPlan, LeaderRole, NodeDetail, NodePlan, NodeStatus, OldProcess, Reload, Status, Steps,
    Written,
};
use crate::v1;

/// A message of another agent that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other agent's answer has no usable {field}")]
pub struct BadAnswer {
    pub(crate) field: &'static str,
}

pub(crate) fn bad<E>(field: &'static str) -> impl FnOnce(E) -> BadAnswer {
    move |_| BadAnswer { field }
}

/// Milliseconds since 1970 as protobuf has them.
pub fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000)).unwrap_or_default() * 1_000_000;
    Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos,
    }
}

/// Milliseconds as protobuf has them.
fn duration(ms: u64) -> Duration {
    let nanos = i32::try_from(ms % 1_000).unwrap_or_default() * 1_000_000;
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    Duration { seconds, nanos }
}

impl From<Status> for v1::FleetStatus {
    fn from(status: Status) -> Self {
        let leader = status.leader.clone();
        Self {
            fleet: status.fleet.to_string(),
            node_id: status.node.to_string(),
            leadership: Some(leadership(&status)),
            nodes: status
                .nodes
                .into_iter()
                .map(|node| node_status(node, leader.as_ref()))
                .collect(),
            spec: status.spec.map(Into::into),
            conflicts: status.conflicts.into_iter().map(Into::into).collect(),
            majority: u32::try_from(status.majority).unwrap_or(u32::MAX),
            at: Some(timestamp(status.at_ms)),
            endpoints: status.endpoints.map(Into::into),
            unmet_seeds: status.unmet_seeds,
            removed: status.removed.into_iter().map(removed_node).collect(),
        }
    }
}

fn removed_node((node, removal): (NodeId, Removal)) -> v1::RemovedNode {
    v1::RemovedNode {
        node_id: node.to_string(),
        reason: removal.reason.as_str().to_owned(),
        generation: removal.generation,
        provenance: Some(removal.provenance.into()),
    }
}

impl From<(Header, Provenance)> for v1::DismissedConflict {
    fn from((header, provenance): (Header, Provenance)) -> Self {
        Self {
            revision: Some(header.into()),
            provenance: Some(provenance.into()),
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
        leader: status
            .leader
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        term: status.term.0,
        reason: reason.to_owned(),
    }
}

fn node_status(node: NodeStatus, leader: Option<&NodeId>) -> v1::NodeStatus {
    use v1::node_status::Liveness;
    let report = node.report;
    let held = |kind| {
        let stamp: Option<&Stamp> = report.held.get(&kind);
        stamp
            .map(|stamp| stamp.revision.to_string())
            .unwrap_or_default()
    };
    let address = |kind| {
        let address: Option<&IpAddr> = report.addresses.get(&kind);
        address.map(ToString::to_string).unwrap_or_default()
    };
    let (public_address, private_address, ipv6_address) = (
        address(NodeAddress::Public),
        address(NodeAddress::Private),
        address(NodeAddress::Ipv6),
    );
    let applied = report.endpoints.applied;
    let endpoints = v1::EndpointsStatus {
        held_revision: held(DocumentKind::Endpoints),
        applied_revision: applied
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
        error: report.endpoints.error.unwrap_or_default(),
    };
    v1::NodeStatus {
        held_revision: held(DocumentKind::Spec),
        endpoints: Some(endpoints),
        leader: leader == Some(&report.id),
        id: report.id.to_string(),
        address: report.address.to_string(),
        data_address: report.data_address.to_string(),
        zone: report.zone.unwrap_or_default(),
        version: report.version,
        generation: report.generation,
        liveness: if node.dead.is_none() {
            Liveness::Live
        } else {
            Liveness::Dead
        }
        .into(),
        liveness_reason: node.dead.unwrap_or_default(),
        apply: Some(report.apply.into()),
        haproxy: Some(report.data_plane.into()),
        public_address,
        private_address,
        ipv6_address,
        weight: report.weight.into(),
        certificate: report.certificate.map(node_certificate),
        revocations: report.revocations.into_iter().collect(),
        join_address: report
            .join_address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        unfit: report.unfit.unwrap_or_default(),
        drained: node.drained.map(Into::into),
        witness: report.is_witness,
        removed: node.is_removed,
        instance: report
            .instance
            .map(|instance| instance.to_string())
            .unwrap_or_default(),
        settling: report.is_settling,
        own_configuration: report.own_configuration.map(Into::into),
    }
}

impl From<OwnConfiguration> for v1::OwnConfiguration {
    fn from(own: OwnConfiguration) -> Self {
        Self {
            author: own.author,
            comment: own.comment,
            since: Some(timestamp(own.since_ms)),
            error: own.error.unwrap_or_default(),
        }
    }
}

fn node_certificate(certificate: CertificateState) -> v1::NodeCertificate {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    v1::NodeCertificate {
        ending: certificate.is_ending(now_ms),
        serial: certificate.serial,
        not_before: Some(timestamp(certificate.not_before_ms)),
        not_after: Some(timestamp(certificate.not_after_ms)),
        error: certificate.error.unwrap_or_default(),
    }
}

impl From<NodeDetail> for v1::NodeDetail {
    fn from(detail: NodeDetail) -> Self {
        let leader = detail.is_leader.then(|| detail.node.report.id.clone());
        Self {
            node: Some(node_status(detail.node, leader.as_ref())),
            reloads: detail.reloads.into_iter().map(Into::into).collect(),
            old_processes: detail.old_processes.into_iter().map(Into::into).collect(),
            drift: detail.drift,
            overrides_revision: detail
                .overrides
                .map(|revision| revision.to_string())
                .unwrap_or_default(),
            current_connections: detail.current_connections,
        }
    }
}

impl From<OldProcess> for v1::OldProcess {
    fn from(old: OldProcess) -> Self {
        Self {
            pid: old.pid,
            age: Some(duration(old.age_ms)),
            connections: old.connections,
        }
    }
}

impl From<Reload> for v1::Reload {
    fn from(reload: Reload) -> Self {
        let (pid, error) = match reload.outcome {
            Ok(pid) => (pid, String::new()),
            Err(error) => (0, error),
        };
        Self {
            id: reload.id,
            at: Some(timestamp(reload.at_ms)),
            revision: reload.revision.to_string(),
            reason: reload.reason,
            handover: reload.handover.unwrap_or_default(),
            took: Some(duration(reload.took_ms)),
            pid,
            error,
        }
    }
}

impl From<ApplyState> for v1::ApplyStatus {
    fn from(state: ApplyState) -> Self {
        use v1::apply_status::State;
        let running_revision = state
            .running()
            .map(|revision| revision.to_string())
            .unwrap_or_default();
        let (kind, revision, change, error) = match state {
            ApplyState::Waiting => (State::Waiting, None, "", String::new()),
            ApplyState::Applying { revision } => {
                (State::Applying, Some(revision), "", String::new())
            }
            ApplyState::Applied { revision, change } => (
                State::Applied,
                Some(revision),
                change.as_str(),
                String::new(),
            ),
            ApplyState::Failed {
                revision, error, ..
            } => (State::Failed, Some(revision), "", error),
        };
        Self {
            state: kind.into(),
            revision: revision
                .map(|revision| revision.to_string())
                .unwrap_or_default(),
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
            parent: header
                .parent
                .map(|parent| parent.revision.to_string())
                .unwrap_or_default(),
            parent_digest: header
                .parent
                .map(|parent| parent.digest.to_string())
                .unwrap_or_default(),
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
            base_revision: plan
                .base
                .map(|revision| revision.to_string())
                .unwrap_or_default(),
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
            Err(error) => Self {
                node_id,
                error,
                ..Self::default()
            },
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

impl TryFrom<v1::RevisionInfo> for Header {
    type Error = BadAnswer;

    fn try_from(info: v1::RevisionInfo) -> Result<Self, BadAnswer> {
        let stamp = |revision: &str, digest: &str| -> Result<Stamp, BadAnswer> {
            Ok(Stamp {
                revision: revision.parse().map_err(bad("revision"))?,
                digest: digest.parse().map_err(bad("digest"))?,
            })
        };
        let parent = match info.parent.as_str() {
            "" => None,
            parent => Some(stamp(parent, &info.parent_digest)?),
        };
        let written_at = info.written_at.unwrap_or_default();
        Ok(Self {
            kind: DocumentKind::Spec,
            stamp: stamp(&info.revision, &info.digest)?,
            parent,
            author: info.author,
            comment: info.comment,
            written_at_ms: written_at
                .seconds
                .saturating_mul(1_000)
                .saturating_add(i64::from(written_at.nanos / 1_000_000)),
        })
    }
}

impl From<v1::Finding> for Finding {
    fn from(finding: v1::Finding) -> Self {
        let known = |number: u64| (number != 0).then_some(number);
        Self {
            path: finding.path,
            line: known(finding.line),
            column: known(finding.column),
            message: finding.message,
        }
    }
}

impl TryFrom<v1::WriteSpecResponse> for Written {
    type Error = BadAnswer;

    fn try_from(written: v1::WriteSpecResponse) -> Result<Self, BadAnswer> {
        let stored_by: Result<_, _> = written.stored_by.into_iter().map(NodeId::new).collect();
        Ok(Self {
            header: written
                .revision
                .ok_or(BadAnswer { field: "revision" })?
                .try_into()?,
            stored_by: stored_by.map_err(bad("stored_by"))?,
            known_nodes: usize::try_from(written.known_nodes).unwrap_or(usize::MAX),
            is_committed: written.committed,
            is_unchanged: written.unchanged,
            warnings: written.warnings.into_iter().map(Into::into).collect(),
        })
    }
}

impl TryFrom<v1::NodePlan> for NodePlan {
    type Error = BadAnswer;

    fn try_from(plan: v1::NodePlan) -> Result<Self, BadAnswer> {
        let node = NodeId::new(plan.node_id).map_err(bad("node_id"))?;
        if !plan.error.is_empty() {
            return Ok(Self {
                node,
                outcome: Err(plan.error),
            });
        }
        let change = [
            Change::Nothing,
            Change::Runtime,
            Change::Reload,
            Change::Start,
        ]
        .into_iter()
        .find(|change| change.as_str() == plan.change)
        .ok_or(BadAnswer { field: "change" })?;
        Ok(Self {
            node,
            outcome: Ok(Steps {
                change,
                steps: plan.steps,
                reason: plan.reason,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hafleet_model::{Digest, Revision, Term};

    #[test]
    fn what_an_agent_answers_reads_back_as_it_was() {
        let stamp = |sequence| Stamp {
            revision: Revision::new(Term(4), sequence),
            digest: Digest::of(b"x"),
        };
        let written = Written {
            header: Header {
                kind: DocumentKind::Spec,
                stamp: stamp(2),
                parent: Some(stamp(1)),
                author: "ada (admin)".into(),
                comment: "more".into(),
                written_at_ms: 1_700_000_000_123,
            },
            stored_by: vec![NodeId::new("lb1").unwrap()],
            known_nodes: 3,
            is_committed: false,
            is_unchanged: false,
            warnings: vec![Finding::new("global", "hm")],
        };
        let message = v1::WriteSpecResponse::from(written.clone());
        assert_eq!(Written::try_from(message).unwrap(), written);
        assert!(Written::try_from(v1::WriteSpecResponse::default()).is_err());
    }

    #[test]
    fn a_time_that_is_none_is_the_last_that_can_be_told() {
        let stamp = Stamp {
            revision: Revision::new(Term(4), 2),
            digest: Digest::of(b"x"),
        };
        let info = v1::RevisionInfo {
            revision: stamp.revision.to_string(),
            digest: stamp.digest.to_string(),
            written_at: Some(pbjson_types::Timestamp {
                seconds: i64::MAX,
                nanos: i32::MAX,
            }),
            ..v1::RevisionInfo::default()
        };
        assert_eq!(Header::try_from(info).unwrap().written_at_ms, i64::MAX);
    }

    #[test]
    fn plans_read_back_as_they_were() {
        let steps = Steps {
            change: Change::Runtime,
            steps: vec!["set weight".into()],
            reason: "weights".into(),
        };
        for outcome in [Ok(steps), Err("no".to_owned())] {
            let plan = NodePlan {
                node: NodeId::new("lb1").unwrap(),
                outcome,
            };
            assert_eq!(
                NodePlan::try_from(v1::NodePlan::from(plan.clone())).unwrap(),
                plan
            );
        }
    }
}
