//! How answers of name servers are read, and when they are asked for anew.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hafleet_discovery::{Found, SourceError, SourceSettings};
use hafleet_model::spec::DnsRecord;
use hickory_resolver::proto::rr::rdata::{CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData};

use super::RARELY;
use crate::watcher::Watcher;
use crate::world::{SETTINGS, World};
use crate::worlds::DnsWorld;

const NAME: &str = "app.test.";

async fn world() -> DnsWorld {
    DnsWorld::start().await.unwrap()
}

fn asking(world: &DnsWorld, record: DnsRecord, settings: SourceSettings) -> Watcher {
    // Without the dot at its end: it is fully qualified all the same.
    Watcher::running(Box::new(world.asking("app.test", record, settings)))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn v4(number: u8) -> RData {
    RData::from(IpAddr::from([192, 0, 2, number]))
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.id.as_str()).collect()
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_by_tcp() {
    let world = world().await;
    let many = (0..=255).map(|number| RData::from(IpAddr::from([198, 51, 100, number])));
    world.write(NAME, 1, many.collect());
    let mut watcher = asking(&world, DnsRecord::A, SETTINGS);
    let answer = watcher.next().await.result.unwrap();
    assert_eq!(answer.found.len(), 256);
    assert!(world.zone.lock().unwrap().by_tcp > 0);
    watcher.stop().await;
}

#[tokio::test]
async fn the_order_of_records_does_not_matter() {
    let world = world().await;
    world.write(NAME, 1, vec![v4(1), v4(2), v4(3)]);
    let mut watcher = asking(&world, DnsRecord::A, SETTINGS);
    let one = watcher.next().await.result.unwrap();
    world.write(NAME, 1, vec![v4(3), v4(1), v4(2), v4(1)]);
    watcher.next().await;
    let other = watcher.next().await.result.unwrap();
    assert_eq!(one, other);
    assert_eq!(ids(&one.found), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    watcher.stop().await;
}

#[tokio::test]
async fn every_question_reaches_the_name_server() {
    let world = world().await;
    world.write(NAME, 86_400, vec![v4(1)]);
    let mut watcher = asking(&world, DnsRecord::A, SETTINGS);
    for count in 1..=3 {
        watcher.next().await;
        assert!(world.zone.lock().unwrap().by_udp >= count);
    }
    watcher.stop().await;
}

#[tokio::test]
async fn it_is_asked_again_when_the_time_to_live_is_over_and_not_sooner_than_after_a_second() {
    let world = world().await;
    world.write(NAME, 0, vec![v4(1)]);
    let mut watcher = asking(&world, DnsRecord::A, RARELY);
    for ttl in [2, 0] {
        watcher.next().await;
        let asked = watcher.history.last().unwrap().at;
        world.write(NAME, ttl, vec![v4(1)]);
        assert!(watcher.next().await.at - asked >= Duration::from_secs(1));
    }
    watcher.stop().await;
}

#[tokio::test]
async fn aliases_are_followed_wherever_they_lead() {
    let world = world().await;
    let alias = |target| vec![RData::CNAME(CNAME(name(target)))];
    world.write(NAME, 1, alias("one.test."));
    world.write("one.test.", 1, alias("two.test."));
    world.write("two.test.", 1, vec![v4(7)]);
    let mut watcher = asking(&world, DnsRecord::A, SETTINGS);
    let answer = watcher.next().await.result.unwrap();
    assert_eq!(ids(&answer.found), ["192.0.2.7"]);
    world.write("two.test.", 1, alias("app.test."));
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    world.write("two.test.", 1, Vec::new());
    let nothing = watcher.until(|said| said.result.is_ok()).await;
    assert_eq!(nothing.result.unwrap().found, []);
    watcher.stop().await;
}

#[tokio::test]
async fn ipv6_addresses_are_asked_for_by_their_own_type() {
    let world = world().await;
    world.write(NAME, 1, vec![RData::from(Ipv6Addr::LOCALHOST)]);
    let mut watcher = asking(&world, DnsRecord::Aaaa, SETTINGS);
    let answer = watcher.next().await.result.unwrap();
    assert_eq!(ids(&answer.found), ["::1"]);
    watcher.stop().await;
}

#[tokio::test]
async fn services_are_the_addresses_of_their_targets() {
    let world = world().await;
    let srv = |priority, weight, target| RData::SRV(SRV::new(priority, weight, 80, name(target)));
    let services = vec![
        srv(1, 10, "one.test."),
        srv(1, 0, "two.test."),
        srv(1, 5, "v6.test."),
        srv(1, 5, "none.test."),
        srv(2, 9, "later.test."),
    ];
    world.write(NAME, 1, services);
    world.write("one.test.", 1, vec![v4(1)]);
    world.write("one.test.", 1, vec![RData::from(Ipv6Addr::LOCALHOST)]);
    world.write("two.test.", 1, vec![v4(3), v4(2)]);
    world.write("v6.test.", 1, vec![RData::from(Ipv6Addr::LOCALHOST)]);
    world.write("later.test.", 1, vec![v4(9)]);
    let mut watcher = asking(&world, DnsRecord::Srv, SETTINGS);
    let answer = watcher.next().await.result.unwrap();
    let servers: Vec<_> = answer
        .found
        .iter()
        .map(|found| {
            (
                found.id.as_str(),
                found.addresses[0].ip.to_string(),
                found.weight,
            )
        })
        .collect();
    let wanted = [
        ("one.test:80", "192.0.2.1", 10),
        ("two.test:80:192.0.2.2", "192.0.2.2", 1),
        ("two.test:80:192.0.2.3", "192.0.2.3", 1),
        ("v6.test:80", "::1", 5),
    ];
    let wanted = wanted.map(|(id, ip, weight)| (id, ip.to_owned(), Some(weight)));
    assert_eq!(servers, wanted);
    assert_eq!(answer.left_out[0].what, "none.test:80");
    watcher.stop().await;
}
