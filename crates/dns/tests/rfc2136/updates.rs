//! What a provider promises, and the publisher over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hafleet_dns::lease::Claimant;
use hafleet_dns::provider::Change;
use hafleet_dns::rfc2136::{NameServer, UpdateKey};
use hafleet_dns::route53::{Route53, Route53Settings};
use hafleet_dns::service::{NodeEvidence, Probe};
use hafleet_dns::zones::Providers;
use hafleet_dns::{Budget, Provider, ProviderError, Publisher, RecordSet, RecordType, Scene};
use hafleet_model::spec::{
    DnsAlias, DnsProvider, NodeAddress, Publication, PublishedName, Rfc2136, TimeSpan,
};
use hafleet_model::{FleetName, NodeId, Term};

use crate::knot::{Knot, SECRET};

fn key() -> UpdateKey {
    UpdateKey::new("fleet", "hmac-sha256", SECRET).unwrap()
}

fn server(knot: &Knot) -> NameServer {
    NameServer::new(knot.address(), "example.com", Some(key())).unwrap()
}

fn set(name: &str, record_type: RecordType, values: &[&str]) -> RecordSet {
    let values = values.iter().map(|value| (*value).to_owned());
    RecordSet::simple(name, record_type, 30, values)
}

fn text(value: &str) -> RecordSet {
    let quoted = format!("\"{value}\"");
    set("_hafleet.www.example.com", RecordType::Txt, &[&quoted])
}

fn is_rejected<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Rejected { .. }))
}

#[tokio::test]
async fn what_is_written_reads_back_and_goes_again() {
    let knot = Knot::start();
    let server = server(&knot);
    let all = [
        set(
            "www.example.com",
            RecordType::A,
            &["192.0.2.1", "192.0.2.2"],
        ),
        set("*.example.com", RecordType::Aaaa, &["2001:db8::1"]),
        set("shop.example.com", RecordType::Cname, &["www.example.com"]),
        text("a b"),
    ];
    let batch: Vec<_> = all.iter().cloned().map(Change::Create).collect();
    server.change(&batch).await.unwrap();
    let records = server.records().await.unwrap();
    for set in &all {
        assert!(records.contains(set), "{set:?} is not in {records:?}");
    }
    let batch: Vec<_> = all.iter().cloned().map(Change::Delete).collect();
    server.change(&batch).await.unwrap();
    let left = server.records().await.unwrap();
    assert_eq!(left.len(), 1, "the name server's own: {left:?}");
}

#[tokio::test]
async fn of_two_that_read_the_same_one_writes_and_a_batch_is_one() {
    let knot = Knot::start();
    let server = server(&knot);
    let www = |address| set("www.example.com", RecordType::A, &[address]);
    let first = [Change::Create(text("1")), Change::Create(www("192.0.2.1"))];
    server.change(&first).await.unwrap();
    let swap = |from, to, address| {
        [
            Change::Delete(text(from)),
            Change::Create(text(to)),
            Change::Upsert(www(address)),
        ]
    };
    server.change(&swap("1", "2", "192.0.2.2")).await.unwrap();
    assert!(is_rejected(
        &server.change(&swap("1", "3", "192.0.2.3")).await
    ));
    assert!(is_rejected(&server.change(&first).await));
    let half = set(
        "www.example.com",
        RecordType::A,
        &["192.0.2.2", "192.0.2.9"],
    );
    assert!(is_rejected(&server.change(&[Change::Delete(half)]).await));
    let beside = set("www.example.com", RecordType::Cname, &["x.example.com"]);
    assert!(is_rejected(&server.change(&[Change::Create(beside)]).await));
    let records = server.records().await.unwrap();
    assert!(records.contains(&www("192.0.2.2")) && records.contains(&text("2")));
}

