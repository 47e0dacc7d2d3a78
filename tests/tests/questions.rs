//! Questions to all load balancers: one strict answer, with the exit status and the first line that monitoring expects.

use hafleet_tests::backend::Backend;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Finished, Fleet, can_make_namespaces, wait_for};
use serde_json::Value;

/// A backend `app` whose servers are checked, each called as it answers, with a backup; and `solo`, which nobody checks.
fn spec(servers: &[Backend]) -> String {
    let mut text = String::from(
        "version: 1\nfrontends:\n  - name: web\n    binds:\n      - { address: node, port: 8080 }\n    default_backend: app\n\
         backends:\n  - name: app\n    health_check: { type: http, path: /, interval: 200ms }\n    servers:\n",
    );
    let line = |server: &Backend, more: &str| {
        let (address, port) = (server.address().ip(), server.address().port());
        format!("      - {{ name: s{port}, address: {address}, port: {port}{more} }}\n")
    };
    for (number, server) in servers.iter().enumerate() {
        let is_last = number + 1 == servers.len();
        text.push_str(&line(server, if is_last { ", backup: true" } else { "" }));
    }
    text.push_str("  - name: solo\n    servers:\n");
    text.push_str(&line(&servers[0], ""));
    text
}

/// A fleet of three that serves [`spec`] with five active servers, all of them up.
fn serving() -> (Fleet, Vec<Backend>) {
    let fleet = Fleet::builder().start();
    let servers = fleet.start_servers(8101..8107);
    let revision = fleet.apply(1, &spec(&servers));
    fleet.wait_converged(&revision);
    wait_check(&fleet, &["up", "app"], 0);
    (fleet, servers)
}

fn check(fleet: &Fleet, words: &[&str]) -> Finished {
    fleet.client_of(2).run(&[&["check"], words].concat())
}

/// Whether servers of `backend` may restart one at a time, with a share of `min_up` up.
fn one_at_a_time(fleet: &Fleet, backend: &str, min_up: &str) -> Finished {
    let words = [
        "rolling-restart",
        backend,
        "--at-a-time",
        "1",
        "--min-up",
        min_up,
    ];
    check(fleet, &words)
}

/// Asks until the exit status is `code`.
#[track_caller]
fn wait_check(fleet: &Fleet, words: &[&str], code: i32) -> Finished {
    wait_for("another answer", PATIENCE, || {
        let finished = check(fleet, words);
        if finished.code == Some(code) {
            Ok(finished)
        } else {
            Err(finished)
        }
    })
}

fn query(fleet: &Fleet, expression: &str) -> Finished {
    fleet.client_of(3).run(&["query", expression])
}

fn first_line(finished: &Finished) -> &str {
    finished.stdout.lines().next().unwrap_or_default()
}

