//! Whatever befalls the leader, its network or Route53: DNS has the nodes in service, and no write of a superseded leader is
//! ever applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_tests::aws::Passage;
use hafleet_tests::published::{LEASE, NAME, Published, Service, ZONE};
use hafleet_tests::{can_make_namespaces, lasting, wait_for, while_it_lasts};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_leader_dies_after_its_write_was_applied_and_before_it_knows() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::AnswersHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    published.lose(leader);
    let mut left = others.clone();
    left.retain(|number| *number != follower);
    published.wait_published(&left);
    published.wait_holder(&others, term);
    published.set(leader, Passage::Open);

    fleet.restart(leader);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn the_last_write_of_a_leader_that_died_comes_late_and_is_refused() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::BatchesHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    fleet.kill_agent(leader);
    published.wait_holder(&others, term);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());

    // Its HAProxy serves on, so that all three are in service.
    published.set(leader, Passage::Open);
    published.wait_refused(leader);
    fleet.restart(leader);
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_leader_that_stood_still_in_a_write_wakes_and_does_no_harm() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::BatchesHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    let stopped = Instant::now();
    fleet.stop(leader);
    published.wait_holder(&others, term);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());
    while_it_lasts(stopped, lasting(Duration::ZERO, MINUTE), || {});

    // Its write comes when it wakes, and what it does then follows.
    published.set(leader, Passage::Open);
    fleet.go_on(leader);
    published.wait_refused(leader);
    fleet.wait_formed();
    published.drain("drain", follower, &others);
    let mut left = fleet.numbers();
    left.retain(|number| *number != follower);
    published.wait_published(&left);
    published.witness().assert_fenced();
}

#[test]
fn of_two_sides_that_reach_route53_the_majority_publishes() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, _) = published.holder();
    let others = published.others(leader);

    fleet.cut(leader);
    published.wait_holder(&others, term);
    published.wait_published(&others);
    published.wait_held_back(leader, "in term");

    fleet.heal(leader);
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_minority_that_alone_reaches_route53_publishes_itself_until_the_others_are_back() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();

    for other in published.others(leader) {
        published.set(other, Passage::Closed);
    }
    fleet.cut(leader);
    published.wait_published(&[leader]);

    fleet.heal(leader);
    for other in published.others(leader) {
        published.set(other, Passage::Open);
    }
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_follower_that_alone_reaches_route53_publishes_itself_only_when_the_lease_is_over() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let follower = fleet.follower();
    let (term, _) = published.holder();
    let written = Instant::now();

    for other in published.others(follower) {
        published.set(other, Passage::Closed);
    }
    fleet.cut(follower);
    published.wait_published(&[follower]);
    published.wait_holder(&[follower], term);
    let lasted = written.elapsed();
    assert!(lasted >= LEASE, "it took the name after {lasted:?}");

    fleet.heal(follower);
    for other in published.others(follower) {
        published.set(other, Passage::Open);
    }
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn what_changed_while_route53_was_away_is_published_by_who_leads_then() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.witness().set_all(Passage::Closed);
    published.lose(leader);
    let next = fleet.leader_among(&others);
    published.wait_held_back(next, "does not answer");
    assert_eq!(published.holder().0, term, "nothing could be written");

    published.witness().set_all(Passage::Open);
    published.wait_holder(&others, term);
    published.wait_published(&others);
    fleet.restart(leader);
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn however_long_route53_is_away_names_stay_and_follow_when_it_is_back() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (follower, begun) = (fleet.follower(), Instant::now());
    published.witness().set_all(Passage::Closed);
    published.drain("drain", follower, &fleet.numbers());
    let before = published.service.dns.sets(&published.service.zone);
    while_it_lasts(begun, lasting(Duration::from_secs(3), MINUTE * 10), || {
        let now = published.service.dns.sets(&published.service.zone);
        assert_eq!(now, before, "nobody can have written");
    });

    // Who leads by now looks again within the longest pause.
    published.witness().set_all(Passage::Open);
    published.wait_published(&published.others(follower));
    published.drain("undrain", follower, &fleet.numbers());
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn at_one_request_a_second_many_names_follow_all_the_same() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::prepare("shop", 3, Service::start());
    let fleet = &published.fleet;
    let names: Vec<_> = (1..=6).map(|number| format!("w{number}.{ZONE}")).collect();
    let records = names
        .iter()
        .map(|name| format!("{{zone: {ZONE}, name: {name}, ttl: 5s, routing: multivalue}}"));
    let records: Vec<_> = records.collect();
    published.witness().set_rate(1);
    published.apply(&format!("[{}]", records.join(", ")));
    for name in &names {
        published.wait_published_at(name, &fleet.numbers());
    }

    let follower = fleet.follower();
    published.drain("drain", follower, &fleet.numbers());
    for name in &names {
        published.wait_published_at(name, &published.others(follower));
    }
    let batches = published.witness().batches().len();
    assert!(batches <= 12, "{batches} batches for 6 names");
    assert!(published.witness().throttled() > 0, "it was never too fast");
    published.witness().assert_fenced();
}