#[tokio::test]
async fn strangers_and_silence_are_told_apart() {
    let mut knot = Knot::start();
    let wrong = UpdateKey::new("fleet", "hmac-sha256", "d3Jvbmc=").unwrap();
    let other = UpdateKey::new("other", "hmac-sha256", SECRET).unwrap();
    for key in [None, Some(wrong), Some(other)] {
        let stranger = NameServer::new(knot.address(), "example.com", key).unwrap();
        let change = [Change::Create(text("1"))];
        let error = stranger.change(&change).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error:?}");
        let error = stranger.records().await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error:?}");
    }
    let elsewhere = NameServer::new(knot.address(), "example.org", Some(key())).unwrap();
    assert!(elsewhere.records().await.is_err());
    let server = server(&knot);
    knot.stop();
    let error = server.records().await.unwrap_err();
    assert!(matches!(error, ProviderError::Unknown { .. }), "{error:?}");
}

fn scene(knot: &Knot, leader: &str, term: u64, up: [bool; 3]) -> Scene {
    let node = |last: u8, is_up: bool| NodeEvidence {
        addresses: [(NodeAddress::Public, [192, 0, 2, last].into())].into(),
        weight: 1,
        is_live: is_up,
        is_serving: is_up,
        has_spec: true,
        is_drained: false,
        probe: (!is_up).then_some(Probe::Fails),
    };
    let record = PublishedName {
        zone: "example.com".into(),
        name: "www.example.com".into(),
        provider: DnsProvider::Rfc2136(Rfc2136 {
            server: knot.address(),
            key: Some("fleet".into()),
        }),
        ttl: TimeSpan::from_secs(5),
        addresses: vec![NodeAddress::Public],
        routing: Default::default(),
        min_published: 1,
        health_check: None,
        aliases: vec![DnsAlias {
            name: "shop.example.com".into(),
            alias_type: Default::default(),
        }],
    };
    Scene {
        claimant: Claimant {
            fleet: FleetName::new("shop").unwrap(),
            authorities: Vec::new(),
            node: NodeId::new(leader).unwrap(),
            term: Term(term),
            has_majority: true,
        },
        nodes: (1..)
            .zip(up)
            .map(|(last, is_up)| (NodeId::new(format!("n{last}")).unwrap(), node(last, is_up)))
            .collect(),
        publication: Publication {
            records: vec![record],
            requests_per_second: 1000,
            ..Publication::default()
        },
    }
}

fn publisher() -> Publisher {
    let budget = Budget::new(1000);
    let route53 = Route53::new(Route53Settings::default(), budget.clone());
    let keys = BTreeMap::from([("fleet".to_owned(), key())]);
    Publisher::new(Arc::new(Providers::new(route53, keys)), budget)
}

async fn addresses(knot: &Knot) -> Vec<String> {
    let records = server(knot).records().await.unwrap();
    let www = set("www.example.com", RecordType::A, &[]).key;
    let found = records.into_iter().find(|set| set.key == www);
    match found.map(|set| set.data) {
        Some(hafleet_dns::RecordData::Values { values, .. }) => values.into_iter().collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_fleet_is_published_fenced_and_released() {
    let mut knot = Knot::start();
    let (mut old, mut new) = (publisher(), publisher());
    let round = old.round(&scene(&knot, "n1", 1, [true; 3])).await;
    assert!(
        round.names.iter().all(|name| name.held_back.is_empty()),
        "{round:?}"
    );
    assert_eq!(addresses(&knot).await.len(), 3);
    let two = scene(&knot, "n2", 2, [false, true, true]);
    new.round(&two).await;
    let round = old.round(&scene(&knot, "n1", 1, [true, false, true])).await;
    assert_eq!(round.rival.unwrap().term, Term(2));
    assert_eq!(addresses(&knot).await, ["192.0.2.2", "192.0.2.3"]);

    // It is down, and back.
    knot.stop();
    let one = scene(&knot, "n2", 2, [false, true, false]);
    let round = new.round(&one).await;
    assert!(
        round.names[0]
            .held_back
            .concat()
            .contains("does not answer")
    );
    knot.start_again();
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while addresses(&knot).await != ["192.0.2.2"] {
        assert!(tokio::time::Instant::now() < end, "{round:?}");
        let round = new.round(&one).await;
        tokio::time::sleep(round.next.min(Duration::from_millis(200))).await;
    }
    let released = new.release(&one, &[]).await.unwrap();
    assert_eq!(released, ["shop.example.com", "www.example.com"]);
    assert_eq!(server(&knot).records().await.unwrap().len(), 1);
}
