//! What operators do by hand: on all nodes, without a reload, for as long as it holds and no longer.

use std::collections::BTreeSet;

use hafleet_api::v1;
use hafleet_tests::backend::Backend;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::load::{Load, Plan};
use hafleet_tests::process::Process;
use hafleet_tests::spec::{MARKER, TRAFFIC_PORT};
use hafleet_tests::{Finished, Fleet, can_make_namespaces, wait_for};

/// A fleet of three whose backend `app` has four servers, each called as it answers.
fn serving() -> (Fleet, Vec<Backend>) {
    let fleet = Fleet::builder().start();
    let servers = fleet.start_servers(8101..8105);
    let revision = fleet.apply(1, &spec("first", &servers));
    fleet.wait_converged(&revision);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    (fleet, servers)
}

/// Another marker needs a reload.
fn spec(marker: &str, servers: &[Backend]) -> String {
    let server = |server: &Backend| {
        let (address, port) = (server.address().ip(), server.address().port());
        format!("      - {{ name: s{port}, address: {address}, port: {port} }}\n")
    };
    let servers: String = servers.iter().map(server).collect();
    let head = hafleet_tests::spec::marked(marker, &[]);
    format!("{head}{servers}")
}

fn haproxies(fleet: &Fleet) -> Vec<Process> {
    let numbers = fleet.numbers().into_iter();
    numbers.map(|number| fleet.node(number).haproxy()).collect()
}

fn load(fleet: &Fleet) -> Load {
    let numbers = fleet.numbers().into_iter();
    let targets = numbers.map(|number| fleet.node(number).traffic()).collect();
    Load::start(fleet.outside(), Plan { targets, rate: 150 })
}

/// Runs a `server` command that has to succeed on all nodes.
#[track_caller]
fn ask(fleet: &Fleet, number: usize, words: &[&str]) -> Finished {
    let words = [&["server"], words, &["--wait"]].concat();
    fleet.client_of(number).run(&words).expect_code(0)
}

fn overrides(fleet: &Fleet, number: usize) -> v1::ListOverridesResponse {
    let words = ["overrides", "--output", "json"];
    fleet.client_of(number).run(&words).expect_code(0).json()
}

/// No other server answers from now on, and each of these does sooner or later: others ask too.
fn assert_served_from(fleet: &Fleet, servers: &[Backend]) {
    let name = |server: &Backend| format!("s{}", server.address().port());
    let wanted: BTreeSet<_> = servers.iter().map(name).collect();
    for number in fleet.numbers() {
        for _ in 0..8 {
            let body = fleet.ask(number).map(|answer| answer.body);
            let is_wanted = body.as_ref().is_ok_and(|body| wanted.contains(body));
            assert!(is_wanted, "node {number}: {body:?}");
        }
    }
    fleet.wait_served_from(&fleet.numbers(), servers);
}

fn assert_no_drift(fleet: &Fleet) {
    for number in fleet.numbers() {
        let id = fleet.node(number).id().to_owned();
        let words = ["node", "show", &id, "--output", "json"];
        let detail: v1::NodeDetail = fleet.client().run(&words).expect_code(0).json();
        assert!(detail.drift.is_empty(), "{detail:#?}");
    }
}

