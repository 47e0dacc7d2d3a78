//! Where the leader looks whether a node's HAProxy answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hafleet_dns::probe::{Question, probe};
use hafleet_dns::service::Probe;
use hafleet_haproxy::render::Listener;
use hafleet_model::NodeId;
use hafleet_model::spec::Publication;

use super::sight::Seen;

/// How long one look may take. Within a region the answer comes in a hundredth of it, and a packet that was lost would be
/// sent again after a second only.
const LIMIT: Duration = Duration::from_millis(500);

/// So many listeners of a node are looked at, at most: they come and go together.
const MOST: usize = 8;

/// The ports of the nodes' HAProxies, and what is asked there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listeners(BTreeSet<(u16, Option<String>)>);

impl Listeners {
    /// Those that health checks of `publication` name; without such, those of the leader's own HAProxy that are reached at
    /// its address, since all nodes have the same.
    pub(crate) fn of(publication: &Publication, own: &[Listener], own_address: IpAddr) -> Self {
        let checks = publication.records.iter();
        let checks = checks.filter_map(|record| record.health_check.as_ref());
        let named: BTreeSet<_> = checks
            .map(|check| (check.port, check.path.clone()))
            .collect();
        if !named.is_empty() {
            return Self(named);
        }
        let is_reached = |listener: &&Listener| {
            listener
                .address
                .is_none_or(|address| address == own_address || address.is_unspecified())
        };
        let ports = own.iter().filter(is_reached);
        Self(ports.map(|listener| (listener.port, None)).collect())
    }

    /// Looks at all nodes at once. A node answers if any of its listeners does; nothing is said of nodes that have none.
    pub(super) async fn probe(&self, nodes: &BTreeMap<NodeId, Seen>) -> BTreeMap<NodeId, Probe> {
        let looks = nodes.iter().map(|(id, seen)| async move {
            let probe = self.probe_at(seen.data_address).await?;
            Some((id.clone(), probe))
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn probe_at(&self, address: IpAddr) -> Option<Probe> {
        let looks = self.0.iter().take(MOST).map(|(port, path)| async move {
            let question = Question {
                address: SocketAddr::new(address, *port),
                path: path.clone(),
            };
            probe(&question, LIMIT).await
        });
        let found = join_all(looks).await;
        match (found.contains(&Probe::Answers), found.is_empty()) {
            (true, _) => Some(Probe::Answers),
            (false, false) => Some(Probe::Fails),
            (false, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 4] = [192, 0, 2, 1];

    fn listener(address: Option<[u8; 4]>, port: u16) -> Listener {
        Listener {
            address: address.map(Into::into),
            port,
            tls: false,
        }
    }

    #[test]
    fn ports_are_those_of_health_checks_and_else_those_that_are_reached() {
        let own = [
            listener(None, 80),
            listener(Some(OWN), 81),
            listener(Some([127, 0, 0, 1]), 82),
        ];
        let of = |dns: &str| {
            let text = format!("version: 1\ndns: {{records: [{dns}]}}\n");
            let spec = hafleet_model::spec::load(&text).unwrap().spec;
            Listeners::of(&spec.dns, &own, OWN.into()).0
        };
        let plain = "{zone: example.com, name: www.example.com}";
        assert_eq!(of(plain), [(80, None), (81, None)].into());
        let checked = "{zone: example.com, name: www.example.com, routing: multivalue, health_check: {port: 8080, path: /up}}";
        assert_eq!(of(checked), [(8080, Some("/up".to_owned()))].into());
    }
}
