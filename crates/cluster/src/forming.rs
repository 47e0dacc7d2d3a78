//! What a node that has never been part of a majority makes of its seeds: they are all that it knows of its fleet.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hafleet_model::NodeId;

use crate::membership::Surroundings;
use crate::view::{SeedsShort, Sighting};

/// How seeds weigh on majorities.
#[derive(Debug, Default)]
pub(crate) struct Forming {
    /// The seeds of which nothing is known: each may be a node, and counts as one that is not there.
    pub(crate) unmet_seeds: Vec<String>,
    /// When too few seeds are live for anything to be a majority.
    pub(crate) seeds_short: Option<SeedsShort>,
}

impl Forming {
    pub(crate) fn look(sightings: &BTreeMap<NodeId, Sighting>, around: &Surroundings) -> Self {
        let sighting_at = |address: SocketAddr| {
            let link = around.links.get(&address);
            let peer = link.and_then(|link| link.peer.as_ref());
            let mut all = sightings.values();
            peer.and_then(|peer| sightings.get(peer))
                .or_else(|| all.find(|sighting| sighting.report.address == address))
        };
        let is_own = |address: SocketAddr| around.own_addresses.contains(&address);
        let is_met = |address| is_own(address) || sighting_at(address).is_some();
        let is_live = |address| {
            let is_live = |sighting: &Sighting| sighting.liveness().is_live();
            is_own(address) || sighting_at(address).is_some_and(is_live)
        };
        let seeds = around.seeds.len();
        let is_seed = around.seeds.none_of(is_own).len() < seeds;
        let silent = around.seeds.none_of(is_live);
        // Nodes may name each other and leave themselves out.
        let of = seeds + usize::from(!is_seed);
        Self {
            unmet_seeds: around.seeds.none_of(is_met),
            seeds_short: (silent.len() * 2 >= of).then_some(SeedsShort { silent, of }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::links::LinkStatus;
    use crate::seeds::ResolvedSeeds;
    use crate::view::LinkState;

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7400))
    }

    /// What node 1 makes of it that `seeds` are its seeds, `met` were met, and `live` of them are there.
    fn look(seeds: &[u8], met: &[u8], live: &[u8]) -> Forming {
        let id = |number: u8| NodeId::new(format!("n{number}")).unwrap();
        let sighting = |number: u8| Sighting {
            report: crate::facts::blank_report(id(number), 1, address(number)).into(),
            is_current: true,
            is_alive_in_gossip: live.contains(&number),
            has_left: false,
            is_refusal_outweighed: false,
            link: None,
            lost: BTreeMap::new(),
            last_seen_ms: 0,
        };
        let connected = |number: &u8| {
            let status = LinkStatus::new(LinkState::Connecting, Some(id(*number)));
            (address(*number), status)
        };
        let sightings = met.iter().map(|number| (id(*number), sighting(*number)));
        let seeds = seeds
            .iter()
            .map(|number| (format!("n{number}:7400"), vec![address(*number)]));
        let around = Surroundings {
            links: met.iter().map(connected).collect::<HashMap<_, _>>(),
            own_addresses: HashSet::from([address(1)]),
            seeds: ResolvedSeeds::new(seeds),
            ..Surroundings::default()
        };
        Forming::look(&sightings.collect(), &around)
    }

    #[test]
    fn more_than_half_of_the_seeds_have_to_be_live_and_not_only_met() {
        let short = |forming: Forming| forming.seeds_short.map(|short| short.silent.len());
        assert_eq!(short(look(&[1, 2, 3], &[2], &[2])), None);
        assert_eq!(short(look(&[1, 2, 3], &[2, 3], &[])), Some(2));
        // However many others there are: another half of the fleet may have the other seeds.
        let others = [2, 4, 5, 6, 7];
        assert_eq!(short(look(&[2, 3, 8], &others, &others)), Some(2));
        assert_eq!(short(look(&[2, 3, 8], &[2, 3], &[2, 3])), None);
    }

    #[test]
    fn nodes_that_name_each_other_count_themselves() {
        assert!(look(&[2, 3], &[2], &[2]).seeds_short.is_none());
        let alone = look(&[2, 3], &[], &[]);
        assert_eq!(alone.seeds_short.unwrap().of, 3);
        assert_eq!(alone.unmet_seeds.len(), 2);
        assert!(look(&[], &[], &[]).seeds_short.is_none(), "a fleet of one");
    }
}
