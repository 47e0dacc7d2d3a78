//! Where services find a place in a spec: a backend each, and a route or a frontend.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Service, ServiceKind};
use crate::spec::{Backend, Bind, BindAddress, Frontend, Mode, Route, ServicesSource, Spec};

/// A service that the spec leaves no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    /// Its name.
    pub service: String,
    /// Why, and what to do.
    pub why: String,
}

/// Those of `services` that [`effective_spec`](super::effective_spec) leaves out, by name.
pub fn unplaced(spec: &Spec, services: &[Service]) -> Vec<Unplaced> {
    if spec.haproxy_cfg.is_some() {
        let why = "the spec is a whole `haproxy_cfg`, to which nothing is added";
        return services
            .iter()
            .map(|service| service.unplaced(why))
            .collect();
    }
    place(&mut spec.clone(), services)
}

/// Adds the services to the spec, the first by name first, and says which have no place.
///
/// Their routes come after the spec's own. Among them the most specific comes first, since the first that matches
/// decides: by host names, wildcards and any host, and then by the longest path.
pub(super) fn place(spec: &mut Spec, services: &[Service]) -> Vec<Unplaced> {
    let Some(source) = spec.discovery.services.clone() else {
        let why = "the spec does not ask for services: give `discovery.services`";
        return services
            .iter()
            .map(|service| service.unplaced(why))
            .collect();
    };
    let own: Vec<_> = spec
        .frontends
        .iter()
        .map(|frontend| frontend.routes.len())
        .collect();
    let mut sorted: Vec<_> = services.iter().collect();
    sorted.sort();
    let mut taken = Taken::of(spec);
    let mut unplaced = Vec::new();
    for service in sorted {
        let placed = taken
            .name(&service.name)
            .and_then(|()| match &service.kind {
                ServiceKind::Http { .. } => add_routes(spec, &source, service, &mut taken),
                ServiceKind::Tcp { external_port } => {
                    taken.port(*external_port)?;
                    spec.frontends.push(listener(service, *external_port));
                    Ok(Mode::Tcp)
                }
            });
        match placed {
            Ok(mode) => {
                taken.names.insert(service.name.clone());
                spec.backends.push(backend(service, mode));
            }
            Err(why) => unplaced.push(service.unplaced(&why)),
        }
    }
    for (frontend, own) in spec.frontends.iter_mut().zip(own) {
        frontend.routes[own..].sort_by_cached_key(order);
    }
    unplaced
}

impl Service {
    fn unplaced(&self, why: &str) -> Unplaced {
        Unplaced {
            service: self.name.clone(),
            why: why.to_owned(),
        }
    }
}

/// What the spec and the services before have.
struct Taken {
    names: BTreeSet<String>,
    ports: BTreeSet<u16>,
    /// What routes match, by frontend.
    matches: BTreeMap<String, BTreeSet<Match>>,
}

/// A host in lower case, and a path without the slash at its end.
type Match = (Option<String>, String);

impl Taken {
    fn of(spec: &Spec) -> Self {
        let frontends = spec.frontends.iter();
        let matches = frontends.clone().map(|frontend| {
            let matches = frontend.routes.iter().map(match_of);
            (frontend.name.clone(), matches.collect())
        });
        let backends = spec.backends.iter().map(|backend| backend.name.clone());
        let names = frontends.clone().map(|frontend| frontend.name.clone());
        let binds = frontends.clone().flat_map(|frontend| &frontend.binds);
        let mut taken = Self {
            matches: matches.collect(),
            names: names.chain(backends).collect(),
            ports: binds.map(|bind| bind.port).collect(),
        };
        let raw = frontends.flat_map(|frontend| &frontend.raw);
        raw.chain(&spec.raw).for_each(|text| taken.raw(text));
        taken
    }

