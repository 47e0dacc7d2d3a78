//! Which questions a spec comes down to, and for whom. Pure.

use std::collections::BTreeSet;

use hafleet_model::Spec;
use hafleet_model::endpoints::{Service, unplaced};
use hafleet_model::spec::{DnsSource, ServicesSource, Source};

use crate::query::Query;

/// One source of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Whose servers it has.
    pub(crate) backend: String,
    /// What is asked.
    pub(crate) query: Query,
    /// How the answer is read.
    pub(crate) source: Source,
}

/// The sources of all backends: those of the spec in its order, then those of the services.
pub(crate) fn parts(spec: &Spec, services: &[Service], fleet: &str) -> Vec<Part> {
    let of_spec = spec.backends.iter().flat_map(|backend| {
        backend.sources.iter().map(|source| Part {
            backend: backend.name.clone(),
            query: Query::of(source, &backend.name, spec, fleet),
            source: source.clone(),
        })
    });
    let of_services = used(spec, services).into_iter().filter_map(|service| {
        let source = Source::Dns(dns(spec.discovery.services.as_ref()?, service)?);
        Some(Part {
            backend: service.name.clone(),
            query: Query::of(&source, &service.name, spec, fleet),
            source,
        })
    });
    of_spec.chain(of_services).collect()
}

/// All that has to be asked.
pub(crate) fn queries(spec: &Spec, services: &[Service], fleet: &str) -> BTreeSet<Query> {
    let parts = parts(spec, services, fleet).into_iter();
    parts
        .map(|part| part.query)
        .chain(Query::of_services(spec))
        .collect()
}

/// The services that become backends beside what the spec has.
pub(crate) fn used<'s>(spec: &Spec, services: &'s [Service]) -> Vec<&'s Service> {
    let unplaced = unplaced(spec, services);
    let is_used = |name: &str| unplaced.iter().all(|item| item.service != name);
    services
        .iter()
        .filter(|service| is_used(&service.name))
        .collect()
}

/// Where the servers of a service are in DNS; none if it lists them.
fn dns(source: &ServicesSource, service: &Service) -> Option<DnsSource> {
    service.upstreams.is_empty().then(|| DnsSource {
        name: format!(
            "{}{}",
            service.name,
            source.domain_suffix.as_deref().unwrap_or_default()
        ),
        record: source.record,
        port: Some(service.port),
        weight: None,
        resolvers: source.resolvers.clone(),
    })
}
