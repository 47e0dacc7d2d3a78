//! What the leader does next about who is in the fleet. Pure: values in, values out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hafleet_cluster::{Liveness, Member, View};
use hafleet_model::NodeId;
use hafleet_model::overrides::{Removal, RemovalReason};
use hafleet_model::report::InstanceName;

/// One change of who counts. There is one at a time, each stored by a majority before the next: so any two majorities
/// that follow each other have a node in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A node that was removed is back, and counts again.
    TakeIn {
        /// Which one.
        node: NodeId,
    },
    /// The fleet goes on without a node that is dead.
    Remove {
        /// Which one.
        node: NodeId,
        /// Its last run that is known.
        generation: u64,
        /// Why.
        reason: RemovalReason,
    },
}

/// An instance that is asked for: its region where that is known, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) region: Option<String>,
    pub(crate) id: String,
}

/// The next step, at `now_ms`, in milliseconds since 1970.
pub(crate) fn next(
    view: &View,
    removed: &BTreeMap<NodeId, Removal>,
    terminated: &BTreeSet<NodeId>,
    retention: Duration,
    now_ms: i64,
) -> Option<Step> {
    let back = view.members.iter().find(|member| is_back(member, removed));
    if let Some(back) = back {
        return Some(Step::TakeIn {
            node: back.report.id.clone(),
        });
    }
    let mut dead = view.members.iter().filter(|member| is_missed(member));
    dead.find_map(|member| {
        let unseen_ms = now_ms.saturating_sub(member.last_seen_ms);
        let unseen = Duration::from_millis(u64::try_from(unseen_ms).unwrap_or_default());
        let reason = match terminated.contains(&member.report.id) {
            true => RemovalReason::Terminated,
            false if unseen > retention => RemovalReason::Expired,
            false => return None,
        };
        Some(Step::Remove {
            node: member.report.id.clone(),
            generation: member.report.generation,
            reason,
        })
    })
}

/// Whether it is in its place again. One that has left is still live while it says goodbye: that is no return.
fn is_back(member: &Member, removed: &BTreeMap<NodeId, Removal>) -> bool {
    let Some(removal) = removed.get(&member.report.id) else {
        return false;
    };
    let is_going =
        removal.reason == RemovalReason::Left && removal.generation == member.report.generation;
    member.liveness.is_live() && !is_going
}

fn is_missed(member: &Member) -> bool {
    member.is_counted && matches!(member.liveness, Liveness::Dead { .. })
}

/// The instances of nodes that are missed, for EC2 to be asked.
pub(crate) fn missed_instances(view: &View) -> BTreeMap<Asked, NodeId> {
    let missed = view.members.iter().filter(|member| is_missed(member));
    let asked = missed.filter_map(|member| {
        let id = member.report.id.clone();
        let asked = match &member.report.instance {
            Some(instance) => Asked {
                region: Some(instance.region.clone()),
                id: instance.id.clone(),
            },
            None if InstanceName::is_id(id.as_str()) => Asked {
                region: None,
                id: id.to_string(),
            },
            None => return None,
        };
        Some((asked, id))
    });
    asked.collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
