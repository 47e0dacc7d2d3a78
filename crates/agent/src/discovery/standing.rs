//! Where this node stands in the fleet, as far as that matters for discovery. Pure.

use std::collections::BTreeSet;

use hafleet_cluster::{Role, View};
use hafleet_model::{DocumentKind, NodeId, Stamp, Term};

/// What of a view matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The term that this node leads.
    pub(super) term: Option<Term>,
    pub(super) members: BTreeSet<NodeId>,
}

impl Standing {
    pub(super) fn of(view: &View) -> Self {
        let term = match view.leadership.role {
            Role::Leader(term) => Some(term),
            Role::Follower(..) | Role::Settling { .. } | Role::Unfit { .. } => None,
        };
        let members = view.members.iter().map(|member| member.report.id.clone());
        Self {
            term,
            members: members.collect(),
        }
    }
}

/// Whether a live node has a newer spec than `own`.
pub(crate) fn is_behind(view: &View, own: Option<Stamp>) -> bool {
    let live = view
        .members
        .iter()
        .filter(|member| member.liveness.is_live());
    let held = live.filter_map(|member| member.report.held.get(&DocumentKind::Spec));
    held.max()
        .is_some_and(|newest| own.is_none_or(|own| *newest > own))
}
