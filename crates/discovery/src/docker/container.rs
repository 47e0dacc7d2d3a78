//! What one container is as a server. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerState, EndpointSettings, HealthStatusEnum,
};
use hafleet_model::spec::Server;

use crate::answer::{Address, AddressKind, Condition, Found, LeftOut};
use crate::mapping::{BACKEND_LABEL, NETWORK_LABEL};

/// The label that says a container's TCP port.
const PORT_LABEL: &str = "hafleet.port";

/// The label that says a container's weight, 0 to 256.
const WEIGHT_LABEL: &str = "hafleet.weight";

/// Only labels that begin like this are told further: images bring long ones of their own.
const OUR_LABELS: &str = "hafleet.";

/// The server that a container is, or why it cannot be used; none if it does not run.
pub(super) fn read(container: ContainerInspectResponse) -> Option<Result<Found, LeftOut>> {
    let state = container.state.unwrap_or_default();
    if !state.running.unwrap_or(false) || state.restarting.unwrap_or(false) {
        return None;
    }
    let name = container.name.or(container.id).unwrap_or_default();
    let name = name.trim_start_matches('/').to_owned();
    let labels = container.config.and_then(|config| config.labels);
    let settings = container.network_settings;
    let networks = settings.and_then(|settings| settings.networks);
    let found = found(
        &name,
        &state,
        labels.unwrap_or_default(),
        networks.unwrap_or_default(),
    );
    Some(found.map_err(|why| LeftOut { what: name, why }))
}

fn found(
    name: &str,
    state: &ContainerState,
    labels: HashMap<String, String>,
    networks: HashMap<String, EndpointSettings>,
) -> Result<Found, String> {
    if state.paused.unwrap_or(false) {
        return Err("it is paused".to_owned());
    }
    let labels: BTreeMap<_, _> = labels
        .into_iter()
        .filter(|(label, _)| label.starts_with(OUR_LABELS))
        .collect();
    if labels
        .get(BACKEND_LABEL)
        .is_none_or(|backend| backend.trim().is_empty())
    {
        return Err(format!(
            "its label {BACKEND_LABEL} is empty: name a backend"
        ));
    }
    let addresses = addresses(networks, labels.get(NETWORK_LABEL))?;
    Ok(Found {
        id: name.to_owned(),
        addresses,
        port: number(&labels, PORT_LABEL, 1, u16::MAX)?,
        weight: number(&labels, WEIGHT_LABEL, 0, Server::MAX_WEIGHT)?,
        zone: None,
        condition: condition(state),
        labels,
    })
}

/// In each network the IPv4 address, or else the IPv6 address; by the networks' names.
fn addresses(
    networks: HashMap<String, EndpointSettings>,
    wanted: Option<&String>,
) -> Result<Vec<Address>, String> {
    let networks: BTreeMap<_, _> = networks.into_iter().collect();
    if let Some(wanted) = wanted.filter(|wanted| !networks.contains_key(*wanted)) {
        let names: Vec<_> = networks.keys().map(String::as_str).collect();
        return Err(format!(
            "its label {NETWORK_LABEL} is {wanted:?}, and its networks are: {}",
            names.join(", ")
        ));
    }
    let addresses = networks.into_iter().filter_map(|(name, endpoint)| {
        Some(Address {
            ip: ip(endpoint.ip_address).or_else(|| ip(endpoint.global_ipv6_address))?,
            kind: AddressKind::Network(name),
        })
    });
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return Err(
            "it has no address of its own, as with the networks `host` and `none`: connect it to another".to_owned(),
        );
    }
    Ok(addresses)
}

/// Docker writes no address as an empty text; newer engines, an invalid one as a text of theirs.
fn ip(text: Option<String>) -> Option<IpAddr> {
    text?.parse().ok()
}

fn number(
    labels: &BTreeMap<String, String>,
    label: &str,
    least: u16,
    most: u16,
) -> Result<Option<u16>, String> {
    let Some(text) = labels.get(label) else {
        return Ok(None);
    };
    let number = text.trim().parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number
        .map(Some)
        .ok_or_else(|| format!("its label {label} is {text:?}: give a number, {least} to {most}"))
}

fn condition(state: &ContainerState) -> Condition {
    let health = state.health.as_ref().and_then(|health| health.status);
    match health {
        Some(HealthStatusEnum::STARTING | HealthStatusEnum::UNHEALTHY) => Condition::SetAside,
        None
        | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE | HealthStatusEnum::HEALTHY) => {
            Condition::InService
        }
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
