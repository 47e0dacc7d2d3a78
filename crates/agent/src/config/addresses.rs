//! The section `addresses`: where clients that resolve names in DNS are sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hafleet_model::spec::NodeAddress;
use serde::Deserialize;

/// Where an address is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// It is written in the file.
    Given(IpAddr),
    /// EC2's instance metadata service says it.
    Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AddressesSection {
    public: Option<String>,
    private: Option<String>,
    ipv6: Option<String>,
}

impl AddressesSection {
    /// What the node may be published with. Where nothing is said, the address of its HAProxy is taken: as IPv6 if it is
    /// such, and else as the public and the private one. What cannot be is a fault.
    pub(super) fn read(
        &self,
        of_haproxy: IpAddr,
        faults: &mut Vec<String>,
    ) -> BTreeMap<NodeAddress, AddressSource> {
        let keys = [
            ("public", &self.public, NodeAddress::Public),
            ("private", &self.private, NodeAddress::Private),
            ("ipv6", &self.ipv6, NodeAddress::Ipv6),
        ];
        let mut sources = BTreeMap::new();
        for (key, given, kind) in keys {
            let is_ipv6 = kind == NodeAddress::Ipv6;
            let source = match given.as_deref() {
                Some("imds") => Some(AddressSource::Metadata),
                Some(given) => match usable(given, is_ipv6) {
                    Ok(address) => Some(AddressSource::Given(address)),
                    Err(why) => {
                        faults.push(format!("addresses.{key}: {given:?} {why}"));
                        None
                    }
                },
                None if of_haproxy.is_ipv6() == is_ipv6 => Some(AddressSource::Given(of_haproxy)),
                None => None,
            };
            sources.extend(source.map(|source| (kind, source)));
        }
        sources
    }
}

fn usable(given: &str, is_ipv6: bool) -> Result<IpAddr, &'static str> {
    let address: IpAddr = given
        .parse()
        .map_err(|_| "is neither an address nor \"imds\"")?;
    match address {
        _ if address.is_unspecified() => Err("is no address that others can reach"),
        IpAddr::V4(_) if is_ipv6 => Err("is not an IPv6 address"),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}