    /// Notes what raw text defines: names of sections, and ports of binds as far as they are plain numbers.
    fn raw(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("frontend" | "backend" | "listen"), Some(name)) => {
                    self.names.insert(name.to_owned());
                }
                (Some("bind"), Some(addresses)) => {
                    let ports = addresses.split(',').filter_map(|address| {
                        let (_, port) = address.rsplit_once(':')?;
                        let (first, last) = port.split_once('-').unwrap_or((port, port));
                        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
                    });
                    self.ports.extend(ports.flatten());
                }
                _ => {}
            }
        }
    }

    fn name(&self, name: &str) -> Result<(), String> {
        if self.names.contains(name) {
            let why = "a frontend, backend or service before has this name: give it another one";
            return Err(why.to_owned());
        }
        Ok(())
    }

    fn port(&mut self, port: u16) -> Result<(), String> {
        if self.ports.insert(port) {
            return Ok(());
        }
        Err(format!(
            "port {port} is bound already: give it another `external_port`"
        ))
    }
}

fn match_of(route: &Route) -> Match {
    let host = route
        .host
        .as_deref()
        .map(|host| host.trim_end_matches('.').to_ascii_lowercase());
    let path = route.path_prefix.as_deref().unwrap_or_default();
    (host, path.trim_end_matches('/').to_owned())
}

/// The place of a route: hosts before wildcards before any host, the longer before the shorter.
fn order(route: &Route) -> impl Ord + use<> {
    let (host, path) = match_of(route);
    let (kind, length) = match &host {
        Some(host) if host.starts_with('*') => (1, host.len()),
        Some(_) => (0, 0),
        None => (2, 0),
    };
    (kind, Reverse(length), host, Reverse(path.len()), path)
}

/// Adds the service's route to the frontends that the source names: to the plain one, and with a certificate to the one
/// with TLS.
fn add_routes(
    spec: &mut Spec,
    source: &ServicesSource,
    service: &Service,
    taken: &mut Taken,
) -> Result<Mode, String> {
    let ServiceKind::Http {
        domain,
        path_prefix,
        certificate,
    } = &service.kind
    else {
        return Err("it is no HTTP service".to_owned());
    };
    let route = Route {
        host: domain.clone(),
        path_prefix: path_prefix.clone(),
        backend: service.name.clone(),
        strip_prefix: source.strip_prefix && path_prefix.is_some(),
    };
    let tls_frontend = source.tls_frontend.as_ref().or(source.frontend.as_ref());
    let tls_frontend = tls_frontend.filter(|_| certificate.is_some());
    let mut why = "no frontend is there for it: give `discovery.services.frontend`, and `tls_frontend` for those with `cert`".to_owned();
    let mut is_added = false;
    for frontend in &mut spec.frontends {
        let is_tls = tls_frontend == Some(&frontend.name);
        if !is_tls && source.frontend.as_ref() != Some(&frontend.name) {
            continue;
        }
        let matches = taken.matches.entry(frontend.name.clone()).or_default();
        if !matches.insert(match_of(&route)) {
            let name = &frontend.name;
            why = format!("frontend {name:?} has a route for the same requests already");
            continue;
        }
        frontend.routes.push(route.clone());
        is_added = true;
        if let Some(certificate) = certificate.as_ref().filter(|_| is_tls) {
            add_certificate(frontend, certificate);
        }
    }
    if is_added { Ok(Mode::Http) } else { Err(why) }
}

fn add_certificate(frontend: &mut Frontend, certificate: &String) {
    let binds = frontend.binds.iter_mut();
    for tls in binds.filter_map(|bind| bind.tls.as_mut()) {
        if !tls.certificates.contains(certificate) {
            tls.certificates.push(certificate.clone());
        }
    }
}

fn listener(service: &Service, port: u16) -> Frontend {
    let mut frontend = Frontend::new(format!("{}:{port}", service.name), Mode::Tcp);
    frontend.binds.push(Bind {
        address: BindAddress::Any,
        port,
        tls: None,
        accept_proxy: false,
    });
    frontend.default_backend = Some(service.name.clone());
    frontend
}

fn backend(service: &Service, mode: Mode) -> Backend {
    let mut backend = Backend::new(&service.name, mode);
    if let Some(balance) = &service.balance {
        backend.balance.clone_from(balance);
    }
    backend
}

#[cfg(test)]
#[path = "placing_tests.rs"]
mod tests;
