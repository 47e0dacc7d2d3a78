//! Disks that break down while agents have their stores on them open.

use hafleet_tests::fault::{BrokenDisk, Fault};
use hafleet_tests::fleet::{PATIENCE, written};
use hafleet_tests::{Fleet, Trial, can_make_namespaces, disk, wait_for};

fn boxed(fault: impl Fault + 'static) -> Box<dyn Fault> {
    Box::new(fault)
}

#[test]
fn a_disk_that_breaks_down_costs_neither_traffic_nor_writes() {
    if !can_make_namespaces() || !disk::can_mount_files() {
        return;
    }
    let trial = Trial::of(Fleet::builder().breakable_disks().start());
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([
        boxed(BrokenDisk::of(leader)),
        boxed(BrokenDisk::of(follower).with_restart()),
    ]);
}

/// Somebody leads on, since what a leader does for DNS and discovery needs no disk, and all serve.
#[test]
fn when_all_disks_break_down_at_once_somebody_leads_and_nothing_is_lost() {
    if !can_make_namespaces() || !disk::can_mount_files() {
        return;
    }
    let trial = Trial::of(Fleet::builder().breakable_disks().start());
    let fleet = trial.fleet();
    let data = |number: usize| fleet.node(number).settings().data();
    let verdict = trial.judge("all disks break down", [], || {
        fleet
            .numbers()
            .into_iter()
            .for_each(|number| disk::break_down(&data(number)));
        for number in fleet.numbers() {
            let drain = ["node", "drain", "n1", "-m", "a test", "--output", "json"];
            let refused = fleet.client_of(number).run(&drain);
            assert_ne!(refused.code, Some(0), "{refused}");
            fleet.node(number).wait_logged("Read-only file system");
        }
        fleet.leader();
        fleet
            .numbers()
            .into_iter()
            .for_each(|number| disk::repair(&data(number)));
    });
    eprintln!("{verdict}");
    verdict.assert_kept();
}

/// Nobody else could lead, so it does; and it takes no write that it could not keep.
#[test]
fn who_is_alone_with_a_broken_disk_serves_refuses_writes_and_goes_on_when_it_is_mended() {
    if !can_make_namespaces() || !disk::can_mount_files() {
        return;
    }
    let fleet = Fleet::builder().nodes(1).breakable_disks().start();
    let revision = fleet.apply(1, &fleet.spec("first"));
    fleet.wait_converged(&revision);
    fleet.wait_served("first");
    let data = fleet.node(1).settings().data();
    let path = data.display().to_string();
    disk::break_down(&data);

    let refused = fleet.client().apply(&fleet.spec("second"), &[]);
    assert_ne!(refused.code, Some(0), "{refused}");
    refused.expect_complaint(&[&path, "Read-only file system", "mend it"]);
    // What HAProxy need not be asked about comes as far as the store; the second time it is found closed.
    for _ in 0..2 {
        let drain = ["node", "drain", "n1", "-m", "a test", "--output", "json"];
        let refused = fleet.client().run(&drain);
        assert_ne!(refused.code, Some(0), "{refused}");
        refused.expect_complaint(&[&path, "Read-only file system", "mend it"]);
    }
    fleet.assert_serves(1, "first");
    assert_eq!(fleet.current(1), revision);
    let shown = fleet.client().run(&["spec", "get"]).expect_code(0);
    assert!(shown.stdout.contains("first"), "{shown}");
    // Looked at several times a second, told twice a minute.
    let log = fleet.node(1).log_tail(usize::MAX);
    let complaints = log
        .lines()
        .filter(|line| line.contains("could not be written down"))
        .count();
    assert!(complaints <= 6, "{complaints} complaints:\n{log}");

    disk::repair(&data);
    let revision = wait_for("a write is taken again", PATIENCE, || {
        let finished = fleet.client().apply(&fleet.spec("third"), &[]);
        match finished.code {
            Some(0) => Ok(written(&finished)),
            _ => Err(finished),
        }
    });
    fleet.wait_converged(&revision);
    fleet.wait_served("third");
    fleet.restart(1);
    fleet.wait_formed();
    assert_eq!(fleet.current(1), revision);
    fleet.wait_served("third");
}
