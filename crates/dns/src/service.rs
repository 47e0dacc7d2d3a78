//! Which nodes are in service, and which of them stay published though they are not. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hafleet_model::NodeId;
use hafleet_model::spec::NodeAddress;

/// All that is known of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvidence {
    /// Its addresses, as its agent was told.
    pub addresses: BTreeMap<NodeAddress, IpAddr>,
    /// Its share of clients where they are spread by weight, 0 to 255.
    pub weight: u8,
    /// Whether membership has it alive.
    pub is_live: bool,
    /// Whether its agent says that its HAProxy answers on its listeners. What a dead agent said last does not count.
    pub is_serving: bool,
    /// Whether it has applied a spec.
    pub has_spec: bool,
    /// Whether an operator drains it.
    pub is_drained: bool,
    /// What the leader's own probe of its listeners says; none if it was not made.
    pub probe: Option<Probe>,
}

/// A probe of a node's listeners by the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// They answer.
    Answers,
    /// They do not.
    Fails,
}

/// How a node is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is in service.
    InService,
    /// It is drained: weight 0 where there are weights, else not published.
    Draining,
    /// It is not published, for this reason.
    Out(&'static str),
    /// It looks gone to some and not to others; it stays as it was published.
    Doubtful(&'static str),
}

impl NodeEvidence {
    /// What follows for publication. To take a node out, it needs more than gossip's silence: the leader's own probe has to
    /// fail too.
    pub fn standing(&self) -> Standing {
        if self.is_drained {
            return Standing::Draining;
        }
        match (self.is_live, self.probe) {
            (false, Some(Probe::Fails)) => {
                Standing::Out("it is dead, and its listeners do not answer")
            }
            (false, _) => Standing::Doubtful(
                "its agent is silent, but its listeners answer or were not probed yet",
            ),
            (true, _) if !self.has_spec => Standing::Out("it has applied no spec yet"),
            (true, Some(Probe::Fails)) if !self.is_serving => {
                Standing::Out("its HAProxy does not answer")
            }
            (true, _) if !self.is_serving => Standing::Doubtful(
                "its agent says that HAProxy does not answer, but a probe says otherwise or is under way",
            ),
            (true, Some(Probe::Fails)) => Standing::Doubtful(
                "its agent says that HAProxy serves, but a probe fails: is a firewall between them?",
            ),
            (true, _) => Standing::InService,
        }
    }
}

/// Who is published, and who is kept though it would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// The nodes whose addresses are published.
    pub published: BTreeSet<NodeId>,
    /// The nodes that are drained, and published with weight 0 where there are weights.
    pub draining: BTreeSet<NodeId>,
    /// Why nodes that were published are so still, though they would go: fewer than `min_published` would be left.
    pub held_back: Option<String>,
}

/// Who is to be published, when `before` were.
///
/// Fewer than `min_published` nodes, or none, are never published where there were more: then all of `before` that the
/// fleet still has stay, since to send clients to a node in doubt is better than to send them nowhere.
pub fn service(
    nodes: &BTreeMap<NodeId, NodeEvidence>,
    before: &BTreeSet<NodeId>,
    min_published: u32,
) -> Service {
    let standing: BTreeMap<_, _> = nodes
        .iter()
        .map(|(id, node)| (id, node.standing()))
        .collect();
    let of = |wanted: fn(&Standing) -> bool| {
        let found = standing
            .iter()
            .filter(move |(_, standing)| wanted(standing));
        found.map(|(id, _)| (*id).clone()).collect::<BTreeSet<_>>()
    };
    let mut published = of(|standing| *standing == Standing::InService);
    let doubtful = of(|standing| matches!(standing, Standing::Doubtful(_)));
    published.extend(doubtful.intersection(before).cloned());
    let draining = of(|standing| *standing == Standing::Draining);
    let enough = min_published.max(1) as usize;
    let stay: BTreeSet<_> = before
        .iter()
        .filter(|id| nodes.contains_key(*id))
        .cloned()
        .collect();
    let is_too_few = published.len() < enough && !stay.is_subset(&published);
    if !is_too_few {
        return Service {
            published,
            draining,
            held_back: None,
        };
    }
    let going: Vec<_> = stay
        .difference(&published)
        .map(ToString::to_string)
        .collect();
    let held_back = format!(
        "{} would be left, and min_published is {enough}: {} stay published",
        published.len(),
        going.join(", ")
    );
    let draining = draining.difference(&stay).cloned().collect();
    published.extend(stay);
    Service {
        published,
        draining,
        held_back: Some(held_back),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
