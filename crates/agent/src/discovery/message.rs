//! What the engine and the sources say, as messages of the wire, and back. The one place that knows both.

use std::net::IpAddr;

use hafleet_api::convert::timestamp;
use hafleet_api::v1::{self, publish_found_request::Said};
use hafleet_discovery::guard::{Held, Reason};
use hafleet_discovery::{
    Address, AddressKind, Answer, BackendState, BackendStatus, Condition, Found, LeftOut,
    SourceError, SourceStatus, Status,
};
use tokio::time::Instant;

/// A message that is no answer of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} of {id:?} cannot be read")]
pub(crate) struct BadFound {
    field: &'static str,
    id: String,
}

/// What `hafleet sources` shows.
pub(super) fn sources_of(status: Status) -> v1::ListSourcesResponse {
    let clock = Clock::now();
    let backends = status.backends.into_iter();
    v1::ListSourcesResponse {
        leader: String::new(),
        endpoints: None,
        sources: status
            .sources
            .into_iter()
            .map(|source| clock.source(source))
            .collect(),
        backends: backends.map(backend).collect(),
    }
}

/// Turns moments of this process into the time of day.
struct Clock {
    now: Instant,
    now_ms: i64,
}

impl Clock {
    fn now() -> Self {
        Self {
            now: Instant::now(),
            now_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }

    fn at(&self, moment: Instant) -> pbjson_types::Timestamp {
        let ago = self.now.saturating_duration_since(moment).as_millis();
        timestamp(
            self.now_ms
                .saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)),
        )
    }

    fn source(&self, source: SourceStatus) -> v1::SourceStatus {
        let node_id = match source.kind {
            "docker" => source.name.trim_start_matches("docker ").to_owned(),
            _ => String::new(),
        };
        let change = source.change.map(|change| v1::SourceChange {
            at: Some(self.at(change.at)),
            added: count(change.added),
            removed: count(change.removed),
            altered: count(change.altered),
        });
        let (failing_since, error) = source.error.unzip();
        v1::SourceStatus {
            query: source.name,
            kind: source.kind.to_owned(),
            backends: source.backends.into_iter().collect(),
            node_id,
            answered_at: source.answered.map(|at| self.at(at)),
            found: count(source.found),
            change,
            error: error.map(|error| error.to_string()).unwrap_or_default(),
            failing_since: failing_since.map(|since| self.at(since)),
            left_out: source.left_out.into_iter().map(left_out).collect(),
        }
    }
}

fn backend(status: BackendStatus) -> v1::BackendStatus {
    let (waiting, held) = match status.state {
        BackendState::Followed => (String::new(), None),
        BackendState::Waiting(sources) => {
            let words = format!("no answer yet from {}", sources.join(", "));
            (words, None)
        }
        BackendState::Held(held) => (String::new(), Some(held_back(held))),
    };
    v1::BackendStatus {
        backend: status.name,
        servers: count(status.servers),
        waiting,
        held,
    }
}

fn held_back(held: Held<String>) -> v1::HeldBack {
    let reason = match held.reason {
        Reason::Empty => "all would go at once".to_owned(),
        Reason::Shrink { going, of } => format!("{going} of {of} would go at once"),
        Reason::Flapping => "they come and go".to_owned(),
    };
    v1::HeldBack {
        reason,
        going: held.going.into_iter().collect(),
        seen: held.seen,
        needed: held.needed,
    }
}

fn left_out(item: LeftOut) -> v1::LeftOut {
    v1::LeftOut {
        what: item.what,
        why: item.why,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
