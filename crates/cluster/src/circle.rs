//! To whom a node keeps connections.
//!
//! In a fleet of up to [`FULL_MESH`] nodes each node is connected to each. In a larger one that would be too many: their
//! tests for life alone would keep every node busy. There a node is connected to
//!
//! - its neighbours: about [`DEGREE`] nodes, drawn by lot over pairs of addresses, so that both ends of a pair draw the
//!   same, that a node more or less changes few of them, and that gossip still reaches everyone in a few rounds;
//! - the hubs: whoever leads, and the first in the order in which nodes claim to. They are connected to everyone, so a
//!   leader reaches everyone with a write, everyone sees at once when the leader's process dies, and a new leader's claim
//!   reaches everyone at once;
//! - for some time, whoever a hub says is gone, to see for itself.
//!
//! Pure: values in, values out.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use hafleet_model::NodeId;

/// Up to how many nodes everyone is connected to everyone.
pub(crate) const FULL_MESH: usize = 32;
/// How many neighbours a node of a larger fleet has at most, on average; and half as many at least.
const DEGREE: u64 = 16;
/// In a fleet of more nodes than this, gossip opens fewer exchanges, in proportion.
const FULL_GOSSIP: usize = 200;
/// How many nodes are hubs, the leader included where it is one of the first.
const HUBS: usize = 3;

/// One node that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    /// Whether it is live, and could lead.
    pub(crate) is_able: bool,
}

/// Whom a node is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Circle {
    /// Everyone.
    #[default]
    All,
    /// These alone.
    Some {
        /// With whom it gossips.
        neighbours: HashSet<SocketAddr>,
        /// Those that are connected to everyone.
        hubs: HashSet<SocketAddr>,
    },
}

impl Circle {
    /// The circle of the node `own`, where `others` are all that it knows, live or not.
    pub(crate) fn of(own: &Known, others: &[Known], leader: Option<&NodeId>) -> Self {
        if others.len() < FULL_MESH {
            return Self::All;
        }
        let able = others.iter().chain([own]).filter(|known| known.is_able);
        let order: BTreeSet<&NodeId> = able.map(|known| &known.id).collect();
        let first = order.into_iter().take(HUBS);
        let hubs: HashSet<&NodeId> = first.chain(leader).collect();
        if hubs.contains(&own.id) {
            return Self::All;
        }
        let odds = odds(others.len() + 1);
        let is_neighbour = |address: &SocketAddr| lot(own.address, *address) < odds;
        Self::Some {
            neighbours: others
                .iter()
                .map(|known| known.address)
                .filter(is_neighbour)
                .collect(),
            hubs: others
                .iter()
                .filter(|known| hubs.contains(&known.id))
                .map(|known| known.address)
                .collect(),
        }
    }

    /// Whether it takes part in connections to `address`.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::Some { neighbours, hubs } => {
                neighbours.contains(&address) || hubs.contains(&address)
            }
        }
    }

    /// Whether everyone is in it.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// The share of gossip's exchanges that a node opens in a fleet of `nodes`: what all of them together carry grows with the
/// square of the fleet, and what each of them carries stays the same from [`FULL_GOSSIP`] on.
pub(crate) fn share_of_gossip(nodes: usize) -> f64 {
    let nodes = u32::try_from(nodes.max(FULL_GOSSIP)).unwrap_or(u32::MAX);
    let full = u32::try_from(FULL_GOSSIP).unwrap_or(u32::MAX);
    f64::from(full) / f64::from(nodes)
}

/// Below which lot a pair is connected: in steps of powers of two, so that nodes that count a few nodes more or fewer
/// nearly always agree.
fn odds(nodes: usize) -> u64 {
    let nodes = u64::try_from(nodes).unwrap_or(u64::MAX);
    let step = nodes.checked_next_power_of_two().unwrap_or(u64::MAX);
    (u64::MAX / step).saturating_mul(DEGREE)
}

/// A pair's lot, the same at both ends and in every version of this program.
fn lot(one: SocketAddr, other: SocketAddr) -> u64 {
    let (low, high) = (one.min(other), one.max(other));
    stir(stir(number(low)) ^ number(high))
}

fn number(address: SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments().map(u64::from);
            stir(a << 48 | b << 32 | c << 16 | d) ^ (e << 48 | f << 32 | g << 16 | h)
        }
    };
    stir(ip) ^ u64::from(address.port())
}

/// Spreads a number over all others (the finalizer of SplitMix64: Steele, Lea and Flood, 2014, section 3).
fn stir(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(size: usize) -> Vec<Known> {
        (0..size)
            .map(|number| Known {
                id: NodeId::new(format!("lb{number:04}")).unwrap(),
                address: format!("10.0.{}.{}:7440", number / 250, number % 250)
                    .parse()
                    .unwrap(),
                is_able: true,
            })
            .collect()
    }

    fn circle(fleet: &[Known], of: usize, leader: usize) -> Circle {
        let others: Vec<_> = fleet
            .iter()
            .filter(|known| known.id != fleet[of].id)
            .cloned()
            .collect();
        Circle::of(&fleet[of], &others, Some(&fleet[leader].id))
    }

    #[test]
    fn a_small_fleet_is_a_full_mesh() {
        let small = fleet(FULL_MESH);
        assert!((0..FULL_MESH).all(|of| circle(&small, of, 0).is_all()));
        let large = fleet(FULL_MESH + 1);
        assert!(!circle(&large, 20, 0).is_all());
    }

    #[test]
    fn both_ends_agree_and_neighbours_alone_reach_everyone() {
        for size in [33, 50, 200] {
            let fleet = fleet(size);
            let circles: Vec<_> = (0..size).map(|of| circle(&fleet, of, 20)).collect();
            let mut links = 0;
            for (one, circle) in circles.iter().enumerate() {
                for (other, known) in fleet.iter().enumerate() {
                    let is_linked = circle.has(known.address);
                    assert_eq!(is_linked, circles[other].has(fleet[one].address));
                    links += usize::from(is_linked && one != other);
                }
            }
            assert!(links / size < 40, "{size}: {links}");
            // By neighbours alone, without the hubs.
            let mut reached = HashSet::from([30]);
            for _ in 0..6 {
                let further = reached.iter().flat_map(|one: &usize| match &circles[*one] {
                    Circle::All => Vec::new(),
                    Circle::Some { neighbours, .. } => (0..size)
                        .filter(|other| neighbours.contains(&fleet[*other].address))
                        .collect(),
                });
                let further: Vec<_> = further.collect();
                reached.extend(further);
            }
            assert_eq!(reached.len(), size);
        }
    }

    #[test]
    fn the_leader_and_the_first_in_line_are_connected_to_everyone() {
        let mut fleet = fleet(200);
        fleet[1].is_able = false;
        for hub in [0, 2, 3, 77] {
            assert!(circle(&fleet, hub, 77).is_all(), "{hub}");
            assert!(circle(&fleet, 150, 77).has(fleet[hub].address), "{hub}");
        }
        assert!(!circle(&fleet, 1, 77).is_all());
    }

    #[test]
    fn one_node_more_changes_few_connections() {
        let (before, after) = (fleet(200), fleet(201));
        let addresses: Vec<_> = before.iter().map(|known| known.address).collect();
        let changed = (4..200).filter(|of| {
            let (before, after) = (circle(&before, *of, 0), circle(&after, *of, 0));
            addresses
                .iter()
                .any(|address| before.has(*address) != after.has(*address))
        });
        assert_eq!(changed.count(), 0);
    }
}
