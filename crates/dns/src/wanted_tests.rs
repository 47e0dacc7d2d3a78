use hafleet_model::spec::{DnsAlias, NodeAddress, TimeSpan};

use super::*;

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn fleet() -> FleetName {
    FleetName::new("shop").unwrap()
}

fn node(last: u8) -> NodeEvidence {
    let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]);
    NodeEvidence {
        addresses: [
            (NodeAddress::Public, IpAddr::from([192, 0, 2, last])),
            (NodeAddress::Ipv6, v6),
        ]
        .into(),
        weight: last,
        is_live: true,
        is_serving: true,
        has_spec: true,
        is_drained: false,
        probe: None,
    }
}

fn published(routing: Routing) -> PublishedName {
    PublishedName {
        zone: "example.com".into(),
        name: "WWW.example.com.".into(),
        provider: Default::default(),
        ttl: TimeSpan::from_secs(30),
        addresses: vec![NodeAddress::Public, NodeAddress::Ipv6],
        routing,
        min_published: 1,
        health_check: None,
        aliases: vec![
            DnsAlias {
                name: "shop.example.com".into(),
                alias_type: DnsAliasType::Cname,
            },
            DnsAlias {
                name: "example.com".into(),
                alias_type: DnsAliasType::Alias,
            },
        ],
    }
}

fn sets(routing: Routing) -> BTreeMap<String, Vec<RecordSet>> {
    let nodes = [(id("a"), node(1)), (id("b"), node(2)), (id("c"), node(3))].into();
    let service = Service {
        published: [id("a"), id("b")].into(),
        draining: [id("c")].into(),
        held_back: None,
    };
    let checks = HealthChecks {
        of_nodes: [(id("a"), "hc-a".to_owned())].into(),
        of_primaries: Some("hc-p".into()),
    };
    wanted(&published(routing), &fleet(), &nodes, &service, &checks)
}

fn lines(sets: &[RecordSet]) -> Vec<String> {
    let line = |set: &RecordSet| {
        let values = match &set.data {
            RecordData::Values { values, .. } => {
                values.iter().cloned().collect::<Vec<_>>().join(",")
            }
            RecordData::Alias { target, .. } => format!("-> {target}"),
        };
        format!(
            "{} {values} {:?} {:?}",
            set.key, set.policy, set.health_check
        )
    };
    sets.iter().map(line).collect()
}

#[test]
fn one_set_a_family_has_all_nodes_and_aliases_stand_for_it() {
    let sets = sets(Routing::Simple);
    assert_eq!(
        lines(&sets["www.example.com"]),
        [
            "www.example.com A 192.0.2.1,192.0.2.2 Simple None",
            "www.example.com AAAA 2001:db8::1,2001:db8::2 Simple None",
        ]
    );
    assert_eq!(
        lines(&sets["shop.example.com"]),
        ["shop.example.com CNAME www.example.com Simple None"]
    );
    assert_eq!(lines(&sets["example.com"]).len(), 2);
}

#[test]
fn weights_are_the_nodes_own_and_0_while_they_drain() {
    let sets = sets(Routing::Weighted);
    let lines = lines(&sets["www.example.com"]);
    assert_eq!(
        lines[0],
        "www.example.com A hafleet-shop-a 192.0.2.1 Weighted(1) Some(\"hc-a\")"
    );
    assert_eq!(
        lines[2],
        "www.example.com A hafleet-shop-c 192.0.2.3 Weighted(0) None"
    );
    assert_eq!(lines.len(), 6);
}

#[test]
fn multivalue_has_a_set_for_each_node_in_service() {
    assert_eq!(sets(Routing::Multivalue)["www.example.com"].len(), 4);
}

#[test]
fn failover_has_the_primaries_and_all_others() {
    let sets = sets(Routing::Failover {
        primary: vec![id("b")],
    });
    let lines = lines(&sets["www.example.com"]);
    assert_eq!(
        lines[0],
        "www.example.com A hafleet-shop-primary 192.0.2.2 Primary Some(\"hc-p\")"
    );
    assert_eq!(
        lines[1],
        "www.example.com A hafleet-shop-secondary 192.0.2.1 Secondary None"
    );
}

#[test]
fn with_nobody_to_publish_no_alias_stands_for_nothing() {
    let nobody = Service::default();
    let names = wanted(
        &published(Routing::Simple),
        &fleet(),
        &BTreeMap::new(),
        &nobody,
        &HealthChecks::default(),
    );
    assert_eq!(names.len(), 3);
    assert!(names.values().all(Vec::is_empty));
}
