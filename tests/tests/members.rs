//! Who is in a fleet: nodes that leave, nodes that are forgotten and come back, witnesses, and agents that fall.

use std::collections::BTreeMap;
use std::time::Duration;

use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_tests::aws::{Cloud, InstanceMetadata};
use hafleet_tests::fleet::{PATIENCE, written};
use hafleet_tests::{Fleet, can_make_namespaces, wait_for, wait_until};

fn id(fleet: &Fleet, number: usize) -> String {
    fleet.node(number).id().to_owned()
}

/// Waits until node `number` sees the fleet as it should be.
#[track_caller]
fn wait_status(
    fleet: &Fleet,
    number: usize,
    what: &str,
    condition: impl Fn(&v1::FleetStatus) -> bool,
) -> v1::FleetStatus {
    wait_for(what, PATIENCE, || {
        let status = fleet.status_of(number)?;
        match condition(&status) {
            true => Ok(status),
            false => Err(format!("{status:#?}")),
        }
    })
}

fn names(status: &v1::FleetStatus) -> Vec<&str> {
    status.nodes.iter().map(|node| node.id.as_str()).collect()
}

fn reason<'a>(status: &'a v1::FleetStatus, id: &str) -> Option<&'a str> {
    let mut removed = status.removed.iter();
    removed
        .find(|removed| removed.node_id == id)
        .map(|removed| removed.reason.as_str())
}

/// The exit status of an agent that ends by itself.
fn wait_ended(fleet: &Fleet, number: usize) -> Option<i32> {
    wait_for("an agent ends by itself", PATIENCE, || {
        let ended = fleet
            .node(number)
            .with_agent(hafleet_tests::agent::Agent::ended);
        ended
            .map(|status| status.code())
            .ok_or_else(|| fleet.node(number).log_tail(20))
    })
}

#[test]
fn a_leader_leaves_counts_no_more_and_joins_anew_when_it_is_started_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let leaver = fleet.leader();
    let name = id(&fleet, leaver);
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|n| *n != leaver)
        .collect();
    let generation = wait_status(&fleet, leaver, "it answers", |_| true)
        .nodes
        .iter()
        .find(|node| node.id == name)
        .map(|node| node.generation);

    // Another node is asked, and has it leave.
    let client = fleet.client_of(others[0]);
    let words = [
        "node",
        "leave",
        &name,
        "-m",
        "new hardware",
        "--output",
        "json",
    ];
    let left = client.run(&words).expect_code(0);
    let response: v1::WriteOverrideResponse = left.json();
    assert!(response.committed, "{left}");
    assert_eq!(wait_ended(&fleet, leaver), Some(0));
    fleet.assert_serves(leaver, "first");
    let next = fleet.leader_among(&others);
    assert_ne!(next, leaver);
    let status = wait_status(&fleet, others[1], "it is gone", |status| {
        names(status).len() == 2 && status.majority == 2
    });
    assert_eq!(reason(&status, &name), Some("left"), "{status:#?}");
    let people = fleet.client_of(others[0]).run(&["status"]).expect_code(0);
    assert!(
        people.stdout.contains(&format!("gone    {name} (left ")),
        "{people}"
    );

    // One of the two that are left goes on alone after the other has left as well; the last does not leave.
    let last = others[0];
    let second = id(&fleet, others[1]);
    fleet
        .client()
        .run(&["node", "leave", &second, "--now"])
        .expect_code(0);
    assert_eq!(wait_ended(&fleet, others[1]), Some(0));
    let status = wait_status(&fleet, last, "it is alone", |status| status.majority == 1);
    assert_eq!(names(&status).len(), 1);
    fleet.leader_among(&[last]);
    fleet.apply(last, &fleet.spec("alone"));
    let refused = fleet.client_of(last).run(&["node", "leave"]);
    refused
        .expect_code(3)
        .expect_complaint(&["no other live node"]);

    // Started again, they join anew: in another run, and counted.
    for number in &others[1..] {
        fleet.restart(*number);
    }
    fleet.restart(leaver);
    for number in fleet.numbers() {
        wait_status(&fleet, number, "all are in the fleet again", |status| {
            let all = status
                .nodes
                .iter()
                .all(|node| !node.removed && node.liveness() == Liveness::Live);
            all && names(status).len() == 3 && status.majority == 2 && status.removed.is_empty()
        });
    }
    let status = wait_status(&fleet, last, "it answers", |_| true);
    let again = status.nodes.iter().find(|node| node.id == name);
    assert!(
        again.map(|node| node.generation) > generation,
        "{status:#?}"
    );
    fleet.wait_served("alone");
}

