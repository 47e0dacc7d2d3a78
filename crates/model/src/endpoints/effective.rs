//! Spec and endpoints together: what a node renders.

use std::collections::BTreeSet;

use super::placing::place;
use super::{Endpoint, Endpoints};
use crate::spec::{Backend, DiscoveredServers, Server, Spec};

/// The spec that a node in `zone` renders: `spec` with the services and servers that were found.
///
/// What people wrote comes first: a service that the spec leaves no place for is left out ([`unplaced`]), and so is a
/// server whose name the backend lists. Nothing is added to a spec that is a whole `haproxy_cfg`.
///
/// [`unplaced`]: super::unplaced
pub fn effective_spec(spec: &Spec, endpoints: &Endpoints, zone: Option<&str>) -> Spec {
    let mut spec = spec.clone();
    if spec.haproxy_cfg.is_some() {
        return spec;
    }
    let own = spec.backends.len();
    place(&mut spec, &endpoints.services);
    for (index, backend) in spec.backends.iter_mut().enumerate() {
        let is_service = index >= own;
        if is_service || !backend.sources.is_empty() {
            add_servers(backend, endpoints.of(&backend.name), zone);
        }
    }
    spec
}

fn add_servers(backend: &mut Backend, found: &[Endpoint], zone: Option<&str>) {
    let is_near = |endpoint: &Endpoint| zone.is_some() && endpoint.zone.as_deref() == zone;
    let prefers = backend.discovered.prefer_own_zone && found.iter().any(is_near);
    let listed: BTreeSet<_> = backend
        .servers
        .iter()
        .map(|server| server.name.clone())
        .collect();
    let added = found
        .iter()
        .filter(|endpoint| !listed.contains(&endpoint.name));
    let DiscoveredServers { maxconn, tls, .. } = backend.discovered.clone();
    backend.servers.extend(added.map(|endpoint| Server {
        name: endpoint.name.clone(),
        address: endpoint.address.to_string(),
        port: endpoint.port,
        weight: endpoint.weight,
        backup: prefers && !is_near(endpoint),
        maxconn,
        tls: tls.clone(),
    }));
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