#[test]
fn a_fleet_is_asked_and_answers_as_one() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, mut servers) = serving();
    let found = check(&fleet, &["rolling-restart", "app", "--at-a-time", "1"]).expect_code(0);
    assert_eq!(
        first_line(&found),
        "ROLLING-RESTART OK - 3 load balancers can do restarts of app, 1 at a time with 80% up | least_up=5;;;0;5"
    );
    check(&fleet, &["rolling-restart", "app"]).expect_code(2);
    let found = one_at_a_time(&fleet, "solo", "0%");
    assert_eq!(found.code, Some(2), "{found}");
    let found = check(&fleet, &["up", "solo"]).expect_code(3);
    assert!(found.stdout.contains("nobody checks 1 server"), "{found}");
    let found = check(&fleet, &["up", "nobody"]).expect_code(3);
    assert!(
        found
            .stdout
            .contains("no load balancer has a backend nobody; there are app, solo"),
        "{found}"
    );

    let found = check(&fleet, &["restart-impact", "s8101"]).expect_code(2);
    assert!(
        found.stdout.contains("restarting s8101 takes down solo"),
        "{found}"
    );
    assert!(
        found.stdout.contains("app: 5 of 5 up before, 4 of 4 after"),
        "{found}"
    );
    check(&fleet, &["restart-impact", "app/s8101", "s8102"]).expect_code(0);

    check(&fleet, &["converged"]).expect_code(0);
    let found = check(&fleet, &["connections", "--warn", "500", "--crit", "800"]).expect_code(0);
    assert!(first_line(&found).contains(";500;800;0"), "{found}");
    let found = check(&fleet, &["certificates"]).expect_code(0);
    assert!(
        found
            .stdout
            .contains("3 certificates last more than 21 days"),
        "{found}"
    );
    let found = check(&fleet, &["certificates", "--days", "10000"]).expect_code(1);
    assert!(
        found.stdout.contains("certificate of node n1 ends in"),
        "{found}"
    );

    let found = check(&fleet, &["up", "app", "--output", "json"]).expect_code(0);
    let answer: Value = found.json();
    assert_eq!(
        (&answer["standing"], &answer["exit_status"]),
        (&"ok".into(), &0.into()),
        "{answer}"
    );
    assert_eq!(
        answer["verdicts"].as_array().map(Vec::len),
        Some(3),
        "{answer}"
    );

    for (expression, value) in [
        ("size(lbs)", "3"),
        ("lbs.map(lb, lb.id)", "n1\nn2\nn3"),
        (
            "lbs.all(lb, lb.servers.filter(s, s.backend == 'app' && !s.backup).all(s, s.state == 'up'))",
            "true",
        ),
        (
            "lbs.all(lb, lb.info.Version.startsWith('2.') || lb.info.Version.startsWith('3.'))",
            "true",
        ),
        ("rolling_restartable('app', 1, 0.8)", "true"),
        (
            "lbs.all(lb, lb.applied_revision == newest_revision)",
            "true",
        ),
    ] {
        let found = query(&fleet, expression).expect_code(0);
        assert_eq!(found.stdout.trim_end(), value, "{expression}");
    }
    let found = fleet
        .client()
        .run(&["query", "--exit-code", "up('app') && size(lbs) == 2"]);
    assert_eq!(
        (found.code, found.stdout.trim_end()),
        (Some(2), "false"),
        "{found}"
    );
    query(&fleet, "lbs.all(lb, lb.nothing)")
        .expect_code(3)
        .expect_complaint(&["column 16", "has no nothing"]);

    // A server that is gone is seen by all, and by the expression.
    drop(servers.remove(1));
    let found = wait_check(&fleet, &["up", "app"], 1);
    wait_for("all see that it is down", PATIENCE, || {
        let finished = query(
            &fleet,
            "lbs.all(lb, lb.servers.exists(s, s.name == 's8102' && s.status == 'DOWN'))",
        );
        if finished.stdout.trim_end() == "true" {
            Ok(())
        } else {
            Err(finished)
        }
    });
    assert!(
        first_line(&found).starts_with("UP WARNING - app is up, and not wholly on"),
        "{found}"
    );
    check(&fleet, &["rolling-restart", "app", "--at-a-time", "1"]).expect_code(2);
}

#[test]
fn what_operators_took_out_is_told_apart_from_what_is_down() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _servers) = serving();
    let ask = |words: &[&str]| {
        fleet
            .client()
            .run(&[&["server"], words, &["--wait"]].concat())
            .expect_code(0)
    };
    ask(&["drain", "app/s8101"]);
    ask(&["maint", "app/s8102"]);
    let found = check(&fleet, &["up", "app"]).expect_code(0);
    assert!(
        found.stdout.contains("3 of 5 up; s8101 DRAIN, s8102 MAINT"),
        "{found}"
    );
    one_at_a_time(&fleet, "app", "60%").expect_code(2);
    one_at_a_time(&fleet, "app", "40%").expect_code(0);
    let states = query(
        &fleet,
        "lbs[0].servers.filter(s, s.backend == 'app').map(s, s.state)",
    )
    .expect_code(0);
    assert_eq!(
        states.stdout.lines().collect::<Vec<_>>(),
        ["draining", "maintenance", "up", "up", "up", "up"]
    );
    // With all active servers out, a backup is what is left.
    for server in ["app/s8103", "app/s8104", "app/s8105"] {
        ask(&["maint", server]);
    }
    let found = check(&fleet, &["up", "app"]).expect_code(1);
    assert!(
        found.stdout.contains("none of 5 up, and 1 backup serving"),
        "{found}"
    );
    one_at_a_time(&fleet, "app", "0%").expect_code(2);
}

