//! Spec and endpoints together: what a node renders.

use std::collections::BTreeSet;

use super::{Endpoint, Endpoints, Service, ServiceKind};
use crate::spec::{
    Backend, Bind, BindAddress, DiscoveredServers, Frontend, Mode, Route, Server, ServicesSource,
    Spec,
};

/// The spec that a node in `zone` renders: `spec` with the services and servers that were found.
///
/// What people wrote comes first: a service whose name or port the spec uses for something else is left out, and so is a
/// server whose name the backend lists. Nothing is added to a spec that is a whole `haproxy_cfg`.
pub fn effective_spec(spec: &Spec, endpoints: &Endpoints, zone: Option<&str>) -> Spec {
    let mut spec = spec.clone();
    if spec.haproxy_cfg.is_some() {
        return spec;
    }
    if let Some(source) = spec.discovery.services.clone() {
        for service in &endpoints.services {
            add_service(&mut spec, &source, service);
        }
    }
    for backend in &mut spec.backends {
        if !backend.sources.is_empty() || is_service(endpoints, &backend.name) {
            add_servers(backend, endpoints.of(&backend.name), zone);
        }
    }
    spec
}

fn is_service(endpoints: &Endpoints, name: &str) -> bool {
    endpoints
        .services
        .iter()
        .any(|service| service.name == name)
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

fn add_service(spec: &mut Spec, source: &ServicesSource, service: &Service) {
    let is_taken = spec
        .backends
        .iter()
        .any(|backend| backend.name == service.name)
        || spec
            .frontends
            .iter()
            .any(|frontend| frontend.name == service.name);
    if is_taken {
        return;
    }
    let is_added = match &service.kind {
        ServiceKind::Http {
            domain,
            path_prefix,
            certificate,
        } => {
            let route = Route {
                host: domain.clone(),
                path_prefix: path_prefix.clone(),
                backend: service.name.clone(),
                strip_prefix: source.strip_prefix && path_prefix.is_some(),
            };
            add_route(spec, source, &route, certificate.as_deref())
        }
        ServiceKind::Tcp { external_port } => add_listener(spec, service, *external_port),
    };
    if !is_added {
        return;
    }
    let mode = match service.kind {
        ServiceKind::Http { .. } => Mode::Http,
        ServiceKind::Tcp { .. } => Mode::Tcp,
    };
    let mut backend = Backend::new(&service.name, mode);
    if let Some(balance) = &service.balance {
        backend.balance.clone_from(balance);
    }
    spec.backends.push(backend);
}

/// Adds the route to the frontends that the source names; whether there is any.
fn add_route(
    spec: &mut Spec,
    source: &ServicesSource,
    route: &Route,
    certificate: Option<&str>,
) -> bool {
    let mut is_added = false;
    let tls_frontend = source.tls_frontend.as_ref().or(source.frontend.as_ref());
    for frontend in &mut spec.frontends {
        let is_plain = source.frontend.as_ref() == Some(&frontend.name);
        let is_tls = tls_frontend == Some(&frontend.name);
        let is_secured = is_tls && certificate.is_some();
        if !(is_plain || is_secured) {
            continue;
        }
        frontend.routes.push(route.clone());
        is_added = true;
        for tls in frontend
            .binds
            .iter_mut()
            .filter_map(|bind| bind.tls.as_mut())
        {
            let certificate = certificate.filter(|_| is_tls).map(str::to_owned);
            let is_new = |name: &String| !tls.certificates.contains(name);
            tls.certificates.extend(certificate.filter(is_new));
        }
    }
    is_added
}

/// Adds a frontend for a TCP service; not if one of the spec has its port.
fn add_listener(spec: &mut Spec, service: &Service, port: u16) -> bool {
    let mut binds = spec.frontends.iter().flat_map(|frontend| &frontend.binds);
    if binds.any(|bind| bind.port == port) {
        return false;
    }
    let mut frontend = Frontend::new(format!("{}:{port}", service.name), Mode::Tcp);
    frontend.binds.push(Bind {
        address: BindAddress::Any,
        port,
        tls: None,
        accept_proxy: false,
    });
    frontend.default_backend = Some(service.name.clone());
    spec.frontends.push(frontend);
    true
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
