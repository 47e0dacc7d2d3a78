//! Whatever stands in a file of servers, in etcd's keys of servers and services, in what a Docker engine says of a container,
//! in what a node says that its engine has, or in a name server's message: it is found or left out with a reason, and nothing is both or neither.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use hafleet_api::v1;
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::spec::Server;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::RData;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

// The crates bring a cloud's whole client along; what reads answers needs none of it.
extern crate self as hafleet_discovery;

pub use answer::{Address, AddressKind, Answer, Condition, Found, LeftOut, SourceError};

#[path = "../../crates/discovery/src/answer.rs"]
#[allow(dead_code)]
mod answer;
#[path = "../../crates/discovery/src/docker/container.rs"]
mod container;
#[path = "../../crates/agent/src/discovery/found.rs"]
mod found;
#[path = "../../crates/discovery/src/etcd/keys.rs"]
#[allow(dead_code)]
mod keys;
#[path = "../../crates/discovery/src/file/listed.rs"]
mod listed;
#[path = "../../crates/discovery/src/mapping.rs"]
#[allow(dead_code)]
mod mapping;
#[path = "../../crates/discovery/src/etcd/place.rs"]
mod place;
#[path = "../../crates/discovery/src/dns/reply.rs"]
#[allow(dead_code)]
mod reply;
#[path = "../../crates/discovery/src/etcd/servers.rs"]
mod servers;
#[path = "../../crates/discovery/src/services/mod.rs"]
#[allow(dead_code, unused_imports)]
mod services;
#[path = "../../crates/discovery/src/dns/srv.rs"]
#[allow(dead_code)]
mod srv;
/// Where those look for each other.
mod etcd {
    pub(crate) use crate::keys::Keys;
    pub(crate) use crate::place;
}

const PREFIX: &str = "/app/";

/// A fleet that has one certificate, and takes every other.
#[derive(Debug)]
struct Fleet;

impl services::Certificates for Fleet {
    fn read(&self, pem: &Confidential) -> Result<Confidential, String> {
        Ok(pem.clone())
    }

    fn has(&self, name: &CertificateName) -> bool {
        name.as_str() == "www.pem"
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = listed::parse(bytes) {
        let ids: BTreeSet<_> = found.iter().map(|found| &found.id).collect();
        assert_eq!(ids.len(), found.len(), "two servers of one name");
    }
    container(bytes);
    name_server(bytes);
    engine_of_a_node(bytes);
    // A key and its value on each line.
    let lines = bytes.split(|byte| *byte == b'\n');
    let pairs = lines.filter_map(|line| {
        let end = line.iter().position(|byte| *byte == b'=')?;
        Some((
            [PREFIX.as_bytes(), &line[..end]].concat(),
            line[end + 1..].to_vec(),
        ))
    });
    let pairs: BTreeMap<_, _> = pairs.collect();
    let count = pairs.len();
    let keys = keys::Keys::new(pairs, 1);
    let read = servers::answer(PREFIX, &keys);
    assert_eq!(read.found.len() + read.left_out.len(), count, "{read:?}");
    let read = services::answer(PREFIX, &keys, &Fleet);
    let names: BTreeSet<_> = read.services.iter().map(|service| &service.name).collect();
    assert_eq!(
        names.len(),
        read.services.len(),
        "two services of one name: {read:?}"
    );
});

/// What a Docker engine says of a container.
fn container(bytes: &[u8]) {
    let Ok(inspected) = serde_json::from_slice(bytes) else {
        return;
    };
    if let Some(Ok(found)) = container::read(inspected) {
        assert!(
            !found.addresses.is_empty(),
            "nobody can reach it: {found:?}"
        );
        assert!(found.port != Some(0), "{found:?}");
        assert!(
            found
                .weight
                .is_none_or(|weight| weight <= Server::MAX_WEIGHT),
            "{found:?}"
        );
    }
}

/// What a node says that its Docker engine has: sent once more it is the same.
fn engine_of_a_node(bytes: &[u8]) {
    let Ok(request) = v1::PublishFoundRequest::decode(bytes) else {
        return;
    };
    let Some(Ok(answer)) = request.said.map(|said| found::answer_of(said, "lb2")) else {
        return;
    };
    if let Ok(answer) = answer {
        let again = found::answer_of(found::said_of(Ok(answer.clone())), "lb2");
        assert_eq!(again, Ok(Ok(answer)));
    }
}

/// What a name server says of the name in its first question, as servers or as addresses.
fn name_server(bytes: &[u8]) {
    let Ok(message) = Message::from_vec(bytes) else {
        return;
    };
    let Some(question) = message.queries.first() else {
        return;
    };
    let (name, kind) = (question.name().clone(), question.query_type());
    let Ok(reply::Reply::Known(records)) = reply::read(Ok(message), "ns", &name, kind) else {
        return;
    };
    let services = records.data.iter().filter_map(|record| match record {
        RData::SRV(service) => Some(service),
        _ => None,
    });
    let chosen = srv::chosen(services.clone());
    assert!(chosen.len() <= services.count(), "more than were said");
    for service in chosen {
        let weight = service.weight.unwrap_or(1);
        assert!((1..=Server::MAX_WEIGHT).contains(&weight), "{service:?}");
    }
}
