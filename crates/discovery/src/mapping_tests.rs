use std::net::Ipv4Addr;

use hafleet_model::spec::{DnsSource, FileSource};

use super::*;
use crate::answer::Address;

fn found(id: &str, last: u8) -> Found {
    Found {
        id: id.into(),
        addresses: vec![Address {
            kind: AddressKind::Private,
            ip: Ipv4Addr::new(192, 0, 2, last).into(),
        }],
        port: None,
        weight: None,
        zone: Some("eu-west-1a".into()),
        condition: Condition::InService,
        labels: BTreeMap::new(),
    }
}

fn labelled(id: &str, last: u8, labels: &[(&str, &str)]) -> Found {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Found {
        labels: labels.collect(),
        ..found(id, last)
    }
}

fn ec2() -> Ec2Source {
    Ec2Source {
        port: Some(80),
        port_tag: Some("port".into()),
        weight_tag: Some("weight".into()),
        name_tag: Some("Name".into()),
        ..Ec2Source::default()
    }
}

fn why(mapped: &Mapped) -> Vec<&str> {
    mapped
        .left_out
        .iter()
        .map(|item| item.why.as_str())
        .collect()
}

#[test]
fn tags_say_name_port_and_weight_where_they_are() {
    let tagged = labelled(
        "i-2",
        2,
        &[("port", "8080"), ("weight", "7"), ("Name", "web two")],
    );
    let mapped = endpoints(
        &Source::Ec2(ec2()),
        "app",
        "ec2",
        &[tagged, found("i-1", 1)],
    );
    let seen: Vec<_> = mapped
        .endpoints
        .iter()
        .map(|e| (e.name.as_str(), e.port, e.weight))
        .collect();
    assert_eq!(seen, [("i-1", 80, 100), ("web-two", 8080, 7)]);
}

#[test]
fn what_cannot_be_used_is_named_and_all_else_is_used() {
    let bad = [
        labelled("i-1", 1, &[("port", "http")]),
        labelled("i-2", 2, &[("weight", "257")]),
        Found {
            addresses: Vec::new(),
            ..found("i-3", 3)
        },
        Found {
            condition: Condition::SetAside,
            ..found("i-4", 4)
        },
        found("i-5", 5),
    ];
    let mapped = endpoints(&Source::Ec2(ec2()), "app", "ec2", &bad);
    assert_eq!(mapped.endpoints.len(), 1);
    let words = ["number", "256", "no private", "set aside"];
    for (why, words) in why(&mapped).into_iter().zip(words) {
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn instances_set_aside_can_be_drained_instead() {
    let source = Ec2Source {
        standby: Standby::Drain,
        ..ec2()
    };
    let aside = Found {
        condition: Condition::SetAside,
        ..labelled("i-1", 1, &[("weight", "50")])
    };
    let mapped = endpoints(&Source::Ec2(source), "app", "ec2", &[aside]);
    assert_eq!(mapped.endpoints[0].weight, 0);
}

#[test]
fn containers_belong_to_the_backend_of_their_label_and_to_one_network() {
    let network = |name: &str, last| Address {
        kind: AddressKind::Network(name.into()),
        ip: Ipv4Addr::new(172, 17, 0, last).into(),
    };
    let mine = Found {
        addresses: vec![network("a", 1), network("b", 2)],
        port: Some(80),
        ..labelled("mine", 1, &[(BACKEND_LABEL, "app")])
    };
    let other = labelled("other", 1, &[(BACKEND_LABEL, "shop")]);
    let source = |network: Option<&str>| {
        Source::Docker(DockerSource {
            network: network.map(str::to_owned),
            ..DockerSource::default()
        })
    };
    let map = |source| endpoints(&source, "app", "docker", &[mine.clone(), other.clone()]);
    let ambiguous = map(source(None));
    assert!(ambiguous.endpoints.is_empty() && why(&ambiguous)[0].contains("several networks"));
    assert_eq!(
        map(source(Some("b"))).endpoints[0].address,
        network("b", 2).ip
    );
    assert!(why(&map(source(Some("c"))))[0].contains("\"c\""));
}

#[test]
fn the_order_of_what_was_found_does_not_matter() {
    let source = Source::Dns(DnsSource {
        name: "app.test".into(),
        record: Default::default(),
        port: Some(80),
        weight: None,
        resolvers: Vec::new(),
    });
    let (one, two) = (found("192.0.2.1", 1), found("192.0.2.2", 2));
    let forward = endpoints(&source, "app", "dns", &[one.clone(), two.clone()]);
    assert_eq!(forward, endpoints(&source, "app", "dns", &[two, one]));
}

#[test]
fn a_server_that_two_sources_know_is_one_and_two_of_one_name_are_two() {
    let source = Source::File(FileSource {
        path: "/x".into(),
        port: Some(80),
        weight: None,
    });
    let of = |id: &str, last| endpoints(&source, "app", "file", &[found(id, last)]).endpoints;
    let all = merged([of("a", 1), of("b", 1), of("a", 2)].concat());
    let names: Vec<_> = all.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["a", "a-192.0.2.2:80"]);
}
