use hafleet_model::{NodeId, Term};
use proptest::prelude::*;

use super::*;

fn fleet() -> FleetName {
    FleetName::new("shop").unwrap()
}

fn ownership(sequence: u64) -> Ownership {
    Ownership {
        fleet: fleet(),
        term: Term(2),
        leader: NodeId::new("a").unwrap(),
        sequence,
        nonce: sequence,
        authority: None,
    }
}

fn a(value: &str) -> RecordSet {
    RecordSet::simple("www.test", RecordType::A, 30, [value.to_owned()])
}

fn of(identifier: &str) -> RecordSet {
    let set = a("192.0.2.9");
    RecordSet {
        key: set.key.with_identifier(identifier),
        policy: Policy::Multivalue,
        data: set.data,
        health_check: None,
    }
}

fn zone(sets: &[RecordSet]) -> Present {
    present("WWW.test.", sets)
}

#[test]
fn a_name_without_records_is_taken_with_its_ownership() {
    let present = zone(&[]);
    let changes = difference("www.test", &present, &[a("192.0.2.1")], &fleet()).unwrap();
    let fenced = fenced("www.test", &present, changes, &ownership(1));
    assert_eq!(
        fenced.changes,
        [
            Change::Create(ownership(1).record("www.test")),
            Change::Create(a("192.0.2.1")),
        ]
    );
}

#[test]
fn a_write_replaces_the_ownership_exactly_as_it_was_read() {
    let present = zone(&[ownership(1).record("www.test"), a("192.0.2.1")]);
    let changes = difference("www.test", &present, &[a("192.0.2.2")], &fleet()).unwrap();
    let fenced = fenced("www.test", &present, changes, &ownership(2));
    assert_eq!(
        fenced.changes,
        [
            Change::Delete(ownership(1).record("www.test")),
            Change::Create(ownership(2).record("www.test")),
            Change::Upsert(a("192.0.2.2")),
        ]
    );
}

#[test]
fn what_is_as_wanted_needs_no_change() {
    let present = zone(&[ownership(1).record("www.test"), a("192.0.2.1")]);
    assert_eq!(
        difference("www.test", &present, &[a("192.0.2.1")], &fleet()),
        Ok(Vec::new())
    );
}

#[test]
fn records_of_others_are_never_touched() {
    let txt = RecordSet::simple(
        "_hafleet.www.test",
        RecordType::Txt,
        60,
        ["\"x\"".to_owned()],
    );
    let other = RecordSet {
        policy: Policy::Other,
        ..a("192.0.2.1")
    };
    let ours = ownership(1).record("www.test");
    for (sets, expected) in [
        (vec![a("192.0.2.1")], "adopt www.test"),
        (vec![txt], "does not understand"),
        (vec![ours.clone(), of("theirs")], "www.test A theirs"),
        (vec![ours.clone(), of("hafleet-shop2-a")], "hafleet-shop2-a"),
        (vec![ours, other], "not touched"),
    ] {
        let refusal =
            difference("www.test", &zone(&sets), &[a("192.0.2.2")], &fleet()).unwrap_err();
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
}

#[test]
fn another_kind_of_routing_deletes_before_it_creates() {
    let present = zone(&[ownership(1).record("www.test"), a("192.0.2.1")]);
    let wanted = of("hafleet-shop-a");
    let changes = difference(
        "www.test",
        &present,
        std::slice::from_ref(&wanted),
        &fleet(),
    )
    .unwrap();
    assert_eq!(
        changes,
        [Change::Delete(a("192.0.2.1")), Change::Create(wanted)]
    );
}

#[test]
fn a_released_name_leaves_nothing() {
    let sets = [ownership(1).record("www.test"), a("192.0.2.1")];
    let released = released("www.test", &zone(&sets), &fleet()).unwrap();
    assert_eq!(released.changes, sets.map(Change::Delete));
    assert_eq!(
        owned(
            |found| found.fleet == fleet(),
            &[ownership(1).record("*.test"), ownership(1).record("b.test")]
        )
        .into_iter()
        .collect::<Vec<_>>(),
        ["*.test", "b.test"]
    );
}

fn of_size(index: usize, records: usize) -> NameChanges {
    let values = (0..records).map(|value| format!("192.0.2.{value}"));
    NameChanges {
        name: format!("n{index}.test"),
        changes: vec![Change::Upsert(RecordSet::simple(
            "n.test",
            RecordType::A,
            30,
            values,
        ))],
    }
}

proptest! {
    /// Every name is in one batch or refused, and no batch is above the limits.
    #[test]
    fn batches_keep_to_the_limits(sizes in prop::collection::vec(1usize..40, 0..40)) {
        let names: Vec<_> = sizes.iter().enumerate().map(|(index, size)| of_size(index, *size)).collect();
        let count = names.len();
        let (batches, refused) = batches(names, 50, 700);
        prop_assert_eq!(batches.iter().map(Vec::len).sum::<usize>() + refused.len(), count);
        for batch in batches {
            let all: Vec<_> = batch.into_iter().flat_map(|name| name.changes).collect();
            let (changes, characters) = cost(&all);
            prop_assert!(changes <= 50 && characters <= 700);
        }
    }
}
