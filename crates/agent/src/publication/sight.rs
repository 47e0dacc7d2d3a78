//! What of the fleet matters to publication, as the leader sees it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hafleet_cluster::{Liveness, Member, Role, View};
use hafleet_dns::service::{NodeEvidence, Probe};
use hafleet_model::report::{ApplyState, DataPlaneHealth};
use hafleet_model::{DocumentKind, NodeId, Term};

/// What of the fleet matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// The term that this node leads.
    pub(super) term: Option<Term>,
    /// Whether a majority of the known nodes is alive.
    pub(super) has_majority: bool,
    /// All known nodes, before they are probed.
    pub(super) nodes: BTreeMap<NodeId, Seen>,
}

/// A node before it is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Where its HAProxy listens.
    pub(super) data_address: IpAddr,
    evidence: NodeEvidence,
}

impl Sight {
    pub(super) fn of(view: &View, drained: &BTreeSet<NodeId>) -> Self {
        let term = match view.leadership.role {
            Role::Leader(term) => Some(term),
            Role::Follower(..) | Role::Settling { .. } | Role::Unfit { .. } => None,
        };
        let connected = view.members.iter().filter(|member| is_connected(member));
        // Where most connections are broken, it is more likely to be this node that is cut off.
        let connected = connected.map(|member| &member.report.id);
        let are_links_believed = view.is_majority(connected);
        // A witness is never in service.
        let members = view.members.iter();
        let members = members.filter(|member| !member.report.is_witness);
        let seen = members.map(|member| {
            let id = member.report.id.clone();
            let is_live = match are_links_believed {
                true => is_connected(member),
                false => member.liveness.is_live(),
            };
            let is_drained = drained.contains(&id);
            (id, Seen::of(member, is_live, is_drained))
        });
        Self {
            term,
            has_majority: view.has_majority(),
            nodes: seen.collect(),
        }
    }
}

/// Whether it answers this node, rather than others that tell of it.
fn is_connected(member: &Member) -> bool {
    member.is_self || member.liveness == Liveness::Live
}

impl Seen {
    fn of(member: &Member, is_live: bool, is_drained: bool) -> Self {
        let report = &member.report;
        // An agent that was just started has applied nothing yet, beside an HAProxy that has. One that holds a spec is
        // judged by whether HAProxy serves.
        let has_spec = report.apply != ApplyState::Waiting
            || report.held.contains_key(&DocumentKind::Spec)
            || report.own_configuration.is_some();
        Self {
            data_address: report.data_address,
            evidence: NodeEvidence {
                addresses: report.addresses.clone(),
                weight: report.weight,
                is_live,
                is_serving: report.data_plane.health == DataPlaneHealth::Up,
                has_spec,
                is_drained,
                probe: None,
            },
        }
    }

    /// All that is known of it, with what a probe says.
    pub(super) fn probed(&self, probe: Option<Probe>) -> NodeEvidence {
        NodeEvidence {
            probe,
            ..self.evidence.clone()
        }
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
