//! Faults: leaders that die or stall, nodes that are cut off, and fleets that start from nothing but their disks.

use hafleet_api::v1;
use hafleet_tests::fleet::{PATIENCE, written};
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

/// Applies `spec` through the nodes `numbers` as soon as they take it.
fn apply_when_possible(fleet: &Fleet, numbers: &[usize], spec: &str) -> String {
    wait_for("a write is taken", PATIENCE, || {
        let finished = fleet.client_as("ada", numbers).apply(spec, &[]);
        if finished.code == Some(0) {
            Ok(written(&finished))
        } else {
            Err(finished)
        }
    })
}

fn history(fleet: &Fleet, number: usize) -> v1::ListSpecHistoryResponse {
    fleet
        .client_of(number)
        .run(&["spec", "history", "--output", "json"])
        .expect_code(0)
        .json()
}

#[test]
fn the_leader_dies_and_writes_go_on() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let dead = fleet.leader();
    let rest: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != dead)
        .collect();
    fleet.kill_agent(dead);

    let second = apply_when_possible(&fleet, &rest, &fleet.spec("second"));
    fleet.wait_applied(&rest, &second);
    fleet.wait_served_by(&rest, "second");
    fleet.assert_serves(dead, "first");
    let heir = fleet.leader();
    assert_eq!(
        history(&fleet, heir).revisions[0].parent,
        first,
        "no acknowledged write was lost"
    );

    fleet.restart(dead);
    fleet.wait_formed();
    fleet.wait_converged(&second);
    fleet.wait_served("second");
    assert_eq!(fleet.leader(), heir, "who comes back does not take over");
}

#[test]
fn a_node_that_was_cut_off_catches_up() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let (leader, away) = (fleet.leader(), fleet.follower());
    let rest: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != away)
        .collect();
    fleet.cut(away);
    apply_when_possible(&fleet, &[leader], &fleet.spec("second"));
    let third = apply_when_possible(&fleet, &[leader], &fleet.spec("third"));
    fleet.wait_applied(&rest, &third);
    fleet.assert_serves(away, "first");

    fleet.heal(away);
    fleet.wait_converged(&third);
    fleet.wait_served("third");
    fleet.wait_formed();
    assert_eq!(
        history(&fleet, away).revisions.len(),
        3,
        "it has the whole line"
    );
}

#[test]
fn a_minority_refuses_writes_unless_forced() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let alone = fleet.follower();
    let rest: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != alone)
        .collect();
    fleet.cut(alone);
    let client = fleet.client_of(alone);
    let refused = wait_for("a minority knows that it is one", PATIENCE, || {
        let finished = client.apply(&fleet.spec("refused"), &[]);
        if finished.code == Some(3) {
            Ok(finished)
        } else {
            Err(finished)
        }
    });
    refused.expect_complaint(&["majority", "--force-without-majority"]);
    assert_eq!(
        history(&fleet, alone).revisions.len(),
        1,
        "the refused write is nowhere"
    );
    fleet.assert_serves(alone, "first");

    let majority = apply_when_possible(&fleet, &rest, &fleet.spec("majority"));
    let forced = client
        .apply(&fleet.spec("forced"), &["--force-without-majority"])
        .expect_code(0);
    let response: v1::WriteSpecResponse = forced.json();
    assert!(!response.committed, "{forced}");
    let forced = response
        .revision
        .map(|info| info.revision)
        .unwrap_or_default();
    fleet.wait_served_by(&[alone], "forced");
    fleet.wait_served_by(&rest, "majority");
    // That it is there already does not make it held by a majority.
    client
        .apply(&fleet.spec("forced"), &[])
        .expect_code(3)
        .expect_complaint(&["stored by 1 of 3"]);

    fleet.heal(alone);
    fleet.wait_formed();
    wait_for("all nodes serve one spec", PATIENCE, || {
        let markers = fleet.numbers().into_iter().map(|number| {
            fleet
                .ask(number)
                .ok()
                .and_then(|answer| answer.header("x-marker").map(str::to_owned))
        });
        let markers: Vec<_> = markers.collect();
        let agreed = markers[0].is_some() && markers.windows(2).all(|pair| pair[0] == pair[1]);
        if agreed {
            Ok(())
        } else {
            Err(format!("{markers:?}"))
        }
    });
    // Every node has the write that lost, whoever took it.
    for number in fleet.numbers() {
        wait_for("no write is lost", PATIENCE, || {
            let history = history(&fleet, number);
            let known = history
                .revisions
                .iter()
                .chain(&history.conflicts)
                .map(|info| &info.revision);
            let known: Vec<_> = known.collect();
            let complete = [&first, &majority, &forced]
                .iter()
                .all(|revision| known.contains(revision));
            if complete {
                Ok(())
            } else {
                Err(format!(
                    "node {number}: {history:?}, not {majority} and {forced}"
                ))
            }
        });
    }
    // And any of them can bring it back.
    let lost = &history(&fleet, alone).conflicts[0].revision;
    let client = fleet.client_of(alone);
    client.run(&["spec", "rollback", lost]).expect_code(0);
}