#[test]
fn servers_drain_and_come_back_on_all_nodes_without_a_reload_and_without_a_failure() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let follower = fleet.follower();
    let before = haproxies(&fleet);
    let load = load(&fleet);
    ask(&fleet, follower, &["drain", "app/s8101"]);
    assert_served_from(&fleet, &servers[1..]);
    ask(&fleet, follower, &["maint", "app/s8102", "-m", "disks"]);
    assert_served_from(&fleet, &servers[2..]);
    ask(&fleet, follower, &["weight", "app/s8103", "0"]);
    assert_served_from(&fleet, &servers[3..]);

    let list = overrides(&fleet, follower);
    let names: Vec<_> = list
        .servers
        .iter()
        .map(|item| item.server.as_str())
        .collect();
    assert_eq!(names, ["s8101", "s8102", "s8103"], "{list:#?}");
    let provenance = list.servers[1].provenance.clone().unwrap_or_default();
    assert_eq!(provenance.author, "ada (admin)");
    assert_eq!(
        (provenance.comment.as_str(), provenance.until),
        ("disks", None)
    );
    assert_eq!(list.servers[2].weight, Some(0));
    let table = fleet.client().run(&["overrides"]).expect_code(0);
    for words in ["app/s8102", "maint", "disks", "weight 0", "ada (admin)"] {
        assert!(table.stdout.contains(words), "{words:?} is not in {table}");
    }

    // What the current spec would change is nothing: what was done by hand is no difference.
    let file = fleet.scratch().file("same.yaml", &spec("first", &servers));
    let file = file.to_str().expect("a path of plain characters");
    let plan = fleet.client().run(&["plan", file, "--output", "json"]);
    let plan: v1::PlanSpecResponse = plan.expect_code(0).json();
    for node in &plan.nodes {
        assert_eq!(node.change, "nothing", "{plan:#?}");
    }

    for path in ["app/s8101", "app/s8102"] {
        ask(&fleet, follower, &["ready", path]);
    }
    ask(&fleet, follower, &["weight", "app/s8103"]);
    assert_served_from(&fleet, &servers);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
    assert_eq!(haproxies(&fleet), before, "nobody was reloaded");
    assert!(overrides(&fleet, follower).servers.is_empty());
    assert_no_drift(&fleet);
    let again = fleet.client().run(&["server", "ready", "app/s8101"]);
    let again = again.expect_code(0);
    assert!(again.stdout.contains("nothing was written"), "{again}");
}

#[test]
fn what_is_asked_outlives_reloads_and_restarts_of_agents_and_of_haproxy() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    ask(&fleet, 1, &["drain", "app/s8101"]);
    ask(&fleet, 1, &["maint", "app/s8102"]);
    ask(&fleet, 1, &["weight", "app/s8103", "0"]);
    let load = load(&fleet);
    let before = haproxies(&fleet);
    let revision = fleet.apply(1, &spec("second", &servers));
    fleet.wait_converged(&revision);
    fleet.wait_served("second");
    wait_for("old processes have ended", PATIENCE, || {
        let now = haproxies(&fleet);
        let is_new = now.iter().all(|process| !before.contains(process));
        is_new.then_some(()).ok_or_else(|| format!("{now:?}"))
    });
    assert_served_from(&fleet, &servers[3..]);

    for number in fleet.numbers() {
        fleet.restart(number);
    }
    fleet.wait_formed();
    assert_served_from(&fleet, &servers[3..]);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");

    let follower = fleet.follower();
    fleet.node(follower).haproxy().kill();
    fleet.wait_served_from(&[follower], &servers[3..]);
    assert_no_drift(&fleet);
    // An agent that comes back to an HAProxy that died meanwhile starts it with all of that.
    fleet.kill_agent(follower);
    fleet.node(follower).haproxy().kill();
    fleet.restart(follower);
    fleet.wait_served_from(&[follower], &servers[3..]);
    fleet.wait_formed();
    ask(&fleet, 1, &["ready", "app/s8101"]);
    ask(&fleet, 1, &["ready", "app/s8102"]);
    ask(&fleet, 1, &["weight", "app/s8103"]);
    assert_served_from(&fleet, &servers);
}

/// A whole configuration of HAProxy's own, with the servers that [`spec`] has.
fn whole(marker: &str, servers: &[Backend]) -> String {
    let server = |server: &Backend| {
        let address = server.address();
        format!("    server s{} {address}\n", address.port())
    };
    let servers: String = servers.iter().map(server).collect();
    let text = format!(
        "\
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend web
    bind :{TRAFFIC_PORT}
    http-response set-header {MARKER} {marker}
    default_backend app
backend app
{servers}"
    );
    let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: 1\nhaproxy_cfg: |\n{indented}")
}