#[test]
fn of_two_fleets_that_claim_one_name_the_first_has_it() {
    if !can_make_namespaces() {
        return;
    }
    let service = Service::start();
    let shop = Published::prepare("shop", 3, Arc::clone(&service));
    let mall = Published::prepare("mall", 1, service);
    let records = format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s}}]");
    shop.apply(&records);
    shop.wait_published(&[1, 2, 3]);
    mall.apply(&records);
    mall.wait_held_back(1, "belongs to the fleet shop");

    // It is not the other one's either when its own leader is gone and the next one has to take it.
    let (leader, follower) = (shop.fleet.leader(), shop.fleet.follower());
    shop.fleet.kill_agent(leader);
    shop.drain("drain", follower, &shop.others(leader));
    shop.wait_published(&shop.others(follower));
    mall.wait_held_back(1, "belongs to the fleet shop");
    let batches = shop.witness().batches();
    let values = batches
        .iter()
        .flat_map(|batch| &batch.changes)
        .filter(|change| change.kind == "TXT")
        .flat_map(|change| &change.values);
    for value in values {
        assert!(value.contains(",fleet=shop,"), "{value}: {batches:#?}");
    }
    shop.witness().assert_fenced();
}

#[test]
fn of_two_fleets_of_several_nodes_neither_writes_the_others_name_whoever_leads() {
    if !can_make_namespaces() {
        return;
    }
    let service = Service::start();
    let shop = Published::prepare("shop", 2, Arc::clone(&service));
    let mall = Published::prepare("mall", 3, service);
    let records = format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s}}]");
    // Both begin at once; which of them is first, the server says.
    std::thread::scope(|scope| {
        scope.spawn(|| shop.apply(&records));
        scope.spawn(|| mall.apply(&records));
    });
    let (first, second) = wait_for("one of the fleets has the name", LEASE, || {
        let owner = shop.service.dns.ownership(&shop.service.zone, NAME);
        match owner.get("fleet").map(String::as_str) {
            Some("shop") => Ok((&shop, &mall)),
            Some("mall") => Ok((&mall, &shop)),
            _ => Err(format!("{owner:?}")),
        }
    });
    first.wait_published(&first.fleet.numbers());
    let words = "belongs to the fleet";
    second.wait_held_back(second.fleet.leader(), words);

    // The next leader of the other fleet has a higher term than the owner, and is told the same.
    let leader = second.fleet.leader();
    second.fleet.kill_agent(leader);
    let next = second.fleet.leader_among(&second.others(leader));
    second.wait_held_back(next, words);
    first.wait_published(&first.fleet.numbers());
    first.witness().assert_fenced();
}

#[test]
fn when_two_of_three_die_at_once_the_last_set_stays() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start(", min_published: 2");
    let fleet = &published.fleet;
    let (leader, survivor) = (fleet.leader(), fleet.follower());
    for lost in published.others(survivor) {
        published.lose(lost);
    }
    published.wait_held_back(survivor, "min_published");
    published.wait_published(&fleet.numbers());

    fleet.restart(leader);
    let mut both = vec![leader, survivor];
    both.sort_unstable();
    published.wait_published(&both);
    published.witness().assert_fenced();
}
