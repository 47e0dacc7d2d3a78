//! What keys say of servers: `<prefix>/<server>`, with `address:port`, an address, or JSON. Pure.

use hafleet_model::spec::Server;
use serde::Deserialize;

use super::keys::Keys;
use super::place::{place, short};
use crate::answer::{Address, AddressKind, Answer, Condition, Found, LeftOut};

/// The longest zone that is taken, in bytes.
const MAX_ZONE_BYTES: usize = 128;

/// A server's value in JSON. What else stands there is somebody else's.
#[derive(Debug, Default, Deserialize)]
struct Written {
    address: String,
    port: Option<u16>,
    weight: Option<u16>,
    zone: Option<String>,
}

/// The servers of `keys` below `prefix`, which ends in a slash. Those that cannot be used are named.
pub(super) fn answer(prefix: &str, keys: &Keys) -> Answer {
    let mut answer = Answer::default();
    for (name, value) in keys.below(prefix) {
        match server(name, value) {
            Ok(found) => answer.found.push(found),
            Err(why) => answer.left_out.push(LeftOut {
                what: format!("{prefix}{}", String::from_utf8_lossy(name)),
                why,
            }),
        }
    }
    answer
}

fn server(name: &[u8], value: &[u8]) -> Result<Found, String> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not text".to_owned())?;
    if name.is_empty() || name.contains('/') {
        return Err("it is no server: those stand right below the prefix, by name".to_owned());
    }
    let value = std::str::from_utf8(value).map_err(|_| "its value is not text".to_owned())?;
    let value = value.trim();
    let Written {
        address,
        port,
        weight,
        zone,
    } = if value.starts_with('{') {
        let fault = |error| format!("its JSON cannot be used: {error}");
        serde_json::from_str(value).map_err(fault)?
    } else {
        Written {
            address: value.to_owned(),
            ..Written::default()
        }
    };
    let (ip, own_port) = place(&address).map_err(|why| {
        format!("{why}, or JSON such as {{\"address\": \"192.0.2.7\", \"port\": 8080}}")
    })?;
    let port = port.or(own_port);
    if port == Some(0) {
        return Err("0 is not a port: 1 to 65535 are".to_owned());
    }
    if let Some(weight) = weight.filter(|weight| *weight > Server::MAX_WEIGHT) {
        let most = Server::MAX_WEIGHT;
        return Err(format!(
            "weight {weight} is too large: 0 to {most} are allowed"
        ));
    }
    let is_zone = |zone: &String| {
        (1..=MAX_ZONE_BYTES).contains(&zone.len()) && zone.chars().all(|c| c.is_ascii_graphic())
    };
    if let Some(zone) = zone.as_ref().filter(|zone| !is_zone(zone)) {
        let zone = short(zone);
        return Err(format!(
            "{zone:?} is no zone: use printable ASCII without spaces"
        ));
    }
    let kind = AddressKind::Private;
    Ok(Found {
        id: name.to_owned(),
        addresses: vec![Address { kind, ip }],
        port,
        weight,
        zone,
        condition: Condition::InService,
        labels: Default::default(),
    })
}

#[cfg(test)]
#[path = "servers_tests.rs"]
mod tests;