#[test]
fn servers_that_stand_in_a_configuration_of_haproxys_own_are_asked_too() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let servers = fleet.start_servers(8101..8104);
    let revision = fleet.apply(1, &whole("first", &servers));
    fleet.wait_converged(&revision);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    let follower = fleet.follower();
    let before = haproxies(&fleet);
    let load = load(&fleet);
    ask(&fleet, follower, &["drain", "app/s8101"]);
    ask(&fleet, follower, &["maint", "app/s8102", "-m", "disks"]);
    assert_served_from(&fleet, &servers[2..]);
    assert_eq!(haproxies(&fleet), before, "nobody was reloaded");
    assert_no_drift(&fleet);

    let weight = fleet.client().run(&["server", "weight", "app/s8103", "5"]);
    let weight = weight.expect_code(2);
    assert!(weight.stderr.contains("change it there"), "{weight}");
    let nobody = fleet.client().run(&["server", "drain", "app/s9"]);
    let nobody = nobody.expect_code(2);
    assert!(nobody.stderr.contains("s8101"), "{nobody}");

    let revision = fleet.apply(1, &whole("second", &servers));
    fleet.wait_converged(&revision);
    fleet.wait_served("second");
    fleet.wait_served_from(&fleet.numbers(), &servers[2..]);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
    fleet.node(follower).haproxy().kill();
    fleet.wait_served_from(&[follower], &servers[2..]);
    fleet.wait_formed();
    ask(&fleet, 1, &["ready", "app/s8101"]);
    ask(&fleet, 1, &["ready", "app/s8102"]);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    assert_no_drift(&fleet);
}

#[test]
fn what_is_asked_for_a_while_is_over_by_itself_also_without_a_majority() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let before = haproxies(&fleet);
    ask(&fleet, 1, &["maint", "app/s8101", "--for", "12s"]);
    let held = overrides(&fleet, 1).revision.unwrap_or_default().revision;
    assert_served_from(&fleet, &servers[1..]);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    assert!(overrides(&fleet, 1).servers.is_empty());
    wait_for("the leader takes it out", PATIENCE, || {
        let revision = overrides(&fleet, 2).revision.unwrap_or_default();
        let is_later = revision.revision != held && revision.author.contains("expiry");
        is_later
            .then_some(())
            .ok_or_else(|| format!("{revision:?}"))
    });

    // No majority has to be there for it.
    ask(&fleet, 1, &["drain", "app/s8102", "--for", "12s"]);
    let last = fleet.follower();
    for number in fleet.numbers() {
        if number != last {
            fleet.kill_agent(number);
        }
    }
    fleet.wait_served_from(&[last], &servers);
    assert_eq!(haproxies(&fleet), before, "nobody was reloaded");
}

#[test]
fn nodes_are_drained_and_shown_so_and_serve_on() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let client = fleet.client();
    let drained = client.run(&["node", "drain", "n2", "--for", "2h", "-m", "kernel"]);
    let drained = drained.expect_code(0);
    assert!(drained.stdout.contains("n2 is drained until"), "{drained}");
    wait_for("all nodes know", PATIENCE, || {
        for number in fleet.numbers() {
            let status = fleet.status_of(number)?;
            let is_drained = |node: &v1::NodeStatus| node.drained.is_some();
            let drained: Vec<_> = status
                .nodes
                .iter()
                .filter(|node| is_drained(node))
                .collect();
            match drained.as_slice() {
                [node] if node.id == "n2" => {}
                other => return Err(format!("{number}: {other:#?}")),
            }
        }
        Ok(())
    });
    let table = client.run(&["status"]).expect_code(0);
    for words in ["drained by ada (admin) until", "kernel"] {
        assert!(table.stdout.contains(words), "{words:?} is not in {table}");
    }
    assert_served_from(&fleet, &servers);
    let back = client.run(&["node", "undrain", "n2", "--output", "json"]);
    let back: v1::WriteOverrideResponse = back.expect_code(0).json();
    assert!(back.committed && !back.unchanged, "{back:#?}");
    let again = client.run(&["node", "undrain", "n2", "--output", "json"]);
    let again: v1::WriteOverrideResponse = again.expect_code(0).json();
    assert!(again.unchanged, "{again:#?}");
}

