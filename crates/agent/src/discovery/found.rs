//! What a node's own engine found, as a message to the leader, and back.

use std::net::IpAddr;

use hafleet_api::v1::{self, publish_found_request::Said};
use hafleet_discovery::{Address, AddressKind, Answer, Condition, Found, LeftOut, SourceError};

/// A message that is no answer of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} of {id:?} cannot be read")]
pub(crate) struct BadFound {
    field: &'static str,
    id: String,
}

/// What a node's own engine said, for the leader.
pub(super) fn said_of(result: Result<Answer, SourceError>) -> Said {
    match result {
        Ok(answer) => Said::Found(v1::FoundServers {
            servers: answer.found.into_iter().map(found).collect(),
            left_out: answer.left_out.into_iter().map(left_out).collect(),
        }),
        Err(error) => Said::Error(error.to_string()),
    }
}

pub(super) fn left_out(item: LeftOut) -> v1::LeftOut {
    v1::LeftOut {
        what: item.what,
        why: item.why,
    }
}

fn found(found: Found) -> v1::FoundServer {
    let addresses = found.addresses.into_iter().map(|address| v1::FoundAddress {
        ip: address.ip.to_string(),
        network: match address.kind {
            AddressKind::Network(network) => network,
            AddressKind::Private | AddressKind::Public | AddressKind::Ipv6 => String::new(),
        },
    });
    v1::FoundServer {
        id: found.id,
        addresses: addresses.collect(),
        port: found.port.map(u32::from),
        weight: found.weight.map(u32::from),
        zone: found.zone.unwrap_or_default(),
        set_aside: found.condition == Condition::SetAside,
        labels: found.labels.into_iter().collect(),
    }
}

/// What a node's own engine said, at the leader.
pub(crate) fn answer_of(said: Said, node: &str) -> Result<Result<Answer, SourceError>, BadFound> {
    let servers = match said {
        Said::Found(servers) => servers,
        Said::Error(why) => {
            let what = format!("the Docker engine of {node}");
            return Ok(Err(SourceError::Unreachable { what, why }));
        }
    };
    let found: Result<_, _> = servers.servers.into_iter().map(read).collect();
    let left_out = servers.left_out.into_iter().map(|item| LeftOut {
        what: item.what,
        why: item.why,
    });
    Ok(Ok(Answer {
        found: found?,
        left_out: left_out.collect(),
        ..Answer::default()
    }))
}

fn read(server: v1::FoundServer) -> Result<Found, BadFound> {
    let bad = |field| BadFound {
        field,
        id: server.id.chars().take(80).collect(),
    };
    let short = |field, number: Option<u32>| {
        let short = number.map(u16::try_from).transpose();
        short.map_err(|_| bad(field))
    };
    let mut addresses = Vec::new();
    for address in &server.addresses {
        let ip: IpAddr = address.ip.parse().map_err(|_| bad("addresses"))?;
        let kind = match address.network.as_str() {
            "" => AddressKind::Private,
            network => AddressKind::Network(network.to_owned()),
        };
        addresses.push(Address { kind, ip });
    }
    Ok(Found {
        addresses,
        port: short("port", server.port)?,
        weight: short("weight", server.weight)?,
        zone: Some(server.zone.clone()).filter(|zone| !zone.is_empty()),
        condition: match server.set_aside {
            true => Condition::SetAside,
            false => Condition::InService,
        },
        labels: server.labels.clone().into_iter().collect(),
        id: server.id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_has_reads_back_as_it_was() {
        let answer = Answer {
            found: vec![Found {
                id: "web".into(),
                addresses: vec![Address {
                    kind: AddressKind::Network("front".into()),
                    ip: IpAddr::from([192, 0, 2, 7]),
                }],
                port: Some(80),
                weight: None,
                zone: Some("a".into()),
                condition: Condition::SetAside,
                labels: [("hafleet.backend".to_owned(), "app".to_owned())].into(),
            }],
            left_out: vec![LeftOut {
                what: "db".into(),
                why: "it has no port".into(),
            }],
            ..Answer::default()
        };
        let read = answer_of(said_of(Ok(answer.clone())), "n1").unwrap();
        assert_eq!(read, Ok(answer));
        let error = answer_of(Said::Error("it is down".into()), "n1").unwrap();
        let words = error.unwrap_err().to_string();
        assert!(
            words.contains("n1") && words.contains("it is down"),
            "{words}"
        );
    }

    #[test]
    fn numbers_and_addresses_that_are_none_are_refused() {
        let with = |server| {
            let servers = vec![server];
            let left_out = Vec::new();
            answer_of(Said::Found(v1::FoundServers { servers, left_out }), "n1")
        };
        let port = v1::FoundServer {
            port: Some(70_000),
            ..Default::default()
        };
        assert!(with(port).unwrap_err().to_string().contains("port"));
        let address = v1::FoundAddress {
            ip: "here".into(),
            network: String::new(),
        };
        let addresses = v1::FoundServer {
            addresses: vec![address],
            ..Default::default()
        };
        assert!(
            with(addresses)
                .unwrap_err()
                .to_string()
                .contains("addresses")
        );
    }
}