#[test]
fn who_does_not_answer_makes_the_answer_unknown() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    // Without a spec no node has an HAProxy, so nobody has anything to tell.
    let found = check(&fleet, &["connections"]).expect_code(3);
    assert!(
        found
            .stdout
            .contains("n1: no answer: no HAProxy runs there"),
        "{found}"
    );
    check(&fleet, &["converged"]).expect_code(3);

    let servers = fleet.start_servers(8101..8107);
    let revision = fleet.apply(1, &spec(&servers));
    let waited = fleet.client_of(2).run(&[
        "wait",
        "converged() && up('app')",
        "--interval",
        "200ms",
        "--timeout",
        "60s",
    ]);
    let waited = waited.expect_code(0);
    assert!(
        waited.stderr.contains("true 3 of 3 times in a row"),
        "{waited}"
    );
    fleet.wait_converged(&revision);

    // An agent that hangs does not answer in time.
    fleet.stop(3);
    let asked = ["up", "app", "--node-timeout", "500ms"];
    let found = check(&fleet, &asked).expect_code(3);
    assert!(
        first_line(&found).contains("1 of 3 load balancers did not answer: n3"),
        "{found}"
    );
    check(&fleet, &[&asked[..], &["--allow-missing", "1"]].concat()).expect_code(0);
    fleet.go_on(3);
    wait_check(&fleet, &["up", "app"], 0);

    // One that is dead does not either, and what is a no without it stays one.
    fleet.kill_agent(3);
    wait_check(&fleet, &["converged"], 3);
    check(&fleet, &["up", "app"]).expect_code(3);
    check(&fleet, &["rolling-restart", "app", "--at-a-time", "5"]).expect_code(2);
    let client = fleet.client_of(1);
    let found = client.run(&["query", "size(lbs) == 2"]).expect_code(3);
    assert!(
        found
            .stderr
            .contains("unknown: 1 of 3 load balancers did not answer: n3"),
        "{found}"
    );
    let found = client
        .run(&["query", "size(lbs)", "--allow-missing", "1"])
        .expect_code(0);
    assert_eq!(found.stdout.trim_end(), "2");
    client
        .run(&["wait", "true", "--timeout", "300ms", "--interval", "100ms"])
        .expect_code(3);
    let patience = [
        "--timeout",
        "4s",
        "--interval",
        "100ms",
        "--allow-missing",
        "1",
    ];
    client
        .run(&[&["wait", "!up('app')"], &patience[..]].concat())
        .expect_code(1);
}

#[test]
fn viewers_may_ask_and_strangers_may_not() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _servers) = serving();
    fleet.authority().person("vera", "viewer");
    let viewer = fleet.client_as("vera", &[1]);
    viewer.run(&["check", "up", "app"]).expect_code(0);
    viewer.run(&["query", "connections() >= 0"]).expect_code(0);
    let mut nobody = fleet.client_of(1);
    nobody.identity = None;
    let found = nobody.run(&["check", "up", "app"]).expect_code(3);
    assert!(
        first_line(&found).starts_with("UP UNKNOWN - no identity"),
        "{found}"
    );
    // For monitoring systems, a wrong word must not look as if something were down.
    fleet.client().run(&["check", "uphill"]).expect_code(3);
}
