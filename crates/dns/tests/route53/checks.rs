//! Health checks come, change and go with the nodes.

use aws_sdk_route53::types::{HealthCheck, HealthCheckType, TagResourceType};
use hafleet_dns::{Provider as _, RecordSet};
use hafleet_model::spec::{DnsHealthCheck, Routing, TimeSpan};

use crate::published::{id, name, node, publisher, scene};
use crate::stage::Stage;

async fn checks(stage: &Stage) -> Vec<HealthCheck> {
    let answer = stage.aside.list_health_checks().send().await.unwrap();
    answer.health_checks().to_vec()
}

async fn sets(stage: &Stage) -> Vec<RecordSet> {
    let zone = stage.route53().zone("example.com").await.unwrap();
    let mut records = zone.records().await.unwrap();
    records.retain(|set| set.key.identifier.is_some());
    records
}

fn check(port: u16, path: Option<&str>) -> Option<DnsHealthCheck> {
    Some(DnsHealthCheck {
        port,
        path: path.map(str::to_owned),
        interval: TimeSpan::from_secs(30),
        fall: 3,
    })
}

#[tokio::test]
async fn a_node_has_a_check_for_as_long_as_it_is_published() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let mut each = name("each.example.com", Routing::Multivalue);
    each.health_check = check(443, None);
    let mut scene = scene("n1", 1, vec![each]);
    let mut publisher = publisher(&stage);
    publisher.round(&scene).await;
    let made = checks(&stage).await;
    assert_eq!(made.len(), 3);
    for set in sets(&stage).await {
        let check = made
            .iter()
            .find(|check| Some(check.id()) == set.health_check.as_deref());
        let config = check.unwrap().health_check_config().unwrap();
        assert_eq!(config.r#type(), &HealthCheckType::Tcp);
        assert_eq!(
            (config.port(), config.request_interval()),
            (Some(443), Some(30))
        );
        let hafleet_dns::RecordData::Values { values, .. } = &set.data else {
            panic!("{set:?}");
        };
        assert!(values.contains(config.ip_address().unwrap()));
    }
    let tags = stage.aside.list_tags_for_resource();
    let tags = tags
        .resource_type(TagResourceType::Healthcheck)
        .resource_id(made[0].id());
    let tags = tags.send().await.unwrap();
    let tags = tags.resource_tag_set().unwrap().tags();
    assert!(
        tags.iter()
            .any(|tag| tag.key() == Some("hafleet:fleet") && tag.value() == Some("shop"))
    );

    // Another leader finds them; a node that goes takes its own with it.
    let mut other = crate::published::publisher(&stage);
    scene.claimant.term = hafleet_model::Term(2);
    scene.nodes.insert(id("n3"), node(3, false));
    let round = other.round(&scene).await;
    assert_eq!(round.names[0].held_back, [""; 0]);
    let left = checks(&stage).await;
    assert_eq!(left.len(), 2);
    assert!(
        left.iter()
            .all(|check| made.iter().any(|old| old.id() == check.id()))
    );

    // What can be changed is changed; another type is another check.
    scene.publication.records[0].health_check = check(8443, None);
    other.round(&scene).await;
    let mut changed: Vec<_> = checks(&stage).await;
    assert!(
        changed
            .iter()
            .all(|check| check.health_check_config().unwrap().port() == Some(8443))
    );
    changed.retain(|check| left.iter().any(|old| old.id() == check.id()));
    assert_eq!(changed.len(), 2);
    scene.publication.records[0].health_check = check(80, Some("/up"));
    other.round(&scene).await;
    let others = checks(&stage).await;
    assert_eq!(others.len(), 2);
    let config = others[0].health_check_config().unwrap();
    assert_eq!(
        (config.r#type(), config.resource_path()),
        (&HealthCheckType::Http, Some("/up"))
    );
    for set in sets(&stage).await {
        assert!(
            others
                .iter()
                .any(|check| Some(check.id()) == set.health_check.as_deref())
        );
    }
    scene.publication.records[0].health_check = None;
    other.round(&scene).await;
    assert_eq!(checks(&stage).await.len(), 0);
    assert!(
        sets(&stage)
            .await
            .iter()
            .all(|set| set.health_check.is_none())
    );
}

#[tokio::test]
async fn failover_depends_on_any_of_the_primaries() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let routing = Routing::Failover {
        primary: vec![id("n1"), id("n2")],
    };
    let mut pair = name("pair.example.com", routing);
    pair.health_check = check(80, None);
    let scene = scene("n1", 1, vec![pair]);
    let mut publisher = publisher(&stage);
    let round = publisher.round(&scene).await;
    assert_eq!(round.names[0].held_back, [""; 0]);
    let checks = checks(&stage).await;
    let calculated = checks.iter().find(|check| {
        check.health_check_config().unwrap().r#type() == &HealthCheckType::Calculated
    });
    let calculated = calculated.unwrap();
    let config = calculated.health_check_config().unwrap();
    assert_eq!(config.health_threshold(), Some(1));
    assert_eq!(config.child_health_checks().len(), 2);
    let sets = sets(&stage).await;
    let primary = sets
        .iter()
        .find(|set| set.policy == hafleet_dns::record::Policy::Primary);
    assert_eq!(
        primary.unwrap().health_check.as_deref(),
        Some(calculated.id())
    );
}
