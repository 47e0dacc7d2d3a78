//! The SDK's instances become ours, once, here.

use std::str::FromStr;

use aws_sdk_ec2::types::{
    GroupIdentifier, Instance as SdkInstance, InstanceNetworkInterfaceAttachment, InstanceStateName,
};

use crate::instance::{Instance, SecurityGroup};

/// Reads one. None when it is not running (EC2's answers may be older than its filters, "Eventual consistency") or has no
/// id, which EC2 never leaves out.
pub(crate) fn instance(found: &SdkInstance, region: &str) -> Option<Instance> {
    let state = found.state().and_then(|state| state.name());
    if state.is_some_and(|state| *state != InstanceStateName::Running) {
        return None;
    }
    let placement = found.placement();
    Some(Instance {
        id: found.instance_id()?.to_owned(),
        region: region.to_owned(),
        zone: text(placement.and_then(|placement| placement.availability_zone())),
        vpc: text(found.vpc_id()),
        private_ip: address(found.private_ip_address()),
        public_ip: address(found.public_ip_address()),
        ipv6: ipv6(found),
        security_groups: groups(found.security_groups()),
        tags: found
            .tags()
            .iter()
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())))
            .collect(),
        lifecycle: None,
    })
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn address<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

/// All IPv6 addresses, in the order of the interfaces' device indexes. EC2 gives interfaces in no order.
fn ipv6(found: &SdkInstance) -> Vec<std::net::Ipv6Addr> {
    let mut interfaces: Vec<_> = found.network_interfaces().iter().collect();
    interfaces.sort_by_key(|interface| {
        let attachment = interface.attachment();
        attachment.and_then(InstanceNetworkInterfaceAttachment::device_index)
    });
    let of_interfaces = interfaces.iter().flat_map(|interface| {
        let mut addresses: Vec<_> = interface
            .ipv6_addresses()
            .iter()
            .filter_map(|ipv6| address(ipv6.ipv6_address()))
            .collect();
        addresses.sort();
        addresses
    });
    let mut all: Vec<std::net::Ipv6Addr> = Vec::new();
    for ipv6 in of_interfaces.chain(address(found.ipv6_address())) {
        if !all.contains(&ipv6) {
            all.push(ipv6);
        }
    }
    all
}

fn groups(found: &[GroupIdentifier]) -> Vec<SecurityGroup> {
    let mut groups: Vec<_> = found
        .iter()
        .filter_map(|group| {
            Some(SecurityGroup {
                id: group.group_id()?.to_owned(),
                name: group.group_name().unwrap_or_default().to_owned(),
            })
        })
        .collect();
    groups.sort();
    groups
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
