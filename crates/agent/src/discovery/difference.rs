//! What is different between the endpoints that there are and those that are wanted. Pure.

use std::collections::BTreeSet;

use hafleet_model::Endpoints;
use hafleet_model::endpoints::{Endpoint, Service, ServiceKind};
use hafleet_model::secrets::CertificateName;

/// `endpoints`, but services whose certificate is one of `lacking` are as they were `before`, or not there.
pub(super) fn without(
    mut endpoints: Endpoints,
    lacking: &BTreeSet<CertificateName>,
    before: &Endpoints,
) -> Endpoints {
    let lacks = |service: &Service| match &service.kind {
        ServiceKind::Http { certificate, .. } => certificate
            .as_deref()
            .is_some_and(|name| lacking.iter().any(|lacking| lacking.as_str() == name)),
        ServiceKind::Tcp { .. } => false,
    };
    let as_before = |service: Service| match lacks(&service) {
        true => before
            .services
            .iter()
            .find(|was| was.name == service.name)
            .cloned(),
        false => Some(service),
    };
    endpoints.services = endpoints
        .services
        .into_iter()
        .filter_map(as_before)
        .collect();
    endpoints
}

/// Whether both have the same servers and services. A backend without any is as good as none.
pub(super) fn is_same(one: &Endpoints, other: &Endpoints) -> bool {
    fn servers(of: &Endpoints) -> impl Iterator<Item = (&String, &Vec<Endpoint>)> {
        of.backends
            .iter()
            .filter(|(_, servers)| !servers.is_empty())
    }
    one.services == other.services && servers(one).eq(servers(other))
}

/// How many backends are named where a change is described.
const MAX_NAMED: usize = 5;

/// What is different, in words: `app +2 -1`.
pub(super) fn difference(before: &Endpoints, after: &Endpoints) -> String {
    let names: BTreeSet<_> = before
        .backends
        .keys()
        .chain(after.backends.keys())
        .collect();
    let mut parts = Vec::new();
    for name in names {
        let (old, new) = (before.of(name), after.of(name));
        let had: BTreeSet<_> = old.iter().map(|server| &server.name).collect();
        let has: BTreeSet<_> = new.iter().map(|server| &server.name).collect();
        let added = has.difference(&had).count();
        let removed = had.difference(&has).count();
        if old != new {
            parts.push(format!("{name} +{added} -{removed}"));
        }
    }
    if before.services != after.services {
        parts.push(format!("{} services", after.services.len()));
    }
    let more = parts.len().saturating_sub(MAX_NAMED);
    parts.truncate(MAX_NAMED);
    match more {
        0 => parts.join(", "),
        more => format!("{} and {more} more", parts.join(", ")),
    }
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