#[test]
fn what_is_not_there_is_answered_with_what_is_and_what_goes_is_kept_in_vain() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let run = |words: &[&str]| fleet.client().run(words);
    run(&["node", "drain", "n9"])
        .expect_code(2)
        .expect_complaint(&["no node n9", "n1, n2, n3"]);
    run(&["server", "drain", "ap/s8101"])
        .expect_code(2)
        .expect_complaint(&["no backend ap", "app"]);
    run(&["server", "drain", "app/s810"])
        .expect_code(2)
        .expect_complaint(&["no server s810", "s8101"]);
    run(&["server", "drain", "app"]).expect_code(2);
    run(&["server", "weight", "app/s8101", "257"]).expect_code(2);
    run(&["node", "undrain", "n1", "--wait"]).expect_code(2);
    assert!(overrides(&fleet, 1).servers.is_empty());

    ask(&fleet, 1, &["maint", "app/s8101"]);
    let ends = ["server", "weight", "app/s8101", "5", "--for", "1m"];
    run(&ends)
        .expect_code(2)
        .expect_complaint(&["end together"]);
    let revision = fleet.apply(1, &spec("second", &servers[1..]));
    fleet.wait_converged(&revision);
    fleet.wait_served_from(&fleet.numbers(), &servers[1..]);
    let vain: BTreeSet<_> = overrides(&fleet, 2)
        .servers
        .into_iter()
        .map(|item| item.without_effect)
        .collect();
    assert!(
        vain.iter().all(|words| words.contains("no server s8101")) && vain.len() == 1,
        "{vain:?}"
    );
    // When it comes back, so does what was asked of it.
    let revision = fleet.apply(1, &spec("third", &servers));
    fleet.wait_converged(&revision);
    fleet.wait_served("third");
    fleet.wait_served_from(&fleet.numbers(), &servers[1..]);
    assert_eq!(overrides(&fleet, 2).servers[0].without_effect, "");
}

#[test]
fn without_a_majority_nothing_is_done_by_hand() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    ask(&fleet, 1, &["drain", "app/s8101"]);
    let last = fleet.follower();
    for number in fleet.numbers() {
        if number != last {
            fleet.kill_agent(number);
        }
    }
    assert_eq!(fleet.leader(), last);
    let client = fleet.client_of(last);
    for words in [
        &["server", "maint", "app/s8102"][..],
        &["server", "ready", "app/s8101"],
        &["node", "drain", "n1"],
    ] {
        let refused = client.run(words).expect_code(3);
        refused.expect_complaint(&["2", "needs"]);
    }
    assert_served_from(&fleet, &servers[1..]);
    let forced = ["server", "maint", "app/s8102", "--force-without-majority"];
    client.run(&forced).expect_code(0);
    fleet.wait_served_from(&[last], &servers[2..]);
}

#[test]
fn what_many_ask_at_once_is_all_done() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let ask = |(index, server): (usize, &Backend)| {
        let path = format!("app/s{}", server.address().port());
        let client = fleet.client_of(1 + index % 3);
        for words in [
            ["server", "weight", &path, "9"],
            ["server", "maint", &path, "-mx"],
        ] {
            client.run(&words).expect_code(0);
        }
    };
    std::thread::scope(|scope| {
        for numbered in servers[1..].iter().enumerate() {
            scope.spawn(move || ask(numbered));
        }
    });
    let list = overrides(&fleet, fleet.leader()).servers;
    assert_eq!(list.len(), servers.len() - 1, "{list:#?}");
    for server in &list {
        let asked = (server.state(), server.weight);
        assert_eq!(asked, (v1::ServerState::Maint, Some(9)), "{list:#?}");
    }
    fleet.wait_served_from(&fleet.numbers(), &servers[..1]);
}

#[test]
fn viewers_see_and_operators_do() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, servers) = serving();
    let follower = fleet.follower();
    fleet.authority().person("vera", "viewer");
    fleet.authority().person("olaf", "operator");
    let (vera, olaf) = (
        fleet.client_as("vera", &[follower]),
        fleet.client_as("olaf", &[follower]),
    );
    for words in [
        &["server", "maint", "app/s8101"][..],
        &["server", "ready", "app/s8101"],
        &["server", "weight", "app/s8101", "1"],
        &["node", "drain", "n1"],
        &["node", "undrain", "n1"],
    ] {
        let denied = vera.run(words).expect_code(3);
        denied.expect_complaint(&["operator"]);
        olaf.run(words).expect_code(0);
    }
    vera.run(&["overrides"]).expect_code(0);
    let list = overrides(&fleet, follower);
    let provenance = list.servers[0].provenance.clone().unwrap_or_default();
    assert_eq!(provenance.author, "olaf (operator)", "{list:#?}");
    fleet.wait_served_from(&fleet.numbers(), &servers);
}
