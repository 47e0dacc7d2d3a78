//! What is broken on purpose, under load and under writes, and what has to hold after each: no request is lost but
//! those of an HAProxy that was itself broken, the fleet settles, and no acknowledged write is.

use std::collections::BTreeSet;
use std::env;
use std::time::Duration;

use hafleet_api::v1;
use hafleet_tests::fault::{
    Damage, DamagedStore, Delay, Fault, FewDescriptors, Flapping, FullDisk, KilledAgents,
    KilledHaproxy, Loss, OneWay, Partition, ReadOnlyDisk, RestartedAgents, StoppedAgent,
    StoppedHaproxy, Twin, Way, WrongClock,
};
use hafleet_tests::fleet::{PATIENCE, written};
use hafleet_tests::machine::{hafleet, previous_hafleet};
use hafleet_tests::{Fleet, Trial, can_make_namespaces, wait_for};

/// A day, in seconds.
const DAY: i64 = 86_400;
/// The length of a large spec.
const FIVE_MEGABYTES: usize = 5_000_000;

fn boxed(fault: impl Fault + 'static) -> Box<dyn Fault> {
    Box::new(fault)
}

#[test]
fn cuts() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::begin();
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([
        boxed(Partition::of(&[follower])),
        boxed(OneWay::of(follower, Way::In)),
        boxed(OneWay::of(leader, Way::Out)),
    ]);
    let leader = trial.fleet().leader();
    trial.bear([boxed(Partition::of(&[leader]).forced())]);
}

#[test]
fn halves() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::of(Fleet::builder().nodes(4).start());
    let verdict = trial.suffer(&mut Partition::of(&[1, 2]));
    eprintln!("{verdict}");
    verdict.assert_kept();
}

#[test]
fn bad_paths() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::begin();
    let follower = trial.fleet().follower();
    trial.bear([
        boxed(Loss::of(30)),
        boxed(Delay::of(Duration::from_millis(500))),
        boxed(Flapping::of(follower, 2)),
    ]);
}

#[test]
fn processes_that_end_or_stand_still() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::begin();
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([
        boxed(KilledHaproxy::of(follower)),
        boxed(StoppedHaproxy::of(leader)),
        boxed(FewDescriptors::of(follower)),
        boxed(FewDescriptors::of(leader)),
    ]);
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([boxed(Twin::of(follower)), boxed(StoppedAgent::of(leader))]);
    let leader = trial.fleet().leader();
    trial.bear([
        boxed(KilledAgents::of(&[leader])),
        boxed(RestartedAgents::with_seeds()),
        boxed(RestartedAgents::without_seeds()),
    ]);
}

#[test]
fn disks() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::begin();
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([
        boxed(FullDisk::of(leader)),
        boxed(ReadOnlyDisk::of(follower)),
        boxed(DamagedStore::of(follower, Damage::Truncated(60))),
        boxed(DamagedStore::of(follower, Damage::Flipped(1_000, 1))),
    ]);
}

#[test]
fn clocks() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::begin();
    let (leader, follower) = (trial.fleet().leader(), trial.fleet().follower());
    trial.bear([
        boxed(WrongClock::of(leader, 3_600)),
        boxed(WrongClock::of(leader, -3_600)),
        boxed(WrongClock::of(follower, -200).with_restart()),
        boxed(WrongClock::of(follower, -2 * DAY)),
        boxed(WrongClock::of(follower, 800 * DAY).with_restart()),
    ]);
}

