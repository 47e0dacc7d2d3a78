//! One publisher at a time, step by step.

use std::sync::Arc;
use std::time::Duration;

use hafleet_dns::plan::Refusal;
use hafleet_dns::publisher::{NameStatus, OperateError, Round};
use hafleet_dns::{Budget, Publisher, RecordSet, RecordType, Scene};
use hafleet_model::Term;
use hafleet_model::spec::{DnsHealthCheck, Drift, Publication, PublishedName, TimeSpan};
use tokio::time::{Instant, advance};

use crate::scene::{id, name, nodes, publication, scene};
use crate::zone::{Access, BAD, Faults, OneZone, Zone};

struct Stage {
    zone: Arc<Zone>,
    access: Arc<Access>,
    publisher: Publisher,
}

impl Stage {
    fn new() -> Self {
        Self::at(&Arc::new(Zone::default()), 1)
    }

    fn at(zone: &Arc<Zone>, seed: u64) -> Self {
        let access = Access::new(zone, seed);
        let zones = Arc::new(OneZone(access.clone()));
        Self {
            zone: zone.clone(),
            publisher: Publisher::seeded(zones, Budget::new(100), seed),
            access,
        }
    }

    async fn round(&mut self, scene: &Scene) -> Round {
        self.publisher.round(scene).await
    }

    /// Rounds as they are due, for so long.
    async fn run(&mut self, scene: &Scene, time: Duration) -> Round {
        let end = Instant::now() + time;
        loop {
            let round = self.round(scene).await;
            if Instant::now() + round.next > end {
                return round;
            }
            advance(round.next).await;
        }
    }
}

fn of<'a>(round: &'a Round, name: &str) -> &'a NameStatus {
    round.names.iter().find(|found| found.name == name).unwrap()
}

fn held_back(round: &Round) -> String {
    let all: Vec<_> = round
        .names
        .iter()
        .flat_map(|name| name.held_back.clone())
        .collect();
    all.join("; ")
}

fn without(mut scene: Scene, gone: &str) -> Scene {
    scene.nodes.insert(id(gone), crate::scene::node(9, false));
    scene
}

