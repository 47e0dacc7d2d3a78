//! The publisher over Route53.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hafleet_dns::lease::Claimant;
use hafleet_dns::publisher::Round;
use hafleet_dns::service::{NodeEvidence, Probe};
use hafleet_dns::zones::Providers;
use hafleet_dns::{Provider as _, Publisher, RecordData, Scene};
use hafleet_model::spec::{
    DnsAlias, DnsAliasType, NodeAddress, Publication, PublishedName, Routing, TimeSpan,
};
use hafleet_model::{FleetName, NodeId, Term};

use crate::aws::Fault;
use crate::stage::{Stage, until};

pub(crate) fn publisher(stage: &Stage) -> Publisher {
    let zones = Providers::new(stage.route53(), BTreeMap::new());
    Publisher::new(Arc::new(zones), stage.budget.clone())
}

pub(crate) fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

pub(crate) fn node(last: u8, is_up: bool) -> NodeEvidence {
    NodeEvidence {
        addresses: [(NodeAddress::Public, [192, 0, 2, last].into())].into(),
        weight: 10,
        is_live: is_up,
        is_serving: is_up,
        has_spec: true,
        is_drained: false,
        probe: (!is_up).then_some(Probe::Fails),
    }
}

pub(crate) fn name(text: &str, routing: Routing) -> PublishedName {
    PublishedName {
        zone: "example.com".into(),
        name: text.into(),
        provider: Default::default(),
        ttl: TimeSpan::from_secs(30),
        addresses: vec![NodeAddress::Public],
        routing,
        min_published: 1,
        health_check: None,
        aliases: Vec::new(),
    }
}

pub(crate) fn scene(leader: &str, term: u64, records: Vec<PublishedName>) -> Scene {
    Scene {
        claimant: Claimant {
            fleet: FleetName::new("shop").unwrap(),
            authorities: Vec::new(),
            node: id(leader),
            term: Term(term),
            has_majority: true,
        },
        nodes: (1..=3)
            .map(|last| (id(&format!("n{last}")), node(last, true)))
            .collect(),
        publication: Publication {
            records,
            requests_per_second: 1000,
            ..Publication::default()
        },
    }
}

async fn values(stage: &Stage, name: &str) -> Vec<String> {
    let zone = stage.route53().zone("example.com").await.unwrap();
    let records = zone.records().await.unwrap();
    let sets = records.into_iter().filter(|set| set.key.name == name);
    let values = sets.map(|set| match set.data {
        RecordData::Values { values, .. } => values.into_iter().collect(),
        RecordData::Alias { target, .. } => vec![format!("-> {target}")],
    });
    let mut values: Vec<_> = values.flatten().collect();
    values.sort();
    values
}

fn held_back(round: &Round) -> String {
    let all = round.names.iter().flat_map(|name| name.held_back.clone());
    all.collect::<Vec<_>>().join("; ")
}

const ALL: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

#[tokio::test]
async fn nodes_come_and_go_under_every_routing_and_aliases_follow() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let mut www = name("www.example.com", Routing::Simple);
    www.aliases = vec![
        DnsAlias {
            name: "shop.example.com".into(),
            alias_type: DnsAliasType::Cname,
        },
        DnsAlias {
            name: "example.com".into(),
            alias_type: DnsAliasType::Alias,
        },
    ];
    let records = vec![
        www,
        name("each.example.com", Routing::Multivalue),
        name("*.w.example.com", Routing::Weighted),
    ];
    let mut scene = scene("n1", 1, records);
    let mut publisher = publisher(&stage);
    let round = publisher.round(&scene).await;
    assert_eq!(held_back(&round), "");
    for name in ["www.example.com", "each.example.com", "*.w.example.com"] {
        assert_eq!(values(&stage, name).await, ALL, "{name}");
    }
    assert_eq!(
        values(&stage, "shop.example.com").await,
        ["www.example.com"]
    );
    let top = values(&stage, "example.com").await;
    assert!(top.contains(&"-> www.example.com".to_owned()), "{top:?}");

    scene.nodes.insert(id("n2"), node(2, false));
    publisher.round(&scene).await;
    for name in ["www.example.com", "each.example.com", "*.w.example.com"] {
        assert_eq!(
            values(&stage, name).await,
            ["192.0.2.1", "192.0.2.3"],
            "{name}"
        );
    }
    // A new publisher finds nothing to do but to renew the fence.
    let mut another = self::publisher(&stage);
    let plan = another.plan(&scene).await.unwrap();
    let changes: Vec<_> = plan.iter().flat_map(|name| name.changes.clone()).collect();
    assert_eq!(changes, []);

    // Another routing of the same name is one change too.
    scene.publication.records[0].routing = Routing::Multivalue;
    scene.publication.records[1].routing = Routing::Simple;
    let round = publisher.round(&scene).await;
    assert_eq!(held_back(&round), "");
    assert_eq!(values(&stage, "each.example.com").await.len(), 2);
    publisher.release(&scene, &[]).await.unwrap();
    assert_eq!(values(&stage, "www.example.com").await, [""; 0]);
}

#[tokio::test]
async fn a_leader_that_wakes_up_later_changes_nothing() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let records = vec![name("www.example.com", Routing::Simple)];
    let (mut old, mut new) = (publisher(&stage), publisher(&stage));
    old.round(&scene("n1", 1, records.clone())).await;
    let mut now = scene("n2", 2, records.clone());
    now.nodes.insert(id("n1"), node(1, false));
    new.round(&now).await;
    let mut then = scene("n1", 1, records);
    then.nodes.insert(id("n2"), node(2, false));
    let round = old.round(&then).await;
    assert_eq!(round.rival.unwrap().term, Term(2));
    assert_eq!(
        values(&stage, "www.example.com").await,
        ["192.0.2.2", "192.0.2.3"]
    );
}

#[tokio::test]
async fn after_route53_was_down_throttled_or_silent_all_is_as_wanted() {
    let stage = Stage::start(&[("STRICT_R53_RPS", "2"), ("STRICT_R53_PRIOR_MS", "300")]);
    stage.zone("example.com", false).await;
    let records = vec![name("www.example.com", Routing::Simple)];
    let mut scene = scene("n1", 1, records);
    let mut publisher = publisher(&stage);
    publisher.round(&scene).await;
    for number in 1..=3_u8 {
        stage.gate.set(Fault::Down);
        for id in ["n1", "n2", "n3"] {
            scene
                .nodes
                .insert(self::id(id), node(id.as_bytes()[1] - b'0', true));
        }
        scene
            .nodes
            .insert(id(&format!("n{number}")), node(number, false));
        let round = publisher.round(&scene).await;
        assert!(
            held_back(&round).contains("does not answer"),
            "{}",
            held_back(&round)
        );
        stage.gate.set(Fault::None);
        until("published", async || {
            let round = publisher.round(&scene).await;
            let is_done = round.names[0].nodes.len() == 2 && round.names[0].held_back.is_empty();
            tokio::time::sleep(round.next.min(Duration::from_millis(100))).await;
            is_done.then_some(())
        })
        .await;
        let gone = format!("192.0.2.{number}");
        assert!(!values(&stage, "www.example.com").await.contains(&gone));
    }
}