#[test]
fn a_dead_node_is_forgotten_and_is_taken_in_again_when_it_comes_back() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let dead = fleet.follower();
    let name = id(&fleet, dead);
    let others: Vec<_> = fleet.numbers().into_iter().filter(|n| *n != dead).collect();
    let client = fleet.client_of(others[0]);

    let live = client.run(&["node", "forget", &name]).expect_code(3);
    live.expect_complaint(&["is live", "hafleet node leave"]);
    let unknown = client.run(&["node", "forget", "n9"]).expect_code(2);
    unknown.expect_complaint(&["there is no node n9"]);

    fleet.kill_agent(dead);
    for number in &others {
        wait_status(&fleet, *number, "its death is seen", |status| {
            let node = status.nodes.iter().find(|node| node.id == name);
            node.is_some_and(|node| node.liveness() == Liveness::Dead)
        });
    }
    let forgotten = client.run(&["node", "forget", &name, "-m", "its disk died"]);
    assert!(
        forgotten
            .clone()
            .expect_code(0)
            .stdout
            .contains("is forgotten"),
        "{forgotten}"
    );
    let again = client.run(&["node", "forget", &name]).expect_code(0);
    assert!(again.stdout.contains("already"), "{again}");
    for number in &others {
        let status = wait_status(&fleet, *number, "it counts no more", |status| {
            names(status).len() == 2
        });
        let removed = &status.removed[0];
        assert_eq!(
            (removed.reason.as_str(), removed.node_id.as_str()),
            ("forgotten", &*name)
        );
        let provenance = removed.provenance.clone().unwrap_or_default();
        assert_eq!(provenance.comment, "its disk died");
    }

    // Meanwhile the fleet went on, which it sees when it comes back; its old run stays dead.
    let revision = fleet.apply(others[0], &fleet.spec("second"));
    fleet.node(dead).start_agent();
    fleet.wait_converged(&revision);
    let status = wait_status(&fleet, others[1], "it is taken in", |status| {
        names(status).len() == 3 && status.removed.is_empty()
    });
    assert!(status.nodes.iter().all(|node| !node.removed), "{status:#?}");
}