#[tokio::test(start_paused = true)]
async fn all_names_come_with_one_write_and_stay_without_more() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    let round = stage.round(&scene).await;
    assert_eq!(stage.access.calls(), ["records", "change"]);
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(stage.zone.values("www.test"), all);
    assert_eq!(stage.zone.values("shop.test"), ["www.test"]);
    assert_eq!(stage.zone.values("each.test"), all);
    assert_eq!(held_back(&round), "");
    assert_eq!(of(&round, "www.test").nodes.len(), 3);
    stage.round(&scene).await;
    assert_eq!(stage.access.calls(), [""; 0]);

    // A node that dies costs one write, and no read before it.
    stage.round(&without(scene.clone(), "n3")).await;
    assert_eq!(stage.access.calls(), ["change"]);
    assert_eq!(stage.zone.values("each.test"), ["192.0.2.1", "192.0.2.2"]);
    advance(Duration::from_secs(2)).await;
    let round = stage.round(&without(scene, "n3")).await;
    // `shop.test` waits for the first change still, the others for the second.
    assert_eq!(stage.access.calls(), ["status", "status"]);
    let change = of(&round, "www.test").last_change.unwrap();
    assert!(change.in_sync_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn at_rest_an_hour_takes_less_than_200_calls_and_the_fence_is_renewed() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.run(&scene, Duration::from_secs(120)).await;
    stage.access.calls();
    let writes = stage.zone.writes();
    stage.run(&scene, Duration::from_secs(3600)).await;
    let calls = stage.access.calls();
    let count = |call| calls.iter().filter(|made| **made == call).count();
    println!(
        "an hour at rest: {} calls, {} of them reads",
        calls.len(),
        count("records")
    );
    assert!(calls.len() < 200, "{}", calls.len());
    assert!(count("records") >= 60 && count("status") == 0);
    assert!(stage.zone.writes() - writes >= 3 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_read_and_not_taken_for_a_loss() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.access.set(Faults {
        lost: 100,
        ..Faults::default()
    });
    let round = stage.round(&scene).await;
    assert_eq!(stage.access.calls(), ["records", "change", "records"]);
    assert_eq!((held_back(&round).as_str(), round.rival), ("", None));
    stage.round(&scene).await;
    assert_eq!(stage.access.calls(), [""; 0]);
    let sequence = |stage: &Stage| stage.zone.owner("www.test").unwrap().sequence;
    assert_eq!(sequence(&stage), 1);
    stage.round(&without(scene, "n1")).await;
    assert_eq!(sequence(&stage), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_is_found_and_the_others_go_on() {
    let mut stage = Stage::new();
    let mut scene = scene("a", 1);
    scene.publication.records = (0..9)
        .map(|number| name(&format!("w{number}.test")))
        .collect();
    stage.round(&scene).await;
    // Only one of the names has the kind of address that is bad.
    scene.publication.records[4].addresses = vec![hafleet_model::spec::NodeAddress::Private];
    for (id, node) in &mut scene.nodes {
        let private = hafleet_model::spec::NodeAddress::Private;
        let bad = if id.as_str() == "n2" { BAD } else { "10.0.0.1" };
        node.addresses.insert(private, bad.parse().unwrap());
        let public = hafleet_model::spec::NodeAddress::Public;
        node.addresses.insert(public, "192.0.2.77".parse().unwrap());
    }
    stage.access.calls();
    let round = stage.round(&scene).await;
    for number in 0..9 {
        let expected = match number {
            4 => vec!["192.0.2.1", "192.0.2.2", "192.0.2.3"],
            _ => vec!["192.0.2.77"],
        };
        assert_eq!(stage.zone.values(&format!("w{number}.test")), expected);
    }
    assert!(of(&round, "w4.test").held_back[0].contains("w4.test A is not a value"));
    let calls = stage.access.calls();
    assert!(calls.len() <= 12, "{calls:?}");
    // It is left alone from now on, but its ownership is renewed with the others'.
    stage.run(&scene, Duration::from_secs(100)).await;
    let mut calls = stage.access.calls();
    calls.retain(|call| *call != "status");
    assert!(calls.len() <= 4, "{calls:?}");
    assert_eq!(stage.zone.owner("w4.test").unwrap().sequence, 3);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_provider_is_left_alone_and_what_gathers_goes_in_one() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.access.set(Faults {
        throttled: 100,
        ..Faults::default()
    });
    let round = stage.round(&scene).await;
    assert!(held_back(&round).contains("asked later"));
    assert!(round.next > Duration::ZERO && round.next <= Duration::from_secs(1));
    stage.round(&without(scene.clone(), "n1")).await;
    stage.round(&without(scene.clone(), "n2")).await;
    assert_eq!(stage.access.calls(), ["records"]);
    stage.access.set(Faults::default());
    advance(round.next).await;
    stage.round(&without(scene, "n2")).await;
    assert_eq!(stage.access.calls(), ["records", "change"]);
    assert_eq!(stage.zone.values("www.test"), ["192.0.2.1", "192.0.2.3"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_replaced_writes_nothing_and_learns_the_term() {
    let zone = Arc::new(Zone::default());
    let (mut old, mut new) = (Stage::at(&zone, 1), Stage::at(&zone, 2));
    old.round(&scene("a", 1)).await;
    new.round(&without(scene("b", 2), "n1")).await;
    let round = old.round(&without(scene("a", 1), "n2")).await;
    assert_eq!(old.access.calls()[2..], ["change", "records"]);
    let rival = round.rival.clone().unwrap();
    assert_eq!((rival.term, rival.leader), (Term(2), id("b")));
    assert!(held_back(&round).contains("b publishes in term 2"));
    assert_eq!(zone.values("www.test"), ["192.0.2.2", "192.0.2.3"]);
    let round = old.round(&scene("c", 2)).await;
    assert!(held_back(&round).contains("same term"));
    assert_eq!(round.rival.unwrap().term, Term(2));
    assert_eq!(zone.wrongs(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_is_superseded_at_one_name_does_not_bring_back_another() {
    let zone = Arc::new(Zone::default());
    let (mut old, mut new) = (Stage::at(&zone, 1), Stage::at(&zone, 2));
    old.round(&scene("a", 1)).await;
    let mut less = scene("b", 2);
    less.publication.records.pop();
    new.round(&less).await;
    assert_eq!(zone.values("each.test"), [""; 0]);
    for _ in 0..3 {
        let round = old.round(&without(scene("a", 1), "n2")).await;
        assert_eq!(round.rival.unwrap().term, Term(2));
        advance(Duration::from_secs(60)).await;
    }
    assert_eq!(zone.values("each.test"), [""; 0]);
    assert_eq!(zone.values("www.test").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_a_name_is_taken_only_when_nobody_writes_it() {
    let zone = Arc::new(Zone::default());
    let (mut old, mut new) = (Stage::at(&zone, 1), Stage::at(&zone, 2));
    let mut minority = scene("b", 2);
    minority.claimant.has_majority = false;
    old.round(&scene("a", 1)).await;
    // While the other one lives, it renews, and the wait begins again.
    for _ in 0..12 {
        old.round(&scene("a", 1)).await;
        let round = new.round(&minority).await;
        assert!(held_back(&round).contains("no majority"));
        advance(Duration::from_secs(20)).await;
    }
    let gone = Instant::now();
    while zone.owner("www.test").unwrap().term == Term(1) {
        let round = new.round(&minority).await;
        advance(round.next).await;
    }
    let waited = gone.elapsed().as_secs();
    assert!((40..=80).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn names_that_the_spec_has_no_more_are_given_up() {
    let mut stage = Stage::new();
    let mut scene = scene("a", 1);
    stage.round(&scene).await;
    scene.publication.records.remove(0);
    let plan = stage.publisher.plan(&scene).await.unwrap();
    assert_eq!(plan.iter().map(|name| name.changes.len()).sum::<usize>(), 2);
    assert_eq!(
        stage.zone.values("www.test").len(),
        3,
        "a plan writes nothing"
    );
    stage.round(&scene).await;
    assert_eq!(stage.zone.values("www.test"), [""; 0]);
    assert_eq!(stage.zone.values("_hafleet.shop.test"), [""; 0]);
    assert_eq!(stage.zone.values("each.test").len(), 3);
    let round = stage.round(&scene).await;
    assert_eq!(round.names.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_ways_to_name_a_zone_are_one_zone() {
    let mut stage = Stage::new();
    let mut scene = scene("a", 1);
    scene.publication.records = vec![
        name("a.test"),
        PublishedName {
            zone: "Z1".into(),
            ..name("b.test")
        },
    ];
    stage.run(&scene, Duration::from_secs(200)).await;
    assert_eq!(stage.zone.values("a.test").len(), 3);
    assert_eq!(stage.zone.values("b.test").len(), 3);
    assert!(stage.access.calls().len() < 16);
}

#[tokio::test(start_paused = true)]
async fn records_that_somebody_changed_are_put_right_within_a_minute_or_shown() {
    for (drift, is_repaired) in [(Drift::Repair, true), (Drift::Report, false)] {
        let mut stage = Stage::new();
        let mut scene = scene("a", 1);
        scene.publication.drift = drift;
        stage.round(&scene).await;
        let edited = RecordSet::simple("www.test", RecordType::A, 30, ["198.51.100.1".to_owned()]);
        stage.zone.put(edited);
        let round = stage.run(&scene, Duration::from_secs(60)).await;
        let is_right = stage.zone.values("www.test").len() == 3;
        assert_eq!(is_right, is_repaired);
        assert_eq!(held_back(&round).contains("somebody else"), !is_repaired);
        // A node that dies is more than drift.
        stage.round(&without(scene.clone(), "n1")).await;
        assert_eq!(stage.zone.values("www.test"), ["192.0.2.2", "192.0.2.3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_others_are_adopted_only_when_somebody_says_so() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    let theirs = RecordSet::simple("www.test", RecordType::A, 30, ["198.51.100.1".to_owned()]);
    stage.zone.put(theirs);
    let round = stage.round(&scene).await;
    assert!(held_back(&round).contains("hafleet dns adopt www.test"));
    assert_eq!(stage.zone.values("www.test"), ["198.51.100.1"]);
    stage.publisher.adopt(&scene, "WWW.test.").await.unwrap();
    stage.round(&scene).await;
    assert_eq!(stage.zone.values("www.test").len(), 3);
    let missing = stage.publisher.adopt(&scene, "x.test").await.unwrap_err();
    assert!(matches!(missing, OperateError::NoSuchName { .. }));

    // Another fleet has it: neither by itself nor by adoption.
    let mut other = Stage::at(&stage.zone, 2);
    let mut their_scene = scene.clone();
    their_scene.claimant.fleet = hafleet_model::FleetName::new("other").unwrap();
    let round = other.round(&their_scene).await;
    assert!(held_back(&round).contains("belongs to the fleet shop"));
    let error = other.publisher.adopt(&their_scene, "www.test").await;
    assert!(matches!(error, Err(OperateError::NotOurs { .. })));
    let text = RecordSet::simple("_hafleet.b.test", RecordType::Txt, 5, ["\"x\"".to_owned()]);
    stage.zone.put(text);
    their_scene.publication.records = vec![name("b.test")];
    let error = other.publisher.adopt(&their_scene, "b.test").await;
    assert!(matches!(
        error,
        Err(OperateError::Refused(Refusal::Unreadable { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_gone_and_stays_gone() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.round(&scene).await;
    let released = stage.publisher.release(&scene, &[]).await.unwrap();
    assert_eq!(released, ["each.test", "shop.test", "www.test"]);
    stage.run(&scene, Duration::from_secs(120)).await;
    assert!(stage.zone.records().is_empty());
    stage.publisher.adopt(&scene, "www.test").await.unwrap();
    stage.round(&scene).await;
    assert_eq!(stage.zone.values("www.test").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_empties_a_name() {
    let mut stage = Stage::new();
    let mut scene = scene("a", 1);
    stage.round(&scene).await;
    scene.nodes = nodes(&[false, false, false]);
    let round = stage.round(&scene).await;
    assert!(held_back(&round).contains("min_published is 1"));
    scene.nodes.clear();
    let round = stage.round(&scene).await;
    assert!(held_back(&round).contains("what is published stays"));
    assert_eq!(stage.zone.values("www.test").len(), 3);
    assert_eq!(stage.zone.wrongs(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_in_the_middle_is_read_by_the_next() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.round(&scene).await;
    stage.access.set(Faults {
        stalls: 100,
        ..Faults::default()
    });
    let impatient = Duration::from_millis(1);
    let dead = without(scene, "n1");
    let round = tokio::time::timeout(impatient, stage.round(&dead)).await;
    assert!(round.is_err());
    stage.access.set(Faults::default());
    stage.access.calls();
    stage.round(&dead).await;
    assert_eq!(stage.access.calls(), ["records", "change"]);
}

#[tokio::test(start_paused = true)]
async fn many_names_of_many_nodes_are_one_read_and_as_few_writes_as_limits_allow() {
    let mut stage = Stage::new();
    let mut scene = scene("a", 1);
    scene.nodes = nodes(&[true; 50]);
    scene.publication = Publication {
        records: (0..20)
            .map(|number| name(&format!("w{number}.test")))
            .collect(),
        ..publication()
    };
    stage.round(&scene).await;
    // 20 names with 50 addresses each, and their ownership, are more than the 1,000 records of one batch.
    assert_eq!(stage.access.calls(), ["records", "change", "change"]);
    let begun = std::time::Instant::now();
    stage.publisher.plan(&scene).await.unwrap();
    println!("a plan of 20 names and 50 nodes: {:?}", begun.elapsed());
    assert_eq!(stage.access.calls(), ["records"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_beside_strangers_keeps_its_lease() {
    let mut stage = Stage::new();
    let scene = scene("a", 1);
    stage.round(&scene).await;
    let set = RecordSet::simple("each.test", RecordType::A, 30, ["198.51.100.1".to_owned()]);
    stage.zone.put(RecordSet {
        key: set.key.with_identifier("theirs"),
        policy: hafleet_dns::record::Policy::Multivalue,
        ..set
    });
    let round = stage.run(&scene, Duration::from_secs(300)).await;
    assert!(held_back(&round).contains("not hafleet's (each.test A theirs)"));
    assert!(stage.zone.owner("each.test").unwrap().sequence > 6);
    assert!(
        stage
            .zone
            .values("each.test")
            .contains(&"198.51.100.1".to_owned())
    );
    assert!(stage.access.calls().len() < 40);
}

#[tokio::test(start_paused = true)]
async fn health_checks_never_hold_records_up() {
    let zone = Arc::new(Zone::default());
    let (mut old, mut new) = (Stage::at(&zone, 1), Stage::at(&zone, 2));
    let with_checks = |mut scene: Scene| {
        scene.publication.records.remove(0);
        scene.publication.records[0].health_check = Some(DnsHealthCheck {
            port: 80,
            path: None,
            interval: TimeSpan::from_secs(10),
            fall: 3,
        });
        scene
    };
    let checks = || {
        let sets = zone.records().into_iter();
        sets.filter_map(|set| set.health_check).collect::<Vec<_>>()
    };
    old.round(&with_checks(scene("a", 1))).await;
    let made = ["records", "keep_checks", "change", "drop_checks"];
    assert_eq!(old.access.calls(), made);
    assert_eq!(checks().len(), 3);

    // A node that goes needs none; its own is removed after its record.
    let gone = with_checks(without(scene("a", 1), "n1"));
    old.round(&gone).await;
    assert_eq!(old.access.calls(), ["change", "drop_checks"]);
    assert_eq!(checks(), ["id of each.test n2", "id of each.test n3"]);

    // A leader that may not see them leaves those that there are.
    new.access.set(Faults {
        are_checks_refused: true,
        ..Faults::default()
    });
    let round = new.round(&with_checks(without(scene("b", 2), "n2"))).await;
    assert!(held_back(&round).contains("health checks are not as wanted"));
    assert_eq!(zone.values("each.test"), ["192.0.2.1", "192.0.2.3"]);
    assert_eq!(checks(), ["id of each.test n3"]);
    assert!(round.troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_spec_has_no_health_checks_removes_those_of_the_one_before_it() {
    let zone = Arc::new(Zone::default());
    let (mut old, mut new) = (Stage::at(&zone, 1), Stage::at(&zone, 2));
    let mut checked = scene("a", 1);
    checked.publication.records[1].health_check = Some(DnsHealthCheck {
        port: 80,
        path: None,
        interval: TimeSpan::from_secs(10),
        fall: 3,
    });
    old.round(&checked).await;
    new.round(&scene("b", 2)).await;
    let calls = new.access.calls();
    assert_eq!(calls, ["records", "keep_checks", "change", "drop_checks"]);
    assert!(zone.records().iter().all(|set| set.health_check.is_none()));
    new.round(&scene("b", 2)).await;
    assert_eq!(new.access.calls(), [""; 0]);
}
