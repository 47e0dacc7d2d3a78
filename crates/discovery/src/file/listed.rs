//! The list in a file. Pure. It is believed as a whole or not at all.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use hafleet_model::endpoints::MAX_ENDPOINTS;
use hafleet_model::spec::Server;
use serde::Deserialize;

use crate::answer::{Address, AddressKind, Condition, Found};

/// Why a file's content is no list of servers.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    /// Not the JSON that is expected; the cause says line and column.
    #[error(
        "{0}; a list of mappings is expected, each with `address`, and `name`, `port`, `weight` and `zone` if it has one"
    )]
    Json(#[from] serde_json::Error),
    /// Two servers that cannot be told apart.
    #[error("it lists {0:?} twice: give each server a `name` of its own")]
    Twice(String),
    /// Too many.
    #[error("it lists {0} servers, and {MAX_ENDPOINTS} are the most")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    address: IpAddr,
    name: Option<String>,
    port: Option<NonZeroU16>,
    weight: Option<Weight>,
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct Weight(u16);

impl TryFrom<u64> for Weight {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let weight = u16::try_from(number).ok();
        let allowed = weight.filter(|weight| *weight <= Server::MAX_WEIGHT);
        allowed
            .map(Self)
            .ok_or_else(|| format!("weight {number} is not 0 to {}", Server::MAX_WEIGHT))
    }
}

/// The servers that `content` lists, in its order.
///
/// # Errors
/// When it is not wholly as it should be.
pub(super) fn parse(content: &[u8]) -> Result<Vec<Found>, ListError> {
    let listed: Vec<Listed> = serde_json::from_slice(content)?;
    if listed.len() > MAX_ENDPOINTS {
        return Err(ListError::TooMany(listed.len()));
    }
    let found: Vec<_> = listed.into_iter().map(found).collect();
    let mut ids = BTreeSet::new();
    match found.iter().find(|found| !ids.insert(found.id.as_str())) {
        Some(twice) => Err(ListError::Twice(twice.id.clone())),
        None => Ok(found),
    }
}

fn found(listed: Listed) -> Found {
    let port = listed.port.map(NonZeroU16::get);
    let place = || match port {
        Some(port) => SocketAddr::new(listed.address, port).to_string(),
        None => listed.address.to_string(),
    };
    let name = listed.name.filter(|name| !name.is_empty());
    Found {
        id: name.unwrap_or_else(place),
        addresses: vec![Address {
            kind: AddressKind::Private,
            ip: listed.address,
        }],
        port,
        weight: listed.weight.map(|Weight(weight)| weight),
        zone: listed.zone,
        condition: Condition::InService,
        labels: Default::default(),
    }
}

#[cfg(test)]
#[path = "listed_tests.rs"]
mod tests;