#[test]
fn the_last_acknowledged_spec_serves_before_the_agents_have_met() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let second = fleet.apply(1, &fleet.spec("second"));
    fleet.wait_converged(&second);
    for number in fleet.numbers() {
        fleet.kill_agent(number);
        fleet.node(number).haproxy().kill();
        assert!(fleet.ask(number).is_err());
    }

    fleet.cut_all();
    fleet
        .numbers()
        .into_iter()
        .for_each(|number| fleet.node(number).start_agent());
    fleet.wait_served("second");
    for number in fleet.numbers() {
        let apply = fleet.wait_apply(number, |apply| !apply.running_revision.is_empty());
        assert_eq!(apply.running_revision, second);
    }

    fleet.heal_all();
    fleet.wait_formed();
    let third = apply_when_possible(&fleet, &[1], &fleet.spec("third"));
    fleet.wait_converged(&third);
    fleet.wait_served("third");
}

#[test]
fn a_node_whose_disk_was_replaced_gets_everything_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let (leader, victim) = (fleet.leader(), fleet.follower());
    let second = fleet.apply(leader, &fleet.spec("second"));
    fleet.wait_converged(&second);
    fleet.kill_agent(victim);
    fleet.node(victim).haproxy().kill();
    let home = &fleet.node(victim).settings().home;
    std::fs::remove_dir_all(home.join("data")).expect("the node's disk");
    std::fs::remove_dir_all(home.join("run")).expect("the node's disk");

    fleet.restart(victim);
    fleet.wait_formed();
    fleet.wait_converged(&second);
    fleet.assert_serves(victim, "second");
    assert_eq!(fleet.leader(), leader);
    let third = apply_when_possible(&fleet, &[victim], &fleet.spec("third"));
    fleet.wait_converged(&third);
    assert_eq!(history(&fleet, victim).conflicts.len(), 0);
}

#[test]
fn a_leader_whose_disk_was_replaced_gets_everything_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let victim = fleet.leader();
    let second = fleet.apply(victim, &fleet.spec("second"));
    fleet.wait_converged(&second);
    fleet.kill_agent(victim);
    let home = &fleet.node(victim).settings().home;
    std::fs::remove_dir_all(home.join("data")).expect("the node's disk");

    // It is back before the others have missed it.
    fleet.restart(victim);
    fleet.wait_formed();
    fleet.wait_converged(&second);
    let third = apply_when_possible(&fleet, &[victim], &fleet.spec("third"));
    fleet.wait_converged(&third);
    fleet.wait_served("third");
    for number in fleet.numbers() {
        assert_eq!(history(&fleet, number).conflicts.len(), 0, "node {number}");
    }
}

#[test]
fn a_node_that_leaves_goes_at_once_and_its_haproxy_stays() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let (leader, leaver) = (fleet.leader(), fleet.follower());
    let process = fleet.node(leaver).haproxy();
    fleet.node(leaver).terminate_agent();
    wait_for("the others see it gone", PATIENCE, || {
        let status = fleet.status_of(leader)?;
        let node = status
            .nodes
            .iter()
            .find(|node| node.id == fleet.node(leaver).id())
            .cloned();
        let dead = v1::node_status::Liveness::Dead;
        if node.is_none_or(|node| node.liveness() == dead) {
            Ok(())
        } else {
            Err(format!("{status:#?}"))
        }
    });
    fleet.assert_serves(leaver, "first");
    assert_eq!(fleet.node(leaver).haproxy(), process);
}