#[test]
fn two_halves_that_forget_each_other_by_force_become_one_fleet_again() {
    if !can_make_namespaces() {
        return;
    }
    // Without seeds nobody looks for the others but where they were.
    let fleet = Fleet::builder().nodes(2).start();
    fleet.cut_all();
    for (number, other) in [(1, 2), (2, 1)] {
        let name = id(&fleet, other);
        wait_status(&fleet, number, "the other is dead", |status| {
            let node = status.nodes.iter().find(|node| node.id == name);
            node.is_some_and(|node| node.liveness() == Liveness::Dead)
        });
        fleet.leader_among(&[number]);
        let client = fleet.client_of(number);
        let refused = client.run(&["node", "forget", &name]).expect_code(3);
        refused.expect_complaint(&["1 of 2 known nodes", "--force-without-majority"]);
        let words = ["node", "forget", &name, "--force-without-majority"];
        client.run(&words).expect_code(0);
        wait_status(&fleet, number, "it is alone", |status| status.majority == 1);
        let marker = format!("half-{number}");
        fleet.apply(number, &fleet.spec(&marker));
    }
    fleet.heal_all();
    for number in [1, 2] {
        wait_status(&fleet, number, "both count again", |status| {
            status.majority == 2 && status.removed.is_empty() && names(status).len() == 2
        });
    }
    let leader = fleet.leader();
    // Both wrote: one of the two is a conflict, which somebody looks at and lets be.
    let lost = wait_status(&fleet, leader, "the loser is kept", |status| {
        !status.conflicts.is_empty()
    });
    let lost = &lost.conflicts[0].revision;
    let words = ["spec", "conflicts", "dismiss", lost, "-m", "not needed"];
    fleet.client().run(&words).expect_code(0);
    for number in [1, 2] {
        wait_status(&fleet, number, "it is dismissed", |status| {
            status.conflicts.is_empty()
        });
        let client = fleet.client_of(number);
        let listed = client.run(&["spec", "conflicts", "--output", "json"]);
        let history: v1::ListSpecHistoryResponse = listed.expect_code(0).json();
        let dismissed = &history.dismissed[0];
        let (revision, provenance) = (
            dismissed.revision.clone().unwrap_or_default(),
            dismissed.provenance.clone().unwrap_or_default(),
        );
        assert_eq!(&revision.revision, lost);
        assert_eq!(provenance.author, "ada (admin)");
        assert_eq!(provenance.comment, "not needed");
        client.run(&["spec", "get", lost]).expect_code(0);
    }
    let unknown = fleet.client().run(&["spec", "conflicts", "dismiss", "9.9"]);
    unknown
        .expect_code(2)
        .expect_complaint(&["no conflict of spec"]);
}

#[test]
fn a_witness_gives_two_nodes_a_majority_and_serves_nobody() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder()
        .settings(|settings| {
            if settings.id == "n3" {
                let mut more = |name: &str, value: &str| {
                    settings
                        .environment
                        .insert(name.to_owned(), value.to_owned());
                };
                more("HAFLEET_AGENT_WITNESS", "true");
                // It needs none.
                more("HAFLEET_AGENT_HAPROXY__BINARY", "/nowhere/haproxy");
            }
        })
        .start();
    let revision = fleet.apply(1, &fleet.spec("first"));
    let client = fleet.client();
    let file = fleet.scratch().file("next.yaml", &fleet.spec("next"));
    let file = file.to_str().expect("a path of plain characters");
    client.run(&["apply", file, "--wait", "60s"]).expect_code(0);
    fleet.wait_served_by(&[1, 2], "next");
    assert_ne!(fleet.current(1), revision);
    assert!(fleet.node(3).haproxies().is_empty());
    let status = wait_status(&fleet, 1, "it answers", |_| true);
    let witnesses: Vec<_> = status.nodes.iter().map(|node| node.witness).collect();
    assert_eq!(witnesses, [false, false, true]);
    assert_eq!(status.majority, 2);
    let people = client.run(&["status"]).expect_code(0);
    assert!(people.stdout.contains("witness"), "{people}");

    // A machine is cut off: the other one and the witness are the majority, and the one that is alone is none.
    fleet.cut(1);
    fleet.leader_among(&[2, 3]);
    wait_status(&fleet, 2, "the cut is seen", |status| {
        status.nodes[0].liveness() == Liveness::Dead
    });
    let revision = fleet.apply(2, &fleet.spec("majority"));
    fleet.wait_applied(&[2], &revision);
    wait_status(&fleet, 1, "it is alone", |status| {
        status.nodes[1..]
            .iter()
            .all(|node| node.liveness() == Liveness::Dead)
    });
    let alone = fleet.client_of(1).apply(&fleet.spec("alone"), &[]);
    alone
        .expect_code(3)
        .expect_complaint(&["1 of 3 known nodes"]);
    fleet.heal(1);
    fleet.wait_applied(&[1], &revision);

    // Where the witness leads, a node with HAProxy checks for it; where none is left, nobody can.
    fleet.kill_agent(1);
    fleet.kill_agent(2);
    fleet.leader_among(&[3]);
    fleet.node(1).start_agent();
    fleet.node(2).start_agent();
    fleet.wait_formed();
    assert_eq!(fleet.leader(), 3);
    let invalid = fleet
        .spec("bad")
        .replace("version: 1", "version: 1\nraw: {global: [nonsense]}");
    let refused = fleet.client_of(3).apply(&invalid, &[]);
    assert_ne!(refused.code, Some(0), "{refused}");
    let revision = fleet.apply(3, &fleet.spec("by-the-witness"));
    fleet.wait_applied(&[1, 2], &revision);
    fleet.kill_agent(1);
    fleet.kill_agent(2);
    wait_status(&fleet, 3, "they are gone", |status| {
        status.nodes[..2]
            .iter()
            .all(|node| node.liveness() == Liveness::Dead)
    });
    let nobody = fleet
        .client_of(3)
        .apply(&fleet.spec("unchecked"), &["--force-without-majority"]);
    nobody
        .expect_code(3)
        .expect_complaint(&["witness without HAProxy"]);
}

