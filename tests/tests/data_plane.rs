//! Each node's HAProxy: it outlives its agent, takes reloads without a loss, and keeps what it has when it must.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use hafleet_api::v1;
use hafleet_tests::agent::Settings;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::load::{Load, Plan};
use hafleet_tests::request::Kept;
use hafleet_tests::spec::MARKER;
use hafleet_tests::{Client, Fleet, can_make_namespaces, wait_for, wait_until};

fn load(fleet: &Fleet, rate: u32) -> Load {
    let targets = fleet
        .numbers()
        .into_iter()
        .map(|number| fleet.node(number).traffic())
        .collect();
    Load::start(fleet.outside(), Plan { targets, rate })
}

fn reported(fleet: &Fleet, number: usize) -> v1::HaproxyStatus {
    wait_for("a node says how its HAProxy is", PATIENCE, || {
        let status = fleet.status_of(number)?;
        let own = status
            .nodes
            .into_iter()
            .find(|node| node.id == fleet.node(number).id());
        let haproxy = own.and_then(|node| node.haproxy).unwrap_or_default();
        let is_up = haproxy.health() == v1::haproxy_status::Health::Up;
        if is_up {
            Ok(haproxy)
        } else {
            Err(format!("{haproxy:?}"))
        }
    })
}

#[test]
fn haproxy_outlives_its_agent_and_is_adopted() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let process = fleet.node(2).haproxy();
    let load = load(&fleet, 150);
    let mut kept = Kept::open(fleet.outside(), fleet.node(2).traffic()).expect("a connection");
    kept.ask("/").expect("an answer");

    fleet.kill_agent(2);
    kept.ask("/").expect("an answer without an agent");
    fleet.restart(2);
    fleet.wait_formed();
    assert_eq!(
        reported(&fleet, 2).pid,
        process.pid,
        "it was adopted, not replaced"
    );
    assert_eq!(fleet.node(2).haproxy(), process);
    kept.ask("/").expect("an answer after the agent came back");

    let second = fleet.apply(1, &fleet.spec("second"));
    fleet.wait_converged(&second);
    assert_eq!(
        fleet.ask(2).expect("an answer").header(MARKER),
        Some("second"),
        "it can be reloaded"
    );
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
}

#[test]
fn reloads_under_load_lose_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let load = load(&fleet, 300);
    for round in 0..5 {
        let before: Vec<_> = fleet
            .numbers()
            .iter()
            .map(|number| reported(&fleet, *number).pid)
            .collect();
        let marker = format!("round-{round}");
        let revision = fleet.apply(1, &fleet.spec(&marker));
        fleet.wait_converged(&revision);
        fleet.wait_served(&marker);
        for (number, before) in fleet.numbers().into_iter().zip(before) {
            wait_until("a reload is a new process", PATIENCE, || {
                reported(&fleet, number).pid != before
            });
        }
    }
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
    assert!(
        reported(&fleet, 1).handover.contains("pass-fds"),
        "{:?}",
        reported(&fleet, 1)
    );
    for number in fleet.numbers() {
        fleet.node(number).haproxy();
    }
}

#[test]
fn idle_connections_survive_a_reload_for_one_more_request() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    for round in 0..3 {
        let mut kept = Kept::open(fleet.outside(), fleet.node(1).traffic()).expect("a connection");
        kept.ask("/").expect("an answer");
        let marker = format!("round-{round}");
        let revision = fleet.apply(1, &fleet.spec(&marker));
        fleet.wait_converged(&revision);
        fleet.wait_served(&marker);
        kept.ask("/").expect("an answer by the old process");
    }
}

#[test]
fn an_agent_killed_in_the_middle_of_reloads_costs_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let (victim, leader) = (fleet.follower(), fleet.leader());
    let load = load(&fleet, 150);
    for round in 0_u32..12 {
        let marker = format!("round-{round}");
        fleet.apply(leader, &fleet.spec(&marker));
        let (begun, moment) = (Instant::now(), Duration::from_millis(25) * round);
        wait_until("a moment within the reload comes", PATIENCE, || {
            begun.elapsed() >= moment
        });
        fleet.kill_agent(victim);
        assert!(fleet.ask(victim).is_ok(), "round {round}");
        fleet.restart(victim);
        fleet.wait_served(&marker);
    }
    fleet.node(victim).haproxy();
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
}

#[test]
fn an_agent_killed_while_it_drops_syns_stops_no_traffic() {
    if !can_make_namespaces() {
        return;
    }
    let drop_syn = |settings: &mut Settings| {
        settings.haproxy.push("handover = \"drop-syn\"".into());
    };
    let fleet = Fleet::builder().nodes(1).settings(drop_syn).start();
    let first = fleet.apply(1, &fleet.spec("first"));
    fleet.wait_converged(&first);
    for round in 0_u32..12 {
        let marker = format!("round-{round}");
        fleet.apply(1, &fleet.spec(&marker));
        let (begun, moment) = (Instant::now(), Duration::from_millis(35) * round);
        wait_until("a moment within the handover comes", PATIENCE, || {
            begun.elapsed() >= moment
        });
        fleet.kill_agent(1);
        // Without an agent: whatever rule it left has to lose its force by itself.
        wait_for("traffic flows", Duration::from_secs(10), || fleet.ask(1));
        fleet.restart(1);
        fleet.wait_formed();
        fleet.wait_served(&marker);
    }
}

