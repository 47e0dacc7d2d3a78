//! From what a source found to the servers of one backend. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hafleet_model::endpoints::Endpoint;
use hafleet_model::spec::{DockerSource, Ec2Address, Ec2Source, Server, Source, Standby};

use crate::answer::{AddressKind, Condition, Found, LeftOut};

/// The label by which a container says whose server it is.
pub const BACKEND_LABEL: &str = "hafleet.backend";

/// The label by which a container says in which network its address is.
pub const NETWORK_LABEL: &str = "hafleet.network";

/// The weight of servers for which nobody says one, as for servers of the spec.
const DEFAULT_WEIGHT: u16 = 100;

/// The servers that one source has for one backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Those that can be used, in the order of their ids.
    pub endpoints: Vec<Endpoint>,
    /// The others, and why.
    pub left_out: Vec<LeftOut>,
}

/// The servers that `source` has for `backend` in `found`; `label` is how the source is named. The order of `found` does
/// not matter.
pub fn endpoints(source: &Source, backend: &str, label: &str, found: &[Found]) -> Mapped {
    let mut sorted: Vec<_> = found.iter().collect();
    sorted.sort();
    let mut mapped = Mapped::default();
    for item in sorted {
        match endpoint(source, backend, label, item) {
            Ok(endpoint) => mapped.endpoints.extend(endpoint),
            Err(why) => mapped.left_out.push(LeftOut {
                what: item.id.clone(),
                why,
            }),
        }
    }
    mapped
}

/// All servers of a backend from all its sources, each address and port once and each name once. Where two want one name,
/// the later one's gets its address and port after it.
pub fn merged(parts: impl IntoIterator<Item = Endpoint>) -> Vec<Endpoint> {
    let mut places = BTreeSet::new();
    let mut by_name = BTreeMap::new();
    for mut endpoint in parts {
        if !places.insert((endpoint.address, endpoint.port)) {
            continue;
        }
        if by_name.contains_key(&endpoint.name) {
            let place = SocketAddr::new(endpoint.address, endpoint.port).to_string();
            endpoint.name = name_of(&format!("{}-{place}", endpoint.name));
        }
        by_name.entry(endpoint.name.clone()).or_insert(endpoint);
    }
    by_name.into_values().collect()
}

/// `text` as a name of HAProxy's (Configuration Manual, section 4, "Proxies"): what is not allowed becomes `-`.
pub fn name_of(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    text.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

/// One server; none if it is another backend's.
fn endpoint(
    source: &Source,
    backend: &str,
    label: &str,
    found: &Found,
) -> Result<Option<Endpoint>, String> {
    if let Source::Docker(docker) = source {
        let wanted = docker.label.as_deref().unwrap_or(backend);
        if found.labels.get(BACKEND_LABEL).map(String::as_str) != Some(wanted) {
            return Ok(None);
        }
    }
    let mut weight = weight(source, found)?;
    if found.condition == Condition::SetAside {
        match source {
            Source::Ec2(Ec2Source {
                standby: Standby::Drain,
                ..
            }) => weight = 0,
            _ => return Err("it is set aside: standing by, not ready, or leaving".to_owned()),
        }
    }
    let name = match source {
        Source::Ec2(ec2) => tag(found, ec2.name_tag.as_deref()).unwrap_or(&found.id),
        _ => &found.id,
    };
    Ok(Some(Endpoint {
        name: name_of(name),
        address: address(source, found)?,
        port: port(source, found)?,
        weight,
        zone: found.zone.clone(),
        source: label.to_owned(),
    }))
}

fn address(source: &Source, found: &Found) -> Result<IpAddr, String> {
    let of = |kind: &AddressKind| {
        let mut addresses = found.addresses.iter();
        addresses
            .find(|address| address.kind == *kind)
            .map(|address| address.ip)
    };
    let (address, missing) = match source {
        Source::Ec2(ec2) => match ec2.address {
            Ec2Address::Private => (of(&AddressKind::Private), "private IPv4 address"),
            Ec2Address::Public => (of(&AddressKind::Public), "public IPv4 address"),
            Ec2Address::Ipv6 => (of(&AddressKind::Ipv6), "IPv6 address"),
        },
        Source::Docker(docker) => return container_address(docker, found),
        _ => (found.addresses.first().map(|address| address.ip), "address"),
    };
    address.ok_or_else(|| format!("it has no {missing}"))
}

fn container_address(docker: &DockerSource, found: &Found) -> Result<IpAddr, String> {
    let label = found.labels.get(NETWORK_LABEL);
    if let Some(wanted) = docker.network.as_ref().or(label) {
        let kind = AddressKind::Network(wanted.clone());
        let mut addresses = found.addresses.iter();
        let address = addresses.find(|address| address.kind == kind);
        return address
            .map(|address| address.ip)
            .ok_or_else(|| format!("it has no address in the network {wanted:?}"));
    }
    match found.addresses.as_slice() {
        [] => Err("it has no address".to_owned()),
        [only] => Ok(only.ip),
        [first, rest @ ..] if rest.iter().all(|other| other.kind == first.kind) => Ok(first.ip),
        _ => Err(format!(
            "it is in several networks: say which in `network` or by the label {NETWORK_LABEL}"
        )),
    }
}

fn port(source: &Source, found: &Found) -> Result<u16, String> {
    let port = match source {
        Source::Ec2(ec2) => match tag(found, ec2.port_tag.as_deref()) {
            Some(text) => Some(number(ec2.port_tag.as_deref(), text, u16::MAX)?),
            None => ec2.port,
        },
        Source::Dns(dns) => dns.port.or(found.port),
        Source::Etcd(etcd) => found.port.or(etcd.port),
        Source::Docker(docker) => found.port.or(docker.port),
        Source::File(file) => found.port.or(file.port),
    };
    match port {
        Some(port) if port > 0 => Ok(port),
        Some(_) => Err("port 0 is none: give 1 to 65535".to_owned()),
        None => Err("nobody says its port: give `port` in the source".to_owned()),
    }
}

fn weight(source: &Source, found: &Found) -> Result<u16, String> {
    let weight = match source {
        Source::Ec2(ec2) => match tag(found, ec2.weight_tag.as_deref()) {
            Some(text) => Some(number(ec2.weight_tag.as_deref(), text, Server::MAX_WEIGHT)?),
            None => ec2.weight,
        },
        Source::Dns(dns) => dns.weight.or(found.weight),
        Source::Etcd(etcd) => found.weight.or(etcd.weight),
        Source::Docker(docker) => found.weight.or(docker.weight),
        Source::File(file) => found.weight.or(file.weight),
    };
    let weight = weight.unwrap_or(DEFAULT_WEIGHT);
    if weight > Server::MAX_WEIGHT {
        return Err(format!(
            "weight {weight} is too much: give 0 to {}",
            Server::MAX_WEIGHT
        ));
    }
    Ok(weight)
}

fn tag<'f>(found: &'f Found, name: Option<&str>) -> Option<&'f str> {
    let value = found.labels.get(name?)?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

fn number(tag: Option<&str>, text: &str, most: u16) -> Result<u16, String> {
    let tag = tag.unwrap_or_default();
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("tag {tag} is {text:?}: give a number up to {most}"))
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
