//! The client against moto, with faults of the wire between them.

#![cfg(test)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "made for all tests; these need a part of it"
)]
#[path = "../../../tests/src/aws/mod.rs"]
mod aws;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws::{Cloud, Fault, KEY, ManyInstances, REGION};
use hafleet_ec2::{Ec2, Ec2Error, Ec2Settings, Instance, InstanceQuery, StaticKey};

fn settings(cloud: &Cloud) -> Ec2Settings {
    Ec2Settings {
        endpoint: Some(cloud.endpoint()),
        region: Some(REGION.into()),
        key: Some(StaticKey {
            id: KEY.into(),
            secret: "nobody checks it".into(),
        }),
        page_size: 5,
        attempts: 1,
        ..Ec2Settings::default()
    }
}

fn in_groups(groups: &[&str]) -> InstanceQuery {
    InstanceQuery {
        security_groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..InstanceQuery::default()
    }
}

async fn ids(ec2: &Ec2, query: &InstanceQuery) -> Vec<String> {
    let found = ec2.instances(query).await.unwrap();
    found.into_iter().map(|instance| instance.id).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn instances_are_found_by_everything_that_a_query_can_name() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    let (web, api) = (cloud.add_group("web"), cloud.add_group("api"));
    let one = cloud.add(&web, &[("role", "front"), ("port", "81")]);
    let two = cloud.add(&api, &[("role", "back")]);
    let stopped = cloud.add(&web, &[]);
    cloud.stop(&[&stopped]);
    let ended = cloud.add(&web, &[]);
    cloud.remove(&[&ended]);

    let only_one = vec![one.clone()];
    assert_eq!(ids(&ec2, &in_groups(&[&web])).await, only_one);
    assert_eq!(ids(&ec2, &in_groups(&["web"])).await, only_one);
    let both = sorted(vec![one.clone(), two.clone()]);
    assert_eq!(ids(&ec2, &in_groups(&["web", &api])).await, both);
    assert_eq!(ids(&ec2, &in_groups(&["nobody"])).await, [""; 0]);
    let tagged = InstanceQuery {
        tags: [("role".to_owned(), "f*".to_owned())].into(),
        ..in_groups(&["web", "api"])
    };
    assert_eq!(ids(&ec2, &tagged).await, only_one);

    let found = ec2.instances(&in_groups(&["web"])).await.unwrap();
    let Instance { vpc, tags, .. } = &found[0];
    assert_eq!(found[0].zone.as_deref(), Some("eu-west-1a"));
    assert_eq!(
        found[0].private_ip.unwrap().to_string(),
        cloud.private_ip(&one)
    );
    assert!(found[0].public_ip.is_some());
    assert_eq!(tags["port"], "81");
    assert_eq!(found[0].security_groups[0].name, "web");
    assert_eq!(found[0].lifecycle, None);
    let in_vpc = InstanceQuery {
        vpc: vpc.clone(),
        filters: [(
            "instance-type".to_owned(),
            ["m1.small".to_owned(), "m5.large".to_owned()].into(),
        )]
        .into(),
        ..InstanceQuery::default()
    };
    assert_eq!(ids(&ec2, &in_vpc).await, both);
}

#[tokio::test]
async fn all_pages_are_read_and_a_page_that_fails_fails_the_whole() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    let web = cloud.add_group("web");
    let all: Vec<_> = (0..12).map(|_| cloud.add(&web, &[])).collect();
    let query = in_groups(&["web"]);
    assert_eq!(ids(&ec2, &query).await, sorted(all));
    assert_eq!(ec2.calls().describe_instances, 3);
    assert_eq!(cloud.gate().count("DescribeInstances"), 3);

    for fault in [
        Fault::HalfPage,
        Fault::HalfPageUnnoticed,
        Fault::FailingPage,
    ] {
        cloud.gate().set(fault);
        let error = ec2.instances(&query).await.unwrap_err();
        let is_right = matches!(
            (fault, &error),
            (Fault::FailingPage, Ec2Error::Unreachable { .. })
                | (
                    Fault::HalfPage | Fault::HalfPageUnnoticed,
                    Ec2Error::Malformed { .. }
                )
        );
        assert!(is_right, "{fault:?}: {error:?}");
    }
    cloud.mend();
    assert_eq!(ids(&ec2, &query).await.len(), 12);
}

#[tokio::test]
async fn five_thousand_instances_are_five_calls() {
    let cloud = Cloud::start();
    cloud.add(&cloud.add_group("web"), &[("port", "81")]);
    let describe = [("Action", "DescribeInstances")];
    let pattern = cloud.moto().call(REGION, "ec2", &describe);
    let many = ManyInstances::start(5000, &pattern);
    let ec2 = Ec2::new(Ec2Settings {
        endpoint: Some(format!("http://{}", many.address())),
        page_size: 1000,
        ..settings(&cloud)
    });
    let found = ec2.instances(&in_groups(&["web"])).await.unwrap();
    let ids: BTreeSet<_> = found.iter().map(|instance| &instance.id).collect();
    assert_eq!((found.len(), ids.len()), (5000, 5000));
    assert_eq!(ec2.calls().total(), 5);
}