#[test]
fn the_dead_are_kept_for_as_long_as_they_are_told_and_only_a_majority_removes_them() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder()
        .settings(|settings| {
            let name = "HAFLEET_AGENT_MEMBER_RETENTION".to_owned();
            settings.environment.insert(name, "3s".to_owned());
        })
        .start();
    fleet.kill_agent(3);
    let status = wait_status(&fleet, 1, "it is removed", |status| {
        names(status).len() == 2
    });
    assert_eq!(reason(&status, "n3"), Some("expired"), "{status:#?}");
    // Of the two that are left, one is no majority: it keeps counting the other.
    fleet.kill_agent(2);
    wait_status(&fleet, 1, "the other is dead", |status| {
        status
            .nodes
            .iter()
            .any(|node| node.liveness() == Liveness::Dead)
    });
    fleet.leader_among(&[1]);
    fleet
        .node(1)
        .wait_logged("there is no majority, without which nobody is removed");
    let begun = std::time::Instant::now();
    wait_until("the time of the dead is over twice", PATIENCE, || {
        begun.elapsed() > Duration::from_secs(8)
    });
    let status = wait_status(&fleet, 1, "it answers", |_| true);
    assert_eq!(
        (names(&status).len(), status.majority),
        (2, 2),
        "{status:#?}"
    );
}

#[test]
fn a_node_whose_instance_is_terminated_is_forgotten_and_an_error_is_no_termination() {
    if !can_make_namespaces() {
        return;
    }
    let mut fleet = Fleet::builder().prepare();
    let outside = fleet.outside_address();
    let (cloud, instances, door) = fleet.outside().run(|| {
        let cloud = Cloud::start_at(outside.into());
        let group = cloud.add_group("lb");
        let instances: Vec<_> = (0..3).map(|_| cloud.add(&group, &[])).collect();
        (cloud, instances, InstanceMetadata::door_at(outside.into()))
    });
    let metadata = InstanceMetadata::open(door);
    for number in fleet.numbers() {
        let address = fleet.node(number).address();
        metadata.tell(address, "placement/region", "eu-west-1");
        // The last is told late: it asks again.
        if number < 3 {
            metadata.tell(address, "instance-id", &instances[number - 1]);
        }
        let environment = [
            ("AWS_ENDPOINT_URL", cloud.endpoint()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint()),
            ("HAFLEET_AGENT_INSTANCE", "imds".to_owned()),
        ];
        let environment: BTreeMap<_, _> = environment
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        fleet.node_mut(number).settings_mut().environment = environment;
        fleet.node(number).start_agent();
    }
    fleet.wait_formed();
    metadata.tell(fleet.node(3).address(), "instance-id", &instances[2]);
    wait_status(&fleet, 1, "all say which instance they are", |status| {
        let said = status.nodes.iter().map(|node| node.instance.clone());
        let wanted = instances.iter().map(|id| format!("eu-west-1/{id}"));
        said.eq(wanted)
    });
    let leader = fleet.leader();
    let dead = fleet.follower();
    let name = id(&fleet, dead);

    // EC2 is broken: it stays.
    cloud.break_down();
    fleet
        .outside()
        .run(|| cloud.remove(&[&instances[dead - 1]]));
    fleet.kill_agent(dead);
    fleet
        .node(leader)
        .wait_logged("whether instances are terminated is not known");
    let status = wait_status(&fleet, leader, "it answers", |_| true);
    assert_eq!(names(&status).len(), 3, "{status:#?}");
    cloud.mend();
    let status = wait_status(&fleet, leader, "it is forgotten", |status| {
        names(status).len() == 2
    });
    assert_eq!(reason(&status, &name), Some("terminated"), "{status:#?}");
}

