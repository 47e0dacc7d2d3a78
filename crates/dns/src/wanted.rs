//! From a published name and the nodes in service to record sets. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hafleet_model::spec::{DnsAliasType, PublishedName, Routing};
use hafleet_model::{FleetName, NodeId};

use crate::record::{Policy, RecordData, RecordKey, RecordSet, RecordType, normal};
use crate::service::{NodeEvidence, Service};

/// The health checks that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthChecks {
    /// Of each node.
    pub of_nodes: BTreeMap<NodeId, String>,
    /// Good while any primary node's is (failover).
    pub of_primaries: Option<String>,
}

/// What record sets of a fleet are called where a name has several: no set of another name is ever touched.
pub fn identifier(fleet: &FleetName, rest: &str) -> String {
    format!("{}{rest}", identifier_prefix(fleet))
}

/// What the identifiers of all sets of a fleet begin with.
pub fn identifier_prefix(fleet: &FleetName) -> String {
    format!("hafleet-{fleet}-")
}

/// The record sets of a name and of each of its aliases, by name. A name that is in it without sets has nobody to publish.
pub fn wanted(
    published: &PublishedName,
    fleet: &FleetName,
    nodes: &BTreeMap<NodeId, NodeEvidence>,
    service: &Service,
    checks: &HealthChecks,
) -> BTreeMap<String, Vec<RecordSet>> {
    let scene = Scene {
        published,
        fleet,
        nodes,
        service,
        checks,
        ttl: u32::try_from(published.ttl.duration().as_secs()).unwrap_or(u32::MAX),
    };
    let main = scene.main();
    let types: BTreeSet<_> = main.iter().map(|set| set.key.record_type.clone()).collect();
    let mut names: BTreeMap<_, _> = published
        .aliases
        .iter()
        .map(|alias| {
            let sets = if main.is_empty() {
                Vec::new()
            } else {
                scene.alias(&alias.name, alias.alias_type, &types)
            };
            (normal(&alias.name), sets)
        })
        .collect();
    names.insert(normal(&published.name), main);
    names
}

struct Scene<'a> {
    published: &'a PublishedName,
    fleet: &'a FleetName,
    nodes: &'a BTreeMap<NodeId, NodeEvidence>,
    service: &'a Service,
    checks: &'a HealthChecks,
    ttl: u32,
}

impl Scene<'_> {
    fn main(&self) -> Vec<RecordSet> {
        let mut sets = Vec::new();
        for record_type in [RecordType::A, RecordType::Aaaa] {
            match &self.published.routing {
                Routing::Simple => {
                    let all = self.service.published.iter();
                    sets.extend(self.set(&record_type, None, all, Policy::Simple, None));
                }
                Routing::Multivalue => {
                    let nodes = &self.service.published;
                    sets.extend(self.per_node(&record_type, nodes, |_| Policy::Multivalue));
                }
                Routing::Weighted => {
                    let both = self
                        .service
                        .published
                        .union(&self.service.draining)
                        .cloned()
                        .collect();
                    sets.extend(
                        self.per_node(&record_type, &both, |id| Policy::Weighted(self.weight(id))),
                    );
                }
                Routing::Failover { primary } => {
                    let is_primary = |id: &&NodeId| primary.contains(id);
                    let published = || self.service.published.iter();
                    let (first, rest) = (
                        published().filter(is_primary),
                        published().filter(|id| !is_primary(id)),
                    );
                    let check = self.checks.of_primaries.clone();
                    sets.extend(self.set(
                        &record_type,
                        Some("primary"),
                        first,
                        Policy::Primary,
                        check,
                    ));
                    sets.extend(self.set(
                        &record_type,
                        Some("secondary"),
                        rest,
                        Policy::Secondary,
                        None,
                    ));
                }
            }
        }
        sets
    }

    fn per_node(
        &self,
        record_type: &RecordType,
        nodes: &BTreeSet<NodeId>,
        policy: impl Fn(&NodeId) -> Policy,
    ) -> Vec<RecordSet> {
        let set = |id: &NodeId| {
            let check = self.checks.of_nodes.get(id).cloned();
            let identifier = Some(id.as_str());
            self.set(
                record_type,
                identifier,
                std::iter::once(id),
                policy(id),
                check,
            )
        };
        nodes.iter().filter_map(set).collect()
    }

    /// One set with the addresses of `nodes`; none if they have none of that type.
    fn set<'n>(
        &self,
        record_type: &RecordType,
        identifier: Option<&str>,
        nodes: impl Iterator<Item = &'n NodeId>,
        policy: Policy,
        health_check: Option<String>,
    ) -> Option<RecordSet> {
        let is_of_type = |address: &IpAddr| address.is_ipv4() == (*record_type == RecordType::A);
        let addresses = nodes.filter_map(|id| self.nodes.get(id)).flat_map(|node| {
            let kinds = self.published.addresses.iter();
            kinds.filter_map(|kind| node.addresses.get(kind)).copied()
        });
        let values: BTreeSet<_> = addresses
            .filter(is_of_type)
            .map(|address| address.to_string())
            .collect();
        let key = RecordKey::new(&self.published.name, record_type.clone());
        let key = match identifier {
            Some(rest) => key.with_identifier(self::identifier(self.fleet, rest)),
            None => key,
        };
        (!values.is_empty()).then_some(RecordSet {
            key,
            data: RecordData::Values {
                ttl: self.ttl,
                values,
            },
            policy,
            health_check,
        })
    }

    fn weight(&self, id: &NodeId) -> u8 {
        if self.service.draining.contains(id) {
            return 0;
        }
        self.nodes.get(id).map_or(0, |node| node.weight)
    }

    fn alias(
        &self,
        name: &str,
        alias_type: DnsAliasType,
        types: &BTreeSet<RecordType>,
    ) -> Vec<RecordSet> {
        let target = normal(&self.published.name);
        match alias_type {
            DnsAliasType::Cname => {
                vec![RecordSet::simple(
                    name,
                    RecordType::Cname,
                    self.ttl,
                    [target],
                )]
            }
            DnsAliasType::Alias => {
                let set = |record_type: &RecordType| RecordSet {
                    key: RecordKey::new(name, record_type.clone()),
                    data: RecordData::Alias {
                        zone: self.published.zone.clone(),
                        target: target.clone(),
                    },
                    policy: Policy::Simple,
                    health_check: None,
                };
                types.iter().map(set).collect()
            }
        }
    }
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