#[tokio::test]
async fn each_kind_of_failure_is_told_apart() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    let query = in_groups(&["web"]);
    let failing = async |fault| {
        cloud.gate().set(fault);
        ec2.instances(&query).await.unwrap_err()
    };
    let error = failing(Fault::Throttled).await;
    assert!(matches!(error, Ec2Error::Throttled { .. }), "{error:?}");
    assert!(
        error.to_string().contains("RequestLimitExceeded"),
        "{error}"
    );
    let error = failing(Fault::Denied).await;
    assert!(matches!(error, Ec2Error::Refused { .. }), "{error:?}");
    let words = "EC2 DescribeInstances in eu-west-1 refuses";
    assert!(error.to_string().starts_with(words), "{error}");
    let error = failing(Fault::Down).await;
    assert!(matches!(error, Ec2Error::Unreachable { .. }), "{error:?}");
    let error = failing(Fault::OtherPage).await;
    assert!(matches!(error, Ec2Error::Malformed { .. }), "{error:?}");
    cloud.gate().set(Fault::Slow);
    let impatient = Ec2::new(Ec2Settings {
        timeout: Duration::from_millis(300),
        ..settings(&cloud)
    });
    let error = impatient.instances(&query).await.unwrap_err();
    assert!(matches!(error, Ec2Error::Unreachable { .. }), "{error:?}");
    cloud.mend();
    assert_eq!(ids(&ec2, &query).await, [""; 0]);
}

#[tokio::test]
async fn a_call_is_tried_again_with_pauses_and_every_attempt_counts() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(Ec2Settings {
        attempts: 3,
        ..settings(&cloud)
    });
    cloud.gate().set(Fault::Throttled);
    let error = ec2.instances(&in_groups(&["web"])).await.unwrap_err();
    assert!(matches!(error, Ec2Error::Throttled { .. }), "{error:?}");
    assert_eq!(ec2.calls().total(), 3);
    assert_eq!(cloud.gate().actions(), ["DescribeInstances"; 3]);
}

#[tokio::test]
async fn regions_and_accounts_are_put_together() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    let here = cloud.add(&cloud.add_group("web"), &[]);
    let there = cloud.add_in("us-east-1", &cloud.add_group_in("us-east-1", "web"), &[]);
    let query = InstanceQuery {
        regions: ["eu-west-1".to_owned(), "us-east-1".to_owned()].into(),
        ..in_groups(&["web"])
    };
    assert_eq!(
        ids(&ec2, &query).await,
        sorted(vec![here.clone(), there.clone()])
    );
    let regions = ec2.instances(&query).await.unwrap();
    let regions: BTreeSet<_> = regions.into_iter().map(|found| found.region).collect();
    assert_eq!(regions, query.regions);

    let (role, theirs) = cloud.add_account("222222222222");
    let as_role = InstanceQuery {
        roles: [role.clone()].into(),
        ..InstanceQuery::default()
    };
    cloud.gate().set(Fault::RoleDenied);
    let error = ec2.instances(&as_role).await.unwrap_err();
    assert!(matches!(error, Ec2Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(&role), "{error}");
    cloud.mend();
    let denied = cloud.gate().count("AssumeRole");
    assert_eq!(ids(&ec2, &as_role).await, [theirs]);
    assert_eq!(cloud.gate().count("AssumeRole"), denied + 1);
    ids(&ec2, &as_role).await;
    let assumed = cloud.gate().count("AssumeRole") - denied;
    assert_eq!(assumed, 1, "credentials are kept");
}

#[tokio::test]
async fn auto_scaling_says_who_is_in_service() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    let blue = cloud.add_auto_scaling_group("blue", 3);
    cloud.add_auto_scaling_group("green", 1);
    let query = InstanceQuery {
        auto_scaling_groups: ["blue".to_owned()].into(),
        ..InstanceQuery::default()
    };
    cloud.set_aside("blue", &blue[0]);
    let found = ec2.instances(&query).await.unwrap();
    assert_eq!(found.len(), 3);
    for instance in found {
        assert_eq!(instance.auto_scaling_group(), Some("blue"));
        let state = instance.lifecycle.as_ref().unwrap().0.as_str();
        let expected = if instance.id == blue[0] {
            "Standby"
        } else {
            "InService"
        };
        assert_eq!(state, expected);
        assert_eq!(instance.is_in_service(), instance.id != blue[0]);
    }
    assert_eq!(ec2.calls().describe_auto_scaling_groups, 1);

    cloud.gate().set(Fault::AutoScalingDenied);
    let error = ec2.instances(&query).await.unwrap_err();
    assert!(matches!(error, Ec2Error::Refused { .. }), "{error:?}");
    assert!(
        error.to_string().contains("DescribeAutoScalingGroups"),
        "{error}"
    );
    let other = Ec2::new(Ec2Settings {
        lifecycle: false,
        ..settings(&cloud)
    });
    assert_eq!(ids(&other, &query).await.len(), 3);
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_half_done() {
    let cloud = Cloud::start();
    let ec2 = Ec2::new(settings(&cloud));
    cloud.gate().set(Fault::Slow);
    let begun = Instant::now();
    let limit = Duration::from_millis(200);
    let query = in_groups(&["web"]);
    assert!(
        tokio::time::timeout(limit, ec2.instances(&query))
            .await
            .is_err()
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    cloud.mend();
    assert_eq!(ids(&ec2, &query).await, [""; 0]);
}
