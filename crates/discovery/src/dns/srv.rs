//! Which SRV records are servers, and with what weight. Pure.

use std::collections::BTreeMap;

use hafleet_model::spec::Server;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::rdata::SRV;

/// One server's worth of an SRV record, its target's address still unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Whose addresses are meant.
    pub(super) target: Name,
    /// TCP port.
    pub(super) port: u16,
    /// In HAProxy's measure; none where the records make no difference.
    pub(super) weight: Option<u16>,
}

/// The records of the lowest priority, each target and port once, in an order of their own.
///
/// Weights are 0 to 65535 in DNS and 1 to 256 here. They stay as they are while none is above 256; otherwise all are made
/// smaller by the same factor, so that the largest becomes 256. 0 becomes 1: "a very small chance of being selected" (RFC
/// 2782). Where all are 0 there is no difference to be made, and the weight is left to the spec. A target of `.` means
/// that there is no such service, and is no server.
pub(super) fn chosen<'r>(records: impl Iterator<Item = &'r SRV> + Clone) -> Vec<Service> {
    let there = records.filter(|srv| !srv.target.is_root());
    let lowest = there.clone().map(|srv| srv.priority).min();
    let mut weights = BTreeMap::new();
    for srv in there.filter(|srv| Some(srv.priority) == lowest) {
        let mut target = srv.target.to_lowercase();
        target.set_fqdn(true);
        let weight = weights.entry((target, srv.port)).or_insert(0);
        *weight = srv.weight.max(*weight);
    }
    let largest = weights.values().copied().max().unwrap_or(0);
    weights
        .into_iter()
        .map(|((target, port), weight)| Service {
            target,
            port,
            weight: (largest > 0).then(|| scaled(weight, largest)),
        })
        .collect()
}

fn scaled(weight: u16, largest: u16) -> u16 {
    let most = u32::from(Server::MAX_WEIGHT);
    let (weight, largest) = (u32::from(weight), u32::from(largest).max(most));
    let rounded = (weight * most + largest / 2) / largest;
    // At most 256 by the line above.
    u16::try_from(rounded.clamp(1, most)).unwrap_or(Server::MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, target: &str) -> SRV {
        SRV::new(priority, weight, 80, Name::from_ascii(target).unwrap())
    }

    fn weights(given: &[u16]) -> Vec<Option<u16>> {
        let records: Vec<_> = given
            .iter()
            .enumerate()
            .map(|(number, weight)| record(1, *weight, &format!("s{number}.test.")))
            .collect();
        let chosen = chosen(records.iter());
        chosen.into_iter().map(|service| service.weight).collect()
    }

    #[test]
    fn weights_that_haproxy_has_too_stay_as_they_are() {
        assert_eq!(
            weights(&[1, 100, 256]),
            [1, 100, 256].map(Some),
            "no factor"
        );
        assert_eq!(weights(&[0, 10]), [Some(1), Some(10)]);
        assert_eq!(weights(&[0, 0]), [None, None]);
    }

    #[test]
    fn larger_weights_keep_their_proportion() {
        assert_eq!(weights(&[65535, 32768, 1]), [256, 128, 1].map(Some));
        assert_eq!(weights(&[512, 256, 0]), [256, 128, 1].map(Some));
    }

    #[test]
    fn only_the_lowest_priority_and_no_target_twice() {
        let records = [
            record(2, 1, "later.test."),
            record(1, 5, "b.test."),
            record(1, 7, "B.test."),
            record(1, 3, "a.test."),
        ];
        let mut turned = records.to_vec();
        turned.reverse();
        let services = chosen(records.iter());
        assert_eq!(services, chosen(turned.iter()));
        let targets: Vec<_> = services.iter().map(|s| s.target.to_utf8()).collect();
        assert_eq!(targets, ["a.test.", "b.test."]);
        assert_eq!(services[1].weight, Some(7));
    }

    #[test]
    fn the_root_is_no_target() {
        assert_eq!(chosen([record(0, 0, ".")].iter()), []);
    }
}