/// In the order that the book names: the leader last. In between, agents of both versions take writes of every kind, and what
/// was written in between is everywhere in the end.
#[test]
fn a_rolling_upgrade() {
    if !can_make_namespaces() {
        return;
    }
    let previous = previous_hafleet();
    let fleet = Fleet::builder()
        .settings(move |settings| {
            if let Some(previous) = &previous {
                settings.program.clone_from(previous);
            }
        })
        .start();
    let trial = Trial::of(fleet);
    let mut weight = 0;
    let upgrade = trial.judge("a rolling upgrade", [], || {
        let mut earlier: BTreeSet<_> = trial.fleet().numbers().into_iter().collect();
        while let Some(number) = next_to_upgrade(trial.fleet(), &earlier) {
            earlier.remove(&number);
            let node = trial.fleet().node(number);
            let mut settings = node.settings().clone();
            settings.program = hafleet();
            node.terminate_agent();
            node.start_agent_as(&settings);
            for asked in trial.fleet().numbers() {
                trial.write_when_taken(&[asked], &[]);
                weight += 1;
                weigh(trial.fleet(), asked, weight);
            }
        }
    });
    eprintln!("{upgrade}");
    upgrade.assert_kept();
    for number in trial.fleet().numbers() {
        wait_for("the last weight is everywhere", PATIENCE, || {
            let listed = trial.fleet().client_of(number);
            let listed = listed
                .run(&["overrides", "--output", "json"])
                .expect_code(0);
            let overrides: v1::ListOverridesResponse = listed.json();
            let servers = overrides.servers.iter();
            let weights: Vec<_> = servers.map(|server| server.weight).collect();
            let is_it = weights == [Some(weight)];
            is_it.then_some(()).ok_or_else(|| format!("{weights:?}"))
        });
    }
}

/// Gives a server a weight by hand, through node `asked`.
fn weigh(fleet: &Fleet, asked: usize, weight: u32) {
    let weight = weight.to_string();
    wait_for("a weight is taken", PATIENCE, || {
        let client = fleet.client_of(asked);
        let finished = client.run(&["server", "weight", "app/s0", &weight]);
        (finished.code == Some(0)).then_some(()).ok_or(finished)
    });
}

/// One of `earlier`, and the leader only if no other is left.
fn next_to_upgrade(fleet: &Fleet, earlier: &BTreeSet<usize>) -> Option<usize> {
    let leader = fleet.leader();
    let others = earlier.iter().find(|number| **number != leader);
    others.or_else(|| earlier.first()).copied()
}

/// Fifty, or as many as `HAFLEET_APPLIES` says: `make apply-test`.
#[test]
fn applies_in_a_row() {
    if !can_make_namespaces() {
        return;
    }
    let trial = Trial::of(Fleet::builder().start());
    let count = env::var("HAFLEET_APPLIES").map_or(50, |count| count.parse().expect("a number"));
    let applies = trial.judge("applies in a row", [], || {
        for _ in 0..count {
            trial.write_when_taken(&trial.fleet().numbers(), &[]);
        }
    });
    eprintln!("{applies}");
    applies.assert_kept();
    assert!(applies.writes.acknowledged >= count);
}

#[test]
fn a_spec_of_five_megabytes() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let revision = apply_when_taken(
        &fleet,
        fleet.follower(),
        &large(&fleet.spec("large"), FIVE_MEGABYTES),
    );
    fleet.wait_converged(&revision);
    fleet.wait_served("large");

    let away = fleet.follower();
    fleet.kill_agent(away);
    let spec = large(&fleet.spec("larger"), FIVE_MEGABYTES);
    let revision = apply_when_taken(&fleet, fleet.but(&[away])[0], &spec);
    fleet.restart(away);
    fleet.wait_converged(&revision);
    fleet.wait_served("larger");

    let too_large = large(&fleet.spec("too-large"), 17_000_000);
    let refused = fleet.client().apply(&too_large, &[]).expect_code(2);
    refused.expect_complaint(&["16777216"]);
}

/// Applies `spec` through node `number`; again where the leader was too busy with it to prove that it lives.
fn apply_when_taken(fleet: &Fleet, number: usize, spec: &str) -> String {
    wait_for("a write is taken", PATIENCE, || {
        let finished = fleet.client_of(number).apply(spec, &[]);
        if finished.code == Some(0) {
            Ok(written(&finished))
        } else {
            Err(finished)
        }
    })
}

/// `spec` with routes and comments up to `bytes`.
fn large(spec: &str, bytes: usize) -> String {
    let route = |number| format!("      - {{ path_prefix: /area-{number}, backend: app }}\n");
    let routes: String = (0..200).map(route).collect();
    let routes = format!("    routes:\n{routes}    default_backend:");
    let text = spec.replacen("    default_backend:", &routes, 1);
    let comment = format!("# {}\n", "-".repeat(97));
    let comments = bytes.saturating_sub(text.len()).div_ceil(comment.len());
    text + &comment.repeat(comments)
}