#[test]
fn a_haproxy_that_dies_is_started_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    fleet.node(3).haproxy().kill();
    fleet.wait_served_by(&[3], "first");
    fleet.wait_apply(3, |apply| apply.state() == v1::apply_status::State::Applied);
}

#[test]
fn a_port_taken_by_another_program_fails_on_that_node_alone() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let taken = fleet.node(2).address();
    let other = fleet
        .node(2)
        .namespace()
        .run(|| TcpListener::bind((taken, 9090)));
    let other = other.expect("the port is free for another program");
    let load = load(&fleet, 150);

    let waited = fleet
        .client_of(1)
        .apply(&fleet.spec_on("second", &[8080, 9090]), &["--wait", "60s"])
        .expect_code(1)
        .expect_complaint(&["n2", "9090"]);
    assert!(!waited.stderr.contains("n3: "), "only n2 refuses: {waited}");
    let second = fleet.current(1);
    fleet.wait_applied(&[1, 3], &second);
    fleet.wait_served_by(&[1, 3], "second");
    let failed = fleet.wait_apply(2, |apply| apply.state() == v1::apply_status::State::Failed);
    assert_eq!(
        (failed.revision.as_str(), failed.running_revision.as_str()),
        (second.as_str(), first.as_str())
    );
    assert!(
        failed.error.contains("9090"),
        "the port is named: {failed:?}"
    );
    fleet.assert_serves(2, "first");

    // The remedy: the other program ends. Nothing needs to be applied again.
    drop(other);
    fleet.wait_converged(&second);
    fleet.wait_served("second");
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
}

/// What an agent with `binary` for HAProxy says when it is checked, and when it is started.
fn complaints(binary: &str) -> [String; 2] {
    let line = format!("binary = {binary:?}");
    let fleet = Fleet::builder()
        .nodes(1)
        .settings(move |settings| settings.haproxy.push(line.clone()))
        .prepare();
    let settings: &Settings = fleet.node(1).settings();
    settings.write();
    let mut check = settings.command();
    check.arg("--check");
    let here = Client {
        namespace: Some(fleet.node(1).namespace()),
        ..fleet.client()
    };
    let checked = here.finish(check);
    assert!(matches!(checked.code, Some(1 | 2)), "{checked}");
    let started = here.finish(settings.command());
    assert!(matches!(started.code, Some(1 | 2)), "{started}");
    [checked.stderr, started.stderr]
}

#[test]
fn a_missing_haproxy_is_named() {
    if !can_make_namespaces() {
        return;
    }
    for complaint in complaints("/nowhere/haproxy") {
        assert!(complaint.contains("/nowhere/haproxy"), "{complaint}");
    }
}

#[test]
fn a_haproxy_that_is_too_old_is_named() {
    if !can_make_namespaces() {
        return;
    }
    let scratch = hafleet_tests::scratch::Scratch::new();
    let old = scratch.file(
        "haproxy",
        "#!/bin/sh\necho 'HAProxy version 2.2.9-2+deb11u6 2023/12/30'\n",
    );
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).expect("a program");
    for complaint in complaints(&old.display().to_string()) {
        assert!(
            complaint.contains("2.2.9") && complaint.contains("2.4"),
            "{complaint}"
        );
    }
}

#[test]
fn without_passed_sockets_a_drop_of_syns_still_loses_nothing_and_leaves_no_rule() {
    if !can_make_namespaces() {
        return;
    }
    let drop_syn =
        |settings: &mut Settings| settings.haproxy.push("handover = \"drop-syn\"".into());
    let fleet = Fleet::builder().nodes(1).settings(drop_syn).start();
    let first = fleet.apply(1, &fleet.spec("first"));
    fleet.wait_converged(&first);
    fleet.wait_served("first");
    assert!(
        reported(&fleet, 1).handover.contains("drop-syn"),
        "{:?}",
        reported(&fleet, 1)
    );
    let load = load(&fleet, 150);
    for marker in ["second", "third"] {
        let revision = fleet.apply(1, &fleet.spec(marker));
        fleet.wait_converged(&revision);
        fleet.wait_served(marker);
    }
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
    let rules = fleet
        .node(1)
        .namespace()
        .output(std::process::Command::new("iptables-save").arg("-c"));
    assert!(!rules.contains("DROP"), "{rules}");
    assert!(
        outcome.percentile(50.0) < Duration::from_millis(500),
        "{outcome}"
    );
}