#[test]
fn all_nodes_start_again_with_seeds_and_without() {
    if !can_make_namespaces() {
        return;
    }
    let (mut fleet, _) = Fleet::serving();
    let revision = fleet.apply(1, &fleet.spec("second"));
    fleet.wait_converged(&revision);
    for has_seeds in [true, false] {
        for number in fleet.numbers() {
            fleet.kill_agent(number);
            if !has_seeds {
                fleet.node_mut(number).settings_mut().seeds.clear();
            }
        }
        fleet
            .numbers()
            .iter()
            .for_each(|number| fleet.node(*number).start_agent());
        fleet.wait_formed();
        fleet.wait_converged(&revision);
        fleet.assert_serves(1, "second");
        let status = wait_status(&fleet, 1, "it answers", |_| true);
        assert_eq!(
            (status.majority, status.unmet_seeds.len()),
            (2, 0),
            "{status:#?}"
        );
    }
    written(&fleet.client_of(2).apply(&fleet.spec("third"), &[]));
}

#[test]
fn seeds_that_were_never_met_are_shown_and_count() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().prepare();
    fleet.node(1).start_agent();
    let status = wait_status(&fleet, 1, "its seeds are seen to be missing", |status| {
        status.unmet_seeds.len() == 2
    });
    assert_eq!(status.majority, 2);
    let seeds: Vec<_> = [2, 3].map(|number| fleet.node(number).endpoint()).into();
    assert_eq!(status.unmet_seeds, seeds);
    let people = fleet.client_of(1).run(&["status"]).expect_code(0);
    assert!(people.stdout.contains("seeds   never met"), "{people}");
    fleet.node(2).start_agent();
    wait_status(&fleet, 1, "two of three are a majority", |status| {
        status.unmet_seeds.is_empty() && names(status).len() == 2
    });
}

#[test]
fn an_agent_one_of_whose_tasks_panics_ends_loudly_and_its_haproxy_goes_on() {
    if !can_make_namespaces() {
        return;
    }
    let mut fleet = Fleet::builder().nodes(1).start();
    let revision = fleet.apply(1, &fleet.spec("first"));
    fleet.wait_converged(&revision);
    fleet.wait_served("first");
    for task in ["members", "publication", "gRPC server", "HAProxy"] {
        fleet.kill_agent(1);
        let settings = fleet.node_mut(1).settings_mut();
        let name = "HAFLEET_TEST_PANIC".to_owned();
        settings.environment.insert(name, task.to_owned());
        fleet.node(1).start_agent();
        assert_eq!(wait_ended(&fleet, 1), Some(1), "{task}");
        let log = fleet.node(1).log_tail(20);
        assert!(
            log.contains(&format!("the task {task} panicked")),
            "{task}: {log}"
        );
        assert!(
            log.contains("HAFLEET_TEST_PANIC asks for it"),
            "{task}: {log}"
        );
        fleet.assert_serves(1, "first");
    }
}
