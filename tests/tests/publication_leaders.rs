//! Who keeps the names in DNS: a leader that can, in the highest term that anybody knows.

use std::time::Duration;

use hafleet_tests::aws::Passage;
use hafleet_tests::published::{NAME, Published, Service, ZONE};
use hafleet_tests::{can_make_namespaces, lasting};

const MINUTE: Duration = Duration::from_secs(60);

/// The record that the tests publish.
fn records() -> String {
    format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s}}]")
}

#[test]
fn a_leader_without_credentials_yields_to_one_that_has_them_and_leads_when_nobody_else_is_left() {
    if !can_make_namespaces() {
        return;
    }
    // The first of a new fleet leads.
    let published = Published::prepare_with("shop", 3, Service::start(), |number, settings| {
        if number == 1 {
            settings.environment.remove("AWS_ACCESS_KEY_ID");
            settings.environment.remove("AWS_SECRET_ACCESS_KEY");
        }
    });
    let fleet = &published.fleet;
    assert_eq!(fleet.leader(), 1);
    published.apply(&records());
    published.wait_published(&[1, 2, 3]);
    let next = fleet.leader();
    assert_ne!(next, 1);
    published.wait_holder(&[next], 0);
    published.wait_unfit(1, "refuses");
    let table = fleet.client().run(&["nodes"]).expect_code(0);
    assert!(
        table.stdout.contains("leads only where no other can"),
        "{table}"
    );

    // It is fit again as soon as the fleet has no better one.
    fleet.kill_agent(2);
    fleet.kill_agent(3);
    assert_eq!(fleet.leader_among(&[1]), 1);
    published.wait_held_back(1, "refuses");
    published.witness().assert_fenced();
}

#[test]
fn a_term_that_only_dns_knows_is_learned_from_it() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (dns, zone) = (&published.service.dns, &published.service.zone);

    // A leader that nobody here remembers wrote last: the fleet's stores were lost.
    let (term, holder) = published.holder();
    dns.rewrite_ownership(zone, NAME, |before| {
        let before = before.replace(&format!("term={term},"), &format!("term={},", term + 40));
        before.replace(&format!("leader={holder},"), "leader=n9,")
    });
    published.drain("drain", follower, &[leader]);
    published.wait_holder(&fleet.numbers(), term + 40);
    published.wait_published(&published.others(follower));

    // One that nobody here knows leads in the same term: one of the two has to claim a higher one.
    let (term, holder) = published.holder();
    dns.rewrite_ownership(zone, NAME, |before| {
        before.replace(&format!("leader={holder},"), "leader=n9,")
    });
    published.drain("undrain", follower, &fleet.numbers());
    published.wait_holder(&fleet.numbers(), term);
    published.wait_published(&fleet.numbers());
    assert!(published.fleet.status_of(leader).is_ok_and(|status| {
        let leadership = status.leadership.unwrap_or_default();
        leadership.term > term
    }));

    // A fleet of the same name under another authority is another fleet.
    dns.rewrite_ownership(zone, NAME, |before| {
        let (rest, _) = before.split_once(",authority=").unwrap_or_default();
        format!("{rest},authority=0123456789abcdef\"")
    });
    published.drain("drain", follower, &fleet.numbers());
    published.wait_held_back(leader, "which is another one");
    published.wait_published(&fleet.numbers());
}

#[test]
fn a_leader_that_alone_does_not_reach_route53_yields_in_the_end() {
    // It is given half a minute, which nothing scales; the rule itself is tested with the agent.
    if !can_make_namespaces() || lasting(Duration::ZERO, MINUTE).is_zero() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, _) = published.holder();
    let others = published.others(leader);
    published.set(leader, Passage::Closed);
    published.drain("drain", others[0], &others);
    published.wait_holder(&others, term);
    published.wait_unfit(leader, "does not answer");
    let mut left = fleet.numbers();
    left.retain(|number| *number != others[0]);
    published.wait_published(&left);
    published.witness().assert_fenced();
}
